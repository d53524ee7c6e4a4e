/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A migration from the inside. The story is told by source.c and target.c, top to bottom.
 *
 *   thread                         alone owns                                 may lock
 *   caller of send or receive      stages, convergence, statistics; at the    all
 *                                  target, reading of the main channel
 *   caller of stop or cont         while it has the command (run-state.h): the   lock
 *                                  workers, as the engine otherwise
 *   worker, one a participant      its participant's state; at the source     main_write, lane,
 *                                  its digest and counters; RAM's: the        lock
 *                                  dirty bitmaps
 *   return path (source)           reading of the main channel's reverse      lock
 *   lane (target), one a channel   reading of its data channel; RAM lands     lock, inbox, ram
 *                                  from here
 *   control                        the control socket                         lock, listeners
 *   watch                          waiting for a cancel                       lock, inbox
 *
 * Lock order: main_write or a lane's turn, then an inbox's, then lock, then a worker's or the throttle's. Host
 * callbacks and device calls are made with none of them held. The listeners' and the observers' are locked alone,
 * for a moment, by whoever has an event.
 */
#ifndef LIB_MIGRATION_MIGRATION_H
#define LIB_MIGRATION_MIGRATION_H

#include <pthread.h>
#include <stdatomic.h>
#include <xxhash.h>
#include <vfio-migrate/migration.h>
#include <vfio-migrate/settings.h>
#include "lib/channel/channel.h"
#include "lib/memory/ram.h"
#include "lib/memory/tracker.h"
#include "lib/migration/blockers.h"
#include "lib/migration/capabilities.h"
#include "lib/migration/compat.h"
#include "lib/migration/forecast.h"
#include "lib/migration/history.h"
#include "lib/migration/inbox.h"
#include "lib/migration/listeners.h"
#include "lib/migration/observers.h"
#include "lib/migration/parameters.h"
#include "lib/migration/run-state.h"
#include "lib/migration/statistics.h"
#include "lib/migration/turnstile.h"
#include "lib/migration/vmstates.h"
#include "lib/migration/wire.h"
#include "lib/participant/display.h"
#include "lib/participant/tracking.h"
#include "lib/stream/manifest.h"
#include "lib/stream/qemu.h"
#include "lib/worker.h"

#define PARTICIPANTS_MAX (VMIG_DEVICES_MAX + 16)
#define LANES_MAX 16
/* Longer than a link takes to recover from lost packets, as a rule; not so long that a pause becomes
 * an outage. */
#define STALL_MS 10000

enum participant_kind {
    PARTICIPANT_RAM,
    PARTICIPANT_DEVICE,
    PARTICIPANT_OTHER,
};

/* What a worker can be told to do; crew.c has the table. */
enum step {
    STEP_PREPARE,
    STEP_SETUP,
    STEP_PENDING,
    STEP_ITERATE,
    STEP_QUIESCE,
    STEP_LOOK,
    STEP_UNQUIESCE,
    STEP_STOP,
    STEP_COMPLETE,
    STEP_RESUME_P2P,
    STEP_RESUME,
    STEP_LOAD_SETUP,
    STEP_LOAD,
    STEP_LOAD_COMPLETE,
    STEP_START_P2P,
    STEP_START,
    STEP_LOAD_ABORT,
    STEP_CLEANUP,
    STEP_HALT_P2P,
    STEP_HALT,
    STEP_CONT_P2P,
    STEP_CONT,
    STEP_COUNT
};

struct vmig_writer {
    struct vmig_migration *migration;
    struct participant *participant;
};

/* Bytes a ms of the last rounds. */
#define RECENT_RATES 3
struct recent {
    double rate[RECENT_RATES];
    unsigned next;
};

/* Bytes that became dirty in some time; older ones weigh less. */
struct produced {
    double bytes, ms;
};

