/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/export.h"

static const char *const stage_names[] = {
    [VMIG_STAGE_NONE] = "none",          [VMIG_STAGE_OPEN] = "open",
    [VMIG_STAGE_PREPARE] = "prepare",    [VMIG_STAGE_SETUP] = "setup",
    [VMIG_STAGE_ROUNDS] = "rounds",      [VMIG_STAGE_SWITCHOVER] = "switchover",
    [VMIG_STAGE_QUIESCE] = "quiesce",    [VMIG_STAGE_COMPLETE] = "complete",
    [VMIG_STAGE_HANDOVER] = "hand-over", [VMIG_STAGE_RESUME] = "resume",
    [VMIG_STAGE_CLEANUP] = "cleanup",
};
_Static_assert(sizeof(stage_names) / sizeof(stage_names[0]) == VMIG_STAGE_COUNT,
               "a name for every stage");

VMIG_EXPORT const char *vmig_stage_name(enum vmig_stage stage)
{
    return (unsigned)stage < VMIG_STAGE_COUNT ? stage_names[stage] : "?";
}

VMIG_EXPORT const char *vmig_error_message(const struct vmig_error *err, char *buf,
                                           size_t size_bytes)
{
    bool device = err->device[0] != '\0', stage = err->stage != VMIG_STAGE_NONE;
    snprintf(buf, size_bytes, "%s%s%s%s%s", err->device, device ? ": " : "",
             stage ? vmig_stage_name(err->stage) : "", stage ? ": " : "", err->text);
    return buf;
}

/* Text may come from a peer or a file: nothing in it reaches a terminal as a command. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

int error_set(struct vmig_error *err, int code, enum vmig_stage stage, const char *device,
              const char *reason, const char *format, ...)
{
    code = -abs(code);
    if (!err || err->code)
        return code;
    err->code = code;
    err->stage = stage;
    snprintf(err->device, sizeof(err->device), "%s", device ? device : "");
    snprintf(err->reason, sizeof(err->reason), "%s", reason ? reason : "");
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    make_plain(err->text);
    make_plain(err->device);
    make_plain(err->reason);
    return code;
}

void error_prefix(struct vmig_error *err, const char *format, ...)
{
    if (!err || !err->code)
        return;
    char old[sizeof(err->text)];
    memcpy(old, err->text, sizeof(old));
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof(err->text))
        snprintf(err->text + used, sizeof(err->text) - (size_t)used, ": %.400s", old);
}

int error_copy(struct vmig_error *to, const struct vmig_error *from)
{
    if (to && !to->code)
        *to = *from;
    return from->code;
}

void error_locate(struct vmig_error *err, enum vmig_stage stage, const char *device)
{
    if (!err || !err->code)
        return;
    if (err->stage == VMIG_STAGE_NONE)
        err->stage = stage;
    if (!err->device[0] && device)
        snprintf(err->device, sizeof(err->device), "%s", device);
}
