// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts: what is wired to which eventfd. Everything here is called with the model's lock. */
#include <linux/bitops.h>
#include <linux/eventfd.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "refdev/kernel/internal.h"

#define ACTIONS VFIO_IRQ_SET_ACTION_TYPE_MASK

int krefdev_irq_info(struct krefdev *dev, unsigned int index, struct refdev_irq_info *ret)
{
    if ((dev->profile->quirks & REFDEV_QUIRK_IRQ_NEEDS_INFO) && !dev->info_was_read)
        return -EINVAL;
    return refdev_irq_info(dev->model, index, ret);
}

/* ---- raising ---- */

static void fire(struct krefdev *dev, unsigned int index, unsigned int vector)
{
    struct krefdev_irq *irq = &dev->irqs[index][vector];
    struct refdev_irq_info info;

    if (!irq->eventfd)
        return;
    if (irq->masked) {
        irq->pending = true;
        return;
    }
    eventfd_signal(irq->eventfd);
    if (!refdev_irq_info(dev->model, index, &info) && (info.flags & VFIO_IRQ_INFO_AUTOMASKED))
        irq->masked = true; /* the user unmasks when it has handled it */
}

bool krefdev_interrupt(void *door, unsigned int index, unsigned int vector)
{
    struct krefdev *dev = door;

    if (!dev->irqs[index][vector].eventfd)
        return false;
    fire(dev, index, vector);
    return true;
}

/* Somebody removes the device while it is open. Called again and again until it is closed, so one
 * call may fail. */
void krefdev_request(struct vfio_device *vdev, unsigned int count)
{
    struct krefdev *dev = to_krefdev(vdev);

    if (!mutex_trylock(&dev->lock))
        return;
    if (dev->model)
        fire(dev, VFIO_PCI_REQ_IRQ_INDEX, 0);
    mutex_unlock(&dev->lock);
}

/* ---- wiring ---- */

static void detach(struct krefdev_irq *irq)
{
    if (irq->eventfd)
        eventfd_ctx_put(irq->eventfd);
    *irq = (struct krefdev_irq) {};
}

static void detach_all(struct krefdev *dev, unsigned int index)
{
    unsigned int vector;

    for (vector = 0; vector < REFDEV_MSIX_VECTORS; vector++)
        detach(&dev->irqs[index][vector]);
}

void krefdev_irqs_drop(struct krefdev *dev)
{
    unsigned int index;

    for (index = 0; index < REFDEV_NUM_IRQS; index++)
        detach_all(dev, index);
}

static int get_eventfd(s32 fd, struct eventfd_ctx **ret)
{
    if (fd == -1) {
        *ret = NULL;
        return 0;
    }
    *ret = eventfd_ctx_fdget(fd);
    return PTR_ERR_OR_ZERO(*ret);
}

/* All of them, or none and an error. */
static int attach(struct krefdev *dev, const struct vfio_irq_set *set, const s32 *fds)
{
    struct eventfd_ctx *eventfds[REFDEV_MSIX_VECTORS];
    unsigned int i;

    for (i = 0; i < set->count; i++) {
        int rc = get_eventfd(fds[i], &eventfds[i]);

        if (!rc)
            continue;
        while (i--)
            if (eventfds[i])
                eventfd_ctx_put(eventfds[i]);
        return rc;
    }
    for (i = 0; i < set->count; i++) {
        struct krefdev_irq *irq = &dev->irqs[set->index][set->start + i];

        detach(irq);
        irq->eventfd = eventfds[i];
    }
    return 0;
}

static void act(struct krefdev *dev, const struct vfio_irq_set *set, unsigned int vector)
{
    struct krefdev_irq *irq = &dev->irqs[set->index][vector];

    if (set->flags & VFIO_IRQ_SET_ACTION_TRIGGER) {
        fire(dev, set->index, vector);
    } else if (set->flags & VFIO_IRQ_SET_ACTION_MASK) {
        irq->masked = true;
    } else {
        irq->masked = false;
        if (irq->pending)
            fire(dev, set->index, vector);
        irq->pending = false;
    }
}

/* What VFIO's own check leaves open. */
static int check(const struct vfio_irq_set *set, const struct refdev_irq_info *info)
{
    const u32 off = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

    if (hweight32(set->flags & ACTIONS) != 1)
        return -EINVAL;
    if (!set->count)
        return set->start || set->flags != off ? -EINVAL : 0;
    if (set->flags & VFIO_IRQ_SET_ACTION_TRIGGER)
        return 0;
    if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
        return -ENOTTY; /* nobody is told of masking */
    return info->flags & VFIO_IRQ_INFO_MASKABLE ? 0 : -EINVAL;
}

static int set_irqs(struct krefdev *dev, struct vfio_irq_set *set, const u8 __user *arg)
{
    struct refdev_irq_info info;
    size_t data_bytes = 0;
    void *data = NULL;
    unsigned int i;
    int rc = krefdev_irq_info(dev, set->index, &info);

    if (!rc)
        rc = vfio_set_irqs_validate_and_prepare(set, (int)info.count, REFDEV_NUM_IRQS, &data_bytes);
    if (!rc)
        rc = check(set, &info);
    if (rc)
        return rc;
    set->index = array_index_nospec(set->index, REFDEV_NUM_IRQS);
    if (!set->count) {
        detach_all(dev, set->index);
        return 0;
    }
    set->start = array_index_nospec(set->start, info.count);
    if (data_bytes)
        data = memdup_user(arg, data_bytes);
    if (IS_ERR(data))
        return PTR_ERR(data);
    if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
        rc = attach(dev, set, data);
    else
        for (i = 0; i < set->count; i++)
            if (!data || ((u8 *)data)[i])
                act(dev, set, set->start + i);
    kfree(data);
    return rc;
}

int krefdev_set_irqs(struct krefdev *dev, struct vfio_irq_set __user *arg)
{
    const size_t head = offsetofend(struct vfio_irq_set, count);
    struct vfio_irq_set set;
    int rc;

    if (copy_from_user(&set, arg, head))
        return -EFAULT;
    rc = krefdev_enter(dev, REFDEV_COMMAND_SET_IRQS);
    if (rc)
        return rc;
    rc = set_irqs(dev, &set, (const u8 __user *)arg + head);
    krefdev_leave(dev);
    return rc;
}