struct participant {
    struct vmig_migration *migration;
    unsigned index; /* in the migration, and on the wire */
    uint32_t section_id;
    char id[64];        /* as the peer knows it */
    char idstr[80];     /* its sections' name */
    char identity[160]; /* must agree on both sides; "" where anything goes */
    enum participant_kind kind;
    const struct vmig_participant_ops *ops;
    struct vmig_participant_ops hosts_ops; /* OTHER: a copy, whole however little it had */
    void *opaque;
    void (*free_opaque)(void *opaque);    /* NULL: the host's */
    struct vmig_device *device;           /* DEVICE */
    struct vmig_device_settings settings; /* DEVICE */
    enum vmig_state told_state; /* DEVICE; with the setting migration_events: the last one told */
    unsigned warned;            /* DEVICE; the warnings (bits of enum obstacle) that were told */
    struct tracking tracking;   /* DEVICE; source: RAM's worker chooses, in setup */
    struct worker *worker;
    bool lost;       /* its worker was abandoned; written with the lock held, as is: */
    bool at_channel; /* its worker is between crew_enter_channel() and crew_leave_channel() */
    struct participant *next_retired; /* of those that were removed and are lost */
    enum vmig_health health;          /* RESET, LOST: its state is gone; crew_health() knows all */
    /* What its worker asks a device for at the moment, and which: whoever waits can name it. NULL:
     * nothing. Any thread. */
    _Atomic(const char *) asks, asked;
    atomic_uint_fast64_t asks_since_ns;
    uint64_t next_warning_ns;

    enum step step; /* being or last done */
    bool wanted;    /* takes part in the step that runs */
    int step_rc;    /* of that step, once it was waited for */
    /* any thread reads these: what it does (static string; NULL: nothing), what that took, with all
     * rounds in one, and at the target with all calls that take data */
    _Atomic(const char *) doing;
    _Atomic double step_ms[STEP_COUNT], iterate_ms, loading_ms;
    /* what it had when it was looked at last, and how much it had sent then */
    _Atomic uint64_t left_bytes, left_sent_bytes;
    atomic_bool switched; /* precopy_bytes is final */

    /* source */
    struct vmig_writer writer;
    struct vmig_pending pending;
    bool pending_exact, moved;
    uint64_t budget_bytes;
    bool initial_due;      /* see announce.c */
    bool end_open;         /* its END section has begun */
    uint64_t credit_bytes; /* under lock */
    /* for the time model: what the rounds taught, and what was known before them */
    struct {
        double target_arc_ms; /* READY's word */
        uint64_t looked_data_bytes, looked_precopy_bytes, bytes_max;
        struct produced by_workload, by_itself;
        struct recent speed, shared_speed;
    } learned;
    struct forecast_part forecast;

    /* both: this participant's data in order, as sent or as received */
    XXH3_state_t *digest;
    _Atomic uint64_t data_bytes, precopy_bytes;
    uint64_t sequence;
    /* under lock: it has initial bytes; may announce new ones; how often they were announced (or
     * received), and acknowledged */
    bool precopy, begins_again;
    uint32_t initial_sent, initial_acked;

    /* target */
    struct inbox inbox;
    bool ended; /* all its data was loaded */
};

/* One data channel. */
struct lane {
    struct vmig_migration *migration;
    unsigned index;
    struct channel *channel;
    struct turnstile turns; /* source: packets are written whole */
    pthread_t thread;       /* target */
    bool running;
};

enum side { SIDE_NONE, SIDE_SOURCE, SIDE_TARGET };

/* Who holds what at the end; the rules are docs/handover.pml. */
enum handover {
    HANDOVER_NONE,       /* source: owns; target: has not everything */
    HANDOVER_LOADED,     /* target: has all, checked, and holds */
    HANDOVER_GAVE_UP,    /* source: will not run again by itself */
    HANDOVER_RUNNING,    /* target: runs */
    HANDOVER_RELEASED,   /* source: the target runs, for certain */
    HANDOVER_DISCARDED,  /* resolved: let go */
    HANDOVER_TAKEN_BACK, /* source: resolved, runs again */
};

