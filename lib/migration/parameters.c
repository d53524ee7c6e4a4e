/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/memory/tracker.h"
#include "lib/migration/migration.h"

/* Names, units and defaults are QEMU's where QEMU has the same thing. */
const struct parameter_row parameter_table[PARAMETER_COUNT] = {
    [PARAMETER_DOWNTIME_LIMIT] = { "downtime-limit", "ms", "longest pause to switch with", 0,
                                   2000000, 300 },
    [PARAMETER_MAX_BANDWIDTH] = { "max-bandwidth", "bytes/s", "rate before the switch; 0: no limit",
                                  0, UINT64_MAX, 0 },
    [PARAMETER_SWITCHOVER_BANDWIDTH] = { "avail-switchover-bandwidth", "bytes/s",
                                         "what the prediction counts with; 0: measure", 0,
                                         UINT64_MAX, 0 },
    [PARAMETER_MAX_ROUNDS] = { "max-rounds", "rounds", "pre-copy rounds before giving up", 1, 10000,
                               30 },
    [PARAMETER_CHANNELS] = { "multifd-channels", "channels", "data channels; 0: none", 0, LANES_MAX,
                             1 },
    [PARAMETER_SWITCHOVER_ACK] = { "switchover-ack", "on/off",
                                   "switch only when all initial bytes are loaded", 0, 1, 1 },
    [PARAMETER_PRE_COPY] = { "pre-copy", "on/off", "use PRE_COPY on devices that have it", 0, 1,
                             1 },
    [PARAMETER_TRANSITION_TIMEOUT] = { "transition-timeout", "ms",
                                       "longest state change of a device", 1, 3600000, 30000 },
    [PARAMETER_TRACKER] = { "tracker", "kind",
                            "CPU write tracking: 0 auto, 1 pagemap, 2 uffd, 3 none",
                            TRACKER_CPU_AUTO, TRACKER_CPU_NONE, TRACKER_CPU_AUTO },
    [PARAMETER_STATE_SIZE] = { "device-state-size", "bytes",
                               "counted for a device that cannot tell its size; 0: 100 GiB", 0,
                               UINT64_MAX, 0 },
    [PARAMETER_SNAPSHOT] = { "snapshot", "on/off",
                             "the source goes on after writing a one-way stream", 0, 1, 0 },
    [PARAMETER_ALL_DIRTY] = { "all-dirty", "on/off",
                              "when nobody tells what a device writes, count all memory as dirty",
                              0, 1, 0 },
    [PARAMETER_RAM_DIGEST] = { "ram-digest", "on/off",
                               "memory that did not arrive as it was sent is sent again", 0, 1, 0 },
    [PARAMETER_QUIESCE_NOTICE] = { "quiesce-notice", "ms",
                                   "the host is told so long before the workload stops; 0: not", 0,
                                   60000, 0 },
};

static const struct parameter_row *find(const char *name, enum parameter *ret)
{
    for (unsigned i = 0; i < PARAMETER_COUNT; i++)
        if (strcmp(parameter_table[i].name, name) == 0) {
            *ret = (enum parameter)i;
            return &parameter_table[i];
        }
    return NULL;
}

static int unknown(const char *name, struct vmig_error *err)
{
    return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, "unknown-parameter",
                     "no parameter is called \"%.60s\"; vfio-migrate(7) lists them", name);
}

/* What it was before, where the change would bring up a blocker that must not be. */
static int change(struct vmig_migration *m, enum parameter which, uint64_t value,
                  struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    uint64_t before = m->parameters[which];
    if (m->side != SIDE_NONE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "%s cannot be changed while a migration runs",
                         parameter_table[which].name);
    m->parameters[which] = value;
    int rc = blockers_refuse_new_locked(m, err);
    if (rc < 0)
        m->parameters[which] = before;
    return rc;
}

VMIG_EXPORT int vmig_migration_set(struct vmig_migration *m, const char *name, uint64_t value,
                                   struct vmig_error *err)
{
    enum parameter which;
    const struct parameter_row *row = find(name, &which);
    if (!row)
        return unknown(name, err);
    if (value < row->min || value > row->max)
        return error_set(err, ERANGE, VMIG_STAGE_NONE, NULL, "parameter-range",
                         "%s is %" PRIu64 " to %" PRIu64 " %s, not %" PRIu64, name, row->min,
                         row->max, row->unit, value);
    int rc = change(m, which, value, err);
    if (rc == 0)
        blockers_warn(m);
    return rc;
}

VMIG_EXPORT int vmig_migration_get(struct vmig_migration *m, const char *name, uint64_t *ret,
                                   struct vmig_error *err)
{
    enum parameter which;
    if (!find(name, &which))
        return unknown(name, err);
    LOCK_SCOPE(&m->lock);
    *ret = m->parameters[which];
    return 0;
}
