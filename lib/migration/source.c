/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The source, from the first check to the clean-up: a list of named stages. Whatever fails before
 * the hand-over's point of no return ends in source_fail(): devices RUNNING, then the workload, as
 * recovery.h has it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/configuration.h"
#include "lib/migration/migration.h"
#include "lib/migration/participants.h"
#include "lib/migration/recovery.h"
#include "lib/migration/sections.h"
#include "lib/participant/device.h"
#include "lib/participant/obstacles.h"
#include "lib/participant/ram.h"
#include "lib/trace/trace.h"

/* ---- prepare ---- */

/* A socket leads to somebody who takes the VM over. */
static int not_one_way(const char *address, struct vmig_error *err)
{
    return error_set(
        err, EINVAL, VMIG_STAGE_PREPARE, NULL, "snapshot-address",
        "a snapshot goes to a file or a pipe, not to \"%.100s\": whoever listens there "
        "would run the VM as well",
        address);
}

static int open_channel(struct vmig_migration *m, const struct address *address,
                        struct vmig_error *err)
{
    struct channel *channel;
    int rc = channel_connect(address, m->end_fd, &channel, err);
    if (rc < 0)
        return rc;
    if (m->run.snapshot && !channel->one_way) { /* a socket that the caller had opened */
        channel_free(channel);
        return not_one_way("fd:", err);
    }
    m->one_way = channel->one_way || !m->capabilities[CAPABILITY_RETURN_PATH];
    bool lone = m->one_way || address->kind == ADDRESS_FD;
    bool lanes = !lone && m->capabilities[CAPABILITY_MULTIFD];
    m->lanes_wanted = lanes ? (unsigned)m->parameters[PARAMETER_CHANNELS] : 0;
    m->switchover_ack = !m->one_way && m->capabilities[CAPABILITY_SWITCHOVER_ACK];
    m->ram_digest = m->parameters[PARAMETER_RAM_DIGEST];
    m->carrier = m->lanes_wanted ? &carrier_lanes : &carrier_sections;
    TRACE(migration_set_outgoing_channel, m->one_way, m->lanes_wanted);
    LOCK_SCOPE(&m->lock);
    m->main = channel;
    return 0;
}

static int send_opening(struct vmig_migration *m, struct vmig_error *err)
{
    struct writer w;
    writer_init(&w);
    qemu_write_header(&w);
    configuration_write(m, &w);
    if (!m->one_way)
        qemu_write_command(&w, QEMU_CMD_OPEN_RETURN_PATH, NULL, 0);
    int rc = main_send(m, &w, err);
    writer_done(&w);
    return rc;
}

/* Wait until @flag is set by the return path. */
static int wait_flag(struct vmig_migration *m, const bool *flag, struct vmig_error *err)
{
    for (;;) {
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&m->lock);
        if (*flag)
            return 0;
        run_wait_locked(m, UINT64_MAX);
    }
}

static int greet(struct vmig_migration *m, struct vmig_error *err)
{
    CLEANUP_FREE char *hello = NULL;
    int rc = hello_request(m, &hello, err);
    if (rc == 0)
        rc = return_path_start(m, err);
    uint64_t start = clock_ns();
    if (rc == 0)
        rc = main_command(m, WIRE_CMD_HELLO, hello, strlen(hello), err);
    run_state_leave(m);
    if (rc == 0)
        rc = wait_flag(m, &m->peer_hello, err);
    m->model.round_trip_ms = clock_ms_since(start);
    run_state_return(m);
    return rc;
}

/* Who wants to stop the VM need not wait for somebody at the other end. */
static int meet_target(struct vmig_migration *m, const struct address *address,
                       struct vmig_error *err)
{
    run_state_leave(m);
    int rc = open_channel(m, address, err);
    run_state_return(m);
    if (rc == 0)
        rc = send_opening(m, err);
    if (rc < 0 || m->one_way)
        return rc;
    rc = greet(m, err);
    if (rc == 0 && m->carrier == &carrier_lanes)
        rc = lanes_connect(m, address, err);
    return rc;
}

