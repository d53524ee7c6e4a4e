/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/migration/recovery.h"
#include "lib/stream/vmstate.h"
#include "lib/participant/device.h"
#include "lib/trace/trace.h"

/* ---- the table ---- */

#define BIT(state) (1u << VMIG_RUN_STATE_##state)
/* Where a VM may be saved or sent from, and so where a failure leads back to. */
#define STOPPED                                                                                    \
    (BIT(DEBUG) | BIT(INTERNAL_ERROR) | BIT(IO_ERROR) | BIT(PAUSED) | BIT(PRELAUNCH) |             \
     BIT(RESTORE_VM) | BIT(SHUTDOWN) | BIT(SUSPENDED) | BIT(WATCHDOG) | BIT(GUEST_PANICKED))
#define GOES (BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(INMIGRATE))
#define GOES_ON (BIT(RUNNING) | BIT(INTERNAL_ERROR))

/* What only the library says, for it is true only while or because it does something. */
#define OURS (BIT(FINISH_MIGRATE) | BIT(SAVE_VM) | BIT(POSTMIGRATE))

static const struct {
    const char *name;
    unsigned next; /* bits of what may follow by itself */
} rows[VMIG_RUN_STATE_COUNT] = {
    [VMIG_RUN_STATE_DEBUG] = { "debug", GOES | GOES_ON },
    [VMIG_RUN_STATE_INMIGRATE] = { "inmigrate",
                                   STOPPED | BIT(RUNNING) | BIT(POSTMIGRATE) | BIT(INMIGRATE) },
    [VMIG_RUN_STATE_INTERNAL_ERROR] = { "internal-error", GOES },
    [VMIG_RUN_STATE_IO_ERROR] = { "io-error", GOES | GOES_ON },
    [VMIG_RUN_STATE_PAUSED] = { "paused", GOES | GOES_ON },
    [VMIG_RUN_STATE_POSTMIGRATE] = { "postmigrate",
                                     BIT(RUNNING) | BIT(INMIGRATE) | BIT(INTERNAL_ERROR) },
    [VMIG_RUN_STATE_PRELAUNCH] = { "prelaunch", GOES | GOES_ON },
    [VMIG_RUN_STATE_FINISH_MIGRATE] = { "finish-migrate",
                                        STOPPED | BIT(RUNNING) | BIT(POSTMIGRATE) },
    [VMIG_RUN_STATE_RESTORE_VM] = { "restore-vm", GOES | GOES_ON },
    [VMIG_RUN_STATE_RUNNING] = { "running", GOES | BIT(PAUSED) | BIT(INTERNAL_ERROR) },
    [VMIG_RUN_STATE_SAVE_VM] = { "save-vm", STOPPED | BIT(RUNNING) },
    [VMIG_RUN_STATE_SHUTDOWN] = { "shutdown", GOES | BIT(INTERNAL_ERROR) },
    [VMIG_RUN_STATE_SUSPENDED] = { "suspended", GOES | GOES_ON },
    [VMIG_RUN_STATE_WATCHDOG] = { "watchdog", GOES | GOES_ON },
    [VMIG_RUN_STATE_GUEST_PANICKED] = { "guest-panicked", GOES | GOES_ON },
};

VMIG_EXPORT const char *vmig_run_state_name(enum vmig_run_state state)
{
    return (unsigned)state < VMIG_RUN_STATE_COUNT ? rows[state].name : "?";
}

bool run_state_is_legal(enum vmig_run_state from, enum vmig_run_state to)
{
    return rows[from].next & 1u << to;
}

/* What the table does not have would be a mistake of ours, and is not done. */
static void set_locked(struct vmig_migration *m, enum vmig_run_state state)
{
    if (run_state_is_legal(m->run.now, state)) {
        TRACE(runstate_set, vmig_run_state_name(m->run.now), vmig_run_state_name(state));
        m->run.now = state;
    }
    pthread_cond_broadcast(&m->changed);
}

static void set(struct vmig_migration *m, enum vmig_run_state state)
{
    LOCK_SCOPE(&m->lock);
    set_locked(m, state);
}

