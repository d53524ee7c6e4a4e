/* SPDX-License-Identifier: BSD-3-Clause */
/* The text form of faults: what it says, and every way to say it wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "refdev/model/fault.h"

static struct refdev_fault x_fault(const char *text)
{
    struct refdev_fault fault;
    struct refdev_fault_error error;
    if (refdev_fault_parse_why(text, &fault, &error))
        fail_msg("%s: '%.*s' %s", text, (int)error.length, text + error.at, error.why);
    assert_string_equal(fault.text, text);
    return fault;
}

static void refused(const char *text, const char *word, const char *why)
{
    struct refdev_fault fault;
    struct refdev_fault_error error;
    if (!refdev_fault_parse_why(text, &fault, &error))
        fail_msg("%s is taken", text);
    if (error.length != strlen(word) || strncmp(text + error.at, word, error.length) ||
        !strstr(error.why, why))
        fail_msg("%s: '%.*s' %s", text, (int)error.length, text + error.at, error.why);
    assert_int_equal(refdev_fault_parse(text, &fault), -EINVAL);
}

static void parts_of_the_text_are_what_they_say(void **arg)
{
    (void)arg;
    struct refdev_fault fault = x_fault("fail:ENODEV@arc/STOP_COPY#3+");
    assert_int_equal(fault.what, REFDEV_FAIL);
    assert_int_equal(fault.where, REFDEV_AT_ARC);
    assert_int_equal(fault.code, ENODEV);
    assert_int_equal(fault.names, 1 << 3);
    assert_int_equal(fault.nth, 3);
    assert_true(fault.from_then_on);
    fault = x_fault("corrupt@byte#64K");
    assert_int_equal(fault.nth, 65536);
    assert_false(fault.from_then_on);
    assert_int_equal(x_fault("late:500ms@read#3").values[0], 500000000);
    assert_int_equal(x_fault("short:0x10@read").values[0], 16);
}

static void what_is_left_out_is_the_first_time_anywhere_with_EIO(void **arg)
{
    (void)arg;
    struct refdev_fault fault = x_fault("fail@arc");
    assert_int_equal(fault.code, EIO);
    assert_int_equal(fault.nth, 1);
    assert_int_equal(fault.names, ~0u);
    assert_int_equal(x_fault("corrupt@byte").nth, 0);
    assert_int_equal(x_fault("short@read").values[0], 1);
}

/* The rule: all of fail, error, hang, late and vanish go everywhere; lies need an answer, the rest
 * needs bytes. */
static void only_what_makes_sense_is_taken(void **arg)
{
    static const char *const table[] = {
        "fail arc read write byte command",
        "error arc read write byte command",
        "hang arc read write byte command",
        "late:1s arc read write byte command",
        "lie:0 read command/size",
        "short read byte#5",
        "corrupt read write byte",
        "truncate read write byte",
        "vanish arc read write byte command",
    };
    static const char *const places[] = { "arc",    "read",    "write",       "byte",
                                          "byte#5", "command", "command/size" };
    (void)arg;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (unsigned n = 0; n < sizeof(places) / sizeof(places[0]); n++) {
            char text[64], word[32];
            struct refdev_fault fault;
            size_t length = strcspn(table[i], " ");
            snprintf(text, sizeof(text), "%.*s@%s", (int)length, table[i], places[n]);
            snprintf(word, sizeof(word), " %s ", places[n]);
            char row[80], bare[32];
            int bare_length = (int)strcspn(word, "#/");
            snprintf(row, sizeof(row), "%s ", table[i] + length);
            snprintf(bare, sizeof(bare), "%.*s ", bare_length, word);
            bool sense = strstr(row, word) || (word[bare_length] && strstr(row, bare));
            if (refdev_fault_parse(text, &fault) != (sense ? 0 : -EINVAL))
                fail_msg("%s is %s", text, sense ? "refused" : "taken");
        }
    }
}

