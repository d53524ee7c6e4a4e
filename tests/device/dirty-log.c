/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device wrote, by its own log and by its IOMMU's dirty bits: what reaches the backend, and
 * that no bit is lost on the way. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/device/device.h"
#include "lib/device/iova-bits.h"
#include "tests/device/fake-backend.h"

static struct fake fake;
static struct vmig_device *device;
static struct vmig_error err;
static char page[2 * 4096] __attribute__((aligned(4096)));

static int begin_with(const struct backend_iommu_log *iommu_log)
{
    fake_init(&fake);
    fake.iommu_log = *iommu_log;
    memset(&err, 0, sizeof(err));
    int rc = fake_open(&fake, NULL, &device, &err);
    fake.history[0] = '\0';
    return rc;
}

static int begin(void **unused)
{
    (void)unused;
    return begin_with(&(struct backend_iommu_log) {
        .kind = VMIG_IOMMU_LOG_TRUE, .pgsize = 4096, .max_mapping_bytes = 0x100000 });
}

static int end(void **unused)
{
    (void)unused;
    device = vmig_device_close(device);
    return 0;
}

static int map_at(uint64_t iova, uint64_t size)
{
    struct vmig_dma_map map = { .iova = iova, .size_bytes = size, .vaddr = page, .fd = -1 };
    memset(&err, 0, sizeof(err));
    return vmig_device_dma_map(device, &map, &err);
}

/* ---- the DMA log ---- */

static int start_log(uint64_t iova, uint64_t size, uint64_t *pgsize)
{
    struct vmig_dma_range range = { iova, size };
    memset(&err, 0, sizeof(err));
    return vmig_device_dma_log_start(device, &range, 1, pgsize, &err);
}

static void starting_a_log_makes_one_trial_report_inside_a_mapping(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096;
    struct vmig_dma_range ranges[] = { { 0, 0x10000 }, { 0x20000, 0x2000 } };
    assert_int_equal(map_at(0x20000, 0x2000), 0);
    assert_int_equal(vmig_device_dma_log_start(device, ranges, 2, &pgsize, NULL), 0);
    assert_int_equal(fake.num_reports, 1);
    assert_int_equal(fake.reported_iova, 0x20000);
}

static void a_log_that_cannot_be_read_is_stopped_and_not_supported(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096;
    fake.log_report_rc = -EOPNOTSUPP;
    assert_int_equal(start_log(0, 0x10000, &pgsize), -EOPNOTSUPP);
    assert_string_equal(err.reason, "vfio-log-unreadable");
    assert_int_equal(fake.num_log_stops, 1);
    assert_non_null(strstr(err.text, "cannot be read"));
    fake.log_report_rc = -EINVAL;
    assert_int_equal(start_log(0, 0x10000, &pgsize), -EOPNOTSUPP);
}

static void the_page_size_that_the_device_chooses_counts(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096;
    fake.log_pgsize = 65536;
    assert_int_equal(start_log(0, 0x10000, &pgsize), 0);
    assert_int_equal(pgsize, 65536);
}

static void a_page_size_below_4096_is_asked_for_in_4096(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096;
    fake.log_pgsize = 2048;
    assert_int_equal(start_log(0, 0x10000, &pgsize), 0);
    assert_int_equal(pgsize, 4096);
}

static void a_page_size_that_makes_no_sense_stops_the_log(void **unused)
{
    (void)unused;
    static const uint64_t wrong[] = { 1, 256, 5000 };
    for (unsigned i = 0; i < 3; i++) {
        uint64_t pgsize = 4096;
        fake.log_pgsize = wrong[i];
        assert_int_equal(start_log(0, 0x10000, &pgsize), -EOPNOTSUPP);
        assert_string_equal(err.reason, "vfio-log-unreadable");
        assert_int_equal(pgsize, 4096);
        assert_int_equal(fake.num_log_stops, i + 1);
    }
}

