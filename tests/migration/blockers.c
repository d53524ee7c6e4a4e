/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blockers and warnings of a migration: they come and go with devices, settings, memory and
 * parameters, and what is refused changes nothing. Which facts lead to which is obstacles.c's test.
 *
 * A bench is a migration of its own with devices and memory that a world has opened. Profiles: default
 * has everything, xe no DMA log, hisi_acc neither that nor P2P states.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/device/device.h"
#include "lib/migration/blockers.h"
#include "tests/migration/world.h"

struct bench {
    struct world w;
    struct vmig_migration *m;
    struct vmig_device *devices[WORLD_DEVICES_MAX];
    char warned[8][40]; /* codes, as they were told */
    unsigned num_warned;
    char last_warning[800];
};

static void on_event(void *opaque, const struct vmig_event *event)
{
    struct bench *b = opaque;
    if (event->kind != VMIG_EVENT_WARNING)
        return;
    assert_true(b->num_warned < 8);
    snprintf(b->warned[b->num_warned++], sizeof(b->warned[0]), "%s", event->code);
    snprintf(b->last_warning, sizeof(b->last_warning), "%s", event->text);
}

/* One device of each profile, "" for none. */
static void bench_open(struct bench *b, const char *first, const char *second, const char *third)
{
    struct world_plan plan = { .still = true, .profiles = { first, second, third } };
    *b = (struct bench) { .num_warned = 0 };
    while (plan.devices < 3 && plan.profiles[plan.devices])
        plan.devices++;
    world_open(&b->w, &plan);
    struct vmig_host host = { .size = sizeof(host), .opaque = b, .event = on_event };
    b->m = vmig_migration_new(&host, NULL);
    for (unsigned i = 0; i < plan.devices; i++)
        b->devices[i] = b->w.source->devices[i].device;
}

static void bench_close(struct bench *b)
{
    vmig_migration_free(b->m);
    world_close(&b->w);
}

static int try_ram(struct bench *b, struct vmig_error *err)
{
    struct vmig_ram_block block = { .name = "ram",
                                    .iova = WORKLOAD_IOVA,
                                    .size_bytes = 1 << 20,
                                    .vaddr = b->w.source->load.memory,
                                    .fd = -1 };
    return vmig_migration_add_ram(b->m, &block, err);
}

static int try_add(struct bench *b, unsigned index, enum vmig_on_off_auto enable, bool viommu,
                   struct vmig_error *err)
{
    struct vmig_device_settings settings = { .size = sizeof(settings),
                                             .enable_migration = enable,
                                             .viommu = viommu };
    return vmig_migration_add_device_with(b->m, b->devices[index], &settings, err);
}

static void add_ram(struct bench *b)
{
    x(try_ram(b, &err));
}

static void add(struct bench *b, unsigned index, enum vmig_on_off_auto enable, bool viommu)
{
    x(try_add(b, index, enable, viommu, &err));
}

/* "code device, code device" of all that are listed. */
static void are(unsigned (*list)(struct vmig_migration *m, struct vmig_blocker *ret, unsigned max),
                struct bench *b, const char *expected)
{
    struct vmig_blocker all[16];
    char listed[600] = "";
    unsigned count = list(b->m, all, 16);
    assert_true(count <= 16);
    for (unsigned i = 0; i < count; i++) {
        size_t used = strlen(listed);
        snprintf(listed + used, sizeof(listed) - used, "%s%s %s", i ? ", " : "", all[i].code,
                 all[i].device);
        if (all[i].device[0] && strncmp(all[i].code, "vfio-", 5) == 0)
            assert_non_null(strstr(all[i].text, all[i].device));
    }
    assert_string_equal(listed, expected);
}

static void blocked(struct bench *b, const char *expected)
{
    are(vmig_migration_blockers, b, expected);
}

static void warned_of(struct bench *b, const char *expected)
{
    are(vmig_migration_warnings, b, expected);
}

static void refused(int rc, const struct vmig_error *err, const char *reason, const char *device,
                    const char *text)
{
    assert_int_equal(rc, -EOPNOTSUPP);
    assert_int_equal(err->code, -EOPNOTSUPP);
    assert_int_equal(err->stage, VMIG_STAGE_PREPARE);
    assert_string_equal(err->reason, reason);
    assert_string_equal(err->device, device);
    if (!strstr(err->text, text))
        fail_msg("no \"%s\" in: %s", text, err->text);
}

