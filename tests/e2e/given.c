/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo with devices that are there already: it drives and verifies them as it does its own. */
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/process.h"

static struct process sources[2], targets[2];
static char from[2][200], to[2][200];

static int begin(void **state)
{
    (void)state;
    static const char *const names[2][2] = { { "source0", "source1" }, { "target0", "target1" } };
    folder_make();
    for (unsigned i = 0; i < 2; i++) {
        sources[i] = device(names[0][i], "default");
        targets[i] = device(names[1][i], "default");
        snprintf(from[i], sizeof(from[i]), "vfio-user:%s", at(names[0][i]));
        snprintf(to[i], sizeof(to[i]), "vfio-user:%s", at(names[1][i]));
    }
    return 0;
}

static int finish(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        kill_hard(&sources[i]);
        kill_hard(&targets[i]);
    }
    folder_remove();
    return 0;
}

#define DEMO "demo", "--ram", "32M", "--downtime-limit", "100s"

static void two_devices_move_and_every_page_is_verified(void **state)
{
    (void)state;
    struct result r = run(DEMO, "--json", "--source-device", from[0], "--source-device", from[1],
                          "--target-device", to[0], "--target-device", to[1]);
    expect(r, 0, "\"verified\": true");
    json_t *result = json_loads(r.out, 0, NULL);
    json_t *verification = json_object_get(result, "verification");
    assert_int_equal(json_array_size(json_object_get(result, "devices")), 2);
    assert_true(json_integer_value(json_object_get(verification, "device_steps")) > 0);
    json_decref(result);
}

static void the_target_device_lives_on(void **state)
{
    (void)state;
    expect(run(DEMO, "--source-device", from[0], "--target-device", to[0]), 0, "1 given device");
    expect_state("target0", "RUNNING");
}

static void a_device_without_a_partner_is_refused(void **state)
{
    (void)state;
    expect(run(DEMO, "--source-device", from[0]), 2, "1 --source-device and 0 --target-device");
    expect(run(DEMO, "--target-device", to[0]), 2, "0 --source-device and 1 --target-device");
}

static void what_is_for_the_demos_own_devices_is_refused(void **state)
{
    (void)state;
    static const char *const options[] = { "--devices=1", "--profile=xe", "--state-size=1M",
                                           "--transition-latency=1ms",
                                           "--fault=source:fail:EIO@read" };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        char name[40];
        snprintf(name, sizeof(name), "%.*s is for", (int)strcspn(options[i], "="), options[i]);
        expect(run(DEMO, "--source-device", from[0], "--target-device", to[0], options[i]), 2,
               name);
    }
}

static void a_device_that_is_not_there_is_named(void **state)
{
    (void)state;
    expect(run(DEMO, "--source-device", from[0], "--target-device", "vfio-user:/nowhere"), 1,
           "at the target: ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(two_devices_move_and_every_page_is_verified),
        TEST(the_target_device_lives_on),
        TEST(a_device_without_a_partner_is_refused),
        TEST(what_is_for_the_demos_own_devices_is_refused),
        TEST(a_device_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("given", tests, NULL, NULL);
}
