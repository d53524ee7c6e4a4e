/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state in which a vCPU enters 64-bit code without any firmware: protection, paging with the first 4 GiB
 * where they are, flat segments, interrupts off. Linux's 64-bit boot protocol wants just that.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include "vmm/memory.h"
#include "vmm/vcpu.h"

struct boot_entry {
    uint64_t ip, sp, rdi, rsi;
};

/* The tables that vCPUs begin with; once. */
void boot_make_tables(struct memory *memory);
int boot_enter(struct vcpu *vcpu, const struct boot_entry *entry, struct vmig_error *err);

#endif
