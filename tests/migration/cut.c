/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link is cut after every byte of the hand-over and at places all over the rest. Whatever
 * happens then: one side runs, or both hold what they have until somebody settles it by the rules
 * of docs/handover.pml; then one side runs, with all its memory, devices and patterns.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/migration/relay.h"
#include "tests/migration/world.h"

static int resolve(struct party *side, enum vmig_resolution what, bool gone,
                   struct vmig_error *ret_err)
{
    *ret_err = (struct vmig_error) { 0 };
    return vmig_migration_resolve(side->m, what, gone, ret_err);
}

static void expect(struct party *side, enum vmig_resolution what, bool gone, int rc,
                   const char *reason)
{
    struct vmig_error err;
    int got = resolve(side, what, gone, &err);
    if (got != rc || (reason && strcmp(reason, err.reason) != 0))
        fail_msg("resolving the %s: %d \"%s\" %s, wanted %d \"%s\"", side->name, got, err.reason,
                 err.text, rc, reason ? reason : "");
}

static bool unresolved(const struct party *side)
{
    return side->rc == -EUCLEAN;
}

/* One side is sure that it runs, the other does not know: `run` is refused, `discard` is right. */
static void settle_one(struct party *unsure, bool control)
{
    struct vmig_error err = { 0 };
    if (control)
        expect(unsure, VMIG_RESOLVE_RUN, false, -EBUSY, "other-side-runs");
    else
        expect(unsure, VMIG_RESOLVE_RUN, false, -ENOTCONN, "other-side-unreachable");
    expect(unsure, VMIG_RESOLVE_DISCARD, false, 0, NULL);
    assert_int_equal(vmig_migration_wait_resolved(unsure->m, &err), 0);
}

/* Both hold everything: the first to be told may run, the other lets go. */
static struct party *settle_both(struct world *w, unsigned order, bool control)
{
    struct party *runs = order % 2 ? w->target : w->source;
    struct party *lets_go = order % 2 ? w->source : w->target;
    bool discard_first = order / 2 % 2;
    struct vmig_error err = { 0 };
    if (!control) {
        expect(runs, VMIG_RESOLVE_RUN, false, -ENOTCONN, "other-side-unreachable");
        expect(lets_go, VMIG_RESOLVE_DISCARD, false, 0, NULL);
        expect(runs, VMIG_RESOLVE_RUN, true, 0, NULL);
    } else {
        if (discard_first)
            expect(lets_go, VMIG_RESOLVE_DISCARD, false, 0, NULL);
        expect(runs, VMIG_RESOLVE_RUN, false, 0, NULL);
        /* it was told, so nothing is left to settle there */
        expect(lets_go, VMIG_RESOLVE_DISCARD, false, -EALREADY, "nothing-to-resolve");
    }
    assert_int_equal(vmig_migration_wait_resolved(runs->m, &err), 1);
    assert_int_equal(vmig_migration_wait_resolved(lets_go->m, &err), 0);
    return runs;
}

static struct party *settle(struct world *w, unsigned order, bool control)
{
    struct party *s = w->source, *t = w->target;
    if (unresolved(s) && unresolved(t))
        return settle_both(w, order, control);
    if (unresolved(s))
        settle_one(s, control);
    if (unresolved(t))
        settle_one(t, control);
    return t->rc == 0 ? t : s;
}

/* Nobody runs while it is unresolved, and nobody ran who may not. */
static void check_before(struct world *w)
{
    struct party *s = w->source, *t = w->target;
    if (s->rc < 0 && !unresolved(s) && t->rc == 0)
        fail_msg("the source goes on (%d %s) and the target runs", s->rc, s->err.text);
    if (s->rc == 0 && t->rc < 0)
        fail_msg("the source has let go and the target has not all (%d %s)", t->rc, t->err.text);
    if (unresolved(s))
        party_is_still(s);
    if (unresolved(t))
        party_is_still(t);
    assert_false(w->both_ran);
}

struct cut {
    bool from_loaded;
    uint64_t after;
    unsigned order;
    struct world_plan plan;
};

/* Cut, settle, verify. True when the link lived long enough to be cut. */
static bool cut(const struct cut *c, uint64_t *ret_passed)
{
    struct world w;
    struct world_plan plan = c->plan;
    plan.relay = true;
    world_open(&w, &plan);
    w.relay = relay_new(&(struct relay_plan) { .from_loaded = c->from_loaded, .after = c->after });
    world_move(&w);
    bool was_cut = relay_acted(w.relay);
    if (ret_passed)
        *ret_passed = relay_passed(w.relay);
    check_before(&w);
    world_runs_at(&w, settle(&w, c->order, plan.control));
    world_close(&w);
    return was_cut;
}

/* ---- the hand-over ---- */

/* Two ways of the cases where it matters, so that both are met in each message. */
static void link_may_break_after_any_byte_of_the_hand_over(void **state)
{
    (void)state;
    struct cut c = { .from_loaded = true, .plan = { .devices = 1 } };
    unsigned bytes = 0;
    for (bool goes_on = true; goes_on; bytes++) {
        c.after = bytes;
        c.order = bytes;
        c.plan.control = bytes % 8 < 5;
        c.plan.lone_main = bytes % 3 == 2;
        goes_on = cut(&c, NULL);
    }
    /* LOADED, GO, RUNNING and SHUT: heads and two reports */
    assert_true(bytes > 50 && bytes < 1000);
}

