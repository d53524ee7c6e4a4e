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
    if (rc == 0)
        rc = run_check(p->migration, err); /* abandoned meanwhile, it finds no channel any more */
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

/* ---- waiting ---- */

/* A state change may be followed by its recover state and by a reset, each with the timeout. */
#define ATTEMPTS 3
#define SLACK_MS_MAX 5000

static uint64_t limit_ns(const struct vmig_migration *m)
{
    uint64_t timeout = m->parameters[PARAMETER_TRANSITION_TIMEOUT];
    uint64_t slack = timeout < SLACK_MS_MAX ? timeout : SLACK_MS_MAX;
    return (timeout * ATTEMPTS + slack) * NS_PER_MS;
}

void crew_asks(struct participant *p, const char *id, const char *what)
{
    atomic_store(&p->asked, id);
    atomic_store(&p->asks_since_ns, clock_ns());
    atomic_store(&p->asks, what);
}

void crew_answered(struct participant *p)
{
    atomic_store(&p->asks, NULL);
}

/* For how long it has been waiting for data or a size; 0 when it is not. */
static uint64_t asking_ns(struct participant *p, uint64_t now)
{
    if (!atomic_load(&p->asks))
        return 0;
    uint64_t since = atomic_load(&p->asks_since_ns);
    return now > since ? now - since : 0;
}

/* The worker hangs. It keeps the participant, which nobody else may touch again, and what that
 * hangs on. */
static void let_go(void *arg)
{
    struct participant *p = arg;
    struct vmig_migration *m = p->migration;
    if (p->device)
        device_unref(p->device);
    migration_unref(m);
}

static int hung(const struct participant *p, const char *what, double ms, enum vmig_stage stage,
                struct vmig_error *err)
{
    return error_set(err, ETIMEDOUT, stage, p->id, "device-hung",
                     "%s did not come back within %.0f ms and was abandoned; the device is lost, "
                     "reset it before it is used again",
                     what, ms);
}

static int abandon(struct vmig_migration *m, struct participant *p, enum step step, double ms,
                   struct vmig_error *err)
{
    const char *asks = atomic_load(&p->asks);
    p->lost = true;
    p->health = VMIG_HEALTH_LOST;
    p->step_rc = -ETIMEDOUT;
    migration_ref(m);
    if (p->device) {
        device_ref(p->device);
        device_abandon(p->device); /* whoever else waits for its turn need not */
    }
    worker_abandon(p->worker, let_go, p);
    p->worker = NULL;
    return hung(p, asks ? asks : steps[step].name, ms, steps[step].stage, err);
}

static void warn(struct vmig_migration *m, struct participant *p, const char *id, const char *what,
                 uint64_t now, uint64_t waiting_ns)
{
    char text[160];
    if (waiting_ns < NS_PER_S || now < p->next_warning_ns)
        return;
    p->next_warning_ns = now + NS_PER_S;
    snprintf(text, sizeof(text), "%s: %s takes long: %.0f ms so far", id, what,
             (double)waiting_ns / 1e6);
    run_event(m, VMIG_EVENT_WAITING, text);
}

/* RAM asks devices for their logs, which have deadlines of their own. */
static void watch_one(struct vmig_migration *m, struct participant *p)
{
    uint64_t now = clock_ns(), asking = asking_ns(p, now);
    const char *what = atomic_load(&p->asks), *id = atomic_load(&p->asked);
    struct vmig_error err = { 0 };
    if (!asking || !what)
        return;
    warn(m, p, id, what, now, asking);
    if (p->device && asking > limit_ns(m)) {
        hung(p, what, (double)asking / 1e6, m->stage, &err);
        run_abort(m, &err);
    }
}

void crew_watch(struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->worker)
            watch_one(m, m->participants[i]);
}

/* For how long the step may be blamed for not being over: a state change from its start on, data
 * once nobody wants it any more or no byte of it comes. */
static uint64_t overdue_ns(struct participant *p, enum step step, uint64_t start_ns,
                           uint64_t aborted_ns, uint64_t now)
{
    if (steps[step].transition)
        return now - start_ns;
    uint64_t asking = p->device ? asking_ns(p, now) : 0;
    uint64_t since_abort = aborted_ns ? now - aborted_ns : 0;
    return asking > since_abort ? asking : since_abort;
}

static void note_health(struct participant *p, enum step step)
{
    enum vmig_health health = p->device ? vmig_device_health(p->device) : VMIG_HEALTH_OK;
    if (step == STEP_RESUME && p->step_rc < 0 && health == VMIG_HEALTH_OK)
        health = VMIG_HEALTH_RESET; /* wherever it is, it does not run */
    if (health > p->health)
        p->health = health;
}

static int wait_one(struct vmig_migration *m, struct participant *p, enum step step,
                    uint64_t start_ns, struct vmig_error *err)
{
    uint64_t aborted_ns = 0;
    while (!worker_wait(p->worker, clock_ns() + 100 * NS_PER_MS)) {
        uint64_t now = clock_ns();
        look_for_failure(m, step);
        if (!aborted_ns && run_check(m, NULL) < 0)
            aborted_ns = now;
        uint64_t overdue = overdue_ns(p, step, start_ns, aborted_ns, now);
        if (overdue > limit_ns(m))
            return abandon(m, p, step, (double)overdue / 1e6, err);
        crew_watch(m);
        if (steps[step].transition)
            warn(m, p, p->id, steps[step].name, now, now - start_ns);
        else
            run_event(m, VMIG_EVENT_PROGRESS, NULL);
    }
    p->step_ms[step] = worker_last_ms(p->worker);
    p->step_rc = worker_result(p->worker, err);
    note_health(p, step);
    return p->step_rc;
}

/* All that are devices, or all that are not. */
static int wait_some(struct vmig_migration *m, enum step step, bool devices, struct vmig_error *err)
{
    uint64_t start_ns = clock_ns();
    int first = 0;
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (!p->wanted || devices != (p->device != NULL))
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
    return first;
}

/* Devices first: RAM's worker may wait for the turn of one that hangs, and goes on when that is
 * abandoned. */
int crew_wait(struct vmig_migration *m, enum step step, struct vmig_error *err)
{
    int first = wait_some(m, step, true, err), rc = wait_some(m, step, false, err);
    if (!first)
        first = rc;
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

/* A device can be lost without its worker, when it hangs in the DMA log that RAM's reads. */
enum vmig_health crew_health(const struct participant *p)
{
    bool lost = p->device && vmig_device_health(p->device) == VMIG_HEALTH_LOST;
    return lost ? VMIG_HEALTH_LOST : p->health;
}

struct participant *crew_worst(struct vmig_migration *m)
{
    struct participant *worst = NULL;
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (crew_health(p) > (worst ? crew_health(worst) : VMIG_HEALTH_OK))
            worst = p;
    }
    return worst;
}
