/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that reads streams, on any bytes. The first byte picks the parser, the rest is its
 * input. Beyond "no harm" this checks what must hold for any input: bytes that come in small pieces
 * give the same result at the same offset as all at once.
 */
#include <string.h>
#include <xxhash.h>

#include "fuzz/fuzz.h"
#include "lib/stream/inspect.h"

struct pieces {
    const uint8_t *bytes;
    size_t length, at;
    unsigned step;
};

static ssize_t fill(void *opaque, void *buf, size_t size)
{
    struct pieces *p = opaque;
    size_t n = p->step++ % 143 + 1;
    n = n < size ? n : size;
    n = n < p->length - p->at ? n : p->length - p->at;
    if (n)
        memcpy(buf, p->bytes + p->at, n);
    p->at += n;
    return (ssize_t)n;
}

/* ---- whole streams ---- */

/* What a walk told, as one number. */
struct told {
    XXH64_hash_t hash;
};

static void note(struct told *t, const void *bytes, size_t length)
{
    t->hash = XXH64(bytes, length, t->hash);
}

static void note_number(struct told *t, uint64_t number)
{
    note(t, &number, sizeof(number));
}

static int on_configuration(void *opaque, const struct qemu_stream *stream, uint64_t offset,
                            uint64_t length, struct vmig_error *err)
{
    (void)err;
    note(opaque, stream->machine, strlen(stream->machine));
    note_number(opaque, offset + length);
    return 0;
}

static int on_block(void *opaque, const struct qemu_ram_block *block, struct vmig_error *err)
{
    (void)err;
    note(opaque, block->name, strlen(block->name));
    note_number(opaque, block->used_length ^ block->addr);
    return 0;
}

static int on_record(void *opaque, const struct qemu_section *section,
                     const struct inspect_record *record, struct vmig_error *err)
{
    (void)err;
    note_number(opaque, section->section_id);
    note_number(opaque, record->offset);
    note_number(opaque, record->length_bytes);
    return 0;
}

/* Data may be cut differently: only the sum of its bytes is the same. */
static int on_data(void *opaque, const struct qemu_section *section, const void *buf, size_t length,
                   struct vmig_error *err)
{
    (void)section;
    (void)err;
    struct told *t = opaque;
    for (size_t i = 0; i < length; i++)
        t->hash += ((const uint8_t *)buf)[i];
    return 0;
}

static int on_config(void *opaque, const struct qemu_section *section,
                     const struct vmig_pci_state *config, struct vmig_error *err)
{
    (void)section;
    (void)err;
    note(opaque, config, sizeof(*config));
    return 0;
}

static int on_manifest(void *opaque, const struct manifest *manifest, struct vmig_error *err)
{
    (void)err;
    note_number(opaque, manifest->count);
    return 0;
}

static int on_values(void *opaque, const struct qemu_section *section, const json_t *values,
                     struct vmig_error *err)
{
    (void)section;
    (void)err;
    MUST(json_is_object(values));
    note_number(opaque, json_object_size(values));
    return 0;
}

static int on_section(void *opaque, const struct inspect_section *s, struct vmig_error *err)
{
    (void)err;
    MUST(s->payload_offset + s->payload_length + (s->footer ? 5 : 0) ==
         s->section->offset + s->length);
    note_number(opaque, s->length);
    note_number(opaque, s->zero_items << 32 | s->page_items);
    return 0;
}

static int on_command(void *opaque, const struct qemu_section *section, const void *data,
                      struct vmig_error *err)
{
    (void)err;
    note(opaque, data, section->length);
    return 0;
}

static int on_end(void *opaque, uint64_t eof_offset, uint64_t description_offset,
                  uint32_t description_length, struct vmig_error *err)
{
    (void)err;
    note_number(opaque, eof_offset + description_offset + description_length);
    return 0;
}

static const struct inspect_ops ops = {
    .configuration = on_configuration,
    .ram_block = on_block,
    .vfio_record = on_record,
    .vfio_data = on_data,
    .vfio_config = on_config,
    .manifest = on_manifest,
    .values = on_values,
    .section = on_section,
    .command = on_command,
    .end = on_end,
};

static void try_stream(const uint8_t *data, size_t size)
{
    struct told whole = { 0 }, cut = { 0 };
    struct vmig_error a = { 0 }, b = { 0 };
    struct pieces p = { .bytes = data, .length = size };
    struct reader reader;
    struct vmdesc desc;
    int rc = inspect_memory(data, size, &ops, &whole, &a);
    MUST(rc == a.code);
    ssize_t at = vmdesc_locate(data, size);
    bool have = at >= 0 &&
                vmdesc_parse(&desc, (const char *)data + at + 5, size - (size_t)at - 5, NULL) == 0;
    if (reader_init_fill(&reader, fill, &p) == 0) {
        MUST(inspect_stream(&reader, have ? &desc : NULL, &ops, &cut, &b) == rc);
        MUST(whole.hash == cut.hash);
        MUST(strcmp(a.text, b.text) == 0);
    }
    reader_done(&reader);
    if (have)
        vmdesc_done(&desc);
}

/* ---- parts ---- */

static int on_message(void *opaque, const struct inspect_return *m, struct vmig_error *err)
{
    (void)err;
    size_t *size = opaque;
    MUST(m->offset + 4 + m->length <= *size);
    return 0;
}

static void try_return_path(const uint8_t *data, size_t size)
{
    struct reader reader;
    reader_init_memory(&reader, data, size);
    inspect_return_path(&reader, on_message, &size, NULL);
}

static void try_description(const uint8_t *data, size_t size)
{
    struct vmdesc desc;
    if (vmdesc_parse(&desc, (const char *)data, size, NULL) == 0)
        vmdesc_done(&desc);
}

static void (*const parsers[])(const uint8_t *data, size_t size) = {
    try_stream,
    try_return_path,
    try_description,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        parsers[data[0] % (sizeof(parsers) / sizeof(parsers[0]))](data + 1, size - 1);
    return 0;
}
