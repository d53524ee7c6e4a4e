/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vmig_migration_query() says, by the definitions of the public header: parts are compared with
 * their sum, one side with the other, and one moment with the next, while the migration runs and after
 * it ended one way or another.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/migration/control.h"
#include "lib/migration/statistics-json.h"
#include "tests/migration/world.h"

static struct vmig_statistics ask(struct party *side)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(side->m, &s);
    return s;
}

/* ---- what holds at any moment, at either side ---- */

static void stages_add_up(const struct vmig_statistics *s)
{
    uint64_t bytes = 0;
    double ms = 0;
    for (unsigned i = 0; i < VMIG_STAGE_COUNT; i++) {
        bytes += s->stage_bytes[i];
        ms += s->stage_ms[i];
    }
    assert_int_equal(bytes, s->transferred_bytes);
    assert_true(ms <= s->total_ms + 0.001);
    double setup = s->stage_ms[VMIG_STAGE_PREPARE] + s->stage_ms[VMIG_STAGE_SETUP];
    assert_true(s->setup_ms >= setup - 0.001 && s->setup_ms <= setup + 0.001);
}

static void adds_up(const struct vmig_statistics *s)
{
    uint64_t vfio = 0, left = 0;
    assert_int_equal(s->precopy_bytes + s->downtime_bytes, s->transferred_bytes);
    assert_true(s->data_channel_bytes <= s->transferred_bytes);
    assert_int_equal(s->page_size_bytes, 4096);
    assert_int_equal(s->ram_normal_pages * 4096, s->ram_sent_bytes);
    assert_true(s->ram_dirty_pages <= s->ram_normal_pages + s->ram_zero_pages);
    for (unsigned i = 0; i < s->num_devices; i++) {
        vfio += s->devices[i].precopy_bytes + s->devices[i].stop_copy_bytes;
        left += s->progress[i].remaining_bytes;
        assert_non_null(s->progress[i].step);
    }
    assert_int_equal(vfio, s->vfio_bytes);
    assert_int_equal(left + s->ram_remaining_bytes,
                     s->remaining_bytes); /* nothing else moves here */
    assert_true(s->vfio_bytes + s->ram_sent_bytes <= s->transferred_bytes);
    stages_add_up(s);
}

/* Nothing that was counted is taken back. */
static void went_on(const struct vmig_statistics *before, const struct vmig_statistics *s)
{
    assert_true(s->transferred_bytes >= before->transferred_bytes);
    assert_true(s->data_channel_bytes >= before->data_channel_bytes);
    assert_true(s->downtime_bytes >= before->downtime_bytes);
    assert_true(s->ram_normal_pages >= before->ram_normal_pages);
    assert_true(s->ram_zero_pages >= before->ram_zero_pages);
    assert_true(s->vfio_bytes >= before->vfio_bytes);
    assert_true(s->dirty_syncs >= before->dirty_syncs);
    assert_true(s->rounds >= before->rounds);
    assert_true(s->total_ms >= before->total_ms);
}

static void assert_both_sides_agree(struct world *w)
{
    struct vmig_statistics from = ask(w->source), to = ask(w->target);
    adds_up(&from);
    adds_up(&to);
    assert_int_equal(from.transferred_bytes, to.transferred_bytes);
    assert_int_equal(from.data_channel_bytes, to.data_channel_bytes);
    assert_int_equal(from.ram_normal_pages, to.ram_normal_pages);
    assert_int_equal(from.ram_zero_pages, to.ram_zero_pages);
    assert_int_equal(from.vfio_bytes, to.vfio_bytes);
    assert_int_equal(from.num_devices, to.num_devices);
    for (unsigned i = 0; i < from.num_devices; i++) {
        assert_int_equal(from.devices[i].precopy_bytes, to.devices[i].precopy_bytes);
        assert_int_equal(from.devices[i].stop_copy_bytes, to.devices[i].stop_copy_bytes);
    }
    assert_int_equal(from.remaining_bytes, 0);
    assert_int_equal((int)from.dirty_pages_per_s, 0);
    assert_int_equal(from.error.code, 0);
    assert_true(from.mbps > 0 && to.mbps > 0);
}

/* ---- while it runs ---- */

struct watcher {
    pthread_t thread;
    struct party *side;
    atomic_bool stop;
};

static void *watch(void *opaque)
{
    struct watcher *w = opaque;
    struct vmig_statistics before = ask(w->side);
    while (!atomic_load(&w->stop)) {
        struct vmig_statistics s = ask(w->side);
        adds_up(&s);
        if (before.status != VMIG_STATUS_NONE && before.status != VMIG_STATUS_COMPLETED)
            went_on(&before, &s);
        before = s;
        usleep(500);
    }
    return NULL;
}

/* Threads of the test's own ask all the time; with every way the data can travel. */
static void moves_while_asked(const struct world_plan *plan)
{
    struct world w;
    struct watcher watchers[2];
    world_open(&w, plan);
    for (unsigned i = 0; i < 2; i++) {
        watchers[i] = (struct watcher) { .side = i ? w.target : w.source };
        assert_int_equal(pthread_create(&watchers[i].thread, NULL, watch, &watchers[i]), 0);
    }
    world_move(&w);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&watchers[i].stop, true);
        pthread_join(watchers[i].thread, NULL);
    }
    world_moved(&w);
    assert_both_sides_agree(&w);
    world_close(&w);
}

