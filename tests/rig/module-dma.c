/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel module does with memory, through the device layer, over its group and over its
 * character device: DMA that can be checked, unmapping, the two records of written pages (its own
 * log, type1's pinned pages), the autonomous workload, and moves of a device that works.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <vfio-migrate/device.h>

#include "refdev/pattern.h"
#include "tests/rig/instance.h"

#define PAGE REFDEV_PAGE_BYTES
#define PAGES 100u
#define IOVA UINT64_C(0x100000)

struct machine {
    struct instance instance;
    struct vmig_device *device;
    uint8_t *memory; /* PAGES pages, to be mapped at IOVA */
};

struct fixture {
    const char *backend;
    struct machine source, target;
};

/* ---- vocabulary ---- */

static void open_machine(struct machine *machine, const char *backend)
{
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    struct vmig_error err = { 0 };
    if (vmig_device_open(machine->instance.uuid, &options, &machine->device, &err))
        fail_msg("opening it by %s: %s", backend, err.text);
}

static void make_machine(struct machine *machine)
{
    instance_create(&machine->instance, "default");
    x_set(&machine->instance, "state_size", "1M");
    machine->device = NULL;
    machine->memory =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(machine->memory != MAP_FAILED);
}

static void x_map(struct machine *machine, uint64_t first, uint64_t pages, bool writable)
{
    struct vmig_error err = { 0 };
    struct vmig_dma_map map = { .iova = IOVA + first * PAGE,
                                .size_bytes = pages * PAGE,
                                .vaddr = machine->memory + first * PAGE,
                                .fd = -1,
                                .writable = writable };
    if (vmig_device_dma_map(machine->device, &map, &err))
        fail_msg("mapping: %s", err.text);
}

static void x_unmap(struct machine *machine, uint64_t first, uint64_t pages)
{
    struct vmig_error err = { 0 };
    if (vmig_device_dma_unmap(machine->device, IOVA + first * PAGE, pages * PAGE, &err))
        fail_msg("unmapping: %s", err.text);
}

static uint64_t get(struct machine *machine, unsigned reg)
{
    uint64_t value = 0;
    assert_int_equal(vmig_device_region_read(machine->device, REFDEV_BAR_REGISTERS, reg, &value,
                                             sizeof(value), NULL),
                     0);
    return value;
}

static void put(struct machine *machine, unsigned reg, uint64_t value)
{
    assert_int_equal(vmig_device_region_write(machine->device, REFDEV_BAR_REGISTERS, reg, &value,
                                              sizeof(value), NULL),
                     0);
}

static void enable(struct machine *machine)
{
    uint16_t command = 6;
    assert_int_equal(vmig_device_region_write(machine->device, VMIG_REGION_CONFIG, 4, &command,
                                              sizeof(command), NULL),
                     0);
}

static void go(struct machine *machine, enum vmig_state state)
{
    struct vmig_error err = { 0 };
    if (vmig_device_set_state(machine->device, state, VMIG_STATE_ERROR, &err))
        fail_msg("%s", err.text);
}

/* Wait until @reg is not @value any more, a minute at most. */
static uint64_t await_change(struct machine *machine, unsigned reg, uint64_t value)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    for (unsigned i = 0; i < 60000 && get(machine, reg) == value; i++)
        nanosleep(&pause, NULL);
    return get(machine, reg);
}

static void await_at_least(struct machine *machine, unsigned reg, uint64_t value)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    for (unsigned i = 0; i < 60000 && get(machine, reg) < value; i++)
        nanosleep(&pause, NULL);
    assert_true(get(machine, reg) >= value);
}

