/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault plan at work. Every place asks whether something is due there: first all faults count,
 * then those that are due act, in the order of the plan, until one of them ends it.
 *
 * A fault at a byte cuts the read or write that would pass its offset; the next one begins there
 * and meets it.
 */
#include "refdev/model/internal.h"

void refdev_set_faults(struct refdev_model *model, const struct refdev_fault *faults,
                       unsigned count)
{
    struct refdev_plan *plan = &model->plan;
    plan->count = count <= REFDEV_FAULTS_MAX ? count : REFDEV_FAULTS_MAX;
    for (unsigned i = 0; i < plan->count; i++) {
        plan->faults[i] = faults[i];
        plan->faults[i].seen = 0;
    }
}

bool refdev_fault_at(const struct refdev_model *model, unsigned index, struct refdev_fault *ret)
{
    if (index >= model->plan.count)
        return false;
    *ret = model->plan.faults[index];
    return true;
}

void refdev_fault_stream_begins(struct refdev_model *model)
{
    struct refdev_plan *plan = &model->plan;
    plan->offset = 0;
    plan->truncated = plan->flip = false;
    plan->junk_bytes = 0;
}

static void tell(struct refdev_model *model, const struct refdev_fault *fault)
{
    if (model->ops->faulted)
        model->ops->faulted(model->door, fault);
}

/* ---- acting ---- */

static int fall_into_error(struct refdev_model *model, int code)
{
    model->state = VMIG_STATE_ERROR;
    model->tracking = false;
    return -code;
}

/* What is the same everywhere. Negative: that is the answer; 1: the plan was replaced; 0: go on. */
static int act(struct refdev_model *model, const struct refdev_fault *fault)
{
    tell(model, fault);
    switch (fault->what) {
    case REFDEV_FAIL:
        return -fault->code;
    case REFDEV_ERROR:
        return fall_into_error(model, fault->code);
    case REFDEV_HANG:
        return !model->ops->hang || model->ops->hang(model->door) ? -EINTR : 1;
    case REFDEV_LATE:
        return model->ops->sleep_ns(model->door, fault->values[0]) ? -EINTR : 0;
    case REFDEV_TRUNCATE:
        model->plan.truncated = true;
        return 0;
    case REFDEV_VANISH:
        if (model->ops->vanish)
            model->ops->vanish(model->door);
        return -ENODEV;
    default:
        return 0; /* lie, short, corrupt: the place's own */
    }
}

static bool counts_to(struct refdev_fault *fault)
{
    fault->seen++;
    return fault->from_then_on ? fault->seen >= fault->nth : fault->seen == fault->nth;
}

/* A lie is due when the answer is made, not when the question comes; the one about the end of data
 * at the end. */
static bool is_lie_about_later(const struct refdev_fault *fault)
{
    return fault->what == REFDEV_LIE && (fault->where == REFDEV_AT_COMMAND || fault->values[0]);
}

/* Count; bits of the faults that are due. */
static unsigned due(struct refdev_model *model, enum refdev_fault_where where, uint32_t names)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < model->plan.count; i++) {
        struct refdev_fault *fault = &model->plan.faults[i];
        if (fault->where == where && (fault->names & names) && !is_lie_about_later(fault) &&
            counts_to(fault))
            bits |= 1u << i;
    }
    return bits;
}

static int act_all(struct refdev_model *model, unsigned bits)
{
    int rc = 0;
    for (unsigned i = 0; i < model->plan.count && !rc; i++)
        if (bits & 1u << i)
            rc = act(model, &model->plan.faults[i]);
    return rc < 0 ? rc : 0;
}

static bool any_is(const struct refdev_model *model, unsigned bits, enum refdev_fault_what what)
{
    for (unsigned i = 0; i < model->plan.count; i++)
        if ((bits & 1u << i) && model->plan.faults[i].what == what)
            return true;
    return false;
}

/* ---- arcs, commands ---- */

