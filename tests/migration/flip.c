/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One bit of a running migration is flipped on its way: anywhere in what both sides say and move,
 * devices before and in the pause, memory with ram-digest. Each time it is found, and the source
 * goes on; or what was damaged came again, and the target has everything as it was.
 *
 *   FLIPS=N       how many (100)
 *   FLIP_SEED=N   where; printed, so that a failure can be had again
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/migration/relay.h"
#include "tests/migration/world.h"

#define STREAMS 4

/* What carries something: both directions of the main channel, two data channels. */
static const struct {
    unsigned connection;
    bool back;
    const char *name;
} streams[STREAMS] = {
    { 0, false, "main channel" },
    { 0, true, "return path" },
    { 1, false, "data channel 0" },
    { 2, false, "data channel 1" },
};

struct campaign {
    struct world_plan plan;
    unsigned num_streams;
    uint64_t lengths[STREAMS]; /* of a migration that nobody disturbed */
    uint64_t random;
    unsigned flips, failed, completed, unresolved;
};

static uint64_t random64(struct campaign *c)
{
    c->random ^= c->random >> 12;
    c->random ^= c->random << 25;
    c->random ^= c->random >> 27;
    return c->random * UINT64_C(0x2545f4914f6cdd1d);
}

static void open_world(const struct campaign *c, struct world *w, const struct relay_flip *flip)
{
    world_open(w, &c->plan);
    world_set(w, "ram-digest", 1);
    /* bytes that only measure the link are more than all others: in every fourth migration only */
    if (c->flips % 4 != 3)
        world_set(w, "avail-switchover-bandwidth", 1 << 30);
    /* what waits for bytes that never come is not waited for so long */
    w->source->m->stall_ms = w->target->m->stall_ms = 500;
    w->relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX, .flip = *flip });
}

static void measure(struct campaign *c)
{
    struct world w;
    open_world(c, &w, &(struct relay_flip) { 0 });
    world_move(&w);
    world_moved(&w);
    for (unsigned i = 0; i < c->num_streams; i++) {
        c->lengths[i] = relay_passed_one(w.relay, streams[i].connection, streams[i].back);
        assert_true(c->lengths[i] > 0);
    }
    world_close(&w);
}

/* Half of them anywhere, which is mostly memory, half of them with each stream as likely as any
 * other, so that messages and heads get their share. The magic number is a test of its own. */
static struct relay_flip pick(struct campaign *c)
{
    uint64_t all = 0, at = 0;
    unsigned stream = (unsigned)(random64(c) % c->num_streams);
    for (unsigned i = 0; i < c->num_streams; i++)
        all += c->lengths[i];
    at = random64(c) % c->lengths[stream];
    if (random64(c) % 2) {
        at = random64(c) % all;
        for (stream = 0; at >= c->lengths[stream]; stream++)
            at -= c->lengths[stream];
    }
    if (stream == 0 && at < 4)
        at += 4;
    return (struct relay_flip) { .connection = streams[stream].connection,
                                 .back = streams[stream].back,
                                 .at = at,
                                 .mask = (uint8_t)(1u << random64(c) % 8) };
}

/* ---- what must be then ---- */

static bool is_unresolved(const struct party *side)
{
    return side->rc == -EUCLEAN;
}

static void discard(struct party *side)
{
    x(vmig_migration_resolve(side->m, VMIG_RESOLVE_DISCARD, true, &err));
}

/* A target that said LOADED may be left with what it has by damage that the source heard of only then;
 * a source that gave up, only by damage to the hand-over itself. Nobody runs who may not. */
static struct party *settle(struct campaign *c, struct world *w)
{
    struct party *s = w->source, *t = w->target;
    c->unresolved++;
    if (!relay_saw_loaded(w->relay) || (is_unresolved(s) && !relay_flipped_late(w->relay)))
        fail_msg("unresolved before the hand-over: the source ended with %d %s, the target with %d "
                 "%s",
                 s->rc, s->err.text, t->rc, t->err.text);
    if (is_unresolved(s))
        party_is_still(s);
    if (is_unresolved(t))
        party_is_still(t);
    if (!is_unresolved(s)) { /* it goes on, or the target runs and the source knows */
        discard(t);
        return s;
    }
    discard(s);
    if (is_unresolved(t))
        x(vmig_migration_resolve(t->m, VMIG_RESOLVE_RUN, true, &err));
    return t;
}

