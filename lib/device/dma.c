/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory the device may reach, and the device's own log of what it wrote there.
 *
 * The mappings are remembered: a report is asked only inside one of them, because kernels answer a
 * question about a hole with success and nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/memory/bitmap.h"

static bool is_range(uint64_t iova, uint64_t size, uint64_t align)
{
    uint64_t end;
    return size && !(iova & (align - 1)) && !(size & (align - 1)) &&
           !__builtin_add_overflow(iova, size, &end);
}

/* ---- mappings ---- */

/* Index of the first mapping that ends behind @iova; the caller holds the lock. */
static unsigned find_mapping_locked(const struct vmig_device *device, uint64_t iova)
{
    unsigned low = 0, high = device->num_mappings;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const struct device_mapping *at = &device->mappings[middle];
        if (at->iova + at->size_bytes <= iova)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool device_is_mapped(struct vmig_device *device, uint64_t iova, uint64_t size_bytes)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    if (i == device->num_mappings)
        return false;
    const struct device_mapping *at = &device->mappings[i];
    return at->iova <= iova && size_bytes <= at->iova + at->size_bytes - iova;
}

static bool overlaps_mapping(struct vmig_device *device, uint64_t iova, uint64_t size_bytes)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    return i < device->num_mappings && device->mappings[i].iova < iova + size_bytes;
}

static bool is_mapping(struct vmig_device *device, uint64_t iova, uint64_t size_bytes)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    return i < device->num_mappings && device->mappings[i].iova == iova &&
           device->mappings[i].size_bytes == size_bytes;
}

/* Room for one more. Only the holder of the turn changes the table, so it stays until insertion. */
static int reserve_mapping(struct vmig_device *device)
{
    LOCK_SCOPE(&device->lock);
    if (device->num_mappings == DEVICE_MAPPINGS_MAX)
        return -ENOSPC;
    struct device_mapping *grown =
        realloc(device->mappings, (device->num_mappings + 1) * sizeof(*device->mappings));
    if (!grown)
        return -ENOMEM;
    device->mappings = grown;
    return 0;
}

static void insert_mapping(struct vmig_device *device, uint64_t iova, uint64_t size_bytes)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    memmove(&device->mappings[i + 1], &device->mappings[i],
            (device->num_mappings - i) * sizeof(*device->mappings));
    device->mappings[i] = (struct device_mapping) { iova, size_bytes };
    device->num_mappings++;
}

static void remove_mapping(struct vmig_device *device, uint64_t iova)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    device->num_mappings--;
    memmove(&device->mappings[i], &device->mappings[i + 1],
            (device->num_mappings - i) * sizeof(*device->mappings));
}

static int check_map(struct vmig_device *device, const struct vmig_dma_map *map,
                     struct vmig_error *err)
{
    if (!is_range(map->iova, map->size_bytes, DEVICE_PGSIZE_MIN) || !map->vaddr ||
        ((uintptr_t)map->vaddr & (DEVICE_PGSIZE_MIN - 1)) || map->fd < -1 ||
        (map->fd >= 0 && (map->fd_offset & (DEVICE_PGSIZE_MIN - 1))))
        return device_refuse(device, err, EINVAL,
                             "mapping %" PRIu64 " bytes at %p to IOVA 0x%" PRIx64
                             ": size, addresses and file offset must be multiples of %u",
                             map->size_bytes, map->vaddr, map->iova, DEVICE_PGSIZE_MIN);
    if (overlaps_mapping(device, map->iova, map->size_bytes))
        return device_refuse(device, err, EEXIST,
                             "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64
                             ": part of it is mapped already",
                             map->size_bytes, map->iova);
    if (!device->ops->dma_map)
        return -ENOTTY;
    return reserve_mapping(device);
}

VMIG_EXPORT int vmig_device_dma_map(struct vmig_device *device, const struct vmig_dma_map *map,
                                    struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = check_map(device, map, err);
    if (!rc)
        rc = device->ops->dma_map(device->backend, map, err);
    if (!rc)
        insert_mapping(device, map->iova, map->size_bytes);
    return device_leave(device, rc, err, "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64,
                        map->size_bytes, map->iova);
}

