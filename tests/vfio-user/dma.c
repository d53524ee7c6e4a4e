/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of memory that a server may reach, and its marks: ranges and page sizes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/device/backend-vfio-user.h"

#define PAGE 4096ull
#define PAGES 200u

static struct vuc_dma dma;
static uint8_t memory[4][PAGES * 4096];

static int setup(void **state)
{
    (void)state;
    return vuc_dma_init(&dma);
}

static int teardown(void **state)
{
    (void)state;
    vuc_dma_done(&dma);
    return 0;
}

static int add(uint64_t iova, uint64_t size, unsigned memory_at, bool writable)
{
    struct vmig_dma_map map = {
        .iova = iova, .size_bytes = size, .vaddr = memory[memory_at], .fd = -1, .writable = writable
    };
    return vuc_dma_add(&dma, &map);
}

static void mappings_may_touch_but_not_overlap(void **state)
{
    (void)state;
    assert_int_equal(add(10 * PAGE, 4 * PAGE, 0, true), 0);
    assert_int_equal(add(14 * PAGE, PAGE, 1, true), 0);
    assert_int_equal(add(9 * PAGE, PAGE, 2, true), 0);
    assert_int_equal(add(10 * PAGE, 4 * PAGE, 3, true), -EEXIST);
    assert_int_equal(add(11 * PAGE, PAGE, 3, true), -EEXIST);
    assert_int_equal(add(8 * PAGE, 2 * PAGE, 3, true), -EEXIST);
    assert_int_equal(add(14 * PAGE, 2 * PAGE, 3, true), -EEXIST);
    assert_int_equal(add(0, 100 * PAGE, 3, true), -EEXIST);
    assert_int_equal(add(0, 9 * PAGE, 3, true), 0);
    assert_int_equal(dma.count, 4);
}

static void mappings_are_whole_pages_that_do_not_wrap(void **state)
{
    (void)state;
    assert_int_equal(add(0, 0, 0, true), -EINVAL);
    assert_int_equal(add(0, PAGE - 1, 0, true), -EINVAL);
    assert_int_equal(add(0, PAGE + 1, 0, true), -EINVAL);
    assert_int_equal(add(1, PAGE, 0, true), -EINVAL);
    assert_int_equal(add(-PAGE, 2 * PAGE, 0, true), -EINVAL);
    assert_int_equal(add(-PAGE, PAGE, 0, true), 0); /* the very last page */
}

static void only_an_exact_mapping_is_removed(void **state)
{
    (void)state;
    assert_int_equal(add(10 * PAGE, 4 * PAGE, 0, true), 0);
    assert_int_equal(add(20 * PAGE, 4 * PAGE, 1, true), 0);
    assert_int_equal(vuc_dma_remove(&dma, 10 * PAGE, 3 * PAGE), -ENOENT);
    assert_int_equal(vuc_dma_remove(&dma, 11 * PAGE, 3 * PAGE), -ENOENT);
    assert_int_equal(vuc_dma_remove(&dma, 0, PAGE), -ENOENT);
    assert_int_equal(vuc_dma_remove(&dma, 30 * PAGE, PAGE), -ENOENT);
    assert_int_equal(vuc_dma_remove(&dma, 10 * PAGE, 4 * PAGE), 0);
    assert_int_equal(vuc_dma_remove(&dma, 10 * PAGE, 4 * PAGE), -ENOENT);
    struct vmig_dma_map map;
    assert_true(vuc_dma_find(&dma, 20 * PAGE, 4 * PAGE, &map));
    assert_ptr_equal(map.vaddr, memory[1]);
}

static int iov_for(uint64_t iova, uint64_t size, bool write, struct iovec *iov, unsigned max)
{
    pthread_rwlock_rdlock(&dma.lock);
    int rc = vuc_dma_iov(&dma, iova, size, write, iov, max);
    pthread_rwlock_unlock(&dma.lock);
    return rc;
}

