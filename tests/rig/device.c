/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device layer, through its public interface, on the kernel's mtty: what a migration does with
 * a device, and what happens to the device when it goes wrong.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <vfio-migrate.h>

#include "tests/rig/devices.h"

struct fixture {
    struct mtty mttys[2];
    struct vmig_device *source, *target;
};

static struct vmig_device *x_open(const struct mtty *mtty, const char *backend)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device = NULL;
    struct vmig_device_options options = { .size = sizeof(options), .backend = backend };
    if (vmig_device_open(mtty->uuid, &options, &device, &err))
        fail_msg("%s: %s", mtty->uuid, err.text);
    return device;
}

static int setup_with(void **state, const char *target_type, const char *backend)
{
    static struct fixture f;
    mtty_create(&f.mttys[0], MTTY_TWO_PORTS);
    mtty_create(&f.mttys[1], target_type);
    f.source = x_open(&f.mttys[0], backend);
    f.target = x_open(&f.mttys[1], backend);
    *state = &f;
    return 0;
}

static int setup_group(void **state)
{
    return setup_with(state, MTTY_TWO_PORTS, "group");
}

static int setup_cdev(void **state)
{
    return setup_with(state, MTTY_TWO_PORTS, "cdev");
}

static int setup_group_one_port_target(void **state)
{
    return setup_with(state, MTTY_ONE_PORT, "group");
}

static int setup_cdev_one_port_target(void **state)
{
    return setup_with(state, MTTY_ONE_PORT, "cdev");
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vmig_device_close(f->source);
    vmig_device_close(f->target);
    mtty_remove(&f->mttys[0]);
    mtty_remove(&f->mttys[1]);
    return 0;
}

/* ---- vocabulary: x_go() must succeed ---- */

static void x_go(struct vmig_device *device, enum vmig_state to)
{
    struct vmig_error err = { 0 };
    if (vmig_device_set_state(device, to, VMIG_STATE_RUNNING, &err))
        fail_msg("%s", err.text);
}

static enum vmig_state at(struct vmig_device *device)
{
    enum vmig_state state = VMIG_STATE_ERROR;
    assert_int_equal(vmig_device_get_state(device, &state, NULL), 0);
    return state;
}

static void write_scratch(struct vmig_device *device, uint8_t value)
{
    assert_int_equal(vmig_device_region_write(device, 0, MTTY_SCRATCH, &value, 1, NULL), 0);
}

static uint8_t read_scratch(struct vmig_device *device)
{
    uint8_t value = 0;
    assert_int_equal(vmig_device_region_read(device, 0, MTTY_SCRATCH, &value, 1, NULL), 0);
    return value;
}

/* Read until there is nothing; *ret_end tells what the last read said. */
static size_t drain(struct vmig_device *device, uint8_t *buf, size_t size, ssize_t *ret_end)
{
    size_t length = 0;
    while ((*ret_end = vmig_device_data_read(device, buf + length, size - length, NULL)) > 0)
        length += (size_t)*ret_end;
    return length;
}

/* The whole state, by way of STOP_COPY. */
static void save(struct vmig_device *device, uint8_t data[MTTY_STATE_BYTES])
{
    uint8_t buf[4096];
    ssize_t end;
    x_go(device, VMIG_STATE_STOP_COPY);
    assert_int_equal(drain(device, buf, sizeof(buf), &end), MTTY_STATE_BYTES);
    assert_int_equal(end, 0);
    memcpy(data, buf, MTTY_STATE_BYTES);
}

static int try_load(struct vmig_device *device, const uint8_t *data, size_t length)
{
    x_go(device, VMIG_STATE_RESUMING);
    int rc = vmig_device_data_write(device, data, length, NULL);
    return rc ? rc : vmig_device_data_flush(device, NULL);
}

/* ---- moving ---- */

static void a_device_moves_by_PRE_COPY_and_STOP_COPY(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES + 1];
    ssize_t end;
    write_scratch(f->source, 0x77);
    x_go(f->source, VMIG_STATE_PRE_COPY);
    size_t length = drain(f->source, data, sizeof(data), &end);
    assert_int_equal(length, MTTY_HEADER_BYTES);
    assert_int_equal(end, -ENOMSG);
    x_go(f->source, VMIG_STATE_PRE_COPY_P2P);
    x_go(f->source, VMIG_STATE_STOP_COPY);
    length += drain(f->source, data + length, sizeof(data) - length, &end);
    assert_int_equal(length, MTTY_STATE_BYTES);
    assert_int_equal(end, 0);
    assert_int_equal(try_load(f->target, data, length), 0);
    x_go(f->target, VMIG_STATE_STOP);
    x_go(f->target, VMIG_STATE_RUNNING_P2P);
    x_go(f->target, VMIG_STATE_RUNNING);
    assert_int_equal(read_scratch(f->target), 0x77);
}

