/* SPDX-License-Identifier: BSD-3-Clause */
/* The device half of the workload: a reference device's registers, driven through the public device
 * calls. A device that is no reference device is moved and not driven. */
#ifndef CMD_WORKLOAD_DEVICE_H
#define CMD_WORKLOAD_DEVICE_H

#include "cmd/workload.h"

/* Is it a reference device with registers (not one that imitates another device's)? */
bool workload_device_is_ours(struct vmig_device *device);
int workload_device_begin(struct vmig_device *device, uint64_t slot_iova, uint64_t slots,
                          uint64_t dma_rate, uint64_t dirty_rate, struct vmig_error *err);
/* Let the device stop its workload and check all it owns; adds to @ret. */
int workload_device_verify(struct vmig_device *device, struct workload_report *ret,
                           struct vmig_error *err);
/* Let it go on after that. */
int workload_device_go_on(struct vmig_device *device, struct vmig_error *err);

#endif
