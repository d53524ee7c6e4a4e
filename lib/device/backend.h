/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What carries a device's operations: one table per backend, no policy inside.
 *
 * A backend does exactly one operation and reports a negative errno; walking through states,
 * recovering, resetting, checking arguments against device info and filling in stage and device of
 * errors is the device layer's (device.c, transition.c). Backends are safe to call from several
 * threads; the device layer holds its control mutex around all but data_read, data_write,
 * data_flush and the logs' reports. Members that a backend cannot offer are NULL, and then answer
 * -ENOTTY.
 */
#ifndef LIB_DEVICE_BACKEND_H
#define LIB_DEVICE_BACKEND_H

#include <vfio-migrate/device.h>

struct backend_options {
    unsigned command_timeout_ms, transition_timeout_ms;
    bool no_mmap;
};

/* What the IOMMU in front of the device can tell of its writes. */
struct backend_iommu_log {
    enum vmig_iommu_log kind;
    uint64_t pgsize;            /* of its bits; 4,096 or more */
    uint64_t max_mapping_bytes; /* it cannot report larger ones */
    char why[200];              /* it is not VMIG_IOMMU_LOG_TRUE; a clause */
};

struct backend_ops {
    const char *name;
    /* Does @address belong to this backend? Looks at its form only. */
    bool (*matches)(const char *address);
    int (*open)(const char *address, const struct backend_options *options, void **ret_self,
                struct vmig_error *err);
    void (*close)(void *self);
    /* What follows open() in opening a device failed: before close(), which then leaves them alone,
     * descriptors that came with the address become the caller's again. NULL: they do not. */
    void (*give_back)(void *self);

    int (*info)(void *self, struct vmig_device_info *ret, struct vmig_error *err);
    int (*region_info)(void *self, unsigned index, struct vmig_region_info *ret,
                       struct vmig_error *err);
    int (*region_read)(void *self, unsigned index, uint64_t offset, void *buf, size_t length,
                       struct vmig_error *err);
    int (*region_write)(void *self, unsigned index, uint64_t offset, const void *buf, size_t length,
                        struct vmig_error *err);
    int (*region_map)(void *self, unsigned index, const struct vmig_region_area *area, void **ret,
                      struct vmig_error *err);
    int (*irq_info)(void *self, unsigned index, struct vmig_irq_info *ret, struct vmig_error *err);
    int (*set_irqs)(void *self, unsigned index, unsigned start, unsigned count, const int *eventfds,
                    struct vmig_error *err);
    int (*unmask_irqs)(void *self, unsigned index, unsigned start, unsigned count,
                       struct vmig_error *err);
    int (*dma_map)(void *self, const struct vmig_dma_map *map, struct vmig_error *err);
    int (*dma_unmap)(void *self, uint64_t iova, uint64_t size, struct vmig_error *err);
    int (*reset)(void *self, struct vmig_error *err);
    int (*hot_reset_info)(void *self, struct vmig_hot_reset_info *ret, struct vmig_error *err);

    int (*migration_info)(void *self, struct vmig_migration_info *ret, struct vmig_error *err);
    int (*get_state)(void *self, enum vmig_state *ret, struct vmig_error *err);
    /* One SET request, whole walk. A new data stream, when the request starts one, becomes the one
     * that data_read and data_write use; one that was open and ends is closed. */
    int (*set_state)(void *self, enum vmig_state target, struct vmig_error *err);
    int (*data_size)(void *self, uint64_t *ret, struct vmig_error *err);
    /* Flags come as the device gave them: the device layer knows whether they mean anything. */
    int (*precopy_info)(void *self, struct vmig_precopy_info *ret, struct vmig_error *err);
    int (*enable_reinit)(void *self, struct vmig_error *err);
    /* Count, 0 for an empty read (the device layer knows what that means in which state),
     * -ENOMSG. May prefetch. */
    ssize_t (*data_read)(void *self, void *buf, size_t size, struct vmig_error *err);
    int (*data_write)(void *self, const void *buf, size_t length, struct vmig_error *err);
    int (*data_flush)(void *self, struct vmig_error *err);

    /* A report ors into @bitmap, which is zeroed, touched, aligned to a page, and of whole pages. */
    int (*dma_log_start)(void *self, const struct vmig_dma_range *ranges, unsigned num_ranges,
                         uint64_t *pgsize, struct vmig_error *err);
    int (*dma_log_stop)(void *self, struct vmig_error *err);
    int (*dma_log_report)(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                          uint64_t *bitmap, struct vmig_error *err);

    /* The IOMMU's dirty bits: of all mappings, those made later included. NULL all or none. */
    int (*iommu_log_info)(void *self, struct backend_iommu_log *ret, struct vmig_error *err);
    int (*iommu_log_start)(void *self, struct vmig_error *err);
    int (*iommu_log_stop)(void *self, struct vmig_error *err);
    /* Of exactly one mapping, in info's pages; the log is on. @bitmap as above. Runs beside control
     * calls as dma_log_report does: the mapping may go away meanwhile. */
    int (*iommu_log_report)(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                            uint64_t *bitmap, struct vmig_error *err);
    /* dma_unmap that reports what is lost with the mapping; the log is on. */
    int (*iommu_log_unmap)(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                           uint64_t *bitmap, struct vmig_error *err);

    /* Stop using the descriptors, leave them open without close-on-exec, and write an address into
     * @ret of @size bytes with which open() goes on in their new owner. Only close() follows, which
     * leaves them alone. No data stream and no DMA log is open. After -ENOSPC and -EBUSY nothing
     * has changed; after other errors the device is of no use any more. */
    int (*hand_on)(void *self, char *ret, size_t size, struct vmig_error *err);
    /* Did whoever handed the device on leave a DMA mapping there, which this owner has not mapped
     * again? NULL: never. */
    bool (*inherits)(void *self, uint64_t iova, uint64_t size);
    /* May somebody else map memory for it, because its address space came with the address? NULL:
     * no. */
    bool (*shares_memory)(void *self);
};

extern const struct backend_ops backend_vfio_user; /* backend-vfio-user.c */
extern const struct backend_ops backend_cdev;      /* backend-cdev.c */
extern const struct backend_ops backend_group;     /* backend-group.c */

/* Backends to open an address with, in order: the next one only when the one before is not offered
 * on this host, or not to this user (backends.c). */
#define BACKEND_CHOICES_MAX 2
struct backend_choice {
    const struct backend_ops *ops[BACKEND_CHOICES_MAX + 1]; /* NULL behind the last */
};
/* @wish: a backend's name; NULL or "auto": whatever fits. -EINVAL ("bad-address"; "no-such-backend")
 * when there is none. */
int backend_choose(const char *address, const char *wish, struct backend_choice *ret,
                   struct vmig_error *err);
int backend_open(const struct backend_choice *choice, const char *address,
                 const struct backend_options *options, const struct backend_ops **ret_ops,
                 void **ret_self, struct vmig_error *err);

#endif
