/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stop and cont: devices follow the VM through the P2P barrier, with a migration or without one, and
 * its run state travels with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "refdev/model/fault.h"
#include "tests/migration/world.h"

/* ---- vocabulary ---- */

static void expect_state(struct party *side, const char *name)
{
    const char *is = vmig_run_state_name(vmig_migration_run_state(side->m));
    if (strcmp(is, name) != 0)
        fail_msg("the %s is %s, wanted %s", side->name, is, name);
}

static void expect_devices(struct party *side, enum vmig_state state)
{
    for (unsigned i = 0; i < side->world->plan.devices; i++)
        assert_string_equal(vmig_state_name(party_state(side, i)), vmig_state_name(state));
}

static void expect_paused(struct party *side)
{
    expect_state(side, "paused");
    expect_devices(side, VMIG_STATE_STOP);
    party_is_still(side);
}

static void expect_running(struct party *side)
{
    expect_state(side, "running");
    party_runs(side);
}

static void expect_refused(int rc, const struct vmig_error *err, int code, const char *reason)
{
    if (rc != code || strcmp(err->reason, reason) != 0 || !err->text[0])
        fail_msg("%d \"%s\": %s; wanted %d \"%s\"", rc, err->reason, err->text, code, reason);
}

static void cont_is_refused(struct party *side, int code, const char *reason)
{
    struct vmig_error err = { 0 };
    int rc = vmig_migration_cont(side->m, &err);
    expect_refused(rc, &err, code, reason);
}

/* Events of one side as words, in order: "stop", "resume", "active", "device0:stop". */
#define WORDS_BYTES 600
static struct {
    struct party *side;
    char words[WORDS_BYTES];
} heard;

static void hear(struct party *side, const struct vmig_event *event)
{
    char word[100] = "";
    if (event->kind == VMIG_EVENT_STOP)
        snprintf(word, sizeof(word), "stop ");
    if (event->kind == VMIG_EVENT_RESUME)
        snprintf(word, sizeof(word), "resume ");
    if (event->kind == VMIG_EVENT_STATUS)
        snprintf(word, sizeof(word), "%s ", vmig_status_name(event->status));
    if (event->kind == VMIG_EVENT_DEVICE_STATE)
        snprintf(word, sizeof(word), "%s:%s ", event->text, vmig_state_word(event->device_state));
    LOCK_SCOPE(&side->world->lock);
    if (side == heard.side && strlen(heard.words) + strlen(word) < WORDS_BYTES)
        strcat(heard.words, word);
}

static void listen_to(struct party *side)
{
    heard.side = side;
    heard.words[0] = '\0';
    side->on_event = hear;
}

static void expect_heard(const char *words)
{
    assert_string_equal(heard.words, words);
    heard.words[0] = '\0';
}

/* ---- without a migration ---- */

static const struct kind {
    const char *profile;
    unsigned devices;
    bool pre_copy;
} kinds[] = {
    { "default", 2, true },   /* PRE_COPY and P2P */
    { "pds", 2, true },       /* P2P alone */
    { "hisi_acc", 1, true },  /* PRE_COPY alone */
    { "hisi_acc", 1, false }, /* neither */
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void open_kind(struct world *w, const struct kind *kind, struct world_plan plan)
{
    plan.devices = kind->devices;
    plan.profile = kind->profile;
    world_open(w, &plan);
    world_set(w, "pre-copy", kind->pre_copy);
    world_set(w, "all-dirty", 1);
    print_message("# %u %s%s\n", kind->devices, kind->profile,
                  kind->pre_copy ? "" : " without PRE_COPY");
}

static void devices_follow_stop_and_cont(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct world w;
        open_kind(&w, &kinds[i], (struct world_plan) { 0 });
        x(vmig_migration_stop(w.source->m, &err));
        expect_paused(w.source);
        x(vmig_migration_stop(w.source->m, &err));
        assert_int_equal(w.source->stops, 1);
        x(vmig_migration_cont(w.source->m, &err));
        x(vmig_migration_cont(w.source->m, &err));
        assert_int_equal(w.source->starts, 2);
        expect_running(w.source);
        world_close(&w);
    }
}

