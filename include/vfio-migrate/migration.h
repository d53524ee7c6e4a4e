/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One move of a workload with its memory and devices, source or target side.
 *
 *   struct vmig_migration *m = vmig_migration_new(&host, &err);
 *   vmig_migration_add_ram(m, &block, &err);
 *   vmig_migration_add_device(m, device, &err);
 *   vmig_migration_send(m, "tcp:host:4444", &err);      the source, or
 *   vmig_migration_receive(m, "tcp:0:4444", &err);      the target
 *
 * Threads: send and receive block their caller; cancel, continue, resolve, query, stop, cont,
 * parameters and capabilities may be called from any thread meanwhile. Host callbacks are called on
 * the thread that called send, receive, resolve, stop, cont or snapshot, with no lock held. A handle
 * lives as long as the VM: it is used for one migration at a time, and again after each, however it
 * ended: a target sends what it received, a source receives it back. Who asks for the next one as soon
 * as the last is told to have ended waits until that has returned.
 */
#ifndef VFIO_MIGRATE_MIGRATION_H
#define VFIO_MIGRATE_MIGRATION_H

#include <vfio-migrate/device.h>
#include <vfio-migrate/participant.h>
#include <vfio-migrate/run-state.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmig_migration;

struct vmig_ram_block {
    const char *name;    /* same on both sides; 1 to 255 bytes */
    uint64_t iova;       /* where devices see it; same on both sides */
    uint64_t size_bytes; /* multiple of 4,096; same on both sides */
    void *vaddr;         /* in this process, page aligned; the host owns it */
    int fd;              /* shared memory behind it, borrowed, or -1 */
    uint64_t fd_offset;
};

/* "pre-switchover" for VMIG_STATUS_PRE_SWITCHOVER; "?" for a number that is none. Static string. */
const char *vmig_status_name(enum vmig_status status);

enum vmig_event_kind {
    VMIG_EVENT_STATUS,    /* status changed */
    VMIG_EVENT_ROUND,     /* a pre-copy round ended */
    VMIG_EVENT_STAGE,     /* a stage began */
    VMIG_EVENT_PROGRESS,  /* some more bytes; at most ten a second */
    VMIG_EVENT_WAITING,   /* a device takes long, or something holds up a cancel; text names it and
                             what it was asked for */
    VMIG_EVENT_LISTENING, /* target: ready for the source; text is the address with the real port */
    VMIG_EVENT_WARNING,   /* something that should be known; text, and code */
    VMIG_EVENT_STATE_LOST, /* a device was reset or is lost, text says which: its state is gone. At
                            * the source the workload stands still from here on */
    VMIG_EVENT_QUIESCE_NOTICE, /* as the host's quiesce_notice(); lead_ms */
    VMIG_EVENT_TRACKING, /* source: who tells what a device writes to memory; text names both */
    VMIG_EVENT_STOP,     /* the VM stands still: the workload and then its devices */
    VMIG_EVENT_RESUME,   /* it is about to run: first its devices. If they do not, STOP follows */
    VMIG_EVENT_DEVICE_STATE, /* a device changed its migration state; text is its id. Only of
                              * devices with the setting migration_events */
};
struct vmig_event {
    enum vmig_event_kind kind;
    enum vmig_status status;
    enum vmig_stage stage;
    unsigned round;
    uint64_t sent_bytes, remaining_bytes;
    const char *text; /* borrowed for the call; NULL where there is none */
    unsigned lead_ms; /* QUIESCE_NOTICE: until the workload stops, 0 when that is called off */
    const char *code; /* WARNING: stable, see vfio-migrate(7); borrowed as text. Else NULL */
    enum vmig_state device_state; /* DEVICE_STATE: the new one */
};

