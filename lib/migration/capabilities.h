/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities as two tables: what each is here, and which go together. */
#ifndef LIB_MIGRATION_CAPABILITIES_H
#define LIB_MIGRATION_CAPABILITIES_H

#include <stdbool.h>
#include <vfio-migrate/error.h>

/* In QEMU's order. */
enum capability {
    CAPABILITY_XBZRLE,
    CAPABILITY_RDMA_PIN_ALL,
    CAPABILITY_AUTO_CONVERGE,
    CAPABILITY_ZERO_BLOCKS,
    CAPABILITY_COMPRESS,
    CAPABILITY_EVENTS,
    CAPABILITY_POSTCOPY_RAM,
    CAPABILITY_X_COLO,
    CAPABILITY_RELEASE_RAM,
    CAPABILITY_BLOCK,
    CAPABILITY_RETURN_PATH,
    CAPABILITY_PAUSE_BEFORE_SWITCHOVER,
    CAPABILITY_MULTIFD,
    CAPABILITY_DIRTY_BITMAPS,
    CAPABILITY_POSTCOPY_BLOCKTIME,
    CAPABILITY_LATE_BLOCK_ACTIVATE,
    CAPABILITY_X_IGNORE_SHARED,
    CAPABILITY_VALIDATE_UUID,
    CAPABILITY_BACKGROUND_SNAPSHOT,
    CAPABILITY_ZERO_COPY_SEND,
    CAPABILITY_POSTCOPY_PREEMPT,
    CAPABILITY_SWITCHOVER_ACK,
    CAPABILITY_DIRTY_LIMIT,
    CAPABILITY_MAPPED_RAM,
    CAPABILITY_COUNT
};

enum capability_kind {
    CAPABILITY_DONE, /* the engine does it */
    CAPABILITY_HOST, /* only a host that implements it can switch it on */
    CAPABILITY_NOT,  /* known by name, and refused */
};

struct capability_row {
    const char *name;
    enum capability_kind kind;
    bool standard;      /* QEMU's is always off */
    const char *reason; /* DONE: why the default is another; else why not, and what instead */
};
extern const struct capability_row capability_table[CAPABILITY_COUNT];

/* @which, while on, needs @other, or does not go with it. */
struct capability_rule {
    enum capability which;
    bool needs;
    enum capability other;
    const char *reason;
};
/* NULL past the end. */
const struct capability_rule *capability_rule_at(unsigned n);

struct vmig_migration;
/* Of a new handle: the defaults, and what its host implements. */
int capabilities_init(struct vmig_migration *m, const char *const *implements,
                      struct vmig_error *err);

#endif
