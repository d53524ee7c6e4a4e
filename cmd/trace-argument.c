/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/trace-argument.h"

/* One call, so that lines of several threads and processes do not mix. */
static void print_line(void *opaque, const char *line)
{
    (void)opaque;
    fprintf(stderr, "%s\n", line);
}

void trace_argument(const struct argp_state *state, const char *pattern)
{
    struct vmig_error err = { 0 };
    if (strcmp(pattern, "help") == 0) {
        trace_print_list(false);
        exit(fflush(stdout) ? CMD_FAILED : CMD_DONE);
    }
    if (vmig_trace_enable(pattern, print_line, NULL, &err) < 0)
        argp_error(state, "--trace: %s", err.text);
}

static json_t *point_json(const struct vmig_trace_point *point)
{
    json_t *fields = json_array();
    for (unsigned i = 0; i < point->num_fields; i++)
        json_array_append_new(fields, json_pack("{s:s, s:s}", "name", point->fields[i].name, "type",
                                                point->fields[i].type));
    return json_pack("{s:s, s:s, s:o}", "name", point->name, "meaning", point->meaning, "fields",
                     fields);
}

static void print_point(const struct vmig_trace_point *point)
{
    printf("%s(", point->name);
    for (unsigned i = 0; i < point->num_fields; i++)
        printf("%s%s %s", i ? ", " : "", point->fields[i].type, point->fields[i].name);
    printf(")\n    %s\n", point->meaning);
}

void trace_print_list(bool json)
{
    json_t *list = json_array();
    const struct vmig_trace_point *point;
    for (unsigned i = 0; (point = vmig_trace_point(i)); i++) {
        if (json)
            json_array_append_new(list, point_json(point));
        else
            print_point(point);
    }
    if (json)
        cmd_print_json(json_pack("{s:s, s:O}", "provider", "vfio_migrate", "points", list));
    json_decref(list);
}
