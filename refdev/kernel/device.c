// SPDX-License-Identifier: GPL-2.0-only
/* What the device is, access to its regions, its reset. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "refdev/kernel/internal.h"

#define ACCESS_MAX REFDEV_SHARED_BYTES /* the largest region */

/* ---- information ---- */

static long device_info(struct krefdev *dev, struct vfio_device_info __user *arg)
{
    const size_t least = offsetofend(struct vfio_device_info, num_irqs);
    struct vfio_device_info info = {};
    u32 argsz;
    int rc;

    if (get_user(argsz, &arg->argsz))
        return -EFAULT;
    if (argsz < least)
        return -EINVAL;
    rc = krefdev_enter(dev, REFDEV_COMMAND_DEVICE_INFO);
    if (rc)
        return rc;
    dev->info_was_read = true;
    krefdev_leave(dev);
    info.argsz = sizeof(info);
    info.flags = VFIO_DEVICE_FLAGS_PCI;
    if (!(dev->profile->quirks & REFDEV_QUIRK_NO_RESET_FLAG))
        info.flags |= VFIO_DEVICE_FLAGS_RESET;
    info.num_regions = REFDEV_NUM_REGIONS;
    info.num_irqs = REFDEV_NUM_IRQS;
    return copy_to_user(arg, &info, min_t(size_t, argsz, sizeof(info))) ? -EFAULT : 0;
}

/* The part of a region that may be mapped, as a capability. */
static int add_sparse(const struct refdev_region_info *region, struct vfio_info_cap *caps)
{
    struct vfio_region_info_cap_sparse_mmap *sparse;
    const size_t size = struct_size(sparse, areas, 1);
    int rc;

    sparse = kzalloc(size, GFP_KERNEL);
    if (!sparse)
        return -ENOMEM;
    sparse->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
    sparse->header.version = 1;
    sparse->nr_areas = 1;
    sparse->areas[0].offset = region->map_offset;
    sparse->areas[0].size = region->map_bytes;
    rc = vfio_info_add_capability(caps, &sparse->header, size);
    kfree(sparse);
    return rc;
}

int krefdev_region_info(struct vfio_device *vdev, struct vfio_region_info *info,
                        struct vfio_info_cap *caps)
{
    struct krefdev *dev = to_krefdev(vdev);
    struct refdev_region_info region;
    int rc = krefdev_enter(dev, REFDEV_COMMAND_REGION_INFO);

    if (rc)
        return rc;
    rc = refdev_region_info(dev->model, info->index, &region);
    krefdev_leave(dev);
    if (rc)
        return rc;
    info->flags = region.flags & ~REFDEV_REGION_MMAP;
    info->size = region.size_bytes;
    info->offset = (u64)info->index << KREFDEV_OFFSET_SHIFT;
    if (!region.map_bytes)
        return 0;
    info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
    return add_sparse(&region, caps);
}

#if !KREFDEV_VFIO_ASKS_FOR_REGIONS
/* As VFIO wants it: too small a buffer is told the size that is needed. */
static int append_caps(struct vfio_region_info *info, struct vfio_region_info __user *arg,
                       const struct vfio_info_cap *caps)
{
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
    if (info->argsz < sizeof(*info) + caps->size) {
        info->argsz = (u32)(sizeof(*info) + caps->size);
        return 0;
    }
    vfio_info_cap_shift((struct vfio_info_cap *)caps, sizeof(*info));
    if (copy_to_user(arg + 1, caps->buf, caps->size))
        return -EFAULT;
    info->cap_offset = sizeof(*info);
    return 0;
}

static long region_info(struct vfio_device *vdev, struct vfio_region_info __user *arg)
{
    struct vfio_info_cap caps = {};
    struct vfio_region_info info;
    int rc;

    if (copy_from_user(&info, arg, sizeof(info)))
        return -EFAULT;
    if (info.argsz < sizeof(info))
        return -EINVAL;
    info.cap_offset = 0;
    rc = krefdev_region_info(vdev, &info, &caps);
    if (!rc && caps.size)
        rc = append_caps(&info, arg, &caps);
    if (!rc && copy_to_user(arg, &info, sizeof(info)))
        rc = -EFAULT;
    kfree(caps.buf);
    return rc;
}

#endif

