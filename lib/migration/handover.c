/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hand-over: LOADED, the source gives up, GO, RUNNING. Checked as a model in docs/handover.pml.
 *
 *   source                                   target
 *   NONE      waits for LOADED     <-------  LOADED   has everything, checked; holds
 *   GAVE_UP   will not run again;  ------->  RUNNING  runs, whatever happens to the link
 *   RELEASED  may clean up         <-------
 *
 * A link that breaks while the source is in NONE: the source goes on. A link that breaks while the
 * source is in GAVE_UP or the target in LOADED: that side cannot know what the other did, so it
 * holds what it has ("unresolved") until somebody who knows settles it. Who wants to run then asks
 * the other side to yield first; the rules R1 to R4 of that are the model's.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/control.h"
#include "lib/migration/handover.h"
#include "lib/migration/message.h"
#include "lib/migration/migration.h"
#include "lib/migration/recovery.h"
#include "lib/participant/device.h"
#include "lib/trace/trace.h"

static void handover_set_locked(struct vmig_migration *m, enum handover handover)
{
    m->handover = handover;
    pthread_cond_broadcast(&m->changed);
}

/* ---- source ---- */

/* Once nothing of @m is locked. */
static void trace_owner(struct vmig_migration *m, enum handover handover)
{
    static const char *const names[] = {
        [HANDOVER_NONE] = "none",
        [HANDOVER_LOADED] = "loaded",
        [HANDOVER_GAVE_UP] = "gave-up",
        [HANDOVER_RUNNING] = "running",
        [HANDOVER_RELEASED] = "released",
        [HANDOVER_DISCARDED] = "discarded",
        [HANDOVER_TAKEN_BACK] = "taken-back",
    };
    TRACE(migration_handover, run_side_name(m), names[handover]);
}

static int wait_loaded(struct vmig_migration *m, struct vmig_error *err)
{
    for (;;) {
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&m->lock);
        if (m->peer_loaded && !m->aborted && !atomic_load(&m->cancelled)) {
            handover_set_locked(
                m, HANDOVER_GAVE_UP); /* from here on this side does not run by itself */
            return 0;
        }
        run_wait_locked(m, UINT64_MAX);
    }
}

/* A target that says nothing for this long after GO is treated like one that is gone: starting
 * devices has its own, shorter deadlines at the target. */
static uint64_t running_deadline(struct vmig_migration *m)
{
    return clock_ns() + (2 * m->parameters[PARAMETER_TRANSITION_TIMEOUT] + 30000) * NS_PER_MS;
}

static bool verdict_locked(const struct vmig_migration *m)
{
    return m->peer_running || m->peer_failed || m->link_dead;
}

/* Whoever cancels now is told that it is too late. */
static bool wait_running(struct vmig_migration *m)
{
    uint64_t deadline = running_deadline(m);
    cancel_waiting(m, "the target to say that it runs");
    for (bool over = false; !over && clock_ns() < deadline;) {
        cancel_name(m, true);
        LOCK_SCOPE(&m->lock);
        uint64_t due = cancel_due_locked(m, true);
        if (!verdict_locked(m))
            run_wait_locked(m, due < deadline ? due : deadline);
        over = verdict_locked(m);
    }
    cancel_waits_no_more(m);
    LOCK_SCOPE(&m->lock);
    if (m->peer_running)
        handover_set_locked(m, HANDOVER_RELEASED);
    else if (m->peer_failed)
        handover_set_locked(m, HANDOVER_NONE); /* it let go before anything ran there */
    return m->peer_running;
}

static int unresolved(struct vmig_migration *m, struct vmig_error *err)
{
    bool source = m->side == SIDE_SOURCE;
    return error_set(
        err, EUCLEAN, VMIG_STAGE_HANDOVER, NULL, "handover-unresolved",
        "the connection broke during the hand-over and %s; this side holds its devices "
        "stopped with their state. Look at the other side, then settle it: vfio-migrate "
        "resolve %.107s %s",
        source ? "it is not known whether the target runs"
               : "it is not known whether the source gave up",
        m->control_path ? m->control_path : "CONTROL",
        source ? "discard (the target runs) or run (it does not)"
               : "run (the source gave up) or discard (it runs)");
}

