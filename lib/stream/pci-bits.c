/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "lib/stream/pci-bits.h"

#define EXTENDED 0x10000u /* an id of the list that begins at 256 */
#define HEADER 0x20000u   /* what every function has */
#define ENDPOINT 0x20001u /* and what one has that is no bridge */

#define ALL 0xffffffffu
#define HIGH(bits) ((uint32_t)(bits) << 16) /* the second register of a dword */

/* A dword of a capability. With a condition: it is there when these bits of the capability's first
 * dword are so. Rows that are missing are neither checked nor written. */
static const struct bits_row {
    uint32_t id;
    uint8_t at, phase;
    uint32_t checked, writable, clears;
    uint32_t when_mask, when_value;
} rows[] = {
    { HEADER, PCI_VENDOR_ID, 0, ALL, 0, 0, 0, 0 },
    { HEADER, PCI_COMMAND, PCI_PHASE_COMMAND, HIGH(PCI_STATUS_CAP_LIST), 0x0557, HIGH(0xf900), 0,
      0 },
    { HEADER, PCI_REVISION_ID, 0, ALL, 0, 0, 0, 0 }, /* and class */
    /* Whether its neighbours are functions of one device is the slot's: bit 7 of the header type. */
    { HEADER, PCI_CACHE_LINE_SIZE, 0, HIGH(0x7f), 0x0000ffff, 0, 0, 0 },
    { HEADER, PCI_CAPABILITY_LIST, 0, 0xff, 0, 0, 0, 0 },
    { HEADER, PCI_INTERRUPT_LINE, 0, 0, 0xff, 0, 0, 0 }, /* the pin is the platform's */
    { ENDPOINT, PCI_SUBSYSTEM_VENDOR_ID, 0, ALL, 0, 0, 0, 0 },
    { ENDPOINT, PCI_ROM_ADDRESS, 0, 0, (uint32_t)~0x7feu, 0, 0, 0 },

    { PCI_CAP_ID_PM, 0, 0, HIGH(0x07ef), 0, 0, 0, 0 }, /* version, what it can */
    { PCI_CAP_ID_PM, PCI_PM_CTRL, PCI_PHASE_LAST, PCI_PM_CTRL_NO_SOFT_RESET, 0x0103, 0x8000, 0, 0 },

    { PCI_CAP_ID_MSI, 0, PCI_PHASE_LAST, HIGH(0x018e), HIGH(0x0071), 0, 0, 0 },
    { PCI_CAP_ID_MSI, 4, 0, 0, ALL & ~3u, 0, 0, 0 },
    /* 64-bit addresses move what follows; with masks, one more dword is there */
    { PCI_CAP_ID_MSI, 8, 0, 0, 0xffff, 0, HIGH(PCI_MSI_FLAGS_64BIT), 0 },
    { PCI_CAP_ID_MSI, 8, 0, 0, ALL, 0, HIGH(PCI_MSI_FLAGS_64BIT), HIGH(PCI_MSI_FLAGS_64BIT) },
    { PCI_CAP_ID_MSI, 12, 0, 0, 0xffff, 0, HIGH(PCI_MSI_FLAGS_64BIT), HIGH(PCI_MSI_FLAGS_64BIT) },
    { PCI_CAP_ID_MSI, 12, 0, 0, ALL, 0, HIGH(0x0180), HIGH(PCI_MSI_FLAGS_MASKBIT) },
    { PCI_CAP_ID_MSI, 16, 0, 0, ALL, 0, HIGH(0x0180), HIGH(0x0180) },

    { PCI_CAP_ID_MSIX, 0, PCI_PHASE_LAST, HIGH(PCI_MSIX_FLAGS_QSIZE), HIGH(0xc000), 0, 0, 0 },
    { PCI_CAP_ID_MSIX, PCI_MSIX_TABLE, 0, ALL, 0, 0, 0, 0 },
    { PCI_CAP_ID_MSIX, PCI_MSIX_PBA, 0, ALL, 0, 0, 0, 0 },

    { PCI_CAP_ID_EXP, 0, 0, HIGH(0x00ff), 0, 0, 0, 0 },            /* version, kind of port */
    { PCI_CAP_ID_EXP, PCI_EXP_DEVCAP, 0, 0xf003ffff, 0, 0, 0, 0 }, /* without the slot's power */
    /* never bit 15, which resets the function */
    { PCI_CAP_ID_EXP, PCI_EXP_DEVCTL, 0, 0, 0x7fff, HIGH(0x000f), 0, 0 },
    { PCI_CAP_ID_EXP, PCI_EXP_LNKCTL, 0, 0, 0x0003, HIGH(0xc000), 0, 0 },
    { PCI_CAP_ID_EXP, PCI_EXP_DEVCTL2, 0, 0, 0x671f, 0, HIGH(0x000e), HIGH(0x0002) },

    { EXTENDED | PCI_EXT_CAP_ID_ERR, PCI_ERR_UNCOR_MASK, 0, 0, ALL, 0, 0, 0 },
    { EXTENDED | PCI_EXT_CAP_ID_ERR, PCI_ERR_UNCOR_SEVER, 0, 0, ALL, 0, 0, 0 },
    { EXTENDED | PCI_EXT_CAP_ID_ERR, PCI_ERR_COR_MASK, 0, 0, ALL, 0, 0, 0 },
    { EXTENDED | PCI_EXT_CAP_ID_ERR, PCI_ERR_CAP, 0, 0, 0x0140, 0, 0, 0 },
    { EXTENDED | PCI_EXT_CAP_ID_LTR, PCI_LTR_MAX_SNOOP_LAT, 0, 0, 0x1fff1fff, 0, 0, 0 },
    { EXTENDED | PCI_EXT_CAP_ID_VNDR, 4, 0, ALL, 0, 0, 0, 0 }, /* whose, version, length */
};

