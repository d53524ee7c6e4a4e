/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main thread's event loop: descriptors and who is called when one is ready. Everything that waits for
 * the world outside (console, signals, the end of the guest, a device's INTx) waits here.
 */
#ifndef VMM_LOOP_H
#define VMM_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <vfio-migrate/error.h>

#define LOOP_WATCHES_MAX 64

struct loop {
    unsigned num_watches;
    bool done;
    struct loop_watch {
        void (*ready)(void *opaque);
        void *opaque;
    } watches[LOOP_WATCHES_MAX];
    struct pollfd fds[LOOP_WATCHES_MAX];
};

/* Call @ready on the loop's thread whenever one of @events (POLLIN, POLLOUT) is there on @fd; events 0: not
 * now. Returns the watch's number, or -ENOSPC. Before loop_run(), or from a callback. */
int loop_watch(struct loop *loop, int fd, short events, void (*ready)(void *opaque), void *opaque,
               struct vmig_error *err);
void loop_set_events(struct loop *loop, unsigned watch, short events);
/* Until a callback sets done. */
void loop_run(struct loop *loop);

#endif
