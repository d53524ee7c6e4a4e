/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The body of a VFIO device's config record: the PCI config space as the guest sees it, interrupt
 * lines, MSI-X table and pending bits, and the configuration of a ramfb display. Some lengths stand
 * nowhere in the stream: the number of MSI-X vectors follows from the capability list in the config
 * bytes, and whether those are 256 or 4,096 from what comes after them.
 */
#ifndef LIB_STREAM_CONFIG_H
#define LIB_STREAM_CONFIG_H

#include <vfio-migrate/pci.h>
#include "lib/stream/pci-space.h"
#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

#define PCI_VECTOR_BYTES 16u

/* Walk the capability list: the number of MSI-X vectors, 0 without MSI-X. -EINVAL: the list leaves
 * the config space or does not end. */
int pci_config_msix_vectors(const uint8_t config[PCI_CONFIG_SMALL]);

/* Bytes of the body, without display. */
uint32_t pci_config_body_bytes(uint32_t config_bytes, unsigned num_vectors);

/* What every PCI device has in QEMU's streams, a struct PCIDevice version 2: its version, config bytes,
 * interrupt lines. Reading leaves the rest of @ret alone; whoever reads asks @r for errors. */
void pci_device_write(struct writer *w, const struct vmig_pci_state *state);
void pci_device_read(struct reader *r, uint32_t config_bytes, struct vmig_pci_state *ret);

/* The MSI-X table and its pending bits, of @state->num_vectors. */
void pci_msix_write(struct writer *w, const struct vmig_pci_state *state);
void pci_msix_read(struct reader *r, struct vmig_pci_state *ret);

/* A ramfb's configuration, RAMFB_BYTES as the guest wrote them: big-endian. */
#define RAMFB_BYTES 28u
void ramfb_write(struct writer *w, const struct vmig_ramfb *ramfb);
void ramfb_read(struct reader *r, struct vmig_ramfb *ret);

/* -EINVAL, nothing written: config_bytes, num_vectors not as the config bytes say, irq_state. */
int pci_config_write(struct writer *w, const struct vmig_pci_state *state, struct vmig_error *err);

/* Read a body up to, but without, END_OF_STATE. @config_bytes: as the local device has it, or 0 to
 * find out from the stream. @ret is large: 37 KiB. */
int pci_config_read(struct reader *r, uint32_t config_bytes, struct vmig_pci_state *ret,
                    struct vmig_error *err);

#endif
