/* SPDX-License-Identifier: BSD-3-Clause */
/* Header, CONFIGURATION, sections with footers, commands and return messages; RAM items. */
#include <errno.h>
#include "lib/stream/qemu.h"
#include "tests/stream/pieces.h"

struct fixture {
    struct writer w;
    struct reader r;
    struct qemu_stream s;
    struct vmig_error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    writer_init(&f->w);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    qemu_stream_close(&f->s);
    writer_done(&f->w);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    qemu_write_header(&f->w);
    qemu_write_configuration(&f->w, "m"); /* 8 + 6 bytes: sections begin at 14 */
}

static void open_stream(struct fixture *f)
{
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    assert_done(qemu_stream_open(&f->s, &f->r, &f->err), &f->err);
}

static struct qemu_section next(struct fixture *f)
{
    struct qemu_section section;
    assert_done(qemu_read_section(&f->s, &section, &f->err), &f->err);
    return section;
}

static void the_bytes_are_qemus(void **state)
{
    struct fixture *f = *state;
    static const uint8_t wire[] = {
        'Q',  'E', 'V', 'M', 0, 0,   0,   3,                                /* header */
        7,    0,   0,   0,   2, 'p', 'c',                                   /* CONFIGURATION */
        8,    0,   1,   0,   0,                                             /* OPEN_RETURN_PATH */
        8,    0,   2,   0,   4, 0,   0,   0,   1,                           /* PING 1 */
        1,    0,   0,   0,   2, 3,   'r', 'a', 'm', 0, 0, 0, 0, 0, 0, 0, 4, /* START */
        0x7e, 0,   0,   0,   2, 2,   0,   0,   0,   2, 3, 0, 0, 0, 2,       /* footer, PART, END */
        4,    0,   0,   0,   9, 1,   'x', 0,   0,   0, 1, 0, 0, 0, 5,       /* FULL */
        0,                                                                  /* EOF */
    };
    qemu_write_header(&f->w);
    qemu_write_configuration(&f->w, "pc");
    qemu_write_command(&f->w, QEMU_CMD_OPEN_RETURN_PATH, NULL, 0);
    qemu_write_command(&f->w, QEMU_CMD_PING, "\0\0\0\1", 4);
    qemu_write_start(&f->w, 2, "ram", 0, 4);
    qemu_write_footer(&f->w, 2);
    qemu_write_part(&f->w, 2);
    qemu_write_end(&f->w, 2);
    qemu_write_full(&f->w, 9, "x", 1, 5);
    qemu_write_eof(&f->w);
    assert_int_equal(f->w.error, 0);
    assert_int_equal(f->w.length, sizeof(wire));
    assert_memory_equal(f->w.buf, wire, sizeof(wire));
}

static void a_stream_begins_with_magic_and_version(void **state)
{
    struct fixture *f = *state;
    qemu_write_header(&f->w);
    qemu_write_eof(&f->w);
    open_stream(f);
    qemu_stream_close(&f->s);
    for (size_t length = 0; length < 8; length++) {
        reader_init_memory(&f->r, f->w.buf, length);
        assert_refused(qemu_stream_open(&f->s, &f->r, &f->err), &f->err, ENODATA, "header");
    }
    f->w.buf[3] ^= 1;
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    assert_refused(qemu_stream_open(&f->s, &f->r, &f->err), &f->err, EINVAL, "offset 0");
    f->w.buf[3] ^= 1;
    f->w.buf[7] = 4;
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    assert_refused(qemu_stream_open(&f->s, &f->r, &f->err), &f->err, EOPNOTSUPP, "version 4");
}

/* As in streams of machine types up to 2.3. */
static void a_stream_without_configuration_has_no_footers(void **state)
{
    struct fixture *f = *state;
    qemu_write_header(&f->w);
    qemu_write_full(&f->w, 1, "a", 0, 1);
    qemu_write_full(&f->w, 2, "b", 0, 1);
    qemu_write_eof(&f->w);
    open_stream(f);
    assert_false(f->s.footers);
    for (int i = 0; i < 2; i++) {
        struct qemu_section section = next(f);
        assert_done(qemu_read_footer(&f->s, &section, &f->err), &f->err);
    }
    assert_int_equal(next(f).type, QEMU_EOF);
}

