/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trackers of a device's DMA, on a device that exists only here: this file defines the calls of
 * the device layer that the tracker makes, so nothing of the real one is linked.
 */
#include "tests/memory/region.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGE UINT64_C(0x1000)

struct vmig_device {
    uint64_t pgsize;     /* what it chooses; 0: what is wished */
    bool rounds_to_page; /* bits stand for pages of the device, not for distances from the start */
    int start_result, report_result;
    bool overshoots; /* sets all bits behind the range, as far as the last word goes */
    bool started;
    uint64_t wished;
    unsigned num_ranges, num_reports;
    unsigned max_ranges, num_starts; /* more than those are refused with refusal; 0: none are */
    int refusal;
    const char *reason; /* of a refusal to start */
    struct vmig_dma_range ranges[RAM_BLOCKS_MAX];
    uint64_t log[16]; /* addresses written, UINT64_MAX: none */
};

const char *vmig_device_id(const struct vmig_device *device)
{
    (void)device;
    return "fake";
}

int vmig_device_dma_log_start(struct vmig_device *device, const struct vmig_dma_range *ranges,
                              unsigned num_ranges, uint64_t *pgsize, struct vmig_error *err)
{
    device->num_starts++;
    if (err && device->reason)
        strcpy(err->reason, device->reason);
    if (device->start_result)
        return device->start_result;
    if (device->max_ranges && num_ranges > device->max_ranges)
        return device->refusal;
    memset(device->log, 0xff, sizeof(device->log));
    memcpy(device->ranges, ranges, num_ranges * sizeof(ranges[0]));
    device->num_ranges = num_ranges;
    device->wished = *pgsize;
    if (device->pgsize)
        *pgsize = device->pgsize;
    device->pgsize = *pgsize;
    device->started = true;
    return 0;
}

int vmig_device_dma_log_stop(struct vmig_device *device, struct vmig_error *err)
{
    (void)err;
    device->started = false;
    return 0;
}

int vmig_device_dma_log_report(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                               uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err)
{
    (void)err;
    device->num_reports++;
    if (device->report_result)
        return device->report_result;
    assert_true(device->started);
    assert_int_equal(pgsize, device->pgsize);
    if (device->overshoots)
        bitmap_set_range(bitmap, size_bytes / pgsize, 64 - size_bytes / pgsize % 64);
    for (unsigned i = 0; i < 16; i++) {
        uint64_t at = device->log[i];

        if (at < iova || at >= iova + size_bytes)
            continue;
        device->log[i] = UINT64_MAX;
        if (device->rounds_to_page)
            at &= ~(pgsize - 1);
        bitmap_set(bitmap, at < iova ? 0 : (at - iova) / pgsize);
    }
    return 0;
}

/* The IOMMU's dirty bits are the same log under other names, of everything. */
int vmig_device_iommu_log_start(struct vmig_device *device, uint64_t *ret_pgsize,
                                struct vmig_error *err)
{
    struct vmig_dma_range all = { 0, UINT64_MAX };
    *ret_pgsize = PAGE;
    return vmig_device_dma_log_start(device, &all, 1, ret_pgsize, err);
}

int vmig_device_iommu_log_stop(struct vmig_device *device, struct vmig_error *err)
{
    return vmig_device_dma_log_stop(device, err);
}

int vmig_device_iommu_log_report(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                                 uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err)
{
    return vmig_device_dma_log_report(device, iova, size_bytes, pgsize, bitmap, err);
}

/* One block of 100 pages at @iova. */
static struct region ram_at(uint64_t iova)
{
    struct region region = region_new(REGION_ANONYMOUS, 100);

    region.block->desc.iova = iova;
    return region;
}

static struct tracker *running(struct vmig_device *device, struct region *region)
{
    struct tracker *tracker;

    ok(tracker_device_new(device, &tracker, &err));
    ok(tracker->ops->start(tracker, region->ram, &err));
    return tracker;
}

/* Somebody cancels while the first block's report is being made. */
static int until_reported(void *opaque, struct vmig_error *err)
{
    const struct vmig_device *device = opaque;

    (void)err;
    return device->num_reports ? -ECANCELED : 0;
}

static void no_block_is_asked_for_after_a_cancel(void **state)
{
    struct vmig_device device = { 0 };
    struct region region = ram_at(0x40000), other = ram_at(0x80000000);
    struct vmig_ram_block desc = other.block->desc;

    (void)state;
    desc.name = "other";
    ok(ram_add(region.ram, &desc, &err));
    struct tracker *tracker = running(&device, &region);
    region.ram->may_go_on = until_reported;
    region.ram->opaque = &device;
    assert_int_equal(tracker->ops->sync(tracker, region.ram, NULL), -ECANCELED);
    assert_int_equal(device.num_reports, 1);
    tracker->ops->free(tracker);
    region_free(&region);
    region_free(&other);
}

