/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A participant's data between the thread that received it and the worker that loads it: a bounded
 * queue. With credit (data channels) it can never be full, so a receiver never waits for one slow
 * device while others' data stands behind; without (one channel for all) the receiver waits.
 */
#ifndef LIB_MIGRATION_INBOX_H
#define LIB_MIGRATION_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inbox_kind {
    INBOX_DATA,
    INBOX_INITIAL, /* all initial bytes precede */
    INBOX_END,
};

struct inbox_item {
    struct inbox_item *next;
    enum inbox_kind kind;
    void *buf; /* owned by the item */
    size_t length_bytes;
};

struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct inbox_item *head, *tail;
    uint64_t bytes, bytes_max;
    bool busy;   /* an item was taken and is being loaded */
    bool closed; /* nothing more goes in or out */
    bool ended;  /* END went in */
    /* Buffers to use again: a fresh megabyte costs its page faults. */
    void *spare[4];
    unsigned num_spare;
};

void inbox_init(struct inbox *box, uint64_t bytes_max);
void inbox_done(struct inbox *box);
/* Drop what is in it and open it again. */
void inbox_reset(struct inbox *box);
void inbox_close(struct inbox *box);

/* A buffer of INBOX_BUFFER_BYTES; NULL when out of memory. */
#define INBOX_BUFFER_BYTES (1u << 20)
void *inbox_buffer(struct inbox *box);
/* NULL is fine. */
void inbox_give_back(struct inbox *box, void *buf);

/* -EOVERFLOW when there is no room, -EPROTO after END, -ECANCELED when closed. Takes @buf in any
 * case. */
int inbox_put(struct inbox *box, enum inbox_kind kind, void *buf, size_t length_bytes);
/* Wait for room for so much, until it is closed or ended, or -EAGAIN at the deadline. */
int inbox_wait_room(struct inbox *box, size_t length_bytes, uint64_t deadline_ns);
bool inbox_ended(struct inbox *box);
/* Wait for the next item. -ECANCELED when closed. The caller says inbox_loaded() when it is done
 * with it. */
int inbox_take(struct inbox *box, struct inbox_item *ret);
void inbox_loaded(struct inbox *box);
/* Wait until all that was put has been loaded; -ECANCELED when closed, -EAGAIN at the deadline. */
int inbox_drain(struct inbox *box, uint64_t deadline_ns);

#endif
