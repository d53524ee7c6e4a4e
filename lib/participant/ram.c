/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest RAM as a participant: all trackers (the CPUs' and each device's log), their union in the
 * blocks' dirty bitmaps, and the loop that turns bitmaps into extents on the wire.
 *
 * Order that loses nothing: trackers start, then populated pages are marked; a sync sets bits, an
 * extent taken out of the bitmap clears them before its bytes are read.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/cleanup.h"
#include "lib/memory/suspect.h"
#include "lib/memory/tracker.h"
#include "lib/migration/migration.h"
#include "lib/migration/participants.h"
#include "lib/participant/device.h"
#include "lib/participant/ram.h"
#include "lib/participant/tracking.h"
#include "lib/trace/trace.h"

/* Read before it is asked whether to go on: a few ms. */
#define UNASKED_BYTES (UINT64_C(32) << 20)

/* Zeros that are told together. The target makes sure of them, which takes as long as finding them: so it
 * does while the next are found. */
#define ZERO_BYTES_MAX (UINT64_C(16) << 20)

struct ram_participant {
    struct vmig_migration *m;
    unsigned num_trackers;
    struct tracker *trackers[VMIG_DEVICES_MAX + 1];
    const char *names[VMIG_DEVICES_MAX + 1]; /* whom each asks */
    struct participant *self;
    struct vmig_device
        *untracked; /* a device whose writes nothing tells; all is dirty at the end */
    double sync_ms;
    uint64_t device_pages;    /* that the last look found, and only devices had written */
    uint64_t populated_pages; /* at the beginning */
    bool first_round;
    /* extents that wait to be sent together, all of one kind */
    struct ram_extent batch[WIRE_EXTENTS_MAX];
    unsigned num_batch;
    uint64_t batch_bytes;
};

void *participant_ram_new(struct vmig_migration *m)
{
    struct ram_participant *r = calloc(1, sizeof(*r));
    if (r)
        r->m = m;
    return r;
}

void participant_ram_free(void *opaque)
{
    free(opaque);
}

double participant_ram_sync_ms(const void *opaque)
{
    return ((const struct ram_participant *)opaque)->sync_ms;
}

uint64_t participant_ram_device_bytes(const void *opaque)
{
    return ((const struct ram_participant *)opaque)->device_pages * RAM_PAGE_SIZE;
}

/* ---- trackers ---- */

static int start_tracker(struct ram_participant *r, struct tracker *tracker, const char *name,
                         struct vmig_error *err)
{
    int rc = r->m->wrap_tracker ? r->m->wrap_tracker(&tracker) : 0;
    if (rc == 0)
        rc = ram_may_go_on(r->m->ram, err);
    crew_asks(r->self, name, "starting its log");
    if (rc == 0)
        rc = tracker->ops->start(tracker, r->m->ram, err);
    crew_answered(r->self);
    if (rc < 0) {
        tracker->ops->free(tracker);
        return rc;
    }
    r->names[r->num_trackers] = name;
    r->trackers[r->num_trackers++] = tracker;
    return 0;
}

static int start_source(void *opaque, struct vmig_device *device, enum vmig_dirty_tracking how,
                        struct vmig_error *err)
{
    struct ram_participant *r = opaque;
    struct tracker *tracker;
    device_set_log_timeout(device, (unsigned)r->m->parameters[PARAMETER_TRANSITION_TIMEOUT]);
    int rc =
        (how == VMIG_DIRTY_IOMMU ? tracker_iommu_new : tracker_device_new)(device, &tracker, err);
    return rc < 0 ? rc : start_tracker(r, tracker, vmig_device_id(device), err);
}

static int start_device_tracker(struct ram_participant *r, struct participant *p,
                                struct vmig_error *err)
{
    bool all_dirty =
        r->m->parameters[PARAMETER_ALL_DIRTY] || p->settings.enable_migration == VMIG_ON;
    int rc = tracking_begin(p->device, &p->tracking, all_dirty, start_source, r, err);
    TRACE(migration_dirty_tracking, p->id, vmig_dirty_tracking_name(p->tracking.chosen));
    if (rc == 0 && p->tracking.chosen == VMIG_DIRTY_NONE)
        r->untracked = p->device;
    return rc;
}

static void stop_trackers(struct ram_participant *r)
{
    while (r->num_trackers) {
        struct tracker *tracker = r->trackers[--r->num_trackers];
        crew_asks(r->self, r->names[r->num_trackers], "stopping its log");
        tracker->ops->stop(tracker);
        tracker->ops->free(tracker);
        crew_answered(r->self);
    }
}

static bool is_workload_tracked(const struct vmig_migration *m)
{
    return m->tracker || m->parameters[PARAMETER_TRACKER] != TRACKER_CPU_NONE;
}

