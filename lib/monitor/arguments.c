/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/error.h"
#include "lib/monitor/arguments.h"

/* How deep a table's own lists go; where an argument stands is told by a path so long. */
#define PATH_BYTES 200

static const struct {
    const char *expected;
    json_type type;
} types[] = {
    [ARGUMENT_STRING] = { "string", JSON_STRING },
    [ARGUMENT_BOOLEAN] = { "boolean", JSON_TRUE },
    [ARGUMENT_INTEGER] = { "integer", JSON_INTEGER },
    [ARGUMENT_STRINGS] = { "array", JSON_ARRAY },
    [ARGUMENT_OBJECTS] = { "array", JSON_ARRAY },
    [ARGUMENT_OBJECT] = { "object", JSON_OBJECT },
    [ARGUMENT_ANY] = { "any", JSON_NULL },
};
_Static_assert(sizeof(types) / sizeof(types[0]) == ARGUMENT_ANY + 1, "a row for every type");

static int check_object(const json_t *object, const struct argument *list, const char *path,
                        struct vmig_error *err);

static int refuse_type(const char *path, const char *expected, struct vmig_error *err)
{
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                     "Invalid parameter type for '%s', expected: %s", path, expected);
}

static bool has_type(const json_t *value, enum argument_type type)
{
    if (type == ARGUMENT_BOOLEAN)
        return json_is_boolean(value);
    return type == ARGUMENT_ANY || json_typeof(value) == types[type].type;
}

static int check_element(const json_t *value, const struct argument *a, const char *path,
                         struct vmig_error *err)
{
    if (a->type == ARGUMENT_OBJECTS)
        return json_is_object(value) ? check_object(value, a->members, path, err)
                                     : refuse_type(path, "object", err);
    return json_is_string(value) ? 0 : refuse_type(path, "string", err);
}

static int check_elements(const json_t *array, const struct argument *a, const char *path,
                          struct vmig_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(array); i++) {
        char element[PATH_BYTES + 24];
        snprintf(element, sizeof(element), "%s[%zu]", path, i);
        rc = check_element(json_array_get(array, i), a, element, err);
    }
    return rc;
}

static int check_value(const json_t *value, const struct argument *a, const char *path,
                       struct vmig_error *err)
{
    if (!has_type(value, a->type))
        return refuse_type(path, types[a->type].expected, err);
    if (a->type == ARGUMENT_OBJECT)
        return check_object(value, a->members, path, err);
    if (a->type == ARGUMENT_OBJECTS || a->type == ARGUMENT_STRINGS)
        return check_elements(value, a, path, err);
    return 0;
}

static const struct argument *find(const struct argument *list, const char *name)
{
    for (; list->name; list++)
        if (strcmp(list->name, name) == 0)
            return list;
    return NULL;
}

static void path_of(char ret[PATH_BYTES], const char *outer, const char *name)
{
    snprintf(ret, PATH_BYTES, "%.120s%s%.60s", outer, outer[0] ? "." : "", name);
}

static int refuse_unexpected(const json_t *object, const struct argument *list, const char *outer,
                             struct vmig_error *err)
{
    const char *name;
    json_t *value;
    char path[PATH_BYTES];
    json_object_foreach((json_t *)object, name, value)
    {
        if (find(list, name))
            continue;
        path_of(path, outer, name);
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "Parameter '%s' is unexpected",
                         path);
    }
    return 0;
}

static int check_object(const json_t *object, const struct argument *list, const char *outer,
                        struct vmig_error *err)
{
    char path[PATH_BYTES];
    int rc = 0;
    for (const struct argument *a = list; rc == 0 && a->name; a++) {
        const json_t *value = json_object_get(object, a->name);
        path_of(path, outer, a->name);
        if (value)
            rc = check_value(value, a, path, err);
        else if (!a->optional)
            rc = error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "Parameter '%s' is missing",
                           path);
    }
    return rc < 0 ? rc : refuse_unexpected(object, list, outer, err);
}

int arguments_check(const json_t *object, const struct argument *list, struct vmig_error *err)
{
    return check_object(object, list, "", err);
}

const char *argument_string(const json_t *arguments, const char *name)
{
    return json_string_value(json_object_get(arguments, name));
}

bool argument_boolean(const json_t *arguments, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(arguments, name);
    return value ? json_is_true(value) : otherwise;
}
