/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Again and again: after an abort at any place, there and back, and a hundred times over. Nothing of
 * one attempt is left for the next. And the way back after an abort passes the same barrier as the
 * way there.
 */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "tests/migration/recovered.h"
#include "tests/migration/relay.h"
#include "tests/migration/witness.h"

/* ---- the barrier ---- */

static int refuse(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return -EBADMSG;
}

/* Slow enough that a device that did not wait would be seen. */
static const struct world_plan three_slow_devices = { .devices = 3, .transition_ns = 3000000 };

static void all_devices_quiesce_before_one_stops_and_resume_before_one_runs(void **state)
{
    (void)state;
    static const struct vmig_participant_ops refuses = { .size = sizeof(refuses),
                                                         .load_complete = refuse };
    struct world w;
    world_open(&w, &three_slow_devices);
    witness_side(w.source);
    witness_side(w.target);
    x(vmig_migration_add_participant(w.source->m, "refuses", &refuses, NULL, &err));
    x(vmig_migration_add_participant(w.target->m, "refuses", &refuses, NULL, &err));
    world_move(&w);
    party_failed(w.source, -EBADMSG, NULL, NULL);
    assert_true(witness_barrier(w.source, VMIG_STATE_PRE_COPY_P2P, VMIG_STATE_STOP_COPY));
    assert_true(witness_barrier(w.source, VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING));
    world_runs_at(&w, w.source);
    world_close(&w);
    witness_done();
}

static void target_starts_through_the_barrier(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &three_slow_devices);
    witness_side(w.target);
    world_move(&w);
    world_moved(&w);
    assert_true(witness_barrier(w.target, VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING));
    world_close(&w);
    witness_done();
}

/* One refuses to stop while its neighbours have stopped: it must not run before they can. */
static void device_that_refuses_to_stop_waits_for_the_others_before_it_runs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct world w;
        world_open(&w, &three_slow_devices);
        witness_side(w.source);
        witness_refuse(w.source, i, VMIG_STATE_STOP_COPY);
        world_move(&w);
        assert_int_equal(w.source->rc, -EPERM);
        assert_true(witness_barrier(w.source, VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING));
        world_runs_at(&w, w.source);
        world_close(&w);
        witness_done();
    }
}

/* Refused once more on the way back it waits in STOP, and goes to RUNNING with the others. */
static void device_that_refuses_p2p_on_the_way_back_runs_with_the_others(void **state)
{
    (void)state;
    static const struct vmig_participant_ops refuses = { .size = sizeof(refuses),
                                                         .load_complete = refuse };
    struct world w;
    world_open(&w, &three_slow_devices);
    witness_side(w.source);
    witness_refuse(w.source, 1, VMIG_STATE_RUNNING_P2P);
    x(vmig_migration_add_participant(w.source->m, "refuses", &refuses, NULL, &err));
    x(vmig_migration_add_participant(w.target->m, "refuses", &refuses, NULL, &err));
    world_move(&w);
    party_failed(w.source, -EBADMSG, NULL, NULL);
    assert_true(witness_barrier(w.source, VMIG_STATE_RUNNING_P2P, VMIG_STATE_RUNNING));
    world_runs_at(&w, w.source);
    world_close(&w);
    witness_done();
}

/* ---- abort, then again ---- */

static enum vmig_stage when;

static void cancel_then(struct party *side, enum vmig_stage stage)
{
    if (stage == when)
        vmig_migration_cancel(side->m);
}

static const enum vmig_stage source_stages[] = { VMIG_STAGE_SETUP, VMIG_STAGE_ROUNDS,
                                                 VMIG_STAGE_QUIESCE, VMIG_STAGE_COMPLETE };
static const enum vmig_stage target_stages[] = { VMIG_STAGE_SETUP, VMIG_STAGE_ROUNDS,
                                                 VMIG_STAGE_COMPLETE };

static void abort_once(struct world *w, struct party *side, enum vmig_stage stage)
{
    when = stage;
    side->on_stage = cancel_then;
    world_move(w);
    side->on_stage = NULL;
    assert_int_equal(side->rc, -ECANCELED);
    assert_true(w->source->rc < 0 && w->target->rc < 0);
    party_is_still(w->target);
    party_goes_on(w->source);
}

static void aborted_in_every_stage_the_same_handles_move_after_all(void **state)
{
    (void)state;
    for (unsigned lone = 0; lone < 2; lone++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 2, .lone_main = lone });
        for (size_t i = 0; i < sizeof(source_stages) / sizeof(source_stages[0]); i++)
            abort_once(&w, w.source, source_stages[i]);
        for (size_t i = 0; i < sizeof(target_stages) / sizeof(target_stages[0]); i++)
            abort_once(&w, w.target, target_stages[i]);
        world_move(&w);
        world_moved(&w);
        world_close(&w);
    }
}

static void plan_fault(struct party *side, const char *text)
{
    struct refdev_fault fault;
    assert_int_equal(refdev_fault_parse(text, &fault), 0);
    refdev_server_set_faults(side->devices[0].server, &fault, 1);
}

