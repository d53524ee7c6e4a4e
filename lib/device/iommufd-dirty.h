/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An IOMMU's dirty bits through iommufd: a property of a page table (HWPT), which a device has to be
 * attached to. Requests as in iommufd.h: 0 or a negative errno, no text.
 *
 * The kernel answers with success and nothing while tracking is off, where a range begins in a hole,
 * and where it cannot write to the bitmap; in the last case the bits are gone. So ask for one
 * mapping at a time, of a page table whose tracking is on, into memory of your own that is touched.
 */
#ifndef LIB_DEVICE_IOMMUFD_DIRTY_H
#define LIB_DEVICE_IOMMUFD_DIRTY_H

#include <stdbool.h>
#include "lib/device/backend.h"
#include "lib/device/iommufd.h"

/* What the IOMMU in front of @place's device can tell; its errors are reasons why not. */
void iommufd_dirty_info(const struct iommufd_place *place, struct backend_iommu_log *ret);
/* A page table of @place's address space that can track. */
int iommufd_dirty_alloc(const struct iommufd_place *place, uint32_t *ret_hwpt_id);

/* Switching it on forgets old bits; off, all of them. */
int iommufd_dirty_switch(int fd, uint32_t hwpt_id, bool on);
/* Bits are ORed. @keep: they are left there as well, which is cheaper right before an unmap. */
int iommufd_dirty_report(int fd, uint32_t hwpt_id, uint64_t iova, uint64_t size, uint64_t pgsize,
                         bool keep, uint64_t *bitmap);

#endif
