/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CMD_PROBE_H
#define CMD_PROBE_H

#include "cmd/cmd.h"

#define PROBE_NAME "probe"

#define PROBE_REGIONS_MAX 32 /* 9 of PCI, and some device-specific ones */
#define PROBE_IRQS_MAX 8

/* What was learned of a device that was opened. */
struct probe_facts {
    const char *address;
    struct vmig_error error; /* why the device could not be probed */
    struct vmig_device_info info;
    bool kernel;                    /* not a vfio-user server's */
    struct vmig_device_entry entry; /* what sysfs tells; address "": nothing */
    bool has_hot_reset;             /* it is known */
    struct vmig_hot_reset_info hot_reset;
    struct vmig_migration_info migration;
    enum vmig_state state;
    bool has_size, has_log;
    uint64_t size_bytes;       /* of its state */
    uint64_t log_pgsize;       /* 0: not tried */
    struct vmig_error no_size; /* the device has the query, and it failed */
    struct vmig_error no_log;  /* the device has a log, and it cannot be used */
    struct vmig_error no_hot_reset;
    unsigned num_regions, num_irqs;
    struct vmig_region_info regions[PROBE_REGIONS_MAX];
    struct vmig_irq_info irqs[PROBE_IRQS_MAX];
};

/* Print it, for people. */
void probe_print(const struct probe_facts *facts);
/* The same for programs; also why it could not be opened. New reference. */
json_t *probe_json(const struct probe_facts *facts);

/* ["STOP_COPY", ...] of VMIG_MIGRATION_* @flags. New reference. */
json_t *probe_flags_json(uint64_t flags);

struct probe_list_options {
    bool all;            /* also PCI functions that VFIO does not have */
    bool open;           /* ask the devices, not only sysfs */
    const char *backend; /* by which they are opened; NULL: what fits */
};

/* `probe` without DEVICE: print the host's devices. Returns an exit code. */
int probe_list(const struct probe_list_options *options, bool json);

#endif
