/* SPDX-License-Identifier: BSD-3-Clause */
/* The sections that every stream has, whatever carries the data: START of each participant, and the
 * tail of device configuration, manifest, VMState, EOF and, on one-way addresses, the description. */
#ifndef LIB_MIGRATION_SECTIONS_H
#define LIB_MIGRATION_SECTIONS_H

#include "lib/migration/migration.h"

/* As CONFIGURATION and the description have it. */
#define SECTIONS_MACHINE "vfio-migrate"

int sections_send_setup(struct vmig_migration *m, struct vmig_error *err);
int sections_send_tail(struct vmig_migration *m, struct vmig_error *err);

/* Is what arrived what @theirs says was sent? @only_id: the name in the stream of the only device
 * here, or "". */
int sections_check_manifest(struct vmig_migration *m, const struct manifest *theirs,
                            const char *only_id, struct vmig_error *err);

#endif
