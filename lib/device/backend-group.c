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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/fd-address.h"
#include "lib/device/kernel.h"
#include "lib/device/sysfs.h"
#include "lib/device/type1.h"
#include "lib/device/uapi.h"
#include "lib/device/variant.h"
#include "lib/error.h"

struct group_device {
    struct kernel_device kernel; /* first: its operations are rows of our table */
    bool opened;                 /* kernel is initialised */
    char name[SYSFS_NAME_MAX];
    unsigned group;
    int container_fd, group_fd;
    bool no_mmap;
};
_Static_assert(offsetof(struct group_device, kernel) == 0,
               "rows of kernel.h take the same pointer");

static bool group_matches(const char *address)
{
    return sysfs_is_pci(address) || sysfs_is_uuid(address) ||
           (fd_address_matches(address) && !fd_address_is_cdev(address));
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
    return kernel_refuse_open("/dev/vfio/vfio", errno, err);
}

static int explain_no_group(struct group_device *self, struct vmig_error *err)
{
    int rc = variant_check_bound(self->name, err);
    if (rc)
        return rc;
    return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-device-node",
                     "/dev/vfio/%u is missing although a VFIO driver holds the device: a container "
                     "must be given it, and a kernel without VFIO groups has none",
                     self->group);
}

static int open_group(struct group_device *self, struct vmig_error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/dev/vfio/%u", self->group);
    self->group_fd = open(path, O_RDWR | O_CLOEXEC);
    if (self->group_fd >= 0)
        return 0;
    if (errno == ENOENT)
        return explain_no_group(self, err);
    if (errno == EBUSY)
        return error_set(err, EBUSY, VMIG_STAGE_OPEN, NULL, "device-busy",
                         "%s is in use by another process (`fuser -v %s` tells by which), or a "
                         "device of it by its character device",
                         path, path);
    return kernel_refuse_open(path, errno, err);
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
    self->kernel.group = (int)self->group;
    self->opened = true;
    return 0;
}

static int check_pci(struct group_device *self, struct vmig_error *err)
{
    return kernel_check_pci(&self->kernel, err);
}

static int make_running(struct group_device *self, struct vmig_error *err)
{
    return kernel_make_running(&self->kernel, err);
}

/* ---- descriptors that somebody else opened ---- */

/* Do they answer as what they are said to be? */
static int check_descriptors(const struct fd_address *fds, struct vmig_error *err)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };
    const char *wrong = NULL;
    int fd = -1;
    if (!kernel_is_device(fds->device))
        wrong = "device", fd = fds->device;
    else if (fds->group >= 0 && ioctl(fds->group, VFIO_GROUP_GET_STATUS, &status))
        wrong = "IOMMU group", fd = fds->group;
    else if (ioctl(fds->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
        wrong = "container", fd = fds->container;
    if (!wrong)
        return 0;
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                     "file descriptor %d is no VFIO %s; was it closed on the way here?", fd, wrong);
}

/* The container stays the caller's, who may have other devices in it, unless all of it was handed
 * on. */
static int take_container(const struct fd_address *fds, struct group_device *self,
                          struct vmig_error *err)
{
    self->container_fd =
        fds->established ? fds->container : fcntl(fds->container, F_DUPFD_CLOEXEC, 0);
    if (self->container_fd >= 0)
        return 0;
    return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "duplicating file descriptor %d: %m",
                     fds->container);
}

static void group_give_back(void *opaque)
{
    struct group_device *self = opaque;
    if (!self->kernel.shared)
        return;
    if (self->kernel.inherited)
        fd_address_release((int *[]) { &self->kernel.fd, &self->group_fd, &self->container_fd }, 3);
    self->kernel.fd = -1;
}

/* On failure all descriptors of the address stay as they are: closing them would end the device's
 * state. */
