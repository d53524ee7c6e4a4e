/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/stream/qemu.h"
#include "lib/stream/vmdesc-decode.h"
#include "lib/stream/vmstate-kinds.h"

/* ---- loading ---- */

static const char *const body_keys[] = { "vmsd_name", "version", "fields", "subsections" };
#define NUM_KEYS (sizeof(body_keys) / sizeof(body_keys[0]))

static int key_index(const char *s, size_t length)
{
    for (unsigned i = 0; i < NUM_KEYS; i++)
        if (strlen(body_keys[i]) == length && memcmp(body_keys[i], s, length) == 0)
            return (int)i;
    return -1;
}

/* The position behind the closing quote of the string that begins behind an opening one. */
static size_t end_of_string(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    return at < length ? at + 1 : length;
}

static bool is_key(const char *text, size_t length, size_t at)
{
    while (at < length && strchr(" \t\r\n", text[at]))
        at++;
    return at < length && text[at] == ':';
}

/* A body begins with its name, so that one counts for all four. */
static void write_string(struct writer *w, const char *text, size_t length, size_t start,
                         size_t end, unsigned *bodies)
{
    int key = is_key(text, length, end) ? key_index(text + start, end - start - 1) : -1;
    *bodies += key == 0;
    if (key < 0 || *bodies < 2) {
        writer_bytes(w, text + start - 1, end - start + 1);
        return;
    }
    char numbered[40];
    int n = snprintf(numbered, sizeof(numbered), "\"%s#%u\"", body_keys[key], *bodies - 1);
    writer_bytes(w, numbered, (size_t)n);
}

