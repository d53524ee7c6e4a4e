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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian_on_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
