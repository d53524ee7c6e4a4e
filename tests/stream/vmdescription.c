/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths of FULL sections from the description at a stream's end. */
#include <errno.h>
#include "lib/stream/vmdescription.h"
#include "tests/stream/pieces.h"

static int parse(struct vmdesc *d, const char *text, struct vmig_error *err)
{
    return vmdesc_parse(d, text, strlen(text), err);
}

static uint64_t length_of(const char *body)
{
    char text[4096];
    struct vmdesc d;
    struct vmig_error err;
    snprintf(text, sizeof(text),
             "{\"page_size\":4096,\"devices\":[{\"name\":\"a\",\"instance_id\":0,%s}]}", body);
    assert_done(parse(&d, text, &err), &err);
    assert_int_equal(d.count, 1);
    uint64_t length = d.devices[0].length_bytes;
    vmdesc_done(&d);
    return length;
}

static void a_length_is_the_sum_of_its_fields(void **state)
{
    (void)state;
    assert_int_equal(length_of("\"size\":4132,\"fields\":[{\"name\":\"data\",\"size\":4132,"
                               "\"type\":\"buffer\"}]"),
                     4132);
    assert_int_equal(length_of("\"fields\":[]"), 0);
    assert_int_equal(length_of("\"fields\":[{\"size\":4},{\"array_len\":3,\"size\":8},{\"index\":0,"
                               "\"size\":2}]"),
                     30);
}

/* Marker, length byte, name and version come with each subsection. */
static void subsections_bring_their_heads(void **state)
{
    (void)state;
    assert_int_equal(length_of("\"fields\":[{\"size\":4}],\"subsections\":[{\"vmsd_name\":\"a/b\","
                               "\"version\":1,\"fields\":[{\"size\":8}]}]"),
                     4 + 1 + 1 + 3 + 4 + 8);
    assert_int_equal(
        length_of("\"fields\":[],\"subsections\":[{\"vmsd_name\":\"a/b\",\"fields\":[],"
                  "\"subsections\":[{\"vmsd_name\":\"a/b/c\",\"fields\":[]}]}]"),
        9 + 11);
}

/* A struct's size holds its own subsections already, and keys may come twice. */
static void structs_are_not_counted_twice(void **state)
{
    (void)state;
    assert_int_equal(
        length_of("\"fields\":[{\"type\":\"struct\",\"struct\":{\"fields\":[{\"size\":5}],"
                  "\"subsections\":[{\"vmsd_name\":\"x\",\"fields\":[{\"size\":9}]}]},"
                  "\"fields\":[],\"fields\":[{\"size\":3}],\"size\":20}]"),
        20);
}

static void devices_are_found_by_name_and_instance(void **state)
{
    (void)state;
    struct vmdesc d;
    struct vmig_error err;
    assert_done(
        parse(&d,
              "{\"devices\":[{\"name\":\"i8259\",\"instance_id\":0,\"fields\":[{\"size\":1}]},"
              "{\"name\":\"i8259\",\"instance_id\":1,\"fields\":[{\"size\":2}]}]}",
              &err),
        &err);
    assert_int_equal(vmdesc_find(&d, "i8259", 1)->length_bytes, 2);
    assert_int_equal(vmdesc_find(&d, "i8259", 0)->length_bytes, 1);
    assert_null(vmdesc_find(&d, "i8259", 2));
    assert_null(vmdesc_find(&d, "i825", 0));
    assert_int_equal(d.page_size, 0);
    vmdesc_done(&d);
}

static void a_description_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *fragment;
    } cases[] = {
        { "", "no JSON" },
        { "{", "no JSON" },
        { "[]", "no list of devices" },
        { "{\"devices\":{}}", "no list of devices" },
        { "{\"devices\":[1]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"fields\":[]},{\"fields\":[]}]}", "device 1" },
        { "{\"devices\":[{\"name\":\"\",\"fields\":[]}]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\"}]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"instance_id\":4294967296,\"fields\":[]}]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"fields\":[{}]}]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"fields\":[{\"size\":-1}]}]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"fields\":[{\"size\":\"1\"}]}]}", "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"fields\":[{\"size\":9223372036854775807,\"array_len\":3}"
          "]}]}",
          "device 0" },
        { "{\"devices\":[{\"name\":\"a\",\"fields\":[],\"subsections\":[{\"fields\":[]}]}]}",
          "device 0" },
        { "{\"devices\":[],\"page_size\":4095}", "page_size" },
        { "{\"devices\":[],\"page_size\":2048}", "page_size" },
        { "{\"devices\":[],\"page_size\":-4096}", "page_size" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vmdesc d;
        struct vmig_error err;
        assert_refused(parse(&d, cases[i].text, &err), &err, EINVAL, cases[i].fragment);
    }
}

