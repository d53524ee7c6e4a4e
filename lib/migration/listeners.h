/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Outsiders that hear what happens: clients of the control socket that sent "events". Each has a
 * queue of a few lines and a thread that writes them; whoever tells what happens only appends to the
 * queues and never waits. A client that leaves its queue to fill is dropped.
 */
#ifndef LIB_MIGRATION_LISTENERS_H
#define LIB_MIGRATION_LISTENERS_H

#include <pthread.h>
#include <stdbool.h>
#include <vfio-migrate/migration.h>

#define LISTENERS_MAX 4
/* Lines a client may be behind, beside what its socket holds. */
#define LISTENER_LINES_MAX 64

struct listener {
    struct listeners *all;
    bool used, dropped;
    int wake_fd; /* eventfd: there is a line, or it is over */
    char *lines[LISTENER_LINES_MAX];
    unsigned first, count;
};

struct listeners {
    pthread_mutex_t lock; /* guards all that follows; nothing is locked or waited for under it */
    bool over;
    struct listener each[LISTENERS_MAX];
};

void listeners_init(struct listeners *all);
void listeners_done(struct listeners *all);
/* Others may come again after listeners_end(). */
void listeners_begin(struct listeners *all);
/* No more events: each is told what it has in its queue and "end", as far as it takes that at once.
 * Returns before that is done. */
void listeners_end(struct listeners *all);

/* Any thread; at once. */
void listeners_tell(struct listeners *all, const struct vmig_event *event);

/* From here on it misses nothing. -EBUSY: LISTENERS_MAX are there. */
int listener_join(struct listeners *all, struct listener **ret, struct vmig_error *err);
/* Write to @fd, a socket, until listeners_end(), the client leaves or is dropped. */
void listener_serve(struct listener *l, int fd);
void listener_leave(struct listener *l);

#endif
