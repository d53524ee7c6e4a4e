/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing. A stream is a row of typed entries; live and FULL sections have no length, so a reader
 * must take each payload itself. What makes that safe is the footer (it repeats the section's id)
 * and the table of ids built from START and FULL: both are checked here, for every section.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/stream/qemu.h"
#include "lib/trace/trace.h"

struct id_entry {
    uint32_t section_id, instance_id, version_id;
    bool live;  /* START introduced it */
    bool ended; /* END was there: only a FULL may follow */
    char *idstr;
};

struct qemu_stream_ids {
    unsigned count, size;
    struct id_entry *entries;
};

static const char *const command_names[QEMU_CMD_COUNT] = {
    [QEMU_CMD_OPEN_RETURN_PATH] = "OPEN_RETURN_PATH",
    [QEMU_CMD_PING] = "PING",
    [QEMU_CMD_POSTCOPY_ADVISE] = "POSTCOPY_ADVISE",
    [QEMU_CMD_POSTCOPY_LISTEN] = "POSTCOPY_LISTEN",
    [QEMU_CMD_POSTCOPY_RUN] = "POSTCOPY_RUN",
    [QEMU_CMD_POSTCOPY_RAM_DISCARD] = "POSTCOPY_RAM_DISCARD",
    [QEMU_CMD_PACKAGED] = "PACKAGED",
    [QEMU_CMD_ENABLE_COLO] = "ENABLE_COLO",
    [QEMU_CMD_POSTCOPY_RESUME] = "POSTCOPY_RESUME",
    [QEMU_CMD_RECV_BITMAP] = "RECV_BITMAP",
    [QEMU_CMD_SWITCHOVER_START] = "SWITCHOVER_START",
};

static const char *const return_names[QEMU_RP_COUNT] = {
    [QEMU_RP_SHUT] = "SHUT",
    [QEMU_RP_PONG] = "PONG",
    [QEMU_RP_REQ_PAGES_ID] = "REQ_PAGES_ID",
    [QEMU_RP_REQ_PAGES] = "REQ_PAGES",
    [QEMU_RP_RECV_BITMAP] = "RECV_BITMAP",
    [QEMU_RP_RESUME_ACK] = "RESUME_ACK",
    [QEMU_RP_SWITCHOVER_ACK] = "SWITCHOVER_ACK",
};

const char *qemu_command_name(uint16_t command)
{
    return command < QEMU_CMD_COUNT ? command_names[command] : NULL;
}

const char *qemu_return_name(uint16_t type)
{
    return type < QEMU_RP_COUNT ? return_names[type] : NULL;
}

/* ---- writing ---- */

void qemu_write_header(struct writer *w)
{
    writer_u32(w, QEMU_MAGIC);
    writer_u32(w, QEMU_VERSION);
}

void qemu_write_configuration(struct writer *w, const char *machine)
{
    size_t length = strlen(machine);
    if (length > 255) {
        w->error = w->error ? w->error : -ENAMETOOLONG;
        return;
    }
    writer_u8(w, QEMU_CONFIGURATION);
    writer_u32(w, (uint32_t)length);
    writer_bytes(w, machine, length);
}

void qemu_write_uuid(struct writer *w, const uint8_t uuid[16])
{
    writer_u8(w, QEMU_SUBSECTION);
    writer_str8(w, "configuration/uuid");
    writer_u32(w, 1);
    writer_bytes(w, uuid, 16);
}

static void write_introduction(struct writer *w, uint8_t type, uint32_t section_id,
                               const char *idstr, uint32_t instance_id, uint32_t version_id)
{
    writer_u8(w, type);
    writer_u32(w, section_id);
    writer_str8(w, idstr);
    writer_u32(w, instance_id);
    writer_u32(w, version_id);
}

void qemu_write_start(struct writer *w, uint32_t section_id, const char *idstr,
                      uint32_t instance_id, uint32_t version_id)
{
    TRACE(savevm_section_start, idstr, section_id);
    write_introduction(w, QEMU_SECTION_START, section_id, idstr, instance_id, version_id);
}

void qemu_write_full(struct writer *w, uint32_t section_id, const char *idstr, uint32_t instance_id,
                     uint32_t version_id)
{
    TRACE(savevm_section_start, idstr, section_id);
    write_introduction(w, QEMU_SECTION_FULL, section_id, idstr, instance_id, version_id);
}

static void write_type_and_id(struct writer *w, uint8_t type, uint32_t section_id)
{
    writer_u8(w, type);
    writer_u32(w, section_id);
}

void qemu_write_part(struct writer *w, uint32_t section_id)
{
    write_type_and_id(w, QEMU_SECTION_PART, section_id);
}

void qemu_write_end(struct writer *w, uint32_t section_id)
{
    TRACE(savevm_section_end, section_id);
    write_type_and_id(w, QEMU_SECTION_END, section_id);
}

void qemu_write_footer(struct writer *w, uint32_t section_id)
{
    write_type_and_id(w, QEMU_SECTION_FOOTER, section_id);
}

void qemu_write_command(struct writer *w, uint16_t command, const void *data, uint16_t length)
{
    writer_u8(w, QEMU_COMMAND);
    qemu_write_return(w, command, data, length);
}

void qemu_write_return(struct writer *w, uint16_t type, const void *data, uint16_t length)
{
    writer_u16(w, type);
    writer_u16(w, length);
    writer_bytes(w, data, length);
}

void qemu_write_eof(struct writer *w)
{
    writer_u8(w, QEMU_EOF);
}

/* ---- errors ---- */

static const char *section_title(const struct qemu_section *section, char *buf, size_t size)
{
    const char *name = qemu_command_name(section->command);
    switch (section->type) {
    case QEMU_SECTION_START:
    case QEMU_SECTION_PART:
    case QEMU_SECTION_END:
    case QEMU_SECTION_FULL:
        snprintf(buf, size, "section \"%.100s\" (id %" PRIu32 ")", section->idstr,
                 section->section_id);
        break;
    case QEMU_COMMAND:
        snprintf(buf, size, "command %#x (%s)", section->command,
                 name ? name : "not one of QEMU's");
        break;
    case QEMU_VMDESCRIPTION:
        snprintf(buf, size, "description of devices");
        break;
    default:
        snprintf(buf, size, "entry of type %#x", section->type);
    }
    return buf;
}

int qemu_section_error(const struct qemu_section *section, uint64_t offset, int code,
                       struct vmig_error *err, const char *format, ...)
{
    char title[160], what[240];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return error_set(err, code, VMIG_STAGE_NONE, NULL, "bad-stream", "offset %" PRIu64 ": %s: %s",
                     offset, section_title(section, title, sizeof(title)), what);
}

int qemu_payload_error(const struct qemu_section *section, const struct reader *r,
                       struct vmig_error *err)
{
    char title[160];
    return reader_error(r, section_title(section, title, sizeof(title)), err);
}

static int refuse(uint64_t offset, struct vmig_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(uint64_t offset, struct vmig_error *err, const char *format, ...)
{
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, "bad-stream", "offset %" PRIu64 ": %s",
                     offset, what);
}

/* ---- the table of ids ---- */

static struct id_entry *find_id(const struct qemu_stream_ids *ids, uint32_t section_id)
{
    for (unsigned i = 0; i < ids->count; i++)
        if (ids->entries[i].section_id == section_id)
            return &ids->entries[i];
    return NULL;
}

static struct id_entry *find_name(const struct qemu_stream_ids *ids, const char *idstr,
                                  uint32_t instance_id)
{
    for (unsigned i = 0; i < ids->count; i++)
        if (ids->entries[i].instance_id == instance_id && strcmp(ids->entries[i].idstr, idstr) == 0)
            return &ids->entries[i];
    return NULL;
}

static struct id_entry *new_entry(struct qemu_stream_ids *ids)
{
    if (ids->count == ids->size) {
        unsigned size = ids->size ? 2 * ids->size : 64;
        struct id_entry *entries = realloc(ids->entries, size * sizeof(*entries));
        if (!entries)
            return NULL;
        ids->entries = entries;
        ids->size = size;
    }
    return &ids->entries[ids->count];
}

static int add_id(struct qemu_stream_ids *ids, const struct qemu_section *section,
                  struct vmig_error *err)
{
    if (ids->count == QEMU_SECTIONS_MAX)
        return qemu_section_error(section, section->offset, EINVAL, err,
                                  "it is one more than the %d sections a stream may have",
                                  QEMU_SECTIONS_MAX);
    struct id_entry *entry = new_entry(ids);
    char *idstr = entry ? strdup(section->idstr) : NULL;
    if (!idstr)
        return qemu_section_error(section, section->offset, ENOMEM, err, "out of memory");
    *entry = (struct id_entry) {
        .section_id = section->section_id,
        .instance_id = section->instance_id,
        .version_id = section->version_id,
        .live = section->type == QEMU_SECTION_START,
        .idstr = idstr,
    };
    ids->count++;
    return 0;
}

/* A new id, or the FULL section of a handler whose START introduced it. One name has one id. */
static int introduce(struct qemu_stream_ids *ids, const struct qemu_section *section,
                     struct vmig_error *err)
{
    const struct id_entry *same_id = find_id(ids, section->section_id);
    const struct id_entry *same_name = find_name(ids, section->idstr, section->instance_id);
    if (!same_id && !same_name)
        return add_id(ids, section, err);
    if (same_id && same_id != same_name)
        return qemu_section_error(section, section->offset, EINVAL, err,
                                  "its id belongs to \"%.100s\" already", same_id->idstr);
    if (!same_id)
        return qemu_section_error(section, section->offset, EINVAL, err,
                                  "it was introduced with id %" PRIu32 " before",
                                  same_name->section_id);
    if (section->type != QEMU_SECTION_FULL || !same_id->live)
        return qemu_section_error(section, section->offset, EINVAL, err,
                                  "it is introduced a second time");
    return 0;
}

static int look_up(const struct qemu_stream_ids *ids, struct qemu_section *section,
                   struct vmig_error *err)
{
    struct id_entry *entry = find_id(ids, section->section_id);
    if (!entry || !entry->live)
        return refuse(section->offset, err,
                      "a section goes on with id %" PRIu32 ", which no START introduced",
                      section->section_id);
    snprintf(section->idstr, sizeof(section->idstr), "%s", entry->idstr);
    section->instance_id = entry->instance_id;
    section->version_id = entry->version_id;
    if (entry->ended)
        return qemu_section_error(section, section->offset, EINVAL, err,
                                  "it goes on after its END");
    entry->ended = section->type == QEMU_SECTION_END;
    return 0;
}

/* ---- header and CONFIGURATION ---- */

static void read_page_bits(struct qemu_stream *s)
{
    uint64_t start = s->reader->offset;
    uint32_t bits = reader_u32(s->reader);
    /* 4 KiB is the smallest page of any CPU that QEMU migrates this way, 2 MiB beyond the largest
     */
    if (bits < 12 || bits > 16)
        reader_fail_at(s->reader, start, -EOPNOTSUPP);
    s->page_bits = (uint8_t)bits;
}

static void read_capabilities(struct qemu_stream *s)
{
    uint64_t start = s->reader->offset;
    uint32_t count = reader_u32(s->reader);
    if (count > 64) /* QEMU has under 30 capabilities in all */
        reader_fail_at(s->reader, start, -EINVAL);
    for (uint32_t i = 0; i < count && !reader_failed(s->reader); i++) {
        char name[256];
        uint64_t at = s->reader->offset;
        reader_str8(s->reader, name);
        if (strcmp(name, "x-ignore-shared") == 0)
            s->ignore_shared = true;
        else if (strcmp(name, "mapped-ram") == 0)
            s->mapped_ram = true;
        else
            reader_fail_at(s->reader, at, -EOPNOTSUPP);
    }
}

static void read_uuid(struct qemu_stream *s)
{
    reader_bytes(s->reader, s->uuid, sizeof(s->uuid));
    s->has_uuid = !reader_failed(s->reader);
}

static const struct {
    const char *name;
    void (*read)(struct qemu_stream *s);
} configuration_parts[] = {
    { "configuration/target-page-bits", read_page_bits },
    { "configuration/capabilities", read_capabilities },
    { "configuration/uuid", read_uuid },
};
#define NUM_PARTS (sizeof(configuration_parts) / sizeof(configuration_parts[0]))

/* QEMU writes the parts in the table's order and each at most once. Returns the part's number + 1,
 * or 0 after a failure. */
static unsigned read_configuration_part(struct qemu_stream *s, unsigned from)
{
    char name[256];
    uint64_t start = s->reader->offset;
    reader_u8(s->reader);
    reader_str8(s->reader, name);
    uint64_t version_at = s->reader->offset;
    uint32_t version = reader_u32(s->reader);
    unsigned i = from;
    while (i < NUM_PARTS && strcmp(configuration_parts[i].name, name) != 0)
        i++;
    if (i == NUM_PARTS)
        reader_fail_at(s->reader, start, -EINVAL);
    else if (version != 1)
        reader_fail_at(s->reader, version_at, -EOPNOTSUPP);
    else
        configuration_parts[i].read(s);
    return reader_failed(s->reader) ? 0 : i + 1;
}

static int read_configuration(struct qemu_stream *s, struct vmig_error *err)
{
    reader_u8(s->reader);
    uint64_t start = s->reader->offset;
    uint32_t length = reader_u32(s->reader);
    if (length >= sizeof(s->machine))
        return refuse(start, err,
                      "the machine's name is said to have %" PRIu32 " bytes; %zu are "
                      "the most",
                      length, sizeof(s->machine) - 1);
    reader_bytes(s->reader, s->machine, length);
    s->machine[length] = '\0';
    if (memchr(s->machine, '\0', length))
        reader_fail_at(s->reader, start, -EINVAL);
    unsigned next = 0;
    while (!reader_failed(s->reader) && reader_peek(s->reader) == QEMU_SUBSECTION)
        next = read_configuration_part(s, next);
    s->footers = true;
    return reader_error(s->reader, "configuration", err);
}

static int read_header(struct qemu_stream *s, struct vmig_error *err)
{
    uint64_t start = s->reader->offset;
    uint32_t magic = reader_u32(s->reader);
    uint32_t version = reader_u32(s->reader);
    int rc = reader_error(s->reader, "header", err);
    if (rc < 0)
        return rc;
    if (magic != QEMU_MAGIC)
        return refuse(start, err,
                      "this is no migration stream: it begins with %#010" PRIx32
                      " and not with %#010x",
                      magic, QEMU_MAGIC);
    if (version != QEMU_VERSION)
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, "bad-stream",
                         "offset %" PRIu64 ": the stream has format version %" PRIu32
                         " and only %u is supported",
                         start + 4, version, QEMU_VERSION);
    return 0;
}

