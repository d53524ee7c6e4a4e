/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "cmd/backend-argument.h"

const char *backend_argument(const struct argp_state *state, const char *text)
{
    static const char *const names[] = { "auto", "cdev", "group", NULL };
    for (const char *const *name = names; *name; name++)
        if (strcmp(text, *name) == 0)
            return *name;
    const char *nearest = cmd_nearest(text, names);
    argp_error(state, "--backend '%s': must be auto, cdev or group%s%s%s", text,
               nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return NULL;
}

const char *backend_for(const char *address, const char *wish)
{
    return strncmp(address, "vfio-user:", strlen("vfio-user:")) == 0 ? NULL : wish;
}