static void configuration_part(struct writer *w, const char *name, uint32_t version)
{
    writer_u8(w, QEMU_SUBSECTION);
    writer_str8(w, name);
    writer_u32(w, version);
}

static void the_parts_of_a_configuration_are_known(void **state)
{
    struct fixture *f = *state;
    qemu_write_header(&f->w);
    qemu_write_configuration(&f->w, "virt-7.2");
    configuration_part(&f->w, "configuration/target-page-bits", 1);
    writer_u32(&f->w, 16);
    configuration_part(&f->w, "configuration/capabilities", 1);
    writer_u32(&f->w, 2);
    writer_str8(&f->w, "x-ignore-shared");
    writer_str8(&f->w, "mapped-ram");
    configuration_part(&f->w, "configuration/uuid", 1);
    writer_bytes(&f->w, "0123456789abcdef", 16);
    qemu_write_eof(&f->w);
    open_stream(f);
    assert_string_equal(f->s.machine, "virt-7.2");
    assert_int_equal(f->s.page_bits, 16);
    assert_true(f->s.ignore_shared && f->s.mapped_ram && f->s.has_uuid && f->s.footers);
    assert_memory_equal(f->s.uuid, "0123456789abcdef", 16);
    assert_int_equal(next(f).type, QEMU_EOF);
}

static void refuse_configuration(struct fixture *f, int code, const char *fragment)
{
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    assert_refused(qemu_stream_open(&f->s, &f->r, &f->err), &f->err, code, fragment);
    writer_reset(&f->w);
    begin(f);
}

static void a_wrong_configuration_is_refused(void **state)
{
    struct fixture *f = *state;
    begin(f);
    configuration_part(&f->w, "configuration/surprise", 1);
    refuse_configuration(f, EINVAL, "offset 14: configuration");
    configuration_part(&f->w, "configuration/uuid", 2);
    refuse_configuration(f, EOPNOTSUPP, "offset 34"); /* 14 + marker, length byte, 18 characters */
    for (uint32_t bits = 11; bits <= 17; bits += 6) {
        configuration_part(&f->w, "configuration/target-page-bits", 1);
        writer_u32(&f->w, bits);
        refuse_configuration(f, EOPNOTSUPP, "offset 50");
    }
    configuration_part(&f->w, "configuration/capabilities", 1);
    writer_u32(&f->w, 65);
    refuse_configuration(f, EINVAL, "offset 46");
    configuration_part(&f->w, "configuration/capabilities", 1);
    writer_u32(&f->w, 1);
    writer_str8(&f->w, "x-unheard-of");
    refuse_configuration(f, EOPNOTSUPP, "offset 50");
    configuration_part(&f->w, "configuration/uuid", 1); /* twice */
    writer_bytes(&f->w, "0123456789abcdef", 16);
    configuration_part(&f->w, "configuration/uuid", 1);
    refuse_configuration(f, EINVAL, "offset 54");
}

static void a_machine_name_has_255_bytes_at_most(void **state)
{
    struct fixture *f = *state;
    for (uint32_t length = 255; length <= 256; length++) {
        writer_reset(&f->w);
        qemu_write_header(&f->w);
        writer_u8(&f->w, QEMU_CONFIGURATION);
        writer_u32(&f->w, length);
        for (uint32_t i = 0; i < length; i++)
            writer_u8(&f->w, 'm');
        if (length == 255) {
            open_stream(f);
            assert_int_equal(strlen(f->s.machine), 255);
            qemu_stream_close(&f->s);
        } else {
            refuse_configuration(f, EINVAL, "offset 9");
        }
    }
    f->w.buf[13] = '\0';
    refuse_configuration(f, EINVAL, "offset 9");
}

