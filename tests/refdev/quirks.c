/* SPDX-License-Identifier: BSD-3-Clause */
/* The profiles' quirks that a client sees: mlx5 and virtio with their framed images and their
 * increments, qat, xe; and that each profile moves its workload. */
#include "fake-door.h"

#define LOCAL (64u * 4096)
#define ROOM (4u << 20)

static uint64_t local_of(const struct refdev_profile *profile)
{
    return profile->default_local_bytes > LOCAL ? LOCAL : profile->default_local_bytes;
}

static struct fake *device_of(const char *name, uint64_t seed)
{
    return fake_new(name, seed, local_of(profile_named(name)));
}

static uint64_t data_size(struct fake *fake)
{
    uint64_t size;
    assert_int_equal(refdev_data_size(fake->model, &size), 0);
    return size;
}

static void info(struct fake *fake, uint64_t *initial, uint64_t *dirty)
{
    assert_int_equal(refdev_precopy_info(fake->model, initial, dirty), 0);
}

static uint64_t dirty_bytes(struct fake *fake)
{
    uint64_t initial, dirty;
    info(fake, &initial, &dirty);
    assert_int_equal(initial, 0);
    return dirty;
}

static int read_nothing(struct fake *fake)
{
    static struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    unsigned count;
    return refdev_data_read(fake->model, 100, segments, &count);
}

/* ---- every profile ---- */

static size_t save_live(struct fake *source, const struct refdev_profile *profile, uint8_t *buf)
{
    uint64_t initial, dirty;
    size_t length = 0;
    if (profile->migration_flags & VMIG_MIGRATION_PRE_COPY) {
        set_state(source, VMIG_STATE_PRE_COPY);
        for (unsigned round = 0; round < 3; round++) {
            length = read_state(source, buf, length, ROOM, 5000);
            info(source, &initial, &dirty);
            run_ms(source, 20);
        }
    }
    if (profile->migration_flags & VMIG_MIGRATION_P2P)
        set_state(source, length ? VMIG_STATE_PRE_COPY_P2P : VMIG_STATE_RUNNING_P2P);
    set_state(source, VMIG_STATE_STOP_COPY);
    return read_state(source, buf, length, ROOM, 3000);
}

static void every_profile_moves_its_workload(void **arg)
{
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    for (unsigned n = 0; refdev_profile_at(n); n++) {
        const struct refdev_profile *profile = refdev_profile_at(n);
        struct fake *source = device_of(profile->name, 7), *target = device_of(profile->name, 99);
        if (profile->has_dma)
            start_workload(source, 16, 2000, profile->default_local_bytes ? 2000 : 0);
        run_ms(source, 50);
        size_t length = save_live(source, profile, buf);
        set_state(target, VMIG_STATE_RESUMING);
        if (write_state(target, buf, length, 777))
            fail_msg("%s refused: %s", profile->name, target->refused);
        set_state(target, VMIG_STATE_STOP);
        memcpy(target->guest, source->guest, sizeof(target->guest));
        if (profile->default_local_bytes)
            assert_memory_equal(source->local, target->local, source->local_bytes);
        set_state(target, VMIG_STATE_RUNNING);
        run_ms(target, 50);
        if (profile->has_dma) {
            assert_true(reg(target, REFDEV_REG_DMA_STEPS) > reg(source, REFDEV_REG_DMA_STEPS));
            assert_int_equal(verify(target), 0);
            assert_int_equal(reg(target, REFDEV_REG_SLOT_MISMATCHES), 0);
            assert_int_equal(reg(target, REFDEV_REG_LOCAL_MISMATCHES), 0);
        }
        fake_delete(source);
        fake_delete(target);
    }
    free(buf);
}

