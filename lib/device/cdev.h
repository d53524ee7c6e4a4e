/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that was opened by its character device, for the files of the cdev backend. */
#ifndef LIB_DEVICE_CDEV_H
#define LIB_DEVICE_CDEV_H

#include "lib/device/iommufd.h"
#include "lib/device/kernel.h"

struct cdev_device {
    struct kernel_device kernel; /* first: its operations are rows of our table */
    struct iommufd_place place;  /* our own descriptor of the iommufd, also where one was given */
    bool opened;                 /* kernel is initialised */
    bool own_ioas;               /* we made it: destroyed at the end */
    bool inherited;              /* another owner may have left DMA mappings */
    bool shared;                 /* so may whoever gave us the address space */
    bool no_mmap;
    char name[SYSFS_NAME_MAX]; /* in sysfs; "": not known */
    char node[SYSFS_NAME_MAX]; /* /dev/vfio/devices/vfioN, "fd N" */
};
_Static_assert(offsetof(struct cdev_device, kernel) == 0, "rows of kernel.h take the same pointer");

#endif