/* Where exactly: GO is 5 bytes, after all of LOADED. */
static void link_may_break_inside_go_and_any_order_settles_it(void **state)
{
    (void)state;
    struct world w;
    for (unsigned order = 0; order < 8; order++) {
        world_open(&w, &(struct world_plan) { .devices = 2, .relay = true, .control = order < 4 });
        w.relay = relay_new(&(struct relay_plan) { .inside_go = true });
        world_move(&w);
        assert_true(unresolved(w.source));
        assert_true(unresolved(w.target));
        check_before(&w);
        world_runs_at(&w, settle(&w, order, order < 4));
        world_close(&w);
    }
}

struct asker {
    struct party *side;
    int rc;
};

static void *ask(void *opaque)
{
    struct asker *a = opaque;
    struct vmig_error err;
    a->rc = resolve(a->side, VMIG_RESOLVE_RUN, false, &err);
    return NULL;
}

/* Whoever wins, only one: the other is told "busy" or "running", or both are and try again. */
static void both_sides_told_to_run_at_once_never_both_do(void **state)
{
    (void)state;
    struct world w;
    for (unsigned turn = 0; turn < 4; turn++) {
        world_open(&w, &(struct world_plan) { .devices = 1, .relay = true, .control = true });
        w.relay = relay_new(&(struct relay_plan) { .inside_go = true });
        world_move(&w);
        struct asker askers[2] = { { w.source, 0 }, { w.target, 0 } };
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        assert_false(w.both_ran);
        assert_false(askers[0].rc == 0 && askers[1].rc == 0);
        if (askers[0].rc < 0 && askers[1].rc < 0)
            expect(w.target, VMIG_RESOLVE_RUN, false, 0, NULL);
        struct party *runs = askers[0].rc == 0 ? w.source : w.target;
        struct party *other = askers[0].rc == 0 ? w.target : w.source;
        struct vmig_error err;
        int rc = resolve(other, VMIG_RESOLVE_DISCARD, false, &err);
        assert_true(rc == 0 || rc == -EALREADY);
        world_runs_at(&w, runs);
        world_close(&w);
    }
}

/* The target's start fails after GO, and its FAILED is lost: the source may have it back. */
static int refuse_to_start(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return -EIO;
}

static void target_that_could_not_start_lets_the_source_run(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .relay = true, .control = true });
    w.relay = relay_new(&(struct relay_plan) { .after_go = true });
    w.target->m->host.start = refuse_to_start;
    world_move(&w);
    assert_true(unresolved(w.source));
    assert_true(w.target->rc < 0 && !unresolved(w.target));
    expect(w.source, VMIG_RESOLVE_RUN, false, 0, NULL);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void target_that_could_not_start_tells_the_source(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { 0 });
    w.target->m->host.start = refuse_to_start;
    world_move(&w);
    party_failed(w.target, -EIO, NULL, NULL);
    party_failed(w.source, -EIO, NULL, "the target failed");
    world_runs_at(&w, w.source);
    world_close(&w);
}

/* Its device ran already: what that did cannot be taken back, so the source may not run. */
static void target_whose_device_ran_keeps_the_workload(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .relay = true, .control = true });
    w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX });
    w.target->m->host.start = refuse_to_start;
    world_move(&w);
    party_failed(w.target, -EIO, NULL, NULL);
    assert_int_equal(party_state(w.target, 0), VMIG_STATE_RUNNING);
    assert_true(unresolved(w.source));
    expect(w.source, VMIG_RESOLVE_RUN, false, -EBUSY, "other-side-runs");
    party_is_still(w.source);
    expect(w.source, VMIG_RESOLVE_DISCARD, false, 0, NULL);
    world_close(&w);
}

/* ---- the rest ---- */

/* Places close together at the beginning, where the small messages are, and all over what follows.
 */
static void link_may_break_anywhere_before(void **state)
{
    (void)state;
    struct cut c = { .after = UINT64_MAX, .plan = { .devices = 2, .channels = 2 } };
    uint64_t all = 0;
    assert_false(cut(&c, &all));
    for (unsigned i = 0; i < 60; i++) {
        c.after = i < 24 ? i * i * 5 : 3000 + (all - 3000) * (i - 24) / 36;
        c.order = i;
        c.plan.control = i % 2;
        c.plan.lone_main = i % 3 == 2;
        cut(&c, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(link_may_break_after_any_byte_of_the_hand_over),
        cmocka_unit_test(link_may_break_inside_go_and_any_order_settles_it),
        cmocka_unit_test(both_sides_told_to_run_at_once_never_both_do),
        cmocka_unit_test(target_that_could_not_start_lets_the_source_run),
        cmocka_unit_test(target_that_could_not_start_tells_the_source),
        cmocka_unit_test(target_whose_device_ran_keeps_the_workload),
        cmocka_unit_test(link_may_break_anywhere_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
