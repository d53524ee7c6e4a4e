/* SPDX-License-Identifier: BSD-3-Clause */
/* The status machine: what may follow what, who is told, and how devices are at each change. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/migration/status.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

/* ---- the table ---- */

#define S(name) (1u << VMIG_STATUS_##name)

/* QEMU's transitions without postcopy, COLO and failover; `device` always, as since 10.0; `unresolved`
 * is ours. A migration that has not ended may fail, and be cancelled unless it hangs. */
static unsigned allowed(bool source, enum vmig_status from)
{
    const unsigned wrong = S(CANCELLING) | S(FAILED);
    switch (from) {
    case VMIG_STATUS_NONE:
    case VMIG_STATUS_COMPLETED:
    case VMIG_STATUS_CANCELLED:
    case VMIG_STATUS_FAILED:
        return S(SETUP);
    case VMIG_STATUS_SETUP:
        return S(ACTIVE) | wrong;
    case VMIG_STATUS_ACTIVE:
        return (source ? S(PRE_SWITCHOVER) | S(DEVICE) : S(COMPLETED) | S(UNRESOLVED)) | wrong;
    case VMIG_STATUS_PRE_SWITCHOVER:
        return source ? S(DEVICE) | wrong : 0;
    case VMIG_STATUS_DEVICE:
        return source ? S(COMPLETED) | S(UNRESOLVED) | wrong : 0;
    case VMIG_STATUS_CANCELLING:
        return S(CANCELLED) | S(FAILED);
    case VMIG_STATUS_UNRESOLVED:
        return S(COMPLETED) | S(FAILED);
    default:
        return 0;
    }
}

struct told {
    unsigned count;
    enum vmig_status last;
    char warning[600];
};

static void tell(void *opaque, const struct vmig_event *event)
{
    struct told *t = opaque;
    if (event->kind == VMIG_EVENT_STATUS) {
        t->count++;
        t->last = event->status;
    }
    if (event->kind == VMIG_EVENT_WARNING)
        snprintf(t->warning, sizeof(t->warning), "%s", event->text);
}

static struct vmig_migration *in_status(struct told *told, enum side side, enum vmig_status status)
{
    struct vmig_host host = { .size = sizeof(host), .opaque = told, .event = tell };
    struct vmig_migration *m = vmig_migration_new(&host, NULL);
    assert_non_null(m);
    *told = (struct told) { 0 };
    m->side = side;
    m->statistics.status = status;
    return m;
}

static void leave(struct vmig_migration *m)
{
    m->side = SIDE_NONE;
    vmig_migration_free(m);
}

/* A change that must not be leaves the status as it was and fails the migration; none is silent. */
static void try_change(enum side side, enum vmig_status from, enum vmig_status to)
{
    struct told told;
    struct vmig_error why = { 0 };
    struct vmig_migration *m = in_status(&told, side, from);
    bool may = allowed(side == SIDE_SOURCE, from) & 1u << to;
    run_status(m, to);
    int rc = run_check(m, &why);
    if (m->statistics.status != (may ? to : from) || told.count != (may ? 1u : 0u) ||
        (rc < 0) != (!may && from != to))
        fail_msg("%s: %s to %s: now %s, %u events, %d %s",
                 side == SIDE_SOURCE ? "source" : "target", vmig_status_name(from),
                 vmig_status_name(to), vmig_status_name(m->statistics.status), told.count, rc,
                 why.text);
    if (rc < 0) {
        assert_string_equal(why.reason, "internal-error");
        assert_non_null(strstr(why.text, vmig_status_name(from)));
        assert_non_null(strstr(why.text, vmig_status_name(to)));
    }
    leave(m);
}

static void each_change_is_allowed_or_fails_the_migration(void **state)
{
    (void)state;
    for (enum vmig_status from = VMIG_STATUS_NONE; from < VMIG_STATUS_COUNT; from++)
        for (enum vmig_status to = VMIG_STATUS_NONE; to < VMIG_STATUS_COUNT; to++) {
            try_change(SIDE_SOURCE, from, to);
            try_change(SIDE_TARGET, from, to);
        }
}

