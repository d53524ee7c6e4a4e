/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that hang as a kernel does: the call does not come back, the thread in it can be neither
 * joined nor cancelled. It is said who is waited for; then the device is lost, all others recover,
 * and what the thread still holds is its own until it comes back.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/migration/recovered.h"
#include "tests/migration/witness.h"

/* Of a call into a log; a worker has four times that. Long enough for the others. */
#define PATIENCE_MS 4000

static void nap(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = 5000000 }, NULL);
}

static unsigned threads_before;

/* As many as at the beginning: nobody looks at anything any more. */
static unsigned threads(void)
{
    unsigned count = 0;
    struct dirent *entry;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void *nothing(void *opaque)
{
    return opaque;
}

/* A sanitizer has a thread of its own from the first that is made on. */
static void count_threads_before(void)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 20; i++) /* it may be listed for a moment; no harm if it stays so */
        nap();
    threads_before = threads();
}

static const struct hang {
    enum witness_call call;
    enum vmig_state state;
    enum recovery_point point;
    enum side at;
    bool all_in_the_pause;
} rows[] = {
    { WITNESS_SET_STATE, VMIG_STATE_PRE_COPY, POINT_SETUP, SIDE_SOURCE, false },
    { WITNESS_LOG_START, 0, POINT_SETUP, SIDE_SOURCE, false },
    { WITNESS_READ, 0, POINT_ROUNDS, SIDE_SOURCE, false },
    { WITNESS_LOG_REPORT, 0, POINT_SETUP, SIDE_SOURCE, false },
    { WITNESS_SET_STATE, VMIG_STATE_PRE_COPY_P2P, POINT_QUIESCE, SIDE_SOURCE, false },
    { WITNESS_SET_STATE, VMIG_STATE_STOP_COPY, POINT_QUIESCE, SIDE_SOURCE, false },
    { WITNESS_READ, 0, POINT_COMPLETE, SIDE_SOURCE, true },
    { WITNESS_SET_STATE, VMIG_STATE_STOP, POINT_CLEANUP, SIDE_SOURCE, false },
    { WITNESS_SET_STATE, VMIG_STATE_RESUMING, POINT_SETUP, SIDE_TARGET, false },
    { WITNESS_WRITE, 0, POINT_ROUNDS, SIDE_TARGET, false },
    { WITNESS_WRITE, 0, POINT_COMPLETE, SIDE_TARGET, true },
    { WITNESS_FLUSH, 0, POINT_ROUNDS, SIDE_TARGET, false },
    { WITNESS_SET_STATE, VMIG_STATE_STOP, POINT_COMPLETE, SIDE_TARGET, false },
    { WITNESS_SET_STATE, VMIG_STATE_RUNNING, POINT_STARTED, SIDE_TARGET, false },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct party *hanging_side(struct world *w, const struct hang *row)
{
    return row->at == SIDE_SOURCE ? w->source : w->target;
}

static void prepare(struct world *w, const struct hang *row)
{
    world_open(w, &(struct world_plan) { .devices = 2, .patience_ms = PATIENCE_MS });
    if (row->all_in_the_pause)
        world_set(w, "pre-copy", 0);
    witness_side(hanging_side(w, row));
    witness_hang(hanging_side(w, row), 1, row->call, row->state);
}

static void expect(struct world *w, const struct hang *row)
{
    struct party *side = hanging_side(w, row);
    struct outcome o = { .point = row->point,
                         .at = row->at,
                         .left = VMIG_HEALTH_LOST,
                         .device = 1,
                         .text = row->point == POINT_CLEANUP ? NULL : "did not come back" };
    print_message("# call %d, state %s, at the %s\n", row->call, vmig_state_name(row->state),
                  side->name);
    if (!strstr(side->waiting, "device1: ") || !strstr(side->waiting, " takes long"))
        fail_msg("while it waited the %s said \"%s\"", side->name, side->waiting);
    expect_recovered(w, &o);
    /* nobody can use this handle again: whoever hangs may still look at it */
    if (participant_find(side->m, "device1")->lost) {
        party_start(side, true, "unix:/nobody");
        assert_int_equal(party_join(side), -EBUSY);
        assert_string_equal(side->err.reason, "device-lost");
    }
}

/* All at a time, since all do nothing but wait for the same deadline. Devices are opened within it, too: before there is
 * anything else to do. */
static void hang_all(bool well)
{
    static struct world worlds[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        prepare(&worlds[i], &rows[i]);
    for (size_t i = 0; i < ROWS; i++)
        world_begin(&worlds[i]);
    for (size_t i = 0; i < ROWS; i++) {
        world_join(&worlds[i]);
        expect(&worlds[i], &rows[i]);
    }
    assert_int_equal(witness_hung(), ROWS);
    /* everything is let go of while they hang, and then they come back */
    for (size_t i = 0; i < ROWS; i++)
        world_close(&worlds[i]);
    assert_int_equal(witness_hung(), ROWS);
    witness_release(well);
    while (threads() > threads_before)
        nap();
    witness_done();
}

static void device_that_hangs_is_lost_and_all_others_recover(void **state)
{
    (void)state;
    hang_all(false);
}

/* What it gives or takes then belongs to a migration that is over. */
static void device_that_comes_back_at_last_finds_no_channel_any_more(void **state)
{
    (void)state;
    hang_all(true);
}

/* The device was taken away, and the same migration is asked for another run. */
static void device_that_comes_back_at_last_does_not_end_another_run(void **state)
{
    (void)state;
    static const struct hang row = { WITNESS_WRITE, 0, POINT_ROUNDS, SIDE_TARGET, false };
    struct world w;
    char address[150];
    prepare(&w, &row);
    world_begin(&w);
    world_join(&w);
    assert_int_equal(witness_hung(), 1);
    struct vmig_migration *m = w.target->m;
    x(vmig_migration_remove_device(m, w.target->devices[1].device, &err));
    snprintf(address, sizeof(address), "unix:%s/target", w.directory);
    party_start(w.target, false, address);
    party_await_listening(w.target, address, sizeof(address));
    witness_release(true);
    while (atomic_load(&m->refs) > 1) /* what hung lets go of it last */
        nap();
    vmig_migration_cancel(m);
    assert_int_equal(party_join(w.target), -ECANCELED);
    assert_string_equal(w.target->err.device, "");
    world_close(&w);
    witness_done();
}

/* Logs are read for RAM, by RAM's worker: that goes on, and so do the other devices' logs. */
static unsigned reports;

static void hang_from_here_on(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_ROUNDS && !reports++)
        witness_hang(side, 0, WITNESS_LOG_REPORT, 0);
}

static void log_that_hangs_names_its_device_and_the_others_end_cleanly(void **state)
{
    (void)state;
    struct world w;
    struct outcome o = { .point = POINT_ROUNDS,
                         .at = SIDE_SOURCE,
                         .left = VMIG_HEALTH_LOST,
                         .device = 0,
                         .reason = "device-state-lost",
                         .text = "reading its DMA log did not come back" };
    reports = 0;
    world_open(&w, &(struct world_plan) { .devices = 2, .patience_ms = PATIENCE_MS });
    witness_side(w.source);
    w.source->on_stage = hang_from_here_on;
    world_move(&w);
    expect_recovered(&w, &o);
    if (!strstr(w.source->waiting, "device0: reading its log"))
        fail_msg("while it waited it said \"%s\"", w.source->waiting);
    assert_false(participant_find(w.source->m, "ram")->lost);
    assert_int_equal(witness_hung(), 1);
    /* the other's log is off: it can be started again */
    uint64_t pgsize = 4096;
    struct vmig_dma_range range = { .iova = WORKLOAD_IOVA, .size_bytes = 4096 };
    struct vmig_device *other = w.source->devices[1].device;
    x(vmig_device_dma_log_start(other, &range, 1, &pgsize, &err));
    x(vmig_device_dma_log_stop(other, &err));
    world_close(&w);
    witness_release(false);
    while (threads() > threads_before)
        nap();
    witness_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_that_hangs_is_lost_and_all_others_recover),
        cmocka_unit_test(device_that_comes_back_at_last_finds_no_channel_any_more),
        cmocka_unit_test(device_that_comes_back_at_last_does_not_end_another_run),
        cmocka_unit_test(log_that_hangs_names_its_device_and_the_others_end_cleanly),
    };
    count_threads_before();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