static int make_durable(void *arg, struct vmig_error *err)
{
    struct vmig_migration *m = arg;
    return channel_make_durable(m->main, err);
}

/* From here on there is no way back, unless somebody cancelled before. */
static int pass_no_return(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = run_check(m, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&m->lock);
    if (m->aborted)
        return error_copy(err, &m->first_error);
    m->committed = true;
    return 0;
}

/* A file is nobody's before it has its name. On a socket whose source hears nothing, whoever has all
 * bytes runs: so there this is the point of no return, and a target that lacks one of these does not
 * run. */
int handover_send_last(struct vmig_migration *m, struct writer *w, struct vmig_error *err)
{
    bool gives_up = m->one_way && !m->main->one_way;
    int rc = gives_up ? pass_no_return(m, err) : 0;
    if (rc == 0)
        rc = main_send(m, w, err);
    if (rc < 0 && gives_up) {
        LOCK_SCOPE(&m->lock);
        m->committed = false;
    }
    return rc;
}

static int commit_one_way(struct vmig_migration *m, struct vmig_error *err)
{
    if (!m->main->one_way) { /* it is done */
        LOCK_SCOPE(&m->lock);
        handover_set_locked(m, HANDOVER_RELEASED);
        return 0;
    }
    int rc = crew_errand(m, make_durable, m, "the stream to be durable", err);
    if (rc == 0)
        rc = pass_no_return(m, err);
    if (rc == 0)
        rc = channel_commit(m->main, err);
    LOCK_SCOPE(&m->lock);
    if (rc < 0)
        m->committed = false;
    else if (!m->run.snapshot)
        handover_set_locked(m, HANDOVER_RELEASED);
    return rc;
}

int handover_source(struct vmig_migration *m, struct vmig_error *err)
{
    if (m->one_way)
        return commit_one_way(m, err);
    int rc = wait_loaded(m, err);
    if (rc < 0)
        return rc;
    trace_owner(m, HANDOVER_GAVE_UP);
    TRACE(migration_handover_say, run_side_name(m), "GO");
    if (main_command(m, WIRE_CMD_GO, NULL, 0, NULL) == 0 && wait_running(m)) {
        trace_owner(m, HANDOVER_RELEASED);
        return 0;
    }
    LOCK_SCOPE(&m->lock);
    return m->peer_failed ? error_copy(err, &m->peer_error) : unresolved(m, err);
}

/* ---- target ---- */

static double step_ms(const struct participant *p, enum step step)
{
    return p->step_ms[step];
}

/* RUNNING to RESUMING goes through STOP, and with P2P through RUNNING_P2P. */
static double arc_ms(const struct participant *p, enum step step)
{
    bool p2p = participant_device_flags(p->opaque) & VMIG_MIGRATION_P2P;
    return p->step_ms[step] / (p2p ? 3 : 2);
}

/* What READY, LOADED and RUNNING tell of each device. */
struct told {
    const char *key;
    enum step step;
    double (*ms)(const struct participant *p, enum step step);
};
static const struct told told_ready[] = { { "arc_ms", STEP_LOAD_SETUP, arc_ms }, { 0 } };
static const struct told told_loaded[] = { { "load_ms", STEP_LOAD_COMPLETE, step_ms }, { 0 } };
static const struct told told_running[] = { { "start_p2p_ms", STEP_START_P2P, step_ms },
                                            { "start_ms", STEP_START, step_ms },
                                            { 0 } };

static json_t *device_times(const struct vmig_migration *m, const struct told *what)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (p->kind != PARTICIPANT_DEVICE)
            continue;
        json_t *times = json_pack("{s:s}", "id", p->id);
        for (const struct told *t = what; t->key; t++)
            json_object_set_new(times, t->key, json_real(t->ms(p, t->step)));
        json_array_append_new(list, times);
    }
    return json_pack("{s:o}", "devices", list);
}

static char *as_text(json_t *take)
{
    char *text = take ? json_dumps(take, JSON_COMPACT) : NULL;
    json_decref(take);
    return text;
}

