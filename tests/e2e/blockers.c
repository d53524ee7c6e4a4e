/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands in the way, as the command tells it: --check, --only-migratable and a device's settings. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/process.h"

static struct process good_device, untracked_device;
static char good[200], untracked[200];

/* xe has P2P states and no DMA log. */
static int begin(void **state)
{
    (void)state;
    folder_make();
    good_device = device("good", "default");
    untracked_device = device("untracked", "xe");
    snprintf(good, sizeof(good), "vfio-user:%s", at("good"));
    snprintf(untracked, sizeof(untracked), "vfio-user:%s", at("untracked"));
    return 0;
}

static int finish(void **state)
{
    (void)state;
    kill_hard(&good_device);
    kill_hard(&untracked_device);
    folder_remove();
    return 0;
}

/* Another one each time: the device that had the last one may still be letting go of it. */
static const char *memory(void)
{
    static char text[4][300];
    static unsigned next;
    char name[32], *ret = text[next % 4];
    snprintf(name, sizeof(name), "memory%u", next++);
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 1 << 20), 0);
    fclose(file);
    snprintf(ret, sizeof(text[0]), "%s@0x100000", at(name));
    return ret;
}

static const char *with(const char *device, const char *settings)
{
    static char text[4][300];
    static unsigned next;
    char *ret = text[next++ % 4];
    snprintf(ret, sizeof(text[0]), "%s%s", device, settings);
    return ret;
}

static void lacks(struct result r, const char *text)
{
    if (strstr(r.out, text) || strstr(r.err, text))
        fail_msg("\"%s\" in: %s%s", text, r.out, r.err);
}

/* ---- --check ---- */

static void a_check_with_nothing_in_the_way_is_0(void **state)
{
    (void)state;
    struct result r = run("send", "--check", "--device", good, "--ram-file", memory());
    expect(r, 0, "nothing stands in the way");
    r = run("send", "--check", "--json", "--device", good, "--ram-file", memory());
    expect(r, 0, "\"status\": \"migratable\"");
    expect(r, 0, "\"blockers\": []");
}

static void a_check_with_a_blocker_is_3_and_tells_code_device_and_hint(void **state)
{
    (void)state;
    struct result r =
        run("send", "--check", "--device", with(untracked, ",id=gpu"), "--ram-file", memory());
    expect(r, 3, "blocker vfio-no-dirty-tracking: gpu: nobody tells");
    expect(r, 3, "; all-dirty, or dirty tracking none");
    lacks(r, "nothing stands");
    expect_state("untracked", "RUNNING");
}

static void a_check_lists_all_that_fails_as_JSON(void **state)
{
    (void)state;
    struct result r =
        run("send", "--check", "--json", "--device", with(untracked, ",viommu,id=gpu"), "--device",
            with(good, ",enable-migration=off"), "--ram-file", memory());
    assert_int_equal(r.exit_code, 3);
    json_t *root = json_loads(r.out, 0, NULL), *blockers = json_object_get(root, "blockers");
    static const struct {
        const char *code, *device, *refuses;
    } rows[] = {
        { "vfio-no-dirty-tracking", "gpu", "send" },
        { "vfio-viommu", "gpu", "send" },
        { "vfio-disabled", "device1", "both" },
    };
    assert_string_equal(json_string_value(json_object_get(root, "status")), "blocked");
    assert_int_equal(json_array_size(blockers), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *row = json_array_get(blockers, i);
        assert_string_equal(json_string_value(json_object_get(row, "code")), rows[i].code);
        assert_string_equal(json_string_value(json_object_get(row, "device")), rows[i].device);
        assert_string_equal(json_string_value(json_object_get(row, "refuses")), rows[i].refuses);
        assert_non_null(strstr(json_string_value(json_object_get(row, "message")), rows[i].device));
        assert_true(json_is_string(json_object_get(row, "hint")));
    }
    json_decref(root);
}

