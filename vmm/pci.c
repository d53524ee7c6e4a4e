/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/fail.h"
#include "vmm/pci.h"

#define ADDRESS_PORT 0xcf8
#define DATA_PORT 0xcfc
#define ADDRESS_ENABLE (1u << 31)

static const struct pci_slot *slot_at(const struct pci *pci, unsigned bus, unsigned slot_function)
{
    const struct pci_slot *slot = &pci->slots[slot_function >> 3 & 31];
    return bus == 0 && (slot_function & 7) == 0 && slot->ops ? slot : NULL;
}

static void config_read(const struct pci *pci, unsigned bus, unsigned slot_function,
                        unsigned offset, void *data, unsigned length_bytes)
{
    const struct pci_slot *slot = slot_at(pci, bus, slot_function);
    memset(data, 0xff, length_bytes);
    if (slot && offset % 4 + length_bytes <= 4)
        slot->ops->read(slot->opaque, offset, data, length_bytes);
}

static void config_write(const struct pci *pci, unsigned bus, unsigned slot_function,
                         unsigned offset, const void *data, unsigned length_bytes)
{
    const struct pci_slot *slot = slot_at(pci, bus, slot_function);
    if (slot && slot->ops->write && offset % 4 + length_bytes <= 4)
        slot->ops->write(slot->opaque, offset, data, length_bytes);
}

static void ecam_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    config_read(opaque, (unsigned)(offset >> 20), offset >> 12 & 255, offset & 4095, data,
                length_bytes);
}

static void ecam_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    config_write(opaque, (unsigned)(offset >> 20), offset >> 12 & 255, offset & 4095, data,
                 length_bytes);
}

/* An address written by one vCPU and data accessed by another are theirs to order, as on hardware. */
static void address_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    const struct pci *pci = opaque;
    uint32_t address = __atomic_load_n(&pci->address, __ATOMIC_RELAXED);
    memcpy(data, (uint8_t *)&address + offset, length_bytes);
}

static void address_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    struct pci *pci = opaque;
    uint32_t address;
    if (offset || length_bytes != sizeof(address))
        return;
    memcpy(&address, data, sizeof(address));
    __atomic_store_n(&pci->address, address, __ATOMIC_RELAXED);
}

static void data_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    const struct pci *pci = opaque;
    uint32_t at = __atomic_load_n(&pci->address, __ATOMIC_RELAXED);
    memset(data, 0xff, length_bytes);
    if (at & ADDRESS_ENABLE)
        config_read(pci, at >> 16 & 255, at >> 8 & 255, (at & 0xfc) + (unsigned)offset, data,
                    length_bytes);
}

static void data_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    const struct pci *pci = opaque;
    uint32_t at = __atomic_load_n(&pci->address, __ATOMIC_RELAXED);
    if (at & ADDRESS_ENABLE)
        config_write(pci, at >> 16 & 255, at >> 8 & 255, (at & 0xfc) + (unsigned)offset, data,
                     length_bytes);
}

/* The bridge itself: identity and class, nothing to set. */
static void bridge_read(void *opaque, unsigned offset, void *data, unsigned length_bytes)
{
    static const uint32_t header[] = { 0x00081b36, 0, 0x06000000, 0 };
    (void)opaque;
    uint32_t dword = offset / 4 < sizeof(header) / sizeof(header[0]) ? header[offset / 4] : 0;
    memcpy(data, (uint8_t *)&dword + offset % 4, length_bytes);
}

int pci_new(struct pci *pci, struct bus *ports, struct bus *mmio, struct vmig_error *err)
{
    static const struct bus_ops ecam = { ecam_read, ecam_write };
    static const struct bus_ops address = { address_read, address_write },
                                data = { data_read, data_write };
    static const struct pci_ops bridge = { bridge_read, NULL };
    *pci = (struct pci) { 0 };
    pci_add(pci, &bridge, NULL, NULL);
    int rc = bus_claim(mmio, ECAM_BASE, ECAM_BYTES, &ecam, pci, err);
    if (rc == 0)
        rc = bus_claim(ports, ADDRESS_PORT, 4, &address, pci, err);
    return rc < 0 ? rc : bus_claim(ports, DATA_PORT, 4, &data, pci, err);
}

int pci_add(struct pci *pci, const struct pci_ops *ops, void *opaque, struct vmig_error *err)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (pci->slots[slot].ops)
            continue;
        pci->slots[slot] = (struct pci_slot) { ops, opaque };
        return (int)slot;
    }
    return vmm_fail(err, ENOSPC, NULL, "all %u PCI slots are in use", PCI_SLOTS);
}

static const struct {
    uint64_t base, size_bytes;
} windows[] = { [PCI_IO] = { PCI_IO_BASE, PCI_IO_BYTES },
                [PCI_MMIO32] = { MMIO32_BASE, MMIO32_BYTES },
                [PCI_MMIO64] = { MMIO64_BASE, MMIO64_BYTES } };

static_assert(MMIO32_BASE % MMIO32_BYTES == 0 && MMIO64_BASE % MMIO64_BYTES == 0 &&
                  PCI_IO_BASE % PCI_IO_BYTES == 0,
              "what is aligned in a window has an aligned address");

bool pci_is_in(enum pci_window window, uint64_t address, uint64_t size_bytes)
{
    uint64_t offset = address - windows[window].base, room = windows[window].size_bytes;
    return offset < room && size_bytes <= room - offset;
}

int pci_allocate(struct pci *pci, enum pci_window window, uint64_t size_bytes, uint64_t *ret,
                 struct vmig_error *err)
{
    uint64_t offset = (pci->used_bytes[window] + size_bytes - 1) & ~(size_bytes - 1);
    *ret = windows[window].base + offset;
    if (!pci_is_in(window, *ret, size_bytes))
        return vmm_fail(err, ENOSPC, NULL, "no room for a BAR of %" PRIu64 " bytes", size_bytes);
    pci->used_bytes[window] = offset + size_bytes;
    return 0;
}

static const struct vmig_vmstate_field fields[] = { VMIG_VMSTATE_UINT32(address, struct pci),
                                                    VMIG_VMSTATE_END() };
const struct vmig_vmstate pci_vmstate = {
    .name = "pci", .version = 1, .minimum_version = 1, .fields = fields
};