static void append(char **text, size_t *size, const char *more)
{
    *text = realloc(*text, *size + strlen(more) + 1);
    strcpy(*text + *size, more);
    *size += strlen(more);
}

/* 16 levels of subsections are taken, 17 are not. */
static void the_depth_is_bounded(void **state)
{
    (void)state;
    for (unsigned more = 0; more < 2; more++) {
        char *text = NULL;
        size_t size = 0;
        struct vmdesc d;
        struct vmig_error err;
        append(&text, &size, "{\"devices\":[{\"name\":\"a\",\"fields\":[]");
        for (unsigned i = 0; i < VMDESC_DEPTH_MAX + more; i++)
            append(&text, &size, ",\"subsections\":[{\"vmsd_name\":\"n\",\"fields\":[]");
        for (unsigned i = 0; i < VMDESC_DEPTH_MAX + more; i++)
            append(&text, &size, "}]");
        append(&text, &size, "}]}");
        if (more) {
            assert_refused(parse(&d, text, &err), &err, EINVAL, "device 0");
        } else {
            assert_done(parse(&d, text, &err), &err);
            assert_int_equal(d.devices[0].length_bytes, VMDESC_DEPTH_MAX * 7);
            vmdesc_done(&d);
        }
        free(text);
    }
}

static void the_number_of_devices_and_the_size_are_bounded(void **state)
{
    (void)state;
    struct vmdesc d;
    struct vmig_error err;
    for (unsigned more = 0; more < 2; more++) {
        char *text = NULL;
        size_t size = 0;
        append(&text, &size, "{\"devices\":[{\"name\":\"a\",\"fields\":[]}");
        for (unsigned i = 1; i < VMDESC_DEVICES_MAX + more; i++)
            append(&text, &size, ",{\"name\":\"a\",\"fields\":[]}");
        append(&text, &size, "]}");
        if (more) {
            assert_refused(parse(&d, text, &err), &err, E2BIG, "4097 devices");
        } else {
            assert_done(parse(&d, text, &err), &err);
            vmdesc_done(&d);
        }
        free(text);
    }
    char *spaces = malloc(VMDESC_MAX_BYTES + 1);
    memset(spaces, ' ', VMDESC_MAX_BYTES + 1);
    memcpy(spaces, "{\"devices\":[]}", 14);
    assert_done(vmdesc_parse(&d, spaces, VMDESC_MAX_BYTES, &err), &err);
    vmdesc_done(&d);
    assert_refused(vmdesc_parse(&d, spaces, VMDESC_MAX_BYTES + 1, &err), &err, E2BIG, "10485761");
    free(spaces);
}

static void it_is_found_at_the_very_end(void **state)
{
    (void)state;
    /* what looks like one before it does not end at the end */
    static const uint8_t file[] = { 6, 0, 0, 0, 2, '{', '}', 0, 6, 0, 0, 0, 2, '{', '}', 'x' };
    assert_int_equal(vmdesc_locate(file, 15), 8);
    assert_int_equal(vmdesc_locate(file, 7), 0);
    assert_int_equal(vmdesc_locate(file, 14), -ENOENT);
    assert_int_equal(vmdesc_locate(file, 16), -ENOENT);
    for (size_t length = 0; length < 7; length++)
        assert_int_equal(vmdesc_locate(file, length), -ENOENT);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_is_the_sum_of_its_fields),
        cmocka_unit_test(subsections_bring_their_heads),
        cmocka_unit_test(structs_are_not_counted_twice),
        cmocka_unit_test(devices_are_found_by_name_and_instance),
        cmocka_unit_test(a_description_that_makes_no_sense_is_refused),
        cmocka_unit_test(the_depth_is_bounded),
        cmocka_unit_test(the_number_of_devices_and_the_size_are_bounded),
        cmocka_unit_test(it_is_found_at_the_very_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
