/* SPDX-License-Identifier: BSD-3-Clause */
/* fw_cfg and ramfb without a guest: what one may ask for, and what a bad one does. Guest memory is 16 MiB, and what
 * lies before and behind it in this process cannot be accessed. */
#include <endian.h>
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/stream/vmstate.h"
#include "vmm/ramfb.h"

#define MEMORY (UINT64_C(16) << 20)
#define REQUEST 0x1000u /* where requests lie */
#define BUFFER 0x2000u
#define ERROR 1u
#define READ 2u
#define SKIP 4u
#define SELECT 8u
#define WRITE 16u
#define ITEM(n) ((uint32_t)(n) << 16 | SELECT)
#define NOBODY 0x55u

struct scene {
    struct memory memory;
    struct bus ports;
    struct fw_cfg fw_cfg;
    struct ramfb ramfb;
    unsigned file; /* the item of etc/ramfb */
};

/* ---- the guest's side ---- */

static void out(struct scene *s, uint16_t port, uint32_t value, unsigned length)
{
    bus_write(&s->ports, port, &value, length);
}

static uint32_t in(struct scene *s, uint16_t port, unsigned length)
{
    uint32_t value = 0;
    bus_read(&s->ports, port, &value, length);
    return value;
}

static void *at(struct scene *s, uint64_t address)
{
    return s->memory.base + address;
}

/* Returns what is in its control afterwards. */
static uint32_t request_at(struct scene *s, uint64_t place, uint32_t control, uint64_t address,
                           uint32_t length)
{
    uint32_t words[] = { htobe32(control), htobe32(length), htobe32((uint32_t)(address >> 32)),
                         htobe32((uint32_t)address) };
    memcpy(at(s, place), words, sizeof(words));
    out(s, 0x514, htobe32((uint32_t)(place >> 32)), 4);
    out(s, 0x518, htobe32((uint32_t)place), 4);
    memcpy(words, at(s, place), sizeof(words));
    return be32toh(words[0]);
}

static uint32_t request(struct scene *s, uint32_t control, uint64_t address, uint32_t length)
{
    return request_at(s, REQUEST, control, address, length);
}

static unsigned find(struct scene *s, const char *name, uint32_t *length)
{
    uint8_t *entry = at(s, BUFFER);
    uint32_t count;
    assert_int_equal(request(s, ITEM(0x19) | READ, BUFFER, 4), 0);
    memcpy(&count, entry, 4);
    for (count = be32toh(count); count; count--) {
        assert_int_equal(request(s, READ, BUFFER, 64), 0);
        memcpy(length, entry, 4);
        *length = be32toh(*length);
        if (!strcmp((char *)entry + 8, name))
            return (unsigned)entry[4] << 8 | entry[5];
    }
    return 0;
}

/* Move it between pages that cannot be accessed. */
static void fence(struct memory *memory)
{
    uint8_t *base = mmap(NULL, MEMORY + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    munmap(memory->base, MEMORY);
    memory->base =
        mmap(base + 4096, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory->fd, 0);
    memory->blocks[0].vaddr = memory->base;
    assert_ptr_equal(memory->base, base + 4096);
}

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    uint32_t length = 0;
    assert_int_equal(memory_new(&s->memory, MEMORY, false, NULL), 0);
    fence(&s->memory);
    bus_init(&s->ports);
    assert_int_equal(fw_cfg_new(&s->fw_cfg, &s->memory, 3, &s->ports, NULL), 0);
    ramfb_new(&s->ramfb, &s->fw_cfg);
    s->file = find(s, "etc/ramfb", &length);
    assert_int_equal(length, 28);
    memset(s->memory.written, 0, MEMORY / 4096 / 8);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    fw_cfg_done(&s->fw_cfg);
    bus_done(&s->ports);
    munmap(s->memory.base - 4096, MEMORY + 8192);
    memory_done(&s->memory);
    free(s);
    return 0;
}

static void configure(struct scene *s, struct vmig_ramfb r)
{
    uint64_t address = htobe64(r.addr);
    uint32_t rest[] = { htobe32(r.fourcc), htobe32(r.flags), htobe32(r.width), htobe32(r.height),
                        htobe32(r.stride_bytes) };
    memcpy(at(s, BUFFER), &address, sizeof(address));
    memcpy(at(s, BUFFER + 8), rest, sizeof(rest));
    assert_int_equal(request(s, ITEM(s->file) | WRITE, BUFFER, 28), 0);
}

