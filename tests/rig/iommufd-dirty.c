/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU's dirty bits on the kernel's mock IOMMU (CONFIG_IOMMUFD_TEST), which dirties the pages
 * that it is told to: what was planted comes back, all of it and nothing else.
 *
 * Mock devices are no VFIO devices, so the device layer gets one here whose memory is that of an
 * iommufd with a mock device in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/device/device.h"
#include "lib/device/iommufd-dirty.h"
#include "lib/memory/bitmap.h"
#include "tests/device/fake-backend.h"

#define PAGE UINT64_C(4096)
#define MOCK_PAGE UINT64_C(2048) /* the mock IOMMU's */
#define IOVA UINT64_C(0x1000000) /* where its addresses begin */
#define PAGES 1000
#define WORDS (PAGES / 64 + 1)

/* ---- the kernel's test door ---- */

struct test_command {
    uint32_t size, op, id, reserved;
    union {
        struct {
            uint32_t out_stdev_id, out_hwpt_id, out_idev_id, dev_flags;
        } mock;
        struct {
            uint32_t pt_id;
        } replace;
        struct {
            uint32_t flags, pad;
            uint64_t iova, length, page_size, bits, out_count;
        } dirty;
    };
    uint32_t last;
};
#define TEST_COMMAND _IO(';', 160)
#define OP_REPLACE 10
#define OP_MOCK 12
#define OP_DIRTY 13
#define NO_DIRTY 1u

struct mock {
    struct fake fake; /* first: its rows take the same pointer */
    struct iommufd_place place;
    uint32_t stdev_id, hwpt_id;
};

static struct mock mock;
static struct vmig_device *device;
static uint8_t *memory;

static void command(struct test_command *c)
{
    c->size = sizeof(*c);
    if (ioctl(mock.place.fd, TEST_COMMAND, c))
        fail_msg("test operation %u: %s", c->op, strerror(errno));
}

/* Dirty page @page of the IOVA space, first or second half. */
static void plant(uint64_t page, unsigned half)
{
    uint64_t one = 1;
    struct test_command c = { .op = OP_DIRTY,
                              .id = mock.hwpt_id,
                              .dirty = { .iova = IOVA + page * PAGE + half * MOCK_PAGE,
                                         .length = MOCK_PAGE,
                                         .page_size = MOCK_PAGE,
                                         .bits = (uintptr_t)&one } };
    command(&c);
    assert_int_equal(c.dirty.out_count, 1);
}

/* ---- a device in front of it ---- */

static int on_map(void *self, const struct vmig_dma_map *map, struct vmig_error *err)
{
    (void)self, (void)err;
    return iommufd_map(&mock.place, map);
}

static int on_unmap(void *self, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    uint64_t done;
    (void)self, (void)err;
    return iommufd_unmap(&mock.place, iova, size, &done);
}

static int on_info(void *self, struct backend_iommu_log *ret, struct vmig_error *err)
{
    (void)self, (void)err;
    iommufd_dirty_info(&mock.place, ret);
    return 0;
}

static int on_start(void *self, struct vmig_error *err)
{
    (void)self, (void)err;
    return iommufd_dirty_switch(mock.place.fd, mock.hwpt_id, true);
}

static int on_stop(void *self, struct vmig_error *err)
{
    (void)self, (void)err;
    return iommufd_dirty_switch(mock.place.fd, mock.hwpt_id, false);
}

static int on_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize, uint64_t *bitmap,
                     struct vmig_error *err)
{
    (void)self, (void)err;
    return iommufd_dirty_report(mock.place.fd, mock.hwpt_id, iova, size, pgsize, false, bitmap);
}

static int on_log_unmap(void *self, uint64_t iova, uint64_t size, uint64_t pgsize, uint64_t *bitmap,
                        struct vmig_error *err)
{
    int rc = iommufd_dirty_report(mock.place.fd, mock.hwpt_id, iova, size, pgsize, true, bitmap);
    return rc ? rc : on_unmap(self, iova, size, err);
}

static struct backend_ops ops;

static void make_device(void)
{
    const struct backend_choice choice = { .ops = { &ops } };
    struct vmig_error err = { 0 };
    char address[64];
    fake_init(&mock.fake);
    ops = fake_ops;
    ops.dma_map = on_map;
    ops.dma_unmap = on_unmap;
    ops.iommu_log_info = on_info;
    ops.iommu_log_start = on_start;
    ops.iommu_log_stop = on_stop;
    ops.iommu_log_report = on_report;
    ops.iommu_log_unmap = on_log_unmap;
    snprintf(address, sizeof(address), "fake:%p", (void *)&mock.fake);
    if (device_open(&choice, address, NULL, &device, &err))
        fail_msg("opening: %s", err.text);
}

/* A mock device with @flags in an address space of its own; with a page table that tracks where that
 * can be. */
