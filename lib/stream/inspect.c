/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/stream/inspect.h"
#include "lib/stream/vmdesc-decode.h"

#define RAM_IDSTR "ram"
#define RAM_VERSION 4u
#define PIECE_BYTES 65536u

/* Call an operation that may be absent. */
#define TELL(walk, op, ...)                                                                        \
    ((walk)->ops->op ? (walk)->ops->op((walk)->opaque, __VA_ARGS__, (walk)->err) : 0)

struct walk {
    struct qemu_stream stream;
    struct reader *reader;
    const struct vmdesc *desc;
    const struct inspect_ops *ops;
    void *opaque;
    struct vmig_error *err;
    uint32_t page_size;
    unsigned num_blocks;
    struct qemu_ram_block *blocks;      /* QEMU_RAM_BLOCKS_MAX of them */
    const struct qemu_ram_block *block; /* of the last page item; survives sections */
    struct vmig_pci_state *config;      /* room for one */
    uint8_t *piece;                     /* PIECE_BYTES */
    XXH3_state_t *digest;               /* of all but the pages: the manifest ends with it */
};

/* ---- RAM ---- */

static int walk_ram_blocks(struct walk *w, const struct inspect_section *s, uint64_t total)
{
    int count = qemu_read_ram_blocks(w->reader, total, w->stream.ignore_shared, w->blocks,
                                     QEMU_RAM_BLOCKS_MAX);
    if (count < 0)
        return qemu_payload_error(s->section, w->reader, w->err);
    w->num_blocks = (unsigned)count;
    w->block = NULL;
    int rc = 0;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = TELL(w, ram_block, &w->blocks[i]);
    return rc;
}

static const struct qemu_ram_block *find_block(const struct walk *w, const char *name)
{
    for (unsigned i = 0; i < w->num_blocks; i++)
        if (strcmp(w->blocks[i].name, name) == 0)
            return &w->blocks[i];
    return NULL;
}

static int walk_ram_page(struct walk *w, struct inspect_section *s,
                         const struct qemu_ram_item *item, uint64_t at)
{
    if (item->has_block)
        w->block = find_block(w, item->block);
    if (!w->block)
        return qemu_section_error(s->section, at, EINVAL, w->err,
                                  "a page of block \"%.80s\", which is not listed",
                                  item->has_block ? item->block : "(as before)");
    if (item->offset % w->page_size || item->offset >= w->block->used_length)
        return qemu_section_error(s->section, at, EINVAL, w->err,
                                  "a page at %" PRIu64 " of block \"%.80s\", which has %" PRIu64
                                  " bytes in pages of %" PRIu32,
                                  item->offset, w->block->name, w->block->used_length,
                                  w->page_size);
    if (item->flags & QEMU_RAM_ZERO) {
        s->zero_items++;
    } else {
        s->page_items++;
        w->reader->digest = NULL;
        reader_skip(w->reader, w->page_size);
        w->reader->digest = w->digest;
    }
    return qemu_payload_error(s->section, w->reader, w->err);
}

static int walk_ram(struct walk *w, struct inspect_section *s)
{
    bool start = s->section->type == QEMU_SECTION_START;
    if (s->section->version_id != RAM_VERSION)
        return qemu_section_error(s->section, s->section->offset, EOPNOTSUPP, w->err,
                                  "version %" PRIu32 "; only %u is supported",
                                  s->section->version_id, RAM_VERSION);
    if (w->stream.mapped_ram)
        return qemu_section_error(s->section, s->section->offset, EOPNOTSUPP, w->err,
                                  "mapped-ram is not decoded");
    for (;;) {
        struct qemu_ram_item item;
        uint64_t at = w->reader->offset;
        qemu_read_ram_item(w->reader, &item);
        int rc = qemu_payload_error(s->section, w->reader, w->err);
        if (rc < 0 || item.flags == QEMU_RAM_EOS)
            return rc;
        if (item.flags != QEMU_RAM_MEM_SIZE)
            rc = walk_ram_page(w, s, &item, at);
        else if (start)
            rc = walk_ram_blocks(w, s, item.offset);
        else
            rc = qemu_section_error(s->section, at, EINVAL, w->err,
                                    "a list of blocks after the START");
        if (rc < 0)
            return rc;
    }
}

