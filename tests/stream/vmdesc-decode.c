/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of QEMU's devices from their sections and the description alone. */
#include <errno.h>
#include "lib/stream/inspect.h"
#include "lib/stream/qemu.h"
#include "lib/stream/vmdesc-decode.h"
#include "lib/stream/vmdescription.h"
#include "tests/stream/sample.h"

/* Every recorded stream that has a description, and how many FULL sections its README counts. */
static const struct recorded {
    const char *name;
    unsigned sections;
    bool no_footers;
} recorded[] = {
    { "pc-firmware.mig", 33, false },
    { "microvm.mig", 14, false },
    { "aarch64-virt.mig", 16, false },
    { "pc-multifd.main", 33, false },
    { "one-device.mig", 31, false },
    { "two-devices.mig", 32, false },
    { "switchover-ack.src-to-dst", 31, false },
    { "q35-devices.tail", 38, false },
    { "q35-ramfb.tail", 31, false },
    { "pc-paused.tail", 33, false },
    { "pc-2.3-oldformat.tail", 30, true },
    { "pc-dirty.tail", 33, false },
    { "pc-compress.tail", 33, false },
    { "pc-returnpath.tail", 33, false },
    { "pc-uuid-ignoreshared.tail", 33, false },
    { "pc-xbzrle.tail", 33, false },
};
#define NUM_RECORDED (sizeof(recorded) / sizeof(recorded[0]))

struct scene {
    struct sample sample;
    struct vmdesc lengths;
    json_t *root, *devices;
    size_t eof;
};

static void open_scene(struct scene *s, const char *name)
{
    struct vmig_error err;
    s->sample = sample_load(name);
    ssize_t at = vmdesc_locate(s->sample.bytes, s->sample.length);
    assert_true(at > 0);
    const char *text = (const char *)s->sample.bytes + at + 5;
    size_t length = s->sample.length - (size_t)at - 5;
    assert_done(vmdesc_load(text, length, &s->root, &err), &err);
    assert_done(vmdesc_parse(&s->lengths, text, length, &err), &err);
    s->devices = json_object_get(s->root, "devices");
    s->eof = (size_t)at - 1;
    assert_int_equal(json_array_size(s->devices), s->lengths.count);
}

static void close_scene(struct scene *s)
{
    json_decref(s->root);
    vmdesc_done(&s->lengths);
    sample_free(&s->sample);
}

static size_t section_bytes(const struct vmdesc_device *d, bool footer)
{
    return 1 + 4 + 1 + strlen(d->idstr) + 4 + 4 + d->length_bytes + (footer ? 5 : 0);
}

/* FULL sections stand one behind the other up to the end: where @index begins. */
static size_t section_offset(const struct scene *s, const struct recorded *r, unsigned index)
{
    size_t at = s->eof;
    for (unsigned i = s->lengths.count; i-- > index;)
        at -= section_bytes(&s->lengths.devices[i], !r->no_footers);
    return at;
}

/* Its payload, where head and footer are those of the description's device. */
static const uint8_t *payload(const struct scene *s, const struct recorded *r, unsigned index)
{
    const struct vmdesc_device *d = &s->lengths.devices[index];
    struct reader reader;
    char idstr[256];
    size_t at = section_offset(s, r, index);
    reader_init_memory(&reader, s->sample.bytes + at, s->eof - at);
    assert_int_equal(reader_u8(&reader), QEMU_SECTION_FULL);
    uint32_t id = reader_u32(&reader);
    reader_str8(&reader, idstr);
    assert_string_equal(idstr, d->idstr);
    assert_int_equal(reader_u32(&reader), d->instance_id);
    reader_u32(&reader);
    const uint8_t *payload = s->sample.bytes + at + reader.offset;
    reader_skip(&reader, d->length_bytes);
    if (!r->no_footers) {
        assert_int_equal(reader_u8(&reader), QEMU_SECTION_FOOTER);
        assert_int_equal(reader_u32(&reader), id);
    }
    assert_false(reader_failed(&reader));
    return payload;
}

static json_t *decode(const struct scene *s, const struct recorded *r, unsigned index)
{
    struct vmig_error err;
    json_t *values = NULL;
    assert_done(vmdesc_decode(json_array_get(s->devices, index), payload(s, r, index),
                              s->lengths.devices[index].length_bytes, 0, &values, &err),
                &err);
    assert_true(json_is_object(values));
    return values;
}

