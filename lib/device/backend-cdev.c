/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel VFIO device through a character device of its own and iommufd.
 *
 * As in the group backend each device has an address space of its own, here in an iommufd of its
 * own, unless the caller gave one. A device becomes usable when it is bound; that fails, and not the
 * opening of its node, when somebody else has it. What can be meant by the errno of that is sorted
 * out in explain_bind().
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/cdev-node.h"
#include "lib/device/cdev.h"
#include "lib/device/fd-address.h"
#include "lib/device/uapi.h"
#include "lib/device/variant.h"
#include "lib/error.h"

#define IOMMUFD_NODE "/dev/iommu"

static bool is_node(const char *address)
{
    return !strncmp(address, CDEV_NODE_FOLDER, strlen(CDEV_NODE_FOLDER));
}

static bool cdev_matches(const char *address)
{
    return sysfs_is_pci(address) || sysfs_is_uuid(address) || is_node(address) ||
           fd_address_is_cdev(address);
}

/* ---- opening, step by step ---- */

/* Also where the kernel is from before there were such nodes (6.6), or built without them. */
static int explain_no_node(struct cdev_device *self, struct vmig_error *err)
{
    int rc = variant_check_bound(self->name, err);
    if (rc)
        return rc;
    return error_set(err, ENOENT, VMIG_STAGE_OPEN, NULL, "no-cdev",
                     "this kernel gives it no character device (Linux 6.6 with "
                     "CONFIG_VFIO_DEVICE_CDEV does); open it by its group");
}

static int find_node(struct cdev_device *self, const char *address, struct vmig_error *err)
{
    unsigned group;
    if (is_node(address)) {
        snprintf(self->node, sizeof(self->node), "%.*s", (int)sizeof(self->node) - 1, address);
        return 0;
    }
    sysfs_name(address, self->name);
    int rc = sysfs_find_safe_group("/sys", self->name, &group, err);
    if (rc)
        return rc;
    return cdev_node_find("/sys", self->name, self->node) ? 0 : explain_no_node(self, err);
}

/* For messages and for what only sysfs tells. That it is no device of VFIO shows when it is bound. */
static void find_name(struct cdev_device *self, int fd)
{
    struct stat st;
    if (!self->name[0] && !fstat(fd, &st) && S_ISCHR(st.st_mode))
        cdev_node_owner("/sys", st.st_rdev, self->name);
}

static void begin(struct cdev_device *self, int fd)
{
    find_name(self, fd);
    kernel_device_init(&self->kernel, fd, self->name, self->no_mmap);
    self->opened = true;
}

static int open_node(struct cdev_device *self, struct vmig_error *err)
{
    int fd = open(self->node, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        begin(self, fd);
        return 0;
    }
    if (errno == ENOENT)
        return error_set(
            err, ENOENT, VMIG_STAGE_OPEN, NULL, self->name[0] ? "no-cdev" : "no-such-device",
            "%s is missing; `ls " CDEV_NODE_FOLDER "` lists what there is", self->node);
    if (errno == ENODEV || errno == ENXIO)
        return error_set(err, ENODEV, VMIG_STAGE_OPEN, NULL, "no-vfio-driver",
                         "%s belongs to no device any more; bind it to its VFIO driver",
                         self->node);
    return kernel_refuse_open(self->node, errno, err);
}

static int open_iommufd(struct cdev_device *self, struct vmig_error *err)
{
    self->place.fd = open(IOMMUFD_NODE, O_RDWR | O_CLOEXEC);
    if (self->place.fd >= 0)
        return 0;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, "no-iommufd",
                         "this kernel offers no iommufd: " IOMMUFD_NODE
                         " is missing; `modprobe iommufd`, or open the device by its group");
    return kernel_refuse_open(IOMMUFD_NODE, errno, err);
}

/* "group-not-viable" when drivers other than VFIO's hold devices of its group, else 0. The kernel says
 * EBUSY or EPERM for that, as for other things. */
static int check_neighbours(struct cdev_device *self, struct vmig_error *err)
{
    char foreign[200];
    unsigned group = 0;
    if (!self->name[0] || sysfs_find_group("/sys", self->name, &group, NULL))
        return 0;
    sysfs_find_foreign("/sys", group, foreign, sizeof(foreign));
    return foreign[0] ? sysfs_refuse_group(group, foreign, err) : 0;
}

static int explain_busy(struct cdev_device *self, struct vmig_error *err)
{
    unsigned group = 0;
    if (self->name[0])
        sysfs_find_group("/sys", self->name, &group, NULL);
    return error_set(err, EBUSY, VMIG_STAGE_OPEN, NULL, "device-busy",
                     "the IOMMU group of %s is in use by another process (`fuser -v /dev/vfio/%u` "
                     "tells by which)",
                     self->node, group);
}