#define FOURCC(a, b, c, d)                                                                         \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define XR24 FOURCC('X', 'R', '2', '4')
#define RG24 FOURCC('R', 'G', '2', '4')

/* ---- items ---- */

static void a_guest_without_requests_reads_items_byte_by_byte(void **state)
{
    struct scene *s = *state;
    static const struct {
        uint16_t item;
        uint8_t bytes[6];
    } rows[] = { { 0x00, "QEMU" }, { 0x01, { 3 } },   { 0x05, { 3 } },
                 { 0x0f, { 3 } },  { NOBODY, { 0 } }, { 0x03, { 0, 0, 0, 1 } } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        out(s, 0x510, rows[i].item, 2);
        for (unsigned n = 0; n < 6; n++)
            assert_int_equal(in(s, 0x511, 1), rows[i].bytes[n]); /* zeros behind the end */
    }
    uint32_t high = in(s, 0x514, 4), low = in(s, 0x518, 4);
    assert_memory_equal(&high, "QEMU", 4);
    assert_memory_equal(&low, " CFG", 4);
}

static void a_request_reads_on_where_the_last_one_ended(void **state)
{
    struct scene *s = *state;
    memset(at(s, BUFFER), 0xaa, 16);
    assert_int_equal(request(s, ITEM(0) | READ, BUFFER, 1), 0);
    assert_int_equal(request(s, SKIP, 0, 1), 0);
    assert_int_equal(request(s, READ, BUFFER + 1, 4), 0);
    assert_memory_equal(at(s, BUFFER), "QMU\0\0\xaa", 6);
    assert_int_equal(request(s, SKIP, 0, UINT32_MAX), 0);
    assert_int_equal(request(s, READ, BUFFER, 1), 0);
    assert_memory_equal(at(s, BUFFER), "\0", 1);
}

static void what_is_written_in_pieces_is_one_configuration(void **state)
{
    struct scene *s = *state;
    struct vmig_ramfb r;
    static const uint8_t bytes[28] = { 0, 0, 0, 1, 2, 3, 4, 5, '4', '2', 'R', 'X', 0, 0,
                                       0, 7, 0, 0, 1, 0, 0, 0, 2,   0,   0,   0,   4, 1 };
    memcpy(at(s, BUFFER), bytes, sizeof(bytes));
    assert_int_equal(request(s, ITEM(s->file) | WRITE, BUFFER, 11), 0);
    assert_int_equal(request(s, WRITE, BUFFER + 11, 17), 0);
    ramfb_get(&s->ramfb, &r);
    assert_int_equal(r.addr, 0x102030405);
    assert_int_equal(r.fourcc, XR24);
    assert_int_equal(r.flags, 7);
    assert_int_equal(r.width, 256);
    assert_int_equal(r.height, 512);
    assert_int_equal(r.stride_bytes, 1025);
    ramfb_set(&s->ramfb, &r); /* as at a target */
    assert_int_equal(request(s, ITEM(s->file) | READ, BUFFER + 100, 28), 0);
    assert_memory_equal(at(s, BUFFER + 100), bytes, sizeof(bytes));
}

static bool is_written(struct scene *s, uint64_t page)
{
    return s->memory.written[page / 64] >> page % 64 & 1;
}

static void pages_that_a_request_wrote_are_known_to_be_written_and_no_others(void **state)
{
    struct scene *s = *state;
    assert_int_equal(request_at(s, 0x5ff8, ITEM(0) | READ, 0x8fff, 4098), 0);
    for (uint64_t page = 0; page < MEMORY / 4096; page++)
        assert_int_equal(is_written(s, page), page == 5 || (page >= 8 && page <= 10));
    memset(s->memory.written, 0, MEMORY / 4096 / 8);
    assert_int_equal(request(s, ITEM(0) | READ, MEMORY - 1, 1), 0);
    assert_true(is_written(s, MEMORY / 4096 - 1));
    assert_int_equal(request(s, ITEM(s->file) | WRITE, 0x9000, 28), 0);
    assert_false(is_written(s, 9));
}

