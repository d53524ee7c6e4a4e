/* SPDX-License-Identifier: BSD-3-Clause */
/* send and receive driven over QMP alone, and `vfio-migrate monitor` as people and scripts use it. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "tests/e2e/process.h"
#include "tests/monitor/talk.h"

static struct process devices[2], source, target;
static struct talk to_source, to_target;
static char from[200], to[200], source_qmp[150], target_qmp[150], migrate[200], incoming[200];

static void make_file(const char *name)
{
    int fd = open(at(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, 4 << 20), 0);
    for (unsigned i = 0; i < 64; i++) /* some pages with content */
        assert_int_equal(pwrite(fd, "content", 7, 4096 * i), 7);
    close(fd);
}

static int begin(void **state)
{
    (void)state;
    folder_make();
    devices[0] = device("source", "default");
    devices[1] = device("target", "default");
    snprintf(from, sizeof(from), "vfio-user:%s", at("source"));
    snprintf(to, sizeof(to), "vfio-user:%s", at("target"));
    snprintf(source_qmp, sizeof(source_qmp), "unix:%s", at("source.qmp"));
    snprintf(target_qmp, sizeof(target_qmp), "unix:%s", at("target.qmp"));
    snprintf(migrate, sizeof(migrate),
             "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"unix:%s\"}}", at("move"));
    snprintf(incoming, sizeof(incoming),
             "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": \"unix:%s\"}}",
             at("move"));
    make_file("source.ram");
    make_file("target.ram");
    source.pid = target.pid = 0;
    to_source.fd = to_target.fd = -1;
    return 0;
}

static int finish(void **state)
{
    (void)state;
    kill_hard(&source);
    kill_hard(&target);
    kill_hard(&devices[0]);
    kill_hard(&devices[1]);
    if (to_source.fd >= 0)
        talk_close(&to_source);
    if (to_target.fd >= 0)
        talk_close(&to_target);
    folder_remove();
    return 0;
}

#define EVENTS_ON                                                                                  \
    "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "               \
    "[{\"capability\": \"events\", \"state\": true}]}}"

static void start_source(void)
{
    char ram[200];
    snprintf(ram, sizeof(ram), "%s@0x100000", at("source.ram"));
    source = start("send", "--device", from, "--ram-file", ram, "--qmp", source_qmp,
                   "--downtime-limit", "100s");
    talk_open(&to_source, at("source.qmp"), true);
    json_decref(talk_ok(&to_source, EVENTS_ON));
}

static void start_target(void)
{
    char ram[200];
    snprintf(ram, sizeof(ram), "%s@0x100000", at("target.ram"));
    target = start("receive", "--device", to, "--ram-file", ram, "--qmp", target_qmp);
    talk_open(&to_target, at("target.qmp"), true);
    json_decref(talk_ok(&to_target, EVENTS_ON));
}

/* Until MIGRATION completed: "setup 1 active STOP ... completed", passes by their number. */
static void expect_events(struct talk *t, const char *wanted)
{
    char seen[1000] = "";
    while (!strstr(seen, "completed")) {
        json_t *line = talk_line(t);
        assert_non_null(line);
        const char *event = json_string_value(json_object_get(line, "event"));
        json_t *data = json_object_get(line, "data");
        const char *status = json_string_value(json_object_get(data, "status"));
        json_int_t pass = json_integer_value(json_object_get(data, "pass"));
        size_t length = strlen(seen);
        if (status)
            event = status;
        if (event && pass < 2) /* how many follow depends on how much was written */
            snprintf(seen + length, sizeof(seen) - length, "%s%s", length ? " " : "", event);
        json_decref(line);
    }
    assert_string_equal(seen, wanted);
}

static void quit(struct talk *t, struct process *p, int exit_code)
{
    json_decref(talk_ok(t, "{\"execute\": \"quit\"}"));
    assert_null(talk_line(t));
    assert_int_equal(end(p), exit_code);
}

static void devices_move_and_events_come_in_qemus_order_on_both_sides(void **state)
{
    (void)state;
    start_target();
    start_source();
    talk_send(&to_target, incoming);
    talk_status(&to_target, "setup");
    json_t *line = talk_line(&to_target); /* the answer: it listens */
    assert_true(json_is_object(json_object_get(line, "return")));
    json_decref(line);
    talk_send(&to_source, migrate);
    talk_status(&to_source, "setup");
    line = talk_line(&to_source); /* the answer comes right behind that event */
    assert_true(json_is_object(json_object_get(line, "return")));
    json_decref(line);
    expect_events(&to_source, "MIGRATION_PASS active STOP device completed");
    expect_events(&to_target, "active RESUME completed");
    line = talk_ok(&to_source, "{\"execute\": \"query-migrate\"}");
    assert_string_equal(json_string_value(json_object_get(line, "status")), "completed");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(line, "ram"), "total")),
                     4 << 20);
    assert_true(json_integer_value(json_object_get(json_object_get(line, "vfio"), "transferred")) >
                0);
    assert_int_equal(json_array_size(json_object_get(line, "devices")), 1);
    json_decref(line);
    line = talk_ok(&to_target, "{\"execute\": \"query-status\"}");
    assert_true(json_is_true(json_object_get(line, "running")));
    json_decref(line);
    quit(&to_source, &source, 0);
    quit(&to_target, &target, 0);
    expect_state("target", "RUNNING");
}

