/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bulk state format (profiles default, pds, xe, mlx5 and virtio): a sequence of records
 *
 *     header 32 bytes | payload | 8 bytes digest of header and payload, begun with the sequence
 *                                 number of the record, so that none can be left out or moved
 *
 *     0 u64 magic    8 u32 type    12 u32 sequence    16 u64 first    24 u64 payload bytes
 *
 * in host byte order (the magic tells a foreign one). All numbers of the sequence:
 *
 *     HEADER   once, first: what the target must match (struct of u64, below)
 *     PAGES    a run of local memory pages from page `first`; a later one replaces an earlier
 *     DEVICE   once: registers, config space, MSI-X table
 *     SHARED   once: BAR 2
 *     END      once, last: the bytes of all records before this one
 *
 * In PRE_COPY the HEADER and every page come once (initial bytes), then pages that were written
 * again (dirty bytes). A client that opted in may be told that every page comes once more, as new
 * initial bytes. The rest follows in STOP_COPY. Digests are taken as the bytes go out, so a
 * page that is written while its record is under way is no contradiction: it comes again.
 *
 * With REFDEV_QUIRK_IMAGES (mlx5, virtio) each record is the image in a frame, which is what a
 * loader of those drivers looks at:
 *
 *     0 u64 bytes that follow    8 u32 flags (bit 0: may be skipped)    12 u32 tag
 *
 *     tag 0   a record as above; one larger than any can be is -ENOMEM
 *     tag 1   once, first, may be skipped: u64 the bytes to expect
 *     others  skipped where they may be, else -EOPNOTSUPP
 */
#ifndef REFDEV_MODEL_STREAM_BULK_H
#define REFDEV_MODEL_STREAM_BULK_H

#include "refdev/model/internal.h"

#define BULK_MAGIC 0x0a31304c4b425652ull /* "RVBKL01\n" */
#define BULK_VERSION 1ull

enum bulk_type {
    BULK_HEADER = 1,
    BULK_PAGES,
    BULK_DEVICE,
    BULK_SHARED,
    BULK_END,
};

/* HEADER's payload, word by word. */
enum bulk_header_word {
    BULK_H_VERSION,
    BULK_H_IDENTITY, /* device id << 16 | vendor id */
    BULK_H_LOCAL_BYTES,
    BULK_H_PAGE_BYTES,
    BULK_H_SHARED_BYTES,
    BULK_H_REGISTERS,
    BULK_H_RESERVED0,
    BULK_H_RESERVED1,
    BULK_H_WORDS,
};

/* DEVICE's payload: registers, then config dwords in pairs, then the MSI-X table. */
#define BULK_D_CONFIG REFDEV_REGS
#define BULK_D_MSIX (BULK_D_CONFIG + (REFDEV_CONFIG_SAVED + 1) / 2)
#define BULK_D_WORDS (BULK_D_MSIX + 2 * REFDEV_MSIX_VECTORS)

enum bulk_part { PART_NONE, PART_FRAME, PART_HEADER, PART_PAYLOAD, PART_TRAILER, PART_SKIP };

#define BULK_FRAME_BYTES sizeof(struct refdev_frame)
#define BULK_FRAME_OPTIONAL 1u
enum bulk_tag { BULK_TAG_IMAGE, BULK_TAG_SIZE };

#define BULK_RECORD_BYTES sizeof(struct refdev_record)
#define BULK_OVERHEAD (BULK_RECORD_BYTES + 8)
#define BULK_IMAGE_MAX (BULK_OVERHEAD + REFDEV_RUN_PAGES * REFDEV_PAGE_BYTES)
_Static_assert(BULK_FRAME_BYTES == 16, "the frame on the wire");
_Static_assert(BULK_RECORD_BYTES == 32, "the record header on the wire");
_Static_assert(BULK_D_WORDS <= 128, "DEVICE fits into the section buffer");

static inline bool refdev_bulk_is_framed(const struct refdev_model *model)
{
    return model->profile->quirks & REFDEV_QUIRK_IMAGES;
}

/* What a record has around its payload. */
static inline uint64_t refdev_bulk_overhead(const struct refdev_model *model)
{
    return BULK_OVERHEAD + (refdev_bulk_is_framed(model) ? BULK_FRAME_BYTES : 0);
}

void refdev_bulk_header_fill(const struct refdev_model *model, uint64_t *words);
void refdev_bulk_device_fill(const struct refdev_model *model, uint64_t *words);
const char *refdev_bulk_header_check(const struct refdev_model *model, const uint64_t *words);
const char *refdev_bulk_device_check(const struct refdev_model *model, const uint64_t *words);
void refdev_bulk_device_apply(struct refdev_model *model, const uint64_t *words);

void refdev_bulk_save_begin(struct refdev_model *model);
void refdev_bulk_save_stopped(struct refdev_model *model);
void refdev_bulk_save_read(struct refdev_model *model, struct refdev_emit *emit);
void refdev_bulk_save_fetch(struct refdev_model *model);
void refdev_bulk_save_info(const struct refdev_model *model, uint64_t *initial, uint64_t *dirty);
void refdev_bulk_save_again(struct refdev_model *model);
uint64_t refdev_bulk_save_length(const struct refdev_model *model);
void refdev_bulk_load_begin(struct refdev_model *model);
int refdev_bulk_load_place(struct refdev_model *model, void **data, uint64_t *length_bytes);
int refdev_bulk_load_placed(struct refdev_model *model, uint64_t length_bytes);
int refdev_bulk_load_finish(struct refdev_model *model);

#endif
