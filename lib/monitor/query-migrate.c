/* SPDX-License-Identifier: BSD-3-Clause */
/* Statistics in QEMU's words, and beside them, per device, in ours. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vfio-migrate/settings.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/monitor/destination.h"
#include "lib/monitor/monitor.h"
#include "lib/text.h"

/* More than anybody reads. */
#define BLOCKERS_MAX 64

/* What a reply has, by status; QEMU leaves out what says nothing. */
enum {
    HAS_TIMES = 1,
    HAS_EXPECTED = 2,
    HAS_DOWNTIME = 4,
    HAS_ERROR = 8,
};
static const unsigned has[VMIG_STATUS_COUNT] = {
    [VMIG_STATUS_ACTIVE] = HAS_TIMES | HAS_EXPECTED,
    [VMIG_STATUS_PRE_SWITCHOVER] = HAS_TIMES | HAS_EXPECTED,
    [VMIG_STATUS_DEVICE] = HAS_TIMES | HAS_EXPECTED,
    [VMIG_STATUS_COMPLETED] = HAS_TIMES | HAS_DOWNTIME,
    [VMIG_STATUS_CANCELLING] = HAS_TIMES | HAS_EXPECTED,
    [VMIG_STATUS_FAILED] = HAS_ERROR,
    [VMIG_STATUS_UNRESOLVED] = HAS_TIMES | HAS_ERROR,
};

static json_t *number(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *milliseconds(double ms)
{
    return number(ms > 0 ? (uint64_t)(ms + 0.5) : 0);
}

static json_t *fraction(double value)
{
    return json_real(isfinite(value) ? value : 0);
}

static json_t *ram_json(const struct vmig_statistics *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        { "transferred", s->transferred_bytes },
        { "remaining", s->ram_remaining_bytes },
        { "total", s->ram_bytes },
        { "duplicate", s->ram_zero_pages },
        { "normal", s->ram_normal_pages },
        { "normal-bytes", s->ram_normal_pages * s->page_size_bytes },
        { "dirty-pages-rate", (uint64_t)s->dirty_pages_per_s },
        { "dirty-sync-count", s->dirty_syncs },
        { "page-size", s->page_size_bytes },
        { "multifd-bytes", s->data_channel_bytes },
        { "pages-per-second", (uint64_t)s->pages_per_s },
        { "precopy-bytes", s->precopy_bytes },
        { "downtime-bytes", s->downtime_bytes },
        /* what we do not do counts 0, and is there for those who add it up */
        { "skipped", 0 },
        { "postcopy-requests", 0 },
        { "postcopy-bytes", 0 },
        { "dirty-sync-missed-zero-copy", 0 },
    };
    json_t *ram = json_object();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        json_object_set_new(ram, rows[i].name, number(rows[i].value));
    json_object_set_new(ram, "mbps", fraction(s->mbps));
    return ram;
}

static json_t *device_json(const struct vmig_statistics *s, unsigned i)
{
    const struct vmig_device_statistics *d = &s->devices[i];
    const struct vmig_device_progress *p = &s->progress[i];
    const struct {
        const char *name;
        double ms;
    } steps[] = {
        { "setup", d->setup_ms }, { "iterate", p->iterate_ms },   { "quiesce", d->quiesce_ms },
        { "stop", d->stop_ms },   { "complete", d->complete_ms }, { "loading", p->loading_ms },
        { "load", d->load_ms },   { "resume", d->resume_ms },     { "cleanup", p->cleanup_ms },
    };
    json_t *times = json_object();
    for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++)
        json_object_set_new(times, steps[k].name, fraction(steps[k].ms));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", d->id, "device-state",
                     vmig_state_word(p->state), "phase", p->step ? p->step : "", "precopy-bytes",
                     number(d->precopy_bytes), "stop-copy-bytes", number(d->stop_copy_bytes),
                     "remaining", number(p->remaining_bytes), "phase-ms", times);
}

static json_t *devices_json(const struct vmig_statistics *s)
{
    json_t *devices = json_array();
    for (unsigned i = 0; i < s->num_devices; i++)
        json_array_append_new(devices, device_json(s, i));
    return devices;
}

