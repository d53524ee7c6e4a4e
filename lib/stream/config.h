/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The body of a VFIO device's config record: the PCI config space as the guest sees it, interrupt
 * lines, MSI-X table and pending bits, and the configuration of a ramfb display. Some lengths stand
 * nowhere in the stream: the number of MSI-X vectors follows from the capability list in the config
 * bytes, and whether those are 256 or 4,096 from what comes after them.
 */
#ifndef LIB_STREAM_CONFIG_H
#define LIB_STREAM_CONFIG_H

#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

#define PCI_CONFIG_SMALL 256u
#define PCI_CONFIG_LARGE 4096u
#define PCI_MSIX_VECTORS_MAX 2048u /* 11 bits in the capability */
#define PCI_MSIX_ENTRY_BYTES 16u
#define PCI_RAMFB_BYTES 28u

struct pci_config_state {
    uint32_t size; /* of config: PCI_CONFIG_SMALL or _LARGE */
    uint8_t config[PCI_CONFIG_LARGE];
    uint32_t irq_state[4]; /* INTA to INTD, 0 or 1 */
    unsigned num_vectors;  /* as the config bytes say; 0: no MSI-X */
    uint8_t msix_table[PCI_MSIX_VECTORS_MAX * PCI_MSIX_ENTRY_BYTES];
    uint8_t msix_pending[PCI_MSIX_VECTORS_MAX / 8];
    bool has_ramfb;
    uint8_t ramfb[PCI_RAMFB_BYTES]; /* as the guest wrote it */
};

/* Walk the capability list: the number of MSI-X vectors, 0 without MSI-X. -EINVAL: the list leaves
 * the config space or does not end. */
int pci_config_msix_vectors(const uint8_t config[PCI_CONFIG_SMALL]);

/* Bytes of the body, without display. */
uint32_t pci_config_body_bytes(uint32_t config_bytes, unsigned num_vectors);

/* -EINVAL, nothing written: size, num_vectors not as the config bytes say, irq_state. */
int pci_config_write(struct writer *w, const struct pci_config_state *state,
                     struct vmig_error *err);

/* Read a body up to, but without, END_OF_STATE. @config_bytes: as the local device has it, or 0 to
 * find out from the stream. @ret is large: 37 KiB. */
int pci_config_read(struct reader *r, uint32_t config_bytes, struct pci_config_state *ret,
                    struct vmig_error *err);

#endif