static void an_abandoned_migration_leaves_the_source_running_as_it_was(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    write_scratch(f->source, 0x78);
    save(f->source, data);
    x_go(f->source, VMIG_STATE_RUNNING);
    assert_int_equal(read_scratch(f->source), 0x78);
    assert_int_equal(vmig_device_health(f->source), VMIG_HEALTH_OK);
    save(f->source, data); /* and it can be tried again */
    assert_int_equal(data[MTTY_SCRATCH_AT], 0x78);
}

static void a_way_that_hangs_old_kernels_is_refused_and_nothing_happens(void **state)
{
    struct fixture *f = *state;
    const enum vmig_state blocked[] = { VMIG_STATE_PRE_COPY, VMIG_STATE_PRE_COPY_P2P };
    x_go(f->source, VMIG_STATE_STOP_COPY);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(vmig_device_set_state(f->source, blocked[i], VMIG_STATE_RUNNING, NULL),
                         -EINVAL);
        assert_int_equal(at(f->source), VMIG_STATE_STOP_COPY);
    }
    assert_int_equal(vmig_device_health(f->source), VMIG_HEALTH_OK);
}

/* ---- bad data ---- */

/* The data are bad: leaving RESUMING must fail, and the device be RUNNING after a reset. */
static void assert_reset(struct vmig_device *device)
{
    assert_true(vmig_device_set_state(device, VMIG_STATE_STOP, VMIG_STATE_RUNNING, NULL) < 0);
    assert_int_equal(vmig_device_health(device), VMIG_HEALTH_RESET);
    assert_int_equal(at(device), VMIG_STATE_RUNNING);
}

/* The kernel installs what it has when it is asked to leave RESUMING after this. */
static void a_foreign_header_is_refused_and_never_installed(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    write_scratch(f->source, 0x11);
    save(f->source, data);
    data[0] ^= 1;
    write_scratch(f->target, 0x22);
    assert_true(try_load(f->target, data, sizeof(data)) < 0);
    assert_reset(f->target);
    assert_int_equal(read_scratch(f->target), 0x22);
}

static void the_state_of_another_model_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    save(f->source, data);
    try_load(f->target, data, sizeof(data));
    assert_reset(f->target);
}

static void every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    save(f->source, data);
    for (size_t length = 0; length < MTTY_STATE_BYTES; length++) {
        try_load(f->target, data, length);
        assert_reset(f->target);
    }
    /* And after all of that the whole is taken. */
    assert_int_equal(try_load(f->target, data, sizeof(data)), 0);
    x_go(f->target, VMIG_STATE_STOP);
}

static void surplus_data_are_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES + 1] = { 0 };
    save(f->source, data);
    assert_true(try_load(f->target, data, sizeof(data)) < 0);
    assert_reset(f->target);
}

/* ---- memory ---- */

static void the_DMA_log_of_a_device_without_DMA_is_empty(void **state)
{
    struct fixture *f = *state;
    const size_t size = 16 * 4096;
    uint64_t bitmap = 0, pgsize = 4096;
    struct vmig_dma_range range = { .iova = 0x100000, .size_bytes = size };
    struct vmig_dma_map map = { .iova = 0x100000, .size_bytes = size, .fd = -1, .writable = true };
    map.vaddr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map.vaddr != MAP_FAILED);
    assert_int_equal(vmig_device_dma_map(f->source, &map, NULL), 0);
    assert_int_equal(vmig_device_dma_log_start(f->source, &range, 1, &pgsize, NULL), 0);
    assert_int_equal(pgsize, 4096);
    assert_int_equal(vmig_device_dma_log_report(f->source, range.iova, size, pgsize, &bitmap, NULL),
                     0);
    assert_int_equal(bitmap, 0);
    assert_int_equal(vmig_device_dma_log_stop(f->source, NULL), 0);
    assert_int_equal(vmig_device_dma_unmap(f->source, map.iova, size, NULL), 0);
    munmap(map.vaddr, size);
}

int main(void)
{
#define TEST_WITH(test, with)                                                                      \
    { "group: " #test, test, setup_group##with, teardown, NULL },                                  \
    {                                                                                              \
        "cdev: " #test, test, setup_cdev##with, teardown, NULL                                     \
    }
#define TEST(test) TEST_WITH(test, )
    const struct CMUnitTest tests[] = {
        TEST(a_device_moves_by_PRE_COPY_and_STOP_COPY),
        TEST(an_abandoned_migration_leaves_the_source_running_as_it_was),
        TEST(a_way_that_hangs_old_kernels_is_refused_and_nothing_happens),
        TEST(a_foreign_header_is_refused_and_never_installed),
        TEST_WITH(the_state_of_another_model_is_refused, _one_port_target),
        TEST(every_truncation_is_refused),
        TEST(surplus_data_are_refused),
        TEST(the_DMA_log_of_a_device_without_DMA_is_empty),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
