/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands and messages of ours, made by hand: @w holds all that was said in this direction. */
#ifndef TESTS_MIGRATION_BY_HAND_H
#define TESTS_MIGRATION_BY_HAND_H

#include <xxhash.h>
#include "lib/migration/message.h"
#include "lib/stream/qemu.h"

static inline void by_hand_return(struct writer *w, uint16_t type, const void *content,
                                  size_t length_bytes)
{
    message_write(w, type, content, (uint16_t)length_bytes);
    writer_u64(w, XXH3_64bits(w->buf, w->length));
}

static inline void by_hand_command(struct writer *w, uint16_t command, const void *content,
                                   size_t length_bytes)
{
    writer_u8(w, QEMU_COMMAND);
    by_hand_return(w, command, content, length_bytes);
}

#endif
