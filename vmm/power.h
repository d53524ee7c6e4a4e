/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a guest switches the machine off or resets it: the ACPI power management registers, the reset register
 * of PC chipsets and the keyboard controller. A reset ends this VMM, as a shutdown does.
 */
#ifndef VMM_POWER_H
#define VMM_POWER_H

#include <vfio-migrate/vmstate.h>

#include "vmm/vcpu.h"

struct power {
    struct vcpus *vcpus;
    uint16_t enable; /* events that the guest wants to hear of; none ever happens */
};

extern const struct vmig_vmstate power_vmstate;

int power_claim(struct power *power, struct bus *ports, struct vcpus *vcpus,
                struct vmig_error *err);

#endif
