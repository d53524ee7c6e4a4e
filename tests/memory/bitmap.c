/* SPDX-License-Identifier: BSD-3-Clause */
/* Bitmaps of pages, compared with arrays of bool at every edge of the words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "lib/memory/bitmap.h"

#include <stdbool.h>
#include <string.h>

/* Around the word boundaries. */
static const uint64_t edges[] = { 0, 1, 2, 31, 62, 63, 64, 65, 66, 127, 128, 129, 191, 192, 193 };
#define NUM_EDGES (sizeof(edges) / sizeof(edges[0]))
#define BITS 256

static void assert_equals(const uint64_t *map, const bool *expected)
{
    for (uint64_t bit = 0; bit < BITS; bit++)
        assert_int_equal(bitmap_test(map, bit), expected[bit]);
}

static void a_range_sets_its_bits_and_no_other(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NUM_EDGES; i++)
        for (unsigned j = 0; j < NUM_EDGES && edges[i] + edges[j] <= BITS; j++) {
            uint64_t map[BITS / 64] = { 0 };
            bool expected[BITS] = { false };

            memset(expected + edges[i], true, edges[j]);
            bitmap_set_range(map, edges[i], edges[j]);
            assert_equals(map, expected);
        }
}

static void a_range_clears_its_bits_and_no_other(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NUM_EDGES; i++)
        for (unsigned j = 0; j < NUM_EDGES && edges[i] + edges[j] <= BITS; j++) {
            uint64_t map[BITS / 64];
            bool expected[BITS];

            memset(map, 0xff, sizeof(map));
            memset(expected, true, sizeof(expected));
            memset(expected + edges[i], false, edges[j]);
            bitmap_clear_range(map, edges[i], edges[j]);
            assert_equals(map, expected);
        }
}

static void the_count_stops_at_the_last_bit(void **state)
{
    uint64_t map[BITS / 64];

    (void)state;
    memset(map, 0xff, sizeof(map));
    for (unsigned i = 0; i < NUM_EDGES; i++)
        assert_int_equal(bitmap_count(map, edges[i]), edges[i]);
    bitmap_clear(map, 64);
    assert_int_equal(bitmap_count(map, 64), 64);
    assert_int_equal(bitmap_count(map, 65), 64);
    assert_int_equal(bitmap_count(map, 66), 65);
}

static void the_next_set_bit_is_found_from_every_bit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NUM_EDGES; i++) {
        uint64_t map[BITS / 64] = { 0 };

        bitmap_set(map, edges[i]);
        for (uint64_t from = 0; from < BITS; from++)
            assert_int_equal(bitmap_next_set(map, BITS, from), from <= edges[i] ? edges[i] : BITS);
    }
}

static void the_next_clear_bit_is_found_from_every_bit(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NUM_EDGES; i++) {
        uint64_t map[BITS / 64];

        memset(map, 0xff, sizeof(map));
        bitmap_clear(map, edges[i]);
        for (uint64_t from = 0; from < BITS; from++)
            assert_int_equal(bitmap_next_clear(map, BITS, from),
                             from <= edges[i] ? edges[i] : BITS);
    }
}

static void bits_past_the_end_are_not_found(void **state)
{
    uint64_t ones[BITS / 64], zeros[BITS / 64] = { 0 };

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    for (unsigned i = 0; i < NUM_EDGES; i++) {
        assert_int_equal(bitmap_next_clear(ones, edges[i], 0), edges[i]);
        assert_int_equal(bitmap_next_set(zeros, edges[i], 0), edges[i]);
        assert_int_equal(bitmap_next_set(ones, edges[i], edges[i]), edges[i]);
        assert_int_equal(bitmap_next_set(ones, edges[i], edges[i] + 1), edges[i]);
        bitmap_clear(ones, edges[i]);
        assert_int_equal(bitmap_next_clear(ones, edges[i], 0), edges[i]);
        bitmap_set(ones, edges[i]);
    }
}

static void the_words_hold_all_bits(void **state)
{
    (void)state;
    assert_int_equal(bitmap_words(0), 0);
    assert_int_equal(bitmap_words(1), 1);
    assert_int_equal(bitmap_words(63), 1);
    assert_int_equal(bitmap_words(64), 1);
    assert_int_equal(bitmap_words(65), 2);
    assert_int_equal(bitmap_words(UINT64_MAX), UINT64_C(1) << 58);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_sets_its_bits_and_no_other),
        cmocka_unit_test(a_range_clears_its_bits_and_no_other),
        cmocka_unit_test(the_count_stops_at_the_last_bit),
        cmocka_unit_test(the_next_set_bit_is_found_from_every_bit),
        cmocka_unit_test(the_next_clear_bit_is_found_from_every_bit),
        cmocka_unit_test(bits_past_the_end_are_not_found),
        cmocka_unit_test(the_words_hold_all_bits),
    };
    return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