static void senseless_log_requests_do_not_reach_the_device(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096, odd = 5000, none = 0;
    struct vmig_dma_range ranges[257] = { 0 };
    for (unsigned i = 0; i < 257; i++)
        ranges[i] = (struct vmig_dma_range) { i * UINT64_C(0x10000), 0x1000 };
    assert_int_equal(vmig_device_dma_log_start(device, ranges, 257, &pgsize, NULL), -EINVAL);
    assert_int_equal(vmig_device_dma_log_start(device, ranges, 0, &pgsize, NULL), -EINVAL);
    assert_int_equal(start_log(0, 0x1000, &odd), -EINVAL);
    assert_int_equal(start_log(0, 0x1000, &none), -EINVAL);
    assert_int_equal(start_log(0x800, 0x1000, &pgsize), -EINVAL);
    assert_int_equal(start_log(0, 0, &pgsize), -EINVAL);
    assert_int_equal(start_log(UINT64_MAX - 0xfff, 0x1000, &pgsize), -EINVAL);
    ranges[1].iova = 0;
    assert_int_equal(vmig_device_dma_log_start(device, ranges, 2, &pgsize, NULL), -EINVAL);
    assert_null(strstr(fake.history, "log_start"));
    ranges[1].iova = 0x10000;
    assert_int_equal(vmig_device_dma_log_start(device, ranges, 256, &pgsize, NULL), 0);
}

static void a_report_asks_for_mapped_memory_only(void **unused)
{
    (void)unused;
    uint64_t bitmap = 2;
    assert_int_equal(map_at(0x10000, 0x2000), 0);
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0x2000, 4096, &bitmap, NULL), 0);
    assert_int_equal(bitmap, 3); /* ORed */
    assert_int_equal(vmig_device_dma_log_report(device, 0x8000, 0x1000, 4096, &bitmap, NULL),
                     -EINVAL);
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0x1000, 2048, &bitmap, NULL),
                     -EINVAL);
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0, 4096, &bitmap, NULL), -EINVAL);
    memset(&err, 0, sizeof(err));
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0x3000, 4096, &bitmap, &err),
                     -EINVAL);
    assert_int_equal(fake.num_reports, 1); /* asking for its mapped part would have cleared it */
    assert_non_null(strstr(err.text, "0x12000 is not mapped"));
}

static void a_report_over_several_mappings_asks_for_each(void **unused)
{
    (void)unused;
    uint64_t bitmap = 0;
    assert_int_equal(map_at(0x10000, 0x2000), 0);
    assert_int_equal(map_at(0x12000, 0x2000), 0);
    assert_int_equal(vmig_device_dma_log_report(device, 0x11000, 0x2000, 4096, &bitmap, NULL), 0);
    assert_int_equal(bitmap, 3); /* each piece says that its first page is dirty */
    assert_int_equal(fake.num_reports, 2);
    assert_int_equal(fake.reported_iova, 0x12000);
    assert_int_equal(fake.reported_size, 0x1000);
}

/* Low memory of a PC is 640 KiB, and a log may have pages of 2 MiB. */
static void a_report_need_not_be_whole_pages_of_the_log(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096, bitmap = 0;
    fake.log_pgsize = 0x4000;
    assert_int_equal(map_at(0x1000, 0xa000), 0); /* smaller than two pages, and across three */
    assert_int_equal(start_log(0x1000, 0xa000, &pgsize), 0);
    assert_int_equal(fake.reported_iova, 0x1000);
    assert_int_equal(fake.reported_size, 0x1000); /* the trial fits into any mapping */
    fake.log_word = 1 << 3 | 1 << 4 | 1 << 9;
    assert_int_equal(vmig_device_dma_log_report(device, 0x1000, 0xa000, 0x4000, &bitmap, NULL), 0);
    assert_int_equal(fake.reported_pgsize, 4096);
    assert_int_equal(fake.reported_size, 0xa000);
    assert_int_equal(bitmap, 7); /* bit n is what begins at 0x1000 + n * 0x4000 */
    bitmap = 0;
    fake.log_word = 0;
    assert_int_equal(vmig_device_dma_log_report(device, 0x4000, 0x4000, 0x4000, &bitmap, NULL), 0);
    assert_int_equal(fake.reported_pgsize, 0x4000);
    assert_int_equal(vmig_device_dma_log_report(device, 0x1800, 0x1000, 0x4000, &bitmap, NULL),
                     -EINVAL);
    fake.log_report_rc = -EIO;
    assert_int_equal(vmig_device_dma_log_report(device, 0x1000, 0x1000, 0x4000, &bitmap, NULL),
                     -EIO);
}