static int new_workload_tracker(const struct vmig_migration *m, struct tracker **ret,
                                struct vmig_error *err)
{
    if (m->tracker)
        return tracker_host_new(m->tracker, m->tracker_opaque, ret, err);
    return tracker_cpu_new((enum tracker_cpu_kind)m->parameters[PARAMETER_TRACKER], ret, err);
}

static int start_trackers(struct ram_participant *r, struct vmig_error *err)
{
    struct vmig_migration *m = r->m;
    struct tracker *workload;
    int rc = 0;
    if (is_workload_tracked(m)) {
        rc = new_workload_tracker(m, &workload, err);
        if (rc == 0)
            rc = start_tracker(r, workload, "memory", err);
    }
    for (unsigned i = 0; rc == 0 && i < m->num_participants; i++)
        if (m->participants[i]->device)
            rc = start_device_tracker(r, m->participants[i], err);
    return rc;
}

/* What the target wants to have again. */
static void take_suspects(struct ram_participant *r)
{
    if (!r->m->ram_digest)
        return;
    LOCK_SCOPE(&r->m->ram_lock);
    if (r->m->suspects_told)
        suspect_to_dirty(r->m->ram);
    r->m->suspects_told = false;
}

/* Each asks between its blocks as well whether to go on. */
static int sync_tracker(struct ram_participant *r, unsigned index, struct vmig_error *err)
{
    int rc = ram_may_go_on(r->m->ram, err);
    if (rc < 0)
        return rc;
    crew_asks(r->self, r->names[index], "reading its log");
    return r->trackers[index]->ops->sync(r->trackers[index], r->m->ram, err);
}

static int sync_dirty(struct ram_participant *r, struct vmig_error *err)
{
    uint64_t start = clock_ns();
    int rc = 0;
    atomic_fetch_add(&r->m->counters.dirty_syncs, 1);
    TRACE(migration_bitmap_sync_start, r->num_trackers);
    take_suspects(r);
    for (unsigned i = 0; rc == 0 && i < r->num_trackers; i++) {
        rc = sync_tracker(r, i, err);
    }
    crew_answered(r->self);
    r->sync_ms = clock_ms_since(start);
    TRACE(migration_bitmap_sync_end, (uint64_t)(r->sync_ms * 1e3));
    return rc;
}

/* The same, and whose writes they were: the workload's tracker is the first one, if there is any. */
static int look(struct ram_participant *r, struct vmig_error *err)
{
    unsigned workload = is_workload_tracked(r->m);
    uint64_t start = clock_ns(), before = 0;
    int rc = 0;
    atomic_fetch_add(&r->m->counters.dirty_syncs, 1);
    TRACE(migration_bitmap_sync_start, r->num_trackers);
    take_suspects(r);
    if (!workload)
        before = ram_dirty_pages(r->m->ram);
    for (unsigned i = 0; rc == 0 && i < r->num_trackers; i++) {
        rc = sync_tracker(r, i, err);
        if (i + 1 == workload)
            before = ram_dirty_pages(r->m->ram);
    }
    crew_answered(r->self);
    r->sync_ms = clock_ms_since(start);
    TRACE(migration_bitmap_sync_end, (uint64_t)(r->sync_ms * 1e3));
    uint64_t dirty = ram_dirty_pages(r->m->ram);
    r->device_pages = dirty - before;
    TRACE(ram_state_pending_exact, dirty, r->device_pages);
    return rc;
}

/* ---- source ---- */

static int ram_setup(void *opaque, struct vmig_error *err)
{
    struct ram_participant *r = opaque;
    r->first_round = true;
    r->self = participant_find(r->m, "ram");
    r->untracked = NULL;
    r->num_batch = 0;
    r->batch_bytes = 0;
    for (unsigned i = 0; i < r->m->ram->num_blocks; i++)
        bitmap_clear_range(r->m->ram->blocks[i].dirty, 0, r->m->ram->blocks[i].pages);
    int rc = r->m->ram_digest ? suspect_start(r->m->ram, err) : 0;
    if (rc == 0)
        rc = start_trackers(r, err);
    if (rc == 0)
        rc = ram_mark_populated(r->m->ram, err);
    atomic_fetch_add(&r->m->counters.dirty_syncs, 1);
    r->populated_pages = ram_dirty_pages(r->m->ram);
    if (rc < 0)
        stop_trackers(r);
    return rc;
}

