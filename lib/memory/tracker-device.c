/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes by a device's DMA, from the device's own log or from its IOMMU's dirty bits.
 *
 * Who logs chooses the page size. We ask for ours, and live with a coarser one: a bit then stands
 * for many pages. A report that fails means that the log is worthless: the sync fails, and with it
 * the migration.
 */
#include "lib/memory/tracker.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/memory/ranges.h"

struct source {
    const char *name;
    int (*report)(struct vmig_device *device, uint64_t iova, uint64_t size_bytes, uint64_t pgsize,
                  uint64_t *bitmap, struct vmig_error *err);
    int (*stop)(struct vmig_device *device, struct vmig_error *err);
    struct tracker_ops ops;
};

struct tracker_device {
    struct tracker tracker;
    const struct source *source;
    struct vmig_device *device; /* borrowed */
    bool running;
    uint64_t pgsize;
    uint64_t *bits; /* one report's, in larger pages */
};

/* ---- from the device's pages to ours ---- */

/* Device page @bit covers [iova + bit * pgsize, + pgsize). Where the block does not begin at a
 * multiple of pgsize it is not said which way the device rounds: take both pages that may be
 * meant. */
static void set_coarse(const struct ram_block *block, uint64_t pgsize, uint64_t bit)
{
    uint64_t iova = block->desc.iova, last = iova + block->desc.size_bytes - 1;
    uint64_t from = (iova + bit * pgsize) & ~(pgsize - 1);
    uint64_t to = (iova + bit * pgsize + pgsize - 1) | (pgsize - 1); /* included */

    if (from < iova)
        from = iova;
    if (to > last)
        to = last;
    uint64_t first = (from - iova) / RAM_PAGE_SIZE;
    bitmap_set_range(block->dirty, first, (to - iova) / RAM_PAGE_SIZE - first + 1);
}

static void set_pages(const struct ram_block *block, uint64_t pgsize, const uint64_t *bits,
                      uint64_t count)
{
    for (uint64_t bit = 0; (bit = bitmap_next_set(bits, count, bit)) < count; bit++)
        set_coarse(block, pgsize, bit);
}

/* Pages of ours: the report ors into the block's bits by itself. What a device says of pages past the
 * end does not concern us. */
static int sync_same_pages(struct tracker_device *self, const struct ram_block *block,
                           struct vmig_error *err)
{
    int ret = self->source->report(self->device, block->desc.iova, block->desc.size_bytes,
                                   RAM_PAGE_SIZE, block->dirty, err);

    if (block->pages % 64)
        block->dirty[block->pages / 64] &= ~(~UINT64_C(0) << block->pages % 64);
    return ret;
}

static int sync_block(struct tracker_device *self, const struct ram_block *block,
                      struct vmig_error *err)
{
    uint64_t size = block->desc.size_bytes;
    uint64_t count = size / self->pgsize + (size % self->pgsize != 0);

    if (self->pgsize == RAM_PAGE_SIZE)
        return sync_same_pages(self, block, err);
    memset(self->bits, 0, bitmap_words(count) * sizeof(self->bits[0]));
    int ret =
        self->source->report(self->device, block->desc.iova, size, self->pgsize, self->bits, err);
    if (ret == 0)
        set_pages(block, self->pgsize, self->bits, count);
    return ret;
}

/* ---- operations ---- */

static void tracker_device_stop(struct tracker *tracker)
{
    struct tracker_device *self = (struct tracker_device *)tracker;

    /* It ends by itself when the device leaves STOP_COPY or is closed, so a refusal means little.
     */
    if (self->running)
        self->source->stop(self->device, NULL);
    self->running = false;
    free(self->bits);
    self->bits = NULL;
}

/* Room for the largest block's bits. */
static int make_buffer(struct tracker_device *self, const struct ram *ram, struct vmig_error *err)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < ram->num_blocks; i++)
        if (ram->blocks[i].desc.size_bytes / self->pgsize > most)
            most = ram->blocks[i].desc.size_bytes / self->pgsize;
    self->bits = bitmap_new(most + 1);
    if (self->bits)
        return 0;
    return error_set(err, ENOMEM, VMIG_STAGE_SETUP, vmig_device_id(self->device), NULL,
                     "no memory for the dirty bits of %" PRIu64 " pages", most + 1);
}

