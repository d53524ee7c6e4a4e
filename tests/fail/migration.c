/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migrations in which one call of one side fails. Whatever it was: one side runs, with all memory
 * and devices as they have to be, or both hold what they have until that is settled; the error says
 * what happened; nothing is left behind; and the same handles then move without a hitch.
 *
 * One thing cannot be taken back: a device whose connection broke is gone, as it would be with a
 * server that died. Then it must be named, and the rest must hold.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>

#include "tests/fail/campaign.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

/* ---- whom the library works for ---- */

static void acting(const struct party *side)
{
    inject_act_for(!side                         ? INJECT_NOBODY
                   : side == side->world->source ? INJECT_SOURCE
                                                 : INJECT_TARGET);
}

/* The host's callbacks are the test's own work. */
static struct vmig_host hosts_own;

static int stop_host(void *opaque, struct vmig_error *err)
{
    enum inject_side side = inject_act_for(INJECT_NOBODY);
    int rc = hosts_own.stop(opaque, err);
    inject_act_for(side);
    return rc;
}

static int start_host(void *opaque, struct vmig_error *err)
{
    enum inject_side side = inject_act_for(INJECT_NOBODY);
    int rc = hosts_own.start(opaque, err);
    inject_act_for(side);
    return rc;
}

static void tell_host(void *opaque, const struct vmig_event *event)
{
    enum inject_side side = inject_act_for(INJECT_NOBODY);
    hosts_own.event(opaque, event);
    inject_act_for(side);
}

static void set_apart(struct party *side)
{
    hosts_own = side->m->host;
    side->m->host.stop = stop_host;
    side->m->host.start = start_host;
    side->m->host.event = tell_host;
}

static void open_world(struct world *w, const struct world_plan *plan)
{
    struct world_plan mine = *plan;
    mine.acting = acting;
    world_open(w, &mine);
    set_apart(w->source);
    set_apart(w->target);
}

/* Connects and hangs up, as a source does whose link breaks. */
static void hang_up_on(struct party *target)
{
    struct address address;
    struct channel *channel;
    if (address_parse(target->listening, &address, NULL) == 0 &&
        channel_connect(&address, -1, &channel, NULL) == 0)
        channel_free(channel);
}

/* A source that failed before it said a word leaves a target that waits for another one. */
static void move(struct world *w)
{
    world_begin(w);
    if (w->plan.link == WORLD_TCP || w->plan.link == WORLD_UNIX) {
        party_join(w->source);
        if (w->source->rc < 0 && atomic_load(&w->source->m->sent_bytes) == 0)
            hang_up_on(w->target);
    }
    world_join(w);
}

/* ---- what may have become of it ---- */

static bool device_is_dead(struct party *side, unsigned device)
{
    enum vmig_state state;
    struct vmig_error err = { 0 };
    return vmig_device_get_state(side->devices[device].device, &state, &err) < 0;
}

static bool any_is_dead(struct party *side)
{
    for (unsigned i = 0; i < side->world->plan.devices; i++)
        if (device_is_dead(side, i))
            return true;
    return false;
}

/* The failed call was about a device's connection? */
static bool was_about_a_device(struct world *w)
{
    for (int k = 0; k < 2; k++)
        for (unsigned i = 0; i < w->plan.devices; i++) {
            const char *address = vmig_device_address(w->parties[k].devices[i].device);
            if (atoi(strrchr(address, ':') + 1) == inject_last()->fd)
                return true;
        }
    return false;
}

static void check_errors(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        struct party *side = &w->parties[i];
        if (side->rc)
            campaign_error_helps(side->name, side->rc, &side->err);
        if (side->rc == -ENOMEM && !strcasestr(side->err.text, "memory"))
            fail_msg("%s: out of memory, but says \"%s\"", side->name, side->err.text);
    }
}

/* A device is gone? Then the failed call must have been about its connection. */
static bool is_casualty(struct world *w)
{
    if (!any_is_dead(w->source) && !any_is_dead(w->target))
        return false;
    if (!was_about_a_device(w))
        fail_msg("%s took a device away: source %d %s; target %d %s", inject_last()->text,
                 w->source->rc, w->source->err.text, w->target->rc, w->target->err.text);
    return true;
}