static void sending_is_refused(struct bench *b, const char *reason, const char *device,
                               const char *text)
{
    struct vmig_error why = { 0 };
    struct vmig_statistics s = { .size = sizeof(s) };
    refused(vmig_migration_send(b->m, "file:/nowhere/at/all", &why), &why, reason, device, text);
    vmig_migration_query(b->m, &s);
    assert_int_equal(s.status, VMIG_STATUS_NONE); /* nothing was tried */
}

/* ---- auto ---- */

static void nothing_stands_in_the_way_of_a_good_device(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "default", NULL, NULL);
    blocked(&b, "");
    add_ram(&b);
    add(&b, 0, VMIG_AUTO, false);
    blocked(&b, "");
    warned_of(&b, "");
    bench_close(&b);
}

static void auto_accepts_what_cannot_be_tracked_and_blocks_sending(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "xe", NULL, NULL);
    add_ram(&b);
    add(&b, 0, VMIG_AUTO, false);
    blocked(&b, "vfio-no-dirty-tracking device0");
    warned_of(&b, "");
    assert_int_equal(b.num_warned, 0);
    sending_is_refused(&b, "vfio-no-dirty-tracking", "device0", "all-dirty");
    bench_close(&b);
}

static void without_memory_nothing_has_to_be_tracked_whenever_that_is_added(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "xe", NULL, NULL);
    add(&b, 0, VMIG_AUTO, false);
    blocked(&b, "");
    add_ram(&b);
    blocked(&b, "vfio-no-dirty-tracking device0");
    bench_close(&b);
}

static void the_users_word_takes_a_blocker_away_and_its_end_brings_it_back(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "xe", NULL, NULL);
    add_ram(&b);
    add(&b, 0, VMIG_AUTO, false);
    x(vmig_migration_set(b.m, "all-dirty", 1, &err));
    blocked(&b, "");
    x(vmig_migration_set(b.m, "all-dirty", 0, &err));
    blocked(&b, "vfio-no-dirty-tracking device0");
    x(vmig_migration_set_dirty_tracking(b.m, "device0", VMIG_DIRTY_NONE, &err));
    blocked(&b, "");
    x(vmig_migration_set_dirty_tracking(b.m, NULL, VMIG_DIRTY_IOMMU, &err));
    blocked(&b, "vfio-no-dirty-tracking device0");
    bench_close(&b);
}

static void all_checks_that_fail_are_listed_in_the_order_of_the_table(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "hisi_acc", "default", NULL);
    add_ram(&b);
    add(&b, 0, VMIG_AUTO, true);
    add(&b, 1, VMIG_OFF, false);
    x(vmig_migration_remove_device(b.m, b.devices[1], &err));
    add(&b, 1, VMIG_AUTO, false);
    blocked(&b, "vfio-no-dirty-tracking device0, vfio-multiple-without-p2p device0, "
                "vfio-viommu device0");
    sending_is_refused(&b, "vfio-no-dirty-tracking", "device0",
                       "; also: vfio-multiple-without-p2p (device0), vfio-viommu (device0)");
    bench_close(&b);
}

/* ---- on ---- */

static void on_only_warns_of_what_cannot_be_tracked(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "xe", NULL, NULL);
    add_ram(&b);
    add(&b, 0, VMIG_ON, false);
    blocked(&b, "");
    warned_of(&b, "vfio-no-dirty-tracking device0");
    assert_int_equal(b.num_warned, 1);
    assert_string_equal(b.warned[0], "vfio-no-dirty-tracking");
    assert_non_null(strstr(b.last_warning, "device0"));
    x(vmig_migration_remove_device(b.m, b.devices[0], &err));
    warned_of(&b, "");
    bench_close(&b);
}