/* How participant data travels: in sections of the main channel or in packets on lanes. */
struct carrier_ops {
    int (*data)(struct participant *p, const void *buf, size_t length, struct vmig_error *err);
    int (*initial_sent)(struct participant *p, struct vmig_error *err);
    int (*end)(struct participant *p, struct vmig_error *err);
    /* Extents of one kind; data extents hold WIRE_RAM_BYTES_MAX in total at most. */
    int (*ram)(struct participant *p, const struct ram_extent *extents, unsigned count,
               struct vmig_error *err);
    int (*round_end)(struct vmig_migration *m, unsigned round, struct vmig_error *err);
    /* Send something for its time alone; NULL where that is not possible. */
    int (*measure)(struct vmig_migration *m, struct vmig_error *err);
};
extern const struct carrier_ops carrier_sections; /* carrier-sections.c */
extern const struct carrier_ops carrier_lanes;    /* carrier-lanes.c */

struct time_model {
    double sync_ms, round_trip_ms;
    struct recent link;
    atomic_bool link_measured;          /* by itself */
    uint64_t looked_ns;                 /* 0: not yet */
    char link_kind[HISTORY_KIND_BYTES]; /* whom it leads to */
    double past[HISTORY_TERMS];         /* of that kind and HISTORY_HOST */
    /* the pause as it was */
    double workload_stop_ms, workload_start_ms;
    double vmstates_save_ms, vmstates_load_ms; /* the latter at the target; told: under lock */
    uint64_t complete_ns, completed_ns, data_end_ns; /* data_end_ns: under lock */
    double tail_ms;                                  /* from completed to data_end */
};

/* What the engine's thread waits for: "device0 to leave STOP_COPY (resume)"; "" when it does not. */
struct waiting {
    char what[160];
    uint64_t since_ns, named_ns; /* when the host was told last; 0: not yet */
    bool named_cancelling;
};

struct vmig_migration {
    atomic_uint refs; /* the handle's, and one for each worker that was abandoned */
    struct vmig_host host;
    struct ram *ram;
    unsigned num_participants;
    struct participant *participants[PARTICIPANTS_MAX];
    const struct vmig_tracker_ops *tracker; /* the host's, or NULL */
    void *tracker_opaque;
    struct vmstates vmstates; /* who adds or removes has the lock; a run needs none */
    struct compat_version compat;
    struct ramfb_device ramfb;                    /* where vmstates has one */
    _Atomic uint64_t parameters[PARAMETER_COUNT]; /* those that are live change under way */
    bool host_does[CAPABILITY_COUNT];
    bool
        capabilities[CAPABILITY_COUNT]; /* written with the lock held, while nothing runs; so are */
    bool has_uuid;                      /* of the virtual machine */
    uint8_t uuid[16];
    char *control_path;
    struct control *control;
    struct listeners listeners; /* of the control socket */
    struct observers observers;

    pthread_mutex_t lock; /* guards all that follows up to the line */
    pthread_cond_t changed;
    _Atomic enum side side; /* read without it, too */
    pthread_t runner;       /* who called send or receive, while there is a side */
    bool aborted;
    struct vmig_error first_error;
    enum handover handover;
    bool unresolved, resolving;
    bool yielded;    /* rule R1 of the hand-over: the other side may run */
    int resolved_rc; /* of running here after a resolution */
    struct vmig_error resolved_error;
    struct vmig_statistics statistics; /* what is not in counters */
    struct rate_window rate;
    uint64_t stage_start_ns;
    /* source: what the return path said */
    bool link_dead, peer_ready, peer_loaded, peer_running;
    bool peer_hello, peer_failed;
    struct vmig_error peer_error; /* with peer_failed */
    unsigned round_loaded;
    uint64_t window_bytes;
    /* target: lanes at their barrier */
    unsigned lanes_at_barrier, barrier_round;
    bool continued;      /* source: out of pre-switchover */
    bool peer_run_state; /* source: it knows what a run state is */
    bool committed;      /* a one-way stream is durable under its name: nothing takes that back */
    bool cancelled_late, told_late;
    struct waiting waiting;
    struct run_control run; /* but for its last two */
    struct own_blockers own_blockers;
    bool only_migratable;
    struct participant *retired;
    /* ---- */

