/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities and parameters: the engine's tables in QEMU's form. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/error.h"
#include "lib/monitor/monitor.h"

/* More than there are; both tables tell how many they have. */
#define CAPABILITIES_MAX 64
#define PARAMETERS_MAX 64

static unsigned at_most(unsigned count, unsigned max)
{
    return count < max ? count : max;
}

/* ---- capabilities ---- */

static unsigned all_capabilities(struct call *call, struct vmig_capability ret[CAPABILITIES_MAX])
{
    return at_most(vmig_migration_capabilities(call->migration, ret, CAPABILITIES_MAX),
                   CAPABILITIES_MAX);
}

json_t *on_query_capabilities(struct call *call, struct vmig_error *err)
{
    struct vmig_capability all[CAPABILITIES_MAX];
    unsigned count = all_capabilities(call, all);
    json_t *list = json_array();
    (void)err;
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:b, s:s}", "state", (int)all[i].on, "capability", all[i].name));
    return list;
}

static bool is_capability(const struct vmig_capability *all, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(all[i].name, name) == 0)
            return true;
    return false;
}

static int wanted_capabilities(struct call *call, struct vmig_capability *ret, unsigned *ret_count,
                               struct vmig_error *err)
{
    struct vmig_capability all[CAPABILITIES_MAX];
    unsigned num_all = all_capabilities(call, all);
    const json_t *entry, *list = json_object_get(call->arguments, "capabilities");
    size_t i;
    *ret_count = 0;
    json_array_foreach(list, i, entry)
    {
        const char *name = argument_string(entry, "capability");
        if (!is_capability(all, num_all, name))
            return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                             "Parameter 'capability' does not accept value '%.100s'", name);
        if (i == CAPABILITIES_MAX)
            return error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, NULL,
                             "Parameter 'capabilities' has %zu entries, and there are %u "
                             "capabilities",
                             json_array_size(list), num_all);
        ret[(*ret_count)++] =
            (struct vmig_capability) { name, argument_boolean(entry, "state", false) };
    }
    return 0;
}

json_t *on_set_capabilities(struct call *call, struct vmig_error *err)
{
    struct vmig_capability wanted[CAPABILITIES_MAX];
    unsigned count;
    int rc = wanted_capabilities(call, wanted, &count, err);
    if (rc == 0)
        rc = vmig_migration_set_capabilities(call->migration, wanted, count, err);
    return rc < 0 ? NULL : json_object();
}

/* ---- parameters ---- */

static unsigned all_parameters(struct call *call, struct vmig_parameter ret[PARAMETERS_MAX])
{
    return at_most(vmig_migration_parameters(call->migration, ret, PARAMETERS_MAX), PARAMETERS_MAX);
}

static bool is_switch(const struct vmig_parameter *p)
{
    return strcmp(p->unit, "on/off") == 0;
}

/* jansson's integers end at INT64_MAX; as a rate or a size more than that means the same. */
static json_t *value_json(const struct vmig_parameter *p)
{
    if (is_switch(p))
        return json_boolean(p->value);
    return json_integer(p->value > INT64_MAX ? INT64_MAX : (json_int_t)p->value);
}

json_t *on_query_parameters(struct call *call, struct vmig_error *err)
{
    struct vmig_parameter all[PARAMETERS_MAX];
    unsigned count = all_parameters(call, all);
    json_t *object = json_object();
    (void)err;
    for (unsigned i = 0; i < count; i++)
        json_object_set_new(object, all[i].name, value_json(&all[i]));
    return object;
}

static int wanted_switch(const char *name, const json_t *json, uint64_t *ret,
                         struct vmig_error *err)
{
    if (!json_is_boolean(json))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "Invalid parameter type for '%s', expected: boolean", name);
    *ret = json_is_true(json);
    return 0;
}

static int wanted_value(const struct vmig_parameter *p, const json_t *json, uint64_t *ret,
                        struct vmig_error *err)
{
    if (is_switch(p))
        return wanted_switch(p->name, json, ret, err);
    if (!json_is_integer(json))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "Parameter '%s' expects uint64",
                         p->name);
    json_int_t value = json_integer_value(json);
    if (value < 0 || (uint64_t)value < p->min || (uint64_t)value > p->max)
        return error_set(err, ERANGE, VMIG_STAGE_NONE, NULL, NULL,
                         "Parameter '%s' expects an integer in the range of %" PRIu64 " to %" PRIu64
                         " %s, not %" JSON_INTEGER_FORMAT,
                         p->name, p->min, p->max, p->unit, value);
    *ret = (uint64_t)value;
    return 0;
}

static struct vmig_parameter *find_parameter(struct vmig_parameter *all, unsigned count,
                                             const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

/* The engine knows which of QEMU's it has no counterpart for. */
static int refuse_unknown(struct call *call, const char *name, struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    if (vmig_migration_set(call->migration, name, 0, &why) == -EOPNOTSUPP)
        return error_copy(err, &why);
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "Parameter '%.100s' is unexpected",
                     name);
}

struct change {
    const struct vmig_parameter *parameter;
    uint64_t value;
};

static int wanted_changes(struct call *call, struct vmig_parameter *all, unsigned num_all,
                          struct change *ret, unsigned *ret_count, struct vmig_error *err)
{
    const char *name;
    json_t *json;
    *ret_count = 0;
    json_object_foreach(call->arguments, name, json)
    {
        struct change *c = &ret[(*ret_count)++];
        c->parameter = find_parameter(all, num_all, name);
        int rc = c->parameter ? wanted_value(c->parameter, json, &c->value, err)
                              : refuse_unknown(call, name, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* All or none: what was set before one was refused is set back. */
static int make_changes(struct call *call, const struct change *changes, unsigned count,
                        struct vmig_error *err)
{
    int rc = 0;
    unsigned i;
    for (i = 0; rc == 0 && i < count; i++)
        rc = vmig_migration_set(call->migration, changes[i].parameter->name, changes[i].value, err);
    if (rc < 0)
        for (unsigned done = 0; done + 1 < i; done++)
            vmig_migration_set(call->migration, changes[done].parameter->name,
                               changes[done].parameter->value, NULL);
    return rc;
}

json_t *on_set_parameters(struct call *call, struct vmig_error *err)
{
    struct vmig_parameter all[PARAMETERS_MAX];
    struct change changes[PARAMETERS_MAX + 1]; /* one is unknown, and is the last looked at */
    unsigned count, num_all = all_parameters(call, all);
    int rc = wanted_changes(call, all, num_all, changes, &count, err);
    if (rc == 0)
        rc = make_changes(call, changes, count, err);
    return rc < 0 ? NULL : json_object();
}

/* ---- going on ---- */

static bool status_of_name(const char *name, enum vmig_status *ret)
{
    for (int i = 0; i < VMIG_STATUS_COUNT; i++)
        if (strcmp(vmig_status_name((enum vmig_status)i), name) == 0) {
            *ret = (enum vmig_status)i;
            return true;
        }
    return false;
}

json_t *on_migrate_continue(struct call *call, struct vmig_error *err)
{
    enum vmig_status status;
    const char *name = argument_string(call->arguments, "state");
    if (!status_of_name(name, &status)) {
        error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                  "Parameter 'state' does not accept value '%.100s'", name);
        return NULL;
    }
    return vmig_migration_continue(call->migration, status, err) < 0 ? NULL : json_object();
}