static int explain_bind(struct cdev_device *self, int code, struct vmig_error *err)
{
    int rc = code == EBUSY || code == EPERM ? check_neighbours(self, err) : 0;
    if (rc)
        return rc;
    switch (code) {
    case EBUSY:
        return explain_busy(self, err);
    case EINVAL:
        if (kernel_is_device(self->kernel.fd))
            return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                             "%s is bound to an iommufd already; give one that is not, or the "
                             "address with which it was handed on",
                             self->node);
        return error_set(err, EBUSY, VMIG_STAGE_OPEN, NULL, "device-busy",
                         "%s is in use by another process (`fuser -v " CDEV_NODE_FOLDER
                         "*` tells by which)",
                         self->node);
    case EPERM:
        return error_set(
            err, EPERM, VMIG_STAGE_OPEN, NULL, "group-not-viable",
            "binding %s to an iommufd is refused: another device of its IOMMU group "
            "is used through another one (give both the same: fd:N,iommufd=M), or "
            "this host cannot isolate its interrupts (iommufd.allow_unsafe_interrupts)",
            self->node);
    case ENOTTY:
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "%s is no character device of VFIO", self->node);
    case EBADFD:
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "file descriptor %d is no " IOMMUFD_NODE, self->place.fd);
    default:
        return error_set(err, code, VMIG_STAGE_OPEN, NULL, NULL, "binding %s to an iommufd: %s",
                         self->node, strerror(code));
    }
}

static int bind_device(struct cdev_device *self, struct vmig_error *err)
{
    struct uapi_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = self->place.fd };
    if (ioctl(self->kernel.fd, UAPI_DEVICE_BIND_IOMMUFD, &bind))
        return explain_bind(self, errno, err);
    self->place.device_id = bind.out_devid;
    return 0;
}

static int make_ioas(struct cdev_device *self, struct vmig_error *err)
{
    if (self->place.ioas_id)
        return 0; /* was given */
    int rc = iommufd_ioas_alloc(self->place.fd, &self->place.ioas_id);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL, "making an address space: %s",
                         strerror(-rc));
    self->own_ioas = true;
    return 0;
}

static int attach_to(struct cdev_device *self, uint32_t page_table)
{
    struct uapi_attach_pt attach = { .argsz = sizeof(attach), .pt_id = page_table };
    return ioctl(self->kernel.fd, UAPI_DEVICE_ATTACH_IOMMUFD_PT, &attach) ? -errno : 0;
}

/* To a page table that tracks writes, if there can be one; else to what the kernel makes or has. */
static int attach(struct cdev_device *self, struct vmig_error *err)
{
    uint32_t tracking = cdev_make_page_table(self);
    if (tracking && !attach_to(self, tracking))
        return 0;
    cdev_drop_page_table(self);
    int rc = attach_to(self, self->place.ioas_id);
    if (!rc)
        return 0;
    return error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL,
                     "attaching it to the address space %u: %s", self->place.ioas_id,
                     strerror(-rc));
}

static int check_pci(struct cdev_device *self, struct vmig_error *err)
{
    return kernel_check_pci(&self->kernel, err);
}

static int make_running(struct cdev_device *self, struct vmig_error *err)
{
    return kernel_make_running(&self->kernel, err);
}

static int (*const node_steps[])(struct cdev_device *self, struct vmig_error *err) = {
    open_node,
    open_iommufd,
    NULL,
};
static int (*const device_steps[])(struct cdev_device *self, struct vmig_error *err) = {
    bind_device, check_pci, make_ioas, attach, make_running, NULL,
};

static int walk(struct cdev_device *self,
                int (*const *steps)(struct cdev_device *self, struct vmig_error *err),
                struct vmig_error *err)
{
    int rc = 0;
    for (; !rc && *steps; steps++)
        rc = (*steps)(self, err);
    return rc;
}

static int open_by_node(const char *address, struct cdev_device *self, struct vmig_error *err)
{
    int rc = find_node(self, address, err);
    if (!rc)
        rc = walk(self, node_steps, err);
    return rc ? rc : walk(self, device_steps, err);
}

/* ---- descriptors that somebody else opened ---- */

/* The iommufd stays the caller's, who may have other devices in it, unless all of it was handed on. */
static int take_iommufd(struct cdev_device *self, const struct fd_address *fds,
                        struct vmig_error *err)
{
    self->place.fd = fds->established ? fds->iommufd : fcntl(fds->iommufd, F_DUPFD_CLOEXEC, 0);
    if (self->place.fd < 0)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL,
                         "duplicating file descriptor %d: %m", fds->iommufd);
    self->place.ioas_id = fds->ioas;
    int rc = fds->ioas ? iommufd_ioas_check(self->place.fd, fds->ioas) : 0;
    if (rc)
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         rc == -ENOENT ? "file descriptor %d has no address space %u"
                                       : "file descriptor %d is no " IOMMUFD_NODE
                                         " (asked for its address space %u)",
                         fds->iommufd, fds->ioas);
    return 0;
}

static int go_on(struct cdev_device *self, const struct fd_address *fds, struct vmig_error *err)
{
    if (!kernel_is_device(fds->device))
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "file descriptor %d is no VFIO device that is bound; was it closed on the "
                         "way here?",
                         fds->device);
    self->place.device_id = fds->devid;
    self->hwpt_id = fds->hwpt;
    return kernel_take_over(&self->kernel, err);
}

