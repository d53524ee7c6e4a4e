/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate resolve CONTROL run|discard: settle a hand-over that hangs; and what else can be said to
 * a control socket. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/endpoint.h"
#include "lib/migration/control.h"

enum { KEY_GONE = 0x1001 };

struct resolve {
    const char *control, *what;
    bool gone, json;
};

static bool is_word(const char *text)
{
    static const char *const words[] = { "run",    "discard",  "status", "events",
                                         "cancel", "continue", "stop",   "cont" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], text) == 0)
            return true;
    return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct resolve *r = state->input;
    switch (key) {
    case KEY_GONE:
        r->gone = true;
        return 0;
    case CMD_KEY_JSON:
        r->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            r->control = arg;
        else if (state->arg_num == 1)
            r->what = arg;
        else
            argp_error(state, "too many arguments");
        return 0;
    case ARGP_KEY_END:
        if (!r->what || !is_word(r->what))
            argp_error(
                state,
                "CONTROL and one of run, discard, status, events, cancel, continue, stop, cont are "
                "needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "other-side-gone", KEY_GONE, NULL, 0,
      "Your word that the other side does not run and did not run since: needed for `run` when it "
      "cannot be reached",
      0 },
    CMD_JSON_OPTION,
    { 0 },
};

static json_t *request(const struct resolve *r)
{
    if (strcmp(r->what, "run") != 0 && strcmp(r->what, "discard") != 0)
        return json_pack("{s:s}", "execute", r->what);
    return json_pack("{s:s, s:{s:s, s:b}}", "execute", "resolve", "arguments", "what", r->what,
                     "other-side-gone", (int)r->gone);
}

static void print_result(const struct resolve *r, json_t *result)
{
    if (r->json) {
        json_object_set_new(result, "result", json_string("done"));
        cmd_print_json(json_incref(result));
    } else if (strcmp(r->what, "status") == 0) {
        const char *side = json_string_value(json_object_get(result, "side"));
        bool idle = side && strcmp(side, "none") == 0;
        const char *waiting = json_string_value(json_object_get(result, "waiting"));
        printf("%s: %s, VM %s%s%s\n", idle ? "no migration runs, the last one" : side,
               json_string_value(json_object_get(result, "status")),
               json_string_value(json_object_get(result, "run-state")),
               waiting && waiting[0] ? "; " : "", waiting ? waiting : "");
    } else {
        printf("this side is %s now\n", json_string_value(json_object_get(result, "now")));
    }
}

/* ---- events ---- */

static const char *text_of(json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

/* "quiesce-notice 20 ms: the workload stops in about 20 ms" */
static void print_event(void *opaque, json_t *line)
{
    const struct resolve *r = opaque;
    const char *event = text_of(line, "event"), *text = text_of(line, "text");
    json_t *lead = json_object_get(line, "lead_ms"), *round = json_object_get(line, "round");
    if (r->json) {
        json_dumpf(line, stdout, JSON_COMPACT); /* one a line: they are read as they come */
        putchar('\n');
    } else {
        printf("%s", event);
        if (strcmp(event, "status") == 0 || strcmp(event, "begin") == 0)
            printf(" %s", text_of(line, "status"));
        if (strcmp(event, "stage") == 0)
            printf(" %s", text_of(line, "stage"));
        if (strcmp(event, "round") == 0)
            printf(" %d", (int)json_integer_value(round));
        if (lead)
            printf(" %d ms", (int)json_integer_value(lead));
        printf("%s%s\n", text[0] ? ": " : "", text);
    }
    fflush(stdout);
}

static int listen_to(struct resolve *r)
{
    struct vmig_error err = { 0 };
    if (control_listen(r->control, print_event, r, &err) < 0)
        return cmd_fail("resolve", r->json, cmd_exit_of(&err), &err);
    return CMD_DONE;
}

/* Still unresolved, or was there something else? */
static enum cmd_exit exit_of(const struct vmig_error *err)
{
    static const char *const unresolved[] = { "other-side-unreachable", "other-side-runs",
                                              "other-side-asks", "question-open", "resolving" };
    for (size_t i = 0; i < sizeof(unresolved) / sizeof(unresolved[0]); i++)
        if (strcmp(err->reason, unresolved[i]) == 0)
            return CMD_UNRESOLVED;
    return cmd_exit_of(err);
}

static void say_who_should_be_there(struct vmig_error *err)
{
    if (err->code != -ENOENT && err->code != -ECONNREFUSED)
        return;
    size_t length = strlen(err->text);
    snprintf(err->text + length, sizeof(err->text) - length,
             "; no send or receive serves it: it has ended, or has another --control");
}

int cmd_resolve(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "CONTROL run|discard|status|events|cancel|continue|stop|cont",
        "Settle a hand-over that hangs, on the side that listens on CONTROL.\v"
        "run: this side goes on; the other side is made to let go first where it can be reached. "
        "discard: this side lets go of what it holds. status: only say how it is. events: say what "
        "happens, until the side ends. cancel: end a migration that runs. continue: go on with one "
        "that "
        "waits before the switchover. stop, cont: stop the VM with its devices, and let it run. "
        "Look at both sides "
        "before you decide: where one runs, discard the "
        "other.",
        NULL,
        NULL,
        NULL
    };
    struct resolve r = { 0 };
    struct vmig_error err = { 0 };
    cmd_parse_options(&argp, argc, argv, &r);
    if (strcmp(r.what, "events") == 0)
        return listen_to(&r);
    json_t *result = control_call(r.control, request(&r), &err);
    if (!result && err.stage == VMIG_STAGE_OPEN)
        say_who_should_be_there(&err);
    if (!result)
        return cmd_fail("resolve", r.json, exit_of(&err), &err);
    print_result(&r, result);
    json_decref(result);
    return CMD_DONE;
}
