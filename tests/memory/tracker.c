/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What both trackers of this process's writes promise, on every kind of memory. Each test runs
 * once for each pair.
 */
#include "tests/memory/region.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

struct variant {
    enum tracker_cpu_kind tracker;
    enum region_kind region;
};
static struct variant pagemap_anonymous = { TRACKER_CPU_PAGEMAP, REGION_ANONYMOUS };
static struct variant pagemap_memfd = { TRACKER_CPU_PAGEMAP, REGION_MEMFD };
static struct variant pagemap_shared = { TRACKER_CPU_PAGEMAP, REGION_SHARED };
static struct variant uffd_anonymous = { TRACKER_CPU_UFFD, REGION_ANONYMOUS };
static struct variant uffd_memfd = { TRACKER_CPU_UFFD, REGION_MEMFD };
static struct variant uffd_shared = { TRACKER_CPU_UFFD, REGION_SHARED };

#define PAGES 1200 /* more than two page tables hold */

/* Even pages below 1,024 are touched, all others are not. */
static struct region half_touched(const struct variant *variant)
{
    struct region region = region_new(variant->region, PAGES);

    for (uint64_t page = 0; page < 1024; page += 2)
        region_write(&region, page);
    return region;
}

static void a_write_is_in_the_next_sync_and_only_there(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    tracker_sync(tracker, &region);
    assert_clean(&region);
    region_write(&region, 0);
    region_write(&region, 64);
    region_write(&region, 1022);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 0, 64, 1022);
    tracker_sync(tracker, &region);
    assert_clean(&region);
    region_write(&region, 64);
    region_write(&region, 64);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 64);
    tracker_end(tracker);
    region_free(&region);
}

static void a_sync_keeps_bits_that_are_set(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    bitmap_set(region.block->dirty, 7);
    region_write(&region, 8);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 7, 8);
    tracker_end(tracker);
    region_free(&region);
}

static void a_first_touch_is_a_write(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    region_write(&region, 1);    /* between touched pages */
    region_write(&region, 1025); /* where nothing was touched */
    region_write(&region, PAGES - 1);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 1, 1025, PAGES - 1);
    region_write(&region, 1);
    region_write(&region, 1026);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 1, 1026);
    tracker_end(tracker);
    region_free(&region);
}

/* One answer of the kernel holds 512 runs. */
static void every_other_page_is_found(void **state)
{
    const struct variant *variant = *state;
    struct region region = region_new(variant->region, 4096);

    for (uint64_t page = 0; page < 4096; page++)
        region_write(&region, page);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    for (uint64_t page = 1; page < 4096; page += 2)
        region_write(&region, page);
    tracker_sync(tracker, &region);
    for (uint64_t word = 0; word < 4096 / 64; word++)
        assert_int_equal(region.block->dirty[word], UINT64_C(0xaaaaaaaaaaaaaaaa));
    memset(region.block->dirty, 0, 4096 / 8);
    tracker_sync(tracker, &region);
    assert_clean(&region);
    tracker_end(tracker);
    region_free(&region);
}

static void reading_touched_pages_is_no_write(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    volatile uint8_t *memory = region.memory;

    for (uint64_t page = 0; page < 1024; page += 2)
        (void)memory[page * RAM_PAGE_SIZE];
    tracker_sync(tracker, &region);
    assert_clean(&region);
    tracker_end(tracker);
    region_free(&region);
}

static void tracking_populates_nothing(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    uint64_t before = region_populated(&region);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    tracker_sync(tracker, &region);
    region_write(&region, 0);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 0);
    assert_int_equal(region_populated(&region), before);
    if (variant->region != REGION_SHARED) {
        ok(ram_mark_populated(region.ram, &err));
        assert_int_equal(ram_dirty_pages(region.ram), 512); /* holes are still known as such */
    }
    tracker_end(tracker);
    assert_int_equal(region_populated(&region), before);
    region_free(&region);
}

/* read(2) into the memory: the kernel writes for the process. */
static void a_write_by_the_kernel_for_the_process_counts(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    if (geteuid() && variant->tracker == TRACKER_CPU_UFFD)
        skip(); /* the descriptor of an ordinary user serves user-mode accesses only */
    assert_int_equal(read(zero, region.memory + 4 * RAM_PAGE_SIZE, 8), 8);
    assert_int_equal(read(zero, region.memory + 9 * RAM_PAGE_SIZE, 8), 8);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 4, 9);
    close(zero);
    tracker_end(tracker);
    region_free(&region);
}

