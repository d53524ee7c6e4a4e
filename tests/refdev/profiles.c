/* SPDX-License-Identifier: BSD-3-Clause */
/* The profiles: states, and the streams of mtty, hisi_acc and pds. */
#include "fake-door.h"

static void every_way_that_the_flags_allow_works_and_no_other(void **arg)
{
    (void)arg;
    for (unsigned n = 0; refdev_profile_at(n); n++) {
        const struct refdev_profile *profile = refdev_profile_at(n);
        struct fake *fake = fake_new(profile->name, 1, profile->default_local_bytes ? 8192 : 0);
        for (unsigned to = 0; to < VMIG_STATE_COUNT + 2; to++) {
            bool has = to && to < VMIG_STATE_COUNT && fsm_has_state(profile->migration_flags, to);
            assert_int_equal(refdev_set_state(fake->model, to), has ? 0 : -EINVAL);
            assert_int_equal(refdev_state(fake->model), has ? to : VMIG_STATE_RUNNING);
            refdev_reset(fake->model);
        }
        fake_delete(fake);
    }
}

static void hidden_p2p_states_cannot_be_entered_and_are_left(void **arg)
{
    struct fake *fake = fake_new("default", 1, 8192);
    (void)arg;
    set_state(fake, VMIG_STATE_PRE_COPY_P2P);
    refdev_show_flags(fake->model, ~2ull);
    assert_int_equal(refdev_flags(fake->model), 5);
    assert_int_equal(refdev_state(fake->model), VMIG_STATE_PRE_COPY);
    assert_int_equal(refdev_set_state(fake->model, VMIG_STATE_RUNNING_P2P), -EINVAL);
    set_state(fake, VMIG_STATE_STOP_COPY);
    set_state(fake, VMIG_STATE_RUNNING);
    fake_delete(fake);
}

static void every_arc_takes_its_time_and_closing_breaks_it_off(void **arg)
{
    struct refdev_knobs knobs = { .profile = profile_named("default"), .transition_ns = 1000 };
    struct fake *fake;
    (void)arg;
    assert_int_equal(try_fake_new(&fake, &knobs, 4096), 0);
    set_state(fake, VMIG_STATE_STOP); /* RUNNING_P2P, STOP */
    assert_int_equal(fake->slept_ns, 2000);
    fake->closing = true;
    assert_int_equal(refdev_set_state(fake->model, VMIG_STATE_RUNNING), -EINTR);
    assert_int_equal(refdev_state(fake->model), VMIG_STATE_STOP);
    fake_delete(fake);
}

static void set_scratch(struct fake *fake, unsigned port, uint8_t value)
{
    assert_int_equal(refdev_region_write(fake->model, port, 7, &value, 1), 0);
}

static uint8_t scratch(struct fake *fake, unsigned port)
{
    uint8_t value;
    assert_int_equal(refdev_region_read(fake->model, port, 7, &value, 1), 0);
    return value;
}

static void mtty_sends_its_header_in_pre_copy_and_the_ports_in_stop_copy(void **arg)
{
    struct fake *source = fake_new("mtty", 1, 0), *target = fake_new("mtty", 1, 0);
    uint8_t buf[200];
    uint64_t initial, dirty, size;
    (void)arg;
    set_scratch(source, 0, 0x5a);
    set_scratch(source, 1, 0xa5);
    set_state(source, VMIG_STATE_PRE_COPY);
    assert_int_equal(refdev_precopy_info(source->model, &initial, &dirty), 0);
    assert_int_equal(initial, 24);
    assert_int_equal(dirty, 0);
    assert_int_equal(read_state(source, buf, 0, sizeof(buf), 10), 24);
    assert_int_equal(refdev_data_size(source->model, &size), 0);
    assert_int_equal(size, 96);
    set_state(source, VMIG_STATE_STOP_COPY);
    assert_int_equal(read_state(source, buf, 24, sizeof(buf), 200), 96);
    assert_int_equal(buf[24 + 7], 0x5a);
    assert_int_equal(buf[24 + 36 + 7], 0xa5);
    set_state(target, VMIG_STATE_RESUMING);
    assert_int_equal(write_state(target, buf, 96, 5), 0);
    set_state(target, VMIG_STATE_RUNNING);
    assert_int_equal(scratch(target, 0), 0x5a);
    assert_int_equal(scratch(target, 1), 0xa5);
    fake_delete(source);
    fake_delete(target);
}

