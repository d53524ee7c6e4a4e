/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that a VFIO driver holds has a folder vfio-dev with one entry vfioN. Where the kernel has
 * character devices for VFIO, there is a file "dev" in that; else the folder is there without it.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/device/cdev-node.h"

bool cdev_node_find(const char *sys, const char *name, char ret[SYSFS_NAME_MAX])
{
    char folder[PATH_MAX], dev[PATH_MAX + NAME_MAX + 8];
    bool found = false;
    snprintf(folder, sizeof(folder), "%s/bus/%s/devices/%s/vfio-dev", sys,
             sysfs_is_pci(name) ? "pci" : "mdev", name);
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        snprintf(dev, sizeof(dev), "%s/%s/dev", folder, entry->d_name);
        found = entry->d_name[0] != '.' && access(dev, F_OK) == 0 &&
                snprintf(ret, SYSFS_NAME_MAX, CDEV_NODE_FOLDER "%.40s", entry->d_name) > 0;
    }
    closedir(dir);
    return found;
}

bool cdev_node_owner(const char *sys, dev_t rdev, char ret[SYSFS_NAME_MAX])
{
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof(path), "%s/dev/char/%u:%u/device", sys, major(rdev), minor(rdev));
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    const char *name = slash ? slash + 1 : target;
    if (!name[0] || strlen(name) >= SYSFS_NAME_MAX)
        return false;
    strcpy(ret, name);
    return true;
}
