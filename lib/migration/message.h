/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own commands and return messages, inside QEMU's heads of type and length. What QEMU calls the
 * data is here u64 check, content, u64 digest: the check is of the head alone, so that nobody waits
 * for bytes that a damaged length promises; the digest is of everything that the main channel
 * carried in this direction up to here, so that no decision follows from damaged bytes, whatever
 * they were: headers, sections, configurations, or the message itself. The contents of memory pages
 * are left out; they have digests of their own (ram-digest).
 */
#ifndef LIB_MIGRATION_MESSAGE_H
#define LIB_MIGRATION_MESSAGE_H

#include <stdbool.h>
#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

/* Numbers from here on are ours and have check and digest; QEMU's own have neither. */
#define MESSAGE_OURS 0x5600u
/* What check and digest add to a message's length. */
#define MESSAGE_FRAME_BYTES 16u
#define MESSAGE_CONTENT_MAX (UINT16_MAX - MESSAGE_FRAME_BYTES)

static inline bool message_is_ours(uint16_t type)
{
    return type >= MESSAGE_OURS;
}

/* Type, length, check and content: everything in front of the digest. */
void message_write(struct writer *w, uint16_t type, const void *content, uint16_t length_bytes);

/* The rest of a message of ours whose head was read; @length as the head says. The content goes to
 * @ret (MESSAGE_CONTENT_MAX bytes). Its length; -EBADMSG: damaged; or why the reader failed. The
 * reader must have a digest. */
int message_read(struct reader *r, uint16_t type, uint16_t length, void *ret);

#endif
