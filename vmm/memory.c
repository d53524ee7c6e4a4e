/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/memory.h"

#define HUGE_2M (21u << 26) /* MFD_HUGE_2MB, which not every libc has */

static void add_block(struct memory *memory, const char *name, uint64_t address,
                      uint64_t size_bytes, uint64_t offset)
{
    memory->blocks[memory->num_blocks++] = (struct vmig_ram_block) { .name = name,
                                                                     .iova = address,
                                                                     .size_bytes = size_bytes,
                                                                     .vaddr = memory->base + offset,
                                                                     .fd = memory->fd,
                                                                     .fd_offset = offset };
}

int memory_new(struct memory *memory, uint64_t size_bytes, bool huge_pages, struct vmig_error *err)
{
    unsigned huge = huge_pages ? MFD_HUGETLB | HUGE_2M : 0;
    *memory = (struct memory) { .fd = memfd_create("guest-memory", MFD_CLOEXEC | huge),
                                .size_bytes = size_bytes,
                                .written = calloc(size_bytes / PAGE_BYTES / 64, sizeof(uint64_t)) };
    if (!memory->written)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    if (memory->fd < 0 || ftruncate(memory->fd, (off_t)size_bytes))
        return vmm_fail(err, errno, NULL, "making %" PRIu64 " MiB of guest memory: %m",
                        size_bytes >> 20);
    void *base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
    if (base == MAP_FAILED && huge_pages)
        return vmm_fail(
            err, errno, NULL,
            "%" PRIu64 " MiB of guest memory are %" PRIu64
            " huge pages of 2 MiB, and so many are not free: %m; /sys/kernel/mm/hugepages/"
            "hugepages-2048kB/nr_hugepages sets how many there are",
            size_bytes >> 20, size_bytes >> 21);
    if (base == MAP_FAILED)
        return vmm_fail(err, errno, NULL, "mapping %" PRIu64 " MiB of guest memory: %m",
                        size_bytes >> 20);
    memory->base = base;
    uint64_t low = size_bytes < MEMORY_LOW_END ? size_bytes : MEMORY_LOW_END;
    add_block(memory, "ram.low", 0, low, 0);
    if (size_bytes > low)
        add_block(memory, "ram.high", MEMORY_HIGH_BASE, size_bytes - low, low);
    return 0;
}

void memory_done(struct memory *memory)
{
    if (memory->base)
        munmap(memory->base, memory->size_bytes);
    if (memory->fd >= 0)
        close(memory->fd);
    free(memory->written);
    *memory = (struct memory) { .fd = -1 };
}

int memory_map(struct memory *memory, struct kvm *kvm, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < memory->num_blocks; i++) {
        const struct vmig_ram_block *block = &memory->blocks[i];
        rc = kvm_map(kvm, block->iova, block->size_bytes, block->vaddr, &memory->slots[i], err);
    }
    return rc;
}

void *memory_at(const struct memory *memory, uint64_t address, uint64_t length_bytes)
{
    for (unsigned i = 0; i < memory->num_blocks; i++) {
        const struct vmig_ram_block *block = &memory->blocks[i];
        uint64_t offset = address - block->iova;
        if (address >= block->iova && offset <= block->size_bytes &&
            length_bytes <= block->size_bytes - offset)
            return (uint8_t *)block->vaddr + offset;
    }
    return NULL;
}

void *memory_low(const struct memory *memory, uint32_t address)
{
    return memory->base + address;
}

void memory_wrote(struct memory *memory, const void *at, uint64_t length_bytes)
{
    uint64_t offset = (uint64_t)((const uint8_t *)at - memory->base);
    for (uint64_t page = offset / PAGE_BYTES; page <= (offset + length_bytes - 1) / PAGE_BYTES;
         page++)
        __atomic_fetch_or(&memory->written[page / 64], UINT64_C(1) << page % 64, __ATOMIC_RELEASE);
}
