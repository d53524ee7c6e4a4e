/* SPDX-License-Identifier: BSD-3-Clause */

#include "vmm/cpuid.h"

#define FEATURES 1u
#define TOPOLOGY 0xbu
#define AMD_ADDRESSES 0x80000008u
#define AMD_TOPOLOGY 0x8000001eu

static unsigned bits_for(unsigned count)
{
    unsigned bits = 0;
    while (1u << bits < count)
        bits++;
    return bits;
}

/* The LAPIC's deadline timer stays switched off: KVM in a software-emulated machine offers it, and it never
 * comes. */
static void number_entry(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned count)
{
    switch (entry->function) {
    case FEATURES:
        entry->ebx = (entry->ebx & 0xffff) | count << 16 | index << 24;
        entry->ecx = (entry->ecx & ~(1u << 24)) | 1u << 31; /* a hypervisor is there */
        entry->edx = count > 1 ? entry->edx | 1u << 28 : entry->edx & ~(1u << 28);
        break;
    case TOPOLOGY: /* subleaf 0: threads of a core, 1: cores of the package */
        entry->eax = entry->index == 1 ? bits_for(count) : 0;
        entry->ebx = entry->index == 1 ? count : entry->index == 0;
        entry->ecx = entry->index | (entry->index < 2 ? (entry->index + 1) << 8 : 0);
        entry->edx = index;
        break;
    case AMD_ADDRESSES:
        entry->ecx = (entry->ecx & ~0xf0ffu) | bits_for(count) << 12 | (count - 1);
        break;
    case AMD_TOPOLOGY:
        entry->eax = index;
        entry->ebx = index;
        entry->ecx = 0;
        break;
    default:
        break;
    }
}

int cpuid_of_host(struct kvm *kvm, struct cpuid_table *ret, struct vmig_error *err)
{
    ret->head.nent = CPUID_ENTRIES_MAX;
    int rc =
        kvm_ask(kvm->fd, KVM_GET_SUPPORTED_CPUID, ret, "asking for the processor's features", err);
    return rc < 0 ? rc : 0;
}

int cpuid_show(struct vcpus *vcpus, struct cpuid_table *table, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc >= 0 && i < vcpus->count; i++) {
        for (unsigned n = 0; n < table->head.nent; n++)
            number_entry(&table->entries[n], i, vcpus->count);
        rc = kvm_ask(vcpus->list[i].fd, KVM_SET_CPUID2, table, "setting the processor's features",
                     err);
    }
    return rc < 0 ? rc : 0;
}