/* May fewer ranges, or larger ones, be what it wants? A log that starts and cannot be read is not a
 * matter of ranges. */
static bool wants_fewer(int rc, const struct vmig_error *err)
{
    return (rc == -E2BIG || rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOSPC) &&
           strcmp(err->reason, "vfio-log-unreadable") != 0;
}

/* Half as many each time: fewer ranges log more of what is no memory, so not one at once. */
static int start_device_log(struct tracker_device *self, const struct ram *ram,
                            struct vmig_error *err)
{
    struct vmig_dma_range ranges[RAM_BLOCKS_MAX];
    unsigned most = ranges_of_ram(ram, RANGES_MAX, ranges);

    for (unsigned count = most;; count /= 2) {
        struct vmig_error why = { 0 };
        self->pgsize = RAM_PAGE_SIZE;
        ranges_of_ram(ram, count, ranges);
        int rc = vmig_device_dma_log_start(self->device, ranges, count, &self->pgsize, &why);
        if (!rc)
            return 0;
        if (count == 1 || !wants_fewer(rc, &why)) {
            if (count < most)
                error_prefix(&why, "with %u ranges, as with up to %u", count, most);
            error_copy(err, &why);
            return rc;
        }
    }
}

/* The log runs: find room for what it will tell. */
static int begin(struct tracker_device *self, const struct ram *ram, struct vmig_error *err)
{
    int ret = 0;

    self->running = true;
    if (self->pgsize < RAM_PAGE_SIZE || self->pgsize & (self->pgsize - 1))
        ret = error_set(err, EPROTO, VMIG_STAGE_SETUP, vmig_device_id(self->device), NULL,
                        "%s has pages of %" PRIu64 " bytes; it must be a power of two from %u on",
                        self->source->name, self->pgsize, RAM_PAGE_SIZE);
    if (!ret && self->pgsize != RAM_PAGE_SIZE)
        ret = make_buffer(self, ram, err);
    if (ret < 0)
        tracker_device_stop(&self->tracker);
    return ret;
}

static int tracker_device_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_device *self = (struct tracker_device *)tracker;

    if (!ram->num_blocks)
        return 0;
    int ret = start_device_log(self, ram, err);
    return ret < 0 ? ret : begin(self, ram, err);
}

static int tracker_iommu_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_device *self = (struct tracker_device *)tracker;

    if (!ram->num_blocks)
        return 0;
    int ret = vmig_device_iommu_log_start(self->device, &self->pgsize, err);
    return ret < 0 ? ret : begin(self, ram, err);
}

static int tracker_device_sync(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_device *self = (struct tracker_device *)tracker;

    for (unsigned i = 0; self->running && i < ram->num_blocks; i++) {
        int ret = ram_may_go_on(ram, err);
        if (!ret)
            ret = sync_block(self, &ram->blocks[i], err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static void tracker_device_free(struct tracker *tracker)
{
    tracker_device_stop(tracker);
    free(tracker);
}

static const struct source device_log = {
    .name = "its DMA log",
    .report = vmig_device_dma_log_report,
    .stop = vmig_device_dma_log_stop,
    .ops = { .name = "device",
             .start = tracker_device_start,
             .sync = tracker_device_sync,
             .stop = tracker_device_stop,
             .free = tracker_device_free },
};

static const struct source iommu_log = {
    .name = "its IOMMU's dirty bits",
    .report = vmig_device_iommu_log_report,
    .stop = vmig_device_iommu_log_stop,
    .ops = { .name = "iommu",
             .start = tracker_iommu_start,
             .sync = tracker_device_sync,
             .stop = tracker_device_stop,
             .free = tracker_device_free },
};

static int make(const struct source *source, struct vmig_device *device, struct tracker **ret,
                struct vmig_error *err)
{
    struct tracker_device *self = calloc(1, sizeof(*self));

    if (!self)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, vmig_device_id(device), NULL,
                         "no memory for a tracker");
    self->tracker.ops = &source->ops;
    self->source = source;
    self->device = device;
    *ret = &self->tracker;
    return 0;
}

int tracker_device_new(struct vmig_device *device, struct tracker **ret, struct vmig_error *err)
{
    return make(&device_log, device, ret, err);
}

int tracker_iommu_new(struct vmig_device *device, struct tracker **ret, struct vmig_error *err)
{
    return make(&iommu_log, device, ret, err);
}