static void writes_after_stop_are_not_hindered(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    tracker->ops->stop(tracker);
    for (uint64_t page = 0; page < PAGES; page++)
        region_write(&region, page);
    /* And it can be used again: what was written before start() is not reported. */
    ok(tracker->ops->start(tracker, region.ram, &err));
    region_write(&region, 3);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 3);
    tracker_end(tracker);
    region_free(&region);
}

/* The child's copy is none of ours; our own write copies the page and counts. */
static void a_fork_does_not_hide_writes(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    int pipe_fds[2];
    char byte;

    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (!child) {
        close(pipe_fds[1]);
        region_write(&region, 10); /* must not wait for a server that this process has not */
        _exit(read(pipe_fds[0], &byte, 1) == 0 ? 0 : 1);
    }
    assert_true(child > 0);
    region_write(&region, 2);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 2);
    region_write(&region, 2);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    region_write(&region, 6);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 2, 6);
    tracker_end(tracker);
    region_free(&region);
}

/* A child that was forked while we tracked keeps nothing protected. */
static void stop_works_while_a_forked_child_lives(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    int pipe_fds[2];
    char byte;

    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (!child) {
        close(pipe_fds[1]);
        _exit(read(pipe_fds[0], &byte, 1) == 0 ? 0 : 1);
    }
    tracker_end(tracker);
    for (uint64_t page = 0; page < PAGES; page++)
        region_write(&region, page);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    region_free(&region);
}

/* The page is in the file still, with what was written. */
static void a_written_page_that_left_the_page_table_is_reported(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    tracker_sync(tracker, &region);
    assert_clean(&region);
    region_write(&region, 8);
    region_write(&region, 9);
    assert_int_equal(madvise(region.memory + 8 * RAM_PAGE_SIZE, 4 * RAM_PAGE_SIZE, MADV_DONTNEED),
                     0);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 8, 9);
    tracker_end(tracker);
    region_free(&region);
}

/* Whole page tables may go with their pages. */
static void so_is_a_whole_page_table_that_left(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);

    for (uint64_t page = 0; page < PAGES; page++)
        region_write(&region, page);
    tracker_sync(tracker, &region);
    memset(region.block->dirty, 0, bitmap_words(PAGES) * 8);
    for (uint64_t page = 0; page < PAGES; page++)
        region_write(&region, page);
    assert_int_equal(madvise(region.memory, region.bytes, MADV_DONTNEED), 0);
    tracker_sync(tracker, &region);
    assert_int_equal(ram_dirty_pages(region.ram), PAGES);
    tracker_end(tracker);
    region_free(&region);
}

static void huge_pages_are_tracked_by_small_ones(void **state)
{
    const struct variant *variant = *state;
    struct region region = region_new(variant->region, 2048);
    volatile uint8_t *memory = region.memory;

    madvise(region.memory, region.bytes, MADV_HUGEPAGE);
    for (uint64_t page = 0; page < 2048; page++)
        memory[page * RAM_PAGE_SIZE] = 1;
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    tracker_sync(tracker, &region);
    assert_clean(&region);
    region_write(&region, 700);
    region_write(&region, 1300);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 700, 1300);
    tracker_end(tracker);
    region_free(&region);
}

/* A first touch may bring a huge page: then all of it counts, never less than what was touched. */
static void a_first_touch_with_huge_pages_is_a_write(void **state)
{
    const struct variant *variant = *state;
    struct region region = region_new(variant->region, 2048);

    madvise(region.memory, region.bytes, MADV_HUGEPAGE);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    region_write(&region, 1000);
    tracker_sync(tracker, &region);
    assert_true(bitmap_test(region.block->dirty, 1000));
    memset(region.block->dirty, 0, bitmap_words(2048) * 8);
    region_write(&region, 1001);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 1001);
    tracker_end(tracker);
    region_free(&region);
}

