/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-migrate monitor PATH: talk to a monitor, from a terminal, a pipe or a script. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/monitor-command.h"
#include "cmd/monitor-connection.h"
#include "cmd/monitor-edit.h"

#define COMMANDS_MAX 64

struct monitor {
    const char *path;
    const char *commands[COMMANDS_MAX]; /* -c */
    unsigned num_commands;
    bool json, pretty, interactive;
    struct connection connection;
    struct monitor_names names;
    struct edit edit;
    bool failed; /* a command has */
    bool ended;  /* the connection has */
};

/* ---- output ---- */

static void print_line(const json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    fflush(stdout);
}

/* "MIGRATION status: active" */
static void print_event(FILE *to, const json_t *line)
{
    const json_t *data = json_object_get(line, "data");
    const char *name = json_string_value(json_object_get(line, "event"));
    char *text = data ? json_dumps(data, 0) : NULL;
    fprintf(to, "%s%s%s\n", name ? name : "a late answer", text ? " " : "", text ? text : "");
    free(text);
    fflush(to);
}

static void on_other(void *opaque, const json_t *line)
{
    struct monitor *m = opaque;
    edit_clear(&m->edit);
    if (m->json)
        print_line(line);
    else /* answers alone on standard output, where a program reads them */
        print_event(m->pretty ? stdout : stderr, line);
    edit_restore(&m->edit);
}

static void print_error(struct monitor *m, const char *what, const char *text)
{
    fflush(stdout);
    fprintf(stderr, "vfio-migrate monitor: %s%s%s\n", what, what[0] ? ": " : "", text);
    m->failed = true;
}

static void print_answer(struct monitor *m, const json_t *command, const json_t *line)
{
    const json_t *error = json_object_get(line, "error");
    const char *desc = json_string_value(json_object_get(error, "desc"));
    const char *name = json_string_value(json_object_get(command, "execute"));
    if (m->json)
        print_line(line);
    if (error && m->json)
        m->failed = true;
    else if (error)
        print_error(m, name ? name : "", desc ? desc : "failed");
    else if (m->pretty && !m->json)
        monitor_show(json_object_get(line, "return"), 0);
    else if (!m->json)
        print_line(json_object_get(line, "return"));
    fflush(stdout);
}

/* ---- commands ---- */

static bool came(void *opaque)
{
    struct monitor *m = opaque;
    return typed_ahead(&m->edit.typed);
}

static void run_json(struct monitor *m, json_t *command)
{
    struct vmig_error err = { 0 };
    const struct interruption typing = { .fd = STDIN_FILENO, .came = came, .opaque = m };
    json_t *line = connection_call(&m->connection, command, m->interactive ? &typing : NULL, &err);
    if (line)
        print_answer(m, command, line);
    else
        print_error(m, "", err.text);
    m->ended |= !line && err.code != -EINTR;
    json_decref(line);
}

static void run_line(struct monitor *m, const char *text)
{
    char why[300];
    json_t *command = monitor_command(text, why, sizeof(why));
    if (command)
        run_json(m, command);
    else if (why[0])
        print_error(m, "", why);
    json_decref(command);
}

/* ---- names for completion ---- */

static json_t *call(struct monitor *m, const char *name)
{
    struct vmig_error err = { 0 };
    json_t *command = json_pack("{s:s}", "execute", name);
    json_t *line = connection_call(&m->connection, command, NULL, &err);
    json_t *result = json_incref(json_object_get(line, "return"));
    json_decref(command);
    json_decref(line);
    return result;
}

/* Of an array of objects the member @key, of an object the names. */
static json_t *names_of(json_t *take_result, const char *key)
{
    json_t *names = json_array(), *value;
    const char *name;
    size_t i;
    json_array_foreach(take_result, i, value) json_array_append(names, json_object_get(value, key));
    json_object_foreach(take_result, name, value) json_array_append_new(names, json_string(name));
    json_decref(take_result);
    return names;
}

