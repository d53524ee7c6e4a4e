/* SPDX-License-Identifier: BSD-3-Clause */
/* From a request's text to a row of the table, and from its result to an answer. */
#include <errno.h>
#include <string.h>

#include "lib/error.h"
#include "lib/monitor/monitor.h"
#include "lib/text.h"
#include "lib/trace/trace.h"

/* ---- answers ---- */

static json_t *with_id(json_t *answer, json_t *id)
{
    if (answer && id)
        json_object_set(answer, "id", id);
    return answer;
}

json_t *dispatch_success(const struct call *call, json_t *take_result)
{
    return with_id(json_pack("{s:o}", "return", take_result), call->id);
}

static json_t *failure(const struct call *call, const struct vmig_error *err)
{
    const char *class = call->not_found ? "CommandNotFound" : "GenericError";
    char text[sizeof(*err)] = "Out of memory";
    if (err->code)
        vmig_error_message(err, text, sizeof(text));
    return with_id(json_pack("{s:{s:s, s:o}}", "error", "class", class, "desc", text_json(text)),
                   call->id);
}

static void answer(struct call *call, json_t *take_result, const struct vmig_error *err)
{
    json_t *line = take_result ? dispatch_success(call, take_result) : failure(call, err);
    pthread_mutex_lock(&call->monitor->lock);
    if (!call->answered)
        client_tell_locked(call->client, line);
    pthread_mutex_unlock(&call->monitor->lock);
    json_decref(line);
}

json_t *dispatch_version(const struct vmig_monitor *monitor)
{
    const unsigned *v = monitor->host.version;
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", (int)v[2], "minor", (int)v[1],
                     "major", (int)v[0], "package", monitor->package);
}

json_t *dispatch_greeting(const struct vmig_monitor *monitor)
{
    return json_pack("{s:{s:o, s:[s]}}", "QMP", "version", dispatch_version(monitor),
                     "capabilities", "oob");
}

/* ---- requests ---- */

static int refuse(struct vmig_error *err, const char *format, const char *what)
{
    char text[200];
    snprintf(text, sizeof(text), format, what);
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "%s", text);
}

/* The command's name, whichever way it shall be run; NULL: this is no request. */
static const char *check_request(const json_t *request, bool oob, struct vmig_error *err)
{
    const char *key, *name = NULL;
    json_t *value;
    if (!json_is_object(request)) {
        refuse(err, "%s", "QMP input must be a JSON object");
        return NULL;
    }
    json_object_foreach((json_t *)request, key, value)
    {
        bool executes = strcmp(key, "execute") == 0 || (oob && strcmp(key, "exec-oob") == 0);
        if (executes && !json_is_string(value))
            refuse(err, "QMP input member '%.60s' must be a string", key);
        else if (executes && name)
            refuse(err, "%s", "QMP input member 'exec-oob' clashes with 'execute'");
        else if (executes)
            name = json_string_value(value);
        else if (strcmp(key, "arguments") == 0 && !json_is_object(value))
            refuse(err, "%s", "QMP input member 'arguments' must be an object");
        else if (strcmp(key, "arguments") != 0 && strcmp(key, "id") != 0)
            refuse(err, "QMP input member '%.60s' is unexpected", key);
    }
    if (!name)
        refuse(err, "%s", "QMP input lacks member 'execute'");
    return err->code ? NULL : name;
}

static const struct command *host_command(const struct vmig_monitor_host *host, const char *name)
{
    static const struct command forwards = {
        "", on_host_command, { { 0 } }, COMMAND_OWN_ARGUMENTS
    };
    for (const char *const *own = host->commands; own && *own; own++)
        if (host->command && strcmp(*own, name) == 0)
            return &forwards;
    return NULL;
}

static int find_command(struct call *call, const char *name, struct vmig_error *err)
{
    call->command = command_find(name);
    if (!call->command)
        call->command = host_command(&call->monitor->host, name);
    if (call->command)
        return 0;
    call->not_found = true;
    return refuse(err, "The command %.100s has not been found", name);
}

static int check_negotiation(struct call *call, struct vmig_error *err)
{
    pthread_mutex_lock(&call->monitor->lock);
    bool negotiated = call->client->negotiated;
    pthread_mutex_unlock(&call->monitor->lock);
    bool negotiates = call->command && call->command->flags & COMMAND_NEGOTIATES;
    if (negotiated != negotiates)
        return 0;
    call->not_found = true;
    return refuse(err, "%s",
                  negotiates ? "Capabilities negotiation is already complete, command ignored"
                             : "Expecting capabilities negotiation with 'qmp_capabilities'");
}

static bool is_oob(const json_t *request)
{
    return json_object_get(request, "exec-oob");
}

static int check_call(struct call *call, const json_t *request, const char *name,
                      struct vmig_error *err)
{
    int found = find_command(call, name, err);
    struct vmig_error first = { 0 };
    if (check_negotiation(call, &first) < 0) { /* says more than that there is no such command */
        *err = first;
        return err->code;
    }
    if (found < 0)
        return found;
    if (is_oob(request) && !(call->command->flags & COMMAND_OOB))
        return refuse(err, "The command %.100s does not support OOB", name);
    if (call->command->flags & COMMAND_OWN_ARGUMENTS)
        return 0;
    return arguments_check(call->arguments, call->command->arguments, err);
}

static bool oob_enabled(struct client *c)
{
    pthread_mutex_lock(&c->monitor->lock);
    bool oob = c->oob;
    pthread_mutex_unlock(&c->monitor->lock);
    return oob;
}

/* @request is NULL where there is none, and @err says why. */
static void run(struct client *c, json_t *request, struct vmig_error *err)
{
    json_t *none = json_object(), *arguments = json_object_get(request, "arguments");
    struct call call = { .client = c,
                         .monitor = c->monitor,
                         .migration = c->monitor->migration,
                         .arguments = json_is_object(arguments) ? arguments : none,
                         .id = json_object_get(request, "id"),
                         .name = NULL };
    json_t *result = NULL;
    if (!err->code && none)
        call.name = check_request(request, oob_enabled(c), err);
    TRACE(handle_qmp_command, call.name ? call.name : "");
    if (call.name && check_call(&call, request, call.name, err) == 0)
        result = call.command->run(&call, err);
    TRACE(monitor_qmp_respond, call.name ? call.name : "", err->text);
    answer(&call, result, err);
    json_decref(none);
}

static json_t *parse(const char *text, size_t length, struct vmig_error *err)
{
    json_error_t why;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!json)
        error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "JSON parse error, %s", why.text);
    return json;
}

void dispatch(struct client *c, const struct request *request)
{
    struct vmig_error err = { 0 };
    json_t *json = NULL;
    if (request->why)
        refuse(&err, "%s", request->why);
    else
        json = parse(request->text, request->length, &err);
    run(c, json, &err);
    json_decref(json);
}

bool dispatch_oob(struct client *c, const char *text, size_t length)
{
    struct vmig_error err = { 0 };
    if (!oob_enabled(c))
        return false;
    json_t *json = parse(text, length, &err);
    bool oob = is_oob(json);
    if (oob)
        run(c, json, &err);
    json_decref(json);
    return oob;
}
