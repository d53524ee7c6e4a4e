/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/address-parts.h"
#include "lib/device/fd-address.h"
#include "lib/error.h"

#define PREFIX "fd:"
#define WHAT "the address fd:..."
#define NAME_KEY "name="

enum { IOMMUFD, CONTAINER, GROUP, IOAS, DEVID, HWPT, ESTABLISHED, NUM_KEYS };
static const struct address_key keys[NUM_KEYS] = {
    [IOMMUFD] = { "iommufd", 0, INT_MAX, true },   [CONTAINER] = { "container", 0, INT_MAX, true },
    [GROUP] = { "group", 0, INT_MAX, true },       [IOAS] = { "ioas", 1, UINT32_MAX, true },
    [DEVID] = { "devid", 1, UINT32_MAX, true },    [HWPT] = { "hwpt", 1, UINT32_MAX, true },
    [ESTABLISHED] = { "established", 1, 1, true }, /* the version of this form */
};

bool fd_address_matches(const char *address)
{
    return !strncmp(address, PREFIX, strlen(PREFIX));
}

bool fd_address_is_cdev(const char *address)
{
    return fd_address_matches(address) && strstr(address, ",iommufd=");
}

static int read_device(const char *part, int *ret, struct vmig_error *err)
{
    uint64_t number;
    const char *text = part;
    if (!address_number(&text, 10, '\0', &number) || number > INT_MAX)
        return address_malformed(err, WHAT, part, "is no file descriptor of a device");
    *ret = (int)number;
    return 0;
}

static int read_name(const char *name, struct fd_address *ret, struct vmig_error *err)
{
    if (ret->name[0])
        return address_malformed(err, WHAT, name, "comes twice as a name");
    if (!sysfs_is_pci(name) && !sysfs_is_uuid(name))
        return address_malformed(err, WHAT, name, "is no PCI address and no UUID");
    sysfs_name(name, ret->name);
    return 0;
}

static int read_parts(char *rest, struct fd_address *ret, struct address_value values[NUM_KEYS],
                      struct vmig_error *err)
{
    int rc = read_device(strsep(&rest, ","), &ret->device, err);
    for (const char *part; !rc && (part = strsep(&rest, ","));) {
        if (!strncmp(part, NAME_KEY, strlen(NAME_KEY)))
            rc = read_name(part + strlen(NAME_KEY), ret, err);
        else
            rc = address_part_read(keys, NUM_KEYS, WHAT, part, values, err);
    }
    return rc;
}

static int fd_of(const struct address_value *value)
{
    return value->seen ? (int)value->number : -1;
}

/* Which keys go together. */
static int check_form(const struct fd_address *a, struct vmig_error *err)
{
    if (a->iommufd < 0 && a->container < 0)
        return address_malformed(err, WHAT, "iommufd=M or container=M",
                                 "is missing: the /dev/iommu to bind a character device to, or "
                                 "the container that a group's device is in");
    if (a->iommufd >= 0 && (a->container >= 0 || a->group >= 0))
        return address_malformed(err, WHAT, a->container >= 0 ? "container" : "group",
                                 "does not go together with iommufd");
    const char *in_iommufd = a->ioas ? "ioas" : a->devid ? "devid" : a->hwpt ? "hwpt" : NULL;
    if (a->container >= 0 && in_iommufd)
        return address_malformed(err, WHAT, in_iommufd, "does not go together with container");
    if (!a->established && (a->devid || a->hwpt || a->group >= 0))
        return address_malformed(err, WHAT,
                                 a->devid  ? "devid"
                                 : a->hwpt ? "hwpt"
                                           : "group",
                                 "belongs to a device that was handed on (established=1)");
    if (a->established && a->iommufd >= 0 && (!a->devid || !a->ioas))
        return address_malformed(err, WHAT, a->devid ? "ioas" : "devid",
                                 "is missing; pass the address on exactly as it was given");
    if (a->device == a->iommufd || a->device == a->container || a->device == a->group ||
        (a->group >= 0 && a->group == a->container))
        return address_malformed(err, WHAT, "one file descriptor", "is given as two things");
    return 0;
}

int fd_address_parse(const char *address, struct fd_address *ret, struct vmig_error *err)
{
    struct address_value values[NUM_KEYS] = { 0 };
    CLEANUP_FREE char *copy = strdup(address + strlen(PREFIX));
    *ret = (struct fd_address) { .device = -1 };
    if (!copy)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    int rc = read_parts(copy, ret, values, err);
    if (rc)
        return rc;
    ret->iommufd = fd_of(&values[IOMMUFD]);
    ret->container = fd_of(&values[CONTAINER]);
    ret->group = fd_of(&values[GROUP]);
    ret->ioas = (uint32_t)values[IOAS].number;
    ret->devid = (uint32_t)values[DEVID].number;
    ret->hwpt = (uint32_t)values[HWPT].number;
    ret->established = values[ESTABLISHED].seen;
    return check_form(ret, err);
}

/* Append ",KEY=NUMBER". */
static int append(char *ret, size_t size, int used, const char *key, uint32_t number)
{
    size_t at = (size_t)used < size ? (size_t)used : size;
    return used + snprintf(ret + at, size - at, ",%s=%u", key, number);
}

int fd_address_write(const struct fd_address *a, char *ret, size_t size, struct vmig_error *err)
{
    char text[256];
    int used = snprintf(text, sizeof(text), PREFIX "%d", a->device);
    if (a->iommufd >= 0)
        used = append(text, sizeof(text), used, keys[IOMMUFD].name, (uint32_t)a->iommufd);
    if (a->container >= 0)
        used = append(text, sizeof(text), used, keys[CONTAINER].name, (uint32_t)a->container);
    if (a->group >= 0)
        used = append(text, sizeof(text), used, keys[GROUP].name, (uint32_t)a->group);
    if (a->ioas)
        used = append(text, sizeof(text), used, keys[IOAS].name, a->ioas);
    if (a->devid)
        used = append(text, sizeof(text), used, keys[DEVID].name, a->devid);
    if (a->hwpt)
        used = append(text, sizeof(text), used, keys[HWPT].name, a->hwpt);
    if (a->name[0])
        used += snprintf(text + used, sizeof(text) - (size_t)used, ",%s%s", NAME_KEY, a->name);
    if (a->established)
        used = append(text, sizeof(text), used, keys[ESTABLISHED].name, 1);
    if ((size_t)used >= size)
        return error_set(err, ENOSPC, VMIG_STAGE_NONE, NULL, NULL,
                         "its address for the next process has %d bytes, there is room for %zu",
                         used, size);
    strcpy(ret, text);
    return 0;
}

void fd_address_keep(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (fds[i] >= 0)
            fcntl(fds[i], F_SETFD, FD_CLOEXEC);
}

void fd_address_release(int *fds[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (*fds[i] >= 0)
            fcntl(*fds[i], F_SETFD, 0);
        *fds[i] = -1;
    }
}
