/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters, layouts that do not fit, cancelling in every stage, and what a handle refuses. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/migration/world.h"

/* ---- parameters ---- */

static void set_fails(struct vmig_migration *m, const char *name, uint64_t value, int rc,
                      const char *text)
{
    struct vmig_error err = { 0 };
    assert_int_equal(vmig_migration_set(m, name, value, &err), rc);
    if (!strstr(err.text, text))
        fail_msg("%s=%llu: %s", name, (unsigned long long)value, err.text);
}

static void unknown_parameter_is_refused_by_name(void **state)
{
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    uint64_t value = 7;
    struct vmig_error err = { 0 };
    set_fails(m, "downtime", 1, -ENOENT, "\"downtime\"");
    assert_int_equal(vmig_migration_get(m, "", &value, &err), -ENOENT);
    assert_int_equal(value, 7);
    vmig_migration_free(m);
}

static void parameter_out_of_range_is_refused_with_the_range(void **state)
{
    static const struct {
        const char *name;
        uint64_t min, max;
    } rows[] = {
        { "downtime-limit", 0, 2000000 },
        { "max-rounds", 1, 10000 },
        { "multifd-channels", 1, 16 },
        { "pre-copy", 0, 1 },
        { "transition-timeout", 1, 3600000 },
        { "tracker", 0, 3 },
        { "all-dirty", 0, 1 },
    };
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char range[64];
        uint64_t value;
        snprintf(range, sizeof(range), "%s is %llu to %llu", rows[i].name,
                 (unsigned long long)rows[i].min, (unsigned long long)rows[i].max);
        x(vmig_migration_set(m, rows[i].name, rows[i].min, &err));
        x(vmig_migration_set(m, rows[i].name, rows[i].max, &err));
        set_fails(m, rows[i].name, rows[i].max + 1, -ERANGE, range);
        if (rows[i].min)
            set_fails(m, rows[i].name, rows[i].min - 1, -ERANGE, range);
        x(vmig_migration_get(m, rows[i].name, &value, &err));
        assert_int_equal(value, rows[i].max);
    }
    vmig_migration_free(m);
}

static void nothing_can_be_changed_while_a_migration_runs(void **state)
{
    (void)state;
    struct world w;
    struct vmig_ram_block block = { .name = "more" };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_start(w.target, false, "tcp:127.0.0.1:0");
    party_await_stage(w.target, VMIG_STAGE_PREPARE);
    set_fails(w.target->m, "pre-copy", 0, -EBUSY, "while a migration runs");
    assert_int_equal(vmig_migration_add_ram(w.target->m, &block, NULL), -EBUSY);
    assert_int_equal(vmig_migration_add_device(w.target->m, w.source->devices[0].device, NULL),
                     -EBUSY);
    assert_int_equal(vmig_migration_set_control(w.target->m, "/nowhere/x", NULL), -EBUSY);
    assert_int_equal(vmig_migration_receive(w.target->m, "tcp:127.0.0.1:0", NULL), -EBUSY);
    assert_int_equal(vmig_migration_send(w.target->m, "tcp:127.0.0.1:1", NULL), -EBUSY);
    assert_int_equal(vmig_migration_resolve(w.target->m, VMIG_RESOLVE_RUN, true, NULL), -EALREADY);
    vmig_migration_cancel(w.target->m);
    party_join(w.target);
    party_failed(w.target, -ECANCELED, "cancelled", NULL);
    world_close(&w);
}

/* ---- layouts ---- */

/* Nothing of either side was touched: the devices never left RUNNING. */
static void refused_untouched(struct world *w, const char *reason, const char *text)
{
    world_move(w);
    party_failed(w->target, -EINVAL, reason, text);
    party_failed(w->source, -EINVAL, reason, text);
    assert_int_equal(w->source->err.stage, VMIG_STAGE_PREPARE);
    for (int i = 0; i < 2; i++)
        assert_false(w->parties[i].stages_seen & 1u << VMIG_STAGE_SETUP);
    for (unsigned i = 0; i < w->plan.devices; i++)
        assert_int_equal(party_state(w->target, i), VMIG_STATE_RUNNING);
    assert_int_equal(w->source->starts, 1);
    world_runs_at(w, w->source);
    world_close(w);
}