static void every_section_of_every_stream_decodes_exactly(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NUM_RECORDED; i++) {
        struct scene s;
        open_scene(&s, recorded[i].name);
        assert_int_equal(s.lengths.count, recorded[i].sections);
        for (unsigned k = 0; k < s.lengths.count; k++)
            json_decref(decode(&s, &recorded[i], k));
        assert_int_equal(s.sample.bytes[s.eof], QEMU_EOF);
        close_scene(&s);
    }
}

/* A byte too few, a byte too many: it is told where. */
static void other_lengths_are_refused(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s, "microvm.mig");
    for (unsigned k = 0; k < s.lengths.count; k++) {
        struct vmig_error err;
        json_t *values = NULL;
        const json_t *device = json_array_get(s.devices, k);
        const uint8_t *bytes = payload(&s, &recorded[1], k);
        size_t length = s.lengths.devices[k].length_bytes;
        assert_refused(vmdesc_decode(device, bytes, length - 1, 1000, &values, &err), &err, EINVAL,
                       "at byte ");
        assert_refused(vmdesc_decode(device, bytes, length + 1, 0, &values, &err), &err, EINVAL,
                       "1 bytes follow");
        assert_null(values);
    }
    close_scene(&s);
}

/* ---- what is known of the machines that were recorded ---- */

static const struct recorded *find_recorded(const char *name)
{
    unsigned i = 0;
    while (strcmp(recorded[i].name, name) != 0)
        i++;
    return &recorded[i];
}

static json_t *values_of(const char *stream, const char *idstr, uint32_t instance_id)
{
    struct scene s;
    json_t *values = NULL;
    open_scene(&s, stream);
    for (unsigned k = 0; k < s.lengths.count; k++)
        if (strcmp(s.lengths.devices[k].idstr, idstr) == 0 &&
            s.lengths.devices[k].instance_id == instance_id)
            values = decode(&s, find_recorded(stream), k);
    close_scene(&s);
    assert_non_null(values);
    return values;
}

/* Members by name one below the other. */
static const json_t *get(const json_t *value, const char *const *names)
{
    for (; *names; names++) {
        value = json_object_get(value, *names);
        if (!value)
            fail_msg("there is no \"%s\"", *names);
    }
    return value;
}
#define GET(value, ...) get(value, (const char *const[]) { __VA_ARGS__, NULL })

static void begins_with(const json_t *value, const char *wanted)
{
    const char *text = json_string_value(value);
    assert_non_null(text);
    if (strncmp(text, wanted, strlen(wanted)) != 0)
        fail_msg("\"%.100s\" does not begin with \"%s\"", text, wanted);
}

static void run_state_is_that_of_the_recording(void **state)
{
    (void)state;
    json_t *running = values_of("pc-firmware.mig", "globalstate", 0);
    json_t *paused = values_of("pc-paused.tail", "globalstate", 0);
    assert_int_equal(json_integer_value(GET(running, "size")), strlen("running") + 1);
    begins_with(GET(running, "runstate"), "72756e6e696e6700"); /* running */
    assert_int_equal(strlen(json_string_value(GET(running, "runstate"))), 200);
    assert_int_equal(json_integer_value(GET(paused, "size")), strlen("paused") + 1);
    begins_with(GET(paused, "runstate"), "70617573656400");
    json_decref(running);
    json_decref(paused);
}

