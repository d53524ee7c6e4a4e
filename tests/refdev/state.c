/* SPDX-License-Identifier: BSD-3-Clause */
/* The state stream of the default profile: what it carries, and what it refuses. */
#include "fake-door.h"

#define LOCAL (64u * 4096)
#define ROOM (4u << 20)

/* A device with a past: workload ran, scratch and shared memory hold something. */
static struct fake *used_device(void)
{
    struct fake *fake = fake_new("default", 7, LOCAL);
    start_workload(fake, 16, 2000, 3000);
    run_ms(fake, 50);
    set_reg(fake, REFDEV_REG_SCRATCH, 0x1122334455667788ull);
    memcpy(fake->shared + REFDEV_SHARED_MAP_OFFSET, "peer data", 9);
    return fake;
}

static size_t save(struct fake *fake, uint8_t *buf, size_t chunk)
{
    set_state(fake, VMIG_STATE_STOP_COPY);
    return read_state(fake, buf, 0, ROOM, chunk);
}

/* The same guest memory on the other side. */
static struct fake *target_of(const struct fake *source, uint64_t local_bytes)
{
    struct fake *target = fake_new("default", 99, local_bytes);
    memcpy(target->guest, source->guest, sizeof(target->guest));
    set_state(target, VMIG_STATE_RESUMING);
    return target;
}

static void assert_same_device(struct fake *source, struct fake *target)
{
    static const unsigned regs[] = { REFDEV_REG_SEED,      REFDEV_REG_SCRATCH,
                                     REFDEV_REG_DMA_STEPS, REFDEV_REG_LOCAL_STEPS,
                                     REFDEV_REG_CONTROL,   REFDEV_REG_SLOT_BASE };
    for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
        assert_true(reg(source, regs[i]) == reg(target, regs[i]));
    assert_memory_equal(source->local, target->local, source->local_bytes);
    assert_memory_equal(source->shared, target->shared, REFDEV_SHARED_BYTES);
}

static void state_moves_whole_whatever_the_size_of_reads_and_writes(void **arg)
{
    static const size_t chunks[] = { 7, 40, 4096, 65536, REFDEV_DATA_MAX };
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    for (unsigned i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        struct fake *source = used_device();
        size_t length = save(source, buf, chunks[i]);
        struct fake *target = target_of(source, LOCAL);
        assert_int_equal(write_state(target, buf, length, chunks[4 - i]), 0);
        set_state(target, VMIG_STATE_STOP);
        assert_same_device(source, target);
        set_state(target, VMIG_STATE_RUNNING);
        run_ms(target, 50);
        assert_true(reg(target, REFDEV_REG_DMA_STEPS) > reg(source, REFDEV_REG_DMA_STEPS));
        assert_int_equal(verify(target), 0);
        assert_int_equal(reg(target, REFDEV_REG_SLOT_MISMATCHES), 0);
        assert_int_equal(reg(target, REFDEV_REG_LOCAL_MISMATCHES), 0);
        fake_delete(source);
        fake_delete(target);
    }
    free(buf);
}

static void announced_size_is_the_length_of_the_stream(void **arg)
{
    struct fake *fake = used_device();
    uint8_t *buf = malloc(ROOM);
    uint64_t before, after;
    (void)arg;
    assert_int_equal(refdev_data_size(fake->model, &before), 0);
    size_t length = save(fake, buf, 5000);
    assert_int_equal(length, before);
    assert_int_equal(refdev_data_size(fake->model, &after), 0);
    assert_int_equal(after, 0);
    fake_delete(fake);
    free(buf);
}