static int source_prepare(struct vmig_migration *m, const struct address *address,
                          struct vmig_error *err)
{
    int rc = crew_run(m, STEP_PREPARE, err);
    aftermath_recall(m, address);
    if (rc < 0)
        return rc;
    rc = meet_target(m, address, err);
    if (rc == 0)
        rc = run_state_check(m, err);
    return rc < 0 ? rc : run_state_may_be_told(m, err);
}

/* ---- setup ---- */

/* Nobody tells, and nobody but the device's enable-migration said that this is all right. What was
 * known before was told then. */
static bool tracking_is_lacking(struct vmig_migration *m, const struct participant *p)
{
    LOCK_SCOPE(&m->lock);
    return p->tracking.chosen == VMIG_DIRTY_NONE && p->tracking.wanted != VMIG_DIRTY_NONE &&
           !m->parameters[PARAMETER_ALL_DIRTY] &&
           !(p->warned & (OBSTACLE_BIT(OBSTACLE_TRACKING) | OBSTACLE_BIT(OBSTACLE_BITMAP)));
}

static void tell_tracking(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        char how[600], text[700];
        if (p->tracking.chosen == VMIG_DIRTY_AUTO)
            continue;
        tracking_describe(&p->tracking, how, sizeof(how));
        snprintf(text, sizeof(text), "%s: %s", p->id, how);
        run_event(m, VMIG_EVENT_TRACKING, text);
        if (tracking_is_lacking(m, p))
            run_warning(m, "vfio-no-dirty-tracking", text);
    }
}

static int source_setup(struct vmig_migration *m, const struct address *address,
                        struct vmig_error *err)
{
    (void)address;
    m->set_up = true;
    statistics_pause(m, !run_state_runs(m));
    int rc = sections_send_setup(m, err); /* the target enters RESUMING meanwhile */
    if (rc == 0)
        rc = crew_run(m, STEP_SETUP, err);
    if (rc == 0)
        tell_tracking(m);
    if (rc == 0 && !m->one_way)
        rc = wait_flag(m, &m->peer_ready, err);
    announce_begin(m);
    return rc;
}

/* ---- rounds ---- */

/* What a participant may send in a round whatever it sent before. */
#define BUDGET_BYTES_MIN (UINT64_C(16) << 20)

/* A round ends for all when it ends for each, so none may have it for itself: twice what it had, for
 * it may make data as fast as that is sent; and, since it may say that it has anything, at most twice
 * what it has really sent so far. An honest one of 100 GiB has all of them after 13 rounds. Memory
 * needs no limit: it sends each page once a round at most. */
static uint64_t budget(const struct participant *p)
{
    uint64_t pending = p->pending.precopy_bytes, shown = 2 * p->data_bytes;
    uint64_t most = shown > BUDGET_BYTES_MIN ? shown : BUDGET_BYTES_MIN;
    if (pending >= most / 2)
        return most;
    uint64_t twice = 2 * pending + 2 * WIRE_CHUNK_BYTES;
    return twice < most ? twice : most;
}

static void set_budgets(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->budget_bytes = budget(m->participants[i]);
}

static int wait_round(struct vmig_migration *m, unsigned round, struct vmig_error *err)
{
    for (;;) {
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&m->lock);
        if (m->round_loaded >= round)
            return 0;
        run_wait_locked(m, UINT64_MAX);
    }
}

static int end_round(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = m->carrier->round_end(m, m->round, err);
    return rc == 0 && !m->one_way ? wait_round(m, m->round, err) : rc;
}

/* A round of its own that carries nothing. */
static int measure_link(struct vmig_migration *m, struct vmig_error *err)
{
    uint64_t start = clock_ns(), sent = atomic_load(&m->sent_bytes);
    m->model.link_measured = true;
    m->round++;
    int rc = m->carrier->measure(m, err);
    if (rc == 0)
        rc = end_round(m, err);
    if (rc == 0)
        convergence_learn_link(m, atomic_load(&m->sent_bytes) - sent, clock_ms_since(start));
    return rc;
}

