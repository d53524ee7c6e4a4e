/* SPDX-License-Identifier: BSD-3-Clause */
/* The target while it reads a stream: shared by target.c (what comes when) and target-sections.c
 * (what stands in the sections of memory and devices). */
#ifndef LIB_MIGRATION_TARGET_H
#define LIB_MIGRATION_TARGET_H

#include "lib/migration/migration.h"

struct target {
    struct vmig_migration *m;
    struct reader reader;
    struct qemu_stream stream;
    int listen_fd;
    bool return_path, greeted, ready, manifest_seen, run_state_seen;
    /* Something has begun that the source sends in one piece: it does not pause in the middle. */
    bool inside, stalled;
    bool cleared;            /* what was in memory before and is not the source's */
    struct ram_block *block; /* of the RAM item before, across sections */
    char only_id[256];       /* what the stream calls the only device here */
    struct manifest manifest;
};

/* "section NAME at offset N, at byte M: WHAT", with the reader's error when it has one. */
int target_damaged(struct target *t, const struct qemu_section *s, struct vmig_error *err,
                   const char *what);

/* Wait, however long it takes, for the first byte of something that is sent in one piece. */
void target_wait(struct target *t);

/* Payloads, up to the footer. */
int target_load_ram(struct target *t, const struct qemu_section *s, struct participant *p,
                    struct vmig_error *err);
int target_load_device(struct target *t, const struct qemu_section *s, struct participant *p,
                       struct vmig_error *err);

#endif
