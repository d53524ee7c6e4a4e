/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A witness stands between a device and its backend: it writes down each change of state in the
 * order in which all devices begin and end theirs, and it can hang a call as a kernel does, where
 * nothing ends it but the test.
 */
#ifndef TESTS_MIGRATION_WITNESS_H
#define TESTS_MIGRATION_WITNESS_H

#include "tests/migration/world.h"

enum witness_call {
    WITNESS_GET_STATE,
    WITNESS_SET_STATE, /* .state says which */
    WITNESS_READ,
    WITNESS_WRITE,
    WITNESS_FLUSH,
    WITNESS_LOG_START,
    WITNESS_LOG_REPORT,
    WITNESS_LOG_STOP,
    WITNESS_RESET,
};

struct witness_step {
    unsigned device;
    enum vmig_state state;
    bool end; /* the request came back */
};

/* From now on all devices of @side are witnessed; until witness_done(). */
void witness_side(struct party *side);
/* The next @call of @device (with @state, for SET_STATE) hangs until witness_release(). */
void witness_hang(struct party *side, unsigned device, enum witness_call call,
                  enum vmig_state state);
/* Every request of @device to go to @state is refused. */
void witness_refuse(struct party *side, unsigned device, enum vmig_state state);
/* The device goes to ERROR by itself; a reset leads out. */
void witness_error(struct party *side, unsigned device);
/* How often something hung; let all of it go on: it fails with EIO, or is done when @well (nothing is there to read,
 * what was written is taken), which the questions for a state or a reset never are. */
unsigned witness_hung(void);
void witness_release(bool well);
/* What happened since witness_side(), in order. Borrowed. */
const struct witness_step *witness_steps(struct party *side, unsigned *ret_count);
/* Did every request of @side for @first that began end before one for @second began? */
bool witness_barrier(struct party *side, enum vmig_state first, enum vmig_state second);
/* Forget what happened; the devices are closed. */
void witness_done(void);

#endif
