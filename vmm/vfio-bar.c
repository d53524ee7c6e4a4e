/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BARs. What the device lets map becomes a memory slot, and the guest reaches it without an exit; the rest,
 * and the pages of the MSI-X table, are read and written for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/fail.h"
#include "vmm/vfio.h"

#define TYPE_IO 1u
#define TYPE_64 4u
#define TYPE_MASK_IO 3u
#define TYPE_MASK_MEMORY 15u

/* ---- accesses that leave the guest ---- */

static void bar_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    struct vfio_bar *bar = opaque;
    struct vmig_error err = { 0 };
    if (!vfio_msix_read(bar->owner, bar->index, offset, data, length_bytes) &&
        vmig_device_region_read(bar->owner->device, bar->index, offset, data, length_bytes, &err) <
            0)
        vfio_failed(bar->owner, &err); /* and what is read are ones */
}

static void bar_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    struct vfio_bar *bar = opaque;
    struct vmig_error err = { 0 };
    if (!vfio_msix_write(bar->owner, bar->index, offset, data, length_bytes) &&
        vmig_device_region_write(bar->owner->device, bar->index, offset, data, length_bytes, &err) <
            0)
        vfio_failed(bar->owner, &err);
}

/* ---- where they are ---- */

/* Part [start, end) of what is at @from. A slot that KVM refuses is none: it is slower then. */
static void map_part(struct vfio_bar *bar, uint8_t *from, uint64_t start, uint64_t end)
{
    uint64_t address = bar->address + start;
    if (start >= end || (address | start | end) % PAGE_BYTES || bar->num_slots == VFIO_BAR_SLOTS)
        return;
    if (kvm_map(bar->owner->place.kvm, address, end - start, from, &bar->slots[bar->num_slots],
                NULL) == 0)
        bar->num_slots++;
}

static void map_areas(struct vfio_bar *bar)
{
    const struct vfio_msix *msix = &bar->owner->msix;
    struct vmig_region_info region;
    uint64_t hole = 0, hole_end = 0; /* the pages of the MSI-X table */
    if (vmig_device_region_info(bar->owner->device, bar->index, &region, NULL))
        return;
    if (msix->count && msix->table_bar == bar->index) {
        hole = msix->table_offset & ~(PAGE_BYTES - 1);
        hole_end = (msix->table_offset + msix->count * VFIO_MSIX_ENTRY_BYTES + PAGE_BYTES - 1) &
                   ~(PAGE_BYTES - 1);
    }
    for (unsigned i = 0; i < region.num_areas; i++) {
        uint64_t start = region.areas[i].offset_bytes, end = start + region.areas[i].size_bytes;
        void *vaddr;
        if (vmig_device_region_map(bar->owner->device, bar->index, i, &vaddr, NULL))
            continue;
        uint64_t before = end < hole ? end : hole, after = start > hole_end ? start : hole_end;
        map_part(bar, vaddr, start, before);
        map_part(bar, (uint8_t *)vaddr + (after - start), after, end);
    }
}

static struct bus *bus_of(const struct vfio_bar *bar)
{
    return bar->io ? bar->owner->place.ports : bar->owner->place.mmio;
}

static void move(struct vfio_bar *bar, uint64_t address)
{
    static const struct bus_ops ops = { bar_read, bar_write };
    if (address == bar->address)
        return;
    while (bar->num_slots)
        kvm_unmap(bar->owner->place.kvm, bar->slots[--bar->num_slots]);
    if (bar->address)
        bus_release(bus_of(bar), bar->address, bar);
    bar->address = address;
    if (!address)
        return;
    bus_claim(bus_of(bar), address, bar->size_bytes, &ops, bar, NULL);
    if (!bar->io)
        map_areas(bar);
}

/* Where config space says that it is; 0 when it is switched off or all ones were written to learn its size.
 * An address outside of the machine's windows is of no use to the guest, but could cover memory. */
static uint64_t wanted(const struct vfio_device *device, const struct vfio_bar *bar)
{
    unsigned offset = VFIO_BAR0 + 4 * bar->index;
    uint64_t address = vfio_config_get(device, offset, 4);
    address &= bar->io ? ~(uint64_t)TYPE_MASK_IO : ~(uint64_t)TYPE_MASK_MEMORY;
    if (bar->is64)
        address |= (uint64_t)vfio_config_get(device, offset + 4, 4) << 32;
    if (!(device->command & (bar->io ? VFIO_COMMAND_IO : VFIO_COMMAND_MEMORY)))
        return 0;
    bool in_window = bar->io ? pci_is_in(PCI_IO, address, bar->size_bytes)
                             : pci_is_in(PCI_MMIO32, address, bar->size_bytes) ||
                                   pci_is_in(PCI_MMIO64, address, bar->size_bytes);
    return in_window ? address : 0;
}

void vfio_bars_update_locked(struct vfio_device *device)
{
    for (unsigned i = 0; i < VFIO_BARS; i++)
        if (device->bars[i].size_bytes)
            move(&device->bars[i], wanted(device, &device->bars[i]));
}

/* ---- begin ---- */

static uint64_t power_of_two(uint64_t bytes, uint64_t at_least)
{
    while (at_least < bytes)
        at_least *= 2;
    return at_least;
}

static int make_bar(struct vfio_device *device, unsigned index, struct vmig_error *err)
{
    struct vfio_bar *bar = &device->bars[index];
    unsigned offset = VFIO_BAR0 + 4 * index;
    uint32_t type = vfio_config_get(device, offset, 4) & TYPE_MASK_MEMORY;
    struct vmig_region_info region;
    uint64_t address;
    int rc = vmig_device_region_info(device->device, index, &region, err);
    *bar = (struct vfio_bar) { .owner = device, .index = index };
    vfio_config_emulate(device, offset, 0, ~0u, 0, 4);
    if (rc < 0 || !region.size_bytes)
        return rc;
    if (region.size_bytes > MMIO64_BYTES)
        return vmm_fail(err, ENOSPC, NULL, "no room for a BAR of %" PRIu64 " bytes",
                        region.size_bytes);
    bar->io = type & TYPE_IO;
    bar->is64 = !bar->io && (type & TYPE_64) && index + 1 < VFIO_BARS;
    bar->size_bytes = power_of_two(region.size_bytes, bar->io ? 4 : 16);
    rc = pci_allocate(device->place.pci,
                      bar->io     ? PCI_IO
                      : bar->is64 ? PCI_MMIO64
                                  : PCI_MMIO32,
                      bar->size_bytes, &address, err);
    if (rc < 0)
        return rc;
    uint64_t writable = ~(bar->size_bytes - 1);
    type &= bar->io ? TYPE_MASK_IO : TYPE_MASK_MEMORY;
    vfio_config_emulate(device, offset, (uint32_t)address | type, ~0u, (uint32_t)writable, 4);
    if (bar->is64)
        vfio_config_emulate(device, offset + 4, (uint32_t)(address >> 32), ~0u,
                            (uint32_t)(writable >> 32), 4);
    return 0;
}

int vfio_bars_new(struct vfio_device *device, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < VFIO_BARS; i++) {
        rc = make_bar(device, i, err);
        i += device->bars[i].is64; /* it takes the next one's place */
    }
    return rc;
}
