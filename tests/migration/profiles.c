/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every profile through the engine: alone, beside each other one, all together, there and back,
 * stopped first, over a lone main channel, from a file; and from a file that ends too early, which
 * half of the real drivers would run with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/stream/inspect.h"
#include "tests/migration/world.h"

#define PROFILES_MAX 16

static bool has_flag(const struct refdev_profile *profile, uint64_t flag)
{
    return profile->migration_flags & flag;
}

/* The profiles with P2P, which may move together. */
static unsigned p2p_profiles(const struct refdev_profile **ret)
{
    const struct refdev_profile *profile;
    unsigned count = 0;
    for (unsigned i = 0; (profile = refdev_profile_at(i)); i++)
        if (has_flag(profile, VMIG_MIGRATION_P2P))
            ret[count++] = profile;
    assert_true(count < PROFILES_MAX);
    return count;
}

static struct world_plan plan_of(const struct refdev_profile *profile)
{
    return (struct world_plan) { .devices = 1, .profile = profile->name };
}

/* A world in which a device without a log is not refused. */
static void open_world(struct world *w, const struct world_plan *plan)
{
    bool log = true;
    world_open(w, plan);
    for (unsigned i = 0; i < plan->devices; i++) {
        const char *name = plan->profiles[i] ? plan->profiles[i] : plan->profile;
        log &= refdev_profile_find(name)->has_dma_log;
    }
    world_set(w, "all-dirty", !log);
}

static void moves(const struct world_plan *plan)
{
    struct world w;
    open_world(&w, plan);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- alone ---- */

/* What goes over before the pause follows from the flags: nothing without PRE_COPY; with it, local
 * memory is copied while the device runs. */
static void check_bytes(const struct world *w, const struct refdev_profile *profile)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(w->source->m, &s);
    assert_int_equal(s.num_devices, 1);
    uint64_t before = s.devices[0].precopy_bytes, after = s.devices[0].stop_copy_bytes;
    uint64_t local = profile->default_local_bytes ? 32 << 10 : 0;
    if (!has_flag(profile, VMIG_MIGRATION_PRE_COPY)) {
        assert_int_equal(before, 0);
        assert_true(after > local);
        return;
    }
    assert_true(before > local);
    assert_true(after > (profile->quirks & REFDEV_QUIRK_WHOLE_AGAIN ? local : 0));
}

static void every_profile_moves_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct world_plan plan = plan_of(refdev_profile_at(i));
        open_world(&w, &plan);
        world_move(&w);
        world_moved(&w);
        check_bytes(&w, refdev_profile_at(i));
        world_close(&w);
    }
}

static void every_profile_moves_without_pre_copy(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct vmig_statistics s = { .size = sizeof(s) };
        struct world_plan plan = plan_of(refdev_profile_at(i));
        open_world(&w, &plan);
        party_set(w.source, "pre-copy", 0);
        world_move(&w);
        world_moved(&w);
        vmig_migration_query(w.source->m, &s);
        assert_int_equal(s.devices[0].precopy_bytes, 0);
        world_close(&w);
    }
}

static void every_profile_moves_over_a_lone_main_channel(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world_plan plan = plan_of(refdev_profile_at(i));
        plan.lone_main = true;
        moves(&plan);
    }
}

static void every_profile_moves_through_a_file(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world_plan plan = plan_of(refdev_profile_at(i));
        plan.link = WORLD_FILE;
        moves(&plan);
    }
}

static void every_profile_moves_there_and_back(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct world_plan plan = plan_of(refdev_profile_at(i));
        open_world(&w, &plan);
        for (unsigned turn = 0; turn < 3; turn++) {
            world_move(&w);
            if (w.source->rc || w.target->rc)
                fail_msg("%s, turn %u: source %s; target %s", plan.profile, turn,
                         w.source->err.text, w.target->err.text);
            assert_true(w.equal);
            party_is_still(w.source);
            party_goes_on(w.target);
            world_turn_round(&w);
        }
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void every_profile_goes_on_after_a_cancel_and_moves_then(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct world_plan plan = plan_of(refdev_profile_at(i));
        open_world(&w, &plan);
        world_begin(&w);
        party_await_stage(w.source, VMIG_STAGE_ROUNDS);
        vmig_migration_cancel(w.source->m);
        world_join(&w);
        party_failed(w.source, -ECANCELED, "cancelled", NULL);
        party_goes_on(w.source);
        party_is_still(w.target);
        world_move(&w);
        world_moved(&w);
        world_close(&w);
    }
}

/* A log with pages larger than ours, over memory that does not end with one of them. */
static void memory_need_not_be_whole_pages_of_the_log(void **state)
{
    (void)state;
    moves(&(struct world_plan) {
        .devices = 1, .profile = "mlx5", .ram_bytes = (4 << 20) + 3 * 4096 });
}

