// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory. The device pins each page that it accesses and keeps it pinned, as a driver of real
 * hardware would: that is what type1's dirty bitmap is made from. A page is given back when it is
 * unmapped, when the device is closed, or when others need its place.
 *
 * VFIO wants no page of a range to be pinned when dma_unmap() returns. type1 even counts: pages found
 * ten times in a row end the kernel. So pinning and unmapping take turns (struct krefdev_pins), and
 * what was just unmapped is not pinned again for a moment, in which VFIO does the rest. The lock is
 * let go before VFIO is called, whose own locks are held around dma_unmap().
 */
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/slab.h>

#include "refdev/kernel/internal.h"

#define PINS_MAX 65536 /* 256 MiB */
#define PINS_SPARE 64  /* given back at a time: here, or at the user's limit of locked memory */
#define UNMAP_PAUSE_MS 20

struct krefdev_pin {
    struct list_head order;
    unsigned long index;
    struct page *page;
    int prot; /* IOMMU_READ, IOMMU_WRITE: what the mapping was found to allow */
};

void krefdev_pins_init(struct krefdev *dev)
{
    struct krefdev_pins *pins = &dev->pins;

    mutex_init(&pins->lock);
    xa_init(&pins->pages);
    INIT_LIST_HEAD(&pins->order);
    init_waitqueue_head(&pins->turn);
    pins->unmapped_until = jiffies;
}

void krefdev_pins_done(struct krefdev *dev)
{
    xa_destroy(&dev->pins.pages);
    mutex_destroy(&dev->pins.lock);
}

/* ---- turns ---- */

static void await_unmaps(struct krefdev_pins *pins)
{
    while (pins->unmapping) {
        mutex_unlock(&pins->lock);
        wait_event(pins->turn, !READ_ONCE(pins->unmapping));
        mutex_lock(&pins->lock);
    }
}

/* Let go of the lock to pin or unpin: who unmaps waits until turn_ends(). */
static void turn_begins(struct krefdev_pins *pins)
{
    await_unmaps(pins);
    WRITE_ONCE(pins->busy, true);
    mutex_unlock(&pins->lock);
}

static void turn_ends(struct krefdev_pins *pins)
{
    mutex_lock(&pins->lock);
    WRITE_ONCE(pins->busy, false);
    wake_up_all(&pins->turn);
}

/* ---- giving back ---- */

static void take(struct krefdev_pins *pins, struct krefdev_pin *pin, struct list_head *taken)
{
    xa_erase(&pins->pages, pin->index);
    list_move_tail(&pin->order, taken);
    pins->count--;
}

static void unpin(struct krefdev *dev, struct list_head *taken)
{
    while (!list_empty(taken)) {
        struct krefdev_pin *pin = list_first_entry(taken, struct krefdev_pin, order);

        vfio_unpin_pages(&dev->vdev, (dma_addr_t)pin->index << PAGE_SHIFT, 1);
        list_del(&pin->order);
        kfree(pin);
    }
}

static void unpin_oldest(struct krefdev *dev, unsigned int count)
{
    struct krefdev_pins *pins = &dev->pins;
    LIST_HEAD(taken);

    turn_begins(pins);
    mutex_lock(&pins->lock);
    while (count-- && !list_empty(&pins->order))
        take(pins, list_first_entry(&pins->order, struct krefdev_pin, order), &taken);
    mutex_unlock(&pins->lock);
    unpin(dev, &taken);
    turn_ends(pins);
}

void krefdev_pins_drop(struct krefdev *dev)
{
    mutex_lock(&dev->pins.lock);
    unpin_oldest(dev, UINT_MAX);
    dev->pins.any = false;
    mutex_unlock(&dev->pins.lock);
}

static void forbid(struct krefdev_pins *pins, unsigned long first, unsigned long last)
{
    pins->unmapped_first = first;
    pins->unmapped_last = last;
    pins->unmapped_until = jiffies + msecs_to_jiffies(UNMAP_PAUSE_MS);
}

void krefdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
    struct krefdev *dev = to_krefdev(vdev);
    struct krefdev_pins *pins = &dev->pins;
    unsigned long first = iova >> PAGE_SHIFT, last = (iova + length - 1) >> PAGE_SHIFT;
    unsigned long at = first;
    struct krefdev_pin *pin;
    LIST_HEAD(taken);

    mutex_lock(&pins->lock);
    WRITE_ONCE(pins->unmapping, pins->unmapping + 1);
    while (pins->busy) {
        mutex_unlock(&pins->lock);
        wait_event(pins->turn, !READ_ONCE(pins->busy));
        mutex_lock(&pins->lock);
    }
    while ((pin = xa_find(&pins->pages, &at, last, XA_PRESENT)))
        take(pins, pin, &taken);
    mutex_unlock(&pins->lock);
    /* type1 holds its list of devices here and takes its other lock to unpin, as it demands, and both
     * in the other order when a device is opened or another thread unmaps. That is its own affair, and
     * told by lockdep it would be the last thing that lockdep tells. */
    lockdep_off();
    unpin(dev, &taken);
    lockdep_on();
    mutex_lock(&pins->lock);
    forbid(pins, first, last);
    WRITE_ONCE(pins->unmapping, pins->unmapping - 1);
    wake_up_all(&pins->turn);
    mutex_unlock(&pins->lock);
}

/* ---- pinning ---- */

static bool is_forbidden(const struct krefdev_pins *pins, unsigned long index)
{
    return index >= pins->unmapped_first && index <= pins->unmapped_last &&
           time_before(jiffies, pins->unmapped_until);
}