/* The other side may run: failing now would make two of it. */
static void wrong_change_past_the_point_of_no_return_is_a_warning(void **state)
{
    (void)state;
    struct told told;
    struct vmig_migration *m = in_status(&told, SIDE_SOURCE, VMIG_STATUS_SETUP);
    m->handover = HANDOVER_GAVE_UP;
    run_status(m, VMIG_STATUS_COMPLETED);
    assert_int_equal(run_check(m, NULL), 0);
    assert_int_equal(m->statistics.status, VMIG_STATUS_COMPLETED);
    assert_non_null(strstr(told.warning, "\"setup\" to \"completed\""));
    assert_int_equal(told.last, VMIG_STATUS_COMPLETED);
    m->handover = HANDOVER_NONE;
    leave(m);
}

static void each_status_has_its_own_name(void **state)
{
    (void)state;
    for (enum vmig_status s = VMIG_STATUS_NONE; s < VMIG_STATUS_COUNT; s++)
        for (enum vmig_status other = VMIG_STATUS_NONE; other < s; other++)
            assert_string_not_equal(vmig_status_name(s), vmig_status_name(other));
    assert_string_equal(vmig_status_name(VMIG_STATUS_COUNT), "?");
    assert_string_equal(vmig_status_name((enum vmig_status) - 1), "?");
}

/* ---- who is told, and what they see ---- */

#define SEEN_MAX 16

struct witness {
    struct party *side;
    unsigned count;
    struct {
        enum vmig_status status;
        enum vmig_state device;
        bool workload;
    } seen[SEEN_MAX];
};

static void note(void *opaque, enum vmig_status status)
{
    struct witness *w = opaque;
    assert_in_range(w->count, 0, SEEN_MAX - 1);
    w->seen[w->count].status = status;
    w->seen[w->count].device = party_state(w->side, 0);
    pthread_mutex_lock(&w->side->world->lock);
    w->seen[w->count].workload = w->side->runs;
    pthread_mutex_unlock(&w->side->world->lock);
    w->count++;
}

static const struct vmig_participant_ops witness_ops = { .size = sizeof(witness_ops),
                                                         .notify = note };

struct expected {
    enum vmig_status status;
    enum vmig_state device;
    bool workload;
};

static void saw(const struct witness *w, const struct expected *wanted)
{
    char text[800] = "";
    bool same = true;
    unsigned i;
    for (i = 0; i < w->count; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof(text) - length, "%s: device %s, workload %s; ",
                 vmig_status_name(w->seen[i].status), vmig_state_name(w->seen[i].device),
                 w->seen[i].workload ? "runs" : "stands");
        same &= w->seen[i].status == wanted[i].status && w->seen[i].device == wanted[i].device &&
                w->seen[i].workload == wanted[i].workload;
        if (!same)
            break;
    }
    if (!same || wanted[i].status != VMIG_STATUS_NONE)
        fail_msg("%s saw %s", w->side->name, text);
}

static void open_with_witnesses(struct world *w, struct witness *source, struct witness *target)
{
    world_open(w, &(struct world_plan) { .devices = 1 });
    *source = (struct witness) { .side = w->source };
    *target = (struct witness) { .side = w->target };
    x(vmig_migration_add_participant(w->source->m, "witness", &witness_ops, source, &err));
    x(vmig_migration_add_participant(w->target->m, "witness", &witness_ops, target, &err));
}

#define RUNS true
#define STANDS false