static int one_round(struct vmig_migration *m, struct vmig_error *err)
{
    uint64_t start = clock_ns(), sent = atomic_load(&m->sent_bytes);
    m->round++;
    TRACE(migration_round_start, m->round);
    set_budgets(m);
    int rc = crew_run(m, STEP_ITERATE, err);
    uint64_t sent_ns = clock_ns();
    if (rc == 0)
        rc = end_round(m, err);
    if (rc == 0)
        convergence_learn_round(m, atomic_load(&m->sent_bytes) - sent, clock_ms_since(start),
                                clock_ms_since(sent_ns));
    TRACE(migration_round_end, m->round, atomic_load(&m->sent_bytes) - sent,
          (clock_ns() - start) / 1000);
    return rc == 0 && convergence_wants_link(m) ? measure_link(m, err) : rc;
}

static void tell_unknown(struct vmig_migration *m)
{
    const struct participant *p = convergence_unknown(m);
    char text[400];
    if (!p || p == m->told_unknown)
        return;
    m->told_unknown = p;
    snprintf(text, sizeof(text),
             "%s: the size of its state is not known (%s), so there is no switch for now; "
             "device-state-size can tell it",
             p->id, convergence_why_unknown(p));
    run_warning(m, "device-size-unknown", text);
}

static int look(struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->pending_exact = true;
    uint64_t now = clock_ns(), before = m->model.looked_ns;
    int rc = crew_run(m, STEP_PENDING, err);
    m->model.looked_ns = now;
    convergence_look(m, before ? (double)(now - before) / 1e6 : 0);
    TRACE(migrate_pending_exact, m->round, convergence_remaining(m));
    run_event(m, VMIG_EVENT_ROUND, NULL);
    if (rc == 0)
        tell_unknown(m);
    return rc;
}

static bool acknowledged(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    return !m->switchover_ack || (!announce_due(m) && announce_acknowledged_locked(m));
}

/* A device that announces initial bytes for ever does not keep the migration going for ever. */
static int wait_initial(struct vmig_migration *m, const struct participant *p,
                        struct vmig_error *err)
{
    if (run_rounds(m) < m->parameters[PARAMETER_MAX_ROUNDS])
        return 0;
    return error_set(err, ETIME, VMIG_STAGE_ROUNDS, p->id, "not-converging",
                     "after %u rounds the device still has initial bytes to send; raise max-rounds "
                     "or move it without pre-copy",
                     run_rounds(m));
}

/* All initial bytes were sent: wait until they are loaded instead of going round meanwhile. */
static int wait_acknowledged(struct vmig_migration *m, struct vmig_error *err)
{
    run_stage(m, VMIG_STAGE_SWITCHOVER);
    int rc = 0;
    for (bool acked = false; rc == 0 && !acked && !run_state_interrupts(m);) {
        rc = run_check(m, err);
        LOCK_SCOPE(&m->lock);
        acked = announce_acknowledged_locked(m);
        if (rc == 0 && !acked)
            run_wait_locked(m, UINT64_MAX);
    }
    run_stage(m, VMIG_STAGE_ROUNDS);
    return rc;
}

/* The switch is decided: 1 when it still is after the lead, 0 when it is called off. */
static int lead_time(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = 0;
    bool keeps = true;
    if (!notice_give(m))
        return 1;
    while (rc == 0 && keeps && !notice_is_over(m) && !run_state_interrupts(m)) {
        rc = notice_wait(m, err);
        if (rc == 0)
            rc = one_round(m, err);
        if (rc == 0)
            rc = look(m, err);
        keeps = convergence_keeps_limit(m);
    }
    if (rc < 0 || run_state_interrupts(m) || (keeps && acknowledged(m)))
        return rc < 0 ? rc : 1;
    notice_call_off(m);
    return 0;
}