static void mtty_read_in_pre_copy_is_empty_instead_of_enomsg(void **arg)
{
    struct fake *mtty = fake_new("mtty", 1, 0), *device = fake_new("default", 1, 4096);
    struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    uint8_t buf[40000];
    unsigned count;
    (void)arg;
    set_state(mtty, VMIG_STATE_PRE_COPY);
    read_state(mtty, buf, 0, sizeof(buf), 100);
    assert_int_equal(refdev_data_read(mtty->model, 10, segments, &count), 0);
    set_state(device, VMIG_STATE_PRE_COPY);
    read_state(device, buf, 0, sizeof(buf), 1000);
    assert_int_equal(refdev_data_read(device->model, 10, segments, &count), -ENOMSG);
    fake_delete(mtty);
    fake_delete(device);
}

static void mtty_loads_data_whose_header_it_refused_but_not_other_port_counts(void **arg)
{
    struct fake *source = fake_new("mtty", 1, 0), *target = fake_new("mtty", 1, 0);
    uint8_t buf[200];
    (void)arg;
    set_scratch(source, 0, 0x77);
    set_state(source, VMIG_STATE_STOP_COPY);
    assert_int_equal(read_state(source, buf, 0, sizeof(buf), 200), 96);
    set_state(target, VMIG_STATE_RESUMING);
    buf[0] ^= 1;
    assert_int_equal(write_state(target, buf, 96, 96), -EFAULT);
    set_state(target, VMIG_STATE_STOP);
    set_state(target, VMIG_STATE_RUNNING);
    assert_int_equal(scratch(target, 0), 0x77);
    set_state(target, VMIG_STATE_RESUMING);
    buf[0] ^= 1;
    buf[16] = 1;
    assert_int_equal(write_state(target, buf, 96, 96), -EFAULT);
    assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP), -EINVAL);
    assert_int_equal(write_state(target, buf, 1, 1), -ENOMEM);
    fake_delete(source);
    fake_delete(target);
}

static void mtty_keeps_its_registers_over_a_reset_and_logs_nothing(void **arg)
{
    struct fake *fake = fake_new("mtty", 1, 0);
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    set_scratch(fake, 0, 9);
    refdev_reset(fake->model);
    assert_int_equal(scratch(fake, 0), 9);
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    assert_int_equal(refdev_log_report(fake->model, 0, 4096, 4096, &bits), 0);
    assert_int_equal(bits, 0);
    fake_delete(fake);
}

static void hisi_moves_its_workload_in_176_bytes_and_has_no_p2p(void **arg)
{
    struct fake *source = fake_new("hisi_acc", 5, 0), *target = fake_new("hisi_acc", 6, 0);
    uint8_t buf[400];
    uint64_t initial, dirty, size, pgsize = 4096;
    (void)arg;
    assert_int_equal(refdev_flags(source->model), 5);
    assert_int_equal(refdev_log_start(source->model, NULL, 0, &pgsize), -ENOTTY);
    start_workload(source, 8, 1000, 0);
    run_ms(source, 30);
    set_state(source, VMIG_STATE_PRE_COPY);
    assert_int_equal(refdev_precopy_info(source->model, &initial, &dirty), 0);
    assert_int_equal(initial, 40);
    assert_int_equal(read_state(source, buf, 0, sizeof(buf), 400), 40);
    run_ms(source, 30);
    set_state(source, VMIG_STATE_STOP_COPY);
    assert_int_equal(refdev_data_size(source->model, &size), 0);
    assert_int_equal(size, 176);
    assert_int_equal(read_state(source, buf, 40, sizeof(buf), 33), 176);
    set_state(target, VMIG_STATE_RESUMING);
    assert_int_equal(write_state(target, buf, 176, 50), 0);
    memcpy(target->guest, source->guest, sizeof(source->guest));
    set_state(target, VMIG_STATE_RUNNING);
    run_ms(target, 30);
    assert_true(reg(target, REFDEV_REG_DMA_STEPS) > reg(source, REFDEV_REG_DMA_STEPS));
    assert_int_equal(verify(target), 0);
    assert_int_equal(reg(target, REFDEV_REG_SLOT_MISMATCHES), 0);
    fake_delete(source);
    fake_delete(target);
}

