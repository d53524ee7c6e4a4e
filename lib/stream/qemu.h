/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's framing, byte for byte: header, configuration, sections with footers, commands, return
 * path messages, VFIO delimiters, RAM items, vmdescription. Numbers and layouts only, no policy.
 */
#ifndef LIB_STREAM_QEMU_H
#define LIB_STREAM_QEMU_H

#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

#define QEMU_MAGIC 0x5145564du
#define QEMU_VERSION 3u

enum qemu_section_type {
    QEMU_EOF = 0x00,
    QEMU_SECTION_START = 0x01,
    QEMU_SECTION_PART = 0x02,
    QEMU_SECTION_END = 0x03,
    QEMU_SECTION_FULL = 0x04,
    QEMU_SUBSECTION = 0x05,
    QEMU_VMDESCRIPTION = 0x06,
    QEMU_CONFIGURATION = 0x07,
    QEMU_COMMAND = 0x08,
    QEMU_SECTION_FOOTER = 0x7e,
};

#define QEMU_VFIO_END_OF_STATE UINT64_C(0xffffffffef100001)
#define QEMU_VFIO_DEV_CONFIG_STATE UINT64_C(0xffffffffef100002)
#define QEMU_VFIO_DEV_SETUP_STATE UINT64_C(0xffffffffef100003)
#define QEMU_VFIO_DEV_DATA_STATE UINT64_C(0xffffffffef100004)
#define QEMU_VFIO_DEV_INIT_DATA_SENT UINT64_C(0xffffffffef100005)

#define QEMU_RAM_ZERO 0x02u
#define QEMU_RAM_MEM_SIZE 0x04u
#define QEMU_RAM_PAGE 0x08u
#define QEMU_RAM_EOS 0x10u
#define QEMU_RAM_CONTINUE 0x20u

enum qemu_command {
    QEMU_CMD_OPEN_RETURN_PATH = 1,
    QEMU_CMD_PING = 2,
    QEMU_CMD_SWITCHOVER_START = 11,
};
enum qemu_return_message {
    QEMU_RP_SHUT = 1,
    QEMU_RP_PONG = 2,
    QEMU_RP_SWITCHOVER_ACK = 7,
};

/* ---- writing ---- */
void qemu_write_header(struct writer *w);
void qemu_write_configuration(struct writer *w, const char *machine);
void qemu_write_start(struct writer *w, uint32_t section_id, const char *idstr,
                      uint32_t instance_id, uint32_t version_id);
void qemu_write_full(struct writer *w, uint32_t section_id, const char *idstr, uint32_t instance_id,
                     uint32_t version_id);
void qemu_write_part(struct writer *w, uint32_t section_id);
void qemu_write_end(struct writer *w, uint32_t section_id);
void qemu_write_footer(struct writer *w, uint32_t section_id);
void qemu_write_command(struct writer *w, uint16_t command, const void *data, uint16_t length);
void qemu_write_return(struct writer *w, uint16_t type, const void *data, uint16_t length);
void qemu_write_eof(struct writer *w);

/* ---- reading ---- */

/* What stands at the reader's position. One call takes the type byte and everything up to the
 * payload; the caller takes the payload and then calls qemu_read_footer() for section types. */
struct qemu_section {
    uint8_t type;    /* enum qemu_section_type */
    uint64_t offset; /* of the type byte */
    uint32_t section_id;
    char idstr[256]; /* for PART and END: that of the section's START */
    uint32_t instance_id, version_id;
    uint16_t command; /* COMMAND */
    uint32_t length;  /* COMMAND data, VMDESCRIPTION text */
};

#define QEMU_SECTIONS_MAX 4096 /* ids introduced in one stream; QEMU machines have under 200 */

struct qemu_stream {
    struct reader *reader;
    bool footers;                /* expected: a CONFIGURATION was there */
    char machine[256];           /* from CONFIGURATION, or "" */
    struct qemu_stream_ids *ids; /* section_id -> idstr, instance, version */
};

/* Take header and CONFIGURATION (if there is one). @reader is borrowed. */
int qemu_stream_open(struct qemu_stream *s, struct reader *reader, struct vmig_error *err);
void qemu_stream_close(struct qemu_stream *s);
/* Errors name offset and section. */
int qemu_read_section(struct qemu_stream *s, struct qemu_section *ret, struct vmig_error *err);
int qemu_read_footer(struct qemu_stream *s, const struct qemu_section *section,
                     struct vmig_error *err);

/* ---- RAM items ---- */
struct qemu_ram_item {
    uint64_t offset; /* in its block */
    uint32_t flags;
    bool has_block; /* a block name came with it (else: same block as before) */
    char block[256];
    uint8_t fill; /* ZERO */
};
/* One item word with its block name and, for ZERO, its fill byte; PAGE bytes stay unread. Unknown
 * flags (compressed, xbzrle, hook) fail -EOPNOTSUPP. */
void qemu_read_ram_item(struct reader *r, struct qemu_ram_item *ret);
void qemu_write_ram_item(struct writer *w, uint64_t offset, uint32_t flags, const char *block);

#endif
