/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/monitor-connection.h"
#include "lib/channel/channel.h"
#include "lib/error.h"

/* A server that says more than this without a newline is none. */
#define LINE_BYTES_MAX (64u << 20)

static int ended(const struct connection *c, struct vmig_error *err)
{
    (void)c;
    return error_set(err, ECONNRESET, VMIG_STAGE_NONE, NULL, NULL,
                     "the other side closed the connection");
}

/* ---- lines ---- */

static bool make_room(struct connection *c)
{
    if (c->length < c->size)
        return true;
    size_t size = c->size ? c->size * 2 : 65536;
    char *larger = size <= LINE_BYTES_MAX ? realloc(c->buf, size) : NULL;
    if (!larger)
        return false;
    c->buf = larger;
    c->size = size;
    return true;
}

/* More bytes, without waiting. False: there will be none. */
static bool receive(struct connection *c)
{
    if (!make_room(c))
        return false;
    ssize_t n = recv(c->fd, c->buf + c->length, c->size - c->length, MSG_DONTWAIT);
    if (n > 0)
        c->length += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* A line that came, or NULL. What is no JSON is not for us. */
static json_t *take_line(struct connection *c)
{
    char *end;
    json_t *json = NULL;
    while (!json && c->length && (end = memchr(c->buf, '\n', c->length))) {
        size_t taken = (size_t)(end - c->buf) + 1;
        json = json_loadb(c->buf, taken, 0, NULL);
        c->length -= taken;
        memmove(c->buf, end + 1, c->length);
    }
    return json;
}

/* The next one. NULL: the end, or @interruption. */
static json_t *wait_line(struct connection *c, const struct interruption *interruption,
                         struct vmig_error *err)
{
    json_t *line;
    bool there = true;
    while (!(line = take_line(c)) && there) {
        struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN },
                               { .fd = interruption ? interruption->fd : -1, .events = POLLIN } };
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents && interruption->came(interruption->opaque)) {
            error_set(err, EINTR, VMIG_STAGE_NONE, NULL, NULL, "interrupted");
            return NULL;
        }
        if (p[0].revents)
            there = receive(c);
    }
    if (!line)
        ended(c, err);
    return line;
}

/* ---- calls ---- */

static int say(struct connection *c, const json_t *json, struct vmig_error *err)
{
    char *text = json_dumps(json, JSON_ENSURE_ASCII | JSON_COMPACT), *at = text;
    size_t left = text ? strlen(text) : 0;
    if (text)
        text[left++] = '\n'; /* in the terminator's place: the length is known */
    while (left) {
        ssize_t n = send(c->fd, at, left, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        at += n;
        left -= (size_t)n;
    }
    free(text);
    return text && !left ? 0 : ended(c, err);
}

static bool is_answer(const json_t *line, const json_t *id)
{
    return !json_object_get(line, "event") && json_equal(json_object_get(line, "id"), id);
}

static void pass_on(struct connection *c, json_t *take_line)
{
    if (c->on_other)
        c->on_other(c->opaque, take_line);
    json_decref(take_line);
}

json_t *connection_call(struct connection *c, json_t *command,
                        const struct interruption *interruption, struct vmig_error *err)
{
    json_t *line;
    if (!json_object_get(command, "id"))
        json_object_set_new(command, "id", json_integer(++c->last_id));
    if (say(c, command, err) < 0)
        return NULL;
    while ((line = wait_line(c, interruption, err))) {
        if (is_answer(line, json_object_get(command, "id")))
            return line;
        pass_on(c, line);
    }
    return NULL;
}

bool connection_poll(struct connection *c)
{
    json_t *line;
    bool there = receive(c);
    while ((line = take_line(c)))
        pass_on(c, line);
    return there;
}

/* ---- opening ---- */

static int greet(struct connection *c, struct vmig_error *err)
{
    json_t *greeting = wait_line(c, NULL, err);
    bool qmp = json_object_get(greeting, "QMP");
    json_decref(greeting);
    if (!qmp)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "whoever listens there speaks no QMP");
    json_t *command = json_pack("{s:s}", "execute", "qmp_capabilities");
    json_t *answer = connection_call(c, command, NULL, err);
    json_decref(command);
    json_decref(answer);
    return answer ? 0 : err->code;
}

static int connect_to(const char *path, int *ret_fd, struct vmig_error *err)
{
    struct address address = { .kind = ADDRESS_UNIX };
    struct channel *channel;
    const char *plain = strncmp(path, "unix:", 5) == 0 ? path + 5 : path;
    if (strlen(plain) > 107)
        return error_set(err, ENAMETOOLONG, VMIG_STAGE_NONE, NULL, NULL,
                         "%.200s: a UNIX socket path has at most 107 bytes", plain);
    strcpy(address.path, plain);
    int rc = channel_connect(&address, -1, &channel, err);
    if (rc < 0)
        return rc;
    *ret_fd = channel->fd;
    channel->fd = -1;
    channel_free(channel);
    return 0;
}

int connection_open(struct connection *c, const char *path, struct vmig_error *err)
{
    int rc = connect_to(path, &c->fd, err);
    if (rc == 0)
        rc = greet(c, err);
    return rc;
}

void connection_close(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->buf);
    *c = (struct connection) { .fd = -1 };
}
