/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading untrusted bytes in order: typed gets that fail once, stay failed, and are checked at the
 * end. A reader stands on a source (a memory buffer, or a fill function that blocks on a channel)
 * and counts its offset from the start of the stream for messages.
 */
#ifndef LIB_STREAM_READER_H
#define LIB_STREAM_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <vfio-migrate/error.h>

/* Read up to @size bytes: count > 0, 0 at the end, negative errno. */
typedef ssize_t (*reader_fill)(void *opaque, void *buf, size_t size);

struct reader {
    reader_fill fill;
    void *opaque;
    uint8_t *buf;            /* owned when fill is set; borrowed for a memory reader */
    size_t size, head, tail; /* unread bytes are buf[head, tail) */
    uint64_t offset;         /* of buf[head] in the stream; after a failure, where it began */
    int error;               /* 0, or the first failure as negative errno; -ENODATA: cut short */
    /* Takes in all bytes that are taken while it is set; the caller's (XXH3_state_t), or NULL. */
    struct XXH3_state_s *digest;
};

void reader_init_memory(struct reader *r, const void *buf, size_t length_bytes);
int reader_init_fill(struct reader *r, reader_fill fill, void *opaque);
void reader_done(struct reader *r);

/* Big-endian gets; 0 once failed. */
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* str8: one length byte, then that many; NUL-terminated into @ret[256]. A NUL inside fails -EINVAL.
 */
void reader_str8(struct reader *r, char ret[256]);
void reader_bytes(struct reader *r, void *buf,
                  size_t length_bytes); /* large reads skip the buffer */
void reader_skip(struct reader *r, uint64_t length_bytes);
/* Next byte without taking it; -1 at the end of the stream or after a failure. Blocks for it. */
int reader_peek(struct reader *r);
/* Look at @length_bytes (at most READER_PEEK_MAX) without taking them; NULL when cut short or
 * failed. An end of the stream met by looking is no failure. */
#define READER_PEEK_MAX 40960u /* a VFIO config body with all MSI-X vectors fits */
const uint8_t *reader_peek_bytes(struct reader *r, size_t length_bytes);
bool reader_failed(const struct reader *r);
void reader_fail(struct reader *r, int error); /* the first one stays */
/* The same, and the failure began at @offset rather than here. */
void reader_fail_at(struct reader *r, uint64_t offset, int error);
/* 0 while nothing failed; else the failure, with a message "offset N: WHAT: ..." in @err. */
int reader_error(const struct reader *r, const char *what, struct vmig_error *err);

#endif