static void memory_of_another_size_is_refused_with_both_sizes(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .target_ram_bytes = 8u << 20 });
    refused_untouched(&w, "layout-mismatch",
                      "4194304 bytes at IOVA 0x100000 at the source and "
                      "8388608 bytes at 0x100000 at the target");
}

static void memory_at_another_iova_is_refused_with_both_addresses(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .target_iova = 0x40000000 });
    refused_untouched(&w, "layout-mismatch",
                      "4194304 bytes at IOVA 0x100000 at the source and "
                      "4194304 bytes at 0x40000000 at the target");
}

static void missing_device_is_refused_with_both_counts_and_its_name(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .target_lacks_one = true });
    refused_untouched(
        &w, "layout-mismatch",
        "the source moves 3 participants and the target has 2, \"device1\" is at one");
}

static void device_of_another_kind_is_refused_with_both_names(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .target_profile = "pds" });
    refused_untouched(&w, "foreign-device", "is 524d:0001");
}

static void device_of_another_id_is_refused_by_name(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    struct participant *p = participant_find(w.target->m, "device0");
    snprintf(p->id, sizeof(p->id), "nic");
    refused_untouched(&w, "layout-mismatch", "\"device0\"");
}

/* ---- cancelling ---- */

static const enum vmig_stage *cancel_at;

static void cancel_here(struct party *side, enum vmig_stage stage)
{
    if (stage == *cancel_at)
        vmig_migration_cancel(side->m);
}

/* Where the source can still go back it does, at once, and the workload goes on. */
static void cancel_by(bool source)
{
    static const enum vmig_stage stages[] = { VMIG_STAGE_PREPARE, VMIG_STAGE_SETUP,
                                              VMIG_STAGE_ROUNDS,  VMIG_STAGE_SWITCHOVER,
                                              VMIG_STAGE_QUIESCE, VMIG_STAGE_COMPLETE,
                                              VMIG_STAGE_HANDOVER };
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        struct world w;
        cancel_at = &stages[i];
        world_open(&w, &(struct world_plan) { .devices = 2, .channels = 2 });
        struct party *by = source ? w.source : w.target;
        by->on_stage = cancel_here;
        world_begin(&w);
        if (source && stages[i] == VMIG_STAGE_PREPARE) {
            party_join(w.source); /* it may not even have connected */
            vmig_migration_cancel(w.target->m);
        }
        if (!source && stages[i] == VMIG_STAGE_PREPARE) {
            party_join(w.target);
            vmig_migration_cancel(w.source->m);
        }
        world_join(&w);
        bool late = by->rc == 0 || !(by->stages_seen & 1u << stages[i]);
        if (w.target->rc == 0 && late) {
            world_moved(&w); /* a stage that this side does not have, or too late */
        } else if (w.target->rc == -EUCLEAN) {
            fail_msg("unresolved after a cancel in %s", vmig_stage_name(stages[i]));
        } else {
            party_failed(by, -ECANCELED, "cancelled", NULL);
            world_runs_at(&w, w.source);
        }
        world_close(&w);
    }
}

static void source_can_be_cancelled_in_every_stage(void **state)
{
    (void)state;
    cancel_by(true);
}

static void target_can_be_cancelled_in_every_stage(void **state)
{
    (void)state;
    cancel_by(false);
}

static void cancelled_before_it_began_it_ends_at_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    vmig_migration_cancel(w.source->m);
    party_start(w.source, true, "tcp:127.0.0.1:9");
    party_join(w.source);
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    assert_int_equal(w.source->starts, 1);
    world_runs_at(&w, w.source);
    world_close(&w);
}

