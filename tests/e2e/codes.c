/* SPDX-License-Identifier: BSD-3-Clause */
/* Exit codes: each of them from a command that has earned it; and cancelling by signal and through
 * the control socket. */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/process.h"
#include "lib/migration/wire.h"
#include "tests/migration/by-hand.h"
#include "tests/migration/relay.h"

static struct process servers[2];
static char from[200], to[200];

static int begin(void **state)
{
    (void)state;
    pair_begin(servers, from, to);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    pair_end(servers);
    return 0;
}

static void nap(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = 5000000 }, NULL);
}

static const char *unix_address(const char *name)
{
    static char address[4][200];
    static unsigned next;
    char *text = address[next++ % 4];
    snprintf(text, sizeof(address[0]), "unix:%s", at(name));
    return text;
}

/* Wait until the side that listens at control socket @name says @what of itself. */
static void await_status(const char *name, const char *what)
{
    for (;; nap()) {
        struct result r = run("resolve", at(name), "status");
        if (r.exit_code == 0 && strstr(r.out, what))
            return;
    }
}

/* A peer that takes the connection and says nothing. */
static int silent_peer(const char *name)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", at(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

/* ---- codes ---- */

static void done_is_0(void **state)
{
    (void)state;
    expect(run("save", from, "--to", at("file")), 0, "completed");
    expect(run("--version"), 0, NULL);
}

static void failed_is_1_and_the_source_runs(void **state)
{
    (void)state;
    expect(run("send", "--device", from, unix_address("nobody")), 1, "nobody");
    expect(run("send", "--device", from, "--json", unix_address("nobody")), 1,
           "\"status\": \"failed\"");
    expect_state("source", "RUNNING");
}

static void usage_is_2(void **state)
{
    (void)state;
    expect(run("send"), 2, "--device");
    expect(run("send", "--device", from), 2, "ADDRESS");
    expect(run("send", "--downtime-limit", "soon", "--device", from, "unix:x"), 2,
           "--downtime-limit");
    expect(run("save", from), 2, "--to");
    expect(run("resolve", "x", "perhaps"), 2, "discard");
    expect(run("nonsense"), 2, "nonsense");
}

static void misspelt_options_name_the_nearest(void **state)
{
    (void)state;
    expect(run("demo", "--devics", "2"), 2, "did you mean '--devices'?");
    expect(run("send", "--devcie=x", "unix:x"), 2, "did you mean '--device'?"); /* of a child */
    expect(run("save", "-q", from, "--tp", "x"), 2, "did you mean '--to'?");
    expect(run("demo", "--xyzzy"), 2, "unknown option '--xyzzy'; `vfio-migrate demo --help` lists");
    /* what is an option's argument is no option, and getopt's short forms stay */
    expect(run("save", from, "--to", "--nonsense/x"), 1, "--nonsense/x");
    expect(run("send", "--ram", "--nonsense", "--device", from, "unix:x"), 2, "FILE@IOVA");
    expect(run("demo", "--dev", "0"), 2, "between 1 and");
    expect(run("demo", "--usa"), 0, "--devices");
    expect(run("save", "--", "--nonsense"), 2, "--to");
}

static void other_misspelt_words_name_the_nearest_too(void **state)
{
    (void)state;
    expect(run("demo", "--profile", "mlx4"), 2, "did you mean 'mlx5'?");
    expect(run("refdev", "--profile", "hisi"), 2, "did you mean 'hisi_acc'?");
    expect(run("probe", "3b:00.2"), 1, "did you mean '0000:3b:00.2'?");
    expect(run("probe", "3b:00"), 1, "is no device address");
    expect(run("resolve", at("nobody"), "status"), 1, "no send or receive serves it");
}

/* A descriptor that is opened where one of these was must not become standard input or output. */
static void standard_descriptors_may_be_closed(void **state)
{
    char command[300];
    (void)state;
    assert_int_equal(system("\"$VFIO_MIGRATE\" demo -q --ram 32M --state-size 1M <&- >&-"), 0);
    snprintf(command, sizeof(command), "\"$VFIO_MIGRATE\" save %s --to %s >&- 2>&-", from,
             at("file"));
    assert_int_equal(WEXITSTATUS(system(command)), 1); /* its report could not be written */
    expect(run("restore", to, "--from", at("file")), 0, "completed");
    assert_int_equal(WEXITSTATUS(system("\"$VFIO_MIGRATE\" --help >/dev/full 2>&1")), 1);
}

