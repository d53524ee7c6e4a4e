/* SPDX-License-Identifier: BSD-3-Clause */
/* Payloads of VFIO sections: which delimiter may stand where, and the data between them. */
#include <errno.h>
#include "lib/stream/vfio-section.h"
#include "tests/stream/pieces.h"

#define MAX_WORDS 8

static int walk(uint8_t type, const void *buf, size_t length, struct reader *r,
                struct vmig_error *err)
{
    struct qemu_section section = { .type = type, .section_id = 38, .idstr = "0000:00:01.0/vfio" };
    struct qemu_vfio_reader v;
    enum qemu_vfio_record record;
    uint64_t bytes;
    reader_init_memory(r, buf, length);
    qemu_vfio_begin(&v, r, &section);
    for (;;) {
        int rc = qemu_vfio_next(&v, &record, &bytes, err);
        if (rc < 0 || record >= QEMU_VFIO_INITIAL_SENT)
            return rc;
    }
}

#define W_END QEMU_VFIO_END_OF_STATE
#define W_CONFIG QEMU_VFIO_DEV_CONFIG_STATE
#define W_SETUP QEMU_VFIO_DEV_SETUP_STATE
#define W_DATA QEMU_VFIO_DEV_DATA_STATE
#define W_INITIAL QEMU_VFIO_DEV_INIT_DATA_SENT
#define W_READY QEMU_VFIO_DEV_CONFIG_LOAD_READY

static void the_delimiters_are_qemus(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w);
    qemu_vfio_write_setup(&w);
    qemu_vfio_write_data_head(&w, 24);
    qemu_vfio_write_initial_sent(&w);
    qemu_vfio_write_end(&w);
    static const uint64_t words[] = { 0xffffffffef100003, 0xffffffffef100001,
                                      0xffffffffef100004, 24,
                                      0xffffffffef100005, 0xffffffffef100001 };
    struct reader r;
    reader_init_memory(&r, w.buf, w.length);
    for (size_t i = 0; i < 6; i++)
        assert_true(reader_u64(&r) == words[i]);
    assert_int_equal(reader_peek(&r), -1);
    writer_done(&w);
}

