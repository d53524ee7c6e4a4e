/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What opening a kernel VFIO device and showing it memory have in common for all its backends, and
 * what they say when that fails.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/device/kernel.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

/* ---- steps ---- */

bool kernel_is_device(int fd)
{
    struct vfio_device_info info = { .argsz = sizeof(info) };
    return !ioctl(fd, VFIO_DEVICE_GET_INFO, &info);
}

static const struct {
    uint32_t flag;
    const char *name;
} device_kinds[] = {
    { VFIO_DEVICE_FLAGS_PLATFORM, "a platform device" },
    { VFIO_DEVICE_FLAGS_AMBA, "an AMBA device" },
    { VFIO_DEVICE_FLAGS_CCW, "an s390 channel device" },
    { VFIO_DEVICE_FLAGS_AP, "an s390 crypto device" },
    { VFIO_DEVICE_FLAGS_FSL_MC, "an fsl-mc device" },
    { UAPI_DEVICE_FLAGS_CDX, "a CDX device" },
};

int kernel_check_pci(struct kernel_device *device, struct vmig_error *err)
{
    struct vfio_device_info info = { .argsz = sizeof(info) };
    const char *kind = "of an unknown kind";
    if (ioctl(device->fd, VFIO_DEVICE_GET_INFO, &info))
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "asking for device info: %m");
    if (info.flags & VFIO_DEVICE_FLAGS_PCI)
        return 0;
    for (unsigned i = 0; i < sizeof(device_kinds) / sizeof(device_kinds[0]); i++)
        if (info.flags & device_kinds[i].flag)
            kind = device_kinds[i].name;
    return error_set(err, ENODEV, VMIG_STAGE_OPEN, NULL, "not-pci",
                     "it is %s (VFIO flags 0x%x); only PCI devices, and mediated devices that look "
                     "like one, can be used",
                     kind, (unsigned)info.flags);
}

int kernel_make_running(struct kernel_device *device, struct vmig_error *err)
{
    struct vmig_migration_info migration;
    enum vmig_state state = VMIG_STATE_RUNNING;
    int rc = kernel_migration_info(device, &migration, err);
    if (!rc && migration.flags)
        rc = kernel_get_state(device, &state, err);
    if (rc || state == VMIG_STATE_RUNNING)
        return rc;
    rc = kernel_reset(device, err);
    if (rc)
        error_prefix(err, "it was left in %s and must be reset", vmig_state_name(state));
    return rc;
}

int kernel_take_over(struct kernel_device *device, struct vmig_error *err)
{
    struct vmig_migration_info migration;
    enum vmig_state state;
    int rc = kernel_migration_info(device, &migration, err);
    return rc || !migration.flags ? rc : kernel_get_state(device, &state, err);
}

/* ---- what failed ---- */

int kernel_refuse_open(const char *path, int code, struct vmig_error *err)
{
    if (code == EACCES || code == EPERM)
        return error_set(err, code, VMIG_STAGE_OPEN, NULL, "no-permission",
                         "no permission for %s; give this user read and write access to it, or run "
                         "as root",
                         path);
    return error_set(err, code, VMIG_STAGE_OPEN, NULL, NULL, "opening %s: %s", path,
                     strerror(code));
}

/* The kernel says ENOMEM for the limit and for memory that is really short. Without a limit it can
 * only be the second. */
static bool may_be_memlock(int rc, rlim_t *ret_limit)
{
    struct rlimit limit = { 0 };
    if (rc != -ENOMEM || getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return false;
    *ret_limit = limit.rlim_cur;
    return true;
}

int kernel_refuse_map(const struct kernel_device *device, const struct vmig_dma_map *map, int rc,
                      const char *remedy, struct vmig_error *err)
{
    rlim_t limit = 0;
    if (may_be_memlock(rc, &limit))
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, "memlock",
                         "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64
                         " would lock more memory than the limit of %" PRIu64
                         " bytes (RLIMIT_MEMLOCK); this device needs %" PRIu64
                         " so far, and each device counts by itself: raise it (`ulimit -l`, or "
                         "LimitMEMLOCK= in a systemd unit)",
                         map->size_bytes, map->iova, (uint64_t)limit,
                         device->mapped_bytes + map->size_bytes);
    if (rc == -EINVAL)
        remedy = "; the IOMMU cannot take it there: x86 keeps 0xfee00000 to 0xfeefffff for "
                 "interrupts, and it has a largest address";
    return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                     "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64 ": %s%s", map->size_bytes,
                     map->iova, strerror(-rc), remedy);
}

int kernel_check_unmap(struct kernel_device *device, uint64_t iova, uint64_t size, int rc,
                       uint64_t done, struct vmig_error *err)
{
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                         "unmapping %" PRIu64 " bytes at IOVA 0x%" PRIx64 ": %s", size, iova,
                         strerror(-rc));
    if (done != size)
        return error_set(err, EIO, VMIG_STAGE_NONE, NULL, NULL,
                         "unmapping %" PRIu64 " bytes at IOVA 0x%" PRIx64
                         ": the kernel unmapped %" PRIu64,
                         size, iova, done);
    device->mapped_bytes -= size < device->mapped_bytes ? size : device->mapped_bytes;
    return 0;
}