static void network_card_has_its_address_and_ids(void **state)
{
    (void)state;
    static const int mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
    json_t *card = values_of("q35-devices.tail", "0000:00:02.0/e1000e", 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(json_integer_value(json_array_get(GET(card, "core.permanent_mac"), i)),
                         mac[i]);
    const json_t *registers = GET(card, "core.mac");
    assert_int_equal(json_array_size(registers), 32768);
    /* RAL0, at 0x5400: the first four bytes, the first one lowest */
    assert_int_equal(json_integer_value(json_array_get(registers, 0x5400 / 4)), 0x12005452);
    begins_with(GET(card, "parent_obj[0]", "config[1]"), "8680d310"); /* 8086:10d3 */
    assert_int_equal(json_integer_value(GET(card, "subsys_ven")), 0x8086);
    assert_int_equal(json_array_size(GET(card, "core.tx")), 2);
    assert_true(json_is_boolean(json_object_get(json_array_get(GET(card, "core.tx"), 1), "cptse")));
    json_decref(card);
}

static void host_bridge_has_its_ids(void **state)
{
    (void)state;
    json_t *bridge = values_of("pc-firmware.mig", "0000:00:00.0/I440FX", 0);
    const json_t *device = json_object_iter_value(json_object_iter(bridge));
    begins_with(GET(device, "config[0]"), "86803712"); /* 8086:1237 */
    json_decref(bridge);
}

static void instances_of_one_name_are_told_apart(void **state)
{
    (void)state;
    /* the firmware gives the first controller vectors from 8, the second from 0x70 */
    json_t *first = values_of("pc-firmware.mig", "i8259", 0);
    json_t *second = values_of("pc-firmware.mig", "i8259", 1);
    assert_int_equal(json_integer_value(GET(first, "irq_base")), 0x08);
    assert_int_equal(json_integer_value(GET(second, "irq_base")), 0x70);
    json_decref(first);
    json_decref(second);
}

static void structures_without_framing_are_taken_apart(void **state)
{
    (void)state;
    json_t *cpu = values_of("one-device.mig", "cpu", 0);
    const json_t *fpregs = GET(cpu, "env.fpregs");
    assert_int_equal(json_array_size(fpregs), 8);
    assert_non_null(GET(json_array_get(fpregs, 7), "tmp", "tmp_mant"));
    assert_int_equal(json_array_size(GET(cpu, "env.regs")), 16);
    json_decref(cpu);
}

/* Each port of the controller is an entry of its own, since they can differ. */
static void elements_with_an_index_are_one_array(void **state)
{
    (void)state;
    json_t *ahci = values_of("one-device.mig", "0000:00:1f.2/ich9_ahci", 0);
    assert_int_equal(json_array_size(GET(ahci, "ahci", "dev")), 6);
    json_decref(ahci);
}

static void what_is_opaque_is_a_string_of_bytes(void **state)
{
    (void)state;
    json_t *mtty = values_of("one-device.mig", "0000:00:01.0/vfio", 0);
    /* DEV_CONFIG_STATE, the PCI device's version, then vendor and device of mtty */
    begins_with(GET(mtty, "data"), "ffffffffef1000020000000248435332"); /* 4348:3253 */
    assert_int_equal(strlen(json_string_value(GET(mtty, "data"))), 2 * 4132);
    json_decref(mtty);
}

/* ---- a walk over the whole stream tells them, too ---- */

struct told {
    unsigned sections;
    json_t *globalstate;
};

static int on_values(void *opaque, const struct qemu_section *section, const json_t *values,
                     struct vmig_error *err)
{
    struct told *told = opaque;
    (void)err;
    told->sections++;
    if (strcmp(section->idstr, "globalstate") == 0)
        told->globalstate = json_incref((json_t *)(uintptr_t)values);
    return 0;
}

static int no_more(void *opaque, const struct qemu_section *section, const json_t *values,
                   struct vmig_error *err)
{
    (void)opaque;
    (void)section;
    (void)values;
    err->code = -EDOM;
    return -EDOM;
}

static void walk_tells_the_values_of_each_section(void **state)
{
    (void)state;
    static const struct inspect_ops ops = { .values = on_values }, ends = { .values = no_more };
    struct vmig_error err;
    for (unsigned i = 0; i < 5; i++) {
        struct scene s;
        struct told told = { 0 };
        open_scene(&s, recorded[i].name);
        assert_done(inspect_memory(s.sample.bytes, s.sample.length, &ops, &told, &err), &err);
        /* the one device of the last is taken apart in another way */
        assert_int_equal(told.sections, recorded[i].sections - (i == 4));
        begins_with(GET(told.globalstate, "runstate"), "72756e6e696e6700");
        json_decref(told.globalstate);
        err = (struct vmig_error) { 0 };
        assert_int_equal(inspect_memory(s.sample.bytes, s.sample.length, &ends, NULL, &err), -EDOM);
        close_scene(&s);
    }
}

/* ---- descriptions by hand ---- */

static int decode_text(const char *text, const void *bytes, size_t length, json_t **ret,
                       struct vmig_error *err)
{
    json_t *device = NULL;
    *ret = NULL;
    *err = (struct vmig_error) { 0 };
    assert_done(vmdesc_load(text, strlen(text), &device, err), err);
    int rc = vmdesc_decode(device, bytes, length, 0, ret, err);
    json_decref(device);
    return rc;
}

static void assert_values(const char *text, const void *bytes, size_t length, const char *wanted)
{
    struct vmig_error err;
    json_t *values, *want = json_loads(wanted, 0, NULL);
    assert_non_null(want);
    assert_done(decode_text(text, bytes, length, &values, &err), &err);
    char *shown = json_dumps(values, JSON_COMPACT);
    if (!json_equal(values, want))
        fail_msg("%s is not %s", shown, wanted);
    free(shown);
    json_decref(values);
    json_decref(want);
}

static void numbers_have_their_sign_and_their_width(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xfe, 0,    2,    0x3f, 0xf8, 0,    0,    0,
                                     0,    0,    0,    0xff, 0xff, 0xff, 0xff };
    assert_values("{\"fields\":[{\"name\":\"u\",\"type\":\"uint64\",\"size\":8},"
                  "{\"name\":\"i\",\"type\":\"int16\",\"size\":2},"
                  "{\"name\":\"j\",\"type\":\"uint8\",\"size\":1},"
                  "{\"name\":\"no\",\"type\":\"bool\",\"size\":1},"
                  "{\"name\":\"yes\",\"type\":\"bool\",\"size\":1},"
                  "{\"name\":\"d\",\"type\":\"float64\",\"size\":8},"
                  "{\"name\":\"le\",\"type\":\"int32 le\",\"size\":4}]}",
                  bytes, sizeof(bytes),
                  "{\"u\":\"0xffffffffffffffff\",\"i\":-1,\"j\":254,\"no\":false,\"yes\":true,"
                  "\"d\":\"0x3ff8000000000000\",\"le\":-1}");
}

