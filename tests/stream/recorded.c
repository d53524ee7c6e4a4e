/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams that QEMU wrote, walked from beginning to end: what we find must be what an independent
 * parser found (QEMU 7.2), or what is known of the machine that was recorded (8.2 with VFIO).
 */
#include <errno.h>
#include "lib/stream/inspect.h"
#include "tests/stream/sample.h"

/* ---- what a walk told, as text and as numbers ---- */

#define RECORDS_MAX 4096

struct told {
    json_t *sections, *blocks; /* blocks: those before the section that comes next */
    json_t *configuration, *vmdesc;
    json_int_t eof_offset;
    char machine[256];
    unsigned page_bits;
    unsigned num_records;
    struct inspect_record records[RECORDS_MAX];
    char record_device[RECORDS_MAX][32];
    uint8_t record_section[RECORDS_MAX];
    uint8_t data[2][256]; /* of the devices, in the order of their START */
    size_t data_length[2];
    struct vmig_pci_state config;
    unsigned num_configs, num_commands;
    uint16_t commands[8];
};

static const char *const type_names[] = {
    [QEMU_SECTION_START] = "START",
    [QEMU_SECTION_PART] = "PART",
    [QEMU_SECTION_END] = "END",
    [QEMU_SECTION_FULL] = "FULL",
};

static int on_configuration(void *opaque, const struct qemu_stream *stream, uint64_t offset,
                            uint64_t length, struct vmig_error *err)
{
    (void)err;
    struct told *t = opaque;
    snprintf(t->machine, sizeof(t->machine), "%s", stream->machine);
    t->page_bits = stream->page_bits;
    t->configuration =
        json_pack("{s:I, s:I}", "offset", (json_int_t)offset, "length", (json_int_t)length);
    return 0;
}

static int on_block(void *opaque, const struct qemu_ram_block *block, struct vmig_error *err)
{
    (void)err;
    struct told *t = opaque;
    json_array_append_new(t->blocks, json_pack("{s:s, s:I}", "idstr", block->name, "used_length",
                                               (json_int_t)block->used_length));
    return 0;
}

static json_t *page_records(const struct inspect_section *s)
{
    json_t *records = json_object();
    if (s->zero_items)
        json_object_set_new(records, "zero", json_integer((json_int_t)s->zero_items));
    if (s->page_items)
        json_object_set_new(records, "page", json_integer((json_int_t)s->page_items));
    return records;
}

/* In the form of the expected results. */
static int on_section(void *opaque, const struct inspect_section *s, struct vmig_error *err)
{
    (void)err;
    struct told *t = opaque;
    const struct qemu_section *q = s->section;
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:b, s:I}", "type", type_names[q->type], "offset",
        (json_int_t)q->offset, "section_id", (json_int_t)q->section_id, "idstr", q->idstr,
        "instance_id", (json_int_t)q->instance_id, "version_id", (json_int_t)q->version_id,
        "payload_offset", (json_int_t)s->payload_offset, "payload_length",
        (json_int_t)s->payload_length, "footer", (int)s->footer, "length", (json_int_t)s->length);
    if (s->payload == INSPECT_RAM)
        json_object_set_new(o, "page_records", page_records(s));
    if (json_array_size(t->blocks) > 0) {
        json_object_set(o, "blocks", t->blocks);
        json_decref(t->blocks);
        t->blocks = json_array();
    }
    json_array_append_new(t->sections, o);
    return 0;
}

static int on_record(void *opaque, const struct qemu_section *section,
                     const struct inspect_record *record, struct vmig_error *err)
{
    (void)err;
    struct told *t = opaque;
    assert_true(t->num_records < RECORDS_MAX);
    t->records[t->num_records] = *record;
    t->record_section[t->num_records] = section->type;
    snprintf(t->record_device[t->num_records++], 32, "%.31s", section->idstr);
    return 0;
}

static int on_data(void *opaque, const struct qemu_section *section, const void *buf, size_t length,
                   struct vmig_error *err)
{
    (void)err;
    struct told *t = opaque;
    int device = strncmp(section->idstr, "0000:00:02.0", 12) == 0;
    assert_true(t->data_length[device] + length <= sizeof(t->data[device]));
    memcpy(t->data[device] + t->data_length[device], buf, length);
    t->data_length[device] += length;
    return 0;
}

