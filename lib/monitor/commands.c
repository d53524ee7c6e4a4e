/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands, a row each, and those that are about the monitor itself. */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/monitor/monitor.h"

#define ARGUMENT(name, type)                                                                       \
    {                                                                                              \
        name, ARGUMENT_##type, false, NULL                                                         \
    }
#define OPTIONAL(name, type)                                                                       \
    {                                                                                              \
        name, ARGUMENT_##type, true, NULL                                                          \
    }

static const struct argument capability_members[] = { ARGUMENT("capability", STRING),
                                                      ARGUMENT("state", BOOLEAN),
                                                      { 0 } };

static const struct command commands[] = {
    { "qmp_capabilities",
      on_capabilities_negotiation,
      { OPTIONAL("enable", STRINGS) },
      COMMAND_NEGOTIATES },
    { "query-version", on_query_version, { { 0 } }, 0 },
    { "query-commands", on_query_commands, { { 0 } }, 0 },
    { "quit", on_quit, { { 0 } }, 0 },
    { "migrate",
      on_migrate,
      { OPTIONAL("uri", STRING), OPTIONAL("channels", ANY), OPTIONAL("detach", BOOLEAN),
        OPTIONAL("resume", BOOLEAN) },
      0 },
    { "migrate-incoming",
      on_migrate_incoming,
      { OPTIONAL("uri", STRING), OPTIONAL("channels", ANY) },
      0 },
    { "migrate_cancel", on_migrate_cancel, { { 0 } }, 0 },
    { "migrate-pause", on_migrate_pause, { { 0 } }, COMMAND_OOB },
    { "migrate-continue", on_migrate_continue, { ARGUMENT("state", STRING) }, 0 },
    { "migrate-set-capabilities",
      on_set_capabilities,
      { { "capabilities", ARGUMENT_OBJECTS, false, capability_members } },
      0 },
    { "query-migrate-capabilities", on_query_capabilities, { { 0 } }, 0 },
    { "migrate-set-parameters", on_set_parameters, { { 0 } }, COMMAND_OWN_ARGUMENTS },
    { "query-migrate-parameters", on_query_parameters, { { 0 } }, 0 },
    { "stop", on_stop, { { 0 } }, 0 },
    { "cont", on_cont, { { 0 } }, 0 },
    { "query-status", on_query_status, { { 0 } }, 0 },
    { "snapshot", on_snapshot, { OPTIONAL("uri", STRING), OPTIONAL("channels", ANY) }, 0 },
    { "query-migrate", on_query_migrate, { { 0 } }, 0 },
};

const struct command *command_at(unsigned index)
{
    return index < sizeof(commands) / sizeof(commands[0]) ? &commands[index] : NULL;
}

const struct command *command_find(const char *name)
{
    for (unsigned i = 0; command_at(i); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

json_t *on_capabilities_negotiation(struct call *call, struct vmig_error *err)
{
    const json_t *enable = json_object_get(call->arguments, "enable");
    bool oob = false;
    for (size_t i = 0; i < json_array_size(enable); i++) {
        const char *name = json_string_value(json_array_get(enable, i));
        if (strcmp(name, "oob") != 0) {
            error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                      "Parameter 'enable[%zu]' does not accept value '%.100s'", i, name);
            return NULL;
        }
        oob = true;
    }
    LOCK_SCOPE(&call->monitor->lock);
    call->client->negotiated = true;
    call->client->oob = oob;
    return json_object();
}

json_t *on_query_version(struct call *call, struct vmig_error *err)
{
    (void)err;
    return dispatch_version(call->monitor);
}

static void append_name(json_t *list, const char *name)
{
    json_array_append_new(list, json_pack("{s:s}", "name", name));
}

json_t *on_query_commands(struct call *call, struct vmig_error *err)
{
    const struct vmig_monitor_host *host = &call->monitor->host;
    json_t *list = json_array();
    (void)err;
    for (unsigned i = 0; command_at(i); i++)
        append_name(list, command_at(i)->name);
    for (const char *const *own = host->commands; own && *own && host->command; own++)
        append_name(list, *own);
    return list;
}

json_t *on_quit(struct call *call, struct vmig_error *err)
{
    const struct vmig_monitor_host *host = &call->monitor->host;
    if (!host->quit) {
        error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, NULL,
                  "This program does not end on quit");
        return NULL;
    }
    if (host->quit(host->opaque, err) < 0)
        return NULL;
    events_tell(call->monitor, "SHUTDOWN",
                json_pack("{s:b, s:s}", "guest", 0, "reason", "host-qmp-quit"));
    return json_object();
}

json_t *on_host_command(struct call *call, struct vmig_error *err)
{
    const struct vmig_monitor_host *host = &call->monitor->host;
    CLEANUP_FREE char *arguments = json_dumps(call->arguments, JSON_COMPACT);
    CLEANUP_FREE char *text = NULL;
    json_error_t why;
    if (!arguments || host->command(host->opaque, call->name, arguments, &text, err) < 0) {
        error_set(err, EIO, VMIG_STAGE_NONE, NULL, NULL, "%s failed", call->name);
        return NULL;
    }
    json_t *result = text ? json_loads(text, JSON_DECODE_ANY, &why) : json_object();
    if (!result)
        error_set(err, EBADMSG, VMIG_STAGE_NONE, NULL, NULL,
                  "%.100s was run, but what it answered is no JSON: %.160s", call->name, why.text);
    return result;
}
