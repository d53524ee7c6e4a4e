/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of vfio-vmm. */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate/settings.h>

#include "vmm/kvm.h"

enum vmm_exit { /* the numbers that vfio-migrate has, too, mean the same */
                VMM_DONE = 0,
                VMM_FAILED = 1,
                VMM_USAGE = 2,
                VMM_UNRESOLVED = 4,
                VMM_NO_KVM = 6,
};

#define DEVICES_MAX 16
#define WITHOUT_MAX 32

struct device_option {
    char address[1024], id[64];
    struct vmig_device_settings settings; /* what can be said of them here */
};

struct options {
    bool pattern;
    const char *kernel, *initrd, *append, *serial;
    unsigned cpus;
    unsigned num_without;
    const char *without[WITHOUT_MAX]; /* features of the processor */
    uint64_t memory_bytes;
    bool huge_pages;
    enum dirty_how dirty;
    const char *incoming, *qmp, *control, *history, *compat;
    bool only_migratable;
    unsigned num_devices;
    struct device_option devices[DEVICES_MAX];
};

/* Ends the program with a message where something is wrong, and after --help. */
void options_parse(int argc, char **argv, struct options *ret);

#endif