/* A log has one bit for a large page, and forgets it when any part of the page is asked for. */
static void the_rest_of_a_large_page_is_dirty_for_who_asks_next(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096, bitmap = 0;
    fake.log_pgsize = 0x4000;
    fake.log_empty = true;
    assert_int_equal(map_at(0x10000, 0x6000), 0);
    assert_int_equal(map_at(0x16000, 0x6000), 0);
    assert_int_equal(start_log(0x10000, 0xc000, &pgsize), 0);
    fake.log_word = 1 << 5; /* in [0x14000, 0x18000), of which each mapping has a half */
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0x6000, 4096, &bitmap, NULL), 0);
    assert_int_equal(bitmap, 0x30);
    bitmap = 0;
    assert_int_equal(vmig_device_dma_log_report(device, 0x16000, 0x6000, 4096, &bitmap, NULL), 0);
    assert_int_equal(bitmap, 0x3);
    bitmap = 0;
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0xc000, 4096, &bitmap, NULL), 0);
    assert_int_equal(bitmap, 0); /* once */
}

static void a_large_page_is_dirty_beside_a_mapping_that_went_away(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096, bitmap = 0;
    fake.log_pgsize = 0x4000;
    fake.log_empty = true;
    assert_int_equal(map_at(0x10000, 0x6000), 0);
    assert_int_equal(map_at(0x16000, 0x1000), 0); /* in the middle of a page */
    assert_int_equal(start_log(0x10000, 0xc000, &pgsize), 0);
    fake.log_word = 1;
    assert_int_equal(vmig_device_dma_unmap(device, 0x16000, 0x1000, NULL), 0);
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0x6000, 4096, &bitmap, NULL), 0);
    assert_int_equal(bitmap, 0x30);
    assert_int_equal(vmig_device_dma_log_report(device, 0x17000, 0x1000, 4096, &bitmap, NULL),
                     -EINVAL); /* was never mapped */
}

static void a_log_is_started_once_and_stopped_as_often_as_one_likes(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096;
    assert_int_equal(vmig_device_dma_log_stop(device, NULL), 0);
    assert_int_equal(start_log(0, 0x10000, &pgsize), 0);
    assert_int_equal(start_log(0, 0x10000, &pgsize), -EALREADY);
    assert_int_equal(vmig_device_dma_log_stop(device, NULL), 0);
    assert_int_equal(vmig_device_dma_log_stop(device, NULL), 0);
    assert_int_equal(fake.num_log_stops, 1);
    assert_int_equal(start_log(0, 0x10000, &pgsize), 0);
}

static void a_reset_ends_a_log_which_may_be_started_again(void **unused)
{
    (void)unused;
    uint64_t pgsize = 4096;
    assert_int_equal(start_log(0, 0x10000, &pgsize), 0);
    assert_int_equal(vmig_device_reset(device, NULL), 0);
    assert_int_equal(fake.num_log_stops, 1); /* there are devices whose log goes on */
    assert_int_equal(start_log(0, 0x10000, &pgsize), 0);
}

/* ---- a mapping that goes away ---- */

static uint64_t device_bits(uint64_t iova, uint64_t size)
{
    uint64_t bitmap = 0;
    assert_int_equal(vmig_device_dma_log_report(device, iova, size, 4096, &bitmap, NULL), 0);
    return bitmap;
}

static void begin_log(void)
{
    uint64_t pgsize = 4096;
    fake.log_empty = true;
    assert_int_equal(map_at(0x10000, 0x4000), 0);
    assert_int_equal(start_log(0, 0x100000, &pgsize), 0);
}

static void what_was_written_before_an_unmap_is_in_the_next_report(void **unused)
{
    (void)unused;
    begin_log();
    fake.log_word = 0x5;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_int_equal(device_bits(0x10000, 0x4000), 0x5);
    assert_int_equal(device_bits(0x10000, 0x4000), 0); /* once */
}

static void it_is_also_when_something_else_is_mapped_there_now(void **unused)
{
    (void)unused;
    begin_log();
    fake.log_word = 0x5;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_int_equal(map_at(0x11000, 0x1000), 0);
    fake.log_word = 0x1; /* of that */
    assert_int_equal(device_bits(0x10000, 0x4000), 0x7);
}

static void each_report_takes_its_own_part_of_what_was_unmapped(void **unused)
{
    (void)unused;
    begin_log();
    fake.log_word = 0xf;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_int_equal(device_bits(0x11000, 0x2000), 0x3);
    assert_int_equal(device_bits(0x10000, 0x4000), 0x9);
}