/* The embedding program. NULL members are skipped. */
struct vmig_host {
    size_t size; /* sizeof(struct vmig_host) */
    void *opaque;
    /* Stop the vCPUs or threads; when it returns nothing of the workload writes to memory or
     * touches a device. After an error start() is called, for what was stopped by then. */
    int (*stop)(void *opaque, struct vmig_error *err);
    /* Start them: on the target after the hand-over, on the source after a failure (then all
     * devices are RUNNING again). */
    int (*start)(void *opaque, struct vmig_error *err);
    void (*event)(void *opaque, const struct vmig_event *event);
    /* With the parameter quiesce-notice, at the source: the workload will be stopped in about
     * @lead_ms, never sooner; rounds go on until then. 0: that is called off, because the pause
     * would no longer keep downtime-limit, the switch was put off, or the migration failed or was
     * cancelled, before stop() or after it. The next attempt is announced anew. Called on the
     * thread of send; it must return soon, for its time is part of the lead. */
    void (*quiesce_notice)(void *opaque, unsigned lead_ms);
    /* Capabilities that the host implements itself, with participants of its own: "postcopy-ram",
     * "background-snapshot". NULL-terminated; read by vmig_migration_new() alone. NULL: none, and
     * they cannot be switched on. */
    const char *const *implements;
};

/* @host is copied. -EINVAL: it implements what is not a host's. */
struct vmig_migration *vmig_migration_new(const struct vmig_host *host, struct vmig_error *err);
/* Ends what is open: an unresolved hand-over is discarded. NULL is fine. Returns NULL. An operation
 * of the host's own participant that hung and was abandoned may still come back to its opaque. */
struct vmig_migration *vmig_migration_free(struct vmig_migration *migration);

/* Add what moves, before send or receive. Devices and memory are borrowed and must outlive the
 * migration. Order does not matter; names must agree on both sides. */
int vmig_migration_add_ram(struct vmig_migration *migration, const struct vmig_ram_block *block,
                           struct vmig_error *err);
int vmig_migration_add_device(struct vmig_migration *migration, struct vmig_device *device,
                              struct vmig_error *err);
int vmig_migration_add_participant(struct vmig_migration *migration, const char *id,
                                   const struct vmig_participant_ops *ops, void *opaque,
                                   struct vmig_error *err);

/* Who tells, while the workload runs, what a device writes to memory. */
enum vmig_dirty_tracking {
    VMIG_DIRTY_AUTO,   /* the device's own log if it works, else its IOMMU if that knows */
    VMIG_DIRTY_DEVICE, /* its own log */
    VMIG_DIRTY_IOMMU,  /* the IOMMU in front of it */
    VMIG_DIRTY_NONE,   /* nobody: all memory goes again in the pause */
    VMIG_DIRTY_COUNT
};
/* "auto", "device", "iommu", "none"; "?" for another number. Static string. */
const char *vmig_dirty_tracking_name(enum vmig_dirty_tracking how);

/* Source: say so for the device with that id, or with NULL for all that were added. AUTO otherwise.
 * Where nobody can tell, a migration is refused ("vfio-no-dirty-tracking") unless the device has NONE
 * or all-dirty is set. -ENOENT no such device was added, -EBUSY a migration runs. */
int vmig_migration_set_dirty_tracking(struct vmig_migration *migration, const char *device_id,
                                      enum vmig_dirty_tracking how, struct vmig_error *err);

/* Capabilities: what a migration makes use of, on or off, with QEMU's names; CAPABILITIES in
 * vfio-migrate(7) is the table. */
struct vmig_capability {
    const char *name;
    bool on;
};
/* Switch those in @list; the rest stay as they are. What comes of it is checked as a whole, and all
 * are set or none. -ENOENT unknown; -EOPNOTSUPP one that cannot be switched on here ("not-implemented",
 * the text says why and what to use instead); -EINVAL two that do not go together
 * ("capability-conflict"); -EBUSY a migration runs. */
int vmig_migration_set_capabilities(struct vmig_migration *migration,
                                    const struct vmig_capability *list, unsigned count,
                                    struct vmig_error *err);
/* All of them as they are now, also those that cannot be switched on, in QEMU's order: @max at most
 * are written, how many there are is returned. Names are static strings. Any thread. */
unsigned vmig_migration_capabilities(struct vmig_migration *migration, struct vmig_capability *ret,
                                     unsigned max);

/* The virtual machine's UUID, 16 bytes, NULL: none, the default. With the capability validate-uuid a
 * source sends it. A target that has one refuses a stream of another ("uuid-mismatch"), one that has
 * none warns. -EBUSY a migration runs. */