/* ---- filling the table for one device ---- */

static void set_dword(struct pci_bits *bits, unsigned at, uint32_t checked, uint32_t writable,
                      uint32_t clears)
{
    pci_put32(bits->checked + at, pci_get32(bits->checked + at) | checked);
    pci_put32(bits->writable + at, writable);
    pci_put32(bits->clears + at, clears);
}

/* @id begins at @begin; nothing of it is at @end or beyond. */
static void add_rows(struct pci_bits *bits, const uint8_t *config, uint32_t id, unsigned begin,
                     unsigned end)
{
    uint32_t first = pci_get32(config + begin);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct bits_row *row = &rows[i];
        if (row->id != id || (first & row->when_mask) != row->when_value ||
            begin + row->at + 4 > end)
            continue;
        set_dword(bits, begin + row->at, row->checked, row->writable, row->clears);
        bits->phase[(begin + row->at) / 4] = row->phase;
    }
    for (unsigned at = begin; at + 4 <= end; at += 4)
        bits->capability[at / 4] = (uint16_t)begin;
}

/* Kind and width must agree; the address is the driver's. */
static void add_bars(struct pci_bits *bits, const uint8_t *config)
{
    for (unsigned at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) {
        uint32_t value = pci_get32(config + at);
        bool io = value & PCI_BASE_ADDRESS_SPACE_IO;
        uint32_t kind =
            io ? (uint32_t)~PCI_BASE_ADDRESS_IO_MASK : (uint32_t)~PCI_BASE_ADDRESS_MEM_MASK;
        set_dword(bits, at, kind, ~kind, 0);
        if (!io && (value & PCI_BASE_ADDRESS_MEM_TYPE_64) && at < PCI_BASE_ADDRESS_5) {
            at += 4;
            set_dword(bits, at, 0, ALL, 0);
        }
    }
}

static void add_header(struct pci_bits *bits, const uint8_t *config)
{
    add_rows(bits, config, HEADER, 0, PCI_STD_HEADER_SIZEOF);
    if ((config[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) != PCI_HEADER_TYPE_NORMAL)
        return;
    add_rows(bits, config, ENDPOINT, 0, PCI_STD_HEADER_SIZEOF);
    add_bars(bits, config);
}

/* Its length is in its third byte. */
static void add_vendor(struct pci_bits *bits, const uint8_t *config, unsigned begin, unsigned end,
                       bool ignore)
{
    unsigned length = config[begin + PCI_CAP_FLAGS];
    bits->checked[begin + PCI_CAP_FLAGS] = 0xff;
    for (unsigned i = PCI_CAP_FLAGS + 1; !ignore && i < length && begin + i < end; i++)
        bits->checked[begin + i] = 0xff;
}

/* Where the next capability begins, whichever that is in the list. */
static unsigned end_of(const uint16_t *list, unsigned count, unsigned begin, unsigned end)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] > begin && list[i] < end)
            end = list[i];
    return end;
}

