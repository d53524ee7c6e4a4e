/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The reference device's second door: a module behind the kernel's own VFIO. An instance is a
 * mediated device that userspace creates and removes by UUID; one model belongs to it.
 *
 *   main.c        the module, its parent device and types, the tables that VFIO calls through
 *   life.c        an instance: created, opened, closed, released; who may call the model
 *   device.c      info, regions, mmap, reset
 *   irq.c         interrupts by eventfd
 *   dma.c         guest memory, as pinned pages
 *   worker.c      the thread that does the device's own work
 *   migration.c   states, data fds
 *   dma-log.c     the log of written pages
 *   plan.c        faults, hanging, vanishing
 *   attributes.c  sysfs
 *
 * Locks, in the order in which they may be taken:
 *
 *   VFIO's dev_set->lock   around open and close
 *   config_lock            knobs, and whether somebody has the device open. Never held for long
 *                          but in open and close
 *   lock                   the model, which takes one caller at a time. Held while the device
 *                          sleeps or hangs, so whoever waits for it waits killably
 *   mmap_lock, type1's and iommufd's locks    under it: user memory is copied and pages are pinned
 *   pins.lock, plan.lock, stream_lock    leaves. VFIO takes pages away (dma_unmap) with locks of
 *                          its own held, so pins.lock is let go to pin and to unpin
 *
 * sysfs never takes lock: a device that hangs must be told to go on.
 */
#ifndef REFDEV_KERNEL_INTERNAL_H
#define REFDEV_KERNEL_INTERNAL_H

#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/version.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "refdev/model/model.h"

/* From 6.19 on VFIO handles VFIO_DEVICE_GET_REGION_INFO itself and asks by an operation. */
#define KREFDEV_VFIO_ASKS_FOR_REGIONS (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0))

#define KREFDEV_OFFSET_SHIFT 40 /* of a region's index in an offset into the device fd */

struct krefdev_irq {
    struct eventfd_ctx *eventfd; /* NULL: nobody listens */
    bool masked, pending;
};

/* Guest pages that the device has access to. A page stays pinned until it is unmapped, the device
 * is closed, or its place is needed. */
struct krefdev_pins {
    struct mutex lock;
    struct xarray pages;    /* struct krefdev_pin by IOVA page number */
    struct list_head order; /* first: pinned first */
    unsigned int count;
    bool any; /* there has been memory since the device was opened */
    /* Whose turn it is: the device pins or unpins, without the lock; so many unmaps are under way.
     * Each waits for the other; those who wait are on @turn. */
    bool busy;
    unsigned int unmapping;
    wait_queue_head_t turn;
    /* What was unmapped last, and is not pinned again before that time (jiffies). */
    unsigned long unmapped_first, unmapped_last, unmapped_until;
};

/* The fault plan as sysfs has it. */
struct krefdev_plan {
    struct mutex lock;
    struct refdev_fault faults[REFDEV_FAULTS_MAX]; /* seen: how often it has happened */
    unsigned int count;
    bool replaced; /* and not yet adopted by the model */
    wait_queue_head_t wake;
    char refused[128]; /* why state was refused last */
};

struct krefdev_stream;

struct krefdev {
    struct vfio_device vdev; /* first, as VFIO allocates it */
    const struct refdev_profile *profile;

    struct mutex config_lock;
    struct refdev_knobs knobs; /* what the device is made with when it is opened next */
    u64 state_size;
    bool open;
    bool stale; /* the model was made with other knobs */

    struct mutex lock;
    struct refdev_model *model; /* NULL until opened for the first time */
    void *local, *shared;
    bool was_mapped;    /* @shared, since the device was opened */
    bool info_was_read; /* since it was opened */
    bool gone;          /* a fault took the device away */
    bool closing;       /* whoever sleeps in the device shall give up */
    struct krefdev_irq irqs[REFDEV_NUM_IRQS][REFDEV_MSIX_VECTORS];
    struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    struct refdev_range ranges[REFDEV_LOG_RANGES_MAX];
    unsigned long *log_bits; /* of one part of a report; while a log is on */