static int on_config(void *opaque, const struct qemu_section *section,
                     const struct vmig_pci_state *config, struct vmig_error *err)
{
    (void)section;
    (void)err;
    struct told *t = opaque;
    t->config = *config;
    t->num_configs++;
    return 0;
}

static int on_command(void *opaque, const struct qemu_section *section, const void *data,
                      struct vmig_error *err)
{
    (void)data;
    (void)err;
    struct told *t = opaque;
    assert_true(t->num_commands < 8);
    t->commands[t->num_commands++] = section->command;
    return 0;
}

static int on_end(void *opaque, uint64_t eof_offset, uint64_t description_offset,
                  uint32_t description_length, struct vmig_error *err)
{
    (void)err;
    struct told *t = opaque;
    t->eof_offset = (json_int_t)eof_offset;
    t->vmdesc = json_pack("{s:I, s:I, s:I}", "offset", (json_int_t)description_offset,
                          "json_offset", (json_int_t)description_offset + 5, "json_length",
                          (json_int_t)description_length);
    return 0;
}

static const struct inspect_ops ops = {
    .configuration = on_configuration,
    .ram_block = on_block,
    .vfio_record = on_record,
    .vfio_data = on_data,
    .vfio_config = on_config,
    .section = on_section,
    .command = on_command,
    .end = on_end,
};

static struct told *told_new(void)
{
    struct told *t = calloc(1, sizeof(*t));
    t->sections = json_array();
    t->blocks = json_array();
    t->eof_offset = -1;
    return t;
}

static void told_free(struct told *t)
{
    json_decref(t->sections);
    json_decref(t->blocks);
    json_decref(t->configuration);
    json_decref(t->vmdesc);
    free(t);
}

/* Walk @length bytes; the result of the walk in @ret_rc. */
static struct told *walk(const uint8_t *bytes, size_t length, int *ret_rc, struct vmig_error *err)
{
    struct told *t = told_new();
    memset(err, 0, sizeof(*err));
    *ret_rc = inspect_memory(bytes, length, &ops, t, err);
    return t;
}

static struct told *walk_well(const struct sample *sample)
{
    struct vmig_error err;
    int rc;
    struct told *t = walk(sample->bytes, sample->length, &rc, &err);
    if (rc < 0)
        fail_msg("%s", err.text);
    return t;
}

/* ---- comparing with the expected results ---- */

