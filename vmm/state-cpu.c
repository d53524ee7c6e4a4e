/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One processor. The order in which its parts are given to the kernel matters: control registers before what
 * they allow, the LAPIC after the MSR that says where it is, events and general registers last, since setting
 * others has effects on them.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmm/fail.h"
#include "vmm/state.h"

#define MSRS_MAX 768
#define MSR_TSC 0x10

struct cpu_state {
    struct vcpu *vcpu;
    const struct cpu_state *first; /* the vCPU that is loaded before all others */
    uint8_t has_tsc_offset;
    uint64_t tsc_offset; /* of the guest's TSC from the host's */
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debug;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
    struct kvm_xcrs xcrs;
    uint8_t xsave[sizeof(struct kvm_xsave)];
    struct kvm_lapic_state lapic;
    uint32_t num_msrs;
    uint32_t msr_index[MSRS_MAX];
    uint64_t msr_value[MSRS_MAX];
    struct kvm_msr_list *list; /* which there are on this machine */
};

/* ---- fetching and giving back ---- */

#define PART(request, member)                                                                      \
    {                                                                                              \
        request, offsetof(struct cpu_state, member), #member                                       \
    }
struct part {
    unsigned long request;
    size_t offset;
    const char *name;
};

/* Everything but the MSRs. The run state first: asking for it carries out an INIT or SIPI that is pending, which
 * changes all the rest. */
