/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saving in the bulk format: a generator of records that can stop at any byte. Payloads are handed
 * out as they lie in memory; only headers and digests are copied.
 */
#include "refdev/model/stream-bulk.h"

enum { PART_NONE, PART_HEADER, PART_PAYLOAD, PART_TRAILER };

void refdev_bulk_save_begin(struct refdev_model *model)
{
    model->stream.bulk.phase = REFDEV_BULK_HEADER;
}

void refdev_bulk_save_stopped(struct refdev_model *model)
{
    /* What a rogue peer writes from now on must not change what is sent. */
    refdev_copy(model->stream.bulk.shared, model->shared, REFDEV_SHARED_BYTES);
}

static void begin_record(struct refdev_bulk *bulk, enum bulk_type type, uint64_t first,
                         const void *payload, uint64_t length_bytes)
{
    bulk->record = (struct refdev_record) { .magic = BULK_MAGIC,
                                            .type = type,
                                            .sequence = bulk->sequence++,
                                            .first = first,
                                            .length_bytes = length_bytes };
    bulk->payload = payload;
    bulk->part = PART_HEADER;
    bulk->part_done = 0;
    refdev_digest_begin(&bulk->digest, bulk->record.sequence);
}

static void begin_pages(struct refdev_model *model, uint64_t first, uint64_t count)
{
    begin_record(&model->stream.bulk, BULK_PAGES, first,
                 model->local + first * REFDEV_PATTERN_LANES, count * REFDEV_PAGE_BYTES);
}

static void clear_dirty(struct refdev_model *model, uint64_t page)
{
    uint64_t bit = 1ull << page % 64;
    if (!(model->dirty_bits[page / 64] & bit))
        return;
    model->dirty_bits[page / 64] &= ~bit;
    model->dirty_pages--;
}

static bool is_dirty(const struct refdev_model *model, uint64_t page)
{
    return model->dirty_bits[page / 64] >> page % 64 & 1;
}

static bool begin_first_pass(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t count = model->local_pages - bulk->cursor, first = bulk->cursor;
    if (!count)
        return false;
    if (count > REFDEV_RUN_PAGES)
        count = REFDEV_RUN_PAGES;
    for (uint64_t page = first; page < first + count; page++)
        clear_dirty(model, page);
    begin_pages(model, first, count);
    bulk->cursor += count;
    return true;
}

/* The next dirty page at or after @page, or the number of pages. */
static uint64_t next_dirty(const struct refdev_model *model, uint64_t page)
{
    while (page < model->local_pages) {
        uint64_t word = model->dirty_bits[page / 64] >> page % 64;
        if (word)
            return page + (uint64_t)__builtin_ctzll(word);
        page = (page / 64 + 1) * 64;
    }
    return model->local_pages;
}

static bool begin_dirty_run(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    if (!model->dirty_pages)
        return false;
    uint64_t first = next_dirty(model, bulk->cursor);
    if (first >= model->local_pages)
        first = next_dirty(model, 0);
    uint64_t end = first;
    while (end < model->local_pages && end - first < REFDEV_RUN_PAGES && is_dirty(model, end))
        clear_dirty(model, end++);
    begin_pages(model, first, end - first);
    bulk->cursor = end;
    return true;
}

/* Begin the next record. False: there is none, at least for now. */
static bool begin_next(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t *words = bulk->section.words;
    switch (bulk->phase) {
    case REFDEV_BULK_HEADER:
        bulk->phase = REFDEV_BULK_FIRST;
        refdev_bulk_header_fill(model, words);
        begin_record(bulk, BULK_HEADER, 0, words, BULK_H_WORDS * 8);
        return true;
    case REFDEV_BULK_FIRST:
        if (begin_first_pass(model))
            return true;
        bulk->phase = REFDEV_BULK_DIRTY;
        /* fall through */
    case REFDEV_BULK_DIRTY:
        if (begin_dirty_run(model))
            return true;
        if (model->state != VMIG_STATE_STOP_COPY)
            return false;
        bulk->phase = REFDEV_BULK_SHARED;
        refdev_bulk_device_fill(model, words);
        begin_record(bulk, BULK_DEVICE, 0, words, BULK_D_WORDS * 8);
        return true;
    case REFDEV_BULK_SHARED:
        bulk->phase = REFDEV_BULK_END;
        begin_record(bulk, BULK_SHARED, 0, bulk->shared, REFDEV_SHARED_BYTES);
        return true;
    case REFDEV_BULK_END:
        bulk->phase = REFDEV_BULK_DONE;
        words[0] = bulk->offset;
        begin_record(bulk, BULK_END, 0, words, 8);
        return true;
    case REFDEV_BULK_DONE:
        break;
    }
    return false;
}