/* Whoever lost nothing is as good as before. */
static void check_survivor(struct world *w)
{
    struct party *s = w->source, *t = w->target;
    bool t_ran = t->m->handover == HANDOVER_RUNNING;
    if (any_is_dead(t) && s->rc < 0 && s->rc != -EUCLEAN && t->rc < 0 && !t_ran)
        party_runs(s);
    if (any_is_dead(s) && t->rc == 0)
        party_runs(t);
}

static struct party *settle(struct world *w)
{
    struct party *s = w->source, *t = w->target;
    bool s_holds = s->rc == -EUCLEAN, t_holds = t->rc == -EUCLEAN;
    if (s_holds)
        party_is_still(s);
    if (t_holds)
        party_is_still(t);
    /* only what was or was not heard can be in doubt */
    if ((s_holds || t_holds) && inject_last()->fd < 0)
        fail_msg("%s left it open who owns the devices", inject_last()->text);
    if (s->rc < 0 && !s_holds && t->rc == 0)
        fail_msg("the source goes on (%d %s) and the target runs", s->rc, s->err.text);
    if (s->rc == 0 && t->rc < 0)
        fail_msg("the source let go and the target has not all: %d %s", t->rc, t->err.text);
    if (s_holds && t_holds) {
        x(vmig_migration_resolve(s->m, VMIG_RESOLVE_DISCARD, false, &err));
        x(vmig_migration_resolve(t->m, VMIG_RESOLVE_RUN, true, &err));
        return t;
    }
    if (s_holds)
        x(vmig_migration_resolve(s->m, t->rc ? VMIG_RESOLVE_RUN : VMIG_RESOLVE_DISCARD, true,
                                 &err));
    if (t_holds)
        x(vmig_migration_resolve(t->m, VMIG_RESOLVE_DISCARD, true, &err));
    return t->rc == 0 ? t : s;
}

/* It goes on as if nothing had been, and then moves. Verifying ends a workload, so that waits until
 * it has moved: what was lost before is still missing then. */
static void goes_on_and_moves(struct world *w)
{
    party_is_still(w->target);
    if (!w->source->runs)
        fail_msg("nothing runs: source %d %s", w->source->rc, w->source->err.text);
    for (unsigned i = 0; i < w->plan.devices; i++)
        assert_string_equal(vmig_state_name(party_state(w->source, i)), "RUNNING");
    party_goes_on(w->source);
    world_move(w);
    world_moved(w);
}

/* Both say that it went well. A source device may have died when it was let go of. */
static void check_moved(struct world *w)
{
    if (!is_casualty(w)) {
        world_moved(w);
        return;
    }
    assert_false(any_is_dead(w->target));
    party_runs(w->target);
}

/* Everything but what the files scenario has. */
static void judge(struct world *w, bool may_fail)
{
    struct party *s = w->source, *t = w->target;
    assert_false(w->both_ran);
    if (!may_fail) {
        world_moved(w);
        return;
    }
    if (s->rc == 0 && t->rc == 0) {
        check_moved(w);
        return;
    }
    check_errors(w);
    if (is_casualty(w)) {
        check_survivor(w);
        return;
    }
    if (settle(w) == t)
        world_runs_at(w, t);
    else
        goes_on_and_moves(w);
}

/* ---- from one host to another ---- */

static void move_once(const struct world_plan *plan)
{
    struct world w;
    open_world(&w, plan);
    campaign_begin();
    move(&w);
    judge(&w, campaign_end());
    world_close(&w);
}

static void move_with_lanes(void)
{
    move_once(&(struct world_plan) {
        .devices = 2, .link = WORLD_UNIX, .channels = 2, .control = true, .ram_bytes = 5 << 20 });
}

static void move_in_sections(void)
{
    move_once(&(struct world_plan) {
        .devices = 1, .link = WORLD_FD, .ram_bytes = 3 << 20, .vmstate = true });
}

static void move_over_tcp(void)
{
    move_once(&(struct world_plan) { .link = WORLD_TCP, .ram_bytes = 1 << 20 });
}

static void source_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("source, lanes", INJECT_SOURCE, move_with_lanes);
}

static void target_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("target, lanes", INJECT_TARGET, move_with_lanes);
}

static void source_may_fail_in_any_call_on_one_channel(void **state)
{
    (void)state;
    campaign("source, one channel", INJECT_SOURCE, move_in_sections);
}

static void target_may_fail_in_any_call_on_one_channel(void **state)
{
    (void)state;
    campaign("target, one channel", INJECT_TARGET, move_in_sections);
}