static int source_rounds(struct vmig_migration *m, const struct address *address,
                         struct vmig_error *err)
{
    (void)address;
    double best_ms = 0;
    run_status(m, VMIG_STATUS_ACTIVE);
    convergence_recall(m);
    int rc = look(m, err);
    while (rc == 0 && !run_state_interrupts(m)) {
        rc = one_round(m, err);
        if (rc == 0)
            rc = look(m, err);
        if (rc < 0 || !run_state_runs(m) || run_state_interrupts(m))
            break; /* what stands still needs no more of them, and has no pause to keep short */
        enum verdict verdict = convergence_decide(m, &best_ms, err);
        if (verdict == VERDICT_GIVE_UP)
            return err->code;
        if (verdict == VERDICT_GO_ON)
            continue;
        if (acknowledged(m)) {
            rc = lead_time(m, err);
            if (rc != 0)
                return rc < 0 ? rc : 0;
            continue;
        }
        const struct participant *behind = announce_due(m);
        rc = behind ? wait_initial(m, behind, err) : wait_acknowledged(m, err);
        /* the workload went on meanwhile: look again before switching */
    }
    return rc;
}

/* ---- quiesce and complete ---- */

/* What a stage returns when the switch is put off. */
#define BACK_TO_ROUNDS 1

/* Were new initial bytes announced since the switch was decided? The last question is asked when
 * nothing runs any more that could bring some up: 1 for yes. */
static int last_look(struct vmig_migration *m, struct vmig_error *err)
{
    if (!m->numbered_acks)
        return 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->pending_exact = false;
    int rc = crew_run(m, STEP_LOOK, err);
    return rc < 0 ? rc : announce_due(m) != NULL;
}

static bool can_unquiesce(const struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->ops->quiesce && !m->participants[i]->ops->unquiesce)
            return false;
    return true;
}

static int back_to_rounds(struct vmig_migration *m, struct vmig_error *err)
{
    const struct participant *p = announce_due(m);
    int rc = wait_initial(m, p, err);
    if (rc < 0)
        return rc;
    char text[160];
    snprintf(text, sizeof(text), "%s: new initial bytes at the last moment; the switch is put off",
             p->id);
    run_warning(m, "switch-put-off", text);
    notice_call_off(m);
    return BACK_TO_ROUNDS;
}

/* Devices run before the workload does, as after a failure. */
static int let_run(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = crew_run(m, STEP_UNQUIESCE, err);
    if (rc == 0 && m->host.start)
        rc = m->host.start(m->host.opaque, err);
    m->workload_stopped = rc != 0;
    statistics_pause(m, m->workload_stopped);
    m->pause_start_ns = 0;
    return rc;
}

static int stop_workload(struct vmig_migration *m, struct vmig_error *err)
{
    TRACE(migration_workload_stop, m->round);
    m->pause_start_ns = clock_ns();
    m->workload_stopped = true;
    statistics_pause(m, true);
    cancel_waiting(m, "the host to stop the workload");
    int rc = m->host.stop ? m->host.stop(m->host.opaque, err) : 0;
    cancel_waits_no_more(m);
    error_locate(err, VMIG_STAGE_QUIESCE, NULL);
    m->model.workload_stop_ms = clock_ms_since(m->pause_start_ns);
    return rc;
}

/* Workload and devices stand still. @asked: somebody wanted that, and is told so. */
static int still(struct vmig_migration *m, bool asked, struct vmig_error *err)
{
    run_state_stopped(m, asked);
    run_state_apply(m);
    int rc = run_state_may_be_told(m, err);
    if (rc == 0)
        rc = switchover_pause(m, err);
    if (rc == 0)
        run_status(m, VMIG_STATUS_DEVICE);
    return rc;
}

/* A VM that was paused, or that somebody wants to be paused now (@asked): its devices go the same way
 * with their streams, but nobody waits, so nothing is put off and no pause is measured. */
static int stand_still(struct vmig_migration *m, bool asked, struct vmig_error *err)
{
    int rc = asked ? stop_workload(m, err) : 0;
    if (rc == 0)
        rc = crew_run(m, STEP_QUIESCE, err);
    if (rc == 0)
        rc = crew_run(m, STEP_STOP, err);
    if (rc < 0)
        return rc;
    m->pause_start_ns = 0;
    return still(m, asked, err);
}

