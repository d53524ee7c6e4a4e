/* SPDX-License-Identifier: BSD-3-Clause */
/* Extents, and the zero pages that separate them. */
#include "tests/memory/region.h"

#include <string.h>
#include "lib/memory/zero.h"

static void one_byte_makes_it_non_zero(bool (*is_zero)(const void *page))
{
    struct region region = region_new(REGION_ANONYMOUS, 3);
    uint8_t *page = region.memory + RAM_PAGE_SIZE;

    page[-1] = page[RAM_PAGE_SIZE] = 1; /* the neighbours do not count */
    assert_true(is_zero(page));
    for (unsigned i = 0; i < RAM_PAGE_SIZE; i++) {
        page[i] = i % 2 ? 0x80 : 1;
        assert_false(is_zero(page));
        page[i] = 0;
        assert_true(is_zero(page));
    }
    region_free(&region);
}

static void a_single_byte_anywhere_makes_a_page_non_zero(void **state)
{
    (void)state;
    one_byte_makes_it_non_zero(zero_page);
}

static void and_so_without_avx2(void **state)
{
    (void)state;
    one_byte_makes_it_non_zero(zero_page_portable);
}

static void next_is(struct region *region, struct ram_cursor *cursor, uint64_t max_pages,
                    uint64_t page, uint64_t pages, bool zero)
{
    struct ram_extent extent;

    assert_true(ram_next_extent(region->ram, cursor, max_pages * RAM_PAGE_SIZE, &extent));
    assert_int_equal(extent.offset_bytes, page * RAM_PAGE_SIZE);
    assert_int_equal(extent.length_bytes, pages * RAM_PAGE_SIZE);
    assert_int_equal(extent.zero, zero);
    assert_ptr_equal(extent.block, region->block);
}

static void nothing_more(struct region *region, struct ram_cursor *cursor)
{
    struct ram_extent extent;

    assert_false(ram_next_extent(region->ram, cursor, 1 << 20, &extent));
    assert_int_equal(ram_dirty_pages(region->ram), 0);
}

static void neighbours_of_one_kind_are_one_extent(void **state)
{
    struct region region = region_new(REGION_ANONYMOUS, 200);
    struct ram_cursor cursor = { 0 };

    (void)state;
    bitmap_set_range(region.block->dirty, 10, 100);
    bitmap_set_range(region.block->dirty, 150, 50);
    for (uint64_t page = 20; page < 70; page++)
        region.memory[page * RAM_PAGE_SIZE + RAM_PAGE_SIZE - 1] = 1;
    region.memory[199 * RAM_PAGE_SIZE] = 1;
    next_is(&region, &cursor, 1000, 10, 10, true);
    next_is(&region, &cursor, 1000, 20, 50, false);
    next_is(&region, &cursor, 1000, 70, 40, true);
    next_is(&region, &cursor, 1000, 150, 49, true);
    next_is(&region, &cursor, 1000, 199, 1, false);
    nothing_more(&region, &cursor);
    region_free(&region);
}

static void an_extent_is_not_longer_than_asked(void **state)
{
    struct region region = region_new(REGION_ANONYMOUS, 128);
    struct ram_cursor cursor = { 0 };
    struct ram_extent extent;

    (void)state;
    memset(region.memory, 1, region.bytes);
    bitmap_set_range(region.block->dirty, 0, 128);
    next_is(&region, &cursor, 63, 0, 63, false);
    next_is(&region, &cursor, 1, 63, 1, false);
    next_is(&region, &cursor, 63, 64, 63, false);
    /* A page is the least, whatever is asked. */
    assert_true(ram_next_extent(region.ram, &cursor, 1, &extent));
    assert_int_equal(extent.length_bytes, RAM_PAGE_SIZE);
    nothing_more(&region, &cursor);
    region_free(&region);
}

static void only_what_was_taken_is_clean(void **state)
{
    struct region region = region_new(REGION_ANONYMOUS, 128);
    struct ram_cursor cursor = { 0 };

    (void)state;
    memset(region.memory, 1, 70 * RAM_PAGE_SIZE);
    bitmap_set_range(region.block->dirty, 0, 128);
    next_is(&region, &cursor, 100, 0, 70, false);
    assert_int_equal(ram_dirty_pages(region.ram), 58);
    assert_int_equal(bitmap_next_set(region.block->dirty, 128, 0), 70);
    region_free(&region);
}

static void pages_before_the_cursor_wait_for_the_next_pass(void **state)
{
    struct region region = region_new(REGION_ANONYMOUS, 128);
    struct ram_cursor cursor = { .block = 0, .page = 65 }, again = { 0 };
    struct ram_extent extent;

    (void)state;
    bitmap_set(region.block->dirty, 64);
    bitmap_set(region.block->dirty, 65);
    next_is(&region, &cursor, 100, 65, 1, true);
    assert_false(ram_next_extent(region.ram, &cursor, 4096, &extent));
    next_is(&region, &again, 100, 64, 1, true);
    region_free(&region);
}

static void the_cursor_walks_over_all_blocks(void **state)
{
    struct region region = region_new(REGION_ANONYMOUS, 4);
    struct region other = region_new(REGION_ANONYMOUS, 4);
    struct vmig_ram_block desc = other.block->desc;
    struct ram_cursor cursor = { 0 };
    struct ram_extent extent;

    (void)state;
    desc.name = "other";
    desc.iova = 1 << 20;
    ok(ram_add(region.ram, &desc, &err));
    bitmap_set(region.ram->blocks[0].dirty, 3);
    bitmap_set(region.ram->blocks[1].dirty, 0);
    next_is(&region, &cursor, 100, 3, 1, true);
    assert_true(ram_next_extent(region.ram, &cursor, 1 << 20, &extent));
    assert_ptr_equal(extent.block, &region.ram->blocks[1]);
    assert_int_equal(extent.offset_bytes, 0);
    nothing_more(&region, &cursor);
    region_free(&region);
    region_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_byte_anywhere_makes_a_page_non_zero),
        cmocka_unit_test(and_so_without_avx2),
        cmocka_unit_test(neighbours_of_one_kind_are_one_extent),
        cmocka_unit_test(an_extent_is_not_longer_than_asked),
        cmocka_unit_test(only_what_was_taken_is_clean),
        cmocka_unit_test(pages_before_the_cursor_wait_for_the_next_pass),
        cmocka_unit_test(the_cursor_walks_over_all_blocks),
    };
    return cmocka_run_group_tests_name("extent", tests, NULL, NULL);
}
