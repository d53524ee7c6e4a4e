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
#define QEMU_VFIO_DEV_CONFIG_LOAD_READY UINT64_C(0xffffffffef100006)

#define QEMU_RAM_ZERO 0x02u
#define QEMU_RAM_MEM_SIZE 0x04u
#define QEMU_RAM_PAGE 0x08u
#define QEMU_RAM_EOS 0x10u
#define QEMU_RAM_CONTINUE 0x20u

enum qemu_command {
    QEMU_CMD_OPEN_RETURN_PATH = 1,
    QEMU_CMD_PING = 2,
    QEMU_CMD_POSTCOPY_ADVISE = 3,
    QEMU_CMD_POSTCOPY_LISTEN = 4,
    QEMU_CMD_POSTCOPY_RUN = 5,
    QEMU_CMD_POSTCOPY_RAM_DISCARD = 6,
    QEMU_CMD_PACKAGED = 7,
    QEMU_CMD_ENABLE_COLO = 8,
    QEMU_CMD_POSTCOPY_RESUME = 9,
    QEMU_CMD_RECV_BITMAP = 10,
    QEMU_CMD_SWITCHOVER_START = 11,
    QEMU_CMD_COUNT
};
enum qemu_return_message {
    QEMU_RP_SHUT = 1,
    QEMU_RP_PONG = 2,
    QEMU_RP_REQ_PAGES_ID = 3,
    QEMU_RP_REQ_PAGES = 4,
    QEMU_RP_RECV_BITMAP = 5,
    QEMU_RP_RESUME_ACK = 6,
    QEMU_RP_SWITCHOVER_ACK = 7,
    QEMU_RP_COUNT
};

/* ---- writing ---- */
void qemu_write_header(struct writer *w);
void qemu_write_configuration(struct writer *w, const char *machine);
/* After it: of the virtual machine. */
void qemu_write_uuid(struct writer *w, const uint8_t uuid[16]);
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

/* "OPEN_RETURN_PATH" for 1; NULL for a number that QEMU does not use. Static strings. */
const char *qemu_command_name(uint16_t command);
const char *qemu_return_name(uint16_t type);

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
    bool footers;       /* expected: a CONFIGURATION was there */
    char machine[256];  /* from CONFIGURATION, or "" */
    uint8_t page_bits;  /* from CONFIGURATION, or 0 */
    bool ignore_shared; /* capability x-ignore-shared: RAM's list has addresses */
    bool mapped_ram;    /* capability mapped-ram: RAM's pages stand elsewhere in the file */
    bool has_uuid;      /* of the virtual machine */
    uint8_t uuid[16];   /* with has_uuid */
    struct qemu_stream_ids *ids; /* section_id -> idstr, instance, version */
};

/* Take header and CONFIGURATION (if there is one). @reader is borrowed. After a failure there is
 * nothing to close, though closing does no harm. */
int qemu_stream_open(struct qemu_stream *s, struct reader *reader, struct vmig_error *err);
void qemu_stream_close(struct qemu_stream *s);
/* Errors name offset and section. -EINVAL: malformed; -ENODATA: the stream ends too early;
 * -EOPNOTSUPP: a feature that is not supported; and what the reader's fill function failed with. */
int qemu_read_section(struct qemu_stream *s, struct qemu_section *ret, struct vmig_error *err);
int qemu_read_footer(struct qemu_stream *s, const struct qemu_section *section,
                     struct vmig_error *err);

/* "offset N: section "NAME" (id N): WHAT" as an error of @code. @offset is the fault's own. */
int qemu_section_error(const struct qemu_section *section, uint64_t offset, int code,
                       struct vmig_error *err, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for a reader that failed in the payload; 0 when it has not. */
int qemu_payload_error(const struct qemu_section *section, const struct reader *r,
                       struct vmig_error *err);

/* One message of the reverse direction: type and length; its data stays unread. At the end of the
 * stream the reader fails with -ENODATA. */
struct qemu_return_header {
    uint16_t type, length;
};
void qemu_read_return(struct reader *r, struct qemu_return_header *ret);

/* ---- RAM items (ram-items.c) ---- */
struct qemu_ram_item {
    uint64_t offset; /* in its block; of MEM_SIZE: the blocks' total */
    uint32_t flags;
    bool has_block; /* a block name came with it (else: same block as before) */
    char block[256];
    uint8_t fill; /* ZERO */
};
/* One item word with its block name and, for ZERO, its fill byte; PAGE bytes stay unread. Flags of
 * features that are not decoded (compressed, xbzrle, hook, multifd flush) fail -EOPNOTSUPP, all
 * other combinations than one kind with at most CONTINUE -EINVAL. */
void qemu_read_ram_item(struct reader *r, struct qemu_ram_item *ret);
/* Without @block there is none on the wire: then @flags hold CONTINUE, EOS or MEM_SIZE. A ZERO's
 * fill byte and a PAGE's bytes are the caller's to write. */
void qemu_write_ram_item(struct writer *w, uint64_t offset, uint32_t flags, const char *block);

/* The list of blocks after MEM_SIZE: entries until their lengths add up to its total. */
#define QEMU_RAM_BLOCKS_MAX 1024 /* QEMU machines have under 100 */
struct qemu_ram_block {
    char name[256];
    uint64_t used_length;
    uint64_t addr; /* only with x-ignore-shared */
};
/* Read up to @max entries of a list of @total bytes. The count; -EINVAL: they do not add up, a name
 * comes twice, or there are more than @max; the reader has failed then too. */
int qemu_read_ram_blocks(struct reader *r, uint64_t total, bool with_addr,
                         struct qemu_ram_block *ret, unsigned max);
/* MEM_SIZE and the list, without addresses, without EOS. */
void qemu_write_ram_blocks(struct writer *w, const struct qemu_ram_block *blocks, unsigned count);

#endif
