/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers in lib/memory/uapi.h, which no header here confirms, checked on the running kernel;
 * and what the trackers rely on besides.
 */
#include "tests/memory/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "lib/memory/holes.h"
#include "lib/memory/uapi.h"
#include "lib/memory/userfault.h"

static int open_with(uint64_t features)
{
    bool serves_kernel;

    return userfault_open(features, false, &serves_kernel, NULL);
}

static int pagemap_or_skip(void)
{
    struct uapi_scan scan = { .size = sizeof(scan) };
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || ioctl(fd, UAPI_PAGEMAP_SCAN, &scan) < 0) {
        print_message("no PAGEMAP_SCAN: it needs Linux 6.7\n");
        skip();
    }
    return fd;
}

static void the_features_that_we_ask_for_exist_and_others_do_not(void **state)
{
    static const uint64_t features[] = { UAPI_UFFD_WP_PAGEFAULT, UAPI_UFFD_WP_SHMEM,
                                         UAPI_UFFD_WP_UNPOPULATED, UAPI_UFFD_WP_ASYNC };
    int pagemap = pagemap_or_skip(); /* then all of them must be there */

    (void)state;
    for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        int fd = open_with(features[i]);
        if (fd == -EPERM || fd == -ENOSYS)
            skip();
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(open_with(UINT64_C(1) << 63), -EOPNOTSUPP);
    close(pagemap);
}

static void the_scan_knows_its_size_and_no_other(void **state)
{
    int pagemap = pagemap_or_skip();
    struct uapi_scan scan = { .size = sizeof(scan) - 8 };

    (void)state;
    assert_int_equal(ioctl(pagemap, UAPI_PAGEMAP_SCAN, &scan), -1);
    scan.size = sizeof(scan) + 8;
    assert_int_equal(ioctl(pagemap, UAPI_PAGEMAP_SCAN, &scan), -1);
    close(pagemap);
}

/* The one region that covers all of @region, or 0 categories when there is none. */
static uint64_t categories(int pagemap, const struct region *region, uint64_t asked)
{
    struct uapi_scan_region found;
    struct uapi_scan scan = {
        .size = sizeof(scan),
        .start = (uint64_t)(uintptr_t)region->memory,
        .end = (uint64_t)(uintptr_t)region->memory + region->bytes,
        .regions = (uint64_t)(uintptr_t)&found,
        .regions_len = 1,
        .any = asked,
        .return_mask = asked,
    };
    int count = ioctl(pagemap, UAPI_PAGEMAP_SCAN, &scan);

    assert_true(count >= 0);
    if (!count)
        return 0;
    assert_int_equal(found.start, scan.start);
    assert_int_equal(found.end, scan.end);
    assert_int_equal(scan.walk_end, scan.end);
    return found.categories;
}

static void the_categories_mean_what_we_think(void **state)
{
    int pagemap = pagemap_or_skip(), uffd = open_with(UAPI_UFFD_WP_ASYNC);
    struct region region = region_new(REGION_ANONYMOUS, 1);
    uint64_t all = UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED | UAPI_PAGE_ZERO;

    (void)state;
    if (uffd < 0)
        skip();
    assert_int_equal(categories(pagemap, &region, all), 0);
    (void)*(volatile uint8_t *)region.memory;
    assert_int_equal(categories(pagemap, &region, all), UAPI_PAGE_PRESENT | UAPI_PAGE_ZERO);
    region_write(&region, 0);
    assert_int_equal(categories(pagemap, &region, all), UAPI_PAGE_PRESENT);
    ok(userfault_register(uffd, &region.block->desc, UFFDIO_REGISTER_MODE_WP, &err));
    assert_int_equal(categories(pagemap, &region, all | UAPI_PAGE_WRITTEN),
                     UAPI_PAGE_PRESENT | UAPI_PAGE_WRITTEN);
    assert_int_equal(userfault_protect(uffd, &region.block->desc, 0, 4096, true), 0);
    assert_int_equal(categories(pagemap, &region, all | UAPI_PAGE_WRITTEN), UAPI_PAGE_PRESENT);
    region_write(&region, 0);
    assert_int_equal(categories(pagemap, &region, all | UAPI_PAGE_WRITTEN),
                     UAPI_PAGE_PRESENT | UAPI_PAGE_WRITTEN);
    close(uffd);
    close(pagemap);
    region_free(&region);
}

/* A marker is "swapped" and not "written", and gone from the table without one is "written". */
static void markers_stand_for_pages_of_shared_memory(void **state)
{
    int pagemap = pagemap_or_skip(), uffd = open_with(UAPI_UFFD_WP_ASYNC);
    struct region region = region_new(REGION_MEMFD, 1);
    uint64_t all = UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED | UAPI_PAGE_WRITTEN;

    (void)state;
    if (uffd < 0)
        skip();
    ok(userfault_register(uffd, &region.block->desc, UFFDIO_REGISTER_MODE_WP, &err));
    assert_int_equal(userfault_protect(uffd, &region.block->desc, 0, 4096, true), 0);
    assert_int_equal(categories(pagemap, &region, all), UAPI_PAGE_SWAPPED);
    assert_int_equal(region_populated(&region), 0);
    region_write(&region, 0);
    madvise(region.memory, region.bytes, MADV_DONTNEED);
    assert_int_equal(categories(pagemap, &region, all) & ~UAPI_PAGE_WRITTEN, 0);
    close(uffd);
    close(pagemap);
    region_free(&region);
}