static const void *part_data(const struct refdev_bulk *bulk, uint64_t *length_bytes)
{
    switch (bulk->part) {
    case PART_HEADER:
        *length_bytes = BULK_RECORD_BYTES;
        return &bulk->record;
    case PART_PAYLOAD:
        *length_bytes = bulk->record.length_bytes;
        return bulk->payload;
    default:
        *length_bytes = sizeof(bulk->trailer);
        return &bulk->trailer;
    }
}

static void end_part(struct refdev_bulk *bulk)
{
    bulk->part_done = 0;
    bulk->part = bulk->part == PART_TRAILER ? PART_NONE : bulk->part + 1;
    if (bulk->part == PART_TRAILER)
        bulk->trailer = refdev_digest_end(&bulk->digest);
}

/* Pass on more of the present part; false when nothing more fits. */
static bool emit_part(struct refdev_model *model, struct refdev_emit *emit)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t length, taken;
    const uint8_t *data = part_data(bulk, &length);
    data += bulk->part_done;
    length -= bulk->part_done;
    /* The section buffer is used again before what was emitted is sent. */
    if (bulk->part == PART_PAYLOAD && bulk->payload != bulk->section.words)
        taken = refdev_emit_memory(emit, data, length);
    else
        taken = refdev_emit_copy(model, emit, data, length);
    if (bulk->part != PART_TRAILER)
        refdev_digest_add(&bulk->digest, data, taken);
    bulk->part_done += taken;
    bulk->offset += taken;
    if (taken < length)
        return false;
    end_part(bulk);
    return true;
}

void refdev_bulk_save_read(struct refdev_model *model, struct refdev_emit *emit)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    while (emit->room_bytes) {
        if (bulk->part == PART_NONE && !begin_next(model))
            return;
        if (!emit_part(model, emit))
            return;
    }
}

/* A record that is under way is finished first. */
void refdev_bulk_save_again(struct refdev_model *model)
{
    for (uint64_t page = 0; page < model->local_pages; page++)
        clear_dirty(model, page);
    model->stream.bulk.phase = REFDEV_BULK_FIRST;
    model->stream.bulk.cursor = 0;
}

/* ---- sizes ---- */

static uint64_t under_way(const struct refdev_bulk *bulk)
{
    uint64_t rest = 0;
    switch (bulk->part) {
    case PART_HEADER:
        rest = BULK_OVERHEAD + bulk->record.length_bytes;
        break;
    case PART_PAYLOAD:
        rest = bulk->record.length_bytes + sizeof(bulk->trailer);
        break;
    case PART_TRAILER:
        rest = sizeof(bulk->trailer);
        break;
    default:
        break;
    }
    return rest - bulk->part_done;
}

static uint64_t pages_length(uint64_t pages)
{
    return pages * REFDEV_PAGE_BYTES +
           (pages + REFDEV_RUN_PAGES - 1) / REFDEV_RUN_PAGES * BULK_OVERHEAD;
}

#define HEADER_LENGTH (BULK_OVERHEAD + BULK_H_WORDS * 8)
#define TAIL_LENGTH                                                                                \
    (BULK_OVERHEAD + BULK_D_WORDS * 8 + BULK_OVERHEAD + REFDEV_SHARED_BYTES + BULK_OVERHEAD + 8)

void refdev_bulk_save_info(const struct refdev_model *model, uint64_t *initial, uint64_t *dirty)
{
    const struct refdev_bulk *bulk = &model->stream.bulk;
    bool first_pass = bulk->phase <= REFDEV_BULK_FIRST;
    *initial = first_pass ? pages_length(model->local_pages - bulk->cursor) + under_way(bulk) : 0;
    if (bulk->phase == REFDEV_BULK_HEADER)
        *initial += HEADER_LENGTH;
    *dirty = model->dirty_pages * (REFDEV_PAGE_BYTES + BULK_OVERHEAD);
    if (bulk->phase == REFDEV_BULK_DIRTY)
        *dirty += under_way(bulk);
}

uint64_t refdev_bulk_save_length(const struct refdev_model *model)
{
    const struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t initial, dirty, tail = TAIL_LENGTH;
    if (!model->tracking)
        return HEADER_LENGTH + pages_length(model->local_pages) + TAIL_LENGTH;
    refdev_bulk_save_info(model, &initial, &dirty);
    if (bulk->phase < REFDEV_BULK_SHARED)
        return initial + dirty + tail;
    tail = under_way(bulk);
    if (bulk->phase == REFDEV_BULK_SHARED)
        tail += BULK_OVERHEAD + REFDEV_SHARED_BYTES;
    if (bulk->phase <= REFDEV_BULK_END)
        tail += BULK_OVERHEAD + 8;
    return tail;
}