static void check_failed(struct campaign *c, struct world *w)
{
    struct party *s = w->source, *t = w->target;
    c->failed++;
    printf("# refused: %s at the source, %s at the target: %.120s\n", s->err.reason, t->err.reason,
           t->err.text);
    if (!s->err.reason[0] || !t->err.reason[0] || s->rc >= 0 || t->rc >= 0)
        fail_msg("the source ended with %d \"%s\" %s, the target with %d \"%s\" %s", s->rc,
                 s->err.reason, s->err.text, t->rc, t->err.reason, t->err.text);
    world_runs_at(w, s);
}

static void check(struct campaign *c, struct world *w, const struct relay_flip *f)
{
    struct party *s = w->source, *t = w->target;
    assert_false(w->both_ran);
    if (is_unresolved(s) || is_unresolved(t)) {
        world_runs_at(w, settle(c, w));
    } else if (s->rc == 0 && t->rc == 0) {
        c->completed++;
        world_moved(w);
        /* what was said before the end cannot be repaired, so it must not be passed over */
        if (f->connection == 0 && !relay_flipped_late(w->relay))
            fail_msg("a flipped bit of the %s was not noticed",
                     f->back ? "return path" : "main channel");
    } else {
        check_failed(c, w);
    }
}

/* True when the byte came. */
static bool flip_one(struct campaign *c, const struct relay_flip *f)
{
    struct world w;
    open_world(c, &w, f);
    world_move(&w);
    bool flipped = relay_flipped(w.relay);
    if (flipped)
        check(c, &w, f);
    else
        world_moved(&w);
    world_close(&w);
    return flipped;
}

static void run(struct campaign *c, unsigned flips)
{
    const char *seed = getenv("FLIP_SEED");
    uint64_t number = seed ? strtoull(seed, NULL, 0) : 1;
    c->random = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    printf("# FLIP_SEED=%llu\n", (unsigned long long)number);
    measure(c);
    while (c->flips < flips) {
        struct relay_flip f = pick(c);
        printf("# flip %u: connection %u%s, byte %llu, mask %#x\n", c->flips, f.connection,
               f.back ? " back" : "", (unsigned long long)f.at, f.mask);
        fflush(stdout);
        c->flips += flip_one(c, &f);
    }
    printf("# %u flips: %u failed with a reason, %u completed and verified, %u unresolved\n",
           c->flips, c->failed, c->completed, c->unresolved);
    assert_int_equal(c->flips, c->failed + c->completed + c->unresolved);
}

static unsigned wanted(void)
{
    const char *text = getenv("FLIPS");
    return text ? (unsigned)strtoul(text, NULL, 0) : 100;
}

/* ---- tests ---- */

static void flipped_bit_anywhere_is_found_or_repaired(void **state)
{
    (void)state;
    struct campaign c = { .num_streams = 4,
                          .plan = { .devices = 1,
                                    .channels = 2,
                                    .relay = true,
                                    .local_bytes = 32 << 10,
                                    .vmstate = true } };
    run(&c, wanted() * 7 / 10);
}

static void and_without_data_channels(void **state)
{
    (void)state;
    struct campaign c = { .num_streams = 2,
                          .plan = { .devices = 1,
                                    .lone_main = true,
                                    .relay = true,
                                    .local_bytes = 32 << 10,
                                    .vmstate = true } };
    run(&c, wanted() * 3 / 10);
}

/* What is damaged in the rounds comes again, at last in the pause, and what is damaged there once more;
 * after that the link is not trusted. How many rounds there are is the engine's to say. */