VMIG_EXPORT enum vmig_run_state vmig_migration_run_state(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    return m->run.now;
}

VMIG_EXPORT int vmig_migration_set_run_state(struct vmig_migration *m, enum vmig_run_state state,
                                             struct vmig_error *err)
{
    if ((unsigned)state >= VMIG_RUN_STATE_COUNT || OURS & 1u << state)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "run state %s (%d) is not a host's to say", vmig_run_state_name(state),
                         (int)state);
    LOCK_SCOPE(&m->lock);
    if (m->side != SIDE_NONE || m->run.taken)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "the run state is the migration's while it runs");
    m->run.now = state;
    m->run.elsewhere = false;
    pthread_cond_broadcast(&m->changed);
    return 0;
}

/* ---- the command ---- */

bool run_state_take_locked(struct vmig_migration *m)
{
    if (m->run.taken)
        return false;
    m->run.taken = true;
    m->run.commander = pthread_self();
    return true;
}

void run_state_give_back_locked(struct vmig_migration *m)
{
    m->run.taken = false;
    pthread_cond_broadcast(&m->changed);
}

bool run_state_is_mine_locked(const struct vmig_migration *m)
{
    return m->run.taken && pthread_equal(m->run.commander, pthread_self());
}

void run_state_leave(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    run_state_give_back_locked(m);
}

void run_state_return(struct vmig_migration *m)
{
    {
        LOCK_SCOPE(&m->lock);
        while (!run_state_take_locked(m))
            run_sleep_locked(m, UINT64_MAX);
    }
    run_state_apply(m);
}

int run_state_check(struct vmig_migration *m, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    if (m->run.before != VMIG_RUN_STATE_RUNNING || m->run.now == VMIG_RUN_STATE_RUNNING)
        return 0;
    m->run.before = m->run.now;
    return error_set(err, EIO, m->stage, NULL, "workload-stopped",
                     "a stop failed meanwhile and the VM stands still (%s), so it is not sent; see "
                     "to what that stop named first",
                     vmig_run_state_name(m->run.now));
}

/* ---- events ---- */

static void tell_stop(struct vmig_migration *m)
{
    bool told;
    {
        LOCK_SCOPE(&m->lock);
        told = m->run.stop_told;
        m->run.stop_told = true;
    }
    if (!told)
        run_event(m, VMIG_EVENT_STOP, NULL);
}

void run_state_resumes(struct vmig_migration *m)
{
    bool told;
    {
        LOCK_SCOPE(&m->lock);
        told = m->run.stop_told && m->run.before == VMIG_RUN_STATE_RUNNING;
        m->run.stop_told &= !told;
    }
    if (told)
        run_event(m, VMIG_EVENT_RESUME, NULL);
}

/* ---- a run ---- */

int run_state_may_send_locked(struct vmig_migration *m, struct vmig_error *err)
{
    if (m->run.now == VMIG_RUN_STATE_POSTMIGRATE)
        return error_set(err, EBUSY, VMIG_STAGE_PREPARE, NULL, "postmigrate",
                         "this VM has been sent already (postmigrate); continue it first");
    if (m->run.now == VMIG_RUN_STATE_INMIGRATE)
        return error_set(err, EBUSY, VMIG_STAGE_PREPARE, NULL, "inmigrate",
                         "this VM waits to be received (inmigrate), so there is nothing to send");
    return 0;
}

void run_state_begin_locked(struct vmig_migration *m, bool source, bool snapshot)
{
    m->run.snapshot = snapshot;
    m->run.before = m->run.applied = m->run.began = m->run.now;
    m->run.arrived = VMIG_RUN_STATE_RUNNING;
    m->run.told = false;
    m->run.stop_told = !source || m->run.now != VMIG_RUN_STATE_RUNNING;
    if (!source)
        set_locked(m, VMIG_RUN_STATE_INMIGRATE);
}

bool run_state_runs(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    return m->run.before == VMIG_RUN_STATE_RUNNING;
}

bool run_state_interrupts(struct vmig_migration *m)
{
    enum vmig_stage stage = atomic_load(&m->stage);
    return (stage == VMIG_STAGE_ROUNDS || stage == VMIG_STAGE_SWITCHOVER) &&
           atomic_load(&m->run.stops) > 0;
}

