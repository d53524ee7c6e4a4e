/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The crew: one worker a participant, commanded in steps. A step starts on all participants at once
 * and is over when all have done it: that is the barrier between P2P and STOP.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/migration/migration.h"

/* Operations without arguments of their own. */
#define PLAIN(op)                                                                                  \
    static bool has_##op(const struct participant *p)                                              \
    {                                                                                              \
        return p->ops->op != NULL;                                                                 \
    }                                                                                              \
    static int call_##op(struct participant *p, struct vmig_error *err)                            \
    {                                                                                              \
        return p->ops->op(p->opaque, err);                                                         \
    }

PLAIN(prepare)
PLAIN(setup)
PLAIN(quiesce)
PLAIN(unquiesce)
PLAIN(stop)
PLAIN(resume_p2p)
PLAIN(resume)
PLAIN(load_setup)
PLAIN(load_complete)
PLAIN(start_p2p)
PLAIN(start)
PLAIN(load_abort)

static bool has_pending(const struct participant *p)
{
    return p->ops->pending != NULL;
}

static int call_pending(struct participant *p, struct vmig_error *err)
{
    p->pending = (struct vmig_pending) { 0 };
    int rc = p->ops->pending(p->opaque, p->pending_exact, &p->pending, err);
    if (p->pending.initial_again)
        announce_again(p);
    return rc;
}

/* Only who may announce something is asked in the pause. */
static bool has_look(const struct participant *p)
{
    return p->begins_again && p->ops->pending;
}

static bool has_iterate(const struct participant *p)
{
    return p->ops->iterate != NULL;
}

static int call_iterate(struct participant *p, struct vmig_error *err)
{
    return p->ops->iterate(p->opaque, &p->writer, p->budget_bytes, err);
}

static bool has_complete(const struct participant *p)
{
    return p->ops->complete != NULL;
}

static int call_complete(struct participant *p, struct vmig_error *err)
{
    p->precopy_bytes = p->data_bytes;
    int rc = p->ops->complete(p->opaque, &p->writer, err);
    return rc < 0 ? rc : p->migration->carrier->end(p, err);
}

static bool has_load(const struct participant *p)
{
    return p->ops->load != NULL;
}

static bool has_cleanup(const struct participant *p)
{
    return p->ops->cleanup != NULL;
}

static int call_cleanup(struct participant *p, struct vmig_error *err)
{
    (void)err;
    p->ops->cleanup(p->opaque, p->moved);
    return 0;
}

static const struct {
    const char *name;
    enum vmig_stage stage;
    bool (*has)(const struct participant *p);
    int (*call)(struct participant *p, struct vmig_error *err);
    bool transition; /* changes states only, so it has a deadline */
    bool recovers;   /* its failure does not end the others' work */
} steps[STEP_COUNT] = {
    [STEP_PREPARE] = { "prepare", VMIG_STAGE_PREPARE, has_prepare, call_prepare, true, true },
    [STEP_SETUP] = { "setup", VMIG_STAGE_SETUP, has_setup, call_setup, true, false },
    [STEP_PENDING] = { "pending", VMIG_STAGE_ROUNDS, has_pending, call_pending, false, false },
    [STEP_ITERATE] = { "iterate", VMIG_STAGE_ROUNDS, has_iterate, call_iterate, false, false },
    [STEP_QUIESCE] = { "quiesce", VMIG_STAGE_QUIESCE, has_quiesce, call_quiesce, true, false },
    [STEP_LOOK] = { "look", VMIG_STAGE_QUIESCE, has_look, call_pending, true, false },
    [STEP_UNQUIESCE] = { "unquiesce", VMIG_STAGE_QUIESCE, has_unquiesce, call_unquiesce, true,
                         false },
    [STEP_STOP] = { "stop", VMIG_STAGE_QUIESCE, has_stop, call_stop, true, false },
    [STEP_COMPLETE] = { "complete", VMIG_STAGE_COMPLETE, has_complete, call_complete, false,
                        false },
    [STEP_RESUME_P2P] = { "resume-p2p", VMIG_STAGE_RESUME, has_resume_p2p, call_resume_p2p, true,
                          true },
    [STEP_RESUME] = { "resume", VMIG_STAGE_RESUME, has_resume, call_resume, true, true },
    [STEP_LOAD_SETUP] = { "load-setup", VMIG_STAGE_SETUP, has_load_setup, call_load_setup, true,
                          false },
    [STEP_LOAD] = { "load", VMIG_STAGE_COMPLETE, has_load, load_run, false, false },
    [STEP_LOAD_COMPLETE] = { "load-complete", VMIG_STAGE_COMPLETE, has_load_complete,
                             call_load_complete, true, false },
    [STEP_START_P2P] = { "start-p2p", VMIG_STAGE_RESUME, has_start_p2p, call_start_p2p, true,
                         true },
    [STEP_START] = { "start", VMIG_STAGE_RESUME, has_start, call_start, true, true },
    [STEP_LOAD_ABORT] = { "load-abort", VMIG_STAGE_CLEANUP, has_load_abort, call_load_abort, true,
                          true },
    [STEP_CLEANUP] = { "cleanup", VMIG_STAGE_CLEANUP, has_cleanup, call_cleanup, true, true },
};

