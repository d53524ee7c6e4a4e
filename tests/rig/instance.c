/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/device/uapi.h"
#include "refdev/registers.h"
#include "tests/rig/instance.h"

#define PARENT "/sys/class/mdev_bus/refdev"
#define DEVICES "/sys/bus/mdev/devices"

void instances_required(void)
{
    if (access(PARENT, F_OK) == 0)
        return;
    puts("1..0 # SKIP vfio_migrate_refdev.ko is not loaded: make kmod, insmod");
    exit(0);
}

/* ---- sysfs ---- */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : 0;
    if (!rc && write(fd, text, strlen(text)) < 0)
        rc = -errno;
    if (fd >= 0)
        close(fd);
    return rc;
}

void instance_create(struct instance *instance, const char *profile)
{
    char path[256];
    FILE *random = fopen("/proc/sys/kernel/random/uuid", "re");
    assert_non_null(random);
    assert_int_equal(fscanf(random, "%36s", instance->uuid), 1);
    fclose(random);
    snprintf(path, sizeof(path), PARENT "/mdev_supported_types/refdev-%s/create", profile);
    assert_int_equal(write_file(path, instance->uuid), 0);
}

void instance_remove(const struct instance *instance)
{
    char path[256];
    snprintf(path, sizeof(path), DEVICES "/%s/remove", instance->uuid);
    assert_int_equal(write_file(path, "1"), 0);
}

static const char *attribute_path(const struct instance *instance, const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), DEVICES "/%s/refdev/%s", instance->uuid, name);
    return path;
}

int instance_set(const struct instance *instance, const char *name, const char *value)
{
    return write_file(attribute_path(instance, name), value);
}

void x_set(const struct instance *instance, const char *name, const char *value)
{
    int rc = instance_set(instance, name, value);
    if (rc)
        fail_msg("%s=%s: %s", name, value, strerror(-rc));
}

const char *instance_get(const struct instance *instance, const char *name)
{
    static char text[4096];
    int fd = open(attribute_path(instance, name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n >= 0);
    if (n && text[n - 1] == '\n')
        n--;
    text[n] = '\0';
    return text;
}

void await_attribute(const struct instance *instance, const char *name, const char *value)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    for (unsigned i = 0; i < 6000; i++) {
        if (!strcmp(instance_get(instance, name), value))
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("%s is '%s', expected '%s'", name, instance_get(instance, name), value);
}

/* ---- ioctls ---- */

static int open_group(const struct instance *instance)
{
    char path[256], link[256];
    snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", instance->uuid);
    ssize_t n = readlink(path, link, sizeof(link) - 1);
    assert_true(n > 0);
    link[n] = '\0';
    snprintf(path, sizeof(path), "/dev/vfio/%.32s", strrchr(link, '/') + 1);
    return open(path, O_RDWR | O_CLOEXEC);
}

int raw_open(const struct instance *instance, struct raw *ret)
{
    ret->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    ret->group = open_group(instance);
    assert_true(ret->container >= 0 && ret->group >= 0);
    assert_int_equal(ioctl(ret->group, VFIO_GROUP_SET_CONTAINER, &ret->container), 0);
    assert_int_equal(ioctl(ret->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
    ret->device = ioctl(ret->group, VFIO_GROUP_GET_DEVICE_FD, instance->uuid);
    return ret->device < 0 ? -errno : 0;
}

void x_raw_open(const struct instance *instance, struct raw *ret)
{
    int rc = raw_open(instance, ret);
    if (rc)
        fail_msg("opening the device: %s", strerror(-rc));
}

void raw_close(struct raw *raw)
{
    int *fds[] = { &raw->device, &raw->group, &raw->container };
    for (unsigned i = 0; i < 3; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* struct vfio_device_feature ends with an array, behind which clang wants nothing. */
struct state_feature {
    uint32_t argsz, flags;
    struct vfio_device_feature_mig_state state;
};

int raw_set_state(const struct raw *raw, unsigned state, int *ret_data_fd)
{
    struct state_feature feature = {
        .argsz = sizeof(feature),
        .flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
        .state = { .device_state = state, .data_fd = -1 },
    };
    if (ioctl(raw->device, VFIO_DEVICE_FEATURE, &feature))
        return -errno;
    if (ret_data_fd)
        *ret_data_fd = feature.state.data_fd;
    else if (feature.state.data_fd >= 0)
        close(feature.state.data_fd);
    return 0;
}

unsigned raw_state(const struct raw *raw)
{
    struct state_feature feature = {
        .argsz = sizeof(feature),
        .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    };
    assert_int_equal(ioctl(raw->device, VFIO_DEVICE_FEATURE, &feature), 0);
    return feature.state.device_state;
}

uint64_t raw_region(const struct raw *raw, unsigned index)
{
    struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
    assert_int_equal(ioctl(raw->device, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
    return info.offset;
}

uint64_t raw_register(const struct raw *raw, unsigned offset)
{
    uint64_t value;
    off_t at = (off_t)(raw_region(raw, REFDEV_BAR_REGISTERS) + offset);
    assert_int_equal(pread(raw->device, &value, sizeof(value), at), sizeof(value));
    return value;
}

void raw_write_register(const struct raw *raw, unsigned offset, uint64_t value)
{
    off_t at = (off_t)(raw_region(raw, REFDEV_BAR_REGISTERS) + offset);
    assert_int_equal(pwrite(raw->device, &value, sizeof(value), at), sizeof(value));
}
