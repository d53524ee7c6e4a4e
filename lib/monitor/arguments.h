/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of commands against what the table says of them; refusals name the argument, in QEMU's
 * words. */
#ifndef LIB_MONITOR_ARGUMENTS_H
#define LIB_MONITOR_ARGUMENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <vfio-migrate/error.h>

enum argument_type {
    ARGUMENT_STRING,
    ARGUMENT_BOOLEAN,
    ARGUMENT_INTEGER,
    ARGUMENT_STRINGS, /* an array of them */
    ARGUMENT_OBJECTS, /* an array of objects, each with .members */
    ARGUMENT_OBJECT,  /* one, with .members */
    ARGUMENT_ANY,     /* looked at by the command itself */
};

struct argument {
    const char *name; /* NULL ends a list */
    enum argument_type type;
    bool optional;
    const struct argument *members;
};

/* 0 or -EINVAL. */
int arguments_check(const json_t *object, const struct argument *list, struct vmig_error *err);
/* Of checked ones: NULL, @otherwise where it is absent. */
const char *argument_string(const json_t *arguments, const char *name);
bool argument_boolean(const json_t *arguments, const char *name, bool otherwise);

#endif
