/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU's dirty bits of a device that was opened by its character device: rows of the cdev
 * backend's table. The device is attached to a page table of its own that can track, where its
 * IOMMU can, from the beginning: changing it later would take memory away from a device that works.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/device/cdev.h"
#include "lib/device/iommufd-dirty.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

uint32_t cdev_make_page_table(struct cdev_device *self)
{
    struct backend_iommu_log can;
    iommufd_dirty_info(&self->place, &can);
    if (can.kind == VMIG_IOMMU_LOG_TRUE && iommufd_dirty_alloc(&self->place, &self->hwpt_id))
        self->hwpt_id = 0;
    return self->hwpt_id;
}

void cdev_drop_page_table(struct cdev_device *self)
{
    if (self->hwpt_id)
        iommufd_destroy(self->place.fd, self->hwpt_id);
    self->hwpt_id = 0;
}

int cdev_iommu_log_info(void *opaque, struct backend_iommu_log *ret, struct vmig_error *err)
{
    struct cdev_device *self = opaque;
    (void)err;
    iommufd_dirty_info(&self->place, ret);
    if (ret->kind == VMIG_IOMMU_LOG_NONE || self->hwpt_id)
        return 0;
    ret->kind = VMIG_IOMMU_LOG_NONE;
    snprintf(ret->why, sizeof(ret->why), "its IOMMU gives it no page table that tracks writes");
    return 0;
}

static int switch_log(struct cdev_device *self, bool on, struct vmig_error *err)
{
    int rc = iommufd_dirty_switch(self->place.fd, self->hwpt_id, on);
    if (!rc)
        return 0;
    return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                     "switching its IOMMU's dirty tracking %s: %s", on ? "on" : "off",
                     strerror(-rc));
}

int cdev_iommu_log_start(void *opaque, struct vmig_error *err)
{
    return switch_log(opaque, true, err);
}

int cdev_iommu_log_stop(void *opaque, struct vmig_error *err)
{
    return switch_log(opaque, false, err);
}

static int read_bits(struct cdev_device *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                     bool keep, uint64_t *bitmap, struct vmig_error *err)
{
    int rc = iommufd_dirty_report(self->place.fd, self->hwpt_id, iova, size, pgsize, keep, bitmap);
    if (!rc)
        return 0;
    return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                     "reading its IOMMU's dirty bits of %" PRIu64 " bytes at IOVA 0x%" PRIx64
                     ": %s",
                     size, iova, strerror(-rc));
}

int cdev_iommu_log_report(void *opaque, uint64_t iova, uint64_t size, uint64_t pgsize,
                          uint64_t *bitmap, struct vmig_error *err)
{
    return read_bits(opaque, iova, size, pgsize, false, bitmap, err);
}

/* iommufd has no unmap that reads: what a device writes between the two is lost, so who unmaps must
 * have told it not to write there any more. */
int cdev_iommu_log_unmap(void *opaque, uint64_t iova, uint64_t size, uint64_t pgsize,
                         uint64_t *bitmap, struct vmig_error *err)
{
    int rc = read_bits(opaque, iova, size, pgsize, true, bitmap, err);
    return rc ? rc : cdev_dma_unmap(opaque, iova, size, err);
}