static void every_command_and_state_can_be_named(void **arg)
{
    char text[64];
    (void)arg;
    for (unsigned i = 0; refdev_fault_commands[i]; i++) {
        snprintf(text, sizeof(text), "fail@command/%s", refdev_fault_commands[i]);
        uint32_t names = x_fault(text).names;
        assert_true(names && !(names >> REFDEV_COMMAND_COUNT));
    }
    for (unsigned i = 1; refdev_fault_states[i]; i++) {
        snprintf(text, sizeof(text), "hang@arc/%s", refdev_fault_states[i]);
        assert_int_equal(x_fault(text).names, 1u << i);
    }
    assert_int_equal(x_fault("fail@command/state").names,
                     x_fault("fail@command/get-state").names |
                         x_fault("fail@command/set-state").names);
}

static void lies_are_of_the_kind_that_is_asked(void **arg)
{
    (void)arg;
    assert_int_equal(x_fault("lie:1G@command/size").values[0], 1 << 30);
    assert_int_equal(x_fault("lie:STOP@command/state").values[0], 1);
    assert_int_equal(x_fault("lie:STOP@command/state").names,
                     x_fault("hang@command/get-state").names);
    assert_int_equal(x_fault("lie:9@command/get-state").values[0], 9);
    assert_int_equal(x_fault("lie:0x7@command/flags").values[0], 7);
    assert_int_equal(x_fault("lie:1@command/log-report").values[0], 1);
    struct refdev_fault both = x_fault("lie:4K,1G@command/info"),
                        dirty = x_fault("lie:,5@command/info"),
                        initial = x_fault("lie:5,@command/info"),
                        one = x_fault("lie:5@command/info");
    assert_true(both.lies[0] && both.values[0] == 4096 && both.lies[1] &&
                both.values[1] == 1 << 30);
    assert_true(!dirty.lies[0] && dirty.lies[1] && dirty.values[1] == 5);
    assert_true(initial.lies[0] && initial.values[0] == 5 && !initial.lies[1]);
    assert_true(one.lies[0] && one.lies[1] && one.values[0] == 5 && one.values[1] == 5);
    refused("lie@command/size", "lie", "needs");
    refused("lie:@command/size", "", "needs");
    refused("lie:x@command/size", "x", "no size");
    refused("lie:,@command/info", ",", "INITIAL,DIRTY");
    refused("lie:1,2,3@command/info", "1,2,3", "INITIAL,DIRTY");
    refused("lie:2@command/log-report", "2", "neither");
    refused("lie:FLYING@command/state", "FLYING", "nor a state");
    refused("lie:STOP@command/flags", "STOP", "flags");
    refused("lie:1@command/reset", "reset", "no answer");
    refused("lie:1@command/set-state", "set-state", "no answer");
    refused("lie:1@command", "command", "no answer");
}

static void wrong_words_are_named_with_what_there_is(void **arg)
{
    struct refdev_fault_error error;
    struct refdev_fault fault;
    (void)arg;
    refused("fial@arc", "fial", "no fault");
    refused("@arc", "", "no fault");
    refused("fail", "fail", "no @WHERE");
    refused("", "", "no @WHERE");
    refused("fail@", "", "no place");
    refused("fail@arc+", "arc+", "no place");
    refused("fail@arc/STOPCOPY", "STOPCOPY", "no state");
    refused("fail@arc/ERROR", "ERROR", "no state");
    refused("fail@arc/", "", "no state");
    refused("fail@command/rest", "rest", "no command");
    refused("fail@read/STOP", "STOP", "only arc and command");
    refused("fail:EIOO@arc", "EIOO", "no errno");
    refused("fail:@arc", "", "no errno");
    refused("hang:5@arc", "5", "none belongs");
    refused("hang:@arc", "", "none belongs");
    refused("late@arc", "late", "needs");
    refused("late:500@arc", "500", "no time");
    refused("late:5 ms@arc", "5 ms", "no time");
    refused("short:0@read", "0", "at least 1");
    refused("short:5@byte#5", "5", "none belongs");
    assert_int_equal(refdev_fault_parse_why("fail@comand", &fault, &error), -EINVAL);
    assert_ptr_equal(error.names, refdev_fault_wheres);
}

