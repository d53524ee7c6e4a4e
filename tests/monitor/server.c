/* SPDX-License-Identifier: BSD-3-Clause */
/* The server, with a migration that has nothing to move: clients, negotiation, requests that make no
 * sense, and clients that misbehave. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vfio-migrate.h>

#include "tests/monitor/talk.h"

struct scene {
    char directory[64], path[100], address[110];
    struct vmig_migration *m;
    struct vmig_monitor *monitor;
    struct talk a, b;
    sem_t entered, go_on; /* the host's command "hang" */
    unsigned quits;
};

static int quit(void *opaque, struct vmig_error *err)
{
    struct scene *s = opaque;
    (void)err;
    s->quits++;
    return 0;
}

static int host_command(void *opaque, const char *name, const char *arguments, char **ret,
                        struct vmig_error *err)
{
    struct scene *s = opaque;
    if (strcmp(name, "echo") == 0)
        *ret = strdup(arguments);
    if (strcmp(name, "nonsense") == 0)
        *ret = strdup("{");
    if (strcmp(name, "refuse") == 0) {
        err->code = -EPERM;
        snprintf(err->text, sizeof(err->text), "not today");
        return -EPERM;
    }
    if (strcmp(name, "hang") == 0) {
        sem_post(&s->entered);
        sem_wait(&s->go_on);
    }
    return 0;
}

static const char *const host_commands[] = {
    "echo", "nonsense", "refuse", "hang", "nothing", NULL
};

static struct vmig_monitor_host host_of(struct scene *s)
{
    return (struct vmig_monitor_host) { .size = sizeof(struct vmig_monitor_host),
                                        .opaque = s,
                                        .version = { 1, 2, 3 },
                                        .package = "a test \xc3\xa9",
                                        .quit = quit,
                                        .commands = host_commands,
                                        .command = host_command };
}

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct vmig_error err = { 0 };
    strcpy(s->directory, "/tmp/vmig-monitor-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    snprintf(s->path, sizeof(s->path), "%s/qmp", s->directory);
    snprintf(s->address, sizeof(s->address), "unix:%s", s->path);
    sem_init(&s->entered, 0, 0);
    sem_init(&s->go_on, 0, 0);
    s->m = vmig_migration_new(NULL, &err);
    struct vmig_monitor_host host = host_of(s);
    if (vmig_monitor_new(s->address, s->m, &host, &s->monitor, &err) < 0)
        fail_msg("%s", err.text);
    s->a.fd = s->b.fd = -1;
    *state = s;
    return 0;
}

static void close_if_open(struct talk *t)
{
    if (t->fd >= 0)
        talk_close(t);
}

static int teardown(void **state)
{
    struct scene *s = *state;
    close_if_open(&s->a);
    close_if_open(&s->b);
    vmig_monitor_free(s->monitor);
    vmig_migration_free(s->m);
    struct stat st;
    assert_true(stat(s->path, &st) < 0); /* the socket goes with the monitor */
    rmdir(s->directory);
    free(s);
    return 0;
}

static void expect_line(struct talk *t, const char *wanted)
{
    json_t *line = talk_line(t), *json = json_loads(wanted, 0, NULL);
    assert_non_null(json);
    if (!json_equal(line, json))
        fail_msg("%s, not %s", line ? json_dumps(line, 0) : "the end", wanted);
    json_decref(line);
    json_decref(json);
}

/* ---- negotiation ---- */

static void the_greeting_tells_version_package_and_capabilities(void **state)
{
    struct scene *s = *state;
    struct talk *t = &s->a;
    talk_open(t, s->path, false);
    talk_close(t);
    talk_open(t, s->path, true);
    json_t *version = talk_ok(t, "{\"execute\": \"query-version\"}");
    json_t *qemu = json_object_get(version, "qemu");
    assert_int_equal(json_integer_value(json_object_get(qemu, "major")), 1);
    assert_int_equal(json_integer_value(json_object_get(qemu, "minor")), 2);
    assert_int_equal(json_integer_value(json_object_get(qemu, "micro")), 3);
    assert_string_equal(json_string_value(json_object_get(version, "package")), "a test \xc3\xa9");
    json_decref(version);
}

