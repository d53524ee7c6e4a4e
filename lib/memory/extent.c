/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extents: what the sender takes next. Neighbouring dirty pages go out together, as far as they are
 * all zero or all not zero, so that one system call carries megabytes.
 *
 * A page is looked at just before it is sent: looking into a non-zero one touches a cache line of
 * it, reading a zero one is all the work it makes. The page where the kind changes stays dirty and
 * is looked at once more by the next call, then from the cache.
 */
#include "lib/memory/ram.h"
#include "lib/memory/zero.h"

static bool page_is_zero(const struct ram_block *block, uint64_t page)
{
    return zero_page((const char *)block->desc.vaddr + page * RAM_PAGE_SIZE);
}

/* The end of the extent of one kind that begins with dirty page @first. */
static uint64_t extent_end(const struct ram_block *block, uint64_t first, uint64_t max_pages,
                           bool zero)
{
    uint64_t limit = block->pages - first < max_pages ? block->pages : first + max_pages;
    uint64_t end = bitmap_next_clear(block->dirty, limit, first + 1), page = first + 1;

    while (page < end && page_is_zero(block, page) == zero)
        page++;
    return page;
}

bool ram_next_extent(struct ram *ram, struct ram_cursor *cursor, uint64_t max_bytes,
                     struct ram_extent *ret)
{
    uint64_t max_pages = max_bytes < RAM_PAGE_SIZE ? 1 : max_bytes / RAM_PAGE_SIZE;

    for (; cursor->block < ram->num_blocks; cursor->block++, cursor->page = 0) {
        struct ram_block *block = &ram->blocks[cursor->block];
        uint64_t first = bitmap_next_set(block->dirty, block->pages, cursor->page);

        if (first == block->pages)
            continue;
        bool zero = page_is_zero(block, first);
        uint64_t end = extent_end(block, first, max_pages, zero);

        bitmap_clear_range(block->dirty, first, end - first);
        cursor->page = end;
        *ret = (struct ram_extent) { .block = block,
                                     .offset_bytes = first * RAM_PAGE_SIZE,
                                     .length_bytes = (end - first) * RAM_PAGE_SIZE,
                                     .zero = zero };
        return true;
    }
    return false;
}
