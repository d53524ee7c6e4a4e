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
#include "lib/participant/device.h"
#include "lib/trace/trace.h"

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
    p->precopy_bytes = atomic_load(&p->data_bytes);
    p->switched = true;
    int rc = p->ops->complete(p->opaque, &p->writer, err);
    if (rc == 0)
        rc = crew_enter_channel(p, err);
    return rc < 0 ? rc : crew_leave_channel(p, p->migration->carrier->end(p, err));
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

/* Stop and cont, with or without a migration: devices alone, for the rest of the VM is the host's. */
static bool has_run_state(const struct participant *p)
{
    return p->kind == PARTICIPANT_DEVICE;
}

#define DEVICE(op)                                                                                 \
    static int call_##op(struct participant *p, struct vmig_error *err)                            \
    {                                                                                              \
        return participant_device_##op(p->opaque, err);                                            \
    }

DEVICE(halt_p2p)
DEVICE(halt)
DEVICE(cont_p2p)
DEVICE(cont)

static const struct {
    const char *name;
    enum vmig_stage stage;
    bool (*has)(const struct participant *p);
    int (*call)(struct participant *p, struct vmig_error *err);
    bool transition;  /* changes states only, so it has a deadline */
    bool recovers;    /* its failure does not end the others' work */
    const char *what; /* what is waited for; of a transition of a device its state says more */
} steps[STEP_COUNT] = {
    [STEP_PREPARE] = { "prepare", VMIG_STAGE_PREPARE, has_prepare, call_prepare, true, true,
                       "to say whether it can move" },
    [STEP_SETUP] = { "setup", VMIG_STAGE_SETUP, has_setup, call_setup, true, false, "to begin" },
    [STEP_PENDING] = { "pending", VMIG_STAGE_ROUNDS, has_pending, call_pending, false, false,
                       "to say how much is left" },
    [STEP_ITERATE] = { "iterate", VMIG_STAGE_ROUNDS, has_iterate, call_iterate, false, false,
                       "to give data" },
    [STEP_QUIESCE] = { "quiesce", VMIG_STAGE_QUIESCE, has_quiesce, call_quiesce, true, false,
                       "to be quiet" },
    [STEP_LOOK] = { "look", VMIG_STAGE_QUIESCE, has_look, call_pending, true, false,
                    "to say whether it has new initial bytes" },
    [STEP_UNQUIESCE] = { "unquiesce", VMIG_STAGE_QUIESCE, has_unquiesce, call_unquiesce, true,
                         false, "to go on" },
    [STEP_STOP] = { "stop", VMIG_STAGE_QUIESCE, has_stop, call_stop, true, false, "to stop" },
    [STEP_COMPLETE] = { "complete", VMIG_STAGE_COMPLETE, has_complete, call_complete, false, false,
                        "to give the rest of its data" },
    [STEP_RESUME_P2P] = { "resume-p2p", VMIG_STAGE_RESUME, has_resume_p2p, call_resume_p2p, true,
                          true, "to go back" },
    [STEP_RESUME] = { "resume", VMIG_STAGE_RESUME, has_resume, call_resume, true, true,
                      "to run again" },
    [STEP_LOAD_SETUP] = { "load-setup", VMIG_STAGE_SETUP, has_load_setup, call_load_setup, true,
                          false, "to be ready to load" },
    [STEP_LOAD] = { "load", VMIG_STAGE_COMPLETE, has_load, load_run, false, false,
                    "to take its data" },
    [STEP_LOAD_COMPLETE] = { "load-complete", VMIG_STAGE_COMPLETE, has_load_complete,
                             call_load_complete, true, false, "to check what it loaded" },
    [STEP_START_P2P] = { "start-p2p", VMIG_STAGE_RESUME, has_start_p2p, call_start_p2p, true, true,
                         "to start" },
    [STEP_START] = { "start", VMIG_STAGE_RESUME, has_start, call_start, true, true, "to start" },
    [STEP_LOAD_ABORT] = { "load-abort", VMIG_STAGE_CLEANUP, has_load_abort, call_load_abort, true,
                          true, "to drop what it loaded" },
    [STEP_CLEANUP] = { "cleanup", VMIG_STAGE_CLEANUP, has_cleanup, call_cleanup, true, true,
                       "to clean up" },
    [STEP_HALT_P2P] = { "halt-p2p", VMIG_STAGE_QUIESCE, has_run_state, call_halt_p2p, true, true,
                        "to be quiet" },
    [STEP_HALT] = { "halt", VMIG_STAGE_QUIESCE, has_run_state, call_halt, true, true, "to stop" },
    [STEP_CONT_P2P] = { "cont-p2p", VMIG_STAGE_RESUME, has_run_state, call_cont_p2p, true, true,
                        "to start" },
    [STEP_CONT] = { "cont", VMIG_STAGE_RESUME, has_run_state, call_cont, true, true, "to start" },
};

