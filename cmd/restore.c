/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate restore DEVICE --from FILE: load a saved state and start the device. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/backend-argument.h"
#include "cmd/endpoint.h"
#include "cmd/restored.h"

enum { KEY_FROM = 0x1001, KEY_AGAIN };

struct restore {
    struct endpoint end;
    const char *from;
    bool again;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct restore *r = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->end;
        return 0;
    case KEY_FROM:
        r->from = arg;
        return 0;
    case KEY_AGAIN:
        r->again = true;
        return 0;
    case KEY_BACKEND:
        r->end.backend = backend_argument(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (r->end.num_addresses)
            argp_error(state, "one DEVICE at a time");
        r->end.addresses[r->end.num_addresses++] = device_argument_check(state, arg);
        return 0;
    case ARGP_KEY_END:
        if (!r->end.num_addresses || !r->from)
            argp_error(state, "DEVICE and --from FILE are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "from", KEY_FROM, "FILE", 0, "What `vfio-migrate save` wrote", 0 },
    { "again", KEY_AGAIN, NULL, 0, "Restore a file that was restored before", 0 },
    BACKEND_OPTION,
    { 0 },
};

static int restore(struct restore *r, struct vmig_error *err)
{
    char address[4200], identity[33] = "";
    snprintf(address, sizeof(address), "file:%s", r->from);
    int rc = restored_identity(r->from, identity, err);
    if (rc == 0 && !r->again)
        rc = restored_check(r->from, identity, err);
    if (rc == 0)
        rc = endpoint_open(&r->end, err);
    if (rc == 0)
        rc = restored_fits(r->from, r->end.devices[0], err);
    if (rc == 0)
        rc = vmig_migration_receive(r->end.migration, address, err);
    if (rc == 0 && identity[0] && !restored_note(identity) && !r->end.quiet)
        fprintf(stderr,
                "vfio-migrate restore: warning: there is no place to note that %s was restored "
                "(set HOME or XDG_STATE_HOME to one): a second time will not be refused\n",
                r->from);
    return rc;
}

int cmd_restore(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_state_argp, 0, NULL, 0 }, { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "DEVICE --from FILE",
        "Load a device's state from FILE and start the device.\v"
        "A file that is damaged, cut short or from another kind of device is refused; the device "
        "is "
        "then reset and RUNNING. One state restored twice is two devices that believe to be the "
        "same, so a second time is refused unless --again is given.",
        children,
        NULL,
        NULL
    };
    struct restore r = { .end = { .name = "restore" } };
    struct vmig_error err = { 0 };
    cmd_parse_options(&argp, argc, argv, &r);
    int rc = restore(&r, &err);
    enum cmd_exit code = CMD_DONE;
    if (rc < 0)
        code = endpoint_fail(&r.end, &err);
    else
        endpoint_report(&r.end);
    endpoint_close(&r.end);
    return code;
}