static void memory_is_sent_again_and_in_the_pause_once_more(void **state)
{
    (void)state;
    bool refused = false;
    for (unsigned rounds = 1; !refused; rounds++) {
        struct world w;
        assert_true(rounds < 20);
        world_open(&w, &(struct world_plan) { .devices = 1, .relay = true, .channels = 2 });
        world_set(&w, "ram-digest", 1);
        world_set(&w, "max-rounds", 1);
        w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX, .damaged_rounds = rounds });
        world_move(&w);
        refused = w.source->rc < 0;
        if (refused) {
            assert_true(rounds > 2); /* a round, the pause, and once more */
            party_failed(w.source, -EBADMSG, "ram-suspect", "once more");
            party_failed(w.target, -ECANCELED, "source-goes-on", "once more");
            world_runs_at(&w, w.source);
        } else {
            world_moved(&w);
        }
        world_close(&w);
    }
}

/* Nobody asked for digests of memory, and so nobody says that it is as it was: this is what they are
 * for. */
static void damaged_memory_is_not_noticed_without_digests(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .relay = true, .still = true });
    w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX, .damaged_rounds = 1 });
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    assert_int_equal(w.target->rc, 0);
    assert_false(w.equal);
    world_close(&w);
}

static void flip_in_file(int fd, uint64_t at, unsigned bit)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

/* A third of them in the beginning, a third in the end, where there are no pages. */
static uint64_t place_in_file(struct campaign *c, uint64_t size)
{
    uint64_t n = random64(c);
    switch (n % 3) {
    case 0:
        return random64(c) % 150;
    case 1:
        return size - 1 - random64(c) % 3000;
    default:
        return random64(c) % size;
    }
}

static void flipped_bit_anywhere_in_a_file_is_found(void **state)
{
    (void)state;
    struct world w;
    struct campaign c = { .random = 4711 };
    char address[100];
    world_open(&w, &(struct world_plan) { .devices = 1, .link = WORLD_FILE, .vmstate = true });
    party_set(w.source, "ram-digest", 1);
    snprintf(address, sizeof(address), "file:%s/file", w.directory);
    party_start(w.source, true, address);
    assert_int_equal(party_join(w.source), 0);
    int fd = open(address + 5, O_RDWR | O_CLOEXEC);
    uint64_t size = (uint64_t)lseek(fd, 0, SEEK_END);
    assert_true(size > 1 << 20);
    for (unsigned i = 0; i < 60; i++) {
        uint64_t at = place_in_file(&c, size);
        flip_in_file(fd, at, i % 8);
        party_start(w.target, false, address);
        party_join(w.target);
        if (w.target->rc >= 0 || !w.target->err.reason[0])
            fail_msg("byte %llu, bit %u: %d \"%s\" %s", (unsigned long long)at, i % 8, w.target->rc,
                     w.target->err.reason, w.target->err.text);
        party_is_still(w.target);
        flip_in_file(fd, at, i % 8);
    }
    close(fd);
    party_start(w.target, false, address);
    world_join(&w);
    world_moved(&w);
    world_close(&w);
}

/* What does not begin like a migration is no source: it is turned away, and the target listens on. */
static void flipped_bit_of_the_magic_number_costs_an_attempt(void **state)
{
    (void)state;
    struct world w;
    for (unsigned at = 0; at < 4; at++) {
        struct relay_flip f = { .at = at, .mask = (uint8_t)(1u << 2 * at) };
        open_world(&(struct campaign) { .plan = { .devices = 1, .relay = true } }, &w, &f);
        world_begin(&w);
        party_join(w.source);
        assert_true(relay_flipped(w.relay));
        party_failed(w.source, -ECONNRESET, "connection-lost", NULL);
        party_goes_on(w.source);
        char address[sizeof(w.source->address)];
        snprintf(address, sizeof(address), "%s", w.source->address);
        party_start(w.source, true, address);
        world_join(&w);
        world_moved(&w);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bit_anywhere_is_found_or_repaired),
        cmocka_unit_test(and_without_data_channels),
        cmocka_unit_test(memory_is_sent_again_and_in_the_pause_once_more),
        cmocka_unit_test(damaged_memory_is_not_noticed_without_digests),
        cmocka_unit_test(flipped_bit_anywhere_in_a_file_is_found),
        cmocka_unit_test(flipped_bit_of_the_magic_number_costs_an_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