static void help_is_told_in_every_spelling(void **state)
{
    (void)state;
    expect(run("help"), 0, "Usage: vfio-migrate SUBCOMMAND");
    expect(run("help", "send"), 0, "Usage: vfio-migrate send");
    expect(run("help", "sned"), 2, "did you mean 'send'?");
}

static void blocker_is_3_and_nothing_was_touched(void **state)
{
    (void)state;
    char one[200], other[200];
    struct process a = device("a", "hisi_acc"), b = device("b", "hisi_acc");
    snprintf(one, sizeof(one), "vfio-user:%s", at("a"));
    snprintf(other, sizeof(other), "vfio-user:%s", at("b"));
    expect(run("send", "--device", one, "--device", other, unix_address("nobody")), 3, "P2P");
    expect(run("send", "--json", "--device", one, "--device", other, unix_address("nobody")), 3,
           "vfio-multiple-without-p2p");
    expect_state("a", "RUNNING");
    kill_hard(&a);
    kill_hard(&b);
}

static void unresolved_is_4(void **state)
{
    char command[300];
    (void)state;
    struct relay *relay = relay_new(&(struct relay_plan) { .inside_go = true });
    struct process receive =
        start("receive", "--device", to, "--control", at("target.control"), unix_address("link"));
    await_status("target.control", "target");
    while (access(at("link"), F_OK) != 0)
        nap();
    relay_connect(relay, at("relay"), at("link"));
    struct process send = start("send", "--json", "--device", from, "--control",
                                at("source.control"), unix_address("relay"));
    await_status("source.control", "unresolved");
    await_status("target.control", "unresolved");
    /* told to end it does, and says that it is not settled */
    kill(send.pid, SIGINT);
    json_t *report = json_loadf(send.from, JSON_DISABLE_EOF_CHECK, NULL);
    const char *text =
        json_string_value(json_object_get(json_object_get(report, "error"), "message"));
    snprintf(command, sizeof(command), "vfio-migrate resolve %s discard", at("source.control"));
    assert_non_null(text);
    assert_non_null(strstr(text, command)); /* as it can be typed */
    json_decref(report);
    assert_int_equal(end(&send), 4);
    expect(run("resolve", at("target.control"), "run"), 4, "--other-side-gone");
    expect(run("resolve", at("target.control"), "run", "--other-side-gone"), 0, "running");
    /* now it owns the device until it is told */
    kill(receive.pid, SIGTERM);
    assert_int_equal(end(&receive), 0);
    relay_free(relay);
}

static void device_that_was_lost_is_5(void **state)
{
    (void)state;
    int peer = silent_peer("link");
    struct process send =
        start("send", "--device", from, "--control", at("source.control"), unix_address("link"));
    int fd = accept(peer, NULL, NULL);
    await_status("source.control", "source");
    /* a target's first words, so that the device enters PRE_COPY, and finds nobody */
    kill_hard(&servers[0]);
    static const char hello[] = "{\"protocol\":2,\"window\":8388608}";
    struct writer w;
    writer_init(&w);
    by_hand_return(&w, WIRE_RP_HELLO, hello, sizeof(hello) - 1);
    assert_int_equal(write(fd, w.buf, w.length), (ssize_t)w.length);
    writer_done(&w);
    int lane = accept(peer, NULL, NULL);
    assert_int_equal(end(&send), 5);
    close(lane);
    close(fd);
    close(peer);
}

static void cancelled_by_a_signal_is_130(void **state)
{
    (void)state;
    static const int signals[] = { SIGINT, SIGTERM };
    for (int i = 0; i < 2; i++) {
        int peer = silent_peer(i ? "link1" : "link0");
        struct process send = start("send", "--device", from, unix_address(i ? "link1" : "link0"));
        int fd = accept(peer, NULL, NULL);
        kill(send.pid, signals[i]);
        assert_int_equal(end(&send), 130);
        expect_state("source", "RUNNING");
        close(fd);
        close(peer);
    }
    struct process receive =
        start("receive", "--device", to, "--control", at("control"), unix_address("link"));
    await_status("control", "target");
    kill(receive.pid, SIGINT);
    assert_int_equal(end(&receive), 130);
    expect_state("target", "RUNNING");
}

