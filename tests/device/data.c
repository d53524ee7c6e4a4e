/* SPDX-License-Identifier: BSD-3-Clause */
/* What reads, writes and sizes mean in which state. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/device/device.h"
#include "tests/device/fake-backend.h"

static struct fake fake;
static struct vmig_device *device;
static struct vmig_error err;
static const uint8_t content[] = "0123456789";

static void begin(enum vmig_state state)
{
    device = vmig_device_close(device);
    fake_init(&fake);
    fake.state = state;
    fake.data = content;
    fake.length = 10;
    fake.precopy_length = 4;
    memset(&err, 0, sizeof(err));
    assert_int_equal(fake_open(&fake, NULL, &device, &err), 0);
}

static int end(void **unused)
{
    (void)unused;
    device = vmig_device_close(device);
    return 0;
}

static ssize_t read_some(size_t size)
{
    static char buf[64];
    assert_true(size <= sizeof(buf));
    return vmig_device_data_read(device, buf, size, &err);
}

/* ---- reading ---- */

static void an_empty_read_in_pre_copy_is_drained_for_now_whatever_the_device_calls_it(void **unused)
{
    (void)unused;
    static const enum vmig_state states[] = { VMIG_STATE_PRE_COPY, VMIG_STATE_PRE_COPY_P2P };
    static const int empties[] = { 0, -ENOMSG };
    for (unsigned i = 0; i < 4; i++) {
        begin(states[i % 2]);
        fake.empty = empties[i / 2];
        assert_int_equal(read_some(64), 4);
        assert_int_equal(read_some(64), -ENOMSG);
        assert_int_equal(err.code, 0); /* an answer, no error */
    }
}

static void an_empty_read_in_stop_copy_is_the_end(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_STOP_COPY);
    assert_int_equal(read_some(64), 10);
    assert_int_equal(read_some(64), 0);
    assert_int_equal(read_some(64), 0);
}

static void stop_copy_may_hold_no_byte_at_all(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_STOP_COPY);
    fake.length = 0;
    assert_int_equal(read_some(64), 0);
}

static void drained_for_now_in_stop_copy_breaks_the_rules(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_STOP_COPY);
    fake.length = 0;
    fake.empty = -ENOMSG;
    assert_int_equal(read_some(64), -EPROTO);
    assert_non_null(strstr(err.text, "STOP_COPY"));
}

static void the_stream_goes_on_from_pre_copy_into_stop_copy(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_PRE_COPY);
    assert_int_equal(read_some(3), 3);
    assert_int_equal(read_some(3), 1);
    assert_int_equal(read_some(3), -ENOMSG);
    assert_int_equal(
        vmig_device_set_state(device, VMIG_STATE_PRE_COPY_P2P, VMIG_STATE_RUNNING, NULL), 0);
    assert_int_equal(read_some(3), -ENOMSG);
    assert_int_equal(vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, NULL),
                     0);
    assert_int_equal(read_some(64), 6);
    assert_int_equal(read_some(64), 0);
}

static void reading_where_nothing_can_be_read_is_refused_here(void **unused)
{
    (void)unused;
    static const enum vmig_state states[] = { VMIG_STATE_STOP, VMIG_STATE_RUNNING,
                                              VMIG_STATE_RESUMING, VMIG_STATE_RUNNING_P2P };
    for (unsigned i = 0; i < 4; i++) {
        begin(states[i]);
        assert_int_equal(read_some(64), -EINVAL);
        assert_non_null(strstr(err.text, vmig_state_name(states[i])));
        assert_int_equal(fake.largest_read, 0);
    }
}

static void a_read_of_nothing_is_refused(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_STOP_COPY);
    assert_int_equal(read_some(0), -EINVAL);
    assert_int_equal(fake.largest_read, 0);
}

static void a_read_asks_for_one_mebibyte_at_most(void **unused)
{
    (void)unused;
    static const size_t sizes[] = { (1u << 20) - 1, 1u << 20, (1u << 20) + 1, 8u << 20 };
    static const size_t asked[] = { (1u << 20) - 1, 1u << 20, 1u << 20, 1u << 20 };
    char *buf = malloc(8u << 20);
    assert_non_null(buf);
    for (unsigned i = 0; i < 4; i++) {
        begin(VMIG_STATE_STOP_COPY);
        assert_int_equal(vmig_device_data_read(device, buf, sizes[i], &err), 10);
        assert_int_equal(fake.largest_read, asked[i]);
    }
    free(buf);
}

static void more_bytes_than_asked_for_are_an_error(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_STOP_COPY);
    fake.too_much = true;
    assert_int_equal(read_some(64), -EPROTO);
    assert_non_null(strstr(err.text, "65 bytes of data where 64 were asked for"));
}

static void a_failed_read_names_the_device(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_STOP_COPY);
    fake.read_rc = -ENODEV;
    assert_int_equal(read_some(64), -ENODEV);
    assert_string_equal(err.device, vmig_device_id(device));
    assert_non_null(strstr(err.text, "No such device"));
}

