/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the VM runs, and who may command its devices.
 *
 * Devices have one commander at a time: the engine from the beginning to the end of a run, or else a
 * call of stop or cont, which does everything on its own thread and makes workers for itself. While a
 * run goes on a stop waits for its engine, which ends the round and stops the VM on its way into the
 * pause; only where the engine waits for a peer before anything was touched it leaves the command to
 * others. A cont ends the run. So the barriers of crew.c never have two callers.
 */
#ifndef LIB_MIGRATION_RUN_STATE_H
#define LIB_MIGRATION_RUN_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <vfio-migrate/run-state.h>
#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

/* The section that tells it, QEMU's. */
#define RUN_STATE_IDSTR "globalstate"

struct run_control {
    /* guarded by the migration's lock */
    enum vmig_run_state now;
    /* of a run: where a failure leads back to, and what the target is told. A stop or a cont meanwhile
     * changes it. */
    enum vmig_run_state before;
    enum vmig_run_state began;   /* where that was when the run began */
    enum vmig_run_state arrived; /* target: what the stream says */
    bool taken;                  /* somebody has the command: */
    pthread_t commander;
    bool told;      /* source: the stream has said `before` */
    bool stop_told; /* STOP was the last event */
    bool elsewhere; /* POSTMIGRATE: whoever took it over may run it */
    bool snapshot;  /* this run is one */
    /* the commander's, and while a step runs the workers': as devices were told, where they end */
    enum vmig_run_state applied;
    /* any thread: callers of stop that wait for the engine */
    atomic_uint stops;
};

/* May one follow the other? By itself, that is: the host's word may lead anywhere. */
bool run_state_is_legal(enum vmig_run_state from, enum vmig_run_state to);

/* ---- a run's beginning and end, called with the lock held ---- */
/* -EBUSY: the VM is none that could be sent. */
int run_state_may_send_locked(struct vmig_migration *m, struct vmig_error *err);
/* The command is the caller's; false: somebody else has it, wait. */
bool run_state_take_locked(struct vmig_migration *m);
void run_state_give_back_locked(struct vmig_migration *m);
bool run_state_is_mine_locked(const struct vmig_migration *m);
void run_state_begin_locked(struct vmig_migration *m, bool source, bool snapshot);

/* ---- the engine ---- */
/* Nothing of the devices is touched until run_state_return(): others may command them. */
void run_state_leave(struct vmig_migration *m);
void run_state_return(struct vmig_migration *m);
/* Source, after that: -EIO when a stop meanwhile failed and left the VM standing. */
int run_state_check(struct vmig_migration *m, struct vmig_error *err);
/* Will it run when nothing goes wrong? */
bool run_state_runs(struct vmig_migration *m);
/* Somebody wants the VM stopped: a round ends early. Any thread. */
bool run_state_interrupts(struct vmig_migration *m);
/* Source: all stands still. @asked: because somebody wanted that, who is told so. */
void run_state_stopped(struct vmig_migration *m, bool asked);
/* The devices are about to go back, to run if they ran. */
void run_state_resumes(struct vmig_migration *m);
/* Everything runs, or stays as it was where it did not before. */
void run_state_restored(struct vmig_migration *m);
/* The host could not start the workload, */
void run_state_not_started(struct vmig_migration *m);
/* or a device has lost its state: nothing can go on. */
void run_state_broken(struct vmig_migration *m);
/* Target: it is all here, and this is its VM now. Is it to run? */
bool run_state_arrived(struct vmig_migration *m);
/* Target: it is not, and will not be. */
void run_state_withdrawn(struct vmig_migration *m);
/* Target: it did not start, nothing of it runs, and it is still to be resolved. */
void run_state_waits(struct vmig_migration *m);
/* Source: it went. @elsewhere: whoever has it may run it. */
void run_state_moved(struct vmig_migration *m, bool elsewhere);
/* Tell devices where they are to go back to, if that has changed. */
void run_state_apply(struct vmig_migration *m);

/* ---- on the wire ---- */
/* Source: -EOPNOTSUPP when the target cannot be told that the VM is paused. */
int run_state_may_be_told(struct vmig_migration *m, struct vmig_error *err);
/* The whole section, if the target knows it. @description: NULL, or where its element of "devices"
 * goes. */
int run_state_write(struct vmig_migration *m, uint32_t section_id, struct writer *w,
                    struct writer *description, struct vmig_error *err);
/* Target: its payload. -EPROTO: the name is unknown, or it is none. */
int run_state_read(struct vmig_migration *m, uint32_t version, struct reader *r,
                   struct vmig_error *err);

#endif