/* As soon as there is something to lose, and once. */
static void a_warning_is_told_when_it_arises(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "xe", NULL, NULL);
    add(&b, 0, VMIG_ON, false);
    assert_int_equal(b.num_warned, 0);
    add_ram(&b);
    assert_int_equal(b.num_warned, 1);
    x(vmig_migration_set(b.m, "max-rounds", 7, &err));
    assert_int_equal(b.num_warned, 1);
    x(vmig_migration_set(b.m, "all-dirty", 1, &err));
    x(vmig_migration_set(b.m, "all-dirty", 0, &err));
    assert_int_equal(b.num_warned, 2);
    bench_close(&b);
}

static void on_counts_as_the_word_that_everything_is_dirty(void **state)
{
    (void)state;
    struct world w;
    struct vmig_device_settings on = { .size = sizeof(on), .enable_migration = VMIG_ON };
    struct vmig_statistics s = { .size = sizeof(s) };
    world_open(&w, &(struct world_plan) { .devices = 1, .profile = "xe" });
    x(vmig_migration_remove_device(w.source->m, w.source->devices[0].device, &err));
    x(vmig_migration_add_device_with(w.source->m, w.source->devices[0].device, &on, &err));
    world_set(&w, "downtime-limit", 100000);
    world_move(&w);
    world_moved(&w);
    vmig_migration_query(w.source->m, &s);
    assert_int_equal(s.dirty_tracking[0], VMIG_DIRTY_NONE);
    /* all that the first round sent */
    assert_true(s.predicted.data_bytes >= s.ram_sent_bytes - s.ram_dirty_pages * 4096);
    world_close(&w);
}

static void on_is_refused_behind_a_vIOMMU_and_changes_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    bench_open(&b, "default", NULL, NULL);
    refused(try_add(&b, 0, VMIG_ON, true, &why), &why, "vfio-viommu", "device0", "vIOMMU");
    blocked(&b, "");
    add(&b, 0, VMIG_AUTO, true);
    blocked(&b, "vfio-viommu device0");
    bench_close(&b);
}

static void on_joins_no_set_that_would_need_a_blocker_even_one_that_is_there_already(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    bench_open(&b, "hisi_acc", "hisi_acc", "default");
    add(&b, 0, VMIG_ON, false);
    refused(try_add(&b, 1, VMIG_ON, false, &why), &why, "vfio-multiple-without-p2p", "device1",
            "2 devices");
    blocked(&b, "");
    add(&b, 1, VMIG_AUTO, false);
    blocked(&b, "vfio-multiple-without-p2p device0, vfio-multiple-without-p2p device1");
    why = (struct vmig_error) { 0 };
    refused(try_add(&b, 2, VMIG_ON, false, &why), &why, "vfio-multiple-without-p2p", "device2",
            "3 devices");
    bench_close(&b);
}

static void blockers_of_others_do_not_matter_to_on(void **state)
{
    (void)state;
    struct bench b;
    uint64_t id;
    bench_open(&b, "default", "xe", "hisi_acc");
    add_ram(&b);
    add(&b, 1, VMIG_AUTO, true);
    add(&b, 2, VMIG_OFF, false); /* has no P2P states, and will not move */
    x(vmig_migration_add_blocker(b.m, "host-specific", NULL, "a disk is shared", NULL, &id, &err));
    add(&b, 0, VMIG_ON, false);
    bench_close(&b);
}

/* ---- off, and what cannot migrate ---- */

static void cannot_migrate(struct vmig_device *device)
{
    device->migration.flags = 0;
    snprintf(device->migration.reason, sizeof(device->migration.reason), "vfio-old-protocol");
    snprintf(device->migration.remedy, sizeof(device->migration.remedy), "use a newer kernel");
}

static void off_is_blocked_both_ways(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    bench_open(&b, "default", NULL, NULL);
    add(&b, 0, VMIG_OFF, false);
    blocked(&b, "vfio-disabled device0");
    sending_is_refused(&b, "vfio-disabled", "device0", "enable-migration");
    refused(vmig_migration_receive(b.m, "tcp:127.0.0.1:0", &why), &why, "vfio-disabled", "device0",
            "enable-migration");
    bench_close(&b);
}

