/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/device relies on, asked of a real kernel.
 *
 * These tests go through the backend's table, below the device layer, because that layer evens out
 * just what is recorded here: which errno means "no", what an empty read means in which state, what
 * survives a close, what a reset does. The device is the kernel's mtty sample; where it differs
 * from the specification, the test's name says so.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/device/backend.h"
#include "lib/device/fsm.h"
#include "tests/rig/devices.h"

#define ALL_FLAGS (VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY)
#define MTTY_MAGIC UINT64_C(0x7e9d09898c3e2c4e)

static const struct backend_ops *ops; /* of the test that runs */
static const struct backend_options options = {
    .command_timeout_ms = 5000,
    .transition_timeout_ms = 30000,
};

struct fixture {
    struct mtty mtty;
    void *self;
};

static void *open_backend(const struct mtty *mtty)
{
    struct vmig_error err = { 0 };
    void *self = NULL;
    if (ops->open(mtty->uuid, &options, &self, &err))
        fail_msg("opening %s: %s", mtty->uuid, err.text);
    return self;
}

static int setup_with(const struct backend_ops *backend, void **state)
{
    static struct fixture fixture;
    ops = backend;
    mtty_create(&fixture.mtty, MTTY_TWO_PORTS);
    fixture.self = open_backend(&fixture.mtty);
    *state = &fixture;
    return 0;
}

static int setup_group(void **state)
{
    return setup_with(&backend_group, state);
}

static int setup_cdev(void **state)
{
    return setup_with(&backend_cdev, state);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    ops->close(fixture->self);
    mtty_remove(&fixture->mtty);
    return 0;
}

/* ---- vocabulary: go() must succeed, at() tells where the device says it is ---- */

static void go(void *self, enum vmig_state target)
{
    struct vmig_error err = { 0 };
    if (ops->set_state(self, target, &err))
        fail_msg("going to %s: %s", vmig_state_name(target), err.text);
}

static enum vmig_state at(void *self)
{
    enum vmig_state state = VMIG_STATE_ERROR;
    assert_int_equal(ops->get_state(self, &state, NULL), 0);
    return state;
}

/* Read what there is; *ret_end is the result of the read that found nothing. */
static size_t drain(void *self, uint8_t *buf, size_t size, ssize_t *ret_end)
{
    size_t length = 0;
    while ((*ret_end = ops->data_read(self, buf + length, size - length, NULL)) > 0)
        length += (size_t)*ret_end;
    return length;
}

static void save(void *self, uint8_t data[MTTY_STATE_BYTES])
{
    uint8_t buf[4096];
    ssize_t end;
    go(self, VMIG_STATE_STOP_COPY);
    assert_int_equal(drain(self, buf, sizeof(buf), &end), MTTY_STATE_BYTES);
    assert_int_equal(end, 0);
    memcpy(data, buf, MTTY_STATE_BYTES);
}

static void write_scratch(void *self, uint8_t value)
{
    assert_int_equal(ops->region_write(self, 0, MTTY_SCRATCH, &value, 1, NULL), 0);
}

static uint8_t read_scratch(void *self)
{
    uint8_t value = 0;
    assert_int_equal(ops->region_read(self, 0, MTTY_SCRATCH, &value, 1, NULL), 0);
    return value;
}

/* ---- what it is ---- */

static void mtty_has_every_migration_feature(void **state)
{
    struct fixture *f = *state;
    struct vmig_migration_info info = { 0 };
    assert_int_equal(ops->migration_info(f->self, &info, NULL), 0);
    assert_int_equal(info.flags, ALL_FLAGS);
    assert_true(info.has_data_size);
    assert_true(info.has_precopy_info);
    assert_true(info.has_dma_logging);
}

static void mtty_is_a_pci_serial_card(void **state)
{
    struct fixture *f = *state;
    struct vmig_device_info info = { 0 };
    struct vmig_region_info region = { .index = 0 };
    uint8_t id[4];
    assert_int_equal(ops->info(f->self, &info, NULL), 0);
    assert_true(info.pci);
    assert_int_equal(ops->region_info(f->self, 0, &region, NULL), 0);
    assert_int_equal(region.size_bytes, 8);
    assert_int_equal(region.flags & (VMIG_REGION_READ | VMIG_REGION_WRITE | VMIG_REGION_MMAP),
                     VMIG_REGION_READ | VMIG_REGION_WRITE);
    assert_int_equal(ops->region_read(f->self, VMIG_REGION_CONFIG, 0, id, sizeof(id), NULL), 0);
    assert_memory_equal(id, "\x48\x43\x53\x32", 4);
}