/* The tracker's start relies on it: without conditions and output it protects what is there, puts
 * markers where nothing is, and so where there is not even a page table. */
static void a_scan_without_output_protects_everything(void **state)
{
    int pagemap = pagemap_or_skip(), uffd = open_with(UAPI_UFFD_WP_ASYNC);
    struct region region = region_new(REGION_MEMFD, 3 * 1024);
    struct uapi_scan scan = { .size = sizeof(scan),
                              .flags = UAPI_SCAN_PROTECT | UAPI_SCAN_CHECK_ASYNC,
                              .start = (uint64_t)(uintptr_t)region.memory,
                              .end = (uint64_t)(uintptr_t)region.memory + region.bytes };

    (void)state;
    if (uffd < 0)
        skip();
    region_write(&region, 0);
    region_write(&region, 1);
    madvise(region.memory + RAM_PAGE_SIZE, RAM_PAGE_SIZE, MADV_DONTNEED); /* only in the file */
    assert_int_equal(ioctl(pagemap, UAPI_PAGEMAP_SCAN, &scan), -1);       /* not registered */
    assert_int_equal(errno, EPERM);
    ok(userfault_register(uffd, &region.block->desc, UFFDIO_REGISTER_MODE_WP, &err));
    assert_int_equal(ioctl(pagemap, UAPI_PAGEMAP_SCAN, &scan), 0);
    assert_int_equal(scan.walk_end, scan.end);
    assert_int_equal(categories(pagemap, &region, UAPI_PAGE_WRITTEN), 0);
    assert_int_equal(region_populated(&region), 2);
    for (uint64_t page = 0; page < 3 * 1024; page += 512) {
        struct region one = { .memory = region.memory + page * RAM_PAGE_SIZE,
                              .bytes = RAM_PAGE_SIZE };
        uint64_t all = UAPI_PAGE_PRESENT | UAPI_PAGE_SWAPPED | UAPI_PAGE_WRITTEN;
        assert_int_equal(categories(pagemap, &one, all),
                         page ? UAPI_PAGE_SWAPPED : UAPI_PAGE_PRESENT);
    }
    close(uffd);
    close(pagemap);
    region_free(&region);
}

static void a_reserved_page_without_data_is_a_hole(void **state)
{
    struct region region = region_new(REGION_MEMFD, 16);

    (void)state;
    assert_int_equal(fallocate(region.fd, 0, 0, 8 * RAM_PAGE_SIZE), 0);
    region_write(&region, 2);
    assert_int_equal(lseek(region.fd, 0, SEEK_DATA), 2 * RAM_PAGE_SIZE);
    assert_int_equal(lseek(region.fd, 2 * RAM_PAGE_SIZE, SEEK_HOLE), 3 * RAM_PAGE_SIZE);
    region_free(&region);
}

static void the_kinds_of_mappings_are_recognised(void **state)
{
    struct region anonymous = region_new(REGION_ANONYMOUS, 8);
    struct region memfd = region_new(REGION_MEMFD, 8), shared = region_new(REGION_SHARED, 8);

    (void)state;
    assert_int_equal(mapping_kind(&anonymous.block->desc), MAPPING_ANONYMOUS);
    assert_int_equal(mapping_kind(&memfd.block->desc), MAPPING_FILE);
    assert_int_equal(mapping_kind(&shared.block->desc), MAPPING_OTHER);
    /* Split in three: still one kind. */
    mprotect(memfd.memory + 3 * RAM_PAGE_SIZE, RAM_PAGE_SIZE, PROT_READ);
    assert_int_equal(mapping_kind(&memfd.block->desc), MAPPING_FILE);
    memfd.block->desc.fd_offset = RAM_PAGE_SIZE; /* not what is mapped */
    assert_int_equal(mapping_kind(&memfd.block->desc), MAPPING_OTHER);
    memfd.block->desc.fd_offset = 0;
    memfd.block->desc.fd = shared.fd;
    assert_int_equal(mapping_kind(&memfd.block->desc), MAPPING_OTHER);
    /* A part of another kind, a part missing. */
    mmap(anonymous.memory + RAM_PAGE_SIZE, RAM_PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED,
         shared.fd, 0);
    assert_int_equal(mapping_kind(&anonymous.block->desc), MAPPING_OTHER);
    munmap(shared.memory + 7 * RAM_PAGE_SIZE, RAM_PAGE_SIZE);
    assert_int_equal(mapping_kind(&shared.block->desc), MAPPING_OTHER);
    region_free(&anonymous);
    region_free(&memfd);
    region_free(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_features_that_we_ask_for_exist_and_others_do_not),
        cmocka_unit_test(the_scan_knows_its_size_and_no_other),
        cmocka_unit_test(the_categories_mean_what_we_think),
        cmocka_unit_test(markers_stand_for_pages_of_shared_memory),
        cmocka_unit_test(a_scan_without_output_protects_everything),
        cmocka_unit_test(a_reserved_page_without_data_is_a_hole),
        cmocka_unit_test(the_kinds_of_mappings_are_recognised),
    };
    return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
