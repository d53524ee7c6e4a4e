/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/guest.h"
#include "vmm/machine.h"

static void on_guest_end(void *opaque)
{
    struct machine *machine = opaque;
    machine->loop.done = true;
}

/* ^C or SIGTERM: the end of the machine, as if its power were cut. */
static void on_signal(void *opaque)
{
    struct machine *machine = opaque;
    struct signalfd_siginfo info;
    if (read(machine->signal_fd, &info, sizeof(info)) == sizeof(info) &&
        migrate_may_end(machine->migrate))
        machine->loop.done = true;
}

/* Before there are threads, so that all of them leave these signals to the loop. */
static int watch_signals(struct machine *machine, struct vmig_error *err)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    machine->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (machine->signal_fd < 0)
        return vmm_fail(err, errno, NULL, "waiting for signals: %m");
    return loop_watch(&machine->loop, machine->signal_fd, POLLIN, on_signal, machine, err);
}

static int make_memory(struct machine *machine, struct vmig_error *err)
{
    int rc = memory_new(&machine->memory, machine->options.memory_bytes,
                        machine->options.huge_pages, err);
    return rc < 0 ? rc : memory_map(&machine->memory, &machine->kvm, err);
}

static int make_features(struct machine *machine, struct vmig_error *err)
{
    struct cpuid_table *features = &machine->features;
    int rc = cpuid_of_host(&machine->kvm, features, err);
    for (unsigned i = 0; rc == 0 && i < machine->options.num_without; i++)
        if (!cpuid_remove(features, machine->options.without[i]))
            rc = vmm_fail(err, EINVAL, NULL,
                          "--without %s: this host's processors have no such feature",
                          machine->options.without[i]);
    return rc < 0 ? rc : cpuid_show(&machine->vcpus, features, err);
}

static int make_vcpus(struct machine *machine, struct vmig_error *err)
{
    int rc = vcpus_new(&machine->vcpus, &machine->kvm, machine->options.cpus, &machine->ports,
                       &machine->mmio, err);
    if (rc == 0)
        rc = make_features(machine, err);
    return rc < 0 ? rc
                  : loop_watch(&machine->loop, machine->vcpus.ended_fd, POLLIN, on_guest_end,
                               machine, err);
}

static int make_ports(struct machine *machine, struct vmig_error *err)
{
    int rc = console_open(&machine->console, machine->options.serial, &machine->loop,
                          &serial_console_ops, &machine->serial, err);
    if (rc == 0)
        rc = serial_new(&machine->serial, &machine->kvm, &machine->console, &machine->ports, err);
    if (rc == 0)
        rc = pci_new(&machine->pci, &machine->ports, &machine->mmio, err);
    return rc < 0 ? rc : power_claim(&machine->power, &machine->ports, &machine->vcpus, err);
}

static int make_fw_cfg(struct machine *machine, struct vmig_error *err)
{
    int rc =
        fw_cfg_new(&machine->fw_cfg, &machine->memory, machine->options.cpus, &machine->ports, err);
    for (unsigned i = 0; i < machine->options.num_devices; i++)
        if (machine->options.devices[i].settings.ramfb)
            ramfb_new(&machine->ramfb, &machine->fw_cfg);
    return rc;
}

static int open_devices(struct machine *machine, struct vmig_error *err)
{
    const struct vfio_place place = { &machine->kvm,  &machine->memory, &machine->ports,
                                      &machine->mmio, &machine->pci,    &machine->irqs,
                                      &machine->loop };
    int rc = irqs_new(&machine->irqs, &machine->kvm, err);
    for (unsigned i = 0; rc == 0 && i < machine->options.num_devices; i++) {
        const struct device_option *option = &machine->options.devices[i];
        machine->num_devices++;
        rc = vfio_open(&machine->devices[i], option->address, option->id, &place, err);
    }
    return rc;
}

static int make_migrate(struct machine *machine, struct vmig_error *err)
{
    return migrate_new(&machine->migrate, machine, err);
}

int machine_new(struct machine *machine, const struct options *options, struct vmig_error *err)
{
    static int (*const steps[])(struct machine *, struct vmig_error *) = {
        watch_signals, make_memory, make_vcpus, make_ports, make_fw_cfg, open_devices, make_migrate
    };
    *machine = (struct machine) { .options = *options, .signal_fd = -1, .memory.fd = -1 };
    bus_init(&machine->ports);
    bus_init(&machine->mmio);
    int rc = kvm_open(&machine->kvm, options->dirty, err);
    for (unsigned i = 0; rc >= 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
        rc = steps[i](machine, err);
    return rc < 0 ? rc : 0;
}

/* What ended the machine, once nothing of it runs any more. */
static int result(const struct machine *machine, struct vmig_error *err)
{
    const struct vcpus *vcpus = &machine->vcpus;
    if (vcpus->end == GUEST_FAILED)
        return vmm_fail(err, EIO, "guest-failed", "%s", vcpus->end_text);
    if (vcpus->end == GUEST_RESET)
        fprintf(stderr, "vfio-vmm: %s\n", vcpus->end_text);
    return 0;
}

static int load_guest(struct machine *machine, struct vmig_error *err)
{
    const struct options *o = &machine->options;
    return o->kernel ? guest_load_linux(&machine->memory, &machine->vcpus, o->kernel, o->initrd,
                                        o->append, err)
                     : guest_load_pattern(&machine->memory, &machine->vcpus, o->append, err);
}

static void start(struct machine *machine)
{
    serial_listen(&machine->serial);
    vcpus_start(&machine->vcpus);
}

int machine_run(struct machine *machine, struct vmig_error *err)
{
    int rc = machine->options.incoming ? 0 : load_guest(machine, err);
    if (rc == 0 && !machine->options.incoming)
        start(machine); /* before anybody can have it stopped */
    if (rc == 0)
        rc = migrate_open(machine->migrate, err);
    if (rc < 0)
        return rc;
    loop_run(&machine->loop);
    vcpus_stop(&machine->vcpus);
    rc = migrate_result(machine->migrate, err);
    return rc < 0 ? rc : result(machine, err);
}

void machine_done(struct machine *machine)
{
    migrate_free(machine->migrate);
    vcpus_done(&machine->vcpus);
    while (machine->num_devices)
        vfio_close(&machine->devices[--machine->num_devices]);
    irqs_done(&machine->irqs);
    fw_cfg_done(&machine->fw_cfg);
    serial_done(&machine->serial);
    console_close(&machine->console);
    bus_done(&machine->ports);
    bus_done(&machine->mmio);
    kvm_close(&machine->kvm);
    memory_done(&machine->memory);
    if (machine->signal_fd >= 0)
        close(machine->signal_fd);
}
