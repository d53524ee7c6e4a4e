/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's promises on the kernel's devices: a workload moves live with two of them, cancelled
 * and failed moves leave it where it was, and a device that hangs in the kernel is lost and nothing
 * else is. Each test runs with mtty and with the project's module, over groups and over character
 * devices. The module does real DMA, so that no page is lost unseen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "refdev/registers.h"
#include "tests/migration/witness.h"
#include "tests/rig/devices.h"
#include "tests/rig/instance.h"

#define DEVICES 2

struct kind {
    const char *backend;
    const char *profile; /* of the module; NULL: mtty */
};
static struct kind mtty_over_group = { "group", NULL }, mtty_over_cdev = { "cdev", NULL };
static struct kind module_over_group = { "group", "default" },
                   module_over_cdev = { "cdev", "default" };
/* whose data has nothing of what a guest sees */
static struct kind bare_over_group = { "group", "qat" }, bare_over_cdev = { "cdev", "qat" };

/* The kernel's devices of this test: the source's, then the target's. */
static const struct kind *kind;
static struct mtty mttys[2 * DEVICES];
static struct instance instances[2 * DEVICES];
/* Closed by the teardown where a test failed: a device that is open cannot be removed. */
static struct world w;
static bool is_open;

static unsigned number_of(const struct party *side, unsigned index)
{
    return side == &side->world->parties[0] ? index : DEVICES + index;
}

/* ---- what a world takes from here ---- */

static struct vmig_device *open_device(const struct party *side, unsigned index,
                                       const struct vmig_device_options *options)
{
    unsigned number = number_of(side, index);
    struct vmig_device *device = NULL;
    struct vmig_device_options with = *options;
    with.backend = kind->backend;
    x(vmig_device_open(kind->profile ? instances[number].uuid : mttys[number].uuid, &with, &device,
                       &err));
    return device;
}

static void set_fault(const struct party *side, unsigned index, const char *text)
{
    x_set(&instances[number_of(side, index)], "faults", text ? text : "\n");
}

/* Each line of the attribute ends with how often that one has happened. */
static void await_fault(const struct party *side, unsigned index)
{
    for (unsigned i = 0; i < 6000; i++) {
        const char *plan = instance_get(&instances[number_of(side, index)], "faults");
        const char *count = strrchr(plan, ' ');
        if (count && strtoul(count, NULL, 10))
            return;
        nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
    }
    fail_msg("the fault at the %s's device %u does not happen", side->name, index);
}

static const struct world_plan two = { .devices = DEVICES };
static const struct world_devices kernel = { open_device, set_fault, await_fault };

static int setup(void **state)
{
    kind = *state;
    for (unsigned i = 0; i < 2 * DEVICES; i++) {
        if (!kind->profile) {
            mtty_create(&mttys[i], MTTY_TWO_PORTS);
            continue;
        }
        instance_create(&instances[i], kind->profile);
        if (strcmp(kind->profile, "default") == 0)
            x_set(&instances[i], "state_size", "256K");
    }
    return 0;
}

static void close_world(void)
{
    for (unsigned i = 0; kind->profile && i < 2 * DEVICES; i++)
        x_set(&instances[i], "faults", "\n"); /* what hangs comes back */
    is_open = false;
    world_close(&w);
}

static int teardown(void **state)
{
    (void)state;
    if (is_open)
        close_world();
    for (unsigned i = 0; i < 2 * DEVICES; i++)
        if (kind->profile)
            instance_remove(&instances[i]);
        else
            mtty_remove(&mttys[i]);
    return 0;
}

static void open_world(const struct world_plan *plan)
{
    struct world_plan with = *plan;
    with.from = &kernel;
    world_open(&w, &with);
    is_open = true;
}

static void set_scratch(struct party *side, uint8_t value)
{
    for (unsigned i = 0; !kind->profile && i < DEVICES; i++)
        x(vmig_device_region_write(side->devices[i].device, 0, MTTY_SCRATCH, &value, 1, &err));
}