static void pre_copy_sends_every_page_then_what_was_written_again(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    uint64_t initial, dirty;
    (void)arg;
    set_state(source, VMIG_STATE_PRE_COPY);
    assert_int_equal(refdev_precopy_info(source->model, &initial, &dirty), 0);
    assert_true(initial >= LOCAL);
    assert_int_equal(dirty, 0);
    size_t length = read_state(source, buf, 0, ROOM, 10000);
    assert_int_equal(length, initial);
    assert_int_equal(refdev_precopy_info(source->model, &initial, &dirty), 0);
    assert_int_equal(initial, 0);
    assert_int_equal(dirty, 0);

    uint64_t steps = reg(source, REFDEV_REG_LOCAL_STEPS);
    run_ms(source, 10);
    steps = reg(source, REFDEV_REG_LOCAL_STEPS) - steps;
    assert_true(steps > 0 && steps <= 64);
    assert_int_equal(refdev_precopy_info(source->model, &initial, &dirty), 0);
    assert_int_equal(initial, 0);
    assert_true(dirty >= steps * 4096 && dirty <= steps * (4096 + 64));
    size_t round = read_state(source, buf, length, ROOM, 3000) - length;
    assert_true(round >= steps * 4096 && round <= dirty);
    length += round;

    run_ms(source, 5);
    set_state(source, VMIG_STATE_PRE_COPY_P2P);
    set_state(source, VMIG_STATE_STOP_COPY);
    size_t rest = read_state(source, buf, length, ROOM, 1000);
    struct fake *target = target_of(source, LOCAL);
    assert_int_equal(write_state(target, buf, rest, 12345), 0);
    set_state(target, VMIG_STATE_STOP);
    assert_same_device(source, target);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void page_written_while_its_record_is_under_way_comes_again(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    unsigned count;
    size_t length = 0;
    (void)arg;
    set_state(source, VMIG_STATE_PRE_COPY);
    /* Small reads, with the workload going on between them. */
    for (unsigned i = 0; i < 300; i++) {
        int got = refdev_data_read(source->model, 1500, segments, &count);
        for (unsigned n = 0; got > 0 && n < count; n++) {
            memcpy(buf + length, segments[n].data, segments[n].length_bytes);
            length += segments[n].length_bytes;
        }
        run_ms(source, 1);
    }
    set_state(source, VMIG_STATE_STOP_COPY);
    length = read_state(source, buf, length, ROOM, 1500);
    struct fake *target = target_of(source, LOCAL);
    assert_int_equal(write_state(target, buf, length, 4096), 0);
    set_state(target, VMIG_STATE_STOP);
    assert_same_device(source, target);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void truncated_state_is_refused(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    size_t length = save(source, buf, 65536);
    (void)arg;
    for (size_t cut = 0; cut < length; cut += cut < 200 || cut + 200 > length ? 1 : 4321) {
        struct fake *target = target_of(source, LOCAL);
        assert_int_equal(write_state(target, buf, cut, 65536), 0);
        assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP), -EINVAL);
        assert_int_equal(refdev_state(target->model), VMIG_STATE_RESUMING);
        fake_delete(target);
    }
    fake_delete(source);
    free(buf);
}

static void any_flipped_bit_is_refused(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    size_t length = save(source, buf, 65536);
    (void)arg;
    for (size_t at = 0; at < length; at += at < 300 || at + 700 > length ? 1 : 2999) {
        struct fake *target = target_of(source, LOCAL);
        buf[at] ^= (uint8_t)(1u << at % 8);
        int rc = write_state(target, buf, length, 65536);
        if (!rc)
            rc = refdev_set_state(target->model, VMIG_STATE_STOP);
        assert_int_equal(rc, -EINVAL);
        assert_string_not_equal(target->refused, "");
        buf[at] ^= (uint8_t)(1u << at % 8);
        fake_delete(target);
    }
    fake_delete(source);
    free(buf);
}

static void state_of_another_size_or_kind_is_refused(void **arg)
{
    struct fake *source = used_device();
    struct fake *pds = fake_new("pds", 1, 32768);
    uint8_t *buf = malloc(ROOM);
    size_t length = save(source, buf, 65536);
    struct fake *target = target_of(source, LOCAL - 4096);
    (void)arg;
    assert_int_equal(write_state(target, buf, length, 65536), -EINVAL);
    assert_non_null(strstr(target->refused, "another size"));
    set_state(pds, VMIG_STATE_RESUMING);
    assert_int_equal(write_state(pds, buf, length, 65536), -EINVAL);
    assert_non_null(strstr(pds->refused, "another kind"));
    fake_delete(source);
    fake_delete(target);
    fake_delete(pds);
    free(buf);
}

