/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/trace/trace.h"

/* ---- the tables ---- */

const struct capability_row capability_table[CAPABILITY_COUNT] = {
    [CAPABILITY_XBZRLE] = { "xbzrle", CAPABILITY_NOT, false,
                            "pages go whole; max-bandwidth and rounds are planned with that" },
    [CAPABILITY_RDMA_PIN_ALL] = { "rdma-pin-all", CAPABILITY_NOT, false,
                                  "there is no RDMA transport; use tcp with multifd" },
    [CAPABILITY_AUTO_CONVERGE] = { "auto-converge", CAPABILITY_NOT, false,
                                   "vCPUs are the host's to slow down; raise downtime-limit" },
    [CAPABILITY_ZERO_BLOCKS] = { "zero-blocks", CAPABILITY_NOT, false,
                                 "disks do not move with a migration; mirror them" },
    [CAPABILITY_COMPRESS] = { "compress", CAPABILITY_NOT, false,
                              "QEMU removed it; pages of zeros cost next to nothing as it is" },
    [CAPABILITY_EVENTS] = { "events", CAPABILITY_DONE, false, NULL },
    [CAPABILITY_POSTCOPY_RAM] = { "postcopy-ram", CAPABILITY_HOST, false,
                                  "this host has no participant for it; pre-copy is used" },
    [CAPABILITY_X_COLO] = { "x-colo", CAPABILITY_NOT, false,
                            "there is no replication; migrate when it is needed" },
    [CAPABILITY_RELEASE_RAM] = { "release-ram", CAPABILITY_NOT, false,
                                 "the source keeps its memory until the target runs, so that it "
                                 "can go on itself" },
    [CAPABILITY_BLOCK] = { "block", CAPABILITY_NOT, false,
                           "disks do not move with a migration; mirror them" },
    [CAPABILITY_RETURN_PATH] = { "return-path", CAPABILITY_DONE, true,
                                 "without it nobody can say who owns the devices when the link "
                                 "breaks" },
    [CAPABILITY_PAUSE_BEFORE_SWITCHOVER] = { "pause-before-switchover", CAPABILITY_DONE, false,
                                             NULL },
    [CAPABILITY_MULTIFD] = { "multifd", CAPABILITY_DONE, true,
                             "data channels are agreed on with the target; where the address has "
                             "none, or the target wants none, there are none" },
    [CAPABILITY_DIRTY_BITMAPS] = { "dirty-bitmaps", CAPABILITY_NOT, false,
                                   "disks are the host's; it can add a participant for them" },
    [CAPABILITY_POSTCOPY_BLOCKTIME] = { "postcopy-blocktime", CAPABILITY_NOT, false,
                                        "it is about postcopy, which the library does not do" },
    [CAPABILITY_LATE_BLOCK_ACTIVATE] = { "late-block-activate", CAPABILITY_NOT, false,
                                         "disks are the host's, which opens them in start()" },
    [CAPABILITY_X_IGNORE_SHARED] = { "x-ignore-shared", CAPABILITY_NOT, false,
                                     "all memory that was added moves; leave shared blocks out" },
    [CAPABILITY_VALIDATE_UUID] = { "validate-uuid", CAPABILITY_DONE, false, NULL },
    [CAPABILITY_BACKGROUND_SNAPSHOT] = { "background-snapshot", CAPABILITY_HOST, false,
                                         "this host has no participant for it; a snapshot with "
                                         "the workload stopped is what there is" },
    [CAPABILITY_ZERO_COPY_SEND] = { "zero-copy-send", CAPABILITY_NOT, false,
                                    "pages that change while the network sends them would not "
                                    "match their digests" },
    [CAPABILITY_POSTCOPY_PREEMPT] = { "postcopy-preempt", CAPABILITY_NOT, false,
                                      "it is about postcopy, which the library does not do" },
    [CAPABILITY_SWITCHOVER_ACK] = { "switchover-ack", CAPABILITY_DONE, true,
                                    "a device's initial bytes that are not loaded yet would be "
                                    "loaded in the pause" },
    [CAPABILITY_DIRTY_LIMIT] = { "dirty-limit", CAPABILITY_NOT, false,
                                 "vCPUs are the host's to slow down; raise downtime-limit" },
    [CAPABILITY_MAPPED_RAM] = { "mapped-ram", CAPABILITY_NOT, false,
                                "files are written from front to back, so that they can be piped" },
};