static int begin_with(uint32_t flags)
{
    mock.place.fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    assert_true(mock.place.fd >= 0);
    assert_int_equal(iommufd_ioas_alloc(mock.place.fd, &mock.place.ioas_id), 0);
    struct test_command make = { .op = OP_MOCK,
                                 .id = mock.place.ioas_id,
                                 .mock = { .dev_flags = flags } };
    command(&make);
    mock.stdev_id = make.mock.out_stdev_id;
    mock.place.device_id = make.mock.out_idev_id;
    mock.hwpt_id = make.mock.out_hwpt_id;
    if (!flags) {
        assert_int_equal(iommufd_dirty_alloc(&mock.place, &mock.hwpt_id), 0);
        struct test_command replace = { .op = OP_REPLACE,
                                        .id = mock.stdev_id,
                                        .replace = { .pt_id = mock.hwpt_id } };
        command(&replace);
    }
    memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    make_device();
    return 0;
}

static int begin(void **state)
{
    (void)state;
    return begin_with(0);
}

static int begin_without_tracking(void **state)
{
    (void)state;
    return begin_with(NO_DIRTY);
}

static int end(void **state)
{
    (void)state;
    device = vmig_device_close(device);
    close(mock.place.fd);
    return munmap(memory, PAGES * PAGE);
}

/* ---- vocabulary ---- */

static void map(uint64_t first, uint64_t pages)
{
    struct vmig_error err = { 0 };
    struct vmig_dma_map m = { .iova = IOVA + first * PAGE,
                              .size_bytes = pages * PAGE,
                              .vaddr = memory + first * PAGE,
                              .fd = -1,
                              .writable = true };
    if (vmig_device_dma_map(device, &m, &err))
        fail_msg("mapping: %s", err.text);
}

static void start(void)
{
    struct vmig_error err = { 0 };
    uint64_t pgsize = 0;
    if (vmig_device_iommu_log_start(device, &pgsize, &err))
        fail_msg("starting: %s", err.text);
    assert_int_equal(pgsize, PAGE);
}

static void report(uint64_t first, uint64_t pages, uint64_t bits[WORDS])
{
    struct vmig_error err = { 0 };
    memset(bits, 0, WORDS * sizeof(bits[0]));
    if (vmig_device_iommu_log_report(device, IOVA + first * PAGE, pages * PAGE, PAGE, bits, &err))
        fail_msg("reporting: %s", err.text);
}

static uint64_t count(uint64_t first, uint64_t pages)
{
    uint64_t bits[WORDS];
    report(first, pages, bits);
    return bitmap_count(bits, pages);
}

/* Straight to the kernel. */
static uint64_t ask(uint64_t first, uint64_t pages, uint64_t pgsize, bool keep)
{
    static uint64_t bits[512] __attribute__((aligned(4096)));
    memset(bits, 0, sizeof(bits));
    assert_int_equal(iommufd_dirty_report(mock.place.fd, mock.hwpt_id, IOVA + first * PAGE,
                                          pages * PAGE, pgsize, keep, bits),
                     0);
    return bits[0];
}

/* ---- what comes back ---- */

static void what_was_planted_comes_back_exactly(void **state)
{
    uint64_t planted[WORDS] = { 0 }, bits[WORDS];
    uint32_t seed = 1;
    (void)state;
    map(0, 300);
    map(300, 1);
    map(301, 699); /* three mappings, no gap */
    start();
    for (unsigned round = 0; round < 5; round++) {
        memset(planted, 0, sizeof(planted));
        for (unsigned i = 0; i < 100; i++) {
            seed = seed * 1103515245 + 12345;
            uint64_t page = (seed >> 8) % PAGES;
            plant(page, seed >> 31);
            bitmap_set(planted, page);
        }
        report(0, PAGES, bits);
        assert_memory_equal(bits, planted, sizeof(bits));
        assert_int_equal(count(0, PAGES), 0); /* once */
    }
}

static void first_and_last_page_of_each_mapping_are_told(void **state)
{
    (void)state;
    map(0, 64);
    map(64, 65);
    start();
    const uint64_t pages[] = { 0, 63, 64, 128 };
    for (unsigned i = 0; i < 4; i++) {
        uint64_t bits[WORDS];
        plant(pages[i], i % 2);
        report(0, 129, bits);
        assert_int_equal(bitmap_count(bits, 129), 1);
        assert_true(bitmap_test(bits, pages[i]));
    }
}

static void the_rest_of_a_mapping_comes_with_a_later_report(void **state)
{
    (void)state;
    map(0, 200);
    start();
    plant(5, 0);
    plant(150, 0);
    assert_int_equal(count(0, 100), 1);
    assert_int_equal(count(100, 100), 1);
    assert_int_equal(count(0, 200), 0);
}

static void what_was_written_before_an_unmap_is_told_after_it(void **state)
{
    (void)state;
    map(0, 100);
    map(100, 100);
    start();
    plant(7, 1);
    plant(99, 0);
    plant(100, 0);
    assert_int_equal(vmig_device_dma_unmap(device, IOVA, 100 * PAGE, NULL), 0);
    map(0, 50); /* something else is there now */
    plant(20, 0);
    assert_int_equal(count(0, 200), 4);
    assert_int_equal(count(0, 200), 0);
}

