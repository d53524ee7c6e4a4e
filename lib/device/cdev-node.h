/* SPDX-License-Identifier: BSD-3-Clause */
/* From a device to its VFIO character device, and back. @sys is "/sys", or a test's copy of it. */
#ifndef LIB_DEVICE_CDEV_NODE_H
#define LIB_DEVICE_CDEV_NODE_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/device/sysfs.h"

#define CDEV_NODE_FOLDER "/dev/vfio/devices/"

/* "/dev/vfio/devices/vfio0" of device @name, as sysfs_name() spells it. False when it has none: no
 * VFIO driver holds it, or the kernel has no such nodes. */
bool cdev_node_find(const char *sys, const char *name, char ret[SYSFS_NAME_MAX]);

/* The name of the device whose node has the number @rdev. False when it is no such node. */
bool cdev_node_owner(const char *sys, dev_t rdev, char ret[SYSFS_NAME_MAX]);

#endif