/* Half of a state, taken at the end of a piece that the device can use. */
static void truncated_state_is_noticed_only_by_some(void **arg)
{
    static const struct {
        const char *name;
        bool passes;
    } drivers[] = {
        { "default", false }, { "pds", false }, { "mtty", false }, { "mlx5", true },
        { "virtio", true },   { "qat", true },  { "xe", true },
    };
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    for (unsigned i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        struct fake *source = device_of(drivers[i].name, 1),
                    *target = device_of(drivers[i].name, 2);
        set_state(source, VMIG_STATE_STOP_COPY);
        size_t length = read_state(source, buf, 0, ROOM, 10000);
        set_state(target, VMIG_STATE_RESUMING);
        assert_int_equal(write_state(target, buf, length - 1, 1000), 0);
        assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP),
                         drivers[i].passes ? 0 : -EINVAL);
        fake_delete(source);
        fake_delete(target);
    }
    free(buf);
}

static void p2p_state_stops_registers_only_with_qat_and_xe(void **arg)
{
    (void)arg;
    for (unsigned n = 0; refdev_profile_at(n); n++) {
        const struct refdev_profile *profile = refdev_profile_at(n);
        bool freezes = !strcmp(profile->name, "qat") || !strcmp(profile->name, "xe");
        if (!profile->has_dma || !(profile->migration_flags & VMIG_MIGRATION_P2P))
            continue;
        struct fake *fake = device_of(profile->name, 1);
        set_reg(fake, REFDEV_REG_SCRATCH, 1);
        set_state(fake, VMIG_STATE_RUNNING_P2P);
        set_reg(fake, REFDEV_REG_SCRATCH, 2);
        set_state(fake, VMIG_STATE_RUNNING);
        assert_int_equal(reg(fake, REFDEV_REG_SCRATCH), freezes ? 1 : 2);
        assert_int_equal(reg(fake, REFDEV_REG_STOPPED_WRITES), freezes);
        fake_delete(fake);
    }
}

/* ---- frames ---- */

struct frame {
    uint64_t length;
    uint32_t flags, tag;
};

static void mlx5_tells_the_size_first_then_come_images(void **arg)
{
    struct fake *fake = device_of("mlx5", 1);
    uint8_t *buf = malloc(ROOM);
    struct frame frame;
    uint64_t told;
    (void)arg;
    uint64_t announced = data_size(fake);
    set_state(fake, VMIG_STATE_STOP_COPY);
    size_t length = read_state(fake, buf, 0, ROOM, 7), at = 24;
    assert_int_equal(length, announced);
    memcpy(&frame, buf, sizeof(frame));
    memcpy(&told, buf + sizeof(frame), sizeof(told));
    assert_int_equal(frame.length, 8);
    assert_int_equal(frame.flags, 1);
    assert_int_equal(frame.tag, 1);
    assert_int_equal(told, length);
    for (; at < length; at += sizeof(frame) + frame.length) {
        memcpy(&frame, buf + at, sizeof(frame));
        assert_int_equal(frame.flags, 0);
        assert_int_equal(frame.tag, 0);
    }
    assert_int_equal(at, length);
    fake_delete(fake);
    free(buf);
}

static void size_of_mlx5_and_virtio_stays_whole_whatever_was_sent(void **arg)
{
    static const char *const names[] = { "mlx5", "virtio" };
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    for (unsigned i = 0; i < 2; i++) {
        struct fake *fake = device_of(names[i], 1);
        uint64_t whole = data_size(fake);
        assert_true(whole > LOCAL);
        set_state(fake, VMIG_STATE_PRE_COPY);
        read_state(fake, buf, 0, ROOM, 10000);
        assert_int_equal(data_size(fake), whole);
        set_state(fake, VMIG_STATE_STOP_COPY);
        read_state(fake, buf, 0, ROOM, 10000);
        assert_int_equal(data_size(fake), whole);
        fake_delete(fake);
    }
    free(buf);
}

static int load_frame(struct fake *target, struct frame frame, size_t chunk)
{
    uint8_t buf[sizeof(frame) + 5000] = { 0 };
    size_t length = sizeof(frame) + (frame.length > 5000 ? 0 : frame.length);
    memcpy(buf, &frame, sizeof(frame));
    return write_state(target, buf, length, chunk);
}

