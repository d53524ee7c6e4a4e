/* SPDX-License-Identifier: BSD-3-Clause */
/* The bounded reader and the writer. */
#include <errno.h>
#include "lib/stream/reader.h"
#include "lib/stream/writer.h"
#include "tests/stream/pieces.h"

static const uint8_t numbers[15] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                     0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32 };

static void check_numbers(struct reader *r)
{
    assert_int_equal(reader_u8(r), 0x01);
    assert_int_equal(reader_u16(r), 0x2345);
    assert_int_equal(reader_u32(r), 0x6789abcd);
    assert_true(reader_u64(r) == UINT64_C(0xeffedcba98765432));
    assert_int_equal(r->offset, 15);
    assert_false(reader_failed(r));
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    struct reader r;
    reader_init_memory(&r, numbers, sizeof(numbers));
    check_numbers(&r);
    struct pieces p = { .bytes = numbers, .length = sizeof(numbers) };
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    check_numbers(&r);
    reader_done(&r);
}

/* Every get of N bytes: N are enough, N - 1 fail at its first byte, N + 1 leave one. */
static void a_get_needs_all_its_bytes(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 4, 8 };
    for (size_t i = 0; i < 4; i++)
        for (int more = -1; more <= 1; more++) {
            struct reader r;
            reader_init_memory(&r, numbers, sizes[i] + (size_t)more);
            uint64_t v = i == 0   ? reader_u8(&r)
                         : i == 1 ? reader_u16(&r)
                         : i == 2 ? reader_u32(&r)
                                  : reader_u64(&r);
            assert_int_equal(r.error, more < 0 ? -ENODATA : 0);
            assert_int_equal(r.offset, more < 0 ? 0 : sizes[i]);
            assert_true(more < 0 ? v == 0 : v != 0);
            assert_int_equal(reader_peek(&r), more > 0 ? numbers[sizes[i]] : -1);
        }
}

static void a_failed_reader_stays_failed(void **state)
{
    (void)state;
    struct reader r;
    uint8_t byte = 0xaa;
    char text[256] = "x";
    reader_init_memory(&r, numbers, sizeof(numbers));
    reader_u8(&r);
    reader_fail(&r, -EPROTO);
    reader_fail(&r, -EIO);
    assert_int_equal(reader_u8(&r), 0);
    assert_int_equal(reader_u64(&r), 0);
    reader_bytes(&r, &byte, 1);
    assert_int_equal(byte, 0);
    reader_str8(&r, text);
    assert_string_equal(text, "");
    reader_skip(&r, 1);
    assert_int_equal(reader_peek(&r), -1);
    assert_null(reader_peek_bytes(&r, 1));
    assert_int_equal(r.error, -EPROTO);
    assert_int_equal(r.offset, 1);
}

static void a_string_keeps_to_its_length(void **state)
{
    (void)state;
    static const uint8_t wire[] = { 3, 'r', 'a', 'm', 0, 2, 'a', '\0', 9 };
    char text[256];
    struct reader r;
    reader_init_memory(&r, wire, sizeof(wire));
    reader_str8(&r, text);
    assert_string_equal(text, "ram");
    reader_str8(&r, text);
    assert_string_equal(text, "");
    reader_str8(&r, text);
    assert_int_equal(r.error, -EINVAL); /* a NUL inside */
    assert_int_equal(r.offset, 5);
    assert_string_equal(text, "");
    reader_init_memory(&r, wire, 3);
    reader_str8(&r, text);
    assert_int_equal(r.error, -ENODATA);
    assert_int_equal(r.offset, 0);
}

static void the_longest_string_fits(void **state)
{
    (void)state;
    uint8_t wire[256];
    char text[256];
    memset(wire, 'z', sizeof(wire));
    wire[0] = 255;
    struct reader r;
    reader_init_memory(&r, wire, sizeof(wire));
    reader_str8(&r, text);
    assert_int_equal(strlen(text), 255);
    assert_int_equal(r.error, 0);
}

static void looking_takes_nothing(void **state)
{
    (void)state;
    struct pieces p = { .bytes = numbers, .length = sizeof(numbers) };
    struct reader r;
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    assert_int_equal(reader_peek(&r), 0x01);
    assert_memory_equal(reader_peek_bytes(&r, 15), numbers, 15);
    assert_null(reader_peek_bytes(&r, 16)); /* one more than there is: no failure */
    assert_null(reader_peek_bytes(&r, READER_PEEK_MAX + 1));
    assert_int_equal(r.offset, 0);
    check_numbers(&r);
    assert_int_equal(reader_peek(&r), -1);
    assert_false(reader_failed(&r));
    reader_done(&r);
}

