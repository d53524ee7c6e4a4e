/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's life and its loop: wait for whoever comes first (stop, client, listening socket,
 * further clients, the workload's next page), serve it, tick the device, again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"
#include "refdev/server-internal.h"

/* Work comes in pieces of this; finer waits would only burn the processor. */
#define TICK_NS 500000ull

void refdev_server_log(struct refdev_server *server, const char *format, ...)
{
    char line[256];
    va_list args;
    if (!server->config.log)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    server->config.log(server->config.log_arg, line);
}

/* ---- what the model asks of its door ---- */

static uint64_t now_ns(void *door)
{
    struct timespec now;
    (void)door;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static struct timespec as_timespec(uint64_t ns)
{
    return (struct timespec) { .tv_sec = (time_t)(ns / 1000000000ull),
                               .tv_nsec = (long)(ns % 1000000000ull) };
}

/* Sleep unless the server is told to stop. */
static int sleep_ns(void *door, uint64_t ns)
{
    struct refdev_server *server = door;
    struct pollfd stop = { .fd = server->stop_fd, .events = POLLIN };
    uint64_t end = now_ns(door) + ns;
    for (uint64_t now = end - ns; now < end; now = now_ns(door)) {
        struct timespec wait = as_timespec(end - now);
        if (ppoll(&stop, 1, &wait, NULL) > 0)
            return -EINTR;
    }
    return 0;
}

static void *door_alloc(void *door, size_t size_bytes)
{
    (void)door;
    return calloc(1, size_bytes);
}

static void door_free(void *door, void *ptr)
{
    (void)door;
    free(ptr);
}

static void door_refused(void *door, const char *why, uint64_t offset)
{
    refdev_server_log(door, "state refused at byte %llu: %s", (unsigned long long)offset, why);
}

static const struct refdev_door_ops door_ops = {
    .dma_read = refdev_server_dma_read,
    .dma_write = refdev_server_dma_write,
    .interrupt = refdev_server_interrupt,
    .sleep_ns = sleep_ns,
    .now_ns = now_ns,
    .alloc = door_alloc,
    .free = door_free,
    .refused = door_refused,
    .faulted = refdev_server_faulted,
    .hang = refdev_server_hang,
    .vanish = refdev_server_vanish,
};

/* ---- life ---- */

const struct refdev_profile *refdev_profile_find(const char *name)
{
    const struct refdev_profile *profile;
    for (unsigned i = 0; (profile = refdev_profile_at(i)); i++)
        if (!strcmp(profile->name, name))
            return profile;
    return NULL;
}

/* The client maps this file: sealed, so that nobody can take the memory away under us. */
static int make_shared(struct refdev_server *server)
{
    server->shared_fd = memfd_create("refdev-bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (server->shared_fd < 0 || ftruncate(server->shared_fd, REFDEV_SHARED_BYTES) < 0 ||
        fcntl(server->shared_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    server->shared =
        mmap(NULL, REFDEV_SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, server->shared_fd, 0);
    if (server->shared == MAP_FAILED) {
        server->shared = NULL;
        return -errno;
    }
    return 0;
}

static int make_local(struct refdev_server *server)
{
    if (!server->local_bytes)
        return 0;
    void *local =
        mmap(NULL, server->local_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (local == MAP_FAILED)
        return -errno;
    /* Gigabytes are touched at once by every save and load. */
    madvise(local, server->local_bytes, MADV_HUGEPAGE);
    server->local = local;
    return 0;
}

static int make_device(struct refdev_server *server, struct vmig_error *err)
{
    size_t model_bytes = refdev_model_bytes();
    int rc = make_shared(server);
    if (!rc)
        rc = make_local(server);
    if (rc)
        return error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL,
                         "no memory for a device with %llu bytes of local memory: %s",
                         (unsigned long long)server->local_bytes, strerror(-rc));
    server->model = aligned_alloc(64, model_bytes);
    if (!server->model)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "no memory for the device");
    memset(server->model, 0, model_bytes);
    rc = refdev_init(server->model, &server->config.knobs, server->local, server->local_bytes,
                     server->shared, &door_ops, server);
    if (rc)
        return error_set(
            err, rc, VMIG_STAGE_OPEN, NULL, NULL,
            "profile %s does not take these settings: local memory %llu bytes (at most "
            "%llu, in pages of 4096), dirty set %llu bytes (at most the local memory)",
            server->config.knobs.profile->name, (unsigned long long)server->local_bytes,
            (unsigned long long)server->config.knobs.profile->max_local_bytes,
            (unsigned long long)server->config.knobs.dirty_set_bytes);
    return 0;
}

int refdev_server_new(const struct refdev_config *config, struct refdev_server **ret,
                      struct vmig_error *err)
{
    struct refdev_server *server = calloc(1, sizeof(*server));
    if (!server)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "no memory for a server");
    server->config = *config;
    server->shared_fd = server->listen_fd = server->socket.fd = server->twin.fd = -1;
    server->queue_tail = &server->queue_head;
    for (unsigned i = 0; i < SERVER_INTRUDERS_MAX; i++)
        server->intruders[i].fd = -1;
    for (unsigned i = 0; i < REFDEV_NUM_IRQS * REFDEV_MSIX_VECTORS; i++)
        server->irqs[i / REFDEV_MSIX_VECTORS][i % REFDEV_MSIX_VECTORS].eventfd = -1;
    if (!server->config.knobs.profile)
        server->config.knobs.profile = refdev_profile_at(0);
    server->local_bytes = config->local_bytes ? config->local_bytes
                                              : server->config.knobs.profile->default_local_bytes;
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc =
        refdev_plan_init(server) || server->stop_fd < 0
            ? error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "eventfd: %s", strerror(errno))
            : make_device(server, err);
    if (rc) {
        refdev_server_free(server);
        return rc;
    }
    *ret = server;
    return 0;
}

