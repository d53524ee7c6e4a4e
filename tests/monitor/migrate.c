/* SPDX-License-Identifier: BSD-3-Clause */
/* Migrations that clients ask for: what is answered when, what is refused, and that what is refused
 * changes nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/monitor/ours.h"

struct scene {
    char directory[64];
    struct ours ours;
    struct talk other;
};

static int begin(void **state, bool incoming)
{
    struct scene *s = calloc(1, sizeof(*s));
    strcpy(s->directory, "/tmp/vmig-migrate-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    ours_start(&s->ours, s->directory, incoming);
    json_decref(talk_ok(&s->ours.talk, "{\"execute\": \"qmp_capabilities\"}"));
    json_decref(talk_ok(&s->ours.talk, "{\"execute\": \"migrate-set-capabilities\", \"arguments\": "
                                       "{\"capabilities\": [{\"capability\": \"events\", "
                                       "\"state\": true}]}}"));
    s->other.fd = -1;
    *state = s;
    return 0;
}

static int begin_source(void **state)
{
    return begin(state, false);
}

static int begin_target(void **state)
{
    return begin(state, true);
}

static int finish(void **state)
{
    struct scene *s = *state;
    char path[100];
    if (s->other.fd >= 0)
        talk_close(&s->other);
    ours_end(&s->ours);
    snprintf(path, sizeof(path), "%s/stream", s->directory);
    unlink(path);
    assert_int_equal(rmdir(s->directory), 0); /* nothing else was left */
    free(s);
    return 0;
}

/* So slow that it runs until it is cancelled. */
#define SLOWLY                                                                                     \
    "{\"execute\": \"migrate-set-parameters\", \"arguments\": {\"max-bandwidth\": 65536}}"
#define MIGRATE "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}"
#define QUERY "{\"execute\": \"query-migrate\"}"

static void expect_member(struct talk *t, const char *command, const char *member,
                          const char *wanted)
{
    json_t *reply = talk_ok(t, command), *value = json_object_get(reply, member);
    json_t *json = wanted ? json_loads(wanted, JSON_DECODE_ANY, NULL) : NULL;
    if (wanted ? !json_equal(value, json) : value != NULL)
        fail_msg("%s: %s is %s, not %s", command, member,
                 value ? json_dumps(value, JSON_ENCODE_ANY) : "absent", wanted ? wanted : "absent");
    json_decref(json);
    json_decref(reply);
}

/* The next line must be this event. */
static void expect_status(struct talk *t, const char *status)
{
    json_t *line = talk_line(t), *data = json_object_get(line, "data");
    const char *now = json_string_value(json_object_get(data, "status"));
    if (!now || strcmp(now, status) != 0)
        fail_msg("%s, not %s", json_dumps(line, 0), status);
    json_decref(line);
}

static void expect_ok(struct talk *t)
{
    json_t *line = talk_line(t);
    assert_true(json_is_object(json_object_get(line, "return")));
    json_decref(line);
}

static void the_answer_to_migrate_comes_right_behind_setup(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    for (unsigned i = 0; i < 5; i++) {
        char text[200];
        snprintf(text, sizeof(text),
                 "{\"execute\": \"migrate\", \"arguments\": {\"channels\": [{\"channel-type\": "
                 "\"main\", \"addr\": {\"transport\": \"file\", \"filename\": \"%s/stream\"}}]}}\n",
                 s->directory);
        talk_send(t, text);
        expect_status(t, "setup");
        expect_ok(t);
        talk_status(t, "completed");
        expect_member(t, QUERY, "status", "\"completed\"");
        /* a file does not run, so that the VM may go on */
        json_decref(talk_ok(t, "{\"execute\": \"cont\"}"));
    }
}

static void passes_are_told_the_first_before_active_and_the_last_before_completed(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_int_t passes = 0, active_after = -1;
    bool completed = false;
    json_decref(talk_ok(t, MIGRATE));
    while (!completed) {
        json_t *line = talk_line(t), *data = json_object_get(line, "data");
        const char *status = json_string_value(json_object_get(data, "status"));
        json_int_t pass = json_integer_value(json_object_get(data, "pass"));
        if (pass)
            assert_int_equal(pass, ++passes);
        if (status && strcmp(status, "active") == 0)
            active_after = passes;
        completed = status && strcmp(status, "completed") == 0;
        json_decref(line);
    }
    assert_int_equal(active_after, 1);
    json_t *reply = talk_ok(t, QUERY);
    json_t *count = json_object_get(json_object_get(reply, "ram"), "dirty-sync-count");
    assert_int_equal(json_integer_value(count), passes);
    json_decref(reply);
}