static void what_is_selected_moves(void **state)
{
    struct scene *s = *state;
    struct writer w;
    struct reader r;
    writer_init(&w);
    out(s, 0x510, 0, 2);
    in(s, 0x511, 1);
    out(s, 0x514, htobe32(1), 4);
    assert_int_equal(vmstate_save(&fw_cfg_vmstate, &s->fw_cfg, &w, NULL, NULL), 0);
    out(s, 0x510, NOBODY, 2);
    out(s, 0x514, 0, 4);
    reader_init_memory(&r, w.buf, w.length);
    assert_int_equal(vmstate_load(&fw_cfg_vmstate, 1, &s->fw_cfg, &r, NULL), 0);
    assert_int_equal(in(s, 0x511, 1), 'E');
    out(s, 0x518, htobe32(REQUEST), 4); /* 4 GiB further up: it is not there */
    assert_false(is_written(s, REQUEST / 4096));
    writer_done(&w);
}

/* ---- bad guests ---- */

static void a_bad_request_changes_nothing_and_has_its_error_bit_set(void **state)
{
    struct scene *s = *state;
    const uint32_t file = ITEM(s->file);
    const struct {
        uint32_t control;
        uint64_t address;
        uint32_t length;
    } rows[] = {
        { ITEM(0) | READ, MEMORY - 3, 4 },        { ITEM(0) | READ, MEMORY, 1 },
        { ITEM(0) | READ, UINT64_MAX, 1 },        { ITEM(0) | READ, UINT64_MAX - 1, UINT32_MAX },
        { ITEM(0) | READ, 0, UINT32_MAX },        { ITEM(0) | READ, 0, (uint32_t)MEMORY + 1 },
        { ITEM(NOBODY) | READ, MEMORY, 1 },       { ITEM(0) | WRITE, BUFFER, 4 },
        { ITEM(0x19) | WRITE, BUFFER, 4 },        { ITEM(NOBODY) | WRITE, BUFFER, 1 },
        { ITEM(s->file + 1) | WRITE, BUFFER, 1 }, { file | WRITE, BUFFER, 29 },
        { file | WRITE, BUFFER, UINT32_MAX },     { file | WRITE, MEMORY - 27, 28 },
        { file | WRITE, UINT64_MAX - 27, 28 },
    };
    configure(s, (struct vmig_ramfb) { .addr = 1, .width = 2, .height = 3 });
    struct ramfb_file before = s->ramfb.file;
    uint8_t *copy = malloc(MEMORY);
    memset(at(s, BUFFER), 0xee, 64);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(copy, s->memory.base, MEMORY);
        assert_int_equal(request(s, rows[i].control, rows[i].address, rows[i].length), ERROR);
        memcpy(copy + REQUEST, at(s, REQUEST), 16);
        assert_memory_equal(copy, s->memory.base, MEMORY);
        assert_memory_equal(&before, &s->ramfb.file, sizeof(before));
    }
    assert_int_equal(request(s, file | SKIP, 0, 20), 0);
    assert_int_equal(request(s, WRITE, BUFFER, 9), ERROR); /* 8 would be left */
    assert_int_equal(request(s, WRITE, BUFFER, 8), 0);
    assert_int_equal(request(s, WRITE, BUFFER, 1), ERROR);
    free(copy);
}

static void a_request_outside_of_memory_is_none(void **state)
{
    struct scene *s = *state;
    static const uint64_t places[] = { MEMORY - 15, MEMORY, UINT64_MAX, UINT64_MAX - 15 };
    for (size_t i = 0; i < 4; i++) {
        out(s, 0x514, htobe32((uint32_t)(places[i] >> 32)), 4);
        out(s, 0x518, htobe32((uint32_t)places[i]), 4);
    }
    for (uint64_t page = 0; page < MEMORY / 4096; page++)
        assert_false(is_written(s, page));
    assert_int_equal(request_at(s, MEMORY - 16, ITEM(0) | READ, MEMORY - 16, 16), 0);
}

