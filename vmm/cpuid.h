/* SPDX-License-Identifier: BSD-3-Clause */
/* What processors the guest sees: all that KVM supports here, in one package of single-threaded cores. */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include "vmm/vcpu.h"

#define CPUID_ENTRIES_MAX 256

struct cpuid_table {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/* Before the vCPUs run. */
int cpuid_set(struct vcpus *vcpus, struct vmig_error *err);

#endif
