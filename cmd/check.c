/* SPDX-License-Identifier: BSD-3-Clause */
#include "cmd/check.h"

#include <stdio.h>
#include <stdlib.h>

/* A list of the library's, of whatever length; free() it. NULL: none, or no memory for it. */
static struct vmig_blocker *get(struct vmig_migration *m, unsigned *ret_count,
                                unsigned (*list)(struct vmig_migration *m, struct vmig_blocker *ret,
                                                 unsigned max))
{
    unsigned count = list(m, NULL, 0);
    struct vmig_blocker *all = calloc(count ? count : 1, sizeof(*all));
    *ret_count = all ? list(m, all, count) : 0;
    return all;
}

static json_t *list_json(const struct vmig_blocker *all, unsigned count, bool refuses)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        json_t *one = json_pack("{s:s, s:o, s:o, s:o}", "code", all[i].code, "device",
                                cmd_text_json(all[i].device), "message", cmd_text_json(all[i].text),
                                "hint", cmd_text_json(all[i].hint));
        if (refuses)
            json_object_set_new(one, "refuses", json_string(all[i].receive_too ? "both" : "send"));
        json_array_append_new(list, one);
    }
    return list;
}

static void list_text(const char *what, const struct vmig_blocker *all, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        printf("%s %s: %s%s%s\n", what, all[i].code, all[i].text, all[i].hint[0] ? "; " : "",
               all[i].hint);
}

enum cmd_exit check_report(struct vmig_migration *migration, bool json)
{
    unsigned num_blockers, num_warnings;
    struct vmig_blocker *blockers = get(migration, &num_blockers, vmig_migration_blockers);
    struct vmig_blocker *warnings = get(migration, &num_warnings, vmig_migration_warnings);
    if (json) {
        cmd_print_json(json_pack("{s:s, s:o, s:o}", "status",
                                 num_blockers ? "blocked" : "migratable", "blockers",
                                 list_json(blockers, num_blockers, true), "warnings",
                                 list_json(warnings, num_warnings, false)));
    } else {
        list_text("blocker", blockers, num_blockers);
        list_text("warning", warnings, num_warnings);
        if (!num_blockers)
            puts("nothing stands in the way");
    }
    free(blockers);
    free(warnings);
    return num_blockers ? CMD_REFUSED : CMD_DONE;
}
