/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/fw-cfg.h"
#include "vmm/pci.h"
#include "vmm/power.h"

#define HEADER_BYTES 36
#define SCI 9
#define RSDP_BYTES 36
#define BYTE_PREFIX 0x0a
#define DWORD_PREFIX 0x0c
#define WORD_PREFIX 0x0b

/* ---- bytes, and the few words of AML that describe devices ---- */

struct aml {
    uint8_t *bytes; /* room for what is put there is the caller's to know: all of it is constant */
    unsigned used;
};

static void aml_put(struct aml *aml, uint64_t value, unsigned length_bytes)
{
    for (unsigned i = 0; i < length_bytes; i++)
        aml->bytes[aml->used++] = (uint8_t)(value >> 8 * i);
}

static void aml_text(struct aml *aml, const char *text)
{
    while (*text)
        aml_put(aml, (uint8_t)*text++, 1);
}

/* An object with a length of its own, below 4,096: begin returns what end wants. The length counts itself, in its form
 * of two bytes. */
static unsigned aml_begin(struct aml *aml, const char *opcode)
{
    aml_text(aml, opcode);
    unsigned begun = aml->used;
    aml_put(aml, 0, 2);
    return begun;
}

static void aml_end(struct aml *aml, unsigned begun)
{
    unsigned length = aml->used - begun;
    aml->bytes[begun] = (uint8_t)(0x40 | (length & 15));
    aml->bytes[begun + 1] = (uint8_t)(length >> 4);
}

/* Name (@name, ...): the value follows. */
static void aml_name(struct aml *aml, const char *name)
{
    aml_put(aml, 0x08, 1);
    aml_text(aml, name);
}

static void aml_integer(struct aml *aml, uint32_t value)
{
    unsigned bytes = value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;
    aml_put(aml, bytes == 1 ? BYTE_PREFIX : bytes == 2 ? WORD_PREFIX : DWORD_PREFIX, 1);
    aml_put(aml, value, bytes);
}

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

/* "PNP0A08" as a number of 32 bits: three letters of five bits, four digits of four, the highest byte first. */
static void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 3; i++)
        value = value << 5 | ((unsigned)id[i] & 31);
    for (unsigned i = 3; i < 7; i++)
        value = value << 4 | hex_digit(id[i]);
    aml_put(aml, DWORD_PREFIX, 1);
    aml_put(aml, __builtin_bswap32(value), 4);
}

/* A resource template is a buffer: its length as an object, then as a number, then its bytes. */
static unsigned aml_begin_resources(struct aml *aml)
{
    unsigned begun = aml_begin(aml, "\x11");
    aml_put(aml, WORD_PREFIX, 1);
    aml_put(aml, 0, 2);
    return begun;
}

static void aml_end_resources(struct aml *aml, unsigned begun)
{
    aml_put(aml, 0x0079, 2); /* end, no checksum */
    unsigned bytes = aml->used - begun - 5;
    aml->bytes[begun + 3] = (uint8_t)bytes;
    aml->bytes[begun + 4] = (uint8_t)(bytes >> 8);
    aml_end(aml, begun);
}

enum aml_range { AML_MEMORY, AML_IO, AML_BUS };
/* @unit: bytes of an address, 2, 4 or 8. Address space descriptor: kind, length, range, flags (both ends fixed), and
 * five numbers. */
static void aml_window(struct aml *aml, enum aml_range range, unsigned unit, uint64_t first,
                       uint64_t end)
{
    static const uint8_t of_range[] = { 0x01 /* read and write */, 0x03 /* all of ISA */, 0 };
    aml_put(aml, unit == 2 ? 0x88 : unit == 4 ? 0x87 : 0x8a, 1);
    aml_put(aml, 3 + 5 * unit, 2);
    aml_put(aml, range, 1);
    aml_put(aml, 0x0c, 1);
    aml_put(aml, of_range[range], 1);
    aml_put(aml, 0, unit);
    aml_put(aml, first, unit);
    aml_put(aml, end - 1, unit);
    aml_put(aml, 0, unit);
    aml_put(aml, end - first, unit);
}

