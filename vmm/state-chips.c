/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupt controllers, PIT and the paravirtual clock, all of which the kernel has. */
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/state.h"

struct chips_state {
    struct kvm *kvm;
    uint8_t pic[2][sizeof(struct kvm_pic_state)];
    struct kvm_ioapic_state ioapic;
    struct kvm_pit_state2 pit;
    uint64_t clock_ns;
};

static int get_chip(const struct chips_state *state, unsigned id, void *ret, size_t bytes,
                    struct vmig_error *err)
{
    struct kvm_irqchip chip = { .chip_id = id };
    int rc =
        kvm_ask(state->kvm->vm, KVM_GET_IRQCHIP, &chip, "reading an interrupt controller", err);
    memcpy(ret, &chip.chip, bytes);
    return rc;
}

static int set_chip(const struct chips_state *state, unsigned id, const void *from, size_t bytes,
                    struct vmig_error *err)
{
    struct kvm_irqchip chip = { .chip_id = id };
    memcpy(&chip.chip, from, bytes);
    return kvm_ask(state->kvm->vm, KVM_SET_IRQCHIP, &chip, "setting an interrupt controller", err);
}

static int save(void *opaque, struct vmig_error *err)
{
    struct chips_state *state = opaque;
    int rc = 0;
    for (unsigned i = 0; rc >= 0 && i < 2; i++)
        rc = get_chip(state, KVM_IRQCHIP_PIC_MASTER + i, state->pic[i], sizeof(state->pic[i]), err);
    if (rc >= 0)
        rc = get_chip(state, KVM_IRQCHIP_IOAPIC, &state->ioapic, sizeof(state->ioapic), err);
    return rc < 0 ? rc : 0;
}

static int load(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct chips_state *state = opaque;
    (void)version;
    int rc = 0;
    for (unsigned i = 0; rc >= 0 && i < 2; i++)
        rc = set_chip(state, KVM_IRQCHIP_PIC_MASTER + i, state->pic[i], sizeof(state->pic[i]), err);
    if (rc >= 0)
        rc = set_chip(state, KVM_IRQCHIP_IOAPIC, &state->ioapic, sizeof(state->ioapic), err);
    return rc < 0 ? rc : 0;
}

static int save_pit(void *opaque, struct vmig_error *err)
{
    struct chips_state *state = opaque;
    int rc = kvm_ask(state->kvm->vm, KVM_GET_PIT2, &state->pit, "reading the PIT", err);
    return rc < 0 ? rc : 0;
}

static int load_pit(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct chips_state *state = opaque;
    (void)version;
    int rc = kvm_ask(state->kvm->vm, KVM_SET_PIT2, &state->pit, "setting the PIT", err);
    return rc < 0 ? rc : 0;
}

/* ---- the clock ---- */

int chips_stop_clock(struct chips_state *state, struct vmig_error *err)
{
    struct kvm_clock_data clock;
    int rc = kvm_ask(state->kvm->vm, KVM_GET_CLOCK, &clock, "reading the guest's clock", err);
    state->clock_ns = clock.clock;
    return rc < 0 ? rc : 0;
}

int chips_start_clock(struct chips_state *state, struct vmig_error *err)
{
    struct kvm_clock_data clock = { .clock = state->clock_ns };
    int rc = kvm_ask(state->kvm->vm, KVM_SET_CLOCK, &clock, "setting the guest's clock", err);
    return rc < 0 ? rc : 0;
}

#define T struct kvm_ioapic_state
static const struct vmig_vmstate_field ioapic[] = {
    U64(base_address), U32(ioregsel), U32(id), U32(irr), VMIG_VMSTATE_UINT64_ARRAY(redirtbl, T),
    VMIG_VMSTATE_END()
};
#undef T
#define T struct kvm_pit_channel_state
static const struct vmig_vmstate_field channel[] = {
    U32(count),        VMIG_VMSTATE_UINT16(latched_count, T),
    U8(count_latched), U8(status_latched),
    U8(status),        U8(read_state),
    U8(write_state),   U8(write_latch),
    U8(rw_mode),       U8(mode),
    U8(bcd),           U8(gate),
    VMIG_VMSTATE_END()
};
#undef T
static const struct vmig_vmstate ioapic_table = STATE_TABLE(ioapic),
                                 channel_table = STATE_TABLE(channel);
#define T struct chips_state
static const struct vmig_vmstate_field chips[] = { VMIG_VMSTATE_BUFFER(pic[0], T),
                                                   VMIG_VMSTATE_BUFFER(pic[1], T),
                                                   VMIG_VMSTATE_STRUCT(ioapic, T, &ioapic_table),
                                                   U64(clock_ns), VMIG_VMSTATE_END() };
static const struct vmig_vmstate_field pit[] = {
    VMIG_VMSTATE_STRUCT(pit.channels[0], T, &channel_table),
    VMIG_VMSTATE_STRUCT(pit.channels[1], T, &channel_table),
    VMIG_VMSTATE_STRUCT(pit.channels[2], T, &channel_table), U32(pit.flags), VMIG_VMSTATE_END()
};
#undef T
/* Before the processors: what is pending there depends on it. */
const struct vmig_vmstate chips_vmstate = { .name = "chips",
                                            .version = 1,
                                            .minimum_version = 1,
                                            .priority = VMIG_VMSTATE_PRIORITY_GICV3,
                                            .fields = chips,
                                            .pre_save = save,
                                            .post_load = load };
/* It ticks as soon as it is set: after the processors, whose state a tick is part of. */
const struct vmig_vmstate pit_vmstate = { .name = "pit",
                                          .version = 1,
                                          .minimum_version = 1,
                                          .fields = pit,
                                          .pre_save = save_pit,
                                          .post_load = load_pit };

struct chips_state *chips_state_new(struct kvm *kvm)
{
    struct chips_state *state = calloc(1, sizeof(*state));
    if (state)
        state->kvm = kvm;
    return state;
}
