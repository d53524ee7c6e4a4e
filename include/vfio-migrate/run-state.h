/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the VM runs: QEMU's run states, stop and cont, snapshots.
 *
 *   vmig_migration_stop(m, &err);                           paused: the workload, then its devices
 *   vmig_migration_snapshot(m, "file:/var/lib/vm1", &err);  saved, and goes on as it was
 *   vmig_migration_cont(m, &err);                           the devices, then the workload
 *
 * The run state travels: a VM that was paused stays paused at the target, until cont there.
 */
#ifndef VFIO_MIGRATE_RUNSTATE_H
#define VFIO_MIGRATE_RUNSTATE_H

#include <vfio-migrate/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmig_migration;

/* Only in RUNNING does anything of the VM run. What leads from one to another is a table in
 * vfio-migrate(7). Those marked * the library never enters by itself: a host says them, or a stream
 * brought them. */
enum vmig_run_state {
    VMIG_RUN_STATE_DEBUG,     /* * */
    VMIG_RUN_STATE_INMIGRATE, /* waits for a state to be received, or receives it */
    VMIG_RUN_STATE_INTERNAL_ERROR, /* its state is lost (a device's, or a receive into it failed), so it cannot go on */
    VMIG_RUN_STATE_IO_ERROR,       /* * */
    VMIG_RUN_STATE_PAUSED,         /* stopped by stop(), or arrived so */
    VMIG_RUN_STATE_POSTMIGRATE,    /* its state went elsewhere */
    VMIG_RUN_STATE_PRELAUNCH,      /* * did not run yet */
    VMIG_RUN_STATE_FINISH_MIGRATE, /* stands still for its migration */
    VMIG_RUN_STATE_RESTORE_VM,     /* * */
    VMIG_RUN_STATE_RUNNING,
    VMIG_RUN_STATE_SAVE_VM,        /* stands still for a snapshot */
    VMIG_RUN_STATE_SHUTDOWN,       /* * the guest switched itself off */
    VMIG_RUN_STATE_SUSPENDED,      /* * */
    VMIG_RUN_STATE_WATCHDOG,       /* * */
    VMIG_RUN_STATE_GUEST_PANICKED, /* * */
    VMIG_RUN_STATE_COUNT
};
/* QEMU's word: "finish-migrate"; "?" for another number. Static string. */
const char *vmig_run_state_name(enum vmig_run_state state);

/* A new migration's is RUNNING. Any thread; what it says may be over when it returns. */
enum vmig_run_state vmig_migration_run_state(struct vmig_migration *migration);

/* The host's word: in which run state the VM is, for what the library cannot know. Nothing is stopped
 * or started. For a VM that did not run yet (PRELAUNCH), waits to receive (INMIGRATE), or is fresh
 * after a reset of everything (PAUSED or RUNNING, out of INTERNAL_ERROR or SHUTDOWN). PAUSED out of
 * POSTMIGRATE is the word that whoever took the VM over is gone and never ran it: cont() is then no
 * longer refused. -EINVAL no run state of its own (the library's FINISH_MIGRATE, SAVE_VM, POSTMIGRATE);
 * -EBUSY a migration runs. */
int vmig_migration_set_run_state(struct vmig_migration *migration, enum vmig_run_state state,
                                 struct vmig_error *err);

/* Stop the VM: the host's stop(), then all devices in parallel to their P2P state, then all to STOP.
 * Nothing to do where it does not run. 0: it does not run, and will not before cont().
 *
 * While it is sent, its devices go to STOP_COPY instead and their streams go on: the rest is sent, and
 * the VM is paused at the target. Then a stop may wait for the end of a round, or as long as the
 * source waits for its peer, until a cancel ends that; one that
 * comes in the pause is heeded as long as the target has not been told yet ("handover-running").
 *
 * Any thread but those on which the library is just calling the host, which would wait for
 * themselves: -EDEADLK. Devices and participants must not be added or removed meanwhile. Host
 * callbacks come on this thread, or on that of send.
 * -EBUSY: the state is being received, or the hand-over runs or is unresolved; reason and text say
 * which. Otherwise a device or the host refused: it runs on ("workload-stopped",
 * "device-state-lost": it stands still). */
int vmig_migration_stop(struct vmig_migration *migration, struct vmig_error *err);

/* The other way round: all devices to their P2P state, then all to RUNNING, then the host's start().
 * Nothing to do where it runs. 0: it runs.
 *
 * Of a paused VM that is being sent: that migration fails ("vm-continued") with everything as after any
 * failure, the VM runs here when this returns, and can be migrated again.
 *
 * Threads as for stop(). -EBUSY as there, also for the pause of a migration, which ends by itself or is
 * cancelled. -EPERM: it went to a target that may run it ("runs-elsewhere", see
 * vmig_migration_set_run_state()); after one that was sent to a file it may go on, for a file does not
 * run. -ENOTRECOVERABLE: it has to be reset first ("reset-required"). Otherwise a device or the host
 * refused, and the VM stays paused. */
int vmig_migration_cont(struct vmig_migration *migration, struct vmig_error *err);

/* As vmig_migration_send() to @address (file:PATH, or exec:COMMAND or fd:N that is a pipe or a file),
 * and then the VM goes on as it was: a running one runs again, a paused one stays paused. The file is
 * there only when it is complete and durable. vmig_migration_receive() of it, here or elsewhere, starts
 * or pauses the VM as it was saved. -EINVAL: @address is of somebody who would run it. */
int vmig_migration_snapshot(struct vmig_migration *migration, const char *address,
                            struct vmig_error *err);

#ifdef __cplusplus
}
#endif
#endif
