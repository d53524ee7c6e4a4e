/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device info, regions and interrupts of a kernel VFIO device.
 *
 * Capability chains are the kernel's memory, but a driver of another vendor writes them: every
 * offset is bounded by the buffer, the number of hops by a constant, and fields are copied out, as
 * older kernels did not align them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/kernel.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

#define REGION_INFO_MAX 65536u /* bytes with capabilities; vfio-pci needs under 200 */
#define CAPABILITY_HOPS_MAX 16

struct kernel_map {
    struct kernel_map *next;
    void *address;
    size_t size;
};

void kernel_device_init(struct kernel_device *device, int take_fd_, const char *name, bool no_mmap)
{
    *device = (struct kernel_device) {
        .fd = take_fd_,
        .no_mmap = no_mmap,
        .state = VMIG_STATE_RUNNING,
        .group = -1,
        .reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
    };
    strncpy(device->name, name, sizeof(device->name) - 1);
    pthread_mutex_init(&device->lock, NULL);
}

void kernel_device_done(struct kernel_device *device)
{
    kernel_drop_stream(device);
    for (struct kernel_map *map = device->maps, *next; map; map = next) {
        next = map->next;
        munmap(map->address, map->size);
        free(map);
    }
    cleanup_fd_(&device->reserve_fd);
    cleanup_fd_(&device->fd);
    pthread_mutex_destroy(&device->lock);
}

int kernel_info(void *self, struct vmig_device_info *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct vfio_device_info info = { .argsz = sizeof(info) };
    if (ioctl(device->fd, VFIO_DEVICE_GET_INFO, &info))
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL, "asking for device info: %m");
    ret->pci = info.flags & VFIO_DEVICE_FLAGS_PCI;
    ret->reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
    ret->num_regions = info.num_regions;
    ret->num_irqs = info.num_irqs;
    return 0;
}

bool kernel_inherits(void *self, uint64_t iova, uint64_t size)
{
    const struct kernel_device *device = self;
    (void)iova;
    (void)size;
    return device->inherited;
}

bool kernel_shares_memory(void *self)
{
    const struct kernel_device *device = self;
    return device->shared;
}

/* ---- regions ---- */

/* Region info with its capabilities in *ret, which the caller frees. */
static int query_region(struct kernel_device *device, unsigned index, struct vfio_region_info **ret)
{
    uint32_t size = sizeof(**ret);
    for (unsigned tries = 0; tries < 3; tries++) {
        CLEANUP_FREE struct vfio_region_info *info = calloc(1, size);
        if (!info)
            return -ENOMEM;
        info->argsz = size;
        info->index = index;
        if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, info))
            return -errno;
        if (!(info->flags & VFIO_REGION_INFO_FLAG_CAPS) || info->argsz <= size) {
            info->argsz = size; /* what we allocated, not what somebody says */
            *ret = take_ptr(info);
            return 0;
        }
        if (info->argsz > REGION_INFO_MAX)
            return -EPROTO;
        size = info->argsz;
    }
    return -EPROTO;
}

/* Copy the capability @id, at most @size bytes with its header, to @ret. Returns its offset, 0 when
 * there is none. */
static uint32_t find_capability(const struct vfio_region_info *info, uint16_t id, void *ret,
                                size_t size)
{
    struct vfio_info_cap_header header;
    uint32_t at = info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0;
    for (unsigned hops = 0; at && hops < CAPABILITY_HOPS_MAX; hops++, at = header.next) {
        if (at > info->argsz || info->argsz - at < sizeof(header))
            return 0;
        memcpy(&header, (const uint8_t *)info + at, sizeof(header));
        if (header.id == id && info->argsz - at >= size) {
            memcpy(ret, (const uint8_t *)info + at, size);
            return at;
        }
    }
    return 0;
}

/* Only the sparse areas may be mapped where there are any. Areas beyond what vmig_region_info can
 * hold are left out: they are then read and written instead. */
static void read_areas(const struct vfio_region_info *info, struct vmig_region_info *ret)
{
    struct vfio_region_info_cap_sparse_mmap sparse;
    uint32_t at = find_capability(info, VFIO_REGION_INFO_CAP_SPARSE_MMAP, &sparse,
                                  offsetof(struct vfio_region_info_cap_sparse_mmap, areas));
    if (!at) {
        ret->num_areas = 1;
        ret->areas[0] = (struct vmig_region_area) { 0, info->size };
        return;
    }
    at += offsetof(struct vfio_region_info_cap_sparse_mmap, areas);
    struct vfio_region_sparse_mmap_area area;
    for (uint32_t i = 0; i < sparse.nr_areas && i < VMIG_REGION_AREAS_MAX; i++) {
        if (info->argsz - at < sizeof(area))
            return;
        memcpy(&area, (const uint8_t *)info + at, sizeof(area));
        at += sizeof(area);
        if (area.size)
            ret->areas[ret->num_areas++] = (struct vmig_region_area) { area.offset, area.size };
    }
}

int kernel_region_info(void *self, unsigned index, struct vmig_region_info *ret,
                       struct vmig_error *err)
{
    struct kernel_device *device = self;
    CLEANUP_FREE struct vfio_region_info *info = NULL;
    int rc = query_region(device, index, &info);
    *ret = (struct vmig_region_info) { .index = index };
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "asking for region %u: %s", index,
                         strerror(-rc));
    ret->flags = info->flags & (VMIG_REGION_READ | VMIG_REGION_WRITE | VMIG_REGION_MMAP);
    ret->size_bytes = info->size;
    if (device->no_mmap || !info->size)
        ret->flags &= ~VMIG_REGION_MMAP;
    if (ret->flags & VMIG_REGION_MMAP)
        read_areas(info, ret);
    return 0;
}

