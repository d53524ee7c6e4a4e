/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables to bytes and back, each kind as the reference of the format has it. */
#include <errno.h>
#include "lib/stream/qemu.h"
#include "lib/stream/vmdesc-write.h"
#include "lib/stream/vmstate.h"
#include "tests/stream/pieces.h"

struct thing {
    bool b;
    int8_t i8;
    uint16_t u16, e16;
    uint32_t u32, e32;
    int32_t i32, le;
    uint64_t u64, e64;
    int64_t timer;
    double d;
    uint8_t raw[5];
    uint64_t bits[2];
    uint16_t words[3];
    uint8_t count;
    uint32_t some[4];
    uint32_t *pointed;
    uint32_t *allocated;
    uint16_t length;
    uint8_t *bytes;
    uint32_t late;
    bool wants_late;
};

static bool saves(const struct vmig_vmstate *vmsd, void *opaque, struct writer *w)
{
    struct vmig_error err = { 0 };
    assert_done(vmstate_check(vmsd, &err), &err);
    writer_init(w);
    return vmstate_save(vmsd, opaque, w, NULL, &err) == 0;
}

/* Saved, it is exactly these bytes. */
static void assert_wire(const struct vmig_vmstate_field *fields, void *opaque, const void *bytes,
                        size_t length)
{
    struct vmig_vmstate vmsd = { .name = "thing", .version = 3, .fields = fields };
    struct writer w;
    assert_true(saves(&vmsd, opaque, &w));
    assert_int_equal(w.length, length);
    assert_memory_equal(w.buf, bytes, length);
    writer_done(&w);
}

static int loads(const struct vmig_vmstate_field *fields, void *opaque, const void *bytes,
                 size_t length, struct vmig_error *err)
{
    struct vmig_vmstate vmsd = { .name = "thing", .version = 3, .fields = fields };
    *err = (struct vmig_error) { 0 };
    return vmig_vmstate_load(&vmsd, 3, opaque, bytes, length, err);
}

#define ENTRIES(...)                                                                               \
    (const struct vmig_vmstate_field[])                                                            \
    {                                                                                              \
        __VA_ARGS__, VMIG_VMSTATE_END()                                                            \
    }
/* The one field's wire form, and that loading brings it back. */
#define BOTH_WAYS(entry, member, value, ...)                                                       \
    do {                                                                                           \
        const uint8_t wire_[] = { __VA_ARGS__ };                                                   \
        struct thing sent_ = { .member = value }, got_ = { 0 };                                    \
        struct vmig_error err_;                                                                    \
        assert_wire(ENTRIES(entry), &sent_, wire_, sizeof(wire_));                                 \
        assert_done(loads(ENTRIES(entry), &got_, wire_, sizeof(wire_), &err_), &err_);             \
        assert_memory_equal(&got_.member, &sent_.member, sizeof(got_.member));                     \
    } while (0)

static void numbers_are_big_endian_on_the_wire(void **state)
{
    (void)state;
    BOTH_WAYS(VMIG_VMSTATE_BOOL(b, struct thing), b, true, 1);
    BOTH_WAYS(VMIG_VMSTATE_INT8(i8, struct thing), i8, -2, 0xfe);
    BOTH_WAYS(VMIG_VMSTATE_UINT16(u16, struct thing), u16, 0x1234, 0x12, 0x34);
    BOTH_WAYS(VMIG_VMSTATE_UINT32(u32, struct thing), u32, 0x12345678, 0x12, 0x34, 0x56, 0x78);
    BOTH_WAYS(VMIG_VMSTATE_INT32(i32, struct thing), i32, -3, 0xff, 0xff, 0xff, 0xfd);
    BOTH_WAYS(VMIG_VMSTATE_UINT64(u64, struct thing), u64, UINT64_C(0x8877665544332211), 0x88, 0x77,
              0x66, 0x55, 0x44, 0x33, 0x22, 0x11);
    BOTH_WAYS(VMIG_VMSTATE_TIMER(timer, struct thing), timer, -1, 0xff, 0xff, 0xff, 0xff, 0xff,
              0xff, 0xff, 0xff);
    BOTH_WAYS(VMIG_VMSTATE_VALUE(FLOAT64, d, struct thing), d, 1.5, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0);
}