static void unmap_after_a_round(struct party *side, const struct vmig_event *event)
{
    struct vmig_dma_map map = { .iova = WORKLOAD_IOVA,
                                .size_bytes = side->load.size_bytes,
                                .vaddr = side->load.memory,
                                .fd = side->load.fd,
                                .writable = true };
    if (event->kind != VMIG_EVENT_ROUND)
        return;
    side->on_event = NULL; /* once */
    x(vmig_device_dma_unmap(side->devices[0].device, map.iova, map.size_bytes, &err));
    x(vmig_device_dma_map(side->devices[0].device, &map, &err));
}

/* The dirty bits of a mapping go with it in some devices: what was written would be lost without a
 * word. */
static void memory_unmapped_from_a_logging_device_is_sent_again(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct vmig_statistics s = { .size = sizeof(s) };
        struct world_plan plan = plan_of(refdev_profile_at(i));
        if (!refdev_profile_at(i)->has_dma_log)
            continue;
        plan.still = true; /* a device that writes where nothing is counts errors */
        open_world(&w, &plan);
        w.source->on_event = unmap_after_a_round;
        world_set(&w, "downtime-limit", 10000);
        world_move(&w);
        assert_int_equal(w.source->rc, 0);
        assert_int_equal(w.target->rc, 0);
        vmig_migration_query(w.source->m, &s);
        assert_int_equal(s.ram_dirty_pages, w.source->load.size_bytes / 4096);
        world_close(&w);
    }
}

/* mlx5 and virtio would never send more than their first image to somebody who only reads. No pause
 * is short enough here, so there are as many rounds as may be. */
static void increments_are_asked_for_in_each_round(void **state)
{
    static const char *const names[] = { "default", "mlx5", "virtio" };
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct world w;
        struct vmig_statistics s = { .size = sizeof(s) };
        struct world_plan plan = plan_of(refdev_profile_find(names[i]));
        open_world(&w, &plan);
        party_set(w.source, "downtime-limit", 0);
        party_set(w.source, "max-rounds", 50);
        party_write_register(w.source, 0, REFDEV_REG_DIRTY_RATE, 100000);
        world_move(&w);
        party_failed(w.source, -ETIME, "not-converging", NULL);
        vmig_migration_query(w.source->m, &s);
        assert_true(s.devices[0].precopy_bytes > 4 * (32 << 10));
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void profile_without_a_log_is_refused_unless_all_is_dirty(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct world_plan plan = plan_of(refdev_profile_at(i));
        if (refdev_profile_at(i)->has_dma_log)
            continue;
        world_open(&w, &plan);
        world_begin(&w);
        party_join(w.source);
        party_failed(w.source, -EOPNOTSUPP, "vfio-no-dirty-tracking", "all-dirty");
        assert_string_equal(w.source->err.device, "device0");
        assert_int_equal(party_state(w.source, 0), VMIG_STATE_RUNNING);
        vmig_migration_cancel(w.target->m);
        world_join(&w);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

/* ---- together ---- */

/* Each pair of different ones, and two of a kind. */
static void every_two_profiles_with_p2p_move_together(void **state)
{
    const struct refdev_profile *list[PROFILES_MAX];
    unsigned count = p2p_profiles(list);
    (void)state;
    for (unsigned a = 0; a < count; a++)
        for (unsigned b = a; b < count; b++)
            moves(&(struct world_plan) {
                .devices = 2, .ram_bytes = 6 << 20, .profiles = { list[a]->name, list[b]->name } });
}

static void all_profiles_with_p2p_move_together(void **state)
{
    const struct refdev_profile *list[PROFILES_MAX];
    struct world_plan plan = { .devices = p2p_profiles(list), .dma_rate = 100, .channels = 2 };
    (void)state;
    assert_int_equal(plan.devices, 7);
    for (unsigned i = 0; i < plan.devices; i++)
        plan.profiles[i] = list[i]->name;
    moves(&plan);
}

static void hisi_acc_is_refused_by_name_beside_any_other(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        struct world w;
        struct world_plan plan = { .devices = 2, .profile = refdev_profile_at(i)->name };
        plan.profiles[i % 2] = "hisi_acc";
        open_world(&w, &plan);
        world_begin(&w);
        party_join(w.source);
        party_failed(w.source, -EOPNOTSUPP, "vfio-multiple-without-p2p", "2 devices");
        if (strcmp(plan.profile, "hisi_acc") != 0)
            assert_string_equal(w.source->err.device, i % 2 ? "device1" : "device0");
        vmig_migration_cancel(w.target->m);
        world_join(&w);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

/* ---- truncated on the way ---- */

/* Of a recorded stream: the last piece of the device's data, and the digest that seals it all. */
struct places {
    uint64_t word_offset, data_offset, length_bytes;
    uint64_t seal_offset;
};

static int note_data(void *opaque, const struct qemu_section *section,
                     const struct inspect_record *record, struct vmig_error *err)
{
    struct places *at = opaque;
    (void)section, (void)err;
    if (record->record != QEMU_VFIO_DATA)
        return 0;
    at->word_offset = record->offset;
    at->data_offset = record->data_offset;
    at->length_bytes = record->length_bytes;
    return 0;
}

static int note_seal(void *opaque, const struct inspect_section *section, struct vmig_error *err)
{
    (void)err;
    if (section->payload == INSPECT_MANIFEST)
        ((struct places *)opaque)->seal_offset =
            section->payload_offset + section->payload_length - sizeof(uint64_t);
    return 0;
}

static uint8_t *read_file(const char *path, size_t *ret_length)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *ret_length = (size_t)ftell(file);
    rewind(file);
    uint8_t *buf = malloc(*ret_length);
    assert_non_null(buf);
    assert_int_equal(fread(buf, 1, *ret_length, file), *ret_length);
    fclose(file);
    return buf;
}

static void put_u64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (56 - 8 * i));
}

