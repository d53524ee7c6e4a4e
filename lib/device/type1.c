/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty bitmaps of a type1 container.
 *
 * The container does not look at the IOMMU's page tables: it knows what is pinned. For an emulated
 * device, whose driver pins what it is about to write, that is the truth; a page that stays pinned
 * is dirty in every report. Behind a real IOMMU everything is pinned from the beginning, so
 * everything is dirty, always.
 */
#include "lib/device/type1.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

/* 6.12 has three capabilities, and lists of IOVA ranges of a few entries. */
#define INFO_BYTES_MAX 65536u
#define INFO_HOPS_MAX 64
#define WORD_PAGES 64u

/* The whole of what GET_INFO tells; the caller's. */
static struct vfio_iommu_type1_info *get_info(int container_fd)
{
    uint32_t size = sizeof(struct vfio_iommu_type1_info);
    for (;;) {
        CLEANUP_FREE struct vfio_iommu_type1_info *info = calloc(1, size);
        if (!info)
            return NULL;
        info->argsz = size;
        if (ioctl(container_fd, VFIO_IOMMU_GET_INFO, info))
            return NULL;
        if (info->argsz <= size) {
            info->argsz = size;
            return take_ptr(info);
        }
        if (info->argsz > INFO_BYTES_MAX) {
            errno = EPROTO;
            return NULL;
        }
        size = info->argsz;
    }
}

/* Older kernels do not align capabilities: everything is copied out. False: there is none. */
static bool find_migration(const struct vfio_iommu_type1_info *info,
                           struct vfio_iommu_type1_info_cap_migration *ret)
{
    struct vfio_info_cap_header header;
    uint32_t at = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
    for (unsigned hops = 0; at && hops < INFO_HOPS_MAX; hops++) {
        if (at > info->argsz || info->argsz - at < sizeof(header))
            return false;
        memcpy(&header, (const char *)info + at, sizeof(header));
        if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION) {
            if (info->argsz - at < sizeof(*ret))
                return false;
            memcpy(ret, (const char *)info + at, sizeof(*ret));
            return true;
        }
        at = header.next;
    }
    return false;
}

int type1_log_info(int container_fd, bool pins, struct backend_iommu_log *ret,
                   struct vmig_error *err)
{
    struct vfio_iommu_type1_info_cap_migration can;
    CLEANUP_FREE struct vfio_iommu_type1_info *info = get_info(container_fd);
    if (!info)
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "asking its container what it can: %m");
    *ret = (struct backend_iommu_log) { .kind = VMIG_IOMMU_LOG_NONE };
    snprintf(ret->why, sizeof(ret->why), "its container has no dirty bitmaps");
    if (!find_migration(info, &can) || !can.pgsize_bitmap)
        return 0;
    ret->pgsize = can.pgsize_bitmap & -can.pgsize_bitmap;
    if (__builtin_mul_overflow(can.max_dirty_bitmap_size, 8 * ret->pgsize, &ret->max_mapping_bytes))
        ret->max_mapping_bytes = UINT64_MAX;
    ret->kind = pins ? VMIG_IOMMU_LOG_TRUE : VMIG_IOMMU_LOG_ALL;
    ret->why[0] = '\0';
    if (!pins)
        snprintf(
            ret->why, sizeof(ret->why),
            "a type1 container calls all memory of a device behind a real IOMMU dirty, always");
    return 0;
}

int type1_log_switch(int container_fd, bool on, struct vmig_error *err)
{
    struct vfio_iommu_type1_dirty_bitmap request = {
        .argsz = sizeof(request),
        .flags = on ? VFIO_IOMMU_DIRTY_PAGES_FLAG_START : VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
    };
    if (!ioctl(container_fd, VFIO_IOMMU_DIRTY_PAGES, &request))
        return 0;
    return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                     "switching its container's dirty bitmaps %s: %m", on ? "on" : "off");
}

static struct vfio_bitmap user_bitmap(uint64_t size, uint64_t pgsize, uint64_t *bitmap)
{
    uint64_t pages = size / pgsize;
    return (struct vfio_bitmap) {
        .pgsize = pgsize,
        .size = (pages / WORD_PAGES + (pages % WORD_PAGES != 0)) * sizeof(*bitmap),
        .data = (void *)bitmap,
    };
}

int type1_log_report(int container_fd, uint64_t iova, uint64_t size, uint64_t pgsize,
                     uint64_t *bitmap, struct vmig_error *err)
{
    struct uapi_type1_get_bitmap request = {
        .argsz = sizeof(request),
        .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
        .iova = iova,
        .size = size,
        .bitmap = user_bitmap(size, pgsize, bitmap),
    };
    if (!ioctl(container_fd, VFIO_IOMMU_DIRTY_PAGES, &request))
        return 0;
    return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                     "reading its container's dirty bits of %" PRIu64 " bytes at IOVA 0x%" PRIx64
                     ": %m",
                     size, iova);
}

int type1_log_unmap(int container_fd, uint64_t iova, uint64_t size, uint64_t pgsize,
                    uint64_t *bitmap, uint64_t *ret_bytes)
{
    struct uapi_type1_unmap_bitmap request = {
        .argsz = sizeof(request),
        .flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        .iova = iova,
        .size = size,
        .bitmap = user_bitmap(size, pgsize, bitmap),
    };
    if (ioctl(container_fd, VFIO_IOMMU_UNMAP_DMA, &request))
        return -errno;
    *ret_bytes = request.size;
    return 0;
}
