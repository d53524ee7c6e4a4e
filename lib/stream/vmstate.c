/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A walk goes over a table in one direction: with a writer it saves, with a reader it loads. The kinds
 * of numbers are rows; everything else is built from a few shapes (one, several, pointed to).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/stream/qemu.h"
#include "lib/stream/vmdesc-write.h"
#include "lib/stream/vmstate-kinds.h"
#include "lib/stream/vmstate.h"

#define NO_ELEMENT '0' /* stands for a NULL in an array of pointers */

typedef const struct vmig_vmstate_field field;

struct walk {
    struct writer *writer;      /* saving */
    struct writer *description; /* NULL: none is wanted, or no more of it */
    struct reader *reader;      /* loading */
    struct vmig_error *err;
    unsigned depth;
    char path[200]; /* of the field that is walked, as "timers[1].expiry", for messages */
};

static int walk_table(struct walk *k, const struct vmig_vmstate *vmsd, uint32_t version,
                      void *opaque);

/* ---- failures ---- */

static uint64_t offset_of(const struct walk *k)
{
    return k->reader ? k->reader->offset : k->writer->length;
}

static int fail(struct walk *k, int code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static int fail(struct walk *k, int code, const char *reason, const char *format, ...)
{
    char what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof(what), format, list);
    va_end(list);
    return error_set(k->err, code, VMIG_STAGE_NONE, NULL, reason,
                     "field \"%s\" at byte %" PRIu64 ": %s", k->path, offset_of(k), what);
}

/* What is loaded is the stream's fault, what is saved the program's. */
static const char *blame(const struct walk *k)
{
    return k->reader ? "bad-stream" : NULL;
}

static int check_io(struct walk *k)
{
    if (k->writer)
        return k->writer->error ? fail(k, k->writer->error, NULL, "%s", strerror(-k->writer->error))
                                : 0;
    int error = k->reader->error;
    if (!error)
        return 0;
    bool cut = error == -ENODATA;
    return fail(k, error, cut ? "bad-stream" : NULL, "%s",
                cut ? "the data ends in the middle of it" : strerror(-error));
}

/* A hook of the host's refused; it may have said why. */
static int hook(struct walk *k, const char *name, int (*call)(void *opaque, struct vmig_error *err),
                void *opaque)
{
    struct vmig_error why = { 0 };
    int rc = call ? call(opaque, &why) : 0;
    if (rc >= 0)
        return 0;
    return fail(k, rc, why.reason[0] ? why.reason : NULL, "%s: %.220s", name,
                why.text[0] ? why.text : strerror(-rc));
}

/* ---- numbers ---- */

static uint64_t get_native(const void *at, unsigned bytes)
{
    uint8_t v1;
    uint16_t v2;
    uint32_t v4;
    uint64_t v8;
    switch (bytes) {
    case 1:
        memcpy(&v1, at, 1);
        return v1;
    case 2:
        memcpy(&v2, at, 2);
        return v2;
    case 4:
        memcpy(&v4, at, 4);
        return v4;
    default:
        memcpy(&v8, at, 8);
        return v8;
    }
}

static void set_native(void *at, unsigned bytes, uint64_t v)
{
    uint8_t v1 = (uint8_t)v;
    uint16_t v2 = (uint16_t)v;
    uint32_t v4 = (uint32_t)v;
    memcpy(at,
           bytes == 1   ? (void *)&v1
           : bytes == 2 ? (void *)&v2
           : bytes == 4 ? (void *)&v4
                        : &v,
           bytes);
}