static void hisi_without_driver_saves_the_match_data_alone(void **arg)
{
    struct fake *source = fake_new("hisi_acc", 5, 0), *target = fake_new("hisi_acc", 6, 0);
    uint8_t buf[400];
    (void)arg;
    set_reg(source, REFDEV_REG_CONTROL, REFDEV_CONTROL_NO_DRIVER);
    set_state(source, VMIG_STATE_STOP_COPY);
    assert_int_equal(read_state(source, buf, 0, sizeof(buf), 400), 40);
    set_state(target, VMIG_STATE_RESUMING);
    buf[8] ^= 1;
    assert_int_equal(write_state(target, buf, 40, 40), -EFAULT);
    assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP), -EINVAL);
    refdev_reset(target->model);
    set_state(target, VMIG_STATE_RESUMING);
    buf[8] ^= 1;
    assert_int_equal(write_state(target, buf, 40, 40), 0);
    set_state(target, VMIG_STATE_RUNNING);
    assert_int_equal(reg(target, REFDEV_REG_CONTROL), REFDEV_CONTROL_NO_DRIVER);
    set_state(target, VMIG_STATE_STOP_COPY); /* on to the next, the same again */
    assert_int_equal(read_state(target, buf, 0, sizeof(buf), 400), 40);
    fake_delete(source);
    fake_delete(target);
}

static void pds_always_tells_65536_and_never_sends_more(void **arg)
{
    const struct refdev_profile *profile = profile_named("pds");
    struct refdev_knobs knobs = { .profile = profile };
    struct fake *fake = fake_new("pds", 1, profile->max_local_bytes), *bigger;
    uint8_t *buf = malloc(100000);
    uint64_t size;
    (void)arg;
    assert_int_equal(refdev_flags(fake->model), 3);
    set_state(fake, VMIG_STATE_STOP_COPY);
    assert_int_equal(refdev_data_size(fake->model, &size), 0);
    assert_int_equal(size, 65536);
    assert_true(read_state(fake, buf, 0, 100000, 5000) <= 65536);
    assert_int_equal(refdev_data_size(fake->model, &size), 0);
    assert_int_equal(size, 65536);
    assert_int_equal(try_fake_new(&bigger, &knobs, profile->max_local_bytes + 4096), -EINVAL);
    fake_delete(fake);
    free(bigger->model);
    free(bigger->shared);
    free(bigger->local);
    free(bigger);
    free(buf);
}

static void pds_log_answers_inside_one_range_and_ends_with_stop_copy(void **arg)
{
    struct fake *fake = fake_new("pds", 1, 8192);
    struct refdev_range ranges[2] = { { 0, 1 << 20 }, { 1 << 20, 1 << 20 } };
    uint64_t pgsize = 4096, bits[8] = { 0 };
    (void)arg;
    assert_int_equal(refdev_log_start(fake->model, ranges, 2, &pgsize), 0);
    assert_int_equal(refdev_log_start(fake->model, ranges, 2, &pgsize), -EEXIST);
    assert_int_equal(refdev_log_report(fake->model, 0, 1 << 20, 4096, bits), 0);
    assert_int_equal(refdev_log_report(fake->model, 4096, 1 << 20, 4096, bits), -EINVAL);
    set_state(fake, VMIG_STATE_STOP_COPY);
    assert_int_equal(refdev_log_report(fake->model, 0, 1 << 20, 4096, bits), 0);
    set_state(fake, VMIG_STATE_STOP);
    assert_int_equal(refdev_log_report(fake->model, 0, 1 << 20, 4096, bits), -EINVAL);
    fake_delete(fake);
}

static void every_profile_explains_itself(void **arg)
{
    (void)arg;
    for (unsigned n = 0; refdev_profile_at(n); n++) {
        const char *about = refdev_profile_at(n)->about;
        assert_true(strlen(about) > 40);
        assert_int_equal(about[strlen(about) - 1], '.');
    }
    assert_null(refdev_profile_at(100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_that_the_flags_allow_works_and_no_other),
        cmocka_unit_test(hidden_p2p_states_cannot_be_entered_and_are_left),
        cmocka_unit_test(every_arc_takes_its_time_and_closing_breaks_it_off),
        cmocka_unit_test(mtty_sends_its_header_in_pre_copy_and_the_ports_in_stop_copy),
        cmocka_unit_test(mtty_read_in_pre_copy_is_empty_instead_of_enomsg),
        cmocka_unit_test(mtty_loads_data_whose_header_it_refused_but_not_other_port_counts),
        cmocka_unit_test(mtty_keeps_its_registers_over_a_reset_and_logs_nothing),
        cmocka_unit_test(hisi_moves_its_workload_in_176_bytes_and_has_no_p2p),
        cmocka_unit_test(hisi_without_driver_saves_the_match_data_alone),
        cmocka_unit_test(pds_always_tells_65536_and_never_sends_more),
        cmocka_unit_test(pds_log_answers_inside_one_range_and_ends_with_stop_copy),
        cmocka_unit_test(every_profile_explains_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
