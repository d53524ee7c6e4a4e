/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end-to-end tests' vocabulary: a world is a source and a target in this process, each with its
 * own devices (reference devices served by threads, unless the plan has others), its own memory and
 * its own workload. A test plans a world, moves, and says who must run.
 *
 *   struct world w;
 *   world_open(&w, &(struct world_plan) { .devices = 2 });
 *   world_move(&w);
 *   world_moved(&w);        the target runs and all is as the source had it
 *   world_close(&w);
 */
#ifndef TESTS_MIGRATION_WORLD_H
#define TESTS_MIGRATION_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "cmd/workload.h"
#include "lib/migration/migration.h"
#include "lib/migration/participants.h"
#include "refdev/registers.h"
#include "refdev/server.h"

#define WORLD_DEVICES_MAX 8

enum world_link {
    WORLD_TCP,
    WORLD_UNIX,
    WORLD_FD, /* one socketpair: no data channels */
    WORLD_FILE,
};

struct party;

/* Devices that are not served here: the kernel's. */
struct world_devices {
    /* Opens device @index of that side; the test's assertion when it cannot. */
    struct vmig_device *(*open)(const struct party *side, unsigned index,
                                const struct vmig_device_options *options);
    /* party_fault() and party_await_fault() */
    void (*fault)(const struct party *side, unsigned index, const char *text);
    void (*await_fault)(const struct party *side, unsigned index);
};

/* 0 or NULL everywhere is a sensible world: RAM alone over TCP, one data channel. */
struct world_plan {
    enum world_link link;
    unsigned devices;
    const char *profile;                     /* NULL: "default" */
    const char *profiles[WORLD_DEVICES_MAX]; /* of single devices, both sides; NULL: as above */
    uint64_t ram_bytes;                      /* 0: 4 MiB for up to one device, more for more */
    bool no_ram;                             /* devices alone: they have nowhere to write to */
    uint64_t local_bytes; /* of each device; 0: 128 KiB where the profile has any */
    uint64_t transition_ns;
    uint64_t reinit; /* each device announces new initial bytes so often */
    bool lone_main;  /* no data channels */
    unsigned channels;
    bool control;       /* control sockets on both sides */
    bool relay;         /* world.relay stands between; WORLD_UNIX */
    bool no_extensions; /* servers of the published protocol only */
    bool still;         /* nothing of the workload runs: for tests of refusals */
    bool vmstate;       /* an emulated device on both sides, which moves as VMState */
    /* where the target differs */
    uint64_t target_ram_bytes, target_iova;
    const char *target_profile;
    bool target_lacks_one;               /* device */
    uint64_t dirty_rate_pages, dma_rate; /* 0: 500 pages a second each */
    /* Told whom the library works for from here on; NULL: for nobody. */
    void (*acting)(const struct party *side);
    unsigned patience_ms;             /* with devices; 0: as long as they are given normally */
    const struct world_devices *from; /* NULL: reference devices, served by threads */
};

struct party {
    struct world *world;
    const char *name;
    struct workload load;
    bool has_load;
    struct vmig_migration *m;
    struct host_device {
        struct refdev_server *server; /* NULL: served elsewhere */
        struct vmig_device *device;
        pthread_t thread;
        int fd;
    } devices[WORLD_DEVICES_MAX];
    struct emulated { /* with plan.vmstate */
        uint16_t count;
        uint64_t *registers; /* allocated when it is loaded */
    } emulated;
    /* the run */
    pthread_t thread;
    bool busy, send;
    char address[200];
    int rc;
    struct vmig_error err;
    /* under world.lock */
    bool runs; /* the workload's threads */
    unsigned starts, stops;
    enum vmig_stage stage;
    enum vmig_status status;
    unsigned rounds;
    char listening[200];
    bool done;
    unsigned stages_seen; /* bit by enum vmig_stage */
    /* the last of its kind in this run */
    char waiting[200], warning[200], state_lost[600];
    bool late; /* for tests to set, under world.lock */
    /* called in events, on the engine's thread */
    void (*on_stage)(struct party *side, enum vmig_stage stage);
    void (*on_event)(struct party *side, const struct vmig_event *event);
};

struct relay;

struct world {
    struct world_plan plan;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct party parties[2], *source, *target;
    struct relay *relay;
    bool both_ran;        /* the one thing that must never be */
    bool compared, equal; /* memory of both sides when the target said LOADED */
    char directory[64];
    int pair[2];
};

/* Must succeed; says why not. */
#define x(call)                                                                                    \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        int rc_ = (int)(call);                                                                     \
        if (rc_ < 0)                                                                               \
            fail_msg("%s: %d %s", #call, rc_, err.text);                                           \
    } while (0)

void world_open(struct world *w, const struct world_plan *plan);
void world_close(struct world *w);

/* Start send or receive on a thread of its own; wait for its end. */
void party_start(struct party *side, bool send, const char *address);
int party_join(struct party *side);

/* Both sides, in the order the link wants, until both have returned. */
void world_begin(struct world *w); /* receive is listening, send has started */
void world_join(struct world *w);
void world_move(struct world *w);
/* From now on the old target is the source. Its devices and memory stay what they are. */
void world_turn_round(struct world *w);

/* Wait until @side has been in @stage. */
void party_await_stage(struct party *side, enum vmig_stage stage);
/* Wait until @side is in @status. */
void party_await_status(struct party *side, enum vmig_status status);
/* Has this run been in @stage? */
bool party_was_in(struct party *side, enum vmig_stage stage);
/* Wait until it listens: its address, or "" when it ended before. */
void party_await_listening(struct party *side, char *ret, size_t size);
void party_set(struct party *side, const char *name, uint64_t value);
void world_set(struct world *w, const char *name, uint64_t value);
/* A capability on or off. */
void party_switch(struct party *side, const char *capability, bool on);
void world_switch(struct world *w, const char *capability, bool on);

/* ---- verdicts ---- */

/* Both returned 0, memory was equal when it had to be, the target alone runs, intact and going on.
 */
void world_moved(struct world *w);
/* @side alone runs, intact and going on; the other has nothing running. */
void world_runs_at(struct world *w, struct party *side);
/* As the one before without looking at the other side. */
void party_runs(struct party *side);
/* Neither its threads nor its devices' workloads run. */
void party_is_still(struct party *side);
/* Wait until every writer has made some steps. */
void party_goes_on(struct party *side);
/* What verification says, with everything stopped. */
struct workload_report party_verify(struct party *side);
/* rc, reason and parts of the text (NULL: any) of how a side's run ended. */
void party_failed(const struct party *side, int rc, const char *reason, const char *text);

uint64_t party_register(struct party *side, unsigned device, unsigned offset);
void party_write_register(struct party *side, unsigned device, unsigned offset, uint64_t value);
enum vmig_state party_state(struct party *side, unsigned device);

/* The fault plan of a device is this one fault from now on (refdev/model/fault.h); NULL: none, and
 * one that hangs goes on. Wait until it has happened. */
void party_fault(struct party *side, unsigned device, const char *text);
void party_await_fault(struct party *side, unsigned device);

#endif
