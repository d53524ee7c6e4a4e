/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate send --device D... ADDRESS: the source of a live migration. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/check.h"
#include "cmd/endpoint.h"
#include "cmd/owner.h"

enum { KEY_CHECK = 0x1001 };

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
    case KEY_CHECK:
        s->end.check = true;
        return 0;
    case ARGP_KEY_ARG:
        if (s->address)
            argp_error(state, "one ADDRESS only; devices are given with --device");
        s->address = arg;
        return 0;
    case ARGP_KEY_END:
        if ((!s->address && !s->end.check) || (!s->end.num_addresses && !s->end.num_ram))
            argp_error(state, "at least one --device and an ADDRESS are needed");
        if (s->address)
            endpoint_check_address(s->address, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "check", KEY_CHECK, NULL, 0,
      "Only say what stands in the way, and what should be known; nothing is sent, and ADDRESS may "
      "be left out",
      0 },
    { 0 },
};

/* Until it is over, here; then the result is told. */
static enum cmd_exit move(struct send *s)
{
    struct vmig_error err = { 0 };
    int rc = endpoint_remember(&s->end, s->end.migration, &err);
    if (rc == 0)
        rc = vmig_migration_send(s->end.migration, s->address, &err);
    enum cmd_exit code = rc < 0 ? endpoint_fail(&s->end, &err) : CMD_DONE;
    if (rc == 0)
        endpoint_report(&s->end);
    return code == CMD_UNRESOLVED ? owner_settle(&s->end) : code;
}

int cmd_send(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_argp, 0, NULL, 0 },
                                                  { &endpoint_tuning_argp, 0, "Tuning:", 1 },
                                                  { 0 } };
    static const struct argp argp = {
        options,
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
    enum cmd_exit code;
    if (rc < 0)
        code = endpoint_fail(&s.end, &err);
    else
        code = s.end.check ? check_report(s.end.migration, s.end.json) : move(&s);
    endpoint_close(&s.end);
    return code;
}