static const struct capability_rule rules[] = {
    { CAPABILITY_SWITCHOVER_ACK, true, CAPABILITY_RETURN_PATH, "the target acknowledges on it" },
    { CAPABILITY_POSTCOPY_RAM, false, CAPABILITY_MULTIFD,
      "pages that are asked for have one channel" },
    { CAPABILITY_BACKGROUND_SNAPSHOT, false, CAPABILITY_POSTCOPY_RAM,
      "one sends memory before it runs on, the other after" },
    { CAPABILITY_BACKGROUND_SNAPSHOT, false, CAPABILITY_RETURN_PATH, "a snapshot has no target" },
    { CAPABILITY_BACKGROUND_SNAPSHOT, false, CAPABILITY_PAUSE_BEFORE_SWITCHOVER,
      "a snapshot has no switchover" },
    { CAPABILITY_BACKGROUND_SNAPSHOT, false, CAPABILITY_MULTIFD, "a snapshot is one stream" },
    { CAPABILITY_BACKGROUND_SNAPSHOT, false, CAPABILITY_VALIDATE_UUID, "a snapshot has no target" },
};

const struct capability_rule *capability_rule_at(unsigned n)
{
    return n < sizeof(rules) / sizeof(rules[0]) ? &rules[n] : NULL;
}

/* ---- setting them ---- */

static int find(const char *name)
{
    for (unsigned i = 0; name && i < CAPABILITY_COUNT; i++)
        if (strcmp(capability_table[i].name, name) == 0)
            return (int)i;
    return -ENOENT;
}

int capabilities_init(struct vmig_migration *m, const char *const *implements,
                      struct vmig_error *err)
{
    for (unsigned i = 0; i < CAPABILITY_COUNT; i++)
        m->capabilities[i] = capability_table[i].standard;
    for (; implements && *implements; implements++) {
        int which = find(*implements);
        if (which < 0 || capability_table[which].kind != CAPABILITY_HOST)
            return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "unknown-capability",
                             "\"%.60s\" is no capability that a host can implement", *implements);
        m->host_does[which] = true;
    }
    return 0;
}

static int check_one(const struct vmig_migration *m, const struct vmig_capability *c,
                     struct vmig_error *err)
{
    int which = find(c->name);
    if (which < 0)
        return error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, "unknown-capability",
                         "no capability is called \"%.60s\"; vfio-migrate(7) lists them",
                         c->name ? c->name : "");
    const struct capability_row *row = &capability_table[which];
    if (!c->on || row->kind == CAPABILITY_DONE || m->host_does[which])
        return which;
    return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, "not-implemented",
                     "%s is not implemented: %s", row->name, row->reason);
}

static int check_rules(const bool on[CAPABILITY_COUNT], struct vmig_error *err)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct capability_rule *r = &rules[i];
        if (!on[r->which] || on[r->other] == r->needs)
            continue;
        const char *which = capability_table[r->which].name,
                   *other = capability_table[r->other].name;
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "capability-conflict",
                         "%s %s %s: %s; switch %s %s as well, or %s off", which,
                         r->needs ? "needs" : "does not go with", other, r->reason, other,
                         r->needs ? "on" : "off", which);
    }
    return 0;
}

VMIG_EXPORT int vmig_migration_set_capabilities(struct vmig_migration *m,
                                                const struct vmig_capability *list, unsigned count,
                                                struct vmig_error *err)
{
    bool on[CAPABILITY_COUNT];
    LOCK_SCOPE(&m->lock);
    memcpy(on, m->capabilities, sizeof(on));
    for (unsigned i = 0; i < count; i++) {
        int which = check_one(m, &list[i], err);
        if (which < 0)
            return which;
        on[which] = list[i].on;
    }
    int rc = check_rules(on, err);
    if (rc < 0)
        return rc;
    if (m->side != SIDE_NONE)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "capabilities cannot be changed while a migration runs");
    memcpy(m->capabilities, on, sizeof(on));
    for (unsigned i = 0; i < count; i++)
        TRACE(migrate_set_capability, list[i].name, list[i].on);
    return 0;
}

VMIG_EXPORT unsigned vmig_migration_capabilities(struct vmig_migration *m,
                                                 struct vmig_capability *ret, unsigned max)
{
    LOCK_SCOPE(&m->lock);
    for (unsigned i = 0; i < CAPABILITY_COUNT && i < max; i++)
        ret[i] = (struct vmig_capability) { capability_table[i].name, m->capabilities[i] };
    return CAPABILITY_COUNT;
}
