/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine: all its parts, made in one order and taken down in the other. */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include "vmm/bus.h"
#include "vmm/console.h"
#include "vmm/cpuid.h"
#include "vmm/dirty.h"
#include "vmm/fw-cfg.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"
#include "vmm/memory.h"
#include "vmm/migrate.h"
#include "vmm/options.h"
#include "vmm/power.h"
#include "vmm/ramfb.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"
#include "vmm/vfio.h"

struct machine {
    struct options options;
    struct loop loop;
    struct kvm kvm;
    struct memory memory;
    struct bus ports, mmio;
    struct vcpus vcpus;
    struct cpuid_table features; /* that a guest may see here */
    struct console console;
    struct serial serial;
    struct power power;
    struct fw_cfg fw_cfg;
    struct ramfb ramfb;
    struct irqs irqs;
    struct pci pci;
    unsigned num_devices;
    struct vfio_device devices[DEVICES_MAX];
    struct dirty dirty;
    struct migrate *migrate; /* NULL until all else is there */
    int signal_fd;
};

/* Everything is there and nothing runs. */
int machine_new(struct machine *machine, const struct options *options, struct vmig_error *err);
/* Load the guest, run it until it ends or a signal says so. */
int machine_run(struct machine *machine, struct vmig_error *err);
void machine_done(struct machine *machine);

#endif
