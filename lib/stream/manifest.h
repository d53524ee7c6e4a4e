/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The manifest: what the source says it sent, so that the target can refuse what it did not get. A
 * FULL section of our own at the end of the main channel, followed only by VMState sections, which are
 * not shown to anybody before it has proved them; vfio-migrate-stream(5) has its layout. It
 * ends with a digest of the whole stream up to there, itself included.
 * QEMU refuses it as an unknown section: it goes out only to peers that negotiated it, or into
 * files for ourselves.
 */
#ifndef LIB_STREAM_MANIFEST_H
#define LIB_STREAM_MANIFEST_H

#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

#define MANIFEST_IDSTR "vfio-migrate/manifest"
#define MANIFEST_VERSION 2u

/* A migration has at most VMIG_DEVICES_MAX devices and a few others; this leaves room for more. */
#define MANIFEST_ENTRIES_MAX 1024u

/* Numbers on the wire. */
enum manifest_kind {
    MANIFEST_RAM = 0,
    MANIFEST_DEVICE = 1,
    MANIFEST_OTHER = 2,
    MANIFEST_VMSTATE = 3, /* a section that follows the manifest */
    MANIFEST_KINDS
};

struct manifest_entry {
    char id[256]; /* not empty, unique */
    enum manifest_kind kind;
    uint64_t length_bytes;   /* of the participant's data */
    uint64_t digest;         /* XXH3, 64 bits, of the data as sent; RAM: 0 where it was not taken */
    uint32_t format_version; /* of the participant's data; 0: the participant's own secret */
    char identity[256];      /* must be the same on both sides; "" where anything goes */
};

struct manifest {
    uint8_t identity[16]; /* of this stream: a file is not mistaken for another's end */
    unsigned count, size;
    struct manifest_entry *entries; /* owned */
};

/* A random UUID (version 4). -errno of getrandom. */
int manifest_new_identity(uint8_t ret[16], struct vmig_error *err);

void manifest_init(struct manifest *m, const uint8_t identity[16]);
void manifest_done(struct manifest *m);
/* Copy @entry. -EINVAL (id empty or taken, kind), -E2BIG (over MANIFEST_ENTRIES_MAX), -ENOMEM. */
int manifest_add(struct manifest *m, const struct manifest_entry *entry, struct vmig_error *err);

/* NULL: there is none of that name. */
const struct manifest_entry *manifest_find(const struct manifest *m, const char *id);

/* Of the payload, digest included. */
uint64_t manifest_bytes(const struct manifest *m);
/* The section up to its digest; then the digest of the stream up to there, and the footer. */
void manifest_write(struct writer *w, uint32_t section_id, const struct manifest *m);
void manifest_seal(struct writer *w, uint32_t section_id, uint64_t digest);
/* The payload, after qemu_read_section() told of a FULL of that name; the footer is the caller's.
 * @ret is set up by this and done with by the caller, after a failure too. Also -EOPNOTSUPP when
 * @version_id is not MANIFEST_VERSION, and -EBADMSG when @r has taken a digest of the stream and it
 * is another. */
int manifest_read(struct reader *r, uint32_t version_id, struct manifest *ret,
                  struct vmig_error *err);

/* 0 when what @arrived is what was @sent, in whatever order; else -EBADMSG with a message that
 * names the participant and gives both numbers. */
int manifest_compare(const struct manifest *sent, const struct manifest *arrived,
                     struct vmig_error *err);

#endif
