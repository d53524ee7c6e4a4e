/* SPDX-License-Identifier: BSD-3-Clause */
/* What sysfs tells about a kernel VFIO device before it is opened. @sys is "/sys", or a test's copy
 * of it. */
#ifndef LIB_DEVICE_SYSFS_H
#define LIB_DEVICE_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <vfio-migrate/error.h>

bool sysfs_is_pci(const char *address);  /* 0000:3b:00.2 */
bool sysfs_is_uuid(const char *address); /* 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 */

#define SYSFS_NAME_MAX 64

/* @address as sysfs spells it: lower case. */
void sysfs_name(const char *address, char ret[SYSFS_NAME_MAX]);

/* The IOMMU group of device @name. -ENOENT no such device (reason "no-such-device"), -ENODEV it is
 * in no group ("no-iommu-group"). */
int sysfs_find_group(const char *sys, const char *name, unsigned *ret, struct vmig_error *err);

/* Its driver's name, "" when it has none. */
void sysfs_find_driver(const char *sys, const char *name, char ret[SYSFS_NAME_MAX]);

/* "0000:3b:00.0 (e1000e), ...": devices of the group that a driver other than VFIO's holds, as far
 * as they fit into @ret. */
void sysfs_find_foreign(const char *sys, unsigned group, char *ret, size_t size);

#endif
