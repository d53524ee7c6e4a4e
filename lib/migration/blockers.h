/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in the way of a migration, and what should be known of it: worked out anew, whenever
 * somebody asks, from the participants as they are (participant/obstacles.h), so that nothing can be
 * left behind by what has gone. Only the host's own blockers are kept, and which warnings it was told.
 */
#ifndef LIB_MIGRATION_BLOCKERS_H
#define LIB_MIGRATION_BLOCKERS_H

#include <vfio-migrate/settings.h>

#define OWN_BLOCKERS_MAX 256

struct participant;

/* The host's own, under the migration's lock. */
struct own_blockers {
    struct own_blocker {
        uint64_t id;
        struct vmig_blocker blocker;
    } * all;
    unsigned count;
    uint64_t last_id;
};

/* The table of vfio-migrate(7). */
struct blocker_row {
    const char *code;
    bool receive_too;
};
extern const struct blocker_row blocker_table[];
extern const unsigned blocker_table_rows;

/* All with the lock held. */

/* May the source (or with @receiving the target) begin, as far as blockers are concerned? */
int blockers_refuse_run_locked(struct vmig_migration *m, bool receiving, struct vmig_error *err);
/* The source's capabilities and its VFIO devices: do they go together? @snapshot: the workload goes on
 * here afterwards, which is exempt. */
int blockers_veto_locked(const struct vmig_migration *m, bool snapshot, struct vmig_error *err);
/* @p was added: may it stay? */
int blockers_accept_locked(struct vmig_migration *m, const struct participant *p,
                           struct vmig_error *err);
/* Something has changed: is there a blocker now although there must be none? */
int blockers_refuse_new_locked(struct vmig_migration *m, struct vmig_error *err);

/* Without the lock: something has changed; tell the host what is new to be warned of. */
void blockers_warn(struct vmig_migration *m);
/* Nothing is running any more. */
void blockers_done(struct own_blockers *own);

#endif
