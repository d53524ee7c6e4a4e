/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that was opened by its character device, for the files of the cdev backend. */
#ifndef LIB_DEVICE_CDEV_H
#define LIB_DEVICE_CDEV_H

#include "lib/device/iommufd.h"
#include "lib/device/kernel.h"
#include "lib/device/sysfs.h"

struct cdev_device {
    struct kernel_device kernel; /* first: its operations are rows of our table */
    struct iommufd_place place;  /* our own descriptor of the iommufd, also where one was given */
    uint32_t hwpt_id;            /* of a page table that tracks writes; 0: it has none */
    bool opened;                 /* kernel is initialised */
    bool own_ioas;               /* we made it: destroyed at the end */
    bool given;                  /* its descriptor came with the address */
    bool no_mmap;
    char name[SYSFS_NAME_MAX]; /* in sysfs; "": not known */
    char node[SYSFS_NAME_MAX]; /* /dev/vfio/devices/vfioN, "fd N" */
};
_Static_assert(offsetof(struct cdev_device, kernel) == 0, "rows of kernel.h take the same pointer");

/* ---- backend-cdev.c ---- */
int cdev_dma_unmap(void *self, uint64_t iova, uint64_t size, struct vmig_error *err);

/* ---- cdev-dirty.c ---- */
/* Make a page table that tracks writes, to be attached to: its id, or 0 where there can be none. */
uint32_t cdev_make_page_table(struct cdev_device *self);
/* Once the device does not use it any more. */
void cdev_drop_page_table(struct cdev_device *self);
int cdev_iommu_log_info(void *self, struct backend_iommu_log *ret, struct vmig_error *err);
int cdev_iommu_log_start(void *self, struct vmig_error *err);
int cdev_iommu_log_stop(void *self, struct vmig_error *err);
int cdev_iommu_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                          uint64_t *bitmap, struct vmig_error *err);
int cdev_iommu_log_unmap(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                         uint64_t *bitmap, struct vmig_error *err);

#endif