static void nothing_is_accepted_before_the_negotiation_nor_a_second_one(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, false);
    talk_error(&s->a, "{\"execute\": \"query-version\"}", "CommandNotFound",
               "Expecting capabilities negotiation with 'qmp_capabilities'");
    talk_error(&s->a, "{\"execute\": \"no-such\"}", "CommandNotFound", "Expecting capabilities");
    talk_error(&s->a, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"x\"]}}",
               "GenericError", "does not accept value 'x'");
    json_decref(talk_ok(&s->a, "{\"execute\": \"qmp_capabilities\"}"));
    talk_error(&s->a, "{\"execute\": \"qmp_capabilities\"}", "CommandNotFound",
               "Capabilities negotiation is already complete, command ignored");
}

static void each_client_negotiates_for_itself(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    talk_open(&s->b, s->path, false);
    talk_error(&s->b, "{\"execute\": \"query-version\"}", "CommandNotFound", "Expecting");
    json_decref(talk_ok(&s->a, "{\"execute\": \"query-version\"}"));
}

/* ---- requests ---- */

static void an_id_may_be_any_json_and_comes_back(void **state)
{
    struct scene *s = *state;
    static const char *const ids[] = { "1",
                                       "-9223372036854775808",
                                       "9223372036854775807",
                                       "2.5",
                                       "\"x\"",
                                       "null",
                                       "true",
                                       "{\"a\": [1, null]}",
                                       "[]" };
    talk_open(&s->a, s->path, true);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char text[200];
        json_t *id = json_loads(ids[i], JSON_DECODE_ANY, NULL);
        snprintf(text, sizeof(text), "{\"execute\": \"query-commands\", \"id\": %s}", ids[i]);
        json_t *line = talk_command(&s->a, text, NULL);
        assert_true(json_equal(json_object_get(line, "id"), id));
        json_decref(line);
        snprintf(text, sizeof(text), "{\"id\": %s, \"execute\": \"no-such\"}", ids[i]);
        line = talk_command(&s->a, text, NULL);
        assert_true(json_equal(json_object_get(line, "id"), id));
        json_decref(line);
        json_decref(id);
    }
}

static void answers_are_ascii_whatever_was_said(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true); /* talk_line() asserts it of each line */
    json_t *line = talk_command(
        &s->a, "{\"execute\": \"query-version\", \"id\": \"\xc3\xa9 \xf0\x9f\x98\x80\"}", NULL);
    assert_string_equal(json_string_value(json_object_get(line, "id")),
                        "\xc3\xa9 \xf0\x9f\x98\x80");
    json_decref(line);
    line = talk_command(&s->a, "{\"execute\": \"\xc3\xa9\"}", NULL);
    json_decref(line);
}

struct refusal {
    const char *text, *desc;
};

static void a_request_that_makes_no_sense_is_an_error_and_the_next_one_works(void **state)
{
    struct scene *s = *state;
    static const struct refusal refusals[] = {
        { "5", "QMP input must be a JSON object" },
        { "[]", "QMP input must be a JSON object" },
        { "{}", "QMP input lacks member 'execute'" },
        { "{\"execute\": 5}", "QMP input member 'execute' must be a string" },
        { "{\"execute\": \"query-version\", \"foo\": 1}", "QMP input member 'foo' is unexpected" },
        { "{\"execute\": \"query-version\", \"arguments\": 5}",
          "QMP input member 'arguments' must be an object" },
        { "{\"exec-oob\": \"migrate-pause\"}", "QMP input member 'exec-oob' is unexpected" },
        { "{\"execute\": }", "JSON parse error" },
        { "{\"execute\": \"query-version\"]", "JSON parse error" },
        { "}", "JSON parse error" },
        { "{\"execute\": \"query-version\", \"execute\": \"quit\"}", "JSON parse error" },
        { "{\"execute\": \"query-\xc3\"}", "JSON parse error" },
        { "{\"execute\": \"query-version\", \"id\": \"\xed\xa0\x80\"}", "JSON parse error" },
        { "{\"execute\": \"query-version\", \"id\": 9223372036854775808}", "JSON parse error" },
        { "{\"execute\": \"query-version\", \"id\": 1e999}", "JSON parse error" },
        { "{\"execute\": \"query-version\", \"id\": \"\\u0000\"}", "JSON parse error" },
        { "{\"execute\": \"query-version\", \"arguments\": {\"x\": 1}}",
          "Parameter 'x' is unexpected" },
        { "{\"execute\": \"que\x01", "JSON parse error, stray" },
        { "\xff", "JSON parse error, stray" },
    };
    talk_open(&s->a, s->path, true);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        talk_error(&s->a, refusals[i].text, "GenericError", refusals[i].desc);
        json_decref(talk_ok(&s->a, "{\"execute\": \"query-version\"}"));
    }
    assert_int_equal(s->quits, 0);
}