static void without_knowing_all_that_was_unmapped_is_dirty(void **unused)
{
    (void)unused;
    begin_log();
    fake.log_ends_with_mapping = true;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    fake.log_report_rc = 0;
    assert_int_equal(device_bits(0x10000, 0x4000), 0xf);
}

static void an_unmap_that_is_refused_loses_no_bits(void **unused)
{
    (void)unused;
    begin_log();
    fake.log_word = 0x5;
    fake.unmap_rc = -EIO;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), -EIO);
    assert_int_equal(device_bits(0x10000, 0x4000), 0x5);
}

static void the_end_of_a_log_forgets_what_was_unmapped(void **unused)
{
    (void)unused;
    uint64_t bitmap = 0;
    begin_log();
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_int_equal(vmig_device_dma_log_stop(device, NULL), 0);
    assert_int_equal(vmig_device_dma_log_report(device, 0x10000, 0x4000, 4096, &bitmap, NULL),
                     -EINVAL);
}

static void without_a_log_an_unmap_asks_for_nothing(void **unused)
{
    (void)unused;
    assert_int_equal(map_at(0x10000, 0x4000), 0);
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_int_equal(fake.num_reports, 0);
    assert_int_equal(fake.num_iommu_reports, 0);
}

/* ---- the IOMMU's dirty bits ---- */

static int start_iommu(uint64_t *pgsize)
{
    memset(&err, 0, sizeof(err));
    return vmig_device_iommu_log_start(device, pgsize, &err);
}

static uint64_t iommu_bits(uint64_t iova, uint64_t size)
{
    uint64_t bitmap = 0;
    assert_int_equal(vmig_device_iommu_log_report(device, iova, size, 4096, &bitmap, NULL), 0);
    return bitmap;
}

static void an_IOMMU_that_cannot_tell_is_not_asked(void **unused)
{
    uint64_t pgsize = 0;
    end(unused);
    begin_with(&(struct backend_iommu_log) { .kind = VMIG_IOMMU_LOG_NONE, .why = "it is old" });
    assert_int_equal(start_iommu(&pgsize), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "it is old"));
    assert_string_equal(fake.history, "");
    struct vmig_migration_info info;
    assert_int_equal(vmig_device_migration_info(device, &info, NULL), 0);
    assert_int_equal(info.iommu_log, VMIG_IOMMU_LOG_NONE);
}

static void what_the_IOMMU_can_is_in_the_migration_info(void **unused)
{
    (void)unused;
    struct vmig_migration_info info;
    assert_int_equal(vmig_device_migration_info(device, &info, NULL), 0);
    assert_int_equal(info.iommu_log, VMIG_IOMMU_LOG_TRUE);
}