static int take_descriptors(const char *address, struct group_device *self, struct vmig_error *err)
{
    struct fd_address fds;
    int rc = fd_address_parse(address, &fds, err);
    if (!rc)
        rc = check_descriptors(&fds, err);
    if (!rc)
        rc = take_container(&fds, self, err);
    if (rc)
        return rc;
    strcpy(self->name, fds.name);
    kernel_device_init(&self->kernel, fds.device, self->name, self->no_mmap);
    self->opened = true;
    self->group_fd = fds.group;
    if (self->name[0] && !sysfs_find_group("/sys", self->name, &self->group, NULL))
        self->kernel.group = (int)self->group;
    self->kernel.inherited = fds.established;
    self->kernel.shared = true;
    if (!fds.established)
        rc = kernel_check_pci(&self->kernel, err);
    if (!rc)
        rc = fds.established ? kernel_take_over(&self->kernel, err)
                             : kernel_make_running(&self->kernel, err);
    if (rc)
        group_give_back(self);
    else
        fd_address_keep((const int[]) { fds.device, fds.group, self->container_fd }, 3);
    return rc;
}

static int group_hand_on(void *opaque, char *ret, size_t size, struct vmig_error *err)
{
    struct group_device *self = opaque;
    struct fd_address address = {
        .device = self->kernel.fd,
        .iommufd = -1,
        .container = self->container_fd,
        .group = self->group_fd,
        .established = true,
    };
    strcpy(address.name, self->name);
    int rc = fd_address_write(&address, ret, size, err);
    if (rc)
        return rc;
    kernel_drop_stream(&self->kernel);
    fd_address_release((int *[]) { &self->kernel.fd, &self->group_fd, &self->container_fd }, 3);
    return 0;
}

/* ---- the handle ---- */

static int (*const open_steps[])(struct group_device *self, struct vmig_error *err) = {
    open_container, open_group, check_viable, join_container, open_device, check_pci, make_running,
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
    int rc = fd_address_matches(address) ? take_descriptors(address, self, err)
                                         : open_group_of(address, self, err);
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
    if (ioctl(self->container_fd, VFIO_IOMMU_MAP_DMA, &request))
        return kernel_refuse_map(&self->kernel, map, -errno,
                                 errno == ENOSPC ? "; the container holds as many mappings as the "
                                                   "kernel allows (dma_entry_limit)"
                                                 : "",
                                 err);
    self->kernel.mapped_bytes += map->size_bytes;
    return 0;
}

static int group_dma_unmap(void *opaque, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    struct group_device *self = opaque;
    struct vfio_iommu_type1_dma_unmap request = {
        .argsz = sizeof(request),
        .iova = iova,
        .size = size,
    };
    int rc = ioctl(self->container_fd, VFIO_IOMMU_UNMAP_DMA, &request) ? -errno : 0;
    return kernel_check_unmap(&self->kernel, iova, size, rc, request.size, err);
}

/* The driver of a mediated device pins what it writes; a PCI device is behind a real IOMMU. Without a
 * name (fd:) it may be either. */
static int group_iommu_log_info(void *opaque, struct backend_iommu_log *ret, struct vmig_error *err)
{
    struct group_device *self = opaque;
    return type1_log_info(self->container_fd, sysfs_is_uuid(self->name), ret, err);
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
    uint64_t done = 0;
    int rc = type1_log_unmap(self->container_fd, iova, size, pgsize, bitmap, &done);
    return kernel_check_unmap(&self->kernel, iova, size, rc, done, err);
}

const struct backend_ops backend_group = {
    .name = "group",
    .matches = group_matches,
    .open = group_open,
    .close = group_close,
    .give_back = group_give_back,
    .info = kernel_info,
    .region_info = kernel_region_info,
    .region_read = kernel_region_read,
    .region_write = kernel_region_write,
    .region_map = kernel_region_map,
    .irq_info = kernel_irq_info,
    .set_irqs = kernel_set_irqs,
    .unmask_irqs = kernel_unmask_irqs,
    .dma_map = group_dma_map,
    .dma_unmap = group_dma_unmap,
    .reset = kernel_reset,
    .hot_reset_info = kernel_hot_reset_info,
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
    .inherits = kernel_inherits,
    .shares_memory = kernel_shares_memory,
};
