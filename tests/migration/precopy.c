/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRE_COPY beyond the plain case: devices that announce new initial bytes in mid-flight, at every
 * moment at which they can, sizes that fail, lie or never fall, and
 * who wants a round for himself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/participant/device.h"
#include "tests/migration/world.h"

static struct participant *device_of(struct party *side, unsigned index)
{
    char id[16];
    snprintf(id, sizeof(id), "device%u", index);
    return participant_find(side->m, id);
}

static bool is_enabled(struct party *side, unsigned index)
{
    struct vmig_migration_info info;
    x(vmig_device_migration_info(side->devices[index].device, &info, &err));
    return info.reinit;
}

/* All that was announced, the first time and @again, was acknowledged, on both sides. */
static void announced(struct world *w, unsigned index, unsigned again)
{
    assert_int_equal(device_of(w->source, index)->initial_sent, 1 + again);
    assert_int_equal(device_of(w->source, index)->initial_acked, 1 + again);
    assert_int_equal(device_of(w->target, index)->initial_sent, 1 + again);
    assert_int_equal(device_of(w->target, index)->initial_acked, 1 + again);
}

/* ---- the plain way ---- */

static void new_initial_bytes_are_acknowledged_each_time(void **state)
{
    static const struct world_plan plans[] = {
        { .devices = 2, .reinit = 3 },
        { .devices = 2, .reinit = 1, .lone_main = true },
        { .devices = 1, .reinit = 2, .link = WORLD_FD },
        { .devices = 2, .reinit = 2, .channels = 3 },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct world w;
        world_open(&w, &plans[i]);
        world_move(&w);
        world_moved(&w);
        for (unsigned d = 0; d < plans[i].devices; d++) {
            assert_true(is_enabled(w.source, d));
            announced(&w, d, (unsigned)plans[i].reinit);
        }
        world_close(&w);
    }
}

/* A device that sends all in the pause has no say in it, and those that announce do not wait for it. */
static void devices_with_and_without_pre_copy_move_together(void **state)
{
    (void)state;
    for (unsigned channels = 0; channels < 2; channels++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 3,
                                              .profiles = { [1] = "pds", [2] = "mlx5" },
                                              .reinit = 2,
                                              .lone_main = !channels });
        world_move(&w);
        world_moved(&w);
        announced(&w, 0, 2);
        announced(&w, 2, 2);
        const struct participant *without = device_of(w.source, 1);
        assert_int_equal(without->initial_sent, 0);
        assert_int_equal(without->precopy_bytes, 0);
        assert_true(without->data_bytes > 0);
        assert_false(is_enabled(w.source, 1));
        assert_true(is_enabled(w.source, 2));
        world_close(&w);
    }
}

static void without_acknowledgements_nobody_asks_for_new_initial_bytes(void **state)
{
    (void)state;
    for (int file = 0; file < 2; file++) {
        struct world w;
        world_open(&w, &(struct world_plan) {
                           .devices = 1, .reinit = 3, .link = file ? WORLD_FILE : WORLD_TCP });
        world_switch(&w, "switchover-ack", false);
        world_move(&w);
        world_moved(&w);
        assert_false(is_enabled(w.source, 0));
        world_close(&w);
    }
}

/* ---- a peer that does not count ---- */

/* Sides that agreed on nothing: one announcement, one acknowledgement, and the device is not asked;
 * one that was asked in an earlier attempt may say what it likes. */
static void with_a_peer_that_does_not_count_the_device_is_not_asked(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 1, .reinit = 3 });
        w.source->m->unnumbered_acks = true;
        if (before)
            x(vmig_device_enable_reinit(w.source->devices[0].device, &err));
        world_move(&w);
        world_moved(&w);
        assert_int_equal(is_enabled(w.source, 0), before);
        announced(&w, 0, 0);
        world_close(&w);
    }
}

/* ---- when the switch is decided ---- */

/* One step of device0 at the source with something before and after it. */
static struct {
    struct party *side;
    struct vmig_participant_ops ops;
    unsigned before, after; /* announcements that are due then; ALWAYS: each time */
    unsigned quiesced;
} hooked;
#define ALWAYS 1000u

