/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's parts by themselves: packets, inboxes, workers. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "tests/migration/world.h"

/* ---- packets ---- */

static void packet_comes_back_as_it_was(void **state)
{
    (void)state;
    struct wire_extent extents[2] = { { 0, 1, 4096 }, { 3, 0xffffffff, UINT64_C(1) << 40 } };
    struct wire_packet p = { .kind = WIRE_PACKET_RAM,
                             .participant = 7,
                             .count = 2,
                             .digests = 3,
                             .length = 8192,
                             .sequence = 1ull << 33 };
    uint64_t digests[3] = { 1, 2, 0x1122334455667788 };
    uint8_t bytes[WIRE_PACKET_BYTES + 2 * WIRE_EXTENT_BYTES + 24];
    assert_int_equal(wire_packet_encode(&p, extents, digests, NULL, bytes), sizeof(bytes));
    struct wire_packet q;
    assert_int_equal(wire_packet_decode(bytes, &q), 0);
    assert_int_equal(q.kind, p.kind);
    assert_int_equal(q.participant, 7);
    assert_int_equal(q.count, 2);
    assert_int_equal(q.digests, 3);
    assert_int_equal(wire_list_bytes(&q), 2 * 16 + 3 * 8);
    assert_int_equal(q.length, 8192);
    assert_int_equal(q.sequence, 1ull << 33);
    for (int i = 0; i < 2; i++) {
        struct wire_extent e;
        wire_extent_decode(bytes + WIRE_PACKET_BYTES + i * WIRE_EXTENT_BYTES, &e);
        assert_int_equal(e.block, extents[i].block);
        assert_int_equal(e.pages, extents[i].pages);
        assert_int_equal(e.offset_bytes, extents[i].offset_bytes);
    }
    const uint8_t *list = bytes + WIRE_PACKET_BYTES;
    for (unsigned i = 0; i < 3; i++)
        assert_true(wire_digest_decode(&q, list, i) == digests[i]);
    assert_true(wire_body_intact(&q, list, wire_list_bytes(&q)));
}

/* As the manual has it: magic 0, kind 4, participant 8, count 12, length 16, sequence 24. */
static void packet_is_big_endian(void **state)
{
    static const uint8_t want[32] = { 'V', 'M', 'D', '1', 0, 4, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0,
                                      0,   0,   0,   0,   0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4 };
    (void)state;
    struct wire_packet p = {
        .kind = WIRE_PACKET_DATA, .participant = 9, .length = 0x102, .sequence = 0x304
    };
    uint8_t bytes[WIRE_PACKET_BYTES];
    uint8_t payload[0x102] = { 1 };
    assert_int_equal(wire_packet_encode(&p, NULL, NULL, payload, bytes), WIRE_PACKET_BYTES);
    assert_memory_equal(bytes, want, sizeof(want));
}

