/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From RAM blocks to few ranges. Devices take a limited number, and fewer are lighter on the
 * hardware; a range that covers a gap logs more than needed, never less.
 */
#include "lib/memory/ranges.h"

#include <stdlib.h>
#include <string.h>

static int by_iova(const void *left, const void *right)
{
    const struct vmig_dma_range *l = left, *r = right;

    return l->iova < r->iova ? -1 : l->iova > r->iova;
}

/* What lies between range @i and the next one. */
static uint64_t gap_after(const struct vmig_dma_range *ranges, unsigned i)
{
    return ranges[i + 1].iova - (ranges[i].iova + ranges[i].size_bytes);
}

static unsigned smallest_gap(const struct vmig_dma_range *ranges, unsigned count)
{
    unsigned best = 0;

    for (unsigned i = 1; i + 1 < count; i++)
        if (gap_after(ranges, i) < gap_after(ranges, best))
            best = i;
    return best;
}

static void merge_with_next(struct vmig_dma_range *ranges, unsigned i, unsigned count)
{
    ranges[i].size_bytes = ranges[i + 1].iova + ranges[i + 1].size_bytes - ranges[i].iova;
    memmove(&ranges[i + 1], &ranges[i + 2], (count - i - 2) * sizeof(ranges[0]));
}

unsigned ranges_of_ram(const struct ram *ram, unsigned max,
                       struct vmig_dma_range ret[RAM_BLOCKS_MAX])
{
    unsigned count = ram->num_blocks;

    for (unsigned i = 0; i < count; i++)
        ret[i] = (struct vmig_dma_range) { .iova = ram->blocks[i].desc.iova,
                                           .size_bytes = ram->blocks[i].desc.size_bytes };
    if (!count)
        return 0;
    qsort(ret, count, sizeof(ret[0]), by_iova);
    while (count > 1) {
        unsigned i = smallest_gap(ret, count);
        if (count <= max && gap_after(ret, i))
            break;
        merge_with_next(ret, i, count--);
    }
    return count;
}