/* The command is at one of its devices, whose server never says a word, when the signal comes. */
static void silent_server_of_a_device_holds_up_no_signal(void **state)
{
    static const char *const commands[] = { "send", "receive", "save", "restore" };
    (void)state;
    expect(run("save", from, "--to", at("saved")), 0, "");
    int server = silent_peer("silent");
    char silent[200];
    snprintf(silent, sizeof(silent), "vfio-user:%s", at("silent"));
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const char *c = commands[i];
        struct process p = i < 2    ? start(c, "--json", "--device", silent, "--control",
                                            at("control"), unix_address("link"))
                           : i == 2 ? start(c, "--json", silent, "--to", at("other"))
                                    : start(c, "--json", silent, "--from", at("saved"));
        int fd = accept(server, NULL, NULL);
        assert_true(fd >= 0);
        kill(p.pid, i % 2 ? SIGTERM : SIGINT);
        json_t *report = json_loadf(p.from, JSON_DISABLE_EOF_CHECK, NULL);
        const char *text =
            json_string_value(json_object_get(json_object_get(report, "error"), "message"));
        assert_non_null(text);
        assert_non_null(
            strstr(text, "silent was being opened")); /* and not that it did not answer */
        json_decref(report);
        assert_int_equal(end(&p), 130);
        assert_int_not_equal(access(at("control"), F_OK), 0);
        close(fd);
    }
    close(server);
}

static void cancelled_through_the_control_socket_is_130(void **state)
{
    (void)state;
    int peer = silent_peer("link");
    struct process send =
        start("send", "--device", from, "--control", at("control"), unix_address("link"));
    int fd = accept(peer, NULL, NULL);
    await_status("control", "source");
    expect(run("resolve", at("control"), "cancel"), 0, "cancelling");
    assert_int_equal(end(&send), 130);
    expect_state("source", "RUNNING");
    close(fd);
    close(peer);
}

/* From how things are to the end of the command, which is 0 however the migration ended. */
static void events_are_told_until_the_command_ends(void **state)
{
    (void)state;
    int peer = silent_peer("link");
    struct process send =
        start("send", "--device", from, "--control", at("control"), unix_address("link"));
    int fd = accept(peer, NULL, NULL);
    await_status("control", "source");
    struct process json = start("resolve", "--json", at("control"), "events");
    struct process text = start("resolve", at("control"), "events");
    char line[200], all[2000] = "";
    json_t *begin = await(&json, "begin");
    assert_string_equal(json_string_value(json_object_get(begin, "side")), "source");
    json_decref(begin);
    assert_non_null(fgets(line, sizeof(line), text.from)); /* both listen now */
    assert_int_equal(strncmp(line, "begin ", 6), 0);
    expect(run("resolve", at("control"), "cancel"), 0, "cancelling");
    assert_int_equal(end(&send), 130);
    json_t *last = await(&json, "end");
    assert_non_null(last);
    json_decref(last);
    while (fgets(line, sizeof(line), text.from))
        strncat(all, line, sizeof(all) - strlen(all) - 1);
    assert_non_null(strstr(all, "status cancelled\n"));
    assert_non_null(strstr(all, "end\n"));
    assert_int_equal(end(&json), 0);
    assert_int_equal(end(&text), 0);
    expect(run("resolve", at("control"), "events"), 1, "control");
    close(fd);
    close(peer);
}

static void devices_move_between_two_commands(void **state)
{
    (void)state;
    struct process receive =
        start("receive", "--device", to, "--control", at("control"), unix_address("link"));
    while (access(at("link"), F_OK) != 0)
        nap();
    expect(run("send", "--device", from, unix_address("link")), 0, "completed");
    expect_state("source", "STOP");
    await_status("control", "completed");
    kill(receive.pid, SIGTERM);
    assert_int_equal(end(&receive), 0);
    expect_state("target", "RUNNING");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(done_is_0),
        TEST(failed_is_1_and_the_source_runs),
        TEST(usage_is_2),
        TEST(misspelt_options_name_the_nearest),
        TEST(other_misspelt_words_name_the_nearest_too),
        TEST(standard_descriptors_may_be_closed),
        TEST(help_is_told_in_every_spelling),
        TEST(blocker_is_3_and_nothing_was_touched),
        TEST(unresolved_is_4),
        TEST(device_that_was_lost_is_5),
        TEST(cancelled_by_a_signal_is_130),
        TEST(silent_server_of_a_device_holds_up_no_signal),
        TEST(cancelled_through_the_control_socket_is_130),
        TEST(events_are_told_until_the_command_ends),
        TEST(devices_move_between_two_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
