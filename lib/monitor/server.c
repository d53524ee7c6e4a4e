/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket: clients come, are read and written to without ever waiting for one of them, and go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/channel/channel.h"
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/monitor/monitor.h"
#include "lib/thread.h"

void server_wake(struct vmig_monitor *monitor)
{
    eventfd_write(monitor->wake_fd, 1);
}

static bool is_over(struct vmig_monitor *monitor)
{
    LOCK_SCOPE(&monitor->lock);
    return monitor->over;
}

static struct client *free_place(struct vmig_monitor *monitor)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (!monitor->clients[i].used)
            return &monitor->clients[i];
    return NULL;
}

static void accept_one(struct vmig_monitor *monitor)
{
    int fd = accept4(monitor->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && client_start(free_place(monitor), monitor, fd))
        return;
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED))
        poll(NULL, 0, 100); /* out of descriptors, threads or memory: that may pass */
}

/* What a client is waited for with; 0: nothing, and then its end is not looked at either, for it would
 * be told over and over. */
static short events_of(struct client *c)
{
    if (!c->used)
        return 0;
    return (short)((client_wants_input(c) ? POLLIN : 0) | (client_has_output(c) ? POLLOUT : 0));
}

/* Before it is waited: what was read already does not make a socket readable again. */
static void serve(struct client *c, short revents)
{
    if (revents & POLLOUT)
        client_write(c);
    if (revents & (POLLIN | POLLHUP | POLLERR) || c->input_length)
        client_read(c);
    if (client_is_over(c))
        client_end(c);
}

enum { POLL_WAKE, POLL_LISTEN, POLL_CLIENTS, POLL_COUNT = POLL_CLIENTS + CLIENTS_MAX };

static void wait_for_something(struct vmig_monitor *monitor, struct pollfd p[POLL_COUNT])
{
    eventfd_t count;
    p[POLL_WAKE] = (struct pollfd) { .fd = monitor->wake_fd, .events = POLLIN };
    p[POLL_LISTEN] =
        (struct pollfd) { .fd = free_place(monitor) ? monitor->listen_fd : -1, .events = POLLIN };
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        short events = events_of(&monitor->clients[i]);
        p[POLL_CLIENTS + i] =
            (struct pollfd) { .fd = events ? monitor->clients[i].fd : -1, .events = events };
    }
    if (poll(p, POLL_COUNT, -1) > 0 && p[POLL_WAKE].revents)
        eventfd_read(monitor->wake_fd, &count);
}

static void *server_main(void *opaque)
{
    struct vmig_monitor *monitor = opaque;
    while (!is_over(monitor)) {
        struct pollfd p[POLL_COUNT];
        wait_for_something(monitor, p);
        for (unsigned i = 0; i < CLIENTS_MAX; i++)
            if (monitor->clients[i].used)
                serve(&monitor->clients[i], p[POLL_CLIENTS + i].revents);
        if (p[POLL_LISTEN].revents)
            accept_one(monitor);
    }
    return NULL;
}

int server_start(struct vmig_monitor *monitor, struct vmig_error *err)
{
    monitor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = monitor->wake_fd < 0 ? -errno : 0;
    if (rc == 0)
        rc = thread_start(&monitor->server, server_main, monitor);
    return rc < 0 ? error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL,
                              "no thread or descriptor for the monitor: %s", strerror(-rc))
                  : 0;
}

void server_end(struct vmig_monitor *monitor)
{
    server_wake(monitor);
    pthread_join(monitor->server, NULL);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (monitor->clients[i].used)
            client_end(&monitor->clients[i]);
}