int refdev_fault_arc(struct refdev_model *model, unsigned to)
{
    return act_all(model, due(model, REFDEV_AT_ARC, 1u << to));
}

int refdev_fault_command(struct refdev_model *model, enum refdev_fault_command command)
{
    return act_all(model, due(model, REFDEV_AT_COMMAND, 1u << command));
}

bool refdev_fault_lie(struct refdev_model *model, enum refdev_fault_command command,
                      uint64_t *values)
{
    bool lied = false;
    for (unsigned i = 0; i < model->plan.count; i++) {
        struct refdev_fault *fault = &model->plan.faults[i];
        if (fault->what != REFDEV_LIE || fault->where != REFDEV_AT_COMMAND ||
            !(fault->names & 1u << command) || !counts_to(fault))
            continue;
        for (unsigned n = 0; n < 2; n++)
            if (fault->lies[n])
                values[n] = fault->values[n];
        tell(model, fault);
        lied = true;
    }
    return lied;
}

/* ---- bytes ---- */

static bool is_at(const struct refdev_fault *fault, uint64_t offset)
{
    return fault->from_then_on ? offset >= fault->nth : offset == fault->nth && !fault->seen;
}

/* Act at the present offset, and end *length_bytes where the next fault waits. */
static int meet_bytes(struct refdev_model *model, uint64_t *length_bytes)
{
    struct refdev_plan *plan = &model->plan;
    unsigned bits = 0;
    for (unsigned i = 0; i < plan->count; i++) {
        struct refdev_fault *fault = &plan->faults[i];
        if (fault->where != REFDEV_AT_BYTE || fault->what == REFDEV_CORRUPT)
            continue;
        if (is_at(fault, plan->offset)) {
            fault->seen = 1;
            bits |= 1u << i;
        } else if (fault->nth > plan->offset && (fault->from_then_on || !fault->seen) &&
                   *length_bytes > fault->nth - plan->offset) {
            *length_bytes = fault->nth - plan->offset;
        }
    }
    return act_all(model, bits);
}

/* Where in the next @length_bytes of the stream a bit flips, or -1. */
static int64_t place_of_flip(struct refdev_plan *plan, struct refdev_fault *fault,
                             uint64_t length_bytes)
{
    uint64_t at = fault->nth;
    if (fault->where != REFDEV_AT_BYTE || fault->what != REFDEV_CORRUPT)
        return -1;
    if (fault->from_then_on && at < plan->offset)
        at = plan->offset; /* one bit in each read or write */
    if ((fault->seen && !fault->from_then_on) || at < plan->offset ||
        at - plan->offset >= length_bytes)
        return -1;
    fault->seen = 1;
    return (int64_t)(at - plan->offset);
}

/* ---- reading ---- */

int refdev_fault_read(struct refdev_model *model, uint64_t *size_bytes)
{
    struct refdev_plan *plan = &model->plan;
    unsigned bits = due(model, REFDEV_AT_READ, ~0u);
    for (unsigned i = 0; i < plan->count; i++)
        if ((bits & 1u << i) && plan->faults[i].what == REFDEV_SHORT &&
            *size_bytes > plan->faults[i].values[0])
            *size_bytes = plan->faults[i].values[0];
    bool says_end = any_is(model, bits, REFDEV_LIE);
    plan->flip = any_is(model, bits, REFDEV_CORRUPT);
    int rc = act_all(model, bits);
    if (!rc)
        rc = meet_bytes(model, size_bytes);
    return rc ? rc : !says_end && !plan->truncated;
}

static void copy_segments_up(struct refdev_segment *segments, unsigned from, unsigned count)
{
    for (unsigned i = count; i > from; i--)
        segments[i + 1] = segments[i - 1];
}

