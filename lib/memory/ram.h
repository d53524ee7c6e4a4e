/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest RAM as the engine sees it: named blocks of memory in this process, each with a bitmap of
 * pages that must still be sent, and what of it is a hole (never touched, reads as zero).
 */
#ifndef LIB_MEMORY_RAM_H
#define LIB_MEMORY_RAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate/migration.h>
#include "lib/memory/bitmap.h"

#define RAM_PAGE_SIZE 4096u
#define RAM_BLOCKS_MAX 64

struct ram_block {
    struct vmig_ram_block desc; /* name is a copy */
    uint64_t pages;
    uint64_t
        *dirty; /* one bit a page: must still be sent; only the RAM worker reads and writes it */
    uint64_t *touched; /* target: pages that hold something else than zero as far as we know */
    uint64_t *stale;   /* target: of these, what was there before and nothing came for yet */
    /* with ram-digest (suspect.h), or NULL; target: these did not arrive as sent; source: the target
     * says so, they are to be sent again */
    uint64_t *suspect;
};

struct ram {
    /* Whatever goes over all memory asks this now and then, and ends with its negative errno; NULL:
     * nobody can want that. */
    int (*may_go_on)(void *opaque, struct vmig_error *err);
    void *opaque;
    unsigned num_blocks;
    struct ram_block blocks[RAM_BLOCKS_MAX];
};

/* Where something stands that goes over all memory; starts zeroed. */
struct ram_cursor {
    unsigned block;
    uint64_t page;
};

struct ram *ram_new(void);
struct ram *ram_free(struct ram *ram); /* unmaps nothing, the host owns the memory */

/* Copy @desc. -EINVAL (page alignment, name empty or over 255 bytes or taken, IOVA range overlaps
 * another block's, more than RAM_BLOCKS_MAX). */
int ram_add(struct ram *ram, const struct vmig_ram_block *desc, struct vmig_error *err);
int ram_may_go_on(const struct ram *ram, struct vmig_error *err);
/* Undo the last ram_add(). */
void ram_drop_last(struct ram *ram);
uint64_t ram_size_bytes(const struct ram *ram);
uint64_t ram_dirty_pages(const struct ram *ram);
struct ram_block *ram_find(struct ram *ram, const char *name);

/* Source, at the start: mark every page that is not a hole dirty. Holes are found without reading
 * memory: SEEK_DATA on block fds, PAGEMAP_SCAN or mincore-like facts otherwise; where nothing can
 * tell, all pages are marked. */
int ram_mark_populated(struct ram *ram, struct vmig_error *err);

/* Target: is [offset, offset + length) of @block known to be zero still? Used to skip zero pages
 * without touching memory. */
bool ram_known_zero(const struct ram_block *block, uint64_t offset, uint64_t length);
/* Target, at the start: set touched from what is populated already (as ram_mark_populated). */
int ram_mark_touched(struct ram *ram, struct vmig_error *err);
/* Target, at the start: ram_mark_touched(), and all of that is stale. The source does not send its
 * holes, so what an earlier attempt left here must go: but not before the first round has come, which
 * replaces most of it, or all. */
int ram_begin_load(struct ram *ram, struct vmig_error *err);
/* Target: something comes for these pages. */
void ram_arrives(struct ram_block *block, uint64_t page, uint64_t pages);
/* Target: make the next stale pages at or after the cursor read as zero, and so known to be; 1 MiB at
 * most. False when there are none left. */
bool ram_clear_stale(struct ram *ram, struct ram_cursor *cursor);
/* Target: make [offset, offset + length) read as zero (skips known zero pages, clears others)
 * and note it. Memory is never discarded: devices may have it pinned. */
int ram_load_zero(struct ram_block *block, uint64_t offset, uint64_t length,
                  struct vmig_error *err);

/* An extent of consecutive pages of one kind. */
struct ram_extent {
    struct ram_block *block;
    uint64_t offset_bytes, length_bytes;
    bool zero;
};
/* Take the next dirty extent at or after the cursor out of the bitmaps: finds dirty pages, clears
 * their bits, and tells zero pages from others by reading them (early exit at the first non-zero
 * word; 256-bit wide where the CPU can). At most @max_bytes. False when nothing is left in
 * [cursor, end of the last block). */
bool ram_next_extent(struct ram *ram, struct ram_cursor *cursor, uint64_t max_bytes,
                     struct ram_extent *ret);

#endif
