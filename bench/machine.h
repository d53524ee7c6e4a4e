/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual machines in processes of their own, QEMU's and ours, both told through QMP what to do. Whatever fails ends
 * the program with a message. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <sys/types.h>

#include "bench/bench.h"
#include "cmd/monitor-connection.h"

enum role { SOURCE, TARGET };

struct machine_kind {
    const char *name, *program;
    const char *mapping;           /* what /proc/PID/maps calls guest memory */
    const char *const *arguments;  /* of both roles; NULL behind the last */
    const char *const *of_role[2]; /* and of one */
    bool starts_stopped;           /* the guest runs when it is told to, otherwise at once */
};

/* When a machine said what, by the wall clock that events have; 0: it did not. */
struct moments {
    uint64_t stopped_ns, resumed_ns, completed_ns, failed_ns;
};

struct machine {
    const struct machine_kind *kind;
    pid_t pid;
    char socket[64];
    struct connection qmp;
    struct moments said;
    uint64_t memory_at; /* guest memory in that process */
    uint64_t memory_bytes;
};

/* "%s" in an argument is the socket of its monitor, "%u" its memory in MiB. */
struct machine *machine_start(const struct machine_kind *kind, enum role role,
                              uint64_t memory_bytes);
struct machine *machine_end(struct machine *machine);

/* What a command returns: a new reference. Events that came before it are in @said. */
json_t *machine_ask(struct machine *machine, const char *command, json_t *take_arguments);
void machine_tell(struct machine *machine, const char *command, json_t *take_arguments);
/* Until the guest stands still, or has nothing to do. */
void machine_stop(struct machine *machine);
void machine_idle(struct machine *machine);

/* Write @piece over guest memory in [from, to), as often as it takes; the process has it in its page
 * table then, as if it had done so. */
void machine_fill(struct machine *machine, const struct memory *piece, uint64_t from, uint64_t to);

/* Move the guest, until both sides have said that it is there, and with @runs that it runs. Returns the wall clock's time
 * at which it was asked for. */
uint64_t machine_move(struct machine *source, struct machine *target, bool runs);

#endif