/* Take the last @count bytes of the device's data out of the stream, all of its last piece for
 * UINT64_MAX; framing and seal are right afterwards. There is no memory in it, whose pages the seal
 * would leave out. */
static void cut_data(const char *path, uint64_t count)
{
    static const struct inspect_ops ops = { .vfio_record = note_data, .section = note_seal };
    struct places at = { 0 };
    size_t length;
    uint8_t *buf = read_file(path, &length);
    x(inspect_memory(buf, length, &ops, &at, &err));
    assert_true(at.length_bytes > 1 && at.seal_offset > at.data_offset);
    bool all = count >= at.length_bytes;
    uint64_t left = all ? 0 : at.length_bytes - count;
    uint64_t from = all ? at.word_offset : at.data_offset + left;
    uint64_t to = at.data_offset + at.length_bytes;
    put_u64(buf + at.data_offset - 8, left);
    memmove(buf + from, buf + to, length - to);
    length -= to - from;
    at.seal_offset -= to - from;
    put_u64(buf + at.seal_offset, XXH3_64bits(buf, at.seal_offset));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(buf, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    free(buf);
}

static void truncated_is_refused(const struct refdev_profile *profile, uint64_t count)
{
    struct world w;
    char address[100];
    struct world_plan plan = plan_of(profile);
    plan.link = WORLD_FILE;
    plan.no_ram = true;
    open_world(&w, &plan);
    snprintf(address, sizeof(address), "file:%s/file", w.directory);
    party_start(w.source, true, address);
    assert_int_equal(party_join(w.source), 0);
    cut_data(address + strlen("file:"), count);
    party_start(w.target, false, address);
    party_join(w.target);
    party_failed(w.target, -EBADMSG, "corrupt-data", "arrived");
    assert_string_equal(w.target->err.device, "device0");
    /* what was loaded does not run, and the device is as new */
    assert_int_equal(w.target->starts, 0);
    party_is_still(w.target);
    assert_int_equal(party_state(w.target, 0), VMIG_STATE_RUNNING);
    world_close(&w);
}

static void truncated_state_is_refused_whether_the_driver_would_notice_or_not(void **state)
{
    (void)state;
    for (unsigned i = 0; refdev_profile_at(i); i++) {
        truncated_is_refused(refdev_profile_at(i), 1);
        truncated_is_refused(refdev_profile_at(i), UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_profile_moves_alone),
        cmocka_unit_test(every_profile_moves_without_pre_copy),
        cmocka_unit_test(every_profile_moves_over_a_lone_main_channel),
        cmocka_unit_test(every_profile_moves_through_a_file),
        cmocka_unit_test(every_profile_moves_there_and_back),
        cmocka_unit_test(every_profile_goes_on_after_a_cancel_and_moves_then),
        cmocka_unit_test(memory_need_not_be_whole_pages_of_the_log),
        cmocka_unit_test(memory_unmapped_from_a_logging_device_is_sent_again),
        cmocka_unit_test(increments_are_asked_for_in_each_round),
        cmocka_unit_test(profile_without_a_log_is_refused_unless_all_is_dirty),
        cmocka_unit_test(every_two_profiles_with_p2p_move_together),
        cmocka_unit_test(all_profiles_with_p2p_move_together),
        cmocka_unit_test(hisi_acc_is_refused_by_name_beside_any_other),
        cmocka_unit_test(truncated_state_is_refused_whether_the_driver_would_notice_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
