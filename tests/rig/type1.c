/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty bitmaps of the kernel's type1 containers: mtty, an emulated device that never writes to
 * memory, and edu, a PCI device behind the emulated IOMMU.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <vfio-migrate/device.h>
#include "lib/device/backend.h"
#include "tests/rig/devices.h"

#define PAGE UINT64_C(4096)
#define IOVA UINT64_C(0x100000)
#define PAGES 100

struct fixture {
    struct mtty mtty;
    struct vmig_device *device;
    void *memory;
};

static struct vmig_device *open_device(const char *address)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options), .backend = "group" };
    if (vmig_device_open(address, &options, &device, &err))
        fail_msg("opening %s: %s", address, err.text);
    return device;
}

static void map(struct fixture *f, uint64_t iova, uint64_t pages)
{
    struct vmig_error err = { 0 };
    struct vmig_dma_map map = {
        .iova = iova, .size_bytes = pages * PAGE, .vaddr = f->memory, .fd = -1, .writable = true
    };
    if (vmig_device_dma_map(f->device, &map, &err))
        fail_msg("mapping: %s", err.text);
}

static int make_memory(struct fixture *f)
{
    f->memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return f->memory == MAP_FAILED ? -1 : 0;
}

static int setup_mtty(void **state)
{
    static struct fixture f;
    mtty_create(&f.mtty, MTTY_TWO_PORTS);
    f.device = open_device(f.mtty.uuid);
    *state = &f;
    return make_memory(&f);
}

static int teardown_mtty(void **state)
{
    struct fixture *f = *state;
    vmig_device_close(f->device);
    mtty_remove(&f->mtty);
    return munmap(f->memory, PAGES * PAGE);
}

static int setup_edu(void **state)
{
    static struct fixture f;
    edu_bind();
    f.device = open_device(EDU);
    *state = &f;
    return make_memory(&f);
}

static int teardown_edu(void **state)
{
    struct fixture *f = *state;
    vmig_device_close(f->device);
    edu_unbind();
    return munmap(f->memory, PAGES * PAGE);
}

static void start(struct fixture *f)
{
    struct vmig_error err = { 0 };
    uint64_t pgsize = 0;
    if (vmig_device_iommu_log_start(f->device, &pgsize, &err))
        fail_msg("starting: %s", err.text);
    assert_int_equal(pgsize, PAGE);
}

/* How many pages of the range are dirty. */
static unsigned dirty(struct fixture *f, uint64_t iova, uint64_t pages)
{
    struct vmig_error err = { 0 };
    uint64_t bits[2] = { 0 };
    if (vmig_device_iommu_log_report(f->device, iova, pages * PAGE, PAGE, bits, &err))
        fail_msg("reporting: %s", err.text);
    return (unsigned)(__builtin_popcountll(bits[0]) + __builtin_popcountll(bits[1]));
}

static enum vmig_iommu_log kind(struct fixture *f)
{
    struct vmig_migration_info info;
    assert_int_equal(vmig_device_migration_info(f->device, &info, NULL), 0);
    return info.iommu_log;
}

static void an_emulated_device_that_writes_nothing_is_clean(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(kind(f), VMIG_IOMMU_LOG_TRUE);
    map(f, IOVA, PAGES);
    start(f);
    assert_int_equal(dirty(f, IOVA, PAGES), 0);
    assert_int_equal(dirty(f, IOVA + 3 * PAGE, 70), 0);
    assert_int_equal(vmig_device_iommu_log_stop(f->device, NULL), 0);
}

/* Which is why the device layer does not ask then. */
static void bits_are_not_to_be_had_before_the_start(void **state)
{
    struct fixture *f = *state;
    uint64_t bits[2];
    map(f, IOVA, PAGES);
    assert_int_equal(vmig_device_iommu_log_report(f->device, IOVA, PAGES * PAGE, PAGE, bits, NULL),
                     -EINVAL);
}

static void everything_of_a_PCI_device_is_dirty_each_time(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(kind(f), VMIG_IOMMU_LOG_ALL);
    map(f, IOVA, PAGES);
    start(f);
    assert_int_equal(dirty(f, IOVA, PAGES), PAGES);
    assert_int_equal(dirty(f, IOVA, PAGES), PAGES);
    assert_int_equal(dirty(f, IOVA + 10 * PAGE, 20), 20);
    assert_int_equal(vmig_device_iommu_log_stop(f->device, NULL), 0);
}

