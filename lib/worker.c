/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/thread.h"
#include "lib/worker.h"

struct worker {
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    worker_job job; /* NULL: idle */
    void *arg;
    bool stop, abandoned;
    void (*done)(void *arg); /* set before the first job */
    void *done_arg;
    void (*last)(void *arg);
    void *last_arg;
    int rc;
    struct vmig_error err;
    double ms;
};

static void worker_destroy(struct worker *w)
{
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* With the lock held; lets go of it while the job runs. */
static void run_job(struct worker *w)
{
    struct vmig_error err = { 0 };
    pthread_mutex_unlock(&w->lock);
    uint64_t start = clock_ns();
    int rc = w->job(w->arg, &err);
    double ms = clock_ms_since(start);
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    w->err = err;
    w->ms = ms;
    w->job = NULL;
    pthread_cond_broadcast(&w->changed);
    if (!w->done)
        return;
    pthread_mutex_unlock(&w->lock);
    w->done(w->done_arg);
    pthread_mutex_lock(&w->lock);
}

static void *worker_main(void *opaque)
{
    struct worker *w = opaque;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        if (w->job)
            run_job(w);
        else
            pthread_cond_wait(&w->changed, &w->lock);
    }
    bool abandoned = w->abandoned;
    pthread_mutex_unlock(&w->lock);
    if (abandoned) {
        if (w->last)
            w->last(w->last_arg);
        worker_destroy(w);
    }
    return NULL;
}

struct worker *worker_new(void)
{
    struct worker *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (thread_start(&w->thread, worker_main, w) == 0)
        return w;
    worker_destroy(w);
    return NULL;
}

void worker_on_done(struct worker *w, void (*done)(void *arg), void *arg)
{
    LOCK_SCOPE(&w->lock);
    w->done = done;
    w->done_arg = arg;
}

static void tell_stop(struct worker *w, bool abandoned)
{
    LOCK_SCOPE(&w->lock);
    w->stop = true;
    w->abandoned = abandoned;
    pthread_cond_broadcast(&w->changed);
}

struct worker *worker_free(struct worker *w)
{
    if (!w)
        return NULL;
    tell_stop(w, false);
    pthread_join(w->thread, NULL);
    worker_destroy(w);
    return NULL;
}

void worker_abandon(struct worker *w, void (*last)(void *arg), void *arg)
{
    pthread_t thread = w->thread;
    w->last = last;
    w->last_arg = arg;
    tell_stop(w, true);
    pthread_detach(thread);
}

void worker_post(struct worker *w, worker_job job, void *arg)
{
    LOCK_SCOPE(&w->lock);
    w->job = job;
    w->arg = arg;
    pthread_cond_broadcast(&w->changed);
}

bool worker_wait(struct worker *w, uint64_t deadline_ns)
{
    struct timespec ts = clock_timespec(deadline_ns);
    LOCK_SCOPE(&w->lock);
    while (w->job)
        if (pthread_cond_timedwait(&w->changed, &w->lock, &ts) != 0)
            return !w->job;
    return true;
}

int worker_result(struct worker *w, struct vmig_error *err)
{
    LOCK_SCOPE(&w->lock);
    if (w->rc < 0 && w->err.code)
        error_copy(err, &w->err);
    return w->rc;
}

double worker_last_ms(struct worker *w)
{
    LOCK_SCOPE(&w->lock);
    return w->ms;
}