static void sections_come_back_as_written(void **state)
{
    struct fixture *f = *state;
    begin(f);
    qemu_write_start(&f->w, 38, "0000:00:01.0/vfio", 0, 1);
    qemu_write_footer(&f->w, 38);
    qemu_write_command(&f->w, QEMU_CMD_PING, "\0\0\0\7", 4);
    qemu_write_part(&f->w, 38);
    qemu_write_footer(&f->w, 38);
    qemu_write_end(&f->w, 38);
    qemu_write_footer(&f->w, 38);
    qemu_write_full(&f->w, 38, "0000:00:01.0/vfio", 0, 1); /* same handler, same id */
    qemu_write_footer(&f->w, 38);
    qemu_write_eof(&f->w);
    open_stream(f);
    static const uint8_t types[] = { QEMU_SECTION_START, QEMU_COMMAND, QEMU_SECTION_PART,
                                     QEMU_SECTION_END, QEMU_SECTION_FULL };
    static const uint64_t offsets[] = { 14, 50, 59, 69, 79 };
    for (int i = 0; i < 5; i++) {
        struct qemu_section section = next(f);
        assert_int_equal(section.type, types[i]);
        assert_int_equal(section.offset, offsets[i]);
        if (section.type == QEMU_COMMAND) {
            assert_int_equal(section.command, QEMU_CMD_PING);
            assert_int_equal(section.length, 4);
            assert_int_equal(reader_u32(&f->r), 7);
        } else {
            assert_int_equal(section.section_id, 38);
            assert_string_equal(section.idstr, "0000:00:01.0/vfio");
            assert_int_equal(section.version_id, 1);
        }
        assert_done(qemu_read_footer(&f->s, &section, &f->err), &f->err);
    }
    assert_int_equal(next(f).type, QEMU_EOF);
    struct qemu_section section;
    assert_refused(qemu_read_section(&f->s, &section, &f->err), &f->err, ENODATA, "offset 116");
}

/* Read sections and footers until one is refused. */
static int read_all(struct fixture *f, struct vmig_error *err)
{
    for (;;) {
        struct qemu_section section;
        int rc = qemu_read_section(&f->s, &section, err);
        if (rc == 0 && section.type == QEMU_EOF)
            return 0;
        if (rc == 0)
            rc = qemu_read_footer(&f->s, &section, err);
        if (rc < 0)
            return rc;
    }
}

static void refuse_sections(struct fixture *f, int code, const char *fragment)
{
    qemu_write_eof(&f->w);
    open_stream(f);
    assert_refused(read_all(f, &f->err), &f->err, code, fragment);
    assert_string_equal(f->err.reason, "bad-stream");
    qemu_stream_close(&f->s);
    writer_reset(&f->w);
    begin(f);
}

static void a_wrong_footer_is_refused_where_it_stands(void **state)
{
    struct fixture *f = *state;
    begin(f);
    qemu_write_full(&f->w, 7, "apic", 0, 3);
    qemu_write_footer(&f->w, 6);
    refuse_sections(f, EINVAL, "offset 32: section \"apic\" (id 7): its footer names id 6");
    qemu_write_full(&f->w, 7, "apic", 0, 3);
    refuse_sections(f, EINVAL, "offset 32"); /* EOF's byte instead */
}

