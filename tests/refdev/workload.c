/* SPDX-License-Identifier: BSD-3-Clause */
/* The workload and what its patterns prove; P2P; registers, config space and the DMA log. */
#include "fake-door.h"

#define LOCAL (16u * 4096)

static struct fake *running(void)
{
    struct fake *fake = fake_new("default", 3, LOCAL);
    start_workload(fake, 8, 1000, 1000);
    return fake;
}

static void slots_hold_the_documented_pattern(void **arg)
{
    struct fake *fake = running();
    (void)arg;
    run_ms(fake, 101);
    uint64_t steps = reg(fake, REFDEV_REG_DMA_STEPS);
    assert_true(steps >= 99 && steps <= 101);
    for (unsigned slot = 0; slot < 8; slot++) {
        uint64_t key =
            refdev_pattern_key(3, REFDEV_PATTERN_SLOT, slot, refdev_times_written(slot, steps, 8));
        assert_true(refdev_pattern_matches((uint64_t *)(fake->guest + slot * 4096), key));
    }
    assert_int_equal(verify(fake), 0);
    fake_delete(fake);
}

static void times_written_agrees_with_counting(void **arg)
{
    (void)arg;
    for (unsigned count = 1; count < 12; count++) {
        unsigned times[12] = { 0 };
        for (unsigned step = 0; step < 40; step++) {
            for (unsigned i = 0; i < count; i++)
                assert_int_equal(refdev_times_written(i, step, count), times[i]);
            times[refdev_turn(step % count, count)]++;
        }
    }
}

static void lost_dirty_page_is_proved(void **arg)
{
    struct fake *fake = running();
    uint8_t old[4096];
    (void)arg;
    run_ms(fake, 20);
    memcpy(old, fake->guest + 3 * 4096, 4096);
    run_ms(fake, 8); /* one round over all slots */
    memcpy(fake->guest + 3 * 4096, old, 4096);
    assert_int_equal(verify(fake), 1);
    assert_int_equal(reg(fake, REFDEV_REG_SLOT_MISMATCHES), 0);
    run_ms(fake, 9);
    assert_int_equal(reg(fake, REFDEV_REG_SLOT_MISMATCHES), 1);
    fake_delete(fake);
}

static void lost_local_page_is_proved(void **arg)
{
    struct fake *fake = running();
    (void)arg;
    run_ms(fake, 20);
    fake->local[5 * 4096 + 17] ^= 1;
    assert_int_equal(verify(fake), 1);
    run_ms(fake, 17);
    assert_int_equal(reg(fake, REFDEV_REG_LOCAL_MISMATCHES), 1);
    fake_delete(fake);
}

static void nothing_moves_without_bus_mastering(void **arg)
{
    struct fake *fake = running();
    uint16_t command = 2;
    (void)arg;
    refdev_region_write(fake->model, REFDEV_REGION_CONFIG, 4, &command, 2);
    run_ms(fake, 20);
    assert_int_equal(reg(fake, REFDEV_REG_DMA_STEPS), 0);
    assert_true(reg(fake, REFDEV_REG_LOCAL_STEPS) > 0);
    fake_delete(fake);
}

static void no_dma_is_started_in_the_p2p_and_stopped_states(void **arg)
{
    static const unsigned states[] = { VMIG_STATE_RUNNING_P2P, VMIG_STATE_STOP,
                                       VMIG_STATE_STOP_COPY, VMIG_STATE_PRE_COPY_P2P };
    (void)arg;
    for (unsigned i = 0; i < 4; i++) {
        struct fake *fake = running();
        run_ms(fake, 20);
        if (states[i] == VMIG_STATE_PRE_COPY_P2P)
            set_state(fake, VMIG_STATE_PRE_COPY);
        set_state(fake, states[i]);
        uint64_t dma = reg(fake, REFDEV_REG_DMA_STEPS), local = reg(fake, REFDEV_REG_LOCAL_STEPS);
        run_ms(fake, 20);
        assert_int_equal(reg(fake, REFDEV_REG_DMA_STEPS), dma);
        assert_int_equal(reg(fake, REFDEV_REG_LOCAL_STEPS), local);
        assert_int_equal(reg(fake, REFDEV_REG_DMA_VIOLATIONS), 0);
        set_state(fake, VMIG_STATE_RUNNING);
        run_ms(fake, 20);
        assert_true(reg(fake, REFDEV_REG_DMA_STEPS) > dma);
        assert_int_equal(verify(fake), 0);
        fake_delete(fake);
    }
}

