/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the bits of a PCI config space are to a migration. Checked ones make the guest's device what it
 * is, and must be the same at both ends unless they can be written; writable ones are what a driver
 * has set, and go to the device at the target; all others (status, what slot and link gave) are each
 * device's own. Bits of capabilities that are not known here are their own, too: registers that change
 * by themselves cannot be told from constants.
 */
#ifndef LIB_STREAM_PCI_BITS_H
#define LIB_STREAM_PCI_BITS_H

#include <stdbool.h>
#include "lib/stream/pci-space.h"

/* When a dword is written to a device that takes over another's. */
enum pci_phase {
    PCI_PHASE_SETUP,   /* addresses and settings, while the device decodes nothing yet */
    PCI_PHASE_COMMAND, /* it decodes and may do DMA; the MSI-X table comes after this */
    PCI_PHASE_LAST,    /* interrupts on, power state */
    PCI_PHASE_COUNT
};

struct pci_bits {
    uint32_t config_bytes;
    uint8_t checked[PCI_CONFIG_LARGE];
    uint8_t writable[PCI_CONFIG_LARGE];
    uint8_t clears[PCI_CONFIG_LARGE]; /* by writing 1, so 0 is written */
    /* of each dword; where the capability begins that it belongs to, 0: the header */
    uint8_t phase[PCI_CONFIG_LARGE / 4];
    uint16_t capability[PCI_CONFIG_LARGE / 4];
};

/* @config: of the device at hand. @ignore_vendor: the contents of vendor capabilities are not checked,
 * but for their length. -EINVAL: a list of capabilities leaves the config space or does not end.
 * @ret is large: 15 KiB. */
int pci_bits_of(const uint8_t *config, uint32_t config_bytes, bool ignore_vendor,
                struct pci_bits *ret);

/* The first byte in which bits differ that must not, or -1. */
int pci_bits_differ(const struct pci_bits *bits, const uint8_t *ours, const uint8_t *theirs);

struct pci_write {
    uint16_t offset, length_bytes; /* 2 or 4 bytes, aligned */
    uint8_t bytes[4];
};
/* What brings the dword at @at of the device that has @ours to what it is in @theirs; false: it is.
 * Bits that cannot be written are written as they are, and capabilities only where both have the same
 * one at this place. */
bool pci_bits_write(const struct pci_bits *bits, const uint8_t *ours, const uint8_t *theirs,
                    unsigned at, struct pci_write *ret);

#endif
