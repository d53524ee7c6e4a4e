/* SPDX-License-Identifier: BSD-3-Clause */
/* Who moves: participants come and go while no migration runs. */
#ifndef LIB_MIGRATION_PARTICIPANTS_H
#define LIB_MIGRATION_PARTICIPANTS_H

#include "lib/migration/migration.h"

struct participant *participant_find(struct vmig_migration *m, const char *id);
/* @desc is copied. Refused with what it brings up, see blockers.h; its opaque is then still the
 * caller's. */
int participant_add(struct vmig_migration *m, const struct participant *desc,
                    struct vmig_error *err);
/* With the lock held: the others close up. Let go of it with participant_free(), without the lock. */
void participant_take_out_locked(struct vmig_migration *m, struct participant *p);
/* Of one whose worker was abandoned, which may come back to it, when the migration ends. */
void participant_free(struct participant *p);
/* All, at the end. */
void participants_free(struct vmig_migration *m);

#endif