static void devices_are_where_each_status_says(void **state)
{
    (void)state;
    struct world w;
    struct witness source, target;
    open_with_witnesses(&w, &source, &target);
    party_switch(w.source, "pause-before-switchover", true);
    world_begin(&w);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    x(vmig_migration_continue(w.source->m, VMIG_STATUS_PRE_SWITCHOVER, &err));
    world_join(&w);
    world_moved(&w);
    saw(&source, (struct expected[]) {
                     { VMIG_STATUS_SETUP, VMIG_STATE_RUNNING, RUNS },
                     { VMIG_STATUS_ACTIVE, VMIG_STATE_PRE_COPY, RUNS },
                     { VMIG_STATUS_PRE_SWITCHOVER, VMIG_STATE_STOP_COPY, STANDS },
                     { VMIG_STATUS_DEVICE, VMIG_STATE_STOP_COPY, STANDS },
                     { VMIG_STATUS_COMPLETED, VMIG_STATE_STOP, STANDS },
                     { VMIG_STATUS_NONE, 0, false },
                 });
    saw(&target, (struct expected[]) {
                     { VMIG_STATUS_SETUP, VMIG_STATE_RUNNING, STANDS },
                     { VMIG_STATUS_ACTIVE, VMIG_STATE_RESUMING, STANDS },
                     { VMIG_STATUS_COMPLETED, VMIG_STATE_RUNNING, RUNS },
                     { VMIG_STATUS_NONE, 0, false },
                 });
    world_close(&w);
}

static void cancelled_devices_run_again_when_it_is_said(void **state)
{
    (void)state;
    struct world w;
    struct witness source, target;
    open_with_witnesses(&w, &source, &target);
    party_switch(w.source, "pause-before-switchover", true);
    world_begin(&w);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    vmig_migration_cancel(w.source->m);
    world_join(&w);
    saw(&source, (struct expected[]) {
                     { VMIG_STATUS_SETUP, VMIG_STATE_RUNNING, RUNS },
                     { VMIG_STATUS_ACTIVE, VMIG_STATE_PRE_COPY, RUNS },
                     { VMIG_STATUS_PRE_SWITCHOVER, VMIG_STATE_STOP_COPY, STANDS },
                     { VMIG_STATUS_CANCELLING, VMIG_STATE_STOP_COPY, STANDS },
                     { VMIG_STATUS_CANCELLED, VMIG_STATE_RUNNING, RUNS },
                     { VMIG_STATUS_NONE, 0, false },
                 });
    world_close(&w);
}

static void fail_in_rounds(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_COMPLETE) /* the source reads the rest of its state */
        party_fault(side, 0, "fail@read");
}

static void failed_devices_run_again_when_it_is_said(void **state)
{
    (void)state;
    struct world w;
    struct witness source, target;
    open_with_witnesses(&w, &source, &target);
    w.source->on_stage = fail_in_rounds;
    world_move(&w);
    assert_true(w.source->rc < 0);
    saw(&source, (struct expected[]) {
                     { VMIG_STATUS_SETUP, VMIG_STATE_RUNNING, RUNS },
                     { VMIG_STATUS_ACTIVE, VMIG_STATE_PRE_COPY, RUNS },
                     { VMIG_STATUS_DEVICE, VMIG_STATE_STOP_COPY, STANDS },
                     { VMIG_STATUS_FAILED, VMIG_STATE_RUNNING, RUNS },
                     { VMIG_STATUS_NONE, 0, false },
                 });
    assert_int_equal(target.seen[target.count - 1].device, VMIG_STATE_RUNNING);
    assert_false(target.seen[target.count - 1].workload);
    world_close(&w);
}

/* Tables of programs that were compiled before there was notify(). */
static void participant_without_room_for_notify_is_taken(void **state)
{
    (void)state;
    struct vmig_participant_ops old = witness_ops;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    old.size = offsetof(struct vmig_participant_ops, notify);
    x(vmig_migration_add_participant(m, "old", &old, NULL, &err));
    assert_null(participant_find(m, "old")->ops->notify);
    old.size--;
    assert_int_equal(vmig_migration_add_participant(m, "older", &old, NULL, NULL), -EINVAL);
    vmig_migration_free(m);
}