static void a_mapping_made_meanwhile_is_tracked(void **state)
{
    (void)state;
    start();
    map(10, 10);
    plant(12, 0);
    assert_int_equal(count(10, 10), 1);
}

static void pages_are_as_large_as_one_asks_and_bits_stay_when_one_asks_for_it(void **state)
{
    (void)state;
    map(0, 64);
    start();
    plant(5, 0);
    assert_int_equal(ask(0, 64, 16 * PAGE, true), 0x1);
    assert_int_equal(ask(0, 64, PAGE, true), 0x20);
    assert_int_equal(ask(0, 64, PAGE, false), 0x20);
    assert_int_equal(ask(0, 64, PAGE, false), 0);
}

/* ---- what is lost without a word, and is not asked ---- */

static void refused(uint64_t first, uint64_t pages)
{
    uint64_t bits[WORDS] = { 0 };
    assert_int_equal(
        vmig_device_iommu_log_report(device, IOVA + first * PAGE, pages * PAGE, PAGE, bits, NULL),
        -EINVAL);
}

static void the_kernel_is_silent_while_tracking_is_off(void **state)
{
    (void)state;
    map(0, 64);
    start();
    plant(5, 0);
    assert_int_equal(vmig_device_iommu_log_stop(device, NULL), 0);
    assert_int_equal(ask(0, 64, PAGE, true), 0);
    refused(0, 64);
}

static void the_kernel_is_silent_about_a_range_that_begins_in_a_hole(void **state)
{
    (void)state;
    map(10, 50);
    start();
    plant(20, 0);
    assert_int_equal(ask(0, 64, PAGE, true), 0);
    refused(0, 64);
    refused(10, 54);
    assert_int_equal(count(10, 50), 1); /* and nothing was lost by it */
}

static void bits_that_the_kernel_cannot_write_are_gone(void **state)
{
    (void)state;
    map(0, 64);
    start();
    plant(5, 0);
    assert_int_equal(iommufd_dirty_report(mock.place.fd, mock.hwpt_id, IOVA, 64 * PAGE, PAGE, false,
                                          (uint64_t *)PAGE),
                     0);
    assert_int_equal(ask(0, 64, PAGE, false), 0);
}

/* ---- where there is none ---- */

static void an_IOMMU_that_cannot_track_is_known_from_the_beginning(void **state)
{
    uint32_t hwpt;
    uint64_t pgsize;
    struct vmig_error err = { 0 };
    struct vmig_migration_info info;
    (void)state;
    assert_int_equal(vmig_device_migration_info(device, &info, NULL), 0);
    assert_int_equal(info.iommu_log, VMIG_IOMMU_LOG_NONE);
    assert_int_equal(vmig_device_iommu_log_start(device, &pgsize, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "cannot track"));
    assert_int_equal(iommufd_dirty_alloc(&mock.place, &hwpt), -EOPNOTSUPP);
    assert_int_equal(iommufd_dirty_switch(mock.place.fd, mock.hwpt_id, true), -EOPNOTSUPP);
}

static void a_device_without_an_IOMMU_is_known_from_the_beginning(void **state)
{
    struct backend_iommu_log log;
    struct iommufd_place place = mock.place;
    (void)state;
    place.device_id = 0x7fffffff;
    iommufd_dirty_info(&place, &log);
    assert_int_equal(log.kind, VMIG_IOMMU_LOG_NONE);
    assert_non_null(strstr(log.why, "emulated"));
}

/* On a machine with an IOMMU the kernel takes the mock devices for that one's, and refuses them. */
static bool has_mock(void)
{
    struct test_command c = { .size = sizeof(c), .op = OP_MOCK };
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    bool has = fd >= 0 && !iommufd_ioas_alloc(fd, &c.id) && !ioctl(fd, TEST_COMMAND, &c);
    close(fd);
    return has;
}

int main(void)
{
    if (!has_mock()) {
        puts("1..0 # SKIP the mock IOMMU wants a machine without another one");
        return 0;
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_was_planted_comes_back_exactly),
        TEST(first_and_last_page_of_each_mapping_are_told),
        TEST(the_rest_of_a_mapping_comes_with_a_later_report),
        TEST(what_was_written_before_an_unmap_is_told_after_it),
        TEST(a_mapping_made_meanwhile_is_tracked),
        TEST(pages_are_as_large_as_one_asks_and_bits_stay_when_one_asks_for_it),
        TEST(the_kernel_is_silent_while_tracking_is_off),
        TEST(the_kernel_is_silent_about_a_range_that_begins_in_a_hole),
        TEST(bits_that_the_kernel_cannot_write_are_gone),
        cmocka_unit_test_setup_teardown(an_IOMMU_that_cannot_track_is_known_from_the_beginning,
                                        begin_without_tracking, end),
        TEST(a_device_without_an_IOMMU_is_known_from_the_beginning),
    };
    return cmocka_run_group_tests_name("iommufd-dirty", tests, NULL, NULL);
}
