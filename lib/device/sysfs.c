/* SPDX-License-Identifier: BSD-3-Clause */
/* Following sysfs links from a device to its IOMMU group, its driver and its neighbours. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
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

static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

/* The last component of what the link @path points to, as far as it fits; false when it is no link. */
static bool read_link_name(const char *path, char ret[SYSFS_NAME_MAX])
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(ret, SYSFS_NAME_MAX, "%.*s", SYSFS_NAME_MAX - 1, slash ? slash + 1 : target);
    make_printable(ret);
    return ret[0];
}

/* The first line of the file @path, as far as it fits. */
static bool read_line(const char *path, char *ret, size_t size)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, ret, size - 1);
    if (length < 0)
        return false;
    ret[length] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    make_printable(ret);
    return true;
}

/* ---- the group ---- */

static bool is_missing(const char *sys, const char *name)
{
    char path[PATH_MAX];
    device_path(sys, name, "", path);
    return access(path, F_OK) != 0;
}

int sysfs_check_mounted(const char *sys, struct vmig_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/bus", sys);
    if (!access(path, F_OK))
        return 0;
    return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-sysfs",
                     "%s shows nothing: sysfs is not mounted there; mount it, in a container the "
                     "host's",
                     sys);
}

int sysfs_refuse_without_iommu(const char *what, struct vmig_error *err)
{
    return error_set(err, ENODEV, VMIG_STAGE_OPEN, NULL, "no-iommu-group",
                     "%s: the IOMMU is off; switch it on in the firmware (Intel VT-d, AMD-Vi, ARM "
                     "SMMU) and, on Intel, on the kernel command line (intel_iommu=on)",
                     what);
}

int sysfs_find_group(const char *sys, const char *name, unsigned *ret, struct vmig_error *err)
{
    char path[PATH_MAX], group[SYSFS_NAME_MAX], *end;
    bool pci = sysfs_is_pci(name);
    int rc = sysfs_check_mounted(sys, err);
    if (rc)
        return rc;
    if (is_missing(sys, name))
        return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-such-device",
                         "there is no such %s device; `vfio-migrate probe%s` lists what there is",
                         pci ? "PCI" : "mediated", pci ? " --all" : "");
    device_path(sys, name, "iommu_group", path);
    if (!read_link_name(path, group))
        return sysfs_refuse_without_iommu("the device is in no IOMMU group", err);
    unsigned long number = strtoul(group, &end, 10);
    if (!isdigit((unsigned char)group[0]) || *end || number > INT_MAX)
        return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, "no-iommu-group",
                         "its IOMMU group '%s' is no number", group);
    *ret = (unsigned)number;
    return 0;
}

/* Groups that VFIO makes up have this name: for a device that a driver emulates, which does no DMA
 * of its own, and for one whose DMA nothing keeps in bounds. */
static bool is_made_up(const char *sys, unsigned group)
{
    char path[PATH_MAX], name[SYSFS_NAME_MAX];
    snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/name", sys, group);
    return read_line(path, name, sizeof(name)) && !strcmp(name, "vfio-noiommu");
}

int sysfs_find_safe_group(const char *sys, const char *name, unsigned *ret, struct vmig_error *err)
{
    unsigned group = 0;
    int rc = sysfs_find_group(sys, name, &group, err);
    if (rc)
        return rc;
    if (sysfs_is_pci(name) && is_made_up(sys, group))
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_OPEN, NULL, "noiommu-mode",
                         "VFIO has it without an IOMMU (/dev/vfio/noiommu-%u): nothing would keep "
                         "its DMA inside of the workload's memory; switch the IOMMU on and VFIO's "
                         "enable_unsafe_noiommu_mode off",
                         group);
    *ret = group;
    return 0;
}

/* ---- drivers ---- */

void sysfs_find_driver(const char *sys, const char *name, char ret[SYSFS_NAME_MAX])
{
    char path[PATH_MAX];
    device_path(sys, name, "driver", path);
    if (!read_link_name(path, ret))
        ret[0] = '\0';
}

bool sysfs_is_vfio(const char *sys, const char *name, const char *driver)
{
    char path[PATH_MAX];
    device_path(sys, name, "vfio-dev", path);
    return driver[0] && (!sysfs_is_pci(name) || strstr(driver, "vfio") || !access(path, F_OK));
}

bool sysfs_has_pci_driver(const char *sys, const char *driver)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/bus/pci/drivers/%s", sys, driver);
    return !access(path, F_OK);
}