/* ---- the same handle again ---- */

static void end_by_cancel(struct world *w)
{
    world_begin(w);
    party_await_stage(w->source, VMIG_STAGE_ROUNDS);
    vmig_migration_cancel(w->source->m);
    world_join(w);
    assert_int_equal(w->source->rc, -ECANCELED);
}

static void end_by_failure(struct world *w)
{
    w->source->on_stage = fail_in_rounds;
    world_move(w);
    w->source->on_stage = NULL;
    party_fault(w->source, 0, NULL);
    assert_true(w->source->rc < 0 && w->source->rc != -ECANCELED);
}

static void move_and_turn_round(struct world *w)
{
    world_move(w);
    if (w->source->rc || w->target->rc)
        fail_msg("source: %d %s; target: %d %s", w->source->rc, w->source->err.text, w->target->rc,
                 w->target->err.text);
    assert_true(w->equal);
    party_is_still(w->source);
    party_goes_on(w->target);
    world_turn_round(w);
}

/* A to B to A to B, with every other end in between; both handles live on. */
static void handle_is_used_again_after_every_end(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .channels = 2 });
    move_and_turn_round(&w);
    end_by_cancel(&w);
    move_and_turn_round(&w);
    end_by_failure(&w);
    move_and_turn_round(&w);
    world_turn_round(&w);
    assert_false(w.both_ran);
    world_runs_at(&w, w.target);
    world_close(&w);
}

/* What came by a socket goes to a file and comes back from it. */
static void handle_is_used_again_with_another_kind_of_link(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    move_and_turn_round(&w);
    w.plan.link = WORLD_FILE;
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    assert_int_equal(w.target->rc, 0);
    party_goes_on(w.target);
    world_turn_round(&w);
    w.plan.link = WORLD_FD;
    move_and_turn_round(&w);
    world_turn_round(&w);
    world_runs_at(&w, w.target);
    world_close(&w);
}

static void settle(struct party *side, enum vmig_resolution how, enum vmig_status wanted)
{
    assert_int_equal(side->status, VMIG_STATUS_UNRESOLVED);
    x(vmig_migration_resolve(side->m, how, true, &err));
    assert_int_equal(side->status, wanted);
}

static void handle_is_used_again_after_a_hand_over_that_was_settled(void **state)
{
    (void)state;
    for (unsigned at_target = 0; at_target < 2; at_target++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 1, .relay = true });
        w.relay = relay_new(&(struct relay_plan) { .inside_go = true });
        world_move(&w);
        /* as docs/handover.pml has it: who lets go first, then who runs */
        if (at_target) {
            settle(w.source, VMIG_RESOLVE_DISCARD, VMIG_STATUS_COMPLETED);
            settle(w.target, VMIG_RESOLVE_RUN, VMIG_STATUS_COMPLETED);
            world_turn_round(&w);
        } else {
            settle(w.target, VMIG_RESOLVE_DISCARD, VMIG_STATUS_FAILED);
            settle(w.source, VMIG_RESOLVE_RUN, VMIG_STATUS_FAILED);
        }
        relay_free(w.relay);
        w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX });
        world_move(&w);
        world_moved(&w);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_is_allowed_or_fails_the_migration),
        cmocka_unit_test(wrong_change_past_the_point_of_no_return_is_a_warning),
        cmocka_unit_test(each_status_has_its_own_name),
        cmocka_unit_test(devices_are_where_each_status_says),
        cmocka_unit_test(cancelled_devices_run_again_when_it_is_said),
        cmocka_unit_test(failed_devices_run_again_when_it_is_said),
        cmocka_unit_test(participant_without_room_for_notify_is_taken),
        cmocka_unit_test(handle_is_used_again_after_every_end),
        cmocka_unit_test(handle_is_used_again_with_another_kind_of_link),
        cmocka_unit_test(handle_is_used_again_after_a_hand_over_that_was_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