    spinlock_t stream_lock;
    struct krefdev_stream *stream; /* the data fd that is alive; changed under lock, too */

    struct krefdev_plan plan;
    struct krefdev_pins pins;

    struct task_struct *worker;
    wait_queue_head_t work;
    bool kicked;
};

static inline struct krefdev *to_krefdev(struct vfio_device *vdev)
{
    return container_of(vdev, struct krefdev, vdev);
}

/* ---- life.c ---- */

extern const struct refdev_door_ops krefdev_door_ops;

int krefdev_init(struct vfio_device *vdev, const struct refdev_profile *profile);
void krefdev_release(struct vfio_device *vdev);
int krefdev_open(struct vfio_device *vdev);
void krefdev_close(struct vfio_device *vdev);

/* Take the model: 0, -EINTR the caller was killed, -ENODEV the device is gone. */
int krefdev_lock(struct krefdev *dev);
/* The user asks for @command, which the fault plan may answer: non-zero is that answer. */
int krefdev_ask(struct krefdev *dev, enum refdev_fault_command command);
/* Both. On failure nothing is held. */
int krefdev_enter(struct krefdev *dev, enum refdev_fault_command command);
void krefdev_leave(struct krefdev *dev);

/* ---- device.c ---- */

long krefdev_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg);
int krefdev_region_info(struct vfio_device *vdev, struct vfio_region_info *info,
                        struct vfio_info_cap *caps);
ssize_t krefdev_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *ppos);
ssize_t krefdev_write(struct vfio_device *vdev, const char __user *buf, size_t count, loff_t *ppos);
int krefdev_mmap(struct vfio_device *vdev, struct vm_area_struct *vma);

/* ---- irq.c ---- */

int krefdev_irq_info(struct krefdev *dev, unsigned int index, struct refdev_irq_info *ret);
int krefdev_set_irqs(struct krefdev *dev, struct vfio_irq_set __user *arg);
bool krefdev_interrupt(void *door, unsigned int index, unsigned int vector);
void krefdev_irqs_drop(struct krefdev *dev);
void krefdev_request(struct vfio_device *vdev, unsigned int count);

/* ---- dma.c ---- */

void krefdev_pins_init(struct krefdev *dev);
void krefdev_pins_done(struct krefdev *dev);
/* Give all pages back. */
void krefdev_pins_drop(struct krefdev *dev);
void krefdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length);
int krefdev_dma_read(void *door, uint64_t iova, void *buf, uint64_t length_bytes);
int krefdev_dma_write(void *door, uint64_t iova, const void *buf, uint64_t length_bytes);

/* ---- worker.c ---- */

int krefdev_worker_start(struct krefdev *dev);
void krefdev_worker_stop(struct krefdev *dev);
/* There may be work now. */
void krefdev_kick(struct krefdev *dev);

/* ---- migration.c ---- */

extern const struct vfio_migration_ops krefdev_migration_ops;

/* End the stream if the device's state has none (any more). */
void krefdev_stream_settle(struct krefdev *dev);

/* ---- dma-log.c ---- */

extern const struct vfio_log_ops krefdev_log_ops;

void krefdev_log_bits_free(struct krefdev *dev);

/* ---- plan.c ---- */

void krefdev_plan_init(struct krefdev *dev);
/* Hand a replaced plan to the model. */
void krefdev_plan_adopt(struct krefdev *dev);
void krefdev_faulted(void *door, const struct refdev_fault *fault);
int krefdev_hang(void *door);
int krefdev_sleep_ns(void *door, uint64_t ns);
void krefdev_vanish(void *door);
void krefdev_refused(void *door, const char *why, uint64_t offset);
ssize_t krefdev_plan_show(struct krefdev *dev, char *buf);
/* Replace it by @text: faults with white space between them. */
int krefdev_plan_store(struct krefdev *dev, const char *text);

/* ---- attributes.c ---- */

extern const struct attribute_group *krefdev_attribute_groups[];

#endif
