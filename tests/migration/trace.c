/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trace points as lines: the switch, what a line looks like, and the story that the lines of a real
 * migration tell, which is compared with the states that the uAPI and vfio-migrate(7) prescribe.
 */
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <vfio-migrate/trace.h>

#include "lib/cleanup.h"
#include "lib/trace/trace.h"
#include "tests/migration/world.h"

#define LINES_MAX 4096

static struct told {
    pthread_mutex_t lock;
    unsigned count;
    char *lines[LINES_MAX];
} told = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void keep(void *opaque, const char *line)
{
    struct told *t = opaque;
    LOCK_SCOPE(&t->lock);
    if (t->count < LINES_MAX)
        t->lines[t->count++] = strdup(line);
}

static int forget(void **state)
{
    (void)state;
    vmig_trace_disable();
    while (told.count)
        free(told.lines[--told.count]);
    return 0;
}

/* Without the time. */
static const char *body(unsigned line)
{
    return strchr(told.lines[line], ' ') + 1;
}

/* Lines that begin with @what, from @from on; LINES_MAX: there is none. */
static unsigned find(const char *what, unsigned from)
{
    for (unsigned i = from; i < told.count; i++)
        if (strncmp(body(i), what, strlen(what)) == 0)
            return i;
    return LINES_MAX;
}

/* These come in this order, whatever is between. */
static void assert_story(const char *const *story)
{
    unsigned at = 0;
    for (; *story; story++, at++) {
        at = find(*story, at);
        if (at == LINES_MAX)
            fail_msg("'%s' is not told, or too early", *story);
    }
}

/* ---- the switch ---- */

static void nothing_is_told_unless_asked_for(void **state)
{
    (void)state;
    TRACE(migration_round_start, 1);
    assert_int_equal(told.count, 0);
    x(vmig_trace_enable("migration_round_end", keep, &told, &err));
    TRACE(migration_round_start, 2);
    assert_int_equal(told.count, 0);
    TRACE(migration_round_end, 3, 4, 5);
    assert_int_equal(told.count, 1);
    vmig_trace_disable();
    TRACE(migration_round_end, 6, 7, 8);
    assert_int_equal(told.count, 1);
}

static void a_second_pattern_adds_to_the_first(void **state)
{
    (void)state;
    x(vmig_trace_enable("migration_round_start", keep, &told, &err));
    x(vmig_trace_enable("vfio_*", keep, &told, &err));
    TRACE(migration_round_start, 1);
    TRACE(vfio_load_setup, "a");
    TRACE(migration_round_end, 1, 2, 3);
    assert_int_equal(told.count, 2);
}

static void a_pattern_that_matches_nothing_is_refused_with_near_names(void **state)
{
    (void)state;
    struct vmig_error err = { 0 };
    assert_int_equal(vmig_trace_enable("vfio_migration_set_stat", keep, &told, &err), -ENOENT);
    assert_string_equal(err.reason, "unknown-trace-point");
    assert_non_null(strstr(err.text, "vfio_migration_set_state"));
    err = (struct vmig_error) { 0 };
    assert_int_equal(vmig_trace_enable("migrat_set_state", keep, &told, &err), -ENOENT);
    assert_non_null(strstr(err.text, "migrate_set_state"));
    err = (struct vmig_error) { 0 };
    assert_int_equal(vmig_trace_enable("*_bitmap_sink", keep, &told, &err), -ENOENT);
    assert_null(strstr(err.text, "near"));
    err = (struct vmig_error) { 0 };
    assert_int_equal(vmig_trace_enable("qemu_*handover", keep, &told, &err), -ENOENT);
    assert_non_null(strstr(err.text, "migration_handover"));
    /* and what was on stays on, what was off stays off */
    TRACE(migration_round_start, 1);
    assert_int_equal(told.count, 0);
}

