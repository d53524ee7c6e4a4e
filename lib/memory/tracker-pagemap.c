/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes by this process, seen by the kernel itself (Linux 6.7).
 *
 * Memory is write-protected through a userfaultfd in asynchronous mode: at the first write to a
 * page the kernel takes the protection away and lets the writer go on, no thread of ours is
 * involved. PAGEMAP_SCAN then lists the pages that lost it and protects them again in one step.
 * Writes that the kernel makes for the process through the same mapping (read(2) into it) count,
 * and that works as an ordinary user.
 *
 * A page that is in no page table:
 *  - anonymous memory: it has never been touched or was dropped, so it was not written. It stays
 *    unprotected; when it comes it has no protection and counts as written.
 *  - shared memory: its entry may also have been dropped after a write (MADV_DONTNEED, swap), the
 *    page is still in the file. So entries of all data are protected, by markers where there is no
 *    page, and an entry without page and without marker counts as written.
 *
 * Markers need page tables (2 MiB for each GiB), so they are only put over 2 MiB chunks that hold
 * any data; chunks without are asked for data in each sync (SEEK_DATA). A sparse block costs
 * nothing.
 *
 * Not seen, on purpose: writes through another mapping, by another process, by write(2) to the fd,
 * and pages that are discarded.
 */
#include "lib/memory/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/memory/holes.h"
#include "lib/memory/uapi.h"
#include "lib/memory/userfault.h"

/* What one entry of the second-lowest page table spans. */
#define CHUNK_BYTES (UINT64_C(2) << 20)

/* More than 512 make the kernel report a walk_end that lies before regions it already returned. */
#define REGIONS 512

struct pagemap_block {
    const struct vmig_ram_block *desc;
    enum mapping_kind kind;
    uint64_t chunks;
    uint64_t *covered; /* a bit a chunk: its entries are protected, with markers; not ANONYMOUS */
};

struct tracker_pagemap {
    struct tracker tracker;
    int uffd, pagemap;
    unsigned num_blocks; /* registered */
    struct pagemap_block blocks[RAM_BLOCKS_MAX];
};

static int sync_error(const struct pagemap_block *block, int code, struct vmig_error *err)
{
    return error_set(err, code, VMIG_STAGE_NONE, NULL, NULL,
                     "RAM block \"%.64s\": its dirty pages cannot be read: %s%s", block->desc->name,
                     strerror(abs(code)),
                     code == -EPERM ? ": it was mapped anew while it was tracked" : "");
}

/* ---- scanning ---- */

static bool is_written(const struct uapi_scan_region *region)
{
    return region->categories & UAPI_PAGE_WRITTEN ||
           !(region->categories & (UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED));
}

/* Protect what was written in [offset, offset + length) and set its bits in @dirty (or NULL). */
static int scan_written(struct tracker_pagemap *self, const struct pagemap_block *block,
                        uint64_t offset, uint64_t length, uint64_t *dirty)
{
    struct uapi_scan_region regions[REGIONS];
    uint64_t base = (uint64_t)(uintptr_t)block->desc->vaddr;
    struct uapi_scan scan = {
        .size = sizeof(scan),
        .flags = UAPI_SCAN_PROTECT | UAPI_SCAN_CHECK_ASYNC,
        .start = base + offset,
        .end = base + offset + length,
        .regions = (uint64_t)(uintptr_t)regions,
        .regions_len = REGIONS,
        .return_mask = UAPI_PAGE_WRITTEN | UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED,
    };

    if (block->kind == MAPPING_ANONYMOUS) { /* written, and there */
        scan.all = UAPI_PAGE_WRITTEN;
        scan.any = UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED;
    } else { /* written, or not present; of those is_written() takes what has no marker */
        scan.inverted = UAPI_PAGE_PRESENT;
        scan.any = UAPI_PAGE_WRITTEN | UAPI_PAGE_PRESENT;
    }
    while (scan.start < scan.end) {
        int found = ioctl(self->pagemap, UAPI_PAGEMAP_SCAN, &scan);
        if (found < 0 && errno == EINTR)
            continue;
        if (found < 0)
            return -errno;
        for (int i = 0; dirty && i < found; i++)
            if (is_written(&regions[i]))
                bitmap_set_range(dirty, (regions[i].start - base) / RAM_PAGE_SIZE,
                                 (regions[i].end - regions[i].start) / RAM_PAGE_SIZE);
        if (scan.walk_end <= scan.start)
            return -EIO;
        scan.start = scan.walk_end;
    }
    return 0;
}

/* ---- chunks ---- */

static uint64_t chunks_end_bytes(const struct pagemap_block *block, uint64_t end_chunk)
{
    uint64_t end = end_chunk * CHUNK_BYTES;
    return end < block->desc->size_bytes ? end : block->desc->size_bytes;
}

