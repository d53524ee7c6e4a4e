/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who tells what a device writes to memory: what is tried, what is chosen, and that nothing is lost
 * with it.
 *
 * There is no IOMMU over vfio-user, so some devices here get one: its dirty bits are those of the
 * device's own log, under the operations of an IOMMU's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/device/device.h"
#include "tests/migration/world.h"

/* ---- an IOMMU in front of a device ---- */

static struct backend_ops with_iommu;

static int iommu_start(void *self, struct vmig_error *err)
{
    struct vmig_dma_range all = { WORKLOAD_IOVA, UINT64_C(1) << 30 };
    uint64_t pgsize = 4096;
    return with_iommu.dma_log_start(self, &all, 1, &pgsize, err);
}

/* The device has one, and whether it can log by itself. */
static void put_behind_iommu(struct party *side, unsigned index, enum vmig_iommu_log kind,
                             bool logs)
{
    struct vmig_device *device = side->devices[index].device;
    with_iommu = *device->ops;
    with_iommu.iommu_log_start = iommu_start;
    with_iommu.iommu_log_stop = with_iommu.dma_log_stop;
    with_iommu.iommu_log_report = with_iommu.dma_log_report;
    device->ops = &with_iommu;
    device->iommu_log = (struct backend_iommu_log) {
        .kind = kind, .pgsize = 4096, .max_mapping_bytes = UINT64_MAX, .why = "it marks all"
    };
    device->migration.iommu_log = kind;
    device->migration.has_dma_logging = logs;
}

/* ---- what was chosen ---- */

static char told[700];

static void on_event(struct party *side, const struct vmig_event *event)
{
    (void)side;
    if (event->kind == VMIG_EVENT_TRACKING)
        snprintf(told, sizeof(told), "%s", event->text);
}

static void open_world(struct world *w, const char *profile, unsigned devices)
{
    world_open(w, &(struct world_plan) { .devices = devices, .profile = profile });
    world_set(w, "downtime-limit", 10000);
    w->source->on_event = on_event;
    told[0] = '\0';
}

static void set(struct world *w, const char *id, enum vmig_dirty_tracking how)
{
    x(vmig_migration_set_dirty_tracking(w->source->m, id, how, &err));
}

static void chose(struct world *w, unsigned index, enum vmig_dirty_tracking how)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(w->source->m, &s);
    assert_string_equal(vmig_dirty_tracking_name(s.dirty_tracking[index]),
                        vmig_dirty_tracking_name(how));
}

static void moves_with(struct world *w, enum vmig_dirty_tracking how, const char *text)
{
    world_move(w);
    world_moved(w);
    chose(w, 0, how);
    assert_non_null(strstr(told, "device0: "));
    assert_non_null(strstr(told, text));
    world_close(w);
}

static void is_refused(struct world *w, const char *text)
{
    world_begin(w);
    party_join(w->source);
    party_failed(w->source, -EOPNOTSUPP, "vfio-no-dirty-tracking", text);
    assert_non_null(strstr(w->source->err.text, "all-dirty"));
    assert_string_equal(w->source->err.device, "device0");
    assert_int_equal(w->source->err.stage, VMIG_STAGE_PREPARE);
    vmig_migration_cancel(w->target->m);
    world_join(w);
    world_runs_at(w, w->source);
    world_close(w);
}

/* ---- auto ---- */

static void a_device_that_logs_is_asked_itself(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, true);
    moves_with(&w, VMIG_DIRTY_DEVICE, "its own log");
}

static void a_device_that_cannot_log_is_tracked_by_its_IOMMU(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, false);
    moves_with(&w, VMIG_DIRTY_IOMMU, "its IOMMU");
}

/* With the reason told. */
static void a_device_whose_log_cannot_be_read_is_tracked_by_its_IOMMU(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, true);
    party_fault(w.source, 0, "fail:EOPNOTSUPP@command/log-report");
    moves_with(&w, VMIG_DIRTY_IOMMU, "cannot be read");
}