static uint8_t *pattern(size_t length)
{
    uint8_t *bytes = malloc(length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

/* Longer than the reader's buffer, taken in reads of all sizes around what goes past it. */
static void reads_past_the_buffer_lose_nothing(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 4095, 4096, 4097, 65535, 65536, 65537, 100000 };
    size_t length = 400000, at = 0;
    uint8_t *bytes = pattern(length), *got = malloc(length);
    struct pieces p = { .bytes = bytes, .length = length };
    struct reader r;
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    for (size_t i = 0; i < 8; i++) {
        assert_memory_equal(reader_peek_bytes(&r, READER_PEEK_MAX), bytes + at, READER_PEEK_MAX);
        reader_bytes(&r, got, sizes[i]);
        assert_memory_equal(got, bytes + at, sizes[i]);
        at += sizes[i];
        assert_int_equal(r.offset, at);
    }
    reader_skip(&r, length - at - 1);
    assert_int_equal(reader_u8(&r), bytes[length - 1]);
    assert_false(reader_failed(&r));
    reader_done(&r);
    free(bytes);
    free(got);
}

static void a_long_read_cut_short_fails_where_it_began(void **state)
{
    (void)state;
    size_t length = 100000;
    uint8_t *bytes = pattern(length), *got = malloc(length);
    for (int skip = 0; skip < 2; skip++) {
        struct pieces p = { .bytes = bytes, .length = length };
        struct reader r;
        assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
        reader_u8(&r);
        if (skip)
            reader_skip(&r, length);
        else
            reader_bytes(&r, got, length);
        assert_int_equal(r.error, -ENODATA);
        assert_int_equal(r.offset, 1);
        reader_done(&r);
    }
    assert_int_equal(got[0], 0);
    assert_int_equal(got[length - 1], 0);
    free(bytes);
    free(got);
}

static void what_the_source_failed_with_is_kept(void **state)
{
    (void)state;
    struct pieces p = { .bytes = numbers, .length = 4, .error = -ECONNRESET };
    struct reader r;
    struct vmig_error err = { 0 };
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    reader_u16(&r);
    assert_int_equal(reader_error(&r, "number", &err), 0);
    reader_u32(&r);
    assert_refused(reader_error(&r, "number", &err), &err, ECONNRESET, "offset 2: number");
    reader_done(&r);
    /* looking fails too: this is no end */
    p = (struct pieces) { .error = -ECONNRESET };
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    assert_int_equal(reader_peek(&r), -1);
    assert_int_equal(r.error, -ECONNRESET);
    reader_done(&r);
}

static ssize_t lying_fill(void *opaque, void *buf, size_t size)
{
    (void)opaque;
    (void)buf;
    return (ssize_t)size + 1;
}

static void a_source_that_gives_more_than_asked_is_refused(void **state)
{
    (void)state;
    struct reader r;
    assert_int_equal(reader_init_fill(&r, lying_fill, NULL), 0);
    reader_u8(&r);
    assert_int_equal(r.error, -EIO);
    reader_done(&r);
}

static void what_was_written_is_read_back(void **state)
{
    (void)state;
    struct writer w;
    char text[256];
    writer_init(&w);
    writer_u8(&w, 0x01);
    writer_u16(&w, 0x2345);
    writer_u32(&w, 0x6789abcd);
    writer_u64(&w, UINT64_C(0xeffedcba98765432));
    assert_int_equal(w.length, sizeof(numbers));
    assert_memory_equal(w.buf, numbers, sizeof(numbers));
    for (int i = 0; i < 300; i++)
        writer_str8(&w, "/rom@etc/acpi/tables");
    writer_bytes(&w, NULL, 0);
    assert_int_equal(w.error, 0);
    struct reader r;
    reader_init_memory(&r, w.buf, w.length);
    check_numbers(&r);
    for (int i = 0; i < 300; i++) {
        reader_str8(&r, text);
        assert_string_equal(text, "/rom@etc/acpi/tables");
    }
    assert_int_equal(reader_peek(&r), -1);
    writer_done(&w);
}

static void a_string_over_255_bytes_is_not_written(void **state)
{
    (void)state;
    char text[257];
    memset(text, 'n', sizeof(text));
    text[255] = '\0';
    struct writer w;
    writer_init(&w);
    writer_str8(&w, text);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.length, 256);
    text[255] = 'n';
    text[256] = '\0';
    writer_str8(&w, text);
    assert_int_equal(w.error, -ENAMETOOLONG);
    writer_u8(&w, 1);
    assert_int_equal(w.length, 256);
    writer_reset(&w);
    writer_u8(&w, 1);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.length, 1);
    writer_done(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(a_get_needs_all_its_bytes),
        cmocka_unit_test(a_failed_reader_stays_failed),
        cmocka_unit_test(a_string_keeps_to_its_length),
        cmocka_unit_test(the_longest_string_fits),
        cmocka_unit_test(looking_takes_nothing),
        cmocka_unit_test(reads_past_the_buffer_lose_nothing),
        cmocka_unit_test(a_long_read_cut_short_fails_where_it_began),
        cmocka_unit_test(what_the_source_failed_with_is_kept),
        cmocka_unit_test(a_source_that_gives_more_than_asked_is_refused),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(a_string_over_255_bytes_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