static void stop_and_resume_are_told_in_qemus_order(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    w.source->m->participants[1]->settings.migration_events = true;
    listen_to(w.source);
    x(vmig_migration_stop(w.source->m, &err));
    expect_heard("device0:running-p2p device0:stop stop ");
    x(vmig_migration_cont(w.source->m, &err));
    expect_heard("resume device0:running-p2p device0:running ");
    x(vmig_migration_stop(w.source->m, &err));
    x(vmig_migration_stop(w.source->m, &err));
    expect_heard("device0:running-p2p device0:stop stop ");
    world_close(&w);
}

static void moves_tell_stop_before_device_and_resume_before_completed(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    listen_to(w.source);
    world_move(&w);
    party_goes_on(w.target);
    expect_heard("setup active stop device completed ");
    w.source->on_event = NULL;
    world_turn_round(&w);
    listen_to(w.target);
    world_move(&w);
    world_moved(&w);
    expect_heard("setup active resume completed ");
    world_close(&w);
}

/* ---- paused before ---- */

/* With PRE_COPY and without, with P2P and without, running or paused. */
static void run_state_travels(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * KINDS; i++) {
        struct world w;
        bool paused = i >= KINDS;
        open_kind(&w, &kinds[i % KINDS], (struct world_plan) { 0 });
        if (paused)
            x(vmig_migration_stop(w.source->m, &err));
        world_move(&w);
        if (w.source->rc || w.target->rc)
            fail_msg("%s; %s", w.source->err.text, w.target->err.text);
        expect_state(w.source, "postmigrate");
        party_is_still(w.source);
        if (paused) {
            expect_paused(w.target);
            assert_int_equal(w.target->starts, 0);
            x(vmig_migration_cont(w.target->m, &err));
        }
        expect_running(w.target);
        assert_false(w.both_ran);
        world_close(&w);
    }
}

static void what_was_sent_is_not_sent_again_nor_continued(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error refusal = { 0 };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    int rc = vmig_migration_send(w.source->m, "unix:/nobody", &refusal);
    expect_refused(rc, &refusal, -EBUSY, "postmigrate");
    cont_is_refused(w.source, -EPERM, "runs-elsewhere");
    x(vmig_migration_stop(w.source->m, &err)); /* it stands still */
    expect_state(w.source, "postmigrate");
    /* the operator: the target is gone and never ran it */
    x(vmig_migration_set_run_state(w.source->m, VMIG_RUN_STATE_PAUSED, &err));
    x(vmig_migration_stop(w.target->m, &err));
    x(vmig_migration_cont(w.source->m, &err));
    expect_devices(w.source, VMIG_STATE_RUNNING);
    expect_state(w.source, "running");
    world_close(&w);
}

static void library_says_its_own_run_states_itself(void **state)
{
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    static const enum vmig_run_state ours[] = { VMIG_RUN_STATE_FINISH_MIGRATE,
                                                VMIG_RUN_STATE_SAVE_VM, VMIG_RUN_STATE_POSTMIGRATE,
                                                VMIG_RUN_STATE_COUNT };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        struct vmig_error err = { 0 };
        assert_int_equal(vmig_migration_set_run_state(m, ours[i], &err), -EINVAL);
        assert_int_equal(vmig_migration_run_state(m), VMIG_RUN_STATE_RUNNING);
    }
    vmig_migration_free(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(devices_follow_stop_and_cont),
    cmocka_unit_test(stop_and_resume_are_told_in_qemus_order),
    cmocka_unit_test(moves_tell_stop_before_device_and_resume_before_completed),
    cmocka_unit_test(run_state_travels),
    cmocka_unit_test(what_was_sent_is_not_sent_again_nor_continued),
    cmocka_unit_test(library_says_its_own_run_states_itself),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