static void an_interrupt_index_that_mtty_lacks_is_EINVAL(void **state)
{
    struct fixture *f = *state;
    struct vmig_irq_info irq = { 0 };
    assert_int_equal(ops->irq_info(f->self, VMIG_IRQ_INTX, &irq, NULL), 0);
    assert_int_equal(irq.count, 1);
    assert_int_equal(ops->irq_info(f->self, VMIG_IRQ_MSIX, &irq, NULL), -EINVAL);
}

static void a_new_device_is_RUNNING(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(at(f->self), VMIG_STATE_RUNNING);
}

/* ---- the state machine ---- */

/* Bring the device from anywhere to @from. The last stream is complete, so RESUMING can be left. */
static void bring_to(void *self, enum vmig_state from)
{
    assert_int_equal(ops->reset(self, NULL), 0);
    go(self, from);
}

/* Out of RESUMING there is a way only with the whole state written. */
static void fill_if_resuming(void *self, enum vmig_state from, const uint8_t *data)
{
    if (from == VMIG_STATE_RESUMING) {
        assert_int_equal(ops->data_write(self, data, MTTY_STATE_BYTES, NULL), 0);
        if (ops->data_flush)
            assert_int_equal(ops->data_flush(self, NULL), 0);
    }
}

static void the_kernel_walks_wherever_our_table_has_a_way(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    save(f->self, data);
    for (int from = VMIG_STATE_STOP; from < VMIG_STATE_COUNT; from++) {
        for (int to = VMIG_STATE_STOP; to < VMIG_STATE_COUNT; to++) {
            if (fsm_next(ALL_FLAGS, from, to) < 0)
                continue; /* older kernels hang when asked; the engine never does */
            bring_to(f->self, from);
            fill_if_resuming(f->self, from, data);
            go(f->self, to);
            assert_int_equal(at(f->self), to);
        }
    }
}

static void ERROR_cannot_be_asked_for(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ops->set_state(f->self, VMIG_STATE_ERROR, NULL), -EINVAL);
    assert_int_equal(at(f->self), VMIG_STATE_RUNNING);
}

static void asking_for_the_present_state_succeeds(void **state)
{
    struct fixture *f = *state;
    for (int to = VMIG_STATE_STOP; to < VMIG_STATE_COUNT; to++) {
        bring_to(f->self, to);
        go(f->self, to);
        assert_int_equal(at(f->self), to);
    }
}

static void reset_leads_from_every_state_to_RUNNING(void **state)
{
    struct fixture *f = *state;
    for (int from = VMIG_STATE_STOP; from < VMIG_STATE_COUNT; from++) {
        bring_to(f->self, from);
        assert_int_equal(ops->reset(f->self, NULL), 0);
        assert_int_equal(at(f->self), VMIG_STATE_RUNNING);
    }
}

static void mttys_reset_works_without_the_RESET_flag_and_keeps_the_registers(void **state)
{
    struct fixture *f = *state;
    struct vmig_device_info info = { 0 };
    assert_int_equal(ops->info(f->self, &info, NULL), 0);
    assert_false(info.reset);
    write_scratch(f->self, 0x5a);
    assert_int_equal(ops->reset(f->self, NULL), 0);
    assert_int_equal(read_scratch(f->self), 0x5a);
}

/* mtty keeps its state when it is closed, the stream is gone: opening resets it, which costs a
 * device of this kind nothing. */
static void a_device_left_in_a_state_is_RUNNING_at_the_next_open(void **state)
{
    struct fixture *f = *state;
    for (int left = VMIG_STATE_STOP; left < VMIG_STATE_COUNT; left++) {
        uint8_t byte;
        write_scratch(f->self, (uint8_t)(0xa0 + left));
        go(f->self, left);
        ops->close(f->self);
        f->self = open_backend(&f->mtty);
        assert_int_equal(at(f->self), VMIG_STATE_RUNNING);
        assert_true(ops->data_read(f->self, &byte, 1, NULL) < 0);
        assert_int_equal(read_scratch(f->self), 0xa0 + left);
    }
}

/* ---- the data stream, outwards ---- */