void refdev_server_free(struct refdev_server *server)
{
    if (!server)
        return;
    if (server->model)
        refdev_done(server->model);
    free(server->model);
    free(server->windows);
    if (server->local)
        munmap(server->local, server->local_bytes);
    if (server->shared)
        munmap(server->shared, REFDEV_SHARED_BYTES);
    if (server->shared_fd >= 0)
        close(server->shared_fd);
    if (server->stop_fd >= 0)
        close(server->stop_fd);
    refdev_plan_done(server);
    free(server);
}

void refdev_server_stop(struct refdev_server *server)
{
    uint64_t one = 1;
    int saved = errno;
    if (write(server->stop_fd, &one, sizeof(one)) < 0)
        errno = 0; /* the counter is full: it is readable, which is all that matters */
    errno = saved;
}

/* ---- further clients ---- */

static void intruder_end(struct intruder *intruder)
{
    if (intruder->fd >= 0)
        close(intruder->fd);
    intruder->fd = -1;
    intruder->have = 0;
}

static void intruder_begin(struct refdev_server *server, int take_fd)
{
    struct intruder *intruder = &server->intruders[0];
    for (unsigned i = 0; i < SERVER_INTRUDERS_MAX; i++)
        if (server->intruders[i].fd < 0)
            intruder = &server->intruders[i];
    intruder_end(intruder); /* all places taken: the first one loses its own */
    intruder->fd = take_fd;
}

/* Tell it EBUSY in answer to its first command. What it sent is read, so that closing does not
 * look like an accident to it. */
