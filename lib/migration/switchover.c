/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pause-before-switchover: the workload and its devices stand still, nothing of the pause's data has
 * moved yet, and somebody outside (who hands disks or addresses over) says when to go on.
 */
#include <errno.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"

int switchover_pause(struct vmig_migration *m, struct vmig_error *err)
{
    int rc = 0;
    if (!m->capabilities[CAPABILITY_PAUSE_BEFORE_SWITCHOVER])
        return 0;
    uint64_t start_ns = clock_ns();
    run_status(m, VMIG_STATUS_PRE_SWITCHOVER);
    cancel_waiting(m, "somebody to continue from pre-switchover");
    for (bool goes_on = false; rc == 0 && !goes_on;) {
        rc = run_check(m, err);
        LOCK_SCOPE(&m->lock);
        goes_on = m->continued;
        if (rc == 0 && !goes_on)
            run_wait_locked(m, UINT64_MAX);
    }
    cancel_waits_no_more(m);
    LOCK_SCOPE(&m->lock);
    m->statistics.pre_switchover_ms = clock_ms_since(start_ns);
    return rc;
}

VMIG_EXPORT int vmig_migration_continue(struct vmig_migration *m, enum vmig_status state,
                                        struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    enum vmig_status now = m->statistics.status;
    if (state != VMIG_STATUS_PRE_SWITCHOVER || now != state)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "wrong-status",
                         "continuing from \"%s\": the migration is in \"%s\", and only from "
                         "\"pre-switchover\" there is something to continue",
                         vmig_status_name(state), vmig_status_name(now));
    m->continued = true;
    pthread_cond_broadcast(&m->changed);
    return 0;
}