static void announce(unsigned *left)
{
    uint64_t one = 1;
    if (*left == 0)
        return;
    if (*left != ALWAYS)
        --*left;
    vmig_device_region_write(hooked.side->devices[0].device, REFDEV_BAR_REGISTERS,
                             REFDEV_REG_REINIT, &one, sizeof(one), NULL);
}

static int quiesce_announcing(void *opaque, struct vmig_error *err)
{
    hooked.quiesced++;
    announce(&hooked.before);
    int rc = participant_device_ops.quiesce(opaque, err);
    announce(&hooked.after);
    return rc;
}

static int stop_announcing(void *opaque, struct vmig_error *err)
{
    announce(&hooked.after);
    return participant_device_ops.stop(opaque, err);
}

static void open_hooked(struct world *w, const struct world_plan *plan)
{
    world_open(w, plan);
    memset(&hooked, 0, sizeof(hooked));
    hooked.side = w->source;
    hooked.ops = participant_device_ops;
    device_of(w->source, 0)->ops = &hooked.ops;
}

static void on_quiesce(struct party *side, enum vmig_stage stage)
{
    (void)side;
    if (stage == VMIG_STAGE_QUIESCE)
        announce(&hooked.before);
}

/* The workload is not even stopped for it. */
static void announcement_between_decision_and_quiesce_puts_the_switch_off(void **state)
{
    (void)state;
    struct world w;
    open_hooked(&w, &(struct world_plan) { .devices = 2 });
    hooked.before = 2;
    w.source->on_stage = on_quiesce;
    world_move(&w);
    world_moved(&w);
    announced(&w, 0, 2);
    announced(&w, 1, 0);
    assert_int_equal(w.source->starts, 1);
    world_close(&w);
}

/* Before the P2P state is reached or after: everything runs on, as it must, and nothing is lost. */
static void announcement_during_quiesce_lets_all_run_on_and_is_acknowledged(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++)
        for (int lone = 0; lone < 2; lone++) {
            struct world w;
            open_hooked(&w, &(struct world_plan) { .devices = 2, .lone_main = lone });
            hooked.ops.quiesce = quiesce_announcing;
            *(after ? &hooked.after : &hooked.before) = 2;
            world_move(&w);
            world_moved(&w);
            announced(&w, 0, 2);
            announced(&w, 1, 0);
            assert_int_equal(hooked.quiesced, 3);
            assert_int_equal(w.source->starts, 3);
            world_close(&w);
        }
}

/* Nobody asks any more, and all the data follows in the pause. */
static void announcement_after_the_last_question_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    open_hooked(&w, &(struct world_plan) { .devices = 2 });
    hooked.ops.stop = stop_announcing;
    hooked.after = 1;
    world_move(&w);
    world_moved(&w);
    announced(&w, 0, 0);
    assert_int_equal(w.source->starts, 1);
    world_close(&w);
}

