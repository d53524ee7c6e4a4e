/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities as somebody who types commands meets them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/process.h"

static struct process servers[2];
static char from[200], to[200], address[200];

static int begin(void **state)
{
    (void)state;
    pair_begin(servers, from, to);
    snprintf(address, sizeof(address), "unix:%s", at("link"));
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
    nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
}

/* Until the side at @control says so; it may not be there yet. */
static void await_status(const char *control, const char *text)
{
    struct result r;
    do {
        nap();
        r = run("resolve", at(control), "status");
    } while (!strstr(r.out, text));
}

static void await_link(void)
{
    while (access(at("link"), F_OK) != 0)
        nap();
}

static struct process receiver(const char *uuid)
{
    struct process p = start("receive", "--device", to, "--control", at("target.control"), "--uuid",
                             uuid, address);
    await_link();
    return p;
}

#define UUID "5b46e1a2-3c0d-4e6f-8a9b-0c1d2e3f4a5b"

static void waiting_send_is_continued_from_outside(void **state)
{
    (void)state;
    struct process receive = receiver(UUID);
    struct process send =
        start("send", "--device", from, "--control", at("source.control"), "--uuid", UUID,
              "--pause-before-switchover", "--downtime-limit", "100s", "--json", address);
    await_status("source.control", "pre-switchover");
    expect(run("resolve", at("source.control"), "status"), 0, "somebody to continue");
    expect(run("resolve", at("target.control"), "continue"), 1, "the migration is in \"active\"");
    expect(run("resolve", at("source.control"), "continue"), 0, "going on");
    json_t *report = json_loadf(send.from, JSON_DISABLE_EOF_CHECK, NULL);
    double waited = json_number_value(json_object_get(report, "pre_switchover_ms"));
    assert_true(waited > 0);
    assert_true(waited <= json_number_value(json_object_get(report, "downtime_ms")));
    json_decref(report);
    assert_int_equal(end(&send), 0);
    kill(receive.pid, SIGTERM);
    assert_int_equal(end(&receive), 0);
}

static void one_way_send_moves_a_device(void **state)
{
    (void)state;
    struct process receive = receiver(UUID);
    expect(run("send", "--device", from, "--capability", "return-path=off", "--capability",
               "switchover-ack=off", "--downtime-limit", "100s", address),
           0, "completed");
    await_status("target.control", "completed");
    kill(receive.pid, SIGTERM);
    assert_int_equal(end(&receive), 0);
}

static void stream_of_another_machine_is_refused(void **state)
{
    (void)state;
    struct process receive = receiver(UUID);
    expect(run("send", "--device", from, "--uuid", "00000000000000000000000000000001",
               "--downtime-limit", "100s", address),
           1, "00000000-0000-0000-0000-000000000001 and this is " UUID);
    assert_int_equal(end(&receive), 1);
    expect_state("source", "RUNNING");
}

static void what_cannot_be_is_refused_before_anything_is_touched(void **state)
{
    static const struct {
        const char *option, *value, *text;
        int exit_code;
    } rows[] = {
        { "--capability", "xbzrle=on", "xbzrle is not implemented", 1 },
        { "--capability", "postcopy-ram=on", "postcopy-ram is not implemented", 1 },
        { "--capability", "return-path=off", "switchover-ack needs return-path", 1 },
        { "--capability", "no-such=off", "no capability is called \"no-such\"", 1 },
        { "--capability", "events", "NAME=on or NAME=off", 2 },
        { "--capability", "events=yes", "NAME=on or NAME=off", 2 },
        { "--uuid", "", "--uuid takes a UUID", 2 },
        { "--uuid", "5b46e1a2-3c0d-4e6f-8a9b-0c1d2e3f4a5", "--uuid takes a UUID", 2 },
        { "--uuid", UUID "0", "--uuid takes a UUID", 2 },
        { "--channels", "17", "--channels", 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect(run("send", "--device", from, rows[i].option, rows[i].value, address),
               rows[i].exit_code, rows[i].text);
    expect_state("source", "RUNNING");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(waiting_send_is_continued_from_outside, begin, finish),
        cmocka_unit_test_setup_teardown(one_way_send_moves_a_device, begin, finish),
        cmocka_unit_test_setup_teardown(stream_of_another_machine_is_refused, begin, finish),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_before_anything_is_touched, begin,
                                        finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
