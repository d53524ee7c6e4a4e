/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/memory/region.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

struct region region_new(enum region_kind kind, uint64_t pages)
{
    struct region region = { .fd = -1, .bytes = pages * RAM_PAGE_SIZE };
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

    if (kind != REGION_ANONYMOUS) {
        region.fd = memfd_create("test-ram", MFD_CLOEXEC);
        assert_true(region.fd >= 0);
        assert_int_equal(ftruncate(region.fd, (off_t)region.bytes), 0);
        flags = MAP_SHARED | MAP_NORESERVE;
    }
    region.memory = mmap(NULL, region.bytes, PROT_READ | PROT_WRITE, flags, region.fd, 0);
    assert_ptr_not_equal(region.memory, MAP_FAILED);
    region.ram = ram_new();
    assert_non_null(region.ram);
    struct vmig_ram_block desc = { .name = "ram",
                                   .iova = 0,
                                   .size_bytes = region.bytes,
                                   .vaddr = region.memory,
                                   .fd = kind == REGION_MEMFD ? region.fd : -1 };
    ok(ram_add(region.ram, &desc, &err));
    region.block = &region.ram->blocks[0];
    return region;
}

void region_free(struct region *region)
{
    munmap(region->memory, region->bytes);
    if (region->fd >= 0)
        close(region->fd);
    region->ram = ram_free(region->ram);
}

void region_write(struct region *region, uint64_t page)
{
    volatile uint8_t *at = region->memory + page * RAM_PAGE_SIZE + page % RAM_PAGE_SIZE;

    *at = (uint8_t)(*at + 1);
}

/* Shared: the file's blocks. Anonymous: present pages, from the word a page of the pagemap. */
uint64_t region_populated(const struct region *region)
{
    struct stat st;

    if (region->fd >= 0) {
        assert_int_equal(fstat(region->fd, &st), 0);
        return (uint64_t)st.st_blocks * 512 / RAM_PAGE_SIZE;
    }
    uint64_t count = 0, first = (uint64_t)(uintptr_t)region->memory / RAM_PAGE_SIZE;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    for (uint64_t page = 0; page < region->bytes / RAM_PAGE_SIZE; page++) {
        uint64_t word;
        assert_int_equal(pread(fd, &word, 8, (off_t)((first + page) * 8)), 8);
        count += word >> 63;
    }
    close(fd);
    return count;
}

void assert_dirty_(struct region *region, const int64_t *pages, const char *file, int line)
{
    struct ram_block *block = region->block;
    uint64_t next = 0;

    for (;; pages++) {
        uint64_t expected = *pages < 0 ? block->pages : (uint64_t)*pages;
        uint64_t found = bitmap_next_set(block->dirty, block->pages, next);
        if (found != expected) {
            print_error("after page %llu: dirty page %llu, expected %llu (%llu is none)\n",
                        (unsigned long long)next, (unsigned long long)found,
                        (unsigned long long)expected, (unsigned long long)block->pages);
            _fail(file, line);
        }
        if (*pages < 0)
            break;
        next = found + 1;
    }
    memset(block->dirty, 0, bitmap_words(block->pages) * 8);
}

struct tracker *tracker_on(struct region *region, enum tracker_cpu_kind kind)
{
    struct tracker *tracker;
    struct vmig_error why = { 0 };
    int ret = tracker_cpu_new(kind, &tracker, &why);

    if (ret == -ENOSYS || ret == -EPERM || ret == -EOPNOTSUPP) {
        print_message("this kernel cannot: %s\n", why.text);
        skip();
    }
    assert_int_equal(ret, 0);
    ok(tracker->ops->start(tracker, region->ram, &err));
    return tracker;
}

void tracker_sync(struct tracker *tracker, struct region *region)
{
    ok(tracker->ops->sync(tracker, region->ram, &err));
}

void tracker_end(struct tracker *tracker)
{
    tracker->ops->stop(tracker);
    tracker->ops->free(tracker);
}