static void write_number(struct writer *w, unsigned bytes, uint64_t v)
{
    uint8_t wire[8];
    for (unsigned i = 0; i < bytes; i++)
        wire[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    writer_bytes(w, wire, bytes);
}

static uint64_t read_number(struct reader *r, unsigned bytes)
{
    uint8_t wire[8] = { 0 };
    uint64_t v = 0;
    reader_bytes(r, wire, bytes);
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | wire[i];
    return v;
}

static int check_number(struct walk *k, const struct vmstate_kind *kind, uint64_t here,
                        uint64_t loaded)
{
    if (kind->check == VMSTATE_EQUAL && loaded != here)
        return fail(k, EINVAL, "layout-mismatch",
                    "%" PRIu64 " at the source and %" PRIu64 " here; make them the same", loaded,
                    here);
    if (kind->check == VMSTATE_AT_MOST && ((int32_t)loaded < 0 || (int32_t)loaded > (int32_t)here))
        return fail(k, EINVAL, "layout-mismatch",
                    "%" PRId32 " at the source, where 0 to %" PRId32 " fit here", (int32_t)loaded,
                    (int32_t)here);
    return 0;
}

static int walk_number(struct walk *k, const struct vmstate_kind *kind, void *at)
{
    uint64_t here = get_native(at, kind->bytes);
    if (k->writer) {
        write_number(k->writer, kind->bytes, kind->check == VMSTATE_TRUTH ? here != 0 : here);
        return 0;
    }
    uint64_t loaded = read_number(k->reader, kind->bytes);
    int rc = check_io(k);
    if (rc == 0)
        rc = check_number(k, kind, here, loaded);
    if (rc == 0)
        set_native(at, kind->bytes, kind->check == VMSTATE_TRUTH ? loaded != 0 : loaded);
    return rc;
}

/* ---- bytes ---- */

static int walk_buffer(struct walk *k, void *at, uint32_t bytes)
{
    if (k->writer)
        writer_bytes(k->writer, at, bytes);
    else
        reader_bytes(k->reader, at, bytes);
    return 0;
}

static int walk_unused(struct walk *k, uint32_t bytes)
{
    if (k->reader)
        reader_skip(k->reader, bytes);
    for (uint32_t i = 0; k->writer && i < bytes; i++)
        writer_u8(k->writer, 0);
    return 0;
}

static uint32_t words_of(uint32_t bits)
{
    return bits / 64 + (bits % 64 != 0);
}

/* Bits after the last are no bits of it. */
static int walk_bitmap(struct walk *k, uint64_t *words, uint32_t bits)
{
    for (uint32_t i = 0; i < words_of(bits); i++) {
        uint64_t mask = i == bits / 64 ? (UINT64_C(1) << bits % 64) - 1 : UINT64_MAX;
        if (k->writer)
            writer_u64(k->writer, words[i] & mask);
        else
            words[i] = reader_u64(k->reader) & mask;
    }
    return 0;
}

static int walk_custom(struct walk *k, field *f, void *at)
{
    size_t bytes = f->codec->length(at);
    CLEANUP_FREE uint8_t *buf = calloc(1, bytes ? bytes : 1);
    struct vmig_error why = { 0 };
    if (!buf)
        return fail(k, ENOMEM, NULL, "out of memory");
    if (k->reader)
        reader_bytes(k->reader, buf, bytes);
    int rc = check_io(k);
    if (rc < 0)
        return rc;
    rc = k->writer ? f->codec->save(at, buf, bytes, &why) : f->codec->load(at, buf, bytes, &why);
    if (rc < 0)
        return fail(k, rc, why.reason[0] ? why.reason : blame(k), "%s: %.200s", f->codec->name,
                    why.text[0] ? why.text : strerror(-rc));
    if (k->writer)
        writer_bytes(k->writer, buf, bytes);
    return 0;
}

/* ---- structures ---- */

static int walk_struct(struct walk *k, field *f, void *at)
{
    if (k->description)
        vmdesc_open(k->description, "struct", '{');
    int rc = walk_table(k, f->vmsd, f->vmsd->version, at);
    if (k->description)
        vmdesc_close(k->description, '}');
    return rc;
}

static int walk_tmp(struct walk *k, field *f, void *parent)
{
    CLEANUP_FREE void **temporary = calloc(1, f->size);
    if (!temporary)
        return fail(k, ENOMEM, NULL, "out of memory");
    temporary[0] = parent;
    return walk_table(k, f->vmsd, f->vmsd->version, temporary);
}

/* ---- containers: a byte 1 before each element, a byte 0 after the last ---- */

static int save_key(struct walk *k, const struct vmig_vmstate_container *c, const void *key)
{
    if (c->key_vmsd)
        return walk_table(k, c->key_vmsd, c->key_vmsd->version, (void *)(uintptr_t)key);
    writer_u64(k->writer, get_native(key, 8));
    return 0;
}

static int save_elements(struct walk *k, field *f, void *container)
{
    const struct vmig_vmstate_container *c = f->container;
    bool tree = f->kind == VMIG_VMSTATE_KIND_TREE;
    uint32_t count = 0;
    for (void *e = c->next(container, NULL); e; e = c->next(container, e))
        if (++count > f->count)
            return fail(k, EINVAL, NULL, "more than %" PRIu32 " elements, which the table allows",
                        f->count);
    if (tree)
        writer_u32(k->writer, count);
    int rc = 0;
    for (void *e = c->next(container, NULL); rc == 0 && e; e = c->next(container, e)) {
        writer_u8(k->writer, 1);
        rc = tree ? save_key(k, c, c->key(container, e)) : 0;
        if (rc == 0)
            rc = walk_table(k, f->vmsd, f->vmsd->version, e);
    }
    writer_u8(k->writer, 0);
    return rc;
}

static int load_key(struct walk *k, const struct vmig_vmstate_container *c, void *key)
{
    if (c->key_vmsd)
        return walk_table(k, c->key_vmsd, c->key_vmsd->version, key);
    set_native(key, 8, reader_u64(k->reader));
    return check_io(k);
}

static int load_element(struct walk *k, field *f, void *container)
{
    const struct vmig_vmstate_container *c = f->container;
    bool tree = f->kind == VMIG_VMSTATE_KIND_TREE;
    CLEANUP_FREE void *key = tree ? calloc(1, c->key_vmsd ? c->key_bytes : 8) : NULL;
    if (tree && !key)
        return fail(k, ENOMEM, NULL, "out of memory");
    int rc = tree ? load_key(k, c, key) : 0;
    if (rc < 0)
        return rc;
    void *element = c->add(container, key);
    return element ? walk_table(k, f->vmsd, f->vmsd->version, element)
                   : fail(k, ENOMEM, NULL, "no room for another element");
}

static int load_elements(struct walk *k, field *f, void *container)
{
    bool tree = f->kind == VMIG_VMSTATE_KIND_TREE;
    f->container->clear(container);
    uint32_t announced = tree ? reader_u32(k->reader) : 0, count = 0;
    int rc = check_io(k);
    if (rc == 0 && announced > f->count)
        return fail(k, EINVAL, "bad-stream", "%" PRIu32 " elements, and %" PRIu32 " are the most",
                    announced, f->count);
    for (;;) {
        uint8_t more = reader_u8(k->reader);
        rc = check_io(k);
        if (rc < 0 || !more)
            break;
        if (more != 1 || ++count > f->count)
            return fail(k, EINVAL, "bad-stream",
                        more != 1 ? "byte %u stands where 0 or 1 must"
                                  : "element %u is one more than there may be",
                        more != 1 ? more : count);
        rc = load_element(k, f, container);
        if (rc < 0)
            break;
    }
    if (rc == 0 && tree && announced != count)
        return fail(k, EINVAL, "bad-stream",
                    "%" PRIu32 " elements came, %" PRIu32 " were announced", count, announced);
    return rc;
}

/* ---- fields ---- */

/* The count is of elements for most kinds, of bytes or bits in the one element for some. */
static bool is_one_element(field *f)
{
    return f->kind == VMIG_VMSTATE_KIND_BUFFER || f->kind == VMIG_VMSTATE_KIND_UNUSED ||
           f->kind == VMIG_VMSTATE_KIND_BITMAP;
}

static int walk_value(struct walk *k, field *f, void *at, uint32_t measure)
{
    switch (f->kind) {
    case VMIG_VMSTATE_KIND_BUFFER:
        return walk_buffer(k, at, measure);
    case VMIG_VMSTATE_KIND_UNUSED:
        return walk_unused(k, measure);
    case VMIG_VMSTATE_KIND_BITMAP:
        return walk_bitmap(k, at, measure);
    case VMIG_VMSTATE_KIND_CUSTOM:
        return walk_custom(k, f, at);
    case VMIG_VMSTATE_KIND_STRUCT:
        return walk_struct(k, f, at);
    case VMIG_VMSTATE_KIND_VSTRUCT:
        return walk_table(k, f->vmsd, f->vmsd_version, at);
    case VMIG_VMSTATE_KIND_TMP:
        return walk_tmp(k, f, at);
    case VMIG_VMSTATE_KIND_TAILQ:
    case VMIG_VMSTATE_KIND_LIST:
    case VMIG_VMSTATE_KIND_TREE:
        return k->writer ? save_elements(k, f, at) : load_elements(k, f, at);
    default:
        return walk_number(k, &vmstate_kinds[f->kind], at);
    }
}

/* The element that is not there has its own type and size. */
static int walk_no_element(struct walk *k)
{
    if (k->writer) {
        writer_u8(k->writer, NO_ELEMENT);
        return 0;
    }
    uint8_t byte = reader_u8(k->reader);
    int rc = check_io(k);
    if (rc == 0 && byte != NO_ELEMENT)
        rc = fail(k, EINVAL, "layout-mismatch",
                  "the source sent an element (byte %#x) and there is none here", byte);
    return rc;
}

/* ---- describing ---- */

static bool table_varies(const struct vmig_vmstate *vmsd, unsigned depth);

/* Can two elements of this field have different lengths or fields? */
static bool field_varies(field *f, unsigned depth)
{
    return f->exists || f->count_bytes || (f->flags & VMIG_VMSTATE_POINTERS) ||
           f->kind == VMIG_VMSTATE_KIND_CUSTOM || vmstate_is_container(f) ||
           (f->vmsd && table_varies(f->vmsd, depth));
}

static bool table_varies(const struct vmig_vmstate *vmsd, unsigned depth)
{
    bool varies = vmsd->subsections || depth == VMSTATE_DEPTH_MAX;
    for (field *f = vmsd->fields; f->name && !varies; f++)
        varies = field_varies(f, depth + 1);
    return varies;
}

static bool has_null(void *const *pointers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!pointers[i])
            return true;
    return false;
}

