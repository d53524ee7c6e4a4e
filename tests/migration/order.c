/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done before what around the pause: seen from the host's callback that starts the
 * workload, with devices of several kinds. */
#include <errno.h>

#include "tests/migration/world.h"

#define DEVICES 3

static const struct world_plan plan = { .devices = DEVICES,
                                        .profiles = { "default", "mlx5", "pds" } };

/* In the place of a side's start callback: which states all devices of @watched are in by then. */
static struct watch {
    struct world *world;
    int (*start)(void *opaque, struct vmig_error *err);
    struct party *watched;
    enum vmig_state states[DEVICES];
    unsigned calls;
} watch;

static int watching_start(void *opaque, struct vmig_error *err)
{
    for (unsigned i = 0; i < DEVICES; i++)
        watch.states[i] = party_state(watch.watched, i);
    watch.calls++;
    return watch.start(opaque, err);
}

static void watch_start(struct world *w, struct party *starts, struct party *watched)
{
    watch = (struct watch) { .world = w, .start = starts->m->host.start, .watched = watched };
    starts->m->host.start = watching_start;
}

static void expect_all(const char *state)
{
    assert_int_equal(watch.calls, 1);
    for (unsigned i = 0; i < DEVICES; i++)
        assert_string_equal(vmig_state_name(watch.states[i]), state);
}

/* To leave STOP_COPY takes some drivers long, so it is not in the pause; and until the target runs
 * the state there is the only other copy. */
static void source_devices_stay_in_stop_copy_until_the_target_runs(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, &plan);
    watch_start(&w, w.target, w.source);
    world_move(&w);
    world_moved(&w);
    expect_all("STOP_COPY");
    world_close(&w);
}

static void target_devices_run_before_the_workload(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, &plan);
    watch_start(&w, w.target, w.target);
    world_move(&w);
    world_moved(&w);
    expect_all("RUNNING");
    world_close(&w);
}

static void cancel_when_completing(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_COMPLETE)
        vmig_migration_cancel(side->m);
}

static int (*real_stop)(void *opaque, struct vmig_error *err);

static int cancelling_stop(void *opaque, struct vmig_error *err)
{
    vmig_migration_cancel(((struct party *)opaque)->m);
    return real_stop(opaque, err);
}

static void aborted_source_has_its_devices_running_before_the_workload(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct world w;
        world_open(&w, &plan);
        real_stop = w.source->m->host.stop;
        if (late)
            w.source->on_stage = cancel_when_completing;
        else
            w.source->m->host.stop = cancelling_stop;
        watch_start(&w, w.source, w.source);
        world_move(&w);
        party_failed(w.source, -ECANCELED, "cancelled", NULL);
        expect_all("RUNNING");
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_devices_stay_in_stop_copy_until_the_target_runs),
        cmocka_unit_test(target_devices_run_before_the_workload),
        cmocka_unit_test(aborted_source_has_its_devices_running_before_the_workload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
