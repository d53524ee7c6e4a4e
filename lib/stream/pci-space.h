/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding one's way in a PCI config space: registers are little-endian, capabilities a linked list. */
#ifndef LIB_STREAM_PCI_SPACE_H
#define LIB_STREAM_PCI_SPACE_H

#include <linux/pci_regs.h>
#include <stdint.h>

#define PCI_CONFIG_SMALL 256u
#define PCI_CONFIG_LARGE 4096u
/* Capabilities are 4-byte aligned after the 64-byte header; a longer list goes in circles. */
#define PCI_CAPABILITIES_MAX ((PCI_CONFIG_SMALL - PCI_STD_HEADER_SIZEOF) / 4)

static inline unsigned pci_get16(const uint8_t *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

static inline uint32_t pci_get32(const uint8_t *at)
{
    return pci_get16(at) | (uint32_t)pci_get16(at + 2) << 16;
}

static inline void pci_put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* Where the capabilities of the first 256 bytes begin, in the order of the list; how many, or -EINVAL:
 * it leaves the config space or does not end. */
int pci_capabilities(const uint8_t *config, uint8_t ret[PCI_CAPABILITIES_MAX]);
/* Where the first of @id begins; 0: there is none, or the list is broken. */
unsigned pci_find_capability(const uint8_t *config, uint8_t id);

#endif