static void check_equal(const char *what, size_t index, const json_t *found, const json_t *expected)
{
    if (json_equal(found, expected))
        return;
    char *a = json_dumps(found, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *b = json_dumps(expected, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    fail_msg("%s %zu is %s, expected %s", what, index, a, b);
}

static void check_sections(const struct told *t, const json_t *expected)
{
    const json_t *list = json_object_get(expected, "sections");
    size_t i;
    json_t *section;
    json_array_foreach(t->sections, i, section)
    {
        check_equal("section", i, section, json_array_get(list, i));
    }
    assert_int_equal(json_array_size(t->sections), json_array_size(list));
}

static void check_frame(const struct told *t, const json_t *expected)
{
    const json_t *configuration = json_object_get(expected, "configuration");
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "length" : "offset";
        check_equal(key, 0, json_object_get(t->configuration, key),
                    json_object_get(configuration, key));
    }
    assert_string_equal(t->machine, json_string_value(json_object_get(configuration, "machine")));
    assert_int_equal(t->eof_offset, json_integer_value(json_object_get(expected, "eof_offset")));
}

static void check_sample(const char *name, const char *expected_name)
{
    struct sample sample = sample_load(name);
    json_t *expected = sample_expected(expected_name);
    struct told *t = walk_well(&sample);
    check_sections(t, expected);
    check_frame(t, expected);
    check_equal("vmdesc", 0, t->vmdesc, json_object_get(expected, "vmdesc"));
    told_free(t);
    json_decref(expected);
    sample_free(&sample);
}

static void a_microvm_is_walked(void **state)
{
    (void)state;
    check_sample("microvm.mig", "microvm");
}

static void a_pc_is_walked(void **state)
{
    (void)state;
    check_sample("pc-firmware.mig", "pc-firmware");
}

static void an_arm_machine_is_walked(void **state)
{
    (void)state;
    check_sample("aarch64-virt.mig", "aarch64-virt");
    struct sample sample = sample_load("aarch64-virt.mig");
    struct told *t = walk_well(&sample);
    assert_int_equal(t->page_bits, 12);
    told_free(t);
    sample_free(&sample);
}

/* Its pages went over other channels; the main channel is whole in itself. */
static void the_main_channel_of_a_multifd_migration_is_walked(void **state)
{
    (void)state;
    check_sample("pc-multifd.main", "pc-multifd.main");
}

/* Every walk must tell the same, whatever the pieces in which bytes arrive. */
static void pieces_of_any_size_give_the_same(void **state)
{
    (void)state;
    static const char *const names[] = { "microvm.mig", "one-device.mig" };
    for (int i = 0; i < 2; i++) {
        struct sample sample = sample_load(names[i]);
        struct told *whole = walk_well(&sample), *t = told_new();
        struct pieces p = { .bytes = sample.bytes, .length = sample.length };
        struct reader reader;
        struct vmdesc desc;
        struct vmig_error err;
        size_t at = (size_t)vmdesc_locate(sample.bytes, sample.length) + 5;
        assert_done(vmdesc_parse(&desc, (char *)sample.bytes + at, sample.length - at, &err), &err);
        assert_int_equal(reader_init_fill(&reader, pieces_fill, &p), 0);
        assert_done(inspect_stream(&reader, &desc, &ops, t, &err), &err);
        assert_true(json_equal(whole->sections, t->sections));
        assert_true(json_equal(whole->vmdesc, t->vmdesc));
        assert_int_equal(whole->num_records, t->num_records);
        assert_int_equal(whole->data_length[0], t->data_length[0]);
        assert_memory_equal(whole->data[0], t->data[0], sizeof(t->data[0]));
        reader_done(&reader);
        vmdesc_done(&desc);
        told_free(t);
        told_free(whole);
        sample_free(&sample);
    }
}

/* ---- without a description ---- */

static void footers_are_found_without_a_description(void **state)
{
    (void)state;
    struct sample sample = sample_load("pc-firmware.mig");
    json_t *expected = sample_expected("pc-firmware");
    json_int_t eof = json_integer_value(json_object_get(expected, "eof_offset"));
    struct vmig_error err;
    int rc;
    struct told *t = walk(sample.bytes, (size_t)eof + 1, &rc, &err);
    assert_int_equal(rc, 0);
    check_sections(t, expected);
    check_frame(t, expected);
    assert_int_equal(json_integer_value(json_object_get(t->vmdesc, "offset")), 0);
    told_free(t);
    json_decref(expected);
    sample_free(&sample);
}

/* ---- damaged ---- */

/* The first @length bytes with byte @at set to @byte are refused with @code and @fragment after as
 * many sections as end before the damage. */
static void check_damage(size_t length, size_t at, uint8_t byte, int code, const char *fragment,
                         size_t sections)
{
    struct sample sample = sample_load("pc-firmware.mig");
    json_t *expected = sample_expected("pc-firmware");
    struct vmig_error err;
    int rc;
    if (at < sample.length) {
        assert_int_not_equal(sample.bytes[at], byte);
        sample.bytes[at] = byte;
    }
    struct told *t = walk(sample.bytes, length ? length : sample.length, &rc, &err);
    assert_int_equal(rc, -code);
    if (!strstr(err.text, fragment))
        fail_msg("\"%s\" does not say \"%s\"", err.text, fragment);
    assert_int_equal(json_array_size(t->sections), sections);
    for (size_t i = 0; i < sections; i++)
        check_equal("section", i, json_array_get(t->sections, i),
                    json_array_get(json_object_get(expected, "sections"), i));
    told_free(t);
    json_decref(expected);
    sample_free(&sample);
}

#define INTACT SIZE_MAX

static void a_stream_cut_inside_a_page_is_refused_there(void **state)
{
    (void)state;
    check_damage(400000, INTACT, 0, ENODATA, "offset 397593: section \"ram\" (id 2)", 1);
}

static void a_footer_of_another_section_is_refused_there(void **state)
{
    (void)state;
    /* byte 720750 is the last of the footer that begins at 720746 */
    check_damage(0, 720750, 0x06, EINVAL,
                 "offset 720746: section \"apic\" (id 7): its footer names id 6", 7);
}

static void flags_that_no_item_has_are_refused_there(void **state)
{
    (void)state;
    check_damage(0, 267, 0x0c, EINVAL, "offset 260: section \"ram\" (id 2)", 1);
}

/* All sections are there and told; that the end is missing is said last. */
static void a_description_cut_short_is_refused_after_all_sections(void **state)
{
    (void)state;
    check_damage(834116, INTACT, 0, ENODATA, "offset 733311: description", 36);
}

static void more_bytes_after_the_description_are_refused(void **state)
{
    (void)state;
    struct sample sample = sample_load("microvm.mig");
    struct vmig_error err;
    int rc;
    sample.bytes = realloc(sample.bytes, sample.length + 1);
    sample.bytes[sample.length] = 0;
    told_free(walk(sample.bytes, sample.length + 1, &rc, &err));
    assert_int_equal(rc, -EINVAL);
    assert_non_null(strstr(err.text, "offset 141896"));
    sample_free(&sample);
}

/* The description of a section is held against what its footer says. */
static void a_length_that_contradicts_the_description_is_refused(void **state)
{
    (void)state;
    struct sample sample = sample_load("one-device.mig");
    struct vmig_error err;
    int rc;
    size_t at = (size_t)vmdesc_locate(sample.bytes, sample.length);
    uint8_t *found = NULL;
    for (size_t i = at; i + 4 < sample.length; i++)
        if (memcmp(sample.bytes + i, "4132", 4) == 0)
            (found = sample.bytes + i)[3] = '3';
    assert_non_null(found);
    told_free(walk(sample.bytes, sample.length, &rc, &err));
    assert_int_equal(rc, -EINVAL);
    assert_non_null(strstr(err.text, "4132 bytes and the description says 4133"));
    sample_free(&sample);
}

/* ---- VFIO ---- */

struct expected_record {
    enum qemu_vfio_record record;
    uint64_t offset, length;
    uint8_t section;
};

/* END_OF_STATE words of PARTs are left out: one-device has one or two, switchover-ack 1,500. */
static void check_records(const struct told *t, const char *device,
                          const struct expected_record *expected, unsigned count)
{
    unsigned n = 0;
    for (unsigned i = 0; i < t->num_records; i++) {
        const struct inspect_record *r = &t->records[i];
        bool boring = r->record == QEMU_VFIO_END && t->record_section[i] == QEMU_SECTION_PART;
        if (boring || strcmp(t->record_device[i], device) != 0)
            continue;
        assert_true(n < count);
        assert_int_equal(r->record, expected[n].record);
        assert_int_equal(t->record_section[i], expected[n].section);
        assert_int_equal(r->length_bytes, expected[n].length);
        if (expected[n].offset)
            assert_int_equal(r->offset, expected[n].offset);
        n++;
    }
    assert_int_equal(n, count);
}

static void check_mtty_config(const struct vmig_pci_state *config)
{
    assert_int_equal(config->config_bytes, 4096);
    assert_int_equal(config->num_vectors, 0);
    assert_false(config->has_ramfb);
    assert_memory_equal(config->config, "\x48\x43\x53\x32", 4); /* mtty: vendor 4348, device 3253 */
}

static void the_vfio_sections_of_one_device_are_taken_apart(void **state)
{
    (void)state;
    static const struct expected_record expected[] = {
        { QEMU_VFIO_SETUP, 0xe0, 0, QEMU_SECTION_START },
        { QEMU_VFIO_END, 0xe8, 0, QEMU_SECTION_START },
        { QEMU_VFIO_DATA, 0x8258b, 24, QEMU_SECTION_PART },
        { QEMU_VFIO_DATA, 0x855f6, 72, QEMU_SECTION_END },
        { QEMU_VFIO_END, 0x855f6 + 16 + 72, 0, QEMU_SECTION_END },
        { QEMU_VFIO_CONFIG, 0x8d510, 4116, QEMU_SECTION_FULL },
        { QEMU_VFIO_END, 0x8d510 + 8 + 4116, 0, QEMU_SECTION_FULL },
    };
    struct sample sample = sample_load("one-device.mig");
    struct told *t = walk_well(&sample);
    check_records(t, "0000:00:01.0/vfio", expected, 7);
    check_mtty_config(&t->config);
    told_free(t);
    sample_free(&sample);
}

/* As query-migrate said: vfio transferred 96. */
static void the_device_data_of_one_device_are_its_96_bytes(void **state)
{
    (void)state;
    struct sample sample = sample_load("one-device.mig");
    struct told *t = walk_well(&sample);
    uint8_t mtty[96];
    sample_mtty(mtty);
    assert_int_equal(t->data_length[0], 96);
    assert_memory_equal(t->data[0], mtty, 96);
    told_free(t);
    sample_free(&sample);
}

static void two_devices_have_96_bytes_each(void **state)
{
    (void)state;
    static const struct expected_record expected[] = {
        { QEMU_VFIO_SETUP, 0, 0, QEMU_SECTION_START },
        { QEMU_VFIO_END, 0, 0, QEMU_SECTION_START },
        { QEMU_VFIO_DATA, 0, 24, QEMU_SECTION_PART },
        { QEMU_VFIO_DATA, 0, 72, QEMU_SECTION_END },
        { QEMU_VFIO_END, 0, 0, QEMU_SECTION_END },
        { QEMU_VFIO_CONFIG, 0, 4116, QEMU_SECTION_FULL },
        { QEMU_VFIO_END, 0, 0, QEMU_SECTION_FULL },
    };
    struct sample sample = sample_load("two-devices.mig");
    struct told *t = walk_well(&sample);
    check_records(t, "0000:00:01.0/vfio", expected, 7);
    check_records(t, "0000:00:02.0/vfio", expected, 7);
    assert_int_equal(t->data_length[0], 96);
    assert_int_equal(t->data_length[1], 96);
    assert_int_equal(t->num_configs, 2);
    told_free(t);
    sample_free(&sample);
}

static void with_switchover_ack_the_end_of_initial_data_is_told(void **state)
{
    (void)state;
    static const struct expected_record expected[] = {
        { QEMU_VFIO_SETUP, 0xee, 0, QEMU_SECTION_START },
        { QEMU_VFIO_END, 0xf6, 0, QEMU_SECTION_START },
        { QEMU_VFIO_DATA, 0x82587, 24, QEMU_SECTION_PART },
        { QEMU_VFIO_INITIAL_SENT, 0x825af, 0, QEMU_SECTION_PART },
        { QEMU_VFIO_DATA, 0x96266, 72, QEMU_SECTION_END },
        { QEMU_VFIO_END, 0x96266 + 16 + 72, 0, QEMU_SECTION_END },
        { QEMU_VFIO_CONFIG, 0x9e180, 4116, QEMU_SECTION_FULL },
        { QEMU_VFIO_END, 0x9e180 + 8 + 4116, 0, QEMU_SECTION_FULL },
    };
    struct sample sample = sample_load("switchover-ack.src-to-dst");
    struct told *t = walk_well(&sample);
    check_records(t, "0000:00:01.0/vfio", expected, 8);
    assert_true(t->num_records > 1500); /* PARTs of nothing but END_OF_STATE */
    assert_int_equal(t->num_commands, 2);
    assert_int_equal(t->commands[0], QEMU_CMD_OPEN_RETURN_PATH);
    assert_int_equal(t->commands[1], QEMU_CMD_PING);
    told_free(t);
    sample_free(&sample);
}

/* ---- the reverse direction ---- */

struct messages {
    json_t *list;
};

static int on_message(void *opaque, const struct inspect_return *m, struct vmig_error *err)
{
    (void)err;
    struct messages *messages = opaque;
    struct reader r;
    reader_init_memory(&r, m->data, m->length);
    json_t *o = json_pack("{s:I, s:i, s:s, s:i}", "offset", (json_int_t)m->offset, "type", m->type,
                          "name", m->name, "length", m->length);
    if (m->type == QEMU_RP_PONG || m->type == QEMU_RP_SHUT) {
        json_object_set_new(o, "value", json_integer(reader_u32(&r)));
    } else if (m->type == QEMU_RP_REQ_PAGES || m->type == QEMU_RP_REQ_PAGES_ID) {
        json_object_set_new(o, "start", json_integer((json_int_t)reader_u64(&r)));
        json_object_set_new(o, "len", json_integer(reader_u32(&r)));
    }
    if (m->type == QEMU_RP_REQ_PAGES_ID) {
        char block[256];
        reader_str8(&r, block);
        json_object_set_new(o, "block", json_string(block));
    }
    assert_int_equal(reader_peek(&r), -1);
    json_array_append_new(messages->list, o);
    return 0;
}

static json_t *walk_back(const struct sample *sample)
{
    struct messages messages = { json_array() };
    struct reader reader;
    struct vmig_error err;
    reader_init_memory(&reader, sample->bytes, sample->length);
    assert_done(inspect_return_path(&reader, on_message, &messages, &err), &err);
    return messages.list;
}

static void return_paths_are_walked(void **state)
{
    (void)state;
    static const char *const names[] = { "pc-returnpath.dst-to-src", "pc-postcopy.dst-to-src" };
    for (int i = 0; i < 2; i++) {
        struct sample sample = sample_load(names[i]);
        json_t *expected = sample_expected(names[i]), *found = walk_back(&sample);
        const json_t *list = json_object_get(expected, "return_path_messages");
        for (size_t j = 0; j < json_array_size(list); j++)
            check_equal("message", j, json_array_get(found, j), json_array_get(list, j));
        assert_int_equal(json_array_size(found), json_array_size(list));
        json_decref(found);
        json_decref(expected);
        sample_free(&sample);
    }
}

static void the_target_acknowledges_the_switchover(void **state)
{
    (void)state;
    struct sample sample = sample_load("switchover-ack.dst-to-src");
    static const char *const names[] = { "PONG", "SWITCHOVER_ACK", "SHUT" };
    json_t *found = walk_back(&sample);
    assert_int_equal(json_array_size(found), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(found, i), "name")),
                            names[i]);
    json_decref(found);
    sample_free(&sample);
}