/* -EINTR when the device is being closed: whoever unmaps again and again must not hold that up. */
static int await_permission(struct krefdev *dev, unsigned long index)
{
    struct krefdev_pins *pins = &dev->pins;

    await_unmaps(pins);
    while (!READ_ONCE(dev->closing) && is_forbidden(pins, index)) {
        mutex_unlock(&pins->lock);
        schedule_timeout_uninterruptible(1);
        mutex_lock(&pins->lock);
        await_unmaps(pins);
    }
    return READ_ONCE(dev->closing) ? -EINTR : 0;
}

static int keep(struct krefdev_pins *pins, unsigned long index, struct page *page, int prot)
{
    struct krefdev_pin *pin = kmalloc(sizeof(*pin), GFP_KERNEL);
    int rc;

    if (!pin)
        return -ENOMEM;
    *pin = (struct krefdev_pin) { .index = index, .page = page, .prot = prot };
    rc = xa_err(xa_store(&pins->pages, index, pin, GFP_KERNEL));
    if (rc) {
        kfree(pin);
        return rc;
    }
    list_add_tail(&pin->order, &pins->order);
    pins->count++;
    pins->any = true;
    return 0;
}

/* Remember what VFIO has pinned. One pin of each page is enough: true when this one is too many. */
static bool keep_once(struct krefdev_pins *pins, unsigned long index, struct page *page, int prot,
                      int *rc)
{
    struct krefdev_pin *pin;

    mutex_lock(&pins->lock);
    pin = xa_load(&pins->pages, index);
    if (pin)
        pin->prot |= prot;
    else
        *rc = keep(pins, index, page, prot);
    mutex_unlock(&pins->lock);
    return pin || *rc;
}

static int pin_page(struct krefdev *dev, unsigned long index, int prot)
{
    struct krefdev_pins *pins = &dev->pins;
    dma_addr_t iova = (dma_addr_t)index << PAGE_SHIFT;
    struct page *page;
    int n, rc = await_permission(dev, index);

    if (rc)
        return rc;
    turn_begins(pins);
    n = vfio_pin_pages(&dev->vdev, iova, 1, prot, &page);
    if (n == 1 && keep_once(pins, index, page, prot, &rc))
        vfio_unpin_pages(&dev->vdev, iova, 1);
    turn_ends(pins);
    if (n == 1)
        return rc;
    return n < 0 ? n : -EFAULT;
}

/* -ENXIO where there has been no memory at all: nobody did anything wrong. */
static int pin_error(const struct krefdev_pins *pins, int rc)
{
    switch (rc) {
    case -EPERM:
        return -EACCES;
    case -EINVAL: /* type1: not mapped; iommufd: being unmapped */
    case -ENOENT: /* iommufd: not mapped, or not attached */
        return pins->any ? -EFAULT : -ENXIO;
    default:
        return rc;
    }
}

/* The page for an access that needs @prot. It was pinned with no more than was needed then, since
 * the mapping may allow no more; when the other access comes, the mapping is asked again. The lock is
 * let go in between. */
static int get_page_for(struct krefdev *dev, unsigned long index, int prot,
                        struct krefdev_pin **ret)
{
    struct krefdev_pins *pins = &dev->pins;

    for (;;) {
        struct krefdev_pin *pin = xa_load(&pins->pages, index);
        int rc;

        if (pin && (pin->prot & prot) == prot) {
            *ret = pin;
            return 0;
        }
        if (pins->count >= PINS_MAX)
            unpin_oldest(dev, PINS_SPARE);
        rc = pin_page(dev, index, prot);
        if (rc == -ENOMEM && pins->count) {
            unpin_oldest(dev, PINS_SPARE);
            rc = pin_page(dev, index, prot);
        }
        if (rc)
            return pin_error(pins, rc);
    }
}

/* ---- access ---- */

/* Inside one page. */
static int access_page(struct krefdev *dev, u64 iova, void *in, const void *out, size_t length)
{
    struct krefdev_pin *pin;
    u8 *at;
    int rc;

    mutex_lock(&dev->pins.lock);
    rc = get_page_for(dev, iova >> PAGE_SHIFT, in ? IOMMU_READ : IOMMU_WRITE, &pin);
    if (!rc) {
        at = kmap_local_page(pin->page);
        if (in)
            memcpy(in, at + offset_in_page(iova), length);
        else
            memcpy(at + offset_in_page(iova), out, length);
        kunmap_local(at);
    }
    mutex_unlock(&dev->pins.lock);
    return rc;
}

static int access(struct krefdev *dev, u64 iova, u8 *in, const u8 *out, u64 length)
{
    u64 done, part, last;

    if (length && check_add_overflow(iova, length - 1, &last))
        return -EFAULT;
    for (done = 0; done < length; done += part) {
        int rc;

        part = min_t(u64, length - done, PAGE_SIZE - offset_in_page(iova + done));
        rc = access_page(dev, iova + done, in ? in + done : NULL, out ? out + done : NULL, part);
        if (rc)
            return rc;
    }
    return 0;
}

int krefdev_dma_read(void *door, uint64_t iova, void *buf, uint64_t length_bytes)
{
    return access(door, iova, buf, NULL, length_bytes);
}

int krefdev_dma_write(void *door, uint64_t iova, const void *buf, uint64_t length_bytes)
{
    return access(door, iova, NULL, buf, length_bytes);
}