int vmig_migration_set_uuid(struct vmig_migration *migration, const uint8_t *uuid,
                            struct vmig_error *err);

/* Who tells what the workload writes to memory, where this process's own page tables do not: a VMM's
 * hypervisor, for instance. */
struct vmig_tracker_ops {
    size_t size; /* sizeof(struct vmig_tracker_ops) */
    /* All calls come on the worker thread of memory. From when start() returns until stop() is called,
     * every write to any block that was added is reported: by the first sync() that begins after it,
     * or by one that is under way. A negative errno fails the migration. */
    int (*start)(void *opaque, struct vmig_error *err);
    /* Set bit n of @bitmap (u64 words in host order, bit n % 64 of word n / 64) for each page n, of
     * 4,096 bytes from the block's beginning, that was written since start() or the last call. Bits
     * that are set stay set. @block is as it was added. */
    int (*sync)(void *opaque, const struct vmig_ram_block *block, uint64_t *bitmap,
                struct vmig_error *err);
    /* Once for each start() that returned 0. */
    void (*stop)(void *opaque);
};
/* Source: ask @ops instead of looking for the writes of this process (the parameter tracker, which
 * says how that is done, does not matter then). What this process itself writes to memory is the
 * host's to report, too; devices have logs of their own. @ops is borrowed; NULL: nobody, as in the
 * beginning. -EINVAL a member is missing, -EBUSY a migration runs. */
int vmig_migration_set_tracker(struct vmig_migration *migration, const struct vmig_tracker_ops *ops,
                               void *opaque, struct vmig_error *err);

/* Parameters: numbers by name, QEMU's where QEMU has the same thing; PARAMETERS in vfio-migrate(7) is
 * the table. -ENOENT unknown; -EOPNOTSUPP one of QEMU's that has no counterpart here
 * ("not-implemented"); -ERANGE out of range; -EBUSY a migration runs, and it is not one of those that
 * can be changed meanwhile, from any thread. */
int vmig_migration_set(struct vmig_migration *migration, const char *name, uint64_t value,
                       struct vmig_error *err);
int vmig_migration_get(struct vmig_migration *migration, const char *name, uint64_t *ret,
                       struct vmig_error *err);
struct vmig_parameter {
    const char *name, *unit, *meaning; /* static strings, as all here */
    uint64_t min, max, standard, value;
    bool live;          /* can be changed while a migration runs */
    const char *reason; /* where range or default are not QEMU's: why; else NULL */
};
/* As vmig_migration_capabilities(). */
unsigned vmig_migration_parameters(struct vmig_migration *migration, struct vmig_parameter *ret,
                                   unsigned max);

/* With the capability pause-before-switchover: go on from @state, which must be
 * VMIG_STATUS_PRE_SWITCHOVER and what the migration is in. Returns at once; any thread, also from an
 * event. -EINVAL "wrong-status": the text names both. */
int vmig_migration_continue(struct vmig_migration *migration, enum vmig_status state,
                            struct vmig_error *err);

/* Others that hear events, after the host, on the same threads and under the same rules. From here on
 * until removed, VMIG_OBSERVERS_MAX at once. -EBUSY there are so many already; -EEXIST this one is
 * there. Any thread, at any time. */
#define VMIG_OBSERVERS_MAX 16
int vmig_migration_add_observer(struct vmig_migration *migration,
                                void (*event)(void *opaque, const struct vmig_event *event),
                                void *opaque, struct vmig_error *err);
/* When it returns the observer is not being called and will not be: it waits for calls that run, but
 * not for those on its own thread, so that an observer may remove itself. What that call waits for
 * must therefore not be held here. -ENOENT no such observer. */
int vmig_migration_remove_observer(struct vmig_migration *migration,
                                   void (*event)(void *opaque, const struct vmig_event *event),
                                   void *opaque, struct vmig_error *err);

/* Where the peer or an operator can settle an unresolved hand-over, ask for the status or cancel: a
 * UNIX socket at @path, served while send, receive or the wait for a resolution runs. */
int vmig_migration_set_control(struct vmig_migration *migration, const char *path,
                               struct vmig_error *err);