/* Whether it is JSON says the parser; what is none goes through as it is. */
static int number_bodies(const char *text, size_t length, struct writer *w)
{
    unsigned bodies[VMDESC_BRACKETS_MAX + 1] = { 0 }, depth = 0;
    for (size_t at = 0; at < length;) {
        char c = text[at++];
        if (c == '"') {
            size_t end = end_of_string(text, length, at);
            write_string(w, text, length, at, end, &bodies[depth]);
            at = end;
            continue;
        }
        writer_u8(w, (uint8_t)c);
        if (c == '{' || c == '[') {
            if (depth == VMDESC_BRACKETS_MAX)
                return -E2BIG;
            bodies[++depth] = 0;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return w->error;
}

int vmdesc_load(const char *text, size_t length_bytes, json_t **ret, struct vmig_error *err)
{
    struct writer w;
    json_error_t why;
    writer_init(&w);
    int rc = number_bodies(text, length_bytes, &w);
    if (rc == -E2BIG)
        error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, "bad-stream",
                  "the description has more than %u brackets within brackets", VMDESC_BRACKETS_MAX);
    else if (rc < 0)
        error_set(err, rc, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    json_t *root = rc == 0 ? json_loadb((const char *)w.buf, w.length, 0, &why) : NULL;
    if (rc == 0 && !root)
        rc = error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                       "the description is no JSON: at byte %d: %s", why.position, why.text);
    writer_done(&w);
    if (rc == 0)
        *ret = root;
    return rc;
}

/* ---- decoding ---- */

struct decode {
    struct reader r;
    struct vmig_error *err;
    unsigned depth, values;
    char path[200];
};

static json_t *decode_body(struct decode *d, const json_t *object, unsigned body);

/* Fails; NULL for "return refuse(...)". */
static json_t *refuse(struct decode *d, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static json_t *refuse(struct decode *d, int code, const char *format, ...)
{
    char what[200];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof(what), format, list);
    va_end(list);
    error_set(d->err, code, VMIG_STAGE_NONE, NULL, code == ENOMEM ? NULL : "bad-stream",
              "field \"%s\" at byte %" PRIu64 ": %s", d->path, d->r.offset, what);
    return NULL;
}

static size_t left(const struct decode *d)
{
    return d->r.tail - d->r.head;
}

static const json_t *body_member(const json_t *object, unsigned key, unsigned body)
{
    char name[40];
    snprintf(name, sizeof(name), body ? "%s#%u" : "%s", body_keys[key], body);
    return json_object_get(object, name);
}

static unsigned count_bodies(const json_t *object)
{
    unsigned n = 0;
    while (body_member(object, 0, n))
        n++;
    return n;
}

static json_t *decode_bytes(struct decode *d, uint64_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = d->r.buf + d->r.head; /* a reader of memory; there are as many */
    char *text = malloc(2 * size + 1);
    if (!text)
        return refuse(d, ENOMEM, "out of memory");
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    reader_skip(&d->r, size);
    json_t *value = json_stringn_nocheck(text, 2 * size);
    free(text);
    return value ? value : refuse(d, ENOMEM, "out of memory");
}

static json_t *decode_number(struct decode *d, const struct vmstate_kind *kind)
{
    uint64_t v = 0;
    char hex[24];
    for (unsigned i = 0; i < kind->bytes; i++)
        v = v << 8 | reader_u8(&d->r);
    unsigned unused = 64 - 8 * kind->bytes;
    if (kind->form == VMSTATE_FLAG)
        return json_boolean(v != 0);
    if (kind->form == VMSTATE_SIGNED)
        return json_integer((int64_t)(v << unused) >> unused);
    if (kind->form == VMSTATE_UNSIGNED && v <= INT64_MAX)
        return json_integer((json_int_t)v);
    snprintf(hex, sizeof(hex), "0x%016" PRIx64, v);
    return json_string(hex);
}

static json_t *append(struct decode *d, json_t *list, json_t *take_value)
{
    if (take_value && json_array_append_new(list, take_value) == 0)
        return list;
    json_decref(list);
    return take_value ? refuse(d, ENOMEM, "out of memory") : NULL;
}

static json_t *decode_list(struct decode *d, const json_t *field)
{
    unsigned bodies = count_bodies(field), n = 0;
    json_t *list = json_array();
    for (uint8_t more = reader_u8(&d->r); list && more; more = reader_u8(&d->r)) {
        if (more != 1 || n == bodies) {
            json_decref(list);
            return refuse(d, EINVAL, "it has %u elements in the description and others here",
                          bodies);
        }
        list = append(d, list, decode_body(d, field, n++));
    }
    return list;
}

static json_t *decode_node(struct decode *d, const json_t *field, unsigned n, bool direct)
{
    char hex[24];
    json_t *key, *value = NULL;
    if (direct) {
        snprintf(hex, sizeof(hex), "0x%016" PRIx64, reader_u64(&d->r));
        key = json_string(hex);
    } else {
        key = decode_body(d, field, 2 * n);
    }
    if (key)
        value = decode_body(d, field, direct ? n : 2 * n + 1);
    json_t *node = value ? json_pack("{s:O, s:O}", "key", key, "value", value) : NULL;
    json_decref(key);
    json_decref(value);
    return node;
}

/* A body for each value, and one for each key that is no number. */
static json_t *decode_tree(struct decode *d, const json_t *field)
{
    unsigned bodies = count_bodies(field), n = 0;
    uint32_t count = reader_u32(&d->r);
    bool fits = bodies == count || bodies == 2 * (uint64_t)count;
    json_t *list = fits ? json_array() : refuse(d, EINVAL, "%u bodies for %u nodes", bodies, count);
    for (uint8_t more = reader_u8(&d->r); list && more; more = reader_u8(&d->r)) {
        if (more != 1 || n == count) {
            json_decref(list);
            return refuse(d, EINVAL, "more than the %u nodes announced", count);
        }
        list = append(d, list, decode_node(d, field, n++, bodies == count));
    }
    return list;
}

static json_t *decode_value(struct decode *d, const json_t *field, const char *type, uint64_t size)
{
    const struct vmstate_kind *kind = vmstate_kind_by_name(type);
    const json_t *body = json_object_get(field, "struct");
    if (strcmp(type, "nullptr") == 0 && size == 1) {
        reader_skip(&d->r, 1);
        return json_null();
    }
    if (!kind || (kind->bytes && kind->bytes != size))
        return decode_bytes(d, size);
    if (kind->bytes)
        return decode_number(d, kind);
    switch (kind->form) {
    case VMSTATE_STRUCT:
        return body ? decode_body(d, body, 0) : decode_bytes(d, size);
    case VMSTATE_INLINE:
        return body_member(field, 2, 0) ? decode_body(d, field, 0) : decode_bytes(d, size);
    case VMSTATE_LIST:
        return decode_list(d, field);
    case VMSTATE_TREE:
        return decode_tree(d, field);
    default:
        return decode_bytes(d, size);
    }
}

/* Exactly @size bytes, whatever it is. */
static json_t *decode_element(struct decode *d, const json_t *field, const char *type,
                              uint64_t size)
{
    if (size > left(d))
        return refuse(d, EINVAL, "%" PRIu64 " bytes, where %zu are left", size, left(d));
    if (d->values++ == VMDESC_VALUES_MAX)
        return refuse(d, E2BIG, "more than %u values", VMDESC_VALUES_MAX);
    uint64_t start = d->r.offset;
    size_t tail = d->r.tail;
    d->r.tail = d->r.head + size;
    json_t *value = decode_value(d, field, type, size);
    uint64_t taken = d->r.offset - start;
    bool failed = reader_failed(&d->r);
    d->r.tail = tail;
    if (value && (failed || taken != size)) {
        json_decref(value);
        return refuse(d, EINVAL, "what it consists of does not fit into its %" PRIu64 " bytes",
                      size);
    }
    return value;
}

static json_t *decode_array(struct decode *d, const json_t *field, const char *type, uint64_t size,
                            uint64_t elements)
{
    json_t *list = json_array();
    for (uint64_t i = 0; list && i < elements; i++)
        list = append(d, list, decode_element(d, field, type, size));
    return list;
}

/* Entries of one name are elements of one array: index after index, or run after run. */
static bool add_value(json_t *object, const char *name, json_t *take_value, bool element, bool run)
{
    json_t *there = json_object_get(object, name);
    if (!there && (run || !element))
        return json_object_set_new_nocheck(object, name, take_value) == 0;
    if (!there || !json_is_array(there)) {
        json_t *list = json_array();
        if (there)
            json_array_append(list, there);
        json_object_set_new_nocheck(object, name, list);
        there = json_object_get(object, name);
    }
    if (!run)
        return json_array_append_new(there, take_value) == 0;
    int rc = json_array_extend(there, take_value);
    json_decref(take_value);
    return rc == 0;
}

static bool decode_field(struct decode *d, const json_t *field, json_t *object)
{
    const char *name = json_string_value(json_object_get(field, "name"));
    const char *type = json_string_value(json_object_get(field, "type"));
    const json_t *size = json_object_get(field, "size"), *run = json_object_get(field, "array_len");
    json_int_t bytes = json_integer_value(size), elements = json_integer_value(run);
    size_t length = strlen(d->path);
    snprintf(d->path + length, sizeof(d->path) - length, "%s%.100s", length ? "." : "",
             name ? name : "?");
    if (!name || !type || !json_is_integer(size) || bytes < 0 || elements < 0)
        return refuse(d, EINVAL, "its description lacks a name, type or size");
    json_t *value = run ? decode_array(d, field, type, (uint64_t)bytes, (uint64_t)elements)
                        : decode_element(d, field, type, (uint64_t)bytes);
    if (!value)
        return false;
    if (!add_value(object, name, value, json_object_get(field, "index"), run))
        return refuse(d, ENOMEM, "out of memory");
    d->path[length] = '\0';
    return true;
}

static bool decode_fields(struct decode *d, const json_t *fields, json_t *object)
{
    size_t i;
    const json_t *field;
    if (!json_is_array(fields))
        return refuse(d, EINVAL, "its description has no fields");
    for (i = 0; i < json_array_size(fields); i++) {
        field = json_array_get(fields, i);
        if (!decode_field(d, field, object))
            return false;
    }
    return true;
}

static bool decode_subsection(struct decode *d, const json_t *sub, json_t *object)
{
    const char *wanted = json_string_value(json_object_get(sub, "vmsd_name"));
    json_int_t version = json_integer_value(json_object_get(sub, "version"));
    char name[256] = "";
    bool marked = reader_u8(&d->r) == QEMU_SUBSECTION;
    reader_str8(&d->r, name);
    uint32_t came = reader_u32(&d->r);
    if (!wanted || reader_failed(&d->r) || !marked || strcmp(name, wanted) != 0 || came != version)
        return refuse(d, EINVAL, "the description has a subsection \"%.60s\" that is not here",
                      wanted ? wanted : "");
    json_t *value = decode_body(d, sub, 0);
    return value && json_object_set_new_nocheck(object, name, value) == 0;
}

static bool decode_subsections(struct decode *d, const json_t *list, json_t *object)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!decode_subsection(d, json_array_get(list, i), object))
            return false;
    return true;
}

static json_t *decode_body(struct decode *d, const json_t *object, unsigned body)
{
    json_t *values = json_object();
    if (!values)
        return refuse(d, ENOMEM, "out of memory");
    if (d->depth == VMDESC_STRUCTS_MAX) {
        json_decref(values);
        return refuse(d, E2BIG, "more than %u structures within each other", VMDESC_STRUCTS_MAX);
    }
    d->depth++;
    bool done = decode_fields(d, body_member(object, 2, body), values) &&
                decode_subsections(d, body_member(object, 3, body), values);
    d->depth--;
    if (done)
        return values;
    json_decref(values);
    return NULL;
}

int vmdesc_decode(const json_t *device, const void *buf, size_t length_bytes, uint64_t offset,
                  json_t **ret, struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    struct decode d = { .err = &why };
    reader_init_memory(&d.r, buf, length_bytes);
    d.r.offset = offset;
    json_t *values = decode_body(&d, device, 0);
    if (values && left(&d)) {
        json_decref(values);
        values = refuse(&d, EINVAL, "%zu bytes follow the last field that is described", left(&d));
    }
    if (!values) {
        error_set(&why, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
        return error_copy(err, &why);
    }
    *ret = values;
    return 0;
}
