/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the VM runs. */
#include <vfio-migrate/run-state.h>

#include "lib/cleanup.h"
#include "lib/monitor/destination.h"
#include "lib/monitor/monitor.h"

json_t *on_stop(struct call *call, struct vmig_error *err)
{
    return vmig_migration_stop(call->migration, err) < 0 ? NULL : json_object();
}

json_t *on_cont(struct call *call, struct vmig_error *err)
{
    return vmig_migration_cont(call->migration, err) < 0 ? NULL : json_object();
}

json_t *on_query_status(struct call *call, struct vmig_error *err)
{
    enum vmig_run_state state = vmig_migration_run_state(call->migration);
    (void)err;
    return json_pack("{s:s, s:b}", "status", vmig_run_state_name(state), "running",
                     state == VMIG_RUN_STATE_RUNNING);
}

json_t *on_snapshot(struct call *call, struct vmig_error *err)
{
    CLEANUP_FREE char *address = NULL;
    if (destination_read(call->arguments, &address, err) < 0)
        return NULL;
    return mover_start(call, MOVE_SNAPSHOT, address, err);
}
