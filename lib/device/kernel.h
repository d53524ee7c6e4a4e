/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on a kernel VFIO device's fd, however it was opened: what the group and cdev backends
 * have in common.
 *
 * Threads: `lock` guards `stream` and its references only. A read that blocks in the kernel holds a
 * reference, so that a transition on another thread can take the stream away without the fd number
 * being used again under the reader.
 */
#ifndef LIB_DEVICE_KERNEL_H
#define LIB_DEVICE_KERNEL_H

#include <pthread.h>
#include "lib/device/backend.h"

struct kernel_stream;

struct kernel_device {
    int fd;
    bool no_mmap;
    bool inherited;          /* opened by another process, which may have left DMA mappings */
    bool shared;             /* so may whoever gave us the address space */
    char name[64];           /* in sysfs */
    struct kernel_map *maps; /* unmapped at the end */
    uint64_t mapped_bytes;   /* memory shown to it through this handle */
    int group;               /* IOMMU group through which it was opened; -1: none, or not known */

    uint64_t flags;        /* migration flags, 0 until asked */
    enum vmig_state state; /* when last asked, or the last request that succeeded */
    int reserve_fd;        /* given up for a transition's data fd when no number is left */

    pthread_mutex_t lock;
    struct kernel_stream *stream; /* lock; NULL: none */
};

/* @take_fd is moved. */
void kernel_device_init(struct kernel_device *device, int take_fd, const char *name, bool no_mmap);
void kernel_device_done(struct kernel_device *device);

/* ---- kernel-open.c: steps of opening ---- */

/* Only PCI devices, and mediated ones that say that they are, can be used ("not-pci"). */
int kernel_check_pci(struct kernel_device *device, struct vmig_error *err);
/* Reset it when it is found in another state. */
int kernel_make_running(struct kernel_device *device, struct vmig_error *err);
/* Go on with a device as its last owner left it: asks, as mtty wants before it answers other
 * questions, but changes nothing. */
int kernel_take_over(struct kernel_device *device, struct vmig_error *err);
/* Is @fd a device that may be used: one of a group, or bound? */
bool kernel_is_device(int fd);
/* Opening @path failed with errno @code: the text for no permission, or none in particular. */
int kernel_refuse_open(const char *path, int code, struct vmig_error *err);
/* Why mapping @map failed with -errno @rc ("memlock" when that is the limit of locked memory);
 * @remedy: what to do about another reason, or "". */
int kernel_refuse_map(const struct kernel_device *device, const struct vmig_dma_map *map, int rc,
                      const char *remedy, struct vmig_error *err);
/* An unmapping that did not do all that was asked: @rc, or @done of @size bytes. */
int kernel_check_unmap(struct kernel_device *device, uint64_t iova, uint64_t size, int rc,
                       uint64_t done, struct vmig_error *err);

/* Rows of a backend's table as they are: @self is a struct kernel_device, with which the backend's
 * own structure begins. */

/* ---- kernel-device.c ---- */
int kernel_info(void *self, struct vmig_device_info *ret, struct vmig_error *err);
int kernel_region_info(void *self, unsigned index, struct vmig_region_info *ret,
                       struct vmig_error *err);
int kernel_region_read(void *self, unsigned index, uint64_t offset, void *buf, size_t length,
                       struct vmig_error *err);
int kernel_region_write(void *self, unsigned index, uint64_t offset, const void *buf, size_t length,
                        struct vmig_error *err);
int kernel_region_map(void *self, unsigned index, const struct vmig_region_area *area, void **ret,
                      struct vmig_error *err);
int kernel_irq_info(void *self, unsigned index, struct vmig_irq_info *ret, struct vmig_error *err);
int kernel_set_irqs(void *self, unsigned index, unsigned start, unsigned count, const int *eventfds,
                    struct vmig_error *err);
int kernel_unmask_irqs(void *self, unsigned index, unsigned start, unsigned count,
                       struct vmig_error *err);
/* The kernel does not tell what is mapped: it must judge itself. */
bool kernel_inherits(void *self, uint64_t iova, uint64_t size);
bool kernel_shares_memory(void *self);
/* Does one of its regions belong to the migration protocol of before Linux 5.18? */
bool kernel_has_v1_region(struct kernel_device *device);

/* ---- kernel-hot-reset.c ---- */
int kernel_hot_reset_info(void *self, struct vmig_hot_reset_info *ret, struct vmig_error *err);

/* ---- kernel-migration.c ---- */
int kernel_migration_info(void *self, struct vmig_migration_info *ret, struct vmig_error *err);
int kernel_get_state(void *self, enum vmig_state *ret, struct vmig_error *err);
int kernel_set_state(void *self, enum vmig_state target, struct vmig_error *err);
int kernel_reset(void *self, struct vmig_error *err);
int kernel_data_size(void *self, uint64_t *ret, struct vmig_error *err);
int kernel_enable_reinit(void *self, struct vmig_error *err);
int kernel_precopy_info(void *self, struct vmig_precopy_info *ret, struct vmig_error *err);
ssize_t kernel_data_read(void *self, void *buf, size_t size, struct vmig_error *err);
int kernel_data_write(void *self, const void *buf, size_t length, struct vmig_error *err);
void kernel_drop_stream(struct kernel_device *device);

/* ---- kernel-log.c ---- */
int kernel_dma_log_start(void *self, const struct vmig_dma_range *ranges, unsigned num_ranges,
                         uint64_t *pgsize, struct vmig_error *err);
int kernel_dma_log_stop(void *self, struct vmig_error *err);
int kernel_dma_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                          uint64_t *bitmap, struct vmig_error *err);

/* One VFIO_DEVICE_FEATURE request: @operation is VFIO_DEVICE_FEATURE_GET, _SET or _PROBE (with GET
 * or SET), @payload of @size bytes goes in and comes out. 0 or -errno. */
#define KERNEL_FEATURE_PAYLOAD_MAX 32
int kernel_feature(struct kernel_device *device, uint32_t operation, uint32_t feature,
                   void *payload, size_t size);

#endif
