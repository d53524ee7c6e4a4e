/* SPDX-License-Identifier: BSD-3-Clause */
/* A dialogue with QEMU 7.2 that was recorded, held with our monitor: the same requests, and what it says
 * compared with the record member by member. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/monitor/compare.h"
#include "tests/monitor/ours.h"

/* What was received before the next thing was sent. */
struct turn {
    json_t *before, *reply, *after; /* events before the answer and behind it */
    size_t next;                    /* entry */
};

static struct turn turn_at(const json_t *record, size_t first)
{
    struct turn turn = { json_array(), NULL, json_array(), first };
    const json_t *entry;
    while ((entry = json_array_get(record, turn.next)) && !json_object_get(entry, "send")) {
        json_t *line = json_object_get(entry, "recv");
        if (json_object_get(line, "event"))
            json_array_append(turn.reply ? turn.after : turn.before, line);
        else
            turn.reply = json_incref(line);
        turn.next++;
    }
    return turn;
}

/* What is waited for of ours: of passes only the first is told at the same moment. */
static char *last_event(const json_t *lines)
{
    for (size_t count = json_array_size(lines); count; count--) {
        const json_t *line = json_array_get(lines, count - 1);
        if (strcmp(json_string_value(json_object_get(line, "event")), "MIGRATION_PASS") != 0)
            return event_name(line);
    }
    return NULL;
}

static char *text_of(const json_t *sent)
{
    return json_is_string(sent) ? strdup(json_string_value(sent)) : json_dumps(sent, 0);
}

static const char *command_of(const json_t *sent)
{
    const char *name = json_string_value(json_object_get(sent, "execute"));
    return name ? name : "other";
}

/* What only asks causes no events: those that came before its answer are waited for beforehand, so that
 * it asks at the same moment. */
static void await_first(struct talk *t, const json_t *sent, const struct turn *turn,
                        const char *step)
{
    char *event = last_event(turn->before);
    if (event && strncmp(command_of(sent), "query-", 6) == 0) {
        compare(step, outcome_of(NULL, turn->before), outcome_ask(t, NULL, event));
        json_array_clear(turn->before);
    }
    free(event);
}

static void hold_turn(struct ours *ours, const json_t *sent, struct turn *turn, size_t number)
{
    struct talk *t = &ours->talk;
    char step[100], *text = text_of(sent);
    snprintf(step, sizeof(step), "%zu %s", number, command_of(sent));
    ours_before(ours, text);
    await_first(t, sent, turn, step);
    json_array_extend(turn->before, turn->after);
    char *event = last_event(turn->after);
    compare(step, outcome_of(turn->reply, turn->before), outcome_ask(t, text, event));
    json_decref(turn->before);
    json_decref(turn->after);
    free(event);
    free(text);
}

static void our_monitor_says_what_was_recorded_of_qemu(void **state)
{
    char directory[] = "/tmp/vmig-recorded-XXXXXX", path[400];
    static struct ours ours;
    (void)state;
    snprintf(path, sizeof(path), "%s/qmp-observed.json", getenv("TEST_DATA"));
    json_t *record = json_load_file(path, 0, NULL);
    assert_non_null(record);
    assert_non_null(mkdtemp(directory));
    ours_start(&ours, directory, false);
    for (size_t i = 1; i < json_array_size(record);) { /* the first entry is the greeting */
        const json_t *sent = json_object_get(json_array_get(record, i), "send");
        struct turn turn = turn_at(record, i + 1);
        hold_turn(&ours, sent, &turn, i);
        i = turn.next;
    }
    ours_end(&ours);
    rmdir(directory);
    json_decref(record);
    assert_int_equal(complaints(RECORDED), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_monitor_says_what_was_recorded_of_qemu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
