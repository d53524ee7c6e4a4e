/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's connection to a QMP server. */
#ifndef CMD_MONITOR_CONNECTION_H
#define CMD_MONITOR_CONNECTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <vfio-migrate/error.h>

/* What may end the wait for an answer: asked whenever @fd is readable. */
struct interruption {
    int fd;
    bool (*came)(void *opaque);
    void *opaque;
};

struct connection {
    int fd;
    char *buf;
    size_t length, size;
    json_int_t last_id;
    /* What is no answer that is waited for: events, and answers that nobody waited for any more. */
    void (*on_other)(void *opaque, const json_t *line);
    void *opaque;
};

/* Connect to the socket at @path, take the greeting, negotiate. */
int connection_open(struct connection *c, const char *path, struct vmig_error *err);
void connection_close(struct connection *c);
/* Send @command, an object, with an id unless it has one. What it returned ("return" or "error" in the
 * line), a new reference. NULL: the connection ended, or @interruption (or NULL) came (then err->code
 * is -EINTR, and the answer comes as others do). */
json_t *connection_call(struct connection *c, json_t *command,
                        const struct interruption *interruption, struct vmig_error *err);
/* What has come goes to on_other. False: the connection has ended. */
bool connection_poll(struct connection *c);

#endif
