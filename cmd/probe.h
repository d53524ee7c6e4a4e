/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CMD_PROBE_H
#define CMD_PROBE_H

#include "cmd/cmd.h"

#define PROBE_NAME "probe"

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
