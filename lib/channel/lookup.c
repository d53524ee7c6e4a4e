/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/channel/lookup.h"
#include "lib/thread.h"

/* Shared by who asks and the thread that looks it up; the last one frees it. */
struct lookup {
    lookup_function *function;
    char *host, *port;
    struct addrinfo hints, *list;
    int rc, done_fd;
    atomic_int refs;
};

static void unref(struct lookup *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    if (l->list)
        freeaddrinfo(l->list);
    if (l->done_fd >= 0)
        close(l->done_fd);
    free(l->host);
    free(l->port);
    free(l);
}

static void *lookup_main(void *opaque)
{
    struct lookup *l = opaque;
    l->rc = l->function(l->host, l->port, &l->hints, &l->list);
    eventfd_write(l->done_fd, 1);
    unref(l);
    return NULL;
}

static struct lookup *lookup_new(lookup_function *function, const char *host, const char *port,
                                 const struct addrinfo *hints)
{
    struct lookup *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    *l = (struct lookup) { .function = function, .hints = *hints, .refs = 1 };
    l->host = strdup(host);
    l->port = strdup(port);
    l->done_fd = eventfd(0, EFD_CLOEXEC);
    if (l->host && l->port && l->done_fd >= 0)
        return l;
    unref(l);
    return NULL;
}

static int start(struct lookup *l)
{
    pthread_t thread;
    atomic_fetch_add(&l->refs, 1);
    int rc = thread_start(&thread, lookup_main, l);
    if (rc == 0)
        pthread_detach(thread);
    else
        unref(l);
    return rc;
}

/* On a thread of its own. */
static int look_up(struct lookup *l, int cancel_fd, struct addrinfo **ret)
{
    struct pollfd p[2] = { { .fd = l->done_fd, .events = POLLIN },
                           { .fd = cancel_fd, .events = POLLIN } };
    if (start(l) != 0)
        return EAI_MEMORY;
    while (poll(p, 2, -1) < 0)
        if (errno != EINTR)
            return EAI_SYSTEM;
    if (!p[0].revents)
        return LOOKUP_CANCELLED;
    eventfd_t count;
    eventfd_read(l->done_fd, &count);
    *ret = l->list;
    l->list = NULL;
    return l->rc;
}

int lookup_address(lookup_function *function, const char *host, const char *port, int flags,
                   int cancel_fd, struct addrinfo **ret)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICHOST };
    int rc = getaddrinfo(host, port, &hints, ret); /* asks nobody */
    if (rc != EAI_NONAME || !host)
        return rc;
    hints.ai_flags = flags;
    struct lookup *l = lookup_new(function, host, port, &hints);
    if (!l)
        return EAI_MEMORY;
    rc = look_up(l, cancel_fd, ret);
    unref(l);
    return rc;
}