bool kernel_has_v1_region(struct kernel_device *device)
{
    struct vmig_device_info known = { 0 };
    if (kernel_info(device, &known, NULL))
        return false;
    for (unsigned i = VFIO_PCI_NUM_REGIONS; i < known.num_regions; i++) {
        CLEANUP_FREE struct vfio_region_info *info = NULL;
        struct vfio_region_info_cap_type type;
        if (query_region(device, i, &info))
            continue;
        if (find_capability(info, VFIO_REGION_INFO_CAP_TYPE, &type, sizeof(type)) &&
            type.type == UAPI_REGION_TYPE_MIGRATION_V1 &&
            type.subtype == UAPI_REGION_SUBTYPE_MIGRATION_V1)
            return true;
    }
    return false;
}

/* Where region @index begins in the device fd. Asked each time: accesses through the fd are for
 * configuration, not for speed. */
static int region_offset(struct kernel_device *device, unsigned index, uint64_t *ret,
                         struct vmig_error *err)
{
    CLEANUP_FREE struct vfio_region_info *info = NULL;
    int rc = query_region(device, index, &info);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "asking for region %u: %s", index,
                         strerror(-rc));
    *ret = info->offset;
    return 0;
}

int kernel_region_read(void *self, unsigned index, uint64_t offset, void *buf, size_t length,
                       struct vmig_error *err)
{
    struct kernel_device *device = self;
    uint64_t base = 0;
    int rc = region_offset(device, index, &base, err);
    for (size_t done = 0; !rc && done < length;) {
        ssize_t got =
            pread(device->fd, (uint8_t *)buf + done, length - done, (off_t)(base + offset + done));
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || errno != EINTR)
            rc = error_set(err, got ? errno : EIO, VMIG_STAGE_NONE, NULL, NULL,
                           "reading region %u at %" PRIu64 " of %zu bytes: %s", index,
                           offset + done, length, got ? strerror(errno) : "nothing came");
    }
    return rc;
}

int kernel_region_write(void *self, unsigned index, uint64_t offset, const void *buf, size_t length,
                        struct vmig_error *err)
{
    struct kernel_device *device = self;
    uint64_t base = 0;
    int rc = region_offset(device, index, &base, err);
    for (size_t done = 0; !rc && done < length;) {
        ssize_t put = pwrite(device->fd, (const uint8_t *)buf + done, length - done,
                             (off_t)(base + offset + done));
        if (put > 0)
            done += (size_t)put;
        else if (put == 0 || errno != EINTR)
            rc = error_set(err, put ? errno : EIO, VMIG_STAGE_NONE, NULL, NULL,
                           "writing region %u at %" PRIu64 " of %zu bytes: %s", index,
                           offset + done, length, put ? strerror(errno) : "nothing was taken");
    }
    return rc;
}

int kernel_region_map(void *self, unsigned index, const struct vmig_region_area *area, void **ret,
                      struct vmig_error *err)
{
    struct kernel_device *device = self;
    uint64_t base = 0;
    int rc = region_offset(device, index, &base, err);
    if (rc)
        return rc;
    struct kernel_map *map = calloc(1, sizeof(*map));
    if (!map)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    map->size = area->size_bytes;
    map->address = mmap(NULL, map->size, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd,
                        (off_t)(base + area->offset_bytes));
    if (map->address == MAP_FAILED) {
        free(map);
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "mapping %" PRIu64 " bytes of region %u: %m", area->size_bytes, index);
    }
    map->next = device->maps;
    device->maps = map;
    *ret = map->address;
    return 0;
}

/* ---- interrupts ---- */

int kernel_irq_info(void *self, unsigned index, struct vmig_irq_info *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
    *ret = (struct vmig_irq_info) { .index = index };
    if (ioctl(device->fd, VFIO_DEVICE_GET_IRQ_INFO, &info))
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "asking for interrupt kind %u: %m", index);
    ret->flags = info.flags;
    ret->count = info.count;
    return 0;
}

int kernel_set_irqs(void *self, unsigned index, unsigned start, unsigned count, const int *eventfds,
                    struct vmig_error *err)
{
    struct kernel_device *device = self;
    size_t data = count * sizeof(int32_t);
    CLEANUP_FREE struct vfio_irq_set *set = calloc(1, sizeof(*set) + data);
    if (!set)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    set->argsz = (uint32_t)(sizeof(*set) + data);
    set->flags =
        VFIO_IRQ_SET_ACTION_TRIGGER | (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
    set->index = index;
    set->start = start;
    set->count = count;
    if (count)
        memcpy(set->data, eventfds, data);
    if (ioctl(device->fd, VFIO_DEVICE_SET_IRQS, set))
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "routing %u vectors of interrupt kind %u: %m", count, index);
    return 0;
}

int kernel_unmask_irqs(void *self, unsigned index, unsigned start, unsigned count,
                       struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct vfio_irq_set set = { .argsz = sizeof(set),
                                .flags = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE,
                                .index = index,
                                .start = start,
                                .count = count };
    if (ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &set))
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "unmasking %u vectors of interrupt kind %u: %m", count, index);
    return 0;
}