static void bytes_after_the_end_are_refused(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    size_t length = save(source, buf, 65536);
    struct fake *target = target_of(source, LOCAL);
    (void)arg;
    assert_int_equal(write_state(target, buf, length, 65536), 0);
    assert_int_equal(write_state(target, buf, 1, 1), -EINVAL);
    assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP), -EINVAL);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void stream_without_pages_is_refused(void **arg)
{
    struct fake *source = fake_new("default", 7, LOCAL);
    uint8_t *buf = malloc(ROOM);
    size_t length = save(source, buf, 65536);
    struct fake *target = target_of(source, LOCAL);
    (void)arg;
    /* Header record, then what follows the one record of pages. */
    size_t header = 40 + 64, pages = 40 + LOCAL;
    memmove(buf + header, buf + header + pages, length - header - pages);
    assert_int_equal(write_state(target, buf, length - pages, 65536), -EINVAL);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void records_out_of_order_are_refused(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM), one[40 + 4096];
    (void)arg;
    set_state(source, VMIG_STATE_PRE_COPY);
    size_t length = read_state(source, buf, 0, ROOM, 65536), dirty = length;
    run_ms(source, 3); /* single pages, apart from each other */
    length = read_state(source, buf, length, ROOM, 65536);
    assert_true(length - dirty >= 2 * sizeof(one));
    set_state(source, VMIG_STATE_STOP_COPY);
    length = read_state(source, buf, length, ROOM, 65536);
    memcpy(one, buf + dirty, sizeof(one));
    memcpy(buf + dirty, buf + dirty + sizeof(one), sizeof(one));
    memcpy(buf + dirty + sizeof(one), one, sizeof(one));
    struct fake *target = target_of(source, LOCAL);
    assert_int_equal(write_state(target, buf, length, 65536), -EINVAL);
    assert_non_null(strstr(target->refused, "out of order"));
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void page_written_before_it_was_sent_is_sent_once(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    uint64_t initial, dirty;
    (void)arg;
    set_state(source, VMIG_STATE_PRE_COPY);
    assert_int_equal(refdev_precopy_info(source->model, &initial, &dirty), 0);
    run_ms(source, 10);
    assert_int_equal(read_state(source, buf, 0, ROOM, 65536), initial);
    fake_delete(source);
    free(buf);
}

static void reset_leaves_refused_state_and_makes_the_device_new(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    size_t length = save(source, buf, 65536);
    struct fake *target = target_of(source, LOCAL);
    (void)arg;
    buf[length / 2] ^= 1;
    assert_int_not_equal(write_state(target, buf, length, 65536), 0);
    assert_int_equal(refdev_set_state(target->model, VMIG_STATE_RUNNING), -EINVAL);
    refdev_reset(target->model);
    assert_int_equal(refdev_state(target->model), VMIG_STATE_RUNNING);
    assert_int_equal(reg(target, REFDEV_REG_SEED), 99);
    assert_int_equal(verify(target), 0);
    set_state(target, VMIG_STATE_RESUMING);
    buf[length / 2] ^= 1;
    assert_int_equal(write_state(target, buf, length, 65536), 0);
    set_state(target, VMIG_STATE_RUNNING);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void copy_that_was_asked_for_in_p2p_is_done_on_the_target(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    set_state(source, VMIG_STATE_RUNNING_P2P);
    set_reg(source, REFDEV_REG_COPY_SOURCE, GUEST_BASE);
    set_reg(source, REFDEV_REG_COPY_TARGET, GUEST_BASE + 32 * 4096);
    set_reg(source, REFDEV_REG_COPY_LENGTH, 5000);
    set_reg(source, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
    run_ms(source, 5);
    assert_int_equal(reg(source, REFDEV_REG_COPY_STATUS), REFDEV_STATUS_BUSY);
    size_t length = save(source, buf, 65536);
    struct fake *target = target_of(source, LOCAL);
    assert_int_equal(write_state(target, buf, length, 65536), 0);
    set_state(target, VMIG_STATE_RUNNING);
    set_reg(target, REFDEV_REG_CONTROL, 0);
    run_ms(target, 1);
    assert_int_equal(reg(target, REFDEV_REG_COPY_STATUS), REFDEV_STATUS_DONE);
    assert_memory_equal(target->guest, target->guest + 32 * 4096, 5000);
    assert_int_equal(target->interrupts[2], 1);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static bool announces(struct fake *fake, uint64_t *initial)
{
    uint64_t dirty;
    assert_int_equal(refdev_precopy_info(fake->model, initial, &dirty), 0);
    return refdev_precopy_flags(fake->model) & REFDEV_PRECOPY_REINIT;
}

/* As often as was asked for, each time only when the initial bytes before were told to be over; and
 * what is loaded at the end is the device. */
static void new_initial_bytes_are_announced_and_the_state_stays_whole(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    uint64_t initial;
    size_t length = 0;
    (void)arg;
    assert_int_equal(refdev_precopy_opt_in(source->model, true), 0);
    set_state(source, VMIG_STATE_PRE_COPY);
    set_reg(source, REFDEV_REG_REINIT, 2);
    assert_false(announces(source, &initial));
    for (unsigned left = 2; left > 0; left--) {
        length = read_state(source, buf, length, ROOM, 5000);
        assert_int_equal(reg(source, REFDEV_REG_REINIT), left);
        assert_false(announces(source, &initial));
        assert_int_equal(initial, 0);
        assert_true(announces(source, &initial));
        assert_true(initial >= LOCAL);
        run_ms(source, 10);
    }
    length = read_state(source, buf, length, ROOM, 5000);
    assert_false(announces(source, &initial));
    assert_false(announces(source, &initial));
    set_state(source, VMIG_STATE_PRE_COPY_P2P);
    set_reg(source, REFDEV_REG_REINIT, 1);
    assert_true(announces(source, &initial));
    set_state(source, VMIG_STATE_STOP_COPY);
    length = read_state(source, buf, length, ROOM, 5000);
    struct fake *target = target_of(source, LOCAL);
    assert_int_equal(write_state(target, buf, length, 9999), 0);
    set_state(target, VMIG_STATE_STOP);
    assert_same_device(source, target);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

static void who_did_not_opt_in_hears_of_no_new_initial_bytes(void **arg)
{
    struct fake *source = used_device();
    uint8_t *buf = malloc(ROOM);
    uint64_t initial;
    (void)arg;
    assert_int_equal(refdev_precopy_opt_in(source->model, true), 0);
    assert_int_equal(refdev_precopy_opt_in(source->model, false), 0);
    set_state(source, VMIG_STATE_PRE_COPY);
    set_reg(source, REFDEV_REG_REINIT, 2);
    read_state(source, buf, 0, ROOM, 5000);
    for (unsigned i = 0; i < 4; i++) {
        assert_false(announces(source, &initial));
        assert_int_equal(initial, 0);
    }
    fake_delete(source);
    struct fake *hisi = fake_new("hisi_acc", 7, 0);
    assert_int_equal(refdev_precopy_opt_in(hisi->model, true), -ENOTTY);
    fake_delete(hisi);
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_moves_whole_whatever_the_size_of_reads_and_writes),
        cmocka_unit_test(announced_size_is_the_length_of_the_stream),
        cmocka_unit_test(pre_copy_sends_every_page_then_what_was_written_again),
        cmocka_unit_test(new_initial_bytes_are_announced_and_the_state_stays_whole),
        cmocka_unit_test(who_did_not_opt_in_hears_of_no_new_initial_bytes),
        cmocka_unit_test(page_written_while_its_record_is_under_way_comes_again),
        cmocka_unit_test(truncated_state_is_refused),
        cmocka_unit_test(any_flipped_bit_is_refused),
        cmocka_unit_test(state_of_another_size_or_kind_is_refused),
        cmocka_unit_test(bytes_after_the_end_are_refused),
        cmocka_unit_test(stream_without_pages_is_refused),
        cmocka_unit_test(records_out_of_order_are_refused),
        cmocka_unit_test(page_written_before_it_was_sent_is_sent_once),
        cmocka_unit_test(reset_leaves_refused_state_and_makes_the_device_new),
        cmocka_unit_test(copy_that_was_asked_for_in_p2p_is_done_on_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
