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

#define UAPI_DEVICE_FLAGS_CDX (1u << 8) /* since 6.4 */

/* Since 7.1: SET without payload; then the flags of uapi_precopy_info are output. */
#define UAPI_FEATURE_MIG_PRECOPY_INFO2 12
#define UAPI_PRECOPY_INFO_REINIT 1u /* initial_bytes are new ones */

/* A device's own character device, since 6.6. */
struct uapi_bind_iommufd {
    uint32_t argsz;
    uint32_t flags;
    int32_t iommufd;
    uint32_t out_devid; /* > 0 */
};
#define UAPI_DEVICE_BIND_IOMMUFD _IO(';', 118)
struct uapi_attach_pt {
    uint32_t argsz;
    uint32_t flags;
    uint32_t pt_id; /* in: IOAS or HWPT; out: what it is attached to */
};
#define UAPI_DEVICE_ATTACH_IOMMUFD_PT _IO(';', 119)
struct uapi_detach_pt {
    uint32_t argsz;
    uint32_t flags;
};
#define UAPI_DEVICE_DETACH_IOMMUFD_PT _IO(';', 120)

/* iommufd, since 6.2: all begin with their size. */
struct uapi_iommu_destroy {
    uint32_t size;
    uint32_t id;
};
#define UAPI_IOMMU_DESTROY _IO(';', 128)
struct uapi_ioas_alloc {
    uint32_t size;
    uint32_t flags;
    uint32_t out_ioas_id;
};
#define UAPI_IOMMU_IOAS_ALLOC _IO(';', 129)
struct uapi_ioas_iova_ranges {
    uint32_t size;
    uint32_t ioas_id;
    uint32_t num_iovas; /* out: how many there are; EMSGSIZE when that is more */
    uint32_t reserved;
    uint64_t allowed_iovas; /* address of {u64 start, u64 last}[] */
    uint64_t out_iova_alignment;
};
#define UAPI_IOMMU_IOAS_IOVA_RANGES _IO(';', 132)
struct uapi_ioas_map {
    uint32_t size;
    uint32_t flags;
    uint32_t ioas_id;
    uint32_t reserved;
    uint64_t user_va;
    uint64_t length;
    uint64_t iova;
};
#define UAPI_IOMMU_IOAS_MAP _IO(';', 133)
#define UAPI_IOAS_MAP_FIXED_IOVA 1u
#define UAPI_IOAS_MAP_WRITEABLE 2u
#define UAPI_IOAS_MAP_READABLE 4u
struct uapi_ioas_unmap {
    uint32_t size;
    uint32_t ioas_id;
    uint64_t iova;
    uint64_t length; /* out: bytes unmapped */
};
#define UAPI_IOMMU_IOAS_UNMAP _IO(';', 134)

/* The IOMMU's dirty bits, since 6.7. */
struct uapi_hwpt_alloc {
    uint32_t size;
    uint32_t flags;
    uint32_t dev_id;
    uint32_t pt_id; /* of an IOAS */
    uint32_t out_hwpt_id;
    uint32_t reserved;
};
#define UAPI_IOMMU_HWPT_ALLOC _IO(';', 137)
#define UAPI_HWPT_ALLOC_DIRTY_TRACKING 2u
struct uapi_hw_info {
    uint32_t size;
    uint32_t flags;
    uint32_t dev_id;
    uint32_t data_len;
    uint64_t data_uptr;
    uint32_t out_data_type;
    uint32_t out_more;
    uint64_t out_capabilities;
};
#define UAPI_IOMMU_GET_HW_INFO _IO(';', 138)
#define UAPI_HW_CAP_DIRTY_TRACKING 1u
struct uapi_hwpt_set_dirty_tracking {
    uint32_t size;
    uint32_t flags;
    uint32_t hwpt_id;
    uint32_t reserved;
};
#define UAPI_IOMMU_HWPT_SET_DIRTY_TRACKING _IO(';', 139)
#define UAPI_HWPT_DIRTY_TRACKING_ENABLE 1u
struct uapi_hwpt_get_dirty_bitmap {
    uint32_t size;
    uint32_t hwpt_id;
    uint32_t flags;
    uint32_t reserved;
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
    uint64_t data; /* address of the bits: n is the page iova + n * page_size */
};
#define UAPI_IOMMU_HWPT_GET_DIRTY_BITMAP _IO(';', 140)
#define UAPI_HWPT_GET_DIRTY_BITMAP_NO_CLEAR 1u

/* Hot reset of a device that was opened by its character device, since 6.6. */
#define UAPI_HOT_RESET_DEV_ID 1u       /* devids are told, not groups */
#define UAPI_HOT_RESET_DEV_ID_OWNED 2u /* all of them belong to the same iommufd */
#define UAPI_HOT_RESET_NOT_OWNED UINT32_MAX

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
_Static_assert(sizeof(struct uapi_bind_iommufd) == 16, "as the kernel has it");
_Static_assert(sizeof(struct uapi_attach_pt) == 12, "as the kernel has it");
_Static_assert(sizeof(struct uapi_detach_pt) == 8, "as the kernel has it");
_Static_assert(sizeof(struct uapi_iommu_destroy) == 8, "as the kernel has it");
_Static_assert(sizeof(struct uapi_ioas_alloc) == 12, "as the kernel has it");
_Static_assert(sizeof(struct uapi_ioas_iova_ranges) == 32, "as the kernel has it");
_Static_assert(sizeof(struct uapi_ioas_map) == 40, "as the kernel has it");
_Static_assert(sizeof(struct uapi_hwpt_alloc) == 24, "the least that the kernel takes");
_Static_assert(sizeof(struct uapi_hw_info) == 40, "as the kernel has it");
_Static_assert(sizeof(struct uapi_hwpt_set_dirty_tracking) == 16, "as the kernel has it");
_Static_assert(sizeof(struct uapi_hwpt_get_dirty_bitmap) == 48, "as the kernel has it");
_Static_assert(sizeof(struct uapi_ioas_unmap) == 24, "as the kernel has it");
_Static_assert(sizeof(struct vfio_pci_dependent_device) == 8, "as the kernel has it");
_Static_assert(sizeof(struct vfio_pci_hot_reset_info) == 12, "as the kernel has it");

#endif