static long irq_info(struct krefdev *dev, struct vfio_irq_info __user *arg)
{
    struct refdev_irq_info irq;
    struct vfio_irq_info info;
    int rc;

    if (copy_from_user(&info, arg, sizeof(info)))
        return -EFAULT;
    if (info.argsz < sizeof(info))
        return -EINVAL;
    rc = krefdev_enter(dev, REFDEV_COMMAND_IRQ_INFO);
    if (rc)
        return rc;
    rc = krefdev_irq_info(dev, info.index, &irq);
    krefdev_leave(dev);
    if (rc)
        return rc;
    info.flags = irq.flags;
    info.count = irq.count;
    return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long reset(struct krefdev *dev)
{
    int rc = krefdev_enter(dev, REFDEV_COMMAND_RESET);

    if (rc)
        return rc;
    refdev_reset(dev->model);
    krefdev_kick(dev);
    krefdev_leave(dev);
    return 0;
}

long krefdev_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
    struct krefdev *dev = to_krefdev(vdev);

    switch (cmd) {
    case VFIO_DEVICE_GET_INFO:
        return device_info(dev, (void __user *)arg);
#if !KREFDEV_VFIO_ASKS_FOR_REGIONS
    case VFIO_DEVICE_GET_REGION_INFO:
        return region_info(vdev, (void __user *)arg);
#endif
    case VFIO_DEVICE_GET_IRQ_INFO:
        return irq_info(dev, (void __user *)arg);
    case VFIO_DEVICE_SET_IRQS:
        return krefdev_set_irqs(dev, (void __user *)arg);
    case VFIO_DEVICE_RESET:
        return reset(dev);
    default:
        return -ENOTTY;
    }
}

/* ---- regions ---- */

/* One access, as large as the caller made it. @buf: kernel memory. */
static int access(struct krefdev *dev, loff_t pos, void *buf, size_t count, bool write)
{
    u64 offset = (u64)pos & ((1ull << KREFDEV_OFFSET_SHIFT) - 1);
    unsigned int index = (unsigned int)(pos >> KREFDEV_OFFSET_SHIFT);
    int rc = krefdev_enter(dev, write ? REFDEV_COMMAND_REGION_WRITE : REFDEV_COMMAND_REGION_READ);

    if (rc)
        return rc;
    if (write) {
        rc = refdev_region_write(dev->model, index, offset, buf, count);
        krefdev_kick(dev);
    } else {
        rc = refdev_region_read(dev->model, index, offset, buf, count);
    }
    krefdev_leave(dev);
    return rc;
}

ssize_t krefdev_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *ppos)
{
    void *copy;
    int rc;

    if (!count)
        return 0;
    if (count > ACCESS_MAX)
        return -EINVAL;
    copy = kmalloc(count, GFP_KERNEL);
    if (!copy)
        return -ENOMEM;
    rc = access(to_krefdev(vdev), *ppos, copy, count, false);
    if (!rc && copy_to_user(buf, copy, count))
        rc = -EFAULT;
    kfree(copy);
    if (rc)
        return rc;
    *ppos += count;
    return count;
}

ssize_t krefdev_write(struct vfio_device *vdev, const char __user *buf, size_t count, loff_t *ppos)
{
    void *copy;
    int rc;

    if (!count)
        return 0;
    if (count > ACCESS_MAX)
        return -EINVAL;
    copy = memdup_user(buf, count);
    if (IS_ERR(copy))
        return PTR_ERR(copy);
    rc = access(to_krefdev(vdev), *ppos, copy, count, true);
    kfree(copy);
    if (rc)
        return rc;
    *ppos += count;
    return count;
}

/* Without the lock, which is held while user memory is copied: what is asked for here is the same
 * from open to close. */
int krefdev_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
    struct krefdev *dev = to_krefdev(vdev);
    u64 index = vma->vm_pgoff >> (KREFDEV_OFFSET_SHIFT - PAGE_SHIFT);
    u64 page = vma->vm_pgoff & ((1ull << (KREFDEV_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
    u64 length = vma->vm_end - vma->vm_start, offset = page << PAGE_SHIFT;
    struct refdev_region_info region;

    if (index >= REFDEV_NUM_REGIONS || !(vma->vm_flags & VM_SHARED) ||
        refdev_region_info(dev->model, (unsigned int)index, &region))
        return -EINVAL;
    if (!region.map_bytes || offset < region.map_offset ||
        offset - region.map_offset > region.map_bytes ||
        length > region.map_bytes - (offset - region.map_offset))
        return -EINVAL;
    WRITE_ONCE(dev->was_mapped, true);
    return remap_vmalloc_range(vma, dev->shared, (unsigned long)page);
}
