/* SPDX-License-Identifier: BSD-3-Clause */
/* What processors the guest sees: all that KVM supports here, in one package of single-threaded cores. */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include <assert.h>
#include <stddef.h>

#include "vmm/vcpu.h"

#define CPUID_ENTRIES_MAX 256

/* A struct kvm_cpuid2 with room. */
struct cpuid_table {
    uint32_t count, reserved;
    struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};
static_assert(offsetof(struct cpuid_table, entries) == sizeof(struct kvm_cpuid2), "as KVM has it");

/* What this host can show a guest. */
int cpuid_of_host(struct kvm *kvm, struct cpuid_table *ret, struct vmig_error *err);
/* Take a feature away, by its name in /proc/cpuinfo. False: it is not there. */
bool cpuid_remove(struct cpuid_table *table, const char *feature);
/* Can a guest that was shown @theirs go on where @ours can be shown? -ENOTSUP "cpu-features" names what is missing. */
int cpuid_check(const struct cpuid_table *theirs, const struct cpuid_table *ours,
                struct vmig_error *err);
/* Show @table to the vCPUs, each with its own number; before they run. */
int cpuid_show(struct vcpus *vcpus, struct cpuid_table *table, struct vmig_error *err);

#endif
