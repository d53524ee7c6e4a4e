/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Digests of memory (ram-digest), and pages that did not arrive as they were sent.
 *
 * Pages change while they are sent, so a wrong digest may be a page that was written in between as
 * well as one that was damaged on its way. Either way the page is suspect until it comes again
 * intact: the target tells the source, which sends it once more.
 */
#ifndef LIB_MEMORY_SUSPECT_H
#define LIB_MEMORY_SUSPECT_H

#include "lib/memory/ram.h"

/* One digest stands for so many pages. Fewer make more digests, more make more pages suspect when
 * one is written meanwhile; XXH3 needs some KiB to reach its speed. */
#define RAM_RUN_PAGES 16u

static inline unsigned ram_runs(uint64_t pages)
{
    return (unsigned)((pages + RAM_RUN_PAGES - 1) / RAM_RUN_PAGES);
}

/* A digest for each run of [@offset_bytes, @pages pages further): ram_runs(@pages) of them. */
void ram_digests(const struct ram_block *block, uint64_t offset_bytes, uint64_t pages,
                 uint64_t *ret);

/* Nothing is suspect. -ENOMEM. */
int suspect_start(struct ram *ram, struct vmig_error *err);
/* The runs whose two digests differ are suspect now, the others are not any more. */
void suspect_compare(struct ram_block *block, uint64_t offset_bytes, uint64_t pages,
                     const uint64_t *sent, const uint64_t *arrived);
uint64_t suspect_pages(const struct ram *ram);
/* Source: all that is suspect is dirty, and nothing is suspect. */
void suspect_to_dirty(struct ram *ram);

/* At most @max (RAM_BLOCKS_MAX or more) ranges that hold all suspect pages: exactly these where that
 * is enough, otherwise with the narrowest gaps closed. Returns how many. */
struct suspect_range {
    unsigned block;
    uint64_t page, pages;
};
unsigned suspect_list(const struct ram *ram, struct suspect_range *ret, unsigned max);

#endif
