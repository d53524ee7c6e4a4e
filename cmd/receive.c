/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate receive --device D... ADDRESS: the target, and afterwards the devices' owner. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/endpoint.h"
#include "cmd/owner.h"
#include "cmd/qmp.h"
#include "lib/error.h"

enum { KEY_EXEC = 0x1001 };

struct receive {
    struct endpoint end;
    const char *address, *exec;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct receive *r = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->child_inputs[1] = &r->end;
        return 0;
    case KEY_EXEC:
        r->exec = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (r->address)
            argp_error(state, "one ADDRESS only; devices are given with --device");
        r->address = arg;
        return 0;
    case ARGP_KEY_END:
        if ((!r->address && !r->end.qmp_address) || (!r->end.num_addresses && !r->end.num_ram))
            argp_error(state, "at least one --device and an ADDRESS are needed");
        if (r->address)
            endpoint_check_address(r->address, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "exec", KEY_EXEC, "COMMAND", 0,
      "When the devices run here, become a shell that runs COMMAND and has their descriptors: "
      "VFIO_MIGRATE_DEVICES=\"ID=ADDRESS ...\" in its environment. Without it this command stays "
      "and "
      "holds the devices until SIGTERM or ^C",
      0 },
    { 0 },
};

/* As a client of the monitor asks for. 1: quit, before anything came. */
static int receive_as_asked(struct receive *r, struct vmig_error *err)
{
    int rc;
    if (qmp_wait_ended(&r->end, &rc, err))
        return rc;
    if (qmp_was_quit(&r->end))
        return 1;
    return error_set(err, ECANCELED, VMIG_STAGE_NONE, NULL, "cancelled",
                     "cancelled before a migrate-incoming came");
}

static int receive_or_wait(struct receive *r, struct vmig_error *err)
{
    int rc = endpoint_open(&r->end, err);
    if (rc == 0)
        rc = qmp_open(&r->end, !r->address, err);
    if (rc < 0)
        return rc;
    return r->address ? vmig_migration_receive(r->end.migration, r->address, err)
                      : receive_as_asked(r, err);
}

static enum cmd_exit run(struct receive *r)
{
    struct vmig_error err = { 0 };
    int rc = receive_or_wait(r, &err);
    if (rc == 1)
        return CMD_DONE;
    enum cmd_exit code = rc < 0 ? endpoint_fail(&r->end, &err) : CMD_DONE;
    if (rc == 0)
        endpoint_report(&r->end);
    if (code == CMD_UNRESOLVED)
        code = owner_settle(&r->end);
    return code == CMD_DONE ? owner_keep(&r->end, r->exec) : code;
}

int cmd_receive(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_argp, 0, NULL, 0 },
                                                  { &qmp_argp, 0, NULL, 0 },
                                                  { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "--device DEVICE... [ADDRESS]",
        "Receive devices, and the memory they reach, from a `vfio-migrate send`.\v"
        "ADDRESS is tcp:HOST:PORT (port 0 takes a free one and says which), unix:PATH, fd:N, "
        "file:PATH or exec:COMMAND.",
        children,
        NULL,
        NULL
    };
    struct receive r = { .end = { .name = "receive" } };
    cmd_parse_options(&argp, argc, argv, &r);
    enum cmd_exit code = run(&r);
    endpoint_close(&r.end);
    return code;
}