/* The device is the caller's again, who may bring it into another address space. */
static void cdev_give_back(void *opaque)
{
    struct cdev_device *self = opaque;
    struct uapi_detach_pt detach = { .argsz = sizeof(detach) };
    if (!self->given)
        return;
    if (self->kernel.inherited) { /* all of it was handed on */
        fd_address_release((int *[]) { &self->kernel.fd, &self->place.fd }, 2);
        self->hwpt_id = 0;
    } else {
        ioctl(self->kernel.fd, UAPI_DEVICE_DETACH_IOMMUFD_PT, &detach);
        self->kernel.fd = -1;
    }
}

static int open_by_descriptors(const char *address, struct cdev_device *self,
                               struct vmig_error *err)
{
    struct fd_address fds;
    int rc = fd_address_parse(address, &fds, err);
    if (rc)
        return rc;
    strcpy(self->name, fds.name);
    snprintf(self->node, sizeof(self->node), "file descriptor %d", fds.device);
    begin(self, fds.device);
    self->given = true;
    self->kernel.inherited = fds.established;
    self->kernel.shared = fds.established || fds.ioas;
    rc = take_iommufd(self, &fds, err);
    if (!rc)
        rc = fds.established ? go_on(self, &fds, err) : walk(self, device_steps, err);
    if (rc)
        cdev_give_back(self);
    else
        fd_address_keep((const int[]) { fds.device, self->place.fd }, 2);
    return rc;
}

static int cdev_hand_on(void *opaque, char *ret, size_t size, struct vmig_error *err)
{
    struct cdev_device *self = opaque;
    struct fd_address address = {
        .device = self->kernel.fd,
        .iommufd = self->place.fd,
        .container = -1,
        .group = -1,
        .ioas = self->place.ioas_id,
        .devid = self->place.device_id,
        .hwpt = self->hwpt_id,
        .established = true,
    };
    strcpy(address.name, sysfs_is_pci(self->name) || sysfs_is_uuid(self->name) ? self->name : "");
    int rc = fd_address_write(&address, ret, size, err);
    if (rc)
        return rc;
    kernel_drop_stream(&self->kernel);
    fd_address_release((int *[]) { &self->kernel.fd, &self->place.fd }, 2);
    self->own_ioas = false;
    self->hwpt_id = 0; /* the device goes on using it, and its next owner */
    return 0;
}

/* ---- the handle ---- */

/* The iommufd may be the caller's too and live on: the address space that we made there goes once
 * the device does not use it any more. */
static void cdev_close(void *opaque)
{
    struct cdev_device *self = opaque;
    if (self->opened)
        kernel_device_done(&self->kernel);
    cdev_drop_page_table(self);
    if (self->own_ioas)
        iommufd_destroy(self->place.fd, self->place.ioas_id);
    cleanup_fd_(&self->place.fd);
    free(self);
}

static int cdev_open(const char *address, const struct backend_options *options, void **ret_self,
                     struct vmig_error *err)
{
    struct cdev_device *self = calloc(1, sizeof(*self));
    if (!self)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    self->place.fd = -1;
    self->no_mmap = options->no_mmap;
    int rc = fd_address_is_cdev(address) ? open_by_descriptors(address, self, err)
                                         : open_by_node(address, self, err);
    if (rc) {
        cdev_close(self);
        return rc;
    }
    *ret_self = self;
    return 0;
}

/* ---- memory ---- */

static int cdev_dma_map(void *opaque, const struct vmig_dma_map *map, struct vmig_error *err)
{
    struct cdev_device *self = opaque;
    int rc = iommufd_map(&self->place, map);
    if (rc)
        return kernel_refuse_map(&self->kernel, map, rc, "", err);
    self->kernel.mapped_bytes += map->size_bytes;
    return 0;
}

int cdev_dma_unmap(void *opaque, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    struct cdev_device *self = opaque;
    uint64_t done = 0;
    int rc = iommufd_unmap(&self->place, iova, size, &done);
    return kernel_check_unmap(&self->kernel, iova, size, rc, done, err);
}

const struct backend_ops backend_cdev = {
    .name = "cdev",
    .matches = cdev_matches,
    .open = cdev_open,
    .close = cdev_close,
    .give_back = cdev_give_back,
    .info = kernel_info,
    .region_info = kernel_region_info,
    .region_read = kernel_region_read,
    .region_write = kernel_region_write,
    .region_map = kernel_region_map,
    .irq_info = kernel_irq_info,
    .set_irqs = kernel_set_irqs,
    .unmask_irqs = kernel_unmask_irqs,
    .dma_map = cdev_dma_map,
    .dma_unmap = cdev_dma_unmap,
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
    .iommu_log_info = cdev_iommu_log_info,
    .iommu_log_start = cdev_iommu_log_start,
    .iommu_log_stop = cdev_iommu_log_stop,
    .iommu_log_report = cdev_iommu_log_report,
    .iommu_log_unmap = cdev_iommu_log_unmap,
    .hand_on = cdev_hand_on,
    .inherits = kernel_inherits,
    .shares_memory = kernel_shares_memory,
};
