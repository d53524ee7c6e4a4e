/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/error.h"
#include "lib/stream/reader.h"

/* Items are 9 bytes to a page; 64 KiB makes system calls rare and keeps a migration's many readers
 * small. It must hold READER_PEEK_MAX. */
#define READER_BUFFER_BYTES 65536u
/* Smaller reads go through the buffer. */
#define READER_DIRECT_BYTES 4096u
_Static_assert(READER_BUFFER_BYTES >= READER_PEEK_MAX, "what can be looked at fits");

void reader_init_memory(struct reader *r, const void *buf, size_t length_bytes)
{
    *r = (struct reader) {
        .buf = (uint8_t *)(uintptr_t)buf, /* never written through: there is no fill */
        .size = length_bytes,
        .tail = length_bytes,
    };
}

int reader_init_fill(struct reader *r, reader_fill fill, void *opaque)
{
    *r = (struct reader) { .fill = fill, .opaque = opaque, .size = READER_BUFFER_BYTES };
    r->buf = malloc(r->size);
    r->error = r->buf ? 0 : -ENOMEM;
    return r->error;
}

void reader_done(struct reader *r)
{
    if (r->fill)
        free(r->buf);
    *r = (struct reader) { .error = -EBADF };
}

bool reader_failed(const struct reader *r)
{
    return r->error != 0;
}

void reader_fail_at(struct reader *r, uint64_t offset, int error)
{
    if (r->error)
        return;
    r->error = error < 0 ? error : -EINVAL;
    r->offset = offset;
    r->head = r->tail;
}

void reader_fail(struct reader *r, int error)
{
    reader_fail_at(r, r->offset, error);
}

int reader_error(const struct reader *r, const char *what, struct vmig_error *err)
{
    if (!r->error)
        return 0;
    const char *why = r->error == -ENODATA      ? "the stream ends in the middle of it"
                      : r->error == -EINVAL     ? "it is malformed"
                      : r->error == -EOPNOTSUPP ? "it uses a feature that is not supported"
                                                : strerror(-r->error);
    bool damaged = r->error == -ENODATA || r->error == -EINVAL;
    return error_set(err, r->error, VMIG_STAGE_NONE, NULL, damaged ? "bad-stream" : NULL,
                     "offset %" PRIu64 ": %s: %s", r->offset, what, why);
}

/* One call of the fill function; > 0, 0 at the end, or negative. */
static ssize_t fetch(struct reader *r, void *buf, size_t size)
{
    if (!r->fill)
        return 0;
    ssize_t n = r->fill(r->opaque, buf, size);
    return n > 0 && (size_t)n > size ? -EIO : n;
}

static size_t available(const struct reader *r)
{
    return r->tail - r->head;
}

/* Have @want bytes in the buffer. 0 when they are there, -ENODATA at the end, or the fill's error;
 * changes neither offset nor error. */
static int buffer_bytes(struct reader *r, size_t want)
{
    if (available(r) < want && r->fill && r->size - r->head < want) {
        memmove(r->buf, r->buf + r->head, available(r));
        r->tail -= r->head;
        r->head = 0;
    }
    while (available(r) < want) {
        ssize_t n = fetch(r, r->buf + r->tail, r->size - r->tail);
        if (n <= 0)
            return n < 0 ? (int)n : -ENODATA;
        r->tail += (size_t)n;
    }
    return 0;
}

static void consume(struct reader *r, size_t length)
{
    if (r->digest && length)
        digest_update(r->digest, r->buf + r->head, length);
    r->head += length;
    r->offset += length;
    if (r->fill && r->head == r->tail)
        r->head = r->tail = 0;
}

/* Take @length (at most 8) bytes as a big-endian number. */
static uint64_t number(struct reader *r, size_t length)
{
    if (r->error)
        return 0;
    int rc = buffer_bytes(r, length);
    if (rc < 0) {
        reader_fail(r, rc);
        return 0;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < length; i++)
        v = v << 8 | r->buf[r->head + i];
    consume(r, length);
    return v;
}

uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)number(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
    return (uint16_t)number(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
    return (uint32_t)number(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
    return number(r, 8);
}

/* Move bytes to @to: first what the buffer holds, then from the source directly, so that a page or
 * a megabyte of device data is copied once. */
static int take(struct reader *r, uint8_t *to, size_t length)
{
    size_t n = available(r) < length ? available(r) : length;
    if (n > 0)
        memcpy(to, r->buf + r->head, n);
    consume(r, n);
    while (n < length) {
        size_t rest = length - n;
        if (rest < READER_DIRECT_BYTES) {
            int rc = buffer_bytes(r, rest);
            if (rc < 0)
                return rc;
            memcpy(to + n, r->buf + r->head, rest);
            consume(r, rest);
            return 0;
        }
        ssize_t got = fetch(r, to + n, rest);
        if (got <= 0)
            return got < 0 ? (int)got : -ENODATA;
        if (r->digest)
            digest_update(r->digest, to + n, (size_t)got);
        n += (size_t)got;
        r->offset += (uint64_t)got;
    }
    return 0;
}

void reader_bytes(struct reader *r, void *buf, size_t length_bytes)
{
    uint64_t start = r->offset;
    int rc = r->error ? r->error : take(r, buf, length_bytes);
    if (rc < 0) {
        reader_fail_at(r, start, rc);
        if (length_bytes)
            memset(buf, 0, length_bytes);
    }
}

void reader_skip(struct reader *r, uint64_t length_bytes)
{
    uint64_t start = r->offset;
    while (!r->error && length_bytes > 0) {
        int rc = available(r) ? 0 : buffer_bytes(r, 1);
        if (rc < 0) {
            reader_fail_at(r, start, rc);
            return;
        }
        size_t n = available(r) < length_bytes ? available(r) : (size_t)length_bytes;
        consume(r, n);
        length_bytes -= n;
    }
}

void reader_str8(struct reader *r, char ret[256])
{
    uint64_t start = r->offset;
    size_t length = reader_u8(r);
    reader_bytes(r, ret, length);
    if (r->error) {
        r->offset = start;
        length = 0;
    } else if (memchr(ret, '\0', length)) {
        reader_fail_at(r, start, -EINVAL);
        length = 0;
    }
    ret[length] = '\0';
}

const uint8_t *reader_peek_bytes(struct reader *r, size_t length_bytes)
{
    if (r->error || length_bytes > READER_PEEK_MAX)
        return NULL;
    int rc = buffer_bytes(r, length_bytes);
    if (rc < 0 && rc != -ENODATA)
        reader_fail(r, rc);
    return rc < 0 ? NULL : r->buf + r->head;
}

int reader_peek(struct reader *r)
{
    const uint8_t *byte = reader_peek_bytes(r, 1);
    return byte ? *byte : -1;
}
