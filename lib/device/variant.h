/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Variant drivers: VFIO drivers made for certain devices, which can migrate them where generic
 * vfio-pci cannot.
 *
 * Which there are is what this kernel's modules say of themselves (an alias "vfio_pci:v...": the
 * name of the device as a VFIO driver is looked for), and what we know of Linux: which driver came
 * with which version and can migrate.
 */
#ifndef LIB_DEVICE_VARIANT_H
#define LIB_DEVICE_VARIANT_H

#include "lib/device/kernel-tree.h"
#include "lib/device/sysfs.h"

struct variants;

/* Read what the modules of @tree say; @tree is borrowed. NULL only when out of memory. */
struct variants *variants_new(const struct kernel_tree *tree);
/* Returns NULL. */
struct variants *variants_free(struct variants *variants);

/* The driver that migrates this function on this kernel, "" when there is none. */
void variants_find(const struct variants *variants, const struct sysfs_pci *pci,
                   char ret[SYSFS_NAME_MAX]);

enum variant_skill {
    VARIANT_UNKNOWN,  /* nobody here knows this driver */
    VARIANT_MIGRATES, /* where hardware and firmware can */
    VARIANT_TOO_OLD,  /* it will, with a newer kernel */
    VARIANT_CANNOT,   /* in no kernel known */
};
/* What is known of the VFIO driver @driver (PCI or mediated) on the kernel of @tree. */
enum variant_skill variant_skill(const struct kernel_tree *tree, const char *driver);

#define VARIANT_REASON_MAX 40 /* as in struct vmig_migration_info */
#define VARIANT_REMEDY_MAX 200

/* Why a PCI function that is bound to @driver ("": nothing) and does not migrate there cannot, and
 * what to do. */
void variants_explain(const struct variants *variants, const struct sysfs_pci *pci,
                      const char *driver, char ret_reason[VARIANT_REASON_MAX],
                      char ret_remedy[VARIANT_REMEDY_MAX]);

/* "no-vfio-driver", with the driver to bind to, when no VFIO driver holds device @name of the running
 * kernel; else 0. */
int variant_check_bound(const char *name, struct vmig_error *err);

#endif