static void expect_state_told(struct talk *t, const char *wanted)
{
    json_t *data = talk_event(t, "VFIO_MIGRATION");
    assert_string_equal(json_string_value(json_object_get(data, "device-id")), "device0");
    assert_string_equal(json_string_value(json_object_get(data, "device-state")), wanted);
    json_decref(data);
}

static void a_device_tells_its_states_where_that_is_wanted(void **state)
{
    (void)state;
    static const char *const at_source[] = { "running", "pre-copy", "pre-copy-p2p", "stop-copy" };
    static const char *const at_target[] = { "resuming", "stop", "running-p2p", "running" };
    strcat(from, ",migration-events");
    strcat(to, ",migration-events");
    start_target();
    start_source();
    json_decref(talk_ok(&to_target, incoming));
    json_decref(talk_ok(&to_source, migrate));
    for (unsigned i = 0; i < 4; i++)
        expect_state_told(&to_source, at_source[i]);
    for (unsigned i = 0; i < 4; i++)
        expect_state_told(&to_target, at_target[i]);
    talk_status(&to_source, "completed");
    talk_status(&to_target, "completed");
    quit(&to_source, &source, 0);
    quit(&to_target, &target, 0);
}

static void nothing_was_asked_for_and_quit_ends_with_0(void **state)
{
    (void)state;
    start_target();
    start_source();
    json_t *reply = talk_ok(&to_source, "{\"execute\": \"query-migrate\"}");
    assert_int_equal(json_object_size(reply), 0);
    json_decref(reply);
    talk_error(&to_target, migrate, "GenericError", "waiting for an incoming migration");
    talk_error(&to_source, incoming, "GenericError", "'-incoming' was not specified");
    quit(&to_source, &source, 0);
    quit(&to_target, &target, 0);
}

static void a_signal_while_it_waits_ends_with_130(void **state)
{
    (void)state;
    start_target();
    start_source();
    kill(source.pid, SIGTERM);
    kill(target.pid, SIGTERM);
    assert_int_equal(end(&source), 130);
    assert_int_equal(end(&target), 130);
}

static void a_source_stays_after_a_failure_and_ends_with_the_last_result(void **state)
{
    (void)state;
    start_source();
    talk_error(&to_source, "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"bogus:x\"}}",
               "GenericError", "bogus");
    json_t *line = talk_command(&to_source, migrate, NULL); /* nobody listens there */
    json_decref(line);
    line = talk_ok(&to_source, "{\"execute\": \"query-migrate\"}");
    while (strcmp(json_string_value(json_object_get(line, "status")), "failed") != 0) {
        json_decref(line);
        line = talk_ok(&to_source, "{\"execute\": \"query-migrate\"}");
    }
    assert_non_null(strstr(json_string_value(json_object_get(line, "error-desc")), "move"));
    json_decref(line);
    quit(&to_source, &source, 1);
}

/* ---- vfio-migrate monitor ---- */

static void a_script_runs_commands_and_its_exit_code_tells_whether_all_succeeded(void **state)
{
    (void)state;
    start_source();
    struct result r = run("monitor", at("source.qmp"), "-c", "query-migrate", "-c",
                          "migrate-set-parameters downtime-limit=7 max-bandwidth=1M", "-c",
                          "migrate-set-capabilities pause-before-switchover=on");
    expect(r, 0, NULL);
    assert_string_equal(r.out, "{}\n{}\n{}\n");
    r = run("monitor", at("source.qmp"), "-c", "query-migrate-parameters");
    expect(r, 0, "\"downtime-limit\":7");
    expect(r, 0, "\"max-bandwidth\":1048576");
    expect(run("monitor", at("source.qmp"), "-c", "{\"execute\": \"query-migrate-capabilities\"}"),
           0, "{\"state\":true,\"capability\":\"pause-before-switchover\"}");
    expect(run("monitor", at("source.qmp"), "-c", "no-such", "-c", "query-migrate"), 1,
           "vfio-migrate monitor: no-such: The command no-such has not been found");
    expect(run("monitor", "--json", at("source.qmp"), "-c", "no-such"), 1, "\"error\":{");
    expect(run("monitor", at("source.qmp"), "-c", "screenshot x.png"), 1,
           "screendump has not been found");
    expect(run("monitor", at("source.qmp"), "-c", "screenshot"), 1, "FILE.png is wanted");
    expect(run("monitor", at("source.qmp"), "-c", "migrate 'uri"), 1, "quote");
    expect(run("monitor", at("source.qmp"), "-c", "quit"), 0, "{}");
    assert_int_equal(end(&source), 0);
}

