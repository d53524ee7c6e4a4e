/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of a VMDESCRIPTION, written in order into a growing buffer, with QEMU's spacing. It is text
 * and no json_t: a list's field has the same keys once for each element, which no tree of values holds.
 */
#ifndef LIB_STREAM_VMDESC_WRITE_H
#define LIB_STREAM_VMDESC_WRITE_H

#include <stdbool.h>
#include "lib/stream/writer.h"

/* '{' or '[', as the value of @key or, with NULL, as an element. */
void vmdesc_open(struct writer *text, const char *key, char bracket);
void vmdesc_close(struct writer *text, char bracket);
void vmdesc_string(struct writer *text, const char *key, const char *value);
void vmdesc_number(struct writer *text, const char *key, uint64_t value);

/* The root object up to the opened list of devices. @has_uuid: the configuration has that subsection. */
void vmdesc_begin(struct writer *text, const char *machine, bool has_uuid, uint32_t page_size);
/* More elements, from another text. */
void vmdesc_append(struct writer *text, const struct writer *elements);
/* What has a length and no table: a FULL section of which @length_bytes are opaque. */
void vmdesc_add_opaque(struct writer *text, const char *idstr, uint32_t instance_id,
                       uint64_t length_bytes);

/* The record: type byte, length, text with the end of the devices and of the root object. Readers look
 * for its beginning as the first brace after the last zero byte, so a length that has a brace of its own
 * after a zero byte is avoided by spaces at the end.
 * Its last member, "digest", is ours: nothing is decided by a description, but that a file was changed
 * should not go unnoticed. */
void vmdesc_finish(struct writer *w, struct writer *text);
/* Is @text, as it stands in the stream, what vmdesc_finish() made? */
bool vmdesc_is_intact(const char *text, size_t length_bytes);

#endif