static void what_is_too_large_or_too_deep_is_refused_and_the_connection_goes_on(void **state)
{
    struct scene *s = *state;
    static char large[1 << 20];
    talk_open(&s->a, s->path, true);
    talk_send(&s->a, "{\"execute\": \"quit\", \"id\": \"");
    memset(large, 'x', sizeof(large));
    for (unsigned i = 0; i < 64; i++)
        talk_send_bytes(&s->a, large, sizeof(large));
    talk_error(&s->a, "\"}", "GenericError", "limit exceeded");
    memset(large, '[', sizeof(large));
    talk_send_bytes(&s->a, large, sizeof(large));
    talk_error(&s->a, "", "GenericError", "nesting");
    json_decref(talk_ok(&s->a, "{\"execute\": \"query-version\"}"));
    assert_int_equal(s->quits, 0);
}

static void requests_need_no_newline_and_may_come_in_any_pieces(void **state)
{
    struct scene *s = *state;
    const char *two = "{\"execute\": \"nothing\", \"id\": 1}{\"execute\":\n\"nothing\", \"id\": 2}";
    talk_open(&s->a, s->path, true);
    for (const char *c = two; *c; c++)
        talk_send_bytes(&s->a, c, 1);
    expect_line(&s->a, "{\"return\": {}, \"id\": 1}");
    expect_line(&s->a, "{\"return\": {}, \"id\": 2}");
}

static void many_requests_at_once_are_answered_in_their_order(void **state)
{
    struct scene *s = *state;
    char text[100];
    talk_open(&s->a, s->path, true);
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "{\"execute\": \"nothing\", \"id\": %d}\n", i);
        talk_send(&s->a, text);
        if (i % 10 == 9)
            talk_send(&s->a, "oops\n");
    }
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "{\"return\": {}, \"id\": %d}", i);
        expect_line(&s->a, text);
        if (i % 10 == 9)
            json_decref(talk_line(&s->a));
    }
}

/* ---- out of band ---- */

static void an_out_of_band_command_overtakes_one_that_runs(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, false);
    json_decref(talk_ok(&s->a, "{\"execute\": \"qmp_capabilities\", \"arguments\": "
                               "{\"enable\": [\"oob\"]}}"));
    talk_send(&s->a, "{\"execute\": \"hang\", \"id\": 1}\n");
    sem_wait(&s->entered);
    talk_error(&s->a, "{\"exec-oob\": \"migrate-pause\", \"id\": 2}", "GenericError", "postcopy");
    talk_error(&s->a, "{\"exec-oob\": \"no-such\"}", "CommandNotFound", "no-such");
    talk_error(&s->a, "{\"exec-oob\": \"quit\"}", "GenericError", "does not support OOB");
    talk_error(&s->a, "{\"exec-oob\": \"migrate-pause\", \"execute\": \"quit\"}", "GenericError",
               "clashes");
    sem_post(&s->go_on);
    expect_line(&s->a, "{\"return\": {}, \"id\": 1}");
    assert_int_equal(s->quits, 0);
}

/* ---- several clients, and bad ones ---- */

static void a_command_that_hangs_holds_up_its_own_client_only(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    talk_open(&s->b, s->path, true);
    talk_send(&s->a, "{\"execute\": \"hang\"}{\"execute\": \"nothing\"}");
    sem_wait(&s->entered);
    json_decref(talk_ok(&s->b, "{\"execute\": \"nothing\"}"));
    assert_true(talk_is_quiet(&s->a));
    sem_post(&s->go_on);
    expect_line(&s->a, "{\"return\": {}}");
    expect_line(&s->a, "{\"return\": {}}");
}

static void whoever_comes_when_all_places_are_taken_waits_for_one(void **state)
{
    struct scene *s = *state;
    struct talk *more = calloc(3, sizeof(*more));
    talk_open(&s->a, s->path, true);
    for (unsigned i = 0; i < 3; i++)
        talk_open(&more[i], s->path, true);
    s->b.fd = dup(s->a.fd);
    talk_close(&more[0]);
    close(s->b.fd);
    talk_open(&s->b, s->path, true); /* waits for the greeting */
    for (unsigned i = 1; i < 3; i++)
        talk_close(&more[i]);
    free(more);
}

