/* SPDX-License-Identifier: BSD-3-Clause */
/* A workload moves from one side to the other: every profile, number of devices and kind of link;
 * memory is compared byte by byte before the target may run. */
#include <errno.h>
#include <string.h>

#include "tests/migration/world.h"

static void moves(const struct world_plan *plan)
{
    struct world w;
    world_open(&w, plan);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- what moves ---- */

static void memory_alone_moves(void **state)
{
    (void)state;
    moves(&(struct world_plan) { 0 });
}

static void device_alone_moves(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_ram = true });
    party_write_register(w.source, 0, REFDEV_REG_SCRATCH, 0x1234);
    world_move(&w);
    world_moved(&w);
    assert_int_equal(party_register(w.target, 0, REFDEV_REG_SCRATCH), 0x1234);
    world_close(&w);
}

static void device_with_precopy_moves_data_before_the_pause(void **state)
{
    (void)state;
    struct world w;
    struct vmig_statistics s = { .size = sizeof(s) };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    world_move(&w);
    world_moved(&w);
    vmig_migration_query(w.source->m, &s);
    assert_int_equal(s.num_devices, 1);
    assert_true(s.devices[0].precopy_bytes >= 32 << 10);
    assert_int_equal(s.status, VMIG_STATUS_COMPLETED);
    world_close(&w);
}

static void device_with_precopy_off_moves_all_in_the_pause(void **state)
{
    (void)state;
    struct world w;
    struct vmig_statistics s = { .size = sizeof(s) };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_set(w.source, "pre-copy", 0);
    world_move(&w);
    world_moved(&w);
    vmig_migration_query(w.source->m, &s);
    assert_int_equal(s.devices[0].precopy_bytes, 0);
    assert_true(s.devices[0].stop_copy_bytes >= 32 << 10);
    world_close(&w);
}

static void two_devices_move_together(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 2 });
}

static void eight_devices_move_together(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 8, .dma_rate = 100, .channels = 4 });
}

/* ---- over what ---- */

static void two_devices_move_over_two_data_channels(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 2, .channels = 2 });
}

static void two_devices_move_over_four_data_channels(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 2, .channels = 4, .link = WORLD_UNIX });
}

static void two_devices_move_over_a_lone_main_channel(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 2, .lone_main = true });
}

static void two_devices_move_over_a_descriptor(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 2, .link = WORLD_FD });
}

static void eight_devices_move_over_a_descriptor(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 8, .link = WORLD_FD, .dma_rate = 100 });
}

static void memory_moves_over_four_data_channels(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .channels = 4, .dirty_rate_pages = 5000 });
}

/* A file is written while the source stands still at the end, and read by a target later. */
/* What was never written at the source does not come, but reads as zero there all the same. */
static void what_was_in_memory_before_is_gone(void **state)
{
    static const struct world_plan plans[] = {
        { .channels = 2 }, { .lone_main = true }, { .link = WORLD_FD }, { .link = WORLD_FILE }
    };
    (void)state;
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct world w;
        world_open(&w, &plans[i]);
        const struct vmig_ram_block *block = &w.target->m->ram->blocks[0].desc;
        memset(block->vaddr, 0x5a, block->size_bytes);
        world_move(&w);
        world_moved(&w);
        world_close(&w);
    }
}

static void workload_moves_through_a_file(void **state)
{
    (void)state;
    moves(&(struct world_plan) { .devices = 2, .link = WORLD_FILE });
}

/* ---- profiles ---- */

static void mtty_moves(void **state)
{
    (void)state;
    struct world w;
    uint8_t scratch = 0x5a;
    struct vmig_device_info info = { 0 };
    world_open(&w, &(struct world_plan) { .devices = 2, .profile = "mtty" });
    x(vmig_device_info(w.source->devices[0].device, &info, &err));
    assert_int_equal(info.vendor_id, 0x4348);
    x(vmig_device_region_write(w.source->devices[1].device, 0, 7, &scratch, 1, &err));
    world_move(&w);
    world_moved(&w);
    scratch = 0;
    x(vmig_device_region_read(w.target->devices[1].device, 0, 7, &scratch, 1, &err));
    assert_int_equal(scratch, 0x5a);
    world_close(&w);
}

