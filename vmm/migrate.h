/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine and the library: one struct vmig_migration as long as the machine lives, all that moves added to it
 * once, and a monitor through which somebody says when.
 *
 * Threads: the library calls back on the thread that sends or receives, which is a monitor's or, with --incoming
 * ADDRESS, ours. Nothing here waits for the main loop, and the main loop waits for none of it but in
 * migrate_free().
 */
#ifndef VMM_MIGRATE_H
#define VMM_MIGRATE_H

#include <vfio-migrate.h>

struct machine;
struct migrate;

int migrate_new(struct migrate **ret, struct machine *machine, struct vmig_error *err);
/* Cancels what runs and waits for it. NULL is fine. */
void migrate_free(struct migrate *migrate);
/* From here on somebody may ask for a migration: the guest is there, or comes from elsewhere (--incoming). Returns at
 * once; the machine's loop ends when receiving fails. */
int migrate_open(struct migrate *migrate, struct vmig_error *err);
/* Somebody wants the machine to end. False, and it is said why: not before a hand-over that hangs is settled, or it
 * is wanted once more. */
bool migrate_may_end(struct migrate *migrate);
/* After the loop: -ECANCELED when no guest came, which was said; -EUCLEAN when it ended in a hand-over that hung. */
int migrate_result(const struct migrate *migrate, struct vmig_error *err);

#endif