/* ---- one way ---- */

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static void cancelled_file_does_not_appear(void **state)
{
    (void)state;
    static const enum vmig_stage stages[] = { VMIG_STAGE_SETUP, VMIG_STAGE_COMPLETE };
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        char path[100], address[110];
        world_open(&w, &(struct world_plan) { .devices = 1, .link = WORLD_FILE });
        snprintf(path, sizeof(path), "%s/file", w.directory);
        snprintf(address, sizeof(address), "file:%s", path);
        cancel_at = &stages[i];
        w.source->on_stage = cancel_here;
        party_start(w.source, true, address);
        party_join(w.source);
        party_failed(w.source, -ECANCELED, "cancelled", NULL);
        assert_false(exists(path));
        world_runs_at(&w, w.source);
        world_close(&w); /* and nothing else was left: the directory goes */
        assert_false(exists(w.directory));
    }
}

static void command_that_fails_gives_the_workload_back(void **state)
{
    (void)state;
    static const struct {
        const char *address, *text;
    } rows[] = {
        { "exec:cat > /dev/null; exit 3", "exited with status 3" },
        { "exec:exit 3", NULL },
        { "exec:/nonexistent/program", NULL },
        { "exec:cat > /dev/null; kill -9 $$", "killed by signal 9" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 1 });
        party_start(w.source, true, rows[i].address);
        party_join(w.source);
        assert_true(w.source->rc < 0);
        party_failed(w.source, w.source->rc, NULL, rows[i].text);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void nobody_listens(void **state)
{
    (void)state;
    struct world w;
    char address[120];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    snprintf(address, sizeof(address), "unix:%s/nobody", w.directory);
    party_start(w.source, true, address);
    party_join(w.source);
    party_failed(w.source, -ENOENT, NULL, "nobody");
    party_start(w.source, true, "file:/nonexistent/file");
    party_join(w.source);
    party_failed(w.source, -ENOENT, NULL, "/nonexistent/file");
    party_start(w.source, true, "carrier:pigeon");
    party_join(w.source);
    party_failed(w.source, -EINVAL, "bad-address", "carrier:pigeon");
    assert_int_equal(w.source->starts, 1);
    world_runs_at(&w, w.source);
    world_close(&w);
}

/* ---- convergence ---- */

static void workload_that_does_not_converge_stays(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .dirty_rate_pages = 2000 });
    party_set(w.source, "downtime-limit", 0);
    party_set(w.source, "max-rounds", 3);
    world_move(&w);
    party_failed(w.source, -ETIME, "not-converging", "after 3 rounds");
    assert_non_null(strstr(w.source->err.text, "downtime-limit of 0 ms"));
    assert_true(w.target->rc < 0);
    assert_false(w.source->stages_seen & 1u << VMIG_STAGE_QUIESCE);
    world_runs_at(&w, w.source);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_parameter_is_refused_by_name),
        cmocka_unit_test(parameter_out_of_range_is_refused_with_the_range),
        cmocka_unit_test(nothing_can_be_changed_while_a_migration_runs),
        cmocka_unit_test(memory_of_another_size_is_refused_with_both_sizes),
        cmocka_unit_test(memory_at_another_iova_is_refused_with_both_addresses),
        cmocka_unit_test(missing_device_is_refused_with_both_counts_and_its_name),
        cmocka_unit_test(device_of_another_kind_is_refused_with_both_names),
        cmocka_unit_test(device_of_another_id_is_refused_by_name),
        cmocka_unit_test(source_can_be_cancelled_in_every_stage),
        cmocka_unit_test(target_can_be_cancelled_in_every_stage),
        cmocka_unit_test(cancelled_before_it_began_it_ends_at_once),
        cmocka_unit_test(cancelled_file_does_not_appear),
        cmocka_unit_test(command_that_fails_gives_the_workload_back),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(workload_that_does_not_converge_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
