/* SPDX-License-Identifier: BSD-3-Clause */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/monitor/compare.h"

static unsigned found;

/* ---- outcomes ---- */

char *event_name(const json_t *line)
{
    const char *name = json_string_value(json_object_get(line, "event"));
    const json_t *data = json_object_get(line, "data");
    const char *status = json_string_value(json_object_get(data, "status"));
    char *text;
    assert_true(asprintf(&text, "%s%s%s", name, status ? ":" : "", status ? status : "") > 0);
    return text;
}

/* How many passes follow the first one, and when they are told, is each engine's own affair. */
static bool is_later_pass(const json_t *line)
{
    return json_integer_value(json_object_get(json_object_get(line, "data"), "pass")) > 1;
}

static json_t *event_names(const json_t *lines)
{
    json_t *names = json_string(""), *longer;
    size_t i;
    const json_t *line;
    json_array_foreach(lines, i, line)
    {
        char *name = event_name(line);
        const char *so_far = json_string_value(names);
        if (!is_later_pass(line)) {
            longer = json_sprintf("%s%s%s", so_far, so_far[0] ? " " : "", name);
            json_decref(names);
            names = longer;
        }
        free(name);
    }
    return names;
}

json_t *outcome_of(json_t *take_reply, const json_t *lines)
{
    json_t *outcome = json_pack("{s:o}", "events", event_names(lines));
    if (take_reply)
        json_object_set_new(outcome, "reply", take_reply);
    return outcome;
}

static bool has_event(const json_t *lines, const char *wanted)
{
    size_t i;
    const json_t *line;
    bool there = false;
    json_array_foreach(lines, i, line)
    {
        char *name = event_name(line);
        there |= strcmp(name, wanted) == 0;
        free(name);
    }
    return there;
}

json_t *outcome_ask(struct talk *t, const char *text, const char *event)
{
    json_t *lines = json_array();
    json_t *reply = text ? talk_command(t, text, lines) : NULL;
    while (event && !has_event(lines, event)) {
        json_t *line = talk_line(t);
        if (!line)
            fail_msg("%s: the end, while %s was waited for", text, event);
        json_array_append_new(lines, line);
    }
    json_t *outcome = outcome_of(reply, lines);
    json_decref(lines);
    return outcome;
}

/* ---- comparing ---- */

static bool is_excepted(const char *label, const char *path, enum difference what)
{
    for (struct exception *e = exceptions; e->step; e++)
        if (e->what == what && fnmatch(e->step, label, 0) == 0 && fnmatch(e->path, path, 0) == 0) {
            e->used++;
            return true;
        }
    return false;
}

static void differs(const char *label, const char *path, enum difference what, const json_t *theirs,
                    const json_t *ours)
{
    if (is_excepted(label, path, what))
        return;
    char *a = theirs ? json_dumps(theirs, JSON_ENCODE_ANY) : strdup("nothing");
    char *b = ours ? json_dumps(ours, JSON_ENCODE_ANY) : strdup("nothing");
    print_message("# %s: %s: QEMU says %s, we say %s\n", label, path, a, b);
    free(a);
    free(b);
    found++;
}

static const char *type_of(const json_t *json)
{
    if (json_is_number(json))
        return "number";
    if (json_is_boolean(json))
        return "switch";
    return json_is_string(json) ? "text" : json_is_object(json) ? "object" : "other";
}

/* An array's elements by their name, where they have one. */
static json_t *by_name(const json_t *array)
{
    json_t *object = json_object(), *element;
    size_t i;
    json_array_foreach(array, i, element)
    {
        const char *name = json_string_value(json_object_get(element, "capability"));
        char number[30];
        if (!name)
            name = json_string_value(json_object_get(element, "name"));
        snprintf(number, sizeof(number), "%zu", i);
        json_object_set(object, name ? name : number, element);
    }
    return object;
}

static void compare_values(const char *label, const char *path, json_t *theirs, json_t *ours);

static void compare_members(const char *label, const char *path, json_t *theirs, json_t *ours)
{
    const char *name;
    json_t *member;
    char inner[300];
    json_object_foreach(theirs, name, member)
    {
        snprintf(inner, sizeof(inner), "%s.%s", path, name);
        compare_values(label, inner, member, json_object_get(ours, name));
    }
    json_object_foreach(ours, name, member)
    {
        snprintf(inner, sizeof(inner), "%s.%s", path, name);
        if (!json_object_get(theirs, name))
            compare_values(label, inner, NULL, member);
    }
}

static void compare_values(const char *label, const char *path, json_t *theirs, json_t *ours)
{
    if (!theirs || !ours) {
        differs(label, path, theirs ? ONLY_QEMU : ONLY_OURS, theirs, ours);
    } else if (json_is_array(theirs) && json_is_array(ours)) {
        json_t *a = by_name(theirs), *b = by_name(ours);
        compare_members(label, path, a, b);
        json_decref(a);
        json_decref(b);
    } else if (strcmp(type_of(theirs), type_of(ours)) != 0) {
        differs(label, path, OTHER_TYPE, theirs, ours);
    } else if (json_is_object(theirs)) {
        compare_members(label, path, theirs, ours);
    } else if (!json_is_number(theirs) && !json_equal(theirs, ours)) {
        differs(label, path, OTHER_VALUE, theirs, ours);
    }
}

void compare(const char *step, json_t *take_theirs, json_t *take_ours)
{
    compare_values(step, "", take_theirs, take_ours);
    json_decref(take_theirs);
    json_decref(take_ours);
}

unsigned complaints(unsigned where)
{
    for (const struct exception *e = exceptions; e->step; e++)
        if (e->where & where && !e->used) {
            print_message("# no difference any more: %s: %s (%s)\n", e->step, e->path, e->reason);
            found++;
        }
    return found;
}