/* One entry for all elements: they are alike. A count does not make them differ, nor do pointers. */
static bool is_compressed(field *f, uint32_t count, void *base)
{
    if (f->exists || f->kind == VMIG_VMSTATE_KIND_CUSTOM || (f->vmsd && table_varies(f->vmsd, 0)))
        return false;
    return !(f->flags & VMIG_VMSTATE_POINTERS) || !has_null(base, count);
}

/* "x", or "x[1]" for the second x of the table. */
static void describe_name(struct writer *text, const struct vmig_vmstate *vmsd, field *f)
{
    unsigned before = 0, all = 0;
    for (field *other = vmsd->fields; other->name; other++) {
        bool same = strcmp(other->name, f->name) == 0;
        all += same;
        before += same && other < f;
    }
    char name[300];
    snprintf(name, sizeof(name), all > 1 ? "%s[%u]" : "%s", f->name, before);
    vmdesc_string(text, "name", name);
}

struct entry {
    const struct vmig_vmstate *vmsd;
    field *f;
    uint32_t index, count;
    bool compressed, null;
};

static void describe_begin(struct writer *text, const struct entry *e)
{
    if (!text)
        return;
    vmdesc_open(text, NULL, '{');
    describe_name(text, e->vmsd, e->f);
    if (e->count > 1)
        vmdesc_number(text, e->compressed ? "array_len" : "index",
                      e->compressed ? e->count : e->index);
    vmdesc_string(text, "type",
                  e->null                                  ? "nullptr"
                  : e->f->kind == VMIG_VMSTATE_KIND_CUSTOM ? e->f->codec->name
                                                           : vmstate_kinds[e->f->kind].name);
}

