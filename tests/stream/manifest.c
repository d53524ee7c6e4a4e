/* SPDX-License-Identifier: BSD-3-Clause */
/* The manifest: its bytes, its bounds, and what a comparison says. */
#include <errno.h>
#include "lib/stream/manifest.h"
#include "lib/stream/qemu.h"
#include "tests/stream/pieces.h"

static const uint8_t identity[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static struct manifest_entry entry(const char *id, uint64_t length, uint64_t digest)
{
    struct manifest_entry e = {
        .kind = MANIFEST_DEVICE, .length_bytes = length, .digest = digest, .format_version = 3
    };
    snprintf(e.id, sizeof(e.id), "%s", id);
    snprintf(e.identity, sizeof(e.identity), "1b36:0005 1af4:1100");
    return e;
}

static struct manifest two_devices(void)
{
    struct manifest m;
    struct vmig_error err;
    struct manifest_entry a = entry("net0", 96, 0x1122334455667788);
    struct manifest_entry b = entry("ram", 1 << 20, 0);
    b.kind = MANIFEST_RAM;
    manifest_init(&m, identity);
    assert_done(manifest_add(&m, &a, &err), &err);
    assert_done(manifest_add(&m, &b, &err), &err);
    return m;
}

static void its_bytes_are_those_of_the_manual(void **state)
{
    (void)state;
    static const uint8_t payload[] = {
        1,    2,    3,    4,    5,    6,    7,    8,    9, 10, 11, 12, 13, 14, 15,
        16,                  /* identity of the stream */
        0,    0,    0,    2, /* entries */
        4,    'n',  'e',  't',  '0',  1,    0,    0,    0, 0,  0,  0,  0,  96, /* id, kind, length
                                                                                */
        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,                        /* digest */
        0,    0,    0,    3,    19, /* format version, identity */
    };
    struct manifest m = two_devices();
    struct writer w;
    writer_init(&w);
    manifest_write(&w, 77, &m);
    manifest_seal(&w, 77, 0x0102030405060708);
    assert_int_equal(w.error, 0);
    size_t head = 1 + 4 + 1 + strlen("vfio-migrate/manifest") + 4 + 4;
    assert_int_equal(w.buf[0], 4);
    assert_memory_equal(w.buf + 5, "\x15vfio-migrate/manifest\0\0\0\0\0\0\0\2", 30);
    assert_memory_equal(w.buf + head, payload, sizeof(payload));
    assert_memory_equal(w.buf + w.length - 13, "\1\2\3\4\5\6\7\10\x7e\0\0\0\x4d", 13);
    writer_done(&w);
    manifest_done(&m);
}

/* The payload alone, without section and footer. */
static struct writer payload_of(const struct manifest *m)
{
    struct writer w;
    writer_init(&w);
    manifest_write(&w, 77, m);
    manifest_seal(&w, 77, 0);
    size_t head = 1 + 4 + 1 + strlen(MANIFEST_IDSTR) + 4 + 4;
    memmove(w.buf, w.buf + head, w.length - head - 5);
    w.length -= head + 5;
    return w;
}

static void it_comes_back_as_written(void **state)
{
    (void)state;
    struct manifest m = two_devices(), got;
    struct writer w = payload_of(&m);
    struct vmig_error err;
    struct pieces p = { .bytes = w.buf, .length = w.length };
    struct reader r;
    assert_int_equal(reader_init_fill(&r, pieces_fill, &p), 0);
    assert_done(manifest_read(&r, MANIFEST_VERSION, &got, &err), &err);
    assert_int_equal(r.offset, w.length);
    assert_int_equal(got.count, 2);
    assert_memory_equal(got.identity, identity, 16);
    assert_string_equal(got.entries[0].id, "net0");
    assert_int_equal(got.entries[0].kind, MANIFEST_DEVICE);
    assert_int_equal(got.entries[0].length_bytes, 96);
    assert_true(got.entries[0].digest == 0x1122334455667788);
    assert_int_equal(got.entries[0].format_version, 3);
    assert_string_equal(got.entries[0].identity, "1b36:0005 1af4:1100");
    assert_int_equal(got.entries[1].kind, MANIFEST_RAM);
    assert_done(manifest_compare(&m, &got, &err), &err);
    reader_done(&r);
    manifest_done(&got);
    manifest_done(&m);
    writer_done(&w);
}

static void a_manifest_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct manifest m = two_devices(), got;
    struct writer w = payload_of(&m);
    struct vmig_error err;
    for (size_t length = 0; length < w.length; length++) {
        struct reader r;
        reader_init_memory(&r, w.buf, length);
        assert_refused(manifest_read(&r, MANIFEST_VERSION, &got, &err), &err, ENODATA, "manifest");
        manifest_done(&got);
    }
    manifest_done(&m);
    writer_done(&w);
}

static void refuse_payload(const struct writer *w, uint32_t version, int code, const char *fragment)
{
    struct manifest got;
    struct vmig_error err;
    struct reader r;
    reader_init_memory(&r, w->buf, w->length);
    assert_refused(manifest_read(&r, version, &got, &err), &err, code, fragment);
    manifest_done(&got);
}