/* The times are worth knowing, but not a failure when there is no memory for them. */
static int say(struct vmig_migration *m, uint16_t type, char *take_text, struct vmig_error *err)
{
    TRACE(migration_handover_say, run_side_name(m),
          type == WIRE_RP_READY    ? "READY"
          : type == WIRE_RP_LOADED ? "LOADED"
                                   : "RUNNING");
    CLEANUP_FREE char *times = take_text;
    const char *text = times ? times : "{}";
    return main_return(m, type, text, strlen(text), err);
}

int handover_say_ready(struct vmig_migration *m, struct vmig_error *err)
{
    return say(m, WIRE_RP_READY, as_text(device_times(m, told_ready)), err);
}

/* What the source says after LOADED: 1 for GO, 0 for "let go", negative when it cannot be heard; one
 * that was changed on its way is not heard either. @content: MESSAGE_CONTENT_MAX bytes. */
static int hear_verdict(struct qemu_stream *s, uint8_t *content, struct vmig_error *err)
{
    struct qemu_section section;
    int rc = qemu_read_section(s, &section, err);
    if (rc < 0)
        return rc;
    if (section.type != QEMU_COMMAND || !message_is_ours(section.command))
        return -EPROTO;
    rc = message_read(s->reader, section.command, (uint16_t)section.length, content);
    if (rc < 0)
        return rc;
    if (section.command == WIRE_CMD_GO)
        return 1;
    return section.command == WIRE_CMD_ABORT ? 0 : -EPROTO;
}

/* Does who took the step run with it? RUNNING_P2P counts: such a device works, it only starts no
 * peer-to-peer DMA. What the host's participants do nobody knows. */
static bool runs_with(const struct participant *p, enum step step)
{
    return p->kind == PARTICIPANT_OTHER || step == STEP_START ||
           participant_device_flags(p->opaque) & VMIG_MIGRATION_P2P;
}

/* Did somebody take the step and begin to run? Who is lost may have. */
static bool somebody_ran(const struct vmig_migration *m, enum step step)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (p->kind == PARTICIPANT_RAM || p->step != step)
            continue;
        if (crew_health(p) == VMIG_HEALTH_LOST || (p->step_rc == 0 && runs_with(p, step)))
            return true;
    }
    return false;
}

/* What runs here cannot be taken back any more, so this is where the workload stays. */
static int stands_still(struct vmig_error *cause, struct vmig_error *err)
{
    return error_set(err, cause->code, VMIG_STAGE_RESUME, cause->device, "workload-stopped",
                     "part of it ran here already, so it stays here, stopped: %.420s",
                     cause->text[0] ? cause->text : strerror(-cause->code));
}

/* *@ret_ran: something may have run, whether or not all do. */
static int run_target(struct vmig_migration *m, bool *ret_ran, struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    run_stage(m, VMIG_STAGE_RESUME);
    if (!run_state_arrived(m)) { /* paused: its devices stay in STOP until cont */
        *ret_ran = true;
        run_state_restored(m);
        return 0;
    }
    run_state_resumes(m);
    int rc = crew_run(m, STEP_START_P2P, &cause);
    *ret_ran = somebody_ran(m, STEP_START_P2P);
    if (rc == 0) {
        rc = crew_run(m, STEP_START, &cause);
        *ret_ran |= somebody_ran(m, STEP_START);
    }
    uint64_t start_ns = clock_ns();
    if (rc == 0 && m->host.start)
        rc = m->host.start(m->host.opaque, &cause);
    m->model.workload_start_ms = clock_ms_since(start_ns);
    *ret_ran |= rc == 0;
    error_set(&cause, rc, VMIG_STAGE_RESUME, NULL, NULL, "%s", strerror(-rc));
    if (rc == 0)
        run_state_restored(m);
    else if (*ret_ran)
        run_state_not_started(m);
    if (rc < 0)
        return *ret_ran ? stands_still(&cause, err) : error_copy(err, &cause);
    return 0;
}

