/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/state.h"

static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
}

int state_folder(const char *name, char *ret, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length;
    if (state && state[0])
        length = snprintf(ret, size, "%s/vfio-migrate", state);
    else if (home && home[0])
        length = snprintf(ret, size, "%s/.local/state/vfio-migrate", home);
    else
        return -1;
    if (length >= (int)size || snprintf(ret + length, size - (size_t)length, "%s%s",
                                        name[0] ? "/" : "", name) >= (int)size - length)
        return -1;
    make_folders(ret);
    return 0;
}