static void wake_engine(void *opaque)
{
    struct vmig_migration *m = opaque;
    LOCK_SCOPE(&m->lock);
    pthread_cond_broadcast(&m->changed);
}

int crew_start(struct vmig_migration *m, struct vmig_error *err)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        p->worker = worker_new();
        if (!p->worker)
            return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, p->id, NULL,
                             "out of memory or threads for it; check the limits on both");
        worker_on_done(p->worker, wake_engine, m);
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
    atomic_store(&p->doing, steps[step].name);
    int rc = steps[step].call(p, err);
    atomic_store(&p->doing, NULL);
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
    TRACE(migration_step_start, p->id, steps[step].name);
    worker_post(p->worker, run_step, p);
}

void crew_post(struct vmig_migration *m, enum step step)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        post(m->participants[i], step);
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

int crew_enter_channel(struct participant *p, struct vmig_error *err)
{
    int rc = run_check(p->migration, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&p->migration->lock);
    if (p->lost)
        return error_set(err, ECANCELED, VMIG_STAGE_NONE, p->id, NULL, "it was abandoned");
    p->at_channel = true;
    return 0;
}

int crew_leave_channel(struct participant *p, int rc)
{
    LOCK_SCOPE(&p->migration->lock);
    p->at_channel = false;
    return rc;
}

void crew_abort(struct participant *p, const struct vmig_error *err)
{
    bool lost;
    {
        LOCK_SCOPE(&p->migration->lock);
        lost = p->lost;
    }
    if (!lost)
        run_abort(p->migration, err);
}

/* False: it came back in this moment, and channels come back by themselves once the run is over: all but a file on
 * storage that hangs, which nothing ends. */