void run_state_apply(struct vmig_migration *m)
{
    enum vmig_run_state before;
    {
        LOCK_SCOPE(&m->lock);
        before = m->run.before;
    }
    if (before == m->run.applied)
        return;
    m->run.applied = before;
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->kind == PARTICIPANT_DEVICE)
            participant_device_ends(m->participants[i]->opaque, before == VMIG_RUN_STATE_RUNNING);
}

void run_state_stopped(struct vmig_migration *m, bool asked)
{
    if (asked) {
        LOCK_SCOPE(&m->lock);
        m->run.before = VMIG_RUN_STATE_PAUSED;
        set_locked(m, VMIG_RUN_STATE_PAUSED);
    }
    tell_stop(m);
    set(m, m->run.snapshot ? VMIG_RUN_STATE_SAVE_VM : VMIG_RUN_STATE_FINISH_MIGRATE);
}

void run_state_restored(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    set_locked(m, m->run.before);
}

void run_state_not_started(struct vmig_migration *m)
{
    tell_stop(m);
    set(m, VMIG_RUN_STATE_PAUSED);
}

void run_state_broken(struct vmig_migration *m)
{
    tell_stop(m);
    set(m, VMIG_RUN_STATE_INTERNAL_ERROR);
}

bool run_state_arrived(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    m->run.before = m->run.arrived;
    return m->run.before == VMIG_RUN_STATE_RUNNING;
}

/* A VM that stood still here is gone when the one that was to take its place is. One that went
 * elsewhere is cared for there, and may come again. */
static bool was_overwritten_locked(const struct vmig_migration *m)
{
    unsigned stood_still = (STOPPED & ~BIT(PRELAUNCH)) | (m->run.elsewhere ? 0 : BIT(POSTMIGRATE));
    return m->set_up && stood_still & 1u << m->run.began;
}

void run_state_withdrawn(struct vmig_migration *m)
{
    tell_stop(m);
    LOCK_SCOPE(&m->lock);
    m->run.before = was_overwritten_locked(m) ? VMIG_RUN_STATE_INTERNAL_ERROR : m->run.began;
    set_locked(m, m->run.before);
}

void run_state_waits(struct vmig_migration *m)
{
    tell_stop(m);
}

void run_state_moved(struct vmig_migration *m, bool elsewhere)
{
    LOCK_SCOPE(&m->lock);
    m->run.elsewhere = elsewhere;
    set_locked(m, VMIG_RUN_STATE_POSTMIGRATE);
}

/* ---- on the wire ---- */

#define NAME_BYTES 100

