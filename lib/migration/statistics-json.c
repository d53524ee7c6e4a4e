/* SPDX-License-Identifier: BSD-3-Clause */
/* What vmig_migration_query() says, for reports and the control socket; names are the header's. */
#include "lib/migration/statistics-json.h"
#include "lib/text.h"

static json_t *pause_json(const struct vmig_pause *p)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "workload_stop_ms",
                     p->workload_stop_ms, "quiesce_ms", p->quiesce_ms, "stop_ms", p->stop_ms,
                     "data_ms", p->data_ms, "load_ms", p->load_ms, "handover_ms", p->handover_ms,
                     "start_ms", p->start_ms, "workload_start_ms", p->workload_start_ms, "doubt_ms",
                     p->doubt_ms, "data_bytes", (json_int_t)p->data_bytes);
}

/* NULL: nothing had to be tracked. */
static const char *tracking_name(enum vmig_dirty_tracking how)
{
    return how == VMIG_DIRTY_AUTO ? NULL : vmig_dirty_tracking_name(how);
}

static json_t *device_json(const struct vmig_statistics *s, unsigned index)
{
    const struct vmig_device_statistics *d = &s->devices[index];
    const struct vmig_device_progress *p = &s->progress[index];
    return json_pack(
        "{s:o, s:s?, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:s, s:I, s:f, s:f, s:f}", "id",
        text_json(d->id), "dirty_tracking", tracking_name(s->dirty_tracking[index]),
        "precopy_bytes", (json_int_t)d->precopy_bytes, "stop_copy_bytes",
        (json_int_t)d->stop_copy_bytes, "setup_ms", d->setup_ms, "quiesce_ms", d->quiesce_ms,
        "stop_ms", d->stop_ms, "complete_ms", d->complete_ms, "load_ms", d->load_ms, "resume_ms",
        d->resume_ms, "state", vmig_state_name(p->state), "step", p->step, "remaining_bytes",
        (json_int_t)p->remaining_bytes, "iterate_ms", p->iterate_ms, "loading_ms", p->loading_ms,
        "cleanup_ms", p->cleanup_ms);
}

static json_t *devices_json(const struct vmig_statistics *s)
{
    json_t *devices = json_array();
    for (unsigned i = 0; i < s->num_devices; i++)
        json_array_append_new(devices, device_json(s, i));
    return devices;
}

static json_t *stages_json(const struct vmig_statistics *s)
{
    json_t *stages = json_object();
    for (unsigned i = VMIG_STAGE_PREPARE; i < VMIG_STAGE_COUNT; i++)
        json_object_set_new(
            stages, vmig_stage_name((enum vmig_stage)i),
            json_pack("{s:f, s:I}", "ms", s->stage_ms[i], "bytes", (json_int_t)s->stage_bytes[i]));
    return stages;
}

static json_t *ram_json(const struct vmig_statistics *s)
{
    return json_pack(
        "{s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "bytes", (json_int_t)s->ram_bytes,
        "rounds", (int)s->rounds, "sent_bytes", (json_int_t)s->ram_sent_bytes, "zero_pages",
        (json_int_t)s->ram_zero_pages, "dirty_pages", (json_int_t)s->ram_dirty_pages,
        "normal_pages", (json_int_t)s->ram_normal_pages, "page_size_bytes",
        (json_int_t)s->page_size_bytes, "remaining_bytes", (json_int_t)s->ram_remaining_bytes,
        "dirty_syncs", (json_int_t)s->dirty_syncs, "dirty_pages_per_s", s->dirty_pages_per_s);
}

/* Null where nothing went wrong. */
static json_t *error_json(const struct vmig_error *err)
{
    if (!err->code)
        return json_null();
    return json_pack("{s:s, s:o, s:s, s:o}", "reason", err->reason, "device",
                     text_json(err->device), "stage", vmig_stage_name(err->stage), "text",
                     text_json(err->text));
}

json_t *statistics_json(const struct vmig_statistics *s)
{
    json_t *json =
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:{s:o, s:o}}", "status",
                  vmig_status_name(s->status), "total_ms", s->total_ms, "downtime_ms",
                  s->downtime_ms, "predicted_downtime_ms", s->predicted_downtime_ms,
                  "bandwidth_bytes_per_s", s->bandwidth_bytes_per_s, "ram", ram_json(s), "devices",
                  devices_json(s), "stages", stages_json(s), "pause", "predicted",
                  pause_json(&s->predicted), "measured", pause_json(&s->measured));
    json_t *more = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o}", "transferred_bytes",
        (json_int_t)s->transferred_bytes, "precopy_bytes", (json_int_t)s->precopy_bytes,
        "downtime_bytes", (json_int_t)s->downtime_bytes, "data_channel_bytes",
        (json_int_t)s->data_channel_bytes, "vfio_bytes", (json_int_t)s->vfio_bytes,
        "remaining_bytes", (json_int_t)s->remaining_bytes, "mbps", s->mbps, "pages_per_s",
        s->pages_per_s, "setup_ms", s->setup_ms, "expected_downtime_ms", s->expected_downtime_ms,
        "pre_switchover_ms", s->pre_switchover_ms, "error", error_json(&s->error));
    if (json && more)
        json_object_update(json, more);
    json_decref(more);
    return json;
}