/* ---- VFIO ---- */

static int walk_vfio_data(struct walk *w, struct qemu_vfio_reader *v)
{
    for (;;) {
        ssize_t n = qemu_vfio_data(v, w->piece, PIECE_BYTES, w->err);
        int rc = n > 0 ? TELL(w, vfio_data, v->section, w->piece, (size_t)n) : (int)n;
        if (n <= 0 || rc < 0)
            return rc;
    }
}

static int walk_vfio_config(struct walk *w, const struct qemu_section *section,
                            uint64_t *ret_length_bytes)
{
    uint64_t start = w->reader->offset;
    int rc = pci_config_read(w->reader, 0, w->config, w->err);
    *ret_length_bytes = w->reader->offset - start;
    return rc < 0 ? rc : TELL(w, vfio_config, section, w->config);
}

static int walk_vfio(struct walk *w, struct inspect_section *s)
{
    struct qemu_vfio_reader v;
    qemu_vfio_begin(&v, w->reader, s->section);
    for (;;) {
        struct inspect_record record;
        int rc = qemu_vfio_next(&v, &record.record, &record.length_bytes, w->err);
        if (rc < 0)
            return rc;
        record.offset = v.word_offset;
        record.data_offset = w->reader->offset;
        if (record.record == QEMU_VFIO_CONFIG)
            rc = walk_vfio_config(w, s->section, &record.length_bytes);
        if (rc == 0)
            rc = TELL(w, vfio_record, s->section, &record);
        if (rc == 0 && record.record == QEMU_VFIO_DATA)
            rc = walk_vfio_data(w, &v);
        bool over = record.record >= QEMU_VFIO_INITIAL_SENT;
        if (rc < 0 || over)
            return rc;
    }
}

/* Does the payload begin with one of the delimiters? Their upper bits are no number that other
 * devices begin with, and our own participants use the same form under any name. */
static bool looks_like_vfio(struct reader *r)
{
    const uint8_t *bytes = reader_peek_bytes(r, 8);
    struct reader word;
    reader_init_memory(&word, bytes, bytes ? 8 : 0);
    uint64_t value = reader_u64(&word);
    return value >= QEMU_VFIO_END_OF_STATE && value <= QEMU_VFIO_DEV_CONFIG_LOAD_READY;
}

/* ---- what is not understood ---- */

static bool is_section_type(uint8_t type)
{
    return type <= QEMU_SECTION_FULL || type == QEMU_VMDESCRIPTION || type == QEMU_COMMAND;
}

/* Is this section's footer here, with something legal after it? */
static bool at_footer(struct reader *r, const uint8_t footer[5])
{
    const uint8_t *bytes = reader_peek_bytes(r, 6);
    return bytes && memcmp(bytes, footer, 5) == 0 && is_section_type(bytes[5]);
}

static int walk_searched(struct walk *w, const struct inspect_section *s)
{
    uint32_t id = s->section->section_id;
    const uint8_t footer[5] = { QEMU_SECTION_FOOTER, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
                                (uint8_t)(id >> 8), (uint8_t)id };
    uint64_t start = w->reader->offset;
    if (!w->stream.footers)
        return qemu_section_error(s->section, start, EOPNOTSUPP, w->err,
                                  "its length is unknown: the stream has neither footers nor a "
                                  "description of this section");
    while (!at_footer(w->reader, footer)) {
        if (w->reader->offset - start == INSPECT_SEARCH_BYTES)
            return qemu_section_error(s->section, start, EOPNOTSUPP, w->err,
                                      "no footer within %" PRIu64 " bytes", INSPECT_SEARCH_BYTES);
        reader_skip(w->reader, 1);
        if (reader_failed(w->reader))
            return qemu_section_error(s->section, start, w->reader->error, w->err,
                                      "the stream ends without its footer");
    }
    return 0;
}

