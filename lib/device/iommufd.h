/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to /dev/iommu. Each is one ioctl: 0 or a negative errno, no text; who asks knows what it
 * was for.
 */
#ifndef LIB_DEVICE_IOMMUFD_H
#define LIB_DEVICE_IOMMUFD_H

#include <vfio-migrate/device.h>

/* Where a device stands in an iommufd: what requests about its memory and its page tables name. */
struct iommufd_place {
    int fd;             /* of /dev/iommu; -1: none yet */
    uint32_t device_id; /* of the device, since it was bound; 0: not bound */
    uint32_t ioas_id;   /* of its address space; 0: none yet */
};

/* Any of them: an ioctl with an errno for a result. */
int iommufd_request(int fd, unsigned long number, void *argument);

int iommufd_ioas_alloc(int fd, uint32_t *ret_id);
/* Is @fd an iommufd, and @ioas_id an address space of it? -ENOTTY, -ENOENT otherwise. */
int iommufd_ioas_check(int fd, uint32_t ioas_id);
/* Destroy any object. -EBUSY while it is used. */
int iommufd_destroy(int fd, uint32_t id);

int iommufd_map(const struct iommufd_place *place, const struct vmig_dma_map *map);
/* *ret_bytes were unmapped. */
int iommufd_unmap(const struct iommufd_place *place, uint64_t iova, uint64_t size,
                  uint64_t *ret_bytes);

#endif
