/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saving in the bulk format: a generator of records that can stop at any byte. Payloads are handed
 * out as they lie in memory; only headers and digests are copied.
 */
#include "refdev/model/stream-bulk.h"

void refdev_bulk_save_begin(struct refdev_model *model)
{
    model->stream.bulk.phase = refdev_bulk_is_framed(model) ? REFDEV_BULK_SIZE : REFDEV_BULK_HEADER;
}

static void mark_all_dirty(struct refdev_model *model)
{
    for (uint64_t page = 0; page < model->local_pages; page++)
        model->dirty_bits[page / 64] |= 1ull << page % 64;
    model->dirty_pages = model->local_pages;
}

void refdev_bulk_save_stopped(struct refdev_model *model)
{
    if (model->profile->quirks & REFDEV_QUIRK_WHOLE_AGAIN)
        mark_all_dirty(model);
    /* What a rogue peer writes from now on must not change what is sent. */
    refdev_copy(model->stream.bulk.shared, model->shared, REFDEV_SHARED_BYTES);
}

static void begin_record(struct refdev_model *model, enum bulk_type type, uint64_t first,
                         const void *payload, uint64_t length_bytes)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    bulk->frame = (struct refdev_frame) { BULK_OVERHEAD + length_bytes, 0, BULK_TAG_IMAGE };
    bulk->record = (struct refdev_record) { .magic = BULK_MAGIC,
                                            .type = type,
                                            .sequence = bulk->sequence++,
                                            .first = first,
                                            .length_bytes = length_bytes };
    bulk->payload = payload;
    bulk->part = refdev_bulk_is_framed(model) ? PART_FRAME : PART_HEADER;
    bulk->part_done = 0;
    refdev_digest_begin(&bulk->digest, bulk->record.sequence);
}

/* The one frame that is no image: nothing but a number, for the target to allocate by. */
static void begin_size(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    bulk->section.words[0] = refdev_bulk_save_length(model);
    bulk->frame = (struct refdev_frame) { sizeof(uint64_t), BULK_FRAME_OPTIONAL, BULK_TAG_SIZE };
    bulk->record.length_bytes = sizeof(uint64_t);
    bulk->payload = bulk->section.words;
    bulk->part = PART_FRAME;
    bulk->part_done = 0;
}

