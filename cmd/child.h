/* SPDX-License-Identifier: BSD-3-Clause */
/* A process that is told things on its standard input and reports on its standard output, one JSON
 * object a line. Its reports can be looked at before it is their turn to be taken. */
#ifndef CMD_CHILD_H
#define CMD_CHILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    FILE *to;
    int from;                    /* 0: none */
    char *text;                  /* what it wrote and nobody took */
    size_t length, size, looked; /* bytes of it; room; how far it was looked at */
};

/* Read what there is, once; waits if there is nothing. False when it has ended. */
bool child_read(struct child *child);
/* The next report: taken, or only looked at, each once. New reference; NULL: none was read yet. */
json_t *child_take(struct child *child);
json_t *child_look(struct child *child);
/* Close both ends and forget what was not taken. */
void child_done(struct child *child);

#endif