static void pds_moves_with_everything_inside_the_pause(void **state)
{
    (void)state;
    struct world w;
    struct vmig_statistics s = { .size = sizeof(s) };
    world_open(&w, &(struct world_plan) { .devices = 2, .profile = "pds" });
    world_move(&w);
    world_moved(&w);
    vmig_migration_query(w.source->m, &s);
    assert_int_equal(s.devices[0].precopy_bytes, 0);
    assert_int_equal(s.devices[1].precopy_bytes, 0);
    world_close(&w);
}

static void hisi_acc_moves_alone_with_all_memory_dirty(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .profile = "hisi_acc" });
    party_set(w.source, "all-dirty", 1);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

static void device_without_a_dirty_log_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .profile = "hisi_acc" });
    world_begin(&w);
    party_join(w.source);
    party_failed(w.source, -EOPNOTSUPP, "vfio-no-dirty-tracking", "all-dirty");
    assert_string_equal(w.source->err.device, "device0");
    assert_int_equal(w.source->err.stage, VMIG_STAGE_PREPARE);
    vmig_migration_cancel(w.target->m);
    world_join(&w);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void several_devices_without_p2p_are_refused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .profile = "hisi_acc" });
    party_set(w.source, "all-dirty", 1);
    world_begin(&w);
    party_join(w.source);
    party_failed(w.source, -EOPNOTSUPP, "vfio-multiple-without-p2p", "2 devices");
    assert_int_equal(w.source->err.stage, VMIG_STAGE_PREPARE);
    vmig_migration_cancel(w.target->m);
    world_join(&w);
    world_runs_at(&w, w.source);
    world_close(&w);
}

/* ---- trackers ---- */

static void workload_moves_with_the_pagemap_tracker(void **state)
{
    (void)state;
    struct world w;
    struct tracker *probe;
    if (tracker_pagemap_new(&probe, NULL) < 0)
        skip();
    probe->ops->free(probe);
    world_open(&w, &(struct world_plan) { .devices = 1, .dirty_rate_pages = 5000 });
    party_set(w.source, "tracker", TRACKER_CPU_PAGEMAP);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

static void workload_moves_with_the_fallback_tracker(void **state)
{
    (void)state;
    struct world w;
    struct tracker *probe;
    if (tracker_uffd_new(&probe, NULL) < 0)
        skip();
    probe->ops->free(probe);
    world_open(&w, &(struct world_plan) { .devices = 1, .dirty_rate_pages = 5000 });
    party_set(w.source, "tracker", TRACKER_CPU_UFFD);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- states ---- */

static void stopped_source_device_arrives_with_its_state(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_ram = true });
    party_write_register(w.source, 0, REFDEV_REG_SCRATCH, 77);
    x(vmig_device_set_state(w.source->devices[0].device, VMIG_STATE_STOP, VMIG_STATE_ERROR, &err));
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    assert_int_equal(w.target->rc, 0);
    assert_int_equal(party_register(w.target, 0, REFDEV_REG_SCRATCH), 77);
    assert_int_equal(party_state(w.source, 0), VMIG_STATE_STOP);
    world_close(&w);
}

static void stopped_source_device_is_stopped_after_a_failure(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .no_ram = true });
    x(vmig_device_set_state(w.source->devices[0].device, VMIG_STATE_STOP, VMIG_STATE_ERROR, &err));
    w.target->m->host.start = NULL;
    /* as late as it can be: the target refuses the data */
    vmig_migration_cancel(w.target->m);
    world_begin(&w);
    world_join(&w);
    assert_true(w.source->rc < 0);
    assert_int_equal(party_state(w.source, 0), VMIG_STATE_STOP);
    assert_int_equal(party_state(w.source, 1), VMIG_STATE_RUNNING);
    world_close(&w);
}

static void source_devices_are_stopped_after_the_move(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    world_move(&w);
    world_moved(&w);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(party_state(w.source, i), VMIG_STATE_STOP);
    world_close(&w);
}

static void device_in_another_state_is_refused_by_name(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_ram = true });
    x(vmig_device_set_state(w.source->devices[0].device, VMIG_STATE_STOP_COPY, VMIG_STATE_ERROR,
                            &err));
    party_start(w.source, true, "tcp:127.0.0.1:1");
    party_join(w.source);
    party_failed(w.source, -EBUSY, "vfio-state", "STOP_COPY");
    assert_int_equal(party_state(w.source, 0), VMIG_STATE_STOP_COPY);
    world_close(&w);
}

