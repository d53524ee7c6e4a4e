/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/device/iommufd-dirty.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/device/uapi.h"

#define PGSIZE_MIN 4096u

static void set_why(struct backend_iommu_log *log, const char *why)
{
    snprintf(log->why, sizeof(log->why), "%s", why);
}

/* Mappings are made of pages of this size; 0: not known. */
static uint64_t ask_alignment(const struct iommufd_place *place)
{
    struct uapi_ioas_iova_ranges ranges = { .size = sizeof(ranges), .ioas_id = place->ioas_id };
    int rc = iommufd_request(place->fd, UAPI_IOMMU_IOAS_IOVA_RANGES, &ranges);
    return rc && rc != -EMSGSIZE ? 0 : ranges.out_iova_alignment;
}

void iommufd_dirty_info(const struct iommufd_place *place, struct backend_iommu_log *ret)
{
    struct uapi_hw_info info = { .size = sizeof(info), .dev_id = place->device_id };
    *ret = (struct backend_iommu_log) { .kind = VMIG_IOMMU_LOG_NONE };
    int rc = iommufd_request(place->fd, UAPI_IOMMU_GET_HW_INFO, &info);
    if (rc == -ENOENT) {
        set_why(ret, "an emulated device has no IOMMU that could tell; the container of its "
                     "group can (backend group)");
    } else if (rc) {
        snprintf(ret->why, sizeof(ret->why), "asking what its IOMMU can: %s", strerror(-rc));
    } else if (!(info.out_capabilities & UAPI_HW_CAP_DIRTY_TRACKING)) {
        set_why(ret, "its IOMMU cannot track writes");
    } else {
        uint64_t alignment = ask_alignment(place);
        ret->kind = VMIG_IOMMU_LOG_TRUE;
        ret->pgsize = alignment > PGSIZE_MIN ? alignment : PGSIZE_MIN;
        ret->max_mapping_bytes = UINT64_MAX;
    }
}

int iommufd_dirty_alloc(const struct iommufd_place *place, uint32_t *ret_hwpt_id)
{
    struct uapi_hwpt_alloc alloc = {
        .size = sizeof(alloc),
        .flags = UAPI_HWPT_ALLOC_DIRTY_TRACKING,
        .dev_id = place->device_id,
        .pt_id = place->ioas_id,
    };
    int rc = iommufd_request(place->fd, UAPI_IOMMU_HWPT_ALLOC, &alloc);
    if (!rc)
        *ret_hwpt_id = alloc.out_hwpt_id;
    return rc;
}

int iommufd_dirty_switch(int fd, uint32_t hwpt_id, bool on)
{
    struct uapi_hwpt_set_dirty_tracking set = {
        .size = sizeof(set),
        .flags = on ? UAPI_HWPT_DIRTY_TRACKING_ENABLE : 0,
        .hwpt_id = hwpt_id,
    };
    return iommufd_request(fd, UAPI_IOMMU_HWPT_SET_DIRTY_TRACKING, &set);
}

int iommufd_dirty_report(int fd, uint32_t hwpt_id, uint64_t iova, uint64_t size, uint64_t pgsize,
                         bool keep, uint64_t *bitmap)
{
    struct uapi_hwpt_get_dirty_bitmap get = {
        .size = sizeof(get),
        .hwpt_id = hwpt_id,
        .flags = keep ? UAPI_HWPT_GET_DIRTY_BITMAP_NO_CLEAR : 0,
        .iova = iova,
        .length = size,
        .page_size = pgsize,
        .data = (uintptr_t)bitmap,
    };
    return iommufd_request(fd, UAPI_IOMMU_HWPT_GET_DIRTY_BITMAP, &get);
}
