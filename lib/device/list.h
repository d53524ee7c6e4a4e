/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_DEVICE_LIST_H
#define LIB_DEVICE_LIST_H

#include <vfio-migrate/device.h>
#include "lib/device/kernel-tree.h"

/* vmig_device_list() in a tree of one's own. */
int device_list(const struct kernel_tree *tree, unsigned flags,
                int (*each)(const struct vmig_device_entry *entry, void *opaque), void *opaque,
                struct vmig_error *err);

#endif
