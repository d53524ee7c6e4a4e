/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The promise as a whole: while threads write all the time, memory is copied in rounds, driven by
 * nothing but the bitmaps. After a last sync with the writers stopped, the copy equals the memory.
 * A tracker that forgets pages must be caught by the very same test.
 *
 * The workload writes, and the copy reads, with relaxed atomics: that race is the subject.
 */
#include "tests/memory/region.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "lib/cleanup.h"

#define PAGES 3000
#define WRITERS 2
#define ROUNDS 12

struct variant {
    enum tracker_cpu_kind tracker;
    enum region_kind region;
};
static struct variant pagemap_anonymous = { TRACKER_CPU_PAGEMAP, REGION_ANONYMOUS };
static struct variant pagemap_memfd = { TRACKER_CPU_PAGEMAP, REGION_MEMFD };
static struct variant uffd_anonymous = { TRACKER_CPU_UFFD, REGION_ANONYMOUS };
static struct variant uffd_memfd = { TRACKER_CPU_UFFD, REGION_MEMFD };

struct workload {
    struct region *region;
    pthread_t threads[WRITERS];
    uint64_t writes; /* by all of them */
    bool stop;
};

struct writer {
    struct workload *workload;
    uint64_t random;
};

/* Count one of the page's words up; every 16th time make a page zero again. */
static void write_once(struct writer *writer)
{
    uint64_t *words = (uint64_t *)writer->workload->region->memory;

    writer->random = writer->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    uint64_t random = writer->random >> 33;
    uint64_t *page = words + random % PAGES * (RAM_PAGE_SIZE / 8);
    if (random % 16) {
        uint64_t *word = &page[random / PAGES % (RAM_PAGE_SIZE / 8)];
        __atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
        return;
    }
    for (unsigned i = 0; i < RAM_PAGE_SIZE / 8; i++)
        __atomic_store_n(&page[i], 0, __ATOMIC_RELAXED);
}

static void *run_writer(void *opaque)
{
    struct writer *writer = opaque;
    struct workload *workload = writer->workload;

    while (!__atomic_load_n(&workload->stop, __ATOMIC_ACQUIRE)) {
        write_once(writer);
        __atomic_fetch_add(&workload->writes, 1, __ATOMIC_RELAXED);
    }
    free(writer);
    return NULL;
}

static void workload_start(struct workload *workload, struct region *region)
{
    *workload = (struct workload) { .region = region };
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *writer = calloc(1, sizeof(*writer));
        *writer = (struct writer) { .workload = workload, .random = i + 1 };
        assert_int_equal(pthread_create(&workload->threads[i], NULL, run_writer, writer), 0);
    }
}

