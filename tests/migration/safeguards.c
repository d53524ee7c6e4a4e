/* SPDX-License-Identifier: BSD-3-Clause */
/* What keeps the copy whole is taken away, one thing at a time: then verification must object.
 * Otherwise it would prove nothing when it does not. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "cmd/workload-device.h"
#include "lib/participant/device.h"
#include "tests/migration/world.h"

/* ---- a tracker that forgets ---- */

static int forget_every(struct tracker **tracker)
{
    return tracker_forgetful_new(*tracker, 1, tracker);
}

static int forget_some(struct tracker **tracker)
{
    return tracker_forgetful_new(*tracker, 5, tracker);
}

static uint64_t steps(struct party *side)
{
    struct workload_header *h = (struct workload_header *)side->load.memory;
    return atomic_load(&h->thread[0].steps) + atomic_load(&h->thread[1].steps);
}

/* Before the workload is stopped: pages enough are written that no round will see again, many more than the last round
 * still had to send. */
static void write_more(struct party *side, enum vmig_stage stage)
{
    if (stage != VMIG_STAGE_QUIESCE)
        return;
    for (uint64_t had = steps(side); steps(side) < had + 400;)
        nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
}

static void verification_objects(int (*wrap)(struct tracker **), enum tracker_cpu_kind kind)
{
    struct world w;
    world_open(&w, &(struct world_plan) { .dirty_rate_pages = 4000 });
    party_set(w.source, "tracker", kind);
    w.source->m->wrap_tracker = wrap;
    w.source->on_stage = write_more;
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    assert_int_equal(w.target->rc, 0);
    assert_true(w.compared);
    assert_false(w.equal);
    /* when all is forgotten the counters are as old as the pages they count: memory is another, and
     * in itself in order */
    struct workload_report r = party_verify(w.target);
    if (wrap != forget_every)
        assert_true(r.wrong_pages + r.lost_writes > 0);
    world_close(&w);
}

static void tracker_that_forgets_all_is_found_out(void **state)
{
    (void)state;
    verification_objects(forget_every, TRACKER_CPU_AUTO);
}

static void tracker_that_forgets_some_is_found_out(void **state)
{
    (void)state;
    verification_objects(forget_some, TRACKER_CPU_AUTO);
}

static void fallback_tracker_that_forgets_is_found_out(void **state)
{
    (void)state;
    verification_objects(forget_some, TRACKER_CPU_UFFD);
}

/* The devices' DMA, with nobody else writing. */
static void device_log_that_forgets_is_found_out(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .dma_rate = 4000 });
    w.source->m->wrap_tracker = forget_some;
    w.source->on_stage = write_more;
    world_move(&w);
    assert_int_equal(w.target->rc, 0);
    struct workload_report r = party_verify(w.target);
    assert_true(r.device_wrong_pages + r.slot_mismatches > 0);
    world_close(&w);
}

/* ---- peers ---- */

#define PEER_IOVA UINT64_C(0x80000000)
#define PEER_BYTES (REFDEV_SHARED_BYTES - REFDEV_SHARED_MAP_OFFSET)

/* Each of two devices sees the other's shared memory, as peer-to-peer DMA has it. */
static void introduce(struct party *side)
{
    for (unsigned i = 0; i < 2; i++) {
        void *window;
        x(vmig_device_region_map(side->devices[!i].device, REFDEV_BAR_SHARED, 0, &window, &err));
        struct vmig_dma_map map = {
            .iova = PEER_IOVA, .size_bytes = PEER_BYTES, .vaddr = window, .fd = -1, .writable = true
        };
        x(vmig_device_dma_map(side->devices[i].device, &map, &err));
    }
}

static void nap(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
}

/* The second device stops later than the first; with @late_steps it does some work in between, as
 * a device does that was not quiesced. */
static struct party *late;
static bool late_steps;

static int stop_late(void *opaque, struct vmig_error *err)
{
    enum vmig_state state = VMIG_STATE_RUNNING;
    while (vmig_device_get_state(late->devices[0].device, &state, NULL) == 0 &&
           state != VMIG_STATE_STOP_COPY)
        nap();
    uint64_t had = party_register(late, 1, REFDEV_REG_PEER_STEPS);
    while (late_steps && party_register(late, 1, REFDEV_REG_PEER_STEPS) < had + 3)
        nap();
    return participant_device_ops.stop(opaque, err);
}

/* Two devices write to each other with each step of their workload. */
static void open_peers(struct world *w)
{
    static struct vmig_participant_ops ops;
    world_open(w, &(struct world_plan) { .devices = 2, .dma_rate = 2000 });
    ops = participant_device_ops;
    ops.stop = stop_late;
    participant_find(w->source->m, "device1")->ops = &ops;
    late = w->source;
    late_steps = false;
    introduce(w->source);
    introduce(w->target);
    for (unsigned i = 0; i < 2; i++)
        party_write_register(w->source, i, REFDEV_REG_PEER_IOVA, PEER_IOVA);
    for (unsigned i = 0; i < 2; i++)
        while (party_register(w->source, i, REFDEV_REG_PEER_STEPS) < 10)
            nap();
}

static void peers_that_write_to_each_other_move_together(void **state)
{
    (void)state;
    struct world w;
    open_peers(&w);
    world_move(&w);
    world_moved(&w);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(party_register(w.target, i, REFDEV_REG_STOPPED_WRITES), 0);
        assert_int_equal(party_register(w.target, i, REFDEV_REG_PEER_MISMATCHES), 0);
        assert_true(party_register(w.target, i, REFDEV_REG_PEER_STEPS) >= 10);
    }
    world_close(&w);
}

static int refuse(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return -EBADMSG;
}

/* Back to RUNNING goes through the barrier, too. */
static void peers_that_write_to_each_other_are_taken_back_whole(void **state)
{
    (void)state;
    struct world w;
    open_peers(&w);
    static const struct vmig_participant_ops refuses = { .size = sizeof(refuses),
                                                         .load_complete = refuse };
    x(vmig_migration_add_participant(w.source->m, "refuses", &refuses, NULL, &err));
    x(vmig_migration_add_participant(w.target->m, "refuses", &refuses, NULL, &err));
    world_move(&w);
    party_failed(w.source, -EBADMSG, NULL, NULL);
    world_runs_at(&w, w.source);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(party_register(w.source, i, REFDEV_REG_STOPPED_WRITES), 0);
        assert_int_equal(party_register(w.source, i, REFDEV_REG_PEER_MISMATCHES), 0);
    }
    world_close(&w);
}

static void skipped_p2p_barrier_is_found_out(void **state)
{
    (void)state;
    struct world w;
    open_peers(&w);
    w.source->m->skip_quiesce = late_steps = true;
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    assert_int_equal(w.target->rc, 0);
    struct workload_report r = party_verify(w.target);
    uint64_t found = r.device_wrong_pages;
    for (unsigned i = 0; i < 2; i++)
        found += party_register(w.target, i, REFDEV_REG_PEER_MISMATCHES);
    assert_true(found > 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tracker_that_forgets_all_is_found_out),
        cmocka_unit_test(tracker_that_forgets_some_is_found_out),
        cmocka_unit_test(fallback_tracker_that_forgets_is_found_out),
        cmocka_unit_test(device_log_that_forgets_is_found_out),
        cmocka_unit_test(peers_that_write_to_each_other_move_together),
        cmocka_unit_test(peers_that_write_to_each_other_are_taken_back_whole),
        cmocka_unit_test(skipped_p2p_barrier_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
