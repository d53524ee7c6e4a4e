/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values by name from a FULL section's bytes and its description alone, whatever device it is.
 *
 * A list's field in a description has the same keys once for each element ("vmsd_name", "version",
 * "fields", "subsections"), of which a JSON object would keep the last. So the text is gone over before
 * it is parsed, and the keys of an object's second body become "vmsd_name#1" and so on.
 */
#ifndef LIB_STREAM_VMDESC_DECODE_H
#define LIB_STREAM_VMDESC_DECODE_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include <vfio-migrate/error.h>

/* Values that one section may have: a description of some bytes can announce a lot of nothing. */
#define VMDESC_VALUES_MAX (1u << 20)
/* Brackets within brackets, three for each structure in a structure. */
#define VMDESC_BRACKETS_MAX 128u
/* Structures within structures. */
#define VMDESC_STRUCTS_MAX 32u

/* -EINVAL: no JSON; -E2BIG: over our bounds; -ENOMEM. The caller owns *ret. */
int vmdesc_load(const char *text, size_t length_bytes, json_t **ret, struct vmig_error *err);

/* @device: an element of "devices", loaded by vmdesc_load(). *ret, the caller's, is an object with a
 * member for each field: numbers (those beyond json's int64 as "0x..."), true and false, strings of two
 * hexadecimal digits a byte for buffers and for what is not known here, arrays, objects; "NAME/SUB"
 * for each subsection, null for an element that is not there. Lists are arrays; trees are arrays of
 * {"key", "value"}.
 * -EINVAL: the bytes and the description do not fit exactly; the message names the field and the
 * offset, counted from @offset. -E2BIG: over our bounds. */
int vmdesc_decode(const json_t *device, const void *buf, size_t length_bytes, uint64_t offset,
                  json_t **ret, struct vmig_error *err);

#endif