/* ---- writing ---- */

static void writes_arrive_in_order_and_completely(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_RESUMING);
    assert_int_equal(vmig_device_data_write(device, content, 3, &err), 0);
    assert_int_equal(vmig_device_data_write(device, content + 3, 7, &err), 0);
    assert_int_equal(vmig_device_data_flush(device, &err), 0);
    assert_int_equal(fake.taken_length, 10);
    assert_memory_equal(fake.taken, content, 10);
}

static void a_large_write_goes_out_in_parts_of_one_mebibyte(void **unused)
{
    (void)unused;
    size_t size = (2u << 20) + 1;
    char *buf = calloc(1, size);
    assert_non_null(buf);
    begin(VMIG_STATE_RESUMING);
    assert_int_equal(vmig_device_data_write(device, buf, size, &err), 0);
    assert_int_equal(fake.num_writes, 3);
    assert_int_equal(fake.taken_length, size);
    free(buf);
}

static void writing_outside_of_resuming_is_refused_here(void **unused)
{
    (void)unused;
    for (int state = VMIG_STATE_STOP; state < VMIG_STATE_COUNT; state++) {
        if (state == VMIG_STATE_RESUMING)
            continue;
        begin((enum vmig_state)state);
        assert_int_equal(vmig_device_data_write(device, content, 1, &err), -EINVAL);
        assert_int_equal(vmig_device_data_flush(device, &err), -EINVAL);
        assert_int_equal(fake.num_writes, 0);
    }
}

static void after_a_refused_write_no_more_data_is_taken(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_RESUMING);
    fake.write_rc = -EINVAL;
    assert_int_equal(vmig_device_data_write(device, content, 1, &err), -EINVAL);
    fake.write_rc = 0;
    assert_int_equal(vmig_device_data_write(device, content, 1, NULL), -EIO);
    assert_int_equal(vmig_device_data_flush(device, NULL), -EIO);
    assert_int_equal(fake.num_writes, 1);
}

static void a_failed_flush_is_a_refused_write(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_RESUMING);
    assert_int_equal(vmig_device_data_write(device, content, 1, &err), 0);
    fake.flush_rc = -EFAULT;
    assert_int_equal(vmig_device_data_flush(device, &err), -EFAULT);
    assert_int_equal(vmig_device_set_state(device, VMIG_STATE_STOP, VMIG_STATE_RUNNING, NULL),
                     -EIO);
    assert_int_equal(vmig_device_health(device), VMIG_HEALTH_RESET);
}

/* ---- sizes ---- */

static void sizes_are_estimates_up_to_what_a_signed_number_holds(void **unused)
{
    (void)unused;
    uint64_t size = 77;
    begin(VMIG_STATE_RUNNING);
    fake.data_size = 0;
    assert_int_equal(vmig_device_data_size(device, &size, &err), 0);
    assert_int_equal(size, 0);
    fake.data_size = INT64_MAX;
    assert_int_equal(vmig_device_data_size(device, &size, &err), 0);
    assert_int_equal(size, INT64_MAX);
}

static void a_size_that_is_really_an_errno_is_an_error(void **unused)
{
    (void)unused;
    uint64_t size = 77;
    begin(VMIG_STATE_RUNNING);
    fake.data_size = (uint64_t)-EIO;
    assert_int_equal(vmig_device_data_size(device, &size, &err), -EOVERFLOW);
    assert_non_null(strstr(err.text, "(-5)"));
    assert_int_equal(size, 77);
}

static void a_size_that_cannot_be_asked_is_enotty(void **unused)
{
    (void)unused;
    uint64_t size;
    struct vmig_precopy_info info;
    fake_init(&fake);
    fake.migration.has_data_size = fake.migration.has_precopy_info = false;
    fake.state = VMIG_STATE_PRE_COPY;
    assert_int_equal(fake_open(&fake, NULL, &device, NULL), 0);
    assert_int_equal(vmig_device_data_size(device, &size, &err), -ENOTTY);
    assert_int_equal(vmig_device_precopy_info(device, &info, NULL), -ENOTTY);
}

static void pre_copy_sizes_are_asked_in_the_pre_copy_states_only(void **unused)
{
    (void)unused;
    for (int state = VMIG_STATE_STOP; state < VMIG_STATE_COUNT; state++) {
        struct vmig_precopy_info info;
        bool precopy = state == VMIG_STATE_PRE_COPY || state == VMIG_STATE_PRE_COPY_P2P;
        begin((enum vmig_state)state);
        fake.precopy = (struct vmig_precopy_info) { .initial_bytes = 24, .dirty_bytes = 5 };
        assert_int_equal(vmig_device_precopy_info(device, &info, NULL), precopy ? 0 : -EINVAL);
        assert_int_equal(strstr(fake.history, "precopy_info") != NULL, precopy);
        if (precopy) {
            assert_int_equal(info.initial_bytes, 24);
            assert_int_equal(info.dirty_bytes, 5);
        }
    }
}