/* What @sent becomes on the wire, and what that becomes in @got. */
static void both_ways(const struct vmig_vmstate_field *fields, struct thing *sent,
                      struct thing *got, const void *wire, size_t length)
{
    struct vmig_error err;
    assert_wire(fields, sent, wire, length);
    assert_done(loads(fields, got, wire, length, &err), &err);
}
#define WIRE(s) s, sizeof(s) - 1

static void arrays_and_buffers_stand_back_to_back(void **state)
{
    (void)state;
    struct thing sent = { .words = { 1, 0x203, 3 }, .raw = "abcd" }, got = { 0 };
    both_ways(ENTRIES(VMIG_VMSTATE_UINT16_ARRAY(words, struct thing),
                      VMIG_VMSTATE_BUFFER(raw, struct thing)),
              &sent, &got, WIRE("\0\1\2\3\0\3abcd\0"));
    assert_memory_equal(got.words, sent.words, sizeof(sent.words));
    assert_memory_equal(got.raw, sent.raw, 5);
}

static void unused_bytes_are_zeros_and_ignored(void **state)
{
    (void)state;
    struct thing sent = { .i8 = 5 }, got = { 0 };
    struct vmig_error err;
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_UNUSED(3), VMIG_VMSTATE_INT8(i8, struct thing));
    both_ways(fields, &sent, &got, WIRE("\0\0\0\5"));
    assert_done(loads(fields, &got, "xyz\7", 4, &err), &err);
    assert_int_equal(got.i8, 7);
}

/* Word by word, the lowest bit first; bits behind the last are none. */
static void bitmaps_are_words(void **state)
{
    (void)state;
    struct thing sent = { .bits = { 1, UINT64_MAX } }, got = { 0 };
    both_ways(ENTRIES(VMIG_VMSTATE_BITMAP(bits, struct thing, 66)), &sent, &got,
              WIRE("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\3"));
    assert_int_equal(got.bits[0], 1);
    assert_int_equal(got.bits[1], 3);
    both_ways(ENTRIES(VMIG_VMSTATE_BITMAP(bits, struct thing, 64)), &sent, &got,
              WIRE("\0\0\0\0\0\0\0\1"));
    both_ways(ENTRIES(VMIG_VMSTATE_BITMAP(bits, struct thing, 65)), &sent, &got,
              WIRE("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1"));
}

static void what_must_be_equal_is_compared(void **state)
{
    (void)state;
    struct thing sent = { .e16 = 7, .e64 = 9 }, got = { .e16 = 7, .e64 = 9 };
    struct vmig_error err;
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_VALUE(UINT16_EQUAL, e16, struct thing),
                VMIG_VMSTATE_VALUE(UINT64_EQUAL, e64, struct thing));
    both_ways(fields, &sent, &got, WIRE("\0\7\0\0\0\0\0\0\0\11"));
    assert_refused(loads(fields, &got, "\0\10\0\0\0\0\0\0\0\11", 10, &err), &err, EINVAL,
                   "field \"e16\" at byte 2: 8 at the source and 7 here");
    assert_string_equal(err.reason, "layout-mismatch");
    assert_refused(loads(fields, &got, "\0\7\0\0\0\0\0\0\0\12", 10, &err), &err, EINVAL,
                   "field \"e64\"");
}

static void a_number_with_a_most_is_from_0_to_what_is_here(void **state)
{
    (void)state;
    struct vmig_error err;
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_VALUE(INT32_LE, le, struct thing));
    struct thing sent = { .le = 4 }, got = { .le = 4 };
    both_ways(fields, &sent, &got, WIRE("\0\0\0\4"));
    assert_done(loads(fields, &got, "\0\0\0\0", 4, &err), &err);
    assert_int_equal(got.le, 0);
    got.le = 4;
    assert_refused(loads(fields, &got, "\0\0\0\5", 4, &err), &err, EINVAL, "5 at the source");
    assert_refused(loads(fields, &got, "\xff\xff\xff\xff", 4, &err), &err, EINVAL, "-1 at the");
    assert_int_equal(got.le, 4);
}

/* ---- counts ---- */

