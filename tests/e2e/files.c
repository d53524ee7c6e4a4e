/* SPDX-License-Identifier: BSD-3-Clause */
/* save and restore: what comes back, and what becomes of files that are cut short, damaged, from
 * another version or of another kind of device. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vfio-migrate.h>

#include "refdev/registers.h"
#include "tests/e2e/process.h"

static struct process servers[2];
static char from[200], to[200], file[200];

static int begin(void **state)
{
    (void)state;
    pair_begin(servers, from, to);
    snprintf(file, sizeof(file), "%s", at("state"));
    return 0;
}

static int finish(void **state)
{
    (void)state;
    pair_end(servers);
    return 0;
}

/* ---- the device, without the command ---- */

static struct vmig_device *open_device(const char *address)
{
    struct vmig_device_options options = { .size = sizeof(options) };
    struct vmig_device *device;
    struct vmig_error err = { 0 };
    if (vmig_device_open(address, &options, &device, &err) < 0)
        fail_msg("%s", err.text);
    return device;
}

static uint64_t scratch(const char *address, const uint64_t *set)
{
    struct vmig_device *device = open_device(address);
    uint64_t value = 0;
    if (set)
        vmig_device_region_write(device, REFDEV_BAR_REGISTERS, REFDEV_REG_SCRATCH, set,
                                 sizeof(*set), NULL);
    vmig_device_region_read(device, REFDEV_BAR_REGISTERS, REFDEV_REG_SCRATCH, &value, sizeof(value),
                            NULL);
    vmig_device_close(device);
    return value;
}

static void is_as_new(const char *address)
{
    struct vmig_device *device = open_device(address);
    enum vmig_state state = VMIG_STATE_ERROR;
    uint64_t value = 1;
    vmig_device_get_state(device, &state, NULL);
    vmig_device_region_read(device, REFDEV_BAR_REGISTERS, REFDEV_REG_SCRATCH, &value, sizeof(value),
                            NULL);
    vmig_device_close(device);
    assert_string_equal(vmig_state_name(state), "RUNNING");
    assert_int_equal(value, 0);
}

/* ---- files ---- */

static uint8_t bytes[4 << 20];
static size_t num_bytes;

static void load_file(void)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, bytes, sizeof(bytes));
    assert_true(n > 65536);
    num_bytes = (size_t)n;
    close(fd);
}

static const char *store(const uint8_t *what, size_t length)
{
    const char *path = at("damaged");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, what, length), (ssize_t)length);
    close(fd);
    return path;
}

static void save(void)
{
    const uint64_t mark = 0xfeedface;
    scratch(from, &mark);
    expect(run("save", from, "--to", file), 0, "completed");
    load_file();
}

/* Exit 1, a message that says where, and a device that is as new. */
static void refused(const char *path, const char *what, size_t where)
{
    struct result r = run("restore", to, "--from", path, "--again");
    bool says = strstr(r.err, "offset") || strstr(r.err, "digest") || strstr(r.err, "length") ||
                strstr(r.err, "device0");
    if (r.exit_code != 1 || !says)
        fail_msg("%s at %zu of %zu: exit %d: %s%s", what, where, num_bytes, r.exit_code, r.out,
                 r.err);
    is_as_new(to);
}

static uint64_t random_state = 88172645463325252u;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % limit);
}

static void saved_state_is_restored(void **state)
{
    (void)state;
    save();
    expect_state("source", "RUNNING");
    expect(run("restore", to, "--from", file), 0, "completed");
    expect_state("target", "RUNNING");
    assert_int_equal(scratch(to, NULL), 0xfeedface);
}

static void device_may_be_kept_stopped(void **state)
{
    (void)state;
    expect(run("save", from, "--to", file, "--keep-stopped"), 0, NULL);
    expect_state("source", "STOP");
}

static void second_restore_is_noticed(void **state)
{
    (void)state;
    save();
    expect(run("restore", to, "--from", file), 0, NULL);
    expect(run("restore", to, "--from", file), 3, "--again");
    expect(run("restore", to, "--from", file, "--again"), 0, NULL);
    setenv("XDG_STATE_HOME", "/proc/nowhere", 1);
    expect(run("restore", to, "--from", file), 0, "a second time will not be refused");
    setenv("XDG_STATE_HOME", folder, 1);
    /* a restore that failed does not count */
    save();
    bytes[num_bytes / 2] ^= 1;
    store(bytes, num_bytes);
    expect(run("restore", to, "--from", at("damaged")), 1, NULL);
    expect(run("restore", to, "--from", file), 0, NULL);
}

static void file_cut_short_is_refused(void **state)
{
    (void)state;
    save();
    for (unsigned i = 0; i < 50; i++) {
        size_t length = i < 10   ? i * 3
                        : i < 20 ? num_bytes - 1 - (i - 10) * 7
                                 : random_below(num_bytes);
        refused(store(bytes, length), "cut", length);
    }
}

/* Behind the first @name in the file: is @where in the @length bytes at @after? */
static bool is_behind(const char *name, size_t after, size_t length, size_t where)
{
    const uint8_t *found = memmem(bytes, num_bytes, name, strlen(name));
    assert_non_null(found);
    size_t at_byte = (size_t)(found - bytes) + strlen(name) + after;
    return where >= at_byte && where < at_byte + length;
}

