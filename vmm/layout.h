/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is where for the guest. Nothing but names of numbers: the ACPI compiler reads this file, too.
 *
 *   0             memory, up to 3 GiB
 *   3 GiB         window for 32-bit BARs
 *   3.5 GiB       ECAM: config space of PCI bus 0
 *   near 4 GiB    IOAPIC, LAPIC, and what KVM wants for itself
 *   4 GiB         the rest of memory
 *   32 GiB        window for 64-bit BARs
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

#define MEMORY_LOW_END 0xc0000000
#define ECAM_BASE 0xe0000000
#define ECAM_BYTES 0x100000 /* one bus */
#define IOAPIC_BASE 0xfec00000
#define LAPIC_BASE 0xfee00000
#define MEMORY_HIGH_BASE 0x100000000

/* Windows for BARs. The ACPI compiler does not calculate a resource, so it is told the last address, too. */
#define MMIO32_BASE 0xc0000000
#define MMIO32_BYTES 0x20000000
#define MMIO32_LAST 0xdfffffff
#define MMIO64_BASE 0x800000000
#define MMIO64_BYTES 0x800000000
#define MMIO64_LAST 0xfffffffff
#define PCI_IO_BASE 0xc000 /* ports */
#define PCI_IO_BYTES 0x4000
#define PCI_IO_LAST 0xffff

/* Below 1 MiB: what a guest finds when it starts. */
#define BOOT_GDT 0x6000
#define BOOT_TABLES 0x9000  /* six pages */
#define BOOT_PARAMS 0x10000 /* Linux's "zero page" */
#define BOOT_COMMAND_LINE 0x20000
#define BOOT_COMMAND_LINE_BYTES 4096
#define BOOT_ACPI 0xe0000
#define BOOT_ACPI_BYTES 0x10000

/* I/O ports. */
#define SERIAL_PORT 0x3f8
#define FW_CFG_PORT 0x510 /* selector, data; from 0x514 the address of a request */
#define FW_CFG_PORT_COUNT 12
#define POWER_PM1_EVENT 0x600   /* 4 bytes: status, enable */
#define POWER_PM1_CONTROL 0x604 /* 2 bytes */
#define POWER_S5 5              /* sleep type "off" */
#define POWER_RESET 0xcf9
#define POWER_RESET_VALUE 6

/* Interrupt lines: INTA of each PCI slot is one of eight of the IOAPIC that nobody else has. */
#define SERIAL_IRQ 4
#define PCI_LINE(slot) (16 + (slot) % 8)

#endif
