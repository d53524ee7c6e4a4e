/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest uses what it found when it booted, so a processor that lacks some of that is no place for it. The
 * source's CPUID goes over first, as a participant with initial bytes; the target compares it with what its KVM
 * can show a guest, refuses by name, and shows its vCPUs the same. No page of memory depends on it, and the source
 * goes on when it is refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/fail.h"
#include "vmm/state.h"

#define RECEIVED_MAX sizeof(struct cpuid_table) /* on the wire it is shorter */

struct features {
    struct vcpus *vcpus;
    struct cpuid_table *host;  /* what can be shown here */
    struct cpuid_table *shown; /* what the guest was shown when it booted */
    bool sent;
    uint8_t *received; /* RECEIVED_MAX of them */
    size_t received_bytes;
};

/* ---- what they are called ---- */

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
    { 0xd, 1, EAX, "xsaveopt xsavec xgetbv1 xsaves" },
    { 0x80000001, 0, ECX,
      "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop "
      "skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext" },
    { 0x80000001, 0, EDX, "" },
    { 0x80000008, 0, EBX, "clzero irperf xsaveerptr" },
    { 0x40000001, 0, EAX, "kvmclock nopiodelay - kvmclock2 asyncpf steal_time pv_eoi pv_unhalt" },
};

static uint32_t word_of(const struct cpuid_table *table, const struct feature_word *word)
{
    for (uint32_t i = 0; i < table->head.nent; i++) {
        const struct kvm_cpuid_entry2 *e = &table->entries[i];
        if (e->function == word->function && e->index == word->index) {
            const uint32_t registers[] = { e->eax, e->ebx, e->ecx, e->edx };
            return registers[word->reg];
        }
    }
    return 0;
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

/* The list of what is missing, "" when nothing is. */
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

/* ---- on the wire ---- */

#define T struct kvm_cpuid_entry2
static const struct vmig_vmstate_field entry[] = {
    VMIG_VMSTATE_UINT32(function, T), VMIG_VMSTATE_UINT32(index, T),
    VMIG_VMSTATE_UINT32(flags, T),    VMIG_VMSTATE_UINT32(eax, T),
    VMIG_VMSTATE_UINT32(ebx, T),      VMIG_VMSTATE_UINT32(ecx, T),
    VMIG_VMSTATE_UINT32(edx, T),      VMIG_VMSTATE_END(),
};
#undef T
static const struct vmig_vmstate entry_table = {
    .name = "entry", .version = 1, .minimum_version = 1, .fields = entry
};
static const struct vmig_vmstate_field cpuid[] = {
    VMIG_VMSTATE_UINT32(head.nent, struct cpuid_table),
    VMIG_VMSTATE_STRUCT_VARRAY(entries, struct cpuid_table, head.nent, 1, &entry_table),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate cpuid_table_ = {
    .name = "cpuid", .version = 1, .minimum_version = 1, .fields = cpuid
};

/* ---- source ---- */

static int setup(void *opaque, struct vmig_error *err)
{
    struct features *f = opaque;
    (void)err;
    f->sent = false;
    return 0;
}

static int pending(void *opaque, bool exact, struct vmig_pending *ret, struct vmig_error *err)
{
    const struct features *f = opaque;
    (void)exact;
    (void)err;
    ret->precopy_bytes = ret->initial_bytes = f->sent ? 0 : sizeof(struct cpuid_table);
    return 0;
}

static int send(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    struct features *f = opaque;
    void *bytes;
    size_t length;
    if (f->sent)
        return 0;
    int rc = vmig_vmstate_save(&cpuid_table_, f->shown, &bytes, &length, err);
    if (rc < 0)
        return rc;
    uint32_t head = (uint32_t)length;
    rc = vmig_writer_put(writer, &head, sizeof(head), err);
    if (rc == 0)
        rc = vmig_writer_put(writer, bytes, length, err);
    free(bytes);
    f->sent = rc == 0;
    return rc;
}

static int iterate(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                   struct vmig_error *err)
{
    (void)budget_bytes;
    return send(opaque, writer, err);
}

/* ---- target ---- */

static int load_setup(void *opaque, struct vmig_error *err)
{
    struct features *f = opaque;
    (void)err;
    f->received_bytes = 0;
    return 0;
}

static int take_over(struct features *f, const void *bytes, size_t length, struct vmig_error *err)
{
    struct cpuid_table *theirs = calloc(1, sizeof(*theirs));
    char missing[300];
    if (!theirs)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    int rc = vmig_vmstate_load(&cpuid_table_, 1, theirs, bytes, length, err);
    if (rc == 0) {
        list_missing(theirs, f->host, missing, sizeof(missing));
        rc = missing[0] ? vmm_fail(err, ENOTSUP, "cpu-features",
                                   "the guest's processors have what this host cannot give it: %s",
                                   missing)
                        : cpuid_show(f->vcpus, theirs, err);
    }
    if (rc == 0)
        memcpy(f->shown, theirs, sizeof(*theirs));
    free(theirs);
    return rc;
}

static int load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct features *f = opaque;
    uint32_t length = 0;
    if (length_bytes > RECEIVED_MAX - f->received_bytes)
        return vmm_fail(err, EINVAL, NULL, "more than %zu bytes of processor features",
                        RECEIVED_MAX);
    memcpy(f->received + f->received_bytes, buf, length_bytes);
    f->received_bytes += length_bytes;
    memcpy(&length, f->received, f->received_bytes < sizeof(length) ? 0 : sizeof(length));
    if (!length || f->received_bytes - sizeof(length) < length)
        return 0;
    return take_over(f, f->received + sizeof(length), length, err);
}

static int load_complete(void *opaque, struct vmig_error *err)
{
    const struct features *f = opaque;
    return f->received_bytes ? 0
                             : vmm_fail(err, EINVAL, NULL, "the processors' features did not come");
}

int features_add(struct features **ret, struct vmig_migration *migration, struct vcpus *vcpus,
                 struct vmig_error *err)
{
    static const struct vmig_participant_ops ops = { .size = sizeof(ops),
                                                     .setup = setup,
                                                     .pending = pending,
                                                     .iterate = iterate,
                                                     .complete = send,
                                                     .load_setup = load_setup,
                                                     .load = load,
                                                     .load_complete = load_complete };
    struct features *f = calloc(1, sizeof(*f) + 3 * sizeof(struct cpuid_table));
    if (!f)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    f->vcpus = vcpus;
    f->host = (struct cpuid_table *)(f + 1);
    f->shown = f->host + 1;
    f->received = (uint8_t *)(f->shown + 1);
    *ret = f;
    int rc = cpuid_of_host(vcpus->kvm, f->host, err);
    memcpy(f->shown, f->host, sizeof(*f->shown));
    return rc < 0 ? rc : vmig_migration_add_participant(migration, "cpu-features", &ops, f, err);
}
