/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory the device may reach.
 *
 * The mappings are remembered: dirty bits are asked for only inside one of them, because kernels
 * answer a question about a hole with success and nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"

bool device_is_iova_range(uint64_t iova, uint64_t size, uint64_t align)
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

uint64_t device_largest_mapping(struct vmig_device *device)
{
    LOCK_SCOPE(&device->lock);
    uint64_t largest = 0;
    for (unsigned i = 0; i < device->num_mappings; i++)
        if (device->mappings[i].size_bytes > largest)
            largest = device->mappings[i].size_bytes;
    return largest;
}

void device_find_mapping(struct vmig_device *device, uint64_t iova, struct device_mapping *ret)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    *ret = (struct device_mapping) { .iova = UINT64_MAX };
    if (i == device->num_mappings)
        return;
    *ret = device->mappings[i];
    if (ret->iova > iova)
        ret->size_bytes = 0;
}

static bool overlaps_mapping(struct vmig_device *device, uint64_t iova, uint64_t size_bytes)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    return i < device->num_mappings && device->mappings[i].iova < iova + size_bytes;
}

static bool is_mapping(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                       bool *ret_remembered)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, iova);
    bool is = i < device->num_mappings && device->mappings[i].iova == iova &&
              device->mappings[i].size_bytes == size_bytes;
    *ret_remembered = is && device->mappings[i].remembered;
    return is;
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

static void insert_mapping(struct vmig_device *device, const struct vmig_dma_map *map)
{
    LOCK_SCOPE(&device->lock);
    unsigned i = find_mapping_locked(device, map->iova);
    memmove(&device->mappings[i + 1], &device->mappings[i],
            (device->num_mappings - i) * sizeof(*device->mappings));
    device->mappings[i] = (struct device_mapping) { .iova = map->iova,
                                                    .size_bytes = map->size_bytes,
                                                    .remembered = !map->vaddr };
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
    bool remember = !map->vaddr;
    if (!device_is_iova_range(map->iova, map->size_bytes, DEVICE_PGSIZE_MIN) ||
        (remember && map->fd >= 0) || ((uintptr_t)map->vaddr & (DEVICE_PGSIZE_MIN - 1)) ||
        map->fd < -1 || (map->fd >= 0 && (map->fd_offset & (DEVICE_PGSIZE_MIN - 1))))
        return device_refuse(device, err, EINVAL,
                             "mapping %" PRIu64 " bytes at %p to IOVA 0x%" PRIx64
                             ": size, addresses and file offset must be multiples of %u",
                             map->size_bytes, map->vaddr, map->iova, DEVICE_PGSIZE_MIN);
    if (remember && (!device->ops->shares_memory || !device->ops->shares_memory(device->backend)))
        return device_refuse(device, err, EINVAL,
                             "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64
                             " without memory: nobody else can have mapped them for this device",
                             map->size_bytes, map->iova);
    if (overlaps_mapping(device, map->iova, map->size_bytes))
        return device_refuse(device, err, EEXIST,
                             "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64
                             ": part of it is mapped already",
                             map->size_bytes, map->iova);
    if (!device->ops->dma_map)
        return -ENOTTY;
    int rc = dirty_log_may_map(device, map->size_bytes, err);
    return rc ? rc : reserve_mapping(device);
}

VMIG_EXPORT int vmig_device_dma_map(struct vmig_device *device, const struct vmig_dma_map *map,
                                    struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = check_map(device, map, err);
    if (!rc && map->vaddr)
        rc = device->ops->dma_map(device->backend, map, err);
    if (!rc)
        insert_mapping(device, map);
    return device_leave(device, rc, err, "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64,
                        map->size_bytes, map->iova);
}

static int unmap(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                 struct vmig_error *err)
{
    bool remembered, known = is_mapping(device, iova, size_bytes, &remembered);
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
    struct device_mapping mapping = { iova, size_bytes, remembered };
    int rc = dirty_log_unmap(device, &mapping, err);
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
