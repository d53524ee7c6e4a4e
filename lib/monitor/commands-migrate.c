/* SPDX-License-Identifier: BSD-3-Clause */
/* Beginning and ending a migration. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/monitor/destination.h"
#include "lib/monitor/monitor.h"

/* How long an answer to migrate_cancel waits for what it causes, so that the event comes first. */
#define CANCEL_MS 1000

static json_t *refuse(struct vmig_error *err, int code, const char *text)
{
    error_set(err, code, VMIG_STAGE_NONE, NULL, NULL, "%s", text);
    return NULL;
}

static bool waits_for_incoming(struct vmig_monitor *monitor)
{
    LOCK_SCOPE(&monitor->lock);
    return monitor->host.incoming_defer && !monitor->mover.incoming_done;
}

json_t *on_migrate(struct call *call, struct vmig_error *err)
{
    CLEANUP_FREE char *address = NULL;
    if (argument_boolean(call->arguments, "resume", false))
        return refuse(err, EINVAL, "Cannot resume if there is no paused migration");
    if (destination_read(call->arguments, &address, err) < 0)
        return NULL;
    if (waits_for_incoming(call->monitor))
        return refuse(err, EINVAL, "Guest is waiting for an incoming migration");
    return mover_start(call, MOVE_SEND, address, err);
}

json_t *on_migrate_incoming(struct call *call, struct vmig_error *err)
{
    CLEANUP_FREE char *address = NULL;
    if (!call->monitor->host.incoming_defer)
        return refuse(err, EINVAL, "'-incoming' was not specified on the command line");
    if (!waits_for_incoming(call->monitor))
        return refuse(err, EINVAL, "The incoming migration has already been started");
    if (destination_read(call->arguments, &address, err) < 0)
        return NULL;
    return mover_start(call, MOVE_RECEIVE, address, err);
}

/* ---- cancelling ---- */

static bool can_be_cancelled(struct vmig_migration *m)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(m, &s);
    return s.status == VMIG_STATUS_SETUP || s.status == VMIG_STATUS_ACTIVE ||
           s.status == VMIG_STATUS_PRE_SWITCHOVER || s.status == VMIG_STATUS_DEVICE ||
           s.status == VMIG_STATUS_CANCELLING;
}

/* It is being cancelled, has ended, or it is too late. */
static bool is_heeded(const struct deferred *d, const struct vmig_event *event)
{
    (void)d;
    return event->kind == VMIG_EVENT_WARNING ||
           (event->kind == VMIG_EVENT_STATUS && event->status >= VMIG_STATUS_COMPLETED);
}

static void await_answer(struct call *call, uint64_t deadline_ns)
{
    struct vmig_monitor *monitor = call->monitor;
    struct timespec deadline = clock_timespec(deadline_ns);
    LOCK_SCOPE(&monitor->lock);
    while (!call->answered && !monitor->over &&
           pthread_cond_timedwait(&monitor->changed, &monitor->lock, &deadline) == 0)
        ;
}

json_t *on_migrate_cancel(struct call *call, struct vmig_error *err)
{
    struct vmig_monitor *monitor = call->monitor;
    struct deferred d = { .call = call, .due = is_heeded };
    (void)err;
    if (!can_be_cancelled(call->migration))
        return json_object(); /* QEMU's succeeds, too, when there is nothing to cancel */
    pthread_mutex_lock(&monitor->lock);
    events_defer_locked(monitor, &d);
    pthread_mutex_unlock(&monitor->lock);
    vmig_migration_cancel(call->migration);
    await_answer(call, clock_ns() + CANCEL_MS * NS_PER_MS);
    events_undefer(monitor, &d);
    return json_object();
}

json_t *on_migrate_pause(struct call *call, struct vmig_error *err)
{
    (void)call;
    return refuse(err, EINVAL,
                  "migrate-pause is currently only supported during postcopy-active state");
}
