/* SPDX-License-Identifier: BSD-3-Clause */
/* Digests of memory: what becomes suspect, and how it is told in few words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/memory/suspect.h"

#define PAGES 200u

static void *memory[2];

/* Two blocks of PAGES. */
static struct ram *two_blocks(void)
{
    struct ram *ram = ram_new();
    for (unsigned i = 0; i < 2; i++) {
        memory[i] = aligned_alloc(RAM_PAGE_SIZE, PAGES * RAM_PAGE_SIZE);
        memset(memory[i], (int)i + 1, PAGES * RAM_PAGE_SIZE);
        struct vmig_ram_block block = { .name = i ? "b" : "a",
                                        .iova = (uint64_t)i << 32,
                                        .size_bytes = PAGES * RAM_PAGE_SIZE,
                                        .vaddr = memory[i],
                                        .fd = -1 };
        assert_int_equal(ram_add(ram, &block, NULL), 0);
    }
    assert_int_equal(suspect_start(ram, NULL), 0);
    return ram;
}

static void done(struct ram *ram)
{
    ram_free(ram);
    free(memory[0]);
    free(memory[1]);
}

static void mark(struct ram *ram, unsigned block, uint64_t page, uint64_t pages)
{
    bitmap_set_range(ram->blocks[block].suspect, page, pages);
}

static void each_run_has_a_digest_of_its_own(void **state)
{
    (void)state;
    struct ram *ram = two_blocks();
    uint64_t before[3], after[3];
    assert_int_equal(ram_runs(1), 1);
    assert_int_equal(ram_runs(16), 1);
    assert_int_equal(ram_runs(17), 2);
    /* pages 3 to 36: runs of 16, 16 and 2 */
    assert_int_equal(ram_runs(34), 3);
    ram_digests(&ram->blocks[0], 3 * RAM_PAGE_SIZE, 34, before);
    assert_true(before[0] == before[1] && before[1] != before[2]);
    for (unsigned page = 2; page <= 37; page++) {
        char *byte = (char *)memory[0] + page * RAM_PAGE_SIZE + page;
        *byte ^= 0x10;
        ram_digests(&ram->blocks[0], 3 * RAM_PAGE_SIZE, 34, after);
        for (unsigned run = 0; run < 3; run++)
            assert_int_equal(before[run] != after[run],
                             page >= 3 && page < 37 && (page - 3) / 16 == run);
        *byte ^= 0x10;
    }
    done(ram);
}

static void suspect_is_what_differs_until_it_comes_again(void **state)
{
    (void)state;
    struct ram *ram = two_blocks();
    uint64_t sent[3] = { 1, 2, 3 }, arrived[3] = { 1, 7, 3 };
    suspect_compare(&ram->blocks[1], 3 * RAM_PAGE_SIZE, 34, sent, arrived);
    assert_int_equal(suspect_pages(ram), 16);
    assert_true(bitmap_test(ram->blocks[1].suspect, 19) && bitmap_test(ram->blocks[1].suspect, 34));
    assert_false(bitmap_test(ram->blocks[1].suspect, 18));
    assert_false(bitmap_test(ram->blocks[1].suspect, 35));
    /* half of it comes again intact, and then all */
    suspect_compare(&ram->blocks[1], 19 * RAM_PAGE_SIZE, 8, sent, sent);
    assert_int_equal(suspect_pages(ram), 8);
    suspect_compare(&ram->blocks[1], 0, 40, sent, sent);
    assert_int_equal(suspect_pages(ram), 0);
    done(ram);
}

static void what_is_suspect_becomes_dirty_beside_what_is(void **state)
{
    (void)state;
    struct ram *ram = two_blocks();
    bitmap_set(ram->blocks[0].dirty, 5);
    mark(ram, 0, 63, 2);
    suspect_to_dirty(ram);
    assert_int_equal(suspect_pages(ram), 0);
    assert_int_equal(ram_dirty_pages(ram), 3);
    assert_true(bitmap_test(ram->blocks[0].dirty, 64));
    done(ram);
}

/* Every suspect page is in some range, ranges do not meet, and there are no more than allowed. */
static void check_list(const struct ram *ram, unsigned max)
{
    static struct suspect_range list[PAGES];
    unsigned n = suspect_list(ram, list, max);
    uint64_t found = 0;
    assert_true(n <= max);
    for (unsigned i = 0; i < n; i++) {
        const struct ram_block *b = &ram->blocks[list[i].block];
        assert_true(list[i].pages > 0 && list[i].page + list[i].pages <= b->pages);
        assert_true(bitmap_test(b->suspect, list[i].page));
        assert_true(bitmap_test(b->suspect, list[i].page + list[i].pages - 1));
        if (i && list[i].block == list[i - 1].block)
            assert_true(list[i].page > list[i - 1].page + list[i - 1].pages);
        for (uint64_t k = 0; k < list[i].pages; k++)
            found += bitmap_test(b->suspect, list[i].page + k);
    }
    assert_int_equal(found, suspect_pages(ram));
}

static void list_is_exact_where_it_fits_and_covers_all_where_not(void **state)
{
    (void)state;
    struct ram *ram = two_blocks();
    struct suspect_range list[4];
    assert_int_equal(suspect_list(ram, list, RAM_BLOCKS_MAX), 0);
    mark(ram, 0, 0, 1);
    mark(ram, 0, 199, 1);
    mark(ram, 1, 10, 20);
    assert_int_equal(suspect_list(ram, list, 3), 3);
    assert_int_equal(list[2].block, 1);
    assert_int_equal(list[2].page, 10);
    assert_int_equal(list[2].pages, 20);
    assert_int_equal(suspect_list(ram, list, 2), 2); /* a range in one block only */
    assert_int_equal(list[0].pages, 200);
    for (uint64_t page = 0; page < PAGES; page += 2)
        mark(ram, 0, page, 1);
    for (uint64_t page = 1; page < PAGES; page += 1 + page)
        mark(ram, 1, page, 1);
    for (unsigned max = 2; max <= PAGES; max++)
        check_list(ram, max);
    done(ram);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_run_has_a_digest_of_its_own),
        cmocka_unit_test(suspect_is_what_differs_until_it_comes_again),
        cmocka_unit_test(what_is_suspect_becomes_dirty_beside_what_is),
        cmocka_unit_test(list_is_exact_where_it_fits_and_covers_all_where_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