static void a_second_sink_is_refused(void **state)
{
    (void)state;
    struct vmig_error refused = { 0 };
    x(vmig_trace_enable("vfio_*", keep, &told, &err));
    assert_int_equal(vmig_trace_enable("vfio_*", keep, NULL, &refused), -EBUSY);
    assert_string_equal(refused.reason, "trace-sink-taken");
    vmig_trace_disable();
    x(vmig_trace_enable("vfio_*", keep, &told, &err));
}

/* ---- lines ---- */

static void a_line_is_time_name_and_fields(void **state)
{
    (void)state;
    regex_t form;
    assert_int_equal(regcomp(&form,
                             "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z "
                             "vfio_save_iterate name=0000:3b:00\\.2 "
                             "budget_bytes=18446744073709551615 ret=-5$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    x(vmig_trace_enable("*", keep, &told, &err));
    TRACE(vfio_save_iterate, "0000:3b:00.2", UINT64_MAX, -5);
    assert_int_equal(told.count, 1);
    assert_int_equal(regexec(&form, told.lines[0], 0, NULL, 0), 0);
    regfree(&form);
    TRACE(migration_cancel, true);
    assert_string_equal(body(1), "migration_cancel too_late=true");
    TRACE(migration_round_start, UINT32_MAX);
    assert_string_equal(body(2), "migration_round_start round=4294967295");
}

static void text_from_outside_cannot_forge_a_line_or_a_field(void **state)
{
    (void)state;
    x(vmig_trace_enable("*", keep, &told, &err));
    TRACE(vfio_load_setup, "a b=\"c\"\n\x1b[2J\\\xc3\xa4");
    assert_string_equal(body(0), "vfio_load_setup "
                                 "name=\"a b=\\\"c\\\"\\x0a\\x1b[2J\\\\\\xc3\\xa4\"");
    TRACE(vfio_load_setup, "");
    assert_string_equal(body(1), "vfio_load_setup name=\"\"");
    TRACE(vfio_load_setup, NULL);
    assert_string_equal(body(2), "vfio_load_setup name=\"\"");
}

static void a_value_that_is_too_long_is_cut(void **state)
{
    (void)state;
    char text[4096];
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    x(vmig_trace_enable("*", keep, &told, &err));
    TRACE(migrate_error, "source", "rounds", "", "", text);
    assert_in_range(strlen(told.lines[0]), 1000, 2000);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    x(vmig_trace_enable("*", keep, &told, &err));
    errno = EXDEV;
    TRACE(vfio_load_setup, "a");
    assert_int_equal(errno, EXDEV);
}

static void every_point_has_a_name_a_meaning_and_typed_fields(void **state)
{
    (void)state;
    static const char *const types[] = { "str", "u64", "u32", "i32", "flag" };
    const struct vmig_trace_point *p;
    unsigned count = 0;
    for (; (p = vmig_trace_point(count)); count++) {
        assert_true(p->name[0] && p->meaning[0] && p->num_fields > 0);
        for (unsigned i = 0; i < p->num_fields; i++) {
            bool known = false;
            for (unsigned t = 0; t < 5; t++)
                known |= strcmp(types[t], p->fields[i].type) == 0;
            assert_true(known && p->fields[i].name[0]);
        }
        for (unsigned i = 0; i < count; i++)
            assert_string_not_equal(vmig_trace_point(i)->name, p->name);
    }
    assert_true(count > 20);
    assert_null(vmig_trace_point(UINT32_MAX));
}

/* ---- the story of a migration ---- */

/* From a RUNNING device with PRE_COPY and P2P, by the uAPI's state machine; source and target have
 * the same ids here, so their devices' own lines are not told apart, but their states are. */
static void a_migration_tells_its_story_in_order(void **state)
{
    (void)state;
    static const char *const source[] = { "migrate_set_state side=source new_state=setup",
                                          "migration_stage side=source stage=prepare",
                                          "migration_set_outgoing_channel one_way=false",
                                          "migration_stage side=source stage=setup",
                                          "savevm_section_start idstr=ram",
                                          "source_return_path_thread_handover message=READY",
                                          "migration_stage side=source stage=rounds",
                                          "migrate_set_state side=source new_state=active",
                                          "migrate_pending_exact round=0",
                                          "migration_round_start round=1",
                                          "migration_round_end round=1",
                                          "migration_switchover_decision verdict=switch",
                                          "migration_stage side=source stage=quiesce",
                                          "migration_workload_stop",
                                          "migration_stage side=source stage=complete",
                                          "migration_bitmap_sync_start",
                                          "ram_save_complete",
                                          "migration_stage side=source stage=hand-over",
                                          "source_return_path_thread_handover message=LOADED",
                                          "migration_handover side=source new_state=gave-up",
                                          "migration_handover_say side=source message=GO",
                                          "source_return_path_thread_handover message=RUNNING",
                                          "migration_handover side=source new_state=released",
                                          "migration_pause_end",
                                          "migration_stage side=source stage=cleanup",
                                          "migrate_set_state side=source new_state=completed",
                                          NULL };
    static const char *const target[] = {
        "migrate_set_state side=target new_state=setup",
        "migration_set_incoming_channel one_way=false",
        "qemu_loadvm_state_section_startfull section_id=1 idstr=ram",
        "vfio_load_setup name=device0",
        "migrate_set_state side=target new_state=active",
        "migration_handover_say side=target message=READY",
        "migration_round_loaded round=1",
        "vfio_load_state name=device0 config=true ret=0",
        "migration_handover side=target new_state=loaded",
        "migration_handover_say side=target message=LOADED",
        "migration_handover_hear ret=1",
        "migration_handover side=target new_state=running",
        "migration_handover_say side=target message=RUNNING",
        "migrate_set_state side=target new_state=completed",
        NULL
    };
    static const char *const device_there[] = {
        "vfio_migration_set_state name=device0 state=PRE_COPY",
        "vfio_data_start name=device0 state=PRE_COPY",
        "vfio_save_iterate name=device0",
        "migration_initial_sent device=device0 number=1",
        "loadvm_approve_switchover device=device0 number=1",
        "source_return_path_thread_switchover_acked device=device0 number=1",
        "vfio_migration_set_state name=device0 state=PRE_COPY_P2P",
        "vfio_migration_set_state name=device0 state=STOP_COPY",
        "vfio_data_end name=device0",
        "vfio_save_complete_precopy name=device0 ret=0",
        "vfio_save_cleanup name=device0 moved=true",
        "vfio_migration_set_state name=device0 state=STOP",
        NULL
    };
    static const char *const device_here[] = {
        "vfio_migration_set_state name=device0 state=RESUMING",
        "vfio_data_start name=device0 state=RESUMING",
        "vfio_migration_set_state name=device0 state=STOP",
        "vfio_migration_set_state name=device0 state=RUNNING_P2P",
        "vfio_migration_set_state name=device0 state=RUNNING",
        NULL
    };
    struct world w;
    x(vmig_trace_enable("*", keep, &told, &err));
    world_open(&w, &(struct world_plan) { .devices = 1, .channels = 1 });
    world_move(&w);
    world_moved(&w);
    world_close(&w);
    vmig_trace_disable();
    assert_story(source);
    assert_story(target);
    assert_story(device_there);
    assert_story(device_here);
    assert_int_equal(find("migrate_error", 0), LINES_MAX);
    assert_true(told.count < LINES_MAX);
    assert_int_equal(find("vfio_device_close", find("vfio_device_close", 0) + 1) == LINES_MAX,
                     false);
}

/* Two devices: none goes to STOP_COPY before all are quiet. */
static void the_barrier_of_several_devices_can_be_seen(void **state)
{
    (void)state;
    struct world w;
    unsigned quiet = 0;
    x(vmig_trace_enable("vfio_migration_set_state", keep, &told, &err));
    world_open(&w, &(struct world_plan) { .devices = 3 });
    world_move(&w);
    world_moved(&w);
    world_close(&w);
    vmig_trace_disable();
    for (unsigned i = 0; i < told.count; i++) {
        quiet += strstr(told.lines[i], "state=PRE_COPY_P2P") != NULL;
        if (strstr(told.lines[i], "state=STOP_COPY"))
            assert_int_equal(quiet, 3);
    }
    assert_int_equal(quiet, 3);
}

static void a_failure_and_the_way_back_are_told(void **state)
{
    (void)state;
    static const char *const story[] = {
        "vfio_migration_set_state_refused name=device0 from=PRE_COPY_P2P to=STOP_COPY ret=-",
        "migrate_error side=source stage=quiesce device=device0",
        "migration_recover side=source stage=quiesce",
        "vfio_migration_set_state name=device0 state=RUNNING",
        "migration_recovered side=source worst=\"\"",
        "migrate_set_state side=source new_state=failed",
        NULL,
    };
    struct world w;
    x(vmig_trace_enable("*", keep, &told, &err));
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_fault(w.source, 0, "fail:EIO@arc/STOP_COPY#1");
    world_move(&w);
    world_runs_at(&w, w.source);
    world_close(&w);
    vmig_trace_disable();
    assert_story(story);
}

/* ---- switching while it runs ---- */

static atomic_bool over;
static atomic_uint inside, calls;

static void count(void *opaque, const char *line)
{
    assert_non_null(line);
    atomic_fetch_add(&inside, 1);
    atomic_fetch_add((atomic_uint *)opaque, 1);
    atomic_fetch_sub(&inside, 1);
}

static void *speak(void *opaque)
{
    for (unsigned i = 0; !atomic_load(&over); i++)
        TRACE(vfio_migration_set_state, opaque, "RUNNING");
    return NULL;
}

/* When it is off no thread is in the sink: what the sink writes to may be freed. */
static void the_switch_is_safe_while_threads_pass_it(void **state)
{
    (void)state;
    pthread_t threads[3];
    char name[] = "device0";
    atomic_store(&over, false);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, speak, name), 0);
    for (unsigned i = 0; i < 200; i++) {
        atomic_uint *mine = calloc(1, sizeof(*mine));
        x(vmig_trace_enable(i % 2 ? "*" : "vfio_migration_set_state", count, mine, &err));
        while (i % 16 == 0 && !atomic_load(mine))
            sched_yield();
        vmig_trace_disable();
        assert_int_equal(atomic_load(&inside), 0);
        atomic_fetch_add(&calls, *mine);
        free(mine);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&calls) > 0);
}

