/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/cmd.h"
#include "cmd/profile-argument.h"
#include "refdev/server.h"

#define NAMES_MAX 16

const struct refdev_profile *cmd_arg_profile(const struct argp_state *state, const char *name)
{
    const char *names[NAMES_MAX + 1] = { NULL };
    const struct refdev_profile *profile = refdev_profile_find(name);
    if (profile)
        return profile;
    for (unsigned i = 0; i < NAMES_MAX && refdev_profile_at(i); i++)
        names[i] = refdev_profile_at(i)->name;
    const char *nearest = cmd_nearest(name, names);
    argp_error(state,
               "--profile: no profile '%s'%s%s%s; `vfio-migrate refdev --profile list` explains "
               "what there is",
               name, nearest ? ", did you mean '" : "", nearest ? nearest : "",
               nearest ? "'?" : "");
    return NULL;
}