/* ---- again ---- */

static void workload_moves_there_and_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    for (int turn = 0; turn < 3; turn++) {
        world_move(&w);
        if (w.source->rc || w.target->rc)
            fail_msg("turn %d: source %d %s; target %d %s", turn, w.source->rc, w.source->err.text,
                     w.target->rc, w.target->err.text);
        assert_true(w.equal);
        party_is_still(w.source);
        party_goes_on(w.target);
        world_turn_round(&w);
    }
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void aborted_move_can_be_tried_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    for (int turn = 0; turn < 2; turn++) {
        world_begin(&w);
        party_await_stage(w.source, VMIG_STAGE_ROUNDS);
        vmig_migration_cancel(w.source->m);
        world_join(&w);
        party_failed(w.source, -ECANCELED, "cancelled", NULL);
        party_goes_on(w.source);
        party_is_still(w.target);
    }
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- participants of the host's own ---- */

struct counter {
    uint64_t value, got;
    unsigned prepared, set_up, stopped, resumed, started, aborted, cleaned;
    bool moved, refuse;
};

static int counter_prepare(void *opaque, struct vmig_error *err)
{
    (void)err;
    ((struct counter *)opaque)->prepared++;
    return 0;
}

static int counter_setup(void *opaque, struct vmig_error *err)
{
    (void)err;
    ((struct counter *)opaque)->set_up++;
    return 0;
}

static int counter_stop(void *opaque, struct vmig_error *err)
{
    (void)err;
    ((struct counter *)opaque)->stopped++;
    return 0;
}

static int counter_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    struct counter *c = opaque;
    return vmig_writer_put(writer, &c->value, sizeof(c->value), err);
}

static int counter_resume(void *opaque, struct vmig_error *err)
{
    (void)err;
    ((struct counter *)opaque)->resumed++;
    return 0;
}

static int counter_load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct counter *c = opaque;
    (void)err;
    if (length_bytes != sizeof(c->got))
        return -EINVAL;
    memcpy(&c->got, buf, length_bytes);
    return 0;
}

static int counter_load_complete(void *opaque, struct vmig_error *err)
{
    struct counter *c = opaque;
    (void)err;
    return c->refuse ? -EBADMSG : 0;
}

static int counter_start(void *opaque, struct vmig_error *err)
{
    struct counter *c = opaque;
    (void)err;
    c->value = c->got;
    c->started++;
    return 0;
}

static int counter_load_abort(void *opaque, struct vmig_error *err)
{
    (void)err;
    ((struct counter *)opaque)->aborted++;
    return 0;
}

static void counter_cleanup(void *opaque, bool moved)
{
    struct counter *c = opaque;
    c->cleaned++;
    c->moved = moved;
}

static const struct vmig_participant_ops counter_ops = {
    .size = sizeof(counter_ops),
    .prepare = counter_prepare,
    .setup = counter_setup,
    .stop = counter_stop,
    .complete = counter_complete,
    .resume = counter_resume,
    .load = counter_load,
    .load_complete = counter_load_complete,
    .start = counter_start,
    .load_abort = counter_load_abort,
    .cleanup = counter_cleanup,
};

static void participant_of_the_host_moves_with_the_rest(void **state)
{
    static const enum world_link links[] = { WORLD_TCP, WORLD_FD, WORLD_FILE };
    (void)state;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        struct world w;
        struct counter a = { .value = 0xabcdef }, b = { 0 };
        world_open(&w, &(struct world_plan) { .devices = 1, .link = links[i] });
        x(vmig_migration_add_participant(w.source->m, "counter", &counter_ops, &a, &err));
        x(vmig_migration_add_participant(w.target->m, "counter", &counter_ops, &b, &err));
        world_move(&w);
        world_moved(&w);
        assert_int_equal(b.value, 0xabcdef);
        assert_int_equal(a.prepared, 1);
        assert_int_equal(a.set_up, 1);
        assert_int_equal(a.stopped, 1);
        assert_int_equal(a.resumed, 0);
        assert_int_equal(a.cleaned, 1);
        assert_true(a.moved);
        assert_int_equal(b.started, 1);
        assert_int_equal(b.aborted, 0);
        world_close(&w);
    }
}

