/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate trace list: the names that --trace and probes of the library take. */
#include <string.h>

#include "cmd/trace-argument.h"

struct trace {
    bool list, json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct trace *t = state->input;
    switch (key) {
    case CMD_KEY_JSON:
        t->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (t->list || strcmp(arg, "list") != 0)
            argp_error(state, "'%s': list is all that can be asked for", arg);
        t->list = true;
        return 0;
    case ARGP_KEY_END:
        if (!t->list)
            argp_error(state, "list is expected");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_trace(int argc, char **argv)
{
    static const struct argp_option options[] = { CMD_JSON_OPTION, { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "list",
        "List the trace points of the library: name, typed fields, meaning.\v"
        "Other subcommands print them with --trace PATTERN. Each is a USDT probe as well: "
        "vfio_migrate:NAME in the library, for perf, bpftrace or SystemTap.",
        NULL,
        NULL,
        NULL
    };
    struct trace t = { 0 };
    cmd_parse_options(&argp, argc, argv, &t);
    trace_print_list(t.json);
    return CMD_DONE;
}
