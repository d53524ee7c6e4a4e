/* SPDX-License-Identifier: BSD-3-Clause */
/* What a participant of the host offers in the first words, and a target that is asked about it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/migration/migration.h"
#include "tests/migration/world.h"

struct clock {
    struct party *side;
    uint8_t bytes[VMIG_OFFERS_BYTES_MAX + 1];
    size_t length, room, got;
    unsigned offered, asked, began;
    int refuses;
    bool silent; /* says nothing when it refuses */
};

static int clock_setup(void *opaque, struct vmig_error *err)
{
    (void)err;
    ((struct clock *)opaque)->began++;
    return 0;
}

static int clock_load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    (void)opaque;
    (void)buf;
    (void)length_bytes;
    (void)err;
    return 0;
}

static int clock_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    (void)opaque;
    return vmig_writer_put(writer, "tock", 4, err);
}

static int clock_offer(void *opaque, void *ret, size_t max_bytes, size_t *ret_bytes,
                       struct vmig_error *err)
{
    struct clock *c = opaque;
    (void)err;
    c->offered++;
    c->room = max_bytes;
    *ret_bytes = c->length;
    memcpy(ret, c->bytes, c->length < max_bytes ? c->length : max_bytes);
    return 0;
}

static int clock_accept(void *opaque, const void *offer, size_t length_bytes,
                        struct vmig_error *err)
{
    struct clock *c = opaque;
    c->asked++;
    c->got = length_bytes;
    memcpy(c->bytes, offer, length_bytes);
    assert_int_equal(c->began, 0);
    assert_int_equal(party_state(c->side, 0), VMIG_STATE_RUNNING);
    assert_int_equal(party_state(c->side->world->source, 0), VMIG_STATE_RUNNING);
    if (c->refuses && !c->silent) {
        err->code = c->refuses;
        strcpy(err->reason, "no-such-clock");
        strcpy(err->text, "this one ticks differently");
    }
    return c->refuses;
}

static const struct vmig_participant_ops clock_ops = { .size = sizeof(clock_ops),
                                                       .setup = clock_setup,
                                                       .complete = clock_complete,
                                                       .load_setup = clock_setup,
                                                       .load = clock_load,
                                                       .offer = clock_offer,
                                                       .accept = clock_accept };

struct scene {
    struct world w;
    struct clock source, target;
};

static void open_with(struct scene *s, enum world_link link,
                      const struct vmig_participant_ops *source,
                      const struct vmig_participant_ops *target)
{
    memset(s, 0, sizeof(*s));
    world_open(&s->w, &(struct world_plan) { .link = link, .devices = 1 });
    s->source.side = s->w.source;
    s->target.side = s->w.target;
    s->source.length = 5;
    memcpy(s->source.bytes, "\0tick", 5);
    x(vmig_migration_add_participant(s->w.source->m, "clock", source, &s->source, &err));
    x(vmig_migration_add_participant(s->w.target->m, "clock", target, &s->target, &err));
}

static void the_target_is_asked_before_anything_is_touched(void **state)
{
    struct scene s;
    (void)state;
    open_with(&s, WORLD_TCP, &clock_ops, &clock_ops);
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.source.offered, 1);
    assert_int_equal(s.source.asked, 0);
    assert_int_equal(s.target.offered, 0);
    assert_int_equal(s.target.asked, 1);
    assert_int_equal(s.target.got, 5);
    assert_memory_equal(s.target.bytes, "\0tick", 5);
    world_close(&s.w);
}

static void what_a_target_refuses_is_the_error_of_both_and_nothing_began(void **state)
{
    struct scene s;
    (void)state;
    open_with(&s, WORLD_TCP, &clock_ops, &clock_ops);
    s.target.refuses = -ENOTSUP;
    world_move(&s.w);
    party_failed(s.w.source, -ENOTSUP, "no-such-clock", "this one ticks differently");
    party_failed(s.w.target, -ENOTSUP, "no-such-clock", "this one ticks differently");
    assert_string_equal(s.w.source->err.device, "clock");
    assert_int_equal(s.w.source->err.stage, VMIG_STAGE_PREPARE);
    assert_int_equal(s.source.began + s.target.began, 0);
    assert_int_equal(s.w.source->stops, 0);
    party_goes_on(s.w.source);
    s.target.refuses = 0;
    world_move(&s.w);
    world_moved(&s.w);
    world_close(&s.w);
}