static void counts_are_bounded_by_the_table(void **state)
{
    (void)state;
    struct vmig_error err;
    struct thing sent = { .count = 2, .some = { 5, 6, 7, 8 } }, got = { 0 };
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_UINT8(count, struct thing),
                VMIG_VMSTATE_VARRAY(UINT32, some, struct thing, count, 1));
    both_ways(fields, &sent, &got, WIRE("\2\0\0\0\5\0\0\0\6"));
    assert_int_equal(got.some[1], 6);
    assert_int_equal(got.some[2], 0);
    sent.count = 4;
    both_ways(fields, &sent, &got, WIRE("\4\0\0\0\5\0\0\0\6\0\0\0\7\0\0\0\10"));
    assert_refused(loads(fields, &got, "\5", 1, &err), &err, EINVAL,
                   "field \"some\" at byte 1: 5 of them are announced and 4 are the most");
    assert_string_equal(err.reason, "bad-stream");
    struct vmig_vmstate vmsd = { .name = "t", .fields = fields };
    void *buf;
    size_t length;
    sent.count = 5;
    assert_refused(vmig_vmstate_save(&vmsd, &sent, &buf, &length, &err), &err, EINVAL,
                   "5 of them are announced");
}

static void a_count_may_be_of_groups(void **state)
{
    (void)state;
    struct vmig_error err;
    struct thing sent = { .count = 2, .some = { 5, 6, 7, 8 } }, got = { 0 };
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_UINT8(count, struct thing),
                VMIG_VMSTATE_VARRAY(UINT32, some, struct thing, count, 2));
    both_ways(fields, &sent, &got, WIRE("\2\0\0\0\5\0\0\0\6\0\0\0\7\0\0\0\10"));
    assert_refused(loads(fields, &got, "\3", 1, &err), &err, EINVAL, "6 of them");
    fields = ENTRIES(VMIG_VMSTATE_UINT8(count, struct thing),
                     VMIG_VMSTATE_VBUFFER(bytes, struct thing, count, 3, 6));
    uint8_t there[6] = "abcdef", here[6];
    sent.bytes = there;
    got.bytes = here;
    both_ways(fields, &sent, &got, WIRE("\2abcdef"));
    assert_memory_equal(here, there, 6);
    assert_refused(loads(fields, &got, "\3abcdefghi", 10, &err), &err, EINVAL, "9 of them");
}

static void a_pointer_leads_to_what_is_there(void **state)
{
    (void)state;
    struct vmig_error err;
    uint32_t there = 0x01020304, here = 0;
    struct thing sent = { .pointed = &there }, got = { .pointed = &here };
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_POINTER(UINT32, pointed, struct thing));
    both_ways(fields, &sent, &got, WIRE("\1\2\3\4"));
    assert_int_equal(here, there);
    got.pointed = NULL;
    assert_refused(loads(fields, &got, "\1\2\3\4", 4, &err), &err, EINVAL, "pointer to it is NULL");
}

/* What was there is freed, and no more is taken than the table allows. */
static void memory_is_allocated_for_what_comes(void **state)
{
    (void)state;
    struct vmig_error err;
    uint32_t there[3] = { 1, 2, 3 };
    struct thing sent = { .length = 3, .allocated = there }, got = { .allocated = malloc(1000) };
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_UINT16(length, struct thing),
                VMIG_VMSTATE_VARRAY_ALLOC(UINT32, allocated, struct thing, length, 1, 100));
    both_ways(fields, &sent, &got, WIRE("\0\3\0\0\0\1\0\0\0\2\0\0\0\3"));
    assert_memory_equal(got.allocated, there, sizeof(there));
    assert_done(loads(fields, &got, "\0\0", 2, &err), &err);
    assert_null(got.allocated);
    assert_refused(loads(fields, &got, "\0\x65", 2, &err), &err, EINVAL, "101 of them");
    assert_refused(loads(fields, &got, "\0\x64\0\0\0\1", 6, &err), &err, ENODATA, "allocated[1]");
    free(got.allocated);
}

/* ---- presence ---- */

static bool wants_late(void *opaque, uint32_t version)
{
    return ((struct thing *)opaque)->wants_late && version >= 1;
}