static int source_quiesce(struct vmig_migration *m, const struct address *address,
                          struct vmig_error *err)
{
    (void)address;
    bool runs = run_state_runs(m);
    if (!runs || atomic_load(&m->run.stops) > 0)
        return stand_still(m, runs, err);
    int rc = last_look(m, err);
    if (rc != 0)
        return rc < 0 ? rc : back_to_rounds(m, err);
    rc = stop_workload(m, err);
    if (rc == 0 && !m->skip_quiesce)
        rc = crew_run(m, STEP_QUIESCE, err);
    if (rc == 0 && can_unquiesce(m))
        rc = last_look(m, err);
    if (rc > 0) {
        rc = let_run(m, err);
        return rc < 0 ? rc : back_to_rounds(m, err);
    }
    if (rc == 0)
        rc = crew_run(m, STEP_STOP, err);
    return rc < 0 ? rc : still(m, false, err);
}

static bool suspects_told(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->ram_lock);
    return m->suspects_told;
}

/* Nothing writes any more, so what did not arrive as it was sent was damaged on its way. It is sent
 * once more; a link that damages that, too, is not trusted with a third attempt. */
static int repair(struct vmig_migration *m, unsigned round, struct vmig_error *err)
{
    struct participant *ram = participant_find(m, "ram");
    int rc = wait_round(m, round, err);
    if (rc < 0 || !suspects_told(m))
        return rc;
    rc = crew_run_one(m, ram, STEP_ITERATE, err);
    if (rc == 0)
        rc = m->carrier->round_end(m, round + 1, err);
    if (rc == 0)
        rc = wait_round(m, round + 1, err);
    if (rc < 0 || !suspects_told(m))
        return rc;
    return error_set(err, EBADMSG, VMIG_STAGE_COMPLETE, "ram", "ram-suspect",
                     "memory did not arrive as it was sent, and again when it was sent once more "
                     "while nothing wrote to it; the link damages data: look at it, then migrate "
                     "again");
}

static int source_complete(struct vmig_migration *m, const struct address *address,
                           struct vmig_error *err)
{
    (void)address;
    m->completing = true;
    m->model.complete_ns = clock_ns();
    bool together = m->carrier == &carrier_lanes;
    int rc = together ? crew_run(m, STEP_COMPLETE, err) : crew_run_in_turn(m, STEP_COMPLETE, err);
    m->model.completed_ns = clock_ns();
    if (rc == 0)
        rc = m->carrier->round_end(m, m->round + 1, err);
    if (rc == 0 && together && m->ram_digest)
        rc = repair(m, m->round + 1, err);
    return rc < 0 ? rc : sections_send_tail(m, err);
}

static int source_handover(struct vmig_migration *m, const struct address *address,
                           struct vmig_error *err)
{
    int rc = handover_source(m, err);
    if (rc < 0)
        return rc;
    aftermath_measure(m, clock_ns());
    if (!m->run.snapshot)
        run_state_moved(m, address->kind != ADDRESS_FILE);
    return 0;
}

static int source_cleanup(struct vmig_migration *m, const struct address *address,
                          struct vmig_error *err)
{
    (void)address;
    bool snapshot = m->run.snapshot;
    int rc = snapshot ? recovery_source(m, POINT_HANDOVER, err) : 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->moved = !snapshot;
    crew_run(m, STEP_CLEANUP, NULL);
    if (!snapshot)
        recovery_after_cleanup(m);
    aftermath_remember(m);
    return rc;
}

static const struct {
    enum vmig_stage stage;
    int (*run)(struct vmig_migration *m, const struct address *address, struct vmig_error *err);
} stages[] = {
    { VMIG_STAGE_PREPARE, source_prepare },   { VMIG_STAGE_SETUP, source_setup },
    { VMIG_STAGE_ROUNDS, source_rounds },     { VMIG_STAGE_QUIESCE, source_quiesce },
    { VMIG_STAGE_COMPLETE, source_complete }, { VMIG_STAGE_HANDOVER, source_handover },
    { VMIG_STAGE_CLEANUP, source_cleanup },
};

/* ---- failure ---- */

/* The target is told, if it listens: a cut link tells it as well. Before the stream's first bytes
 * nobody would know what this is. */