static void a_range_is_described_across_mappings(void **state)
{
    (void)state;
    struct iovec iov[4];
    add(0, PAGE, 0, true);
    add(PAGE, 2 * PAGE, 1, true);
    add(3 * PAGE, PAGE, 2, false);
    add(5 * PAGE, PAGE, 3, true);
    assert_int_equal(iov_for(100, 3 * PAGE, false, iov, 4), 3);
    assert_ptr_equal(iov[0].iov_base, memory[0] + 100);
    assert_int_equal(iov[0].iov_len, PAGE - 100);
    assert_ptr_equal(iov[1].iov_base, memory[1]);
    assert_int_equal(iov[1].iov_len, 2 * PAGE);
    assert_ptr_equal(iov[2].iov_base, memory[2]);
    assert_int_equal(iov[2].iov_len, 100);
    assert_int_equal(iov_for(0, 3 * PAGE, true, iov, 4), 2);
    assert_int_equal(iov_for(0, 3 * PAGE + 1, true, iov, 4), -EPERM);
    assert_int_equal(iov_for(0, 4 * PAGE, false, iov, 4), 3);
    assert_int_equal(iov_for(0, 4 * PAGE, false, iov, 2), -E2BIG);
    assert_int_equal(iov_for(0, 4 * PAGE + 1, false, iov, 4), -EFAULT);
    assert_int_equal(iov_for(5 * PAGE, PAGE + 1, false, iov, 4), -EFAULT);
    assert_int_equal(iov_for(6 * PAGE, 1, false, iov, 4), -EFAULT);
    assert_int_equal(iov_for(6 * PAGE, 0, false, iov, 4), 0);
}

static void the_last_page_ends_the_address_space(void **state)
{
    (void)state;
    struct iovec iov[4];
    add(-PAGE, PAGE, 0, true);
    add(0, PAGE, 1, true);
    assert_int_equal(iov_for(UINT64_MAX, 1, true, iov, 4), 1);
    assert_int_equal(iov_for(UINT64_MAX, 2, true, iov, 4), -EFAULT); /* not on to address 0 */
    assert_int_equal(iov_for(0, UINT64_MAX, true, iov, 4), -EFAULT);
}

/* ---- marks ---- */

static uint64_t taken[4];

static unsigned take(uint64_t iova, uint64_t size, uint64_t pgsize)
{
    unsigned count = 0;
    memset(taken, 0, sizeof(taken));
    assert_int_equal(vuc_dma_take(&dma, iova, size, pgsize, taken), 0);
    for (unsigned i = 0; i < 4; i++)
        count += (unsigned)__builtin_popcountll(taken[i]);
    return count;
}

static bool bit(unsigned n)
{
    return taken[n / 64] >> n % 64 & 1;
}

static void writes_mark_every_page_they_touch(void **state)
{
    (void)state;
    add(0, PAGES * PAGE, 0, true);
    vuc_dma_mark(&dma, 63 * PAGE + 4095, 2);
    vuc_dma_mark(&dma, 100 * PAGE, PAGE);
    vuc_dma_mark(&dma, 199 * PAGE, 1);
    assert_int_equal(take(0, PAGES * PAGE, PAGE), 4);
    assert_true(bit(63) && bit(64) && bit(100) && bit(199));
    assert_int_equal(take(0, PAGES * PAGE, PAGE), 0);
}

static void marks_outside_the_asked_range_stay(void **state)
{
    (void)state;
    add(0, PAGES * PAGE, 0, true);
    vuc_dma_mark(&dma, 0, PAGES * PAGE);
    assert_int_equal(take(63 * PAGE, 2 * PAGE, PAGE), 2);
    assert_int_equal(take(1 * PAGE, 62 * PAGE, PAGE), 62);
    assert_int_equal(take(65 * PAGE, 63 * PAGE, PAGE), 63);
    assert_int_equal(take(0, PAGES * PAGE, PAGE), PAGES - 2 - 62 - 63);
    assert_true(bit(0) && !bit(1) && !bit(127) && bit(128) && bit(199));
}

