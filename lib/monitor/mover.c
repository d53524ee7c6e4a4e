/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration that a client asked for, on a thread of its own.
 *
 * The command's answer goes out when the migration is under way: behind the event with status setup, or
 * at a target that listens, behind the one that says so. What is refused before that is the command's
 * error; what fails later is told by events and query-migrate.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vfio-migrate/run-state.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/monitor/monitor.h"
#include "lib/thread.h"

static int (*const moves[])(struct vmig_migration *m, const char *address,
                            struct vmig_error *err) = {
    [MOVE_SEND] = vmig_migration_send,
    [MOVE_RECEIVE] = vmig_migration_receive,
    [MOVE_SNAPSHOT] = vmig_migration_snapshot,
};

static void *mover_main(void *opaque)
{
    struct vmig_monitor *monitor = opaque;
    struct mover *mover = &monitor->mover;
    struct vmig_error err = { 0 };
    pthread_mutex_lock(&monitor->lock); /* .thread is written */
    pthread_mutex_unlock(&monitor->lock);
    pthread_sigmask(SIG_SETMASK, &monitor->mask, NULL);
    int rc = moves[mover->move](monitor->migration, mover->address, &err);
    if (monitor->host.ended)
        monitor->host.ended(monitor->host.opaque, mover->move == MOVE_RECEIVE, rc, &err);
    LOCK_SCOPE(&monitor->lock);
    mover->state = MOVER_ENDED;
    if (rc < 0 && rc != -EUCLEAN)
        mover->incoming_done = false; /* where the host stays it may be tried again */
    mover->rc = rc;
    mover->err = err;
    mover->listening[0] = '\0';
    pthread_cond_broadcast(&monitor->changed);
    return NULL;
}

static bool is_under_way(const struct deferred *d, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_LISTENING)
        return true;
    if (event->kind != VMIG_EVENT_STATUS || event->status == VMIG_STATUS_FAILED)
        return false;
    return !d->at_listening || event->status > VMIG_STATUS_SETUP;
}

static bool is_listened_on(const char *address)
{
    return strncmp(address, "tcp:", 4) == 0 || strncmp(address, "unix:", 5) == 0;
}

static bool has_ended(struct vmig_migration *m)
{
    CLEANUP_FREE struct vmig_statistics *s = calloc(1, sizeof(*s)); /* large for a stack */
    if (!s)
        return false;
    s->size = sizeof(*s);
    vmig_migration_query(m, s);
    return s->status == VMIG_STATUS_COMPLETED || s->status == VMIG_STATUS_CANCELLED ||
           s->status == VMIG_STATUS_FAILED;
}

/* The thread of one that ended before. Clients hear the end of a migration a moment before its thread
 * is through with it, and may ask for the next one by then. */
static void join_ended(struct vmig_monitor *monitor)
{
    bool ending = has_ended(monitor->migration);
    pthread_mutex_lock(&monitor->lock);
    while (ending && monitor->mover.state == MOVER_RUNS && !monitor->over)
        pthread_cond_wait(&monitor->changed, &monitor->lock);
    bool ended = monitor->mover.state == MOVER_ENDED && !monitor->over; /* else: mover_end() */
    if (ended)
        monitor->mover.state = MOVER_IDLE;
    pthread_t thread = monitor->mover.thread;
    pthread_mutex_unlock(&monitor->lock);
    if (ended)
        pthread_join(thread, NULL);
}

static int refuse_locked(const struct vmig_monitor *monitor, struct vmig_error *err)
{
    if (monitor->over)
        return error_set(err, ECANCELED, VMIG_STAGE_NONE, NULL, NULL, "The monitor is ending");
    if (monitor->mover.state != MOVER_IDLE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, NULL,
                         "There's a migration process in progress");
    return 0;
}

static int start_locked(struct vmig_monitor *monitor, enum move move, const char *address,
                        struct vmig_error *err)
{
    struct mover *mover = &monitor->mover;
    char *copy = strdup(address);
    if (!copy)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    free(mover->address);
    mover->address = copy;
    mover->move = move;
    int rc = thread_start(&mover->thread, mover_main, monitor);
    if (rc < 0)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "no thread for a migration: %s",
                         strerror(-rc));
    mover->state = MOVER_RUNS;
    mover->incoming_done |= move == MOVE_RECEIVE;
    return 0;
}

/* Until it is under way or has ended. */
static json_t *await(struct call *call, struct vmig_error *err)
{
    struct vmig_monitor *monitor = call->monitor;
    LOCK_SCOPE(&monitor->lock);
    while (!call->answered && monitor->mover.state == MOVER_RUNS)
        pthread_cond_wait(&monitor->changed, &monitor->lock);
    if (!call->answered && monitor->mover.rc < 0) {
        error_copy(err, &monitor->mover.err);
        return NULL;
    }
    return json_object();
}

json_t *mover_start(struct call *call, enum move move, const char *address, struct vmig_error *err)
{
    struct vmig_monitor *monitor = call->monitor;
    struct deferred d = { .call = call,
                          .due = is_under_way,
                          .on_mover = true,
                          .at_listening = move == MOVE_RECEIVE && is_listened_on(address) };
    join_ended(monitor);
    pthread_mutex_lock(&monitor->lock);
    int rc = refuse_locked(monitor, err);
    if (rc == 0)
        rc = start_locked(monitor, move, address, err);
    if (rc == 0)
        events_defer_locked(monitor, &d);
    pthread_mutex_unlock(&monitor->lock);
    if (rc < 0)
        return NULL;
    json_t *result = await(call, err);
    events_undefer(monitor, &d);
    return result;
}

void mover_end(struct vmig_monitor *monitor)
{
    pthread_mutex_lock(&monitor->lock);
    bool runs = monitor->mover.state == MOVER_RUNS;
    bool started = monitor->mover.state != MOVER_IDLE;
    pthread_mutex_unlock(&monitor->lock);
    if (runs)
        vmig_migration_cancel(monitor->migration);
    if (started)
        pthread_join(monitor->mover.thread, NULL);
}