static void begin_pages(struct refdev_model *model, uint64_t first, uint64_t count)
{
    begin_record(model, BULK_PAGES, first, model->local + first * REFDEV_PATTERN_LANES,
                 count * REFDEV_PAGE_BYTES);
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

static bool waits_for_fetch(const struct refdev_model *model)
{
    return (model->profile->quirks & REFDEV_QUIRK_INFO_FETCHES) &&
           model->state != VMIG_STATE_STOP_COPY;
}

/* How many dirty pages may go out now. */
static uint64_t sendable_pages(const struct refdev_model *model)
{
    return waits_for_fetch(model) ? model->stream.bulk.increment_pages : model->dirty_pages;
}

static bool begin_dirty_run(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t most = sendable_pages(model);
    if (!most)
        return false;
    if (most > REFDEV_RUN_PAGES)
        most = REFDEV_RUN_PAGES;
    uint64_t first = next_dirty(model, bulk->cursor);
    if (first >= model->local_pages)
        first = next_dirty(model, 0);
    uint64_t end = first;
    while (end < model->local_pages && end - first < most && is_dirty(model, end))
        clear_dirty(model, end++);
    begin_pages(model, first, end - first);
    bulk->cursor = end;
    if (waits_for_fetch(model))
        bulk->increment_pages -= end - first;
    return true;
}

/* Was everything read that there was to read? */
static bool is_drained(const struct refdev_bulk *bulk, uint64_t local_pages)
{
    bool first_pass_over = bulk->phase == REFDEV_BULK_DIRTY ||
                           (bulk->phase == REFDEV_BULK_FIRST && bulk->cursor == local_pages);
    return first_pass_over && bulk->part == PART_NONE && !bulk->increment_pages;
}

void refdev_bulk_save_fetch(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    if (!is_drained(bulk, model->local_pages))
        return;
    if (model->profile->quirks & REFDEV_QUIRK_WHOLE_AGAIN)
        mark_all_dirty(model);
    bulk->increment_pages = model->dirty_pages;
}

/* Begin the next record. False: there is none, at least for now. */
static bool begin_next(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t *words = bulk->section.words;
    switch (bulk->phase) {
    case REFDEV_BULK_SIZE:
        begin_size(model);
        bulk->phase = REFDEV_BULK_HEADER;
        return true;
    case REFDEV_BULK_HEADER:
        bulk->phase = REFDEV_BULK_FIRST;
        refdev_bulk_header_fill(model, words);
        begin_record(model, BULK_HEADER, 0, words, BULK_H_WORDS * 8);
        return true;
    case REFDEV_BULK_FIRST:
        if (begin_first_pass(model))
            return true;
        bulk->phase = REFDEV_BULK_DIRTY;
        __attribute__((__fallthrough__));
    case REFDEV_BULK_DIRTY:
        if (begin_dirty_run(model))
            return true;
        if (model->state != VMIG_STATE_STOP_COPY)
            return false;
        bulk->phase = REFDEV_BULK_SHARED;
        refdev_bulk_device_fill(model, words);
        begin_record(model, BULK_DEVICE, 0, words, BULK_D_WORDS * 8);
        return true;
    case REFDEV_BULK_SHARED:
        bulk->phase = REFDEV_BULK_END;
        begin_record(model, BULK_SHARED, 0, bulk->shared, REFDEV_SHARED_BYTES);
        return true;
    case REFDEV_BULK_END:
        bulk->phase = REFDEV_BULK_DONE;
        words[0] = bulk->record_bytes;
        begin_record(model, BULK_END, 0, words, 8);
        return true;
    case REFDEV_BULK_DONE:
        break;
    }
    return false;
}

static const void *part_data(const struct refdev_bulk *bulk, unsigned part, uint64_t *length_bytes)
{
    switch (part) {
    case PART_FRAME:
        *length_bytes = BULK_FRAME_BYTES;
        return &bulk->frame;
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

static unsigned next_part(const struct refdev_bulk *bulk, unsigned part)
{
    bool image = bulk->frame.tag == BULK_TAG_IMAGE;
    if (part == PART_TRAILER || (part == PART_PAYLOAD && !image))
        return PART_NONE;
    return part == PART_FRAME && !image ? PART_PAYLOAD : part + 1;
}

static void end_part(struct refdev_bulk *bulk)
{
    bulk->part_done = 0;
    bulk->part = next_part(bulk, bulk->part);
    if (bulk->part == PART_TRAILER)
        bulk->trailer = refdev_digest_end(&bulk->digest);
}

/* Pass on more of the present part; false when nothing more fits. */
static bool emit_part(struct refdev_model *model, struct refdev_emit *emit)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t length, taken;
    const uint8_t *data = part_data(bulk, bulk->part, &length);
    data += bulk->part_done;
    length -= bulk->part_done;
    /* The section buffer is used again before what was emitted is sent. */
    if (bulk->part == PART_PAYLOAD && bulk->payload != bulk->section.words)
        taken = refdev_emit_memory(emit, data, length);
    else
        taken = refdev_emit_copy(model, emit, data, length);
    if (bulk->part == PART_HEADER || bulk->part == PART_PAYLOAD)
        refdev_digest_add(&bulk->digest, data, taken);
    bulk->part_done += taken;
    bulk->offset += taken;
    if (bulk->part != PART_FRAME && bulk->frame.tag == BULK_TAG_IMAGE)
        bulk->record_bytes += taken;
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
    model->stream.bulk.increment_pages = 0;
}

/* ---- sizes ---- */

static uint64_t under_way(const struct refdev_bulk *bulk)
{
    uint64_t rest = 0, length;
    for (unsigned part = bulk->part; part != PART_NONE; part = next_part(bulk, part)) {
        part_data(bulk, part, &length);
        rest += length;
    }
    return rest - bulk->part_done;
}

static uint64_t record_length(const struct refdev_model *model, uint64_t payload_bytes)
{
    return refdev_bulk_overhead(model) + payload_bytes;
}

static uint64_t pages_length(const struct refdev_model *model, uint64_t pages)
{
    uint64_t runs = (pages + REFDEV_RUN_PAGES - 1) / REFDEV_RUN_PAGES;
    return pages * REFDEV_PAGE_BYTES + runs * refdev_bulk_overhead(model);
}

/* Records before the pages that have not begun. */
static uint64_t head_length(const struct refdev_model *model, enum refdev_bulk_phase phase)
{
    uint64_t length = 0;
    if (phase == REFDEV_BULK_SIZE)
        length += BULK_FRAME_BYTES + sizeof(uint64_t);
    if (phase <= REFDEV_BULK_HEADER)
        length += record_length(model, BULK_H_WORDS * 8);
    return length;
}

/* And those behind. */
static uint64_t tail_length(const struct refdev_model *model, enum refdev_bulk_phase phase)
{
    uint64_t length = 0;
    if (phase < REFDEV_BULK_SHARED)
        length += record_length(model, BULK_D_WORDS * 8);
    if (phase <= REFDEV_BULK_SHARED)
        length += record_length(model, REFDEV_SHARED_BYTES);
    if (phase <= REFDEV_BULK_END)
        length += record_length(model, 8);
    return length;
}

static uint64_t whole_length(const struct refdev_model *model)
{
    enum refdev_bulk_phase first =
        refdev_bulk_is_framed(model) ? REFDEV_BULK_SIZE : REFDEV_BULK_HEADER;
    return head_length(model, first) + pages_length(model, model->local_pages) +
           tail_length(model, first);
}

void refdev_bulk_save_info(const struct refdev_model *model, uint64_t *initial, uint64_t *dirty)
{
    const struct refdev_bulk *bulk = &model->stream.bulk;
    bool first_pass = bulk->phase <= REFDEV_BULK_FIRST;
    *initial = *dirty = 0;
    if (first_pass)
        *initial = head_length(model, bulk->phase) + under_way(bulk) +
                   pages_length(model, model->local_pages - bulk->cursor);
    *dirty = sendable_pages(model) * (REFDEV_PAGE_BYTES + refdev_bulk_overhead(model));
    if (bulk->phase == REFDEV_BULK_DIRTY)
        *dirty += under_way(bulk);
}

uint64_t refdev_bulk_save_length(const struct refdev_model *model)
{
    const struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t initial, dirty;
    if (!model->tracking || (model->profile->quirks & REFDEV_QUIRK_SIZE_IS_WHOLE))
        return whole_length(model);
    refdev_bulk_save_info(model, &initial, &dirty);
    if (bulk->phase < REFDEV_BULK_SHARED)
        return initial + dirty + tail_length(model, bulk->phase);
    return under_way(bulk) + tail_length(model, bulk->phase);
}
