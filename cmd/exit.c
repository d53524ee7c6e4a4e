/* SPDX-License-Identifier: BSD-3-Clause */
/* Exit codes from errors; vfio-migrate(1) lists them, RECOVERY in vfio-migrate(7) says which ends they
 * stand for. */
#include <errno.h>
#include <string.h>

#include "cmd/cmd.h"

enum cmd_exit cmd_exit_of(const struct vmig_error *err)
{
    if (err->code == -EUCLEAN)
        return CMD_UNRESOLVED;
    static const char *const stands_still[] = { "device-state-lost", "device-hung",
                                                "workload-stopped" };
    for (size_t i = 0; i < sizeof(stands_still) / sizeof(stands_still[0]); i++)
        if (strcmp(err->reason, stands_still[i]) == 0)
            return CMD_DEVICE_LOST;
    if (err->code == -ECANCELED && strcmp(err->reason, "cancelled") == 0)
        return CMD_CANCELLED;
    bool blocked = strncmp(err->reason, "vfio-", 5) == 0 ||
                   strcmp(err->reason, "only-migratable") == 0 ||
                   strcmp(err->reason, "restored-before") == 0;
    if (err->stage == VMIG_STAGE_PREPARE && blocked)
        return CMD_REFUSED;
    return CMD_FAILED;
}