static void workload_stop(struct workload *workload)
{
    __atomic_store_n(&workload->stop, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(workload->threads[i], NULL);
}

/* Until the writers have made some more writes. */
static void workload_wait(struct workload *workload)
{
    uint64_t until = __atomic_load_n(&workload->writes, __ATOMIC_RELAXED) + 200;

    while (__atomic_load_n(&workload->writes, __ATOMIC_RELAXED) < until)
        nanosleep(&(struct timespec) { .tv_nsec = 100000 }, NULL);
}

static void copy_out(struct region *region, uint64_t *copy)
{
    struct ram_cursor cursor = { 0 };
    struct ram_extent extent;

    while (ram_next_extent(region->ram, &cursor, 1 << 20, &extent)) {
        uint64_t first = extent.offset_bytes / 8, end = first + extent.length_bytes / 8;
        uint64_t *memory = (uint64_t *)region->memory;

        for (uint64_t i = first; i < end; i++)
            copy[i] = extent.zero ? 0 : __atomic_load_n(&memory[i], __ATOMIC_RELAXED);
    }
}

static uint64_t count_different_pages(const struct region *region, const uint64_t *copy)
{
    uint64_t different = 0;

    for (uint64_t page = 0; page < PAGES; page++)
        different += memcmp(region->memory + page * RAM_PAGE_SIZE,
                            (const uint8_t *)copy + page * RAM_PAGE_SIZE, RAM_PAGE_SIZE) != 0;
    return different;
}

/* The migration in small. Returns how many pages differ at its end. */
static uint64_t copy_while_written(struct region *region, struct tracker *tracker)
{
    CLEANUP_FREE uint64_t *copy = calloc(1, region->bytes);
    struct workload workload;

    workload_start(&workload, region);
    workload_wait(&workload);
    ok(tracker->ops->start(tracker, region->ram, &err));
    ok(ram_mark_populated(region->ram, &err));
    for (unsigned round = 0; round < ROUNDS; round++) {
        copy_out(region, copy);
        workload_wait(&workload);
        tracker_sync(tracker, region);
    }
    copy_out(region, copy);
    workload_stop(&workload);
    /* Whatever the threads did last, these pages are written after their last copy. */
    for (uint64_t page = 0; page < PAGES; page += 10)
        region_write(region, page);
    tracker_sync(tracker, region);
    copy_out(region, copy);
    return count_different_pages(region, copy);
}

static struct tracker *new_tracker(const struct variant *variant)
{
    struct tracker *tracker;

    if (tracker_cpu_new(variant->tracker, &tracker, NULL) < 0)
        skip();
    return tracker;
}

static void no_page_is_lost(void **state)
{
    const struct variant *variant = *state;
    struct region region = region_new(variant->region, PAGES);
    struct tracker *tracker = new_tracker(variant);

    for (unsigned repeat = 0; repeat < 3; repeat++) {
        assert_int_equal(copy_while_written(&region, tracker), 0);
        tracker->ops->stop(tracker);
    }
    tracker->ops->free(tracker);
    region_free(&region);
}

static void a_forgetful_tracker_is_caught(void **state)
{
    const struct variant *variant = *state;
    struct region region = region_new(variant->region, PAGES);
    struct tracker *tracker = new_tracker(variant);

    assert_int_equal(tracker_forgetful_new(tracker, 100, &tracker), 0);
    uint64_t lost = copy_while_written(&region, tracker);
    assert_true(lost > 0);
    tracker_end(tracker);
    region_free(&region);
}

/* stop() frees who waits in a fault; no writer may hang, whenever it comes. */
static void stopping_lets_all_writers_go_on(void **state)
{
    const struct variant *variant = *state;
    struct region region = region_new(variant->region, PAGES);
    struct tracker *tracker = new_tracker(variant);
    struct workload workload;

    workload_start(&workload, &region);
    for (unsigned i = 0; i < 40; i++) {
        ok(tracker->ops->start(tracker, region.ram, &err));
        if (i % 2)
            tracker_sync(tracker, &region);
        tracker->ops->stop(tracker);
    }
    workload_wait(&workload);
    workload_stop(&workload);
    tracker->ops->free(tracker);
    region_free(&region);
}

static void nobody_writing_needs_no_tracker(void **state)
{
    struct region region = region_new(REGION_MEMFD, 16);
    struct tracker *tracker = tracker_on(&region, TRACKER_CPU_NONE);

    (void)state;
    region_write(&region, 3);
    tracker_sync(tracker, &region);
    assert_clean(&region);
    tracker_end(tracker);
    region_free(&region);
}

static void a_choice_that_is_none_is_refused(void **state)
{
    struct tracker *tracker;
    struct vmig_error why = { 0 };

    (void)state;
    assert_true(tracker_cpu_new((enum tracker_cpu_kind)9, &tracker, &why) < 0);
    assert_true(why.text[0]);
}

#define ON(test, variant)                                                                          \
    {                                                                                              \
#test " (" #variant ")", test, NULL, NULL, &variant                                        \
    }
#define ON_EACH(test)                                                                              \
    ON(test, pagemap_anonymous), ON(test, pagemap_memfd), ON(test, uffd_anonymous),                \
        ON(test, uffd_memfd)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EACH(no_page_is_lost),
        ON_EACH(a_forgetful_tracker_is_caught),
        ON_EACH(stopping_lets_all_writers_go_on),
        cmocka_unit_test(nobody_writing_needs_no_tracker),
        cmocka_unit_test(a_choice_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("lost-pages", tests, NULL, NULL);
}