/* A kind that is unknown, or known with another size, is bytes. */
static void what_is_not_known_becomes_bytes(void **state)
{
    (void)state;
    assert_values("{\"fields\":[{\"name\":\"a\",\"type\":\"cpsr\",\"size\":2},"
                  "{\"name\":\"b\",\"type\":\"uint16\",\"size\":3},"
                  "{\"name\":\"c\",\"type\":\"struct\",\"size\":1}]}",
                  "\1\2\3\4\5\6", 6, "{\"a\":\"0102\",\"b\":\"030405\",\"c\":\"06\"}");
}

/* The keys of each element come again: none is lost, though an object has room for one. */
static void elements_of_a_list_are_all_there(void **state)
{
    (void)state;
    static const char text[] = "{\"fields\":[{\"name\":\"l\",\"type\":\"qtailq\","
                               "\"vmsd_name\":\"e\",\"version\":1,\"fields\":[{\"name\":\"a\","
                               "\"type\":\"uint8\",\"size\":1}],"
                               "\"vmsd_name\":\"e\",\"version\":1,\"fields\":[{\"name\":\"a\","
                               "\"type\":\"uint8\",\"size\":1}],"
                               "\"subsections\":[{\"vmsd_name\":\"e/x\",\"version\":3,"
                               "\"fields\":[{\"name\":\"b\",\"type\":\"uint8\",\"size\":1}]}],"
                               "\"vmsd_name\":\"e\",\"version\":1,\"fields\":[{\"name\":\"a\","
                               "\"type\":\"uint8\",\"size\":1}],"
                               "\"size\":17}]}";
    assert_values(text, "\1\7\1\10\5\3e/x\0\0\0\3\11\1\12\0", 17,
                  "{\"l\":[{\"a\":7},{\"a\":8,\"e/x\":{\"b\":9}},{\"a\":10}]}");
}

static void trees_have_keys_of_either_kind(void **state)
{
    (void)state;
#define VALUE                                                                                      \
    "\"vmsd_name\":\"v\",\"version\":1,\"fields\":[{\"name\":\"v\",\"type\":\"uint8\",\"size\":1}" \
    "],"
#define KEY                                                                                        \
    "\"vmsd_name\":\"k\",\"version\":1,\"fields\":[{\"name\":\"k\",\"type\":\"uint8\",\"size\":1}" \
    "],"
    assert_values("{\"fields\":[{\"name\":\"t\",\"type\":\"gtree\"," VALUE VALUE "\"size\":25}]}",
                  "\0\0\0\2\1\0\0\0\0\0\0\0\5\7\1\0\0\0\0\0\0\0\6\10\0", 25,
                  "{\"t\":[{\"key\":\"0x0000000000000005\",\"value\":{\"v\":7}},"
                  "{\"key\":\"0x0000000000000006\",\"value\":{\"v\":8}}]}");
    assert_values("{\"fields\":[{\"name\":\"t\",\"type\":\"gtree\"," KEY VALUE KEY VALUE
                  "\"size\":11}]}",
                  "\0\0\0\2\1\5\7\1\6\10\0", 11,
                  "{\"t\":[{\"key\":{\"k\":5},\"value\":{\"v\":7}},"
                  "{\"key\":{\"k\":6},\"value\":{\"v\":8}}]}");
}

