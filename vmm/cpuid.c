/* SPDX-License-Identifier: BSD-3-Clause */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/fail.h"

#define FEATURES 1u
#define TOPOLOGY 0xbu
#define XSAVE 0xdu
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
 * comes; no guest here needs it. Who offers it sets its MSR after the TSC and after the LAPIC, which refuses it
 * before it is in that mode. */
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

/* ---- features and their names ---- */

enum cpuid_register { EAX, EBX, ECX, EDX };
static const char *const register_names[] = { "EAX", "EBX", "ECX", "EDX" };

/* Words of features, and the names of their bits as /proc/cpuinfo has them, from bit 0 on; what has no name is
 * told by leaf and bit. */
static const struct feature_word {
    uint32_t function, index;
    enum cpuid_register reg;
    const char *names;
} words[] = {
    { 1, 0, ECX,
      "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - "
      "pcid dca "
      "sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand" },
    { 1, 0, EDX,
      "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts "
      "acpi mmx "
      "fxsr sse sse2 ss" },
    { 7, 0, EBX,
      "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f "
      "avx512dq "
      "rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni "
      "avx512bw "
      "avx512vl" },
    { 7, 0, ECX,
      "prefetchwt1 avx512vbmi umip pku - waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni "
      "avx512_bitalg - avx512_vpopcntdq - la57 - - - - - rdpid" },
    { 7, 0, EDX, "" },
    { 6, 0, EAX, "- - arat" },
    { 7, 1, EAX, "- - - - avx_vnni avx512_bf16" },
    { 0xd, 0, EAX,
      "xcr0_x87 xcr0_sse xcr0_avx xcr0_bndregs xcr0_bndcsr xcr0_opmask xcr0_zmm_hi256 "
      "xcr0_hi16_zmm - "
      "xcr0_pkru" },
    { 0xd, 1, EAX, "xsaveopt xsavec xgetbv1 xsaves" },
    { 0x80000001, 0, ECX,
      "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop "
      "skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext" },
    { 0x80000001, 0, EDX, "" },
    { 0x80000007, 0, EDX, "- - - - - - - - constant_tsc" },
    { 0x80000008, 0, EBX, "clzero irperf xsaveerptr" },
    { 0x40000001, 0, EAX, "kvmclock nopiodelay - kvmclock2 asyncpf steal_time pv_eoi pv_unhalt" },
};

static const struct kvm_cpuid_entry2 *find(const struct cpuid_table *table, uint32_t function,
                                           uint32_t index)
{
    static const struct kvm_cpuid_entry2 none;
    for (uint32_t i = 0; i < table->count; i++)
        if (table->entries[i].function == function && table->entries[i].index == index)
            return &table->entries[i];
    return &none;
}

static uint32_t word_of(const struct cpuid_table *table, const struct feature_word *word)
{
    const struct kvm_cpuid_entry2 *e = find(table, word->function, word->index);
    const uint32_t registers[] = { e->eax, e->ebx, e->ecx, e->edx };
    return registers[word->reg];
}

static void name_bit(const struct feature_word *word, unsigned bit, char *ret, size_t size)
{
    const char *name = word->names;
    for (unsigned i = 0; i < bit && *name; i++) {
        name += strcspn(name, " ");
        name += *name == ' ';
    }
    size_t length = strcspn(name, " ");
    if (length && name[0] != '-')
        snprintf(ret, size, "%.*s", (int)length, name);
    else
        snprintf(ret, size, "CPUID %" PRIx32 ":%s bit %u", word->function,
                 register_names[word->reg], bit);
}

/* What depends on the vCPU or on how the guest set it up is no feature: OSXSAVE, OSPKE, HTT; nor are the
 * hypervisor bit and those of ours. */
static uint32_t compared_bits(const struct feature_word *word)
{
    if (word->function == 1)
        return word->reg == ECX ? ~(1u << 27 | 1u << 31) : ~(1u << 28);
    return word->function == 7 && word->reg == ECX ? ~(1u << 4) : ~0u;
}

