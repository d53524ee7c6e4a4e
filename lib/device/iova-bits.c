/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/device/iova-bits.h"

#include <stdbool.h>
#include "lib/memory/bitmap.h"

uint64_t iova_bits_count(const struct iova_bits *bits)
{
    return bits->size_bytes / bits->pgsize + (bits->size_bytes % bits->pgsize != 0);
}

/* Last bytes rather than ends: a range may reach up to the end of the address space. */
static uint64_t last_of(const struct iova_bits *bits)
{
    return bits->iova + bits->size_bytes - 1;
}

/* The part of [*first, *last] inside of @bits; false: none. */
static bool clip(const struct iova_bits *bits, uint64_t *first, uint64_t *last)
{
    if (*first < bits->iova)
        *first = bits->iova;
    if (*last > last_of(bits))
        *last = last_of(bits);
    return *first <= *last;
}

static void set_bytes(struct iova_bits *to, uint64_t first, uint64_t last)
{
    if (!clip(to, &first, &last))
        return;
    uint64_t page = (first - to->iova) / to->pgsize;
    bitmap_set_range(to->words, page, (last - to->iova) / to->pgsize - page + 1);
}

void iova_bits_or(struct iova_bits *to, const struct iova_bits *from)
{
    uint64_t count = iova_bits_count(from), page = 0;
    if (to->iova == from->iova && to->size_bytes == from->size_bytes &&
        to->pgsize == from->pgsize) {
        for (uint64_t i = 0; i < bitmap_words(count); i++)
            to->words[i] |= from->words[i];
        return;
    }
    while ((page = bitmap_next_set(from->words, count, page)) < count) {
        uint64_t end = bitmap_next_clear(from->words, count, page);
        uint64_t first = from->iova + page * from->pgsize;
        uint64_t last = end == count ? last_of(from) : from->iova + end * from->pgsize - 1;
        set_bytes(to, first, last);
        page = end;
    }
}

void iova_bits_clear(struct iova_bits *from, const struct iova_bits *inside)
{
    uint64_t first = inside->iova, last = last_of(inside);
    if (!clip(from, &first, &last))
        return;
    uint64_t page = (first - from->iova) / from->pgsize;
    bitmap_clear_range(from->words, page, (last - from->iova) / from->pgsize - page + 1);
}