static bool give_up(struct participant *p)
{
    LOCK_SCOPE(&p->migration->lock);
    p->lost = !p->at_channel;
    return p->lost;
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

/* Whom give_up() gave up. */
static int abandon(struct vmig_migration *m, struct participant *p, enum step step, double ms,
                   struct vmig_error *err)
{
    const char *asks = atomic_load(&p->asks);
    TRACE(migration_step_abandon, p->id, steps[step].name, (uint64_t)(ms * 1e3));
    p->health = VMIG_HEALTH_LOST;
    p->step_rc = -ETIMEDOUT;
    migration_ref(m);
    if (p->device) {
        device_ref(p->device);
        /* whoever else waits for its turn need not */
        device_abandon(p->device, asks ? asks : steps[step].name, ms);
    }
    worker_abandon(p->worker, let_go, p);
    p->worker = NULL;
    return hung(p, asks ? asks : steps[step].name, ms, steps[step].stage, err);
}

static void warn(struct vmig_migration *m, struct participant *p, const char *id, const char *what,
                 uint64_t now, uint64_t waiting_ns)
{
    char text[160];
    if (waiting_ns < NS_PER_S || now < p->next_warning_ns || cancel_is_under_way(m))
        return; /* while somebody cancels cancel_name() says more */
    p->next_warning_ns = now + NS_PER_S;
    snprintf(text, sizeof(text), "%s: %s takes long: %.0f ms so far", id, what,
             (double)waiting_ns / 1e6);
    run_event(m, VMIG_EVENT_WAITING, text);
}

/* RAM's worker that waits for a device is not who is slow; watch_one() names that. */
static void warn_step(struct vmig_migration *m, struct participant *p, enum step step, uint64_t now,
                      uint64_t waiting_ns)
{
    if (!atomic_load(&p->asks))
        warn(m, p, p->id, steps[step].name, now, waiting_ns);
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

/* The engine waiting for a step: what it knows and has done meanwhile. */
struct crew_wait {
    enum step step;
    uint64_t start_ns, aborted_ns, next_progress_ns;
    uint64_t others_ns; /* when the last device was done; 0: not yet */
    const struct participant *named;
    int first;
};

/* For how long the step may be blamed for not being over: a state change from its start on, data
 * once nobody wants it any more or no byte of it comes. Devices first: RAM's worker may wait for the
 * turn of one that hangs, and goes on when that is abandoned. */
static uint64_t overdue_ns(struct participant *p, const struct crew_wait *w, uint64_t now)
{
    if (!p->device && !w->others_ns)
        return 0;
    uint64_t start_ns = p->device ? w->start_ns : w->others_ns;
    if (steps[w->step].transition)
        return now - start_ns;
    uint64_t asking = p->device ? asking_ns(p, now) : 0;
    uint64_t aborted_ns = w->aborted_ns > start_ns ? w->aborted_ns : start_ns;
    uint64_t since_abort = w->aborted_ns && now > aborted_ns ? now - aborted_ns : 0;
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

static bool is_idle(struct participant *p)
{
    return worker_wait(p->worker, 0);
}

static int take_result(struct participant *p, enum step step, struct vmig_error *err)
{
    p->step_ms[step] = worker_last_ms(p->worker);
    if (step == STEP_ITERATE)
        p->iterate_ms = p->iterate_ms + p->step_ms[step];
    p->step_rc = worker_result(p->worker, err);
    TRACE(migration_step_end, p->id, steps[step].name, (uint64_t)(p->step_ms[step] * 1e3),
          p->step_rc);
    note_health(p, step);
    return p->step_rc;
}

/* On this thread, as all events: the worker only changed it. */
static void tell_state(struct vmig_migration *m, struct participant *p)
{
    enum vmig_state state;
    if (!p->device || !p->settings.migration_events)
        return;
    state = (enum vmig_state)atomic_load(&p->device->state);
    if (state == p->told_state)
        return;
    p->told_state = state;
    run_device_event(m, p->id, state);
}

/* A worker that failed ends the run for the others, who may wait for a peer that will not come. */
static void note_result(struct vmig_migration *m, struct crew_wait *w, int rc,
                        const struct vmig_error *mine, struct vmig_error *err)
{
    if (rc >= 0)
        return;
    if (!steps[w->step].recovers)
        run_abort(m, mine);
    if (!w->first)
        w->first = rc;
    error_copy(err, mine);
}

/* Of @p when it is done, or had its time; false: it works on. */
static bool take_one(struct vmig_migration *m, struct crew_wait *w, struct participant *p,
                     struct vmig_error *err)
{
    struct vmig_error mine = { 0 };
    bool idle = is_idle(p);
    uint64_t overdue = idle ? 0 : overdue_ns(p, w, clock_ns());
    if (!idle && (overdue <= limit_ns(m) || !give_up(p)))
        return false;
    int rc = idle ? take_result(p, w->step, &mine)
                  : abandon(m, p, w->step, (double)overdue / 1e6, &mine);
    p->wanted = false;
    tell_state(m, p);
    note_result(m, w, rc, &mine, err);
    return true;
}

/* The number of those that work on. */
static unsigned take_results(struct vmig_migration *m, struct crew_wait *w, struct vmig_error *err)
{
    unsigned busy = 0, devices = 0;
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (!p->wanted || take_one(m, w, p, err))
            continue;
        busy++;
        devices += p->device != NULL;
    }
    if (!devices && !w->others_ns)
        w->others_ns = clock_ns();
    return busy;
}

static void describe(const struct crew_wait *w, struct participant *p, unsigned busy, char *ret,
                     size_t size)
{
    const char *asks = atomic_load(&p->asks), *asked = atomic_load(&p->asked);
    const char *name = steps[w->step].name;
    char others[32] = "";
    if (busy > 1)
        snprintf(others, sizeof(others), ", and %u more", busy - 1);
    if (asks && asked)
        snprintf(ret, size, "%s and %s (%s)%s", asked, asks, name, others);
    else if (p->device && steps[w->step].transition)
        snprintf(ret, size, "%s to leave %s (%s)%s", p->id,
                 vmig_state_name((enum vmig_state)atomic_load(&p->device->state)), name, others);
    else
        snprintf(ret, size, "%s %s (%s)%s", p->id, steps[w->step].what, name, others);
}

/* Say whom the engine waits for. */
static void name_busy(struct vmig_migration *m, struct crew_wait *w, unsigned busy)
{
    struct participant *p = NULL;
    char what[160];
    for (unsigned i = 0; !p && i < m->num_participants; i++)
        if (m->participants[i]->wanted)
            p = m->participants[i];
    describe(w, p, busy, what, sizeof(what));
    if (p == w->named)
        cancel_rephrase(m, what);
    else
        cancel_waiting(m, "%s", what);
    w->named = p;
}

static bool news_locked(const struct vmig_migration *m, const struct crew_wait *w)
{
    if (m->aborted && !w->aborted_ns)
        return true;
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->wanted && is_idle(m->participants[i]))
            return true;
    return false;
}

/* Until somebody is done, the run has ended, or there may be something to say. */
static void wait_for_news(struct vmig_migration *m, struct crew_wait *w)
{
    uint64_t tick = clock_ns() + CREW_WATCH_MS * NS_PER_MS;
    LOCK_SCOPE(&m->lock);
    while (!news_locked(m, w)) {
        uint64_t due = cancel_due_locked(m, false), next = due < tick ? due : tick;
        if (clock_ns() >= next)
            break;
        run_sleep_locked(m, next);
    }
    if (m->aborted && !w->aborted_ns)
        w->aborted_ns = clock_ns();
}

/* At most ten a second. */
#define PROGRESS_NS (100 * NS_PER_MS)

/* Devices first: RAM is slow when one of them is. */
static void warn_slow(struct vmig_migration *m, const struct crew_wait *w, struct participant *p,
                      uint64_t now)
{
    uint64_t since_ns = p->device ? w->start_ns : w->others_ns;
    if (p->wanted && since_ns && now > since_ns)
        warn_step(m, p, w->step, now, now - since_ns);
}

static void say_something(struct vmig_migration *m, struct crew_wait *w)
{
    uint64_t now = clock_ns();
    cancel_name(m, false);
    crew_watch(m);
    for (unsigned i = 0; steps[w->step].transition && i < m->num_participants; i++)
        warn_slow(m, w, m->participants[i], now);
    if (steps[w->step].transition || now < w->next_progress_ns)
        return;
    run_event(m, VMIG_EVENT_PROGRESS, NULL);
    w->next_progress_ns = now + PROGRESS_NS;
}

int crew_wait(struct vmig_migration *m, enum step step, struct vmig_error *err)
{
    uint64_t now = clock_ns();
    struct crew_wait w = { .step = step, .start_ns = now, .next_progress_ns = now + PROGRESS_NS };
    unsigned busy;
    while ((busy = take_results(m, &w, err)) > 0) {
        name_busy(m, &w, busy);
        say_something(m, &w);
        wait_for_news(m, &w);
    }
    cancel_waits_no_more(m);
    /* what failed first is the cause; what a later worker saw is often its consequence */
    if (w.first && !steps[step].recovers && err) {
        LOCK_SCOPE(&m->lock);
        *err = m->first_error;
        return err->code;
    }
    return w.first;
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

static void wait_errand(struct vmig_migration *m, struct worker *worker)
{
    while (!worker_wait(worker, 0)) {
        cancel_name(m, true);
        LOCK_SCOPE(&m->lock);
        uint64_t due = cancel_due_locked(m, true);
        if (!worker_wait(worker, 0) && clock_ns() < due)
            run_sleep_locked(m, due);
    }
}

int crew_errand(struct vmig_migration *m, worker_job job, void *arg, const char *what,
                struct vmig_error *err)
{
    struct worker *worker = worker_new();
    if (!worker)
        return error_set(err, ENOMEM, m->stage, NULL, NULL,
                         "out of memory or threads; check the limits on both");
    worker_on_done(worker, wake_engine, m);
    cancel_waiting(m, "%s", what);
    worker_post(worker, job, arg);
    wait_errand(m, worker);
    cancel_waits_no_more(m);
    int rc = worker_result(worker, err);
    worker_free(worker);
    return rc;
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