/* Source: remember in the file at @path (copied; NULL: nowhere, the default) what the terms of the
 * pause were, and predict the next ones from it. Its directory must exist. Read when a migration
 * begins, replaced as a whole after one that succeeded; several processes may use one file. It keeps
 * the last few measurements of each kind of device for half a year, in half a MiB at most. A file that
 * is damaged, or cannot be read or written, is a VMIG_EVENT_WARNING and no error. -EBUSY a migration
 * runs, -ENOMEM. */
int vmig_migration_set_history(struct vmig_migration *migration, const char *path,
                               struct vmig_error *err);

/* Send to, receive from @address: tcp:HOST:PORT, unix:PATH, fd:N, file:PATH, exec:COMMAND. N is
 * copied and stays the caller's; the other side hears of a failure by the end of the connection, so
 * it has to be closed then.
 * 0: completed (the source has given up and the target runs; on a one-way address: everything is
 * written and durable).
 * -EOPNOTSUPP at VMIG_STAGE_PREPARE: blocked (vfio-migrate/settings.h); nothing was tried, no event
 * was sent, and the status is what it was.
 * -ECANCELED: cancelled. -EUCLEAN: the hand-over hangs, see vmig_migration_resolve().
 * Else failed: the source's devices are RUNNING and the workload was started again, unless the
 * reason is "device-state-lost" or "workload-stopped"; then the workload stands still, also where
 * it ran before (VMIG_EVENT_STATE_LOST, vmig_device_health() of the device named). RECOVERY in
 * vfio-migrate(7) has the table of who ends with what. */
int vmig_migration_send(struct vmig_migration *migration, const char *address,
                        struct vmig_error *err);
int vmig_migration_receive(struct vmig_migration *migration, const char *address,
                           struct vmig_error *err);

/* Ask a running send or receive (or the next one) to end; returns at once. Any thread, also a signal
 * handler. Within 100 ms send or receive returns -ECANCELED, with everything back where it was, or a
 * VMIG_EVENT_WAITING names what it waits for ("cancelling: waiting for device0 to leave STOP_COPY
 * (resume), 340 ms so far"), again each second and whenever this is called again. Past the point of
 * no return it has no effect, and a VMIG_EVENT_WARNING says so. */
void vmig_migration_cancel(struct vmig_migration *migration);

enum vmig_resolution {
    VMIG_RESOLVE_RUN,     /* this side goes on */
    VMIG_RESOLVE_DISCARD, /* this side lets go of what it holds */
};
/* Settle an unresolved hand-over. RUN first makes the other side discard through its control
 * socket; where that cannot be reached it needs @other_side_gone, the operator's word.
 * -EBUSY: the other side runs. -ENOTCONN: it cannot be reached and no word was given.
 * -EALREADY: nothing to resolve. */
int vmig_migration_resolve(struct vmig_migration *migration, enum vmig_resolution resolution,
                           bool other_side_gone, struct vmig_error *err);
/* After send or receive returned -EUCLEAN: block until the control socket (or another thread)
 * resolved it or cancel was called. 1: this side runs now; 0: it discarded; -ECANCELED; or what kept
 * this side from running after it was told to. */
int vmig_migration_wait_resolved(struct vmig_migration *migration, struct vmig_error *err);

#define VMIG_DEVICES_MAX 64

/* One device's bytes and times, by phase: its data while the workload runs and in the pause, and what
 * each step took. At the source load_ms and resume_ms are what the target said. */
