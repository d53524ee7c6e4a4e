/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/lock.h"
#include "vmm/vfio.h"

/* The guest's addresses are the device's: no IOMMU is emulated in between. */
static int map_memory(struct vfio_device *device, struct vmig_error *err)
{
    const struct memory *memory = device->place.memory;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < memory->num_blocks; i++) {
        const struct vmig_ram_block *block = &memory->blocks[i];
        struct vmig_dma_map map = { .iova = block->iova,
                                    .size_bytes = block->size_bytes,
                                    .vaddr = block->vaddr,
                                    .fd = block->fd,
                                    .fd_offset = block->fd_offset,
                                    .writable = true };
        rc = vmig_device_dma_map(device->device, &map, err);
    }
    return rc;
}

/* The machine's power was just switched on, and so was the device's. */
static int reset(struct vfio_device *device, struct vmig_error *err)
{
    struct vmig_device_info info;
    int rc = vmig_device_info(device->device, &info, err);
    if (rc == 0 && !info.pci)
        return vmm_fail(err, ENOTSUP, "not-pci", "%s is no PCI device",
                        vmig_device_id(device->device));
    return rc == 0 && info.reset ? vmig_device_reset(device->device, err) : rc;
}

int vfio_open(struct vfio_device *device, const char *address, const char *id,
              const struct vfio_place *place, struct vmig_error *err)
{
    static int (*const steps[])(struct vfio_device *,
                                struct vmig_error *) = { reset, map_memory, vfio_config_new,
                                                         vfio_irqs_new, vfio_bars_new };
    const struct vmig_device_options options = { .size = sizeof(options), .id = id };
    *device = (struct vfio_device) { .place = *place, .intx_fd = -1, .resample_fd = -1 };
    pthread_mutex_init(&device->lock, NULL);
    int rc = vmig_device_open(address, &options, &device->device, err);
    if (rc == 0)
        rc = pci_add(place->pci, &vfio_config_ops, device, err);
    device->slot = rc < 0 ? 0 : (unsigned)rc;
    for (unsigned i = 0; rc >= 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
        rc = steps[i](device, err);
    return rc < 0 ? rc : 0;
}

void vfio_close(struct vfio_device *device)
{
    vfio_irqs_done(device);
    device->device = vmig_device_close(device->device);
    pthread_mutex_destroy(&device->lock);
}

void vfio_failed(struct vfio_device *device, const struct vmig_error *err)
{
    const char *id = vmig_device_id(device->device);
    char text[400];
    if (err->code != -ECONNRESET && err->code != -ENODEV && err->code != -EPIPE)
        return; /* a region that does not take this: the guest's business */
    snprintf(text, sizeof(text), "%s is lost: %.200s", id, err->text);
    LOCK_SCOPE(&device->lock);
    if (!device->lost)
        fprintf(stderr, "vfio-vmm: %s; the guest reads ones there, and cannot move any more\n",
                text);
    device->lost = true;
    if (device->migration &&
        !device->lost_blocks) /* refused while one runs, which fails by itself */
        device->lost_blocks =
            vmig_migration_add_blocker(device->migration, "device-lost", id, text,
                                       "shut the guest down and start it anew", NULL, NULL) == 0;
}