static void wrong_entries_are_refused(void **state)
{
    (void)state;
    struct manifest m = two_devices();
    struct writer w = payload_of(&m);
    refuse_payload(&w, 0, EOPNOTSUPP, "version 0");
    refuse_payload(&w, 1, EOPNOTSUPP, "version 1");
    refuse_payload(&w, 3, EOPNOTSUPP, "version 3");
    w.buf[25] = MANIFEST_KINDS; /* 16 + 4 + 5: the kind of net0 */
    refuse_payload(&w, 2, EINVAL, "offset 20: manifest: kind 4");
    w.buf[25] = MANIFEST_DEVICE;
    w.buf[21] = '\0';
    refuse_payload(&w, 2, EINVAL, "offset 20");
    w.buf[21] = 'n';
    w.buf[18] = 1024 >> 8; /* entries */
    w.buf[19] = 1;
    refuse_payload(&w, 2, EINVAL, "1025 entries are announced; 1024 are the most");
    writer_done(&w);
    struct vmig_error err;
    struct manifest_entry again = entry("net0", 1, 1), nameless = entry("", 1, 1);
    assert_refused(manifest_add(&m, &again, &err), &err, EINVAL, "\"net0\" is listed twice");
    assert_refused(manifest_add(&m, &nameless, &err), &err, EINVAL, "without a name");
    assert_int_equal(m.count, 2);
    manifest_done(&m);
}

static void the_number_of_entries_is_bounded(void **state)
{
    (void)state;
    struct manifest m, got;
    struct vmig_error err;
    char name[16];
    manifest_init(&m, identity);
    for (unsigned i = 0; i < MANIFEST_ENTRIES_MAX; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        struct manifest_entry e = entry(name, i, i);
        assert_done(manifest_add(&m, &e, &err), &err);
    }
    struct manifest_entry e = entry("one more", 0, 0);
    assert_refused(manifest_add(&m, &e, &err), &err, E2BIG, "1024");
    struct writer w = payload_of(&m);
    struct reader r;
    reader_init_memory(&r, w.buf, w.length);
    assert_done(manifest_read(&r, MANIFEST_VERSION, &got, &err), &err);
    assert_done(manifest_compare(&m, &got, &err), &err);
    manifest_done(&got);
    manifest_done(&m);
    writer_done(&w);
}

static void the_order_of_entries_does_not_matter(void **state)
{
    (void)state;
    struct manifest m = two_devices(), other = two_devices();
    struct vmig_error err;
    struct manifest_entry first = other.entries[0];
    other.entries[0] = other.entries[1];
    other.entries[1] = first;
    assert_done(manifest_compare(&m, &other, &err), &err);
    manifest_done(&m);
    manifest_done(&other);
}

static void a_difference_names_participant_and_both_numbers(void **state)
{
    (void)state;
    struct manifest m = two_devices(), got = two_devices();
    struct manifest_entry *e = &got.entries[0], intact = *e;
    struct vmig_error err;
    e->length_bytes = 95;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG,
                   "sent 96 bytes of \"net0\" and 95 arrived");
    assert_string_equal(err.device, "net0");
    *e = intact;
    e->digest ^= 1;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG,
                   "1122334455667788 at the source and 1122334455667789 here");
    *e = intact;
    /* of memory, and the source took none: there is nothing to compare */
    got.entries[1].digest = 7;
    assert_done(manifest_compare(&m, &got, &err), &err);
    m.entries[1].digest = 6;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG, "at the source and");
    m.entries[1].digest = got.entries[1].digest;
    e->format_version = 4;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG, "version 3 and loaded as 4");
    *e = intact;
    snprintf(e->identity, sizeof(e->identity), "8086:1889 0000:0000");
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG,
                   "1b36:0005 1af4:1100 at the source and 8086:1889 0000:0000 here");
    assert_string_equal(err.reason, "foreign-device");
    *e = intact;
    e->kind = MANIFEST_OTHER;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG, "kind device at the source");
    *e = intact;
    got.identity[0] ^= 1;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG, "belongs to stream 0102");
    manifest_done(&m);
    manifest_done(&got);
}

static void a_missing_and_an_unlisted_participant_are_named(void **state)
{
    (void)state;
    struct manifest m = two_devices(), got = two_devices();
    struct vmig_error err;
    got.count = 1;
    assert_refused(manifest_compare(&m, &got, &err), &err, EBADMSG,
                   "1048576 bytes of \"ram\", which is not here");
    assert_refused(manifest_compare(&got, &m, &err), &err, EBADMSG, "did not list");
    assert_string_equal(err.device, "ram");
    manifest_done(&m);
    manifest_done(&got);
}

static void two_new_identities_differ(void **state)
{
    (void)state;
    uint8_t a[16], b[16];
    struct vmig_error err;
    assert_done(manifest_new_identity(a, &err), &err);
    assert_done(manifest_new_identity(b, &err), &err);
    assert_memory_not_equal(a, b, 16);
    assert_int_equal(a[6] >> 4, 4); /* a random UUID says so */
    assert_int_equal(a[8] >> 6, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_bytes_are_those_of_the_manual),
        cmocka_unit_test(it_comes_back_as_written),
        cmocka_unit_test(a_manifest_cut_anywhere_is_refused),
        cmocka_unit_test(wrong_entries_are_refused),
        cmocka_unit_test(the_number_of_entries_is_bounded),
        cmocka_unit_test(the_order_of_entries_does_not_matter),
        cmocka_unit_test(a_difference_names_participant_and_both_numbers),
        cmocka_unit_test(a_missing_and_an_unlisted_participant_are_named),
        cmocka_unit_test(two_new_identities_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