static void several_blocks_are_tracked_each_in_its_own_bitmap(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant), other = half_touched(variant);
    struct vmig_ram_block desc = other.block->desc;

    desc.name = "other";
    desc.iova = UINT64_C(1) << 32;
    ok(ram_add(region.ram, &desc, &err));
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    region_write(&region, 2);
    region_write(&other, 1023);
    tracker_sync(tracker, &region);
    region.block = &region.ram->blocks[1];
    assert_dirty(&region, 1023);
    region.block = &region.ram->blocks[0];
    assert_dirty(&region, 2);
    tracker_end(tracker);
    region_free(&region);
    region_free(&other);
}

/* By design: the header says so. */
static void writes_through_another_mapping_are_not_seen(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    volatile uint8_t *second =
        mmap(NULL, region.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);

    assert_ptr_not_equal(second, MAP_FAILED);
    second[4 * RAM_PAGE_SIZE] = 77;
    tracker_sync(tracker, &region);
    assert_clean(&region);
    munmap((void *)second, region.bytes);
    tracker_end(tracker);
    region_free(&region);
}

static void memory_mapped_anew_while_tracked_is_an_error(void **state)
{
    const struct variant *variant = *state;
    struct region region = half_touched(variant);
    struct tracker *tracker = tracker_on(&region, variant->tracker);
    struct vmig_error err = { 0 };

    region_write(&region, 2);
    assert_ptr_not_equal(mmap(region.memory, region.bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                         MAP_FAILED);
    assert_true(tracker->ops->sync(tracker, region.ram, &err) < 0);
    assert_non_null(strstr(err.text, "mapped anew"));
    tracker_end(tracker);
    region_free(&region);
}

/* A block of 1,200 pages in a file on disk, or skip(). */
static struct region on_disk(void)
{
    char path[] = "/var/tmp/vfio-migrate-test-XXXXXX";
    struct region region = region_new(REGION_MEMFD, PAGES);
    struct statfs st;

    close(region.fd);
    region.fd = mkostemp(path, O_CLOEXEC);
    assert_true(region.fd >= 0);
    unlink(path);
    assert_int_equal(fstatfs(region.fd, &st), 0);
    if (st.f_type == TMPFS_MAGIC) {
        print_message("/var/tmp is in memory\n");
        skip();
    }
    region.block->desc.fd = region.fd;
    assert_int_equal(ftruncate(region.fd, (off_t)region.bytes), 0);
    assert_ptr_not_equal(mmap(region.memory, region.bytes, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_FIXED, region.fd, 0),
                         MAP_FAILED);
    return region;
}

static void a_mapped_file_on_disk_is_tracked_by_the_kernel(void **state)
{
    struct region region = on_disk();

    (void)state;
    region_write(&region, 2);
    region_write(&region, 4);
    struct tracker *tracker = tracker_on(&region, TRACKER_CPU_PAGEMAP);
    region_write(&region, 2);
    region_write(&region, 1100);
    tracker_sync(tracker, &region);
    assert_dirty(&region, 2, 1100);
    region_write(&region, 4);
    assert_int_equal(fdatasync(region.fd), 0);
    assert_int_equal(madvise(region.memory, region.bytes, MADV_DONTNEED), 0);
    tracker_sync(tracker, &region);
    assert_true(bitmap_test(region.block->dirty, 4));
    tracker_end(tracker);
    region_free(&region);
}

static void a_mapped_file_on_disk_is_refused_by_the_fallback(void **state)
{
    struct region region = on_disk();
    struct tracker *tracker;
    struct vmig_error err = { 0 };

    (void)state;
    if (tracker_cpu_new(TRACKER_CPU_UFFD, &tracker, NULL) < 0)
        skip();
    assert_true(tracker->ops->start(tracker, region.ram, &err) < 0);
    assert_non_null(strstr(err.text, "\"ram\""));
    assert_non_null(strstr(err.text, "files on disk"));
    region_write(&region, 3);
    tracker->ops->free(tracker);
    region_free(&region);
}

/* ---- as an ordinary user ---- */

/* What to do in a process without privileges; returns its exit status. */
static int as_ordinary_user(int (*work)(const struct variant *variant),
                            const struct variant *variant)
{
    int status;
    pid_t child = fork();

    if (!child) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(77);
        prctl(PR_SET_DUMPABLE, 1); /* who changed its user cannot read its own /proc otherwise */
        _exit(work(variant));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int track_one_write(const struct variant *variant)
{
    struct region region = half_touched(variant);
    struct tracker *tracker;

    if (tracker_cpu_new(variant->tracker, &tracker, NULL) ||
        tracker->ops->start(tracker, region.ram, NULL))
        return 77;
    region_write(&region, 4);
    region_write(&region, 1025);
    if (tracker->ops->sync(tracker, region.ram, NULL))
        return 1;
    if (ram_dirty_pages(region.ram) != 2 || !bitmap_test(region.block->dirty, 4) ||
        !bitmap_test(region.block->dirty, 1025))
        return 2;
    tracker_end(tracker);
    return 0;
}

/* The result of read(2) into page 4, as errno; 200: done, but not reported. */
static int track_read_call(const struct variant *variant)
{
    struct region region = half_touched(variant);
    struct tracker *tracker;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    if (tracker_cpu_new(variant->tracker, &tracker, NULL) ||
        tracker->ops->start(tracker, region.ram, NULL))
        return 77;
    if (read(zero, region.memory + 4 * RAM_PAGE_SIZE, 8) < 0)
        return errno;
    tracker->ops->sync(tracker, region.ram, NULL);
    return bitmap_test(region.block->dirty, 4) ? 0 : 200;
}

static void an_ordinary_user_can_track(void **state)
{
    int status = as_ordinary_user(track_one_write, *state);

    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

/* The trap that the fallback's opening comment names: not silent, at least. */
static void an_ordinary_users_read_call_is_reported_or_fails(void **state)
{
    const struct variant *variant = *state;
    int status = as_ordinary_user(track_read_call, variant);

    if (status == 77)
        skip();
    if (variant->tracker == TRACKER_CPU_UFFD && status == EFAULT)
        return;
    assert_int_equal(status, 0);
}

#define ON(test, variant)                                                                          \
    {                                                                                              \
#test " (" #variant ")", test, NULL, NULL, &variant                                        \
    }
#define ON_EACH(test)                                                                              \
    ON(test, pagemap_anonymous), ON(test, pagemap_memfd), ON(test, pagemap_shared),                \
        ON(test, uffd_anonymous), ON(test, uffd_memfd), ON(test, uffd_shared)
#define ON_SHARED(test)                                                                            \
    ON(test, pagemap_memfd), ON(test, pagemap_shared), ON(test, uffd_memfd), ON(test, uffd_shared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EACH(a_write_is_in_the_next_sync_and_only_there),
        ON_EACH(a_sync_keeps_bits_that_are_set),
        ON_EACH(a_first_touch_is_a_write),
        ON_EACH(every_other_page_is_found),
        ON_EACH(reading_touched_pages_is_no_write),
        ON_EACH(tracking_populates_nothing),
        ON_EACH(a_write_by_the_kernel_for_the_process_counts),
        ON_EACH(writes_after_stop_are_not_hindered),
        ON(a_fork_does_not_hide_writes, pagemap_anonymous),
        ON(a_fork_does_not_hide_writes, uffd_anonymous),
        ON(a_fork_does_not_hide_writes, pagemap_memfd),
        ON(a_fork_does_not_hide_writes, uffd_memfd),
        ON_EACH(stop_works_while_a_forked_child_lives),
        ON_SHARED(a_written_page_that_left_the_page_table_is_reported),
        ON_SHARED(so_is_a_whole_page_table_that_left),
        ON_EACH(huge_pages_are_tracked_by_small_ones),
        ON_EACH(a_first_touch_with_huge_pages_is_a_write),
        ON_EACH(several_blocks_are_tracked_each_in_its_own_bitmap),
        ON_SHARED(writes_through_another_mapping_are_not_seen),
        ON_EACH(memory_mapped_anew_while_tracked_is_an_error),
        cmocka_unit_test(a_mapped_file_on_disk_is_tracked_by_the_kernel),
        cmocka_unit_test(a_mapped_file_on_disk_is_refused_by_the_fallback),
        ON_EACH(an_ordinary_user_can_track),
        ON_EACH(an_ordinary_users_read_call_is_reported_or_fails),
    };
    return cmocka_run_group_tests_name("tracker", tests, NULL, NULL);
}