/* The registers of devices that have nothing else to show; others were verified. */
static void scratch_is(struct party *side, uint8_t value)
{
    for (unsigned i = 0; !kind->profile && i < DEVICES; i++) {
        uint8_t found = 0;
        x(vmig_device_region_read(side->devices[i].device, 0, MTTY_SCRATCH, &found, 1, &err));
        assert_int_equal(found, value);
    }
}

/* ---- moves ---- */

static void two_devices_move_there_and_back_while_they_work(void **state)
{
    (void)state;
    open_world(&two);
    for (uint8_t value = 0x51; value < 0x53; value++) {
        set_scratch(w.source, value);
        world_move(&w);
        if (w.source->rc || w.target->rc)
            fail_msg("source %d %s; target %d %s", w.source->rc, w.source->err.text, w.target->rc,
                     w.target->err.text);
        assert_true(w.equal);
        party_is_still(w.source);
        party_goes_on(w.target);
        scratch_is(w.target, value);
        world_turn_round(&w);
    }
    world_runs_at(&w, w.source);
    close_world();
}

#define SEEN_BYTES 0xf0u /* of config space: mtty has 255 */

static void read_seen(struct party *side, unsigned index, uint8_t *config, uint8_t *table)
{
    struct vmig_device *device = side->devices[index].device;
    x(vmig_device_region_read(device, VMIG_REGION_CONFIG, 0, config, SEEN_BYTES, &err));
    if (kind->profile)
        x(vmig_device_region_read(device, REFDEV_BAR_MSIX, 0, table, 16 * REFDEV_MSIX_VECTORS,
                                  &err));
}

