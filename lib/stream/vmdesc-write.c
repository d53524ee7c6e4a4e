/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "lib/stream/qemu.h"
#include "lib/stream/vmdesc-write.h"

static void raw(struct writer *text, const char *s)
{
    writer_bytes(text, s, strlen(s));
}

/* Bytes from 128 on are left to be UTF-8, as names on the wire may be. */
static void quoted(struct writer *text, const char *s)
{
    char escaped[8];
    writer_u8(text, '"');
    for (; *s; s++) {
        bool plain = (uint8_t)*s >= ' ' && *s != '"' && *s != '\\';
        snprintf(escaped, sizeof(escaped), plain ? "%c" : "\\u%04x", (uint8_t)*s);
        raw(text, escaped);
    }
    writer_u8(text, '"');
}

/* A comma, unless this is the first of its kind; then the key. */
static void begin(struct writer *text, const char *key)
{
    bool first = !text->length || strchr("{[", text->buf[text->length - 1]);
    if (!first)
        raw(text, ", ");
    if (key) {
        quoted(text, key);
        raw(text, ": ");
    }
}

void vmdesc_open(struct writer *text, const char *key, char bracket)
{
    begin(text, key);
    writer_u8(text, (uint8_t)bracket);
}

void vmdesc_close(struct writer *text, char bracket)
{
    writer_u8(text, (uint8_t)bracket);
}

void vmdesc_string(struct writer *text, const char *key, const char *value)
{
    begin(text, key);
    quoted(text, value);
}

void vmdesc_number(struct writer *text, const char *key, uint64_t value)
{
    char digits[24];
    begin(text, key);
    snprintf(digits, sizeof(digits), "%" PRIu64, value);
    raw(text, digits);
}

static void field(struct writer *text, const char *name, const char *type, uint64_t size)
{
    vmdesc_open(text, NULL, '{');
    vmdesc_string(text, "name", name);
    vmdesc_string(text, "type", type);
    vmdesc_number(text, "size", size);
    vmdesc_close(text, '}');
}

static void describe_uuid(struct writer *text)
{
    vmdesc_open(text, "subsections", '[');
    vmdesc_open(text, NULL, '{');
    vmdesc_string(text, "vmsd_name", "configuration/uuid");
    vmdesc_number(text, "version", 1);
    vmdesc_open(text, "fields", '[');
    field(text, "uuid", "buffer", 16);
    vmdesc_close(text, ']');
    vmdesc_close(text, '}');
    vmdesc_close(text, ']');
}

/* As it stands at the stream's beginning. */
static void configuration(struct writer *text, const char *machine, bool has_uuid)
{
    vmdesc_open(text, "configuration", '{');
    vmdesc_string(text, "vmsd_name", "configuration");
    vmdesc_number(text, "version", 1);
    vmdesc_open(text, "fields", '[');
    field(text, "len", "uint32", 4);
    field(text, "name", "buffer", strlen(machine));
    vmdesc_close(text, ']');
    if (has_uuid)
        describe_uuid(text);
    vmdesc_close(text, '}');
}

void vmdesc_begin(struct writer *text, const char *machine, bool has_uuid, uint32_t page_size)
{
    vmdesc_open(text, NULL, '{');
    configuration(text, machine, has_uuid);
    vmdesc_number(text, "page_size", page_size);
    vmdesc_open(text, "devices", '[');
}

void vmdesc_append(struct writer *text, const struct writer *elements)
{
    if (elements->length)
        begin(text, NULL);
    writer_bytes(text, elements->buf, elements->length);
    if (elements->error && !text->error)
        text->error = elements->error;
}

void vmdesc_add_opaque(struct writer *text, const char *idstr, uint32_t instance_id,
                       uint64_t length_bytes)
{
    vmdesc_open(text, NULL, '{');
    vmdesc_string(text, "name", idstr);
    vmdesc_number(text, "instance_id", instance_id);
    vmdesc_number(text, "size", length_bytes);
    vmdesc_open(text, "fields", '[');
    vmdesc_open(text, NULL, '{');
    vmdesc_string(text, "name", "data");
    vmdesc_number(text, "size", length_bytes);
    vmdesc_string(text, "type", "buffer");
    vmdesc_close(text, '}');
    vmdesc_close(text, ']');
    vmdesc_close(text, '}');
}

static bool misleads(uint32_t length)
{
    const uint8_t bytes[4] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16),
                               (uint8_t)(length >> 8), (uint8_t)length };
    bool brace = false;
    for (unsigned i = 0; i < 4; i++)
        brace = bytes[i] && (brace || bytes[i] == '{');
    return brace;
}

/* Behind everything else; XXH3 of the text before it, with the record's length as the seed. */
#define SEAL "], \"digest\": \"%016" PRIx64 "\"}"
#define SEAL_BYTES 32u

void vmdesc_finish(struct writer *w, struct writer *text)
{
    char seal[SEAL_BYTES + 1];
    uint32_t length = (uint32_t)text->length + SEAL_BYTES, spaces = 0;
    while (misleads(length + spaces))
        spaces++;
    length += spaces;
    snprintf(seal, sizeof(seal), SEAL, XXH3_64bits_withSeed(text->buf, text->length, length));
    raw(text, seal);
    writer_u8(w, QEMU_VMDESCRIPTION);
    writer_u32(w, length);
    writer_bytes(w, text->buf, text->length);
    for (; spaces; spaces--)
        writer_u8(w, ' ');
    if (text->error && !w->error)
        w->error = text->error;
}

bool vmdesc_is_intact(const char *text, size_t length_bytes)
{
    char seal[SEAL_BYTES + 1];
    size_t end = length_bytes;
    while (end && text[end - 1] == ' ')
        end--;
    if (end < SEAL_BYTES)
        return false;
    end -= SEAL_BYTES;
    snprintf(seal, sizeof(seal), SEAL, XXH3_64bits_withSeed(text, end, length_bytes));
    return memcmp(text + end, seal, SEAL_BYTES) == 0;
}