/* Move @fake's state into a new device. */
static struct fake *moved(struct fake *fake)
{
    static uint8_t buf[1 << 20];
    struct fake *target = fake_new("default", 55, LOCAL);
    size_t length = read_state(fake, buf, 0, sizeof(buf), 4096);
    memcpy(target->guest, fake->guest, sizeof(fake->guest));
    set_state(target, VMIG_STATE_RESUMING);
    assert_int_equal(write_state(target, buf, length, 4096), 0);
    set_state(target, VMIG_STATE_STOP);
    return target;
}

/* Two devices of which one writes into the other's BAR 2, moved with or without the barrier.
 * Returns what the writer finds wrong afterwards. */
static uint64_t move_pair(bool barrier)
{
    struct fake *writer = running(), *peer = fake_new("default", 4, LOCAL);
    writer->peer = peer->shared + REFDEV_SHARED_MAP_OFFSET;
    set_reg(writer, REFDEV_REG_PEER_IOVA, PEER_BASE);
    run_ms(writer, 20);
    if (barrier)
        set_state(writer, VMIG_STATE_RUNNING_P2P);
    set_state(peer, VMIG_STATE_STOP_COPY);
    struct fake *new_peer = moved(peer);
    run_ms(writer, 5);
    set_state(writer, VMIG_STATE_STOP_COPY);
    struct fake *new_writer = moved(writer);
    new_writer->peer = new_peer->shared + REFDEV_SHARED_MAP_OFFSET;
    set_state(new_peer, VMIG_STATE_RUNNING);
    set_state(new_writer, VMIG_STATE_RUNNING);
    uint64_t wrong = verify(new_writer);
    run_ms(new_writer, 5);
    assert_int_equal(reg(new_writer, REFDEV_REG_PEER_MISMATCHES), wrong);
    set_state(peer, VMIG_STATE_RUNNING);
    assert_int_equal(reg(peer, REFDEV_REG_STOPPED_WRITES), wrong);
    fake_delete(writer);
    fake_delete(peer);
    fake_delete(new_writer);
    fake_delete(new_peer);
    return wrong;
}

static void skipped_p2p_barrier_is_proved(void **arg)
{
    (void)arg;
    assert_int_equal(move_pair(true), 0);
    assert_int_equal(move_pair(false), 1);
}

static void writes_to_a_stopped_device_are_dropped_and_counted(void **arg)
{
    struct fake *fake = fake_new("default", 1, LOCAL);
    (void)arg;
    set_reg(fake, REFDEV_REG_SCRATCH, 5);
    set_state(fake, VMIG_STATE_STOP);
    set_reg(fake, REFDEV_REG_SCRATCH, 6);
    assert_int_equal(reg(fake, REFDEV_REG_SCRATCH), 5);
    assert_int_equal(reg(fake, REFDEV_REG_STOPPED_WRITES), 1);
    set_state(fake, VMIG_STATE_RUNNING_P2P);
    set_reg(fake, REFDEV_REG_SCRATCH, 7);
    assert_int_equal(reg(fake, REFDEV_REG_SCRATCH), 7);
    fake_delete(fake);
}

static void registers_refuse_values_out_of_range(void **arg)
{
    struct fake *fake = fake_new("default", 1, LOCAL);
    uint8_t byte = 1;
    (void)arg;
    set_reg(fake, REFDEV_REG_SLOT_COUNT, REFDEV_SLOTS_MAX);
    assert_int_equal(try_set_reg(fake, REFDEV_REG_SLOT_COUNT, REFDEV_SLOTS_MAX + 1), -EINVAL);
    assert_int_equal(try_set_reg(fake, REFDEV_REG_SLOT_BASE, 4097), -EINVAL);
    assert_int_equal(try_set_reg(fake, REFDEV_REG_DMA_RATE, REFDEV_RATE_MAX + 1), -EINVAL);
    assert_int_equal(refdev_region_write(fake->model, 0, REFDEV_REG_SCRATCH, &byte, 1), -EINVAL);
    assert_int_equal(try_set_reg(fake, REFDEV_REGISTERS_BYTES - 7, 0), -EINVAL);
    set_reg(fake, REFDEV_REG_MAGIC, 0);
    assert_true(reg(fake, REFDEV_REG_MAGIC) == REFDEV_MAGIC);
    fake_delete(fake);
}

static uint32_t config32(struct fake *fake, unsigned offset)
{
    uint32_t value;
    assert_int_equal(refdev_region_read(fake->model, REFDEV_REGION_CONFIG, offset, &value, 4), 0);
    return value;
}

static void set_config32(struct fake *fake, unsigned offset, uint32_t value)
{
    assert_int_equal(refdev_region_write(fake->model, REFDEV_REGION_CONFIG, offset, &value, 4), 0);
}

