/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody types, as a QMP command:
 *
 *   migrate uri=tcp:host:4444            NAME=VALUE; a VALUE that is JSON is taken as such, unless the
 *   migrate tcp:host:4444                argument is a text; a lone VALUE is the first argument
 *   migrate-set-capabilities events=on   here names are those of capabilities
 *   migrate-set-parameters max-bandwidth=100M
 *   screenshot FILE.png                  QEMU's screendump, of a host that has one; FILE.png is here, not there
 *   {"execute": "migrate", ...}          JSON is sent as it is
 */
#ifndef CMD_MONITOR_COMMAND_H
#define CMD_MONITOR_COMMAND_H

#include <jansson.h>
#include <stddef.h>

/* A new reference; NULL: *ret_why (static, or in @buf) says what is wrong, "" for an empty line. */
json_t *monitor_command(const char *line, char *buf, size_t size);

/* What may stand where: names for completion. */
struct monitor_names {
    json_t *commands, *capabilities, *parameters; /* arrays of strings */
};
/* Names for the word that begins @line[@start], an array of strings with their ending ("uri="). */
json_t *monitor_candidates(const struct monitor_names *names, const char *line, size_t start);

/* For people: "ok" for an empty object, "name: value" a line. */
void monitor_show(const json_t *value, unsigned indent);

#endif