/* As a guest's driver would: BARs, interrupt line, then COMMAND, MSI-X. */
static void drive(struct party *side, unsigned index)
{
    static const struct {
        unsigned at, length;
        uint32_t value;
    } port = { 0x10, 4, 0xc060 }, memory[] = {
        { 0x10, 4, 0xfebf0000 }, { 0x20, 4, 0xfebf1000 }, { 0x04, 2, 0x0507 }, { 0x52, 2, 0x8007 }
    };
    struct vmig_device *device = side->devices[index].device;
    uint8_t table[16 * REFDEV_MSIX_VECTORS], line = (uint8_t)(10 + index);
    x(vmig_device_region_write(device, VMIG_REGION_CONFIG, 0x3c, &line, 1, &err));
    if (!kind->profile) {
        x(vmig_device_region_write(device, VMIG_REGION_CONFIG, port.at, &port.value, 4, &err));
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        x(vmig_device_region_write(device, VMIG_REGION_CONFIG, memory[i].at, &memory[i].value,
                                   memory[i].length, &err));
    for (unsigned i = 0; i < sizeof(table); i++)
        table[i] = (uint8_t)(i % 16 >= 12 ? 0 : i + index);
    x(vmig_device_region_write(device, REFDEV_BAR_MSIX, 0, table, sizeof(table), &err));
}

static void what_a_guest_sees_of_the_devices_moves_with_them(void **state)
{
    (void)state;
    uint8_t before[DEVICES][2][SEEN_BYTES] = { 0 }, after[2][SEEN_BYTES] = { 0 };
    open_world(&(struct world_plan) { .devices = DEVICES, .no_ram = true });
    for (unsigned i = 0; i < DEVICES; i++) {
        drive(w.source, i);
        read_seen(w.source, i, before[i][0], before[i][1]);
        assert_int_equal(before[i][0][0x3c], 10 + i);
        assert_int_equal(before[i][0][0x10], kind->profile ? 0 : 0x61);
        assert_int_equal(before[i][1][17], kind->profile ? 17 + i : 0);
    }
    world_move(&w);
    world_moved(&w);
    for (unsigned i = 0; i < DEVICES; i++) {
        read_seen(w.target, i, after[0], after[1]);
        assert_memory_equal(after[0], before[i][0], SEEN_BYTES);
        assert_memory_equal(after[1], before[i][1], SEEN_BYTES);
    }
    close_world();
}

/* Neither on the way nor on the way back: some kernels never return from it. */
static void STOP_COPY_is_never_left_for_PRE_COPY(void **state)
{
    (void)state;
    static const struct vmig_participant_ops none = { .size = sizeof(none) };
    unsigned count;
    open_world(&two);
    witness_side(w.source);
    /* the target has no such participant: it refuses, as late as it can */
    x(vmig_migration_add_participant(w.source->m, "late", &none, NULL, &err));
    world_move(&w);
    world_runs_at(&w, w.source);
    const struct witness_step *steps = witness_steps(w.source, &count);
    enum vmig_state at[DEVICES] = { VMIG_STATE_RUNNING, VMIG_STATE_RUNNING };
    for (unsigned i = 0; i < count; i++) {
        bool precopy =
            steps[i].state == VMIG_STATE_PRE_COPY || steps[i].state == VMIG_STATE_PRE_COPY_P2P;
        if (!steps[i].end && precopy && at[steps[i].device] == VMIG_STATE_STOP_COPY)
            fail_msg("device %u was asked", steps[i].device);
        if (steps[i].end)
            at[steps[i].device] = steps[i].state;
    }
    close_world();
    witness_done();
}

/* ---- stop and cont ---- */

static void is_paused(struct party *side)
{
    assert_string_equal(vmig_run_state_name(vmig_migration_run_state(side->m)), "paused");
    for (unsigned i = 0; i < DEVICES; i++)
        assert_string_equal(vmig_state_name(party_state(side, i)), "STOP");
    party_is_still(side);
}

static void devices_follow_stop_and_cont(void **state)
{
    (void)state;
    open_world(&two);
    set_scratch(w.source, 0x54);
    for (int turn = 0; turn < 3; turn++) {
        x(vmig_migration_stop(w.source->m, &err));
        is_paused(w.source);
        x(vmig_migration_cont(w.source->m, &err));
        party_goes_on(w.source);
    }
    world_runs_at(&w, w.source);
    scratch_is(w.source, 0x54);
    close_world();
}

static void a_paused_machine_moves_and_goes_on_there(void **state)
{
    (void)state;
    open_world(&two);
    set_scratch(w.source, 0x55);
    x(vmig_migration_stop(w.source->m, &err));
    world_move(&w);
    if (w.source->rc || w.target->rc)
        fail_msg("%s; %s", w.source->err.text, w.target->err.text);
    is_paused(w.target);
    assert_int_equal(w.target->starts, 0);
    x(vmig_migration_cont(w.target->m, &err));
    world_runs_at(&w, w.target);
    scratch_is(w.target, 0x55);
    close_world();
}

/* ---- moves that end early ---- */

static enum vmig_stage when;

static void cancel_then(struct party *side, enum vmig_stage stage)
{
    if (stage == when)
        vmig_migration_cancel(side->m);
}

static void move_again(void)
{
    world_move(&w);
    world_moved(&w);
}

static void a_cancelled_move_leaves_all_at_the_source_and_is_tried_again(void **state)
{
    static const enum vmig_stage stages[] = { VMIG_STAGE_SETUP, VMIG_STAGE_ROUNDS,
                                              VMIG_STAGE_QUIESCE, VMIG_STAGE_COMPLETE };
    (void)state;
    open_world(&two);
    set_scratch(w.source, 0x53);
    w.source->on_stage = cancel_then;
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        when = stages[i];
        world_move(&w);
        assert_int_equal(w.source->rc, -ECANCELED);
        world_runs_at(&w, w.source);
        x(workload_go_on(&w.source->load, &err));
    }
    w.source->on_stage = NULL;
    move_again();
    scratch_is(w.target, 0x53);
    close_world();
}

struct fault {
    bool source;
    const char *text;
};

/* Whatever fails before the source gave up: the workload goes on there, and moves when the device
 * has recovered. */
static void a_device_that_fails_leaves_all_at_the_source(void **state)
{
    static const struct fault faults[] = {
        { true, "fail:EIO@arc/PRE_COPY" },      { true, "fail:EIO@arc/PRE_COPY_P2P" },
        { true, "fail:EBUSY@arc/STOP_COPY" },   { true, "fail:EIO@read#2" },
        { false, "fail:EIO@arc/RESUMING" },     { false, "fail:EIO@write#1" },
        { false, "fail:EINVAL@arc/STOP#2" },    { true, "corrupt@byte#70000" },
        { true, "fail:EIO@command/log-start" }, { true, "fail:EIO@command/log-report#2" },
    };
    (void)state;
    open_world(&two);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct party *side = faults[i].source ? w.source : w.target;
        print_message("# %s: %s\n", side->name, faults[i].text);
        party_fault(side, 1, faults[i].text);
        world_move(&w);
        assert_true(w.source->rc < 0);
        party_await_fault(side, 1);
        party_fault(side, 1, NULL);
        world_runs_at(&w, w.source);
        x(workload_go_on(&w.source->load, &err));
    }
    move_again();
    close_world();
}