static void describe_end(struct writer *text, uint64_t bytes)
{
    if (!text)
        return;
    vmdesc_number(text, "size", bytes);
    vmdesc_close(text, '}');
}

static int walk_element(struct walk *k, struct entry *e, void *base, uint32_t measure)
{
    field *f = e->f;
    bool pointers = f->flags & VMIG_VMSTATE_POINTERS;
    void *at = base; /* NULL where there is nothing in it */
    if (pointers)
        at = ((void **)base)[e->index];
    else if (e->index)
        at = (char *)base + e->index * f->size;
    struct writer *text = k->description;
    if (e->compressed && e->index) /* the first one told it */
        k->description = NULL;
    e->null = pointers && !at;
    describe_begin(k->description, e);
    uint64_t start = offset_of(k);
    int rc = e->null ? walk_no_element(k) : walk_value(k, f, at, measure);
    if (rc == 0)
        rc = check_io(k);
    describe_end(k->description, offset_of(k) - start);
    k->description = text;
    return rc;
}

static int walk_elements(struct walk *k, struct entry *e, void *base, uint32_t measure)
{
    size_t length = strlen(k->path);
    int rc = 0;
    for (e->index = 0; rc == 0 && e->index < e->count; e->index++) {
        if (e->count > 1)
            snprintf(k->path + length, sizeof(k->path) - length, "[%" PRIu32 "]", e->index);
        rc = walk_element(k, e, base, measure);
    }
    if (rc == 0)
        k->path[length] = '\0';
    return rc;
}

