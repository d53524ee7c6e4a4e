/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/memory/tracker.h"
#include "lib/migration/migration.h"
#include "lib/trace/trace.h"

/* Names, units and defaults are QEMU's where QEMU has the same thing. What may change while a migration
 * runs is looked at anew for each decision; the rest is settled when it begins. */
const struct parameter_row parameter_table[PARAMETER_COUNT] = {
    [PARAMETER_DOWNTIME_LIMIT] = { "downtime-limit", "ms", "longest pause to switch with", 0,
                                   2000000, 300, true, NULL },
    [PARAMETER_MAX_BANDWIDTH] = { "max-bandwidth", "bytes/s", "rate before the switch; 0: no limit",
                                  0, UINT64_MAX, 134217728, true, NULL },
    [PARAMETER_SWITCHOVER_BANDWIDTH] = { "avail-switchover-bandwidth", "bytes/s",
                                         "what the prediction counts with; 0: measure", 0,
                                         UINT64_MAX, 0, true, NULL },
    [PARAMETER_MAX_ROUNDS] = { "max-rounds", "rounds", "pre-copy rounds before giving up", 1, 10000,
                               30, true, NULL },
    [PARAMETER_CHANNELS] = { "multifd-channels", "channels", "data channels, with multifd", 1,
                             LANES_MAX, 2, false,
                             "each may hold 1 MiB at the target, whose memory is bounded" },
    [PARAMETER_PRE_COPY] = { "pre-copy", "on/off", "use PRE_COPY on devices that have it", 0, 1, 1,
                             false, NULL },
    [PARAMETER_TRANSITION_TIMEOUT] = { "transition-timeout", "ms",
                                       "longest state change of a device", 1, 3600000, 30000, false,
                                       NULL },
    [PARAMETER_TRACKER] = { "tracker", "kind",
                            "CPU write tracking: 0 auto, 1 pagemap, 2 uffd, 3 none",
                            TRACKER_CPU_AUTO, TRACKER_CPU_NONE, TRACKER_CPU_AUTO, false, NULL },
    [PARAMETER_STATE_SIZE] = { "device-state-size", "bytes",
                               "counted for a device that cannot tell its size; 0: 100 GiB", 0,
                               UINT64_MAX, 0, false, NULL },
    [PARAMETER_ALL_DIRTY] = { "all-dirty", "on/off",
                              "when nobody tells what a device writes, count all memory as dirty",
                              0, 1, 0, false, NULL },
    [PARAMETER_RAM_DIGEST] = { "ram-digest", "on/off",
                               "memory that did not arrive as it was sent is sent again", 0, 1, 0,
                               false, NULL },
    [PARAMETER_QUIESCE_NOTICE] = { "quiesce-notice", "ms",
                                   "the host is told so long before the workload stops; 0: not", 0,
                                   60000, 0, false, NULL },
};

#define VCPUS "vCPUs are the host's to slow down; raise downtime-limit"
#define NO_COMPRESSION "data channels are not compressed; pages of zeros cost next to nothing"
#define NO_TLS "channels are not encrypted; send through a tunnel, with exec: or a unix: socket"
#define ANNOUNCES "the host announces itself on its networks, in start()"

static const struct parameter_refused refused[] = {
    { "max-postcopy-bandwidth", "the library does no postcopy; max-bandwidth is for pre-copy" },
    { "multifd-compression", NO_COMPRESSION },
    { "multifd-zlib-level", NO_COMPRESSION },
    { "multifd-zstd-level", NO_COMPRESSION },
    { "multifd-qatzip-level", NO_COMPRESSION },
    { "compress-level", NO_COMPRESSION },
    { "compress-threads", NO_COMPRESSION },
    { "decompress-threads", NO_COMPRESSION },
    { "compress-wait-thread", NO_COMPRESSION },
    { "zero-page-detection", "pages of zeros are always found, by who sends them" },
    { "direct-io", "a file is synchronised as a whole before it gets its name" },
    { "mode", "there is the normal mode alone; a process hands devices on with receive --exec" },
    { "cpr-exec-command", "a process hands devices on with receive --exec" },
    { "xbzrle-cache-size", "pages go whole; there is no xbzrle" },
    { "throttle-trigger-threshold", VCPUS },
    { "cpu-throttle-initial", VCPUS },
    { "cpu-throttle-increment", VCPUS },
    { "cpu-throttle-tailslow", VCPUS },
    { "max-cpu-throttle", VCPUS },
    { "x-vcpu-dirty-limit-period", VCPUS },
    { "vcpu-dirty-limit", VCPUS },
    { "announce-initial", ANNOUNCES },
    { "announce-max", ANNOUNCES },
    { "announce-rounds", ANNOUNCES },
    { "announce-step", ANNOUNCES },
    { "tls-creds", NO_TLS },
    { "tls-hostname", NO_TLS },
    { "tls-authz", NO_TLS },
    { "x-checkpoint-delay", "there is no replication" },
    { "block-bitmap-mapping", "disks are the host's; it can add a participant for them" },
    { "block-incremental", "disks do not move with a migration; mirror them" },
};

const struct parameter_refused *parameter_refused_at(unsigned n)
{
    return n < sizeof(refused) / sizeof(refused[0]) ? &refused[n] : NULL;
}

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
    for (unsigned i = 0; parameter_refused_at(i); i++)
        if (strcmp(refused[i].name, name) == 0)
            return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, "not-implemented",
                             "%s is not implemented: %s", name, refused[i].reason);
    for (unsigned i = 0; i < CAPABILITY_COUNT; i++)
        if (strcmp(capability_table[i].name, name) == 0)
            return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, "unknown-parameter",
                             "%s is a capability, not a parameter", name);
    return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, "unknown-parameter",
                     "no parameter is called \"%.60s\"; vfio-migrate(7) lists them", name);
}

/* What it was before, where the change would bring up a blocker that must not be. */
static int change(struct vmig_migration *m, enum parameter which, uint64_t value,
                  struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    uint64_t before = m->parameters[which];
    if (m->side != SIDE_NONE && !parameter_table[which].live)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "%s cannot be changed while a migration runs",
                         parameter_table[which].name);
    m->parameters[which] = value;
    int rc = blockers_refuse_new_locked(m, err);
    if (rc < 0)
        m->parameters[which] = before;
    if (which == PARAMETER_MAX_BANDWIDTH)
        throttle_changed_locked(m);
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
    TRACE(migrate_set_parameter, name, value, rc);
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
    *ret = m->parameters[which];
    return 0;
}

VMIG_EXPORT unsigned vmig_migration_parameters(struct vmig_migration *m, struct vmig_parameter *ret,
                                               unsigned max)
{
    for (unsigned i = 0; i < PARAMETER_COUNT && i < max; i++) {
        const struct parameter_row *row = &parameter_table[i];
        ret[i] = (struct vmig_parameter) { row->name,        row->unit, row->help,
                                           row->min,         row->max,  row->standard,
                                           m->parameters[i], row->live, row->reason };
    }
    return PARAMETER_COUNT;
}
