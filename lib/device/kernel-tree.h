/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the running kernel shows itself in the file system; a test makes a tree of its own. */
#ifndef LIB_DEVICE_KERNEL_TREE_H
#define LIB_DEVICE_KERNEL_TREE_H

#include <stdbool.h>

struct kernel_tree {
    char sys[64], dev[64];
    char modules[160]; /* /lib/modules/RELEASE */
    char release[65];  /* "6.12.117-amd64" */
};

void kernel_tree_init(struct kernel_tree *ret);

/* Is the kernel at least @major.@minor? */
bool kernel_tree_is_since(const struct kernel_tree *tree, unsigned major, unsigned minor);

#endif