static int unmap(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                 struct vmig_error *err)
{
    bool known = is_mapping(device, iova, size_bytes);
    bool inherited = !known && !overlaps_mapping(device, iova, size_bytes) &&
                     device->ops->inherits &&
                     device->ops->inherits(device->backend, iova, size_bytes);
    if (!known && !inherited)
        return device_refuse(device, err, ENOENT,
                             "unmapping %" PRIu64 " bytes at IOVA 0x%" PRIx64
                             ": no mapping is exactly that",
                             size_bytes, iova);
    if (!device->ops->dma_unmap)
        return -ENOTTY;
    int rc = device->ops->dma_unmap(device->backend, iova, size_bytes, err);
    if (!rc && known)
        remove_mapping(device, iova);
    return rc;
}

VMIG_EXPORT int vmig_device_dma_unmap(struct vmig_device *device, uint64_t iova,
                                      uint64_t size_bytes, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = unmap(device, iova, size_bytes, err);
    return device_leave(device, rc, err, "unmapping %" PRIu64 " bytes at IOVA 0x%" PRIx64,
                        size_bytes, iova);
}

/* ---- the log ---- */

static bool is_pgsize(uint64_t pgsize)
{
    return pgsize >= DEVICE_PGSIZE_MIN && !(pgsize & (pgsize - 1));
}

static bool ranges_overlap(const struct vmig_dma_range *a, const struct vmig_dma_range *b)
{
    return a->iova < b->iova + b->size_bytes && b->iova < a->iova + a->size_bytes;
}

static int check_ranges(struct vmig_device *device, const struct vmig_dma_range *ranges,
                        unsigned num_ranges, uint64_t pgsize, struct vmig_error *err)
{
    if (!is_pgsize(pgsize))
        return device_refuse(device, err, EINVAL,
                             "DMA log page size %" PRIu64 ": must be a power of two from %u on",
                             pgsize, DEVICE_PGSIZE_MIN);
    if (!num_ranges || num_ranges > DEVICE_LOG_RANGES_MAX)
        return device_refuse(device, err, EINVAL, "DMA log of %u ranges: must be 1 to %u",
                             num_ranges, DEVICE_LOG_RANGES_MAX);
    for (unsigned i = 0; i < num_ranges; i++) {
        if (!is_range(ranges[i].iova, ranges[i].size_bytes, pgsize))
            return device_refuse(device, err, EINVAL,
                                 "DMA log range of %" PRIu64 " bytes at IOVA 0x%" PRIx64
                                 ": must be multiples of the page size %" PRIu64,
                                 ranges[i].size_bytes, ranges[i].iova, pgsize);
        for (unsigned j = 0; j < i; j++)
            if (ranges_overlap(&ranges[i], &ranges[j]))
                return device_refuse(device, err, EINVAL,
                                     "DMA log ranges at IOVA 0x%" PRIx64 " and 0x%" PRIx64
                                     " overlap",
                                     ranges[j].iova, ranges[i].iova);
    }
    return 0;
}

/* A page of @ranges to ask for in the trial: a mapped one if there is one. */
static uint64_t trial_page(struct vmig_device *device, const struct vmig_dma_range *ranges,
                           unsigned num_ranges)
{
    for (unsigned i = 0; i < num_ranges; i++)
        if (device_is_mapped(device, ranges[i].iova, DEVICE_PGSIZE_MIN))
            return ranges[i].iova;
    return ranges[0].iova;
}

/* Some kernels (Debian's 6.12 with mtty) start a log and then refuse every report: better known
 * now than after the first round. What the trial reads is dropped: it was written before start
 * returned, and whoever starts a log reads the memory only afterwards. */
