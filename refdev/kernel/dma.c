// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory. The device pins each page that it accesses and keeps it pinned, as a driver of real
 * hardware would: that is what type1's dirty bitmap is made from. A page is given back when it is
 * unmapped, when the device is closed, or when others need its place.
 *
 * Two rules make the unmapping safe. VFIO wants no page of the range to be pinned when dma_unmap()
 * returns, so that waits for a page that is just being pinned. And VFIO still has work with the
 * range then, during which the device must not pin it anew (type1 asks ten times and then ends the
 * kernel): accesses to it wait a little.
 */
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/slab.h>

#include "refdev/kernel/internal.h"

#define PINS_MAX 65536 /* 256 MiB */
#define PINS_SPARE 64  /* given back at once when the user's locked memory is at its limit */
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
    init_waitqueue_head(&pins->idle);
    pins->unmapped_until = jiffies;
}

void krefdev_pins_done(struct krefdev *dev)
{
    xa_destroy(&dev->pins.pages);
    mutex_destroy(&dev->pins.lock);
}

static void unpin(struct krefdev *dev, struct krefdev_pin *pin)
{
    vfio_unpin_pages(&dev->vdev, (dma_addr_t)pin->index << PAGE_SHIFT, 1);
    xa_erase(&dev->pins.pages, pin->index);
    list_del(&pin->order);
    dev->pins.count--;
    kfree(pin);
}

static void unpin_oldest(struct krefdev *dev, unsigned int count)
{
    struct krefdev_pins *pins = &dev->pins;

    while (count-- && !list_empty(&pins->order))
        unpin(dev, list_first_entry(&pins->order, struct krefdev_pin, order));
}

void krefdev_pins_drop(struct krefdev *dev)
{
    mutex_lock(&dev->pins.lock);
    unpin_oldest(dev, dev->pins.count);
    dev->pins.any = false;
    mutex_unlock(&dev->pins.lock);
}

/* ---- unmapping ---- */

static bool is_unmapping(const struct krefdev_pins *pins, unsigned long index)
{
    return index >= pins->unmapped_first && index <= pins->unmapped_last &&
           time_before(jiffies, pins->unmapped_until);
}

static bool pins_inside(const struct krefdev_pins *pins, unsigned long first, unsigned long last)
{
    return READ_ONCE(pins->pinning) && pins->pinning_page >= first && pins->pinning_page <= last;
}

void krefdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
    struct krefdev *dev = to_krefdev(vdev);
    struct krefdev_pins *pins = &dev->pins;
    unsigned long first = iova >> PAGE_SHIFT, last = (iova + length - 1) >> PAGE_SHIFT, index;
    struct krefdev_pin *pin;

    mutex_lock(&pins->lock);
    pins->unmapped_first = first;
    pins->unmapped_last = last;
    pins->unmapped_until = jiffies + msecs_to_jiffies(UNMAP_PAUSE_MS);
    while (pins_inside(pins, first, last)) {
        mutex_unlock(&pins->lock);
        wait_event(pins->idle, !READ_ONCE(pins->pinning));
        mutex_lock(&pins->lock);
    }
    xa_for_each_range(&pins->pages, index, pin, first, last) unpin(dev, pin);
    mutex_unlock(&pins->lock);
}

/* ---- pinning ---- */

static int keep(struct krefdev *dev, unsigned long index, struct page *page, int prot,
                struct krefdev_pin **ret)
{
    struct krefdev_pins *pins = &dev->pins;
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
    *ret = pin;
    return 0;
}

/* Ask VFIO for a page, without the lock. */
static int pin_unlocked(struct krefdev *dev, unsigned long index, int prot, struct page **page)
{
    struct krefdev_pins *pins = &dev->pins;
    int n;

    while (is_unmapping(pins, index)) {
        mutex_unlock(&pins->lock);
        schedule_timeout_uninterruptible(1);
        mutex_lock(&pins->lock);
    }
    pins->pinning_page = index;
    WRITE_ONCE(pins->pinning, true);
    mutex_unlock(&pins->lock);
    n = vfio_pin_pages(&dev->vdev, (dma_addr_t)index << PAGE_SHIFT, 1, prot, page);
    mutex_lock(&pins->lock);
    WRITE_ONCE(pins->pinning, false);
    wake_up_all(&pins->idle);
    return n == 1 ? 0 : n < 0 ? n : -EFAULT;
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

/* The page for an access that needs @prot. Pages are pinned with no more than that, since the
 * mapping may allow no more; when the other access comes, the mapping is asked again. */
static int get_page_for(struct krefdev *dev, unsigned long index, int prot,
                        struct krefdev_pin **ret)
{
    struct krefdev_pins *pins = &dev->pins;
    struct krefdev_pin *pin = xa_load(&pins->pages, index);
    struct page *page;
    int rc;

    if (pin && (pin->prot & prot) == prot) {
        *ret = pin;
        return 0;
    }
    if (!pin && pins->count >= PINS_MAX)
        unpin_oldest(dev, 1);
    rc = pin_unlocked(dev, index, prot, &page);
    if (rc == -ENOMEM && pins->count) {
        unpin_oldest(dev, PINS_SPARE);
        rc = pin_unlocked(dev, index, prot, &page);
    }
    if (rc)
        return pin_error(pins, rc);
    pin = xa_load(&pins->pages, index);
    if (!pin) {
        rc = keep(dev, index, page, prot, ret);
        if (rc)
            vfio_unpin_pages(&dev->vdev, (dma_addr_t)index << PAGE_SHIFT, 1);
        return rc;
    }
    /* Pinned twice now; once is enough. */
    vfio_unpin_pages(&dev->vdev, (dma_addr_t)index << PAGE_SHIFT, 1);
    pin->prot |= prot;
    *ret = pin;
    return 0;
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