/* Of one side of it, "predicted" or "measured". */
static void expect_whole_of_parts(json_t *pause, const char *side)
{
    static const char *const parts[] = { "workload-stop", "quiesce",  "stop",  "data",
                                         "load",          "handover", "start", "workload-start" };
    json_t *of = json_object_get(pause, side);
    double all = json_real_value(json_object_get(of, "all")), sum = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        assert_true(json_is_real(json_object_get(of, parts[i])));
        sum += json_real_value(json_object_get(of, parts[i]));
    }
    assert_true(all > 0);
    assert_true(fabs(all - sum) < 0.001);
    assert_true(json_is_integer(json_object_get(of, "data-bytes")));
}

static void the_pause_and_its_prediction_are_the_sums_of_their_parts(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_decref(talk_ok(t, MIGRATE));
    talk_status(t, "completed");
    json_t *reply = talk_ok(t, QUERY), *pause = json_object_get(reply, "pause");
    expect_whole_of_parts(pause, "predicted");
    expect_whole_of_parts(pause, "measured");
    assert_true(json_real_value(json_object_get(json_object_get(pause, "predicted"), "doubt")) > 0);
    json_decref(reply);
}

static void cancelling_is_told_before_it_is_answered(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_decref(talk_ok(t, SLOWLY));
    json_decref(talk_ok(t, MIGRATE));
    talk_status(t, "active");
    json_t *events = json_array();
    json_decref(talk_command(t, "{\"execute\": \"migrate_cancel\"}", events));
    assert_true(json_array_size(events) > 0);
    json_decref(events);
    for (json_t *reply = talk_ok(t, QUERY);; reply = talk_ok(t, QUERY)) {
        const char *status = json_string_value(json_object_get(reply, "status"));
        bool over = strcmp(status, "cancelled") == 0;
        json_decref(reply);
        if (over)
            break;
    }
    expect_member(t, QUERY, "ram", NULL);
}

static void a_migration_goes_on_when_the_client_that_began_it_vanishes(void **state)
{
    struct scene *s = *state;
    char path[100];
    snprintf(path, sizeof(path), "%s/ours", s->directory);
    json_decref(talk_ok(&s->ours.talk, SLOWLY));
    talk_open(&s->other, path, true);
    talk_send(&s->other, MIGRATE);
    talk_status(&s->other, "active");
    talk_close(&s->other);
    expect_member(&s->ours.talk, QUERY, "status", "\"active\"");
}

static void the_monitor_ends_a_migration_that_was_begun_through_it(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_decref(talk_ok(t, SLOWLY));
    json_decref(talk_ok(t, MIGRATE));
    s->ours.monitor = vmig_monitor_free(s->ours.monitor);
    talk_status(t, "cancelled");
    assert_null(talk_line(t));
}

static void a_blocker_is_told_and_refuses_the_migration(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    struct vmig_error err = { 0 };
    uint64_t id;
    assert_int_equal(vmig_migration_add_blocker(s->ours.m, "host-specific", NULL,
                                                "the cup is empty", NULL, &id, &err),
                     0);
    expect_member(t, QUERY, "blocked-reasons", "[\"the cup is empty\"]");
    expect_member(t, QUERY, "status", NULL);
    talk_error(t, MIGRATE, "GenericError", "the cup is empty");
    assert_true(talk_is_quiet(t)); /* no event */
    expect_member(t, QUERY, "status", NULL);
}

static void of_several_parameters_all_are_set_or_none(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    static const char *const refused[] = {
        "\"downtime-limit\": 77, \"multifd-channels\": 0",
        "\"downtime-limit\": 77, \"max-bandwidth\": \"1\"",
        "\"downtime-limit\": 77, \"max-bandwidth\": 1.0",
        "\"downtime-limit\": 77, \"max-bandwidth\": true",
        "\"downtime-limit\": 77, \"max-bandwidth\": null",
        "\"downtime-limit\": 77, \"pre-copy\": 1",
        "\"downtime-limit\": 77, \"no-such\": 1",
        "\"downtime-limit\": 77, \"xbzrle-cache-size\": 65536",
        "\"downtime-limit\": 9223372036854775807",
        "\"downtime-limit\": 9223372036854775808",
        "\"downtime-limit\": -9223372036854775808",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char text[200];
        snprintf(text, sizeof(text),
                 "{\"execute\": \"migrate-set-parameters\", \"arguments\": {%s}}", refused[i]);
        talk_error(t, text, "GenericError", "");
        expect_member(t, "{\"execute\": \"query-migrate-parameters\"}", "downtime-limit", "300");
    }
    talk_error(t,
               "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
               "{\"xbzrle-cache-size\": 65536}}",
               "GenericError", "xbzrle-cache-size");
}