static void participant_that_refuses_at_the_end_takes_all_back(void **state)
{
    (void)state;
    struct world w;
    struct counter a = { .value = 5 }, b = { .refuse = true };
    world_open(&w, &(struct world_plan) { .devices = 2 });
    x(vmig_migration_add_participant(w.source->m, "counter", &counter_ops, &a, &err));
    x(vmig_migration_add_participant(w.target->m, "counter", &counter_ops, &b, &err));
    world_move(&w);
    party_failed(w.target, -EBADMSG, NULL, NULL);
    assert_string_equal(w.target->err.device, "counter");
    party_failed(w.source, -EBADMSG, NULL, "the target failed");
    assert_string_equal(w.source->err.device, "counter");
    assert_int_equal(a.resumed, 1);
    assert_int_equal(a.cleaned, 1);
    assert_false(a.moved);
    assert_int_equal(b.aborted, 1);
    assert_int_equal(b.started, 0);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void two_participants_of_one_name_are_refused(void **state)
{
    (void)state;
    struct world w;
    struct counter a = { 0 };
    struct vmig_error error = { 0 };
    world_open(&w, &(struct world_plan) { .still = true });
    x(vmig_migration_add_participant(w.source->m, "counter", &counter_ops, &a, &err));
    assert_int_equal(
        vmig_migration_add_participant(w.source->m, "counter", &counter_ops, &a, &error), -EEXIST);
    assert_string_equal(error.reason, "id-taken");
    struct vmig_participant_ops small = counter_ops;
    small.size = offsetof(struct vmig_participant_ops, notify) - 1;
    assert_int_equal(vmig_migration_add_participant(w.source->m, "small", &small, &a, NULL),
                     -EINVAL);
    assert_int_equal(vmig_migration_add_participant(w.source->m, "", &counter_ops, &a, NULL),
                     -EINVAL);
    char name[65];
    memset(name, 'a', 64);
    name[64] = '\0';
    assert_int_equal(vmig_migration_add_participant(w.source->m, name, &counter_ops, &a, NULL),
                     -EINVAL);
    name[63] = '\0';
    x(vmig_migration_add_participant(w.source->m, name, &counter_ops, &a, &err));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_alone_moves),
        cmocka_unit_test(device_alone_moves),
        cmocka_unit_test(device_with_precopy_moves_data_before_the_pause),
        cmocka_unit_test(device_with_precopy_off_moves_all_in_the_pause),
        cmocka_unit_test(two_devices_move_together),
        cmocka_unit_test(eight_devices_move_together),
        cmocka_unit_test(two_devices_move_over_two_data_channels),
        cmocka_unit_test(two_devices_move_over_four_data_channels),
        cmocka_unit_test(two_devices_move_over_a_lone_main_channel),
        cmocka_unit_test(two_devices_move_over_a_descriptor),
        cmocka_unit_test(eight_devices_move_over_a_descriptor),
        cmocka_unit_test(memory_moves_over_four_data_channels),
        cmocka_unit_test(what_was_in_memory_before_is_gone),
        cmocka_unit_test(workload_moves_through_a_file),
        cmocka_unit_test(mtty_moves),
        cmocka_unit_test(pds_moves_with_everything_inside_the_pause),
        cmocka_unit_test(hisi_acc_moves_alone_with_all_memory_dirty),
        cmocka_unit_test(device_without_a_dirty_log_is_refused),
        cmocka_unit_test(several_devices_without_p2p_are_refused),
        cmocka_unit_test(workload_moves_with_the_pagemap_tracker),
        cmocka_unit_test(workload_moves_with_the_fallback_tracker),
        cmocka_unit_test(stopped_source_device_arrives_with_its_state),
        cmocka_unit_test(stopped_source_device_is_stopped_after_a_failure),
        cmocka_unit_test(source_devices_are_stopped_after_the_move),
        cmocka_unit_test(device_in_another_state_is_refused_by_name),
        cmocka_unit_test(workload_moves_there_and_back),
        cmocka_unit_test(aborted_move_can_be_tried_again),
        cmocka_unit_test(participant_of_the_host_moves_with_the_rest),
        cmocka_unit_test(participant_that_refuses_at_the_end_takes_all_back),
        cmocka_unit_test(two_participants_of_one_name_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