static void larger_pages_gather_marks(void **state)
{
    (void)state;
    add(0, PAGES * PAGE, 0, true);
    vuc_dma_mark(&dma, 17 * PAGE, PAGE);
    vuc_dma_mark(&dma, 18 * PAGE, PAGE);
    vuc_dma_mark(&dma, 40 * PAGE, PAGE);
    assert_int_equal(take(16 * PAGE, 100 * PAGE, 4 * PAGE), 2);
    assert_true(bit(0) && bit(6));
}

static void a_devices_bitmap_is_merged_in_its_own_page_size(void **state)
{
    (void)state;
    uint64_t bitmap[32] = { 0 };
    add(0, PAGES * PAGE, 0, true);
    bitmap[1] = 1;              /* page 64 */
    bitmap[3] = 0xff00ull << 0; /* 192 + 8.. are beyond the mapping's 200 pages */
    assert_int_equal(vuc_dma_merge(&dma, 0, PAGES * PAGE, PAGE, bitmap), 0);
    assert_int_equal(take(0, PAGES * PAGE, PAGE), 1);
    assert_true(bit(64));

    memset(bitmap, 0, sizeof(bitmap));
    bitmap[0] = 1ull << 40; /* far beyond the mapping */
    assert_int_equal(vuc_dma_merge(&dma, 0, PAGES * PAGE, 16 * PAGE, bitmap), 0);
    assert_int_equal(take(0, PAGES * PAGE, PAGE), 0);
    bitmap[0] = 2 | 1ull << 12; /* pages of 16: the second, and the last, of which half is there */
    assert_int_equal(vuc_dma_merge(&dma, 0, PAGES * PAGE, 16 * PAGE, bitmap), 0);
    assert_int_equal(take(0, PAGES * PAGE, PAGE), 16 + 8);
    assert_true(bit(16) && bit(31) && bit(192) && bit(199) && !bit(15) && !bit(32));

    memset(bitmap, 0, sizeof(bitmap));
    bitmap[0] = 1ull << 15; /* pages of 512 bytes: the last eighth of page 1 */
    assert_int_equal(vuc_dma_merge(&dma, 0, PAGES * PAGE, 512, bitmap), 0);
    assert_int_equal(take(0, PAGES * PAGE, PAGE), 1);
    assert_true(bit(1));
    assert_int_equal(vuc_dma_merge(&dma, PAGES * PAGE, PAGE, PAGE, bitmap), -ENOENT);
}

static void a_report_is_for_whole_pages_inside_a_mapping(void **state)
{
    (void)state;
    add(0, 10 * PAGE, 0, true);
    add(10 * PAGE, 10 * PAGE, 1, true);
    assert_int_equal(vuc_dma_take(&dma, 0, 0, PAGE, taken), -EINVAL);
    assert_int_equal(vuc_dma_take(&dma, 1, PAGE, PAGE, taken), -EINVAL);
    assert_int_equal(vuc_dma_take(&dma, 0, PAGE + 1, PAGE, taken), -EINVAL);
    assert_int_equal(vuc_dma_take(&dma, 0, PAGE, 512, taken), -EINVAL);
    assert_int_equal(vuc_dma_take(&dma, 0, 11 * PAGE, PAGE, taken), -ENOENT);
    assert_int_equal(vuc_dma_take(&dma, 20 * PAGE, PAGE, PAGE, taken), -ENOENT);
    assert_int_equal(vuc_dma_take(&dma, 0, 10 * PAGE, PAGE, taken), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mappings_may_touch_but_not_overlap),
        TEST(mappings_are_whole_pages_that_do_not_wrap),
        TEST(only_an_exact_mapping_is_removed),
        TEST(a_range_is_described_across_mappings),
        TEST(the_last_page_ends_the_address_space),
        TEST(writes_mark_every_page_they_touch),
        TEST(marks_outside_the_asked_range_stay),
        TEST(larger_pages_gather_marks),
        TEST(a_devices_bitmap_is_merged_in_its_own_page_size),
        TEST(a_report_is_for_whole_pages_inside_a_mapping),
    };
    return cmocka_run_group_tests_name("vfio-user memory", tests, NULL, NULL);
}