/* What may have any value: the machine's name, which is for people (QEMU's streams have others);
 * instance numbers; the identity, which only has to be another in each file. */
static bool is_free(size_t where)
{
    return (where >= 13 && where < 25) || is_behind("device0/vfio", 0, 4, where) ||
           is_behind("vfio-migrate/manifest", 0, 4, where) ||
           is_behind("vfio-migrate/manifest", 8, 16, where);
}

static void flipped_bit_is_refused(void **state)
{
    (void)state;
    save();
    for (unsigned i = 0; i < 100; i++) {
        size_t where = i < 20   ? i * 13
                       : i < 50 ? num_bytes - 1 - random_below(2000)
                                : random_below(num_bytes);
        uint8_t bit = (uint8_t)(1u << random_below(8));
        if (is_free(where))
            continue;
        bytes[where] ^= bit;
        refused(store(bytes, num_bytes), "flip", where);
        bytes[where] ^= bit;
    }
}

/* The middle of the file is the device's data; whoever finds it first, the device is named. */
static void damaged_device_is_named(void **state)
{
    (void)state;
    save();
    bytes[num_bytes / 2] ^= 1;
    expect(run("restore", to, "--from", store(bytes, num_bytes)), 1, "device0: ");
}

static void foreign_version_is_refused_with_both_numbers(void **state)
{
    (void)state;
    save();
    bytes[7] = 4; /* of the stream: "QEVM", then a big-endian 3 */
    expect(run("restore", to, "--from", store(bytes, num_bytes)), 1, "version 4");
    is_as_new(to);
}

static void state_of_another_kind_of_device_is_refused_with_both(void **state)
{
    (void)state;
    char address[200];
    struct process other = device("other", "pds");
    snprintf(address, sizeof(address), "vfio-user:%s", at("other"));
    save();
    struct result r = run("restore", address, "--from", file);
    expect(r, 1, "524d:0001");
    expect(r, 1, "1dd8:1003");
    is_as_new(address);
    kill_hard(&other);
}

static void file_that_is_no_stream_is_refused(void **state)
{
    (void)state;
    expect(run("restore", to, "--from", at("nothing")), 1, "nothing");
    expect(run("restore", to, "--from", store((const uint8_t *)"", 0)), 1, "offset 0");
    expect(run("restore", to, "--from", "/etc/passwd"), 1, "offset 0");
    is_as_new(to);
}

/* Nothing appears under the name, and the device goes on. */
static void save_that_fails_leaves_no_file(void **state)
{
    (void)state;
    expect(run("save", from, "--to", "/nonexistent/state"), 1, "/nonexistent/state");
    expect(run("save", from, "--to", folder), 1, NULL);
    expect_state("source", "RUNNING");
}

/* ---- trace points ---- */

/* What is asked for and nothing else, on standard error, whatever is printed besides. */
static void trace_lines_go_to_standard_error(void **state)
{
    (void)state;
    struct result r = run("save", from, "--to", file, "--json", "--trace",
                          "vfio_migration_set_state", "--trace", "migrate_set_*");
    assert_int_equal(r.exit_code, 0);
    assert_non_null(strstr(r.err, "Z migrate_set_state side=source new_state=setup\n"));
    assert_non_null(strstr(r.err, "Z migrate_set_state side=source new_state=completed\n"));
    const char *stop = strstr(r.err, "vfio_migration_set_state name=");
    assert_non_null(stop);
    assert_non_null(strstr(stop, "state=STOP_COPY\n"));
    assert_non_null(strstr(stop, "state=RUNNING\n"));
    assert_null(strstr(r.err, "migration_stage"));
    assert_null(strstr(r.out, "vfio_migration_set_state"));
    json_t *report = json_loads(r.out, 0, NULL);
    assert_non_null(report);
    json_decref(report);
}

static void trace_pattern_that_matches_nothing_is_a_usage_error(void **state)
{
    (void)state;
    expect(run("save", from, "--to", file, "--trace", "vfio_migration_set_stat"), 2,
           "vfio_migration_set_state");
    expect(run("probe", from, "--trace", "nonsense"), 2, "no trace point matches 'nonsense'");
    expect(run("trace"), 2, "list is expected");
    assert_int_equal(access(file, F_OK), -1);
}

static void trace_points_can_be_listed(void **state)
{
    (void)state;
    expect(run("trace", "list"), 0, "vfio_migration_set_state(str name, str state)");
    expect(run("send", "--trace", "help"), 0, "vfio_migration_set_state(str name, str state)");
    expect(run("trace", "list", "--json"), 0, "\"provider\": \"vfio_migrate\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(saved_state_is_restored),
        TEST(device_may_be_kept_stopped),
        TEST(second_restore_is_noticed),
        TEST(file_cut_short_is_refused),
        TEST(flipped_bit_is_refused),
        TEST(damaged_device_is_named),
        TEST(foreign_version_is_refused_with_both_numbers),
        TEST(state_of_another_kind_of_device_is_refused_with_both),
        TEST(file_that_is_no_stream_is_refused),
        TEST(save_that_fails_leaves_no_file),
        TEST(trace_lines_go_to_standard_error),
        TEST(trace_pattern_that_matches_nothing_is_a_usage_error),
        TEST(trace_points_can_be_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
