/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One call of the library out of itself is made to fail.
 *
 * The linker puts wrap.c in front of the calls (tests/fail/calls), so a test program is not told
 * apart from any other. A thread works for a side, and so do the threads that it makes; only the
 * calls of the side under test count. Of these the nth, or the first from a place that the program
 * has not tried yet on this side, fails once: with an error, or with what is no error and must not be seen, such as
 * EINTR and short counts.
 */
#ifndef TESTS_FAIL_INJECT_H
#define TESTS_FAIL_INJECT_H

#include <stdbool.h>
#include <stdint.h>

enum inject_side {
    INJECT_NOBODY,
    INJECT_SOURCE,
    INJECT_TARGET,
};

enum inject_kind { INJECT_ERRORS, INJECT_HICCUPS, INJECT_KINDS };

struct inject_plan {
    enum inject_kind kind;
    unsigned variant; /* which of a call's errors; calls that have fewer do not count */
    uint64_t nth;     /* 0: the first one from a new place */
};

struct injected {
    bool done;
    uint64_t nth; /* of the calls that could have been failed that way */
    const char *call;
    int error;     /* 0: a short count or the like */
    int fd;        /* that the call was about, or -1 */
    char text[80]; /* "call 12, sendmsg: ECONNRESET" */
};

/* This thread, and those it makes from now on, work for @side. Returns whom it worked for. */
enum inject_side inject_act_for(enum inject_side side);

/* From here on the calls of @side count, until inject_disarm(). */
void inject_arm(const struct inject_plan *plan, enum inject_side side);
void inject_disarm(void);
/* What was failed since inject_arm(). */
const struct injected *inject_last(void);

/* The program ends, and says with what was failed and from where, unless this is called again
 * within @seconds; 0: it need not be. @what names the attempt. */
void inject_watch(unsigned seconds, const char *what);
/* Where the last one was failed, for addr2line(1), on standard error. */
void inject_print_place(void);

/* What was taken from the system by calls in this program and not given back. */
struct inject_owned {
    long allocations, mappings, fds;
};
struct inject_owned inject_owned(void);

/* ---- for wrap.c ---- */

/* How a call is made to fail; the first member of neither list is 0. */
struct inject_faults {
    int errors[4];
    int hiccups[4]; /* INJECT_SHORT, INJECT_SPURIOUS or an errno */
};
#define INJECT_SHORT 1000
#define INJECT_SPURIOUS 1001

/* What to fail the call with that is about to be made: an errno, one of the two above, or 0. */
int inject_now(const char *call, int fd, const struct inject_faults *faults);
void inject_count_allocation(long difference);
void inject_count_mapping(long difference);

#endif
