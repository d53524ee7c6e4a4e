/* SPDX-License-Identifier: BSD-3-Clause */
/* A machine with every kind of field: from a table to bytes and a description, back by the table, and
 * by the description alone to the same values. */
#include "lib/stream/vmdesc-decode.h"
#include "lib/stream/vmdesc-write.h"
#include "lib/stream/vmdescription.h"
#include "lib/stream/vmstate.h"
#include "tests/stream/machine.h"
#include "tests/stream/pieces.h"

/* A stream's end: one section's payload, then the description. */
struct saved {
    struct writer bytes, text;
};

static void save(struct saved *s, struct machine *m)
{
    struct vmig_error err;
    writer_init(&s->bytes);
    writer_init(&s->text);
    assert_done(vmstate_check(&machine_table, &err), &err);
    vmdesc_begin(&s->text, "a-machine", false, 4096);
    assert_done(
        vmstate_save_section(&machine_table, m, "0000:00:04.0/m", 2, &s->bytes, &s->text, &err),
        &err);
    /* the text alone, without what stands before it in a stream */
    struct writer record;
    writer_init(&record);
    vmdesc_finish(&record, &s->text);
    assert_int_equal(s->bytes.error, 0);
    assert_int_equal(record.error, 0);
    assert_memory_equal(record.buf + 5, s->text.buf, s->text.length);
    writer_done(&record);
}

static void save_filled(struct saved *s)
{
    struct machine m;
    machine_init(&m);
    machine_fill(&m);
    save(s, &m);
    machine_done(&m);
}

static void saved_done(struct saved *s)
{
    writer_done(&s->bytes);
    writer_done(&s->text);
}

static json_t *decode(const struct saved *s)
{
    struct vmig_error err;
    json_t *root, *values = NULL;
    assert_done(vmdesc_load((const char *)s->text.buf, s->text.length, &root, &err), &err);
    const json_t *device = json_array_get(json_object_get(root, "devices"), 0);
    assert_done(vmdesc_decode(device, s->bytes.buf, s->bytes.length, 0, &values, &err), &err);
    json_decref(root);
    return values;
}

static const char filled[] =
    "{\"flag\":true,\"i8\":-8,\"u8\":200,\"i16\":-16,\"u16\":60000,\"i32\":-32,"
    "\"u32\":4000000000,\"i64\":-64,\"u64\":\"0xffffffffffffffff\","
    "\"u8_equal\":8,\"u16_equal\":16,\"i32_equal\":-32,\"u32_equal\":32,"
    "\"u64_equal\":\"0x8000000000000000\",\"most\":7,"
    "\"f64\":\"0x3ff8000000000000\",\"cpu_double\":\"0x0000000000000001\",\"timer\":-1,"
    "\"raw\":\"616263646566\",\"unused\":\"0000\","
    "\"bits\":\"00000000000000010000000000000020\",\"num_bits\":64,"
    "\"more_bits\":\"0000000000000003\",\"array\":[0,1,2,3],\"count\":2,\"some\":[5,6],"
    "\"length\":2,\"bytes\":\"7778797a\",\"pointed\":77,\"gaps\":[1,null,2],"
    "\"port\":{\"baud\":9600,\"queue\":[1,2,3]},"
    "\"ports[0]\":[{\"baud\":9600,\"queue\":[1,2,3]},"
    "{\"baud\":9600,\"queue\":[1,2,3],\"port/overrun\":{\"overrun\":true}}],"
    "\"ports[1]\":[{\"baud\":9600,\"queue\":[1,2,3]},{\"baud\":9600,\"queue\":[1,2,3]}],"
    "\"spare\":{\"baud\":9600,\"queue\":[1,2,3]},\"tmp\":{\"ns\":2000000005},"
    "\"lines\":\"02\",\"wide\":true,\"config[0]\":99,"
    "\"queue\":[{\"sector\":10},{\"sector\":11,\"request/tail\":{\"tail\":4}},{\"sector\":12}],"
    "\"done\":[],"
    "\"mappings\":[{\"key\":\"0x0000000000000001\",\"value\":{\"target\":100}},"
    "{\"key\":\"0x0000000000000002\",\"value\":{\"target\":200}}],"
    "\"slots\":[{\"key\":{\"bus\":3,\"slot\":4},\"value\":{\"target\":300}}],"
    "\"machine/extra\":{\"extra\":55}}";

