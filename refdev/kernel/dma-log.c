// SPDX-License-Identifier: GPL-2.0-only
/*
 * The log of pages that the device wrote. The model reports it as bits of 4 KiB pages, which are
 * handed on in runs, since that is what VFIO's bitmap takes.
 */
#include <linux/bitmap.h>
#include <linux/interval_tree.h>
#include <linux/iova_bitmap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "refdev/kernel/internal.h"

#define LOG_PAGE 4096ull
/* One part of a report: as much as VFIO asks for at a time when it is in 4 KiB pages. */
#define PART_BYTES (64ull << 30)
#define PART_BITS (PART_BYTES / LOG_PAGE)

void krefdev_log_bits_free(struct krefdev *dev)
{
    kvfree(dev->log_bits);
    dev->log_bits = NULL;
}

static unsigned int read_ranges(struct krefdev *dev, struct rb_root_cached *root, u32 count)
{
    struct interval_tree_node *node;
    unsigned int n = 0;

    if (count > REFDEV_LOG_RANGES_MAX) /* on kernels with large pages */
        vfio_combine_iova_ranges(root, count, REFDEV_LOG_RANGES_MAX);
    for (node = interval_tree_iter_first(root, 0, ULONG_MAX); node;
         node = interval_tree_iter_next(node, 0, ULONG_MAX))
        dev->ranges[n++] = (struct refdev_range) { node->start, node->last - node->start + 1 };
    return n;
}

static int start(struct krefdev *dev, struct rb_root_cached *ranges, u32 nnodes, u64 *page_size)
{
    unsigned int count = read_ranges(dev, ranges, nnodes);
    uint64_t pgsize = *page_size;
    int rc;

    if (!dev->log_bits)
        dev->log_bits = kvmalloc_array(BITS_TO_LONGS(PART_BITS), sizeof(long), GFP_KERNEL);
    if (!dev->log_bits)
        return -ENOMEM;
    rc = refdev_log_start(dev->model, dev->ranges, count, &pgsize);
    if (!rc)
        *page_size = pgsize;
    return rc;
}

static int log_start(struct vfio_device *vdev, struct rb_root_cached *ranges, u32 nnodes,
                     u64 *page_size)
{
    struct krefdev *dev = to_krefdev(vdev);
    int rc = krefdev_enter(dev, REFDEV_COMMAND_LOG_START);

    if (rc)
        return rc;
    rc = start(dev, ranges, nnodes, page_size);
    krefdev_leave(dev);
    return rc;
}

static int log_stop(struct vfio_device *vdev)
{
    struct krefdev *dev = to_krefdev(vdev);
    int rc = krefdev_enter(dev, REFDEV_COMMAND_LOG_STOP);

    if (rc)
        return rc;
    refdev_log_stop(dev->model);
    krefdev_log_bits_free(dev);
    krefdev_leave(dev);
    return 0;
}

static int report_part(struct krefdev *dev, u64 iova, u64 length, struct iova_bitmap *dirty)
{
    unsigned long pages = DIV_ROUND_UP(length, LOG_PAGE), first, end;
    const unsigned long *bits = dev->log_bits;
    int rc;

    bitmap_zero(dev->log_bits, pages);
    rc = refdev_log_report(dev->model, iova, length, LOG_PAGE, (uint64_t *)dev->log_bits);
    if (rc)
        return rc;
    for (first = find_first_bit(bits, pages); first < pages;
         first = find_next_bit(bits, pages, end)) {
        end = find_next_zero_bit(bits, pages, first);
        iova_bitmap_set(dirty, iova + first * LOG_PAGE,
                        min(end * LOG_PAGE, length) - first * LOG_PAGE);
    }
    return 0;
}

/* A log that is off has no bits to report into; the model then says what is wrong. The user may ask
 * for all 64 bits of addresses, with few bits for them. */
static int report(struct krefdev *dev, u64 iova, u64 length, struct iova_bitmap *dirty)
{
    uint64_t none;

    if (!dev->log_bits)
        return refdev_log_report(dev->model, iova, LOG_PAGE, LOG_PAGE, &none);
    while (length) {
        u64 part = min(length, PART_BYTES), skip;
        int rc = report_part(dev, iova, part, dirty);

        if (rc)
            return rc;
        if (fatal_signal_pending(current))
            return -EINTR;
        cond_resched();
        iova += part;
        length -= part;
        skip = min(refdev_log_next(dev->model, iova) - iova, length);
        iova += skip;
        length -= skip;
    }
    return 0;
}

static int log_read_and_clear(struct vfio_device *vdev, unsigned long iova, unsigned long length,
                              struct iova_bitmap *dirty)
{
    struct krefdev *dev = to_krefdev(vdev);
    int rc = krefdev_enter(dev, REFDEV_COMMAND_LOG_REPORT);

    if (rc)
        return rc;
    rc = report(dev, iova, length, dirty);
    krefdev_leave(dev);
    return rc;
}

const struct vfio_log_ops krefdev_log_ops = {
    .log_start = log_start,
    .log_stop = log_stop,
    .log_read_and_clear = log_read_and_clear,
};