static void an_IOMMUs_bits_are_started_once_and_stopped_as_often_as_one_likes(void **unused)
{
    (void)unused;
    uint64_t pgsize = 0;
    assert_int_equal(vmig_device_iommu_log_stop(device, NULL), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    assert_int_equal(pgsize, 4096);
    assert_int_equal(start_iommu(&pgsize), -EALREADY);
    assert_int_equal(vmig_device_iommu_log_stop(device, NULL), 0);
    assert_int_equal(vmig_device_iommu_log_stop(device, NULL), 0);
    assert_string_equal(fake.history, "iommu_start iommu_stop ");
}

/* Kernels answer such a question with success and nothing. */
static void an_IOMMU_that_is_not_on_is_not_asked(void **unused)
{
    (void)unused;
    uint64_t bitmap = 0;
    assert_int_equal(map_at(0x10000, 0x2000), 0);
    assert_int_equal(vmig_device_iommu_log_report(device, 0x10000, 0x2000, 4096, &bitmap, NULL),
                     -EINVAL);
    assert_int_equal(fake.num_iommu_reports, 0);
}

static void an_IOMMU_is_asked_for_whole_mappings(void **unused)
{
    (void)unused;
    uint64_t pgsize;
    assert_int_equal(map_at(0x10000, 0x8000), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    fake.iommu_word = 0x81;
    assert_int_equal(iommu_bits(0x10000, 0x8000), 0x81);
    assert_int_equal(fake.iommu_iova, 0x10000);
    assert_int_equal(fake.iommu_size, 0x8000);
    fake.iommu_word = 0x99;
    assert_int_equal(iommu_bits(0x13000, 0x2000), 0x3);
    assert_int_equal(fake.iommu_iova, 0x10000);
    assert_int_equal(fake.iommu_size, 0x8000);
    assert_int_equal(iommu_bits(0x10000, 0x8000), 0x81); /* what was not asked for then */
}

static void large_pages_of_an_IOMMU_are_all_the_pages_in_them(void **unused)
{
    uint64_t pgsize;
    end(unused);
    begin_with(&(struct backend_iommu_log) {
        .kind = VMIG_IOMMU_LOG_TRUE, .pgsize = 0x4000, .max_mapping_bytes = UINT64_MAX });
    assert_int_equal(map_at(0x10000, 0x10000), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    assert_int_equal(pgsize, 0x4000);
    fake.iommu_word = 0x2;
    assert_int_equal(iommu_bits(0x10000, 0x10000), 0xf0);
    fake.iommu_word = 0x2;
    assert_int_equal(iommu_bits(0x15000, 0x1000), 0x1);
    assert_int_equal(iommu_bits(0x10000, 0x10000), 0xd0);
}

static void an_IOMMU_reads_what_it_loses_with_a_mapping(void **unused)
{
    (void)unused;
    uint64_t pgsize;
    assert_int_equal(map_at(0x10000, 0x4000), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    fake.iommu_word = 0x6;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_non_null(strstr(fake.history, "iommu_unmap"));
    assert_null(strstr(fake.history, "dma_unmap"));
    assert_int_equal(iommu_bits(0x10000, 0x4000), 0x6);
    assert_int_equal(iommu_bits(0x10000, 0x4000), 0);
}

static void what_an_IOMMU_cannot_tell_of_a_mapping_that_goes_is_dirty(void **unused)
{
    (void)unused;
    uint64_t pgsize;
    assert_int_equal(map_at(0x10000, 0x4000), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    fake.iommu_report_rc = -EIO;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, &err), 0);
    assert_int_equal(err.code, 0);
    assert_non_null(strstr(fake.history, "dma_unmap"));
    fake.iommu_report_rc = 0;
    assert_int_equal(iommu_bits(0x10000, 0x4000), 0xf);
    fake.iommu_report_rc = -EIO;
    fake.unmap_rc = -EBUSY;
    assert_int_equal(map_at(0x10000, 0x4000), 0);
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, &err), -EBUSY);
}

static void both_logs_keep_what_is_unmapped(void **unused)
{
    (void)unused;
    uint64_t pgsize;
    begin_log();
    assert_int_equal(start_iommu(&pgsize), 0);
    fake.log_word = 0x1;
    fake.iommu_word = 0x8;
    assert_int_equal(vmig_device_dma_unmap(device, 0x10000, 0x4000, NULL), 0);
    assert_int_equal(device_bits(0x10000, 0x4000), 0x1);
    assert_int_equal(iommu_bits(0x10000, 0x4000), 0x8);
}

static void a_mapping_larger_than_the_IOMMU_can_report_is_refused(void **unused)
{
    (void)unused;
    uint64_t pgsize = 0;
    assert_int_equal(map_at(0, 0x101000), 0);
    assert_int_equal(start_iommu(&pgsize), -ENOSPC);
    assert_string_equal(err.reason, "vfio-bitmap-too-large");
    assert_non_null(strstr(err.text, "1052672 bytes"));
    assert_non_null(strstr(err.text, "1048576 bytes"));
    assert_null(strstr(fake.history, "iommu_start"));
    assert_int_equal(vmig_device_dma_unmap(device, 0, 0x101000, NULL), 0);
    assert_int_equal(map_at(0, 0x100000), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    assert_int_equal(map_at(0x1000000, 0x101000), -ENOSPC);
    assert_string_equal(err.reason, "vfio-bitmap-too-large");
    assert_int_equal(map_at(0x1000000, 0x100000), 0);
}

static void a_report_that_fails_is_told(void **unused)
{
    (void)unused;
    uint64_t pgsize, bitmap = 0;
    assert_int_equal(map_at(0x10000, 0x4000), 0);
    assert_int_equal(start_iommu(&pgsize), 0);
    fake.iommu_report_rc = -EIO;
    assert_int_equal(vmig_device_iommu_log_report(device, 0x10000, 0x4000, 4096, &bitmap, &err),
                     -EIO);
    assert_non_null(strstr(err.text, "IOMMU"));
    assert_int_equal(vmig_device_iommu_log_report(device, 0x11000, 0x1000, 4096, &bitmap, NULL),
                     -EIO);
}

/* ---- bits of one range in another's pages ---- */

static void every_page_that_a_dirty_one_touches_is_dirty(void **unused)
{
    (void)unused;
    for (unsigned from_page = 12; from_page < 16; from_page++)
        for (unsigned to_page = 12; to_page < 16; to_page++)
            for (uint64_t shift = 0; shift < 8; shift++)
                for (unsigned n = 0; n < 4; n++) {
                    uint64_t src = UINT64_C(1) << n, dst = 0, want = 0;
                    struct iova_bits from = { 0x100000, 4u << from_page, 1u << from_page, &src };
                    struct iova_bits to = { 0x100000 + shift * 4096, 0x10000, 1u << to_page, &dst };
                    iova_bits_or(&to, &from);
                    for (uint64_t i = 0; i < iova_bits_count(&to); i++) {
                        uint64_t a = from.iova + n * from.pgsize, b = to.iova + i * to.pgsize;
                        if (a < b + to.pgsize && b < a + from.pgsize)
                            want |= UINT64_C(1) << i;
                    }
                    assert_int_equal(dst, want);
                }
}

static void ranges_up_to_the_last_page_do_not_wrap(void **unused)
{
    (void)unused;
    uint64_t src = 0x3, dst = 0;
    struct iova_bits from = { UINT64_MAX - 0x2fff, 0x2000, 0x1000, &src };
    struct iova_bits to = { UINT64_MAX - 0x1fff, 0x1000, 0x1000, &dst };
    iova_bits_or(&to, &from);
    assert_int_equal(dst, 1);
    iova_bits_clear(&from, &to);
    assert_int_equal(src, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starting_a_log_makes_one_trial_report_inside_a_mapping),
        TEST(a_log_that_cannot_be_read_is_stopped_and_not_supported),
        TEST(the_page_size_that_the_device_chooses_counts),
        TEST(a_page_size_below_4096_is_asked_for_in_4096),
        TEST(a_page_size_that_makes_no_sense_stops_the_log),
        TEST(senseless_log_requests_do_not_reach_the_device),
        TEST(a_report_asks_for_mapped_memory_only),
        TEST(a_report_over_several_mappings_asks_for_each),
        TEST(a_report_need_not_be_whole_pages_of_the_log),
        TEST(the_rest_of_a_large_page_is_dirty_for_who_asks_next),
        TEST(a_large_page_is_dirty_beside_a_mapping_that_went_away),
        TEST(a_log_is_started_once_and_stopped_as_often_as_one_likes),
        TEST(a_reset_ends_a_log_which_may_be_started_again),
        TEST(what_was_written_before_an_unmap_is_in_the_next_report),
        TEST(it_is_also_when_something_else_is_mapped_there_now),
        TEST(each_report_takes_its_own_part_of_what_was_unmapped),
        TEST(without_knowing_all_that_was_unmapped_is_dirty),
        TEST(an_unmap_that_is_refused_loses_no_bits),
        TEST(the_end_of_a_log_forgets_what_was_unmapped),
        TEST(without_a_log_an_unmap_asks_for_nothing),
        TEST(an_IOMMU_that_cannot_tell_is_not_asked),
        TEST(what_the_IOMMU_can_is_in_the_migration_info),
        TEST(an_IOMMUs_bits_are_started_once_and_stopped_as_often_as_one_likes),
        TEST(an_IOMMU_that_is_not_on_is_not_asked),
        TEST(an_IOMMU_is_asked_for_whole_mappings),
        TEST(large_pages_of_an_IOMMU_are_all_the_pages_in_them),
        TEST(an_IOMMU_reads_what_it_loses_with_a_mapping),
        TEST(what_an_IOMMU_cannot_tell_of_a_mapping_that_goes_is_dirty),
        TEST(both_logs_keep_what_is_unmapped),
        TEST(a_mapping_larger_than_the_IOMMU_can_report_is_refused),
        TEST(a_report_that_fails_is_told),
        TEST(every_page_that_a_dirty_one_touches_is_dirty),
        TEST(ranges_up_to_the_last_page_do_not_wrap),
    };
    return cmocka_run_group_tests_name("dirty-log", tests, NULL, NULL);
}
