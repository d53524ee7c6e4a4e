/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The terminal at which somebody types to a monitor. From before the first prompt to the end it neither echoes nor
 * collects lines, also while an answer is waited for: what is typed ahead is read later as it would have been then.
 * ^C is a character among them and comes in its turn; a signal would come before what was typed earlier, or break off
 * what is being printed. When the process ends, or a signal ends or stops it, the terminal is left as it was found.
 */
#ifndef CMD_MONITOR_TERMINAL_H
#define CMD_MONITOR_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#define TERMINAL_INTERRUPT '\x03' /* ^C */

/* Remember the mode in which the terminal is, for a signal that ends or stops the process. */
void terminal_found(void);
/* The mode in which it is now is ours: also set again when the process was stopped and goes on. */
void terminal_ours(void);
/* As it was found. */
void terminal_leave(void);

/* What was typed while no line was being read. */
struct typed {
    char *bytes;
    size_t length;
};

/* A byte, in the order of typing; waits for it. False: there is none, and will be none. */
bool typed_next(struct typed *t, char *ret);
/* Keep what is there, without waiting. True: there was a ^C, and what is before it is forgotten; or no more will come. */
bool typed_ahead(struct typed *t);

#endif
