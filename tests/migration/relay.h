/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A relay between source and target that looks at what passes and can act after any byte of it: cut
 * all connections at once, or whatever a test wants. The first connection is the main channel, the
 * others are data channels; both directions count together, byte by byte.
 */
#ifndef TESTS_MIGRATION_RELAY_H
#define TESTS_MIGRATION_RELAY_H

#include <stdbool.h>
#include <stdint.h>

struct relay;

struct relay_plan {
    bool from_loaded; /* count from the first byte of LOADED on; otherwise from the beginning */
    uint64_t after;   /* bytes that pass; UINT64_MAX: all */
    /* Called once when @after bytes have passed, on a thread of the relay; NULL: cut. Nothing
     * passes from then on, and nothing is cut before it returns. */
    bool inside_go;   /* instead: two bytes into GO */
    bool after_go;    /* instead: after GO, and nothing of what the target answers */
    bool swallow_ack; /* keep acknowledgements back until relay_release_ack() */
    void (*act)(void *arg);
    void *arg;
    /* Nothing is cut; instead one bit is flipped on its way, if that byte ever comes. */
    struct relay_flip {
        unsigned connection; /* 0: main channel */
        bool back;           /* target to source */
        uint64_t at;         /* byte of that direction */
        uint8_t mask;        /* 0: none */
    } flip;
    /* So many rounds long a bit of each packet of memory is flipped, in its payload. */
    unsigned damaged_rounds;
};

struct relay *relay_new(const struct relay_plan *plan);
/* Listen at @here and pass all on to @there; both are UNIX socket paths. */
void relay_connect(struct relay *relay, const char *here, const char *there);
/* Ends everything. Returns NULL. */
struct relay *relay_free(struct relay *relay);

/* Bytes that have passed, and of these the ones from LOADED on. */
uint64_t relay_passed(struct relay *relay);
uint64_t relay_passed_since_loaded(struct relay *relay);
/* Of one direction of one connection. */
uint64_t relay_passed_one(struct relay *relay, unsigned connection, bool back);
bool relay_flipped(struct relay *relay);
/* It was LOADED or came later. */
bool relay_flipped_late(struct relay *relay);
/* The plan's place was reached. */
bool relay_acted(struct relay *relay);
/* LOADED has begun to pass. */
bool relay_saw_loaded(struct relay *relay);
/* All of GO, of RUNNING has passed. */
bool relay_saw_go(struct relay *relay);
bool relay_saw_running(struct relay *relay);
/* Has an acknowledgement of initial bytes come (and was kept back)? Let it pass. */
bool relay_has_ack(struct relay *relay);
void relay_release_ack(struct relay *relay);
void relay_cut(struct relay *relay);

#endif