static void both_may_fail_in_any_call_over_tcp(void **state)
{
    (void)state;
    campaign("source, tcp", INJECT_SOURCE, move_over_tcp);
    campaign("target, tcp", INJECT_TARGET, move_over_tcp);
}

/* ---- into a file and out of it ---- */

static unsigned files_in(const char *directory)
{
    unsigned count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static const struct world_plan file_plan = {
    .devices = 1,
    .link = WORLD_FILE,
    .ram_bytes = 3 << 20,
    .vmstate = true,
};

static void save_attempt(void)
{
    struct world w;
    open_world(&w, &file_plan);
    campaign_begin();
    world_move(&w);
    bool may_fail = campaign_end();
    if (!may_fail) {
        world_moved(&w);
    } else if (w.source->rc == 0) {
        check_moved(&w);
    } else {
        check_errors(&w);
        assert_int_equal(files_in(w.directory), 0); /* neither half a file nor its beginnings */
        if (!is_casualty(&w))
            goes_on_and_moves(&w);
    }
    world_close(&w);
}

/* The source has let go, so this is all that is left of it: a failure must leave the file. */
static void restore_attempt(void)
{
    struct world w;
    open_world(&w, &file_plan);
    campaign_begin();
    world_move(&w);
    bool may_fail = campaign_end();
    if (!may_fail) {
        world_moved(&w);
    } else if (w.target->rc == 0) {
        check_moved(&w);
    } else {
        char address[200];
        check_errors(&w);
        assert_int_equal(files_in(w.directory), 1);
        assert_false(w.target->runs);
        if (!is_casualty(&w)) {
            party_is_still(w.target);
            snprintf(address, sizeof(address), "file:%s/file", w.directory);
            party_start(w.target, false, address);
            party_join(w.target);
            world_moved(&w);
        }
    }
    world_close(&w);
}

static void saving_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("save", INJECT_SOURCE, save_attempt);
}

static void restoring_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("restore", INJECT_TARGET, restore_attempt);
}

/* ---- when the hand-over was cut ---- */

/* Both hold; the target is told to run, and asks the source to yield first. */
static void resolve_attempt(void)
{
    struct world w;
    struct vmig_error told = { 0 };
    open_world(&w, &(struct world_plan) {
                       .devices = 1, .ram_bytes = 3 << 20, .relay = true, .control = true });
    w.relay = relay_new(&(struct relay_plan) { .inside_go = true });
    world_move(&w);
    assert_int_equal(w.source->rc, -EUCLEAN);
    assert_int_equal(w.target->rc, -EUCLEAN);
    campaign_begin();
    acting(w.target);
    int rc = vmig_migration_resolve(w.target->m, VMIG_RESOLVE_RUN, false, &told);
    acting(NULL);
    bool may_fail = campaign_end();
    if (rc < 0 && !may_fail)
        fail_msg("%d %s", rc, told.text);
    if (rc < 0)
        campaign_error_helps("resolve", rc, &told);
    assert_false(w.both_ran);
    if (is_casualty(&w)) {
        if (any_is_dead(w.source) && rc == 0)
            party_runs(w.target);
    } else {
        if (rc < 0) {
            party_is_still(w.source);
            party_is_still(w.target);
            x(vmig_migration_resolve(w.target->m, VMIG_RESOLVE_RUN, false, &err));
        }
        /* if it was not told that the target runs it is told now */
        vmig_migration_resolve(w.source->m, VMIG_RESOLVE_DISCARD, false, NULL);
        x(vmig_migration_wait_resolved(w.source->m, &err));
        world_runs_at(&w, w.target);
    }
    world_close(&w);
}

static void resolving_may_fail_in_any_call(void **state)
{
    (void)state;
    campaign("resolve, who asks", INJECT_TARGET, resolve_attempt);
    campaign("resolve, who is asked", INJECT_SOURCE, resolve_attempt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        campaign_test(source_may_fail_in_any_call),
        campaign_test(target_may_fail_in_any_call),
        campaign_test(source_may_fail_in_any_call_on_one_channel),
        campaign_test(target_may_fail_in_any_call_on_one_channel),
        campaign_test(both_may_fail_in_any_call_over_tcp),
        campaign_test(saving_may_fail_in_any_call),
        campaign_test(restoring_may_fail_in_any_call),
        campaign_test(resolving_may_fail_in_any_call),
    };
    cmocka_set_test_filter(getenv("FAIL_TEST"));
    return cmocka_run_group_tests(tests, campaign_setup, NULL);
}