int qemu_stream_open(struct qemu_stream *s, struct reader *reader, struct vmig_error *err)
{
    *s = (struct qemu_stream) { .reader = reader };
    s->ids = calloc(1, sizeof(*s->ids));
    int rc = s->ids ? read_header(s, err)
                    : error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    if (rc == 0 && reader_peek(reader) == QEMU_CONFIGURATION)
        rc = read_configuration(s, err);
    if (rc < 0)
        qemu_stream_close(s);
    return rc;
}

void qemu_stream_close(struct qemu_stream *s)
{
    for (unsigned i = 0; s->ids && i < s->ids->count; i++)
        free(s->ids->entries[i].idstr);
    if (s->ids)
        free(s->ids->entries);
    free(s->ids);
    s->ids = NULL;
}

/* ---- sections ---- */

static int read_introduction(struct qemu_stream *s, struct qemu_section *section,
                             struct vmig_error *err)
{
    section->section_id = reader_u32(s->reader);
    reader_str8(s->reader, section->idstr);
    section->instance_id = reader_u32(s->reader);
    section->version_id = reader_u32(s->reader);
    int rc = reader_error(s->reader, "a section's beginning", err);
    if (rc == 0 && !section->idstr[0])
        rc = refuse(section->offset, err, "a section without a name");
    return rc < 0 ? rc : introduce(s->ids, section, err);
}