int crew_start(struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        p->worker = worker_new();
        if (!p->worker)
            return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, p->id, NULL,
                             "out of memory or threads for it; check the limits on both");
    }
    return 0;
}

void crew_end(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->worker = worker_free(m->participants[i]->worker);
}

static int run_step(void *arg, struct vmig_error *err)
{
    struct participant *p = arg;
    enum step step = p->step;
    int rc = steps[step].call(p, err);
    if (rc >= 0)
        return rc;
    error_set(err, rc, steps[step].stage, p->id, NULL, "%s: %s", steps[step].name, strerror(-rc));
    error_locate(err, steps[step].stage, p->id);
    return rc;
}

static void post(struct participant *p, enum step step)
{
    p->wanted = p->worker && !p->lost && steps[step].has(p);
    if (!p->wanted)
        return;
    p->step = step;
    worker_post(p->worker, run_step, p);
}

void crew_post(struct vmig_migration *m, enum step step)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        post(m->participants[i], step);
}

/* A worker that failed ends the run for the others, who may wait for a peer that will not come. */
static void look_for_failure(struct vmig_migration *m, enum step step)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        struct vmig_error err = { 0 };
        if (p->wanted && worker_wait(p->worker, 0) && worker_result(p->worker, &err) < 0 &&
            !steps[step].recovers)
            run_abort(m, &err);
    }
    run_check(m, NULL);
}

/* The worker hangs. It keeps the participant, which nobody else may touch again. */
static int abandon(struct vmig_migration *m, struct participant *p, enum step step, double ms,
                   struct vmig_error *err)
{
    (void)m;
    p->lost = p->casualty = true;
    if (p->device)
        device_abandon(p->device); /* whoever else waits for its turn need not */
    worker_abandon(p->worker, NULL, NULL);
    p->worker = NULL;
    return error_set(err, ETIMEDOUT, steps[step].stage, p->id, "device-hung",
                     "%s did not come back within %.0f ms and was abandoned; the device is lost, "
                     "reset it before it is used again",
                     steps[step].name, ms);
}

static void warn_waiting(struct vmig_migration *m, struct participant *p, enum step step, double ms)
{
    char text[160];
    snprintf(text, sizeof(text), "%s: %s takes long: %.0f ms so far", p->id, steps[step].name, ms);
    run_event(m, VMIG_EVENT_WAITING, text);
}

/* A state change may be followed by its recover state and by a reset, each with the timeout. */
#define ATTEMPTS 3

static int wait_one(struct vmig_migration *m, struct participant *p, enum step step,
                    uint64_t start_ns, struct vmig_error *err)
{
    uint64_t limit_ns =
        m->parameters[PARAMETER_TRANSITION_TIMEOUT] * ATTEMPTS * NS_PER_MS + 5 * NS_PER_S;
    uint64_t next_warning_ns = start_ns + NS_PER_S;
    uint64_t aborted_ns = 0;
    while (!worker_wait(p->worker, clock_ns() + 100 * NS_PER_MS)) {
        uint64_t now = clock_ns();
        look_for_failure(m, step);
        if (!aborted_ns && run_check(m, NULL) < 0)
            aborted_ns = now;
        uint64_t since = steps[step].transition ? start_ns : aborted_ns;
        if (since && now - since > limit_ns)
            return abandon(m, p, step, (double)(now - since) / 1e6, err);
        if (steps[step].transition && now >= next_warning_ns) {
            warn_waiting(m, p, step, (double)(now - start_ns) / 1e6);
            next_warning_ns = now + NS_PER_S;
        }
        if (!steps[step].transition)
            run_event(m, VMIG_EVENT_PROGRESS, NULL);
    }
    p->step_ms[step] = worker_last_ms(p->worker);
    if (p->device && vmig_device_health(p->device) != VMIG_HEALTH_OK)
        p->casualty = true;
    p->step_rc = worker_result(p->worker, err);
    if (p->step_rc < 0 && strcmp(err->reason, "device-state-lost") == 0)
        p->casualty = true;
    return p->step_rc;
}

int crew_wait(struct vmig_migration *m, enum step step, struct vmig_error *err)
{
    uint64_t start_ns = clock_ns();
    int first = 0;
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (!p->wanted)
            continue;
        struct vmig_error mine = { 0 };
        int rc = wait_one(m, p, step, start_ns, &mine);
        p->wanted = false;
        if (rc >= 0)
            continue;
        if (!steps[step].recovers)
            run_abort(m, &mine);
        if (!first)
            first = rc;
        error_copy(err, &mine);
    }
    /* what failed first is the cause; what a later worker saw is often its consequence */
    if (first && !steps[step].recovers && err) {
        LOCK_SCOPE(&m->lock);
        *err = m->first_error;
        return err->code;
    }
    return first;
}

int crew_run(struct vmig_migration *m, enum step step, struct vmig_error *err)
{
    crew_post(m, step);
    return crew_wait(m, step, err);
}

int crew_run_one(struct vmig_migration *m, struct participant *p, enum step step,
                 struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        m->participants[i]->wanted = false;
    post(p, step);
    return crew_wait(m, step, err);
}

int crew_run_in_turn(struct vmig_migration *m, enum step step, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        int rc = crew_run_one(m, m->participants[i], step, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct participant *crew_casualty(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->casualty)
            return m->participants[i];
    return NULL;
}