/* Devices that refuse once and are asked again. */
static void refused_by_a_device_the_same_handles_move_after_all(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        bool target;
    } rows[] = {
        { "fail@arc/PRE_COPY", false },
        { "fail@read", false },
        { "fail@arc/PRE_COPY_P2P", false },
        { "fail@arc/STOP_COPY", false },
        { "fail@command/log-start", false },
        { "fail@arc/RESUMING", true },
        { "fail@write", true },
        { "fail@arc/STOP#2", true },
        { "corrupt@write", true },
        { "error@arc/RESUMING", true },
    };
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        plan_fault(rows[i].target ? w.target : w.source, rows[i].fault);
        world_move(&w);
        if (w.source->rc >= 0 || w.target->rc >= 0)
            fail_msg("%s did nothing", rows[i].fault);
        party_is_still(w.target);
        party_goes_on(w.source);
    }
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* Its state is gone and the host has taken that: what it moves next is what it has then. */
static void reset_in_one_attempt_is_no_casualty_of_the_next(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    plan_fault(w.source, "error@arc/PRE_COPY_P2P");
    world_move(&w);
    party_failed(w.source, w.source->rc, "device-state-lost", NULL);
    assert_int_equal(vmig_device_health(w.source->devices[0].device), VMIG_HEALTH_RESET);
    x(w.source->m->host.start(w.source, &err));
    party_set(w.source, "pre-copy", 0);
    when = VMIG_STAGE_ROUNDS;
    w.source->on_stage = cancel_then;
    world_move(&w);
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    assert_true(w.source->runs);
    assert_int_equal(vmig_device_health(w.source->devices[0].device), VMIG_HEALTH_OK);
    world_close(&w);
}

/* ---- there and back ---- */

/* Everything was stopped to be looked at. */
static void go_on(struct party *side)
{
    x(workload_go_on(&side->load, &err));
}

/* With DMA and writes all the time: what any hop lost stays wrong in the patterns. */
static void workload_moves_there_and_back_and_there_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) {
                       .devices = 2, .dma_rate = 4000, .dirty_rate_pages = 4000, .channels = 2 });
    for (unsigned hop = 0; hop < 3; hop++) {
        world_move(&w);
        world_moved(&w);
        go_on(w.target);
        party_goes_on(w.target);
        world_turn_round(&w);
        /* an attempt that fails in between changes nothing */
        abort_once(&w, hop % 2 ? w.target : w.source, VMIG_STAGE_ROUNDS);
    }
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- a hundred times ---- */

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* What malloc has given out: pieces up to 128 KiB; and the rest, buffers for data that all parts
 * keep to use them again, as many as were needed at a time so far. main() sees that they are told
 * apart. */
struct allocated {
    size_t small_bytes, large_bytes;
};

static struct allocated allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return (struct allocated) { .small_bytes = info.uordblks, .large_bytes = info.hblkhd };
}

#define HOPS 100
#define HOPS_BEFORE 10 /* until everything that is made once was made */
#define GROWTH_MAX (64u << 10)
#define BUFFERS_MAX (16u << 20) /* as the engine promises for a device */

static void hundred_migrations_leave_no_files_and_no_memory(void **state)
{
    (void)state;
    struct world w;
    unsigned files = 0;
    struct allocated before = { 0 }, after;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    for (unsigned hop = 0; hop < HOPS; hop++) {
        if (hop == HOPS_BEFORE) {
            files = open_files();
            before = allocated();
        }
        world_move(&w);
        if (w.source->rc || w.target->rc)
            fail_msg("hop %u: source %d %s; target %d %s", hop, w.source->rc, w.source->err.text,
                     w.target->rc, w.target->err.text);
        world_turn_round(&w);
    }
    assert_int_equal(open_files(), files);
    after = allocated();
    if (after.small_bytes > before.small_bytes + GROWTH_MAX ||
        after.large_bytes > before.large_bytes + BUFFERS_MAX)
        fail_msg("%zu bytes and %zu of buffers became %zu and %zu in %u migrations",
                 before.small_bytes, before.large_bytes, after.small_bytes, after.large_bytes,
                 HOPS - HOPS_BEFORE);
    world_runs_at(&w, w.source);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_devices_quiesce_before_one_stops_and_resume_before_one_runs),
        cmocka_unit_test(target_starts_through_the_barrier),
        cmocka_unit_test(device_that_refuses_to_stop_waits_for_the_others_before_it_runs),
        cmocka_unit_test(device_that_refuses_p2p_on_the_way_back_runs_with_the_others),
        cmocka_unit_test(aborted_in_every_stage_the_same_handles_move_after_all),
        cmocka_unit_test(refused_by_a_device_the_same_handles_move_after_all),
        cmocka_unit_test(reset_in_one_attempt_is_no_casualty_of_the_next),
        cmocka_unit_test(workload_moves_there_and_back_and_there_again),
        cmocka_unit_test(hundred_migrations_leave_no_files_and_no_memory),
    };
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
