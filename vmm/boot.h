/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state in which a vCPU enters 64-bit code without any firmware: protection, paging with the first 4 GiB
 * where they are, flat segments, interrupts off. Linux's 64-bit boot protocol wants just that.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include "vmm/memory.h"
#include "vmm/vcpu.h"

/* What is where below 1 MiB. */
#define BOOT_GDT 0x6000
#define BOOT_TABLES 0x9000  /* six pages */
#define BOOT_PARAMS 0x10000 /* Linux's "zero page" */
#define BOOT_COMMAND_LINE 0x20000
#define BOOT_COMMAND_LINE_BYTES 4096
#define BOOT_ACPI 0xe0000
#define BOOT_ACPI_BYTES 0x10000

struct boot_entry {
    uint64_t ip, sp, rdi, rsi;
};

/* The tables that vCPUs begin with; once. */
void boot_make_tables(struct memory *memory);
int boot_enter(struct vcpu *vcpu, const struct boot_entry *entry, struct vmig_error *err);

#endif
