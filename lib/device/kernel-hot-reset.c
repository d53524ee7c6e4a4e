/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What else a PCI hot reset would reset. The kernel tells it with IOMMU groups where the device was
 * opened by its group: then a function is ours when its group is; and with device ids of the iommufd
 * otherwise: then the kernel itself says whether it is ours.
 */
#include <errno.h>
#include <string.h>

#include "lib/device/kernel.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

union answer {
    struct vfio_pci_hot_reset_info header; /* the array follows it */
    uint8_t bytes[sizeof(struct vfio_pci_hot_reset_info) +
                  VMIG_HOT_RESET_DEVICES_MAX * sizeof(struct vfio_pci_dependent_device)];
};

static struct vmig_hot_reset_device translate(const struct kernel_device *device, bool has_dev_ids,
                                              const struct vfio_pci_dependent_device *from)
{
    uint32_t id = from->group_id; /* in newer headers a union with devid */
    struct vmig_hot_reset_device to = {
        .segment = from->segment,
        .bus = from->bus,
        .device = from->devfn >> 3,
        .function = from->devfn & 7,
        .group = has_dev_ids ? -1 : (int)id,
    };
    to.owned = has_dev_ids ? id != UAPI_HOT_RESET_NOT_OWNED : to.group == device->group;
    if (has_dev_ids && to.owned)
        to.dev_id = id;
    return to;
}

int kernel_hot_reset_info(void *self, struct vmig_hot_reset_info *ret, struct vmig_error *err)
{
    struct kernel_device *device = self;
    union answer answer = { .bytes = { 0 } };
    bool short_of_room = false;
    answer.header.argsz = sizeof(answer);
    if (ioctl(device->fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &answer)) {
        if (errno == ENOTTY)
            return -ENOTTY;
        if (errno == ENODEV)
            return error_set(err, ENODEV, VMIG_STAGE_NONE, NULL, NULL,
                             "neither its slot nor its bus can be reset");
        short_of_room = errno == ENOSPC;
        if (!short_of_room)
            return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL,
                             "asking what a hot reset of it would reset: %m");
    }
    if (short_of_room || answer.header.count > VMIG_HOT_RESET_DEVICES_MAX)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "a hot reset of it would reset %u devices, at most %u are expected",
                         (unsigned)answer.header.count, VMIG_HOT_RESET_DEVICES_MAX);
    bool has_dev_ids = answer.header.flags & UAPI_HOT_RESET_DEV_ID;
    ret->num_devices = answer.header.count;
    ret->all_owned = true;
    for (unsigned i = 0; i < ret->num_devices; i++) {
        ret->devices[i] = translate(device, has_dev_ids, &answer.header.devices[i]);
        ret->all_owned = ret->all_owned && ret->devices[i].owned;
    }
    return 0;
}
