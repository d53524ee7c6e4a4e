/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCIe host bridge: bus 0, whose config space the guest reaches through ECAM and through ports 0xcf8 and
 * 0xcfc, and the windows out of which the functions' BARs come. There is no firmware, so BARs have addresses
 * before the guest starts; it may move them.
 */
#ifndef VMM_PCI_H
#define VMM_PCI_H

#include <stdbool.h>
#include <vfio-migrate/vmstate.h>

#include "vmm/bus.h"
#include "vmm/layout.h"

#define PCI_SLOTS 32u
#define PCI_CONFIG_BYTES 4096u

/* Config space of one function; @offset is below PCI_CONFIG_BYTES, the access does not cross a dword. */
struct pci_ops {
    void (*read)(void *opaque, unsigned offset, void *data, unsigned length_bytes);
    void (*write)(void *opaque, unsigned offset, const void *data, unsigned length_bytes);
};

enum pci_window { PCI_IO, PCI_MMIO32, PCI_MMIO64, PCI_WINDOWS };

struct pci {
    uint32_t address; /* what was written to 0xcf8 */
    struct pci_slot {
        const struct pci_ops *ops;
        void *opaque;
    } slots[PCI_SLOTS];
    uint64_t used_bytes[PCI_WINDOWS];
};

int pci_new(struct pci *pci, struct bus *ports, struct bus *mmio, struct vmig_error *err);
/* The next free slot; before the guest runs. Returns its number. */
int pci_add(struct pci *pci, const struct pci_ops *ops, void *opaque, struct vmig_error *err);

extern const struct vmig_vmstate pci_vmstate; /* of struct pci */

bool pci_is_in(enum pci_window window, uint64_t address, uint64_t size_bytes);
/* @size_bytes of a window, aligned to that: a power of two. */
int pci_allocate(struct pci *pci, enum pci_window window, uint64_t size_bytes, uint64_t *ret,
                 struct vmig_error *err);
#endif