static void a_section_must_be_introduced_once(void **state)
{
    struct fixture *f = *state;
    begin(f);
    qemu_write_part(&f->w, 5);
    refuse_sections(f, EINVAL, "offset 14: a section goes on with id 5");
    qemu_write_full(&f->w, 5, "a", 0, 1); /* a FULL does not go on */
    qemu_write_footer(&f->w, 5);
    qemu_write_end(&f->w, 5);
    refuse_sections(f, EINVAL, "offset 34");
    qemu_write_start(&f->w, 5, "a", 0, 1);
    qemu_write_footer(&f->w, 5);
    qemu_write_start(&f->w, 5, "a", 0, 1);
    refuse_sections(f, EINVAL, "offset 34: section \"a\" (id 5): it is introduced a second time");
    qemu_write_start(&f->w, 5, "a", 0, 1);
    qemu_write_footer(&f->w, 5);
    qemu_write_full(&f->w, 5, "b", 0, 1);
    refuse_sections(f, EINVAL, "belongs to \"a\"");
    qemu_write_start(&f->w, 5, "a", 0, 1);
    qemu_write_footer(&f->w, 5);
    qemu_write_full(&f->w, 6, "a", 0, 1);
    refuse_sections(f, EINVAL, "introduced with id 5 before");
    qemu_write_full(&f->w, 5, "a", 0, 1);
    qemu_write_footer(&f->w, 5);
    qemu_write_full(&f->w, 5, "a", 0, 1); /* no START was there for it to belong to */
    refuse_sections(f, EINVAL, "offset 34: section \"a\" (id 5): it is introduced a second time");
    qemu_write_full(&f->w, 5, "", 0, 1);
    refuse_sections(f, EINVAL, "without a name");
}

static void a_section_does_not_go_on_after_its_end(void **state)
{
    struct fixture *f = *state;
    for (int end = 0; end < 2; end++) {
        begin(f);
        qemu_write_start(&f->w, 5, "a", 0, 1);
        qemu_write_footer(&f->w, 5);
        qemu_write_end(&f->w, 5);
        qemu_write_footer(&f->w, 5);
        if (end)
            qemu_write_end(&f->w, 5);
        else
            qemu_write_part(&f->w, 5);
        refuse_sections(f, EINVAL, "offset 44: section \"a\" (id 5): it goes on after its END");
        writer_reset(&f->w);
    }
}

static void two_instances_of_one_name_are_two_sections(void **state)
{
    struct fixture *f = *state;
    begin(f);
    qemu_write_full(&f->w, 12, "i8259", 0, 1);
    qemu_write_footer(&f->w, 12);
    qemu_write_full(&f->w, 3, "i8259", 1, 1); /* ids need not rise */
    qemu_write_footer(&f->w, 3);
    qemu_write_eof(&f->w);
    open_stream(f);
    assert_done(read_all(f, &f->err), &f->err);
}

static void bytes_that_begin_no_section_are_refused(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (unsigned byte = 0; byte < 256; byte++) {
        bool begins = byte <= QEMU_SECTION_FULL || byte == QEMU_VMDESCRIPTION ||
                      byte == QEMU_COMMAND || byte == QEMU_SUBSECTION;
        if (begins) /* (a SUBSECTION here still belongs to the configuration) */
            continue;
        writer_u8(&f->w, (uint8_t)byte);
        refuse_sections(f, EINVAL, "offset 14");
    }
    qemu_write_command(&f->w, 0, NULL, 0);
    refuse_sections(f, EINVAL, "command 0");
}

static void the_number_of_sections_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (unsigned more = 0; more < 2; more++) {
        begin(f);
        for (unsigned i = 0; i < QEMU_SECTIONS_MAX + more; i++) {
            qemu_write_full(&f->w, i, "d", i, 1);
            qemu_write_footer(&f->w, i);
        }
        if (more) {
            refuse_sections(f, EINVAL, "4096 sections");
        } else {
            qemu_write_eof(&f->w);
            open_stream(f);
            assert_done(read_all(f, &f->err), &f->err);
            qemu_stream_close(&f->s);
            writer_reset(&f->w);
        }
    }
}

static void a_stream_cut_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    begin(f);
    qemu_write_start(&f->w, 38, "0000:00:01.0/vfio", 0, 1);
    qemu_write_footer(&f->w, 38);
    qemu_write_end(&f->w, 38);
    qemu_write_footer(&f->w, 38);
    qemu_write_eof(&f->w);
    for (size_t length = 0; length < f->w.length; length++) {
        reader_init_memory(&f->r, f->w.buf, length);
        memset(&f->err, 0, sizeof(f->err));
        int rc = qemu_stream_open(&f->s, &f->r, &f->err);
        rc = rc < 0 ? rc : read_all(f, &f->err);
        assert_int_equal(rc, -ENODATA);
        assert_true(f->r.offset <= length);
        qemu_stream_close(&f->s);
    }
}