/* The whole and its parts, as predicted or as they were. */
static json_t *pause_json(const struct vmig_pause *p, double all_ms)
{
    const struct {
        const char *name;
        double ms;
    } parts[] = {
        { "all", all_ms },
        { "workload-stop", p->workload_stop_ms },
        { "quiesce", p->quiesce_ms },
        { "stop", p->stop_ms },
        { "data", p->data_ms },
        { "load", p->load_ms },
        { "handover", p->handover_ms },
        { "start", p->start_ms },
        { "workload-start", p->workload_start_ms },
        { "doubt", p->doubt_ms },
    };
    json_t *pause = json_object();
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        json_object_set_new(pause, parts[i].name, fraction(parts[i].ms));
    json_object_set_new(pause, "data-bytes", number(p->data_bytes));
    return pause;
}

static void add_downtime(json_t *reply, const struct vmig_statistics *s)
{
    json_object_set_new(reply, "downtime", milliseconds(s->downtime_ms));
    if (s->downtime_ms > 0)
        json_object_set_new(reply, "pause",
                            json_pack("{s:o, s:o}", "predicted",
                                      pause_json(&s->predicted, s->predicted_downtime_ms),
                                      "measured", pause_json(&s->measured, s->downtime_ms)));
}

static void add_times(json_t *reply, const struct vmig_statistics *s)
{
    json_object_set_new(reply, "total-time", milliseconds(s->total_ms));
    json_object_set_new(reply, "setup-time", milliseconds(s->setup_ms));
    json_object_set_new(reply, "ram", ram_json(s));
    if (s->num_devices) {
        json_object_set_new(reply, "vfio",
                            json_pack("{s:o}", "transferred", number(s->vfio_bytes)));
        json_object_set_new(reply, "devices", devices_json(s));
    }
}

static void add_listening(json_t *reply, struct vmig_monitor *monitor)
{
    char address[sizeof(monitor->mover.listening)];
    pthread_mutex_lock(&monitor->lock);
    memcpy(address, monitor->mover.listening, sizeof(address));
    pthread_mutex_unlock(&monitor->lock);
    json_t *socket = address[0] ? destination_socket(address) : NULL;
    if (socket)
        json_object_set_new(reply, "socket-address", json_pack("[o]", socket));
}

static void add_error(json_t *reply, const struct vmig_error *error)
{
    char text[sizeof(*error)];
    vmig_error_message(error, text, sizeof(text));
    json_object_set_new(reply, "error-desc", text_json(text));
}

/* Whatever became of the last migration: of what stands in the way of the next. */
static void add_blockers(json_t *reply, struct vmig_migration *m)
{
    CLEANUP_FREE struct vmig_blocker *list = calloc(BLOCKERS_MAX, sizeof(*list));
    unsigned count = list ? vmig_migration_blockers(m, list, BLOCKERS_MAX) : 0;
    json_t *texts = count ? json_array() : NULL;
    for (unsigned i = 0; i < count && i < BLOCKERS_MAX; i++)
        json_array_append_new(texts, text_json(list[i].text));
    if (texts)
        json_object_set_new(reply, "blocked-reasons", texts);
}

json_t *on_query_migrate(struct call *call, struct vmig_error *err)
{
    json_t *reply = json_object();
    CLEANUP_FREE struct vmig_statistics *s = calloc(1, sizeof(*s)); /* large for a stack */
    if (!s || !reply) {
        error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
        json_decref(reply);
        return NULL;
    }
    s->size = sizeof(*s);
    vmig_migration_query(call->migration, s);
    add_listening(reply, call->monitor);
    add_blockers(reply, call->migration);
    if (s->status == VMIG_STATUS_NONE)
        return reply;
    unsigned parts = has[s->status];
    json_object_set_new(reply, "status", json_string(vmig_status_name(s->status)));
    if (parts & HAS_TIMES)
        add_times(reply, s);
    if (parts & HAS_EXPECTED)
        json_object_set_new(reply, "expected-downtime", milliseconds(s->expected_downtime_ms));
    if (parts & HAS_DOWNTIME)
        add_downtime(reply, s);
    if (parts & HAS_ERROR && s->error.code)
        add_error(reply, &s->error);
    return reply;
}