static void pre_copy_sizes_cannot_overflow_when_added(void **unused)
{
    (void)unused;
    struct vmig_precopy_info info;
    begin(VMIG_STATE_PRE_COPY);
    fake.precopy =
        (struct vmig_precopy_info) { .initial_bytes = UINT64_MAX, .dirty_bytes = UINT64_MAX };
    assert_int_equal(vmig_device_precopy_info(device, &info, &err), 0);
    assert_true(info.initial_bytes + info.dirty_bytes >= info.initial_bytes);
}

static bool told_reinit(void)
{
    struct vmig_precopy_info info = { .reinit = true };
    assert_int_equal(vmig_device_precopy_info(device, &info, &err), 0);
    return info.reinit;
}

static bool says_reinit(void)
{
    struct vmig_migration_info info;
    assert_int_equal(vmig_device_migration_info(device, &info, &err), 0);
    return info.reinit;
}

/* Old kernels answer with the flags that they were given, and a device may set what it likes. */
static void new_initial_bytes_mean_nothing_unless_they_were_asked_for(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_PRE_COPY);
    fake.precopy.reinit = true;
    assert_false(told_reinit());
    assert_false(says_reinit());
    assert_int_equal(vmig_device_enable_reinit(device, &err), 0);
    assert_true(told_reinit());
    assert_true(says_reinit());
    fake.precopy.reinit = false;
    assert_false(told_reinit());
}

static void asking_for_them_twice_asks_the_device_once(void **unused)
{
    (void)unused;
    begin(VMIG_STATE_RUNNING);
    assert_int_equal(vmig_device_enable_reinit(device, &err), 0);
    assert_int_equal(vmig_device_enable_reinit(device, &err), 0);
    assert_int_equal(fake.num_reinits, 1);
}

static void a_device_without_them_goes_on_without(void **unused)
{
    (void)unused;
    static const int codes[] = { -ENOTTY, -EINVAL };
    for (unsigned i = 0; i < 2; i++) {
        begin(VMIG_STATE_PRE_COPY);
        fake.reinit_rc = codes[i];
        fake.precopy.reinit = true;
        assert_int_equal(vmig_device_enable_reinit(device, &err), -ENOTTY);
        assert_false(says_reinit());
        assert_false(told_reinit());
    }
    device = vmig_device_close(device);
    fake_init(&fake);
    fake.migration.has_reinit = false;
    assert_int_equal(fake_open(&fake, NULL, &device, NULL), 0);
    assert_int_equal(vmig_device_enable_reinit(device, &err), -ENOTTY);
    assert_int_equal(fake.num_reinits, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            an_empty_read_in_pre_copy_is_drained_for_now_whatever_the_device_calls_it, end),
        cmocka_unit_test_teardown(an_empty_read_in_stop_copy_is_the_end, end),
        cmocka_unit_test_teardown(stop_copy_may_hold_no_byte_at_all, end),
        cmocka_unit_test_teardown(drained_for_now_in_stop_copy_breaks_the_rules, end),
        cmocka_unit_test_teardown(the_stream_goes_on_from_pre_copy_into_stop_copy, end),
        cmocka_unit_test_teardown(reading_where_nothing_can_be_read_is_refused_here, end),
        cmocka_unit_test_teardown(a_read_of_nothing_is_refused, end),
        cmocka_unit_test_teardown(a_read_asks_for_one_mebibyte_at_most, end),
        cmocka_unit_test_teardown(more_bytes_than_asked_for_are_an_error, end),
        cmocka_unit_test_teardown(a_failed_read_names_the_device, end),
        cmocka_unit_test_teardown(writes_arrive_in_order_and_completely, end),
        cmocka_unit_test_teardown(a_large_write_goes_out_in_parts_of_one_mebibyte, end),
        cmocka_unit_test_teardown(writing_outside_of_resuming_is_refused_here, end),
        cmocka_unit_test_teardown(after_a_refused_write_no_more_data_is_taken, end),
        cmocka_unit_test_teardown(a_failed_flush_is_a_refused_write, end),
        cmocka_unit_test_teardown(sizes_are_estimates_up_to_what_a_signed_number_holds, end),
        cmocka_unit_test_teardown(a_size_that_is_really_an_errno_is_an_error, end),
        cmocka_unit_test_teardown(a_size_that_cannot_be_asked_is_enotty, end),
        cmocka_unit_test_teardown(pre_copy_sizes_are_asked_in_the_pre_copy_states_only, end),
        cmocka_unit_test_teardown(pre_copy_sizes_cannot_overflow_when_added, end),
        cmocka_unit_test_teardown(new_initial_bytes_mean_nothing_unless_they_were_asked_for, end),
        cmocka_unit_test_teardown(asking_for_them_twice_asks_the_device_once, end),
        cmocka_unit_test_teardown(a_device_without_them_goes_on_without, end),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