static void an_unsupported_device_is_accepted_with_auto_and_refused_with_on(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    bench_open(&b, "default", NULL, NULL);
    cannot_migrate(b.devices[0]);
    refused(try_add(&b, 0, VMIG_ON, false, &why), &why, "vfio-old-protocol", "device0",
            "newer kernel");
    add(&b, 0, VMIG_AUTO, false);
    blocked(&b, "vfio-old-protocol device0");
    assert_int_equal(b.num_warned, 0); /* silent apart from the blocker */
    why = (struct vmig_error) { 0 };
    refused(vmig_migration_receive(b.m, "tcp:127.0.0.1:0", &why), &why, "vfio-old-protocol",
            "device0", "newer kernel");
    bench_close(&b);
}

static void tracking_neighbours_and_vIOMMU_do_not_keep_from_receiving(void **state)
{
    (void)state;
    struct world w;
    struct vmig_device_settings behind = { .size = sizeof(behind), .viommu = true };
    world_open(&w, &(struct world_plan) { .devices = 2, .profile = "hisi_acc" });
    x(vmig_migration_remove_device(w.target->m, w.target->devices[1].device, &err));
    x(vmig_migration_add_device_with(w.target->m, w.target->devices[1].device, &behind, &err));
    assert_int_equal(vmig_migration_blockers(w.target->m, NULL, 0), 5);
    party_start(w.target, false, "tcp:127.0.0.1:0");
    party_await_stage(w.target, VMIG_STAGE_PREPARE);
    vmig_migration_cancel(w.target->m);
    party_join(w.target);
    party_failed(w.target, -ECANCELED, "cancelled", NULL);
    world_close(&w);
}

/* ---- they come and go ---- */

static void the_neighbours_blocker_goes_with_one_of_two(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, "hisi_acc", "hisi_acc", NULL);
    add(&b, 0, VMIG_AUTO, false);
    blocked(&b, "");
    add(&b, 1, VMIG_AUTO, false);
    blocked(&b, "vfio-multiple-without-p2p device0, vfio-multiple-without-p2p device1");
    x(vmig_migration_remove_device(b.m, b.devices[0], &err));
    blocked(&b, "");
    struct vmig_error why = { 0 };
    assert_int_equal(vmig_migration_remove_device(b.m, b.devices[0], &why), -ENOENT);
    bench_close(&b);
}

