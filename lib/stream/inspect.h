/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walking a whole recorded stream without loading it anywhere: section after section with offsets,
 * RAM items counted, VFIO sections taken apart, FULL sections of unknown devices passed over by the
 * description at the stream's end, or without one by a bounded search for their footer. What a walk
 * reports is what is certain: where the stream can not be followed further, it fails with the
 * offset, and so it does at a manifest whose digest is not that of what stands before it. Compressed, xbzrle, multifd-flushed, mapped and packaged (postcopy) streams fail
 * -EOPNOTSUPP at the first such item.
 */
#ifndef LIB_STREAM_INSPECT_H
#define LIB_STREAM_INSPECT_H

#include "lib/stream/config.h"
#include "lib/stream/manifest.h"
#include "lib/stream/vfio-section.h"
#include "lib/stream/vmdescription.h"

/* How far a footer is looked for; QEMU's largest device sections have a few hundred KiB. */
#define INSPECT_SEARCH_BYTES (UINT64_C(64) << 20)

enum inspect_payload {
    INSPECT_RAM,
    INSPECT_VFIO,
    INSPECT_MANIFEST,
    INSPECT_DESCRIBED, /* length from the description */
    INSPECT_SEARCHED,  /* length found by its footer: likely, not certain */
};

struct inspect_section {
    const struct qemu_section *section; /* START, PART, END, FULL; type byte's offset is in it */
    enum inspect_payload payload;
    uint64_t payload_offset, payload_length;
    uint64_t length; /* type byte to footer, both included */
    bool footer;
    uint64_t zero_items, page_items; /* RAM */
};

struct inspect_record {
    enum qemu_vfio_record record;
    uint64_t offset;                    /* of its word */
    uint64_t data_offset, length_bytes; /* DATA; CONFIG: of the body */
};

/* Members may be NULL. A negative return ends the walk and is returned; fill @err then. Pointers
 * are good for the call only. */
struct inspect_ops {
    int (*configuration)(void *opaque, const struct qemu_stream *stream, uint64_t offset,
                         uint64_t length_bytes, struct vmig_error *err);
    /* What stands in a section comes before the section itself, which is told at its footer; a DATA
     * record comes before its data, a CONFIG record after its config. */
    int (*ram_block)(void *opaque, const struct qemu_ram_block *block, struct vmig_error *err);
    int (*vfio_record)(void *opaque, const struct qemu_section *section,
                       const struct inspect_record *record, struct vmig_error *err);
    int (*vfio_data)(void *opaque, const struct qemu_section *section, const void *buf,
                     size_t length_bytes, struct vmig_error *err);
    int (*vfio_config)(void *opaque, const struct qemu_section *section,
                       const struct vmig_pci_state *config, struct vmig_error *err);
    int (*manifest)(void *opaque, const struct manifest *manifest, struct vmig_error *err);
    /* Of a described section, before the section itself: as vmdesc-decode.h has them. */
    int (*values)(void *opaque, const struct qemu_section *section, const json_t *values,
                  struct vmig_error *err);
    int (*section)(void *opaque, const struct inspect_section *section, struct vmig_error *err);
    int (*command)(void *opaque, const struct qemu_section *section, const void *data,
                   struct vmig_error *err);
    /* EOF was read. @description_offset: of the type byte of the description that follows, 0: none.
     * The walk still fails when it is cut short or something follows it. */
    int (*end)(void *opaque, uint64_t eof_offset, uint64_t description_offset,
               uint32_t description_length, struct vmig_error *err);
};

/* @desc: may be NULL. @reader stands at the header. */
int inspect_stream(struct reader *reader, const struct vmdesc *desc, const struct inspect_ops *ops,
                   void *opaque, struct vmig_error *err);

/* A stream that lies whole in memory (or a mapped file): finds its description by itself. */
int inspect_memory(const void *buf, size_t length_bytes, const struct inspect_ops *ops,
                   void *opaque, struct vmig_error *err);

/* A recorded reverse direction. */
struct inspect_return {
    uint64_t offset;
    uint16_t type;
    const char *name; /* NULL: not QEMU's */
    uint16_t length;
    const uint8_t *data;
};
int inspect_return_path(struct reader *reader,
                        int (*message)(void *opaque, const struct inspect_return *message,
                                       struct vmig_error *err),
                        void *opaque, struct vmig_error *err);

#endif
