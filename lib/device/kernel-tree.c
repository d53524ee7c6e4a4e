/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/device/kernel-tree.h"

void kernel_tree_init(struct kernel_tree *ret)
{
    struct utsname names = { 0 };
    uname(&names);
    *ret = (struct kernel_tree) { .sys = "/sys", .dev = "/dev" };
    snprintf(ret->release, sizeof(ret->release), "%s", names.release);
    snprintf(ret->modules, sizeof(ret->modules), "/lib/modules/%s", ret->release);
}

bool kernel_tree_is_since(const struct kernel_tree *tree, unsigned major, unsigned minor)
{
    unsigned have_major = 0, have_minor = 0;
    sscanf(tree->release, "%u.%u", &have_major, &have_minor);
    return have_major > major || (have_major == major && have_minor >= minor);
}
