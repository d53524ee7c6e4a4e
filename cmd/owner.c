/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing a kernel device destroys its state, so a command that holds devices stays in the
 * foreground until it is told, or hands their descriptors on to the program that it becomes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    if (rc == -ECANCELED)
        return CMD_UNRESOLVED;
    if (rc < 0)
        return endpoint_fail(e, &err);
    say(e, rc == 1 ? "resolved: this side runs" : "resolved: this side let go");
    bool source = strcmp(e->name, "send") == 0;
    /* moved after all: the target runs, or the source let go for it */
    return source == (rc == 0) ? CMD_DONE : CMD_FAILED;
}

#define ADDRESS_MAX 65536u /* bytes; the kernel takes 128 KiB in one variable */

/* Append "ID=ADDRESS" to *list. */
static int hand_on(struct vmig_device *device, char **list, struct vmig_error *err)
{
    char *address = malloc(ADDRESS_MAX), *longer = NULL;
    int rc = address ? vmig_device_hand_on(device, address, ADDRESS_MAX, err) : -ENOMEM;
    if (rc == 0 && asprintf(&longer, "%s%s%s=%s", *list ? *list : "", *list ? " " : "",
                            vmig_device_id(device), address) < 0)
        rc = -ENOMEM;
    free(address);
    if (rc == 0) {
        free(*list);
        *list = longer;
    }
    return rc;
}

/* The descriptors that were handed on stay open in this process whatever comes. */
static int become(struct endpoint *e, const char *command, struct vmig_error *err)
{
    char *list = NULL;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < e->num_devices; i++)
        rc = hand_on(e->devices[i], &list, err);
    if (rc == 0 && setenv("VFIO_MIGRATE_DEVICES", list ? list : "", 1) < 0)
        rc = -errno;
    free(list);
    if (rc < 0)
        return rc;
    fflush(NULL);
    signal(SIGPIPE, SIG_DFL); /* what is ignored stays ignored over exec */
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    return -errno;
}

enum cmd_exit owner_keep(struct endpoint *e, const char *command)
{
    if (command) {
        struct vmig_error err = { 0 };
        endpoint_end_migration(e);
        int rc = become(e, command, &err);
        fprintf(stderr,
                "vfio-migrate %s: the devices run here, but cannot be handed on: %s; holding them "
                "until ^C or SIGTERM\n",
                e->name, err.code ? err.text : strerror(-rc));
        endpoint_wait_signal();
        return CMD_FAILED;
    }
    bool paused = vmig_migration_run_state(e->migration) != VMIG_RUN_STATE_RUNNING;
    say(e, paused ? "the devices are here, paused as at the source; cont, from a monitor or "
                    "vfio-migrate resolve, lets them run; ^C or SIGTERM lets go of them"
                  : "the devices run here; ^C or SIGTERM lets go of them");
    endpoint_wait_signal();
    return CMD_DONE;
}
