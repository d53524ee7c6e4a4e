/* SPDX-License-Identifier: BSD-3-Clause */
/* What both sides share: a fresh start, status and stages, the first error, the end. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/migration/blockers.h"
#include "lib/migration/migration.h"
#include "lib/trace/trace.h"

void participant_forgive(struct participant *p)
{
    p->health = VMIG_HEALTH_OK;
    if (p->device)
        device_accept_reset(p->device);
}

/* Everything that one run leaves behind is put back here, so that a second attempt starts clean. */
static void reset_participant(struct participant *p)
{
    p->pending = (struct vmig_pending) { 0 };
    p->pending_exact = p->moved = p->end_open = p->initial_due = p->ended = p->precopy =
        p->begins_again = false;
    p->initial_sent = p->initial_acked = 0;
    p->tracking.chosen = VMIG_DIRTY_AUTO;
    p->wanted = false;
    p->step = STEP_PREPARE;
    p->step_rc = 0;
    p->asks = p->asked = NULL;
    p->asks_since_ns = 0;
    p->budget_bytes = 0;
    participant_forgive(p);
    p->next_warning_ns = 0;
    p->credit_bytes = 0;
    p->sequence = 0;
    memset(&p->learned, 0, sizeof(p->learned));
    memset(&p->forecast, 0, sizeof(p->forecast));
    XXH3_64bits_reset(p->digest);
    inbox_reset(&p->inbox);
}

static void reset_run(struct vmig_migration *m)
{
    m->stage = VMIG_STAGE_NONE;
    m->aborted = m->unresolved = m->resolving = false;
    m->yielded = m->peer_failed = false;
    m->resolved_rc = 0;
    m->peer_error = (struct vmig_error) { 0 };
    m->first_error = (struct vmig_error) { 0 };
    m->handover = HANDOVER_NONE;
    statistics_reset_locked(m);
    m->link_dead = m->peer_ready = m->peer_loaded = m->peer_running = false;
    m->peer_hello = false;
    m->round_loaded = m->lanes_at_barrier = m->barrier_round = 0;
    m->window_bytes = 0;
    m->continued = m->committed = m->cancelled_late = m->told_late = false;
    m->waiting = (struct waiting) { 0 };
    free(take_ptr(m->peer_control));
    m->num_lanes = 0;
    XXH3_64bits_reset(m->said);
    XXH3_64bits_reset(m->heard);
    vmstates_reset(&m->vmstates);
    m->suspects_told = false;
    m->throttle.next_ns = 0;
    m->model = (struct time_model) { 0 };
    free(take_ptr(m->history));
    m->round = 0;
    m->notice.stands = false;
    m->set_up = m->workload_stopped = m->completing = m->peer_run_state = false;
    m->pause_start_ns = 0;
    m->told_unknown = NULL;
    m->one_way = m->switchover_ack = m->numbered_acks = m->ram_digest = false;
    m->lanes_wanted = 0;
    m->carrier = NULL;
    m->history_now_s = 0;
    m->pause_start_ns = 0;
}

/* The worker that was abandoned may still hold it. */
static int refuse_lost(const struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->lost)
            return error_set(err, EBUSY, VMIG_STAGE_PREPARE, m->participants[i]->id, "device-lost",
                             "it hung in an earlier attempt and was abandoned; reset it, open it "
                             "again and use a new migration");
    return 0;
}

const char *run_side_name(const struct vmig_migration *m)
{
    static const char *const names[] = {
        [SIDE_NONE] = "none", [SIDE_SOURCE] = "source", [SIDE_TARGET] = "target"
    };
    return names[m->side];
}

void run_set_identity(struct vmig_migration *m, const uint8_t identity[16])
{
    LOCK_SCOPE(&m->lock);
    memcpy(m->identity, identity, sizeof(m->identity));
}

