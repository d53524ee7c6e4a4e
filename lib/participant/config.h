/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI config space of a VFIO device, which is no part of its data: read at the source, written
 * to the device at the target where the kernel's drivers do not do it themselves. */
#ifndef LIB_PARTICIPANT_CONFIG_H
#define LIB_PARTICIPANT_CONFIG_H

#include <vfio-migrate/device.h>
#include "lib/stream/config.h"

/* 1: @ret is filled; 0: the device has no config space that could be read. */
int config_collect(struct vmig_device *device, struct pci_config_state *ret,
                   struct vmig_error *err);
/* -EINVAL: another kind of device. */
int config_check(struct vmig_device *device, const struct pci_config_state *theirs,
                 struct vmig_error *err);
/* Write what drivers expect to find: COMMAND, for without bus mastering the device does no DMA. */
int config_apply(struct vmig_device *device, const struct pci_config_state *theirs,
                 struct vmig_error *err);

#endif