static void unknown_record_is_skipped_where_it_may_be(void **arg)
{
    static const size_t chunks[] = { 1, 1000, 10000 };
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        struct fake *source = device_of("mlx5", 1), *target = device_of("mlx5", 2);
        set_reg(source, REFDEV_REG_SCRATCH, 5);
        set_state(source, VMIG_STATE_STOP_COPY);
        size_t length = read_state(source, buf, 0, ROOM, 10000);
        set_state(target, VMIG_STATE_RESUMING);
        assert_int_equal(load_frame(target, (struct frame) { 0, 1, 77 }, chunks[i]), 0);
        assert_int_equal(load_frame(target, (struct frame) { 1, 1, 77 }, chunks[i]), 0);
        assert_int_equal(load_frame(target, (struct frame) { 4999, 3, 78 }, chunks[i]), 0);
        assert_int_equal(write_state(target, buf, length, chunks[i]), 0);
        set_state(target, VMIG_STATE_RUNNING);
        assert_int_equal(reg(target, REFDEV_REG_SCRATCH), 5);
        fake_delete(source);
        fake_delete(target);
    }
    free(buf);
}

static void refused_frame(struct frame frame, int code)
{
    struct fake *target = device_of("virtio", 2);
    set_state(target, VMIG_STATE_RESUMING);
    assert_int_equal(load_frame(target, frame, 100), code);
    assert_int_equal(load_frame(target, (struct frame) { 1, 1, 77 }, 100), -EINVAL);
    assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP), -EINVAL);
    fake_delete(target);
}

static void record_that_may_not_be_skipped_or_is_too_large_is_refused(void **arg)
{
    (void)arg;
    refused_frame((struct frame) { 8, 0, 77 }, -EOPNOTSUPP);
    refused_frame((struct frame) { 8, 2, 1 }, -EOPNOTSUPP);
    refused_frame((struct frame) { (1 << 20) + 41, 0, 0 }, -ENOMEM);
    refused_frame((struct frame) { UINT64_MAX, 1, 77 }, -ENOMEM);
    refused_frame((struct frame) { 39, 0, 0 }, -EINVAL);
    refused_frame((struct frame) { 48, 0, 0 }, -EINVAL); /* no record of ours inside */
}

/* ---- increments ---- */

static void mlx5_fetches_what_was_written_only_when_asked(void **arg)
{
    struct fake *source = device_of("mlx5", 7), *target = device_of("mlx5", 8);
    uint8_t *buf = malloc(ROOM);
    uint64_t initial, dirty;
    (void)arg;
    start_workload(source, 0, 0, 2000);
    set_state(source, VMIG_STATE_PRE_COPY);
    run_ms(source, 5);
    info(source, &initial, &dirty); /* before the first image was read: that is still to come */
    assert_true(initial > LOCAL);
    assert_int_equal(dirty, 0);
    size_t length = read_state(source, buf, 0, ROOM, 10000);
    assert_int_equal(length, initial);
    run_ms(source, 20);
    assert_int_equal(read_nothing(source), -ENOMSG); /* nobody asked */
    dirty = dirty_bytes(source);
    assert_true(dirty >= 20 * 4096);
    run_ms(source, 10);
    assert_int_equal(dirty_bytes(source), dirty); /* not drained: no more is fetched */
    size_t increment = read_state(source, buf, length, ROOM, 10000) - length;
    assert_true(increment >= dirty / (4096 + 56) * 4096 && increment <= dirty);
    assert_int_equal(read_nothing(source), -ENOMSG);
    run_ms(source, 10);
    set_state(source, VMIG_STATE_PRE_COPY_P2P);
    assert_int_equal(dirty_bytes(source), 0); /* it looks no more */
    set_state(source, VMIG_STATE_STOP_COPY);
    size_t end = read_state(source, buf, length + increment, ROOM, 10000);
    set_state(target, VMIG_STATE_RESUMING);
    assert_int_equal(write_state(target, buf, end, 3333), 0);
    set_state(target, VMIG_STATE_STOP);
    assert_memory_equal(source->local, target->local, LOCAL);
    fake_delete(source);
    fake_delete(target);
    free(buf);
}

