/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/stream/writer.h"

void writer_init(struct writer *w)
{
    *w = (struct writer) { 0 };
}

void writer_init_in(struct writer *w, uint8_t *room, size_t size)
{
    *w = (struct writer) { .buf = room, .size = size, .room = room };
}

void writer_done(struct writer *w)
{
    if (w->buf != w->room)
        free(w->buf);
    *w = (struct writer) { 0 };
}

void writer_reset(struct writer *w)
{
    w->length = 0;
    w->error = 0;
}

static bool enlarge(struct writer *w, size_t size)
{
    bool owned = w->buf != w->room;
    uint8_t *buf = realloc(owned ? w->buf : NULL, size);
    if (!buf) {
        w->error = -ENOMEM;
        return false;
    }
    if (!owned && w->length)
        memcpy(buf, w->buf, w->length);
    w->buf = buf;
    w->size = size;
    return true;
}

/* Room for @more bytes; NULL once failed. */
static uint8_t *grow(struct writer *w, size_t more)
{
    size_t need, size;
    if (w->error)
        return NULL;
    if (__builtin_add_overflow(w->length, more, &need)) {
        w->error = -ENOMEM;
        return NULL;
    }
    if (need > w->size) {
        size = w->size ? w->size : 256;
        while (size < need)
            if (__builtin_mul_overflow(size, (size_t)2, &size))
                size = need;
        if (!enlarge(w, size))
            return NULL;
    }
    uint8_t *at = w->buf + w->length;
    w->length = need;
    return at;
}

static void number(struct writer *w, uint64_t v, size_t length)
{
    uint8_t *at = grow(w, length);
    for (size_t i = 0; at && i < length; i++)
        at[i] = (uint8_t)(v >> (8 * (length - 1 - i)));
}

void writer_u8(struct writer *w, uint8_t v)
{
    number(w, v, 1);
}

void writer_u16(struct writer *w, uint16_t v)
{
    number(w, v, 2);
}

void writer_u32(struct writer *w, uint32_t v)
{
    number(w, v, 4);
}

void writer_u64(struct writer *w, uint64_t v)
{
    number(w, v, 8);
}

void writer_bytes(struct writer *w, const void *buf, size_t length_bytes)
{
    uint8_t *at = length_bytes ? grow(w, length_bytes) : NULL;
    if (at)
        memcpy(at, buf, length_bytes);
}

void writer_str8(struct writer *w, const char *s)
{
    size_t length = strlen(s);
    if (length > 255) {
        if (!w->error)
            w->error = -ENAMETOOLONG;
        return;
    }
    writer_u8(w, (uint8_t)length);
    writer_bytes(w, s, length);
}
