/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding a device's IOMMU group and driver by following sysfs links. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/device/sysfs.h"
#include "lib/error.h"

/* 'x' is a hexadecimal digit, everything else stands for itself. */
static bool has_form(const char *text, const char *form)
{
    for (; *form; form++, text++)
        if (*form == 'x' ? !isxdigit((unsigned char)*text) : *text != *form)
            return false;
    return !*text;
}

bool sysfs_is_pci(const char *address)
{
    return has_form(address, "xxxx:xx:xx.x") || has_form(address, "xxxxx:xx:xx.x") ||
           has_form(address, "xxxxxx:xx:xx.x");
}

bool sysfs_is_uuid(const char *address)
{
    return has_form(address, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
}

void sysfs_name(const char *address, char ret[SYSFS_NAME_MAX])
{
    size_t i;
    for (i = 0; address[i] && i < SYSFS_NAME_MAX - 1; i++)
        ret[i] = (char)tolower((unsigned char)address[i]);
    ret[i] = '\0';
}

static void device_path(const char *sys, const char *name, const char *entry, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/bus/%s/devices/%s%s%s", sys, sysfs_is_pci(name) ? "pci" : "mdev",
             name, entry[0] ? "/" : "", entry);
}

/* The last component of what the link @path points to; false when it is no link. */
static bool read_link_name(const char *path, char ret[SYSFS_NAME_MAX])
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    const char *name = slash ? slash + 1 : target;
    size_t name_length = strlen(name);
    if (!name_length || name_length >= SYSFS_NAME_MAX)
        return false;
    memcpy(ret, name, name_length + 1);
    return true;
}

int sysfs_find_group(const char *sys, const char *name, unsigned *ret, struct vmig_error *err)
{
    char path[PATH_MAX], group[SYSFS_NAME_MAX], *end;
    device_path(sys, name, "", path);
    if (access(path, F_OK))
        return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-such-device",
                         sysfs_is_pci(name)
                             ? "there is no such PCI device; `lspci -D` lists what there is"
                             : "there is no such mediated device; ls /sys/bus/mdev/devices lists "
                               "what there is");
    device_path(sys, name, "iommu_group", path);
    if (!read_link_name(path, group))
        return error_set(err, ENODEV, VMIG_STAGE_OPEN, NULL, "no-iommu-group",
                         "the device is in no IOMMU group; switch the IOMMU on in the firmware "
                         "and on the kernel command line (intel_iommu=on)");
    unsigned long number = strtoul(group, &end, 10);
    if (!isdigit((unsigned char)group[0]) || *end || number > INT_MAX)
        return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, NULL,
                         "its IOMMU group '%s' is no number", group);
    *ret = (unsigned)number;
    return 0;
}

void sysfs_find_driver(const char *sys, const char *name, char ret[SYSFS_NAME_MAX])
{
    char path[PATH_MAX];
    device_path(sys, name, "driver", path);
    if (!read_link_name(path, ret))
        ret[0] = '\0';
}

void sysfs_find_foreign(const char *sys, unsigned group, char *ret, size_t size)
{
    char path[PATH_MAX], driver[SYSFS_NAME_MAX];
    size_t used = 0;
    ret[0] = '\0';
    snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices", sys, group);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; used < size && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        sysfs_find_driver(sys, entry->d_name, driver);
        if (driver[0] && !strstr(driver, "vfio"))
            used += (size_t)snprintf(ret + used, size - used, "%s%s (%s)", used ? ", " : "",
                                     entry->d_name, driver);
    }
    closedir(dir);
}
