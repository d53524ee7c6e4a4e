/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty bitmaps of a type1 container. */
#ifndef LIB_DEVICE_TYPE1_H
#define LIB_DEVICE_TYPE1_H

#include <stdbool.h>
#include "lib/device/backend.h"

/* @pins: its devices' drivers pin every page before they write to it (mediated devices do), so that
 * the container knows what they wrote. */
int type1_log_info(int container_fd, bool pins, struct backend_iommu_log *ret,
                   struct vmig_error *err);
int type1_log_switch(int container_fd, bool on, struct vmig_error *err);
/* As struct backend_ops has them. */
int type1_log_report(int container_fd, uint64_t iova, uint64_t size, uint64_t pgsize,
                     uint64_t *bitmap, struct vmig_error *err);
/* *ret_bytes: what was unmapped. 0 or -errno. */
int type1_log_unmap(int container_fd, uint64_t iova, uint64_t size, uint64_t pgsize,
                    uint64_t *bitmap, uint64_t *ret_bytes);

#endif