static void numbers_end_where_they_end(void **arg)
{
    (void)arg;
    refused("fail:0@arc", "0", "no errno");
    assert_int_equal(x_fault("fail:1@arc").code, 1);
    assert_int_equal(x_fault("fail:4095@arc").code, 4095);
    refused("fail:4096@arc", "4096", "no errno");
    refused("fail@arc#0", "0", "before the first");
    assert_int_equal(x_fault("fail@arc#1").nth, 1);
    assert_int_equal(x_fault("fail@byte#0").nth, 0);
    assert_true(x_fault("fail@read#18446744073709551615").nth == UINT64_MAX);
    refused("fail@read#18446744073709551616", "18446744073709551616", "no number");
    assert_true(x_fault("fail@byte#0xffffffffffffffff").nth == UINT64_MAX);
    assert_true(x_fault("fail@byte#16777215T").nth == 16777215ull << 40);
    refused("fail@byte#16777216T", "16777216T", "no offset");
    refused("fail@read#", "", "no number");
    refused("fail@read#+", "+", "no number");
    refused("fail@read#1++", "1++", "no number");
    refused("fail@read#1K", "1K", "no number");
    refused("fail@read#-1", "-1", "no number");
    assert_true(x_fault("late:3599999ms@read").values[0] < REFDEV_FAULT_LATE_MAX_NS);
    assert_true(x_fault("late:60m@read").values[0] == REFDEV_FAULT_LATE_MAX_NS);
    refused("late:3600001ms@read", "3600001ms", "an hour");
    refused("short@byte", "byte", "beginning");
    refused("short@byte#0", "0", "beginning");
    assert_int_equal(x_fault("short@byte#1").nth, 1);
    refused("short@byte#1+", "1+", "one place");
    refused("vanish@read#1+", "1+", "no more device");
}

static void text_is_79_bytes_at_most(void **arg)
{
    char text[REFDEV_FAULT_TEXT_MAX + 2];
    struct refdev_fault_error error;
    struct refdev_fault fault;
    (void)arg;
    for (int length = 78; length <= 80; length++) {
        /* leading zeros make a number of any length */
        snprintf(text, sizeof(text), "fail@read#%0*d", length - 10, 7);
        assert_int_equal(strlen(text), length);
        int rc = refdev_fault_parse_why(text, &fault, &error);
        assert_int_equal(rc, length < REFDEV_FAULT_TEXT_MAX ? 0 : -EINVAL);
        if (rc)
            assert_non_null(strstr(error.why, "longer"));
        else
            assert_int_equal(fault.nth, 7);
    }
}

static void sizes_and_times_are_read_as_in_faults(void **state)
{
    uint64_t value = 0;
    (void)state;
    assert_true(refdev_parse_bytes("4096", &value));
    assert_int_equal(value, 4096);
    assert_true(refdev_parse_bytes("3M", &value));
    assert_int_equal(value, 3 << 20);
    assert_true(refdev_parse_bytes("0x10K", &value));
    assert_int_equal(value, 16384);
    assert_true(refdev_parse_time("2ms", &value));
    assert_int_equal(value, 2000000);
    static const char *const no_bytes[] = { "", "M", "1X", "1 M", "-1", "16777216T", "1ms" };
    for (unsigned i = 0; i < sizeof(no_bytes) / sizeof(no_bytes[0]); i++)
        assert_false(refdev_parse_bytes(no_bytes[i], &value));
    assert_false(refdev_parse_time("2", &value));
    assert_false(refdev_parse_time("2M", &value));
    assert_false(refdev_parse_time("", &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_the_text_are_what_they_say),
        cmocka_unit_test(what_is_left_out_is_the_first_time_anywhere_with_EIO),
        cmocka_unit_test(only_what_makes_sense_is_taken),
        cmocka_unit_test(every_command_and_state_can_be_named),
        cmocka_unit_test(lies_are_of_the_kind_that_is_asked),
        cmocka_unit_test(wrong_words_are_named_with_what_there_is),
        cmocka_unit_test(numbers_end_where_they_end),
        cmocka_unit_test(text_is_79_bytes_at_most),
        cmocka_unit_test(sizes_and_times_are_read_as_in_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