static void a_client_that_vanishes_in_the_middle_of_a_command_changes_nothing(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    talk_send(&s->a, "{\"execute\": \"quit\"");
    talk_close(&s->a);
    talk_open(&s->b, s->path, true);
    json_decref(talk_ok(&s->b, "{\"execute\": \"nothing\"}"));
    assert_int_equal(s->quits, 0);
}

static void a_client_that_vanishes_while_its_command_runs_leaves_its_place(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    talk_send(&s->a, "{\"execute\": \"hang\"}");
    sem_wait(&s->entered);
    talk_close(&s->a);
    sem_post(&s->go_on);
    for (unsigned i = 0; i < 10; i++) {
        talk_open(&s->b, s->path, true);
        talk_close(&s->b);
    }
}

static void who_sends_and_closes_its_writing_side_is_answered(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    for (unsigned i = 0; i < 20; i++)
        talk_send(&s->a, "{\"execute\": \"nothing\"}\n");
    shutdown(s->a.fd, SHUT_WR);
    for (unsigned i = 0; i < 20; i++)
        expect_line(&s->a, "{\"return\": {}}");
    assert_null(talk_line(&s->a));
}

/* Its answers fill the socket, then the queue; then it is dropped, and nobody else notices. */
static void a_client_that_never_reads_is_dropped(void **state)
{
    struct scene *s = *state;
    static char request[60000];
    talk_open(&s->a, s->path, true);
    talk_open(&s->b, s->path, true);
    int length = snprintf(request, sizeof(request),
                          "{\"execute\": \"echo\", \"arguments\": {\"x\": \"%050000d\"}}\n", 0);
    for (;;) {
        ssize_t n = send(s->a.fd, request, (size_t)length, MSG_NOSIGNAL);
        if (n < 0)
            break;
        json_decref(talk_ok(&s->b, "{\"execute\": \"nothing\"}"));
    }
    assert_true(errno == EPIPE || errno == ECONNRESET);
    talk_close(&s->a);
    talk_open(&s->a, s->path, true);
}

/* ---- the host ---- */

static void the_hosts_own_commands_get_and_give_json(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    json_t *result =
        talk_ok(&s->a, "{\"execute\": \"echo\", \"arguments\": {\"a\": [1, \"\\u00e9\"]}}");
    json_t *wanted = json_loads("{\"a\": [1, \"\\u00e9\"]}", 0, NULL);
    assert_true(json_equal(result, wanted));
    json_decref(result);
    json_decref(wanted);
    talk_error(&s->a, "{\"execute\": \"refuse\"}", "GenericError", "not today");
    talk_error(&s->a, "{\"execute\": \"nonsense\"}", "GenericError", "no JSON");
}

static bool lists(const json_t *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) if (strcmp(json_string_value(json_object_get(entry, "name")),
                                                  name) == 0) return true;
    return false;
}

static void query_commands_lists_all_that_are_found(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    json_t *list = talk_ok(&s->a, "{\"execute\": \"query-commands\"}");
    assert_true(lists(list, "migrate") && lists(list, "migrate_cancel") && lists(list, "quit"));
    assert_true(lists(list, "echo") && !lists(list, "no-such"));
    json_decref(list);
}

/* Answers of a monitor whose host has these. */
static void expect_commands(struct scene *s, const struct vmig_monitor_host *host, bool found)
{
    struct vmig_monitor *monitor;
    struct vmig_error err = { 0 };
    char address[120];
    snprintf(address, sizeof(address), "%s2", s->address);
    assert_int_equal(vmig_monitor_new(address, s->m, host, &monitor, &err), 0);
    talk_open(&s->a, address + strlen("unix:"), true);
    json_t *list = talk_ok(&s->a, "{\"execute\": \"query-commands\"}");
    assert_int_equal(lists(list, "screendump"), found);
    json_decref(list);
    if (found)
        json_decref(talk_ok(&s->a, "{\"execute\": \"screendump\"}"));
    else
        talk_error(&s->a, "{\"execute\": \"screendump\"}", "CommandNotFound", "screendump");
    vmig_monitor_free(monitor);
    talk_close(&s->a);
}

static void a_command_is_there_only_if_the_host_offers_it(void **state)
{
    struct scene *s = *state;
    static const char *const offered[] = { "screendump", NULL };
    struct vmig_monitor_host host = host_of(s);
    expect_commands(s, &host, false);
    host.commands = offered;
    expect_commands(s, &host, true);
    host.command = NULL;
    expect_commands(s, &host, false);
    host = (struct vmig_monitor_host) { .size = offsetof(struct vmig_monitor_host, commands),
                                        .commands = offered,
                                        .command = host_command };
    expect_commands(s, &host, false); /* of a program that knows no such members */
    expect_commands(s, NULL, false);
}