/* A payload's digest stands in the header, and the device's data is checked before it is loaded. */
static void flipped_bit_in_a_payload_is_noticed(void **state)
{
    (void)state;
    uint8_t payload[100] = { 1 }, bytes[WIRE_PACKET_BYTES];
    struct wire_packet p = { .kind = WIRE_PACKET_DATA, .length = sizeof(payload) }, q;
    wire_packet_encode(&p, NULL, NULL, payload, bytes);
    assert_int_equal(wire_packet_decode(bytes, &q), 0);
    assert_true(wire_body_intact(&q, payload, sizeof(payload)));
    for (size_t bit = 0; bit < sizeof(payload) * 8; bit++) {
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(wire_body_intact(&q, payload, sizeof(payload)));
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static int decodes(enum wire_packet_kind kind, uint32_t count, uint64_t length)
{
    struct wire_packet p = { .kind = kind, .length = length }, q;
    uint8_t bytes[WIRE_PACKET_BYTES];
    wire_packet_encode(&p, NULL, NULL, NULL, bytes);
    bytes[12] = (uint8_t)(count >> 24);
    bytes[13] = (uint8_t)(count >> 16);
    bytes[14] = (uint8_t)(count >> 8);
    bytes[15] = (uint8_t)count;
    uint64_t digest = htobe64(XXH3_64bits(bytes, 40));
    memcpy(bytes + 40, &digest, sizeof(digest));
    return wire_packet_decode(bytes, &q);
}

static void each_kind_has_its_limits(void **state)
{
    static const struct {
        enum wire_packet_kind kind;
        uint32_t count_max;
        uint64_t min, max;
    } rows[] = {
        { WIRE_PACKET_HELLO, 0, 16, 16 }, { WIRE_PACKET_RAM, 256, 1, 4u << 20 },
        { WIRE_PACKET_ZERO, 256, 0, 0 },  { WIRE_PACKET_DATA, 0, 1, 1u << 20 },
        { WIRE_PACKET_INITIAL, 0, 0, 0 }, { WIRE_PACKET_END, 0, 0, 0 },
        { WIRE_PACKET_BARRIER, 0, 0, 0 }, { WIRE_PACKET_FILL, 0, 1, 1u << 20 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(decodes(rows[i].kind, 0, rows[i].min), 0);
        assert_int_equal(decodes(rows[i].kind, rows[i].count_max, rows[i].max), 0);
        assert_int_equal(decodes(rows[i].kind, 0, rows[i].max + 1), -EPROTO);
        assert_int_equal(decodes(rows[i].kind, rows[i].count_max + 1, rows[i].max), -EPROTO);
        assert_int_equal(decodes(rows[i].kind, UINT32_MAX, rows[i].max), -EPROTO);
        assert_int_equal(decodes(rows[i].kind, 0, UINT64_MAX), -EPROTO);
        if (rows[i].min)
            assert_int_equal(decodes(rows[i].kind, 0, rows[i].min - 1), -EPROTO);
    }
    assert_int_equal(decodes((enum wire_packet_kind)0, 0, 0), -EPROTO);
    assert_int_equal(decodes(WIRE_PACKET_KINDS, 0, 0), -EPROTO);
}

static void flipped_bit_in_a_packet_is_noticed(void **state)
{
    (void)state;
    struct wire_extent extents[3] = { { 0, 1, 0 }, { 0, 2, 8192 }, { 1, 3, 0 } };
    struct wire_packet p = { .kind = WIRE_PACKET_ZERO, .count = 3 }, q;
    uint8_t bytes[WIRE_PACKET_BYTES + 3 * WIRE_EXTENT_BYTES];
    wire_packet_encode(&p, extents, NULL, NULL, bytes);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* in the header without the list, so that nobody waits for one that is not there */
        bool noticed = bit / 8 < WIRE_PACKET_BYTES
                           ? wire_packet_decode(bytes, &q) < 0
                           : wire_packet_decode(bytes, &q) == 0 &&
                                 !wire_body_intact(&q, bytes + WIRE_PACKET_BYTES, 3 * 16);
        if (!noticed)
            fail_msg("bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(wire_packet_decode(bytes, &q), 0);
    assert_true(wire_body_intact(&q, bytes + WIRE_PACKET_BYTES, 3 * 16));
}

/* ---- inboxes ---- */

static void *letter(struct inbox *box, char c)
{
    char *buf = inbox_buffer(box);
    assert_non_null(buf);
    *buf = c;
    return buf;
}

static void inbox_keeps_the_order(void **state)
{
    (void)state;
    struct inbox box;
    struct inbox_item item;
    inbox_init(&box, 100);
    for (char c = 'a'; c < 'd'; c++)
        assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, c), 1), 0);
    assert_int_equal(inbox_put(&box, INBOX_END, NULL, 0), 0);
    for (char c = 'a'; c < 'd'; c++) {
        assert_int_equal(inbox_take(&box, &item), 0);
        assert_int_equal(*(char *)item.buf, c);
        inbox_give_back(&box, item.buf);
        inbox_loaded(&box);
    }
    assert_int_equal(inbox_take(&box, &item), 0);
    assert_int_equal(item.kind, INBOX_END);
    inbox_loaded(&box);
    assert_int_equal(inbox_drain(&box, UINT64_MAX), 0);
    inbox_done(&box);
}

static void inbox_takes_its_limit_and_no_byte_more(void **state)
{
    (void)state;
    for (size_t length = 99; length <= 101; length++) {
        struct inbox box;
        inbox_init(&box, 100);
        assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'x'), length),
                         length <= 100 ? 0 : -EOVERFLOW);
        assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'y'), 1),
                         length == 100 ? -EOVERFLOW : 0);
        inbox_done(&box);
    }
}

