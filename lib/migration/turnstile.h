/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock that is passed on in the order in which it was asked for. On a channel that participants
 * share, whoever has much to send lets go of it and wants it again at once; a plain mutex would give
 * it to him again and again, and who waits meanwhile would starve.
 */
#ifndef LIB_MIGRATION_TURNSTILE_H
#define LIB_MIGRATION_TURNSTILE_H

#include <pthread.h>
#include <stdint.h>

struct turnstile {
    pthread_mutex_t lock; /* guards the rest, for a few instructions */
    pthread_cond_t changed;
    uint64_t next, serving; /* tickets: the next to be drawn, the one that has its turn */
};

void turnstile_init(struct turnstile *turnstile);
void turnstile_done(struct turnstile *turnstile);
void turnstile_enter(struct turnstile *turnstile);
void turnstile_leave(struct turnstile *turnstile);
/* How many wait. */
uint64_t turnstile_waiting(struct turnstile *turnstile);

static inline void turnstile_cleanup_(struct turnstile **turnstile)
{
    turnstile_leave(*turnstile);
}

/* Have a turn until the end of the scope. */
#define TURN_SCOPE(turns)                                                                          \
    __attribute__((cleanup(turnstile_cleanup_), unused)) struct turnstile *turn_scope_ = (turns);  \
    turnstile_enter(turn_scope_)

#endif