/* I/O ports that are nobody else's. */
static void aml_ports(struct aml *aml, uint16_t first, uint8_t count)
{
    aml_put(aml, 0x0147, 2); /* all 16 bits of an address count */
    aml_put(aml, first, 2);
    aml_put(aml, first, 2);
    aml_put(aml, 1, 1);
    aml_put(aml, count, 1);
}

static unsigned begin_device(struct aml *aml, const char *name)
{
    unsigned begun = aml_begin(aml, "\x5b\x82");
    aml_text(aml, name);
    aml_name(aml, "_HID");
    return begun;
}

/* ---- tables ---- */

static void set_checksum(uint8_t *bytes, unsigned length, unsigned at)
{
    uint8_t sum = 0;
    bytes[at] = 0;
    for (unsigned i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes[i]);
    bytes[at] = (uint8_t)-sum;
}

/* A table begins where the last one ended; returns where. */
static unsigned begin_table(struct aml *a, const char *signature, uint8_t revision)
{
    a->used = (a->used + 15) & ~15u;
    unsigned at = a->used;
    aml_text(a, signature);
    aml_put(a, 0, 4); /* length */
    aml_put(a, revision, 1);
    aml_put(a, 0, 1); /* checksum */
    aml_text(a, "VFIOMGVFIO-VMM");
    aml_put(a, 1, 4);
    aml_text(a, "VMM ");
    aml_put(a, 1, 4);
    return at;
}

static void end_table(struct aml *a, unsigned at)
{
    uint32_t length = a->used - at;
    memcpy(a->bytes + at + 4, &length, sizeof(length));
    set_checksum(a->bytes + at, length, 9);
}

static void put_generic_address(struct aml *a, uint16_t port, unsigned bits)
{
    aml_put(a, 1, 1); /* an I/O port */
    aml_put(a, bits, 1);
    aml_put(a, 0, 1);
    aml_put(a, bits / 8, 1);
    aml_put(a, port, 8);
}

/* INTA of each slot; the others are not wired. */
static void put_lines(struct aml *a)
{
    aml_name(a, "_PRT");
    unsigned lines = aml_begin(a, "\x12");
    aml_put(a, PCI_SLOTS - 1, 1);
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        unsigned line = aml_begin(a, "\x12");
        aml_put(a, 4, 1);
        aml_integer(a, slot << 16 | 0xffff);
        aml_integer(a, 0); /* INTA */
        aml_integer(a, 0); /* no link device: */
        aml_integer(a, pci_line(slot));
        aml_end(a, line);
    }
    aml_end(a, lines);
}

static void put_host_bridge(struct aml *a)
{
    unsigned device = begin_device(a, "PCI0");
    aml_eisa_id(a, "PNP0A08");
    aml_name(a, "_CID");
    aml_eisa_id(a, "PNP0A03");
    aml_name(a, "_CRS");
    unsigned resources = aml_begin_resources(a);
    aml_window(a, AML_BUS, 2, 0, 1);
    aml_window(a, AML_IO, 2, PCI_IO_BASE, PCI_IO_END);
    aml_window(a, AML_MEMORY, 4, MMIO32_BASE, MMIO32_END);
    aml_window(a, AML_MEMORY, 8, MMIO64_BASE, MMIO64_END);
    aml_end_resources(a, resources);
    put_lines(a);
    aml_end(a, device);
}

/* Who owns ECAM: Linux uses it only where somebody says so. */
static void put_ecam(struct aml *a)
{
    unsigned device = begin_device(a, "ECAM");
    aml_eisa_id(a, "PNP0C02");
    aml_name(a, "_CRS");
    unsigned resources = aml_begin_resources(a);
    aml_window(a, AML_MEMORY, 4, ECAM_BASE, ECAM_BASE + ECAM_BYTES);
    aml_end_resources(a, resources);
    aml_end(a, device);
}

static void put_fw_cfg(struct aml *a)
{
    unsigned device = begin_device(a, "FWCF");
    aml_text(a, "\x0dQEMU0002");
    aml_put(a, 0, 1);
    aml_name(a, "_STA");
    aml_integer(a, 0x0b); /* there, on, works; not for people to see */
    aml_name(a, "_CRS");
    unsigned resources = aml_begin_resources(a);
    aml_ports(a, FW_CFG_PORT, FW_CFG_PORT_COUNT);
    aml_end_resources(a, resources);
    aml_end(a, device);
}