static void list_missing(const struct cpuid_table *theirs, const struct cpuid_table *ours,
                         char *ret, size_t size)
{
    size_t used = 0;
    ret[0] = '\0';
    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
        uint32_t missing =
            word_of(theirs, &words[w]) & ~word_of(ours, &words[w]) & compared_bits(&words[w]);
        for (unsigned bit = 0; bit < 32; bit++) {
            char name[40];
            if (!(missing & 1u << bit))
                continue;
            name_bit(&words[w], bit, name, sizeof(name));
            int n = snprintf(ret + used, size - used, "%s%s", used ? ", " : "", name);
            if (n < 0 || (size_t)n >= size - used)
                return;
            used += (size_t)n;
        }
    }
}

/* Whose processor it is, as far as a guest can tell; how system calls work differs. */
static void vendor_of(const struct cpuid_table *table, char ret[13])
{
    const struct kvm_cpuid_entry2 *e = find(table, 0, 0);
    const uint32_t parts[] = { e->ebx, e->edx, e->ecx };
    memcpy(ret, parts, sizeof(parts));
    ret[12] = '\0';
}

/* The bytes of XSAVE go over as the processor lays them out. */
static int check_xsave(const struct cpuid_table *theirs, const struct cpuid_table *ours,
                       struct vmig_error *err)
{
    uint32_t components = find(theirs, XSAVE, 0)->eax;
    for (unsigned n = 2; n < 32; n++) {
        const struct kvm_cpuid_entry2 *there = find(theirs, XSAVE, n), *here = find(ours, XSAVE, n);
        if (components & 1u << n && (there->eax != here->eax || there->ebx != here->ebx))
            return vmm_fail(err, ENOTSUP, "cpu-features",
                            "XSAVE has component %u at %u, %u bytes, at the source, and at %u, %u "
                            "bytes, here",
                            n, there->ebx, there->eax, here->ebx, here->eax);
    }
    return 0;
}

int cpuid_check(const struct cpuid_table *theirs, const struct cpuid_table *ours,
                struct vmig_error *err)
{
    char missing[300], vendors[2][13];
    unsigned there = find(theirs, AMD_ADDRESSES, 0)->eax & 0xff;
    unsigned here = find(ours, AMD_ADDRESSES, 0)->eax & 0xff;
    vendor_of(theirs, vendors[0]);
    vendor_of(ours, vendors[1]);
    if (strcmp(vendors[0], vendors[1]))
        return vmm_fail(err, ENOTSUP, "cpu-features",
                        "the guest's processors are of %s, this host's of %s", vendors[0],
                        vendors[1]);
    list_missing(theirs, ours, missing, sizeof(missing));
    if (missing[0])
        return vmm_fail(err, ENOTSUP, "cpu-features",
                        "the guest's processors have what this host cannot give it: %s", missing);
    if (there > here)
        return vmm_fail(err, ENOTSUP, "cpu-features",
                        "the guest's processors have addresses of %u bits, this host's of %u",
                        there, here);
    return check_xsave(theirs, ours, err);
}

bool cpuid_remove(struct cpuid_table *table, const char *feature)
{
    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
        for (unsigned bit = 0; bit < 32; bit++) {
            char name[40];
            name_bit(&words[w], bit, name, sizeof(name));
            if (strcmp(name, feature) || !(word_of(table, &words[w]) & 1u << bit))
                continue;
            struct kvm_cpuid_entry2 *e =
                &table->entries[find(table, words[w].function, words[w].index) - table->entries];
            uint32_t *const registers[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };
            *registers[words[w].reg] &= ~(1u << bit);
            return true;
        }
    return false;
}

/* ---- tables ---- */

int cpuid_of_host(struct kvm *kvm, struct cpuid_table *ret, struct vmig_error *err)
{
    ret->count = CPUID_ENTRIES_MAX;
    int rc =
        kvm_ask(kvm->fd, KVM_GET_SUPPORTED_CPUID, ret, "asking for the processor's features", err);
    if (rc >= 0) { /* the state of a guest's own guests is not moved */
        cpuid_remove(ret, "vmx");
        cpuid_remove(ret, "svm");
    }
    return rc < 0 ? rc : 0;
}

int cpuid_show(struct vcpus *vcpus, struct cpuid_table *table, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc >= 0 && i < vcpus->count; i++) {
        for (unsigned n = 0; n < table->count; n++)
            number_entry(&table->entries[n], i, vcpus->count);
        rc = kvm_ask(vcpus->list[i].fd, KVM_SET_CPUID2, table, "setting the processor's features",
                     err);
    }
    return rc < 0 ? rc : 0;
}
