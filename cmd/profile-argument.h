/* SPDX-License-Identifier: BSD-3-Clause */
/* The option --profile of the commands that start reference devices. */
#ifndef CMD_PROFILE_ARGUMENT_H
#define CMD_PROFILE_ARGUMENT_H

#include <argp.h>
#include "refdev/model/model.h"

/* The profile called @name. Where there is none the program ends with argp's usage message, which
 * names the nearest. */
const struct refdev_profile *cmd_arg_profile(const struct argp_state *state, const char *name);

#endif
