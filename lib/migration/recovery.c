/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/error.h"
#include "lib/migration/recovery.h"
#include "lib/trace/trace.h"

/* ---- the tables ---- */

#define NO_STATE RECOVERY_NO_STATE

static const char *const point_names[] = {
    [POINT_PREPARE] = "prepare",         [POINT_SETUP] = "setup",
    [POINT_ROUNDS] = "rounds",           [POINT_SWITCHOVER] = "switchover",
    [POINT_QUIESCE] = "quiesce",         [POINT_COMPLETE] = "complete",
    [POINT_HANDOVER] = "hand-over",      [POINT_START] = "start",
    [POINT_GAVE_UP] = "given up",        [POINT_GO] = "GO heard",
    [POINT_STARTED] = "started in part", [POINT_CLEANUP] = "cleanup",
};
_Static_assert(sizeof(point_names) / sizeof(point_names[0]) == POINT_COUNT, "a name for each");

static const char *const end_names[] = {
    [END_UNTOUCHED] = "untouched", [END_RUNNING] = "RUNNING", [END_RESET] = "reset",
    [END_HELD] = "held",           [END_KEPT] = "kept",       [END_STOPPED] = "STOP",
};
_Static_assert(sizeof(end_names) / sizeof(end_names[0]) == END_COUNT, "a name for each");

static const char *const workload_names[] = {
    [WORKLOAD_AT_SOURCE] = "source",
    [WORKLOAD_AT_TARGET] = "target",
    [WORKLOAD_STOPPED] = "stopped",
};
_Static_assert(sizeof(workload_names) / sizeof(workload_names[0]) == WORKLOAD_COUNT,
               "a name for each");

/* A device that refuses to stop goes back as far as the others allow: while one of them stands in
 * STOP_COPY, RUNNING would let it write to that one's memory. The way to RUNNING is after the
 * barrier of resume-p2p. For the same reason who refuses that waits in STOP and tries RUNNING with
 * the others.
 *
 * The target's start: before anything ran the source may have it all back, so a device that refuses
 * RUNNING_P2P stays in STOP; and one that refuses RUNNING keeps what it has loaded. */
static const struct recovery_arc arcs[] = {
    { STEP_SETUP, "setup", VMIG_STATE_PRE_COPY, VMIG_STATE_RUNNING, VMIG_STATE_PRE_COPY,
      VMIG_STATE_RUNNING },
    { STEP_QUIESCE, "quiesce", VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING, NO_STATE, NO_STATE },
    { STEP_UNQUIESCE, "unquiesce", VMIG_STATE_RUNNING, VMIG_STATE_RUNNING, NO_STATE, NO_STATE },
    { STEP_STOP, "stop", VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING_P2P, VMIG_STATE_STOP_COPY,
      VMIG_STATE_RUNNING },
    { STEP_RESUME_P2P, "resume-p2p", VMIG_STATE_RUNNING_P2P, VMIG_STATE_STOP, NO_STATE, NO_STATE },
    { STEP_RESUME, "resume", VMIG_STATE_RUNNING, VMIG_STATE_ERROR, VMIG_STATE_RUNNING,
      VMIG_STATE_ERROR },
    { STEP_LOAD_SETUP, "load-setup", VMIG_STATE_RESUMING, VMIG_STATE_RUNNING, VMIG_STATE_RESUMING,
      VMIG_STATE_RUNNING },
    { STEP_LOAD_COMPLETE, "load-complete", VMIG_STATE_STOP, VMIG_STATE_ERROR, VMIG_STATE_STOP,
      VMIG_STATE_ERROR },
    { STEP_START_P2P, "start-p2p", VMIG_STATE_RUNNING_P2P, VMIG_STATE_STOP, NO_STATE, NO_STATE },
    { STEP_START, "start", VMIG_STATE_RUNNING, VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING,
      VMIG_STATE_STOP },
    { STEP_CLEANUP, "cleanup", VMIG_STATE_STOP, VMIG_STATE_ERROR, VMIG_STATE_STOP,
      VMIG_STATE_ERROR },
    { STEP_HALT_P2P, "halt-p2p", VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING, NO_STATE, NO_STATE },
    { STEP_HALT, "halt", VMIG_STATE_STOP, VMIG_STATE_RUNNING_P2P, VMIG_STATE_STOP,
      VMIG_STATE_RUNNING },
    { STEP_CONT_P2P, "cont-p2p", VMIG_STATE_RUNNING_P2P, VMIG_STATE_STOP, NO_STATE, NO_STATE },
    { STEP_CONT, "cont", VMIG_STATE_RUNNING, VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING,
      VMIG_STATE_STOP },
};

#define BOTH (AT_SOURCE | AT_TARGET)
#define ANY (HAS_STATE | WAS_RESET | IS_LOST)