static void a_return_path_cut_inside_a_message_is_refused(void **state)
{
    (void)state;
    struct sample sample = sample_load("switchover-ack.dst-to-src");
    for (size_t length = 0; length <= sample.length; length++) {
        struct messages messages = { json_array() };
        struct reader reader;
        reader_init_memory(&reader, sample.bytes, length);
        bool whole = length == 0 || length == 8 || length == 12 || length == 20;
        assert_int_equal(inspect_return_path(&reader, on_message, &messages, NULL),
                         whole ? 0 : -ENODATA);
        json_decref(messages.list);
    }
    sample_free(&sample);
}

static void return_messages_of_wrong_length_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, length;
    } cases[] = { { QEMU_RP_SHUT, 3 },          { QEMU_RP_SHUT, 5 },
                  { QEMU_RP_PONG, 0 },          { QEMU_RP_REQ_PAGES, 11 },
                  { QEMU_RP_REQ_PAGES, 13 },    { QEMU_RP_REQ_PAGES_ID, 12 },
                  { QEMU_RP_REQ_PAGES_ID, 14 }, { QEMU_RP_RESUME_ACK, 3 },
                  { QEMU_RP_SWITCHOVER_ACK, 1 } };
    static const uint8_t zeros[16];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct writer w;
        struct reader reader;
        struct vmig_error err;
        writer_init(&w);
        qemu_write_return(&w, cases[i].type, zeros, cases[i].length);
        reader_init_memory(&reader, w.buf, w.length);
        assert_refused(inspect_return_path(&reader, on_message, NULL, &err), &err, EINVAL,
                       "wrong length");
        writer_done(&w);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_microvm_is_walked),
        cmocka_unit_test(a_pc_is_walked),
        cmocka_unit_test(an_arm_machine_is_walked),
        cmocka_unit_test(the_main_channel_of_a_multifd_migration_is_walked),
        cmocka_unit_test(pieces_of_any_size_give_the_same),
        cmocka_unit_test(footers_are_found_without_a_description),
        cmocka_unit_test(a_stream_cut_inside_a_page_is_refused_there),
        cmocka_unit_test(a_footer_of_another_section_is_refused_there),
        cmocka_unit_test(flags_that_no_item_has_are_refused_there),
        cmocka_unit_test(a_description_cut_short_is_refused_after_all_sections),
        cmocka_unit_test(more_bytes_after_the_description_are_refused),
        cmocka_unit_test(a_length_that_contradicts_the_description_is_refused),
        cmocka_unit_test(the_vfio_sections_of_one_device_are_taken_apart),
        cmocka_unit_test(the_device_data_of_one_device_are_its_96_bytes),
        cmocka_unit_test(two_devices_have_96_bytes_each),
        cmocka_unit_test(with_switchover_ack_the_end_of_initial_data_is_told),
        cmocka_unit_test(return_paths_are_walked),
        cmocka_unit_test(the_target_acknowledges_the_switchover),
        cmocka_unit_test(a_return_path_cut_inside_a_message_is_refused),
        cmocka_unit_test(return_messages_of_wrong_length_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