struct vmig_device_statistics {
    char id[64];
    uint64_t precopy_bytes, stop_copy_bytes; /* of device data: given, at the target taken */
    /* Entering PRE_COPY or RESUMING; to the P2P state; to STOP_COPY; giving the rest of its data; out of
     * RESUMING, having checked its data; to RUNNING, at a source that failed as well. */
    double setup_ms, quiesce_ms, stop_ms, complete_ms, load_ms, resume_ms;
};
/* More of the same device. */
struct vmig_device_progress {
    enum vmig_state state; /* where our last request left it */
    const char *step;      /* what it is doing: "iterate"; "" when nothing. Static string */
    uint64_t
        remaining_bytes; /* source: what it said it has, less what it gave since; 100 GiB where it
                                 does not tell */
    double iterate_ms;   /* source: giving its data in all rounds */
    double loading_ms;   /* target: taking its data */
    double cleanup_ms;   /* after the pause */
};
/* What a pause is made of; the terms together are its length, but for a wait in pre-switchover. */
struct vmig_pause {
    double workload_stop_ms;  /* the host's stop() */
    double quiesce_ms;        /* slowest device to its P2P state */
    double stop_ms;           /* slowest device to STOP_COPY */
    double data_ms;           /* last dirty sync, and all data until it is loaded */
    double load_ms;           /* slowest device out of RESUMING, having checked its data */
    double handover_ms;       /* state tables, manifest, LOADED, GO, RUNNING, and whatever else */
    double start_ms;          /* slowest device to RUNNING_P2P + slowest to RUNNING */
    double workload_start_ms; /* the host's start() at the target */
    double doubt_ms;          /* what the decision added to a prediction; not part of it */
    uint64_t data_bytes;      /* what data_ms is about */
};
struct vmig_statistics {
    size_t size; /* in: sizeof(struct vmig_statistics) */
    enum vmig_status status;
    double total_ms, downtime_ms, predicted_downtime_ms;
    /* Time of each stage and bytes on the wire in it, sent or at the target received, by enum
     * vmig_stage. */
    double stage_ms[VMIG_STAGE_COUNT];
    uint64_t stage_bytes[VMIG_STAGE_COUNT];
    unsigned rounds;
    uint64_t ram_bytes;                       /* total size */
    uint64_t ram_sent_bytes;                  /* of pages with content; at the target received */
    uint64_t ram_zero_pages, ram_dirty_pages; /* dirty_pages: sent after the first round; source */
    double bandwidth_bytes_per_s;
    unsigned num_devices;
    struct vmig_device_statistics devices[VMIG_DEVICES_MAX];
    /* Source: of predicted_downtime_ms, and of downtime_ms as it was. Zeros where there is none. */
    struct vmig_pause predicted, measured;
    /* Source: of devices[i], what was chosen; AUTO: nothing was, yet or because no memory moves. */
    enum vmig_dirty_tracking dirty_tracking[VMIG_DEVICES_MAX];

    /* All bytes on all channels, framing included: sent, at the target received. The two parts are
     * those while the workload ran and those while it stood still; the target learns from the end of a
     * participant's data that it does, and until then counts everything as pre-copy. */
    uint64_t transferred_bytes, precopy_bytes, downtime_bytes;
    uint64_t data_channel_bytes; /* of them, on data channels */
    uint64_t vfio_bytes;         /* device data: the sum over all devices and both phases */
    /* Source: what is left of all that moves, of memory and of devices, as told when it was looked
     * last, less what was sent since. 0 when completed. */
    uint64_t remaining_bytes, ram_remaining_bytes;
    uint64_t page_size_bytes;
    uint64_t
        ram_normal_pages; /* with content: ram_sent_bytes is these; ram_zero_pages are the others */
    /* Source: how often it was asked what was written: in setup, before and after each round, in the
     * pause. Without memory 0. */
    uint64_t dirty_syncs;
    double dirty_pages_per_s; /* source: written by the workload and its devices between two looks;
                                 older ones weigh less. 0 when completed */
    /* In the last tenth of a second or more; once it has ended, of all of it. Pages with and without
     * content; mbps is 1,000,000 bits a second. */
    double mbps, pages_per_s;
    double setup_ms; /* until the rounds begin: the stages prepare and setup */
    double
        expected_downtime_ms; /* source: predicted_downtime_ms, or downtime-limit before there is one */
    /* Why it failed, was cancelled or hangs; code 0: nothing of the kind. While devices go back to
     * RUNNING that is known already. */
    struct vmig_error error;
    struct vmig_device_progress progress[VMIG_DEVICES_MAX]; /* of devices[i] */
    /* Source: of downtime_ms, what was spent in pre-switchover; not part of @measured, for nobody could
     * predict it. */
    double pre_switchover_ms;
};
/* Any thread; never waits for a device or a peer. While a migration runs everything is as of now, and
 * parts add up to their sum: the stages' bytes (stage_bytes) and times, too. */
void vmig_migration_query(struct vmig_migration *migration, struct vmig_statistics *ret);

#ifdef __cplusplus
}
#endif
#endif