static const struct recovery_row rows[] = {
    { POINT_PREPARE, POINT_PREPARE, BOTH, HAS_STATE, END_UNTOUCHED, END_UNTOUCHED,
      WORKLOAD_AT_SOURCE, 1, 1 },
    { POINT_PREPARE, POINT_PREPARE, AT_SOURCE, IS_LOST, END_UNTOUCHED, END_UNTOUCHED,
      WORKLOAD_AT_SOURCE, 5, 1 },

    { POINT_SETUP, POINT_START, AT_SOURCE, HAS_STATE, END_RUNNING, END_RESET, WORKLOAD_AT_SOURCE, 1,
      1 },
    { POINT_SETUP, POINT_START, AT_SOURCE, WAS_RESET | IS_LOST, END_RUNNING, END_RESET,
      WORKLOAD_STOPPED, 5, 1 },
    { POINT_SETUP, POINT_START, AT_TARGET, HAS_STATE | WAS_RESET, END_RUNNING, END_RESET,
      WORKLOAD_AT_SOURCE, 1, 1 },
    { POINT_SETUP, POINT_START, AT_TARGET, IS_LOST, END_RUNNING, END_RESET, WORKLOAD_AT_SOURCE, 1,
      5 },

    { POINT_GAVE_UP, POINT_GAVE_UP, BOTH, ANY, END_HELD, END_HELD, WORKLOAD_STOPPED, 4, 4 },
    { POINT_GO, POINT_GO, BOTH, ANY, END_HELD, END_RUNNING, WORKLOAD_AT_TARGET, 4, 0 },
    { POINT_STARTED, POINT_STARTED, BOTH, ANY, END_HELD, END_KEPT, WORKLOAD_STOPPED, 4, 5 },
    { POINT_CLEANUP, POINT_CLEANUP, BOTH, ANY, END_STOPPED, END_RUNNING, WORKLOAD_AT_TARGET, 0, 0 },
};

const struct recovery_arc *recovery_arc_at(unsigned n)
{
    return n < sizeof(arcs) / sizeof(arcs[0]) ? &arcs[n] : NULL;
}

const struct recovery_arc *recovery_arc(enum step step)
{
    for (unsigned n = 0; recovery_arc_at(n); n++)
        if (arcs[n].step == step)
            return &arcs[n];
    return NULL;
}

const struct recovery_row *recovery_row_at(unsigned n)
{
    return n < sizeof(rows) / sizeof(rows[0]) ? &rows[n] : NULL;
}

const struct recovery_row *recovery_find(enum recovery_point point, enum side at,
                                         enum vmig_health worst)
{
    for (unsigned n = 0; recovery_row_at(n); n++)
        if (rows[n].first <= point && point <= rows[n].last && rows[n].at & 1u << at &&
            rows[n].worst & 1u << worst)
            return &rows[n];
    return NULL;
}

const char *recovery_point_name(enum recovery_point point)
{
    return (unsigned)point < POINT_COUNT ? point_names[point] : "?";
}

const char *recovery_end_name(enum recovery_end end)
{
    return (unsigned)end < END_COUNT ? end_names[end] : "?";
}

const char *recovery_workload_name(enum recovery_workload workload)
{
    return (unsigned)workload < WORKLOAD_COUNT ? workload_names[workload] : "?";
}

/* ---- where it is ---- */

static enum recovery_point handover_point(const struct vmig_migration *m)
{
    switch (m->handover) {
    case HANDOVER_GAVE_UP:
    case HANDOVER_LOADED:
        return POINT_GAVE_UP;
    case HANDOVER_RUNNING:
        return POINT_STARTED;
    default:
        return POINT_HANDOVER;
    }
}

enum recovery_point recovery_point(struct vmig_migration *m)
{
    static const enum recovery_point of_stage[VMIG_STAGE_COUNT] = {
        [VMIG_STAGE_SETUP] = POINT_SETUP,           [VMIG_STAGE_ROUNDS] = POINT_ROUNDS,
        [VMIG_STAGE_SWITCHOVER] = POINT_SWITCHOVER, [VMIG_STAGE_QUIESCE] = POINT_QUIESCE,
        [VMIG_STAGE_COMPLETE] = POINT_COMPLETE,     [VMIG_STAGE_RESUME] = POINT_START,
    };
    if (!m->set_up)
        return POINT_PREPARE;
    if (m->handover == HANDOVER_RELEASED)
        return POINT_CLEANUP;
    if (m->handover == HANDOVER_NONE && of_stage[m->stage] != POINT_PREPARE)
        return of_stage[m->stage];
    return handover_point(m);
}

/* ---- telling ---- */