static void device_that_never_stops_announcing_is_named(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        struct world w;
        open_hooked(&w, &(struct world_plan) { .devices = 2 });
        hooked.ops.quiesce = quiesce_announcing;
        hooked.after = early ? 0 : ALWAYS;
        hooked.before = early ? ALWAYS : 0;
        if (early)
            w.source->on_stage = on_quiesce;
        party_set(w.source, "max-rounds", 6);
        world_move(&w);
        party_failed(w.source, -ETIME, "not-converging", "initial bytes");
        assert_string_equal(w.source->err.device, "device0");
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void participant_that_cannot_run_on_lets_the_switch_go_ahead(void **state)
{
    (void)state;
    struct world w;
    open_hooked(&w, &(struct world_plan) { .devices = 1 });
    hooked.ops.quiesce = quiesce_announcing;
    hooked.ops.unquiesce = NULL;
    hooked.after = 1;
    world_move(&w);
    world_moved(&w);
    announced(&w, 0, 0);
    world_close(&w);
}

static int refuse(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return -EIO;
}

static void device_that_refuses_to_run_on_ends_the_migration(void **state)
{
    (void)state;
    struct world w;
    open_hooked(&w, &(struct world_plan) { .devices = 2 });
    hooked.ops.quiesce = quiesce_announcing;
    hooked.ops.unquiesce = refuse;
    hooked.after = 1;
    world_move(&w);
    party_failed(w.source, -EIO, NULL, "unquiesce");
    world_runs_at(&w, w.source);
    world_close(&w);
}

/* ---- which acknowledgement is of what ---- */

static void acknowledgement_of_the_old_initial_bytes_is_not_one_of_the_new(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error err = { 0 };
    world_open(&w, &(struct world_plan) { .devices = 1, .still = true });
    struct vmig_migration *m = w.source->m;
    struct participant *p = device_of(w.source, 0);
    m->switchover_ack = m->numbered_acks = p->precopy = p->begins_again = true;
    p->initial_sent = 2;
    p->initial_acked = 1;
    assert_false(announce_acknowledged_locked(m));
    assert_int_equal(announce_on_number(m, p->index, 1, &err), -EPROTO);
    assert_int_equal(announce_on_number(m, p->index, 3, NULL), -EPROTO);
    assert_int_equal(announce_on_ack(m, NULL), -EPROTO);
    assert_false(announce_acknowledged_locked(m));
    assert_string_equal(err.device, "device0");
    assert_string_equal(err.reason, "bad-stream");
    assert_int_equal(announce_on_number(m, p->index, 2, NULL), 0);
    assert_true(announce_acknowledged_locked(m));
    assert_int_equal(announce_on_number(m, p->index, 2, NULL), -EPROTO);
    world_close(&w);
}

static void acknowledgement_of_all_comes_after_all_were_sent_and_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .still = true });
    struct vmig_migration *m = w.source->m;
    struct participant *first = device_of(w.source, 0), *second = device_of(w.source, 1);
    m->switchover_ack = true;
    assert_int_equal(announce_on_ack(m, NULL), -EPROTO);
    first->precopy = second->precopy = true;
    first->initial_sent = 1;
    assert_int_equal(announce_on_ack(m, NULL), -EPROTO);
    second->initial_sent = 1;
    assert_int_equal(announce_on_number(m, first->index, 1, NULL), -EPROTO);
    first->initial_acked = second->initial_acked = 0;
    assert_int_equal(announce_on_ack(m, NULL), 0);
    assert_true(announce_acknowledged_locked(m));
    assert_int_equal(announce_on_ack(m, NULL), -EPROTO);
    world_close(&w);
}

/* ---- sizes ---- */

/* Moves with the fault, or with @text ends so, device1 named and the workload at the source. */
static void with_size_fault(const char *fault, uint64_t user_bytes, const char *reason,
                            const char *text)
{
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    party_fault(w.source, 1, fault);
    party_set(w.source, "device-state-size", user_bytes);
    party_set(w.source, "max-rounds", 5);
    world_move(&w);
    if (reason) {
        party_failed(w.source, -ETIME, reason, text);
        assert_string_equal(w.source->err.device, "device1");
        world_runs_at(&w, w.source);
    } else {
        world_moved(&w);
        announced(&w, 0, 0);
        announced(&w, 1, 0);
    }
    world_close(&w);
}

static void size_that_nobody_tells_holds_the_switch_until_the_user_does(void **state)
{
    static const struct {
        const char *fault, *text;
    } rows[] = {
        { "fail:EIO@command/size#1+", "device-state-size" },
        { "fail:EIO@command/size#2+", "Input/output error" },
        { "fail:EINVAL@command/info#2+", "device-state-size" },
        { "lie:9223372036854775808@command/size#1+", "claims 9223372036854775808" },
        { "lie:9223372036854775807@command/size#1+", "claims 9223372036854775807 bytes of state" },
        { "lie:1125899906842625@command/size#1+", "claims 1125899906842625 bytes of state" },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        with_size_fault(rows[i].fault, 0, "device-size-unknown", rows[i].text);
        with_size_fault(rows[i].fault, 1 << 20, NULL, NULL);
    }
}