static void a_mapping_made_meanwhile_is_tracked(void **state)
{
    struct fixture *f = *state;
    start(f);
    map(f, IOVA, PAGES);
    assert_int_equal(dirty(f, IOVA, PAGES), PAGES);
}

static void what_is_unmapped_while_it_runs_is_reported_afterwards(void **state)
{
    struct fixture *f = *state;
    map(f, IOVA, PAGES);
    start(f);
    assert_int_equal(vmig_device_dma_unmap(f->device, IOVA, PAGES * PAGE, NULL), 0);
    assert_int_equal(dirty(f, IOVA, PAGES), PAGES);
    assert_int_equal(dirty(f, IOVA, PAGES), 0); /* nothing is there any more */
    map(f, IOVA + 10 * PAGE, 5);
    assert_int_equal(dirty(f, IOVA, PAGES), 5);
}

/* Straight to the backend: this is what the device layer has to see to. */
static void the_kernel_takes_whole_mappings_in_its_smallest_page_only(void **state)
{
    const struct backend_ops *ops = &backend_group;
    const struct backend_options options = { .command_timeout_ms = 5000,
                                             .transition_timeout_ms = 30000 };
    struct fixture *f = *state;
    struct backend_iommu_log log;
    static uint64_t bits[512] __attribute__((aligned(4096)));
    void *self = NULL;
    f->device = vmig_device_close(f->device);
    assert_int_equal(ops->open(EDU, &options, &self, NULL), 0);
    assert_int_equal(ops->iommu_log_info(self, &log, NULL), 0);
    assert_int_equal(log.pgsize, PAGE);
    assert_int_equal(log.max_mapping_bytes, UINT64_C(8) << 40); /* 256 MiB of bits */
    struct vmig_dma_map map = {
        .iova = IOVA, .size_bytes = PAGES * PAGE, .vaddr = f->memory, .fd = -1, .writable = true
    };
    assert_int_equal(ops->dma_map(self, &map, NULL), 0);
    assert_int_equal(ops->iommu_log_report(self, IOVA, PAGES * PAGE, PAGE, bits, NULL), -EINVAL);
    assert_int_equal(ops->iommu_log_start(self, NULL), 0);
    assert_int_equal(ops->iommu_log_report(self, IOVA, PAGES * PAGE, PAGE, bits, NULL), 0);
    assert_int_equal(ops->iommu_log_report(self, IOVA, 64 * PAGE, PAGE, bits, NULL), -EINVAL);
    assert_int_equal(ops->iommu_log_report(self, IOVA + PAGE, 99 * PAGE, PAGE, bits, NULL),
                     -EINVAL);
    assert_int_equal(ops->iommu_log_report(self, IOVA, PAGES * PAGE, 2 * PAGE, bits, NULL),
                     -EINVAL);
    memset(bits, 0, sizeof(bits));
    assert_int_equal(ops->iommu_log_unmap(self, IOVA, PAGES * PAGE, PAGE, bits, NULL), 0);
    assert_int_equal(bits[0], UINT64_MAX);
    memset(bits, 0, sizeof(bits)); /* a hole is silence */
    assert_int_equal(ops->iommu_log_report(self, IOVA, PAGES * PAGE, PAGE, bits, NULL), 0);
    assert_int_equal(bits[0], 0);
    ops->close(self);
}

#define MTTY(name) cmocka_unit_test_setup_teardown(name, setup_mtty, teardown_mtty)
#define PCI(name) cmocka_unit_test_setup_teardown(name, setup_edu, teardown_edu)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MTTY(an_emulated_device_that_writes_nothing_is_clean),
        MTTY(bits_are_not_to_be_had_before_the_start),
        PCI(everything_of_a_PCI_device_is_dirty_each_time),
        PCI(a_mapping_made_meanwhile_is_tracked),
        PCI(what_is_unmapped_while_it_runs_is_reported_afterwards),
        PCI(the_kernel_takes_whole_mappings_in_its_smallest_page_only),
    };
    return cmocka_run_group_tests_name("type1", tests, NULL, NULL);
}