static void logged_writes_are_reported_once(void **state)
{
    struct vmig_device device = { 0 };
    struct region region = ram_at(0x40000);
    struct tracker *tracker = running(&device, &region);

    (void)state;
    assert_int_equal(device.wished, 4096);
    assert_int_equal(device.num_ranges, 1);
    device.log[0] = 0x40000;
    device.log[1] = 0x40000 + 63 * PAGE + 4095;
    device.log[2] = 0x40000 + 64 * PAGE;
    device.log[3] = 0x40000 + 99 * PAGE;
    bitmap_set(region.block->dirty, 5); /* other trackers' bits stay */
    tracker_sync(tracker, &region);
    assert_dirty(&region, 0, 5, 63, 64, 99);
    tracker_sync(tracker, &region);
    assert_clean(&region);
    tracker->ops->stop(tracker);
    assert_false(device.started);
    tracker->ops->free(tracker);
    region_free(&region);
}

static void a_coarser_log_marks_all_pages_it_may_mean(void **state)
{
    struct vmig_device device = { .pgsize = 0x10000 };
    struct region region = ram_at(0x40000);
    struct tracker *tracker = running(&device, &region);

    (void)state;
    device.log[0] = 0x40000 + 20 * PAGE;
    tracker_sync(tracker, &region);
    assert_int_equal(ram_dirty_pages(region.ram), 16);
    assert_int_equal(bitmap_next_set(region.block->dirty, 100, 0), 16);
    tracker_sync(tracker, &region);
    memset(region.block->dirty, 0, 16);
    device.log[0] = 0x40000 + 99 * PAGE; /* its page reaches past the block's end */
    tracker_sync(tracker, &region);
    assert_dirty(&region, 96, 97, 98, 99);
    tracker_end(tracker);
    region_free(&region);
}

/* Whichever way the device counts. */
static void a_coarser_log_of_an_unaligned_block_loses_nothing(void **state)
{
    (void)state;
    for (unsigned rounds = 0; rounds < 2; rounds++)
        for (uint64_t page = 0; page < 100; page++) {
            struct vmig_device device = { .pgsize = 0x10000, .rounds_to_page = rounds };
            struct region region = ram_at(0x43000);
            struct tracker *tracker = running(&device, &region);

            device.log[0] = 0x43000 + page * PAGE;
            tracker_sync(tracker, &region);
            assert_true(bitmap_test(region.block->dirty, page));
            assert_true(ram_dirty_pages(region.ram) <= 32);
            tracker_end(tracker);
            region_free(&region);
        }
}

static void a_log_page_larger_than_the_block_marks_all_of_it(void **state)
{
    struct vmig_device device = { .pgsize = UINT64_C(1) << 63 };
    struct region region = ram_at(0x43000);
    struct tracker *tracker = running(&device, &region);

    (void)state;
    device.log[0] = 0x43000 + 50 * PAGE;
    tracker_sync(tracker, &region);
    assert_int_equal(ram_dirty_pages(region.ram), 100);
    tracker_end(tracker);
    region_free(&region);
}

static void a_page_size_that_is_none_is_refused(void **state)
{
    static const uint64_t bad[] = { 1, 512, 2048, 4095, 4097, 12288, UINT64_MAX };

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vmig_device device = { .pgsize = bad[i] };
        struct region region = ram_at(0);
        struct tracker *tracker;
        struct vmig_error why = { 0 };

        ok(tracker_device_new(&device, &tracker, &err));
        assert_int_equal(tracker->ops->start(tracker, region.ram, &why), -EPROTO);
        assert_string_equal(why.device, "fake");
        assert_false(device.started);
        tracker->ops->free(tracker);
        region_free(&region);
    }
}

static void one_report_is_made_for_each_block(void **state)
{
    struct vmig_device device = { 0 };
    struct region region = ram_at(0x100000);
    struct vmig_ram_block desc = region.block->desc;

    (void)state;
    desc.name = "next"; /* adjacent: one range, but maybe two mappings */
    desc.iova = 0x100000 + 100 * PAGE;
    ok(ram_add(region.ram, &desc, &err));
    desc.name = "low";
    desc.iova = 0;
    ok(ram_add(region.ram, &desc, &err));
    struct tracker *tracker = running(&device, &region);
    assert_int_equal(device.num_ranges, 2);
    device.log[0] = 0x100000 + 101 * PAGE;
    device.log[1] = 3 * PAGE;
    tracker_sync(tracker, &region);
    assert_int_equal(device.num_reports, 3);
    assert_clean(&region);
    region.block = &region.ram->blocks[1];
    assert_dirty(&region, 1);
    region.block = &region.ram->blocks[2];
    assert_dirty(&region, 3);
    tracker_end(tracker);
    region_free(&region);
}

static void bits_past_the_end_are_ignored(void **state)
{
    (void)state;
    for (uint64_t pgsize = 4096; pgsize <= 8192; pgsize *= 2) {
        struct vmig_device device = { .pgsize = pgsize, .overshoots = true };
        struct region region = ram_at(0);
        struct tracker *tracker = running(&device, &region);

        device.log[0] = 98 * PAGE;
        device.log[1] = 99 * PAGE;
        tracker_sync(tracker, &region);
        assert_int_equal(region.block->dirty[1], UINT64_C(3) << (98 - 64));
        tracker_end(tracker);
        region_free(&region);
    }
}