static int read_continuation(struct qemu_stream *s, struct qemu_section *section,
                             struct vmig_error *err)
{
    section->section_id = reader_u32(s->reader);
    int rc = reader_error(s->reader, "a section's beginning", err);
    return rc < 0 ? rc : look_up(s->ids, section, err);
}

static int read_command(struct qemu_stream *s, struct qemu_section *section, struct vmig_error *err)
{
    section->command = reader_u16(s->reader);
    section->length = reader_u16(s->reader);
    int rc = reader_error(s->reader, "a command's beginning", err);
    if (rc == 0 && section->command == 0)
        rc = refuse(section->offset, err, "command 0, which does not exist");
    return rc;
}

static int read_description(struct qemu_stream *s, struct qemu_section *section,
                            struct vmig_error *err)
{
    section->length = reader_u32(s->reader);
    return reader_error(s->reader, "the description's length", err);
}

int qemu_read_section(struct qemu_stream *s, struct qemu_section *ret, struct vmig_error *err)
{
    *ret = (struct qemu_section) { .offset = s->reader->offset };
    ret->type = reader_u8(s->reader);
    int rc = reader_error(s->reader, "the type of the next section", err);
    if (rc < 0)
        return rc;
    switch (ret->type) {
    case QEMU_EOF:
        return 0;
    case QEMU_SECTION_START:
    case QEMU_SECTION_FULL:
        return read_introduction(s, ret, err);
    case QEMU_SECTION_PART:
    case QEMU_SECTION_END:
        return read_continuation(s, ret, err);
    case QEMU_COMMAND:
        return read_command(s, ret, err);
    case QEMU_VMDESCRIPTION:
        return read_description(s, ret, err);
    default:
        return refuse(ret->offset, err, "byte %#04x stands where a section should begin",
                      ret->type);
    }
}

