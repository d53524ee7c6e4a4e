/* SPDX-License-Identifier: BSD-3-Clause */
/* A prompt with history and completion, during which events are shown as they come. */
#ifndef CMD_MONITOR_EDIT_H
#define CMD_MONITOR_EDIT_H

#include <histedit.h>
#include <stdbool.h>

#include "cmd/monitor-command.h"
#include "cmd/monitor-connection.h"
#include "cmd/monitor-terminal.h"

struct edit {
    EditLine *line;
    History *history;
    char history_path[4096]; /* "": kept nowhere */
    struct connection *connection;
    const struct monitor_names *names;
    struct typed typed;
    bool prompting; /* a prompt stands on the terminal */
    bool dropped;   /* ^C has ended the line */
    bool ended;     /* the connection has */
};

int edit_open(struct edit *e, struct vmig_error *err);
void edit_close(struct edit *e);
/* A line without its newline, valid until the next call; NULL: ^D, or the connection ended. ^C
 * drops what was typed: then it is "". */
const char *edit_read(struct edit *e);
/* Before and after something is printed while somebody may be typing. */
void edit_clear(struct edit *e);
void edit_restore(struct edit *e);

#endif