/* New initial bytes come to who opted in, in the middle of an increment or not. */
static void mlx5_begins_again_and_its_state_is_whole(void **arg)
{
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    for (unsigned half = 0; half < 2; half++) {
        struct refdev_knobs knobs = { .profile = profile_named("mlx5"), .seed = 7, .reinit = 1 };
        struct fake *source, *target = device_of("mlx5", 8);
        uint64_t initial, dirty;
        assert_int_equal(try_fake_new(&source, &knobs, LOCAL), 0);
        start_workload(source, 0, 0, 2000);
        assert_int_equal(refdev_precopy_opt_in(source->model, true), 0);
        set_state(source, VMIG_STATE_PRE_COPY);
        size_t length = read_state(source, buf, 0, ROOM, 10000);
        run_ms(source, 20);
        info(source, &initial, &dirty); /* the first time that all initial bytes were read */
        assert_int_equal(initial, 0);
        assert_int_equal(refdev_precopy_flags(source->model), 0);
        if (!half) /* otherwise the increment is not looked at */
            length = read_state(source, buf, length, ROOM, 10000);
        info(source, &initial, &dirty);
        assert_int_equal(refdev_precopy_flags(source->model), REFDEV_PRECOPY_REINIT);
        assert_true(initial > LOCAL);
        assert_int_equal(dirty, 0);
        size_t again = read_state(source, buf, length, ROOM, 10000);
        assert_int_equal(again - length, initial);
        run_ms(source, 20);
        assert_true(dirty_bytes(source) > 0);
        set_state(source, VMIG_STATE_STOP_COPY);
        again = read_state(source, buf, again, ROOM, 10000);
        set_state(target, VMIG_STATE_RESUMING);
        assert_int_equal(write_state(target, buf, again, 3333), 0);
        set_state(target, VMIG_STATE_STOP);
        assert_memory_equal(source->local, target->local, LOCAL);
        fake_delete(source);
        fake_delete(target);
    }
    free(buf);
}

static void virtio_sends_everything_again_each_time(void **arg)
{
    struct fake *fake = device_of("virtio", 7);
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    set_state(fake, VMIG_STATE_PRE_COPY);
    read_state(fake, buf, 0, ROOM, 10000);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(read_nothing(fake), -ENOMSG);
        assert_true(dirty_bytes(fake) >= LOCAL); /* though nothing was written */
        assert_true(read_state(fake, buf, 0, ROOM, 10000) >= LOCAL);
    }
    set_state(fake, VMIG_STATE_STOP_COPY);
    assert_true(read_state(fake, buf, 0, ROOM, 10000) >= LOCAL);
    fake_delete(fake);
    free(buf);
}

static void other_profiles_need_no_question(void **arg)
{
    struct fake *fake = device_of("default", 7);
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    start_workload(fake, 0, 0, 2000);
    set_state(fake, VMIG_STATE_PRE_COPY);
    read_state(fake, buf, 0, ROOM, 10000);
    run_ms(fake, 20);
    assert_true(read_state(fake, buf, 0, ROOM, 10000) > 0);
    fake_delete(fake);
    free(buf);
}

/* ---- the rest ---- */

static void qat_sends_its_set_up_first_and_always_tells_4096(void **arg)
{
    struct fake *source = device_of("qat", 5), *target = device_of("qat", 6);
    uint8_t buf[5000];
    uint64_t initial, dirty, pgsize = 4096;
    (void)arg;
    assert_int_equal(refdev_log_start(source->model, NULL, 0, &pgsize), -ENOTTY);
    set_state(source, VMIG_STATE_PRE_COPY);
    info(source, &initial, &dirty);
    assert_int_equal(initial, 64);
    assert_int_equal(dirty, 0);
    assert_int_equal(read_state(source, buf, 0, sizeof(buf), 100), 64);
    assert_int_equal(read_nothing(source), 0);
    assert_int_equal(data_size(source), 4096);
    set_state(source, VMIG_STATE_STOP_COPY);
    assert_int_equal(read_state(source, buf, 64, sizeof(buf), 1000), 4096);
    assert_int_equal(data_size(source), 4096);
    set_state(target, VMIG_STATE_RESUMING);
    assert_int_equal(write_state(target, buf, 4096, 100), 0);
    assert_int_equal(write_state(target, buf, 1, 1), -ENOMEM);
    refdev_reset(target->model);
    set_state(target, VMIG_STATE_RESUMING);
    buf[16] ^= 1; /* another device's */
    assert_int_equal(write_state(target, buf, 63, 63), 0);
    assert_int_equal(write_state(target, buf + 63, 1, 1), -EINVAL);
    assert_int_equal(refdev_set_state(target->model, VMIG_STATE_STOP), -EINVAL);
    fake_delete(source);
    fake_delete(target);
}