static void a_pipe_gets_an_answer_a_line_and_no_prompt(void **state)
{
    (void)state;
    char line[1000];
    start_source();
    struct process p = start("monitor", at("source.qmp"));
    tell(&p, "# a comment");
    tell(&p, "query-migrate");
    assert_non_null(fgets(line, sizeof(line), p.from));
    assert_string_equal(line, "{}\n");
    tell(&p, "migrate-set-parameters downtime-limit=-1");
    tell(&p, "{\"execute\": \"query-migrate\"}");
    assert_non_null(fgets(line, sizeof(line), p.from));
    assert_string_equal(line, "{}\n");
    assert_int_equal(end(&p), 1); /* one was refused */
}

/* ---- on a terminal ---- */

struct terminal {
    pid_t pid;
    int fd;
    struct termios found;
    size_t length;
    char seen[1 << 20];
};

static void become_monitor(int inside, const char *path)
{
    signal(SIGHUP, SIG_DFL); /* in the background of a script some are ignored */
    signal(SIGINT, SIG_DFL);
    login_tty(inside);
    setenv("TERM", "xterm", 1);
    setenv("HOME", folder, 1); /* nobody's .editrc */
    /* libedit never frees the name of a function that was added to it */
    setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
    execl(getenv("VFIO_MIGRATE"), "vfio-migrate", "monitor", path, (char *)NULL);
    _exit(127);
}

static void open_terminal(struct terminal *t, const char *path)
{
    int inside;
    t->length = 0;
    t->seen[0] = '\0';
    assert_int_equal(openpty(&t->fd, &inside, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(inside, &t->found), 0);
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid == 0) {
        close(t->fd);
        become_monitor(inside, path);
    }
    close(inside);
}

/* More of what is on the screen. False: the other side closed it. */
static bool look(struct terminal *t)
{
    struct pollfd p = { .fd = t->fd, .events = POLLIN };
    if (poll(&p, 1, 60000) != 1)
        fail_msg("nothing comes after \"%s\"", t->seen);
    ssize_t n = read(t->fd, t->seen + t->length, sizeof(t->seen) - 1 - t->length);
    t->length += n > 0 ? (size_t)n : 0;
    t->seen[t->length] = '\0';
    return n > 0;
}

/* Until that is on the screen; what came before it is forgotten. */
static void await_screen(struct terminal *t, const char *text)
{
    char *found;
    while (!(found = strstr(t->seen, text)))
        if (!look(t))
            fail_msg("the end, while \"%s\" was waited for: \"%s\"", text, t->seen);
    size_t gone = (size_t)(found - t->seen) + strlen(text);
    t->length -= gone;
    memmove(t->seen, t->seen + gone, t->length + 1);
}

static void await_prompt(struct terminal *t)
{
    await_screen(t, "(vfio-migrate) ");
}

static void type(struct terminal *t, const char *text)
{
    assert_int_equal(write(t->fd, text, strlen(text)), strlen(text));
}

/* How it ended, with the terminal as it was. */
static int await_end(struct terminal *t)
{
    int status;
    struct termios now;
    while (look(t))
        continue;
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    assert_int_equal(tcgetattr(t->fd, &now), 0);
    assert_int_equal(now.c_iflag, t->found.c_iflag);
    assert_int_equal(now.c_oflag, t->found.c_oflag);
    assert_int_equal(now.c_lflag, t->found.c_lflag);
    assert_memory_equal(now.c_cc, t->found.c_cc, sizeof(now.c_cc));
    close(t->fd);
    return status;
}

static void on_a_terminal_there_are_completion_history_and_events_while_one_types(void **state)
{
    (void)state;
    static struct terminal t;
    start_source();
    open_terminal(&t, at("source.qmp"));
    await_prompt(&t);
    type(&t, "migrate-set-cap\t");
    await_screen(&t, "abilities ");
    type(&t, "ev\t");
    await_screen(&t, "nts=");
    type(&t, "on\n");
    await_screen(&t, "ok");
    await_prompt(&t);
    type(&t, "query-migr"); /* and meanwhile */
    await_screen(&t, "query-migr");
    json_decref(talk_command(&to_source, migrate, NULL));
    await_screen(&t, "setup");
    await_screen(&t, "query-migr"); /* the line is drawn again */
    type(&t, "\x03");
    await_screen(&t, "^C");
    type(&t, "query-version\n");
    await_screen(&t, "package: vfio-migrate");
    type(&t, "\x1b[A\n"); /* what was typed last */
    await_screen(&t, "package: vfio-migrate");
    type(&t, "no-such\n");
    await_screen(&t, "has not been found");
    type(&t, "\x04");
    assert_int_equal(await_end(&t), 0);
    assert_int_equal(access(at("vfio-migrate/monitor-history"), F_OK), 0);
}