    int cancel_fd;     /* eventfd: somebody cancelled; the watch reads it */
    int end_fd;        /* eventfd; readable once the run is over for whatever reason: ends waits */
    unsigned stall_ms; /* target: how long the source may be silent where it has no reason to be */
    atomic_bool cancelled;
    atomic_uint_fast64_t cancelled_ns; /* when; 0: not */
    struct {
        pthread_t thread;
        int stop_fd;
        int late_fd; /* eventfd; readable when somebody cancelled too late and nobody said so yet */
        bool running;
    } watch;
    uint8_t identity[16]; /* of this migration; the engine's, written with the lock held */
    char *peer_control;   /* JSON text of where the other side's control socket is, or NULL */
    bool one_way;         /* nothing comes back: of this kind, or without a return path */
    /* of this run: the source's parameters, which HELLO tells the target */
    unsigned lanes_wanted;
    bool switchover_ack, ram_digest;
    bool numbered_acks; /* both sides know them */
    struct channel *main;
    struct turnstile main_write;
    /* of all bytes on the main channel but the pages: written (under main_write), read (its reader's) */
    XXH3_state_t *said, *heard;
    const struct carrier_ops *carrier;
    unsigned num_lanes;
    struct lane lanes[LANES_MAX];
    pthread_t return_path;
    bool return_path_running; /* written under lock */
    pthread_mutex_t ram_lock; /* touched and suspect bitmaps */
    void *page_copies;        /* WIRE_RAM_BYTES_MAX, or NULL: carrier-sections.c */
    bool suspects_told;       /* source: since the RAM worker looked last */
    atomic_uint_fast64_t sent_bytes;
    struct counters counters;
    _Atomic enum vmig_stage stage; /* the engine's; others name it in errors */
    struct throttle {
        pthread_mutex_t lock;
        uint64_t next_ns;
        unsigned changes; /* of max-bandwidth; under the migration's lock */
    } throttle;
    struct time_model model;
    struct {
        bool stands; /* given, and not called off */
        unsigned lead_ms;
        uint64_t given_ns;
    } notice;
    char *history_path;      /* NULL: nothing is remembered */
    struct history *history; /* what was remembered when this run began, or NULL */
    uint64_t history_now_s;
    atomic_uint round;
    bool set_up, workload_stopped, completing;
    const struct participant *told_unknown; /* its size is not known, and the host was told */
    /* What tests take away to prove that verification notices; NULL and false otherwise. */
    int (*wrap_tracker)(struct tracker **tracker);
    bool skip_quiesce;
    bool unnumbered_acks;    /* HELLO does not offer them, as an older source */
    bool no_run_state;       /* nor this, as an older target */
    uint64_t pause_start_ns; /* 0: the pause, if there is any, is not this run's doing */
    uint64_t start_ns;
};

/* ---- crew.c: the workers ---- */
int crew_start(struct vmig_migration *m, struct vmig_error *err);
void crew_end(struct vmig_migration *m);
/* Do @step on all participants that have it, in parallel; returns when all are done. The first
 * error. */
int crew_run(struct vmig_migration *m, enum step step, struct vmig_error *err);
void crew_post(struct vmig_migration *m, enum step step);
int crew_wait(struct vmig_migration *m, enum step step, struct vmig_error *err);
int crew_run_one(struct vmig_migration *m, struct participant *p, enum step step,
                 struct vmig_error *err);
/* One after the other, in the order they were added. */
int crew_run_in_turn(struct vmig_migration *m, enum step step, struct vmig_error *err);
/* What is left of a participant: RESET and LOST have lost their state. */
enum vmig_health crew_health(const struct participant *p);
/* The one that is worst off, or NULL when all have their state. */
struct participant *crew_worst(struct vmig_migration *m);
/* Worker: from here on @p asks @id for @what (static string, as in "its data"); answered. */
void crew_asks(struct participant *p, const char *id, const char *what);
void crew_answered(struct participant *p);
/* Around whatever a worker does with a channel. A device may have kept it so long that it was abandoned, and the
 * channels with it: then it gets what ended the run, also when that is long over. Meanwhile it is not abandoned.
 * crew_leave_channel() returns @rc. */