/* Let the device write pattern into pages [first, first + pages). Returns its status. */
static uint64_t fill(struct machine *machine, uint64_t first, uint64_t pages)
{
    put(machine, REFDEV_REG_COPY_TARGET, IOVA + first * PAGE);
    put(machine, REFDEV_REG_COPY_LENGTH, pages * PAGE);
    put(machine, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
    return await_change(machine, REFDEV_REG_COPY_STATUS, REFDEV_STATUS_BUSY);
}

static bool is_filled(struct machine *machine, uint64_t page, uint64_t index)
{
    uint64_t lanes[REFDEV_PATTERN_LANES];
    memcpy(lanes, machine->memory + page * PAGE, sizeof(lanes));
    return refdev_pattern_matches(
        lanes, refdev_pattern_key(get(machine, REFDEV_REG_SEED), REFDEV_PATTERN_FILL, index, 1));
}

static bool is_zero(const struct machine *machine, uint64_t page)
{
    static const uint8_t zeros[PAGE];
    return !memcmp(machine->memory + page * PAGE, zeros, PAGE);
}

/* Wrong pages in local memory and slots. */
static uint64_t verify(struct machine *machine)
{
    put(machine, REFDEV_REG_VERIFY, 1);
    return await_change(machine, REFDEV_REG_VERIFY, REFDEV_VERIFY_BUSY);
}

/* ---- DMA ---- */

static void it_writes_what_it_says_and_tells_when_it_is_done(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    struct pollfd done = { .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };
    assert_int_equal(vmig_device_set_irqs(m->device, VMIG_IRQ_MSIX, 0, 1, &done.fd, NULL), 0);
    x_map(m, 0, PAGES, true);
    enable(m);
    assert_int_equal(fill(m, 3, 2), REFDEV_STATUS_DONE);
    assert_int_equal(poll(&done, 1, 60000), 1);
    assert_true(is_zero(m, 2) && is_filled(m, 3, 0) && is_filled(m, 4, 1) && is_zero(m, 5));
    assert_string_equal(instance_get(&m->instance, "pinned_pages"), "2");
    close(done.fd);
}

static void it_copies_across_mappings_and_page_borders(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    x_map(m, 0, 2, true);
    x_map(m, 2, 2, true);
    enable(m);
    for (unsigned i = 0; i < PAGE; i++)
        m->memory[100 + i] = (uint8_t)(i % 251);
    put(m, REFDEV_REG_COPY_SOURCE, IOVA + 100);
    put(m, REFDEV_REG_COPY_TARGET, IOVA + 2 * PAGE - 7);
    put(m, REFDEV_REG_COPY_LENGTH, PAGE);
    put(m, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    assert_int_equal(await_change(m, REFDEV_REG_COPY_STATUS, REFDEV_STATUS_BUSY),
                     REFDEV_STATUS_DONE);
    assert_memory_equal(m->memory + 2 * PAGE - 7, m->memory + 100, PAGE);
}

static void memory_that_is_not_mapped_is_out_of_reach(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    x_map(m, 0, 2, true);
    enable(m);
    assert_int_equal(fill(m, 0, 2), REFDEV_STATUS_DONE);
    assert_int_equal(get(m, REFDEV_REG_DMA_ERRORS), 0);
    assert_int_equal(fill(m, 1, 2), REFDEV_STATUS_FAILED);
    assert_int_equal(get(m, REFDEV_REG_DMA_ERRORS), 1);
}

static void memory_that_it_may_only_read_is_not_written(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    x_map(m, 0, 1, false);
    x_map(m, 1, 1, true);
    enable(m);
    memset(m->memory, 0x5a, PAGE);
    put(m, REFDEV_REG_COPY_SOURCE, IOVA);
    put(m, REFDEV_REG_COPY_TARGET, IOVA + PAGE);
    put(m, REFDEV_REG_COPY_LENGTH, PAGE);
    put(m, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    assert_int_equal(await_change(m, REFDEV_REG_COPY_STATUS, REFDEV_STATUS_BUSY),
                     REFDEV_STATUS_DONE);
    assert_memory_equal(m->memory, m->memory + PAGE, PAGE);
    assert_int_equal(fill(m, 0, 1), REFDEV_STATUS_FAILED);
    assert_int_equal(m->memory[0], 0x5a);
}

static void unmapping_takes_pages_away_and_mapping_gives_new_ones(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    x_map(m, 0, 10, true);
    x_map(m, 10, 10, true);
    enable(m);
    assert_int_equal(fill(m, 0, 20), REFDEV_STATUS_DONE);
    assert_string_equal(instance_get(&m->instance, "pinned_pages"), "20");
    x_unmap(m, 0, 10);
    assert_string_equal(instance_get(&m->instance, "pinned_pages"), "10");
    memset(m->memory, 0, 20 * PAGE);
    assert_int_equal(fill(m, 0, 1), REFDEV_STATUS_FAILED);
    assert_int_equal(fill(m, 10, 1), REFDEV_STATUS_DONE);
    assert_true(is_zero(m, 0) && is_filled(m, 10, 0));
    /* Other memory behind the same address. */
    assert_true(mmap(m->memory, 10 * PAGE, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m->memory);
    x_map(m, 0, 10, true);
    assert_int_equal(fill(m, 5, 1), REFDEV_STATUS_DONE);
    assert_true(is_filled(m, 5, 0));
}

/* The device pins as fast as it can what is unmapped and mapped again meanwhile. */
static void unmapping_under_a_device_that_works_is_safe(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    x_map(m, 0, PAGES, true);
    enable(m);
    put(m, REFDEV_REG_SLOT_BASE, IOVA);
    put(m, REFDEV_REG_SLOT_COUNT, PAGES);
    put(m, REFDEV_REG_DMA_RATE, REFDEV_RATE_MAX);
    put(m, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN);
    for (unsigned i = 0; i < 20; i++) {
        await_at_least(m, REFDEV_REG_DMA_STEPS, get(m, REFDEV_REG_DMA_STEPS) + PAGES);
        x_unmap(m, 0, PAGES);
        assert_string_equal(instance_get(&m->instance, "pinned_pages"), "0");
        x_map(m, 0, PAGES, true);
    }
    assert_int_equal(get(m, REFDEV_REG_SLOT_MISMATCHES), 0);
    assert_int_equal(verify(m), 0);
}

static void closing_gives_all_pages_back(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    x_map(m, 0, PAGES, true);
    enable(m);
    assert_int_equal(fill(m, 0, PAGES), REFDEV_STATUS_DONE);
    assert_string_equal(instance_get(&m->instance, "pinned_pages"), "100");
    m->device = vmig_device_close(m->device);
    assert_string_equal(instance_get(&m->instance, "pinned_pages"), "0");
}

/* ---- which pages it wrote ---- */

#define WORDS ((PAGES + 63) / 64)

static void x_report(struct machine *m, uint64_t pgsize, uint64_t *bits)
{
    struct vmig_error err = { 0 };
    memset(bits, 0, WORDS * sizeof(*bits));
    if (vmig_device_dma_log_report(m->device, IOVA, PAGES * PAGE, pgsize, bits, &err))
        fail_msg("reporting: %s", err.text);
}

/* Debian's is made without CONFIG_IOMMUFD_DRIVER. */
static bool kernel_reads_logs(void)
{
    const char *kernel = getenv("RIG_KERNEL");
    return !kernel || strcmp(kernel, "debian") != 0;
}

/* 0: refused as it must be by a kernel that can read nobody's log. */
static uint64_t x_log_start(struct machine *m)
{
    struct vmig_error err = { 0 };
    struct vmig_dma_range range = { IOVA, PAGES * PAGE };
    uint64_t pgsize = PAGE;
    if (!vmig_device_dma_log_start(m->device, &range, 1, &pgsize, &err))
        return pgsize;
    if (kernel_reads_logs() || strcmp(err.reason, "vfio-log-unreadable"))
        fail_msg("starting the log: %s", err.text);
    return 0;
}

static void its_log_has_exactly_the_pages_that_it_wrote(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    uint64_t bits[WORDS];
    x_map(m, 0, PAGES, true);
    enable(m);
    assert_int_equal(fill(m, 50, 3), REFDEV_STATUS_DONE); /* before it was on */
    uint64_t pgsize = x_log_start(m);
    if (!pgsize)
        return;
    assert_int_equal(pgsize, PAGE);
    assert_int_equal(fill(m, 0, 1), REFDEV_STATUS_DONE);
    assert_int_equal(fill(m, 62, 4), REFDEV_STATUS_DONE);
    assert_int_equal(fill(m, PAGES - 1, 1), REFDEV_STATUS_DONE);
    x_report(m, PAGE, bits);
    assert_int_equal(bits[0], 1 | UINT64_C(3) << 62);
    assert_int_equal(bits[1], 3 | UINT64_C(1) << (PAGES - 1 - 64));
    x_report(m, PAGE, bits);
    assert_int_equal(bits[0] | bits[1], 0);
    assert_int_equal(vmig_device_dma_log_stop(m->device, NULL), 0);
}

static void its_log_has_pages_as_large_as_it_was_told(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->source;
    uint64_t bits[WORDS];
    m->device = vmig_device_close(m->device);
    x_set(&m->instance, "log_page_size", "16K");
    open_machine(m, f->backend);
    x_map(m, 0, PAGES, true);
    enable(m);
    uint64_t pgsize = x_log_start(m);
    if (!pgsize)
        return;
    assert_int_equal(pgsize, 16384);
    assert_int_equal(fill(m, 5, 1), REFDEV_STATUS_DONE);
    x_report(m, PAGE, bits);
    assert_int_equal(bits[0], 0xf0);
    assert_int_equal(bits[1], 0);
}

/* Something else is mapped in a part of it when it is asked for. */
static void its_log_keeps_what_was_written_before_an_unmap(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    uint64_t bits[WORDS];
    x_map(m, 0, 40, true);
    x_map(m, 40, 60, true);
    enable(m);
    if (!x_log_start(m))
        return;
    assert_int_equal(fill(m, 3, 2), REFDEV_STATUS_DONE);
    assert_int_equal(fill(m, 50, 1), REFDEV_STATUS_DONE);
    x_unmap(m, 0, 40);
    x_map(m, 10, 5, true);
    assert_int_equal(fill(m, 12, 1), REFDEV_STATUS_DONE);
    x_report(m, PAGE, bits);
    assert_int_equal(bits[0], 3 << 3 | 1 << 12 | UINT64_C(1) << 50);
    assert_int_equal(bits[1], 0);
    x_report(m, PAGE, bits);
    assert_int_equal(bits[0] | bits[1], 0);
}

static void type1_keeps_what_was_written_before_an_unmap(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    struct vmig_error err = { 0 };
    uint64_t bits[WORDS] = { 0 }, pgsize = 0;
    x_map(m, 0, 40, true);
    x_map(m, 40, 60, true);
    enable(m);
    if (vmig_device_iommu_log_start(m->device, &pgsize, &err))
        fail_msg("starting: %s", err.text);
    assert_int_equal(fill(m, 3, 2), REFDEV_STATUS_DONE);
    x_unmap(m, 0, 40);
    if (vmig_device_iommu_log_report(m->device, IOVA, PAGES * PAGE, PAGE, bits, &err))
        fail_msg("reporting: %s", err.text);
    assert_int_equal(bits[0], 3 << 3);
    assert_int_equal(bits[1], 0);
}

static void type1_calls_the_pages_dirty_that_it_holds(void **state)
{
    struct machine *m = &((struct fixture *)*state)->source;
    struct vmig_error err = { 0 };
    uint64_t bits[WORDS], pgsize = 0;
    x_map(m, 0, PAGES, true);
    enable(m);
    if (vmig_device_iommu_log_start(m->device, &pgsize, &err))
        fail_msg("starting: %s", err.text);
    assert_int_equal(fill(m, 7, 2), REFDEV_STATUS_DONE);
    for (unsigned i = 0; i < 2; i++) { /* and again: it may write them at any time */
        memset(bits, 0, sizeof(bits));
        assert_int_equal(
            vmig_device_iommu_log_report(m->device, IOVA, PAGES * PAGE, PAGE, bits, NULL), 0);
        assert_int_equal(bits[0], 3 << 7);
        assert_int_equal(bits[1], 0);
    }
}

/* ---- the workload ---- */

static void it_works_by_itself_where_it_was_told_to(void **state)
{
    struct fixture *f = *state;
    struct machine *m = &f->source;
    m->device = vmig_device_close(m->device);
    x_set(&m->instance, "dma_slots", "64@0x100000");
    x_set(&m->instance, "dma_rate", "5000");
    x_set(&m->instance, "dirty_rate", "2000");
    open_machine(m, f->backend);
    /* No memory yet is nobody's mistake. */
    await_at_least(m, REFDEV_REG_LOCAL_STEPS, 10);
    assert_int_equal(get(m, REFDEV_REG_DMA_STEPS), 0);
    assert_int_equal(get(m, REFDEV_REG_DMA_ERRORS), 0);
    x_map(m, 0, PAGES, true);
    await_at_least(m, REFDEV_REG_DMA_STEPS, 200);
    assert_int_equal(verify(m), 0);
    assert_true(is_zero(m, 64));
    m->memory[5 * PAGE] ^= 1; /* a lost write is found */
    put(m, REFDEV_REG_DMA_RATE, 0);
    assert_true(verify(m) == 1 || get(m, REFDEV_REG_SLOT_MISMATCHES) == 1);
}

static void a_device_that_works_moves_with_what_it_knows(void **state)
{
    static uint8_t buf[1 << 20];
    struct fixture *f = *state;
    struct machine *s = &f->source, *t = &f->target;
    ssize_t n;
    x_map(s, 0, PAGES, true);
    x_map(t, 0, PAGES, true);
    enable(s);
    put(s, REFDEV_REG_SLOT_BASE, IOVA);
    put(s, REFDEV_REG_SLOT_COUNT, 32);
    put(s, REFDEV_REG_DMA_RATE, 2000);
    put(s, REFDEV_REG_DIRTY_RATE, 2000);
    put(s, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN);
    go(s, VMIG_STATE_PRE_COPY);
    go(t, VMIG_STATE_RESUMING);
    for (unsigned round = 0; round < 3; round++) {
        await_at_least(s, REFDEV_REG_LOCAL_STEPS, get(s, REFDEV_REG_LOCAL_STEPS) + 20);
        while ((n = vmig_device_data_read(s->device, buf, sizeof(buf), NULL)) > 0)
            assert_int_equal(vmig_device_data_write(t->device, buf, (size_t)n, NULL), 0);
        assert_int_equal(n, -ENOMSG);
    }
    go(s, VMIG_STATE_PRE_COPY_P2P);
    go(s, VMIG_STATE_STOP_COPY);
    uint64_t steps = get(s, REFDEV_REG_DMA_STEPS);
    memcpy(t->memory, s->memory, PAGES * PAGE);
    while ((n = vmig_device_data_read(s->device, buf, sizeof(buf), NULL)) > 0)
        assert_int_equal(vmig_device_data_write(t->device, buf, (size_t)n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(vmig_device_data_flush(t->device, NULL), 0);
    assert_int_equal(get(s, REFDEV_REG_DMA_STEPS), steps); /* it stands */
    go(t, VMIG_STATE_RUNNING);
    await_at_least(t, REFDEV_REG_DMA_STEPS, steps + 64);
    assert_int_equal(verify(t), 0);
    assert_int_equal(get(t, REFDEV_REG_SLOT_MISMATCHES), 0);
    assert_int_equal(get(t, REFDEV_REG_LOCAL_MISMATCHES), 0);
    assert_int_equal(get(t, REFDEV_REG_DMA_VIOLATIONS), 0);
}

/* A write into one device's BAR by another one's DMA engine. */
static void a_device_writes_into_its_peer(void **state)
{
    struct fixture *f = *state;
    struct machine *s = &f->source, *t = &f->target;
    struct vmig_error err = { 0 };
    uint8_t byte = 0;
    void *bar;
    assert_int_equal(vmig_device_region_map(t->device, REFDEV_BAR_SHARED, 0, &bar, NULL), 0);
    struct vmig_dma_map map = { .iova = IOVA,
                                .size_bytes = REFDEV_SHARED_BYTES - REFDEV_SHARED_MAP_OFFSET,
                                .vaddr = bar,
                                .fd = -1,
                                .writable = true };
    if (vmig_device_dma_map(s->device, &map, &err))
        fail_msg("mapping the peer's BAR: %s", err.text);
    enable(s);
    assert_int_equal(fill(s, 1, 1), REFDEV_STATUS_DONE);
    assert_memory_not_equal((uint8_t *)bar + PAGE, "\0\0\0\0\0\0\0\0", 8);
    assert_int_equal(vmig_device_region_read(t->device, REFDEV_BAR_SHARED,
                                             REFDEV_SHARED_MAP_OFFSET + PAGE, &byte, 1, NULL),
                     0);
    assert_int_equal(byte, ((uint8_t *)bar)[PAGE]);
    x_unmap(s, 0, 3);
}

/* ---- both ways in ---- */

static int setup_over(void **state, const char *backend)
{
    static struct fixture f;
    f.backend = backend;
    make_machine(&f.source);
    make_machine(&f.target);
    *state = &f;
    open_machine(&f.source, backend);
    open_machine(&f.target, backend);
    return 0;
}

static int setup_group(void **state)
{
    return setup_over(state, "group");
}

static int setup_cdev(void **state)
{
    return setup_over(state, "cdev");
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vmig_device_close(f->source.device);
    vmig_device_close(f->target.device);
    instance_remove(&f->source.instance);
    instance_remove(&f->target.instance);
    munmap(f->source.memory, PAGES * PAGE);
    munmap(f->target.memory, PAGES * PAGE);
    return 0;
}

int main(void)
{
#define GROUP(name) cmocka_unit_test_setup_teardown(name, setup_group, teardown)
#define CDEV(name)                                                                                 \
    {                                                                                              \
        "over_cdev_" #name, name, setup_cdev, teardown, NULL                                       \
    }
#define BOTH(test)                                                                                 \
    test(it_writes_what_it_says_and_tells_when_it_is_done),                                        \
        test(it_copies_across_mappings_and_page_borders),                                          \
        test(memory_that_is_not_mapped_is_out_of_reach),                                           \
        test(memory_that_it_may_only_read_is_not_written),                                         \
        test(unmapping_takes_pages_away_and_mapping_gives_new_ones),                               \
        test(unmapping_under_a_device_that_works_is_safe), test(closing_gives_all_pages_back),     \
        test(its_log_has_exactly_the_pages_that_it_wrote),                                         \
        test(its_log_keeps_what_was_written_before_an_unmap),                                      \
        test(its_log_has_pages_as_large_as_it_was_told),                                           \
        test(it_works_by_itself_where_it_was_told_to),                                             \
        test(a_device_that_works_moves_with_what_it_knows), test(a_device_writes_into_its_peer)
    const struct CMUnitTest group_tests[] = {
        BOTH(GROUP),
        GROUP(type1_calls_the_pages_dirty_that_it_holds),
        GROUP(type1_keeps_what_was_written_before_an_unmap),
    };
    const struct CMUnitTest cdev_tests[] = { BOTH(CDEV) };
    instances_required();
    int failed = cmocka_run_group_tests_name("module-dma by group", group_tests, NULL, NULL);
    if (access("/dev/iommu", F_OK) == 0)
        failed += cmocka_run_group_tests_name("module-dma by cdev", cdev_tests, NULL, NULL);
    else
        puts("1..0 # SKIP this kernel has no character devices of VFIO");
    return failed;
}
