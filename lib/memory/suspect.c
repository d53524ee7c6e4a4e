/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/error.h"
#include "lib/memory/suspect.h"

void ram_digests(const struct ram_block *block, uint64_t offset_bytes, uint64_t pages,
                 uint64_t *ret)
{
    const char *at = (const char *)block->desc.vaddr + offset_bytes;
    for (; pages; ret++) {
        uint64_t run = pages < RAM_RUN_PAGES ? pages : RAM_RUN_PAGES;
        *ret = digest_of(at, run * RAM_PAGE_SIZE);
        at += run * RAM_PAGE_SIZE;
        pages -= run;
    }
}

int suspect_start(struct ram *ram, struct vmig_error *err)
{
    for (unsigned i = 0; i < ram->num_blocks; i++) {
        struct ram_block *b = &ram->blocks[i];
        if (!b->suspect)
            b->suspect = bitmap_new(b->pages);
        if (!b->suspect)
            return error_set(err, ENOMEM, VMIG_STAGE_SETUP, "ram", NULL,
                             "RAM block \"%.64s\": no memory for its bitmap", b->desc.name);
        bitmap_clear_range(b->suspect, 0, b->pages);
    }
    return 0;
}

void suspect_compare(struct ram_block *block, uint64_t offset_bytes, uint64_t pages,
                     const uint64_t *sent, const uint64_t *arrived)
{
    uint64_t page = offset_bytes / RAM_PAGE_SIZE;
    for (; pages; sent++, arrived++) {
        uint64_t run = pages < RAM_RUN_PAGES ? pages : RAM_RUN_PAGES;
        if (*sent == *arrived)
            bitmap_clear_range(block->suspect, page, run);
        else
            bitmap_set_range(block->suspect, page, run);
        page += run;
        pages -= run;
    }
}

uint64_t suspect_pages(const struct ram *ram)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < ram->num_blocks; i++)
        if (ram->blocks[i].suspect)
            count += bitmap_count(ram->blocks[i].suspect, ram->blocks[i].pages);
    return count;
}

void suspect_to_dirty(struct ram *ram)
{
    for (unsigned i = 0; i < ram->num_blocks; i++) {
        struct ram_block *b = &ram->blocks[i];
        for (uint64_t word = 0; b->suspect && word < bitmap_words(b->pages); word++) {
            b->dirty[word] |= b->suspect[word];
            b->suspect[word] = 0;
        }
    }
}

/* The ranges of one block when gaps of up to @gap pages are closed. Goes on counting beyond @max. */
static unsigned list_block(const struct ram *ram, unsigned block, uint64_t gap,
                           struct suspect_range *ret, unsigned max, unsigned n)
{
    const struct ram_block *b = &ram->blocks[block];
    uint64_t end = 0;
    bool open = false;
    for (uint64_t page = 0; b->suspect; page = end) {
        page = bitmap_next_set(b->suspect, b->pages, page);
        if (page == b->pages)
            break;
        bool joins = open && page - end <= gap;
        end = bitmap_next_clear(b->suspect, b->pages, page);
        if (!joins)
            n++;
        if (n > max)
            break;
        if (!joins)
            ret[n - 1] = (struct suspect_range) { .block = block, .page = page };
        ret[n - 1].pages = end - ret[n - 1].page;
        open = true;
    }
    return n;
}

unsigned suspect_list(const struct ram *ram, struct suspect_range *ret, unsigned max)
{
    for (uint64_t gap = 0;; gap = gap ? 2 * gap : 1) {
        unsigned n = 0;
        for (unsigned i = 0; n <= max && i < ram->num_blocks; i++)
            n = list_block(ram, i, gap, ret, max, n);
        if (n <= max)
            return n;
    }
}