static void a_field_is_there_since_a_version_or_if_a_test_says_so(void **state)
{
    (void)state;
    struct vmig_error err;
    static const struct vmig_vmstate_field fields[] = {
        VMIG_VMSTATE_INT8(i8, struct thing),
        VMIG_VMSTATE_VALUE_IF(UINT16, u16, struct thing, 3, NULL),
        VMIG_VMSTATE_VALUE_IF(UINT32, late, struct thing, 9, wants_late),
        VMIG_VMSTATE_END(),
    };
    struct vmig_vmstate vmsd = {
        .name = "thing", .version = 3, .minimum_version = 2, .fields = fields
    };
    struct thing sent = { .i8 = 1, .u16 = 2, .late = 3 }, got = { .u16 = 9 };
    assert_wire(fields, &sent, "\1\0\2", 3);
    sent.wants_late = true;
    assert_wire(fields, &sent, "\1\0\2\0\0\0\3", 7);
    assert_done(vmig_vmstate_load(&vmsd, 2, &got, "\5", 1, &err), &err);
    assert_int_equal(got.i8, 5);
    assert_int_equal(got.u16, 9);
    assert_done(vmig_vmstate_load(&vmsd, 3, &got, "\5\0\1", 3, &err), &err);
    assert_int_equal(got.u16, 1);
    for (uint32_t version = 1; version <= 4; version += 3) {
        assert_refused(vmig_vmstate_load(&vmsd, version, &got, "\5", 1, &err), &err, EOPNOTSUPP,
                       "2 to 3 are known here");
        assert_string_equal(err.reason, "format-version");
    }
}

static bool is_odd(void *opaque, uint32_t version)
{
    (void)version;
    return ((struct thing *)opaque)->i8 & 1;
}

static void what_is_validated_has_no_bytes(void **state)
{
    (void)state;
    struct vmig_error err;
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_INT8(i8, struct thing), VMIG_VMSTATE_VALIDATE("is odd", is_odd));
    struct thing sent = { .i8 = 3 }, got = { 0 };
    both_ways(fields, &sent, &got, WIRE("\3"));
    assert_refused(loads(fields, &got, "\4", 1, &err), &err, EINVAL,
                   "field \"is odd\" at byte 1: it does not hold");
}

/* ---- structures ---- */

struct inner {
    uint8_t a;
    uint16_t b;
};
static bool has_b(void *opaque)
{
    return ((struct inner *)opaque)->b != 0;
}
static const struct vmig_vmstate_field b_fields[] = { VMIG_VMSTATE_UINT16(b, struct inner),
                                                      VMIG_VMSTATE_END() };
