/* SPDX-License-Identifier: BSD-3-Clause */
/* Settling an unresolved hand-over; the rules are docs/handover.pml's. */
#ifndef LIB_MIGRATION_HANDOVER_H
#define LIB_MIGRATION_HANDOVER_H

#include <vfio-migrate/migration.h>

/* What one side answers when the other wants to run. */
enum handover_answer {
    ANSWER_YOURS,       /* it has nothing, or yields: it does not run any more by itself */
    ANSWER_RUNNING,     /* it runs, or has not given up */
    ANSWER_BUSY,        /* it is being resolved itself, or is not ready to say */
    ANSWER_UNREACHABLE, /* no answer came */
};

/* Answer the other side's question. */
enum handover_answer handover_answer(struct vmig_migration *m);
/* The other side runs now: a side that yielded to it discards. */
void handover_peer_runs(struct vmig_migration *m);

#endif