static void say_abort(struct vmig_migration *m, const struct vmig_error *err)
{
    if (atomic_load(&m->sent_bytes))
        main_last_words(m, true, WIRE_CMD_ABORT, err->text);
}

/* Where it was says the error's stage. */
static void say_cancelled(const struct vmig_migration *m, struct vmig_error *err)
{
    if (strcmp(err->reason, "cancelled") == 0)
        snprintf(err->text, sizeof(err->text), "cancelled; %s",
                 m->set_up ? "devices and workload run on here" : "nothing had been touched");
}

static int source_fail(struct vmig_migration *m, struct vmig_error *err)
{
    bool cancelled = err->code == -ECANCELED;
    enum recovery_point point = recovery_point(m);
    bool over = m->stage == VMIG_STAGE_CLEANUP; /* a snapshot's way back failed, and was this */
    run_abort(m, err);
    statistics_error(m, err);
    if (cancelled)
        run_status(m, VMIG_STATUS_CANCELLING);
    run_stage(m, VMIG_STAGE_RESUME);
    say_abort(m, err);
    lanes_end(m);
    struct vmig_error recovery = { 0 };
    if (!over && recovery_source(m, point, &recovery) < 0) {
        /* worse than what failed first: the device named here needs somebody's attention */
        error_prefix(&recovery, "%.240s; then", err->text);
        *err = recovery;
        cancelled = false;
    }
    notice_call_off(m);
    if (m->set_up && !over)
        crew_run(m, STEP_CLEANUP, NULL);
    if (cancelled)
        say_cancelled(m, err);
    statistics_error(m, err);
    run_status(m, cancelled ? VMIG_STATUS_CANCELLED : VMIG_STATUS_FAILED);
    return err->code;
}

static size_t stage_index(enum vmig_stage stage)
{
    size_t i = 0;
    while (stages[i].stage != stage)
        i++;
    return i;
}

static int run_stages(struct vmig_migration *m, const struct address *address,
                      struct vmig_error *err)
{
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        run_stage(m, stages[i].stage);
        int rc = run_check(m, err);
        if (rc == 0)
            rc = stages[i].run(m, address, err);
        error_locate(err, stages[i].stage, NULL);
        if (rc < 0)
            return rc;
        if (rc == BACK_TO_ROUNDS)
            i = stage_index(VMIG_STAGE_ROUNDS) - 1;
    }
    return 0;
}

static int send_or_save(struct vmig_migration *m, const struct address *where, bool snapshot,
                        struct vmig_error *err)
{
    struct vmig_error first = { 0 };
    int rc = run_enter(m, SIDE_SOURCE, snapshot, err);
    if (rc < 0)
        return rc;
    rc = run_begin(m, &first);
    if (rc == 0)
        rc = run_stages(m, where, &first);
    if (rc == -EUCLEAN && m->handover == HANDOVER_GAVE_UP) {
        error_copy(err, &first);
        statistics_error(m, &first);
        return run_hold(m);
    }
    if (rc == -ECANCELED) { /* whatever was interrupted by it */
        first = (struct vmig_error) { 0 };
        run_check(m, &first);
    }
    if (rc < 0) {
        error_set(&first, rc, m->stage, NULL, NULL, "%s", strerror(-rc));
        rc = source_fail(m, &first);
        error_copy(err, &first);
    }
    run_stage(m, VMIG_STAGE_NONE);
    if (rc == 0)
        run_status(m, VMIG_STATUS_COMPLETED);
    run_end(m);
    return rc;
}

VMIG_EXPORT int vmig_migration_send(struct vmig_migration *m, const char *address,
                                    struct vmig_error *err)
{
    struct address where;
    int rc = address_parse(address, &where, err);
    return rc < 0 ? rc : send_or_save(m, &where, false, err);
}

VMIG_EXPORT int vmig_migration_snapshot(struct vmig_migration *m, const char *address,
                                        struct vmig_error *err)
{
    struct address where;
    int rc = address_parse(address, &where, err);
    if (rc == 0 && (where.kind == ADDRESS_TCP || where.kind == ADDRESS_UNIX))
        rc = not_one_way(address, err);
    return rc < 0 ? rc : send_or_save(m, &where, true, err);
}