static void intruder_receive(struct intruder *intruder)
{
    uint8_t rest[4096], out[vuser_header_BYTES];
    struct vuser_header command;
    ssize_t n = recv(intruder->fd, intruder->header + intruder->have,
                     sizeof(intruder->header) - intruder->have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        intruder_end(intruder);
        return;
    }
    intruder->have += (unsigned)n;
    if (intruder->have < sizeof(intruder->header))
        return;
    vuser_header_decode(intruder->header, &command);
    for (unsigned i = 0; i < 16 && recv(intruder->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0; i++)
        continue;
    struct vuser_header reply = vuser_error_header(&command, EBUSY);
    vuser_header_encode(&reply, out);
    n = send(intruder->fd, out, sizeof(out), MSG_DONTWAIT | MSG_NOSIGNAL);
    intruder_end(intruder);
}

static int accept_client(struct refdev_server *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        /* Gone before we looked, or no descriptors left: no reason to end the server. */
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED || errno == EMFILE ||
                       errno == ENFILE
                   ? 0
                   : -errno;
    if (refdev_client_is_here(server)) {
        refdev_server_log(server, "a second client is refused: this server serves one at a time");
        intruder_begin(server, fd);
        return 0;
    }
    return refdev_client_begin(server, fd);
}

/* ---- the loop ---- */

enum { POLL_STOP, POLL_LISTEN, POLL_CLIENT, POLL_INTRUDERS };
#define POLL_COUNT (POLL_INTRUDERS + SERVER_INTRUDERS_MAX)

static int wait_for_work(struct refdev_server *server, struct pollfd *polls, uint64_t wait_ns)
{
    polls[POLL_STOP] = (struct pollfd) { .fd = server->stop_fd, .events = POLLIN };
    polls[POLL_LISTEN] = (struct pollfd) { .fd = server->listen_fd, .events = POLLIN };
    polls[POLL_CLIENT] = (struct pollfd) { .fd = server->socket.fd, .events = POLLIN };
    for (unsigned i = 0; i < SERVER_INTRUDERS_MAX; i++)
        polls[POLL_INTRUDERS + i] =
            (struct pollfd) { .fd = server->intruders[i].fd, .events = POLLIN };
    if (wait_ns && wait_ns < TICK_NS)
        wait_ns = TICK_NS;
    struct timespec wait = as_timespec(wait_ns);
    int n = ppoll(polls, POLL_COUNT, wait_ns == UINT64_MAX ? NULL : &wait, NULL);
    return n < 0 && errno != EINTR ? -errno : n;
}

static int serve_polled(struct refdev_server *server, const struct pollfd *polls)
{
    if (polls[POLL_CLIENT].revents)
        refdev_client_receive(server);
    if (server->broken)
        refdev_client_end(server);
    for (unsigned i = 0; i < SERVER_INTRUDERS_MAX; i++)
        if (server->intruders[i].fd >= 0 && polls[POLL_INTRUDERS + i].revents)
            intruder_receive(&server->intruders[i]);
    /* One that has closed and whose last commands are still being worked off is no reason to refuse
     * the next: that one waits a little. */
    bool leaving = refdev_client_is_here(server) && (polls[POLL_CLIENT].revents & POLLHUP);
    return polls[POLL_LISTEN].revents && !leaving ? accept_client(server) : 0;
}

/* One turn: the device's work, then queued commands, then whoever is waiting. 1: stop. */
static int turn(struct refdev_server *server)
{
    struct pollfd polls[POLL_COUNT];
    uint64_t wait_ns = refdev_tick(server->model, now_ns(server));
    while (server->queue_head && !server->broken)
        refdev_client_run_queue(server);
    if (server->broken)
        refdev_client_end(server);
    if (!refdev_client_is_here(server) && server->listen_fd < 0)
        return 1;
    int rc = wait_for_work(server, polls, wait_ns);
    if (rc > 0)
        rc = polls[POLL_STOP].revents ? 1 : serve_polled(server, polls);
    return server->vanished ? 1 : rc;
}

static int loop(struct refdev_server *server)
{
    int rc = server->vanished;
    while (rc == 0)
        rc = turn(server);
    refdev_client_end(server);
    for (unsigned i = 0; i < SERVER_INTRUDERS_MAX; i++)
        intruder_end(&server->intruders[i]);
    return rc < 0 ? rc : 0;
}

int refdev_server_run(struct refdev_server *server, int listen_fd)
{
    int flags = fcntl(listen_fd, F_GETFL);
    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    server->listen_fd = listen_fd;
    int rc = loop(server);
    server->listen_fd = -1;
    return rc;
}

int refdev_server_serve(struct refdev_server *server, int take_fd)
{
    int rc = refdev_client_begin(server, take_fd);
    return rc ? rc : loop(server);
}
