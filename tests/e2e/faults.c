/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults from the command line: what the commands say, and how they end. */
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/process.h"

#define DEMO "demo", "--ram", "32M", "--state-size", "1M", "--dirty-rate", "2M", "--dma-rate", "200"

static int begin(void **state)
{
    (void)state;
    folder_make();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static void refused_state_change_is_1_and_the_workload_goes_on_at_the_source(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--fault", "source1:fail:EBUSY@arc/STOP_COPY");
    expect(r, 1, "device1");
    expect(r, 1, "device 1 of the source will: fail:EBUSY@arc/STOP_COPY");
    expect(r, 1, "fault fail:EBUSY@arc/STOP_COPY, in state PRE_COPY_P2P");
    expect(r, 1, "goes on at the source");
}

static void corrupt_state_is_refused_by_the_target(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--fault", "target:corrupt@byte#100000");
    expect(r, 1, "device0: rounds: at the source: the target failed");
    expect(r, 1, "goes on at the source");
}

static void device_that_vanishes_in_the_pause_is_5(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--json", "--fault", "source:vanish@arc/STOP_COPY");
    expect(r, 5, "\"device-state-lost\"");
    expect(r, 5, "\"device0\"");
}

static void lost_pages_are_found_and_told(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--fault", "source:lie:0@command/log-report#1+");
    expect(r, 1, "verification failed");
    expect(run(DEMO, "--quiet", "--fault", "source:lie:0@command/log-report#1+"), 1,
           "lost DMA pages");
}

static void late_answer_makes_the_pause_longer_and_nothing_else(void **state)
{
    (void)state;
    expect(run(DEMO, "--fault", "target:late:50ms@arc/RUNNING"), 0, "nothing was lost");
}

static void side_and_device_must_be_there(void **state)
{
    (void)state;
    expect(run("demo", "--fault", "sauce:fail@arc"), 2, "source: or target:");
    expect(run("demo", "--fault", "source"), 2, "source: or target:");
    expect(run("demo", "--fault", "source-1:fail@arc"), 2, "source: or target:");
    expect(run("demo", "--fault", "source:fial@arc"), 2, "did you mean 'fail'");
    expect(run("demo", "--fault", "source2:fail@arc"), 2, "no device 2");
    expect(run("demo", "--devices", "3", "--fault", "source3:fail@arc"), 2, "no device 3");
}

static void vanished_server_ends_and_removes_its_socket_file(void **state)
{
    char address[200], line[1000];
    (void)state;
    snprintf(address, sizeof(address), "vfio-user:%s", at("gone"));
    struct process server = start("refdev", "--socket-path", at("gone"), "--json", "--quiet",
                                  "--fault", "vanish@command/get-state");
    assert_non_null(fgets(line, sizeof(line), server.from)); /* it listens */
    struct result r = run("probe", address);
    assert_int_not_equal(r.exit_code, 0);
    assert_int_equal(end(&server), 0);
    assert_int_not_equal(access(at("gone"), F_OK), 0);
}

static void what_only_the_target_knows_is_told(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--fault", "target:fail@arc/RUNNING");
    expect(r, 4, "at the target: device0: resume: ");
    expect(r, 4, "going from RUNNING_P2P to RUNNING");
    expect(r, 4, "vfio-migrate resolve");
}

static void device_that_takes_long_is_named_meanwhile(void **state)
{
    (void)state;
    expect(run(DEMO, "--quiet", "--fault", "target:late:2500ms@arc/RESUMING"), 0,
           "at the target: device0: load-setup takes long");
}

/* Its workload is in the middle of a migration then, and is told to cancel it. */
static void interrupted_demo_ends_while_a_device_takes_long(void **state)
{
    (void)state;
    char line[200] = "";
    struct process demo = start(DEMO, "--fault", "source:late:2s@arc/PRE_COPY");
    while (!strstr(line, "migrating over"))
        assert_non_null(fgets(line, sizeof(line), demo.from));
    usleep(500000); /* to be there; what is asserted does not depend on it */
    kill(demo.pid, SIGINT);
    assert_int_equal(end(&demo), 130);
}

static void fault_that_did_not_happen_is_told(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--fault", "source:fail@read#5000", "--fault",
                          "target1:hang@byte#1G", "--fault", "target:short@read");
    expect(r, 0, "fault fail@read#5000 did not happen: it came there ");
    expect(r, 0, "fault hang@byte#1G did not happen");
    expect(r, 0, "fault short@read did not happen: it came there 0 times");
    r = run(DEMO, "--fault", "source:late:1ms@read#2+");
    expect(r, 0, "fault late:1ms@read#2+, in state");
    assert_null(strstr(r.err, "did not happen"));
}

static void list_is_one_json_object_if_wanted(void **state)
{
    (void)state;
    struct result r = run("refdev", "--fault", "list", "--json");
    json_t *list = json_loads(r.out, 0, NULL), *faults = json_object_get(list, "faults");
    bool hang = false;
    for (size_t i = 0; i < json_array_size(faults); i++)
        hang |=
            !strcmp(json_string_value(json_object_get(json_array_get(faults, i), "what")), "hang");
    assert_true(hang);
    assert_true(json_array_size(json_object_get(list, "commands")) > 20);
    json_decref(list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refused_state_change_is_1_and_the_workload_goes_on_at_the_source),
        TEST(corrupt_state_is_refused_by_the_target),
        TEST(device_that_vanishes_in_the_pause_is_5),
        TEST(lost_pages_are_found_and_told),
        TEST(what_only_the_target_knows_is_told),
        TEST(device_that_takes_long_is_named_meanwhile),
        TEST(interrupted_demo_ends_while_a_device_takes_long),
        TEST(fault_that_did_not_happen_is_told),
        TEST(list_is_one_json_object_if_wanted),
        TEST(late_answer_makes_the_pause_longer_and_nothing_else),
        TEST(side_and_device_must_be_there),
        TEST(vanished_server_ends_and_removes_its_socket_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