static void size_that_is_not_told_once_holds_the_switch_for_a_round(void **state)
{
    (void)state;
    with_size_fault("fail:EIO@command/size#2", 0, NULL, NULL);
    with_size_fault("fail:EIO@command/info#2", 0, NULL, NULL);
}

static unsigned warnings;
static char warning[400];

static void on_warning(void *opaque, const struct vmig_event *event)
{
    (void)opaque;
    if (event->kind != VMIG_EVENT_WARNING)
        return;
    warnings++;
    snprintf(warning, sizeof(warning), "%s", event->text);
}

/* The host hears of it while it is so, once; and the user's word is not believed below the device's
 * own. */
static void missing_size_is_told_and_is_not_less_than_it_was(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_ram = true, .local_bytes = 1 << 20 });
    w.source->m->host.event = on_warning;
    party_fault(w.source, 0, "fail:EIO@command/size#2+");
    party_set(w.source, "max-rounds", 4);
    warnings = 0;
    world_move(&w);
    party_failed(w.source, -ETIME, "device-size-unknown", "after 4 rounds");
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warning, "device0: "));
    assert_non_null(strstr(warning, "device-state-size"));
    party_fault(w.source, 0, NULL);
    party_fault(w.source, 0, "fail:EIO@command/size#2+");
    party_set(w.source, "device-state-size", 1);
    world_move(&w);
    world_moved(&w);
    assert_true(device_of(w.source, 0)->pending.stop_copy_bytes > 1 << 20);
    world_close(&w);
}

/* Dirty bytes that stay what they are: the time model switches when they fit, and does not when not. */
static void dirty_bytes_that_never_fall_end_by_the_model_or_by_the_rounds(void **state)
{
    (void)state;
    with_size_fault("lie:0,65536@command/info#1+", 0, NULL, NULL);
    with_size_fault("lie:0,1000000000000000@command/info#1+", 0, "not-converging", "device1's");
    with_size_fault("lie:1000@command/info#1+", 0, "not-converging", "initial bytes");
}

/* A server of the published protocol tells nothing, and is asked nothing. */
static void device_that_cannot_tell_its_size_is_refused_before_anything(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_extensions = true });
    world_begin(&w);
    party_join(w.source);
    party_failed(w.source, -EOPNOTSUPP, "device-size-unknown", "device-state-size");
    assert_false(party_was_in(w.source, VMIG_STAGE_SETUP));
    vmig_migration_cancel(w.target->m);
    party_join(w.target);
    party_set(w.source, "device-state-size", 1 << 20);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- nobody has a round for himself ---- */

#define ROUNDS 3
#define MIB (1u << 20)

/* Makes data as fast as it is sent, and says that it has half a petabyte. */
static struct {
    uint64_t budgets[ROUNDS + 1], sent;
    unsigned turns;
} greedy;

static int greedy_pending(void *opaque, bool exact, struct vmig_pending *ret,
                          struct vmig_error *err)
{
    (void)opaque;
    (void)exact;
    (void)err;
    ret->precopy_bytes = UINT64_C(1) << 49;
    return 0;
}

static int greedy_iterate(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                          struct vmig_error *err)
{
    static char chunk[MIB];
    (void)opaque;
    if (greedy.turns < ROUNDS)
        greedy.budgets[greedy.turns] = budget_bytes;
    greedy.turns++;
    int rc = 0;
    for (uint64_t sent = 0; rc == 0 && sent < budget_bytes; sent += sizeof(chunk)) {
        rc = vmig_writer_put(writer, chunk, sizeof(chunk), err);
        greedy.sent += sizeof(chunk);
    }
    return rc;
}

static int greedy_load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    (void)opaque;
    (void)buf;
    (void)length_bytes;
    (void)err;
    return 0;
}

static const struct vmig_participant_ops greedy_ops = {
    .size = sizeof(greedy_ops),
    .pending = greedy_pending,
    .iterate = greedy_iterate,
    .load = greedy_load,
};