static void accesses_of_other_sizes_and_ports_do_nothing(void **state)
{
    struct scene *s = *state;
    out(s, 0x510, 0, 2);
    for (uint16_t port = 0x510; port < 0x51c; port++)
        for (unsigned length = 1; length <= 4; length *= 2)
            if (!(port == 0x510 && length == 2) && !(port == 0x518 && length == 4)) {
                out(s, port, UINT32_MAX, length);
                if (port != 0x511 || length != 1)
                    in(s, port, length);
            }
    assert_int_equal(in(s, 0x511, 1), 'Q');
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

/* Numbers that matter more often than others. */
static uint64_t some(uint64_t *x)
{
    static const uint64_t edges[] = { 0,      1,          4,          28,   BUFFER, MEMORY - 28,
                                      MEMORY, UINT32_MAX, UINT64_MAX, XR24, 16384,  3 };
    uint64_t n = next_random(x);
    return n % 3 ? edges[n / 3 % 12] + (n >> 40) % 3 - 1 : next_random(x) >> n % 64;
}

static void whatever_is_written_nothing_outside_of_memory_is_touched(void **state)
{
    struct scene *s = *state;
    uint64_t x = 88172645463325252;
    unsigned shown = 0;
    for (unsigned i = 0; i < 30000; i++) {
        struct ramfb_picture p;
        uint64_t words[4] = { some(&x), some(&x), some(&x), some(&x) };
        memcpy(at(s, BUFFER), words, sizeof(words));
        request_at(s, i % 5 ? REQUEST : some(&x) % (MEMORY - 16),
                   (uint32_t)some(&x) | (i % 2 ? ITEM(s->file) | WRITE : 0),
                   i % 2 ? BUFFER : some(&x), (uint32_t)some(&x));
        if (i % 3 == 0)
            configure(s, (struct vmig_ramfb) { some(&x), i % 2 ? XR24 : RG24, 0, (uint32_t)some(&x),
                                               (uint32_t)some(&x), (uint32_t)some(&x) });
        if (ramfb_look(&s->ramfb, &p, NULL) < 0)
            continue;
        shown++;
        const uint8_t *last =
            p.pixels + (p.height - 1) * p.stride_bytes + (uint64_t)p.width * p.pixel_bytes - 1;
        assert_true(p.pixels >= s->memory.base && last >= p.pixels &&
                    last < s->memory.base + MEMORY);
    }
    assert_true(shown > 10);
}

/* ---- pictures ---- */

static void refuses(struct scene *s, struct vmig_ramfb r, const char *words)
{
    struct ramfb_picture p;
    struct vmig_error err = { 0 };
    configure(s, r);
    assert_int_equal(ramfb_look(&s->ramfb, &p, &err), -ENODATA);
    assert_string_equal(err.reason, "no-picture");
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void shows(struct scene *s, struct vmig_ramfb r)
{
    struct ramfb_picture p;
    struct vmig_error err = { 0 };
    configure(s, r);
    if (ramfb_look(&s->ramfb, &p, &err) < 0)
        fail_msg("%s", err.text);
    assert_ptr_equal(p.pixels, s->memory.base + r.addr);
}

static void a_picture_that_cannot_be_is_refused_with_its_numbers(void **state)
{
    struct scene *s = *state;
    const struct vmig_ramfb good = { 0x10000, XR24, 0, 100, 50, 400 };
    struct vmig_ramfb r = good;
    shows(s, r);
#define WITH(member, value) (r = good, r.member = (value), r)
    refuses(s, WITH(width, 0), "has not said");
    refuses(s, WITH(height, 0), "has not said");
    refuses(s, WITH(fourcc, 0), "has not said");
    refuses(s, WITH(fourcc, FOURCC('Y', 'U', 'Y', 'V')), "0x56595559");
    refuses(s, WITH(stride_bytes, 399), "lines of 399 bytes");
    shows(s, WITH(stride_bytes, 401));
    shows(s, WITH(stride_bytes, 0));
    refuses(s, WITH(width, 101), "404");
    refuses(s, WITH(stride_bytes, UINT32_MAX), "no such memory");
    refuses(s, WITH(addr, MEMORY), "no such memory");
    refuses(s, WITH(addr, UINT64_MAX), "no such memory");
    refuses(s, WITH(addr, UINT64_MAX - 20000 + 1), "no such memory");
    shows(s, WITH(addr, MEMORY - 20000));
    refuses(s, WITH(addr, MEMORY - 19999), "20000 bytes");
    /* the last line need not be as long as the others */
    shows(s, (struct vmig_ramfb) { MEMORY - 2000 - 300, RG24, 0, 100, 2, 2000 });
    refuses(s, (struct vmig_ramfb) { MEMORY - 2000 - 299, RG24, 0, 100, 2, 2000 }, "2300 bytes");
    shows(s, (struct vmig_ramfb) { 0, XR24, 0, 16384, 256, 0 });
    refuses(s, (struct vmig_ramfb) { 0, XR24, 0, 16384, 257, 0 }, "no such memory");
    refuses(s, (struct vmig_ramfb) { 0, XR24, 0, 16385, 1, 0 }, "16385 x 1");
    refuses(s, (struct vmig_ramfb) { 0, XR24, 0, 1, 16385, 0 }, "1 x 16385");
    refuses(s, (struct vmig_ramfb) { 0, XR24, 0, UINT32_MAX, UINT32_MAX, 0 }, "4294967295");
}

static void each_format_has_its_colours_in_the_right_order(void **state)
{
    struct scene *s = *state;
    static const struct {
        char fourcc[5];
        uint8_t bytes[8]; /* of two pixels: red 1, green 2, blue 3 and red 4, green 5, blue 6 */
    } rows[] = {
        { "XR24", { 3, 2, 1, 99, 6, 5, 4, 98 } }, { "AR24", { 3, 2, 1, 0, 6, 5, 4, 255 } },
        { "XB24", { 1, 2, 3, 99, 4, 5, 6, 98 } }, { "AB24", { 1, 2, 3, 0, 4, 5, 6, 255 } },
        { "RG24", { 3, 2, 1, 6, 5, 4 } },         { "BG24", { 1, 2, 3, 4, 5, 6 } },
    };
    char path[] = "/tmp/vmm-picture-XXXXXX", arguments[100];
    close(mkstemp(path));
    snprintf(arguments, sizeof(arguments), "{\"filename\": \"%s\"}", path);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        png_image image = { .version = PNG_IMAGE_VERSION };
        uint8_t rgb[6];
        struct vmig_ramfb r = { .addr = 0x3001, .width = 2, .height = 1 };
        memcpy(&r.fourcc, rows[i].fourcc, 4);
        memcpy(at(s, r.addr), rows[i].bytes, sizeof(rows[i].bytes));
        configure(s, r);
        assert_int_equal(screenshot_take(&s->ramfb, arguments, NULL), 0);
        assert_true(png_image_begin_read_from_file(&image, path));
        assert_int_equal(image.width * image.height, 2);
        image.format = PNG_FORMAT_RGB;
        assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
        assert_memory_equal(rgb, "\1\2\3\4\5\6", 6);
    }
    unlink(path);
}

static void a_picture_that_did_not_come_along_is_not_there_until_the_guest_says_so(void **state)
{
    struct scene *s = *state;
    const struct vmig_ramfb none = { 0 };
    ramfb_set(&s->ramfb, NULL);
    refuses(s, none, "did not come along");
    shows(s, (struct vmig_ramfb) { 0, XR24, 0, 1, 1, 0 });
    ramfb_set(&s->ramfb, &none);
    refuses(s, none, "has not said");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_guest_without_requests_reads_items_byte_by_byte),
        TEST(a_request_reads_on_where_the_last_one_ended),
        TEST(what_is_written_in_pieces_is_one_configuration),
        TEST(pages_that_a_request_wrote_are_known_to_be_written_and_no_others),
        TEST(what_is_selected_moves),
        TEST(a_bad_request_changes_nothing_and_has_its_error_bit_set),
        TEST(a_request_outside_of_memory_is_none),
        TEST(accesses_of_other_sizes_and_ports_do_nothing),
        TEST(whatever_is_written_nothing_outside_of_memory_is_touched),
        TEST(a_picture_that_cannot_be_is_refused_with_its_numbers),
        TEST(each_format_has_its_colours_in_the_right_order),
        TEST(a_picture_that_did_not_come_along_is_not_there_until_the_guest_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
