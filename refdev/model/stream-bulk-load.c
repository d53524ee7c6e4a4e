/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading the bulk format. The loader says where the next bytes belong (a record's header, a run
 * of local memory, a section), the door puts them there, and the loader judges every part as soon
 * as it is whole. What was judged wrong once stays refused until the device is reset.
 */
#include "refdev/model/stream-bulk.h"

static void begin_record(struct refdev_model *model)
{
    model->stream.bulk.part = refdev_bulk_is_framed(model) ? PART_FRAME : PART_HEADER;
}

void refdev_bulk_load_begin(struct refdev_model *model)
{
    begin_record(model);
}

static int refuse_as(struct refdev_model *model, int code, const char *why)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    bulk->refused = true;
    refdev_refuse(model, why, bulk->offset);
    return -code;
}

static int refuse(struct refdev_model *model, const char *why)
{
    return refuse_as(model, EINVAL, why);
}

static int frame_ends(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    const struct refdev_frame *frame = &bulk->frame;
    if (frame->length_bytes > BULK_IMAGE_MAX)
        return refuse_as(model, ENOMEM, "an image larger than this device's can be");
    bulk->part = PART_HEADER;
    if (frame->tag == BULK_TAG_IMAGE)
        return frame->length_bytes < BULK_OVERHEAD ? refuse(model, "an image without contents") : 0;
    if (!(frame->flags & BULK_FRAME_OPTIONAL))
        return refuse_as(model, EOPNOTSUPP, "a record of unknown kind that may not be skipped");
    bulk->part = frame->length_bytes ? PART_SKIP : PART_FRAME;
    return 0;
}

/* Where a record's payload belongs, NULL with *why when it belongs nowhere. */
static void *payload_target(struct refdev_model *model, const char **why)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    const struct refdev_record *record = &bulk->record;
    uint64_t pages = record->length_bytes / REFDEV_PAGE_BYTES, wanted;
    *why = "a record of a wrong length";
    switch (record->type) {
    case BULK_HEADER:
        wanted = BULK_H_WORDS * 8;
        break;
    case BULK_PAGES:
        *why = "pages outside of local memory";
        if (!pages || record->length_bytes % REFDEV_PAGE_BYTES || pages > model->local_pages ||
            record->first > model->local_pages - pages)
            return NULL;
        return model->local + record->first * REFDEV_PATTERN_LANES;
    case BULK_DEVICE:
        wanted = BULK_D_WORDS * 8;
        break;
    case BULK_SHARED:
        return record->length_bytes == REFDEV_SHARED_BYTES ? bulk->shared : NULL;
    case BULK_END:
        wanted = 8;
        break;
    default:
        *why = "a record of unknown type";
        return NULL;
    }
    return record->length_bytes == wanted ? bulk->section.words : NULL;
}

static int record_begins(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    const struct refdev_record *record = &bulk->record;
    const char *why;
    if (record->magic != BULK_MAGIC)
        return refuse(model, bulk->seen ? "no record where one should be"
                                        : "not a state of this device family");
    if (record->sequence != bulk->sequence)
        return refuse(model, "a record is missing or out of order");
    if (refdev_bulk_is_framed(model) &&
        bulk->frame.length_bytes - BULK_OVERHEAD != record->length_bytes)
        return refuse(model, "an image of another length than its frame");
    if ((record->type == BULK_HEADER) == (bulk->seen != 0))
        return refuse(model, "the header is not first, or not alone");
    bulk->target = payload_target(model, &why);
    if (!bulk->target)
        return refuse(model, why);
    bulk->sequence++;
    refdev_digest_begin(&bulk->digest, record->sequence);
    refdev_digest_add(&bulk->digest, record, BULK_RECORD_BYTES);
    return 0;
}

/* Every page must have come once, in order; later ones replace it. */
static void pages_came(struct refdev_bulk *bulk)
{
    uint64_t end = bulk->record.first + bulk->record.length_bytes / REFDEV_PAGE_BYTES;
    if (bulk->record.first <= bulk->cursor && end > bulk->cursor)
        bulk->cursor = end;
}

