/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA logging by the device.
 *
 * The kernel only sets bits, drops them when it cannot write to the bitmap, and before 6.8 had
 * trouble with bitmaps that cross a page at an odd address: hence the rule in backend.h for the
 * memory that a report goes into.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/kernel.h"
#include "lib/device/uapi.h"
#include "lib/error.h"

int kernel_dma_log_start(void *self, const struct vmig_dma_range *ranges, unsigned num_ranges,
                         uint64_t *pgsize, struct vmig_error *err)
{
    struct kernel_device *device = self;
    CLEANUP_FREE struct vfio_device_feature_dma_logging_range *list =
        calloc(num_ranges, sizeof(*list));
    if (!list)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    for (unsigned i = 0; i < num_ranges; i++) {
        list[i].iova = ranges[i].iova;
        list[i].length = ranges[i].size_bytes;
    }
    struct vfio_device_feature_dma_logging_control control = {
        .page_size = *pgsize,
        .num_ranges = num_ranges,
        .ranges = (uintptr_t)list,
    };
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                            &control, sizeof(control));
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                         "starting the DMA log of %u ranges with pages of %" PRIu64 ": %s",
                         num_ranges, *pgsize, strerror(-rc));
    *pgsize = control.page_size;
    return 0;
}

int kernel_dma_log_stop(void *self, struct vmig_error *err)
{
    struct kernel_device *device = self;
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
                            NULL, 0);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "stopping the DMA log: %s",
                         strerror(-rc));
    return 0;
}

int kernel_dma_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                          uint64_t *bitmap, struct vmig_error *err)
{
    struct kernel_device *device = self;
    struct vfio_device_feature_dma_logging_report report = {
        .iova = iova,
        .length = size,
        .page_size = pgsize,
        .bitmap = (uintptr_t)bitmap,
    };
    int rc = kernel_feature(device, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
                            &report, sizeof(report));
    if (rc)
        return error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL,
                         "reading the DMA log of %" PRIu64 " bytes at IOVA 0x%" PRIx64 ": %s", size,
                         iova, strerror(-rc));
    return 0;
}