static const char *what_happened(const struct participant *p)
{
    if (p->lost)
        return "hangs";
    if (!p->device)
        return "did not resume";
    return crew_health(p) == VMIG_HEALTH_LOST ? "is lost" : "had to be reset";
}

static void tell_host(struct vmig_migration *m, const struct vmig_error *err)
{
    char text[sizeof(err->text) + sizeof(err->device) + 2];
    snprintf(text, sizeof(text), "%s: %s", err->device, err->text);
    run_event(m, VMIG_EVENT_STATE_LOST, text);
}

/* ---- source ---- */

/* A workload that ran until now must not run on with a device that is new to it. */
static void stand_still(struct vmig_migration *m)
{
    struct vmig_error err = { 0 };
    bool runs = !m->workload_stopped && vmig_migration_run_state(m) == VMIG_RUN_STATE_RUNNING;
    m->workload_stopped = true;
    if (runs && m->host.stop && m->host.stop(m->host.opaque, &err) < 0)
        run_warning(m, "workload-not-stopped",
                    "the host could not stop the workload, which has lost a device's state");
    run_state_broken(m);
}

static int stay_stopped(struct vmig_migration *m, const struct participant *casualty,
                        const struct vmig_error *cause, struct vmig_error *ret_err)
{
    struct vmig_error err = { 0 };
    stand_still(m);
    error_set(
        &err, cause->code ? cause->code : EIO, VMIG_STAGE_RESUME, casualty->id, "device-state-lost",
        "the %s %s and its state is gone; the workload stays stopped: restart it with a fresh "
        "device%s%s",
        casualty->device ? "device" : "participant", what_happened(casualty),
        cause->text[0] ? "; " : "", cause->text);
    tell_host(m, &err);
    return error_copy(ret_err, &err);
}

static int start_workload(struct vmig_migration *m, struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    bool stands = m->workload_stopped || vmig_migration_run_state(m) != VMIG_RUN_STATE_RUNNING;
    int rc = 0;
    if (run_state_runs(m) && stands && m->host.start)
        rc = m->host.start(m->host.opaque, &cause);
    if (rc < 0) {
        run_state_not_started(m);
        return error_set(err, rc, VMIG_STAGE_RESUME, NULL, "workload-stopped",
                         "the devices run again, but the host could not start the workload, which "
                         "stays stopped: %s",
                         cause.text[0] ? cause.text : strerror(-rc));
    }
    m->workload_stopped = false;
    run_state_restored(m);
    return 0;
}

int recovery_source(struct vmig_migration *m, enum recovery_point point, struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    if (recovery_find(point, SIDE_SOURCE, VMIG_HEALTH_OK)->source != END_RUNNING)
        return 0;
    TRACE(migration_recover, run_side_name(m), vmig_stage_name(m->first_error.stage));
    run_state_apply(m);
    run_state_resumes(m);
    crew_run(m, STEP_RESUME_P2P, &cause);
    crew_run(m, STEP_RESUME, &cause);
    struct participant *worst = crew_worst(m);
    TRACE(migration_recovered, run_side_name(m), worst ? worst->id : "");
    const struct recovery_row *row =
        recovery_find(point, SIDE_SOURCE, worst ? crew_health(worst) : VMIG_HEALTH_OK);
    return row->workload == WORKLOAD_AT_SOURCE ? start_workload(m, err)
                                               : stay_stopped(m, worst, &cause, err);
}

/* ---- target ---- */

static int report_lost(struct vmig_migration *m, const struct participant *lost,
                       struct vmig_error *ret_err)
{
    struct vmig_error err = { 0 };
    error_set(&err, EIO, VMIG_STAGE_CLEANUP, lost->id, "device-state-lost",
              "the device %s and holds part of a state; reset it before it is used again",
              what_happened(lost));
    tell_host(m, &err);
    return error_copy(ret_err, &err);
}

int recovery_target(struct vmig_migration *m, enum recovery_point point, struct vmig_error *err)
{
    TRACE(migration_recover, run_side_name(m), vmig_stage_name(m->first_error.stage));
    if (recovery_find(point, SIDE_TARGET, VMIG_HEALTH_OK)->target == END_RESET)
        crew_run(m, STEP_LOAD_ABORT, NULL);
    struct participant *worst = crew_worst(m);
    TRACE(migration_recovered, run_side_name(m), worst ? worst->id : "");
    if (!worst || crew_health(worst) != VMIG_HEALTH_LOST)
        return 0;
    return report_lost(m, worst, err);
}

/* ---- clean-up ---- */

void recovery_after_cleanup(struct vmig_migration *m)
{
    struct participant *worst = crew_worst(m);
    char text[200];
    if (!worst)
        return;
    snprintf(text, sizeof(text),
             "%s: the device %s after its state had moved; reset it before it is used again",
             worst->id, what_happened(worst));
    run_warning(m, "device-state-lost", text);
}