static void bars_are_sized_by_writing_all_ones(void **arg)
{
    static const struct {
        unsigned offset;
        uint32_t bytes;
    } bars[] = { { 0x10, REFDEV_REGISTERS_BYTES },
                 { 0x18, REFDEV_SHARED_BYTES },
                 { 0x20, REFDEV_MSIX_BYTES } };
    struct fake *fake = fake_new("default", 1, LOCAL);
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        set_config32(fake, bars[i].offset, 0xffffffff);
        assert_int_equal(~(config32(fake, bars[i].offset) & ~0xfu) + 1, bars[i].bytes);
    }
    set_config32(fake, 0x14, 0xffffffff);
    assert_int_equal(config32(fake, 0x14), 0);
    fake_delete(fake);
}

static void capabilities_are_power_management_msix_and_express(void **arg)
{
    static const uint8_t wanted[] = { 0x01, 0x11, 0x10 };
    struct fake *fake = fake_new("default", 1, LOCAL);
    unsigned at = config32(fake, 0x34) & 0xff, found = 0;
    (void)arg;
    assert_true(config32(fake, 4) & 0x00100000);
    for (; at; at = config32(fake, at) >> 8 & 0xff) {
        assert_true(found < 3);
        assert_int_equal(config32(fake, at) & 0xff, wanted[found++]);
    }
    assert_int_equal(found, 3);
    fake_delete(fake);
}

static void mtty_is_a_conventional_device_with_two_io_bars(void **arg)
{
    struct fake *fake = fake_new("mtty", 1, 0);
    (void)arg;
    assert_int_equal(config32(fake, 0), 0x32534348);
    assert_int_equal(config32(fake, 4) & 0x00100000, 0);
    assert_int_equal(config32(fake, 0x34), 0);
    for (unsigned bar = 0x10; bar < 0x28; bar += 4) {
        set_config32(fake, bar, 0xffffffff);
        assert_int_equal(config32(fake, bar), bar <= 0x14 ? 0xfffffff9 : 0);
    }
    fake_delete(fake);
}

static void function_level_reset_in_pre_copy_ends_the_stream(void **arg)
{
    struct fake *fake = running();
    struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    unsigned count;
    (void)arg;
    run_ms(fake, 20);
    set_state(fake, VMIG_STATE_PRE_COPY);
    set_config32(fake, 0x68, 0x8000);
    assert_int_equal(refdev_state(fake->model), VMIG_STATE_RUNNING);
    assert_int_equal(refdev_data_read(fake->model, 100, segments, &count), -EINVAL);
    assert_int_equal(reg(fake, REFDEV_REG_DMA_STEPS), 0);
    assert_int_equal(verify(fake), 0);
    fake_delete(fake);
}

static void log_holds_what_the_device_wrote_itself(void **arg)
{
    struct fake *fake = running();
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    run_ms(fake, 3);
    uint64_t steps = reg(fake, REFDEV_REG_DMA_STEPS), want = 0;
    for (unsigned i = 0; i < steps; i++)
        want |= 1ull << refdev_turn(i, 8);
    assert_true(steps > 0);
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 64 * 4096, 4096, &bits), 0);
    assert_int_equal(bits, want);
    bits = 0;
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 64 * 4096, 4096, &bits), 0);
    assert_int_equal(bits, 0);
    fake->by_message = true; /* the client writes, so the client records */
    run_ms(fake, 3);
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 64 * 4096, 4096, &bits), 0);
    assert_int_equal(bits, 0);
    fake_delete(fake);
}

static void log_is_relative_to_the_range_and_keeps_what_is_outside(void **arg)
{
    struct fake *fake = running();
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    run_ms(fake, 9);
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE + 3 * 4096, 2 * 4096, 4096, &bits),
                     0);
    assert_int_equal(bits, 3);
    bits = 0;
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 8 * 4096, 8192, &bits), 0);
    assert_int_equal(bits, 0xf); /* pages 0,1 · 2 · 5 · 6,7 */
    fake_delete(fake);
}