static void *wait_for_room(void *opaque)
{
    inbox_wait_room(opaque, 60, UINT64_MAX);
    return NULL;
}

static void *wait_until_loaded(void *opaque)
{
    return (void *)(intptr_t)inbox_drain(opaque, UINT64_MAX);
}

static void reader_waits_for_room_and_goes_on_when_there_is(void **state)
{
    (void)state;
    struct inbox box;
    struct inbox_item item;
    pthread_t thread;
    inbox_init(&box, 100);
    assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'x'), 60), 0);
    inbox_wait_room(&box, 40, UINT64_MAX); /* there is so much, and no byte more */
    assert_int_equal(pthread_create(&thread, NULL, wait_for_room, &box), 0);
    assert_int_equal(inbox_take(&box, &item), 0);
    pthread_join(thread, NULL);
    inbox_give_back(&box, item.buf);
    inbox_done(&box);
}

static void what_was_taken_is_not_loaded_before_it_is_said(void **state)
{
    (void)state;
    struct inbox box;
    struct inbox_item item;
    pthread_t thread;
    void *rc;
    inbox_init(&box, 100);
    assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'x'), 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_until_loaded, &box), 0);
    assert_int_equal(inbox_take(&box, &item), 0);
    assert_int_equal(pthread_tryjoin_np(thread, &rc), EBUSY);
    inbox_loaded(&box);
    pthread_join(thread, &rc);
    assert_int_equal((intptr_t)rc, 0);
    inbox_give_back(&box, item.buf);
    inbox_done(&box);
}

static void nothing_follows_the_end(void **state)
{
    (void)state;
    struct inbox box;
    inbox_init(&box, 100);
    assert_false(inbox_ended(&box));
    assert_int_equal(inbox_put(&box, INBOX_END, NULL, 0), 0);
    assert_true(inbox_ended(&box));
    assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'x'), 1), -EPROTO);
    assert_int_equal(inbox_put(&box, INBOX_END, NULL, 0), -EPROTO);
    inbox_reset(&box);
    assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'x'), 1), 0);
    inbox_done(&box);
}

static void closing_wakes_who_waits(void **state)
{
    (void)state;
    struct inbox box;
    struct inbox_item item;
    pthread_t thread, other;
    void *rc;
    inbox_init(&box, 100);
    assert_int_equal(inbox_put(&box, INBOX_DATA, letter(&box, 'x'), 60), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_room, &box), 0);
    assert_int_equal(pthread_create(&other, NULL, wait_until_loaded, &box), 0);
    inbox_close(&box);
    pthread_join(thread, NULL); /* and the next call says why */
    pthread_join(other, &rc);
    assert_int_equal((intptr_t)rc, -ECANCELED);
    assert_int_equal(inbox_take(&box, &item), -ECANCELED);
    assert_int_equal(inbox_drain(&box, UINT64_MAX), -ECANCELED);
    assert_int_equal(inbox_put(&box, INBOX_END, NULL, 0), -ECANCELED);
    inbox_reset(&box);
    assert_int_equal(inbox_drain(&box, UINT64_MAX), 0);
    inbox_done(&box);
}

/* ---- workers ---- */

static int answer(void *arg, struct vmig_error *err)
{
    int rc = *(int *)arg;
    if (rc < 0) {
        err->code = rc;
        strcpy(err->text, "as told");
    }
    return rc;
}

