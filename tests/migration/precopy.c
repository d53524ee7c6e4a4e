/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRE_COPY beyond the plain case: devices that announce new initial bytes in mid-flight, at every
 * moment at which they can.
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

static void without_acknowledgements_nobody_asks_for_new_initial_bytes(void **state)
{
    (void)state;
    for (int file = 0; file < 2; file++) {
        struct world w;
        world_open(&w, &(struct world_plan) {
                           .devices = 1, .reinit = 3, .link = file ? WORLD_FILE : WORLD_TCP });
        world_set(&w, "switchover-ack", 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_initial_bytes_are_acknowledged_each_time),
        cmocka_unit_test(without_acknowledgements_nobody_asks_for_new_initial_bytes),
        cmocka_unit_test(with_a_peer_that_does_not_count_the_device_is_not_asked),
        cmocka_unit_test(acknowledgement_of_the_old_initial_bytes_is_not_one_of_the_new),
        cmocka_unit_test(acknowledgement_of_all_comes_after_all_were_sent_and_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
