/* SPDX-License-Identifier: BSD-3-Clause */
/* What a walk refuses in a stream that is well framed. */
#include <errno.h>
#include <xxhash.h>
#include "lib/stream/inspect.h"
#include "tests/stream/pieces.h"

#define BASE 14 /* of the first section: 8 bytes of header, 6 of CONFIGURATION "m" */

struct fixture {
    struct writer w;
    struct vmig_error err;
};

static void begin(struct fixture *f)
{
    writer_reset(&f->w);
    qemu_write_header(&f->w);
    qemu_write_configuration(&f->w, "m");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    writer_init(&f->w);
    begin(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    writer_done(&f->w);
    free(f);
    return 0;
}

static const struct inspect_ops nothing;

static int walk(struct fixture *f, const struct inspect_ops *ops, void *opaque)
{
    memset(&f->err, 0, sizeof(f->err));
    return inspect_memory(f->w.buf, f->w.length, ops, opaque, &f->err);
}

#define assert_walk_refused(f, code, fragment)                                                     \
    assert_refused(walk(f, &nothing, NULL), &(f)->err, code, fragment)

/* RAM's START with blocks "a" of two pages and "b" of one. Its footer ends at BASE + 71. */
static void ram_start(struct fixture *f)
{
    static const struct qemu_ram_block blocks[2] = { { "a", 8192, 0 }, { "b", 4096, 0 } };
    qemu_write_start(&f->w, 2, "ram", 0, 4);
    qemu_write_ram_blocks(&f->w, blocks, 2);
    qemu_write_ram_item(&f->w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(&f->w, 2);
    qemu_write_part(&f->w, 2);
}
#define ITEMS (BASE + 17 + 8 + 2 * 10 + 8 + 5 + 5)

static void zero_page(struct fixture *f, uint64_t offset, const char *block)
{
    qemu_write_ram_item(&f->w, offset, QEMU_RAM_ZERO | (block ? 0 : QEMU_RAM_CONTINUE), block);
    writer_u8(&f->w, 0);
}

static void end_of_items(struct fixture *f)
{
    qemu_write_ram_item(&f->w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(&f->w, 2);
    qemu_write_eof(&f->w);
}

static void pages_inside_their_block_are_taken(void **state)
{
    struct fixture *f = *state;
    ram_start(f);
    assert_int_equal(f->w.length, ITEMS);
    zero_page(f, 0, "a");
    zero_page(f, 4096, NULL);
    zero_page(f, 0, "b");
    end_of_items(f);
    assert_done(walk(f, &nothing, NULL), &f->err);
}

/* QEMU's PARTs usually begin with "the same block as before". */
static void the_block_survives_sections(void **state)
{
    struct fixture *f = *state;
    ram_start(f);
    zero_page(f, 0, "b");
    qemu_write_ram_item(&f->w, 0, QEMU_RAM_EOS, NULL);
    qemu_write_footer(&f->w, 2);
    qemu_write_part(&f->w, 2);
    uint64_t second = f->w.length;
    zero_page(f, 4096, NULL); /* in "a" this would be a page */
    end_of_items(f);
    char fragment[100];
    snprintf(fragment, sizeof(fragment),
             "offset %d: section \"ram\" (id 2): a page at 4096 of "
             "block \"b\", which has 4096 bytes",
             (int)second);
    assert_walk_refused(f, EINVAL, fragment);
}

static void pages_outside_their_block_are_refused(void **state)
{
    struct fixture *f = *state;
    char where[32];
    snprintf(where, sizeof(where), "offset %d: ", ITEMS);
    ram_start(f);
    zero_page(f, 8192, "a");
    assert_walk_refused(f, EINVAL, where);
    begin(f);
    ram_start(f);
    zero_page(f, 0, "c");
    assert_walk_refused(f, EINVAL, "block \"c\", which is not listed");
    begin(f);
    ram_start(f);
    zero_page(f, 0, NULL);
    assert_walk_refused(f, EINVAL, "which is not listed");
    begin(f);
    ram_start(f);
    zero_page(f, UINT64_MAX & ~UINT64_C(4095), "a");
    assert_walk_refused(f, EINVAL, where);
}

static void a_second_list_of_blocks_is_refused(void **state)
{
    struct fixture *f = *state;
    ram_start(f);
    qemu_write_ram_item(&f->w, 4096, QEMU_RAM_MEM_SIZE, NULL);
    assert_walk_refused(f, EINVAL, "a list of blocks after the START");
    begin(f);
    ram_start(f);
    f->w.length -= 5 + 5 + 8; /* inside the START: the page item's block would dangle */
    zero_page(f, 0, "a");
    qemu_write_ram_item(&f->w, 4096, QEMU_RAM_MEM_SIZE, NULL);
    writer_str8(&f->w, "z");
    writer_u64(&f->w, 4096);
    zero_page(f, 0, NULL);
    assert_walk_refused(f, EINVAL, "which is not listed");
}

static void features_that_are_not_decoded_are_named_with_their_place(void **state)
{
    struct fixture *f = *state;
    char where[32];
    snprintf(where, sizeof(where), "offset %d: section \"ram\"", ITEMS);
    static const uint64_t flags[] = { 0x40, 0x80, 0x100, 0x200 };
    for (int i = 0; i < 4; i++) {
        begin(f);
        ram_start(f);
        writer_u64(&f->w, flags[i]);
        assert_walk_refused(f, EOPNOTSUPP, where);
    }
    begin(f);
    qemu_write_start(&f->w, 2, "ram", 0, 3);
    assert_walk_refused(f, EOPNOTSUPP, "version 3; only 4 is supported");
    begin(f);
    qemu_write_command(&f->w, QEMU_CMD_PACKAGED, "\0\0\0\0", 4);
    assert_walk_refused(f, EOPNOTSUPP, "offset 14: command 0x7 (PACKAGED): postcopy");
    begin(f);
    writer_u8(&f->w, QEMU_SUBSECTION);
    writer_str8(&f->w, "configuration/capabilities");
    writer_u32(&f->w, 1);
    writer_u32(&f->w, 1);
    writer_str8(&f->w, "mapped-ram");
    qemu_write_start(&f->w, 2, "ram", 0, 4);
    assert_walk_refused(f, EOPNOTSUPP, "mapped-ram is not decoded");
}

static void a_section_of_unknown_length_is_not_passed_over(void **state)
{
    struct fixture *f = *state;
    qemu_write_full(&f->w, 9, "x", 0, 1);
    writer_bytes(&f->w, "opaque", 6);
    qemu_write_eof(&f->w);
    assert_walk_refused(f, ENODATA, "offset 29: section \"x\" (id 9): the stream ends without its");
    writer_reset(&f->w);
    qemu_write_header(&f->w); /* no CONFIGURATION: no footers to search for */
    qemu_write_full(&f->w, 9, "x", 0, 1);
    writer_bytes(&f->w, "opaque", 6);
    qemu_write_eof(&f->w);
    assert_walk_refused(f, EOPNOTSUPP, "its length is unknown");
}

/* A footer with nothing legal behind it is a part of the payload. */
static void what_only_looks_like_a_footer_is_passed_over(void **state)
{
    struct fixture *f = *state;
    qemu_write_full(&f->w, 9, "x", 0, 1);
    qemu_write_footer(&f->w, 9);
    writer_u8(&f->w, 0x7d);
    qemu_write_footer(&f->w, 8);
    writer_u8(&f->w, QEMU_EOF);
    qemu_write_footer(&f->w, 9);
    qemu_write_eof(&f->w);
    assert_done(walk(f, &nothing, NULL), &f->err);
}

static void only_a_description_or_commands_follow_the_end(void **state)
{
    struct fixture *f = *state;
    qemu_write_eof(&f->w);
    assert_done(walk(f, &nothing, NULL), &f->err);
    qemu_write_eof(&f->w);
    assert_walk_refused(f, EINVAL, "offset 15: entry of type 0: only a description");
    f->w.length--;
    qemu_write_command(&f->w, 0x5603, NULL, 0); /* GO */
    assert_done(walk(f, &nothing, NULL), &f->err);
    qemu_write_eof(&f->w);
    assert_walk_refused(f, EINVAL, "offset 20: entry of type 0: only a description");
    begin(f);
    writer_u8(&f->w, QEMU_VMDESCRIPTION);
    writer_u32(&f->w, 2);
    writer_bytes(&f->w, "{}", 2);
    assert_walk_refused(f, EINVAL, "offset 14: description of devices: it stands before the end");
}

static int refuse_manifest(void *opaque, const struct manifest *manifest, struct vmig_error *err)
{
    (void)manifest;
    (void)err;
    ++*(unsigned *)opaque;
    return -EDOM;
}

static void what_an_operation_returns_ends_the_walk(void **state)
{
    struct fixture *f = *state;
    static const uint8_t identity[16] = { 7 };
    static const struct inspect_ops ops = { .manifest = refuse_manifest };
    unsigned calls = 0;
    struct manifest m;
    manifest_init(&m, identity);
    manifest_write(&f->w, 3, &m);
    size_t seal = f->w.length;
    manifest_seal(&f->w, 3, XXH3_64bits(f->w.buf, seal));
    qemu_write_eof(&f->w);
    assert_int_equal(walk(f, &ops, &calls), -EDOM);
    assert_int_equal(calls, 1);
    assert_done(walk(f, &nothing, NULL), &f->err);
    f->w.buf[13] ^= 1; /* the name of the machine, which nothing else looks at */
    assert_walk_refused(f, EBADMSG, "changed on its way");
    f->w.buf[13] ^= 1;
    f->w.buf[seal + 7] ^= 1;
    assert_walk_refused(f, EBADMSG, "changed on its way");
}

static void a_manifest_of_another_version_is_refused(void **state)
{
    struct fixture *f = *state;
    qemu_write_full(&f->w, 3, MANIFEST_IDSTR, 0, MANIFEST_VERSION + 1);
    assert_walk_refused(f, EOPNOTSUPP, "version 3");
}

#define WALK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WALK(pages_inside_their_block_are_taken),
        WALK(the_block_survives_sections),
        WALK(pages_outside_their_block_are_refused),
        WALK(a_second_list_of_blocks_is_refused),
        WALK(features_that_are_not_decoded_are_named_with_their_place),
        WALK(a_section_of_unknown_length_is_not_passed_over),
        WALK(what_only_looks_like_a_footer_is_passed_over),
        WALK(only_a_description_or_commands_follow_the_end),
        WALK(what_an_operation_returns_ends_the_walk),
        WALK(a_manifest_of_another_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