int crew_enter_channel(struct participant *p, struct vmig_error *err);
int crew_leave_channel(struct participant *p, int rc);
/* Worker: the run is over, unless it is one that this worker was abandoned in: there may be another now. */
void crew_abort(struct participant *p, const struct vmig_error *err);
/* Who waits for workers calls this once in a while: it says who is slow, and a worker whose device
 * hangs in data ends the run. */
void crew_watch(struct vmig_migration *m);
/* How often that is. */
#define CREW_WATCH_MS 100
/* Do @job, which nothing can end, on a thread of its own, while this one says that it waits for
 * @what. */
int crew_errand(struct vmig_migration *m, worker_job job, void *arg, const char *what,
                struct vmig_error *err);

/* ---- api.c ---- */
void migration_ref(struct vmig_migration *m);
void migration_unref(struct vmig_migration *m);

/* ---- run.c: what both sides do at the beginning and at the end, status, failure ---- */
/* Take the handle for @side and put back what the last run left. Refused (busy, lost, blocked) nothing
 * has changed and nobody was told of anything; else run_begin() follows, and run_end() in any case. */
int run_enter(struct vmig_migration *m, enum side side, bool snapshot, struct vmig_error *err);
int run_begin(struct vmig_migration *m, struct vmig_error *err);
void run_end(struct vmig_migration *m);
/* The control socket tells it meanwhile. */
void run_set_identity(struct vmig_migration *m, const uint8_t identity[16]);
/* "source", "target" or "none". */
const char *run_side_name(const struct vmig_migration *m);
/* Close the link and keep everything else, stopped, until the hand-over is settled. -EUCLEAN. */
int run_hold(struct vmig_migration *m);
/* The first error of a run wins; everybody who waits is woken. Any thread. */
void run_abort(struct vmig_migration *m, const struct vmig_error *err);
/* Nothing takes it back any more: the source may have given up, or the file has its name. */
bool run_too_late_locked(const struct vmig_migration *m);
/* The same in two parts; false, and nothing more to do: it had ended, or it is too late. */
bool run_abort_locked(struct vmig_migration *m, const struct vmig_error *err);
void run_close_inboxes(struct vmig_migration *m);
/* -errno of the first error (and @err filled with it) if the run was aborted or cancelled. */
int run_check(struct vmig_migration *m, struct vmig_error *err);
void run_stage(struct vmig_migration *m, enum vmig_stage stage);
void run_event(struct vmig_migration *m, enum vmig_event_kind kind, const char *text);
/* @code: stable, see vfio-migrate(7). */
void run_warning(struct vmig_migration *m, const char *code, const char *text);
void run_device_event(struct vmig_migration *m, const char *id, enum vmig_state state);
/* Rounds so far that carried something: all but the one that measured the link. */
unsigned run_rounds(const struct vmig_migration *m);
/* Wait on m->changed, lock held, once, until @deadline_ns at the latest; UINT64_MAX: none. Whoever
 * changes what is waited for broadcasts. Not at all when the run has ended, and its end wakes. */
void run_wait_locked(struct vmig_migration *m, uint64_t deadline_ns);
/* The same also when the run has ended. */
void run_sleep_locked(struct vmig_migration *m, uint64_t deadline_ns);
/* What went wrong with it before does not count any more. */
void participant_forgive(struct participant *p);

