/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/rig/devices.h"

#define TYPES "/sys/class/mdev_bus/mtty/mdev_supported_types"
#define PCI "/sys/bus/pci"

static void write_sysfs(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    if (!file)
        fail_msg("%s: cannot be opened; is this the rig?", path);
    fputs(text, file);
    if (fclose(file))
        fail_msg("%s: '%s' is refused", path, text);
}

void mtty_create(struct mtty *mtty, const char *type)
{
    char path[256];
    FILE *random = fopen("/proc/sys/kernel/random/uuid", "re");
    assert_non_null(random);
    assert_int_equal(fscanf(random, "%36s", mtty->uuid), 1);
    fclose(random);
    snprintf(path, sizeof(path), TYPES "/%s/create", type);
    write_sysfs(path, mtty->uuid);
}

void mtty_remove(struct mtty *mtty)
{
    char path[256];
    snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/remove", mtty->uuid);
    write_sysfs(path, "1");
}

void edu_bind(void)
{
    write_sysfs(PCI "/devices/" EDU "/driver_override", "vfio-pci");
    write_sysfs(PCI "/drivers_probe", EDU);
}

void edu_unbind(void)
{
    write_sysfs(PCI "/devices/" EDU "/driver_override", "\n");
    write_sysfs(PCI "/drivers/vfio-pci/unbind", EDU);
}
