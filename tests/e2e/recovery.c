/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that lose their state under the commands, and a workload that goes there and back between
 * two processes. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/process.h"

static struct process source_device, target_device;
static char from[200], to[200], link_address[200];

static int begin(void **state)
{
    (void)state;
    folder_make();
    snprintf(from, sizeof(from), "vfio-user:%s", at("source"));
    snprintf(to, sizeof(to), "vfio-user:%s", at("target"));
    snprintf(link_address, sizeof(link_address), "unix:%s", at("link"));
    return 0;
}

static int finish(void **state)
{
    (void)state;
    kill_hard(&source_device);
    kill_hard(&target_device);
    folder_remove();
    return 0;
}

static struct process faulty_device(const char *name, const char *fault, const char *then)
{
    struct process p = start("refdev", "--socket-path", at(name), "--json", "--quiet",
                             "--state-size", "64K", "--fault", fault, "--fault", then);
    char line[1000];
    assert_non_null(fgets(line, sizeof(line), p.from));
    return p;
}

static struct process receiver(void)
{
    struct process p = start("receive", "--device", to, "--json", link_address);
    while (access(at("link"), F_OK) != 0)
        usleep(5000);
    return p;
}

/* ---- a device's state is gone ---- */

/* A fault that is never met, where only one is wanted. */
#define NONE "fail@byte#1T"

static void source_device_that_was_reset_is_5_and_the_target_is_1(void **state)
{
    (void)state;
    source_device = faulty_device("source", "error@arc/STOP_COPY", NONE);
    target_device = device("target", "default");
    struct process receive = receiver();
    struct result r = run("send", "--device", from, link_address);
    expect(r, 5, "had to be reset");
    expect(r, 5, "stays stopped");
    assert_int_equal(end(&receive), 1);
    expect_state("source", "RUNNING");
    expect_state("target", "RUNNING");
}

static void source_device_that_is_lost_is_5_and_named(void **state)
{
    (void)state;
    source_device = faulty_device("source", "error@arc/STOP_COPY", "fail@command/reset");
    target_device = device("target", "default");
    struct process receive = receiver();
    struct result r = run("send", "--json", "--device", from, link_address);
    expect(r, 5, "device-state-lost");
    expect(r, 5, "is lost");
    expect(r, 5, "device0");
    assert_int_equal(end(&receive), 1);
}

static void target_device_that_is_lost_is_5_there_and_the_source_goes_on(void **state)
{
    (void)state;
    source_device = device("source", "default");
    target_device = faulty_device("target", "fail@write", "fail@command/reset");
    struct process receive = receiver();
    expect(run("send", "--device", from, link_address), 1, "the target failed");
    assert_int_equal(end(&receive), 5);
    expect_state("source", "RUNNING");
}

static void source_device_that_hangs_is_waited_for_by_name_and_lost(void **state)
{
    (void)state;
    source_device = faulty_device("source", "hang@arc/STOP_COPY", NONE);
    target_device = device("target", "default");
    struct process receive = receiver();
    struct result r = run("send", "--device", from, "--transition-timeout", "1200ms", link_address);
    expect(r, 5, "takes long");
    expect(r, 5, "device0");
    assert_int_equal(end(&receive), 1);
}

/* ---- there and back ---- */

static struct process workload(const char *device, bool first)
{
    char address[200];
    snprintf(address, sizeof(address), "vfio-user:%s", at(device));
    struct process p = start("workload", "--memory", "32M", "--device", address, "--dirty-rate",
                             "8M", "--downtime-limit", "100s", first ? "--source" : NULL);
    json_t *ready = await(&p, "ready");
    assert_string_equal(json_string_value(json_object_get(ready, "event")), "ready");
    json_decref(ready);
    return p;
}

static void done(struct process *p, const char *what)
{
    json_t *event = await(p, "done");
    char *text = json_dumps(event, 0);
    if (!event || strcmp(json_string_value(json_object_get(event, "event")), "done") != 0)
        fail_msg("%s: %s", what, text);
    free(text);
    json_decref(event);
}

static void verified(struct process *p)
{
    tell(p, "verify");
    json_t *event = await(p, "verified");
    char *text = json_dumps(event, 0);
    if (!json_is_true(json_object_get(event, "ok")))
        fail_msg("%s", text);
    free(text);
    json_decref(event);
    tell(p, "go-on");
    json_decref(await(p, "ready"));
}

/* The devices write to memory all the time; each hop is verified, and what one lost would stay
 * wrong. */
static void workload_moves_there_and_back_between_processes(void **state)
{
    (void)state;
    source_device = device("source", "default");
    target_device = device("target", "default");
    struct process sides[2] = { workload("source", true), workload("target", false) };
    for (unsigned hop = 0; hop < 4; hop++) {
        struct process *here = &sides[hop % 2], *there = &sides[!(hop % 2)];
        tell(there, "receive %s", link_address);
        json_decref(await(there, "listening"));
        tell(here, "send %s", link_address);
        done(here, "send");
        done(there, "receive");
        verified(there);
    }
    for (int i = 0; i < 2; i++) {
        tell(&sides[i], "quit");
        assert_int_equal(end(&sides[i]), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(source_device_that_was_reset_is_5_and_the_target_is_1),
        TEST(source_device_that_is_lost_is_5_and_named),
        TEST(target_device_that_is_lost_is_5_there_and_the_source_goes_on),
        TEST(source_device_that_hangs_is_waited_for_by_name_and_lost),
        TEST(workload_moves_there_and_back_between_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
