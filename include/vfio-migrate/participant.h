/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Participants: anything with state to move. Guest RAM and VFIO devices are participants inside the
 * library; an embedding program can add its own.
 *
 * Threads: the migration gives each participant a worker thread of its own, and every operation is
 * called on that thread, one at a time. Steps run in parallel over participants, with a barrier
 * after each step. An operation may block; the migration watches deadlines. Operations that a
 * participant does not need are NULL.
 *
 * Every operation returns 0 or a negative errno and fills @err.
 */
#ifndef VFIO_MIGRATE_PARTICIPANT_H
#define VFIO_MIGRATE_PARTICIPANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmig_writer; /* where a participant's bytes go; the migration's */

/* Send @length_bytes of this participant's data, in order. Blocks while the target is slow; the
 * bytes are hashed and sent from @buf before it returns. -ECANCELED when the migration ends. */
int vmig_writer_put(struct vmig_writer *writer, const void *buf, size_t length_bytes,
                    struct vmig_error *err);

struct vmig_pending {
    uint64_t precopy_bytes;   /* could be sent now, while everything runs */
    uint64_t stop_copy_bytes; /* can only be sent after the stop; UINT64_MAX: unknown */
    uint64_t initial_bytes;   /* part of precopy_bytes that must be loaded before the switch */
    bool initial_again;       /* initial_bytes are new ones since the last question */
    uint64_t reserved[4];     /* leave 0; new members will come out of these */
};

/* Of a migration, with QEMU's names; STATUS in vfio-migrate(7) says which follows which. */
enum vmig_status {
    VMIG_STATUS_NONE,
    VMIG_STATUS_SETUP,
    VMIG_STATUS_ACTIVE,
    VMIG_STATUS_PRE_SWITCHOVER, /* source: everything stands still until somebody says go on */
    VMIG_STATUS_DEVICE,         /* source: everything stands still, the rest of the state moves */
    VMIG_STATUS_COMPLETED,
    VMIG_STATUS_CANCELLING,
    VMIG_STATUS_CANCELLED,
    VMIG_STATUS_FAILED,
    VMIG_STATUS_UNRESOLVED, /* ours: the hand-over hangs, see vmig_migration_resolve() */
    VMIG_STATUS_COUNT
};

#define VMIG_OFFERS_BYTES_MAX 8192 /* of all participants together, see offer() */

struct vmig_participant_ops {
    size_t size; /* sizeof(struct vmig_participant_ops) */

    /* ---- source ---- */
    /* May the migration start? Nothing has been touched, and must not be. */
    int (*prepare)(void *opaque, struct vmig_error *err);
    /* Start tracking; after success cleanup() will be called. */
    int (*setup)(void *opaque, struct vmig_error *err);
    /* How much is left. @exact: now, at whatever cost; otherwise a guess will do. */
    int (*pending)(void *opaque, bool exact, struct vmig_pending *ret, struct vmig_error *err);
    /* Send at most about @budget_bytes while running. */
    int (*iterate)(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                   struct vmig_error *err);
    /* The workload stands still from here: quiesce() is over on all participants before stop() is
     * called on any. */
    int (*quiesce)(void *opaque, struct vmig_error *err);
    int (*stop)(void *opaque, struct vmig_error *err);
    /* Send all that is left. */
    int (*complete)(void *opaque, struct vmig_writer *writer, struct vmig_error *err);
    /* The migration failed: undo stop(), then quiesce(), with a barrier between them. Called in any
     * phase after setup(); must leave the participant running if it can. */
    int (*resume_p2p)(void *opaque, struct vmig_error *err);
    int (*resume)(void *opaque, struct vmig_error *err);

    /* ---- target ---- */
    int (*load_setup)(void *opaque, struct vmig_error *err);
    /* @buf: the next bytes, in the order sent, cut as the wire likes. */
    int (*load)(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err);
    /* All is there: check it and take it over. Last chance to refuse. */
    int (*load_complete)(void *opaque, struct vmig_error *err);
    /* The source gave up: go, with a barrier between the two. */
    int (*start_p2p)(void *opaque, struct vmig_error *err);
    int (*start)(void *opaque, struct vmig_error *err);
    /* The migration failed: drop what was loaded. */
    int (*load_abort)(void *opaque, struct vmig_error *err);

    /* ---- both ---- */
    /* After the pause; may be slow. @moved: this side gave up and the other runs, so it is never set
     * at the target: what became of it was told there by start() or load_abort(). */
    void (*cleanup)(void *opaque, bool moved);

    /* ---- source ---- */
    /* Undo quiesce() alone: the switch is put off and rounds go on, since a device announced new
     * initial bytes. Comes before the workload runs again. With a quiesce() and without this, the
     * switch goes ahead. */
    int (*unquiesce)(void *opaque, struct vmig_error *err);

    /* ---- both ---- */
    /* The migration's status is another now. Not on the participant's own thread but on the one that
     * called send, receive or resolve, also while another operation runs; must return soon. Comes before
     * the host's event. With cancelled and failed, devices are RUNNING again and the workload runs where
     * it did. Tables of a size that ends before this are fine. */
    void (*notify)(void *opaque, enum vmig_status status);

    /* ---- before anything is touched, over a connection ---- */
    /* On the thread that called send or receive, and on no other meanwhile; must return soon.
     * Source: what the target is to look at before it agrees, put at @ret; *ret_bytes is set to how much,
     * at most @max_bytes (VMIG_OFFERS_BYTES_MAX, less what others took). */
    int (*offer)(void *opaque, void *ret, size_t max_bytes, size_t *ret_bytes,
                 struct vmig_error *err);
    /* Target: that, borrowed; untrusted as all that a peer says. Names, sizes and versions agree
     * already. A refusal ends the migration, and its text is the source's error, too. Not called where
     * nothing was offered: by an older source, or in a file or pipe, which has no way back. */
    int (*accept)(void *opaque, const void *offer, size_t length_bytes, struct vmig_error *err);
};

#ifdef __cplusplus
}
#endif
#endif
