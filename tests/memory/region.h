/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory tests' vocabulary: one RAM block of a kind, and what is dirty in it. */
#ifndef TESTS_MEMORY_REGION_H
#define TESTS_MEMORY_REGION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "lib/memory/tracker.h"

enum region_kind {
    REGION_ANONYMOUS,
    REGION_MEMFD,
    REGION_SHARED, /* shared, but the block does not name the fd */
};

struct region {
    struct ram *ram;
    struct ram_block *block;
    uint8_t *memory;
    int fd;
    uint64_t bytes;
};

/* A block "ram" of @pages untouched pages. */
struct region region_new(enum region_kind kind, uint64_t pages);
void region_free(struct region *region);

/* Change page @page. */
void region_write(struct region *region, uint64_t page);
/* Pages the kernel has allocated for the block. */
uint64_t region_populated(const struct region *region);

/* The dirty bitmap is exactly these pages (ends with -1), then it is cleared. */
void assert_dirty_(struct region *region, const int64_t *pages, const char *file, int line);
#define assert_dirty(region, ...)                                                                  \
    assert_dirty_(region, (const int64_t[]) { __VA_ARGS__, -1 }, __FILE__, __LINE__)
#define assert_clean(region) assert_dirty_(region, (const int64_t[]) { -1 }, __FILE__, __LINE__)

/* Must succeed; the message is shown otherwise. */
#define ok(call)                                                                                   \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        int ret_ = (call);                                                                         \
        if (ret_ < 0)                                                                              \
            fail_msg("%s: %d: %s", #call, ret_, err.text);                                         \
    } while (0)

/* A running tracker of @kind, or skip() when this kernel has none. */
struct tracker *tracker_on(struct region *region, enum tracker_cpu_kind kind);
/* What must work where tracker_on() did. */
void tracker_sync(struct tracker *tracker, struct region *region);
void tracker_end(struct tracker *tracker);

#endif
