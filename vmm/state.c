/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmm/fail.h"
#include "vmm/machine.h"
#include "vmm/state.h"

struct state {
    struct cpu_state *cpus[VCPUS_MAX];
    struct chips_state *chips;
    struct features *features;
};

static int add_cpus(struct state *state, struct vmig_migration *migration, struct vcpus *vcpus,
                    struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < vcpus->count; i++) {
        state->cpus[i] = cpu_state_new(&vcpus->list[i], state->cpus[0], err);
        rc = state->cpus[i] ? vmig_migration_add_vmstate(migration, "cpu", i, &cpu_vmstate,
                                                         state->cpus[i], err)
                            : err->code;
    }
    return rc;
}

int state_new(struct state **ret, struct vmig_migration *migration, struct machine *machine,
              struct vmig_error *err)
{
    struct state *state = calloc(1, sizeof(*state));
    *ret = state;
    if (state)
        state->chips = chips_state_new(&machine->kvm);
    if (!state || !state->chips)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    const struct {
        const char *name;
        const struct vmig_vmstate *table;
        void *opaque;
    } parts[] = {
        { "chips", &chips_vmstate, state->chips },
        { "pit", &pit_vmstate, state->chips },
        { "serial", &serial_vmstate, &machine->serial },
        { "pci", &pci_vmstate, &machine->pci },
        { "power", &power_vmstate, &machine->power },
        { "fw-cfg", &fw_cfg_vmstate, &machine->fw_cfg },
    };
    int rc = features_add(&state->features, migration, &machine->vcpus, &machine->features, err);
    if (rc == 0)
        rc = add_cpus(state, migration, &machine->vcpus, err);
    for (size_t i = 0; rc == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
        rc = vmig_migration_add_vmstate(migration, parts[i].name, 0, parts[i].table,
                                        parts[i].opaque, err);
    return rc;
}

int state_stop_clock(struct state *state, struct vmig_error *err)
{
    return chips_stop_clock(state->chips, err);
}

int state_start_clock(struct state *state, struct vcpus *vcpus, struct vmig_error *err)
{
    for (unsigned i = 0; i < vcpus->count; i++)
        ioctl(vcpus->list[i].fd, KVM_KVMCLOCK_CTRL, 0); /* for a guest's watchdog, if it has one */
    return chips_start_clock(state->chips, err);
}

void state_free(struct state *state)
{
    for (unsigned i = 0; state && i < VCPUS_MAX; i++)
        free(state->cpus[i]);
    if (state) {
        free(state->chips);
        free(state->features);
    }
    free(state);
}
