/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges, counts and searches in bitmaps of pages. Everything works on whole words; the first and
 * the last word of a range are masked.
 */
#include "lib/memory/bitmap.h"

/* Ones from @bit upwards; from 0 up to and without @bit (1 to 64). */
static uint64_t mask_from(uint64_t bit)
{
    return ~UINT64_C(0) << (bit % 64);
}

static uint64_t mask_below(uint64_t bit)
{
    return bit % 64 ? ~mask_from(bit) : ~UINT64_C(0);
}

/* Call @apply for every word that [@first, @first + @count) reaches, with the range's part of it.
 */
static inline void for_each_word(uint64_t *map, uint64_t first, uint64_t count,
                                 void (*apply)(uint64_t *word, uint64_t mask))
{
    if (!count)
        return;
    uint64_t end = first + count, word = first / 64, last = (end - 1) / 64;
    uint64_t mask = mask_from(first);

    for (; word < last; word++, mask = ~UINT64_C(0))
        apply(&map[word], mask);
    apply(&map[last], mask & mask_below(end));
}

static void set_word(uint64_t *word, uint64_t mask)
{
    *word |= mask;
}

static void clear_word(uint64_t *word, uint64_t mask)
{
    *word &= ~mask;
}

void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t count)
{
    for_each_word(map, first, count, set_word);
}

void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t count)
{
    for_each_word(map, first, count, clear_word);
}

uint64_t bitmap_count(const uint64_t *map, uint64_t bits)
{
    uint64_t count = 0;

    for (uint64_t word = 0; word < bits / 64; word++)
        count += (unsigned)__builtin_popcountll(map[word]);
    if (bits % 64)
        count += (unsigned)__builtin_popcountll(map[bits / 64] & mask_below(bits));
    return count;
}

/* First bit at or after @from that differs from all bits of @flip; bits past the end do not count.
 */
static uint64_t next_bit(const uint64_t *map, uint64_t bits, uint64_t from, uint64_t flip)
{
    if (from >= bits)
        return bits;
    uint64_t words = bitmap_words(bits), word = from / 64;
    uint64_t found = (map[word] ^ flip) & mask_from(from);

    while (!found) {
        if (++word == words)
            return bits;
        found = map[word] ^ flip;
    }
    uint64_t bit = word * 64 + (unsigned)__builtin_ctzll(found);
    return bit < bits ? bit : bits;
}

uint64_t bitmap_next_set(const uint64_t *map, uint64_t bits, uint64_t from)
{
    return next_bit(map, bits, from, 0);
}

uint64_t bitmap_next_clear(const uint64_t *map, uint64_t bits, uint64_t from)
{
    return next_bit(map, bits, from, ~UINT64_C(0));
}
