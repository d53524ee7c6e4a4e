/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "lib/error.h"
#include "lib/stream/vfio-section.h"

enum {
    STATE_BEGIN,   /* nothing was read */
    STATE_DATA,    /* DATA records were */
    STATE_CLOSING, /* only END_OF_STATE can follow */
    STATE_OVER,
    STATE_COUNT
};

#define IN(type) (1u << (type))
#define START IN(QEMU_SECTION_START)
#define PART IN(QEMU_SECTION_PART)
#define END IN(QEMU_SECTION_END)
#define FULL IN(QEMU_SECTION_FULL)

/* Where each word may stand: in which sections after which states, and the state that follows. */
static const struct row {
    uint64_t word;
    unsigned sections, states;
    unsigned next;
    enum qemu_vfio_record record;
    const char *name;
} rows[] = {
    { QEMU_VFIO_DEV_SETUP_STATE, START, 1u << STATE_BEGIN, STATE_CLOSING, QEMU_VFIO_SETUP,
      "DEV_SETUP_STATE" },
    { QEMU_VFIO_DEV_DATA_STATE, PART | END, 1u << STATE_BEGIN | 1u << STATE_DATA, STATE_DATA,
      QEMU_VFIO_DATA, "DEV_DATA_STATE" },
    { QEMU_VFIO_DEV_INIT_DATA_SENT, PART, 1u << STATE_BEGIN | 1u << STATE_DATA, STATE_OVER,
      QEMU_VFIO_INITIAL_SENT, "DEV_INIT_DATA_SENT" },
    { QEMU_VFIO_DEV_CONFIG_STATE, FULL, 1u << STATE_BEGIN, STATE_CLOSING, QEMU_VFIO_CONFIG,
      "DEV_CONFIG_STATE" },
    { QEMU_VFIO_DEV_CONFIG_LOAD_READY, FULL, 1u << STATE_BEGIN, STATE_OVER,
      QEMU_VFIO_CONFIG_LOAD_READY, "DEV_CONFIG_LOAD_READY" },
    { QEMU_VFIO_END_OF_STATE, START, 1u << STATE_CLOSING, STATE_OVER, QEMU_VFIO_END,
      "END_OF_STATE" },
    { QEMU_VFIO_END_OF_STATE, PART | END | FULL,
      1u << STATE_BEGIN | 1u << STATE_DATA | 1u << STATE_CLOSING, STATE_OVER, QEMU_VFIO_END,
      "END_OF_STATE" },
};
#define NUM_ROWS (sizeof(rows) / sizeof(rows[0]))

void qemu_vfio_write_setup(struct writer *w)
{
    writer_u64(w, QEMU_VFIO_DEV_SETUP_STATE);
    writer_u64(w, QEMU_VFIO_END_OF_STATE);
}

void qemu_vfio_write_data_head(struct writer *w, uint64_t length_bytes)
{
    writer_u64(w, QEMU_VFIO_DEV_DATA_STATE);
    writer_u64(w, length_bytes);
}

void qemu_vfio_write_initial_sent(struct writer *w)
{
    writer_u64(w, QEMU_VFIO_DEV_INIT_DATA_SENT);
}

void qemu_vfio_write_end(struct writer *w)
{
    writer_u64(w, QEMU_VFIO_END_OF_STATE);
}

void qemu_vfio_begin(struct qemu_vfio_reader *v, struct reader *reader,
                     const struct qemu_section *section)
{
    *v = (struct qemu_vfio_reader) { .reader = reader, .section = section };
}

static const struct row *find_row(const struct qemu_vfio_reader *v, uint64_t word,
                                  const char **ret_name)
{
    *ret_name = NULL;
    for (size_t i = 0; i < NUM_ROWS; i++) {
        if (rows[i].word != word)
            continue;
        *ret_name = rows[i].name;
        if (v->section->type < 32 && (rows[i].sections & IN(v->section->type)) &&
            (rows[i].states & 1u << v->state))
            return &rows[i];
    }
    return NULL;
}

static int refuse_word(struct qemu_vfio_reader *v, uint64_t word, const char *name,
                       struct vmig_error *err)
{
    reader_fail_at(v->reader, v->word_offset, -EINVAL);
    if (name)
        return qemu_section_error(v->section, v->word_offset, EINVAL, err, "%s may not stand here",
                                  name);
    return qemu_section_error(v->section, v->word_offset, EINVAL, err,
                              "%#018" PRIx64 " is no VFIO delimiter", word);
}

static int read_length(struct qemu_vfio_reader *v, struct vmig_error *err)
{
    uint64_t at = v->reader->offset;
    uint64_t length = reader_u64(v->reader);
    int rc = qemu_payload_error(v->section, v->reader, err);
    if (rc < 0)
        return rc;
    if (length > QEMU_VFIO_DATA_MAX) {
        reader_fail_at(v->reader, at, -EINVAL);
        return qemu_section_error(v->section, at, EINVAL, err,
                                  "a data record of %" PRIu64 " bytes; %" PRIu64 " are the most",
                                  length, QEMU_VFIO_DATA_MAX);
    }
    v->data_left = length;
    return 0;
}

int qemu_vfio_next(struct qemu_vfio_reader *v, enum qemu_vfio_record *ret_record,
                   uint64_t *ret_length_bytes, struct vmig_error *err)
{
    reader_skip(v->reader, v->data_left);
    v->data_left = 0;
    v->word_offset = v->reader->offset;
    uint64_t word = reader_u64(v->reader);
    int rc = qemu_payload_error(v->section, v->reader, err);
    if (rc < 0)
        return rc;
    const char *name;
    const struct row *row = find_row(v, word, &name);
    if (!row)
        return refuse_word(v, word, name, err);
    if (row->record == QEMU_VFIO_DATA)
        rc = read_length(v, err);
    if (rc < 0)
        return rc;
    v->state = row->next;
    *ret_record = row->record;
    *ret_length_bytes = v->data_left;
    return 0;
}

ssize_t qemu_vfio_data(struct qemu_vfio_reader *v, void *buf, size_t size, struct vmig_error *err)
{
    size_t n = size < v->data_left ? size : (size_t)v->data_left;
    reader_bytes(v->reader, buf, n);
    int rc = qemu_payload_error(v->section, v->reader, err);
    if (rc < 0)
        return rc;
    v->data_left -= n;
    return (ssize_t)n;
}
