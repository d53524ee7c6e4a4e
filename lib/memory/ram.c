/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of RAM blocks: what may be added, what is populated, and what a target knows to be zero.
 * The memory itself belongs to the host; here are only its description and the bitmaps.
 */
#include "lib/memory/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/memory/holes.h"
#include "lib/memory/zero.h"

/* Cleared at a time: 30 to 100 us. */
#define CLEAR_PAGES 256
/* Between two questions whether to go on. */
#define VISITS_UNASKED 256

#define NAME_BYTES_MAX 255 /* the stream has one byte for its length */

struct ram *ram_new(void)
{
    return calloc(1, sizeof(struct ram));
}

struct ram *ram_free(struct ram *ram)
{
    if (!ram)
        return NULL;
    while (ram->num_blocks)
        ram_drop_last(ram);
    free(ram);
    return NULL;
}

void ram_drop_last(struct ram *ram)
{
    struct ram_block *block = &ram->blocks[--ram->num_blocks];

    free((char *)block->desc.name);
    free(block->dirty);
    free(block->touched);
    free(block->stale);
    free(block->suspect);
    *block = (struct ram_block) { 0 };
}

static int refuse(struct vmig_error *err, const char *name, const char *why)
{
    return error_set(err, EINVAL, VMIG_STAGE_PREPARE, NULL, NULL, "RAM block \"%.64s\": %s",
                     name ? name : "", why);
}

static int check_shape(const struct vmig_ram_block *desc, struct vmig_error *err)
{
    uint64_t vaddr = (uint64_t)(uintptr_t)desc->vaddr, end;

    if (!desc->name || !desc->name[0])
        return refuse(err, desc->name, "it has no name; give it 1 to 255 bytes");
    if (strlen(desc->name) > NAME_BYTES_MAX)
        return refuse(err, desc->name, "its name is longer than 255 bytes");
    if (!desc->size_bytes || desc->size_bytes % RAM_PAGE_SIZE)
        return refuse(err, desc->name, "its size must be a multiple of 4,096 bytes and not 0");
    if (!vaddr || vaddr % RAM_PAGE_SIZE)
        return refuse(err, desc->name, "its address in this process is not aligned to 4,096 bytes");
    if (desc->iova % RAM_PAGE_SIZE)
        return refuse(err, desc->name, "its IOVA is not aligned to 4,096 bytes");
    if (desc->fd >= 0 && desc->fd_offset % RAM_PAGE_SIZE)
        return refuse(err, desc->name, "its file offset is not aligned to 4,096 bytes");
    if (__builtin_add_overflow(vaddr, desc->size_bytes, &end) ||
        __builtin_add_overflow(desc->iova, desc->size_bytes, &end))
        return refuse(err, desc->name, "it reaches beyond the end of the address space");
    return 0;
}

static int check_neighbours(const struct ram *ram, const struct vmig_ram_block *desc,
                            struct vmig_error *err)
{
    for (unsigned i = 0; i < ram->num_blocks; i++) {
        const struct vmig_ram_block *other = &ram->blocks[i].desc;

        if (!strcmp(other->name, desc->name))
            return refuse(err, desc->name, "another block has this name already");
        if (desc->iova < other->iova + other->size_bytes &&
            other->iova < desc->iova + desc->size_bytes)
            return error_set(err, EINVAL, VMIG_STAGE_PREPARE, NULL, NULL,
                             "RAM block \"%.64s\": its IOVA range 0x%" PRIx64 " +0x%" PRIx64
                             " overlaps block \"%.64s\" at 0x%" PRIx64 " +0x%" PRIx64,
                             desc->name, desc->iova, desc->size_bytes, other->name, other->iova,
                             other->size_bytes);
    }
    return 0;
}

int ram_add(struct ram *ram, const struct vmig_ram_block *desc, struct vmig_error *err)
{
    int ret = check_shape(desc, err);

    if (!ret)
        ret = check_neighbours(ram, desc, err);
    if (ret < 0)
        return ret;
    if (ram->num_blocks == RAM_BLOCKS_MAX)
        return refuse(err, desc->name, "there are 64 blocks already, more are not supported");

    CLEANUP_FREE char *name = strdup(desc->name);
    CLEANUP_FREE uint64_t *dirty = bitmap_new(desc->size_bytes / RAM_PAGE_SIZE);
    if (!name || !dirty)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, NULL, NULL,
                         "RAM block \"%.64s\": no memory for its bitmap", desc->name);
    struct ram_block *block = &ram->blocks[ram->num_blocks++];
    block->desc = *desc;
    block->desc.name = take_ptr(name);
    block->pages = desc->size_bytes / RAM_PAGE_SIZE;
    block->dirty = take_ptr(dirty);
    return 0;
}

uint64_t ram_size_bytes(const struct ram *ram)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < ram->num_blocks; i++)
        size += ram->blocks[i].desc.size_bytes;
    return size;
}

uint64_t ram_dirty_pages(const struct ram *ram)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < ram->num_blocks; i++)
        count += bitmap_count(ram->blocks[i].dirty, ram->blocks[i].pages);
    return count;
}

struct ram_block *ram_find(struct ram *ram, const char *name)
{
    for (unsigned i = 0; i < ram->num_blocks; i++)
        if (!strcmp(ram->blocks[i].desc.name, name))
            return &ram->blocks[i];
    return NULL;
}

int ram_may_go_on(const struct ram *ram, struct vmig_error *err)
{
    return ram->may_go_on ? ram->may_go_on(ram->opaque, err) : 0;
}

struct marking {
    const struct ram *ram;
    uint64_t *bitmap;
    unsigned visits;
    int rc;
    struct vmig_error *err;
};