static int ram_pending(void *opaque, bool exact, struct vmig_pending *ret, struct vmig_error *err)
{
    struct ram_participant *r = opaque;
    int rc = exact ? look(r, err) : 0;
    if (rc < 0)
        return rc;
    uint64_t dirty = ram_dirty_pages(r->m->ram);
    ret->precopy_bytes = dirty * RAM_PAGE_SIZE;
    if (r->untracked) /* everything, but for holes */
        ret->stop_copy_bytes =
            (r->populated_pages > dirty ? r->populated_pages - dirty : 0) * RAM_PAGE_SIZE;
    return 0;
}

static int send_batch(struct ram_participant *r, struct participant *p, struct vmig_error *err)
{
    if (!r->num_batch)
        return 0;
    bool zero = r->batch[0].zero;
    int rc = zero ? 0 : throttle_wait(r->m, r->batch_bytes, err);
    if (rc == 0)
        rc = crew_enter_channel(p, err);
    if (rc == 0)
        rc = crew_leave_channel(p, r->m->carrier->ram(p, r->batch, r->num_batch, err));
    if (rc < 0)
        return rc;
    uint64_t pages = r->batch_bytes / RAM_PAGE_SIZE;
    struct counters *c = &r->m->counters;
    atomic_fetch_add(zero ? &c->zero_pages : &c->normal_pages, pages);
    if (!r->first_round)
        atomic_fetch_add(&c->dirty_pages, pages);
    if (!zero)
        p->data_bytes += r->batch_bytes;
    r->num_batch = 0;
    r->batch_bytes = 0;
    return 0;
}

static int add_extent(struct ram_participant *r, struct participant *p,
                      const struct ram_extent *extent, struct vmig_error *err)
{
    uint64_t most = extent->zero ? ZERO_BYTES_MAX : WIRE_RAM_BYTES_MAX;
    bool full = r->num_batch == WIRE_EXTENTS_MAX || r->batch_bytes + extent->length_bytes > most;
    int rc = 0;
    if (r->num_batch && (full || r->batch[0].zero != extent->zero))
        rc = send_batch(r, p, err);
    if (rc < 0)
        return rc;
    r->batch[r->num_batch++] = *extent;
    r->batch_bytes += extent->length_bytes;
    return 0;
}

/* @all: also when somebody wants the VM stopped; the rest stays dirty otherwise. */
static int send_dirty(struct ram_participant *r, struct participant *p, bool all,
                      struct vmig_error *err)
{
    struct ram_cursor cursor = { 0 };
    struct ram_extent extent;
    uint64_t unasked = 0; /* a batch of zeros can be a GiB that was read */
    int rc = 0;
    while (rc == 0 && (all || !run_state_interrupts(r->m)) &&
           ram_next_extent(r->m->ram, &cursor, WIRE_RAM_BYTES_MAX, &extent)) {
        unasked += extent.length_bytes;
        if (unasked >= UNASKED_BYTES) {
            rc = ram_may_go_on(r->m->ram, err);
            unasked = 0;
        }
        if (rc == 0)
            rc = add_extent(r, p, &extent, err);
    }
    if (rc == 0)
        rc = send_batch(r, p, err);
    return rc;
}

/* The budget is the dirty set itself: RAM has a channel for one batch at a time, and whoever waits
 * for that has it next. */
static int ram_iterate(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                       struct vmig_error *err)
{
    struct ram_participant *r = opaque;
    (void)budget_bytes;
    take_suspects(r);
    int rc = send_dirty(r, writer->participant, false, err);
    r->first_round = false;
    return rc;
}

static int ram_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    struct ram_participant *r = opaque;
    int rc = sync_dirty(r, err);
    if (rc < 0)
        return rc;
    if (r->untracked) /* everything, but for holes: what is not there was not written either */
        rc = ram_mark_populated(r->m->ram, err);
    uint64_t before = atomic_load(&r->m->counters.dirty_pages);
    if (rc == 0)
        rc = send_dirty(r, writer->participant, true, err);
    TRACE(ram_save_complete, atomic_load(&r->m->counters.dirty_pages) - before, rc);
    return rc;
}

static void ram_cleanup(void *opaque, bool moved)
{
    (void)moved;
    stop_trackers(opaque);
}

/* ---- target ---- */

static int ram_load_setup(void *opaque, struct vmig_error *err)
{
    struct ram_participant *r = opaque;
    int rc = r->m->ram_digest ? suspect_start(r->m->ram, err) : 0;
    return rc < 0 ? rc : ram_begin_load(r->m->ram, err);
}

const struct vmig_participant_ops participant_ram_ops = {
    .size = sizeof(struct vmig_participant_ops),
    .setup = ram_setup,
    .pending = ram_pending,
    .iterate = ram_iterate,
    .complete = ram_complete,
    .load_setup = ram_load_setup,
    .cleanup = ram_cleanup,
};
