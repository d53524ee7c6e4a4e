/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "vmm/lock.h"
#include "vmm/vfio.h"

#define HEADER_TYPE 0x0e
#define MULTI_FUNCTION 0x80u
#define ROM_BAR 0x30
#define CAPABILITIES 0x34
#define INTERRUPT_LINE 0x3c
#define INTERRUPT_PIN 0x3d
#define CAPABILITY_MSI 0x05
#define CAPABILITY_HOPS_MAX 48

uint32_t vfio_config_get(const struct vfio_device *device, unsigned offset, unsigned length_bytes)
{
    uint32_t value = 0;
    memcpy(&value, device->config + offset, length_bytes);
    return value;
}

void vfio_config_emulate(struct vfio_device *device, unsigned offset, uint32_t value,
                         uint32_t emulated, uint32_t writable, unsigned length_bytes)
{
    for (unsigned i = 0; i < length_bytes; i++) {
        uint8_t mask = (uint8_t)(emulated >> 8 * i);
        uint8_t *byte = &device->config[offset + i];
        *byte = (uint8_t)((*byte & ~mask) | (value >> 8 * i & mask));
        device->emulated[offset + i] |= mask;
        device->writable[offset + i] =
            (uint8_t)((device->writable[offset + i] & ~mask) | (writable >> 8 * i & mask));
    }
}

/* *ret_link: where the byte is that leads there. */
static unsigned find_link(const struct vfio_device *device, uint8_t id, unsigned *ret_link)
{
    unsigned link = CAPABILITIES, at = device->config[link] & 0xfc;
    for (unsigned hops = 0; at >= 0x40 && hops < CAPABILITY_HOPS_MAX; hops++) {
        if (device->config[at] == id) {
            *ret_link = link;
            return at;
        }
        link = at + 1;
        at = device->config[link] & 0xfc;
    }
    return 0;
}

unsigned vfio_config_find(const struct vfio_device *device, uint8_t id)
{
    unsigned link;
    return find_link(device, id, &link);
}

/* MSI without X is not wired up here, so the guest does not get to see it. */
static void hide_msi(struct vfio_device *device)
{
    unsigned link, at = find_link(device, CAPABILITY_MSI, &link);
    if (at)
        vfio_config_emulate(device, link, device->config[at + 1], 0xff, 0, 1);
}

int vfio_config_new(struct vfio_device *device, struct vmig_error *err)
{
    struct vmig_region_info region;
    struct vmig_irq_info intx;
    int rc = vmig_device_region_info(device->device, VMIG_REGION_CONFIG, &region, err);
    if (rc < 0)
        return rc;
    device->config_bytes =
        region.size_bytes < PCI_CONFIG_BYTES ? (unsigned)region.size_bytes : PCI_CONFIG_BYTES;
    rc = vmig_device_region_read(device->device, VMIG_REGION_CONFIG, 0, device->config,
                                 device->config_bytes, err);
    if (rc == 0)
        rc = vmig_device_irq_info(device->device, VMIG_IRQ_INTX, &intx, err);
    if (rc < 0)
        return rc;
    device->has_intx = intx.count && device->config[INTERRUPT_PIN];
    device->command = (uint16_t)vfio_config_get(device, VFIO_COMMAND, 2);
    vfio_config_emulate(device, HEADER_TYPE, 0, MULTI_FUNCTION, 0, 1);
    vfio_config_emulate(device, ROM_BAR, 0, ~0u, 0, 4);
    vfio_config_emulate(device, INTERRUPT_LINE, device->has_intx ? PCI_LINE(device->slot) : 0, 0xff,
                        0xff, 1);
    vfio_config_emulate(device, INTERRUPT_PIN, device->has_intx, 0xff, 0,
                        1); /* a function has INTA */
    hide_msi(device);
    return 0;
}

/* ---- the guest's accesses ---- */

static void config_read(void *opaque, unsigned offset, void *data, unsigned length_bytes)
{
    struct vfio_device *device = opaque;
    uint8_t bytes[4] = { 0 };
    struct vmig_error err = { 0 };
    if (offset < device->config_bytes &&
        vmig_device_region_read(device->device, VMIG_REGION_CONFIG, offset, bytes, length_bytes,
                                &err) < 0) {
        vfio_failed(device, &err);
        memset(data, 0xff, length_bytes);
        return;
    }
    LOCK_SCOPE(&device->lock);
    for (unsigned i = 0; i < length_bytes; i++) {
        uint8_t mask = device->emulated[offset + i];
        bytes[i] = (uint8_t)((bytes[i] & ~mask) | (device->config[offset + i] & mask));
    }
    memcpy(data, bytes, length_bytes);
}

/* True: there are bits in it that are the device's. */
static bool write_emulated_locked(struct vfio_device *device, unsigned offset, const uint8_t *bytes,
                                  unsigned length_bytes)
{
    bool passes = false;
    for (unsigned i = 0; i < length_bytes; i++) {
        unsigned at = offset + i;
        uint8_t mask = device->writable[at];
        device->config[at] = (uint8_t)((device->config[at] & ~mask) | (bytes[i] & mask));
        passes |= device->emulated[at] != 0xff;
        if (at == VFIO_COMMAND)
            device->command = (uint16_t)((device->command & 0xff00) | bytes[i]);
        if (at == VFIO_COMMAND + 1)
            device->command = (uint16_t)((device->command & 0x00ff) | bytes[i] << 8);
    }
    return passes && offset < device->config_bytes;
}

static void config_write(void *opaque, unsigned offset, const void *data, unsigned length_bytes)
{
    struct vfio_device *device = opaque;
    struct vmig_error err = { 0 };
    LOCK_SCOPE(&device->lock);
    if (write_emulated_locked(device, offset, data, length_bytes))
        vmig_device_region_write(device->device, VMIG_REGION_CONFIG, offset, data, length_bytes,
                                 NULL);
    vfio_bars_update_locked(device);
    if (vfio_irqs_update_locked(device, &err) < 0)
        fprintf(stderr, "vfio-vmm: the guest does not get all interrupts: %s\n", err.text);
}

const struct pci_ops vfio_config_ops = { config_read, config_write };