/* All on one channel: what it may send is bounded by what it really has sent, not by what it says, so
 * that each round ends, and memory and the device have had their turn in each. */
static void participant_without_measure_leaves_the_others_their_turn(void **state)
{
    (void)state;
    for (int lone = 0; lone < 2; lone++) {
        struct world w;
        memset(&greedy, 0, sizeof(greedy));
        world_open(&w, &(struct world_plan) { .devices = 1, .lone_main = lone });
        party_set(w.source, "max-rounds", ROUNDS);
        x(vmig_migration_add_participant(w.source->m, "greedy", &greedy_ops, NULL, &err));
        x(vmig_migration_add_participant(w.target->m, "greedy", &greedy_ops, NULL, &err));
        world_move(&w);
        party_failed(w.source, -ETIME, "not-converging", "greedy's");
        assert_string_equal(w.source->err.device, "greedy");
        assert_int_equal(greedy.turns, ROUNDS);
        assert_int_equal(greedy.budgets[0], 16 * MIB);
        assert_int_equal(greedy.budgets[1], 2 * 16 * MIB);
        assert_int_equal(greedy.budgets[2], 2 * (16 + 32) * MIB);
        assert_int_equal(greedy.sent, (16 + 32 + 96) * MIB);
        announced(&w, 0, 0);
        assert_true(device_of(w.source, 0)->data_bytes >= 32 << 10);
        assert_true(participant_find(w.source->m, "ram")->data_bytes > 0);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

/* A device that says so, and a workload that writes its memory over and over. */
static void device_that_lies_about_its_dirty_bytes_does_not_hold_a_round(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .local_bytes = 1 << 20 });
    party_fault(w.source, 0, "lie:0,500000000000000@command/info#1+");
    party_write_register(w.source, 0, REFDEV_REG_DIRTY_RATE, REFDEV_RATE_MAX);
    party_set(w.source, "max-rounds", 2);
    world_move(&w);
    party_failed(w.source, -ETIME, "not-converging", "device0's");
    uint64_t most = 3 * 16 * MIB + 2 * MIB; /* two rounds, and what a read brings beyond */
    assert_true(device_of(w.source, 0)->data_bytes <= most);
    announced(&w, 1, 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_initial_bytes_are_acknowledged_each_time),
        cmocka_unit_test(devices_with_and_without_pre_copy_move_together),
        cmocka_unit_test(without_acknowledgements_nobody_asks_for_new_initial_bytes),
        cmocka_unit_test(with_a_peer_that_does_not_count_the_device_is_not_asked),
        cmocka_unit_test(announcement_between_decision_and_quiesce_puts_the_switch_off),
        cmocka_unit_test(announcement_during_quiesce_lets_all_run_on_and_is_acknowledged),
        cmocka_unit_test(announcement_after_the_last_question_changes_nothing),
        cmocka_unit_test(device_that_never_stops_announcing_is_named),
        cmocka_unit_test(participant_that_cannot_run_on_lets_the_switch_go_ahead),
        cmocka_unit_test(device_that_refuses_to_run_on_ends_the_migration),
        cmocka_unit_test(acknowledgement_of_the_old_initial_bytes_is_not_one_of_the_new),
        cmocka_unit_test(acknowledgement_of_all_comes_after_all_were_sent_and_once),
        cmocka_unit_test(size_that_nobody_tells_holds_the_switch_until_the_user_does),
        cmocka_unit_test(size_that_is_not_told_once_holds_the_switch_for_a_round),
        cmocka_unit_test(missing_size_is_told_and_is_not_less_than_it_was),
        cmocka_unit_test(dirty_bytes_that_never_fall_end_by_the_model_or_by_the_rounds),
        cmocka_unit_test(device_that_cannot_tell_its_size_is_refused_before_anything),
        cmocka_unit_test(participant_without_measure_leaves_the_others_their_turn),
        cmocka_unit_test(device_that_lies_about_its_dirty_bytes_does_not_hold_a_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
