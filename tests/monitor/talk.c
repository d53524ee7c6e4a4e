/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/monitor/talk.h"

#define PATIENCE_MS 60000

void talk_open(struct talk *t, const char *path, bool negotiate)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    t->length = 0;
    assert_true(t->fd >= 0);
    int rc = connect(t->fd, (struct sockaddr *)&sun, sizeof(sun));
    for (int i = 0; rc < 0 && (errno == ENOENT || errno == ECONNREFUSED) && i < 600; i++) {
        poll(NULL, 0, 100); /* a program that is only starting */
        rc = connect(t->fd, (struct sockaddr *)&sun, sizeof(sun));
    }
    assert_int_equal(rc, 0);
    json_t *greeting = talk_line(t);
    assert_true(json_is_object(json_object_get(greeting, "QMP")));
    json_decref(greeting);
    if (negotiate)
        json_decref(talk_ok(t, "{\"execute\": \"qmp_capabilities\"}"));
}

void talk_close(struct talk *t)
{
    close(t->fd);
    t->fd = -1;
}

void talk_send_bytes(struct talk *t, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length) {
        ssize_t n = send(t->fd, at, length, MSG_NOSIGNAL);
        assert_true(n > 0);
        at += n;
        length -= (size_t)n;
    }
}

void talk_send(struct talk *t, const char *text)
{
    talk_send_bytes(t, text, strlen(text));
}

static void assert_ascii(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        assert_in_range(line[i], 0x20, 0x7e);
}

json_t *talk_line(struct talk *t)
{
    char *end;
    while (!(end = memchr(t->buf, '\n', t->length))) {
        struct pollfd p = { .fd = t->fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        assert_true(t->length < sizeof(t->buf));
        ssize_t n = recv(t->fd, t->buf + t->length, sizeof(t->buf) - t->length, 0);
        if (n <= 0)
            return NULL;
        t->length += (size_t)n;
    }
    size_t length = (size_t)(end - t->buf);
    assert_true(length > 0 && t->buf[length - 1] == '\r');
    assert_ascii(t->buf, length - 1);
    json_t *json = json_loadb(t->buf, length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    t->length -= length + 1;
    memmove(t->buf, end + 1, t->length);
    return json;
}

bool talk_is_quiet(struct talk *t)
{
    struct pollfd p = { .fd = t->fd, .events = POLLIN };
    return !t->length && poll(&p, 1, 0) == 0;
}

static void check_event(const json_t *event)
{
    const json_t *timestamp = json_object_get(event, "timestamp");
    json_int_t us = json_integer_value(json_object_get(timestamp, "microseconds"));
    assert_true(json_is_string(json_object_get(event, "event")));
    assert_true(json_integer_value(json_object_get(timestamp, "seconds")) > 1600000000);
    assert_in_range(us, 0, 999999);
}

json_t *talk_command(struct talk *t, const char *text, json_t *events)
{
    char *request;
    assert_true(asprintf(&request, "%s\n", text) > 0);
    talk_send(t, request); /* at once: the other side may end with it */
    free(request);
    for (;;) {
        json_t *line = talk_line(t);
        assert_non_null(line);
        if (!json_object_get(line, "event"))
            return line;
        check_event(line);
        if (events)
            json_array_append(events, line);
        json_decref(line);
    }
}

json_t *talk_ok(struct talk *t, const char *text)
{
    json_t *line = talk_command(t, text, NULL);
    json_t *result = json_object_get(line, "return");
    if (!result) {
        char *said = json_dumps(line, 0);
        fail_msg("%s: %s", text, said);
    }
    json_incref(result);
    json_decref(line);
    return result;
}

void talk_error(struct talk *t, const char *text, const char *class, const char *part)
{
    json_t *line = talk_command(t, text, NULL);
    json_t *error = json_object_get(line, "error");
    if (!error)
        fail_msg("%s: no error", text);
    const char *desc = json_string_value(json_object_get(error, "desc"));
    assert_string_equal(json_string_value(json_object_get(error, "class")), class);
    if (!strstr(desc, part))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, desc, part);
    json_decref(line);
}

json_t *talk_event(struct talk *t, const char *name)
{
    for (;;) {
        json_t *line = talk_line(t);
        assert_non_null(line);
        const char *event = json_string_value(json_object_get(line, "event"));
        json_t *data = event && strcmp(event, name) == 0
                           ? json_incref(json_object_get(line, "data") ?: line)
                           : NULL;
        json_decref(line);
        if (data)
            return data;
    }
}

void talk_status(struct talk *t, const char *status)
{
    for (;;) {
        json_t *data = talk_event(t, "MIGRATION");
        const char *now = json_string_value(json_object_get(data, "status"));
        assert_non_null(now);
        bool there = strcmp(now, status) == 0;
        bool failed = strcmp(now, "failed") == 0;
        json_decref(data);
        if (there)
            return;
        if (failed)
            fail_msg("failed, while %s was waited for", status);
    }
}