static void a_parameter_that_is_refused_while_running_leaves_the_others_as_they_were(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_decref(talk_ok(t, SLOWLY));
    json_decref(talk_ok(t, MIGRATE));
    talk_status(t, "active");
    talk_error(t,
               "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
               "{\"downtime-limit\": 77, \"multifd-channels\": 3}}",
               "GenericError", "multifd-channels");
    expect_member(t, "{\"execute\": \"query-migrate-parameters\"}", "downtime-limit", "300");
    expect_member(t, "{\"execute\": \"query-migrate-parameters\"}", "multifd-channels", "2");
}

static void of_several_capabilities_all_are_set_or_none(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_t *before = talk_ok(t, "{\"execute\": \"query-migrate-capabilities\"}");
    talk_error(t,
               "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
               "[{\"capability\": \"pause-before-switchover\", \"state\": true}, "
               "{\"capability\": \"postcopy-ram\", \"state\": true}]}}",
               "GenericError", "postcopy-ram");
    json_t *after = talk_ok(t, "{\"execute\": \"query-migrate-capabilities\"}");
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

static void without_the_capability_there_are_no_events_of_migrations(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    json_t *events = json_array();
    json_decref(talk_ok(t, "{\"execute\": \"migrate-set-capabilities\", \"arguments\": "
                           "{\"capabilities\": [{\"capability\": \"events\", \"state\": "
                           "false}]}}"));
    json_decref(talk_command(t, MIGRATE, events));
    json_decref(talk_event(t, "STOP")); /* of the VM there are */
    assert_int_equal(json_array_size(events), 0);
    json_decref(events);
}

static void a_snapshot_leaves_the_vm_running(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    char text[200];
    snprintf(text, sizeof(text),
             "{\"execute\": \"snapshot\", \"arguments\": {\"uri\": \"file:%s/stream\"}}",
             s->directory);
    json_decref(talk_ok(t, text));
    talk_status(t, "completed");
    for (bool running = false; !running;) { /* it is told a moment later */
        json_t *reply = talk_ok(t, "{\"execute\": \"query-status\"}");
        running = json_is_true(json_object_get(reply, "running"));
        json_decref(reply);
    }
    talk_error(t, "{\"execute\": \"snapshot\", \"arguments\": {\"uri\": \"tcp:127.0.0.1:1\"}}",
               "GenericError", "tcp");
}

static void a_target_tells_where_it_listens_and_is_asked_once(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->ours.talk;
    talk_error(t, MIGRATE, "GenericError", "waiting for an incoming migration");
    talk_send(t, "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": "
                 "\"tcp:127.0.0.1:0\"}}");
    expect_status(t, "setup");
    expect_ok(t);
    json_t *reply = talk_ok(t, QUERY);
    json_t *address = json_array_get(json_object_get(reply, "socket-address"), 0);
    assert_string_equal(json_string_value(json_object_get(address, "type")), "inet");
    assert_true(atoi(json_string_value(json_object_get(address, "port"))) > 0);
    json_decref(reply);
    talk_error(t, "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": \"tcp:0:0\"}}",
               "GenericError", "already been started");
    json_decref(talk_ok(t, "{\"execute\": \"migrate_cancel\"}"));
}

static void an_address_that_cannot_be_listened_at_is_the_answer(void **state)
{
    struct scene *s = *state;
    char text[200];
    snprintf(text, sizeof(text),
             "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": \"unix:%s/ours\"}}",
             s->directory);
    talk_error(&s->ours.talk, text, "GenericError", "ours");
}

#define SOURCE(name) cmocka_unit_test_setup_teardown(name, begin_source, finish)
#define TARGET(name) cmocka_unit_test_setup_teardown(name, begin_target, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOURCE(the_answer_to_migrate_comes_right_behind_setup),
        SOURCE(passes_are_told_the_first_before_active_and_the_last_before_completed),
        SOURCE(the_pause_and_its_prediction_are_the_sums_of_their_parts),
        SOURCE(cancelling_is_told_before_it_is_answered),
        SOURCE(a_migration_goes_on_when_the_client_that_began_it_vanishes),
        SOURCE(the_monitor_ends_a_migration_that_was_begun_through_it),
        SOURCE(a_blocker_is_told_and_refuses_the_migration),
        SOURCE(of_several_parameters_all_are_set_or_none),
        SOURCE(a_parameter_that_is_refused_while_running_leaves_the_others_as_they_were),
        SOURCE(of_several_capabilities_all_are_set_or_none),
        SOURCE(without_the_capability_there_are_no_events_of_migrations),
        SOURCE(a_snapshot_leaves_the_vm_running),
        TARGET(a_target_tells_where_it_listens_and_is_asked_once),
        TARGET(an_address_that_cannot_be_listened_at_is_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
