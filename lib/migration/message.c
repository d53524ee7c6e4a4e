/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <xxhash.h>

#include "lib/migration/message.h"

static uint64_t check_of(uint16_t type, uint16_t length)
{
    uint8_t head[4] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(length >> 8),
                        (uint8_t)length };
    return XXH3_64bits(head, sizeof(head));
}

void message_write(struct writer *w, uint16_t type, const void *content, uint16_t length_bytes)
{
    uint16_t length = (uint16_t)(length_bytes + MESSAGE_FRAME_BYTES);
    writer_u16(w, type);
    writer_u16(w, length);
    writer_u64(w, check_of(type, length));
    writer_bytes(w, content, length_bytes);
}

int message_read(struct reader *r, uint16_t type, uint16_t length, void *ret)
{
    uint64_t check = reader_u64(r);
    if (reader_failed(r))
        return r->error;
    if (length < MESSAGE_FRAME_BYTES || check != check_of(type, length))
        return -EBADMSG;
    reader_bytes(r, ret, length - MESSAGE_FRAME_BYTES);
    uint64_t digest = XXH3_64bits_digest(r->digest);
    bool equal = reader_u64(r) == digest;
    if (reader_failed(r))
        return r->error;
    return equal ? (int)(length - MESSAGE_FRAME_BYTES) : -EBADMSG;
}
