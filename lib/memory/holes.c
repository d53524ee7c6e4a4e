/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Holes: memory that was never touched reads as zero, but reading it costs a page fault and, in
 * shared memory, allocates the page for ever. So holes are asked for:
 *  - shared memory with an fd: what is in this process's page table is there (PAGEMAP_SCAN, 1 GiB:
 *    3 ms), the rest is asked of the file, which goes from page to page (SEEK_DATA and SEEK_HOLE,
 *    1 GiB: 12 ms). Pages in swap are data, pages that were only reserved (fallocate) are holes. It
 *    moves the file offset of the borrowed fd, which means nothing for memory.
 *  - anonymous memory: PAGEMAP_SCAN, which skips empty page tables (64 GiB: 13 us); before Linux
 *    6.7 a word per page from /proc/self/pagemap (64 GiB: 56 ms).
 *  - anything else counts as populated.
 */
#include "lib/memory/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "lib/cleanup.h"
#include "lib/memory/ram.h"
#include "lib/memory/uapi.h"

/* More than 512 make the kernel report a walk_end that lies before regions it already returned. */
#define REGIONS 512

/* No offset in a block. */
#define ENOUGH UINT64_MAX

static uint64_t page_down(uint64_t bytes)
{
    return bytes & ~(uint64_t)(RAM_PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t bytes)
{
    return page_down(bytes + RAM_PAGE_SIZE - 1);
}

/* Visit the file's data that begins in [from, to), each run of it to its end but not beyond
 * @limit. Returns how far that came: at least @to, or UINT64_MAX when the visitor had enough. */
static uint64_t file_data(const struct vmig_ram_block *desc, uint64_t from, uint64_t to,
                          uint64_t limit, holes_visit *visit, void *opaque)
{
    uint64_t base = desc->fd_offset;

    while (from < to) {
        off_t data = lseek(desc->fd, (off_t)(base + from), SEEK_DATA);
        if (data < 0 && errno == ENXIO) /* nothing up to the file's end */
            return to;
        if (data >= 0 && (uint64_t)data >= base + to)
            return to;
        off_t hole = data < 0 ? -1 : lseek(desc->fd, data, SEEK_HOLE);
        if (hole < 0) /* it cannot tell */
            return visit(opaque, from, limit - from) ? limit : ENOUGH;
        uint64_t start = page_down((uint64_t)data - base), end = page_up((uint64_t)hole - base);

        if (start < from)
            start = from;
        if (end > limit)
            end = limit;
        if (start >= end)
            return to;
        if (!visit(opaque, start, end - start))
            return ENOUGH;
        from = end;
    }
    return from;
}

bool holes_file_data(const struct vmig_ram_block *desc, uint64_t from, uint64_t to,
                     holes_visit *visit, void *opaque)
{
    return file_data(desc, from, to, to, visit, opaque) != ENOUGH;
}

/* Visit the pages that match @scan's conditions. 0, -ECANCELED when the visitor had enough, or -errno:
 * with nothing visited where the kernel has no scan. */
static int scan_pages(int pagemap, const struct vmig_ram_block *desc, struct uapi_scan *scan,
                      holes_visit *visit, void *opaque)
{
    struct uapi_scan_region regions[REGIONS];
    uint64_t base = (uint64_t)(uintptr_t)desc->vaddr;

    scan->size = sizeof(*scan);
    scan->start = base;
    scan->end = base + desc->size_bytes;
    scan->regions = (uint64_t)(uintptr_t)regions;
    scan->regions_len = REGIONS;
    while (scan->start < scan->end) {
        int found = ioctl(pagemap, UAPI_PAGEMAP_SCAN, scan);
        if (found < 0 && errno == EINTR)
            continue;
        if (found < 0)
            return -errno;
        for (int i = 0; i < found; i++)
            if (!visit(opaque, regions[i].start - base, regions[i].end - regions[i].start))
                return -ECANCELED;
        if (scan->walk_end <= scan->start)
            return -EIO;
        scan->start = scan->walk_end;
    }
    return 0;
}

/* ---- shared memory with an fd ---- */

struct file_walk {
    const struct vmig_ram_block *desc;
    holes_visit *visit;
    void *opaque;
    uint64_t done; /* up to here everything was visited that had to be */
};

/* A region of this process's page table: what lies before it is asked of the file. A run of data
 * that goes on into the region is taken whole, so that the file walks over no page twice. */
static bool visit_present(void *opaque, uint64_t offset_bytes, uint64_t length_bytes)
{
    struct file_walk *walk = opaque;
    uint64_t end = offset_bytes + length_bytes;

    walk->done = file_data(walk->desc, walk->done, offset_bytes, walk->desc->size_bytes,
                           walk->visit, walk->opaque);
    if (walk->done < end)
        walk->done = walk->visit(walk->opaque, walk->done, end - walk->done) ? end : ENOUGH;
    return walk->done != ENOUGH;
}

static bool visit_file(const struct vmig_ram_block *desc, holes_visit *visit, void *opaque)
{
    CLEANUP_FD int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    struct file_walk walk = { .desc = desc, .visit = visit, .opaque = opaque };
    struct uapi_scan present = { .all = UAPI_PAGE_PRESENT, .return_mask = UAPI_PAGE_PRESENT };

    if (pagemap >= 0) /* where that fails the file is asked for all that is left */
        scan_pages(pagemap, desc, &present, visit_present, &walk);
    return walk.done != ENOUGH &&
           file_data(desc, walk.done, desc->size_bytes, desc->size_bytes, visit, opaque) != ENOUGH;
}

/* ---- anonymous memory ---- */

static int scan_anonymous(int pagemap, const struct vmig_ram_block *desc, holes_visit *visit,
                          void *opaque)
{
    struct uapi_scan scan = {
        .inverted = UAPI_PAGE_ZERO,
        .all = UAPI_PAGE_ZERO,
        .any = UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED,
        .return_mask = UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED,
    };

    return scan_pages(pagemap, desc, &scan, visit, opaque);
}

/* One word a page: bit 63 present, bit 62 in swap. As scan_pages(), but some may have been visited. */
static int read_anonymous(int pagemap, const struct vmig_ram_block *desc, holes_visit *visit,
                          void *opaque)
{
    uint64_t words[4096], page = 0, pages = desc->size_bytes / RAM_PAGE_SIZE;
    uint64_t base = (uint64_t)(uintptr_t)desc->vaddr / RAM_PAGE_SIZE, run = 0;

    if (sysconf(_SC_PAGESIZE) != RAM_PAGE_SIZE) /* then a word is about another page */
        return -EOPNOTSUPP;
    while (page < pages) {
        uint64_t want = pages - page < 4096 ? pages - page : 4096;
        ssize_t got = pread(pagemap, words, want * 8, (off_t)((base + page) * 8));
        if (got < 8)
            return got < 0 ? -errno : -EIO;
        for (uint64_t i = 0; i < (uint64_t)got / 8; i++, page++) {
            if (words[i] >> 62) {
                run++;
            } else if (run) {
                if (!visit(opaque, (page - run) * RAM_PAGE_SIZE, run * RAM_PAGE_SIZE))
                    return -ECANCELED;
                run = 0;
            }
        }
    }
    if (run && !visit(opaque, (pages - run) * RAM_PAGE_SIZE, run * RAM_PAGE_SIZE))
        return -ECANCELED;
    return 0;
}

static int visit_anonymous(const struct vmig_ram_block *desc, holes_visit *visit, void *opaque)
{
    CLEANUP_FD int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    if (pagemap < 0)
        return -errno;
    int ret = scan_anonymous(pagemap, desc, visit, opaque);
    return ret == 0 || ret == -ECANCELED ? ret : read_anonymous(pagemap, desc, visit, opaque);
}

bool holes_populated(const struct vmig_ram_block *desc, holes_visit *visit, void *opaque)
{
    int ret = -EOPNOTSUPP;

    switch (mapping_kind(desc)) {
    case MAPPING_FILE:
        return visit_file(desc, visit, opaque);
    case MAPPING_ANONYMOUS:
        ret = visit_anonymous(desc, visit, opaque);
        break;
    case MAPPING_OTHER:
        break;
    }
    if (ret == 0 || ret == -ECANCELED)
        return ret == 0;
    /* Visiting a part twice does no harm: all callers set bits. */
    return visit(opaque, 0, desc->size_bytes);
}