static void an_IOMMU_that_marks_everything_is_not_taken_for_the_truth(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_ALL, false);
    is_refused(&w, "iommu: it marks all");
}

static void a_refusal_names_all_that_was_tried(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    party_fault(w.source, 0, "fail:EOPNOTSUPP@command/log-report");
    is_refused(&w, "(device: the DMA log starts");
    open_world(&w, "default", 1);
    party_fault(w.source, 0, "fail:EOPNOTSUPP@command/log-report");
    is_refused(&w, "; iommu: there is no IOMMU");
}

static void all_dirty_is_what_remains_when_the_user_says_so(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    party_set(w.source, "all-dirty", 1);
    party_fault(w.source, 0, "fail:EOPNOTSUPP@command/log-report");
    moves_with(&w, VMIG_DIRTY_NONE, "all memory goes again");
}

static void all_dirty_changes_nothing_for_a_device_that_logs(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    party_set(w.source, "all-dirty", 1);
    moves_with(&w, VMIG_DIRTY_DEVICE, "its own log");
}

/* ---- a vIOMMU, mappings that are too large, and devices that must move ---- */

static void settle(struct world *w, enum vmig_on_off_auto enable, bool viommu)
{
    struct vmig_device_settings settings = { .size = sizeof(settings),
                                             .enable_migration = enable,
                                             .viommu = viommu };
    x(vmig_migration_remove_device(w->source->m, w->source->devices[0].device, &err));
    x(vmig_migration_add_device_with(w->source->m, w->source->devices[0].device, &settings, &err));
}

static void behind_a_vIOMMU_the_IOMMU_is_asked_although_the_device_logs(void **state)
{
    (void)state;
    for (enum vmig_on_off_auto enable = VMIG_AUTO; enable <= VMIG_ON; enable++) {
        struct world w;
        open_world(&w, "default", 1);
        put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, true);
        settle(&w, enable, true);
        assert_int_equal(vmig_migration_blockers(w.source->m, NULL, 0), 0);
        assert_int_equal(vmig_migration_warnings(w.source->m, NULL, 0), 0);
        moves_with(&w, VMIG_DIRTY_IOMMU, "device: a vIOMMU stands in front of it");
    }
}

static void behind_a_vIOMMU_the_users_word_is_enough(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    settle(&w, VMIG_AUTO, true);
    party_set(w.source, "all-dirty", 1);
    moves_with(&w, VMIG_DIRTY_NONE, "all memory goes again");
}

/* Blocked before anything is touched; the device's own log would do. */
static void a_mapping_that_its_IOMMU_cannot_report_is_named_with_both_sizes(void **state)
{
    (void)state;
    struct world w;
    struct vmig_blocker b;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, false);
    w.source->devices[0].device->iommu_log.max_mapping_bytes = w.source->load.size_bytes - 1;
    assert_int_equal(vmig_migration_blockers(w.source->m, &b, 1), 1);
    assert_string_equal(b.code, "vfio-bitmap-too-large");
    assert_non_null(strstr(b.text, "4194304 bytes"));
    assert_non_null(strstr(b.text, "4194303 bytes"));
    w.source->devices[0].device->iommu_log.max_mapping_bytes++;
    assert_int_equal(vmig_migration_blockers(w.source->m, NULL, 0), 0);
    w.source->devices[0].device->iommu_log.max_mapping_bytes--;
    w.source->devices[0].device->migration.has_dma_logging = true;
    assert_int_equal(vmig_migration_blockers(w.source->m, NULL, 0), 0);
    settle(&w, VMIG_AUTO, true);
    struct vmig_blocker both[2];
    assert_int_equal(vmig_migration_blockers(w.source->m, both, 2), 2);
    assert_string_equal(both[0].code, "vfio-bitmap-too-large");
    assert_non_null(strstr(both[1].text, "a mapping is larger than it can report"));
    set(&w, NULL, VMIG_DIRTY_DEVICE);
    assert_int_equal(vmig_migration_blockers(w.source->m, both, 2), 1);
    assert_non_null(strstr(both[0].text, "set to the device's own log"));
    world_close(&w);
}