/* ---- cancel.c ---- */
/* From here on cancelling is heeded at once, until cancel_unwatch(). */
int cancel_watch(struct vmig_migration *m, struct vmig_error *err);
void cancel_unwatch(struct vmig_migration *m);
/* What was cancelled is over. */
void cancel_forget(struct vmig_migration *m);
/* Cancel; -EALREADY past the point of no return. */
int cancel_if_not_too_late(struct vmig_migration *m, struct vmig_error *err);
/* The engine's thread begins to wait: "%s to leave STOP_COPY". */
void cancel_waiting(struct vmig_migration *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same wait, told in other words. */
void cancel_rephrase(struct vmig_migration *m, const char *what);
void cancel_waits_no_more(struct vmig_migration *m);
/* Tell the host what is waited for, if it is time to; engine's thread. @slow: it should not take
 * long even when nobody cancelled. When it is time next: */
void cancel_name(struct vmig_migration *m, bool slow);
uint64_t cancel_due_locked(const struct vmig_migration *m, bool slow);
/* The same for people who ask: "cancelling: waiting for ..."; false and "" when nothing is. */
bool cancel_describe(struct vmig_migration *m, char *ret, size_t size);
bool cancel_is_under_way(struct vmig_migration *m);

/* ---- notice.c ---- */
/* Tell the host that the workload is about to stop; false: nobody wants to know. */
bool notice_give(struct vmig_migration *m);
/* If one stands. */
void notice_call_off(struct vmig_migration *m);
bool notice_is_over(const struct vmig_migration *m);
/* Until the next round of the lead is due. */
int notice_wait(struct vmig_migration *m, struct vmig_error *err);

/* ---- main.c: writing to the main channel ---- */
/* With main_write held, after the bytes were hashed; ends when the run does, and then nothing can be
 * written any more. 0 or negative errno; @iov is changed. */
int main_write_locked(struct vmig_migration *m, struct iovec *iov, unsigned count);
/* Tell the other side how it ended, when the run is over; it may not listen any more. */
void main_last_words(struct vmig_migration *m, bool command, uint16_t type, const char *text);
/* Send what @w holds (and reset it) in one piece. */
int main_send(struct vmig_migration *m, struct writer *w, struct vmig_error *err);
/* Of all that was sent so far. */
uint64_t main_digest(struct vmig_migration *m);
/* Our own commands and messages with check and digest, see message.h; @type may be QEMU's as well. */
int main_command(struct vmig_migration *m, uint16_t command, const void *data, size_t length,
                 struct vmig_error *err);
int main_return(struct vmig_migration *m, uint16_t type, const void *data, size_t length,
                struct vmig_error *err);

/* ---- status.c ---- */
/* The one way to change the status; no news where it is that already. Participants, host and observers
 * are told. */
void run_status(struct vmig_migration *m, enum vmig_status status);

/* ---- switchover.c ---- */
/* With pause-before-switchover: wait until somebody says to go on. */
int switchover_pause(struct vmig_migration *m, struct vmig_error *err);

/* ---- throttle.c ---- */
int throttle_wait(struct vmig_migration *m, uint64_t bytes, struct vmig_error *err);
/* They went at once; who comes next waits for them, too. */
void throttle_book(struct vmig_migration *m, uint64_t bytes);
/* max-bandwidth is another now. */
void throttle_changed_locked(struct vmig_migration *m);

/* ---- hello.c ---- */
int hello_request(struct vmig_migration *m, char **ret, struct vmig_error *err);
int hello_accept(struct vmig_migration *m, const char *json, size_t length, struct vmig_error *err);
char *hello_reply(struct vmig_migration *m);
int hello_accept_reply(struct vmig_migration *m, const char *json, size_t length,
                       struct vmig_error *err);
/* FAILED's JSON. */
char *hello_failure(const struct vmig_error *err);
void hello_read_failure(const char *json, size_t length, struct vmig_error *ret);

/* ---- return-path.c ---- */
int return_path_start(struct vmig_migration *m, struct vmig_error *err);
void return_path_end(struct vmig_migration *m);

/* ---- announce.c: initial bytes, announced and acknowledged ---- */
/* Source: before the first round. */
void announce_begin(struct vmig_migration *m);
/* @p announced new ones, on its worker. */
void announce_again(struct participant *p);
/* All that were due have been sent; on its worker. */
int announce_sent(struct participant *p, struct vmig_error *err);
/* One that still has some to send, or NULL. */
const struct participant *announce_due(const struct vmig_migration *m);
bool announce_acknowledged_locked(const struct vmig_migration *m);
/* The target said so: of one announcement of one participant; of the only ones of all. */
int announce_on_number(struct vmig_migration *m, uint32_t index, uint32_t number,
                       struct vmig_error *err);
int announce_on_ack(struct vmig_migration *m, struct vmig_error *err);
/* Target: an announcement arrived; all before it was given to the device. */
int announce_arrived(struct participant *p, struct vmig_error *err);
int announce_loaded(struct participant *p, struct vmig_error *err);

/* ---- lanes.c: data channels at both ends ---- */
int lanes_connect(struct vmig_migration *m, const struct address *address, struct vmig_error *err);
int lanes_accept(struct vmig_migration *m, int listen_fd, struct vmig_error *err);
/* Target: read them, now that memory and devices are ready for it. */
int lanes_start(struct vmig_migration *m, struct vmig_error *err);
void lanes_end(struct vmig_migration *m);
/* Target: every lane has passed the barrier of @round. */
int lanes_wait_barrier(struct vmig_migration *m, unsigned round, struct vmig_error *err);

/* ---- convergence.c ---- */
enum verdict { VERDICT_GO_ON, VERDICT_SWITCH, VERDICT_GIVE_UP };
/* One whose size is not known, or NULL, and why. Nobody switches with one. */
const struct participant *convergence_unknown(const struct vmig_migration *m);
const char *convergence_why_unknown(const struct participant *p);
uint64_t convergence_remaining(const struct vmig_migration *m);
/* What one participant still had to send when it was last asked. */
uint64_t convergence_bytes(const struct participant *p);
/* Before the first round: what is remembered of the participants' kinds. */
void convergence_recall(struct vmig_migration *m);
/* After all were asked what is pending, @since_ms after they were asked before (0: never). */
void convergence_look(struct vmig_migration *m, double since_ms);
/* A round of @bytes took @ms, of which @wait_ms until the target had loaded what was sent. */
void convergence_learn_round(struct vmig_migration *m, uint64_t bytes, double ms, double wait_ms);
/* Should the link be measured by itself; what came out of it. */
bool convergence_wants_link(const struct vmig_migration *m);
void convergence_learn_link(struct vmig_migration *m, uint64_t bytes, double ms);
void convergence_predict(const struct vmig_migration *m, struct vmig_pause *ret);
enum verdict convergence_judge(struct vmig_migration *m, const struct vmig_pause *pause,
                               double *best_ms, struct vmig_error *err);
enum verdict convergence_decide(struct vmig_migration *m, double *best_ms, struct vmig_error *err);
/* Would the pause be short enough now, whether or not another round pays? */
bool convergence_keeps_limit(struct vmig_migration *m);
/* The kind that @p is remembered as, and a sample with what was measured before the pause. */
void convergence_kind(const struct vmig_migration *m, const struct participant *p,
                      char ret_kind[HISTORY_KIND_BYTES], struct history_sample *ret);
/* Of all state tables: those of machines with as many are alike. */
void convergence_vmstates_kind(const struct vmig_migration *m, char ret_kind[HISTORY_KIND_BYTES]);

/* ---- aftermath.c: what the pause was ---- */
/* Read what is remembered, at the beginning of a run. */
void aftermath_recall(struct vmig_migration *m, const struct address *address);
/* The pause ended at @end_ns. */
void aftermath_measure(struct vmig_migration *m, uint64_t end_ns);
/* Add it to what is remembered; what goes wrong is a warning. */
void aftermath_remember(struct vmig_migration *m);

/* ---- load.c: data that arrived, on its way to a participant's worker ---- */
int load_data(struct participant *p, void *take_buf, size_t length, struct vmig_error *err);
int load_mark(struct participant *p, enum inbox_kind kind, struct vmig_error *err);
/* Worker: take from the inbox until END. */
int load_run(struct participant *p, struct vmig_error *err);

/* ---- handover.c ---- */
/* The stream's last bytes. */
int handover_send_last(struct vmig_migration *m, struct writer *w, struct vmig_error *err);
int handover_source(struct vmig_migration *m, struct vmig_error *err);
int handover_target(struct vmig_migration *m, struct qemu_stream *s, struct vmig_error *err);
int handover_say_ready(struct vmig_migration *m, struct vmig_error *err);

#endif