/* ---- where a field is, and how much of it ---- */

static int get_measure(struct walk *k, field *f, const char *opaque, uint32_t *ret)
{
    *ret = f->count;
    if (!f->count_bytes)
        return 0;
    uint64_t counted = get_native(opaque + f->count_offset, f->count_bytes);
    uint64_t all = counted * (f->multiply ? f->multiply : 1); /* 32 bits each */
    if (all > f->count)
        return fail(k, EINVAL, blame(k),
                    "%" PRIu64 " of them are announced and %" PRIu32 " are the most", all,
                    f->count);
    *ret = (uint32_t)all;
    return 0;
}

/* For what is to be loaded. What was there goes. */
static int allocate(struct walk *k, field *f, void **member, uint32_t measure)
{
    size_t elements = f->kind == VMIG_VMSTATE_KIND_BITMAP ? words_of(measure) : measure;
    free(*member);
    *member = elements ? calloc(elements, f->size) : NULL;
    return elements && !*member ? fail(k, ENOMEM, NULL, "out of memory") : 0;
}

static int get_base(struct walk *k, field *f, void *opaque, uint32_t measure, void **ret)
{
    bool whole = f->kind == VMIG_VMSTATE_KIND_TMP || f->kind == VMIG_VMSTATE_KIND_UNUSED;
    void *member = whole ? opaque : (char *)opaque + f->offset;
    *ret = member;
    if (!(f->flags & VMIG_VMSTATE_POINTED))
        return 0;
    bool fresh = k->reader && (f->flags & VMIG_VMSTATE_ALLOCATE);
    int rc = fresh ? allocate(k, f, member, measure) : 0;
    memcpy(ret, member, sizeof(*ret));
    if (rc == 0 && !*ret && measure)
        rc = fail(k, EINVAL, NULL, "the pointer to it is NULL");
    return rc;
}

static int walk_present(struct walk *k, const struct vmig_vmstate *vmsd, field *f, void *opaque)
{
    struct entry e = { .vmsd = vmsd, .f = f };
    uint32_t measure;
    void *base = NULL;
    int rc = get_measure(k, f, opaque, &measure);
    if (rc == 0)
        rc = get_base(k, f, opaque, measure, &base);
    if (rc < 0)
        return rc;
    e.count = is_one_element(f) || vmstate_is_container(f) ? 1 : measure;
    e.compressed = e.count > 1 && is_compressed(f, e.count, base);
    return walk_elements(k, &e, base, measure);
}

static bool is_present(field *f, void *opaque, uint32_t version)
{
    return f->exists ? f->exists(opaque, version) : f->version <= version;
}

static int walk_field(struct walk *k, const struct vmig_vmstate *vmsd, field *f, void *opaque,
                      uint32_t version)
{
    size_t length = strlen(k->path);
    snprintf(k->path + length, sizeof(k->path) - length, "%s%s", length ? "." : "", f->name);
    bool present = is_present(f, opaque, version);
    int rc = 0;
    if (f->kind == VMIG_VMSTATE_KIND_VALIDATE)
        rc = present ? 0 : fail(k, EINVAL, blame(k), "it does not hold");
    else if (present)
        rc = walk_present(k, vmsd, f, opaque);
    if (rc == 0)
        k->path[length] = '\0';
    return rc;
}