static void the_host_cannot_take_a_name_of_the_monitors(void **state)
{
    struct scene *s = *state;
    static const char *const taken[] = { "mine", "migrate", NULL };
    struct vmig_monitor_host host = host_of(s);
    struct vmig_monitor *monitor;
    struct vmig_error err = { 0 };
    char address[120];
    host.commands = taken;
    snprintf(address, sizeof(address), "%s2", s->address);
    assert_int_equal(vmig_monitor_new(address, s->m, &host, &monitor, &err), -EEXIST);
    assert_non_null(strstr(err.text, "migrate"));
}

static void quit_tells_everybody_before_it_is_answered(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    talk_open(&s->b, s->path, true);
    json_t *events = json_array();
    json_t *line = talk_command(&s->a, "{\"execute\": \"quit\", \"id\": 1}", events);
    assert_true(json_is_object(json_object_get(line, "return")));
    assert_int_equal(json_array_size(events), 1);
    json_t *event = json_array_get(events, 0), *data = json_object_get(event, "data");
    assert_string_equal(json_string_value(json_object_get(event, "event")), "SHUTDOWN");
    assert_true(json_is_false(json_object_get(data, "guest")));
    assert_string_equal(json_string_value(json_object_get(data, "reason")), "host-qmp-quit");
    json_decref(talk_event(&s->b, "SHUTDOWN"));
    assert_int_equal(s->quits, 1);
    json_decref(line);
    json_decref(events);
}

static void the_answer_to_quit_goes_out_when_the_monitor_ends(void **state)
{
    struct scene *s = *state;
    talk_open(&s->a, s->path, true);
    json_decref(talk_ok(&s->a, "{\"execute\": \"nothing\"}"));
    talk_send(&s->a, "{\"execute\": \"hang\"}");
    sem_wait(&s->entered);
    sem_post(&s->go_on);
    s->monitor = vmig_monitor_free(s->monitor);
    expect_line(&s->a, "{\"return\": {}}");
    assert_null(talk_line(&s->a));
}

static void a_monitor_listens_at_unix_addresses_that_are_free(void **state)
{
    struct scene *s = *state;
    struct vmig_monitor *monitor;
    struct vmig_error err = { 0 };
    assert_int_equal(vmig_monitor_new("tcp:127.0.0.1:0", s->m, NULL, &monitor, &err), -EINVAL);
    err = (struct vmig_error) { 0 };
    assert_int_equal(vmig_monitor_new(s->address, s->m, NULL, &monitor, &err), -EADDRINUSE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_greeting_tells_version_package_and_capabilities),
        TEST(nothing_is_accepted_before_the_negotiation_nor_a_second_one),
        TEST(each_client_negotiates_for_itself),
        TEST(an_id_may_be_any_json_and_comes_back),
        TEST(answers_are_ascii_whatever_was_said),
        TEST(a_request_that_makes_no_sense_is_an_error_and_the_next_one_works),
        TEST(what_is_too_large_or_too_deep_is_refused_and_the_connection_goes_on),
        TEST(requests_need_no_newline_and_may_come_in_any_pieces),
        TEST(many_requests_at_once_are_answered_in_their_order),
        TEST(an_out_of_band_command_overtakes_one_that_runs),
        TEST(a_command_that_hangs_holds_up_its_own_client_only),
        TEST(whoever_comes_when_all_places_are_taken_waits_for_one),
        TEST(a_client_that_vanishes_in_the_middle_of_a_command_changes_nothing),
        TEST(a_client_that_vanishes_while_its_command_runs_leaves_its_place),
        TEST(who_sends_and_closes_its_writing_side_is_answered),
        TEST(a_client_that_never_reads_is_dropped),
        TEST(the_hosts_own_commands_get_and_give_json),
        TEST(a_command_is_there_only_if_the_host_offers_it),
        TEST(query_commands_lists_all_that_are_found),
        TEST(the_host_cannot_take_a_name_of_the_monitors),
        TEST(quit_tells_everybody_before_it_is_answered),
        TEST(the_answer_to_quit_goes_out_when_the_monitor_ends),
        TEST(a_monitor_listens_at_unix_addresses_that_are_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
