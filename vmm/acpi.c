/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "vmm/acpi.h"
#include "vmm/layout.h"
#include "vmm/pci.h"
#include "vmm/vcpu.h"

#define SCI 9
#define PACKED __attribute__((packed))

static_assert(MMIO32_LAST == MMIO32_BASE + MMIO32_BYTES - 1 &&
                  MMIO64_LAST == MMIO64_BASE + MMIO64_BYTES - 1 &&
                  PCI_IO_LAST == PCI_IO_BASE + PCI_IO_BYTES - 1,
              "the windows are what dsdt.asl is told");

static_assert(PCI_SLOTS == 32, "dsdt.asl has a line for each slot but the bridge's");

/* The compiled dsdt.asl, as objcopy names it. */
extern const uint8_t _binary_dsdt_aml_start[], _binary_dsdt_aml_end[];

/* ---- as the guest reads them ---- */

struct PACKED header {
    char signature[4];
    uint32_t length_bytes;
    uint8_t revision, checksum;
    char oem[6], table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
};
#define HEADER(name, version)                                                                      \
    {                                                                                              \
        .signature = name, .revision = version, .oem = "VFIOMG", .table = "VFIO-VMM",              \
        .oem_revision = 1, .creator = "VMM ", .creator_revision = 1                                \
    }

struct PACKED generic_address {
    uint8_t space, bits, offset, unused;
    uint64_t address;
};
#define PORT(number, width)                                                                        \
    {                                                                                              \
        .space = 1, .bits = width, .address = number                                               \
    }

struct PACKED fadt { /* of ACPI 2.0; what this machine does not have is 0 */
    struct header header;
    uint32_t facs, dsdt;
    uint16_t profile, sci;
    uint32_t smi, modes, pm1a_event, pm1b_event, pm1a_control, pm1b_control, others[4];
    uint8_t pm1_event_bytes, pm1_control_bytes, more[19];
    uint16_t boot_flags;
    uint8_t unused;
    uint32_t flags;
    struct generic_address reset;
    uint8_t reset_value, unused2[3];
    uint64_t x_facs, x_dsdt;
    struct generic_address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_others[5];
};
static_assert(sizeof(struct fadt) == 244 && offsetof(struct fadt, boot_flags) == 109 &&
                  offsetof(struct fadt, x_pm1a_event) == 148,
              "as the specification has it");

struct PACKED madt {
    struct header header;
    uint32_t lapic_base, flags;
    struct PACKED {
        uint8_t type, length_bytes, id, unused;
        uint32_t base, first_line;
    } ioapic;
    struct PACKED {
        uint8_t type, length_bytes, bus, isa_line;
        uint32_t line;
        uint16_t flags;
    } timer;
    struct PACKED {
        uint8_t type, length_bytes, cpu, lapic;
        uint32_t flags;
    } cpus[VCPUS_MAX]; /* as many as there are: the table ends after the last */
};

struct PACKED mcfg {
    struct header header;
    uint64_t unused, base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t unused2;
};

struct PACKED xsdt {
    struct header header;
    uint64_t tables[3];
};

struct PACKED rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt, length_bytes;
    uint64_t xsdt;
    uint8_t x_checksum, unused[3];
};

/* ---- putting them there ---- */

static uint8_t missing_to_0(const void *bytes, size_t length_bytes)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < length_bytes; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    return (uint8_t)-sum;
}

/* Returns its address; @next is where it goes, and the next one after it. */
static uint32_t put(const struct memory *memory, uint32_t *next, const void *table, size_t bytes)
{
    uint32_t address = *next;
    struct header *header = memcpy(memory_low(memory, address), table, bytes);
    header->length_bytes = (uint32_t)bytes;
    header->checksum = 0;
    header->checksum = missing_to_0(header, bytes);
    *next = (uint32_t)(address + bytes + 15) & ~15u;
    return address;
}

static uint32_t put_fadt(const struct memory *memory, uint32_t *next, uint32_t dsdt)
{
    struct fadt fadt = {
        .header = HEADER("FACP", 3),
        .dsdt = dsdt,
        .sci = SCI,
        .pm1a_event = POWER_PM1_EVENT,
        .pm1a_control = POWER_PM1_CONTROL,
        .pm1_event_bytes = 4,
        .pm1_control_bytes = 2,
        .boot_flags = 0x25, /* ISA devices; neither VGA nor a clock that keeps the date */
        .flags = 0x435,     /* WBINVD, C1, no power or sleep button here, a reset register */
        .reset = PORT(POWER_RESET, 8),
        .reset_value = POWER_RESET_VALUE,
        .x_dsdt = dsdt,
        .x_pm1a_event = PORT(POWER_PM1_EVENT, 32),
        .x_pm1a_control = PORT(POWER_PM1_CONTROL, 16)
    };
    return put(memory, next, &fadt, sizeof(fadt));
}

static uint32_t put_madt(const struct memory *memory, uint32_t *next, unsigned cpus)
{
    struct madt madt = { .header = HEADER("APIC", 1),
                         .lapic_base = LAPIC_BASE,
                         .flags = 1, /* PICs are there, too */
                         .ioapic = { .type = 1, .length_bytes = 12, .base = IOAPIC_BASE },
                         /* ISA's line 0 is line 2 here, as on every PC */
                         .timer = { .type = 2, .length_bytes = 10, .line = 2 } };
    for (unsigned i = 0; i < cpus; i++) {
        madt.cpus[i].length_bytes = sizeof(madt.cpus[i]);
        madt.cpus[i].cpu = madt.cpus[i].lapic = (uint8_t)i;
        madt.cpus[i].flags = 1; /* it may be used */
    }
    return put(memory, next, &madt, offsetof(struct madt, cpus) + cpus * sizeof(madt.cpus[0]));
}

void acpi_make(struct memory *memory, unsigned cpus)
{
    uint32_t next = BOOT_ACPI + 64;
    const struct mcfg mcfg = { .header = HEADER("MCFG", 1), .base = ECAM_BASE };
    struct xsdt xsdt = { .header = HEADER("XSDT", 1) };
    size_t dsdt_bytes = (size_t)(_binary_dsdt_aml_end - _binary_dsdt_aml_start);
    uint32_t dsdt = put(memory, &next, _binary_dsdt_aml_start, dsdt_bytes);
    xsdt.tables[0] = put_fadt(memory, &next, dsdt);
    xsdt.tables[1] = put_madt(memory, &next, cpus);
    xsdt.tables[2] = put(memory, &next, &mcfg, sizeof(mcfg));
    struct rsdp root = { .signature = "RSD PTR ",
                         .oem = "VFIOMG",
                         .revision = 2,
                         .length_bytes = sizeof(root),
                         .xsdt = put(memory, &next, &xsdt, sizeof(xsdt)) };
    root.checksum = missing_to_0(&root, offsetof(struct rsdp, length_bytes));
    root.x_checksum = missing_to_0(&root, sizeof(root));
    memcpy(memory_low(memory, BOOT_ACPI), &root, sizeof(root));
}