static const struct part gets[] = {
    PART(KVM_GET_MP_STATE, mp),     PART(KVM_GET_REGS, regs),   PART(KVM_GET_SREGS, sregs),
    PART(KVM_GET_DEBUGREGS, debug), PART(KVM_GET_XCRS, xcrs),   PART(KVM_GET_VCPU_EVENTS, events),
    PART(KVM_GET_XSAVE, xsave),     PART(KVM_GET_LAPIC, lapic),
};
static const struct part sets_before_msrs[] = {
    PART(KVM_SET_SREGS, sregs),
    PART(KVM_SET_XCRS, xcrs),
    PART(KVM_SET_XSAVE, xsave),
};
static const struct part sets_after_msrs[] = {
    PART(KVM_SET_MP_STATE, mp),     PART(KVM_SET_LAPIC, lapic), PART(KVM_SET_VCPU_EVENTS, events),
    PART(KVM_SET_DEBUGREGS, debug), PART(KVM_SET_REGS, regs),
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int ask_parts(struct cpu_state *state, const struct part *parts, size_t count,
                     struct vmig_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char what[60];
        snprintf(what, sizeof(what), "vCPU %u: %s", state->vcpu->index, parts[i].name);
        int rc =
            kvm_ask(state->vcpu->fd, parts[i].request, (char *)state + parts[i].offset, what, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A struct kvm_msrs of one. */
struct one_msr {
    uint32_t count, reserved;
    struct kvm_msr_entry entry;
};
static_assert(offsetof(struct one_msr, entry) == sizeof(struct kvm_msrs), "as KVM has it");

static bool get_msr(const struct cpu_state *state, uint32_t index, uint64_t *ret)
{
    struct one_msr msr = { .count = 1, .entry.index = index };
    bool got = ioctl(state->vcpu->fd, KVM_GET_MSRS, &msr) == 1;
    *ret = msr.entry.data;
    return got;
}

/* One that cannot be written may still be right. */
static int set_msr(const struct cpu_state *state, uint32_t index, uint64_t value,
                   struct vmig_error *err)
{
    struct one_msr msr = { .count = 1, .entry = { .index = index, .data = value } };
    uint64_t there = 0;
    if (ioctl(state->vcpu->fd, KVM_SET_MSRS, &msr) == 1)
        return 0;
    bool has = get_msr(state, index, &there);
    if (has ? there == value : value == 0)
        return 0;
    return vmm_fail(err, ENOTSUP, "cpu-state",
                    "vCPU %u: MSR 0x%" PRIx32 " is 0x%" PRIx64
                    " at the source, and cannot become that here",
                    state->vcpu->index, index, value);
}

static bool ask_tsc_offset(const struct cpu_state *state, unsigned long request, uint64_t *value)
{
    struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
                                    .attr = KVM_VCPU_TSC_OFFSET,
                                    .addr = (uintptr_t)value };
    return ioctl(state->vcpu->fd, request, &attr) == 0;
}

/* What KVM keeps and does not list: memory types and machine checks. The one that switches memory types on is last. */
static const struct {
    uint32_t first, last;
} unlisted_msrs[] = { { 0x200, 0x20f }, { 0x250, 0x250 }, { 0x258, 0x259 },
                      { 0x268, 0x26f }, { 0x400, 0x47f }, { 0x2ff, 0x2ff } };

static void save_msr(struct cpu_state *state, uint32_t index)
{
    if (state->num_msrs < MSRS_MAX && get_msr(state, index, &state->msr_value[state->num_msrs]))
        state->msr_index[state->num_msrs++] = index;
}

static int save(void *opaque, struct vmig_error *err)
{
    struct cpu_state *state = opaque;
    state->has_tsc_offset = ask_tsc_offset(state, KVM_GET_DEVICE_ATTR, &state->tsc_offset);
    int rc = ask_parts(state, gets, COUNT(gets), err);
    state->num_msrs = 0;
    for (uint32_t i = 0; i < state->list->nmsrs; i++)
        save_msr(state, state->list->indices[i]);
    for (size_t i = 0; i < COUNT(unlisted_msrs); i++)
        for (uint32_t n = unlisted_msrs[i].first; n <= unlisted_msrs[i].last; n++)
            save_msr(state, n);
    return rc;
}

/* The first vCPU's TSC goes on from what it was; the others keep their distance from it, however long it takes until
 * their turn comes: on a busy host their own values would leave them behind. */
static bool follow_first(const struct cpu_state *state)
{
    uint64_t offset;
    if (state->first == state || !state->has_tsc_offset || !state->first->has_tsc_offset ||
        !ask_tsc_offset(state->first, KVM_GET_DEVICE_ATTR, &offset))
        return false;
    offset += state->tsc_offset - state->first->tsc_offset;
    return ask_tsc_offset(state, KVM_SET_DEVICE_ATTR, &offset);
}

static int load(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct cpu_state *state = opaque;
    (void)version;
    bool has_tsc = follow_first(state);
    int rc = ask_parts(state, sets_before_msrs, COUNT(sets_before_msrs), err);
    for (uint32_t i = 0; rc == 0 && i < state->num_msrs; i++)
        if (!has_tsc || state->msr_index[i] != MSR_TSC)
            rc = set_msr(state, state->msr_index[i], state->msr_value[i], err);
    if (rc == 0)
        rc = ask_parts(state, sets_after_msrs, COUNT(sets_after_msrs), err);
    return rc;
}

/* ---- tables ---- */

#define T struct kvm_regs
static const struct vmig_vmstate_field registers[] = {
    U64(rax), U64(rbx), U64(rcx), U64(rdx),    U64(rsi),          U64(rdi), U64(rsp),
    U64(rbp), U64(r8),  U64(r9),  U64(r10),    U64(r11),          U64(r12), U64(r13),
    U64(r14), U64(r15), U64(rip), U64(rflags), VMIG_VMSTATE_END()
};
#undef T
#define T struct kvm_segment
static const struct vmig_vmstate_field segment[] = {
    U64(base), U32(limit), U16(selector), U8(type), U8(present),  U8(dpl),           U8(db),
    U8(s),     U8(l),      U8(g),         U8(avl),  U8(unusable), VMIG_VMSTATE_END()
};
#undef T
#define T struct kvm_dtable
static const struct vmig_vmstate_field descriptors[] = { U64(base), U16(limit),
                                                         VMIG_VMSTATE_END() };
#undef T
static const struct vmig_vmstate segment_table = STATE_TABLE(segment),
                                 descriptors_table = STATE_TABLE(descriptors);

#define T struct kvm_sregs
#define SEGMENT(member) VMIG_VMSTATE_STRUCT(member, T, &segment_table)
static const struct vmig_vmstate_field system_registers[] = {
    SEGMENT(cs),
    SEGMENT(ds),
    SEGMENT(es),
    SEGMENT(fs),
    SEGMENT(gs),
    SEGMENT(ss),
    SEGMENT(tr),
    SEGMENT(ldt),
    VMIG_VMSTATE_STRUCT(gdt, T, &descriptors_table),
    VMIG_VMSTATE_STRUCT(idt, T, &descriptors_table),
    U64(cr0),
    U64(cr2),
    U64(cr3),
    U64(cr4),
    U64(cr8),
    U64(efer),
    U64(apic_base),
    VMIG_VMSTATE_UINT64_ARRAY(interrupt_bitmap, T),
    VMIG_VMSTATE_END()
};
#undef T
#define T struct kvm_debugregs
static const struct vmig_vmstate_field debug_registers[] = { VMIG_VMSTATE_UINT64_ARRAY(db, T),
                                                             U64(dr6), U64(dr7), U64(flags),
                                                             VMIG_VMSTATE_END() };
#undef T
#define T struct kvm_vcpu_events
static const struct vmig_vmstate_field events[] = { U8(exception.injected),
                                                    U8(exception.nr),
                                                    U8(exception.has_error_code),
                                                    U8(exception.pending),
                                                    U32(exception.error_code),
                                                    U8(interrupt.injected),
                                                    U8(interrupt.nr),
                                                    U8(interrupt.soft),
                                                    U8(interrupt.shadow),
                                                    U8(nmi.injected),
                                                    U8(nmi.pending),
                                                    U8(nmi.masked),
                                                    U32(sipi_vector),
                                                    U32(flags),
                                                    U8(smi.smm),
                                                    U8(smi.pending),
                                                    U8(smi.smm_inside_nmi),
                                                    U8(smi.latched_init),
                                                    U8(triple_fault.pending),
                                                    U8(exception_has_payload),
                                                    U64(exception_payload),
                                                    VMIG_VMSTATE_END() };
#undef T
static const struct vmig_vmstate registers_table = STATE_TABLE(registers),
                                 system_registers_table = STATE_TABLE(system_registers),
                                 debug_registers_table = STATE_TABLE(debug_registers),
                                 events_table = STATE_TABLE(events);

#define T struct cpu_state
static const struct vmig_vmstate_field cpu[] = {
    VMIG_VMSTATE_STRUCT(regs, T, &registers_table),
    VMIG_VMSTATE_STRUCT(sregs, T, &system_registers_table),
    VMIG_VMSTATE_STRUCT(debug, T, &debug_registers_table),
    VMIG_VMSTATE_STRUCT(events, T, &events_table),
    U32(mp.mp_state),
    U64(xcrs.xcrs[0].value),
    VMIG_VMSTATE_BUFFER(xsave, T),      /* as the processor lays it out */
    VMIG_VMSTATE_BUFFER(lapic.regs, T), /* as its page is */
    U8(has_tsc_offset),
    U64(tsc_offset),
    U32(num_msrs),
    VMIG_VMSTATE_VARRAY(UINT32, msr_index, T, num_msrs, 1),
    VMIG_VMSTATE_VARRAY(UINT64, msr_value, T, num_msrs, 1),
    VMIG_VMSTATE_END()
};
#undef T
const struct vmig_vmstate cpu_vmstate = { .name = "cpu",
                                          .version = 1,
                                          .minimum_version = 1,
                                          .fields = cpu,
                                          .pre_save = save,
                                          .post_load = load };

struct cpu_state *cpu_state_new(struct vcpu *vcpu, const struct cpu_state *first,
                                struct vmig_error *err)
{
    struct cpu_state *state =
        calloc(1, sizeof(*state) + sizeof(struct kvm_msr_list) + MSRS_MAX * sizeof(uint32_t));
    if (!state) {
        vmm_fail(err, ENOMEM, NULL, "out of memory");
        return NULL;
    }
    state->vcpu = vcpu;
    state->first = first ? first : state;
    state->list = (struct kvm_msr_list *)(state + 1);
    state->list->nmsrs = MSRS_MAX;
    state->xcrs.nr_xcrs = 1; /* XCR0 is the only one that there is */
    if (kvm_ask(vcpu->all->kvm->fd, KVM_GET_MSR_INDEX_LIST, state->list,
                "asking which MSRs there are", err) >= 0)
        return state;
    free(state);
    return NULL;
}