static bool has_footer(const struct qemu_section *section)
{
    return section->type >= QEMU_SECTION_START && section->type <= QEMU_SECTION_FULL;
}

int qemu_read_footer(struct qemu_stream *s, const struct qemu_section *section,
                     struct vmig_error *err)
{
    int rc = qemu_payload_error(section, s->reader, err);
    if (rc < 0 || !s->footers || !has_footer(section))
        return rc;
    uint64_t start = s->reader->offset;
    uint8_t type = reader_u8(s->reader);
    if (!reader_failed(s->reader) && type != QEMU_SECTION_FOOTER)
        return qemu_section_error(section, start, EINVAL, err,
                                  "byte %#04x stands where its footer should begin", type);
    uint32_t id = reader_u32(s->reader);
    rc = qemu_payload_error(section, s->reader, err);
    if (rc < 0)
        return rc;
    if (id != section->section_id)
        return qemu_section_error(section, start, EINVAL, err, "its footer names id %" PRIu32, id);
    return 0;
}

void qemu_read_return(struct reader *r, struct qemu_return_header *ret)
{
    uint64_t start = r->offset;
    ret->type = reader_u16(r);
    ret->length = reader_u16(r);
    if (!reader_failed(r) && ret->type == 0)
        reader_fail_at(r, start, -EINVAL);
}