/* holes_visit. Asking takes as long as a few visits. */
static bool set_pages(void *opaque, uint64_t offset_bytes, uint64_t length_bytes)
{
    struct marking *marking = opaque;

    bitmap_set_range(marking->bitmap, offset_bytes / RAM_PAGE_SIZE, length_bytes / RAM_PAGE_SIZE);
    if (marking->visits++ % VISITS_UNASKED == 0)
        marking->rc = ram_may_go_on(marking->ram, marking->err);
    return marking->rc == 0;
}

static int mark_block(const struct ram *ram, const struct ram_block *block, uint64_t *bitmap,
                      struct vmig_error *err)
{
    struct marking marking = { .ram = ram, .bitmap = bitmap, .err = err };

    marking.rc = ram_may_go_on(ram, err);
    if (!marking.rc)
        holes_populated(&block->desc, set_pages, &marking);
    return marking.rc;
}

int ram_mark_populated(struct ram *ram, struct vmig_error *err)
{
    int ret = 0;

    for (unsigned i = 0; !ret && i < ram->num_blocks; i++)
        ret = mark_block(ram, &ram->blocks[i], ram->blocks[i].dirty, err);
    return ret;
}

static int no_bitmap(const struct ram_block *block, struct vmig_error *err)
{
    return error_set(err, ENOMEM, VMIG_STAGE_SETUP, NULL, NULL,
                     "RAM block \"%.64s\": no memory for its bitmap", block->desc.name);
}

int ram_mark_touched(struct ram *ram, struct vmig_error *err)
{
    for (unsigned i = 0; i < ram->num_blocks; i++) {
        struct ram_block *block = &ram->blocks[i];

        if (!block->touched)
            block->touched = bitmap_new(block->pages);
        if (!block->touched)
            return no_bitmap(block, err);
        int ret = mark_block(ram, block, block->touched, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* Whole pages inside the block? Offsets come from the peer. */
static bool is_inside(const struct ram_block *block, uint64_t offset, uint64_t length)
{
    return offset % RAM_PAGE_SIZE == 0 && length % RAM_PAGE_SIZE == 0 &&
           offset <= block->desc.size_bytes && length <= block->desc.size_bytes - offset;
}

bool ram_known_zero(const struct ram_block *block, uint64_t offset, uint64_t length)
{
    if (!block->touched || !is_inside(block, offset, length))
        return false;
    uint64_t end = (offset + length) / RAM_PAGE_SIZE;
    return bitmap_next_set(block->touched, end, offset / RAM_PAGE_SIZE) == end;
}

/* Cleared by hand, not by punching holes: a device may have these pages pinned, and would go on
 * with the old ones. Pages that are zero already are left alone, that is twice as fast. */
static void clear_pages(struct ram_block *block, uint64_t page, uint64_t end)
{
    for (; page < end; page++) {
        char *at = (char *)block->desc.vaddr + page * RAM_PAGE_SIZE;

        if (!zero_page(at))
            memset(at, 0, RAM_PAGE_SIZE);
    }
}

int ram_load_zero(struct ram_block *block, uint64_t offset, uint64_t length, struct vmig_error *err)
{
    if (!is_inside(block, offset, length))
        return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL,
                         "RAM block \"%.64s\": zeros at 0x%" PRIx64 " +0x%" PRIx64
                         " are no whole pages inside its 0x%" PRIx64 " bytes",
                         block->desc.name, offset, length, block->desc.size_bytes);
    uint64_t page = offset / RAM_PAGE_SIZE, end = page + length / RAM_PAGE_SIZE;

    if (block->stale)
        bitmap_clear_range(block->stale, page, end - page);
    if (!block->touched) { /* nothing is known about what is there */
        clear_pages(block, page, end);
        return 0;
    }
    for (;;) {
        page = bitmap_next_set(block->touched, end, page);
        if (page == end)
            return 0;
        uint64_t stop = bitmap_next_clear(block->touched, end, page);
        clear_pages(block, page, stop);
        bitmap_clear_range(block->touched, page, stop - page);
        page = stop;
    }
}

int ram_begin_load(struct ram *ram, struct vmig_error *err)
{
    int ret = ram_mark_touched(ram, err);

    for (unsigned i = 0; !ret && i < ram->num_blocks; i++) {
        struct ram_block *block = &ram->blocks[i];

        if (!block->stale)
            block->stale = bitmap_new(block->pages);
        if (!block->stale)
            return no_bitmap(block, err);
        memcpy(block->stale, block->touched, bitmap_words(block->pages) * sizeof(uint64_t));
    }
    return ret;
}

void ram_arrives(struct ram_block *block, uint64_t page, uint64_t pages)
{
    bitmap_set_range(block->touched, page, pages);
    if (block->stale)
        bitmap_clear_range(block->stale, page, pages);
}

bool ram_clear_stale(struct ram *ram, struct ram_cursor *cursor)
{
    for (; cursor->block < ram->num_blocks; cursor->block++, cursor->page = 0) {
        struct ram_block *block = &ram->blocks[cursor->block];
        uint64_t page =
            block->stale ? bitmap_next_set(block->stale, block->pages, cursor->page) : block->pages;

        if (page == block->pages)
            continue;
        uint64_t limit = block->pages - page < CLEAR_PAGES ? block->pages : page + CLEAR_PAGES;
        cursor->page = bitmap_next_clear(block->stale, limit, page);
        clear_pages(block, page, cursor->page);
        bitmap_clear_range(block->touched, page, cursor->page - page);
        bitmap_clear_range(block->stale, page, cursor->page - page);
        return true;
    }
    return false;
}