static const struct vmig_vmstate b_table = {
    .name = "inner/b", .version = 2, .minimum_version = 2, .fields = b_fields, .needed = has_b
};
static const struct vmig_vmstate *const inner_subsections[] = { &b_table, NULL };
static const struct vmig_vmstate_field inner_fields[] = {
    VMIG_VMSTATE_UINT8(a, struct inner),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate inner_table = {
    .name = "inner", .version = 5, .fields = inner_fields, .subsections = inner_subsections
};
/* The same, in which b is a field since version 4. */
static const struct vmig_vmstate_field versioned_fields[] = {
    VMIG_VMSTATE_UINT8(a, struct inner),
    VMIG_VMSTATE_VALUE_IF(UINT16, b, struct inner, 4, NULL),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate versioned_table = { .name = "versioned",
                                                     .version = 5,
                                                     .fields = versioned_fields };

struct outer {
    struct inner one, two[2], *some[3];
    uint8_t last;
};

/* A nested structure's subsections stand behind its fields; what follows may begin with the same byte
 * and even the same name. */
static void subsections_stand_behind_their_structure(void **state)
{
    (void)state;
    struct outer sent = { .one = { 1, 0x203 }, .last = 5 }, got = { 0 };
    struct vmig_error err;
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_STRUCT(one, struct outer, &inner_table),
                VMIG_VMSTATE_UINT8(last, struct outer));
    static const char wire[] = "\1\5\7inner/b\0\0\0\2\2\3\5";
    assert_wire(fields, &sent, wire, sizeof(wire) - 1);
    assert_done(loads(fields, &got, wire, sizeof(wire) - 1, &err), &err);
    assert_int_equal(got.one.b, 0x203);
    assert_int_equal(got.last, 5);
    sent.one.b = got.one.b = 0;
    assert_wire(fields, &sent, "\1\5", 2);
    assert_done(loads(fields, &got, "\1\5", 2, &err), &err);
    assert_int_equal(got.one.b, 0);
    assert_refused(loads(fields, &got, WIRE("\1\5\7inner/c\0\0\0\2\2\3\5"), &err), &err, EINVAL,
                   "subsection \"inner/c\" came");
    assert_refused(loads(fields, &got, WIRE("\1\5\7inner/b\0\0\0\3\2\3\5"), &err), &err, EOPNOTSUPP,
                   "\"inner/b\" came in version 3 and 2 to 2 are known");
    assert_refused(loads(fields, &got, WIRE("\1\5\7inner/b\0\0\0\2\2"), &err), &err, ENODATA,
                   "field \"one.b\"");
}

static void arrays_of_pointers_may_have_gaps(void **state)
{
    (void)state;
    struct inner a = { 1, 0 }, c = { 3, 0 }, here[2] = { { 0 } };
    struct outer sent = { .some = { &a, NULL, &c } };
    struct outer got = { .some = { &here[0], NULL, &here[1] } };
    struct vmig_error err;
    const struct vmig_vmstate_field *fields =
        ENTRIES(VMIG_VMSTATE_STRUCT_ARRAY_OF_POINTERS(some, struct outer, &inner_table));
    assert_wire(fields, &sent,
                "\1"
                "0"
                "\3",
                3);
    assert_done(loads(fields, &got,
                      "\1"
                      "0"
                      "\3",
                      3, &err),
                &err);
    assert_int_equal(here[0].a, 1);
    assert_int_equal(here[1].a, 3);
    assert_refused(loads(fields, &got, "\1\2\3", 3, &err), &err, EINVAL,
                   "field \"some[1]\" at byte 2: the source sent an element (byte 0x2)");
}

static void a_nested_table_may_be_kept_in_an_older_version(void **state)
{
    (void)state;
    struct outer sent = { .one = { 1, 2 } };
    assert_wire(ENTRIES(VMIG_VMSTATE_VSTRUCT(one, struct outer, &versioned_table, 3)), &sent, "\1",
                1);
    assert_wire(ENTRIES(VMIG_VMSTATE_VSTRUCT(one, struct outer, &versioned_table, 4)), &sent,
                "\1\0\2", 3);
    assert_wire(ENTRIES(VMIG_VMSTATE_STRUCT(one, struct outer, &versioned_table)), &sent, "\1\0\2",
                3);
}

/* The wire has the sum, the structure the parts. */
struct sum {
    struct inner *parent;
    uint32_t value;
};
static int add_up(void *opaque, struct vmig_error *err)
{
    struct sum *s = opaque;
    (void)err;
    s->value = s->parent->a + 1000u * s->parent->b;
    return 0;
}
static int take_apart(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct sum *s = opaque;
    (void)version;
    (void)err;
    s->parent->a = (uint8_t)(s->value % 1000);
    s->parent->b = (uint16_t)(s->value / 1000);
    return 0;
}
static const struct vmig_vmstate_field sum_fields[] = { VMIG_VMSTATE_UINT32(value, struct sum),
                                                        VMIG_VMSTATE_END() };
static const struct vmig_vmstate sum_table = {
    .name = "sum", .version = 1, .fields = sum_fields, .pre_save = add_up, .post_load = take_apart
};

static void a_temporary_is_made_up_and_taken_apart(void **state)
{
    (void)state;
    struct inner sent = { 7, 3 }, got = { 0 };
    struct vmig_error err;
    const struct vmig_vmstate_field *fields = ENTRIES(VMIG_VMSTATE_TMP(struct sum, &sum_table));
    assert_wire(fields, &sent, "\0\0\x0b\xbf", 4);
    assert_done(loads(fields, &got, "\0\0\x0b\xbf", 4, &err), &err);
    assert_int_equal(got.a, 7);
    assert_int_equal(got.b, 3);
}

/* ---- hooks ---- */

static int hooks_fail;
static char hooks_called[64];
static int note(const char *name, int fails)
{
    strncat(hooks_called, name, sizeof(hooks_called) - strlen(hooks_called) - 1);
    return hooks_fail == fails ? -EXDEV : 0;
}
static int h_pre_save(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return note("<save ", 1);
}
static void h_post_save(void *opaque)
{
    (void)opaque;
    note("save> ", -1);
}
static int h_pre_load(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return note("<load ", 2);
}
static int h_post_load(void *opaque, uint32_t version, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    assert_int_equal(version, 4);
    return note("load> ", 3);
}

static void expect_hooks(const char *wanted)
{
    assert_string_equal(hooks_called, wanted);
    hooks_called[0] = '\0';
}

static void hooks_come_before_and_after_the_fields(void **state)
{
    (void)state;
    const struct vmig_vmstate vmsd = {
        .name = "h",
        .version = 4,
        .minimum_version = 4,
        .fields = inner_fields,
        .pre_save = h_pre_save,
        .post_save = h_post_save,
        .pre_load = h_pre_load,
        .post_load = h_post_load,
    };
    struct inner it = { 1, 1 };
    struct vmig_error err;
    void *buf;
    size_t length;
    assert_done(vmig_vmstate_save(&vmsd, &it, &buf, &length, &err), &err);
    free(buf);
    expect_hooks("<save save> ");
    assert_done(vmig_vmstate_load(&vmsd, 4, &it, "\1", 1, &err), &err);
    expect_hooks("<load load> ");
    hooks_fail = 1; /* nothing to take back */
    assert_int_equal(vmig_vmstate_save(&vmsd, &it, &buf, &length, NULL), -EXDEV);
    expect_hooks("<save ");
    hooks_fail = 2;
    assert_int_equal(vmig_vmstate_load(&vmsd, 4, &it, "\1", 1, NULL), -EXDEV);
    expect_hooks("<load ");
    hooks_fail = 3;
    assert_int_equal(vmig_vmstate_load(&vmsd, 4, &it, "\1", 1, NULL), -EXDEV);
    expect_hooks("<load load> ");
    hooks_fail = 0; /* what is not whole is not shown to post_load */
    assert_int_equal(vmig_vmstate_load(&vmsd, 4, &it, "", 0, NULL), -ENODATA);
    expect_hooks("<load ");
    assert_refused(vmig_vmstate_load(&vmsd, 4, &it, "\1\2", 2, &err), &err, EINVAL,
                   "ends at byte 1 of 2");
}

/* ---- tables that are none ---- */

static void table_refused(const struct vmig_vmstate_field *fields, const char *fragment)
{
    struct vmig_error err;
    const struct vmig_vmstate vmsd = { .name = "t", .version = 1, .fields = fields };
    assert_refused(vmstate_check(&vmsd, &err), &err, EINVAL, fragment);
}

static void tables_that_are_none_are_refused_by_field(void **state)
{
    (void)state;
    table_refused(ENTRIES(VMIG_VMSTATE_UINT32(u16, struct thing)), "size is not the kind's");
    table_refused(ENTRIES(VMIG_VMSTATE_STRUCT(u16, struct thing, NULL)), "it has no table");
    table_refused(ENTRIES(VMIG_VMSTATE_VALIDATE("v", NULL)), "field \"v\": there is nothing");
    table_refused(ENTRIES(VMIG_VMSTATE_VSTRUCT(u16, struct thing, &inner_table, 6)),
                  "no such version");
    table_refused(ENTRIES(VMIG_VMSTATE_CUSTOM(u16, struct thing, NULL)), "codec");
    table_refused(ENTRIES(VMIG_VMSTATE_ELEMENTS_OF(LIST, u16, struct thing, &inner_table, NULL, 1)),
                  "container");
    static const struct vmig_vmstate *const strangers[] = { &versioned_table, NULL };
    const struct vmig_vmstate parent = {
        .name = "inner", .version = 1, .fields = inner_fields, .subsections = strangers
    };
    struct vmig_error err;
    assert_refused(vmstate_check(&parent, &err), &err, EINVAL,
                   "a subsection's name begins with it");
    const struct vmig_vmstate backwards = {
        .name = "b", .version = 1, .minimum_version = 2, .fields = inner_fields
    };
    assert_refused(vmstate_check(&backwards, &err), &err, EINVAL, "minimum version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian_on_the_wire),
        cmocka_unit_test(arrays_and_buffers_stand_back_to_back),
        cmocka_unit_test(unused_bytes_are_zeros_and_ignored),
        cmocka_unit_test(bitmaps_are_words),
        cmocka_unit_test(what_must_be_equal_is_compared),
        cmocka_unit_test(a_number_with_a_most_is_from_0_to_what_is_here),
        cmocka_unit_test(counts_are_bounded_by_the_table),
        cmocka_unit_test(a_count_may_be_of_groups),
        cmocka_unit_test(a_pointer_leads_to_what_is_there),
        cmocka_unit_test(memory_is_allocated_for_what_comes),
        cmocka_unit_test(a_field_is_there_since_a_version_or_if_a_test_says_so),
        cmocka_unit_test(what_is_validated_has_no_bytes),
        cmocka_unit_test(subsections_stand_behind_their_structure),
        cmocka_unit_test(arrays_of_pointers_may_have_gaps),
        cmocka_unit_test(a_nested_table_may_be_kept_in_an_older_version),
        cmocka_unit_test(a_temporary_is_made_up_and_taken_apart),
        cmocka_unit_test(hooks_come_before_and_after_the_fields),
        cmocka_unit_test(tables_that_are_none_are_refused_by_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
