/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What moves of the machine itself, beside memory and VFIO devices: processors, interrupt controllers, timer,
 * clock, serial port. Each is a table of its members (vfio-migrate/vmstate.h); most of them live in the kernel
 * and are fetched into a structure before saving, and given back after loading.
 */
#ifndef VMM_STATE_H
#define VMM_STATE_H

#include <vfio-migrate.h>

#include "vmm/cpuid.h"
#include "vmm/vcpu.h"

struct machine;
struct state;

/* Add all of it to @migration; the vCPUs stand still whenever it is saved or loaded. */
int state_new(struct state **ret, struct vmig_migration *migration, struct machine *machine,
              struct vmig_error *err);
/* The guest's clock stands still while the vCPUs do, and goes on from there, here or at the target. */
int state_stop_clock(struct state *state, struct vmig_error *err);
int state_start_clock(struct state *state, struct vcpus *vcpus, struct vmig_error *err);
/* After the migration was freed. NULL is fine. */
void state_free(struct state *state);

/* ---- its parts ---- */

/* Members of T, which is defined around a table of them. */
#define U8(member) VMIG_VMSTATE_UINT8(member, T)
#define U16(member) VMIG_VMSTATE_UINT16(member, T)
#define U32(member) VMIG_VMSTATE_UINT32(member, T)
#define U64(member) VMIG_VMSTATE_UINT64(member, T)
/* A table whose name is its fields' name, in its first version. */
#define STATE_TABLE(fields_)                                                                       \
    {                                                                                              \
        .name = #fields_, .version = 1, .minimum_version = 1, .fields = fields_                    \
    }

/* A processor: registers, MSRs, FPU and vector registers, LAPIC, what is pending (state-cpu.c). */
struct cpu_state;
extern const struct vmig_vmstate cpu_vmstate;
/* @first: of vCPU 0; NULL when it is. */
struct cpu_state *cpu_state_new(struct vcpu *vcpu, const struct cpu_state *first,
                                struct vmig_error *err);
/* Interrupt controllers and clock, which come before the processors, and the PIT, which comes after them
 * (state-chips.c). */
struct chips_state;
extern const struct vmig_vmstate chips_vmstate, pit_vmstate;
struct chips_state *chips_state_new(struct kvm *kvm);
int chips_stop_clock(struct chips_state *chips, struct vmig_error *err);
int chips_start_clock(struct chips_state *chips, struct vmig_error *err);
/* A processor's features, which are compared before anything else goes over (features.c). */
struct features;
int features_add(struct features **ret, struct vmig_migration *migration, struct vcpus *vcpus,
                 const struct cpuid_table *host, struct vmig_error *err);

#endif