static int trial_report(struct vmig_device *device, const struct vmig_dma_range *ranges,
                        unsigned num_ranges, uint64_t pgsize, struct vmig_error *err)
{
    uint64_t bitmap = 0;
    struct vmig_error cause = { 0 };
    int rc = -EPROTO;
    if (is_pgsize(pgsize))
        rc = log_call_report(device, trial_page(device, ranges, num_ranges), DEVICE_PGSIZE_MIN,
                             DEVICE_PGSIZE_MIN, &bitmap, &cause);
    if (!rc)
        return 0;
    log_call_stop(device, NULL);
    if (rc == -ETIMEDOUT)
        return error_copy(err, &cause), rc;
    return device_refuse(device, err, EOPNOTSUPP,
                         "the DMA log starts (page size %" PRIu64
                         ") but cannot be read: %s; the kernel may lack CONFIG_IOMMUFD_DRIVER",
                         pgsize, cause.code ? cause.text : device_errno_text(rc));
}

static int log_start(struct vmig_device *device, const struct vmig_dma_range *ranges,
                     unsigned num_ranges, uint64_t *pgsize, struct vmig_error *err)
{
    if (!device->migration.has_dma_logging || !device->ops->dma_log_start ||
        !device->ops->dma_log_report)
        return -ENOTTY;
    if (device->logging)
        return device_refuse(device, err, EALREADY, "its DMA log is on already");
    uint64_t chosen = *pgsize;
    int rc = check_ranges(device, ranges, num_ranges, chosen, err);
    if (!rc)
        rc = log_call_start(device, ranges, num_ranges, &chosen, err);
    if (!rc)
        rc = trial_report(device, ranges, num_ranges, chosen, err);
    if (rc)
        return rc;
    device->logging = true;
    *pgsize = chosen;
    return 0;
}

VMIG_EXPORT int vmig_device_dma_log_start(struct vmig_device *device,
                                          const struct vmig_dma_range *ranges, unsigned num_ranges,
                                          uint64_t *pgsize, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = log_start(device, ranges, num_ranges, pgsize, err);
    return device_leave(device, rc, err, "starting its DMA log of %u ranges", num_ranges);
}

VMIG_EXPORT int vmig_device_dma_log_stop(struct vmig_device *device, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    if (device->logging)
        rc = log_call_stop(device, err);
    device->logging = false;
    log_call_done(device);
    return device_leave(device, rc, err, "stopping its DMA log");
}

/* A range need not be made of pages as large as the log's: then it is asked for in the smallest, so
 * that it does not matter which way a device would round, and gathered here. */
static int report_in_small_pages(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                                 uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err)
{
    uint64_t pages = size_bytes / DEVICE_PGSIZE_MIN;
    CLEANUP_FREE uint64_t *small = bitmap_new(pages);
    if (!small)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, device->id, NULL, "out of memory");
    int rc = log_call_report(device, iova, size_bytes, DEVICE_PGSIZE_MIN, small, err);
    for (uint64_t n = 0; !rc && (n = bitmap_next_set(small, pages, n)) < pages; n++)
        bitmap_set(bitmap, n * DEVICE_PGSIZE_MIN / pgsize);
    return rc;
}

VMIG_EXPORT int vmig_device_dma_log_report(struct vmig_device *device, uint64_t iova,
                                           uint64_t size_bytes, uint64_t pgsize, uint64_t *bitmap,
                                           struct vmig_error *err)
{
    int rc = device_enter_data(device, err);
    if (rc)
        return rc;
    if (!device->ops->dma_log_report)
        rc = -ENOTTY;
    else if (!is_pgsize(pgsize) || !is_range(iova, size_bytes, DEVICE_PGSIZE_MIN) ||
             !device_is_mapped(device, iova, size_bytes))
        rc = device_refuse(device, err, EINVAL,
                           "DMA log report of %" PRIu64 " bytes at IOVA 0x%" PRIx64
                           " in pages of %" PRIu64 ": must be multiples of %u inside one mapping",
                           size_bytes, iova, pgsize, DEVICE_PGSIZE_MIN);
    else if ((iova | size_bytes) & (pgsize - 1))
        rc = report_in_small_pages(device, iova, size_bytes, pgsize, bitmap, err);
    else
        rc = log_call_report(device, iova, size_bytes, pgsize, bitmap, err);
    return device_leave_data(device, rc, err, "reading its DMA log");
}
