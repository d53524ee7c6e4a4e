// SPDX-License-Identifier: GPL-2.0-only
/* The module: a parent device "refdev" with one type of mediated device for each profile. */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "refdev/kernel/internal.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "vfio_migrate_refdev needs Linux 6.12 or newer"
#endif
#if !defined(CONFIG_64BIT) || PAGE_SHIFT != 12
#error "vfio_migrate_refdev needs a 64-bit kernel with pages of 4 KiB"
#endif

#define INSTANCES_MAX 256

struct krefdev_type {
    struct mdev_type type;
    const struct refdev_profile *profile;
};

static struct class *class;
static struct device *parent_device;
static struct mdev_parent parent;
static struct krefdev_type *types;
static struct mdev_type **type_list;
static unsigned int type_count;

/* ---- instances ---- */

static int init_device(struct vfio_device *vdev)
{
    struct mdev_type *type = to_mdev_device(vdev->dev)->type;

    return krefdev_init(vdev, container_of(type, struct krefdev_type, type)->profile);
}

static const struct vfio_device_ops device_ops = {
    .name = "vfio-migrate-refdev",
    .init = init_device,
    .release = krefdev_release,
    .bind_iommufd = vfio_iommufd_emulated_bind,
    .unbind_iommufd = vfio_iommufd_emulated_unbind,
    .attach_ioas = vfio_iommufd_emulated_attach_ioas,
    .detach_ioas = vfio_iommufd_emulated_detach_ioas,
    .open_device = krefdev_open,
    .close_device = krefdev_close,
    .read = krefdev_read,
    .write = krefdev_write,
    .ioctl = krefdev_ioctl,
#if KREFDEV_VFIO_ASKS_FOR_REGIONS
    .get_region_info_caps = krefdev_region_info,
#endif
    .mmap = krefdev_mmap,
    .request = krefdev_request,
    .dma_unmap = krefdev_dma_unmap,
};

static int probe(struct mdev_device *mdev)
{
    struct krefdev *dev = vfio_alloc_device(krefdev, vdev, &mdev->dev, &device_ops);
    int rc;

    if (IS_ERR(dev))
        return PTR_ERR(dev);
    /* Before it can be opened, and before its attributes appear. */
    dev_set_drvdata(&mdev->dev, dev);
    rc = vfio_register_emulated_iommu_dev(&dev->vdev);
    if (rc)
        vfio_put_device(&dev->vdev);
    return rc;
}

static void remove(struct mdev_device *mdev)
{
    struct krefdev *dev = dev_get_drvdata(&mdev->dev);

    vfio_unregister_group_dev(&dev->vdev);
    vfio_put_device(&dev->vdev);
}

static ssize_t show_description(struct mdev_type *type, char *buf)
{
    return sysfs_emit(buf, "%s\n", container_of(type, struct krefdev_type, type)->profile->about);
}

static struct mdev_driver driver = {
    .device_api = VFIO_DEVICE_API_PCI_STRING,
    .max_instances = INSTANCES_MAX,
    .probe = probe,
    .remove = remove,
    .show_description = show_description,
    .driver = {
        .name = "vfio_migrate_refdev",
        .owner = THIS_MODULE,
        .mod_name = KBUILD_MODNAME,
        .dev_groups = krefdev_attribute_groups,
    },
};

/* ---- the module ---- */

static int make_types(void)
{
    unsigned int count = 0;

    while (refdev_profile_at(count))
        count++;
    types = kcalloc(count, sizeof(*types), GFP_KERNEL);
    type_list = kcalloc(count, sizeof(struct mdev_type *), GFP_KERNEL);
    if (!types || !type_list)
        return -ENOMEM;
    for (type_count = 0; type_count < count; type_count++) {
        struct krefdev_type *type = &types[type_count];

        type->profile = refdev_profile_at(type_count);
        type->type.sysfs_name = type->profile->name;
        type->type.pretty_name = type->profile->name;
        type_list[type_count] = &type->type;
    }
    return 0;
}

static void free_types(void)
{
    kfree(type_list);
    kfree(types);
}

static int make_parent(void)
{
    int rc;

    class = class_create("refdev");
    if (IS_ERR(class))
        return PTR_ERR(class);
    parent_device = device_create(class, NULL, 0, NULL, "refdev");
    if (IS_ERR(parent_device)) {
        class_destroy(class);
        return PTR_ERR(parent_device);
    }
    rc = mdev_register_parent(&parent, parent_device, &driver, type_list, type_count);
    if (rc) {
        device_unregister(parent_device);
        class_destroy(class);
    }
    return rc;
}

static int __init krefdev_module_init(void)
{
    int rc = make_types();

    if (rc)
        goto out_types;
    rc = mdev_register_driver(&driver);
    if (rc)
        goto out_types;
    rc = make_parent();
    if (rc)
        goto out_driver;
    return 0;

out_driver:
    mdev_unregister_driver(&driver);
out_types:
    free_types();
    return rc;
}

static void __exit krefdev_module_exit(void)
{
    mdev_unregister_parent(&parent);
    device_unregister(parent_device);
    class_destroy(class);
    mdev_unregister_driver(&driver);
    free_types();
}

module_init(krefdev_module_init);
module_exit(krefdev_module_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The vfio-migrate authors");
MODULE_DESCRIPTION("A VFIO device without hardware that has every migration feature");
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS(IOMMUFD);
#else
MODULE_IMPORT_NS("IOMMUFD");
#endif
