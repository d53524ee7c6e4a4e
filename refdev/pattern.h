/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The patterns that the reference device writes, for everybody who wants to check them. A page's
 * contents follow from (seed, kind of page, index, times written), so a page that is one write old
 * differs from the right one in every 64-bit lane.
 */
#ifndef REFDEV_PATTERN_H
#define REFDEV_PATTERN_H

#include "refdev/model/types.h"
#include "refdev/registers.h"

#define REFDEV_PATTERN_LANES (REFDEV_PAGE_BYTES / 8)

enum refdev_pattern_kind {
    REFDEV_PATTERN_SLOT = 1,
    REFDEV_PATTERN_LOCAL = 2,
    REFDEV_PATTERN_PEER = 3,
    REFDEV_PATTERN_FILL = 4,
    REFDEV_PATTERN_THREAD = 5, /* not the device: pages that a host's threads write */
};

static inline uint64_t refdev_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    return x ^ x >> 32;
}

static inline uint64_t refdev_pattern_key(uint64_t seed, enum refdev_pattern_kind kind,
                                          uint64_t index, uint64_t times_written)
{
    return refdev_mix(refdev_mix(refdev_mix(seed + (uint64_t)kind) + index) + times_written);
}

static inline uint64_t refdev_pattern_lane(uint64_t key, uint64_t lane)
{
    uint64_t x = key + lane * 0x9e3779b97f4a7c15ull;
    return x ^ x >> 29;
}

static inline void refdev_pattern_fill(uint64_t *page, uint64_t key)
{
    for (uint64_t lane = 0; lane < REFDEV_PATTERN_LANES; lane++)
        page[lane] = refdev_pattern_lane(key, lane);
}

static inline bool refdev_pattern_matches(const uint64_t *page, uint64_t key)
{
    uint64_t wrong = 0;
    for (uint64_t lane = 0; lane < REFDEV_PATTERN_LANES; lane++)
        wrong |= page[lane] ^ refdev_pattern_lane(key, lane);
    return wrong == 0;
}

/* The page that is written at position @turn of a round over @count pages: the even ones first, so
 * that neighbours are dirty at different times. */
static inline uint64_t refdev_turn(uint64_t turn, uint64_t count)
{
    uint64_t even = (count + 1) / 2;
    return turn < even ? 2 * turn : 2 * (turn - even) + 1;
}

/* How often page @index was written after @steps steps over @count pages (@count > @index). */
static inline uint64_t refdev_times_written(uint64_t index, uint64_t steps, uint64_t count)
{
    uint64_t turn = index % 2 ? (count + 1) / 2 + index / 2 : index / 2;
    return steps / count + (turn < steps % count);
}

#endif