static void return_messages_come_back_as_written(void **state)
{
    struct fixture *f = *state;
    qemu_write_return(&f->w, QEMU_RP_SWITCHOVER_ACK, NULL, 0);
    qemu_write_return(&f->w, QEMU_RP_SHUT, "\0\0\0\0", 4);
    assert_memory_equal(f->w.buf, "\0\7\0\0\0\1\0\4\0\0\0\0", 12);
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    struct qemu_return_header header;
    qemu_read_return(&f->r, &header);
    assert_int_equal(header.type, QEMU_RP_SWITCHOVER_ACK);
    assert_int_equal(header.length, 0);
    qemu_read_return(&f->r, &header);
    assert_int_equal(header.type, QEMU_RP_SHUT);
    assert_int_equal(header.length, 4);
    reader_skip(&f->r, 4);
    qemu_read_return(&f->r, &header);
    assert_int_equal(f->r.error, -ENODATA);
    reader_init_memory(&f->r, "\0\0\0\0", 4);
    qemu_read_return(&f->r, &header);
    assert_int_equal(f->r.error, -EINVAL); /* type 0 */
    assert_int_equal(f->r.offset, 0);
}

/* ---- RAM items ---- */

static void ram_items_come_back_as_written(void **state)
{
    struct fixture *f = *state;
    static const uint8_t page[2] = { 0xaa, 0xbb };
    qemu_write_ram_item(&f->w, 0x12345000, QEMU_RAM_PAGE, "pc.ram");
    writer_bytes(&f->w, page, 2);
    qemu_write_ram_item(&f->w, UINT64_C(0xfffffffff000), QEMU_RAM_ZERO | QEMU_RAM_CONTINUE, NULL);
    writer_u8(&f->w, 0);
    qemu_write_ram_item(&f->w, 0, QEMU_RAM_EOS, NULL);
    assert_memory_equal(f->w.buf, "\0\0\0\0\x12\x34\x50\x08\6pc.ram\xaa\xbb", 17);
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    struct qemu_ram_item item;
    qemu_read_ram_item(&f->r, &item);
    assert_int_equal(item.offset, 0x12345000);
    assert_int_equal(item.flags, QEMU_RAM_PAGE);
    assert_true(item.has_block);
    assert_string_equal(item.block, "pc.ram");
    reader_skip(&f->r, 2);
    qemu_read_ram_item(&f->r, &item);
    assert_true(item.offset == UINT64_C(0xfffffffff000));
    assert_int_equal(item.flags, QEMU_RAM_ZERO | QEMU_RAM_CONTINUE);
    assert_false(item.has_block);
    qemu_read_ram_item(&f->r, &item);
    assert_int_equal(item.flags, QEMU_RAM_EOS);
    assert_false(reader_failed(&f->r));
    assert_int_equal(reader_peek(&f->r), -1);
}

/* From the format: one kind a word, CONTINUE only with a page; the kinds that are not decoded. */
static void every_combination_of_flags_is_taken_or_refused(void **state)
{
    struct fixture *f = *state;
    for (uint32_t flags = 0; flags < 0x1000; flags++) {
        uint32_t kind = flags & ~QEMU_RAM_CONTINUE;
        bool page = kind == QEMU_RAM_ZERO || kind == QEMU_RAM_PAGE;
        bool alone = flags == QEMU_RAM_EOS || flags == QEMU_RAM_MEM_SIZE;
        bool other = kind == 0x40 || kind == 0x80 || kind == 0x100 || kind == 0x200;
        writer_reset(&f->w);
        writer_u64(&f->w, 0x7000 | flags);
        writer_bytes(&f->w, "\1x\0", 3);
        reader_init_memory(&f->r, f->w.buf, f->w.length);
        struct qemu_ram_item item;
        qemu_read_ram_item(&f->r, &item);
        assert_int_equal(f->r.error, page || alone ? 0 : other ? -EOPNOTSUPP : -EINVAL);
        assert_int_equal(item.offset, page || alone ? 0x7000 : 0);
        if (f->r.error)
            assert_int_equal(f->r.offset, 0);
    }
}