/* ---- a device that hangs ---- */

#define PATIENCE_MS 2500

static void a_device_that_hangs_is_lost_when_its_time_is_up(void **state)
{
    static const char *const hangs[] = { "hang@arc/STOP_COPY", "hang@read#2" };
    (void)state;
    for (size_t i = 0; i < sizeof(hangs) / sizeof(hangs[0]); i++) {
        open_world(&(struct world_plan) { .devices = DEVICES, .patience_ms = PATIENCE_MS });
        party_fault(w.source, 1, hangs[i]);
        world_move(&w);
        party_failed(w.source, -EIO, "device-state-lost", NULL);
        assert_string_equal(w.source->err.device, "device1");
        /* its neighbour is as it was, and the workload, which has lost a device, stands still */
        assert_string_equal(vmig_state_name(party_state(w.source, 0)), "RUNNING");
        assert_int_equal(vmig_device_health(w.source->devices[1].device), VMIG_HEALTH_LOST);
        assert_false(w.source->runs);
        close_world();
    }
}

/* ---- DMA ---- */

static int forget_some(struct tracker **tracker)
{
    return tracker_forgetful_new(*tracker, 5, tracker);
}

/* Before the device is stopped it writes more pages than its last round still had to send. */
static void write_more(struct party *side, enum vmig_stage stage)
{
    if (stage != VMIG_STAGE_QUIESCE)
        return;
    uint64_t had = party_register(side, 0, REFDEV_REG_DMA_STEPS);
    while (party_register(side, 0, REFDEV_REG_DMA_STEPS) < had + 400)
        nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
}

/* Or the moves that lost nothing would prove nothing. */
static void a_log_that_forgets_pages_is_found_out(void **state)
{
    (void)state;
    open_world(&(struct world_plan) { .devices = 1, .dma_rate = 4000 });
    w.source->m->wrap_tracker = forget_some;
    w.source->on_stage = write_more;
    world_move(&w);
    assert_int_equal(w.target->rc, 0);
    struct workload_report r = party_verify(w.target);
    assert_true(r.device_wrong_pages + r.slot_mismatches > 0);
    close_world();
}

int main(void)
{
#define ON(test, kind)                                                                             \
    {                                                                                              \
#test " (" #kind ")", test, setup, teardown, &kind                                         \
    }
#define ON_MODULE(test) ON(test, module_over_group), ON(test, module_over_cdev)
#define ON_EACH(test) ON(test, mtty_over_group), ON(test, mtty_over_cdev), ON_MODULE(test)
    const struct CMUnitTest tests[] = {
        ON_EACH(two_devices_move_there_and_back_while_they_work),
        ON(what_a_guest_sees_of_the_devices_moves_with_them, mtty_over_group),
        ON(what_a_guest_sees_of_the_devices_moves_with_them, mtty_over_cdev),
        ON(what_a_guest_sees_of_the_devices_moves_with_them, bare_over_group),
        ON(what_a_guest_sees_of_the_devices_moves_with_them, bare_over_cdev),
        ON_EACH(devices_follow_stop_and_cont),
        ON_EACH(a_paused_machine_moves_and_goes_on_there),
        ON_EACH(STOP_COPY_is_never_left_for_PRE_COPY),
        ON_EACH(a_cancelled_move_leaves_all_at_the_source_and_is_tried_again),
        ON_MODULE(a_device_that_fails_leaves_all_at_the_source),
        ON_MODULE(a_device_that_hangs_is_lost_when_its_time_is_up),
        ON_MODULE(a_log_that_forgets_pages_is_found_out),
    };
    instances_required();
    return cmocka_run_group_tests_name("moves", tests, NULL, NULL);
}
