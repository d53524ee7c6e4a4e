/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing a stream in order into a growing buffer (bounded by the caller's flushes), big-endian.
 * Like the reader it fails once and stays failed (-ENOMEM). */
#ifndef LIB_STREAM_WRITER_H
#define LIB_STREAM_WRITER_H

#include <stddef.h>
#include <stdint.h>

struct writer {
    uint8_t *buf;
    size_t size, length;
    int error;
    uint8_t *room; /* the caller's, in which it began; or NULL */
};

void writer_init(struct writer *w);
/* Begin in @room, which outlives @w: what fits there does not need memory. */
void writer_init_in(struct writer *w, uint8_t *room, size_t size);
void writer_done(struct writer *w);
void writer_reset(struct writer *w); /* empty, keep the memory */
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);
void writer_str8(struct writer *w, const char *s); /* over 255 bytes fails -ENAMETOOLONG */
void writer_bytes(struct writer *w, const void *buf, size_t length_bytes);

#endif
