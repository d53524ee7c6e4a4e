/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate save DEVICE --to FILE: stop a device, write its state, let it go on. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/backend-argument.h"
#include "cmd/endpoint.h"

enum { KEY_TO = 0x1001, KEY_KEEP_STOPPED };

struct save {
    struct endpoint end;
    const char *to;
    bool keep_stopped;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct save *s = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &s->end;
        return 0;
    case KEY_TO:
        s->to = arg;
        return 0;
    case KEY_KEEP_STOPPED:
        s->keep_stopped = true;
        return 0;
    case KEY_BACKEND:
        s->end.backend = backend_argument(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (s->end.num_addresses)
            argp_error(state, "one DEVICE at a time; `vfio-migrate send` moves several");
        s->end.addresses[s->end.num_addresses++] = device_argument_check(state, arg);
        return 0;
    case ARGP_KEY_END:
        if (!s->end.num_addresses || !s->to)
            argp_error(state, "DEVICE and --to FILE are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "to", KEY_TO, "FILE", 0, "Where the state goes; appears only when it is complete", 0 },
    { "keep-stopped", KEY_KEEP_STOPPED, NULL, 0, "Leave the device in STOP instead of RUNNING", 0 },
    BACKEND_OPTION,
    { 0 },
};

static int save(struct save *s, struct vmig_error *err)
{
    char address[4200];
    snprintf(address, sizeof(address), "file:%s", s->to);
    endpoint_set(&s->end, "pre-copy", 0);
    endpoint_set(&s->end, "downtime-limit", 2000000); /* nobody waits for it to be short */
    int rc = endpoint_open(&s->end, err);
    if (rc < 0)
        return rc;
    return s->keep_stopped ? vmig_migration_send(s->end.migration, address, err)
                           : vmig_migration_snapshot(s->end.migration, address, err);
}

int cmd_save(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_state_argp, 0, NULL, 0 }, { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "DEVICE --to FILE",
        "Write the state of a device to FILE.\v"
        "The device stops, its state is written as a migration stream with an identity of its own, "
        "and it goes back to RUNNING.",
        children,
        NULL,
        NULL
    };
    struct save s = { .end = { .name = "save" } };
    struct vmig_error err = { 0 };
    cmd_parse_options(&argp, argc, argv, &s);
    int rc = save(&s, &err);
    enum cmd_exit code = CMD_DONE;
    if (rc < 0)
        code = endpoint_fail(&s.end, &err);
    else
        endpoint_report(&s.end);
    endpoint_close(&s.end);
    return code;
}