static unsigned make_dsdt(struct aml *a)
{
    unsigned at = begin_table(a, "DSDT", 2);
    unsigned scope = aml_begin(a, "\x10");
    aml_text(a, "\\_SB_");
    put_host_bridge(a);
    put_ecam(a);
    put_fw_cfg(a);
    aml_end(a, scope);
    aml_name(a, "\\_S5_");
    unsigned sleep = aml_begin(a, "\x12");
    aml_put(a, 2, 1);
    aml_integer(a, POWER_S5);
    aml_integer(a, POWER_S5);
    aml_end(a, sleep);
    end_table(a, at);
    return at;
}

static unsigned make_fadt(struct aml *a, unsigned dsdt)
{
    unsigned at = begin_table(a, "FACP", 3);
    memset(a->bytes + a->used, 0, 244 - HEADER_BYTES);
    struct aml f = { a->bytes + at, 40 };
    aml_put(&f, BOOT_ACPI + dsdt, 4);
    f.used = 46;
    aml_put(&f, SCI, 2);
    f.used = 56;
    aml_put(&f, POWER_PM1_EVENT, 4);
    f.used = 64;
    aml_put(&f, POWER_PM1_CONTROL, 4);
    f.used = 88;
    aml_put(&f, 4, 1);
    aml_put(&f, 2, 1);
    f.used = 109;
    aml_put(&f, 0x25, 2); /* ISA devices; neither VGA nor a clock that keeps the date */
    f.used = 112;
    aml_put(&f, 0x435, 4); /* WBINVD, C1, no power or sleep button here, a reset register */
    put_generic_address(&f, POWER_RESET, 8);
    aml_put(&f, POWER_RESET_VALUE, 1);
    f.used = 140;
    aml_put(&f, BOOT_ACPI + dsdt, 8);
    put_generic_address(&f, POWER_PM1_EVENT, 32);
    f.used = 172;
    put_generic_address(&f, POWER_PM1_CONTROL, 16);
    a->used = at + 244;
    end_table(a, at);
    return at;
}

static unsigned make_madt(struct aml *a, unsigned cpus)
{
    unsigned at = begin_table(a, "APIC", 1);
    aml_put(a, LAPIC_BASE, 4);
    aml_put(a, 1, 4); /* PICs are there, too */
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        aml_put(a, 0x0800u | (uint64_t)cpu << 16 | (uint64_t)cpu << 24 | 1ull << 32,
                8); /* type 0 */
    aml_put(a, 0x0c01, 4);
    aml_put(a, IOAPIC_BASE, 8); /* its first line is 0 */
    aml_put(a, 0x0a02, 4);      /* ISA's line 0 */
    aml_put(a, 2, 6);           /* is line 2 here, as on every PC */
    end_table(a, at);
    return at;
}

static unsigned make_mcfg(struct aml *a)
{
    unsigned at = begin_table(a, "MCFG", 1);
    aml_put(a, 0, 8);
    aml_put(a, ECAM_BASE, 8);
    aml_put(a, 0, 8); /* segment 0, bus 0 to 0 */
    end_table(a, at);
    return at;
}

void acpi_make(struct memory *memory, unsigned cpus)
{
    struct aml a = { memory_low(memory, BOOT_ACPI), RSDP_BYTES };
    unsigned tables[3];
    tables[0] = make_fadt(&a, make_dsdt(&a));
    tables[1] = make_madt(&a, cpus);
    tables[2] = make_mcfg(&a);
    unsigned xsdt = begin_table(&a, "XSDT", 1);
    for (unsigned i = 0; i < 3; i++)
        aml_put(&a, BOOT_ACPI + tables[i], 8);
    end_table(&a, xsdt);
    struct aml root = { a.bytes, 0 };
    aml_text(&root, "RSD PTR ");
    aml_put(&root, 0, 1);
    aml_text(&root, "VFIOMG");
    aml_put(&root, 2, 1);
    aml_put(&root, 0, 4);
    aml_put(&root, RSDP_BYTES, 4);
    aml_put(&root, BOOT_ACPI + xsdt, 8);
    aml_put(&root, 0, 4);
    set_checksum(a.bytes, 20, 8);
    set_checksum(a.bytes, RSDP_BYTES, 32);
}
