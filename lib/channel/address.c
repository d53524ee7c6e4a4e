/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as people type them: KIND:REST, where each kind is a row with its own parser. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/channel/channel.h"
#include "lib/error.h"

/* Each parser returns what is wrong with @rest, or NULL. */

static const char *parse_tcp(const char *rest, struct address *a)
{
    const char *host = rest, *end, *port;
    if (rest[0] == '[') {
        host++;
        end = strchr(host, ']');
        if (!end || end[1] != ':')
            return "an IPv6 address is written tcp:[ADDRESS]:PORT";
        port = end + 2;
    } else {
        end = strrchr(rest, ':');
        if (!end)
            return "the port is missing: tcp:HOST:PORT";
        if (memchr(rest, ':', (size_t)(end - rest)))
            return "an IPv6 address is written tcp:[ADDRESS]:PORT";
        port = end + 1;
    }
    size_t length = (size_t)(end - host);
    if (length >= sizeof(a->host))
        return "the host name is too long";
    if (!port[0] || strlen(port) >= sizeof(a->port))
        return "the port is missing or too long: tcp:HOST:PORT";
    if (strspn(port, "0123456789") == strlen(port) && strtoul(port, NULL, 10) > 65535)
        return "a port is at most 65535";
    memcpy(a->host, host, length);
    a->host[length] = '\0';
    strcpy(a->port, port);
    return NULL;
}

static const char *parse_path(const char *rest, struct address *a)
{
    if (!rest[0])
        return "nothing follows the colon";
    if (strlen(rest) >= sizeof(a->path))
        return "it is too long";
    strcpy(a->path, rest);
    return NULL;
}

static const char *parse_unix(const char *rest, struct address *a)
{
    /* sockaddr_un.sun_path holds 108 bytes with its terminator */
    if (strlen(rest) > 107)
        return "a UNIX socket path has at most 107 bytes";
    return parse_path(rest, a);
}

static const char *parse_fd(const char *rest, struct address *a)
{
    char *end;
    errno = 0;
    long fd = strtol(rest, &end, 10);
    if (!rest[0] || *end || errno || fd < 0 || fd > 1 << 20)
        return "fd: takes the number of an open file descriptor";
    a->fd = (int)fd;
    return NULL;
}

static const struct {
    const char *prefix;
    enum address_kind kind;
    const char *(*parse)(const char *rest, struct address *a);
} kinds[] = {
    { "tcp:", ADDRESS_TCP, parse_tcp },    { "unix:", ADDRESS_UNIX, parse_unix },
    { "fd:", ADDRESS_FD, parse_fd },       { "file:", ADDRESS_FILE, parse_path },
    { "exec:", ADDRESS_EXEC, parse_path },
};

int address_parse(const char *text, struct address *ret, struct vmig_error *err)
{
    struct address a = { .fd = -1 };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, length) != 0)
            continue;
        const char *wrong = kinds[i].parse(text + length, &a);
        if (wrong)
            return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                             "address \"%.200s\": %s", text, wrong);
        a.kind = kinds[i].kind;
        *ret = a;
        return 0;
    }
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                     "address \"%.200s\" is not understood; use tcp:HOST:PORT, unix:PATH, fd:N, "
                     "file:PATH or exec:COMMAND",
                     text);
}