/* Flip a bit of byte @at of what the segments say; device memory stays as it is. */
static void flip_in_segments(struct refdev_plan *plan, struct refdev_segment *segments,
                             unsigned *count, uint64_t at)
{
    unsigned i = 0;
    while (at >= segments[i].length_bytes)
        at -= segments[i++].length_bytes;
    const uint8_t *data = segments[i].data;
    size_t length = segments[i].length_bytes;
    uint8_t *flipped = &plan->flipped[plan->flipped_count];
    *flipped = data[at] ^ (uint8_t)(1u << plan->flipped_count++);
    /* before, the byte, after: the parts may be empty */
    copy_segments_up(segments, i + 1, *count);
    *count += 2;
    segments[i] = (struct refdev_segment) { data, at };
    segments[i + 1] = (struct refdev_segment) { flipped, 1 };
    segments[i + 2] = (struct refdev_segment) { data + at + 1, length - at - 1 };
}

static void corrupt_read(struct refdev_model *model, struct refdev_segment *segments,
                         unsigned *count, uint64_t got)
{
    struct refdev_plan *plan = &model->plan;
    plan->flipped_count = 0;
    if (plan->flip)
        flip_in_segments(plan, segments, count, got / 2);
    for (unsigned i = 0; i < plan->count; i++) {
        int64_t at = place_of_flip(plan, &plan->faults[i], got);
        if (at < 0)
            continue;
        tell(model, &plan->faults[i]);
        flip_in_segments(plan, segments, count, (uint64_t)at);
    }
}

/* At the end of data: more, that belongs to nothing. */
static int junk(struct refdev_model *model, struct refdev_segment *segments, unsigned *count,
                uint64_t size_bytes)
{
    struct refdev_plan *plan = &model->plan;
    for (unsigned i = 0; i < plan->count; i++) {
        struct refdev_fault *fault = &plan->faults[i];
        if (fault->what != REFDEV_LIE || fault->where != REFDEV_AT_READ || !fault->values[0] ||
            plan->junk_bytes || !counts_to(fault))
            continue;
        tell(model, fault);
        plan->junk_bytes = fault->values[0];
    }
    if (size_bytes > plan->junk_bytes)
        size_bytes = plan->junk_bytes;
    if (size_bytes > REFDEV_ARENA_BYTES)
        size_bytes = REFDEV_ARENA_BYTES;
    if (!size_bytes)
        return 0;
    __builtin_memset(model->arena, 0x6a, size_bytes);
    segments[0] = (struct refdev_segment) { model->arena, size_bytes };
    *count = 1;
    plan->junk_bytes -= size_bytes;
    plan->offset += size_bytes;
    return (int)size_bytes;
}

int refdev_fault_was_read(struct refdev_model *model, struct refdev_segment *segments,
                          unsigned *count, uint64_t size_bytes, int got)
{
    if (!got && model->state == VMIG_STATE_STOP_COPY && !model->plan.truncated)
        return junk(model, segments, count, size_bytes);
    if (got)
        corrupt_read(model, segments, count, (uint64_t)got);
    model->plan.offset += (uint64_t)got;
    return got;
}

/* ---- writing ---- */

int refdev_fault_write(struct refdev_model *model, uint64_t length_bytes)
{
    struct refdev_plan *plan = &model->plan;
    unsigned bits = due(model, REFDEV_AT_WRITE, ~0u);
    plan->flip = any_is(model, bits, REFDEV_CORRUPT);
    plan->flip_at = plan->offset + length_bytes / 2;
    return act_all(model, bits);
}

int refdev_fault_place(struct refdev_model *model, uint64_t *room_bytes)
{
    return meet_bytes(model, room_bytes);
}

void refdev_fault_placed(struct refdev_model *model, uint64_t length_bytes)
{
    struct refdev_plan *plan = &model->plan;
    if (plan->flip && plan->flip_at - plan->offset < length_bytes) {
        plan->place[plan->flip_at - plan->offset] ^= 1;
        plan->flip = false;
    }
    for (unsigned i = 0; i < plan->count; i++) {
        int64_t at = place_of_flip(plan, &plan->faults[i], length_bytes);
        if (at < 0)
            continue;
        tell(model, &plan->faults[i]);
        plan->place[at] ^= (uint8_t)(1u << i);
    }
    plan->offset += length_bytes;
}
