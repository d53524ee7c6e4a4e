/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate send --device D... ADDRESS: the source of a live migration. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/endpoint.h"
#include "cmd/owner.h"

struct send {
    struct endpoint end;
    const char *address;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct send *s = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->child_inputs[1] = &s->end;
        return 0;
    case ARGP_KEY_ARG:
        if (s->address)
            argp_error(state, "one ADDRESS only; devices are given with --device");
        s->address = arg;
        return 0;
    case ARGP_KEY_END:
        if (!s->address || (!s->end.num_addresses && !s->end.num_ram))
            argp_error(state, "at least one --device and an ADDRESS are needed");
        endpoint_check_address(s->address, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_send(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_argp, 0, NULL, 0 },
                                                  { &endpoint_tuning_argp, 0, "Tuning:", 1 },
                                                  { 0 } };
    static const struct argp argp = {
        NULL,
        parse,
        "--device DEVICE... ADDRESS",
        "Move devices, and the memory they reach, to a `vfio-migrate receive`.\v"
        "ADDRESS is tcp:HOST:PORT, unix:PATH, fd:N, file:PATH or exec:COMMAND. Devices run until "
        "the "
        "switch. When the connection breaks in the middle of the hand-over both sides hold what "
        "they "
        "have, and `vfio-migrate resolve` settles it.",
        children,
        NULL,
        NULL
    };
    struct send s = { .end = { .name = "send" } };
    struct vmig_error err = { 0 };
    cmd_parse_options(&argp, argc, argv, &s);
    /* devices alone in memory: nobody here writes to it but they */
    endpoint_set(&s.end, "tracker", 3);
    int rc = endpoint_open(&s.end, &err);
    if (rc == 0)
        rc = endpoint_remember(&s.end, s.end.migration, &err);
    if (rc == 0)
        rc = vmig_migration_send(s.end.migration, s.address, &err);
    enum cmd_exit code = rc < 0 ? endpoint_fail(&s.end, &err) : CMD_DONE;
    if (rc == 0)
        endpoint_report(&s.end);
    if (code == CMD_UNRESOLVED)
        code = owner_settle(&s.end);
    endpoint_close(&s.end);
    return code;
}
