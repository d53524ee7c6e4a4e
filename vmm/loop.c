/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "vmm/fail.h"
#include "vmm/loop.h"

int loop_watch(struct loop *loop, int fd, short events, void (*ready)(void *opaque), void *opaque,
               struct vmig_error *err)
{
    if (loop->num_watches == LOOP_WATCHES_MAX)
        return vmm_fail(err, ENOSPC, NULL, "more than %d descriptors to wait for",
                        LOOP_WATCHES_MAX);
    unsigned n = loop->num_watches++;
    loop->watches[n] = (struct loop_watch) { ready, opaque };
    loop->fds[n].fd = fd;
    loop_set_events(loop, n, events);
    return (int)n;
}

/* poll() reports the end of a stream even to who asks for nothing, but leaves negative numbers alone. */
void loop_set_events(struct loop *loop, unsigned watch, short events)
{
    int fd = loop->fds[watch].fd < 0 ? ~loop->fds[watch].fd : loop->fds[watch].fd;
    loop->fds[watch].fd = events ? fd : ~fd;
    loop->fds[watch].events = events;
}

void loop_run(struct loop *loop)
{
    while (!loop->done) {
        unsigned count = loop->num_watches;
        if (poll(loop->fds, count, -1) < 0)
            continue; /* EINTR */
        for (unsigned i = 0; i < count && !loop->done; i++)
            if (loop->fds[i].fd >= 0 && loop->fds[i].revents)
                loop->watches[i].ready(loop->watches[i].opaque);
    }
}
