/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing a kernel device destroys its state, so a command that holds devices stays in the
 * foreground until it is told. */
#include <stdio.h>
#include <string.h>

#include "cmd/owner.h"

static void say(const struct endpoint *e, const char *text)
{
    if (!e->quiet && !e->json)
        fprintf(stderr, "vfio-migrate %s: %s\n", e->name, text);
}

enum cmd_exit owner_settle(struct endpoint *e)
{
    struct vmig_error err = { 0 };
    if (!e->control) {
        say(e, "there is no --control socket, so only a signal ends this: the state held here is "
               "then lost");
    }
    int rc = vmig_migration_wait_resolved(e->migration, &err);
    if (rc < 0)
        return CMD_UNRESOLVED;
    say(e, rc == 1 ? "resolved: this side runs" : "resolved: this side let go");
    bool source = strcmp(e->name, "send") == 0;
    /* the target that runs goes on to own its devices; the others are at their end */
    return rc == 1 && !source ? CMD_DONE : CMD_FAILED;
}

enum cmd_exit owner_keep(struct endpoint *e)
{
    say(e, "the devices run here; ^C or SIGTERM lets go of them");
    endpoint_wait_signal();
    return CMD_DONE;
}
