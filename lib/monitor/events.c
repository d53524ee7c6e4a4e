/* SPDX-License-Identifier: BSD-3-Clause */
/* From the engine's events to QMP's, and to all clients at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/monitor/monitor.h"
#include "lib/trace/trace.h"

static json_t *timestamp(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return json_pack("{s:I, s:I}", "seconds", (json_int_t)now.tv_sec, "microseconds",
                     (json_int_t)(now.tv_nsec / 1000));
}

static json_t *event_line(const char *name, json_t *take_data)
{
    TRACE(monitor_qapi_event_emit, name);
    json_t *line = json_pack("{s:o, s:s}", "timestamp", timestamp(), "event", name);
    if (line && take_data)
        json_object_set_new(line, "data", take_data);
    else
        json_decref(take_data);
    return line;
}

static void tell_locked(struct vmig_monitor *monitor, const json_t *line)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (monitor->clients[i].used && monitor->clients[i].negotiated)
            client_tell_locked(&monitor->clients[i], line);
}

void events_tell(struct vmig_monitor *monitor, const char *name, json_t *take_data)
{
    json_t *line = event_line(name, take_data);
    pthread_mutex_lock(&monitor->lock);
    tell_locked(monitor, line);
    pthread_mutex_unlock(&monitor->lock);
    json_decref(line);
}

/* ---- answers that wait for an event ---- */

void events_defer_locked(struct vmig_monitor *monitor, struct deferred *d)
{
    d->next = monitor->deferred;
    monitor->deferred = d;
}

void events_undefer(struct vmig_monitor *monitor, struct deferred *d)
{
    LOCK_SCOPE(&monitor->lock);
    for (struct deferred **p = &monitor->deferred; *p; p = &(*p)->next)
        if (*p == d) {
            *p = d->next;
            return;
        }
}

static bool is_due_locked(const struct vmig_monitor *monitor, const struct deferred *d,
                          const struct vmig_event *event)
{
    if (d->call->answered || (d->on_mover && !pthread_equal(pthread_self(), monitor->mover.thread)))
        return false;
    return d->due(d, event);
}

static void answer_due_locked(struct vmig_monitor *monitor, const struct vmig_event *event)
{
    for (struct deferred *d = monitor->deferred; d; d = d->next) {
        if (!is_due_locked(monitor, d, event))
            continue;
        json_t *line = dispatch_success(d->call, json_object());
        client_tell_locked(d->call->client, line);
        json_decref(line);
        d->call->answered = true;
        pthread_cond_broadcast(&monitor->changed);
    }
}

/* ---- the engine's ---- */

static bool wants_migration_events(struct vmig_migration *m)
{
    struct vmig_capability all[64];
    unsigned count = vmig_migration_capabilities(m, all, 64);
    for (unsigned i = 0; i < count && i < 64; i++)
        if (strcmp(all[i].name, "events") == 0)
            return all[i].on;
    return false;
}

/* How often it was looked what was written. */
static uint64_t dirty_syncs(struct vmig_migration *m)
{
    CLEANUP_FREE struct vmig_statistics *s = calloc(1, sizeof(*s)); /* large for a stack */
    if (!s)
        return 0;
    s->size = sizeof(*s);
    vmig_migration_query(m, s);
    return s->dirty_syncs;
}

/* Those that came since the last event, before this one is told. The engine looks in steps of its own;
 * here it is told where QEMU tells: the first before active, the last before completed. */
static void tell_passes_locked(struct vmig_monitor *monitor, uint64_t syncs)
{
    while (monitor->passes < syncs) {
        json_t *line =
            event_line("MIGRATION_PASS", json_pack("{s:I}", "pass", (json_int_t)++monitor->passes));
        tell_locked(monitor, line);
        json_decref(line);
    }
}

/* NULL: clients are not told. @told: they want to hear of migrations. */
static json_t *line_of(const struct vmig_event *event, bool told)
{
    switch (event->kind) {
    case VMIG_EVENT_STATUS:
        return told ? event_line("MIGRATION",
                                 json_pack("{s:s}", "status", vmig_status_name(event->status)))
                    : NULL;
    case VMIG_EVENT_STOP:
        return event_line("STOP", NULL);
    case VMIG_EVENT_RESUME:
        return event_line("RESUME", NULL);
    case VMIG_EVENT_DEVICE_STATE:
        return event_line("VFIO_MIGRATION",
                          json_pack("{s:s, s:s}", "device-id", event->text, "device-state",
                                    vmig_state_word(event->device_state)));
    default:
        return NULL;
    }
}

/* ACTIVE is told a second time when a switch is put off; setup begins a migration, and its passes. */
static bool begins(const struct vmig_event *event)
{
    return event->kind == VMIG_EVENT_STATUS && event->status == VMIG_STATUS_SETUP;
}

static void hear_locked(struct vmig_monitor *monitor, const struct vmig_event *event, bool told,
                        uint64_t syncs)
{
    if (event->kind == VMIG_EVENT_LISTENING && event->text)
        snprintf(monitor->mover.listening, sizeof(monitor->mover.listening), "%s", event->text);
    if (begins(event))
        monitor->passes = 0;
    else if (told)
        tell_passes_locked(monitor, syncs);
}

void events_hear(void *opaque, const struct vmig_event *event)
{
    struct vmig_monitor *monitor = opaque;
    bool told = wants_migration_events(monitor->migration);
    uint64_t syncs = told ? dirty_syncs(monitor->migration) : 0;
    json_t *line = line_of(event, told);
    pthread_mutex_lock(&monitor->lock);
    hear_locked(monitor, event, told, syncs);
    if (line)
        tell_locked(monitor, line);
    answer_due_locked(monitor, event);
    pthread_mutex_unlock(&monitor->lock);
    json_decref(line);
}