/* ---- the group's other devices ---- */

/* Drivers that do no DMA for themselves may stay beside VFIO. */
static bool keeps_vfio_away(const char *sys, const char *name, const char *driver)
{
    return driver[0] && strcmp(driver, "pcieport") != 0 && strcmp(driver, "pci-stub") != 0 &&
           !sysfs_is_vfio(sys, name, driver);
}

#define GROUP_DEVICES_MAX 512 /* looked at; a PCI bus has 256 functions */
#define MORE_ROOM 24          /* for " and 4294967295 more" */

void sysfs_find_foreign(const char *sys, unsigned group, char *ret, size_t size)
{
    char path[PATH_MAX], driver[SYSFS_NAME_MAX], item[2 * SYSFS_NAME_MAX + 8];
    size_t used = 0;
    unsigned more = 0;
    ret[0] = '\0';
    snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%u/devices", sys, group);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    const struct dirent *entry;
    for (unsigned i = 0; i < GROUP_DEVICES_MAX && (entry = readdir(dir)); i++) {
        if (!sysfs_is_pci(entry->d_name))
            continue;
        sysfs_find_driver(sys, entry->d_name, driver);
        if (!keeps_vfio_away(sys, entry->d_name, driver))
            continue;
        int length =
            snprintf(item, sizeof(item), "%s%s (%s)", used ? ", " : "", entry->d_name, driver);
        if (more || used + (size_t)length + MORE_ROOM > size) {
            more++;
            continue;
        }
        memcpy(ret + used, item, (size_t)length + 1);
        used += (size_t)length;
    }
    closedir(dir);
    if (more)
        snprintf(ret + used, size - used, "%s%u more", used ? " and " : "", more);
}

int sysfs_refuse_group(unsigned group, const char *foreign, struct vmig_error *err)
{
    return error_set(err, EPERM, VMIG_STAGE_OPEN, NULL, "group-not-viable",
                     "IOMMU group %u is shared with %s; the whole group goes to VFIO or none of "
                     "it: bind those to vfio-pci too, or to no driver",
                     group, foreign[0] ? foreign : "devices of other drivers");
}

/* ---- PCI functions ---- */

bool sysfs_find_pci(const char *sys, const char *name, struct sysfs_pci *ret)
{
    char path[PATH_MAX], line[128];
    unsigned id[4], base, sub, interface;
    device_path(sys, name, "modalias", path);
    if (!read_line(path, line, sizeof(line)) ||
        sscanf(line, "pci:v%8Xd%8Xsv%8Xsd%8Xbc%2Xsc%2Xi%2X", &id[0], &id[1], &id[2], &id[3], &base,
               &sub, &interface) != 7)
        return false;
    device_path(sys, name, "physfn", path);
    *ret = (struct sysfs_pci) {
        .vendor = (uint16_t)id[0],
        .device = (uint16_t)id[1],
        .subvendor = (uint16_t)id[2],
        .subdevice = (uint16_t)id[3],
        .class_code = base << 16 | sub << 8 | interface,
        .is_virtual = !access(path, F_OK),
    };
    return true;
}

bool sysfs_is_bridge(const struct sysfs_pci *pci)
{
    uint32_t class = pci->class_code >> 8;
    return class == 0x0604 || class == 0x0607 || class == 0x0609;
}

/* ---- all devices ---- */

static bool is_dot(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

bool sysfs_has_groups(const char *sys)
{
    char path[PATH_MAX];
    bool found = false;
    snprintf(path, sizeof(path), "%s/kernel/iommu_groups", sys);
    DIR *dir = opendir(path);
    for (const struct dirent *entry; dir && !found && (entry = readdir(dir));)
        found = !is_dot(entry->d_name);
    if (dir)
        closedir(dir);
    return found;
}

int sysfs_each_device(const char *sys, const char *bus, int (*each)(const char *name, void *opaque),
                      void *opaque)
{
    char path[PATH_MAX];
    bool pci = !strcmp(bus, "pci");
    snprintf(path, sizeof(path), "%s/bus/%s/devices", sys, bus);
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    int rc = 0;
    for (const struct dirent *entry; !rc && (entry = readdir(dir));)
        if (pci ? sysfs_is_pci(entry->d_name) : sysfs_is_uuid(entry->d_name))
            rc = each(entry->d_name, opaque);
    closedir(dir);
    return rc;
}
