/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The demo's parts. demo.c has the options and tells the story; what moves in it is one of two kinds: a virtual
 * machine (demo-vm.c) or a workload process (demo-workload.c). Both move with devices (demo-device.c) from one
 * process to another, and what arrived is checked.
 */
#ifndef CMD_DEMO_H
#define CMD_DEMO_H

#include <signal.h>

#include "cmd/child.h"
#include "cmd/endpoint.h"
#include "cmd/fault-argument.h"
#include "cmd/profile-argument.h"
#include "cmd/workload.h"

#define DEMO_FAULTS_MAX 16 /* of all devices together */

struct demo;
struct vm;

/* What moves. A member that fails says why with demo_failed(). */
struct demo_kind {
    const char *name;             /* "moved" in the report */
    int (*begin)(struct demo *d); /* both sides are there, and it runs at the source */
    int (*move)(struct demo *d);  /* d->result says how; where it failed, the source may go on */
    /* What is found wrong where it runs now, "ok" when nothing is. New reference or NULL. */
    json_t *(*verify)(struct demo *d, bool target);
    /* It failed: what the target knows of that and the source does not. */
    void (*tell_targets_story)(struct demo *d);
    void (*end)(struct demo *d); /* also when it has not begun */
};
extern const struct demo_kind demo_workload, demo_vm;

/* The devices of one side that somebody else made: addresses as typed. */
struct demo_given {
    const char *addresses[WORKLOAD_DEVICES_MAX];
    unsigned count;
};

struct demo {
    struct endpoint end; /* tuning parameters, json, quiet */
    const struct demo_kind *kind;
    bool want_vm, want_workload; /* asked for in so many words */
    const char *about_workload;  /* an option that was given and is the workload's */
    char why[sizeof((struct vmig_error) { 0 }.text)]; /* it is no VM */
    /* as typed; state_size NULL: what the profile has */
    const char *ram, *state_size, *dirty_rate, *latency, *dma_rate, *downtime_limit, *history;
    const struct refdev_profile *profile;
    unsigned num_devices;
    struct demo_given given[2]; /* source's, target's; empty: the demo starts devices of its own */
    const char *backend;        /* of the given devices, as typed */
    const char *about_own;      /* an option that was given and is about devices of its own */
    bool all_dirty;
    struct cmd_sided_fault faults[DEMO_FAULTS_MAX];
    unsigned num_faults;
    bool progress_shown;
    unsigned num_servers;
    pid_t servers[2 * WORKLOAD_DEVICES_MAX];
    int device_fds[2 * WORKLOAD_DEVICES_MAX]; /* sources', then targets' */
    int ready_fds[2 * WORKLOAD_DEVICES_MAX];  /* what a server prints when it serves; 0: none */
    struct child source, target;
    struct vm *vm; /* demo-vm.c; NULL: none */
    struct vmig_error error;
    enum cmd_exit exit_code;
    json_t *result;
};

/* Let some of it happen before and after the move. */
#define DEMO_WARM_UP_NS 300000000

/* The first failure counts. Returns -1. */
int demo_failed(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a side says of its own failure: @error has stage, reason and device. Returns -1. */
int demo_failed_as(struct demo *d, const char *who, const char *text, json_t *error);
int demo_cancelled(struct demo *d);
/* Was there a ^C? */
bool demo_interrupted(void);

/* ---- what is printed ---- */

void demo_say(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void demo_draw(struct demo *d, const struct vmig_event *event);
void demo_hide(struct demo *d); /* the progress, before something else is printed */
const char *demo_text(json_t *object, const char *key); /* "": there is none */
enum vmig_stage demo_stage(const char *name);

/* ---- processes ---- */

/* A child whose standard input and output are @ret, and its standard error *@ret_err unless that is NULL. As fork(). */
pid_t demo_fork(struct demo *d, struct child *ret, int *ret_err);
/* In the child: die with the demo, leave ^C to it, become @program, NULL: `vfio-migrate ...`. */
void demo_become(const char *program, char **argv) __attribute__((noreturn));
/* End it with SIGTERM, and one that does not listen with SIGKILL. */
void demo_end_process(pid_t pid);

/* ---- devices ---- */

int demo_start_devices(struct demo *d);
void demo_end_devices(struct demo *d);
#define DEMO_ADDRESS_MAX 64
/* In a child: the address of a device of our own, whose descriptor it inherits. Returns @store. */
char *demo_device_address(struct demo *d, bool source, unsigned index, char *store);

/* ---- virtual machines ---- */

/* Can it be a VM, of that size, and here? Otherwise d->why says why not. */
bool demo_vm_fits(struct demo *d);
bool demo_vm_is_possible(struct demo *d);

#endif