static int go(struct vmig_migration *m, struct vmig_error *err)
{
    bool ran;
    {
        LOCK_SCOPE(&m->lock);
        handover_set_locked(m, HANDOVER_RUNNING);
    }
    trace_owner(m, HANDOVER_RUNNING);
    int rc = run_target(m, &ran, err);
    if (!ran) {
        LOCK_SCOPE(&m->lock);
        handover_set_locked(m, HANDOVER_NONE); /* target_fail() tells the source, which goes on */
    }
    if (rc < 0)
        return rc;
    if (m->one_way) /* whose source has closed: what it did not read would take its last bytes back */
        return 0;
    /* this side runs now, whether or not the source hears of it */
    json_t *times = device_times(m, told_running);
    json_object_set_new(times, "workload_ms", json_real(m->model.workload_start_ms));
    say(m, WIRE_RP_RUNNING, as_text(times), NULL);
    main_return(m, QEMU_RP_SHUT, &(uint32_t) { 0 }, sizeof(uint32_t), NULL);
    return 0;
}

int handover_target(struct vmig_migration *m, struct qemu_stream *s, struct vmig_error *err)
{
    if (m->one_way)
        return go(m, err);
    /* before LOADED: after it a lack of memory would leave the question open */
    CLEANUP_FREE uint8_t *verdict = malloc(MESSAGE_CONTENT_MAX);
    if (!verdict)
        return error_set(err, ENOMEM, VMIG_STAGE_HANDOVER, NULL, NULL, "out of memory");
    {
        LOCK_SCOPE(&m->lock);
        if (m->aborted)
            return error_copy(err, &m->first_error);
        handover_set_locked(m, HANDOVER_LOADED);
    }
    trace_owner(m, HANDOVER_LOADED);
    json_t *times = device_times(m, told_loaded);
    json_object_set_new(times, "vmstates_ms", json_real(m->model.vmstates_load_ms));
    int rc = say(m, WIRE_RP_LOADED, as_text(times), NULL);
    cancel_waiting(m, "the source to give up");
    if (rc == 0)
        rc = hear_verdict(s, verdict, NULL);
    cancel_waits_no_more(m);
    TRACE(migration_handover_hear, rc);
    if (rc == 1)
        return go(m, err);
    if (rc < 0)
        return unresolved(m, err);
    LOCK_SCOPE(&m->lock);
    handover_set_locked(m, HANDOVER_NONE);
    return error_set(err, ECANCELED, VMIG_STAGE_HANDOVER, NULL, "source-goes-on",
                     "the source took it back and goes on itself");
}

/* ---- settling ---- */

/* From unresolved to an end: everything that was kept is let go. */
static void settle(struct vmig_migration *m, enum handover end, enum vmig_status status)
{
    run_status(m, status);
    {
        LOCK_SCOPE(&m->lock);
        handover_set_locked(m, end);
    }
    trace_owner(m, end);
    run_end(m);
    /* last, for whoever waits may let go of the handle now */
    LOCK_SCOPE(&m->lock);
    m->unresolved = m->resolving = false;
    pthread_cond_broadcast(&m->changed);
}

static void discard(struct vmig_migration *m)
{
    bool source = m->side == SIDE_SOURCE;
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->moved = source;
    if (!source)
        crew_run(m, STEP_LOAD_ABORT, NULL);
    crew_run(m, STEP_CLEANUP, NULL);
    if (source)
        run_state_moved(m, true);
    else
        run_state_withdrawn(m);
    settle(m, HANDOVER_DISCARDED, source ? VMIG_STATUS_COMPLETED : VMIG_STATUS_FAILED);
}

static void end_resolving(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    m->resolving = false;
}

static int run_here(struct vmig_migration *m, struct vmig_error *ret_err)
{
    struct vmig_error ours = { 0 }, *err = &ours;
    bool source = m->side == SIDE_SOURCE;
    bool ran = true;
    int rc = source ? recovery_source(m, POINT_HANDOVER, err) : run_target(m, &ran, err);
    if (!ran) { /* so it is whole, and may be told to run once more, or to be discarded */
        run_state_waits(m);
        end_resolving(m);
        return error_copy(ret_err, &ours);
    }
    if (rc == 0)
        control_tell_peer(m); /* it kept its copy in case this side died in between */
    else
        m->resolved_error = *err;
    m->resolved_rc = rc;
    crew_run(m, STEP_CLEANUP, NULL);
    settle(m, source ? HANDOVER_TAKEN_BACK : HANDOVER_RUNNING,
           source || rc < 0 ? VMIG_STATUS_FAILED : VMIG_STATUS_COMPLETED);
    return rc < 0 ? error_copy(ret_err, &ours) : 0;
}