/* It was said how it ended, and another thread is cleaning up: who heard that may ask for the next one. */
static bool is_ending_locked(const struct vmig_migration *m)
{
    enum vmig_status status = m->statistics.status;
    bool told = status == VMIG_STATUS_COMPLETED || status == VMIG_STATUS_CANCELLED ||
                status == VMIG_STATUS_FAILED;
    return told && !pthread_equal(m->runner, pthread_self());
}

/* What is under way comes first: a stop, a cont, the last steps of a migration. */
static int take_command_locked(struct vmig_migration *m, struct vmig_error *err)
{
    for (;;) {
        if (run_state_is_mine_locked(m) || (m->side != SIDE_NONE && !is_ending_locked(m)))
            return error_set(err, EBUSY, VMIG_STAGE_PREPARE, NULL, "migration-running",
                             "a migration with this handle runs already, or this is one of its "
                             "callbacks");
        if (m->side == SIDE_NONE && run_state_take_locked(m))
            return 0;
        run_sleep_locked(m, UINT64_MAX);
    }
}

static int may_run_locked(struct vmig_migration *m, enum side side, bool snapshot,
                          struct vmig_error *err)
{
    int rc = refuse_lost(m, err);
    if (rc == 0 && side == SIDE_SOURCE)
        rc = run_state_may_send_locked(m, err);
    if (rc == 0)
        rc = blockers_refuse_run_locked(m, side == SIDE_TARGET, err);
    return rc == 0 && side == SIDE_SOURCE ? blockers_veto_locked(m, snapshot, err) : rc;
}

int run_enter(struct vmig_migration *m, enum side side, bool snapshot, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    int rc = take_command_locked(m, err);
    if (rc < 0)
        return rc;
    rc = may_run_locked(m, side, snapshot, err);
    if (rc < 0) {
        run_state_give_back_locked(m);
        return rc;
    }
    enum vmig_status before = m->statistics.status;
    m->side = side;
    m->runner = pthread_self();
    reset_run(m);
    run_state_begin_locked(m, side == SIDE_SOURCE, snapshot);
    m->statistics.status = before; /* run_begin() goes on from there */
    m->start_ns = m->stage_start_ns = clock_ns();
    m->statistics.ram_bytes = ram_size_bytes(m->ram);
    return 0;
}

int run_begin(struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        reset_participant(m->participants[i]);
    run_status(m, VMIG_STATUS_SETUP);
    uint8_t identity[16] = { 0 };
    int rc = m->side == SIDE_SOURCE ? manifest_new_identity(identity, err) : 0;
    if (rc < 0)
        return rc;
    run_set_identity(m, identity);
    rc = cancel_watch(m, err);
    return rc < 0 ? rc : crew_start(m, err);
}

void run_end(struct vmig_migration *m)
{
    lanes_end(m);
    return_path_end(m);
    crew_end(m);
    free(take_ptr(m->page_copies));
    cancel_unwatch(m);
    m->main = channel_free(m->main);
    cancel_forget(m);
    LOCK_SCOPE(&m->lock);
    m->waiting = (struct waiting) { 0 };
    m->side = SIDE_NONE;
    run_state_give_back_locked(m);
    m->statistics.total_ms = clock_ms_since(m->start_ns);
}

int run_hold(struct vmig_migration *m)
{
    lanes_end(m);
    return_path_end(m);
    m->main = channel_free(m->main);
    cancel_forget(m); /* who cancelled the migration did not mean to throw away what is held now */
    run_status(m, VMIG_STATUS_UNRESOLVED);
    LOCK_SCOPE(&m->lock);
    m->unresolved = true;
    return -EUCLEAN;
}

/* Called with the lock held: let everybody who waits see that it is over. The main channel stays as
 * it is, so that the other side can be told. */
static void wake_all_locked(struct vmig_migration *m)
{
    pthread_cond_broadcast(&m->changed);
    eventfd_write(m->end_fd, 1);
    for (unsigned i = 0; i < m->num_lanes; i++)
        channel_shutdown(m->lanes[i].channel);
}

bool run_too_late_locked(const struct vmig_migration *m)
{
    return m->handover != HANDOVER_NONE || m->committed;
}