static void a_migration_goes_on_without_a_device_that_was_removed(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    for (unsigned i = 0; i < 2; i++)
        x(vmig_migration_remove_device(w.parties[i].m, w.parties[i].devices[0].device, &err));
    for (unsigned i = 0; i < 2; i++) /* at the end of the list now */
        x(vmig_migration_add_device(w.parties[i].m, w.parties[i].devices[0].device, &err));
    world_set(&w, "downtime-limit", 100000);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

static void the_hosts_own_blockers_refuse_sending_until_they_are_removed(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_blocker listed[2];
    uint64_t first, second;
    bench_open(&b, "default", NULL, NULL);
    add(&b, 0, VMIG_AUTO, false);
    x(vmig_migration_add_blocker(b.m, "host-specific", "disk0", "disk0 is shared", "detach it",
                                 &first, &err));
    x(vmig_migration_add_blocker(b.m, "our-usb", NULL, "a USB stick is plugged in", NULL, &second,
                                 &err));
    assert_int_not_equal(first, second);
    blocked(&b, "host-specific disk0, our-usb ");
    assert_int_equal(vmig_migration_blockers(b.m, listed, 1), 2); /* how many there are */
    assert_string_equal(listed[0].text, "disk0 is shared");
    assert_string_equal(listed[0].hint, "detach it");
    assert_false(listed[0].receive_too);
    sending_is_refused(&b, "host-specific", "disk0", "detach it; also: our-usb");
    x(vmig_migration_remove_blocker(b.m, first, &err));
    blocked(&b, "our-usb ");
    x(vmig_migration_remove_blocker(b.m, second, &err));
    blocked(&b, "");
    assert_int_equal(vmig_migration_remove_blocker(b.m, second, NULL), -ENOENT);
    bench_close(&b);
}

static void a_blocker_with_a_code_or_text_as_it_may_not_be_is_refused(void **state)
{
    static const char *const codes[] = { "", "vfio-mine", "Host", "host specific",
                                         "0123456789012345678901234567890123456789" };
    (void)state;
    struct bench b;
    char text[401];
    uint64_t id = 7;
    bench_open(&b, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        assert_int_equal(vmig_migration_add_blocker(b.m, codes[i], NULL, "text", NULL, &id, NULL),
                         -EINVAL);
    memset(text, 'x', 400);
    text[400] = '\0';
    assert_int_equal(vmig_migration_add_blocker(b.m, "a", NULL, text, NULL, &id, NULL), -EINVAL);
    assert_int_equal(vmig_migration_add_blocker(b.m, "a", NULL, "", NULL, &id, NULL), -EINVAL);
    assert_int_equal(id, 7);
    text[399] = '\0';
    x(vmig_migration_add_blocker(b.m, "012345678901234567890123456789012345678", NULL, text, NULL,
                                 &id, &err));
    for (unsigned i = 1; i < OWN_BLOCKERS_MAX; i++)
        x(vmig_migration_add_blocker(b.m, "a", NULL, "b", NULL, &id, &err));
    assert_int_equal(vmig_migration_add_blocker(b.m, "a", NULL, "b", NULL, &id, NULL), -ENOSPC);
    bench_close(&b);
}

static void nothing_comes_or_goes_while_a_migration_runs(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error why = { 0 };
    uint64_t id = 7, before;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    x(vmig_migration_add_blocker(w.target->m, "before", NULL, "text", NULL, &before, &err));
    party_start(w.target, false, "tcp:127.0.0.1:0");
    party_await_stage(w.target, VMIG_STAGE_PREPARE);
    assert_int_equal(
        vmig_migration_add_blocker(w.target->m, "host-specific", NULL, "text", NULL, &id, &why),
        -EBUSY);
    assert_string_equal(why.reason, "migration-running");
    assert_non_null(strstr(why.text, "host-specific"));
    assert_int_equal(id, 7);
    assert_int_equal(vmig_migration_remove_device(w.target->m, w.target->devices[0].device, NULL),
                     -EBUSY);
    assert_int_equal(vmig_migration_set_only_migratable(w.target->m, true, NULL), -EBUSY);
    x(vmig_migration_remove_blocker(w.target->m, before, &err)); /* harms nobody */
    vmig_migration_cancel(w.target->m);
    party_join(w.target);
    world_close(&w);
}

/* By the engine's thread in its events, and by another all the time. */
static void ask_in_an_event(struct party *side, const struct vmig_event *event)
{
    struct vmig_blocker b;
    (void)event;
    assert_int_equal(vmig_migration_blockers(side->m, &b, 1), 0);
    assert_int_equal(vmig_migration_warnings(side->m, &b, 1), 0);
}

static bool is_done(struct party *side)
{
    pthread_mutex_lock(&side->world->lock);
    bool done = side->done;
    pthread_mutex_unlock(&side->world->lock);
    return done;
}

static void they_can_be_asked_for_by_any_thread_while_a_migration_runs(void **state)
{
    (void)state;
    struct world w;
    struct vmig_blocker b;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    world_set(&w, "downtime-limit", 100000);
    w.source->on_event = w.target->on_event = ask_in_an_event;
    world_begin(&w);
    while (!is_done(w.source)) {
        assert_int_equal(vmig_migration_blockers(w.source->m, &b, 1), 0);
        nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
    }
    world_join(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- only-migratable ---- */

static void only_migratable_lets_nothing_in_that_would_be_blocked(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    uint64_t id = 7;
    bench_open(&b, "xe", "default", NULL);
    x(vmig_migration_set_only_migratable(b.m, true, &err));
    add_ram(&b);
    refused(try_add(&b, 0, VMIG_AUTO, false, &why), &why, "only-migratable", "device0",
            "vfio-no-dirty-tracking");
    why = (struct vmig_error) { 0 };
    refused(try_add(&b, 1, VMIG_OFF, false, &why), &why, "only-migratable", "device1",
            "vfio-disabled");
    why = (struct vmig_error) { 0 };
    refused(vmig_migration_add_blocker(b.m, "host-specific", NULL, "text", NULL, &id, &why), &why,
            "only-migratable", "", "host-specific");
    assert_int_equal(id, 7);
    blocked(&b, "");
    add(&b, 0, VMIG_ON, false); /* that is a warning */
    add(&b, 1, VMIG_AUTO, false);
    x(vmig_migration_set_only_migratable(b.m, false, &err));
    x(vmig_migration_add_blocker(b.m, "host-specific", NULL, "text", NULL, &id, &err));
    bench_close(&b);
}

static void
only_migratable_refuses_memory_and_parameters_that_would_block_and_undoes_them(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    uint64_t all_dirty;
    bench_open(&b, "xe", NULL, NULL);
    x(vmig_migration_set_only_migratable(b.m, true, &err));
    add(&b, 0, VMIG_AUTO, false); /* without memory nothing is in its way */
    refused(try_ram(&b, &why), &why, "only-migratable", "device0", "vfio-no-dirty-tracking");
    blocked(&b, "");
    x(vmig_migration_set(b.m, "all-dirty", 1, &err));
    add_ram(&b);
    why = (struct vmig_error) { 0 };
    refused(vmig_migration_set(b.m, "all-dirty", 0, &why), &why, "only-migratable", "device0",
            "vfio-no-dirty-tracking");
    x(vmig_migration_get(b.m, "all-dirty", &all_dirty, &err));
    assert_int_equal(all_dirty, 1);
    x(vmig_migration_set_dirty_tracking(b.m, NULL, VMIG_DIRTY_NONE, &err));
    x(vmig_migration_set(b.m, "all-dirty", 0, &err));
    why = (struct vmig_error) { 0 };
    refused(vmig_migration_set_dirty_tracking(b.m, NULL, VMIG_DIRTY_AUTO, &why), &why,
            "only-migratable", "device0", "vfio-no-dirty-tracking");
    blocked(&b, "");
    bench_close(&b);
}

static void only_migratable_is_refused_while_there_is_a_blocker(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_error why = { 0 };
    bench_open(&b, "default", NULL, NULL);
    add(&b, 0, VMIG_AUTO, true);
    refused(vmig_migration_set_only_migratable(b.m, true, &why), &why, "only-migratable", "device0",
            "vfio-viommu");
    x(vmig_migration_set_only_migratable(b.m, false, &err));
    x(vmig_migration_remove_device(b.m, b.devices[0], &err));
    x(vmig_migration_set_only_migratable(b.m, true, &err));
    bench_close(&b);
}

/* ---- capabilities that do not go with devices ---- */

static const char *const implemented[] = { "postcopy-ram", "background-snapshot", NULL };
static const struct {
    struct vmig_capability set[4];
    const char *reason;
} vetoes[] = {
    { { { "multifd", false }, { "postcopy-ram", true } }, "vfio-with-postcopy-ram" },
    { { { "multifd", false },
        { "switchover-ack", false },
        { "return-path", false },
        { "background-snapshot", true } },
      "vfio-with-background-snapshot" },
};

static void set_vetoed(struct vmig_migration *m, unsigned which)
{
    unsigned count = 0;
    while (count < 4 && vetoes[which].set[count].name)
        count++;
    x(vmig_migration_set_capabilities(m, vetoes[which].set, count, &err));
}

/* A world whose host implements them, with what a bench has. */
static struct vmig_migration *implementing(struct bench *b, unsigned which)
{
    struct vmig_host host = {
        .size = sizeof(host), .opaque = b, .event = on_event, .implements = implemented
    };
    vmig_migration_free(b->m);
    b->m = vmig_migration_new(&host, NULL);
    assert_non_null(b->m);
    set_vetoed(b->m, which);
    return b->m;
}

static void
a_capability_that_does_not_go_with_a_device_is_refused_when_sending_to_whatever(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct bench b;
        struct vmig_error why = { 0 };
        const char *name = vetoes[i].reason + strlen("vfio-with-");
        bench_open(&b, "default", NULL, NULL);
        implementing(&b, i);
        add(&b, 0, VMIG_AUTO, false);
        blocked(&b, ""); /* it is no blocker: it comes and goes with the capability */
        sending_is_refused(&b, vetoes[i].reason, "device0", name);
        refused(vmig_migration_send(b.m, "tcp:127.0.0.1:1", &why), &why, vetoes[i].reason,
                "device0", name);
        assert_int_equal(party_state(b.w.source, 0), VMIG_STATE_RUNNING);
        bench_close(&b);
    }
}

static void without_a_device_such_a_capability_is_the_hosts_affair(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct bench b;
        struct vmig_error why = { 0 };
        bench_open(&b, "default", NULL, NULL);
        implementing(&b, i);
        add_ram(&b);
        assert_int_equal(vmig_migration_send(b.m, "file:/nowhere/at/all", &why), -ENOENT);
        bench_close(&b);
    }
}

static void a_snapshot_is_exempt(void **state)
{
    (void)state;
    struct bench b;
    char address[100];
    bench_open(&b, "default", NULL, NULL);
    implementing(&b, 0);
    add(&b, 0, VMIG_AUTO, false);
    snprintf(address, sizeof(address), "file:%s/snapshot", b.w.directory);
    x(vmig_migration_set(b.m, "downtime-limit", 100000, &err));
    x(vmig_migration_snapshot(b.m, address, &err));
    bench_close(&b);
}

/* ---- settings ---- */

static void settings_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct bench b;
    struct vmig_device_settings settings = { .size = 0 };
    bench_open(&b, "default", NULL, NULL);
    assert_int_equal(vmig_migration_add_device_with(b.m, b.devices[0], &settings, NULL), -EINVAL);
    settings = (struct vmig_device_settings) { .size = sizeof(settings),
                                               .enable_migration = VMIG_OFF + 1 };
    assert_int_equal(vmig_migration_add_device_with(b.m, b.devices[0], &settings, NULL), -EINVAL);
    x(vmig_migration_add_device_with(b.m, b.devices[0], NULL, &err));
    bench_close(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_stands_in_the_way_of_a_good_device),
        cmocka_unit_test(auto_accepts_what_cannot_be_tracked_and_blocks_sending),
        cmocka_unit_test(without_memory_nothing_has_to_be_tracked_whenever_that_is_added),
        cmocka_unit_test(the_users_word_takes_a_blocker_away_and_its_end_brings_it_back),
        cmocka_unit_test(all_checks_that_fail_are_listed_in_the_order_of_the_table),
        cmocka_unit_test(on_only_warns_of_what_cannot_be_tracked),
        cmocka_unit_test(a_warning_is_told_when_it_arises),
        cmocka_unit_test(on_counts_as_the_word_that_everything_is_dirty),
        cmocka_unit_test(on_is_refused_behind_a_vIOMMU_and_changes_nothing),
        cmocka_unit_test(on_joins_no_set_that_would_need_a_blocker_even_one_that_is_there_already),
        cmocka_unit_test(blockers_of_others_do_not_matter_to_on),
        cmocka_unit_test(off_is_blocked_both_ways),
        cmocka_unit_test(an_unsupported_device_is_accepted_with_auto_and_refused_with_on),
        cmocka_unit_test(tracking_neighbours_and_vIOMMU_do_not_keep_from_receiving),
        cmocka_unit_test(the_neighbours_blocker_goes_with_one_of_two),
        cmocka_unit_test(a_migration_goes_on_without_a_device_that_was_removed),
        cmocka_unit_test(the_hosts_own_blockers_refuse_sending_until_they_are_removed),
        cmocka_unit_test(a_blocker_with_a_code_or_text_as_it_may_not_be_is_refused),
        cmocka_unit_test(nothing_comes_or_goes_while_a_migration_runs),
        cmocka_unit_test(they_can_be_asked_for_by_any_thread_while_a_migration_runs),
        cmocka_unit_test(only_migratable_lets_nothing_in_that_would_be_blocked),
        cmocka_unit_test(
            only_migratable_refuses_memory_and_parameters_that_would_block_and_undoes_them),
        cmocka_unit_test(only_migratable_is_refused_while_there_is_a_blocker),
        cmocka_unit_test(
            a_capability_that_does_not_go_with_a_device_is_refused_when_sending_to_whatever),
        cmocka_unit_test(without_a_device_such_a_capability_is_the_hosts_affair),
        cmocka_unit_test(a_snapshot_is_exempt),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests_name("blockers", tests, NULL, NULL);
}
