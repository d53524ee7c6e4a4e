/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate send --device D... ADDRESS: the source of a live migration. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/check.h"
#include "cmd/endpoint.h"
#include "cmd/owner.h"
#include "cmd/qmp.h"

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
        for (unsigned i = 0; i < 3; i++)
            state->child_inputs[i] = &s->end;
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
        if ((!s->address && !s->end.check && !s->end.qmp_address) ||
            (!s->end.num_addresses && !s->end.num_ram))
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

static enum cmd_exit told(struct send *s, int rc, const struct vmig_error *err)
{
    enum cmd_exit code = rc < 0 ? endpoint_fail(&s->end, err) : CMD_DONE;
    if (rc == 0)
        endpoint_report(&s->end);
    if (code == CMD_UNRESOLVED)
        code = owner_settle(&s->end);
    return code;
}

/* One after the other, as clients of the monitor ask for; the exit code is the last one's. */
static enum cmd_exit send_as_asked(struct send *s)
{
    struct vmig_error err = { 0 };
    enum cmd_exit code = CMD_CANCELLED;
    bool any = false;
    int rc;
    while (qmp_wait_ended(&s->end, &rc, &err)) {
        code = told(s, rc, &err);
        any = true;
    }
    return !any && qmp_was_quit(&s->end) ? CMD_DONE : code;
}

static enum cmd_exit run(struct send *s)
{
    struct vmig_error err = { 0 };
    int rc = endpoint_open(&s->end, &err);
    if (rc == 0 && s->end.check)
        return check_report(s->end.migration, s->end.json);
    if (rc == 0)
        rc = endpoint_remember(&s->end, s->end.migration, &err);
    if (rc == 0)
        rc = qmp_open(&s->end, false, &err);
    if (rc == 0 && !s->address)
        return send_as_asked(s);
    if (rc == 0)
        rc = vmig_migration_send(s->end.migration, s->address, &err);
    return told(s, rc, &err);
}

int cmd_send(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_argp, 0, NULL, 0 },
                                                  { &qmp_argp, 0, NULL, 0 },
                                                  { &endpoint_tuning_argp, 0, "Tuning:", 1 },
                                                  { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "--device DEVICE... [ADDRESS]",
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
    cmd_parse_options(&argp, argc, argv, &s);
    /* devices alone in memory: nobody here writes to it but they */
    endpoint_set(&s.end, "tracker", 3);
    enum cmd_exit code = run(&s);
    endpoint_close(&s.end);
    return code;
}