static int add_capabilities(struct pci_bits *bits, const uint8_t *config, bool ignore_vendor)
{
    uint8_t places[PCI_CAPABILITIES_MAX];
    uint16_t list[PCI_CAPABILITIES_MAX];
    int count = pci_capabilities(config, places);
    for (int i = 0; i < count; i++)
        list[i] = places[i];
    for (int i = 0; i < count; i++) {
        unsigned begin = list[i], end = end_of(list, (unsigned)count, begin, PCI_CONFIG_SMALL);
        bits->checked[begin + PCI_CAP_LIST_ID] = bits->checked[begin + PCI_CAP_LIST_NEXT] = 0xff;
        add_rows(bits, config, config[begin + PCI_CAP_LIST_ID], begin, end);
        if (config[begin + PCI_CAP_LIST_ID] == PCI_CAP_ID_VNDR)
            add_vendor(bits, config, begin, end, ignore_vendor);
    }
    return count < 0 ? count : 0;
}

#define EXTENDED_MAX ((PCI_CONFIG_LARGE - PCI_CONFIG_SMALL) / 4)

/* A link that leads nowhere ends the list; nothing behind it is looked at. */
static void add_extended(struct pci_bits *bits, const uint8_t *config)
{
    uint16_t list[EXTENDED_MAX];
    unsigned count = 0;
    for (unsigned at = PCI_CONFIG_SMALL; at >= PCI_CONFIG_SMALL && count < EXTENDED_MAX;) {
        uint32_t header = pci_get32(config + at);
        if (header == 0 || header == ALL)
            break;
        list[count++] = (uint16_t)at;
        at = PCI_EXT_CAP_NEXT(header);
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned begin = list[i], end = end_of(list, count, begin, PCI_CONFIG_LARGE);
        set_dword(bits, begin, ALL, 0, 0);
        add_rows(bits, config, EXTENDED | PCI_EXT_CAP_ID(pci_get32(config + begin)), begin, end);
    }
}

int pci_bits_of(const uint8_t *config, uint32_t config_bytes, bool ignore_vendor,
                struct pci_bits *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->config_bytes = config_bytes;
    add_header(ret, config);
    int rc = add_capabilities(ret, config, ignore_vendor);
    if (rc == 0 && config_bytes == PCI_CONFIG_LARGE)
        add_extended(ret, config);
    return rc;
}

/* ---- using it ---- */

int pci_bits_differ(const struct pci_bits *bits, const uint8_t *ours, const uint8_t *theirs)
{
    for (unsigned i = 0; i < bits->config_bytes; i++)
        if ((ours[i] ^ theirs[i]) & bits->checked[i] & ~bits->writable[i] & ~bits->clears[i])
            return (int)i;
    return -1;
}

static bool same_capability(const struct pci_bits *bits, const uint8_t *ours, const uint8_t *theirs,
                            unsigned at)
{
    unsigned begin = bits->capability[at / 4];
    return begin == 0 ||
           (begin < PCI_CONFIG_SMALL ? ours[begin] == theirs[begin]
                                     : pci_get16(ours + begin) == pci_get16(theirs + begin));
}

bool pci_bits_write(const struct pci_bits *bits, const uint8_t *ours, const uint8_t *theirs,
                    unsigned at, struct pci_write *ret)
{
    uint32_t writable = pci_get32(bits->writable + at), clears = pci_get32(bits->clears + at);
    uint32_t old = pci_get32(ours + at), new = pci_get32(theirs + at);
    if (!((old ^ new) & writable) || !same_capability(bits, ours, theirs, at))
        return false;
    uint8_t bytes[4];
    pci_put32(bytes, (old & ~writable & ~clears) | (new &writable));
    bool low = writable & 0xffff, high = writable >> 16;
    *ret = (struct pci_write) { .offset = (uint16_t)(low ? at : at + 2),
                                .length_bytes = low && high ? 4 : 2 };
    memcpy(ret->bytes, bytes + (low ? 0 : 2), ret->length_bytes);
    return true;
}