static const struct vmdesc_device *described(const struct walk *w, const struct qemu_section *s)
{
    bool full = s->type == QEMU_SECTION_FULL;
    return full && w->desc ? vmdesc_find(w->desc, s->idstr, s->instance_id) : NULL;
}

/* Sections of this length are not taken apart; QEMU's have a few hundred KiB. */
#define VALUES_BYTES_MAX INSPECT_SEARCH_BYTES

static int walk_described(struct walk *w, const struct inspect_section *s)
{
    const struct vmdesc_device *d = described(w, s->section);
    struct vmig_error why = { 0 };
    json_t *values = NULL;
    if (!w->ops->values || d->length_bytes > VALUES_BYTES_MAX) {
        reader_skip(w->reader, d->length_bytes);
        return qemu_payload_error(s->section, w->reader, w->err);
    }
    CLEANUP_FREE uint8_t *buf = malloc(d->length_bytes + 1);
    if (!buf)
        return error_set(w->err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    reader_bytes(w->reader, buf, d->length_bytes);
    int rc = qemu_payload_error(s->section, w->reader, w->err);
    if (rc < 0)
        return rc;
    rc = vmdesc_decode(d->json, buf, d->length_bytes, s->payload_offset, &values, &why);
    if (rc == 0)
        rc = TELL(w, values, s->section, values);
    error_prefix(&why, "section \"%.80s\"", s->section->idstr);
    error_copy(w->err, &why);
    json_decref(values);
    return rc;
}

static int walk_manifest(struct walk *w, const struct inspect_section *s)
{
    struct manifest manifest;
    int rc = manifest_read(w->reader, s->section->version_id, &manifest, w->err);
    if (rc == 0)
        rc = TELL(w, manifest, &manifest);
    manifest_done(&manifest);
    return rc;
}

/* ---- sections ---- */

static enum inspect_payload classify(struct walk *w, const struct qemu_section *section)
{
    if (strcmp(section->idstr, RAM_IDSTR) == 0)
        return INSPECT_RAM;
    if (strcmp(section->idstr, MANIFEST_IDSTR) == 0 && section->type == QEMU_SECTION_FULL)
        return INSPECT_MANIFEST;
    if (looks_like_vfio(w->reader))
        return INSPECT_VFIO;
    return described(w, section) ? INSPECT_DESCRIBED : INSPECT_SEARCHED;
}

static int walk_payload(struct walk *w, struct inspect_section *s)
{
    s->payload = classify(w, s->section);
    switch (s->payload) {
    case INSPECT_RAM:
        return walk_ram(w, s);
    case INSPECT_VFIO:
        return walk_vfio(w, s);
    case INSPECT_MANIFEST:
        return walk_manifest(w, s);
    case INSPECT_DESCRIBED:
        return walk_described(w, s);
    default:
        return walk_searched(w, s);
    }
}

static int walk_section(struct walk *w, const struct qemu_section *section)
{
    struct inspect_section s = {
        .section = section,
        .payload_offset = w->reader->offset,
        .footer = w->stream.footers,
    };
    int rc = walk_payload(w, &s);
    if (rc < 0)
        return rc;
    s.payload_length = w->reader->offset - s.payload_offset;
    const struct vmdesc_device *d = described(w, section);
    if (d && d->length_bytes != s.payload_length)
        return qemu_section_error(section, s.payload_offset, EINVAL, w->err,
                                  "its payload has %" PRIu64
                                  " bytes and the description says %" PRIu64,
                                  s.payload_length, d->length_bytes);
    rc = qemu_read_footer(&w->stream, section, w->err);
    if (rc < 0)
        return rc;
    s.length = w->reader->offset - section->offset;
    return TELL(w, section, &s);
}

static int walk_command(struct walk *w, const struct qemu_section *section)
{
    if (section->command == QEMU_CMD_PACKAGED || section->command == QEMU_CMD_POSTCOPY_LISTEN)
        return qemu_section_error(section, section->offset, EOPNOTSUPP, w->err,
                                  "postcopy is not decoded");
    reader_bytes(w->reader, w->piece, section->length); /* 16 bits: fits */
    int rc = qemu_payload_error(section, w->reader, w->err);
    return rc < 0 ? rc : TELL(w, command, section, w->piece);
}

/* The description was read up to its text; nothing follows that. */
static int walk_description(struct walk *w, const struct qemu_section *section)
{
    reader_skip(w->reader, section->length);
    int rc = qemu_payload_error(section, w->reader, w->err);
    if (rc == 0 && reader_peek(w->reader) >= 0)
        rc = qemu_section_error(section, w->reader->offset, EINVAL, w->err, "more bytes follow it");
    return rc;
}

/* On a connection between two of our own, the commands of the hand-over follow EOF. */
static int walk_handover(struct walk *w, struct qemu_section *section)
{
    for (;;) {
        if (section->type != QEMU_COMMAND)
            return qemu_section_error(section, section->offset, EINVAL, w->err,
                                      "only a description of devices may follow the end");
        int rc = walk_command(w, section);
        if (rc < 0 || reader_peek(w->reader) < 0)
            return rc;
        rc = qemu_read_section(&w->stream, section, w->err);
        if (rc < 0)
            return rc;
    }
}

static int walk_end(struct walk *w, uint64_t eof_offset)
{
    struct qemu_section section = { 0 };
    bool more = reader_peek(w->reader) >= 0;
    int rc = more ? qemu_read_section(&w->stream, &section, w->err) : 0;
    if (rc < 0)
        return rc;
    bool described = more && section.type == QEMU_VMDESCRIPTION;
    rc = TELL(w, end, eof_offset, described ? section.offset : 0, described ? section.length : 0);
    if (rc < 0 || !more)
        return rc;
    return described ? walk_description(w, &section) : walk_handover(w, &section);
}

static int walk_entries(struct walk *w)
{
    for (;;) {
        struct qemu_section section;
        int rc = qemu_read_section(&w->stream, &section, w->err);
        if (rc == 0 && section.type == QEMU_EOF)
            return walk_end(w, section.offset);
        if (rc == 0 && section.type == QEMU_VMDESCRIPTION)
            rc = qemu_section_error(&section, section.offset, EINVAL, w->err,
                                    "it stands before the end of the stream");
        else if (rc == 0 && section.type == QEMU_COMMAND)
            rc = walk_command(w, &section);
        else if (rc == 0)
            rc = walk_section(w, &section);
        if (rc < 0)
            return rc;
    }
}

static uint32_t page_size(const struct walk *w)
{
    if (w->desc && w->desc->page_size)
        return w->desc->page_size;
    return w->stream.page_bits ? 1u << w->stream.page_bits : 4096;
}

static int walk_all(struct walk *w)
{
    uint64_t start = w->reader->offset;
    int rc = qemu_stream_open(&w->stream, w->reader, w->err);
    if (rc < 0)
        return rc;
    w->page_size = page_size(w);
    if (w->stream.footers)
        rc = TELL(w, configuration, &w->stream, start + 8, w->reader->offset - start - 8);
    if (rc == 0)
        rc = walk_entries(w);
    qemu_stream_close(&w->stream);
    return rc;
}

int inspect_stream(struct reader *reader, const struct vmdesc *desc, const struct inspect_ops *ops,
                   void *opaque, struct vmig_error *err)
{
    struct walk w = { .reader = reader, .desc = desc, .ops = ops, .opaque = opaque, .err = err };
    CLEANUP_FREE struct qemu_ram_block *blocks = calloc(QEMU_RAM_BLOCKS_MAX, sizeof(*blocks));
    CLEANUP_FREE struct vmig_pci_state *config = malloc(sizeof(*config));
    CLEANUP_FREE uint8_t *piece = malloc(PIECE_BYTES);
    w.digest = XXH3_createState();
    if (!blocks || !config || !piece || !w.digest) {
        XXH3_freeState(w.digest);
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    }
    w.blocks = blocks;
    w.config = config;
    w.piece = piece;
    XXH3_64bits_reset(w.digest);
    reader->digest = w.digest;
    int rc = walk_all(&w);
    reader->digest = NULL;
    XXH3_freeState(w.digest);
    return rc;
}

int inspect_memory(const void *buf, size_t length_bytes, const struct inspect_ops *ops,
                   void *opaque, struct vmig_error *err)
{
    struct vmdesc desc;
    ssize_t at = vmdesc_locate(buf, length_bytes);
    /* a description that is none is as good as none: the walk is the judge */
    bool have = at >= 0 && vmdesc_parse(&desc, (const char *)buf + at + 5,
                                        length_bytes - (size_t)at - 5, NULL) == 0;
    struct reader reader;
    reader_init_memory(&reader, buf, length_bytes);
    int rc = inspect_stream(&reader, have ? &desc : NULL, ops, opaque, err);
    if (have)
        vmdesc_done(&desc);
    return rc;
}

/* ---- the reverse direction ---- */

/* Lengths that QEMU insists on; 0xffff: a fixed part and a str8. */
static const struct {
    uint16_t fixed;
    bool name;
} return_lengths[QEMU_RP_COUNT] = {
    [QEMU_RP_SHUT] = { 4, false },           [QEMU_RP_PONG] = { 4, false },
    [QEMU_RP_REQ_PAGES_ID] = { 12, true },   [QEMU_RP_REQ_PAGES] = { 12, false },
    [QEMU_RP_RECV_BITMAP] = { 0, true },     [QEMU_RP_RESUME_ACK] = { 4, false },
    [QEMU_RP_SWITCHOVER_ACK] = { 0, false },
};

static bool length_fits(const struct inspect_return *m)
{
    if (!m->name)
        return true;
    uint16_t fixed = return_lengths[m->type].fixed;
    if (!return_lengths[m->type].name)
        return m->length == fixed;
    return m->length > fixed && m->length == fixed + 1 + m->data[fixed];
}

static int refuse_return(const struct inspect_return *m, int code, struct vmig_error *err,
                         const char *what)
{
    return error_set(err, code, VMIG_STAGE_NONE, NULL, "bad-stream",
                     "offset %" PRIu64 ": return message %s (type %#x) of %u bytes %s", m->offset,
                     m->name ? m->name : "unknown", m->type, m->length, what);
}

static int read_return(struct reader *reader, uint8_t *data, struct inspect_return *ret,
                       struct vmig_error *err)
{
    struct qemu_return_header header;
    *ret = (struct inspect_return) { .offset = reader->offset, .data = data };
    qemu_read_return(reader, &header);
    ret->type = header.type;
    ret->length = header.length;
    ret->name = qemu_return_name(header.type);
    reader_bytes(reader, data, header.length);
    int rc = reader_error(reader, "return message", err);
    if (rc == 0 && !length_fits(ret))
        rc = refuse_return(ret, EINVAL, err, "has a wrong length");
    if (rc == 0 && ret->type == QEMU_RP_RECV_BITMAP)
        rc = refuse_return(ret, EOPNOTSUPP, err,
                           "belongs to postcopy recovery, which is not "
                           "decoded");
    return rc;
}

int inspect_return_path(struct reader *reader,
                        int (*message)(void *opaque, const struct inspect_return *message,
                                       struct vmig_error *err),
                        void *opaque, struct vmig_error *err)
{
    CLEANUP_FREE uint8_t *data = malloc(UINT16_MAX);
    if (!data)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    int rc = 0;
    while (rc == 0 && reader_peek(reader) >= 0) {
        struct inspect_return m;
        rc = read_return(reader, data, &m, err);
        if (rc == 0)
            rc = message(opaque, &m, err);
    }
    return rc < 0 ? rc : reader_error(reader, "return path", err);
}
