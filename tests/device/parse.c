/* SPDX-License-Identifier: BSD-3-Clause */
/* What the command line accepts as number, size, duration and rate, and what people are shown. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cmd/cmd.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct example {
    const char *text;
    int rc;
    uint64_t value;
};

static void check(int (*parse)(const char *, uint64_t *), const struct example *examples)
{
    for (; examples->text; examples++) {
        uint64_t value = 77;
        int rc = parse(examples->text, &value);
        if (rc != examples->rc || value != (examples->rc ? 77 : examples->value))
            fail_msg("'%s': %d and %llu", examples->text, rc, (unsigned long long)value);
    }
}

static void numbers_are_decimal_or_hexadecimal_and_nothing_else(void **unused)
{
    (void)unused;
    const struct example examples[] = {
        { "0", 0, 0 },
        { "8", 0, 8 },
        { "0x1000", 0, 4096 },
        { "18446744073709551615", 0, UINT64_MAX },
        { "18446744073709551616", -ERANGE, 0 },
        { "0x10000000000000000", -ERANGE, 0 },
        { "-1", -ERANGE, 0 },
        { "", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "+1", -EINVAL, 0 },
        { "1 ", -EINVAL, 0 },
        { "1.5", -EINVAL, 0 },
        { "0x", -EINVAL, 0 },
        { "x", -EINVAL, 0 },
        { "1e3", -EINVAL, 0 },
        { "-", -EINVAL, 0 },
        { NULL, 0, 0 },
    };
    check(cmd_parse_number, examples);
}

static void sizes_take_binary_units(void **unused)
{
    (void)unused;
    const struct example examples[] = {
        { "4096", 0, 4096 },
        { "64K", 0, 64 * KIB },
        { "64k", 0, 64 * KIB },
        { "64KiB", 0, 64 * KIB },
        { "64M", 0, 64 * MIB },
        { "1G", 0, GIB },
        { "1.5G", 0, 3 * GIB / 2 },
        { "0.25M", 0, 256 * KIB },
        { "2T", 0, 2048 * GIB },
        { "0x10M", 0, 16 * MIB },
        { "16777215T", 0, UINT64_C(16777215) << 40 },
        { "16777216T", -ERANGE, 0 },
        { "0.5", -EINVAL, 0 },
        { "1.M", -EINVAL, 0 },
        { "1.1234567G", -EINVAL, 0 },
        { "64MB", -EINVAL, 0 },
        { "64 M", -EINVAL, 0 },
        { "M", -EINVAL, 0 },
        { "-64M", -ERANGE, 0 },
        { NULL, 0, 0 },
    };
    check(cmd_parse_size, examples);
}

static void durations_need_a_unit_unless_they_are_zero(void **unused)
{
    (void)unused;
    const struct example examples[] = {
        { "100ns", 0, 100 },
        { "50us", 0, 50000 },
        { "50ms", 0, 50000000 },
        { "2s", 0, UINT64_C(2000000000) },
        { "1.5s", 0, UINT64_C(1500000000) },
        { "3m", 0, UINT64_C(180000000000) },
        { "0", 0, 0 },
        { "50", -EINVAL, 0 },
        { "1.5ns", -EINVAL, 0 },
        { "18446744073s", 0, UINT64_C(18446744073000000000) },
        { "18446744074s", -ERANGE, 0 },
        { NULL, 0, 0 },
    };
    check(cmd_parse_duration, examples);
}

static void rates_may_end_in_per_second(void **unused)
{
    (void)unused;
    const struct example examples[] = {
        { "100", 0, 100 },    { "100M", 0, 100 * MIB }, { "100M/s", 0, 100 * MIB },
        { "1GiB/s", 0, GIB }, { "1G/m", -EINVAL, 0 },   { "1M/", -EINVAL, 0 },
        { NULL, 0, 0 },
    };
    check(cmd_parse_rate, examples);
}

static void sizes_are_shown_whole_or_with_one_digit(void **unused)
{
    (void)unused;
    char buf[32];
    assert_string_equal(cmd_format_size(0, buf, sizeof(buf)), "0 B");
    assert_string_equal(cmd_format_size(1023, buf, sizeof(buf)), "1023 B");
    assert_string_equal(cmd_format_size(1024, buf, sizeof(buf)), "1 KiB");
    assert_string_equal(cmd_format_size(1536, buf, sizeof(buf)), "1.5 KiB");
    assert_string_equal(cmd_format_size(64 * MIB, buf, sizeof(buf)), "64 MiB");
    assert_string_equal(cmd_format_size(UINT64_MAX, buf, sizeof(buf)), "16.0 EiB");
}

static void durations_are_shown_in_the_unit_that_fits(void **unused)
{
    (void)unused;
    char buf[32];
    assert_string_equal(cmd_format_duration(0, buf, sizeof(buf)), "0 ms");
    assert_string_equal(cmd_format_duration(0.05, buf, sizeof(buf)), "50 us");
    assert_string_equal(cmd_format_duration(1.25, buf, sizeof(buf)), "1.2 ms");
    assert_string_equal(cmd_format_duration(50, buf, sizeof(buf)), "50 ms");
    assert_string_equal(cmd_format_duration(1234, buf, sizeof(buf)), "1.23 s");
}

static void a_mistyped_subcommand_gets_the_nearest_name(void **unused)
{
    (void)unused;
    static const char *const names[] = { "probe", "save", "restore", "send", "receive", NULL };
    assert_string_equal(cmd_nearest("prob", names), "probe");
    assert_string_equal(cmd_nearest("porbe", names), "probe");
    assert_string_equal(cmd_nearest("rec", names), "receive");
    assert_string_equal(cmd_nearest("sned", names), "send");
    assert_null(cmd_nearest("migrate", names));
    assert_null(cmd_nearest("", names));
    assert_null(cmd_nearest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", names));
}

static void an_error_is_a_json_object_with_its_codes_name(void **unused)
{
    (void)unused;
    struct vmig_error err = {
        .code = -ENODEV,
        .stage = VMIG_STAGE_OPEN,
        .reason = "no-such-device",
        .text = "there is no such PCI device",
    };
    json_t *object = cmd_error_json(&err);
    assert_string_equal(json_string_value(json_object_get(object, "code")), "ENODEV");
    assert_string_equal(json_string_value(json_object_get(object, "reason")), "no-such-device");
    assert_string_equal(json_string_value(json_object_get(object, "stage")), "open");
    assert_true(json_is_null(json_object_get(object, "device")));
    assert_string_equal(json_string_value(json_object_get(object, "message")),
                        "there is no such PCI device");
    json_decref(object);
}

static void an_error_text_that_is_no_utf8_does_not_spoil_the_object(void **unused)
{
    (void)unused;
    struct vmig_error err = { .code = -EIO, .text = "bad \xff byte" };
    json_t *object = cmd_error_json(&err);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "code")), "EIO");
    assert_string_equal(json_string_value(json_object_get(object, "message")), "bad ? byte");
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_decimal_or_hexadecimal_and_nothing_else),
        cmocka_unit_test(sizes_take_binary_units),
        cmocka_unit_test(durations_need_a_unit_unless_they_are_zero),
        cmocka_unit_test(rates_may_end_in_per_second),
        cmocka_unit_test(sizes_are_shown_whole_or_with_one_digit),
        cmocka_unit_test(durations_are_shown_in_the_unit_that_fits),
        cmocka_unit_test(a_mistyped_subcommand_gets_the_nearest_name),
        cmocka_unit_test(an_error_is_a_json_object_with_its_codes_name),
        cmocka_unit_test(an_error_text_that_is_no_utf8_does_not_spoil_the_object),
    };
    return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
