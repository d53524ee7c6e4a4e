/* SPDX-License-Identifier: BSD-3-Clause */
/* How subcommands report: JSON for programs, a line on stderr for people. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lib/near.h"

void cmd_print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9) | JSON_ENSURE_ASCII);
    putchar('\n');
    fflush(stdout); /* receive goes on for hours after its report */
    json_decref(object);
}

/* Text may come from a peer: what is no UTF-8 is shown with '?' and does not spoil the object. */
json_t *cmd_text_json(const char *text)
{
    char plain[sizeof(((struct vmig_error *)NULL)->text)];
    json_t *value = text[0] ? json_string(text) : json_null();
    if (value)
        return value;
    size_t i;
    for (i = 0; text[i] && i < sizeof(plain) - 1; i++)
        plain[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    plain[i] = '\0';
    return json_string(plain);
}

json_t *cmd_error_json(const struct vmig_error *err)
{
    const char *code = strerrorname_np(abs(err->code));
    const char *stage = err->stage == VMIG_STAGE_NONE ? "" : vmig_stage_name(err->stage);
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "code", code ? code : "EIO", "reason",
                     cmd_text_json(err->reason), "stage", cmd_text_json(stage), "device",
                     cmd_text_json(err->device), "message", cmd_text_json(err->text));
}

const char *cmd_status_name(enum cmd_exit exit_code)
{
    switch (exit_code) {
    case CMD_DONE:
        return "completed";
    case CMD_REFUSED:
        return "refused";
    case CMD_UNRESOLVED:
        return "unresolved";
    case CMD_CANCELLED:
        return "cancelled";
    case CMD_FAILED:
    case CMD_USAGE:
    case CMD_DEVICE_LOST:
        break;
    }
    return "failed";
}

int cmd_fail(const char *name, bool json, enum cmd_exit exit_code, const struct vmig_error *err)
{
    if (json) {
        cmd_print_json(json_pack("{s:s, s:o}", "status", cmd_status_name(exit_code), "error",
                                 cmd_error_json(err)));
        return exit_code;
    }
    char text[sizeof(*err)];
    fprintf(stderr, "vfio-migrate %s: %s\n", name, vmig_error_message(err, text, sizeof(text)));
    return exit_code;
}

const char *cmd_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    unsigned best_edits = 3; /* two mistakes at most */
    size_t length = strlen(word);
    for (; *names; names++) {
        bool begins = length >= 2 && !strncmp(*names, word, length);
        unsigned distance = begins ? 1 : near_edits(word, *names);
        if (distance < best_edits && distance < strlen(*names)) {
            best = *names;
            best_edits = distance;
        }
    }
    return best;
}