static void parts_add_up_at_any_moment_with_several_devices(void **state)
{
    (void)state;
    moves_while_asked(&(struct world_plan) { .devices = 3, .channels = 2 });
}

static void parts_add_up_on_one_descriptor(void **state)
{
    (void)state;
    moves_while_asked(&(struct world_plan) { .devices = 2, .link = WORLD_FD });
}

static void parts_add_up_on_the_way_through_a_file(void **state)
{
    (void)state;
    moves_while_asked(&(struct world_plan) { .devices = 2, .link = WORLD_FILE });
}

static void parts_add_up_without_memory(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_ram = true });
    world_move(&w);
    world_moved(&w);
    assert_both_sides_agree(&w);
    assert_int_equal(ask(w.source).dirty_syncs, 0);
    assert_int_equal(ask(w.source).ram_normal_pages, 0);
    world_close(&w);
}

/* What the engine's thread sees at an event is certain: no other thread changes it meanwhile. */
static struct seen {
    unsigned devices, rounds;
    bool data_in_rounds, none_in_pause_yet, pause_counted, predicted, limit_first;
} seen;

static void look_in_stage(struct party *side, enum vmig_stage stage)
{
    struct vmig_statistics s = ask(side);
    adds_up(&s);
    seen.devices = s.num_devices > seen.devices ? s.num_devices : seen.devices;
    if (stage == VMIG_STAGE_SETUP)
        seen.limit_first = (int)s.expected_downtime_ms == 60000; /* the world's downtime-limit */
    if (stage == VMIG_STAGE_QUIESCE) {
        seen.data_in_rounds = s.devices[0].precopy_bytes > 0 && s.ram_normal_pages > 0;
        seen.none_in_pause_yet = s.downtime_bytes == 0 && s.devices[0].stop_copy_bytes == 0;
        seen.predicted = s.expected_downtime_ms > 0 && s.expected_downtime_ms < 60000;
        seen.rounds = s.rounds;
    }
    if (stage == VMIG_STAGE_HANDOVER)
        seen.pause_counted =
            s.devices[0].stop_copy_bytes > 0 && s.downtime_bytes > 0 && s.devices[0].stop_ms > 0;
}

static void devices_and_predictions_are_there_while_it_runs(void **state)
{
    (void)state;
    struct world w;
    seen = (struct seen) { 0 };
    world_open(&w, &(struct world_plan) { .devices = 2 });
    w.source->on_stage = look_in_stage;
    world_move(&w);
    world_moved(&w);
    assert_int_equal(seen.devices, 2);
    assert_true(seen.limit_first);
    assert_true(seen.data_in_rounds);
    assert_true(seen.none_in_pause_yet);
    assert_true(seen.predicted);
    assert_true(seen.rounds > 0);
    assert_true(seen.pause_counted);
    struct vmig_statistics s = ask(w.source);
    /* once in setup, before the first round, after each, and in the pause */
    assert_true(s.dirty_syncs >= s.rounds + 3);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(s.progress[i].iterate_ms > 0);
        assert_string_equal(s.progress[i].step, "");
        assert_int_equal(s.progress[i].state, VMIG_STATE_STOP);
        assert_int_equal(ask(w.target).progress[i].state, VMIG_STATE_RUNNING);
        assert_true(ask(w.target).progress[i].loading_ms > 0);
    }
    world_close(&w);
}

static json_t *status_in_pause;

static void ask_outside(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_COMPLETE)
        status_in_pause =
            control_call(side->m->control_path, json_pack("{s:s}", "execute", "status"), NULL);
}

static json_int_t sum_of_devices(json_t *statistics)
{
    json_t *devices = json_object_get(statistics, "devices"), *d;
    json_int_t sum = 0;
    size_t i;
    json_array_foreach(devices, i, d) sum +=
        json_integer_value(json_object_get(d, "precopy_bytes")) +
        json_integer_value(json_object_get(d, "stop_copy_bytes"));
    return sum;
}

/* With as many devices as the line that is read has to have room for. */
static void the_control_socket_tells_them_while_it_runs(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = WORLD_DEVICES_MAX, .control = true });
    w.source->on_stage = ask_outside;
    world_move(&w);
    world_moved(&w);
    assert_non_null(status_in_pause);
    json_t *s = json_object_get(status_in_pause, "statistics");
    assert_int_equal(json_array_size(json_object_get(s, "devices")), WORLD_DEVICES_MAX);
    assert_true(sum_of_devices(s) > 0);
    assert_int_equal(sum_of_devices(s), json_integer_value(json_object_get(s, "vfio_bytes")));
    assert_int_equal(json_integer_value(json_object_get(s, "precopy_bytes")) +
                         json_integer_value(json_object_get(s, "downtime_bytes")),
                     json_integer_value(json_object_get(s, "transferred_bytes")));
    assert_true(json_is_null(json_object_get(s, "error")));
    json_decref(status_in_pause);
    world_close(&w);
}