static void worker_does_job_after_job(void **state)
{
    (void)state;
    struct worker *w = worker_new();
    static int results[] = { 0, -EIO, 5 };
    for (int i = 0; i < 3; i++) {
        struct vmig_error err = { 0 };
        worker_post(w, answer, &results[i]);
        assert_true(worker_wait(w, UINT64_MAX));
        assert_int_equal(worker_result(w, &err), results[i]);
        assert_string_equal(err.text, results[i] < 0 ? "as told" : "");
    }
    assert_null(worker_free(w));
    assert_null(worker_free(NULL));
}

struct hung {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool go, last;
};

static int hang(void *arg, struct vmig_error *err)
{
    struct hung *h = arg;
    (void)err;
    pthread_mutex_lock(&h->lock);
    while (!h->go)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

static void note_last(void *arg)
{
    struct hung *h = arg;
    pthread_mutex_lock(&h->lock);
    h->last = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void hung_worker_is_abandoned_and_frees_what_it_was_given(void **state)
{
    (void)state;
    struct hung h = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    struct worker *w = worker_new();
    worker_post(w, hang, &h);
    assert_false(worker_wait(w, clock_ns()));
    worker_abandon(w, note_last, &h);
    pthread_mutex_lock(&h.lock);
    assert_false(h.last);
    h.go = true;
    pthread_cond_broadcast(&h.changed);
    while (!h.last)
        pthread_cond_wait(&h.changed, &h.lock);
    pthread_mutex_unlock(&h.lock);
}

/* ---- turns on a shared channel ---- */

struct passing {
    struct turnstile *turns;
    char name, *log;
    atomic_uint *at;
    atomic_bool *over; /* one of the two has done */
    unsigned times;
};

static void *pass_often(void *opaque)
{
    struct passing *p = opaque;
    for (unsigned i = 0; i < p->times; i++) {
        TURN_SCOPE(p->turns);
        p->log[atomic_fetch_add(p->at, 1)] = p->name;
        /* stay until the other waits: then he has it next, however fast this thread is back */
        while (!atomic_load(p->over) && turnstile_waiting(p->turns) == 0 && i > 0 &&
               i + 1 < p->times)
            nanosleep(&(struct timespec) { .tv_nsec = 100000 }, NULL);
    }
    atomic_store(p->over, true);
    return NULL;
}

/* The one lets go of it and wants it back at once, and the other has his turn in between. */
static void turn_goes_to_who_waits_and_not_to_who_is_fast(void **state)
{
    (void)state;
    enum { TIMES = 50 };
    char log[2 * TIMES + 1] = "";
    atomic_uint at = 0;
    atomic_bool over = false;
    struct turnstile turns;
    turnstile_init(&turns);
    struct passing a = { &turns, 'a', log, &at, &over, TIMES },
                   b = { &turns, 'b', log, &at, &over, TIMES };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, pass_often, &a), 0);
    pass_often(&b);
    pthread_join(thread, NULL);
    assert_int_equal(strlen(log), 2 * TIMES);
    unsigned repeated = 0;
    for (unsigned i = 0; i + 1 < 2 * TIMES; i++)
        repeated += log[i] == log[i + 1];
    if (repeated > 4) /* the first and the last turns, when nobody waits */
        fail_msg("turns: %s", log);
    turnstile_done(&turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turn_goes_to_who_waits_and_not_to_who_is_fast),
        cmocka_unit_test(packet_comes_back_as_it_was),
        cmocka_unit_test(packet_is_big_endian),
        cmocka_unit_test(each_kind_has_its_limits),
        cmocka_unit_test(flipped_bit_in_a_packet_is_noticed),
        cmocka_unit_test(flipped_bit_in_a_payload_is_noticed),
        cmocka_unit_test(inbox_keeps_the_order),
        cmocka_unit_test(inbox_takes_its_limit_and_no_byte_more),
        cmocka_unit_test(reader_waits_for_room_and_goes_on_when_there_is),
        cmocka_unit_test(what_was_taken_is_not_loaded_before_it_is_said),
        cmocka_unit_test(nothing_follows_the_end),
        cmocka_unit_test(closing_wakes_who_waits),
        cmocka_unit_test(worker_does_job_after_job),
        cmocka_unit_test(hung_worker_is_abandoned_and_frees_what_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
