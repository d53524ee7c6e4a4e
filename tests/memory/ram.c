/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM blocks: what is taken, what is refused, holes, zeros at the target. */
#include "tests/memory/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char memory[RAM_PAGE_SIZE * 4] __attribute__((aligned(RAM_PAGE_SIZE)));

static struct vmig_ram_block good(const char *name, uint64_t iova)
{
    return (struct vmig_ram_block) {
        .name = name, .iova = iova, .size_bytes = 2 * RAM_PAGE_SIZE, .vaddr = memory, .fd = -1
    };
}

static void refused(struct ram *ram, struct vmig_ram_block desc, const char *why)
{
    struct vmig_error err = { 0 };
    unsigned before = ram->num_blocks;

    assert_int_equal(ram_add(ram, &desc, &err), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_int_equal(ram->num_blocks, before);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void a_block_of_bad_shape_is_refused(void **state)
{
    struct ram *ram = ram_new();
    struct vmig_ram_block desc;
    char name[257];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[256] = 0;
    refused(ram, good("", 0), "no name");
    refused(ram, good(NULL, 0), "no name");
    refused(ram, good(name, 0), "longer than 255");
    refused(ram, good("x", 4095), "IOVA is not aligned");
    refused(ram, good("x", UINT64_MAX - 4095), "beyond the end");
    desc = good("x", 0), desc.size_bytes = 0;
    refused(ram, desc, "size");
    desc = good("x", 0), desc.size_bytes = 4097;
    refused(ram, desc, "size");
    desc = good("x", 0), desc.vaddr = memory + 1;
    refused(ram, desc, "address");
    desc = good("x", 0), desc.vaddr = NULL;
    refused(ram, desc, "address");
    desc = good("x", 0), desc.fd = 0, desc.fd_offset = 1;
    refused(ram, desc, "file offset");
    name[255] = 0;
    desc = good(name, 0);
    ok(ram_add(ram, &desc, &err));
    assert_ptr_not_equal(ram->blocks[0].desc.name, name);
    ram_free(ram);
}

static void iova_ranges_may_touch_but_not_overlap(void **state)
{
    struct ram *ram = ram_new();
    struct vmig_ram_block desc = good("middle", 0x10000);

    (void)state;
    ok(ram_add(ram, &desc, &err));
    refused(ram, good("below", 0xf000), "overlaps");
    refused(ram, good("same", 0x10000), "overlaps");
    refused(ram, good("above", 0x11000), "overlaps");
    desc = good("below", 0xe000);
    ok(ram_add(ram, &desc, &err));
    desc = good("above", 0x12000);
    ok(ram_add(ram, &desc, &err));
    refused(ram, good("above", 0x80000), "name already");
    assert_int_equal(ram_size_bytes(ram), 6 * RAM_PAGE_SIZE);
    assert_ptr_equal(ram_find(ram, "below"), &ram->blocks[1]);
    assert_null(ram_find(ram, "belo"));
    ram_free(ram);
}

static void sixty_four_blocks_are_taken_and_no_more(void **state)
{
    struct ram *ram = ram_new();
    char name[16];

    (void)state;
    for (unsigned i = 0; i < RAM_BLOCKS_MAX; i++) {
        snprintf(name, sizeof(name), "block%u", i);
        struct vmig_ram_block desc = good(name, i * UINT64_C(0x10000));
        ok(ram_add(ram, &desc, &err));
    }
    refused(ram, good("more", 0x10000000), "64 blocks");
    ram_free(ram);
    ram_free(NULL);
}

static void only_populated_pages_are_marked(enum region_kind kind)
{
    struct region region = region_new(kind, 2048);

    region_write(&region, 0);
    region_write(&region, 5);
    region_write(&region, 6);
    region_write(&region, 1024);
    region_write(&region, 2047);
    uint64_t before = region_populated(&region);
    ok(ram_mark_populated(region.ram, &err));
    assert_int_equal(ram_dirty_pages(region.ram), 5);
    assert_dirty(&region, 0, 5, 6, 1024, 2047);
    assert_int_equal(region_populated(&region), before);
    region_free(&region);
}

static void only_populated_pages_of_anonymous_memory_are_marked(void **state)
{
    (void)state;
    only_populated_pages_are_marked(REGION_ANONYMOUS);
}

static void only_data_of_a_memfd_is_marked(void **state)
{
    (void)state;
    only_populated_pages_are_marked(REGION_MEMFD);
}

static void pages_written_through_the_fd_are_populated(void **state)
{
    struct region region = region_new(REGION_MEMFD, 64);

    (void)state;
    assert_int_equal(pwrite(region.fd, "x", 1, 17 * RAM_PAGE_SIZE + 9), 1);
    ok(ram_mark_populated(region.ram, &err));
    assert_dirty(&region, 17);
    region_free(&region);
}

/* Pages of this process's page table and pages that only the file has, in runs that begin and end
 * in each other. */
static void data_is_found_in_the_page_table_and_beside_it(void **state)
{
    struct region region = region_new(REGION_MEMFD, 3000);
    char *dropped = (char *)region.memory;

    (void)state;
    for (uint64_t page = 10; page < 20; page++)
        region_write(&region, page);
    madvise(dropped + 12 * RAM_PAGE_SIZE, 3 * RAM_PAGE_SIZE, MADV_DONTNEED); /* in the middle */
    madvise(dropped + 19 * RAM_PAGE_SIZE, RAM_PAGE_SIZE, MADV_DONTNEED);     /* at the end */
    assert_int_equal(pwrite(region.fd, "x", 1, 9 * RAM_PAGE_SIZE), 1);
    assert_int_equal(pwrite(region.fd, "x", 1, 1500 * RAM_PAGE_SIZE), 1);
    assert_int_equal(pwrite(region.fd, "x", 1, 2999 * RAM_PAGE_SIZE), 1);
    region_write(&region, 1502);
    ok(ram_mark_populated(region.ram, &err));
    assert_dirty(&region, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 1500, 1502, 2999);
    region_free(&region);
}

/* More regions than one scan returns. */
static void many_separate_pages_are_found(void **state)
{
    struct region region = region_new(REGION_MEMFD, 6000);

    (void)state;
    for (uint64_t page = 0; page < 6000; page += 3)
        region_write(&region, page);
    for (uint64_t page = 0; page < 6000; page += 9)
        madvise(region.memory + page * RAM_PAGE_SIZE, RAM_PAGE_SIZE, MADV_DONTNEED);
    ok(ram_mark_populated(region.ram, &err));
    assert_int_equal(ram_dirty_pages(region.ram), 2000);
    for (uint64_t page = 0; page < 6000; page += 3)
        assert_true(bitmap_test(region.block->dirty, page));
    region_free(&region);
}

static void nothing_is_marked_in_untouched_memory(void **state)
{
    (void)state;
    for (int kind = REGION_ANONYMOUS; kind <= REGION_MEMFD; kind++) {
        struct region region = region_new(kind, UINT64_C(16) << 18); /* 16 GiB */

        ok(ram_mark_populated(region.ram, &err));
        assert_int_equal(ram_dirty_pages(region.ram), 0);
        region_free(&region);
    }
}

static void everything_is_marked_where_nothing_can_tell(void **state)
{
    struct region region = region_new(REGION_SHARED, 100);

    (void)state;
    ok(ram_mark_populated(region.ram, &err));
    assert_int_equal(ram_dirty_pages(region.ram), 100);
    region_free(&region);
}

/* Its pages are not in the file. */
static void everything_is_marked_in_a_private_mapping_of_the_fd(void **state)
{
    struct region region = region_new(REGION_MEMFD, 100);

    (void)state;
    assert_ptr_not_equal(mmap(region.memory, region.bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_FIXED, region.fd, 0),
                         MAP_FAILED);
    region_write(&region, 3);
    ok(ram_mark_populated(region.ram, &err));
    assert_int_equal(ram_dirty_pages(region.ram), 100);
    region_free(&region);
}

static void a_block_at_an_offset_of_its_fd_finds_its_own_data(void **state)
{
    struct region region = region_new(REGION_MEMFD, 64);
    struct ram *ram = ram_new();
    struct vmig_ram_block desc = region.block->desc;

    (void)state;
    desc.size_bytes = 32 * RAM_PAGE_SIZE;
    desc.fd_offset = 16 * RAM_PAGE_SIZE;
    desc.vaddr = region.memory + desc.fd_offset;
    ok(ram_add(ram, &desc, &err));
    region_write(&region, 15); /* the page before the block */
    region_write(&region, 16);
    region_write(&region, 47);
    region_write(&region, 48); /* the page after it */
    ok(ram_mark_populated(ram, &err));
    assert_int_equal(ram_dirty_pages(ram), 2);
    assert_true(bitmap_test(ram->blocks[0].dirty, 0));
    assert_true(bitmap_test(ram->blocks[0].dirty, 31));
    ram_free(ram);
    region_free(&region);
}

static void untouched_memory_is_known_to_be_zero(void **state)
{
    struct region region = region_new(REGION_MEMFD, 64);

    (void)state;
    assert_false(ram_known_zero(region.block, 0, region.bytes)); /* not asked yet */
    region_write(&region, 10);
    ok(ram_mark_touched(region.ram, &err));
    assert_true(ram_known_zero(region.block, 0, 10 * RAM_PAGE_SIZE));
    assert_false(ram_known_zero(region.block, 0, 11 * RAM_PAGE_SIZE));
    assert_false(ram_known_zero(region.block, 10 * RAM_PAGE_SIZE, RAM_PAGE_SIZE));
    assert_true(ram_known_zero(region.block, 11 * RAM_PAGE_SIZE, 53 * RAM_PAGE_SIZE));
    assert_false(ram_known_zero(region.block, 11 * RAM_PAGE_SIZE, 54 * RAM_PAGE_SIZE));
    assert_false(ram_known_zero(region.block, UINT64_MAX - 4095, 4096));
    region_free(&region);
}

static void loading_zeros_clears_what_was_touched_and_touches_no_hole(void **state)
{
    (void)state;
    for (int kind = REGION_ANONYMOUS; kind <= REGION_MEMFD; kind++) {
        struct region region = region_new(kind, 256);

        region_write(&region, 10);
        region_write(&region, 11);
        region_write(&region, 200);
        ok(ram_mark_touched(region.ram, &err));
        ok(ram_load_zero(region.block, 5 * RAM_PAGE_SIZE, 100 * RAM_PAGE_SIZE, &err));
        assert_int_equal(region_populated(&region), 3);
        assert_int_equal(region.memory[10 * RAM_PAGE_SIZE + 10], 0);
        assert_int_equal(region.memory[11 * RAM_PAGE_SIZE + 11], 0);
        assert_int_equal(region.memory[200 * RAM_PAGE_SIZE + 200], 1);
        assert_true(ram_known_zero(region.block, 5 * RAM_PAGE_SIZE, 100 * RAM_PAGE_SIZE));
        assert_false(ram_known_zero(region.block, 200 * RAM_PAGE_SIZE, RAM_PAGE_SIZE));
        region_free(&region);
    }
}

static void zeros_are_loaded_also_where_nothing_is_known(void **state)
{
    struct region region = region_new(REGION_MEMFD, 16);

    (void)state;
    region_write(&region, 3);
    ok(ram_load_zero(region.block, 0, region.bytes, &err));
    assert_int_equal(region.memory[3 * RAM_PAGE_SIZE + 3], 0);
    region_free(&region);
}

static void clear_all_stale(struct ram *ram)
{
    struct ram_cursor cursor = { 0 };

    while (ram_clear_stale(ram, &cursor))
        ;
}

/* The source's holes are not sent: what an earlier attempt left must not shine through. */
static void what_nothing_came_for_is_cleared_and_holes_stay_holes(void **state)
{
    (void)state;
    for (int kind = REGION_ANONYMOUS; kind <= REGION_SHARED; kind++) {
        struct region region = region_new(kind, 1024);

        for (uint64_t page = 100; page < 500; page++)
            region_write(&region, page);
        ok(ram_begin_load(region.ram, &err));
        assert_int_equal(region.memory[300 * RAM_PAGE_SIZE + 300], 1);
        clear_all_stale(region.ram);
        assert_true(ram_known_zero(region.block, 0, region.bytes));
        if (kind != REGION_SHARED)
            assert_int_equal(region_populated(&region), 400);
        for (uint64_t page = 100; page < 500; page++)
            assert_int_equal(region.memory[page * RAM_PAGE_SIZE + page], 0);
        region_free(&region);
    }
}

static void what_came_is_left_alone(void **state)
{
    struct region region = region_new(REGION_MEMFD, 64);

    (void)state;
    for (uint64_t page = 10; page < 20; page++)
        region_write(&region, page);
    ok(ram_begin_load(region.ram, &err));
    ram_arrives(region.block, 13, 2);
    ok(ram_load_zero(region.block, 16 * RAM_PAGE_SIZE, RAM_PAGE_SIZE, &err));
    region_write(&region, 16); /* as if it came after the zeros */
    ram_arrives(region.block, 16, 1);
    clear_all_stale(region.ram);
    for (uint64_t page = 10; page < 20; page++) {
        bool came = page == 13 || page == 14 || page == 16;

        assert_int_equal(region.memory[page * RAM_PAGE_SIZE + page] != 0, came);
        assert_int_equal(ram_known_zero(region.block, page * RAM_PAGE_SIZE, RAM_PAGE_SIZE), !came);
    }
    region_free(&region);
}

/* ---- cancelled on the way ---- */

static int some_more(void *opaque, struct vmig_error *err)
{
    unsigned *left = opaque;

    (void)err;
    return *left ? ((*left)--, 0) : -ECANCELED;
}

static void looking_for_populated_pages_ends_when_cancelled(void **state)
{
    (void)state;
    for (int kind = REGION_ANONYMOUS; kind <= REGION_MEMFD; kind++) {
        struct region region = region_new(kind, 8192);
        unsigned left = 3;

        for (uint64_t page = 0; page < 8192; page += 2) /* each is a piece of its own */
            region_write(&region, page);
        region.ram->may_go_on = some_more;
        region.ram->opaque = &left;
        assert_int_equal(ram_mark_populated(region.ram, NULL), -ECANCELED);
        assert_in_range(ram_dirty_pages(region.ram), 1, 4095);
        assert_int_equal(ram_mark_touched(region.ram, NULL), -ECANCELED);
        left = 10000;
        ok(ram_mark_populated(region.ram, &err));
        assert_int_equal(ram_dirty_pages(region.ram), 4096);
        region_free(&region);
    }
}

static void zeros_outside_of_the_block_are_refused(void **state)
{
    static const uint64_t bad[][2] = {
        { 0, 17 * RAM_PAGE_SIZE },   { 16 * RAM_PAGE_SIZE, RAM_PAGE_SIZE },
        { 1, RAM_PAGE_SIZE },        { 0, 1 },
        { UINT64_MAX - 4095, 8192 }, { 4096, UINT64_MAX - 4095 }
    };
    struct region region = region_new(REGION_MEMFD, 16);

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vmig_error err = { 0 };
        assert_int_equal(ram_load_zero(region.block, bad[i][0], bad[i][1], &err), -EINVAL);
        assert_non_null(strstr(err.text, "\"ram\""));
    }
    ok(ram_load_zero(region.block, 16 * RAM_PAGE_SIZE, 0, &err));
    region_free(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_of_bad_shape_is_refused),
        cmocka_unit_test(iova_ranges_may_touch_but_not_overlap),
        cmocka_unit_test(sixty_four_blocks_are_taken_and_no_more),
        cmocka_unit_test(only_populated_pages_of_anonymous_memory_are_marked),
        cmocka_unit_test(only_data_of_a_memfd_is_marked),
        cmocka_unit_test(pages_written_through_the_fd_are_populated),
        cmocka_unit_test(data_is_found_in_the_page_table_and_beside_it),
        cmocka_unit_test(many_separate_pages_are_found),
        cmocka_unit_test(nothing_is_marked_in_untouched_memory),
        cmocka_unit_test(everything_is_marked_where_nothing_can_tell),
        cmocka_unit_test(everything_is_marked_in_a_private_mapping_of_the_fd),
        cmocka_unit_test(a_block_at_an_offset_of_its_fd_finds_its_own_data),
        cmocka_unit_test(untouched_memory_is_known_to_be_zero),
        cmocka_unit_test(loading_zeros_clears_what_was_touched_and_touches_no_hole),
        cmocka_unit_test(zeros_are_loaded_also_where_nothing_is_known),
        cmocka_unit_test(what_nothing_came_for_is_cleared_and_holes_stay_holes),
        cmocka_unit_test(what_came_is_left_alone),
        cmocka_unit_test(looking_for_populated_pages_ends_when_cancelled),
        cmocka_unit_test(zeros_outside_of_the_block_are_refused),
    };
    return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}
