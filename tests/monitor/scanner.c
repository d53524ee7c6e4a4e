/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes into JSON texts, whatever pieces they come in. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/monitor/scanner.h"

/* What came of [bytes, bytes + length) in pieces of at most @piece: "text|text|!why|", and what is left
 * over is not told. */
static char *scanned(const char *bytes, size_t length, size_t piece)
{
    struct scanner s;
    char *told;
    size_t size;
    FILE *out = open_memstream(&told, &size);
    assert_true(scanner_init(&s));
    while (length) {
        const char *why = NULL, *at = bytes;
        size_t given = length < piece ? length : piece, left = given;
        enum scan scan = scanner_take(&s, &at, &left, &why);
        if (scan == SCAN_TEXT)
            fprintf(out, "%.*s|", (int)s.length, s.text);
        if (scan == SCAN_BAD)
            fprintf(out, "!%s|", why);
        if (scan == SCAN_MORE)
            assert_int_equal(left, 0);
        bytes += given - left;
        length -= given - left;
    }
    fclose(out);
    scanner_done(&s);
    return told;
}

static void expect(const char *bytes, size_t length, const char *wanted)
{
    static const size_t pieces[] = { 1, 2, 7, 143, SIZE_MAX };
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        char *told = scanned(bytes, length, pieces[i]);
        assert_string_equal(told, wanted);
        free(told);
    }
}

static void expect_text(const char *text, const char *wanted)
{
    expect(text, strlen(text), wanted);
}

static void a_text_is_over_when_its_brackets_are(void **state)
{
    (void)state;
    expect_text("{\"a\": [1, {}]}\n", "{\"a\": [1, {}]}|");
    expect_text("{}{}[]\n", "{}|{}|[]|");
    expect_text("{\n\"a\"\r\n:\t1}", "{\n\"a\"\r\n:\t1}|");
    expect_text("{\"a\": [1", "");
}

static void brackets_and_quotes_in_strings_do_not_count(void **state)
{
    (void)state;
    expect_text("{\"}\": \"]\\\"}\\\\\"}", "{\"}\": \"]\\\"}\\\\\"}|");
    expect_text("\"{\" {}", "\"{\"|{}|");
}

static void what_is_no_object_is_a_text_as_well(void **state)
{
    (void)state;
    expect_text("5 true{}-1,", "5|true|{}|-1|,|");
    expect_text("}:\n", "}|:|");
}

static void a_control_character_drops_what_was_begun(void **state)
{
    (void)state;
    const char *why =
        "!JSON parse error, stray control character: what came before it is dropped|{}|";
    expect_text("{\"a\": \x01{}", why);
    expect_text("{\"a\xff{}", why);
    expect_text("\xff{}", why);
    expect("[\0{}", 4, why);
    expect("5\0{}", 4, why);
}

static void a_string_ends_before_its_line_does(void **state)
{
    (void)state;
    expect_text("{\"a\n{}", "!JSON parse error, stray control character in a string|{}|");
}

static char *filled(char c, size_t count, const char *before, const char *after, size_t *ret_length)
{
    size_t b = strlen(before), a = strlen(after);
    char *text = malloc(b + count + a);
    memcpy(text, before, b);
    memset(text + b, c, count);
    memcpy(text + b + count, after, a);
    *ret_length = b + count + a;
    return text;
}

#define TOO_LONG "!JSON token size limit exceeded|"
#define TOO_DEEP "!JSON nesting depth limit exceeded|"

/* @begin + filling + @end, one byte too long, is told once and what follows is understood. */
static void expect_excess(char fill, size_t count, const char *begin, const char *end,
                          const char *wanted)
{
    size_t length;
    char *text = filled(fill, count, begin, end, &length);
    expect(text, length, wanted);
    free(text);
}

static void a_text_is_as_long_as_the_limit_and_no_longer(void **state)
{
    (void)state;
    size_t length;
    char *text = filled('x', SCANNER_BYTES_MAX - 4, "[\"", "\"]", &length);
    char *told = scanned(text, length, 1000);
    assert_int_equal(strlen(told), SCANNER_BYTES_MAX + 1);
    free(told);
    free(text);
    expect_excess('x', SCANNER_BYTES_MAX - 3, "[\"", "\"]{}", TOO_LONG "{}|");
}

static void what_is_too_long_is_told_once_and_skipped_to_its_end_or_the_next_line(void **state)
{
    (void)state;
    expect_excess('x', 300000, "{\"a\": \"", "\"} {}", TOO_LONG "{}|");
    expect_excess('x', 300000, "{\"a\": \"", "\n{}", TOO_LONG "{}|");
    expect_excess('x', 300000, "", "\n{}", TOO_LONG "{}|");
    expect_excess('1', 300000, "[", "\n{}", TOO_LONG "{}|");
    expect_excess('x', 300000, "\"", "\xff{}",
                  TOO_LONG "!JSON parse error, stray control character: what came before it is "
                           "dropped|{}|");
}

static void what_is_nested_too_deep_is_told_once(void **state)
{
    (void)state;
    expect_excess('[', SCANNER_DEPTH_MAX + 1, "", "\n{}", TOO_DEEP "{}|");
    expect_excess('[', 300000, "", "\n{}", TOO_DEEP "{}|");
    size_t length;
    char *text = filled('[', SCANNER_DEPTH_MAX, "", "\xff", &length);
    expect(text, length,
           "!JSON parse error, stray control character: what came before it is dropped|");
    free(text);
}

static void sixty_four_mebibytes_in_a_line_are_not_kept(void **state)
{
    (void)state;
    struct scanner s;
    static char piece[65536];
    const char *why = NULL, *at = "{\"", *next;
    size_t left = 2;
    unsigned told = 0;
    assert_true(scanner_init(&s));
    assert_int_equal(scanner_take(&s, &at, &left, &why), SCAN_MORE);
    memset(piece, 'x', sizeof(piece));
    for (unsigned i = 0; i < 1024; i++)
        for (next = piece, left = sizeof(piece); left;)
            told += scanner_take(&s, &next, &left, &why) == SCAN_BAD;
    assert_int_equal(told, 1);
    at = "\"}{}";
    left = 4;
    assert_int_equal(scanner_take(&s, &at, &left, &why), SCAN_TEXT);
    assert_int_equal(s.length, 2);
    scanner_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_over_when_its_brackets_are),
        cmocka_unit_test(brackets_and_quotes_in_strings_do_not_count),
        cmocka_unit_test(what_is_no_object_is_a_text_as_well),
        cmocka_unit_test(a_control_character_drops_what_was_begun),
        cmocka_unit_test(a_string_ends_before_its_line_does),
        cmocka_unit_test(a_text_is_as_long_as_the_limit_and_no_longer),
        cmocka_unit_test(what_is_too_long_is_told_once_and_skipped_to_its_end_or_the_next_line),
        cmocka_unit_test(what_is_nested_too_deep_is_told_once),
        cmocka_unit_test(sixty_four_mebibytes_in_a_line_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
