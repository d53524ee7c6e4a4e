/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration state machine. One row per state: what a device must offer to have it, whether a
 * data stream is open in it, and for each wish the state to enter next on a device that has every
 * state. Everything else follows from the rows:
 *
 *   an arc                      is a pair whose next state is the wish itself;
 *   a device with fewer states  takes the same way and skips what it lacks;
 *   a stream                    begins on an arc from a state without one to a state with one, and
 *                               ends on an arc the other way.
 *
 * The ways are the shortest ones that pass through no saving state (PRE_COPY, PRE_COPY_P2P,
 * STOP_COPY), except between two saving states. Nothing leaves ERROR but a reset. STOP_COPY to
 * PRE_COPY or PRE_COPY_P2P is no way at all, and must never be tried: kernels before 6.12.96 loop
 * for ever when asked.
 *
 * Calls nothing: the reference device's model is compiled where there is no libc.
 */
#include <errno.h>

#include "lib/device/fsm.h"
#include "lib/export.h"

#define NO VMIG_STATE_ERROR
#define S VMIG_STATE_STOP
#define R VMIG_STATE_RUNNING
#define SC VMIG_STATE_STOP_COPY
#define RS VMIG_STATE_RESUMING
#define RP VMIG_STATE_RUNNING_P2P
#define PC VMIG_STATE_PRE_COPY
#define PP VMIG_STATE_PRE_COPY_P2P

#define NEEDS_BASE VMIG_MIGRATION_STOP_COPY
#define NEEDS_P2P (NEEDS_BASE | VMIG_MIGRATION_P2P)
#define NEEDS_PRE_COPY (NEEDS_BASE | VMIG_MIGRATION_PRE_COPY)

struct fsm_row {
    const char *name;
    uint64_t needs; /* migration flags */
    bool stream;    /* a data stream is open here */
    uint8_t next[VMIG_STATE_COUNT];
};

/* clang-format off */
static const struct fsm_row fsm_rows[] = {
    /*                            needs, stream            wish:  NO  S   R   SC  RS  RP  PC  PP */
    [NO] = { "ERROR",        0,                       false, { NO, NO, NO, NO, NO, NO, NO, NO } },
    [S]  = { "STOP",         NEEDS_BASE,              false, { NO, S,  RP, SC, RS, RP, RP, RP } },
    [R]  = { "RUNNING",      0,                       false, { NO, RP, R,  RP, RP, RP, PC, RP } },
    [SC] = { "STOP_COPY",    NEEDS_BASE,              true,  { NO, S,  S,  SC, S,  S,  NO, NO } },
    [RS] = { "RESUMING",     NEEDS_BASE,              true,  { NO, S,  S,  S,  RS, S,  S,  S  } },
    [RP] = { "RUNNING_P2P",  NEEDS_P2P,               false, { NO, S,  R,  S,  S,  RP, R,  PP } },
    [PC] = { "PRE_COPY",     NEEDS_PRE_COPY,          true,  { NO, R,  R,  PP, R,  R,  PC, PP } },
    [PP] = { "PRE_COPY_P2P", NEEDS_P2P|NEEDS_PRE_COPY, true, { NO, RP, RP, SC, RP, RP, PC, PP } },
};
/* clang-format on */
_Static_assert(sizeof(fsm_rows) / sizeof(fsm_rows[0]) == VMIG_STATE_COUNT, "a row for every state");

VMIG_EXPORT const char *vmig_state_name(enum vmig_state state)
{
    return (unsigned)state < VMIG_STATE_COUNT ? fsm_rows[state].name : "?";
}

static const char *const words[] = {
    [VMIG_STATE_ERROR] = "error",       [VMIG_STATE_STOP] = "stop",
    [VMIG_STATE_RUNNING] = "running",   [VMIG_STATE_STOP_COPY] = "stop-copy",
    [VMIG_STATE_RESUMING] = "resuming", [VMIG_STATE_RUNNING_P2P] = "running-p2p",
    [VMIG_STATE_PRE_COPY] = "pre-copy", [VMIG_STATE_PRE_COPY_P2P] = "pre-copy-p2p",
};
_Static_assert(sizeof(words) / sizeof(words[0]) == VMIG_STATE_COUNT, "a word for every state");

VMIG_EXPORT const char *vmig_state_word(enum vmig_state state)
{
    return (unsigned)state < VMIG_STATE_COUNT ? words[state] : "?";
}

bool fsm_has_state(uint64_t flags, enum vmig_state state)
{
    if ((unsigned)state >= VMIG_STATE_COUNT)
        return false;
    return (flags & fsm_rows[state].needs) == fsm_rows[state].needs;
}

int fsm_next(uint64_t flags, enum vmig_state from, enum vmig_state to)
{
    if (from == VMIG_STATE_ERROR || to == VMIG_STATE_ERROR)
        return -EINVAL;
    if (!fsm_has_state(flags, from) || !fsm_has_state(flags, to))
        return -EINVAL;
    enum vmig_state next = from;
    do {
        next = (enum vmig_state)fsm_rows[next].next[to];
        if (next == VMIG_STATE_ERROR)
            return -EINVAL;
    } while (!fsm_has_state(flags, next));
    return (int)next;
}

bool fsm_arc_opens_data(enum vmig_state from, enum vmig_state to)
{
    return !fsm_rows[from].stream && fsm_rows[to].stream;
}

bool fsm_arc_ends_data(enum vmig_state from, enum vmig_state to)
{
    return fsm_rows[from].stream && !fsm_rows[to].stream;
}

int fsm_distance(uint64_t flags, enum vmig_state from, enum vmig_state to)
{
    int arcs;
    int at = fsm_next(flags, from, to);
    if (at < 0 || from == to)
        return at < 0 ? at : 0;
    for (arcs = 1; at != (int)to; arcs++)
        at = fsm_next(flags, (enum vmig_state)at, to);
    return arcs;
}