static void description_leads_to_the_values_that_were_saved(void **state)
{
    (void)state;
    struct saved s;
    save_filled(&s);
    json_t *values = decode(&s), *wanted = json_loads(filled, 0, NULL);
    assert_non_null(wanted);
    char *shown = json_dumps(values, JSON_COMPACT);
    if (!json_equal(values, wanted))
        fail_msg("%s", shown);
    free(shown);
    json_decref(values);
    json_decref(wanted);
    saved_done(&s);
}

/* The lengths that an inspector counts from it are those of the bytes. */
static void description_has_the_length(void **state)
{
    (void)state;
    struct vmig_error err;
    struct saved s;
    struct vmdesc d;
    save_filled(&s);
    assert_done(vmdesc_parse(&d, (const char *)s.text.buf, s.text.length, &err), &err);
    assert_int_equal(d.page_size, 4096);
    assert_int_equal(d.count, 1);
    assert_string_equal(d.devices[0].idstr, "0000:00:04.0/m");
    assert_int_equal(d.devices[0].instance_id, 2);
    assert_int_equal(d.devices[0].length_bytes, s.bytes.length);
    vmdesc_done(&d);
    saved_done(&s);
}

static void has(const struct saved *s, const char *piece)
{
    if (!memmem(s->text.buf, s->text.length, piece, strlen(piece)))
        fail_msg("no %s in %.*s", piece, (int)s->text.length, (const char *)s->text.buf);
}

/* Spacing, order of keys and forms are QEMU's; the pieces are those that its streams have. */
static void description_has_the_form_of_qemus(void **state)
{
    (void)state;
    struct saved s;
    save_filled(&s);
    has(&s, "{\"configuration\": {\"vmsd_name\": \"configuration\", \"version\": 1, \"fields\": "
            "[{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4}, {\"name\": \"name\", "
            "\"type\": \"buffer\", \"size\": 9}]}, \"page_size\": 4096, \"devices\": [{\"name\": "
            "\"0000:00:04.0/m\", \"instance_id\": 2, \"vmsd_name\": \"machine\", \"version\": 3, "
            "\"fields\": [{\"name\": \"flag\", \"type\": \"bool\", \"size\": 1}, ");
    has(&s, "{\"name\": \"array\", \"array_len\": 4, \"type\": \"uint16\", \"size\": 2}");
    has(&s, "{\"name\": \"ports[0]\", \"index\": 1, \"type\": \"struct\", \"struct\": "
            "{\"vmsd_name\": \"port\", \"version\": 1, \"fields\": [");
    has(&s, "], \"subsections\": [{\"vmsd_name\": \"port/overrun\", \"version\": 1, \"fields\": "
            "[{\"name\": \"overrun\", \"type\": \"bool\", \"size\": 1}]}]}, \"size\": 24}");
    has(&s, "{\"name\": \"ports[1]\", \"array_len\": 2, \"type\": \"struct\", \"struct\": ");
    has(&s, "{\"name\": \"tmp\", \"type\": \"tmp\", \"vmsd_name\": \"instant\", \"version\": 1, "
            "\"fields\": [{\"name\": \"ns\", \"type\": \"uint64\", \"size\": 8}], \"size\": 8}");
    has(&s, "{\"name\": \"gaps\", \"index\": 1, \"type\": \"nullptr\", \"size\": 1}");
    has(&s, "\"type\": \"int64 equal\"");
    has(&s, "\"subsections\": [{\"vmsd_name\": \"machine/extra\", \"version\": 7, \"fields\": "
            "[{\"name\": \"extra\", \"type\": \"uint32\", \"size\": 4}]}]}], \"digest\": \"");
    saved_done(&s);
}

static int load(struct machine *m, const struct writer *w, size_t length, struct vmig_error *err)
{
    return vmig_vmstate_load(&machine_table, 3, m, w->buf, length, err);
}