static void *flip(void *opaque)
{
    while (!atomic_load(&over)) {
        vmig_trace_enable("*", count, opaque, NULL);
        sched_yield();
        vmig_trace_disable();
    }
    return NULL;
}

static void a_migration_does_not_care_who_listens(void **state)
{
    (void)state;
    struct world w;
    pthread_t flipper;
    atomic_uint lines = 0;
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&flipper, NULL, flip, &lines), 0);
    world_open(&w, &(struct world_plan) { .devices = 2 });
    world_move(&w);
    world_moved(&w);
    world_close(&w);
    atomic_store(&over, true);
    pthread_join(flipper, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, forget)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_unless_asked_for),
        TEST(a_second_pattern_adds_to_the_first),
        TEST(a_pattern_that_matches_nothing_is_refused_with_near_names),
        TEST(a_second_sink_is_refused),
        TEST(a_line_is_time_name_and_fields),
        TEST(text_from_outside_cannot_forge_a_line_or_a_field),
        TEST(a_value_that_is_too_long_is_cut),
        TEST(errno_is_left_alone),
        TEST(every_point_has_a_name_a_meaning_and_typed_fields),
        TEST(a_migration_tells_its_story_in_order),
        TEST(the_barrier_of_several_devices_can_be_seen),
        TEST(a_failure_and_the_way_back_are_told),
        TEST(the_switch_is_safe_while_threads_pass_it),
        TEST(a_migration_does_not_care_who_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