/* Protect [offset, offset + length) whatever is there, by markers where nothing is. A scan without
 * conditions and without an output does that three times as fast as UFFDIO_WRITEPROTECT, and a
 * third faster than a scan that lists what it finds (bench/memory: start_ms). */
static int protect_all(struct tracker_pagemap *self, const struct pagemap_block *block,
                       uint64_t offset, uint64_t length)
{
    uint64_t start = (uint64_t)(uintptr_t)block->desc->vaddr + offset;
    struct uapi_scan scan = { .size = sizeof(scan),
                              .flags = UAPI_SCAN_PROTECT | UAPI_SCAN_CHECK_ASYNC,
                              .start = start,
                              .end = start + length };

    while (scan.start < scan.end) {
        if (ioctl(self->pagemap, UAPI_PAGEMAP_SCAN, &scan) < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (scan.walk_end <= scan.start)
            return -EIO;
        scan.start = scan.walk_end;
    }
    return 0;
}

/* Put protection and markers over chunks [first, end). */
static int cover(struct tracker_pagemap *self, struct pagemap_block *block, uint64_t first,
                 uint64_t end)
{
    uint64_t offset = first * CHUNK_BYTES;
    int ret = protect_all(self, block, offset, chunks_end_bytes(block, end) - offset);

    if (!ret)
        bitmap_set_range(block->covered, first, end - first);
    return ret;
}

struct data_found {
    struct pagemap_block *block;
    uint64_t *wanted; /* a bit a chunk */
    uint64_t *dirty;
};

static bool want_chunks(void *opaque, uint64_t offset_bytes, uint64_t length_bytes)
{
    const struct data_found *found = opaque;
    uint64_t first = offset_bytes / CHUNK_BYTES;
    uint64_t last = (offset_bytes + length_bytes - 1) / CHUNK_BYTES;

    bitmap_set_range(found->wanted, first, last - first + 1);
    return true;
}

static bool set_dirty(void *opaque, uint64_t offset_bytes, uint64_t length_bytes)
{
    const struct data_found *found = opaque;

    bitmap_set_range(found->dirty, offset_bytes / RAM_PAGE_SIZE, length_bytes / RAM_PAGE_SIZE);
    return true;
}

/* Cover the runs of @wanted chunks. First the protection, then the question where the data is: what
 * is written in between is reported now, what is written later by the next sync. */
static int cover_wanted(struct tracker_pagemap *self, struct data_found *found)
{
    struct pagemap_block *block = found->block;
    uint64_t chunk = 0;

    for (;;) {
        chunk = bitmap_next_set(found->wanted, block->chunks, chunk);
        if (chunk == block->chunks)
            return 0;
        uint64_t end = bitmap_next_clear(found->wanted, block->chunks, chunk);
        int ret = cover(self, block, chunk, end);
        if (ret < 0)
            return ret;
        if (found->dirty)
            holes_file_data(block->desc, chunk * CHUNK_BYTES, chunks_end_bytes(block, end),
                            set_dirty, found);
        chunk = end;
    }
}

/* At the start: cover the chunks that hold data. What this process's page table shows need not be
 * asked of the file. */
static int cover_data(struct tracker_pagemap *self, struct pagemap_block *block)
{
    CLEANUP_FREE uint64_t *wanted = bitmap_new(block->chunks);
    struct data_found found = { .block = block, .wanted = wanted };

    if (!wanted)
        return -ENOMEM;
    holes_populated(block->desc, want_chunks, &found);
    return cover_wanted(self, &found);
}

/* Chunks that got data since the last time: cover them and report their data in @dirty. */
static int cover_new_data(struct tracker_pagemap *self, struct pagemap_block *block,
                          uint64_t *dirty)
{
    CLEANUP_FREE uint64_t *wanted = bitmap_new(block->chunks);
    struct data_found found = { .block = block, .wanted = wanted, .dirty = dirty };
    uint64_t chunk = 0;

    if (!wanted)
        return -ENOMEM;
    for (;;) {
        chunk = bitmap_next_clear(block->covered, block->chunks, chunk);
        if (chunk == block->chunks)
            break;
        uint64_t end = bitmap_next_set(block->covered, block->chunks, chunk);
        holes_file_data(block->desc, chunk * CHUNK_BYTES, chunks_end_bytes(block, end), want_chunks,
                        &found);
        chunk = end;
    }
    return cover_wanted(self, &found);
}

static int scan_covered(struct tracker_pagemap *self, struct pagemap_block *block, uint64_t *dirty)
{
    uint64_t chunk = 0;

    for (;;) {
        chunk = bitmap_next_set(block->covered, block->chunks, chunk);
        if (chunk == block->chunks)
            return 0;
        uint64_t end = bitmap_next_clear(block->covered, block->chunks, chunk);
        uint64_t offset = chunk * CHUNK_BYTES;
        int ret = scan_written(self, block, offset, chunks_end_bytes(block, end) - offset, dirty);
        if (ret < 0)
            return ret;
        chunk = end;
    }
}

/* ---- operations ---- */

static enum mapping_kind tracked_kind(const struct vmig_ram_block *desc)
{
    /* A file of huge pages claims to be all data, and its pages may be larger than a chunk. On
     * machines with larger pages than ours nothing finer is tried. */
    if (mapping_page_bytes(desc) > RAM_PAGE_SIZE)
        return MAPPING_OTHER;
    return mapping_kind(desc);
}

/* Protect all that is there. */
static int start_block(struct tracker_pagemap *self, struct pagemap_block *block)
{
    if (block->kind == MAPPING_ANONYMOUS)
        return scan_written(self, block, 0, block->desc->size_bytes, NULL);
    block->chunks = (block->desc->size_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    block->covered = bitmap_new(block->chunks);
    if (!block->covered)
        return -ENOMEM;
    if (block->kind == MAPPING_FILE)
        return cover_data(self, block);
    return cover(self, block, 0, block->chunks); /* without an fd holes cannot be asked for */
}

static void tracker_pagemap_stop(struct tracker *tracker)
{
    struct tracker_pagemap *self = (struct tracker_pagemap *)tracker;

    /* Closing alone is not enough: a forked child may hold a copy of the descriptor. */
    for (unsigned i = 0; i < self->num_blocks; i++) {
        userfault_unregister(self->uffd, self->blocks[i].desc);
        free(self->blocks[i].covered);
    }
    self->num_blocks = 0;
}

static int tracker_pagemap_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_pagemap *self = (struct tracker_pagemap *)tracker;

    for (unsigned i = 0; i < ram->num_blocks; i++) {
        struct pagemap_block *block = &self->blocks[i];

        *block = (struct pagemap_block) { .desc = &ram->blocks[i].desc,
                                          .kind = tracked_kind(&ram->blocks[i].desc) };
        int ret = ram_may_go_on(ram, err);
        if (!ret)
            ret = userfault_register(self->uffd, block->desc, UFFDIO_REGISTER_MODE_WP, err);
        if (!ret) {
            self->num_blocks++;
            ret = start_block(self, block);
            if (ret < 0)
                sync_error(block, ret, err);
        }
        if (ret < 0) {
            tracker_pagemap_stop(tracker);
            return ret;
        }
    }
    return 0;
}

static int tracker_pagemap_sync(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_pagemap *self = (struct tracker_pagemap *)tracker;

    for (unsigned i = 0; i < self->num_blocks; i++) {
        struct pagemap_block *block = &self->blocks[i];
        uint64_t *dirty = ram->blocks[i].dirty;
        int ret = ram_may_go_on(ram, err);

        if (ret < 0)
            return ret;
        if (block->kind == MAPPING_ANONYMOUS)
            ret = scan_written(self, block, 0, block->desc->size_bytes, dirty);
        else
            ret = scan_covered(self, block, dirty);
        if (!ret && block->kind == MAPPING_FILE)
            ret = cover_new_data(self, block, dirty);
        if (ret < 0)
            return sync_error(block, ret, err);
    }
    return 0;
}

static void tracker_pagemap_free(struct tracker *tracker)
{
    struct tracker_pagemap *self = (struct tracker_pagemap *)tracker;

    tracker_pagemap_stop(tracker);
    cleanup_fd_(&self->uffd);
    cleanup_fd_(&self->pagemap);
    free(self);
}

static const struct tracker_ops tracker_pagemap_ops = {
    .name = "pagemap",
    .start = tracker_pagemap_start,
    .sync = tracker_pagemap_sync,
    .stop = tracker_pagemap_stop,
    .free = tracker_pagemap_free,
};

/* Does the kernel know the scan at all? An empty range is fine for one that does. */
static int probe_scan(int pagemap)
{
    struct uapi_scan scan = { .size = sizeof(scan) };

    return ioctl(pagemap, UAPI_PAGEMAP_SCAN, &scan) < 0 ? -errno : 0;
}

int tracker_pagemap_new(struct tracker **ret, struct vmig_error *err)
{
    bool serves_kernel;
    CLEANUP_FD int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int probed = pagemap < 0 ? -errno : probe_scan(pagemap);

    if (probed < 0)
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, NULL,
                         "/proc/self/pagemap has no PAGEMAP_SCAN (%s); it needs Linux 6.7",
                         strerror(-probed));
    /* No fault ever reaches us, so a descriptor without privileges will do. */
    CLEANUP_FD int uffd = userfault_open(UAPI_UFFD_WP_ASYNC, false, &serves_kernel, err);
    if (uffd < 0)
        return uffd;
    struct tracker_pagemap *self = calloc(1, sizeof(*self));
    if (!self)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "no memory for a tracker");
    self->tracker.ops = &tracker_pagemap_ops;
    self->uffd = take_fd(&uffd);
    self->pagemap = take_fd(&pagemap);
    *ret = &self->tracker;
    return 0;
}