/* The answer of the longest line there can be fits into what its reader takes. */
static void the_longest_report_fits_into_a_line(void **state)
{
    (void)state;
    static struct vmig_statistics s;
    s.num_devices = VMIG_DEVICES_MAX;
    s.error.code = -EIO;
    memset(s.error.text, '\\', sizeof(s.error.text) - 1);
    for (unsigned i = 0; i < VMIG_DEVICES_MAX; i++) {
        struct vmig_device_statistics *d = &s.devices[i];
        memset(d->id, '\n', sizeof(d->id) - 1);
        d->precopy_bytes = d->stop_copy_bytes = s.progress[i].remaining_bytes = INT64_MAX;
        d->setup_ms = d->quiesce_ms = d->stop_ms = d->complete_ms = d->load_ms = d->resume_ms =
            s.progress[i].iterate_ms = s.progress[i].loading_ms = s.progress[i].cleanup_ms =
                1.0 / 3 * 1e-9;
        s.progress[i].step = "load-complete";
        s.progress[i].state = VMIG_STATE_PRE_COPY_P2P;
    }
    json_t *json = statistics_json(&s);
    char *text = json_dumps(json, JSON_COMPACT);
    assert_non_null(text);
    assert_in_range(strlen(text), 1, (128 << 10) - 1024);
    free(text);
    json_decref(json);
}

/* ---- moves that end otherwise ---- */

static void cancel_in_rounds(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_QUIESCE)
        vmig_migration_cancel(side->m);
}

static void a_cancelled_move_has_its_reason_and_adds_up(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    w.source->on_stage = cancel_in_rounds;
    world_move(&w);
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    struct vmig_statistics s = ask(w.source), t = ask(w.target);
    adds_up(&s);
    adds_up(&t);
    assert_int_equal(s.status, VMIG_STATUS_CANCELLED);
    assert_string_equal(s.error.reason, "cancelled");
    assert_string_equal(s.error.text, w.source->err.text);
    assert_true(s.devices[0].precopy_bytes > 0);
    assert_int_equal(s.devices[0].stop_copy_bytes, 0);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void a_failed_move_has_its_error_and_adds_up_and_the_next_starts_anew(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    party_fault(w.source, 1, "fail:EIO@arc/STOP_COPY#1");
    world_move(&w);
    struct vmig_statistics s = ask(w.source), t = ask(w.target);
    adds_up(&s);
    adds_up(&t);
    assert_int_equal(s.status, VMIG_STATUS_FAILED);
    assert_int_equal(s.error.code, w.source->err.code);
    assert_string_equal(s.error.device, vmig_device_id(w.source->devices[1].device));
    assert_string_equal(s.error.text, w.source->err.text);
    assert_true(s.devices[0].resume_ms > 0);
    assert_int_equal(s.progress[0].state, VMIG_STATE_RUNNING);
    assert_int_not_equal(t.error.code, 0);
    party_fault(w.source, 1, NULL);
    world_move(&w);
    world_moved(&w);
    assert_both_sides_agree(&w);
    assert_int_equal(ask(w.target).error.code, 0);
    world_close(&w);
}

static void a_caller_of_an_older_release_gets_what_it_has_room_for(void **state)
{
    (void)state;
    struct world w;
    struct vmig_statistics s;
    memset(&s, 0x5a, sizeof(s));
    s.size = offsetof(struct vmig_statistics, transferred_bytes);
    world_open(&w, &(struct world_plan) { .devices = 1 });
    world_move(&w);
    world_moved(&w);
    vmig_migration_query(w.source->m, &s);
    assert_int_equal(s.size, offsetof(struct vmig_statistics, transferred_bytes));
    assert_int_equal(s.num_devices, 1);
    assert_int_equal(s.transferred_bytes, UINT64_C(0x5a5a5a5a5a5a5a5a));
    world_close(&w);
}

static void nothing_was_counted_before_the_first_move(void **state)
{
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(m, &s);
    adds_up(&s);
    assert_int_equal(s.status, VMIG_STATUS_NONE);
    assert_int_equal(s.transferred_bytes, 0);
    assert_true(s.mbps == 0 && s.pages_per_s == 0 && s.expected_downtime_ms == 0);
    vmig_migration_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_add_up_at_any_moment_with_several_devices),
        cmocka_unit_test(parts_add_up_on_one_descriptor),
        cmocka_unit_test(parts_add_up_on_the_way_through_a_file),
        cmocka_unit_test(parts_add_up_without_memory),
        cmocka_unit_test(devices_and_predictions_are_there_while_it_runs),
        cmocka_unit_test(the_control_socket_tells_them_while_it_runs),
        cmocka_unit_test(the_longest_report_fits_into_a_line),
        cmocka_unit_test(a_cancelled_move_has_its_reason_and_adds_up),
        cmocka_unit_test(a_failed_move_has_its_error_and_adds_up_and_the_next_starts_anew),
        cmocka_unit_test(a_caller_of_an_older_release_gets_what_it_has_room_for),
        cmocka_unit_test(nothing_was_counted_before_the_first_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