static void the_stream_is_a_header_and_36_bytes_a_port(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    uint64_t magic;
    uint32_t numbers[4];
    write_scratch(f->self, 0xc3);
    save(f->self, data);
    memcpy(&magic, data, sizeof(magic));
    memcpy(numbers, data + sizeof(magic), sizeof(numbers));
    assert_true(magic == MTTY_MAGIC);
    assert_int_equal(numbers[0], 1); /* major, then minor, ports, flags */
    assert_int_equal(numbers[1], 0);
    assert_int_equal(numbers[2], 2);
    assert_int_equal(numbers[3], 0);
    assert_int_equal(data[MTTY_SCRATCH_AT], 0xc3);
}

static void mtty_in_PRE_COPY_is_drained_with_0_in_place_of_ENOMSG(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4096];
    ssize_t end;
    go(f->self, VMIG_STATE_PRE_COPY);
    assert_int_equal(drain(f->self, buf, sizeof(buf), &end), MTTY_HEADER_BYTES);
    assert_int_equal(end, 0);
    go(f->self, VMIG_STATE_PRE_COPY_P2P);
    assert_int_equal(drain(f->self, buf, sizeof(buf), &end), 0);
    assert_int_equal(end, 0);
}

static void one_stream_goes_on_from_PRE_COPY_to_STOP_COPY(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4096];
    ssize_t end;
    go(f->self, VMIG_STATE_PRE_COPY);
    assert_int_equal(drain(f->self, buf, sizeof(buf), &end), MTTY_HEADER_BYTES);
    go(f->self, VMIG_STATE_PRE_COPY_P2P);
    go(f->self, VMIG_STATE_STOP_COPY);
    assert_int_equal(drain(f->self, buf, sizeof(buf), &end), 2 * MTTY_PORT_BYTES);
    assert_int_equal(end, 0);
}

static void precopy_sizes_fall_to_0_as_the_data_are_read(void **state)
{
    struct fixture *f = *state;
    struct vmig_precopy_info info = { 0 };
    uint8_t buf[4096];
    ssize_t end;
    go(f->self, VMIG_STATE_PRE_COPY);
    assert_int_equal(ops->precopy_info(f->self, &info, NULL), 0);
    assert_int_equal(info.initial_bytes, MTTY_HEADER_BYTES);
    assert_int_equal(info.dirty_bytes, 0);
    drain(f->self, buf, sizeof(buf), &end);
    assert_int_equal(ops->precopy_info(f->self, &info, NULL), 0);
    assert_int_equal(info.initial_bytes, 0);
    assert_int_equal(info.dirty_bytes, 0);
}

static void precopy_sizes_outside_of_PRE_COPY_are_EINVAL(void **state)
{
    struct fixture *f = *state;
    struct vmig_precopy_info info = { 0 };
    go(f->self, VMIG_STATE_PRE_COPY);
    go(f->self, VMIG_STATE_PRE_COPY_P2P);
    assert_int_equal(ops->precopy_info(f->self, &info, NULL), 0);
    go(f->self, VMIG_STATE_STOP_COPY);
    assert_int_equal(ops->precopy_info(f->self, &info, NULL), -EINVAL);
}

static void stop_copy_length_is_the_whole_size_in_every_state(void **state)
{
    struct fixture *f = *state;
    for (int in = VMIG_STATE_STOP; in < VMIG_STATE_COUNT; in++) {
        uint64_t bytes = 0;
        bring_to(f->self, in);
        assert_int_equal(ops->data_size(f->self, &bytes, NULL), 0);
        assert_int_equal(bytes, MTTY_STATE_BYTES);
    }
}

static void a_stream_that_a_reset_ended_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    uint8_t byte;
    go(f->self, VMIG_STATE_STOP_COPY);
    assert_int_equal(ops->reset(f->self, NULL), 0);
    assert_true(ops->data_read(f->self, &byte, 1, NULL) < 0);
}

/* ---- the data stream, inwards ---- */

static int load(void *self, const void *data, size_t length)
{
    go(self, VMIG_STATE_RESUMING);
    int rc = ops->data_write(self, data, length, NULL);
    return rc || !ops->data_flush ? rc : ops->data_flush(self, NULL);
}

static void the_registers_come_back_with_the_state(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    write_scratch(f->self, 0x3c);
    save(f->self, data);
    assert_int_equal(ops->reset(f->self, NULL), 0);
    write_scratch(f->self, 0xff);
    assert_int_equal(load(f->self, data, sizeof(data)), 0);
    go(f->self, VMIG_STATE_STOP);
    assert_int_equal(read_scratch(f->self), 0x3c);
}

