/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel VFIO device through its IOMMU group and a type1 container.
 *
 * Each device gets a container of its own: devices of one process then need no agreement about who
 * maps memory; the price is that locked memory is counted once for each device. A group opens only
 * once, so two devices of one group cannot be opened by two handles; migratable functions have
 * groups of their own.
 *
 * Opening is the table open_steps; each step says what to do about its usual failures. A device
 * found in another state than RUNNING is reset: state belongs to the device and outlives the
 * process that left it so (mtty), but its data stream does not, so nothing in it can be saved.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/kernel.h"
#include "lib/device/sysfs.h"
#include "lib/device/type1.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

#define PREFIX_FD "fd:"

struct group_device {
    struct kernel_device kernel; /* first: its operations are rows of our table */
    bool opened;                 /* kernel is initialised */
    char name[SYSFS_NAME_MAX];
    unsigned group;
    int container_fd, group_fd;
    bool inherited; /* opened by another process, which may have left DMA mappings */
    bool no_mmap;
};
_Static_assert(offsetof(struct group_device, kernel) == 0,
               "rows of kernel.h take the same pointer");

static bool is_handed_on(const char *address)
{
    return !strncmp(address, PREFIX_FD, strlen(PREFIX_FD));
}

static bool group_matches(const char *address)
{
    return sysfs_is_pci(address) || sysfs_is_uuid(address) || is_handed_on(address);
}

/* ---- opening, step by step ---- */

static int open_container(struct group_device *self, struct vmig_error *err)
{
    self->container_fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (self->container_fd >= 0)
        return 0;
    if (errno == ENOENT)
        return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "vfio-not-loaded",
                         "this kernel offers no VFIO: /dev/vfio/vfio is missing; "
                         "`modprobe vfio vfio_iommu_type1`");
    return error_set(err, errno, VMIG_STAGE_OPEN, NULL,
                     errno == EACCES || errno == EPERM ? "no-permission" : NULL,
                     "opening /dev/vfio/vfio: %m");
}

static int explain_no_group(struct group_device *self, struct vmig_error *err)
{
    char driver[SYSFS_NAME_MAX];
    sysfs_find_driver("/sys", self->name, driver);
    if (sysfs_is_vfio("/sys", self->name, driver))
        return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-device-node",
                         "/dev/vfio/%u is missing although the device is bound to %s: a container "
                         "must be given it, and a kernel without VFIO groups has none",
                         self->group, driver);
    return error_set(err, ENODEV, VMIG_STAGE_OPEN, NULL, "no-vfio-driver",
                     "the device %s%s; bind it to a VFIO driver (vfio-migrate-probe(1) tells how)",
                     driver[0] ? "is bound to " : "has no driver", driver);
}

static int open_group(struct group_device *self, struct vmig_error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/dev/vfio/%u", self->group);
    self->group_fd = open(path, O_RDWR | O_CLOEXEC);
    if (self->group_fd >= 0)
        return 0;
    switch (errno) {
    case ENOENT:
        return explain_no_group(self, err);
    case EBUSY:
        return error_set(err, EBUSY, VMIG_STAGE_OPEN, NULL, "device-busy",
                         "%s is in use by another process (`fuser -v %s` tells by which)", path,
                         path);
    case EACCES:
    case EPERM:
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, "no-permission",
                         "no permission for %s; give this user read and write access to it, or run "
                         "as root",
                         path);
    default:
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "opening %s: %m", path);
    }
}

static int check_viable(struct group_device *self, struct vmig_error *err)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };
    char foreign[200];
    if (ioctl(self->group_fd, VFIO_GROUP_GET_STATUS, &status))
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL,
                         "asking for the status of IOMMU group %u: %m", self->group);
    if (status.flags & VFIO_GROUP_FLAGS_VIABLE)
        return 0;
    sysfs_find_foreign("/sys", self->group, foreign, sizeof(foreign));
    return sysfs_refuse_group(self->group, foreign, err);
}

static int join_container(struct group_device *self, struct vmig_error *err)
{
    if (ioctl(self->container_fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
        return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, NULL,
                         "/dev/vfio/vfio speaks an unknown version of VFIO");
    if (ioctl(self->group_fd, VFIO_GROUP_SET_CONTAINER, &self->container_fd))
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL,
                         "putting IOMMU group %u into a container: %m", self->group);
    if (ioctl(self->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL,
                         "choosing the type1 IOMMU for IOMMU group %u: %m; "
                         "`modprobe vfio_iommu_type1` may be missing",
                         self->group);
    return 0;
}

static int open_device(struct group_device *self, struct vmig_error *err)
{
    int fd = ioctl(self->group_fd, VFIO_GROUP_GET_DEVICE_FD, self->name);
    if (fd < 0)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL,
                         "opening %s of IOMMU group %u: %m", self->name, self->group);
    kernel_device_init(&self->kernel, fd, self->name, self->no_mmap);
    self->opened = true;
    return 0;
}