/* ---- subsections ---- */

static bool is_needed(const struct vmig_vmstate *vmsd, void *opaque)
{
    return !vmsd->needed || vmsd->needed(opaque);
}

static int save_subsection(struct walk *k, const struct vmig_vmstate *s, void *opaque)
{
    writer_u8(k->writer, QEMU_SUBSECTION);
    writer_str8(k->writer, s->name);
    writer_u32(k->writer, s->version);
    if (k->description)
        vmdesc_open(k->description, NULL, '{');
    int rc = walk_table(k, s, s->version, opaque);
    if (k->description)
        vmdesc_close(k->description, '}');
    return rc;
}

static int save_subsections(struct walk *k, const struct vmig_vmstate *vmsd, void *opaque)
{
    bool any = false;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && vmsd->subsections[i]; i++) {
        if (!is_needed(vmsd->subsections[i], opaque))
            continue;
        if (!any && k->description)
            vmdesc_open(k->description, "subsections", '[');
        any = true;
        rc = save_subsection(k, vmsd->subsections[i], opaque);
    }
    if (any && k->description)
        vmdesc_close(k->description, ']');
    return rc;
}

/* Is a subsection of @vmsd next? What follows a structure may begin with the same byte. */
static bool at_subsection(struct reader *r, const struct vmig_vmstate *vmsd)
{
    size_t length = strlen(vmsd->name);
    if (reader_peek(r) != QEMU_SUBSECTION)
        return false;
    const uint8_t *head = reader_peek_bytes(r, 2);
    if (!head || head[1] <= length)
        return false;
    head = reader_peek_bytes(r, 2 + length);
    return head && memcmp(head + 2, vmsd->name, length) == 0;
}

static const struct vmig_vmstate *find_subsection(const struct vmig_vmstate *vmsd, const char *name)
{
    for (unsigned i = 0; vmsd->subsections && vmsd->subsections[i]; i++)
        if (strcmp(vmsd->subsections[i]->name, name) == 0)
            return vmsd->subsections[i];
    return NULL;
}

static int load_subsection(struct walk *k, const struct vmig_vmstate *vmsd, void *opaque)
{
    char name[256];
    reader_u8(k->reader);
    reader_str8(k->reader, name);
    uint32_t version = reader_u32(k->reader);
    int rc = check_io(k);
    const struct vmig_vmstate *s = find_subsection(vmsd, name);
    if (rc == 0 && !s)
        rc = fail(k, EINVAL, "layout-mismatch",
                  "subsection \"%.100s\" came, which is not known here", name);
    return rc < 0 ? rc : walk_table(k, s, version, opaque);
}

static int walk_subsections(struct walk *k, const struct vmig_vmstate *vmsd, void *opaque)
{
    int rc = 0;
    if (k->writer)
        return vmsd->subsections ? save_subsections(k, vmsd, opaque) : 0;
    while (rc == 0 && at_subsection(k->reader, vmsd))
        rc = load_subsection(k, vmsd, opaque);
    return rc;
}

/* ---- tables ---- */

static int check_version(struct walk *k, const struct vmig_vmstate *vmsd, uint32_t version)
{
    if (version <= vmsd->version && version >= vmsd->minimum_version)
        return 0;
    return fail(k, EOPNOTSUPP, "format-version",
                "\"%s\" came in version %" PRIu32 " and %" PRIu32 " to %" PRIu32
                " are known here; use the same version on both sides",
                vmsd->name, version, vmsd->minimum_version, vmsd->version);
}

static int walk_fields(struct walk *k, const struct vmig_vmstate *vmsd, uint32_t version,
                       void *opaque)
{
    int rc = 0;
    if (k->description) {
        vmdesc_string(k->description, "vmsd_name", vmsd->name);
        vmdesc_number(k->description, "version", version);
        vmdesc_open(k->description, "fields", '[');
    }
    for (field *f = vmsd->fields; rc == 0 && f->name; f++)
        rc = walk_field(k, vmsd, f, opaque, version);
    if (k->description)
        vmdesc_close(k->description, ']');
    return rc < 0 ? rc : walk_subsections(k, vmsd, opaque);
}

