/* SPDX-License-Identifier: BSD-3-Clause */
/* The ranges a device is asked to log: cover all RAM, few, with the smallest gaps. */
#include "tests/memory/region.h"

#include <stdio.h>
#include "lib/memory/ranges.h"

#define PAGE UINT64_C(0x1000)

/* A RAM of blocks at @iovas, two pages each, in this order. */
static struct ram *ram_at(const uint64_t *iovas, unsigned count)
{
    struct ram *ram = ram_new();
    char name[16];

    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "block%u", i);
        struct vmig_ram_block desc = { .name = name,
                                       .iova = iovas[i],
                                       .size_bytes = 2 * PAGE,
                                       .vaddr = (void *)(uintptr_t)PAGE,
                                       .fd = -1 };
        ok(ram_add(ram, &desc, &err));
    }
    return ram;
}

static void range_is(const struct vmig_dma_range *range, uint64_t iova, uint64_t pages)
{
    assert_int_equal(range->iova, iova);
    assert_int_equal(range->size_bytes, pages * PAGE);
}

static void ranges_are_in_order_and_neighbours_are_one(void **state)
{
    static const uint64_t iovas[] = { 0x100000, 0x8000, 0xa000, 0x0, 0xc000 };
    struct ram *ram = ram_at(iovas, 5);
    struct vmig_dma_range ranges[RAM_BLOCKS_MAX];

    (void)state;
    assert_int_equal(ranges_of_ram(ram, RANGES_MAX, ranges), 3);
    range_is(&ranges[0], 0, 2);
    range_is(&ranges[1], 0x8000, 6);
    range_is(&ranges[2], 0x100000, 2);
    ram_free(ram);
}

static void the_smallest_gaps_are_filled_first(void **state)
{
    /* Gaps of 2, 1, 4 and 3 pages. */
    static const uint64_t iovas[] = { 0, 4 * PAGE, 7 * PAGE, 13 * PAGE, 18 * PAGE };
    struct ram *ram = ram_at(iovas, 5);
    struct vmig_dma_range ranges[RAM_BLOCKS_MAX];

    (void)state;
    assert_int_equal(ranges_of_ram(ram, 6, ranges), 5);
    assert_int_equal(ranges_of_ram(ram, 5, ranges), 5);
    assert_int_equal(ranges_of_ram(ram, 4, ranges), 4);
    range_is(&ranges[0], 0, 2);
    range_is(&ranges[1], 4 * PAGE, 5);
    range_is(&ranges[2], 13 * PAGE, 2);
    assert_int_equal(ranges_of_ram(ram, 3, ranges), 3);
    range_is(&ranges[0], 0, 9);
    assert_int_equal(ranges_of_ram(ram, 2, ranges), 2);
    range_is(&ranges[0], 0, 9);
    range_is(&ranges[1], 13 * PAGE, 7);
    assert_int_equal(ranges_of_ram(ram, 1, ranges), 1);
    range_is(&ranges[0], 0, 20);
    ram_free(ram);
}

static void no_ram_is_no_range(void **state)
{
    struct ram *ram = ram_new();
    struct vmig_dma_range ranges[RAM_BLOCKS_MAX];

    (void)state;
    assert_int_equal(ranges_of_ram(ram, 1, ranges), 0);
    ram_free(ram);
}

/* A full list, in the order that sorts worst. */
static void sixty_four_blocks_fit_any_limit(void **state)
{
    uint64_t iovas[RAM_BLOCKS_MAX];
    struct vmig_dma_range ranges[RAM_BLOCKS_MAX];

    (void)state;
    for (unsigned i = 0; i < RAM_BLOCKS_MAX; i++)
        iovas[i] = (RAM_BLOCKS_MAX - 1 - i) * 8 * PAGE;
    struct ram *ram = ram_at(iovas, RAM_BLOCKS_MAX);
    for (unsigned max = 1; max <= RAM_BLOCKS_MAX; max++) {
        assert_int_equal(ranges_of_ram(ram, max, ranges), max);
        assert_int_equal(ranges[0].iova, 0);
        assert_int_equal(ranges[max - 1].iova + ranges[max - 1].size_bytes,
                         63 * 8 * PAGE + 2 * PAGE);
        for (unsigned i = 1; i < max; i++)
            assert_true(ranges[i - 1].iova + ranges[i - 1].size_bytes < ranges[i].iova);
    }
    ram_free(ram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_in_order_and_neighbours_are_one),
        cmocka_unit_test(the_smallest_gaps_are_filled_first),
        cmocka_unit_test(no_ram_is_no_range),
        cmocka_unit_test(sixty_four_blocks_fit_any_limit),
    };
    return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
