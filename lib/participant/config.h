/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI config space of a VFIO device, which is no part of its data: read at the source, compared at
 * the target with what is there, and written to the device and the VMM where the kernel's drivers do
 * not do it themselves. */
#ifndef LIB_PARTICIPANT_CONFIG_H
#define LIB_PARTICIPANT_CONFIG_H

#include <vfio-migrate/device.h>
#include <vfio-migrate/pci.h>

/* Who shows the device to the guest, and how. */
struct config_view {
    struct vmig_pci_ops ops; /* NULL members: the device itself */
    void *opaque;
    bool ignore_vendor; /* what vendor capabilities contain need not be the same */
    bool ramfb;         /* its display's state moves */
};

/* What the guest sees. 1: @ret is filled; 0: the device has no config space that could be read. */
int config_collect(struct vmig_device *device, const struct config_view *view,
                   struct vmig_pci_state *ret, struct vmig_error *err);
/* -EINVAL, "foreign-device": another kind of device. */
int config_check_identity(struct vmig_device *device, const struct vmig_pci_state *theirs,
                          struct vmig_error *err);
/* -EINVAL, "config-mismatch": the guest would see another device in @ours than in @theirs. */
int config_check(struct vmig_device *device, const struct config_view *view,
                 const struct vmig_pci_state *ours, const struct vmig_pci_state *theirs,
                 struct vmig_error *err);
/* Give it to the VMM, then to the device; without COMMAND, for instance, it does no DMA. @ours: room
 * for what the device has. */
int config_apply(struct vmig_device *device, const struct config_view *view,
                 const struct vmig_pci_state *theirs, struct vmig_pci_state *ours,
                 struct vmig_error *err);

#endif