static int make_running(struct group_device *self, struct vmig_error *err)
{
    struct vmig_device_info info;
    struct vmig_migration_info migration;
    enum vmig_state state = VMIG_STATE_RUNNING;
    /* mtty answers some questions only after this one. */
    int rc = kernel_info(&self->kernel, &info, err);
    if (!rc)
        rc = kernel_migration_info(&self->kernel, &migration, err);
    if (!rc && migration.flags)
        rc = kernel_get_state(&self->kernel, &state, err);
    if (rc || state == VMIG_STATE_RUNNING)
        return rc;
    rc = kernel_reset(&self->kernel, err);
    if (rc)
        error_prefix(err, "it was left in %s and must be reset", vmig_state_name(state));
    return rc;
}

/* ---- taking over what another process opened ---- */

static int parse_handed_on(const char *address, int fds[3], char name[SYSFS_NAME_MAX],
                           struct vmig_error *err)
{
    int end = -1;
    if (sscanf(address, PREFIX_FD "%d,%d,%d,%n", &fds[0], &fds[1], &fds[2], &end) == 3 && end > 0 &&
        fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 && fds[0] != fds[1] && fds[0] != fds[2] &&
        fds[1] != fds[2] && (sysfs_is_pci(address + end) || sysfs_is_uuid(address + end))) {
        sysfs_name(address + end, name);
        return 0;
    }
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                     "address '%.200s' is not fd:DEVICE,GROUP,CONTAINER,NAME with three different "
                     "file descriptors; pass it on exactly as it was given",
                     address);
}

/* Do the descriptors answer as what they are said to be? */
static int check_handed_on(const int fds[3], struct vmig_error *err)
{
    struct vfio_device_info info = { .argsz = sizeof(info) };
    struct vfio_group_status status = { .argsz = sizeof(status) };
    const char *wrong = NULL;
    int fd = -1;
    if (ioctl(fds[0], VFIO_DEVICE_GET_INFO, &info))
        wrong = "device", fd = fds[0];
    else if (ioctl(fds[1], VFIO_GROUP_GET_STATUS, &status))
        wrong = "IOMMU group", fd = fds[1];
    else if (ioctl(fds[2], VFIO_GET_API_VERSION) != VFIO_API_VERSION)
        wrong = "container", fd = fds[2];
    if (!wrong)
        return 0;
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                     "file descriptor %d is no VFIO %s; was it closed on the way here?", fd, wrong);
}

/* Asks, as mtty wants before it answers other questions, but changes nothing. */
static int take_over(const char *address, struct group_device *self, struct vmig_error *err)
{
    int fds[3];
    enum vmig_state state;
    struct vmig_migration_info migration;
    int rc = parse_handed_on(address, fds, self->name, err);
    if (!rc)
        rc = check_handed_on(fds, err);
    if (rc)
        return rc;
    kernel_device_init(&self->kernel, fds[0], self->name, self->no_mmap);
    self->opened = true;
    self->group_fd = fds[1];
    self->container_fd = fds[2];
    self->inherited = true;
    rc = kernel_migration_info(&self->kernel, &migration, err);
    if (!rc && migration.flags)
        rc = kernel_get_state(&self->kernel, &state, err);
    for (unsigned i = 0; i < 3 && !rc; i++)
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    if (rc) /* closing them would end the device's state */
        self->kernel.fd = self->group_fd = self->container_fd = -1;
    return rc;
}

static int group_hand_on(void *opaque, char *ret, size_t size, struct vmig_error *err)
{
    struct group_device *self = opaque;
    int *fds[3] = { &self->kernel.fd, &self->group_fd, &self->container_fd };
    int n = snprintf(ret, size, PREFIX_FD "%d,%d,%d,%s", *fds[0], *fds[1], *fds[2], self->name);
    if (n < 0 || (size_t)n >= size)
        return error_set(err, ENOSPC, VMIG_STAGE_NONE, NULL, NULL,
                         "its address for the next process has %d bytes, there is room for %zu", n,
                         size);
    kernel_drop_stream(&self->kernel);
    for (unsigned i = 0; i < 3; i++) {
        fcntl(*fds[i], F_SETFD, 0);
        *fds[i] = -1;
    }
    return 0;
}

/* The kernel does not tell what is mapped: it must judge itself. */
static bool group_inherits(void *opaque, uint64_t iova, uint64_t size)
{
    const struct group_device *self = opaque;
    (void)iova;
    (void)size;
    return self->inherited;
}

/* ---- the handle ---- */

static int (*const open_steps[])(struct group_device *self, struct vmig_error *err) = {
    open_container, open_group, check_viable, join_container, open_device, make_running,
};

static void group_close(void *opaque)
{
    struct group_device *self = opaque;
    if (self->opened)
        kernel_device_done(&self->kernel);
    cleanup_fd_(&self->group_fd);
    cleanup_fd_(&self->container_fd);
    free(self);
}

static int open_group_of(const char *address, struct group_device *self, struct vmig_error *err)
{
    sysfs_name(address, self->name);
    int rc = sysfs_find_safe_group("/sys", self->name, &self->group, err);
    for (unsigned i = 0; !rc && i < sizeof(open_steps) / sizeof(open_steps[0]); i++)
        rc = open_steps[i](self, err);
    return rc;
}