static int load_done(struct walk *k, const struct vmig_vmstate *vmsd, uint32_t version,
                     void *opaque)
{
    struct vmig_error why = { 0 };
    int rc = vmsd->post_load ? vmsd->post_load(opaque, version, &why) : 0;
    if (rc >= 0)
        return 0;
    return fail(k, rc, why.reason[0] ? why.reason : NULL, "\"%s\" was not accepted: %.200s",
                vmsd->name, why.text[0] ? why.text : strerror(-rc));
}

static int walk_table(struct walk *k, const struct vmig_vmstate *vmsd, uint32_t version,
                      void *opaque)
{
    int rc = check_version(k, vmsd, version);
    if (rc == 0 && k->depth == VMSTATE_DEPTH_MAX)
        rc = fail(k, ELOOP, NULL, "more than %u structures within each other", VMSTATE_DEPTH_MAX);
    if (rc == 0)
        rc = hook(k, k->writer ? "pre_save" : "pre_load",
                  k->writer ? vmsd->pre_save : vmsd->pre_load, opaque);
    if (rc < 0)
        return rc;
    k->depth++;
    rc = walk_fields(k, vmsd, version, opaque);
    k->depth--;
    if (k->writer && vmsd->post_save)
        vmsd->post_save(opaque);
    return rc == 0 && k->reader ? load_done(k, vmsd, version, opaque) : rc;
}

/* ---- from outside ---- */

int vmstate_save(const struct vmig_vmstate *vmsd, void *opaque, struct writer *w,
                 struct writer *description, struct vmig_error *err)
{
    struct walk k = { .writer = w, .description = description, .err = err };
    return walk_table(&k, vmsd, vmsd->version, opaque);
}

int vmstate_save_section(const struct vmig_vmstate *vmsd, void *opaque, const char *idstr,
                         uint32_t instance_id, struct writer *w, struct writer *description,
                         struct vmig_error *err)
{
    if (description) {
        vmdesc_open(description, NULL, '{');
        vmdesc_string(description, "name", idstr);
        vmdesc_number(description, "instance_id", instance_id);
    }
    int rc = vmstate_save(vmsd, opaque, w, description, err);
    if (description)
        vmdesc_close(description, '}');
    return rc;
}

int vmstate_save_subsection(const struct vmig_vmstate *vmsd, void *opaque, struct writer *w,
                            struct vmig_error *err)
{
    struct walk k = { .writer = w, .err = err };
    return save_subsection(&k, vmsd, opaque);
}

int vmstate_load(const struct vmig_vmstate *vmsd, uint32_t version, void *opaque, struct reader *r,
                 struct vmig_error *err)
{
    struct walk k = { .reader = r, .err = err };
    return walk_table(&k, vmsd, version, opaque);
}

VMIG_EXPORT int vmig_vmstate_save(const struct vmig_vmstate *vmsd, void *opaque, void **ret_buf,
                                  size_t *ret_length_bytes, struct vmig_error *err)
{
    struct writer w;
    int rc = vmstate_check(vmsd, err);
    if (rc < 0)
        return rc;
    writer_init(&w);
    rc = vmstate_save(vmsd, opaque, &w, NULL, err);
    if (rc < 0) {
        writer_done(&w);
        return rc;
    }
    *ret_buf = w.buf;
    *ret_length_bytes = w.length;
    return 0;
}

VMIG_EXPORT int vmig_vmstate_load(const struct vmig_vmstate *vmsd, uint32_t version, void *opaque,
                                  const void *buf, size_t length_bytes, struct vmig_error *err)
{
    struct reader r;
    int rc = vmstate_check(vmsd, err);
    if (rc < 0)
        return rc;
    reader_init_memory(&r, buf, length_bytes);
    rc = vmstate_load(vmsd, version, opaque, &r, err);
    if (rc < 0 || r.offset == length_bytes)
        return rc;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream",
                     "\"%s\" ends at byte %" PRIu64 " of %zu; the source has another table",
                     vmsd->name, r.offset, length_bytes);
}
