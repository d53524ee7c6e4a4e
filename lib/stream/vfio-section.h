/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Payloads of VFIO sections: words of 64 bits that say what follows. Which word may stand where is
 * one table in vfio-section.c.
 *
 *   START  DEV_SETUP_STATE, END_OF_STATE
 *   PART   { DEV_DATA_STATE, u64 size, bytes }..., END_OF_STATE or DEV_INIT_DATA_SENT
 *   END    { DEV_DATA_STATE, u64 size, bytes }..., END_OF_STATE
 *   FULL   DEV_CONFIG_STATE, body (config.h), END_OF_STATE; or DEV_CONFIG_LOAD_READY alone, or
 *          END_OF_STATE alone (the state went over other channels)
 */
#ifndef LIB_STREAM_VFIO_SECTION_H
#define LIB_STREAM_VFIO_SECTION_H

#include "lib/stream/qemu.h"

/* QEMU and we cut device data into 1 MiB at most. Others may pass on what one read of the device
 * gave; 128 MiB is beyond every driver's buffer, and a size with one wrong high bit is caught
 * before a device swallows the rest of the stream. Records are streamed, so this is no memory. */
#define QEMU_VFIO_DATA_MAX (UINT64_C(128) << 20)

enum qemu_vfio_record {
    QEMU_VFIO_SETUP,
    QEMU_VFIO_DATA,   /* length_bytes follow, through qemu_vfio_data() */
    QEMU_VFIO_CONFIG, /* a config body follows: read it from the reader before the next call */
    QEMU_VFIO_INITIAL_SENT,      /* all initial data precede; the payload is over */
    QEMU_VFIO_CONFIG_LOAD_READY, /* the payload is over */
    QEMU_VFIO_END,               /* the payload is over */
};

/* ---- writing: words only; section beginnings and footers are qemu.h's ---- */
void qemu_vfio_write_setup(struct writer *w); /* with its END_OF_STATE */
void qemu_vfio_write_data_head(struct writer *w, uint64_t length_bytes);
void qemu_vfio_write_initial_sent(struct writer *w);
void qemu_vfio_write_end(struct writer *w);

/* ---- reading ---- */
struct qemu_vfio_reader {
    struct reader *reader;
    const struct qemu_section *section;
    unsigned state;       /* vfio-section.c's */
    uint64_t data_left;   /* of the current DATA record */
    uint64_t word_offset; /* of the last record's word in the stream */
};

/* @section was just read and stays the caller's; its payload begins at @reader. */
void qemu_vfio_begin(struct qemu_vfio_reader *v, struct reader *reader,
                     const struct qemu_section *section);
/* The next record. What is left of a DATA record is skipped. After the last one, which every
 * payload has, do not call again but take the footer. -EINVAL, -ENODATA, the reader's error. */
int qemu_vfio_next(struct qemu_vfio_reader *v, enum qemu_vfio_record *ret_record,
                   uint64_t *ret_length_bytes, struct vmig_error *err);
/* Up to @size bytes of the DATA record: the count, 0 at its end, or an error. */
ssize_t qemu_vfio_data(struct qemu_vfio_reader *v, void *buf, size_t size, struct vmig_error *err);

#endif