static void a_header_of_something_else_is_EFAULT_at_the_write(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    save(f->self, data);
    data[0] ^= 1;
    assert_int_equal(load(f->self, data, sizeof(data)), -EFAULT);
}

static void more_than_the_state_is_ENOMEM(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES + 1] = { 0 };
    save(f->self, data);
    assert_int_equal(load(f->self, data, sizeof(data)), -ENOMEM);
}

static void part_of_the_state_is_EINVAL_on_leaving_RESUMING(void **state)
{
    struct fixture *f = *state;
    uint8_t data[MTTY_STATE_BYTES];
    save(f->self, data);
    assert_int_equal(load(f->self, data, sizeof(data) - 1), 0);
    assert_int_equal(ops->set_state(f->self, VMIG_STATE_STOP, NULL), -EINVAL);
    assert_int_equal(at(f->self), VMIG_STATE_RESUMING);
}

/* ---- who may open it ---- */

static void a_second_opener_is_EBUSY(void **state)
{
    struct fixture *f = *state;
    void *second = NULL;
    assert_int_equal(ops->open(f->mtty.uuid, &options, &second, NULL), -EBUSY);
    assert_null(second);
}

static void a_device_that_is_not_there_is_ENOENT(void **state)
{
    (void)state;
    void *self = NULL;
    assert_int_equal(ops->open("00000000-0000-4000-8000-000000000000", &options, &self, NULL),
                     -ENOENT);
}

/* Debian's kernel: VFIO registers the device, and gives it no node. */
static void without_character_devices_the_group_is_taken(void **state)
{
    struct fixture *f = *state;
    struct vmig_device_options group = { .size = sizeof(group) }, cdev = group;
    struct vmig_device *device = NULL;
    struct vmig_device_info info = { 0 };
    struct vmig_error err = { 0 };
    cdev.backend = "cdev";
    ops->close(f->self);
    assert_int_equal(vmig_device_open(f->mtty.uuid, &group, &device, NULL), 0);
    assert_int_equal(vmig_device_info(device, &info, NULL), 0);
    assert_string_equal(info.backend, "group");
    vmig_device_close(device);
    assert_int_equal(vmig_device_open(f->mtty.uuid, &cdev, &device, &err), -ENOENT);
    assert_string_equal(err.reason, "no-cdev");
    f->self = open_backend(&f->mtty);
}

int main(void)
{
#define TEST(test)                                                                                 \
    { "group: " #test, test, setup_group, teardown, NULL },                                        \
    {                                                                                              \
        "cdev: " #test, test, setup_cdev, teardown, NULL                                           \
    }
    const struct CMUnitTest tests[] = {
        TEST(mtty_has_every_migration_feature),
        TEST(mtty_is_a_pci_serial_card),
        TEST(an_interrupt_index_that_mtty_lacks_is_EINVAL),
        TEST(a_new_device_is_RUNNING),
        TEST(the_kernel_walks_wherever_our_table_has_a_way),
        TEST(ERROR_cannot_be_asked_for),
        TEST(asking_for_the_present_state_succeeds),
        TEST(reset_leads_from_every_state_to_RUNNING),
        TEST(mttys_reset_works_without_the_RESET_flag_and_keeps_the_registers),
        TEST(a_device_left_in_a_state_is_RUNNING_at_the_next_open),
        TEST(the_stream_is_a_header_and_36_bytes_a_port),
        TEST(mtty_in_PRE_COPY_is_drained_with_0_in_place_of_ENOMSG),
        TEST(one_stream_goes_on_from_PRE_COPY_to_STOP_COPY),
        TEST(precopy_sizes_fall_to_0_as_the_data_are_read),
        TEST(precopy_sizes_outside_of_PRE_COPY_are_EINVAL),
        TEST(stop_copy_length_is_the_whole_size_in_every_state),
        TEST(a_stream_that_a_reset_ended_cannot_be_read),
        TEST(the_registers_come_back_with_the_state),
        TEST(a_header_of_something_else_is_EFAULT_at_the_write),
        TEST(more_than_the_state_is_ENOMEM),
        TEST(part_of_the_state_is_EINVAL_on_leaving_RESUMING),
        TEST(a_second_opener_is_EBUSY),
        TEST(a_device_that_is_not_there_is_ENOENT),
        cmocka_unit_test_setup_teardown(without_character_devices_the_group_is_taken, setup_group,
                                        teardown),
    };
    cmocka_set_skip_filter(access("/dev/iommu", F_OK) ? "cdev: *" : "*without_character_devices*");
    return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
