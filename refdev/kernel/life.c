// SPDX-License-Identifier: GPL-2.0-only
/*
 * An instance's life. Its model is made when the device is opened for the first time, and again
 * when knobs were changed since; in between it is reset at every last close, so whoever opens the
 * device finds it RUNNING, however the one before ended.
 */
#include <linux/eventfd.h>
#include <linux/ktime.h>
#include <linux/nospec.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "refdev/kernel/internal.h"

void refdev_breathe(void)
{
    cond_resched();
}

unsigned refdev_bounded(unsigned index, unsigned size)
{
    return array_index_nospec(index, size);
}

static uint64_t now_ns(void *door)
{
    return ktime_get_ns();
}

static void *door_alloc(void *door, size_t size_bytes)
{
    return kvzalloc(size_bytes, GFP_KERNEL);
}

static void door_free(void *door, void *ptr)
{
    kvfree(ptr);
}

const struct refdev_door_ops krefdev_door_ops = {
    .dma_read = krefdev_dma_read,
    .dma_write = krefdev_dma_write,
    .interrupt = krefdev_interrupt,
    .sleep_ns = krefdev_sleep_ns,
    .now_ns = now_ns,
    .alloc = door_alloc,
    .free = door_free,
    .refused = krefdev_refused,
    .faulted = krefdev_faulted,
    .hang = krefdev_hang,
    .vanish = krefdev_vanish,
};

/* ---- the model ---- */

static void drop_model(struct krefdev *dev)
{
    struct refdev_model *model = dev->model;

    if (model)
        refdev_done(model);
    WRITE_ONCE(dev->model, NULL);
    kvfree(model);
    vfree(dev->local);
    dev->local = NULL;
    vfree(dev->shared);
    dev->shared = NULL;
}

static int make_model(struct krefdev *dev)
{
    struct refdev_model *model = kvzalloc(refdev_model_bytes(), GFP_KERNEL);
    int rc = -ENOMEM;

    dev->shared = vmalloc_user(REFDEV_SHARED_BYTES);
    if (dev->state_size)
        dev->local = vmalloc_huge(dev->state_size, GFP_KERNEL);
    if (model && dev->shared && (dev->local || !dev->state_size))
        rc = refdev_init(model, &dev->knobs, dev->local, dev->state_size, dev->shared,
                         &krefdev_door_ops, dev);
    if (rc) {
        kvfree(model);
        drop_model(dev);
        return rc;
    }
    WRITE_ONCE(dev->model, model);
    dev->stale = false;
    mutex_lock(&dev->plan.lock);
    dev->plan.replaced = true; /* a new model has no plan yet */
    mutex_unlock(&dev->plan.lock);
    return 0;
}

/* ---- life ---- */

int krefdev_init(struct vfio_device *vdev, const struct refdev_profile *profile)
{
    struct krefdev *dev = to_krefdev(vdev);

    dev->profile = profile;
    dev->knobs.profile = profile;
    dev->knobs.seed = get_random_u64();
    dev->state_size = profile->default_local_bytes;
    mutex_init(&dev->config_lock);
    mutex_init(&dev->lock);
    spin_lock_init(&dev->stream_lock);
    init_waitqueue_head(&dev->work);
    krefdev_plan_init(dev);
    krefdev_pins_init(dev);
    if (profile->migration_flags) {
        vdev->migration_flags = (unsigned int)profile->migration_flags;
        vdev->mig_ops = &krefdev_migration_ops;
    }
    if (profile->has_dma_log)
        vdev->log_ops = &krefdev_log_ops;
    return 0;
}

void krefdev_release(struct vfio_device *vdev)
{
    struct krefdev *dev = to_krefdev(vdev);

    drop_model(dev);
    krefdev_pins_done(dev);
    mutex_destroy(&dev->plan.lock);
    mutex_destroy(&dev->lock);
    mutex_destroy(&dev->config_lock);
}

static int open_model(struct krefdev *dev)
{
    int rc = 0;

    if (dev->stale)
        drop_model(dev);
    if (!dev->model)
        rc = make_model(dev);
    if (rc)
        return rc;
    dev->closing = false;
    dev->info_was_read = false;
    krefdev_plan_adopt(dev);
    return dev->gone ? -ENODEV : krefdev_worker_start(dev);
}

/* Pages that were mapped can be held for longer than the mapping, by pipes or as somebody's DMA
 * memory. They are not those of the next user. */
static void renew_shared(struct krefdev *dev)
{
    void *shared = dev->was_mapped ? vmalloc_user(REFDEV_SHARED_BYTES) : NULL;

    if (shared) {
        vfree(dev->shared);
        dev->shared = shared;
        refdev_set_shared(dev->model, shared);
    } else if (dev->was_mapped) {
        dev->stale = true; /* make all of it anew, or fail */
    }
    dev->was_mapped = false;
}

int krefdev_open(struct vfio_device *vdev)
{
    struct krefdev *dev = to_krefdev(vdev);
    int rc;

    mutex_lock(&dev->config_lock);
    mutex_lock(&dev->lock);
    rc = open_model(dev);
    mutex_unlock(&dev->lock);
    dev->open = !rc;
    mutex_unlock(&dev->config_lock);
    return rc;
}

void krefdev_close(struct vfio_device *vdev)
{
    struct krefdev *dev = to_krefdev(vdev);

    mutex_lock(&dev->config_lock);
    WRITE_ONCE(dev->closing, true);
    wake_up_all(&dev->plan.wake);
    krefdev_worker_stop(dev);
    mutex_lock(&dev->lock);
    krefdev_irqs_drop(dev);
    renew_shared(dev);
    refdev_reset(dev->model);
    krefdev_stream_settle(dev);
    krefdev_log_bits_free(dev);
    mutex_unlock(&dev->lock);
    krefdev_pins_drop(dev);
    dev->open = false;
    mutex_unlock(&dev->config_lock);
}

/* ---- calls ---- */

int krefdev_lock(struct krefdev *dev)
{
    if (mutex_lock_killable(&dev->lock))
        return -EINTR;
    if (!dev->gone)
        return 0;
    mutex_unlock(&dev->lock);
    return -ENODEV;
}

int krefdev_ask(struct krefdev *dev, enum refdev_fault_command command)
{
    krefdev_plan_adopt(dev);
    return refdev_fault_command(dev->model, command);
}

int krefdev_enter(struct krefdev *dev, enum refdev_fault_command command)
{
    int rc = krefdev_lock(dev);

    if (rc)
        return rc;
    rc = krefdev_ask(dev, command);
    if (rc)
        krefdev_leave(dev);
    return rc;
}

void krefdev_leave(struct krefdev *dev)
{
    krefdev_stream_settle(dev);
    mutex_unlock(&dev->lock);
}
