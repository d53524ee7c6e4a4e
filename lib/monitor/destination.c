/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/channel/channel.h"
#include "lib/error.h"
#include "lib/monitor/arguments.h"
#include "lib/monitor/destination.h"

static int refuse(struct vmig_error *err, const char *text)
{
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "%s", text);
}

/* ---- what an entry of "channels" may hold, by its transport and type ---- */

#define MEMBER(name)                                                                               \
    {                                                                                              \
        name, ARGUMENT_STRING, false, NULL                                                         \
    }

static char *from_inet(const json_t *a)
{
    const char *host = argument_string(a, "host");
    bool v6 = strchr(host, ':');
    char *text;
    int rc = asprintf(&text, "tcp:%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "",
                      argument_string(a, "port"));
    return rc < 0 ? NULL : text;
}

static char *prefixed(const char *prefix, const json_t *a, const char *member)
{
    char *text;
    return asprintf(&text, "%s%s", prefix, argument_string(a, member)) < 0 ? NULL : text;
}

static char *from_unix(const json_t *a)
{
    return prefixed("unix:", a, "path");
}

static char *from_fd(const json_t *a)
{
    return prefixed("fd:", a, "str");
}

static char *from_file(const json_t *a)
{
    return prefixed("file:", a, "filename");
}

/* Behind a blank and in quotes, so that a shell takes it as one word. @to has room for four bytes for
 * each, and three. */
static char *append_word(char *to, const char *word)
{
    *to++ = ' ';
    *to++ = '\'';
    for (; *word; word++)
        if (*word == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *word;
    *to++ = '\'';
    return to;
}

static char *from_exec(const json_t *a)
{
    const json_t *args = json_object_get(a, "args"), *arg;
    size_t i, size = sizeof("exec:");
    json_array_foreach(args, i, arg) size += 3 + 4 * strlen(json_string_value(arg));
    char *text = malloc(size), *to = text ? stpcpy(text, "exec:") : NULL;
    if (!text)
        return NULL;
    json_array_foreach(args, i, arg) to = append_word(to, json_string_value(arg));
    *to = '\0';
    return text;
}

static const struct transport {
    const char *transport, *type;
    char *(*address)(const json_t *addr); /* malloc'd */
    struct argument members[5];
} transports[] = {
    { "socket",
      "inet",
      from_inet,
      { MEMBER("transport"), MEMBER("type"), MEMBER("host"), MEMBER("port") } },
    { "socket", "unix", from_unix, { MEMBER("transport"), MEMBER("type"), MEMBER("path") } },
    { "socket", "fd", from_fd, { MEMBER("transport"), MEMBER("type"), MEMBER("str") } },
    { "file",
      NULL,
      from_file,
      { MEMBER("transport"), MEMBER("filename"), { "offset", ARGUMENT_INTEGER, true, NULL } } },
    { "exec", NULL, from_exec, { MEMBER("transport"), { "args", ARGUMENT_STRINGS, false, NULL } } },
};

static const struct transport *find_transport(const json_t *addr)
{
    const char *transport = argument_string(addr, "transport");
    const char *type = argument_string(addr, "type");
    for (size_t i = 0; transport && i < sizeof(transports) / sizeof(transports[0]); i++) {
        const struct transport *t = &transports[i];
        if (strcmp(t->transport, transport) == 0 &&
            (!t->type || (type && strcmp(t->type, type) == 0)))
            return t;
    }
    return NULL;
}

static int check_entry(const json_t *arguments, struct vmig_error *err)
{
    static const struct argument entry[] = { MEMBER("channel-type"),
                                             { "addr", ARGUMENT_ANY, false, NULL },
                                             { 0 } };
    static const struct argument list[] = { { "channels", ARGUMENT_OBJECTS, false, entry },
                                            { "uri", ARGUMENT_ANY, true, NULL },
                                            { "detach", ARGUMENT_ANY, true, NULL },
                                            { "resume", ARGUMENT_ANY, true, NULL },
                                            { 0 } };
    int rc = arguments_check(arguments, list, err);
    const json_t *channels = json_object_get(arguments, "channels");
    if (rc == 0 && json_array_size(channels) != 1)
        rc = refuse(err, "Channel list has more than one entries");
    if (rc == 0 &&
        strcmp(argument_string(json_array_get(channels, 0), "channel-type"), "main") != 0)
        rc = refuse(err, "Parameter 'channels[0].channel-type' accepts main only");
    return rc;
}

/* What its members say beside their types. */
static int check_values(const json_t *addr, struct vmig_error *err)
{
    const json_t *args = json_object_get(addr, "args");
    if (json_integer_value(json_object_get(addr, "offset")))
        return refuse(err, "Parameter 'channels[0].addr.offset' must be 0: a stream begins where "
                           "its file does");
    if (args && !json_array_size(args))
        return refuse(err, "Parameter 'channels[0].addr.args' is empty");
    return 0;
}

static int from_channels(const json_t *arguments, char **ret, struct vmig_error *err)
{
    int rc = check_entry(arguments, err);
    if (rc < 0)
        return rc;
    const json_t *entry = json_array_get(json_object_get(arguments, "channels"), 0);
    const json_t *addr = json_object_get(entry, "addr");
    const struct transport *t = json_is_object(addr) ? find_transport(addr) : NULL;
    if (!t)
        return refuse(err, "Parameter 'channels[0].addr' needs a transport: socket with the type "
                           "inet, unix or fd; file; or exec");
    rc = arguments_check(addr, t->members, err);
    if (rc < 0)
        error_prefix(err, "channels[0].addr");
    if (rc == 0)
        rc = check_values(addr, err);
    if (rc < 0)
        return rc;
    *ret = t->address(addr);
    return *ret ? 0 : refuse(err, "Out of memory");
}

/* ---- both forms ---- */

static int from_uri(const char *uri, char **ret, struct vmig_error *err)
{
    if (strncmp(uri, "file:", 5) == 0 && strstr(uri, ",offset="))
        return refuse(err, "Parameter 'uri' takes no offset: a stream begins where its file does");
    *ret = strdup(uri);
    return *ret ? 0 : refuse(err, "Out of memory");
}

int destination_read(const json_t *arguments, char **ret, struct vmig_error *err)
{
    struct address parsed;
    const char *uri = argument_string(arguments, "uri");
    bool channels = json_object_get(arguments, "channels");
    if (uri && channels)
        return refuse(err, "'uri' and 'channels' arguments are mutually exclusive");
    if (!uri && !channels)
        return refuse(err, "Parameter 'uri' is missing");
    char *address = NULL;
    int rc = uri ? from_uri(uri, &address, err) : from_channels(arguments, &address, err);
    if (rc == 0)
        rc = address_parse(address, &parsed, err);
    if (rc < 0)
        free(address);
    else
        *ret = address;
    return rc;
}

json_t *destination_socket(const char *address)
{
    struct address a;
    if (address_parse(address, &a, NULL) < 0)
        return NULL;
    if (a.kind == ADDRESS_TCP)
        return json_pack("{s:s, s:s, s:s}", "type", "inet", "host", a.host, "port", a.port);
    if (a.kind == ADDRESS_UNIX)
        return json_pack("{s:s, s:s}", "type", "unix", "path", a.path);
    return NULL;
}
