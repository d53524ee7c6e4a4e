/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls into a backend's dirty logs, with a deadline; a device that misses it is lost. */
#ifndef LIB_DEVICE_LOG_CALL_H
#define LIB_DEVICE_LOG_CALL_H

#include <stdint.h>
#include <vfio-migrate/device.h>

enum log_source {
    LOG_DEVICE, /* its own */
    LOG_IOMMU,
};
#define LOG_SOURCES 2

/* "its DMA log". Static string. */
const char *log_call_name(enum log_source source);

/* @ranges and @pgsize: LOG_DEVICE only. */
int log_call_start(struct vmig_device *device, enum log_source source,
                   const struct vmig_dma_range *ranges, unsigned num_ranges, uint64_t *pgsize,
                   struct vmig_error *err);
int log_call_stop(struct vmig_device *device, enum log_source source, struct vmig_error *err);
/* Ors into @bitmap. */
int log_call_report(struct vmig_device *device, enum log_source source, uint64_t iova,
                    uint64_t size_bytes, uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err);
void log_call_done(struct vmig_device *device);

/* The deadline, which is the transition timeout of the device's options otherwise. */
void device_set_log_timeout(struct vmig_device *device, unsigned ms);

#endif