/* Its table: the name's length with its NUL, and a field of its own for the name. */
struct told {
    uint32_t length;
    char name[NAME_BYTES];
};
static const struct vmig_vmstate_field told_fields[] = {
    VMIG_VMSTATE_UINT32(length, struct told),
    VMIG_VMSTATE_BUFFER(name, struct told),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate told_vmstate = {
    .name = RUN_STATE_IDSTR, .version = 1, .minimum_version = 1, .fields = told_fields
};

int run_state_may_be_told(struct vmig_migration *m, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    if (m->one_way || m->peer_run_state || m->run.before == VMIG_RUN_STATE_RUNNING)
        return 0;
    return error_set(err, EOPNOTSUPP, m->stage, NULL, "run-state-unknown",
                     "the VM is %s and the target is of a version that would start it; continue "
                     "the VM before it is migrated, or update the target",
                     vmig_run_state_name(m->run.before));
}

int run_state_write(struct vmig_migration *m, uint32_t section_id, struct writer *w,
                    struct writer *description, struct vmig_error *err)
{
    struct told told = { 0 };
    {
        LOCK_SCOPE(&m->lock);
        m->run.told = true;
        snprintf(told.name, sizeof(told.name), "%s", vmig_run_state_name(m->run.before));
        if (!m->one_way && !m->peer_run_state)
            return 0;
    }
    told.length = (uint32_t)strlen(told.name) + 1;
    qemu_write_full(w, section_id, RUN_STATE_IDSTR, 0, told_vmstate.version);
    int rc = vmstate_save_section(&told_vmstate, &told, RUN_STATE_IDSTR, 0, w, description, err);
    qemu_write_footer(w, section_id);
    return rc;
}

/* A VM that was caught in a state of its own migration is none that runs. */
static enum vmig_run_state as_arrived(enum vmig_run_state state)
{
    unsigned kept = STOPPED | BIT(RUNNING);
    return kept & 1u << state ? state : VMIG_RUN_STATE_PAUSED;
}

int run_state_read(struct vmig_migration *m, uint32_t version, struct reader *r,
                   struct vmig_error *err)
{
    struct told told;
    uint64_t start = r->offset;
    int rc = vmstate_load(&told_vmstate, version, &told, r, err);
    if (rc < 0)
        return rc;
    bool sound = told.length >= 1 && told.length <= sizeof(told.name) &&
                 memchr(told.name, '\0', told.length);
    for (int state = 0; sound && state < VMIG_RUN_STATE_COUNT; state++)
        if (strcmp(told.name, rows[state].name) == 0) {
            LOCK_SCOPE(&m->lock);
            m->run.arrived = as_arrived((enum vmig_run_state)state);
            return 0;
        }
    return error_set(err, EPROTO, m->stage, NULL, "bad-stream",
                     "offset %" PRIu64 ": the stream's run state \"%.*s\" is none; is the source a "
                     "newer version?",
                     start, sound ? (int)told.length : 0, told.name);
}

/* ---- stop and cont ---- */

/* What a call of stop or cont finds. */
enum finding {
    FOUND_DONE,    /* nothing to do */
    FOUND_COMMAND, /* it has the command now */
    FOUND_BUSY,  /* somebody else does something about it: look again when something has changed */
    FOUND_ENDED, /* the same, and the run was told to end */
    FOUND_NO,    /* @err says why not */
};

static enum finding no(struct vmig_error *err, int code, const char *reason, const char *text)
{
    error_set(err, code, VMIG_STAGE_NONE, NULL, reason, "%s", text);
    return FOUND_NO;
}

/* What forbids both of them. */
static enum finding look_at_both_locked(struct vmig_migration *m, struct vmig_error *err)
{
    if (m->unresolved)
        return no(err, EBUSY, "handover-unresolved",
                  "the hand-over is unresolved, so nobody knows who is to run; resolve it first");
    if (m->run.now == VMIG_RUN_STATE_INMIGRATE)
        return no(err, EBUSY, "inmigrate",
                  "the VM is being received, or waits to be; this is possible once it is here");
    if (run_state_is_mine_locked(m))
        return no(err, EDEADLK, "own-callback",
                  "this thread is in a callback of what would have to end first; call it from "
                  "another one");
    return FOUND_BUSY;
}

/* In the pause of a migration: it stands still already, and is to stay so. When the pause ends here, by
 * a failure or as a snapshot's does, the VM is stopped after it. */
static enum finding stop_in_pause_locked(struct vmig_migration *m, struct vmig_error *err)
{
    if (m->aborted || m->committed)
        return FOUND_BUSY;
    if (m->run.before != VMIG_RUN_STATE_RUNNING)
        return FOUND_DONE;
    if (m->run.told && m->run.snapshot)
        return FOUND_BUSY;
    if (!m->one_way && !m->peer_run_state)
        return no(err, EBUSY, "run-state-unknown",
                  "the target is of a version that would start the VM; cancel the migration, then "
                  "stop");
    if (m->run.told)
        return no(err, EBUSY, "handover-running",
                  "the VM is being handed over and the target was told to run it; stop it there, "
                  "or here if that fails");
    m->run.before = VMIG_RUN_STATE_PAUSED;
    return FOUND_DONE;
}

static enum finding look_at_stop_locked(struct vmig_migration *m, struct vmig_error *err)
{
    if (look_at_both_locked(m, err) == FOUND_NO)
        return FOUND_NO;
    if (m->run.now == VMIG_RUN_STATE_FINISH_MIGRATE || m->run.now == VMIG_RUN_STATE_SAVE_VM)
        return stop_in_pause_locked(m, err);
    if (m->run.now != VMIG_RUN_STATE_RUNNING)
        return FOUND_DONE;
    return run_state_take_locked(m) ? FOUND_COMMAND : FOUND_BUSY;
}

/* The run ends, and its failure starts the VM. */
static enum finding end_run_locked(struct vmig_migration *m, struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    if (m->committed || m->run.now == VMIG_RUN_STATE_POSTMIGRATE)
        return FOUND_BUSY; /* it ends by itself */
    if (m->handover != HANDOVER_NONE)
        return no(err, EBUSY, "handover-running",
                  "the VM is being handed over; continue it at the target, or here if that fails");
    error_set(&why, EAGAIN, m->stage, NULL, "vm-continued",
              "the VM was paused and was continued before it had moved; it runs here, migrate "
              "again");
    if (!run_abort_locked(m, &why))
        return FOUND_BUSY; /* nor does it need this */
    m->run.before = VMIG_RUN_STATE_RUNNING;
    return FOUND_ENDED;
}

static enum finding look_at_cont_locked(struct vmig_migration *m, struct vmig_error *err)
{
    if (m->run.now == VMIG_RUN_STATE_RUNNING)
        return FOUND_DONE;
    if (look_at_both_locked(m, err) == FOUND_NO)
        return FOUND_NO;
    if (m->run.now == VMIG_RUN_STATE_INTERNAL_ERROR || m->run.now == VMIG_RUN_STATE_SHUTDOWN)
        return no(err, ENOTRECOVERABLE, "reset-required",
                  "the VM cannot go on as it is (a device lost its state, or it was shut down); "
                  "reset it with its devices, and say so");
    if (m->run.now == VMIG_RUN_STATE_POSTMIGRATE && m->run.elsewhere)
        return no(err, EPERM, "runs-elsewhere",
                  "the VM went to somebody who may run it, and only one may; continue it there "
                  "(if that one is gone and never ran, say so: run state paused)");
    bool pause =
        m->run.now == VMIG_RUN_STATE_FINISH_MIGRATE || m->run.now == VMIG_RUN_STATE_SAVE_VM;
    if (pause && m->run.before == VMIG_RUN_STATE_RUNNING && !m->aborted)
        return no(err, EBUSY, "migration-pause",
                  "the VM stands still for its migration or snapshot, which is about to end; "
                  "cancel that to let it run on here");
    if (m->side == SIDE_SOURCE)
        return end_run_locked(m, err);
    return run_state_take_locked(m) ? FOUND_COMMAND : FOUND_BUSY;
}

/* Between runs there are no workers, and what an old run left is nobody's. */
static int begin_command(struct vmig_migration *m, struct vmig_error *err)
{
    if (m->side != SIDE_NONE)
        return 0;
    {
        LOCK_SCOPE(&m->lock);
        m->run.before = m->run.applied = m->run.now;
    }
    for (unsigned i = 0; i < m->num_participants; i++)
        participant_forgive(m->participants[i]);
    int rc = crew_start(m, err);
    if (rc < 0)
        crew_end(m);
    return rc;
}

static void end_command(struct vmig_migration *m)
{
    if (m->side == SIDE_NONE)
        crew_end(m);
    LOCK_SCOPE(&m->lock);
    run_state_give_back_locked(m);
}

static int halt_devices(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = crew_run(m, STEP_HALT_P2P, err);
    return rc < 0 ? rc : crew_run(m, STEP_HALT, err);
}

static int host_stop(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = m->host.stop ? m->host.stop(m->host.opaque, err) : 0;
    if (rc < 0)
        error_set(err, rc, VMIG_STAGE_QUIESCE, NULL, NULL, "the host: %s", strerror(-rc));
    error_locate(err, VMIG_STAGE_QUIESCE, NULL);
    return rc;
}

/* What refuses leaves everything as it was. */
static int do_stop(struct vmig_migration *m, struct vmig_error *ret_err)
{
    struct vmig_error err = { 0 }, recovery = { 0 };
    m->workload_stopped = true;
    int rc = host_stop(m, &err);
    if (rc == 0)
        rc = halt_devices(m, &err);
    if (rc == 0) {
        {
            LOCK_SCOPE(&m->lock);
            m->run.before = VMIG_RUN_STATE_PAUSED;
            set_locked(m, VMIG_RUN_STATE_PAUSED);
        }
        tell_stop(m);
        return 0;
    }
    if (recovery_source(m, POINT_QUIESCE, &recovery) < 0) {
        error_prefix(&recovery, "%.240s; then", err.text);
        err = recovery;
    }
    return error_copy(ret_err, &err);
}

static int host_start(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = m->host.start ? m->host.start(m->host.opaque, err) : 0;
    if (rc < 0)
        error_set(err, rc, VMIG_STAGE_RESUME, NULL, NULL, "the host: %s", strerror(-rc));
    error_locate(err, VMIG_STAGE_RESUME, NULL);
    if (rc < 0 && m->host.stop)
        m->host.stop(m->host.opaque, NULL);
    return rc;
}

/* Back to a standstill; with a device that lost its state there is no going on from there. */
static void stand_still_again(struct vmig_migration *m)
{
    halt_devices(m, NULL);
    if (crew_worst(m))
        run_state_broken(m);
    else
        tell_stop(m);
}

static int do_cont(struct vmig_migration *m, struct vmig_error *ret_err)
{
    struct vmig_error err = { 0 };
    {
        LOCK_SCOPE(&m->lock);
        m->run.before = VMIG_RUN_STATE_RUNNING;
        m->run.stop_told = true; /* it may have been told by the host, or never */
    }
    run_state_resumes(m);
    int rc = crew_run(m, STEP_CONT_P2P, &err);
    if (rc == 0)
        rc = crew_run(m, STEP_CONT, &err);
    if (rc == 0)
        rc = host_start(m, &err);
    if (rc < 0) {
        stand_still_again(m);
        return error_copy(ret_err, &err);
    }
    m->workload_stopped = false;
    set(m, VMIG_RUN_STATE_RUNNING);
    return 0;
}

static const struct order {
    enum finding (*look_locked)(struct vmig_migration *m, struct vmig_error *err);
    int (*carry_out)(struct vmig_migration *m, struct vmig_error *err);
    bool interrupts; /* rounds end for it */
} order_stop = { look_at_stop_locked, do_stop, true },
  order_cont = { look_at_cont_locked, do_cont, false };

/* Wait until something is to be done by this thread, or not at all. */
static enum finding find(struct vmig_migration *m, const struct order *order,
                         struct vmig_error *err)
{
    enum finding finding;
    pthread_mutex_lock(&m->lock);
    atomic_fetch_add(&m->run.stops, order->interrupts);
    pthread_cond_broadcast(&m->changed); /* the engine may wait for something else */
    while ((finding = order->look_locked(m, err)) == FOUND_BUSY || finding == FOUND_ENDED) {
        if (finding == FOUND_ENDED) { /* inboxes have locks of their own, which come first */
            pthread_mutex_unlock(&m->lock);
            run_close_inboxes(m);
            pthread_mutex_lock(&m->lock);
        } else {
            run_sleep_locked(m, UINT64_MAX);
        }
    }
    atomic_fetch_sub(&m->run.stops, order->interrupts);
    pthread_mutex_unlock(&m->lock);
    return finding;
}

static int give_order(struct vmig_migration *m, const struct order *order, struct vmig_error *err)
{
    struct vmig_error ours = { 0 };
    enum finding finding = find(m, order, &ours);
    if (finding != FOUND_COMMAND)
        return finding == FOUND_DONE ? 0 : error_copy(err, &ours);
    int rc = begin_command(m, &ours);
    if (rc == 0)
        rc = order->carry_out(m, &ours);
    end_command(m);
    return rc < 0 ? error_copy(err, &ours) : 0;
}

VMIG_EXPORT int vmig_migration_stop(struct vmig_migration *m, struct vmig_error *err)
{
    return give_order(m, &order_stop, err);
}

VMIG_EXPORT int vmig_migration_cont(struct vmig_migration *m, struct vmig_error *err)
{
    return give_order(m, &order_cont, err);
}