static void a_log_that_does_not_start_or_report_is_an_error(void **state)
{
    struct vmig_device device = { .start_result = -EOPNOTSUPP };
    struct region region = ram_at(0);
    struct tracker *tracker;

    (void)state;
    ok(tracker_device_new(&device, &tracker, &err));
    assert_int_equal(tracker->ops->start(tracker, region.ram, NULL), -EOPNOTSUPP);
    device.start_result = 0;
    ok(tracker->ops->start(tracker, region.ram, &err));
    device.report_result = -EIO;
    assert_int_equal(tracker->ops->sync(tracker, region.ram, NULL), -EIO);
    tracker_end(tracker);
    region_free(&region);
}

/* Eight blocks with gaps between them. */
static struct region in_eight_places(void)
{
    struct region region = ram_at(0);
    struct vmig_ram_block desc = region.block->desc;
    char name[8];

    desc.name = name;
    for (unsigned i = 1; i < 8; i++) {
        snprintf(name, sizeof(name), "at%u", i);
        desc.iova = i * 0x100000u;
        ok(ram_add(region.ram, &desc, &err));
    }
    return region;
}

static void a_device_that_takes_few_ranges_gets_fewer(void **state)
{
    static const int refusals[] = { -E2BIG, -EINVAL, -EOPNOTSUPP, -ENOSPC };

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        for (unsigned most = 1; most <= 8; most++) {
            struct vmig_device device = { .max_ranges = most, .refusal = refusals[i] };
            struct region region = in_eight_places();
            struct tracker *tracker = running(&device, &region);

            assert_true(device.num_ranges <= most && device.num_ranges > most / 2);
            assert_int_equal(device.ranges[0].iova, 0);
            struct vmig_dma_range last = device.ranges[device.num_ranges - 1];
            assert_int_equal(last.iova + last.size_bytes, 7 * 0x100000 + 100 * PAGE);
            tracker_end(tracker);
            region_free(&region);
        }
}

static void a_refusal_that_has_other_causes_is_final(void **state)
{
    struct region region = in_eight_places();
    struct vmig_device broken = { .start_result = -EIO };
    struct vmig_device unreadable = { .start_result = -EOPNOTSUPP,
                                      .reason = "vfio-log-unreadable" };
    struct tracker *tracker;

    (void)state;
    ok(tracker_device_new(&broken, &tracker, &err));
    assert_int_equal(tracker->ops->start(tracker, region.ram, NULL), -EIO);
    assert_int_equal(broken.num_starts, 1);
    tracker->ops->free(tracker);
    ok(tracker_device_new(&unreadable, &tracker, &err));
    assert_int_equal(tracker->ops->start(tracker, region.ram, NULL), -EOPNOTSUPP);
    assert_int_equal(unreadable.num_starts, 1);
    tracker->ops->free(tracker);
    region_free(&region);
}

static void the_IOMMUs_bits_are_read_block_by_block(void **state)
{
    struct vmig_device device = { 0 };
    struct region region = in_eight_places();
    struct tracker *tracker;

    (void)state;
    ok(tracker_iommu_new(&device, &tracker, &err));
    ok(tracker->ops->start(tracker, region.ram, &err));
    device.log[0] = 3 * PAGE;
    device.log[1] = 0x700000 + 99 * PAGE;
    tracker_sync(tracker, &region);
    assert_int_equal(device.num_reports, 8);
    assert_dirty(&region, 3);
    region.block = &region.ram->blocks[7];
    assert_dirty(&region, 99);
    tracker_sync(tracker, &region);
    assert_clean(&region);
    tracker->ops->stop(tracker);
    assert_false(device.started);
    tracker->ops->free(tracker);
    region_free(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logged_writes_are_reported_once),
        cmocka_unit_test(no_block_is_asked_for_after_a_cancel),
        cmocka_unit_test(a_coarser_log_marks_all_pages_it_may_mean),
        cmocka_unit_test(a_coarser_log_of_an_unaligned_block_loses_nothing),
        cmocka_unit_test(a_log_page_larger_than_the_block_marks_all_of_it),
        cmocka_unit_test(a_page_size_that_is_none_is_refused),
        cmocka_unit_test(one_report_is_made_for_each_block),
        cmocka_unit_test(bits_past_the_end_are_ignored),
        cmocka_unit_test(a_device_that_takes_few_ranges_gets_fewer),
        cmocka_unit_test(a_refusal_that_has_other_causes_is_final),
        cmocka_unit_test(the_IOMMUs_bits_are_read_block_by_block),
        cmocka_unit_test(a_log_that_does_not_start_or_report_is_an_error),
    };
    return cmocka_run_group_tests_name("tracker-device", tests, NULL, NULL);
}