static void a_target_that_only_says_no_has_an_error_that_names_it(void **state)
{
    struct scene s;
    (void)state;
    open_with(&s, WORLD_TCP, &clock_ops, &clock_ops);
    s.target.refuses = -ENOTSUP;
    s.target.silent = true;
    world_move(&s.w);
    party_failed(s.w.source, -ENOTSUP, "", "refused");
    assert_string_equal(s.w.source->err.device, "clock");
    world_close(&s.w);
}

static void as_much_as_there_is_room_for_goes_and_no_more(void **state)
{
    struct scene s;
    (void)state;
    open_with(&s, WORLD_TCP, &clock_ops, &clock_ops);
    memset(s.source.bytes, 0xa5, sizeof(s.source.bytes));
    s.source.length = VMIG_OFFERS_BYTES_MAX + 1;
    world_move(&s.w);
    party_failed(s.w.source, -E2BIG, "", "8193 bytes");
    assert_int_equal(s.source.room, VMIG_OFFERS_BYTES_MAX);
    assert_int_equal(s.target.asked, 0);
    s.source.length = VMIG_OFFERS_BYTES_MAX;
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.target.got, VMIG_OFFERS_BYTES_MAX);
    assert_memory_equal(s.target.bytes, s.source.bytes, VMIG_OFFERS_BYTES_MAX);
    world_close(&s.w);
}

static void a_second_participant_has_what_the_first_left(void **state)
{
    struct scene s;
    struct clock more[2] = { 0 };
    (void)state;
    open_with(&s, WORLD_TCP, &clock_ops, &clock_ops);
    more[0].length = VMIG_OFFERS_BYTES_MAX - 5;
    more[1].side = s.w.target;
    x(vmig_migration_add_participant(s.w.source->m, "more", &clock_ops, &more[0], &err));
    x(vmig_migration_add_participant(s.w.target->m, "more", &clock_ops, &more[1], &err));
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(more[0].room, VMIG_OFFERS_BYTES_MAX - 5);
    assert_int_equal(more[1].got, VMIG_OFFERS_BYTES_MAX - 5);
    world_close(&s.w);
}

/* As tables of programs that were compiled before there were offers: they end before. */
static void a_side_without_is_not_asked(void **state)
{
    struct vmig_participant_ops old = clock_ops;
    struct scene s;
    (void)state;
    old.size = offsetof(struct vmig_participant_ops, offer);
    open_with(&s, WORLD_TCP, &old, &clock_ops);
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.source.offered + s.target.asked, 0);
    world_close(&s.w);
    open_with(&s, WORLD_TCP, &clock_ops, &old);
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.source.offered, 1);
    assert_int_equal(s.target.asked, 0);
    world_close(&s.w);
}

static void a_file_offers_nothing(void **state)
{
    struct scene s;
    (void)state;
    open_with(&s, WORLD_FILE, &clock_ops, &clock_ops);
    world_move(&s.w);
    world_moved(&s.w);
    assert_int_equal(s.source.offered + s.target.asked, 0);
    world_close(&s.w);
}

static void malformed_offers_are_refused(void **state)
{
    static const char head[] =
        "{\"protocol\":%d,\"migration\":\"%032d\",\"channels\":1,"
        "\"switchover-ack\":true,\"participants\":[{\"id\":\"clock\",\"kind\":"
        "\"other\",\"identity\":\"\",\"precopy\":false}],\"ram\":[],"
        "\"vmstate\":[],\"offers\":{\"clock\":";
    static const char *const offers[] = { "\"00f\"}}", "\"0g\"}}", "5}}", "null}}" };
    (void)state;
    for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
        struct vmig_migration *m = vmig_migration_new(NULL, NULL);
        struct vmig_error refusal = { 0 };
        char text[1000];
        x(vmig_migration_add_participant(m, "clock", &clock_ops, NULL, &err));
        int length = snprintf(text, sizeof(text), head, WIRE_PROTOCOL, 0);
        strcpy(text + length, offers[i]);
        assert_int_equal(hello_accept(m, text, strlen(text), &refusal), -EINVAL);
        assert_string_equal(refusal.reason, "bad-stream");
        assert_string_equal(refusal.device, "clock");
        vmig_migration_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_is_asked_before_anything_is_touched),
        cmocka_unit_test(what_a_target_refuses_is_the_error_of_both_and_nothing_began),
        cmocka_unit_test(a_target_that_only_says_no_has_an_error_that_names_it),
        cmocka_unit_test(as_much_as_there_is_room_for_goes_and_no_more),
        cmocka_unit_test(a_second_participant_has_what_the_first_left),
        cmocka_unit_test(a_side_without_is_not_asked),
        cmocka_unit_test(a_file_offers_nothing),
        cmocka_unit_test(malformed_offers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
