/* SPDX-License-Identifier: BSD-3-Clause */
/* Bitmaps of pages: u64 words in host order, bit n of the map is bit n % 64 of word n / 64. */
#ifndef LIB_MEMORY_BITMAP_H
#define LIB_MEMORY_BITMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static inline uint64_t bitmap_words(uint64_t bits)
{
    return bits / 64 + (bits % 64 != 0);
}

/* Zeroed; NULL when out of memory. */
static inline uint64_t *bitmap_new(uint64_t bits)
{
    return calloc(bitmap_words(bits) ? bitmap_words(bits) : 1, sizeof(uint64_t));
}

static inline bool bitmap_test(const uint64_t *map, uint64_t bit)
{
    return map[bit / 64] >> (bit % 64) & 1;
}

static inline void bitmap_set(uint64_t *map, uint64_t bit)
{
    map[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void bitmap_clear(uint64_t *map, uint64_t bit)
{
    map[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

/* Ranges [first, first + count). */
void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t count);
void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t count);
uint64_t bitmap_count(const uint64_t *map, uint64_t bits);
/* First set (clear) bit at or after @from, @bits when there is none. */
uint64_t bitmap_next_set(const uint64_t *map, uint64_t bits, uint64_t from);
uint64_t bitmap_next_clear(const uint64_t *map, uint64_t bits, uint64_t from);

#endif
