/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's VFIO interface as far as the kernel backends use it: linux/vfio.h of Linux 6.1,
 * which is what Debian 12 has, and here, under names of our own, what came later. Numbers
 * beyond 6.1 are enumerators in newer headers, which #ifdef cannot see.
 */
#ifndef LIB_DEVICE_UAPI_H
#define LIB_DEVICE_UAPI_H

#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* Since 6.2, on the migration data fd. */
struct uapi_precopy_info {
    uint32_t argsz;
    uint32_t flags; /* 0 in; means nothing unless feature 12 was set: older kernels echo it */
    uint64_t initial_bytes;
    uint64_t dirty_bytes;
};
#define UAPI_MIG_GET_PRECOPY_INFO _IO(';', 121)

/* Since 6.2. */
#define UAPI_FEATURE_MIG_DATA_SIZE 9
struct uapi_feature_data_size {
    uint64_t stop_copy_length;
};

/* Since 7.1: SET without payload; then the flags of uapi_precopy_info are output. */
#define UAPI_FEATURE_MIG_PRECOPY_INFO2 12
#define UAPI_PRECOPY_INFO_REINIT 1u /* initial_bytes are new ones */

/* The migration region of the old protocol (before 5.18); vendor backports may still show it. */
#define UAPI_REGION_TYPE_MIGRATION_V1 3
#define UAPI_REGION_SUBTYPE_MIGRATION_V1 1

/* Requests of type1 whose second half linux/vfio.h has as bytes without a type. */
struct uapi_type1_get_bitmap { /* VFIO_IOMMU_DIRTY_PAGES */
    uint32_t argsz, flags;
    uint64_t iova, size;
    struct vfio_bitmap bitmap;
};
struct uapi_type1_unmap_bitmap { /* VFIO_IOMMU_UNMAP_DMA */
    uint32_t argsz, flags;
    uint64_t iova, size;
    struct vfio_bitmap bitmap;
};

_Static_assert(sizeof(struct vfio_group_status) == 8, "as the kernel has it");
_Static_assert(sizeof(struct vfio_region_info) == 32, "as the kernel has it");
_Static_assert(sizeof(struct vfio_irq_info) == 16, "as the kernel has it");
_Static_assert(sizeof(struct vfio_irq_set) == 20, "as the kernel has it");
_Static_assert(sizeof(struct vfio_iommu_type1_dma_map) == 32, "as the kernel has it");
_Static_assert(sizeof(struct vfio_iommu_type1_dma_unmap) == 24, "as the kernel has it");
_Static_assert(sizeof(struct vfio_device_feature) == 8, "as the kernel has it");
_Static_assert(sizeof(struct vfio_device_feature_migration) == 8, "as the kernel has it");
_Static_assert(sizeof(struct vfio_device_feature_mig_state) == 8, "as the kernel has it");
_Static_assert(sizeof(struct vfio_device_feature_dma_logging_control) == 24,
               "as the kernel has it");
_Static_assert(sizeof(struct vfio_device_feature_dma_logging_range) == 16, "as the kernel has it");
_Static_assert(sizeof(struct vfio_device_feature_dma_logging_report) == 32, "as the kernel has it");
_Static_assert(sizeof(void *) != 8 || sizeof(struct uapi_type1_get_bitmap) == 48,
               "as the kernel has it");
_Static_assert(sizeof(void *) != 8 || sizeof(struct uapi_type1_unmap_bitmap) == 48,
               "as the kernel has it");
_Static_assert(sizeof(struct uapi_precopy_info) == 24, "as the kernel has it");
_Static_assert(sizeof(struct uapi_feature_data_size) == 8, "as the kernel has it");

#endif
