/* SPDX-License-Identifier: BSD-3-Clause */
/* What probe says of a device, from made-up facts: what no device of the tests has. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "cmd/probe.h"

static struct probe_facts facts;
static char text[4096];

static int begin(void **unused)
{
    (void)unused;
    memset(&facts, 0, sizeof(facts));
    facts.address = facts.entry.address;
    strcpy(facts.entry.address, "0000:03:00.1");
    strcpy(facts.info.backend, "cdev");
    facts.kernel = true;
    return 0;
}

/* Standard output into @text. */
static void print(void)
{
    int file = memfd_create("report", MFD_CLOEXEC), saved;
    fflush(stdout);
    saved = dup(STDOUT_FILENO);
    dup2(file, STDOUT_FILENO);
    probe_print(&facts);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    ssize_t length = pread(file, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    close(file);
}

static void expect_line(const char *line)
{
    print();
    if (!strstr(text, line))
        fail_msg("no '%s' in:\n%s", line, text);
}

static void expect_no(const char *words)
{
    print();
    assert_null(strstr(text, words));
}

static void add_function(unsigned function, bool owned)
{
    facts.has_hot_reset = true;
    facts.hot_reset.all_owned &= owned;
    facts.hot_reset.devices[facts.hot_reset.num_devices++] = (struct vmig_hot_reset_device) {
        .bus = 3,
        .function = (uint8_t)function,
        .owned = owned,
    };
}

static void a_hot_reset_of_the_device_alone(void **unused)
{
    (void)unused;
    facts.hot_reset.all_owned = true;
    add_function(1, true);
    expect_line("  hot reset    takes along nothing else\n");
}

static void a_hot_reset_names_the_others(void **unused)
{
    (void)unused;
    facts.hot_reset.all_owned = true;
    add_function(0, true);
    add_function(1, true);
    add_function(2, true);
    expect_line("  hot reset    takes along 0000:03:00.0, 0000:03:00.2\n");
    add_function(3, false);
    expect_line("0000:03:00.3; not all of them are its owner's\n");
}

static void a_hot_reset_of_many_counts_the_rest(void **unused)
{
    (void)unused;
    facts.hot_reset.all_owned = true;
    for (unsigned i = 0; i < 8; i++)
        add_function(i, true);
    expect_line("0000:03:00.0, 0000:03:00.2, 0000:03:00.3, 0000:03:00.4 and 3 more\n");
}

static void a_hot_reset_that_is_impossible_or_unheard_of(void **unused)
{
    (void)unused;
    expect_no("hot reset");
    facts.no_hot_reset.code = -ENODEV;
    strcpy(facts.no_hot_reset.text, "no slot");
    expect_line("  hot reset    no: no slot\n");
}

static void hot_reset_in_json(void **unused)
{
    (void)unused;
    const char *address = NULL;
    int owned = -1, all_owned = -1;
    json_t *object = probe_json(&facts);
    assert_true(json_is_null(json_object_get(object, "hot_reset")));
    json_decref(object);
    add_function(2, false);
    object = probe_json(&facts);
    assert_int_equal(json_unpack(object, "{s:{s:b, s:[{s:s, s:b}]}}", "hot_reset", "all_owned",
                                 &all_owned, "devices", "address", &address, "owned", &owned),
                     0);
    assert_string_equal(address, "0000:03:00.2");
    assert_int_equal(owned, 0);
    assert_int_equal(all_owned, 0);
    json_decref(object);
}

static void what_sysfs_tells_is_there_and_null_without(void **unused)
{
    (void)unused;
    strcpy(facts.entry.driver, "mlx5_vfio_pci");
    strcpy(facts.entry.group_node, "/dev/vfio/17");
    strcpy(facts.entry.cdev_node, "/dev/vfio/devices/vfio2");
    facts.entry.group = 17;
    expect_line("  driver       mlx5_vfio_pci\n");
    expect_line("  nodes        /dev/vfio/17, /dev/vfio/devices/vfio2\n");
    json_t *object = probe_json(&facts);
    assert_int_equal(json_integer_value(json_object_get(object, "group")), 17);
    json_decref(object);
    memset(&facts.entry, 0, sizeof(facts.entry));
    expect_no("nodes");
    object = probe_json(&facts);
    assert_true(json_is_null(json_object_get(object, "group")));
    assert_true(json_is_null(json_object_get(object, "driver")));
    json_decref(object);
}

static void the_iommus_log_in_words_and_in_json(void **unused)
{
    (void)unused;
    static const struct {
        enum vmig_iommu_log log;
        const char *line, *name;
    } rows[] = {
        { VMIG_IOMMU_LOG_NONE, "  IOMMU log    no\n", "none" },
        { VMIG_IOMMU_LOG_ALL, "  IOMMU log    of no use", "all" },
        { VMIG_IOMMU_LOG_TRUE, "  IOMMU log    yes\n", "true" },
    };
    facts.migration.flags = VMIG_MIGRATION_STOP_COPY;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        facts.migration.iommu_log = rows[i].log;
        expect_line(rows[i].line);
        json_t *object = probe_json(&facts);
        assert_string_equal(json_string_value(json_object_get(object, "iommu_logging")),
                            rows[i].name);
        json_decref(object);
    }
    facts.kernel = false;
    expect_no("IOMMU log");
}

static void announcements_in_pre_copy(void **unused)
{
    (void)unused;
    facts.migration.flags = VMIG_MIGRATION_STOP_COPY;
    expect_no("pre-copy");
    facts.migration.flags |= VMIG_MIGRATION_PRE_COPY;
    expect_line("  pre-copy     its sizes cannot be asked; new initial bytes are not announced\n");
    facts.migration.has_precopy_info = facts.migration.has_reinit = true;
    expect_line("  pre-copy     its sizes can be asked; new initial bytes are announced\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        TEST(a_hot_reset_of_the_device_alone),
        TEST(a_hot_reset_names_the_others),
        TEST(a_hot_reset_of_many_counts_the_rest),
        TEST(a_hot_reset_that_is_impossible_or_unheard_of),
        TEST(hot_reset_in_json),
        TEST(what_sysfs_tells_is_there_and_null_without),
        TEST(the_iommus_log_in_words_and_in_json),
        TEST(announcements_in_pre_copy),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