static void a_device_that_must_move_moves_although_its_log_fails_and_that_is_warned_of(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    settle(&w, VMIG_ON, false);
    party_fault(w.source, 0, "fail:EOPNOTSUPP@command/log-report");
    assert_int_equal(vmig_migration_warnings(w.source->m, NULL, 0), 0); /* nobody knows yet */
    world_move(&w);
    world_moved(&w);
    chose(&w, 0, VMIG_DIRTY_NONE);
    assert_non_null(strstr(w.source->warning, "device0: all memory goes again in the pause"));
    world_close(&w);
}

/* ---- said by the user ---- */

static void the_IOMMU_is_asked_although_the_device_could_tell(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, true);
    set(&w, "device0", VMIG_DIRTY_IOMMU);
    moves_with(&w, VMIG_DIRTY_IOMMU, "its IOMMU");
}

static void nobody_else_is_asked_when_the_device_shall_tell(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 1);
    put_behind_iommu(w.source, 0, VMIG_IOMMU_LOG_TRUE, false);
    set(&w, "device0", VMIG_DIRTY_DEVICE);
    is_refused(&w, "(device: the device cannot log its DMA)");
}

static void nobody_is_asked_when_nobody_shall_tell(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "hisi_acc", 1);
    set(&w, NULL, VMIG_DIRTY_NONE);
    moves_with(&w, VMIG_DIRTY_NONE, "all memory goes again");
}

static void each_device_has_its_own(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, "default", 3);
    put_behind_iommu(w.source, 2, VMIG_IOMMU_LOG_TRUE, true);
    set(&w, "device1", VMIG_DIRTY_NONE);
    set(&w, "device2", VMIG_DIRTY_IOMMU);
    world_move(&w);
    world_moved(&w);
    chose(&w, 0, VMIG_DIRTY_DEVICE);
    chose(&w, 1, VMIG_DIRTY_NONE);
    chose(&w, 2, VMIG_DIRTY_IOMMU);
    world_close(&w);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error err = { 0 };
    open_world(&w, "default", 1);
    assert_int_equal(
        vmig_migration_set_dirty_tracking(w.source->m, "device7", VMIG_DIRTY_NONE, &err), -ENOENT);
    assert_string_equal(err.device, "device7");
    assert_int_equal(vmig_migration_set_dirty_tracking(w.source->m, NULL, VMIG_DIRTY_COUNT, NULL),
                     -EINVAL);
    assert_string_equal(vmig_dirty_tracking_name(VMIG_DIRTY_COUNT), "?");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_logs_is_asked_itself),
        cmocka_unit_test(a_device_that_cannot_log_is_tracked_by_its_IOMMU),
        cmocka_unit_test(a_device_whose_log_cannot_be_read_is_tracked_by_its_IOMMU),
        cmocka_unit_test(an_IOMMU_that_marks_everything_is_not_taken_for_the_truth),
        cmocka_unit_test(a_refusal_names_all_that_was_tried),
        cmocka_unit_test(all_dirty_is_what_remains_when_the_user_says_so),
        cmocka_unit_test(all_dirty_changes_nothing_for_a_device_that_logs),
        cmocka_unit_test(behind_a_vIOMMU_the_IOMMU_is_asked_although_the_device_logs),
        cmocka_unit_test(behind_a_vIOMMU_the_users_word_is_enough),
        cmocka_unit_test(a_mapping_that_its_IOMMU_cannot_report_is_named_with_both_sizes),
        cmocka_unit_test(
            a_device_that_must_move_moves_although_its_log_fails_and_that_is_warned_of),
        cmocka_unit_test(the_IOMMU_is_asked_although_the_device_could_tell),
        cmocka_unit_test(nobody_else_is_asked_when_the_device_shall_tell),
        cmocka_unit_test(nobody_is_asked_when_nobody_shall_tell),
        cmocka_unit_test(each_device_has_its_own),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("tracking", tests, NULL, NULL);
}