static void a_list_of_blocks_comes_back_as_written(void **state)
{
    struct fixture *f = *state;
    static const struct qemu_ram_block blocks[2] = { { "pc.ram", 1 << 25, 0 },
                                                     { "pc.bios", 1 << 18, 0 } };
    struct qemu_ram_block got[2];
    struct qemu_ram_item item;
    qemu_write_ram_blocks(&f->w, blocks, 2);
    reader_init_memory(&f->r, f->w.buf, f->w.length);
    qemu_read_ram_item(&f->r, &item);
    assert_int_equal(item.flags, QEMU_RAM_MEM_SIZE);
    assert_int_equal(qemu_read_ram_blocks(&f->r, item.offset, false, got, 2), 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(got[i].name, blocks[i].name);
        assert_int_equal(got[i].used_length, blocks[i].used_length);
    }
    assert_int_equal(reader_peek(&f->r), -1);
    reader_init_memory(&f->r, f->w.buf + 8, f->w.length - 8);
    assert_int_equal(qemu_read_ram_blocks(&f->r, item.offset, false, got, 1), -EINVAL);
    assert_int_equal(f->r.offset, 15); /* the one too many: after 1 + 6 + 8 bytes */
}

static void lengths_of_blocks_must_add_up(void **state)
{
    struct fixture *f = *state;
    struct qemu_ram_block got[4];
    static const struct {
        const char *names[2];
        uint64_t lengths[2];
        uint64_t total;
        int result;
    } cases[] = {
        { { "a", "b" }, { 8192, 4096 }, 12288, 2 },
        { { "a", "b" }, { 8192, 4096 }, 12287, -EINVAL },
        { { "a", "b" }, { 8192, 4096 }, 12289, -ENODATA },
        { { "a", "a" }, { 8192, 4096 }, 12288, -EINVAL },
        { { "a", "" }, { 8192, 4096 }, 12288, -EINVAL },
        { { "a", "b" }, { 0, 4096 }, 4096, -EINVAL },
        { { "a", "b" }, { 4096, UINT64_MAX - 4095 }, 0x2000, -EINVAL },
        { { "a", "b" }, { 8192, 4096 }, 0, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        writer_reset(&f->w);
        for (int j = 0; j < 2; j++) {
            writer_str8(&f->w, cases[i].names[j]);
            writer_u64(&f->w, cases[i].lengths[j]);
        }
        reader_init_memory(&f->r, f->w.buf, f->w.length);
        int rc = qemu_read_ram_blocks(&f->r, cases[i].total, false, got, 4);
        assert_int_equal(rc, cases[i].result);
        assert_int_equal(f->r.error, rc < 0 ? rc : 0);
    }
}

#define FRAMING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        FRAMING(the_bytes_are_qemus),
        FRAMING(a_stream_begins_with_magic_and_version),
        FRAMING(a_stream_without_configuration_has_no_footers),
        FRAMING(the_parts_of_a_configuration_are_known),
        FRAMING(a_wrong_configuration_is_refused),
        FRAMING(a_machine_name_has_255_bytes_at_most),
        FRAMING(sections_come_back_as_written),
        FRAMING(a_wrong_footer_is_refused_where_it_stands),
        FRAMING(a_section_must_be_introduced_once),
        FRAMING(a_section_does_not_go_on_after_its_end),
        FRAMING(two_instances_of_one_name_are_two_sections),
        FRAMING(bytes_that_begin_no_section_are_refused),
        FRAMING(the_number_of_sections_is_bounded),
        FRAMING(a_stream_cut_anywhere_is_refused),
        FRAMING(return_messages_come_back_as_written),
        FRAMING(ram_items_come_back_as_written),
        FRAMING(every_combination_of_flags_is_taken_or_refused),
        FRAMING(a_list_of_blocks_comes_back_as_written),
        FRAMING(lengths_of_blocks_must_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
