/* SPDX-License-Identifier: BSD-3-Clause */
/* --trace: what the library does, on standard error, a line each. */
#ifndef CMD_TRACE_ARGUMENT_H
#define CMD_TRACE_ARGUMENT_H

#include "cmd/cmd.h"

#define KEY_TRACE 0x1300
#define TRACE_OPTION                                                                               \
    {                                                                                              \
        "trace", KEY_TRACE, "PATTERN", 0,                                                          \
            "Say on standard error what happens, a line each, where a trace point matches; * and " \
            "? stand for letters; may be given several times; help lists the points",              \
            0                                                                                      \
    }

/* From here on these, too. A pattern that matches nothing ends the program with argp's usage message,
 * "help" with the list. */
void trace_argument(const struct argp_state *state, const char *pattern);

/* On standard output. */
void trace_print_list(bool json);

#endif
