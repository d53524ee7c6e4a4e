/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client: its bytes cut into requests, its executor that takes them one by one, and the lines that
 * it is told. It may send commands and close its writing side, as a pipe does: what it sent whole is run
 * and answered. A command that it did not finish is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/monitor/monitor.h"
#include "lib/thread.h"

/* ---- what it is told ---- */

static void drop_locked(struct client *c)
{
    c->dropped = true;
    c->reply_length = 0;
    pthread_cond_broadcast(&c->monitor->changed);
}

static bool make_room_locked(struct client *c, size_t length)
{
    if (c->reply_size - c->reply_length >= length)
        return true;
    if (c->reply_length + length > REPLY_BYTES_MAX)
        return false;
    char *larger = realloc(c->reply, c->reply_length + length);
    if (!larger)
        return false;
    c->reply = larger;
    c->reply_size = c->reply_length + length;
    return true;
}

void client_tell_locked(struct client *c, const json_t *json)
{
    CLEANUP_FREE char *line = json ? json_dumps(json, JSON_ENSURE_ASCII) : NULL;
    size_t length = line ? strlen(line) : 0;
    if (c->dropped)
        return;
    if (line && make_room_locked(c, length + 2)) {
        memcpy(c->reply + c->reply_length, line, length);
        memcpy(c->reply + c->reply_length + length, "\r\n", 2);
        c->reply_length += length + 2;
    } else {
        drop_locked(c); /* who cannot be told everything is told nothing more */
    }
    server_wake(c->monitor);
}

bool client_has_output(struct client *c)
{
    LOCK_SCOPE(&c->monitor->lock);
    return c->reply_length && !c->dropped;
}

void client_write(struct client *c)
{
    LOCK_SCOPE(&c->monitor->lock);
    struct iovec iov = { c->reply, c->reply_length };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        drop_locked(c);
    if (n <= 0)
        return;
    c->reply_length -= (size_t)n;
    memmove(c->reply, c->reply + n, c->reply_length);
}

/* ---- what it sends ---- */

bool client_wants_input(struct client *c)
{
    LOCK_SCOPE(&c->monitor->lock);
    return !c->heard_all && !c->dropped && c->count < REQUESTS_MAX &&
           c->request_bytes < SCANNER_BYTES_MAX;
}

static bool queue_locked(struct client *c, const struct request *take_request)
{
    c->requests[(c->first + c->count++) % REQUESTS_MAX] = *take_request;
    c->request_bytes += take_request->length;
    pthread_cond_broadcast(&c->monitor->changed);
    return true;
}

static void accept_request(struct client *c, enum scan scan, const char *why)
{
    struct request r = { .why = scan == SCAN_BAD ? why : NULL };
    if (scan == SCAN_TEXT && dispatch_oob(c, c->scanner.text, c->scanner.length))
        return;
    if (scan == SCAN_TEXT) {
        r.length = c->scanner.length;
        r.text = malloc(r.length);
        if (r.text)
            memcpy(r.text, c->scanner.text, r.length);
        else
            r = (struct request) { .why = "Out of memory for this command" };
    }
    LOCK_SCOPE(&c->monitor->lock);
    queue_locked(c, &r);
}

/* True: what was read before has been scanned. */
static bool scan_input(struct client *c)
{
    const char *why = NULL;
    while (c->input_length && client_wants_input(c)) {
        const char *bytes = c->input + c->input_first;
        enum scan scan = scanner_take(&c->scanner, &bytes, &c->input_length, &why);
        c->input_first = (size_t)(bytes - c->input);
        if (scan != SCAN_MORE)
            accept_request(c, scan, why);
    }
    return !c->input_length;
}

void client_read(struct client *c)
{
    if (!scan_input(c))
        return;
    ssize_t n = recv(c->fd, c->input, sizeof(c->input), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->input_first = 0;
    c->input_length = n > 0 ? (size_t)n : 0;
    if (n > 0) {
        scan_input(c);
        return;
    }
    LOCK_SCOPE(&c->monitor->lock);
    c->heard_all = true;
    pthread_cond_broadcast(&c->monitor->changed);
}

/* ---- its executor ---- */

static bool take_request(struct client *c, struct request *ret)
{
    LOCK_SCOPE(&c->monitor->lock);
    while (!c->count && !c->heard_all && !c->dropped && !c->monitor->over)
        pthread_cond_wait(&c->monitor->changed, &c->monitor->lock);
    if (!c->count || c->dropped || c->monitor->over)
        return false;
    *ret = c->requests[c->first];
    c->first = (c->first + 1) % REQUESTS_MAX;
    c->count--;
    c->request_bytes -= ret->length;
    return true;
}

static void *executor_main(void *opaque)
{
    struct client *c = opaque;
    struct request r;
    pthread_sigmask(SIG_SETMASK, &c->monitor->mask, NULL);
    while (take_request(c, &r)) {
        dispatch(c, &r);
        free(r.text);
        server_wake(c->monitor); /* there is room for another one */
    }
    LOCK_SCOPE(&c->monitor->lock);
    c->finished = true;
    server_wake(c->monitor);
    return NULL;
}

/* ---- its life ---- */

static void clear(struct client *c)
{
    while (c->count) {
        free(c->requests[c->first].text);
        c->first = (c->first + 1) % REQUESTS_MAX;
        c->count--;
    }
    scanner_done(&c->scanner);
    free(c->reply);
    close(c->fd);
    *c = (struct client) { 0 };
}

bool client_start(struct client *c, struct vmig_monitor *monitor, int take_fd)
{
    pthread_mutex_lock(&monitor->lock);
    *c = (struct client) { .monitor = monitor, .used = true, .fd = take_fd };
    bool sound = scanner_init(&c->scanner);
    if (sound) {
        json_t *greeting = dispatch_greeting(monitor);
        client_tell_locked(c, greeting);
        json_decref(greeting);
    }
    sound = sound && thread_start(&c->executor, executor_main, c) == 0;
    if (!sound)
        clear(c);
    pthread_mutex_unlock(&monitor->lock);
    return sound;
}

void client_end(struct client *c)
{
    struct vmig_monitor *monitor = c->monitor;
    pthread_join(c->executor, NULL);
    if (client_has_output(c))
        client_write(c);
    LOCK_SCOPE(&monitor->lock);
    clear(c);
}

bool client_is_over(struct client *c)
{
    LOCK_SCOPE(&c->monitor->lock);
    return c->finished && !c->monitor->over && (c->dropped || !c->reply_length);
}