/* What may stand in which section, by the format's table. DATA has two bytes here. */
static void payloads_follow_the_grammar(void **state)
{
    (void)state;
    enum {
        S = QEMU_SECTION_START,
        P = QEMU_SECTION_PART,
        E = QEMU_SECTION_END,
        F = QEMU_SECTION_FULL
    };
    static const struct {
        uint8_t type;
        uint64_t words[MAX_WORDS];
        int bad; /* index of the word that is refused, or -1 */
    } cases[] = {
        { S, { W_SETUP, W_END }, -1 },
        { S, { W_END }, 0 },
        { S, { W_SETUP, W_SETUP }, 1 },
        { S, { W_SETUP, W_DATA }, 1 },
        { S, { W_DATA }, 0 },
        { S, { W_CONFIG }, 0 },
        { P, { W_END }, -1 },
        { P, { W_DATA, W_END }, -1 },
        { P, { W_DATA, W_INITIAL }, -1 },
        { P, { W_DATA, W_DATA, W_END }, -1 },
        { P, { W_INITIAL }, -1 },
        { P, { W_SETUP }, 0 },
        { P, { W_DATA, W_CONFIG }, 1 },
        { P, { W_READY }, 0 },
        { E, { W_END }, -1 },
        { E, { W_DATA, W_DATA, W_DATA, W_END }, -1 },
        { E, { W_INITIAL }, 0 },
        { E, { W_DATA, W_INITIAL }, 1 },
        { E, { W_CONFIG }, 0 },
        { F, { W_CONFIG, W_END }, -1 },
        { F, { W_END }, -1 },
        { F, { W_READY }, -1 },
        { F, { W_CONFIG, W_CONFIG }, 1 },
        { F, { W_CONFIG, W_READY }, 1 },
        { F, { W_DATA }, 0 },
        { F, { W_INITIAL }, 0 },
        { F, { UINT64_C(0xffffffffef100000) }, 0 },
        { P, { UINT64_C(0xffffffffef100007) }, 0 },
        { P, { UINT64_C(0x00000000ef100001) }, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct writer w;
        struct reader r;
        struct vmig_error err = { 0 };
        uint64_t bad_offset = 0;
        writer_init(&w);
        for (int j = 0; j < MAX_WORDS && cases[i].words[j]; j++) {
            if (j == cases[i].bad)
                bad_offset = w.length;
            writer_u64(&w, cases[i].words[j]);
            if (cases[i].words[j] == W_DATA) {
                writer_u64(&w, 2);
                writer_u16(&w, 0xbeef);
            }
        }
        int rc = walk(cases[i].type, w.buf, w.length, &r, &err);
        if (rc != (cases[i].bad < 0 ? 0 : -EINVAL))
            fail_msg("case %zu: %d (%s)", i, rc, err.text);
        assert_int_equal(r.offset, cases[i].bad < 0 ? w.length : bad_offset);
        writer_done(&w);
    }
}

/* Two records of 24 and 72 bytes, as mtty sends them, the second in an END. */
static struct writer end_payload(void)
{
    struct writer w;
    uint8_t bytes[96];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    writer_init(&w);
    qemu_vfio_write_data_head(&w, 24);
    writer_bytes(&w, bytes, 24);
    qemu_vfio_write_data_head(&w, 72);
    writer_bytes(&w, bytes + 24, 72);
    qemu_vfio_write_end(&w);
    return w;
}

static void data_come_in_pieces_of_any_size(void **state)
{
    (void)state;
    struct writer w = end_payload();
    struct qemu_section section = { .type = QEMU_SECTION_END };
    for (size_t size = 1; size <= 73; size += 8) {
        struct pieces p = { .bytes = w.buf, .length = w.length };
        struct reader r;
        struct qemu_vfio_reader v;
        struct vmig_error err;
        enum qemu_vfio_record record;
        uint64_t bytes;
        uint8_t got[96], piece[80];
        size_t total = 0;
        assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
        qemu_vfio_begin(&v, &r, &section);
        for (int i = 0; i < 2; i++) {
            assert_done(qemu_vfio_next(&v, &record, &bytes, &err), &err);
            assert_int_equal(record, QEMU_VFIO_DATA);
            assert_int_equal(bytes, i ? 72 : 24);
            ssize_t n;
            while ((n = qemu_vfio_data(&v, piece, size, &err)) > 0) {
                memcpy(got + total, piece, (size_t)n);
                total += (size_t)n;
            }
            assert_int_equal(n, 0);
        }
        assert_done(qemu_vfio_next(&v, &record, &bytes, &err), &err);
        assert_int_equal(record, QEMU_VFIO_END);
        assert_int_equal(r.offset, w.length);
        for (unsigned i = 0; i < 96; i++)
            assert_int_equal(got[i], i);
        reader_done(&r);
    }
    writer_done(&w);
}

static void data_left_unread_are_passed_over(void **state)
{
    (void)state;
    struct writer w = end_payload();
    struct qemu_section section = { .type = QEMU_SECTION_END };
    struct qemu_vfio_reader v;
    struct reader r;
    struct vmig_error err;
    enum qemu_vfio_record record;
    uint64_t bytes;
    uint8_t some[10];
    reader_init_memory(&r, w.buf, w.length);
    qemu_vfio_begin(&v, &r, &section);
    assert_done(qemu_vfio_next(&v, &record, &bytes, &err), &err);
    assert_int_equal(qemu_vfio_data(&v, some, sizeof(some), &err), 10);
    assert_done(qemu_vfio_next(&v, &record, &bytes, &err), &err);
    assert_int_equal(bytes, 72);
    assert_int_equal(v.word_offset, 40);
    assert_done(qemu_vfio_next(&v, &record, &bytes, &err), &err);
    assert_int_equal(record, QEMU_VFIO_END);
    writer_done(&w);
}

static void a_payload_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct writer w = end_payload();
    for (size_t length = 0; length < w.length; length++) {
        struct reader r;
        struct vmig_error err;
        assert_refused(walk(QEMU_SECTION_END, w.buf, length, &r, &err), &err, ENODATA,
                       "section \"0000:00:01.0/vfio\" (id 38)");
        assert_true(r.offset <= length);
    }
    writer_done(&w);
}

static void a_record_has_128_mib_at_most(void **state)
{
    (void)state;
    struct qemu_section section = { .type = QEMU_SECTION_PART, .idstr = "d/vfio" };
    for (int more = -1; more <= 1; more++) {
        struct writer w;
        struct reader r;
        struct qemu_vfio_reader v;
        struct vmig_error err;
        enum qemu_vfio_record record;
        uint64_t bytes, wanted = (128u << 20) + (uint64_t)(int64_t)more;
        writer_init(&w);
        qemu_vfio_write_data_head(&w, wanted);
        reader_init_memory(&r, w.buf, w.length);
        qemu_vfio_begin(&v, &r, &section);
        if (more <= 0) {
            assert_done(qemu_vfio_next(&v, &record, &bytes, &err), &err);
            assert_int_equal(bytes, wanted);
        } else {
            assert_refused(qemu_vfio_next(&v, &record, &bytes, &err), &err, EINVAL,
                           "offset 8: section \"d/vfio\" (id 0): a data record of 134217729 bytes");
        }
        writer_done(&w);
    }
}

static void an_empty_record_is_taken(void **state)
{
    (void)state;
    struct writer w;
    struct reader r;
    struct vmig_error err;
    writer_init(&w);
    qemu_vfio_write_data_head(&w, 0);
    qemu_vfio_write_end(&w);
    assert_done(walk(QEMU_SECTION_PART, w.buf, w.length, &r, &err), &err);
    writer_done(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_delimiters_are_qemus),
        cmocka_unit_test(payloads_follow_the_grammar),
        cmocka_unit_test(data_come_in_pieces_of_any_size),
        cmocka_unit_test(data_left_unread_are_passed_over),
        cmocka_unit_test(a_payload_cut_anywhere_is_refused),
        cmocka_unit_test(a_record_has_128_mib_at_most),
        cmocka_unit_test(an_empty_record_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
