/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory. One memfd is behind all of it, so that a vfio-user device's server can map it, too.
 */
#ifndef VMM_MEMORY_H
#define VMM_MEMORY_H

#include <stdbool.h>
#include <vfio-migrate/migration.h>

#include "vmm/kvm.h"
#include "vmm/layout.h"

#define MEMORY_MIN (UINT64_C(16) << 20)
#define MEMORY_MAX (UINT64_C(16) << 30)

struct memory {
    int fd;
    uint8_t *base;
    uint64_t size_bytes;
    unsigned num_blocks; /* 1, or 2 when some of it is above 4 GiB */
    struct vmig_ram_block blocks[2];
    unsigned slots[2]; /* KVM's, of each */
    uint64_t *written; /* a bit for each page that the VMM itself wrote; dirty.c takes them */
};

/* @size_bytes: a multiple of 2 MiB between MEMORY_MIN and MEMORY_MAX. */
int memory_new(struct memory *memory, uint64_t size_bytes, bool huge_pages, struct vmig_error *err);
void memory_done(struct memory *memory);
/* Show it to the guest. */
int memory_map(struct memory *memory, struct kvm *kvm, struct vmig_error *err);

/* Where guest memory [address, address + length) is; NULL: not all of it is memory. */
void *memory_at(const struct memory *memory, uint64_t address, uint64_t length_bytes);
/* The same for what the VMM itself places below 1 MiB, which is always there. */
void *memory_low(const struct memory *memory, uint32_t address);
/* The VMM itself wrote @length_bytes, not 0, of memory that the guest has, which no log of KVM tells. */
void memory_wrote(struct memory *memory, const void *at, uint64_t length_bytes);

#endif
