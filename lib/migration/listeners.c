/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/listeners.h"
#include "lib/text.h"

/* Of the socket: a client that does not read holds little of the kernel's memory, too. */
#define SOCKET_BYTES (16 << 10)

/* NULL: not told to outsiders, who can ask for the status. */
static const char *const names[] = {
    [VMIG_EVENT_STATUS] = "status",
    [VMIG_EVENT_ROUND] = "round",
    [VMIG_EVENT_STAGE] = "stage",
    [VMIG_EVENT_PROGRESS] = NULL,
    [VMIG_EVENT_WAITING] = "waiting",
    [VMIG_EVENT_LISTENING] = "listening",
    [VMIG_EVENT_WARNING] = "warning",
    [VMIG_EVENT_STATE_LOST] = "state-lost",
    [VMIG_EVENT_QUIESCE_NOTICE] = "quiesce-notice",
    [VMIG_EVENT_TRACKING] = "tracking",
    [VMIG_EVENT_STOP] = "stop",
    [VMIG_EVENT_RESUME] = "resume",
    [VMIG_EVENT_DEVICE_STATE] = "device-state",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == VMIG_EVENT_DEVICE_STATE + 1,
               "a row for every kind of event");

void listeners_init(struct listeners *all)
{
    *all = (struct listeners) { 0 };
    pthread_mutex_init(&all->lock, NULL);
}

void listeners_done(struct listeners *all)
{
    pthread_mutex_destroy(&all->lock);
}

/* ---- lines ---- */

static char *line_of(const struct vmig_event *event)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:i, s:I, s:I}", "event", names[event->kind], "status",
                  vmig_status_name(event->status), "stage", vmig_stage_name(event->stage), "round",
                  (int)event->round, "sent_bytes", (json_int_t)event->sent_bytes, "remaining_bytes",
                  (json_int_t)event->remaining_bytes);
    if (json && event->text)
        json_object_set_new(json, "text", text_json(event->text));
    if (json && event->code)
        json_object_set_new(json, "code", text_json(event->code));
    if (json && event->kind == VMIG_EVENT_QUIESCE_NOTICE)
        json_object_set_new(json, "lead_ms", json_integer(event->lead_ms));
    if (json && event->kind == VMIG_EVENT_DEVICE_STATE)
        json_object_set_new(json, "device-state",
                            json_string(vmig_state_word(event->device_state)));
    CLEANUP_FREE char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    char *line = NULL;
    json_decref(json);
    if (text && asprintf(&line, "%s\n", text) < 0)
        return NULL;
    return line;
}

/* Whoever can not be told everything is told nothing more. @line: NULL when there was no memory. */
static void append_locked(struct listener *l, const char *line)
{
    char *copy = line && l->count < LISTENER_LINES_MAX ? strdup(line) : NULL;
    if (copy)
        l->lines[(l->first + l->count++) % LISTENER_LINES_MAX] = copy;
    else
        l->dropped = true;
    eventfd_write(l->wake_fd, 1);
}

static void append_to_all_locked(struct listeners *all, const char *line)
{
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        if (all->each[i].used && !all->each[i].dropped)
            append_locked(&all->each[i], line);
}

static bool anybody_locked(const struct listeners *all)
{
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        if (all->each[i].used)
            return true;
    return false;
}

void listeners_tell(struct listeners *all, const struct vmig_event *event)
{
    if (!names[event->kind])
        return;
    LOCK_SCOPE(&all->lock);
    if (!anybody_locked(all))
        return;
    CLEANUP_FREE char *line = line_of(event);
    append_to_all_locked(all, line);
}

void listeners_begin(struct listeners *all)
{
    LOCK_SCOPE(&all->lock);
    all->over = false;
}

void listeners_end(struct listeners *all)
{
    LOCK_SCOPE(&all->lock);
    all->over = true;
    append_to_all_locked(all, "{\"event\":\"end\"}\n");
}

/* ---- one of them ---- */

static struct listener *free_place_locked(struct listeners *all)
{
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        if (!all->each[i].used)
            return &all->each[i];
    return NULL;
}

int listener_join(struct listeners *all, struct listener **ret, struct vmig_error *err)
{
    CLEANUP_FD int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL, "eventfd: %s", strerror(errno));
    LOCK_SCOPE(&all->lock);
    struct listener *l = free_place_locked(all);
    if (!l)
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "too-many-listeners",
                         "%d listen already, and no more can; end one of them", LISTENERS_MAX);
    *l = (struct listener) { .all = all, .used = true, .wake_fd = take_fd(&wake_fd) };
    *ret = l;
    return 0;
}

static char *take_line(struct listener *l)
{
    LOCK_SCOPE(&l->all->lock);
    if (!l->count || l->dropped)
        return NULL;
    char *line = l->lines[l->first];
    l->first = (l->first + 1) % LISTENER_LINES_MAX;
    l->count--;
    return line;
}

static bool is_over(struct listener *l)
{
    LOCK_SCOPE(&l->all->lock);
    return l->dropped || l->all->over;
}

/* Until something may have changed, or @what is possible on @fd. False: the client has left. */
static bool wait_for(struct listener *l, int fd, short what)
{
    eventfd_t count;
    struct pollfd p[2] = { { .fd = fd, .events = what }, { .fd = l->wake_fd, .events = POLLIN } };
    if (poll(p, 2, -1) < 0)
        return errno == EINTR;
    if (p[1].revents)
        eventfd_read(l->wake_fd, &count);
    return !(p[0].revents & (POLLHUP | POLLERR));
}

/* False: it does not take it. When it is over nobody waits for it. */
static bool write_out(struct listener *l, int fd, char *line)
{
    struct iovec iov = { line, strlen(line) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    while (iov.iov_len) {
        ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            iov.iov_base = (char *)iov.iov_base + n;
            iov.iov_len -= (size_t)n;
        } else if (errno != EINTR && (errno != EAGAIN || is_over(l) || !wait_for(l, fd, POLLOUT))) {
            return false;
        }
    }
    return true;
}

void listener_serve(struct listener *l, int fd)
{
    int bytes = SOCKET_BYTES;
    bool there = true;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    while (there) {
        bool over = is_over(l); /* before looking: "end" is in the queue then */
        CLEANUP_FREE char *line = take_line(l);
        if (line)
            there = write_out(l, fd, line);
        else
            there = !over && wait_for(l, fd, 0);
    }
}

void listener_leave(struct listener *l)
{
    LOCK_SCOPE(&l->all->lock);
    while (l->count) {
        free(l->lines[l->first]);
        l->first = (l->first + 1) % LISTENER_LINES_MAX;
        l->count--;
    }
    close(l->wake_fd);
    l->used = false;
}