bool run_abort_locked(struct vmig_migration *m, const struct vmig_error *err)
{
    if (m->aborted || run_too_late_locked(m))
        return false;
    m->aborted = true;
    error_copy(&m->first_error, err);
    wake_all_locked(m);
    return true;
}

void run_close_inboxes(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        inbox_close(&m->participants[i]->inbox);
}

void run_abort(struct vmig_migration *m, const struct vmig_error *err)
{
    bool ends;
    {
        LOCK_SCOPE(&m->lock);
        ends = run_abort_locked(m, err);
    }
    if (!ends)
        return;
    TRACE(migrate_error, run_side_name(m), vmig_stage_name(err->stage), err->device, err->reason,
          err->text);
    run_close_inboxes(m);
}

static void abort_cancelled(struct vmig_migration *m)
{
    struct vmig_error err = { 0 };
    error_set(&err, ECANCELED, m->stage, NULL, "cancelled", "cancelled");
    run_abort(m, &err);
}

int run_check(struct vmig_migration *m, struct vmig_error *err)
{
    if (atomic_load(&m->cancelled))
        abort_cancelled(m);
    LOCK_SCOPE(&m->lock);
    if (!m->aborted)
        return 0;
    error_copy(err, &m->first_error);
    return m->first_error.code ? m->first_error.code : -ECANCELED;
}

void run_sleep_locked(struct vmig_migration *m, uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        pthread_cond_wait(&m->changed, &m->lock);
        return;
    }
    struct timespec ts = clock_timespec(deadline_ns);
    pthread_cond_timedwait(&m->changed, &m->lock, &ts);
}

void run_wait_locked(struct vmig_migration *m, uint64_t deadline_ns)
{
    if (!m->aborted)
        run_sleep_locked(m, deadline_ns);
}

void run_stage(struct vmig_migration *m, enum vmig_stage stage)
{
    {
        LOCK_SCOPE(&m->lock);
        uint64_t now = clock_ns(), sent = statistics_transferred(m);
        m->statistics.stage_ms[m->stage] += (double)(now - m->stage_start_ns) / 1e6;
        uint64_t before = 0;
        for (unsigned i = 0; i < VMIG_STAGE_COUNT; i++)
            before += m->statistics.stage_bytes[i];
        m->statistics.stage_bytes[m->stage] += sent - before;
        m->stage = stage;
        m->stage_start_ns = now;
    }
    TRACE(migration_stage, run_side_name(m), vmig_stage_name(stage), statistics_transferred(m));
    run_event(m, VMIG_EVENT_STAGE, NULL);
}

unsigned run_rounds(const struct vmig_migration *m)
{
    return m->round - m->model.link_measured;
}

/* What @event says beside this is the caller's. */
static void tell(struct vmig_migration *m, struct vmig_event event)
{
    event.stage = m->stage;
    event.round = run_rounds(m);
    event.sent_bytes = atomic_load(&m->sent_bytes);
    event.remaining_bytes = statistics_remaining(m);
    {
        LOCK_SCOPE(&m->lock);
        event.status = m->statistics.status;
        statistics_tick_locked(m);
    }
    listeners_tell(&m->listeners, &event);
    if (m->host.event)
        m->host.event(m->host.opaque, &event);
    observers_tell(&m->observers, &event);
}

void run_event(struct vmig_migration *m, enum vmig_event_kind kind, const char *text)
{
    bool notice = kind == VMIG_EVENT_QUIESCE_NOTICE;
    tell(m, (struct vmig_event) {
                .kind = kind, .text = text, .lead_ms = notice ? m->notice.lead_ms : 0 });
}

void run_device_event(struct vmig_migration *m, const char *id, enum vmig_state state)
{
    tell(m, (struct vmig_event) {
                .kind = VMIG_EVENT_DEVICE_STATE, .text = id, .device_state = state });
}

void run_warning(struct vmig_migration *m, const char *code, const char *text)
{
    tell(m, (struct vmig_event) { .kind = VMIG_EVENT_WARNING, .text = text, .code = code });
}
