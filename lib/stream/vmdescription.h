/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON at the end of a stream, which says how long each FULL section's payload is. Without it a
 * payload that is not understood can only be skipped by searching for its footer.
 */
#ifndef LIB_STREAM_VMDESCRIPTION_H
#define LIB_STREAM_VMDESCRIPTION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>
#include <vfio-migrate/error.h>

/* QEMU's own script looks at the last 10 MiB of a file; real ones have 100 KiB. */
#define VMDESC_MAX_BYTES (10u << 20)
#define VMDESC_DEVICES_MAX 4096u
/* Subsections within subsections; QEMU's devices nest two or three. */
#define VMDESC_DEPTH_MAX 16u

struct vmdesc_device {
    char idstr[256];
    uint32_t instance_id;
    uint64_t length_bytes; /* of the FULL section's payload */
    const json_t *json;    /* for vmdesc_decode(); the description's */
};

struct vmdesc {
    uint32_t page_size; /* of the target; 0: not said */
    unsigned count;
    struct vmdesc_device *devices; /* owned, in the stream's order */
    json_t *root;                  /* owned */
};

/* @text as it stands in the stream. -EINVAL: no such description; -E2BIG: over our bounds. @ret is
 * done with by the caller after success. */
int vmdesc_parse(struct vmdesc *ret, const char *text, size_t length_bytes, struct vmig_error *err);
void vmdesc_done(struct vmdesc *d);
/* NULL when it is not described. */
const struct vmdesc_device *vmdesc_find(const struct vmdesc *d, const char *idstr,
                                        uint32_t instance_id);

/* Find a description that ends exactly at the end of a recorded stream, or of the end piece of one.
 * Returns the offset of its type byte in @buf; the text begins 5 bytes later. -ENOENT: none. */
ssize_t vmdesc_locate(const uint8_t *buf, size_t length_bytes);

#endif