static void ask_names(struct monitor *m)
{
    m->names.commands = names_of(call(m, "query-commands"), "name");
    m->names.capabilities = names_of(call(m, "query-migrate-capabilities"), "capability");
    m->names.parameters = names_of(call(m, "query-migrate-parameters"), "");
}

/* ---- the three ways ---- */

static void run_given(struct monitor *m)
{
    for (unsigned i = 0; i < m->num_commands && !m->ended; i++)
        run_line(m, m->commands[i]);
}

/* Events are told while nothing is asked. False: the other side has ended. */
static bool wait_for_input(struct monitor *m)
{
    struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                           { .fd = m->connection.fd, .events = POLLIN } };
    while (poll(p, 2, -1) >= 0 && !p[0].revents)
        if (!connection_poll(&m->connection))
            return false;
    return true;
}

static void run_pipe(struct monitor *m)
{
    char *line = NULL;
    size_t size = 0;
    setvbuf(stdin, NULL, _IONBF, 0); /* what was read and not looked at would not be waited for */
    while (!m->ended && wait_for_input(m) && getline(&line, &size, stdin) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        run_line(m, line);
    }
    free(line);
}

static void run_terminal(struct monitor *m)
{
    struct vmig_error err = { 0 };
    ask_names(m);
    m->edit = (struct edit) { .connection = &m->connection, .names = &m->names };
    if (edit_open(&m->edit, &err) < 0)
        print_error(m, "", err.text);
    const char *line = NULL;
    while (!m->ended && m->edit.line && (line = edit_read(&m->edit)))
        run_line(m, line);
    if (m->edit.ended)
        fputs("\nthe other side closed the connection\n", stdout);
    else if (m->edit.line && !line)
        putchar('\n');
    edit_close(&m->edit);
    m->failed = false; /* whoever types has seen it */
}

/* ---- options ---- */

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct monitor *m = state->input;
    switch (key) {
    case 'c':
        if (m->num_commands == COMMANDS_MAX)
            argp_error(state, "--command can be given %d times; a pipe takes more", COMMANDS_MAX);
        m->commands[m->num_commands++] = arg;
        return 0;
    case CMD_KEY_JSON:
        m->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (m->path)
            argp_error(state, "one PATH only");
        m->path = arg;
        return 0;
    case ARGP_KEY_END:
        if (!m->path)
            argp_error(state, "the PATH of a monitor's socket is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "command", 'c', "COMMAND", 0,
      "Run it and end; may be given several times. Without it commands are read from standard "
      "input",
      0 },
    { "json", CMD_KEY_JSON, NULL, 0, "Print answers and events as they come, a JSON object a line",
      0 },
    { 0 },
};

int cmd_monitor(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "PATH",
        "Talk to the monitor (QMP) that a `send --qmp`, a `receive --qmp` or a VMM serves at "
        "PATH.\v"
        "A command is its name and NAME=VALUE words (migrate uri=tcp:host:4444), or the JSON of "
        "QMP. "
        "^D ends; ^C drops a line, or stops waiting for an answer. vfio-migrate-qmp(7) lists the "
        "commands.",
        NULL,
        NULL,
        NULL
    };
    struct monitor m = { .connection = { .fd = -1 } };
    struct vmig_error err = { 0 };
    cmd_parse_options(&argp, argc, argv, &m);
    m.connection.on_other = on_other;
    m.connection.opaque = &m;
    m.pretty = !m.json && isatty(STDOUT_FILENO);
    if (connection_open(&m.connection, m.path, &err) < 0) {
        connection_close(&m.connection);
        return cmd_fail("monitor", m.json, CMD_FAILED, &err);
    }
    m.interactive = !m.num_commands && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (m.interactive)
        run_terminal(&m);
    else if (m.num_commands)
        run_given(&m);
    else
        run_pipe(&m);
    connection_close(&m.connection);
    json_decref(m.names.commands);
    json_decref(m.names.capabilities);
    json_decref(m.names.parameters);
    return m.failed ? CMD_FAILED : CMD_DONE;
}
