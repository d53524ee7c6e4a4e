/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What QEMU said to a request beside what our monitor says: a member is there in both, has the same
 * type, and where it is a text or a switch, the same value. Each difference needs a row in exceptions.c,
 * which says why; a row that no difference needs any more is a complaint as well.
 */
#ifndef TESTS_MONITOR_COMPARE_H
#define TESTS_MONITOR_COMPARE_H

#include <jansson.h>
#include "tests/monitor/talk.h"

enum difference { ONLY_QEMU, ONLY_OURS, OTHER_TYPE, OTHER_VALUE };

/* Which of the two dialogues has it: a row is looked for in those alone. */
enum { LIVE = 1, RECORDED = 2 };

struct exception {
    unsigned where;
    const char *step, *path; /* patterns, as of a shell. NULL: the end */
    enum difference what;
    const char *reason;
    unsigned used;
};
extern struct exception exceptions[]; /* exceptions.c */

/* ---- what one side says to one request ---- */

/* {"reply": ..., "events": "MIGRATION:setup MIGRATION_PASS ..."}, both new. */
json_t *outcome_of(json_t *take_reply, const json_t *lines);
/* Send it (NULL: nothing), wait for the answer and then for the event called so (NULL: for none). */
json_t *outcome_ask(struct talk *t, const char *text, const char *event);
/* "MIGRATION:active"; malloc'd. */
char *event_name(const json_t *line);

/* Both references are taken. */
void compare(const char *step, json_t *take_theirs, json_t *take_ours);
/* So far, with the rows of @where that were not used; each has been printed. */
unsigned complaints(unsigned where);

#endif