static const char *check_end(const struct refdev_model *model)
{
    const struct refdev_bulk *bulk = &model->stream.bulk;
    if (bulk->section.words[0] != bulk->record_bytes - BULK_OVERHEAD - 8)
        return "length at the end differs";
    if (bulk->cursor != model->local_pages)
        return "pages are missing at the end";
    if (!(bulk->seen & 1u << BULK_DEVICE) || !(bulk->seen & 1u << BULK_SHARED))
        return "a section is missing at the end";
    return NULL;
}

/* DEVICE and SHARED are applied to the device as they come: it is refused or reset as a whole. */
static int record_ends(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    const uint64_t *words = bulk->section.words;
    const char *why = NULL;
    if (bulk->trailer != refdev_digest_end(&bulk->digest))
        return refuse(model, "digest of a record differs: the state is corrupt");
    switch (bulk->record.type) {
    case BULK_HEADER:
        why = refdev_bulk_header_check(model, words);
        break;
    case BULK_DEVICE:
        why = refdev_bulk_device_check(model, words);
        if (!why)
            refdev_bulk_device_apply(model, words);
        break;
    case BULK_SHARED:
        refdev_copy(model->shared, bulk->shared, REFDEV_SHARED_BYTES);
        break;
    case BULK_PAGES:
        pages_came(bulk);
        break;
    case BULK_END:
        bulk->ended = true;
        why = check_end(model);
        break;
    default:
        break;
    }
    bulk->seen |= 1u << bulk->record.type;
    return why ? refuse(model, why) : 0;
}

static uint8_t *part_data(struct refdev_bulk *bulk, uint64_t *length_bytes)
{
    switch (bulk->part) {
    case PART_FRAME:
        *length_bytes = BULK_FRAME_BYTES;
        return (uint8_t *)&bulk->frame;
    case PART_SKIP:
        *length_bytes = bulk->frame.length_bytes;
        return NULL;
    case PART_HEADER:
        *length_bytes = BULK_RECORD_BYTES;
        return (uint8_t *)&bulk->record;
    case PART_PAYLOAD:
        *length_bytes = bulk->record.length_bytes;
        return bulk->target;
    default:
        *length_bytes = sizeof(bulk->trailer);
        return (uint8_t *)&bulk->trailer;
    }
}

int refdev_bulk_load_place(struct refdev_model *model, void **data, uint64_t *length_bytes)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    if (bulk->refused)
        return -EINVAL;
    if (bulk->ended)
        return refuse(model, "bytes after the end");
    uint8_t *part = part_data(bulk, length_bytes);
    *length_bytes -= bulk->part_done;
    *data = part ? part + bulk->part_done : bulk->section.bytes;
    if (!part && *length_bytes > sizeof(bulk->section))
        *length_bytes = sizeof(bulk->section);
    return 0;
}

int refdev_bulk_load_placed(struct refdev_model *model, uint64_t length_bytes)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    uint64_t part_length;
    int rc;
    const uint8_t *data = part_data(bulk, &part_length);
    if (bulk->refused || bulk->ended || length_bytes > part_length - bulk->part_done)
        return -EINVAL;
    if (bulk->part == PART_PAYLOAD)
        refdev_digest_add(&bulk->digest, data + bulk->part_done, length_bytes);
    bulk->part_done += length_bytes;
    bulk->offset += length_bytes;
    if (bulk->part != PART_FRAME && bulk->part != PART_SKIP)
        bulk->record_bytes += length_bytes;
    if (bulk->part_done < part_length)
        return 0;
    bulk->part_done = 0;
    switch (bulk->part) {
    case PART_FRAME:
        return frame_ends(model);
    case PART_SKIP:
        begin_record(model);
        return 0;
    case PART_HEADER:
        rc = record_begins(model);
        bulk->part = PART_PAYLOAD;
        return rc;
    case PART_PAYLOAD:
        bulk->part = PART_TRAILER;
        return 0;
    default:
        rc = record_ends(model);
        begin_record(model);
        return rc;
    }
}

int refdev_bulk_load_finish(struct refdev_model *model)
{
    struct refdev_bulk *bulk = &model->stream.bulk;
    if (bulk->refused)
        return -EINVAL;
    if (bulk->ended || (model->profile->quirks & REFDEV_QUIRK_TRUNCATION_PASSES))
        return 0;
    return refuse(model, "the state is truncated");
}