static void what_is_loaded_is_saved_as_the_same_bytes(void **state)
{
    (void)state;
    struct vmig_error err;
    struct saved s, again;
    struct machine m;
    save_filled(&s);
    machine_init(&m);
    assert_done(load(&m, &s.bytes, s.bytes.length, &err), &err);
    assert_int_equal(m.seconds, 2);
    assert_int_equal(m.queue->next->tail, 4);
    assert_int_equal(m.slots->where.slot, 4);
    assert_memory_equal(m.bytes, "wxyz", 4);
    save(&again, &m);
    assert_int_equal(again.bytes.length, s.bytes.length);
    assert_memory_equal(again.bytes.buf, s.bytes.buf, s.bytes.length);
    assert_int_equal(again.text.length, s.text.length);
    assert_memory_equal(again.text.buf, s.text.buf, s.text.length);
    /* and once more into the same: what was allocated and listed is not doubled */
    assert_done(load(&m, &s.bytes, s.bytes.length, &err), &err);
    assert_null(m.queue->next->next->next);
    machine_done(&m);
    saved_done(&again);
    saved_done(&s);
}

static void cut_anywhere_it_is_refused_at_a_field(void **state)
{
    (void)state;
    struct vmig_error err;
    struct saved s;
    save_filled(&s);
    /* without its last subsection it is a machine, too */
    size_t whole = s.bytes.length - (1 + 1 + strlen("machine/extra") + 4 + 4);
    for (size_t length = 0; length < s.bytes.length; length++) {
        struct machine m;
        machine_init(&m);
        uint8_t *exact = malloc(length ? length : 1); /* so that a sanitizer sees what is beyond */
        memcpy(exact, s.bytes.buf, length);
        struct writer cut = { .buf = exact };
        err = (struct vmig_error) { 0 };
        int rc = load(&m, &cut, length, &err);
        if (length == whole ? rc != 0 : rc == 0 || !err.text[0])
            fail_msg("%zu of %zu: %d %s", length, s.bytes.length, rc, err.text);
        free(exact);
        machine_done(&m);
    }
    saved_done(&s);
}

/* A length whose bytes have a brace behind the last zero would be taken for the text's beginning. */
static void length_is_never_mistaken_for_the_text(void **state)
{
    (void)state;
    /* the first is one that QEMU stumbled over; the last three are harmless and stay as they are */
    static const size_t lengths[] = { 0x18e7b, 0x7b, 0x7bff, 0x7b01, 0x7c00, 0x17b00, 0x7a };
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct writer text, w;
        writer_init(&text);
        writer_init(&w);
        vmdesc_open(&text, NULL, '{');
        while (text.length < lengths[i] - 32) /* the digest's */
            writer_u8(&text, ' ');
        vmdesc_finish(&w, &text);
        size_t length = w.length - 5;
        uint8_t head[6];
        assert_true(w.length > sizeof(head));
        memcpy(head, w.buf, sizeof(head));
        /* the first brace behind the last zero byte is the text's own */
        unsigned at = 5;
        while (at && head[at - 1])
            at--;
        assert_ptr_equal(memchr(head + at, '{', sizeof(head) - at), head + 5);
        assert_int_equal(vmdesc_locate(w.buf, w.length), 0);
        assert_true(length >= lengths[i] && length < lengths[i] + 256);
        assert_int_equal(length == lengths[i], i > 3);
        writer_done(&text);
        writer_done(&w);
    }
}

/* A file's last bytes, too. */
static void flipped_bit_of_a_description_is_noticed(void **state)
{
    (void)state;
    struct saved s;
    struct writer w;
    save_filled(&s);
    writer_init(&w);
    s.text.length -= 32;
    writer_u8(&s.text, ' '); /* another text, finished once more */
    vmdesc_finish(&w, &s.text);
    char *text = (char *)w.buf + 5;
    size_t length = w.length - 5;
    assert_true(vmdesc_is_intact(text, length));
    for (size_t bit = 0; bit < length * 8; bit++) {
        text[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(vmdesc_is_intact(text, length));
        text[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_false(vmdesc_is_intact(text, length - 1));
    assert_false(vmdesc_is_intact(text, 31));
    assert_false(vmdesc_is_intact(text, 0));
    writer_done(&w);
    saved_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(description_leads_to_the_values_that_were_saved),
        cmocka_unit_test(description_has_the_length),
        cmocka_unit_test(description_has_the_form_of_qemus),
        cmocka_unit_test(what_is_loaded_is_saved_as_the_same_bytes),
        cmocka_unit_test(cut_anywhere_it_is_refused_at_a_field),
        cmocka_unit_test(flipped_bit_of_a_description_is_noticed),
        cmocka_unit_test(length_is_never_mistaken_for_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