static int group_open(const char *address, const struct backend_options *options, void **ret_self,
                      struct vmig_error *err)
{
    struct group_device *self = calloc(1, sizeof(*self));
    if (!self)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    self->container_fd = self->group_fd = -1;
    self->no_mmap = options->no_mmap;
    int rc =
        is_handed_on(address) ? take_over(address, self, err) : open_group_of(address, self, err);
    if (rc) {
        group_close(self);
        return rc;
    }
    *ret_self = self;
    return 0;
}

/* ---- memory ---- */

static int group_dma_map(void *opaque, const struct vmig_dma_map *map, struct vmig_error *err)
{
    struct group_device *self = opaque;
    struct vfio_iommu_type1_dma_map request = {
        .argsz = sizeof(request),
        .flags = VFIO_DMA_MAP_FLAG_READ | (map->writable ? VFIO_DMA_MAP_FLAG_WRITE : 0),
        .vaddr = (uintptr_t)map->vaddr,
        .iova = map->iova,
        .size = map->size_bytes,
    };
    if (!ioctl(self->container_fd, VFIO_IOMMU_MAP_DMA, &request))
        return 0;
    const char *remedy = "";
    if (errno == ENOMEM)
        remedy = "; the limit of locked memory (`ulimit -l`) may be too low";
    else if (errno == ENOSPC)
        remedy = "; the container holds as many mappings as the kernel allows (dma_entry_limit)";
    return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                     "mapping %" PRIu64 " bytes to IOVA 0x%" PRIx64 ": %m%s", map->size_bytes,
                     map->iova, remedy);
}

static int group_dma_unmap(void *opaque, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    struct group_device *self = opaque;
    struct vfio_iommu_type1_dma_unmap request = {
        .argsz = sizeof(request),
        .iova = iova,
        .size = size,
    };
    if (ioctl(self->container_fd, VFIO_IOMMU_UNMAP_DMA, &request))
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                         "unmapping %" PRIu64 " bytes at IOVA 0x%" PRIx64 ": %m", size, iova);
    if (request.size != size)
        return error_set(err, EIO, VMIG_STAGE_NONE, NULL, NULL,
                         "unmapping %" PRIu64 " bytes at IOVA 0x%" PRIx64
                         ": the kernel unmapped %" PRIu64,
                         size, iova, (uint64_t)request.size);
    return 0;
}

/* The driver of a mediated device pins what it writes; a PCI device is behind a real IOMMU. */
static int group_iommu_log_info(void *opaque, struct backend_iommu_log *ret, struct vmig_error *err)
{
    struct group_device *self = opaque;
    return type1_log_info(self->container_fd, !sysfs_is_pci(self->name), ret, err);
}

static int group_iommu_log_start(void *opaque, struct vmig_error *err)
{
    return type1_log_switch(((struct group_device *)opaque)->container_fd, true, err);
}

static int group_iommu_log_stop(void *opaque, struct vmig_error *err)
{
    return type1_log_switch(((struct group_device *)opaque)->container_fd, false, err);
}

static int group_iommu_log_report(void *opaque, uint64_t iova, uint64_t size, uint64_t pgsize,
                                  uint64_t *bitmap, struct vmig_error *err)
{
    struct group_device *self = opaque;
    return type1_log_report(self->container_fd, iova, size, pgsize, bitmap, err);
}

static int group_iommu_log_unmap(void *opaque, uint64_t iova, uint64_t size, uint64_t pgsize,
                                 uint64_t *bitmap, struct vmig_error *err)
{
    struct group_device *self = opaque;
    return type1_log_unmap(self->container_fd, iova, size, pgsize, bitmap, err);
}

const struct backend_ops backend_group = {
    .name = "group",
    .matches = group_matches,
    .open = group_open,
    .close = group_close,
    .info = kernel_info,
    .region_info = kernel_region_info,
    .region_read = kernel_region_read,
    .region_write = kernel_region_write,
    .region_map = kernel_region_map,
    .irq_info = kernel_irq_info,
    .set_irqs = kernel_set_irqs,
    .dma_map = group_dma_map,
    .dma_unmap = group_dma_unmap,
    .reset = kernel_reset,
    .migration_info = kernel_migration_info,
    .get_state = kernel_get_state,
    .set_state = kernel_set_state,
    .data_size = kernel_data_size,
    .precopy_info = kernel_precopy_info,
    .enable_reinit = kernel_enable_reinit,
    .data_read = kernel_data_read,
    .data_write = kernel_data_write,
    /* Writes are in the device when write() returns: nothing to flush. */
    .dma_log_start = kernel_dma_log_start,
    .dma_log_stop = kernel_dma_log_stop,
    .dma_log_report = kernel_dma_log_report,
    .iommu_log_info = group_iommu_log_info,
    .iommu_log_start = group_iommu_log_start,
    .iommu_log_stop = group_iommu_log_stop,
    .iommu_log_report = group_iommu_log_report,
    .iommu_log_unmap = group_iommu_log_unmap,
    .hand_on = group_hand_on,
    .inherits = group_inherits,
};