/* From when this returns it answers nothing until it is continued. */
static void hold(const struct process *p)
{
    int status;
    kill(p->pid, SIGSTOP);
    assert_int_equal(waitpid(p->pid, &status, WUNTRACED), p->pid);
}

static void what_is_typed_ahead_is_read_in_its_turn(void **state)
{
    (void)state;
    static struct terminal t;
    start_source();
    open_terminal(&t, at("source.qmp"));
    await_prompt(&t);
    hold(&source);
    type(&t, "query-version\n");
    await_screen(&t, "query-version\r\n");
    type(&t, "no-such\nquery-mig\t-p\t\n\x1b[A\x1b[A\n\x04");
    kill(source.pid, SIGCONT);
    await_screen(&t, "package: vfio-migrate");
    await_screen(&t, "no-such: The command no-such has not been found");
    await_screen(&t, "downtime-limit: ");
    await_screen(&t, "no-such: The command no-such has not been found");
    assert_int_equal(await_end(&t), 0);
}

static void an_interrupt_ends_the_wait_for_an_answer_which_comes_later(void **state)
{
    (void)state;
    static struct terminal t;
    start_source();
    open_terminal(&t, at("source.qmp"));
    await_prompt(&t);
    hold(&source);
    type(&t, "query-version\n");
    await_screen(&t, "query-version\r\n");
    type(&t, "\x03");
    await_screen(&t, "interrupted");
    await_prompt(&t);
    type(&t, "half");
    await_screen(&t, "half");
    kill(source.pid, SIGCONT);
    await_screen(&t, "a late answer");
    await_screen(&t, "half");
    type(&t, "\x03query-version\n\x04");
    await_screen(&t, "package: vfio-migrate");
    assert_int_equal(await_end(&t), 0);
}

/* More than a terminal holds that nobody looks at, so that it comes in the middle of an answer. */
static void an_interrupt_while_an_answer_is_printed_is_no_failure(void **state)
{
    (void)state;
    static struct terminal t;
    start_source();
    open_terminal(&t, at("source.qmp"));
    await_prompt(&t);
    for (unsigned i = 0; i < 200; i++)
        type(&t, "query-migrate-parameters\n");
    type(&t, "\x03query-version\n\x04");
    await_screen(&t, "package: vfio-migrate");
    assert_int_equal(await_end(&t), 0);
}

static void a_terminal_is_left_as_it_was_found_by_whatever_ends_the_monitor(void **state)
{
    (void)state;
    static struct terminal t;
    static const int numbers[] = { SIGTERM, SIGHUP, SIGINT };
    start_source();
    for (unsigned i = 0; i < 3; i++) {
        open_terminal(&t, at("source.qmp"));
        await_prompt(&t);
        kill(t.pid, numbers[i]);
        assert_int_equal(await_end(&t), numbers[i]);
    }
    open_terminal(&t, at("source.qmp"));
    await_prompt(&t);
    kill_hard(&source);
    await_screen(&t, "the other side closed the connection");
    assert_int_equal(await_end(&t), 0);
}

static void nobody_listens_is_a_failure(void **state)
{
    (void)state;
    expect(run("monitor", at("nothing"), "-c", "quit"), 1, "nothing");
    expect(run("monitor"), 2, "PATH");
    expect(run("send", "--device", from, "--qmp", "tcp:x:1"), 2, "unix:PATH");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(devices_move_and_events_come_in_qemus_order_on_both_sides),
        TEST(a_device_tells_its_states_where_that_is_wanted),
        TEST(nothing_was_asked_for_and_quit_ends_with_0),
        TEST(a_signal_while_it_waits_ends_with_130),
        TEST(a_source_stays_after_a_failure_and_ends_with_the_last_result),
        TEST(a_script_runs_commands_and_its_exit_code_tells_whether_all_succeeded),
        TEST(a_pipe_gets_an_answer_a_line_and_no_prompt),
        TEST(on_a_terminal_there_are_completion_history_and_events_while_one_types),
        TEST(what_is_typed_ahead_is_read_in_its_turn),
        TEST(an_interrupt_ends_the_wait_for_an_answer_which_comes_later),
        TEST(an_interrupt_while_an_answer_is_printed_is_no_failure),
        TEST(a_terminal_is_left_as_it_was_found_by_whatever_ends_the_monitor),
        TEST(nobody_listens_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
