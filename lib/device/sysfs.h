/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What sysfs tells about a kernel VFIO device before it is opened. @sys is "/sys", or a test's copy
 * of it. Files there are small and the kernel's, but names in them come from drivers of all kinds:
 * what is read is bounded, and what is not printable comes out as '?'.
 */
#ifndef LIB_DEVICE_SYSFS_H
#define LIB_DEVICE_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

bool sysfs_is_pci(const char *address);  /* 0000:3b:00.2 */
bool sysfs_is_uuid(const char *address); /* 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 */

#define SYSFS_NAME_MAX 64

/* @address as sysfs spells it: lower case. */
void sysfs_name(const char *address, char ret[SYSFS_NAME_MAX]);

/* The IOMMU group of device @name. -ENOENT no such device (reason "no-such-device"), -ENODEV it is
 * in no group ("no-iommu-group"). */
int sysfs_find_group(const char *sys, const char *name, unsigned *ret, struct vmig_error *err);

/* 0, or "no-sysfs": nothing can be seen. */
int sysfs_check_mounted(const char *sys, struct vmig_error *err);

/* "no-iommu-group": @what, and what to do about it. */
int sysfs_refuse_without_iommu(const char *what, struct vmig_error *err);

/* Is there any IOMMU group? */
bool sysfs_has_groups(const char *sys);

/* As sysfs_find_group(), and refused is also a PCI device that VFIO drives without an IOMMU ("noiommu-mode"). */
int sysfs_find_safe_group(const char *sys, const char *name, unsigned *ret, struct vmig_error *err);

/* Its driver's name, "" when it has none. */
void sysfs_find_driver(const char *sys, const char *name, char ret[SYSFS_NAME_MAX]);

/* Is it registered with VFIO? Of PCI functions kernels before 6.1 do not tell: then, whether @driver,
 * its driver, is named like one of VFIO's. */
bool sysfs_is_vfio(const char *sys, const char *name, const char *driver);

/* Does the kernel know a PCI driver of that name? */
bool sysfs_has_pci_driver(const char *sys, const char *driver);

/* "0000:3b:00.0 (e1000e), ...": devices of the group whose drivers keep VFIO from it; "" when there
 * are none. Those that do not fit are counted: "... and 3 more". */
void sysfs_find_foreign(const char *sys, unsigned group, char *ret, size_t size);

/* Error "group-not-viable", with @foreign of sysfs_find_foreign(). */
int sysfs_refuse_group(unsigned group, const char *foreign, struct vmig_error *err);

/* What a PCI function is. */
struct sysfs_pci {
    uint16_t vendor, device, subvendor, subdevice;
    uint32_t class_code; /* 24 bits */
    bool is_virtual;     /* function of an SR-IOV device */
};
/* False when it is not told. */
bool sysfs_find_pci(const char *sys, const char *name, struct sysfs_pci *ret);

/* Can VFIO drive this PCI function at all? It refuses bridges. */
bool sysfs_is_bridge(const struct sysfs_pci *pci);

/* Call @each for the name of each device on @bus ("pci", "mdev") that has a proper one, in no order,
 * until it returns other than 0. -ENOENT: there is no such bus. */
int sysfs_each_device(const char *sys, const char *bus, int (*each)(const char *name, void *opaque),
                      void *opaque);

#endif
