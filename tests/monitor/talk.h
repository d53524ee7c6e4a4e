/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of a QMP server, as the tests are one: it asserts that what it is told is QMP. */
#ifndef TESTS_MONITOR_TALK_H
#define TESTS_MONITOR_TALK_H

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct talk {
    int fd;
    size_t length;
    char buf[1 << 20];
};

/* Connect and take the greeting; with @negotiate, also that. */
void talk_open(struct talk *t, const char *path, bool negotiate);
void talk_close(struct talk *t);
void talk_send(struct talk *t, const char *text);
void talk_send_bytes(struct talk *t, const void *bytes, size_t length);
/* The next line, a new reference. NULL: the server closed. Fails when nothing comes for a minute. */
json_t *talk_line(struct talk *t);
/* Is there nothing to read for now? */
bool talk_is_quiet(struct talk *t);

/* Send, and the answer, with events before it dropped, or appended to @events. */
json_t *talk_command(struct talk *t, const char *text, json_t *events);
/* The answer must be a success: what it returns. */
json_t *talk_ok(struct talk *t, const char *text);
/* The answer must be an error of that class, with @part in its text. */
void talk_error(struct talk *t, const char *text, const char *class, const char *part);
/* Wait for the event; its data or NULL, a new reference. */
json_t *talk_event(struct talk *t, const char *name);
/* Wait for MIGRATION with that status. */
void talk_status(struct talk *t, const char *status);

#endif