/* Only one thread settles at a time. */
static int begin_resolving(struct vmig_migration *m, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    if (!m->unresolved)
        return error_set(err, EALREADY, VMIG_STAGE_HANDOVER, NULL, "nothing-to-resolve",
                         "there is nothing to resolve here: status %s",
                         vmig_status_name(m->statistics.status));
    if (m->resolving)
        return error_set(err, EBUSY, VMIG_STAGE_HANDOVER, NULL, "resolving",
                         "this side is being resolved at the moment; try again");
    m->resolving = true;
    return 0;
}

static int want_word(struct vmig_error *err, const char *why)
{
    return error_set(
        err, ENOTCONN, VMIG_STAGE_HANDOVER, NULL, "other-side-unreachable",
        "%s; make sure that the other side does not run and did not run since, and say "
        "so with --other-side-gone",
        why);
}

/* Rules R1 and R3 of the model. While the question is open this side is `resolving`, and answers
 * the other side's own question with "busy". A lost answer costs nothing: the other side yielded at
 * most, and still has what it had. */
static int ask_other_side(struct vmig_migration *m, bool other_side_gone, struct vmig_error *err)
{
    struct vmig_error asked = { 0 };
    enum handover_answer answer = control_ask_peer(m, &asked);
    switch (answer) {
    case ANSWER_YOURS:
        return 0;
    case ANSWER_RUNNING:
        return error_set(err, EBUSY, VMIG_STAGE_HANDOVER, NULL, "other-side-runs",
                         "the other side runs, or has not given up; discard here instead");
    case ANSWER_BUSY:
        return error_set(err, EBUSY, VMIG_STAGE_HANDOVER, NULL, "other-side-asks",
                         "the other side is being resolved itself, or has not seen yet that the "
                         "connection broke; try again");
    case ANSWER_UNREACHABLE:
        break;
    }
    return other_side_gone ? 0 : want_word(err, asked.text);
}

static int resolve_run(struct vmig_migration *m, bool other_side_gone, struct vmig_error *err)
{
    int rc = ask_other_side(m, other_side_gone, err);
    if (rc < 0) {
        end_resolving(m);
        return rc;
    }
    return run_here(m, err);
}

VMIG_EXPORT int vmig_migration_resolve(struct vmig_migration *m, enum vmig_resolution resolution,
                                       bool other_side_gone, struct vmig_error *err)
{
    int rc = begin_resolving(m, err);
    if (rc < 0)
        return rc;
    TRACE(migration_resolve, run_side_name(m), resolution == VMIG_RESOLVE_RUN);
    if (resolution == VMIG_RESOLVE_RUN)
        return resolve_run(m, other_side_gone, err);
    discard(m);
    return 0;
}

/* R1, line by line. */
enum handover_answer handover_answer(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    if (m->handover == HANDOVER_DISCARDED || m->handover == HANDOVER_RELEASED)
        return ANSWER_YOURS;
    if (m->handover == HANDOVER_NONE && m->side == SIDE_TARGET)
        return ANSWER_BUSY; /* its start failed, and it is about to let go */
    if (m->handover == HANDOVER_NONE || m->handover == HANDOVER_RUNNING ||
        m->handover == HANDOVER_TAKEN_BACK)
        return ANSWER_RUNNING;
    if (m->resolving || !m->unresolved)
        return ANSWER_BUSY;
    m->yielded = true;
    return ANSWER_YOURS;
}

void handover_peer_runs(struct vmig_migration *m)
{
    bool ours;
    {
        LOCK_SCOPE(&m->lock);
        ours = m->yielded && m->unresolved && !m->resolving;
        m->resolving |= ours;
    }
    if (ours)
        discard(m);
}

VMIG_EXPORT int vmig_migration_wait_resolved(struct vmig_migration *m, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    while (m->unresolved && !atomic_load(&m->cancelled))
        run_wait_locked(m, UINT64_MAX);
    if (m->unresolved)
        return error_set(err, ECANCELED, VMIG_STAGE_HANDOVER, NULL, "cancelled",
                         "interrupted while the hand-over was unresolved");
    if (m->resolved_rc < 0)
        return error_copy(err, &m->resolved_error);
    return m->handover == HANDOVER_TAKEN_BACK || m->handover == HANDOVER_RUNNING;
}
