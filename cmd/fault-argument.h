/* SPDX-License-Identifier: BSD-3-Clause */
/* The option --fault of the commands that start reference devices. */
#ifndef CMD_FAULT_ARGUMENT_H
#define CMD_FAULT_ARGUMENT_H

#include <argp.h>
#include "refdev/model/model.h"

/* Add the fault @text to the plan. A bad one, or one too many, ends the program with argp's usage
 * message, which names what is wrong in it and the nearest right word. */
void cmd_arg_fault(const struct argp_state *state, const char *text, struct refdev_knobs *knobs);

/* A fault of one of a demo's devices: source:TEXT, target:TEXT, or with the device's number. */
struct cmd_sided_fault {
    bool source;
    unsigned device;
    const char *text; /* borrowed */
};
struct cmd_sided_fault cmd_arg_sided_fault(const struct argp_state *state, const char *text);

/* Print the words and what goes with what, for `--fault list`. */
void cmd_print_faults(bool json);

#endif
