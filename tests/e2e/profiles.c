/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo with every profile: devices, workload and target in processes of their own. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/process.h"

#define PROFILES_MAX 16
#define AT_ONCE 4u /* mostly they wait */

static struct profile {
    char name[32];
    bool p2p, local;
} profiles[PROFILES_MAX];
static unsigned num_profiles;

static bool has_flag(json_t *profile, const char *flag)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(profile, "migration_flags"), i, name)
    {
        if (!strcmp(json_string_value(name), flag))
            return true;
    }
    return false;
}

static int list_profiles(void **state)
{
    (void)state;
    struct result r = run("refdev", "--profile", "list", "--json");
    json_t *root = json_loads(r.out, 0, NULL), *profile;
    size_t i;
    json_array_foreach(json_object_get(root, "profiles"), i, profile)
    {
        struct profile *p = &profiles[num_profiles++];
        assert_true(num_profiles < PROFILES_MAX);
        snprintf(p->name, sizeof(p->name), "%s",
                 json_string_value(json_object_get(profile, "name")));
        p->p2p = has_flag(profile, "P2P");
        p->local = json_integer_value(json_object_get(profile, "state_bytes")) > 1 << 20;
    }
    json_decref(root);
    return num_profiles == 8 ? 0 : -1;
}

/* The limit is generous: who moves is asked here, not how fast. */
#define DEMO(p, devices)                                                                           \
    "demo", "--workload", "--json", "--ram", "32M", "--downtime-limit", "100s", "--profile",       \
        (p)->name, "--devices", devices

static struct process start_demo(const struct profile *p, const char *devices)
{
    return p->local ? start(DEMO(p, devices), "--state-size", "1M") : start(DEMO(p, devices));
}

static void check_demo(struct process *demo, const struct profile *p, unsigned devices)
{
    json_t *result = json_loadf(demo->from, JSON_DISABLE_EOF_CHECK, NULL);
    bool moved = json_is_true(json_object_get(result, "verified")) &&
                 json_array_size(json_object_get(result, "devices")) == devices;
    char *text = moved ? NULL : json_dumps(result, 0);
    json_decref(result);
    int exit_code = end(demo);
    if (!moved || exit_code)
        fail_msg("%s, %u devices: exit code %d, %s", p->name, devices, exit_code,
                 text ? text : "no report");
}

static void demos(unsigned devices, bool p2p_only)
{
    const char *count = devices == 1 ? "1" : "2";
    struct process running[PROFILES_MAX];
    const struct profile *of[PROFILES_MAX];
    unsigned started = 0, ended = 0;
    for (unsigned i = 0; i < num_profiles; i++) {
        if (p2p_only && !profiles[i].p2p)
            continue;
        if (started - ended == AT_ONCE) {
            check_demo(&running[ended], of[ended], devices);
            ended++;
        }
        of[started] = &profiles[i];
        running[started++] = start_demo(&profiles[i], count);
    }
    for (; ended < started; ended++)
        check_demo(&running[ended], of[ended], devices);
}

static void every_profile_moves_between_processes(void **state)
{
    (void)state;
    demos(1, false);
}

static void two_devices_of_every_profile_with_p2p_move_between_processes(void **state)
{
    (void)state;
    demos(2, true);
}

static void two_devices_without_p2p_are_refused_by_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < num_profiles; i++) {
        if (profiles[i].p2p)
            continue;
        struct result r = run(DEMO(&profiles[i], "2"));
        expect(r, 3, "vfio-multiple-without-p2p");
        expect(r, 3, "\"device\": \"device0\"");
        expect(run("demo", "--workload", "--profile", profiles[i].name), 3, "device0: ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_profile_moves_between_processes),
        cmocka_unit_test(two_devices_of_every_profile_with_p2p_move_between_processes),
        cmocka_unit_test(two_devices_without_p2p_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, list_profiles, NULL);
}
