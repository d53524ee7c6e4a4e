/* SPDX-License-Identifier: BSD-3-Clause */
/* pause-before-switchover: everything stands still, and somebody says when to go on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <jansson.h>

#include "lib/migration/control.h"
#include "tests/migration/world.h"

static void begin_with_pause(struct world *w, const struct world_plan *plan)
{
    world_open(w, plan);
    party_switch(w->source, "pause-before-switchover", true);
    world_begin(w);
    party_await_status(w->source, VMIG_STATUS_PRE_SWITCHOVER);
}

static void continue_fails(struct party *side, enum vmig_status from, const char *text)
{
    struct vmig_error err = { 0 };
    assert_int_equal(vmig_migration_continue(side->m, from, &err), -EINVAL);
    assert_string_equal(err.reason, "wrong-status");
    if (!strstr(err.text, text))
        fail_msg("%s", err.text);
}

static void workload_and_devices_stand_still_until_it_goes_on(void **state)
{
    (void)state;
    struct world w;
    begin_with_pause(&w, &(struct world_plan) { .devices = 2 });
    party_is_still(w.source);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(party_state(w.source, i), VMIG_STATE_STOP_COPY);
    assert_false(party_was_in(w.source, VMIG_STAGE_COMPLETE));
    continue_fails(w.source, VMIG_STATUS_DEVICE,
                   "\"device\": the migration is in \"pre-switchover\"");
    x(vmig_migration_continue(w.source->m, VMIG_STATUS_PRE_SWITCHOVER, &err));
    world_join(&w);
    world_moved(&w);
    continue_fails(w.source, VMIG_STATUS_PRE_SWITCHOVER, "in \"completed\"");
    world_close(&w);
}

static void continuing_at_another_time_names_both_states(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { 0 });
    for (enum vmig_status s = VMIG_STATUS_NONE; s < VMIG_STATUS_COUNT; s++)
        continue_fails(w.source, s, "in \"none\"");
    world_close(&w);
}

static void waiting_counts_as_pause_but_is_not_predicted(void **state)
{
    (void)state;
    struct world w;
    struct vmig_statistics s = { .size = sizeof(s) };
    begin_with_pause(&w, &(struct world_plan) { .devices = 1 });
    nanosleep(&(struct timespec) { .tv_nsec = 50000000 }, NULL);
    x(vmig_migration_continue(w.source->m, VMIG_STATUS_PRE_SWITCHOVER, &err));
    world_join(&w);
    world_moved(&w);
    vmig_migration_query(w.source->m, &s);
    assert_true(s.pre_switchover_ms >= 50);
    assert_true(s.downtime_ms >= s.pre_switchover_ms);
    const struct vmig_pause *p = &s.measured;
    double terms = p->workload_stop_ms + p->quiesce_ms + p->stop_ms + p->data_ms + p->load_ms +
                   p->handover_ms + p->start_ms + p->workload_start_ms;
    assert_true(terms <= s.downtime_ms - s.pre_switchover_ms + 0.001);
    world_close(&w);
}

static void go_on_at_once(struct party *side, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_STATUS && event->status == VMIG_STATUS_PRE_SWITCHOVER)
        x(vmig_migration_continue(side->m, event->status, &err));
}

static void host_may_continue_from_within_the_event(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_switch(w.source, "pause-before-switchover", true);
    w.source->on_event = go_on_at_once;
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

static void cancel_is_heeded_in_pre_switchover(void **state)
{
    (void)state;
    struct world w;
    begin_with_pause(&w, &(struct world_plan) { .devices = 1 });
    vmig_migration_cancel(w.source->m);
    world_join(&w);
    party_failed(w.source, -ECANCELED, "cancelled", "devices and workload run on here");
    assert_int_equal(party_state(w.source, 0), VMIG_STATE_RUNNING);
    party_goes_on(w.source);
    /* and the next attempt waits anew */
    world_begin(&w);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    x(vmig_migration_continue(w.source->m, VMIG_STATUS_PRE_SWITCHOVER, &err));
    world_join(&w);
    world_moved(&w);
    world_close(&w);
}

static void target_that_goes_away_ends_the_wait(void **state)
{
    (void)state;
    struct world w;
    begin_with_pause(&w, &(struct world_plan) { .devices = 1 });
    vmig_migration_cancel(w.target->m);
    world_join(&w);
    assert_true(w.source->rc < 0);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void file_is_not_finished_before_somebody_continues(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .link = WORLD_FILE });
    party_switch(w.source, "pause-before-switchover", true);
    char address[100];
    snprintf(address, sizeof(address), "file:%s/file", w.directory);
    party_start(w.source, true, address);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    party_is_still(w.source);
    x(vmig_migration_continue(w.source->m, VMIG_STATUS_PRE_SWITCHOVER, &err));
    assert_int_equal(party_join(w.source), 0);
    party_start(w.target, false, address);
    assert_int_equal(party_join(w.target), 0);
    world_moved(&w);
    world_close(&w);
}

static json_t *ask(struct world *w, const char *word, struct vmig_error *err)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/source", w->directory);
    return control_call(path, json_pack("{s:s}", "execute", word), err);
}

static void control_socket_says_what_is_waited_for_and_continues(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error why = { 0 };
    begin_with_pause(&w, &(struct world_plan) { .devices = 1, .control = true });
    json_t *answer = ask(&w, "status", &why);
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "pre-switchover");
    json_decref(answer);
    answer = ask(&w, "continue", &why);
    if (!answer)
        fail_msg("%s", why.text);
    json_decref(answer);
    world_join(&w);
    world_moved(&w);
    assert_null(ask(&w, "continue", &why));
    assert_string_equal(why.reason, "wrong-status");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workload_and_devices_stand_still_until_it_goes_on),
        cmocka_unit_test(continuing_at_another_time_names_both_states),
        cmocka_unit_test(waiting_counts_as_pause_but_is_not_predicted),
        cmocka_unit_test(host_may_continue_from_within_the_event),
        cmocka_unit_test(cancel_is_heeded_in_pre_switchover),
        cmocka_unit_test(target_that_goes_away_ends_the_wait),
        cmocka_unit_test(file_is_not_finished_before_somebody_continues),
        cmocka_unit_test(control_socket_says_what_is_waited_for_and_continues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