static void xe_has_no_pre_copy_and_tells_its_true_size(void **arg)
{
    struct fake *fake = device_of("xe", 5);
    uint8_t *buf = malloc(ROOM);
    (void)arg;
    assert_int_equal(refdev_flags(fake->model), 3);
    assert_int_equal(refdev_set_state(fake->model, VMIG_STATE_PRE_COPY), -EINVAL);
    uint64_t size = data_size(fake);
    set_state(fake, VMIG_STATE_STOP_COPY);
    assert_int_equal(read_state(fake, buf, 0, ROOM, 10000), size);
    fake_delete(fake);
    free(buf);
}

static void mlx5_takes_long_to_enter_resuming(void **arg)
{
    static const struct {
        const char *name;
        unsigned arcs;
    } drivers[] = { { "default", 3 }, { "mlx5", 2 + 8 } };
    (void)arg;
    for (unsigned i = 0; i < 2; i++) {
        struct refdev_knobs knobs = { .profile = profile_named(drivers[i].name),
                                      .transition_ns = 1000 };
        struct fake *fake;
        assert_int_equal(try_fake_new(&fake, &knobs, 4096), 0);
        set_state(fake, VMIG_STATE_RESUMING); /* RUNNING_P2P, STOP, RESUMING */
        assert_int_equal(fake->slept_ns, drivers[i].arcs * 1000);
        fake_delete(fake);
    }
}

static void mlx5_log_has_pages_of_16k_whatever_is_asked(void **arg)
{
    struct fake *fake = device_of("mlx5", 1);
    uint64_t pgsize = 4096, bits = 0;
    (void)arg;
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    assert_int_equal(pgsize, 16384);
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), -EINVAL);
    start_workload(fake, 1, 1000, 0);
    run_ms(fake, 2);
    assert_int_equal(refdev_log_report(fake->model, GUEST_BASE, 64 * 4096, 4096, &bits), 0);
    assert_int_equal(bits, 0xf);
    pgsize = 32768;
    refdev_log_stop(fake->model);
    assert_int_equal(refdev_log_start(fake->model, NULL, 0, &pgsize), 0);
    assert_int_equal(pgsize, 32768);
    fake_delete(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_profile_moves_its_workload),
        cmocka_unit_test(truncated_state_is_noticed_only_by_some),
        cmocka_unit_test(p2p_state_stops_registers_only_with_qat_and_xe),
        cmocka_unit_test(mlx5_tells_the_size_first_then_come_images),
        cmocka_unit_test(size_of_mlx5_and_virtio_stays_whole_whatever_was_sent),
        cmocka_unit_test(unknown_record_is_skipped_where_it_may_be),
        cmocka_unit_test(record_that_may_not_be_skipped_or_is_too_large_is_refused),
        cmocka_unit_test(mlx5_fetches_what_was_written_only_when_asked),
        cmocka_unit_test(mlx5_begins_again_and_its_state_is_whole),
        cmocka_unit_test(virtio_sends_everything_again_each_time),
        cmocka_unit_test(other_profiles_need_no_question),
        cmocka_unit_test(qat_sends_its_set_up_first_and_always_tells_4096),
        cmocka_unit_test(xe_has_no_pre_copy_and_tells_its_true_size),
        cmocka_unit_test(mlx5_takes_long_to_enter_resuming),
        cmocka_unit_test(mlx5_log_has_pages_of_16k_whatever_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