static void a_check_lists_warnings_which_keep_nothing_from_moving(void **state)
{
    (void)state;
    struct result r = run("send", "--check", "--device", with(untracked, ",enable-migration=on"),
                          "--ram-file", memory());
    expect(r, 0, "warning vfio-no-dirty-tracking: device0: ");
    expect(r, 0, "nothing stands in the way");
    assert_string_equal(r.err, ""); /* told once */
}

static void without_memory_nothing_has_to_be_tracked(void **state)
{
    (void)state;
    expect(run("send", "--check", "--device", untracked), 0, "nothing stands in the way");
}

/* ---- settings ---- */

static void on_is_refused_at_once_and_the_users_word_helps(void **state)
{
    (void)state;
    const char *behind = with(good, ",enable-migration=on,viommu");
    struct result r =
        run("send", "--json", "--device", behind, "--ram-file", memory(), "unix:/nowhere");
    expect(r, 3, "\"reason\": \"vfio-viommu\"");
    expect(r, 3, "\"device\": \"device0\"");
    expect(run("send", "--check", "--device", behind, "--ram-file", memory(), "--dirty-tracking",
               "none"),
           0, "nothing stands in the way");
    expect(run("send", "--check", "--device", behind, "--ram-file", memory(), "--all-dirty"), 0,
           "nothing stands in the way");
}

static void off_neither_sends_nor_receives_nor_saves_nor_restores(void **state)
{
    (void)state;
    const char *off = with(good, ",enable-migration=off");
    char file[200];
    snprintf(file, sizeof(file), "%s", at("state"));
    expect(run("send", "--device", off, "unix:/nowhere"), 3, "enable-migration");
    expect(run("receive", "--device", off, with("unix:", at("link"))), 3, "enable-migration");
    expect(run("save", off, "--to", file), 3, "enable-migration");
    assert_int_not_equal(access(file, F_OK), 0);
    expect(run("save", with(good, ",enable-migration=on"), "--to", file), 0, "completed");
    expect(run("restore", off, "--from", file), 3, "enable-migration");
    expect(run("restore", with(good, ",id=other"), "--from", file), 0, "completed");
}

static void a_setting_that_is_none_is_2_and_named(void **state)
{
    (void)state;
    expect(run("send", "--device", with(good, ",enable-migration=maybe"), "unix:/nowhere"), 2,
           "on, off or auto, not 'maybe'");
    expect(run("save", with(good, ",id="), "--to", at("state")), 2, "1 to 63 letters");
    /* what is none of ours is the address's */
    expect(run("send", "--device", with(good, ",viommu=1"), "unix:/nowhere"), 1, "viommu=1");
}

/* ---- --only-migratable ---- */

static void only_migratable_refuses_a_device_that_would_be_blocked(void **state)
{
    (void)state;
    struct result r = run("send", "--only-migratable", "--json", "--device", untracked,
                          "--ram-file", memory(), "unix:/nowhere");
    expect(r, 3, "\"reason\": \"only-migratable\"");
    expect(r, 3, "vfio-no-dirty-tracking");
    expect(run("receive", "--only-migratable", "--device", with(good, ",viommu"), "--ram-file",
               memory(), with("unix:", at("link"))),
           3, "vfio-viommu");
    expect(run("send", "--only-migratable", "--check", "--device", good, "--ram-file", memory()), 0,
           "nothing stands in the way");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_with_nothing_in_the_way_is_0),
        cmocka_unit_test(a_check_with_a_blocker_is_3_and_tells_code_device_and_hint),
        cmocka_unit_test(a_check_lists_all_that_fails_as_JSON),
        cmocka_unit_test(a_check_lists_warnings_which_keep_nothing_from_moving),
        cmocka_unit_test(without_memory_nothing_has_to_be_tracked),
        cmocka_unit_test(on_is_refused_at_once_and_the_users_word_helps),
        cmocka_unit_test(off_neither_sends_nor_receives_nor_saves_nor_restores),
        cmocka_unit_test(a_setting_that_is_none_is_2_and_named),
        cmocka_unit_test(only_migratable_refuses_a_device_that_would_be_blocked),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