static void log_refuses_what_the_uapi_refuses(void **arg)
{
    struct fake *fake = running();
    struct refdev_range two[2] = { { 0, 8192 }, { 4096, 4096 } }, last = { -4096ull, 4096 };
    uint64_t pgsize = 4096, odd = 3000, bits = 0;
    (void)arg;
    assert_int_equal(refdev_log_report(fake->model, 0, 4096, 4096, &bits), -EINVAL);
    assert_int_equal(refdev_log_start(fake->model, two, 2, &pgsize), -EINVAL);
    assert_int_equal(refdev_log_start(fake->model, &last, 1, &pgsize), -EOVERFLOW);
    assert_int_equal(refdev_log_start(fake->model, two, 257, &pgsize), -E2BIG);
    assert_int_equal(refdev_log_start(fake->model, two, 1, &odd), -EINVAL);
    assert_int_equal(refdev_log_start(fake->model, two, 1, &pgsize), 0);
    assert_int_equal(refdev_log_start(fake->model, two, 1, &pgsize), -EINVAL);
    assert_int_equal(refdev_log_report(fake->model, 0, 4096, 2048, &bits), -EINVAL);
    assert_int_equal(refdev_log_report(fake->model, 0, 4096, 5000, &bits), -EINVAL);
    assert_int_equal(refdev_log_report(fake->model, 0, 0, 4096, &bits), -EINVAL);
    assert_int_equal(refdev_log_report(fake->model, -4096ull, 4096, 4096, &bits), -EOVERFLOW);
    refdev_log_stop(fake->model);
    refdev_log_stop(fake->model);
    fake_delete(fake);
}

static void log_page_size_is_the_devices_choice(void **arg)
{
    struct refdev_knobs knobs = { .profile = profile_named("default"), .log_pgsize = 16384 };
    struct fake *fake;
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    assert_int_equal(try_fake_new(&fake, &knobs, LOCAL), 0);
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    assert_int_equal(pgsize, 16384);
    start_workload(fake, 1, 1000, 0);
    run_ms(fake, 3);
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 64 * 4096, 4096, &bits), 0);
    assert_int_equal(bits, 0xf);
    fake_delete(fake);
}

static void log_without_memory_is_an_error_not_a_clean_one(void **arg)
{
    struct fake *fake = running();
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    fake->no_memory = true;
    run_ms(fake, 3);
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 4096, 4096, &bits), -EIO);
    fake_delete(fake);
}

static void log_of_all_addresses_is_reported_at_once(void **arg)
{
    struct fake *fake = running();
    uint64_t pgsize = 4096, bits[2] = { 0 };
    (void)arg;
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    assert_true(refdev_log_next(fake->model, 0) == UINT64_MAX);
    run_ms(fake, 3);
    assert_int_equal(refdev_log_next(fake->model, 4096), 4096); /* written pages are near */
    assert_true(refdev_log_next(fake->model, 1 << 27) == UINT64_MAX);
    assert_int_equal(refdev_log_report(fake->model, 0, UINT64_MAX, 1ull << 58, bits), 0);
    assert_int_equal(bits[0], 1);
    assert_int_equal(refdev_log_report(fake->model, 0, UINT64_MAX, 1ull << 58, bits + 1), 0);
    assert_int_equal(bits[1], 0); /* they were cleared */
    fake_delete(fake);
}

static void log_of_writes_all_over_the_place_is_lost_before_it_takes_all_memory(void **arg)
{
    struct fake *fake = fake_new("default", 1, 4096);
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    set_config32(fake, 4, 6);
    set_reg(fake, REFDEV_REG_COPY_LENGTH, 1);
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    for (uint64_t n = 0; n < 16385; n++) {
        set_reg(fake, REFDEV_REG_COPY_TARGET, n << 27);
        set_reg(fake, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
        run_ms(fake, 1);
    }
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 4096, 4096, &bits), -EIO);
    fake_delete(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_hold_the_documented_pattern),
        cmocka_unit_test(times_written_agrees_with_counting),
        cmocka_unit_test(lost_dirty_page_is_proved),
        cmocka_unit_test(lost_local_page_is_proved),
        cmocka_unit_test(nothing_moves_without_bus_mastering),
        cmocka_unit_test(no_dma_is_started_in_the_p2p_and_stopped_states),
        cmocka_unit_test(skipped_p2p_barrier_is_proved),
        cmocka_unit_test(writes_to_a_stopped_device_are_dropped_and_counted),
        cmocka_unit_test(registers_refuse_values_out_of_range),
        cmocka_unit_test(bars_are_sized_by_writing_all_ones),
        cmocka_unit_test(capabilities_are_power_management_msix_and_express),
        cmocka_unit_test(mtty_is_a_conventional_device_with_two_io_bars),
        cmocka_unit_test(function_level_reset_in_pre_copy_ends_the_stream),
        cmocka_unit_test(log_holds_what_the_device_wrote_itself),
        cmocka_unit_test(log_is_relative_to_the_range_and_keeps_what_is_outside),
        cmocka_unit_test(log_refuses_what_the_uapi_refuses),
        cmocka_unit_test(log_page_size_is_the_devices_choice),
        cmocka_unit_test(log_without_memory_is_an_error_not_a_clean_one),
        cmocka_unit_test(log_of_all_addresses_is_reported_at_once),
        cmocka_unit_test(log_of_writes_all_over_the_place_is_lost_before_it_takes_all_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