/* Later versions of QEMU cut an array of pointers into runs where there are NULLs. */
static void runs_of_one_name_are_one_array(void **state)
{
    (void)state;
    assert_values("{\"fields\":[{\"name\":\"p\",\"array_len\":2,\"type\":\"uint8\",\"size\":1},"
                  "{\"name\":\"p\",\"type\":\"nullptr\",\"size\":1},"
                  "{\"name\":\"p\",\"array_len\":1,\"type\":\"uint8\",\"size\":1}]}",
                  "\1\2"
                  "0\3",
                  4, "{\"p\":[1,2,null,3]}");
}

static void assert_refuses(const char *text, const void *bytes, size_t length, int code,
                           const char *fragment)
{
    struct vmig_error err;
    json_t *values;
    assert_refused(decode_text(text, bytes, length, &values, &err), &err, code, fragment);
    assert_null(values);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    assert_refuses("{\"fields\":[{\"name\":\"a\",\"type\":\"buffer\",\"size\":5}]}", "1234", 4,
                   EINVAL, "field \"a\" at byte 0: 5 bytes, where 4 are left");
    assert_refuses("{\"fields\":[{\"name\":\"a\",\"type\":\"buffer\",\"size\":-1}]}", "1234", 4,
                   EINVAL, "lacks a name, type or size");
    assert_refuses("{\"fields\":[{\"name\":\"a\",\"type\":\"struct\",\"size\":3,\"struct\":"
                   "{\"fields\":[{\"name\":\"b\",\"type\":\"uint8\",\"size\":1}]}}]}",
                   "123", 3, EINVAL, "does not fit into its 3 bytes");
    assert_refuses("{\"fields\":[{\"name\":\"a\",\"type\":\"struct\",\"size\":1,\"struct\":"
                   "{\"fields\":[{\"name\":\"b\",\"type\":\"uint16\",\"size\":2}]}}]}",
                   "123", 3, EINVAL, "field \"a.b\"");
    assert_refuses("{\"fields\":[],\"subsections\":[{\"vmsd_name\":\"a/b\",\"version\":1,"
                   "\"fields\":[]}]}",
                   "\5\3a/c\0\0\0\1", 9, EINVAL, "a subsection \"a/b\" that is not here");
    assert_refuses("{\"fields\":[{\"name\":\"n\",\"type\":\"buffer\",\"size\":0,"
                   "\"array_len\":1000000000000}]}",
                   "", 0, E2BIG, "more than 1048576 values");
    assert_refuses("{}", "", 0, EINVAL, "has no fields");
}

static void brackets_within_brackets_are_bounded(void **state)
{
    (void)state;
    char text[300];
    json_t *root = NULL;
    struct vmig_error err = { 0 };
    memset(text, '[', 128);
    memset(text + 128, ']', 128);
    assert_done(vmdesc_load(text, 256, &root, &err), &err);
    json_decref(root);
    memset(text, '[', 129);
    memset(text + 129, ']', 129);
    assert_refused(vmdesc_load(text, 258, &root, &err), &err, E2BIG, "128 brackets");
    assert_refused(vmdesc_load("{\"a", 3, &root, &err), &err, EINVAL, "no JSON");
    assert_refused(vmdesc_load("{\"a\\", 4, &root, &err), &err, EINVAL, "no JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_section_of_every_stream_decodes_exactly),
        cmocka_unit_test(other_lengths_are_refused),
        cmocka_unit_test(run_state_is_that_of_the_recording),
        cmocka_unit_test(network_card_has_its_address_and_ids),
        cmocka_unit_test(host_bridge_has_its_ids),
        cmocka_unit_test(instances_of_one_name_are_told_apart),
        cmocka_unit_test(structures_without_framing_are_taken_apart),
        cmocka_unit_test(elements_with_an_index_are_one_array),
        cmocka_unit_test(what_is_opaque_is_a_string_of_bytes),
        cmocka_unit_test(walk_tells_the_values_of_each_section),
        cmocka_unit_test(numbers_have_their_sign_and_their_width),
        cmocka_unit_test(what_is_not_known_becomes_bytes),
        cmocka_unit_test(elements_of_a_list_are_all_there),
        cmocka_unit_test(trees_have_keys_of_either_kind),
        cmocka_unit_test(runs_of_one_name_are_one_array),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(brackets_within_brackets_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
