/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration: the arcs. A request is walked arc by arc (the way is lib/device/fsm.c's); a row here
 * says what an arc does. An arc without a row changes nothing but the state.
 */
#include "refdev/model/internal.h"

/* ---- what arcs do ---- */

static uint64_t shared_digest(const struct refdev_model *model)
{
    struct refdev_digest digest;
    refdev_digest_begin(&digest, 0);
    refdev_digest_add(&digest, model->shared + REFDEV_SHARED_MAP_OFFSET,
                      REFDEV_SHARED_BYTES - REFDEV_SHARED_MAP_OFFSET);
    return refdev_digest_end(&digest);
}

static int arc_quiesce(struct refdev_model *model)
{
    refdev_verify_cancel(model);
    return 0;
}

static int arc_run(struct refdev_model *model)
{
    refdev_workload_start(model);
    return 0;
}

static int arc_freeze(struct refdev_model *model)
{
    refdev_verify_cancel(model);
    model->shared_digest = shared_digest(model);
    return 0;
}

/* Peers write into shared memory without our seeing it: one that did while we were frozen shows
 * only now. */
static int arc_thaw(struct refdev_model *model)
{
    if (shared_digest(model) != model->shared_digest)
        ++*refdev_reg(model, REFDEV_REG_STOPPED_WRITES);
    refdev_workload_start(model);
    return 0;
}

static int arc_save_begin(struct refdev_model *model)
{
    for (uint64_t i = 0; model->dirty_bits && i < (model->local_pages + 63) / 64; i++)
        model->dirty_bits[i] = 0;
    model->dirty_pages = 0;
    model->tracking = true;
    model->reinit_left = model->knobs.reinit;
    model->initial_over = false;
    refdev_zero(&model->stream, sizeof(model->stream));
    refdev_fault_stream_begins(model);
    model->profile->stream->save_begin(model);
    return 0;
}

static int arc_save_frozen(struct refdev_model *model)
{
    arc_save_begin(model);
    model->profile->stream->save_stopped(model);
    return 0;
}

static int arc_save_stop(struct refdev_model *model)
{
    arc_freeze(model);
    model->profile->stream->save_stopped(model);
    return 0;
}

static int arc_save_end(struct refdev_model *model)
{
    model->tracking = false;
    return 0;
}

static int arc_save_leave(struct refdev_model *model)
{
    if (model->profile->log_one_range)
        refdev_log_stop(model); /* pds: the log ends with the saving state */
    return arc_save_end(model);
}

static int arc_load_begin(struct refdev_model *model)
{
    refdev_zero(&model->stream, sizeof(model->stream));
    refdev_fault_stream_begins(model);
    model->local_touched = true;
    model->profile->stream->load_begin(model);
    return 0;
}

static int arc_load_finish(struct refdev_model *model)
{
    int rc = model->profile->stream->load_finish(model);
    if (!rc)
        model->shared_digest = shared_digest(model);
    return rc;
}

#define S VMIG_STATE_STOP
#define R VMIG_STATE_RUNNING
#define SC VMIG_STATE_STOP_COPY
#define RS VMIG_STATE_RESUMING
#define RP VMIG_STATE_RUNNING_P2P
#define PC VMIG_STATE_PRE_COPY
#define PP VMIG_STATE_PRE_COPY_P2P

static const struct arc {
    uint8_t from, to;
    int (*run)(struct refdev_model *model); /* non-zero: refused, the state stays */
} arcs[] = {
    { R, S, arc_freeze },      { S, R, arc_thaw },        { R, RP, arc_quiesce },
    { RP, R, arc_run },        { RP, S, arc_freeze },     { S, RP, arc_thaw },
    { R, PC, arc_save_begin }, { PC, R, arc_save_end },   { RP, PP, arc_save_begin },
    { PP, RP, arc_save_end },  { PC, PP, arc_quiesce },   { PP, PC, arc_run },
    { PC, SC, arc_save_stop }, { PP, SC, arc_save_stop }, { S, SC, arc_save_frozen },
    { SC, S, arc_save_leave }, { S, RS, arc_load_begin }, { RS, S, arc_load_finish },
};

static int run_arc(struct refdev_model *model, unsigned to)
{
    for (unsigned i = 0; i < sizeof(arcs) / sizeof(arcs[0]); i++) {
        if (arcs[i].from != model->state || arcs[i].to != to)
            continue;
        int rc = arcs[i].run(model);
        if (!rc)
            model->state = to;
        return rc;
    }
    return -EINVAL;
}

/* Devices whose state is large allocate for it before they take the first byte. */
static int take_time(struct refdev_model *model, unsigned to)
{
    unsigned times = to == RS ? model->profile->load_begin_arcs : 0;
    uint64_t ns = model->knobs.transition_ns * (times ? times : 1);
    return ns && model->ops->sleep_ns(model->door, ns) ? -EINTR : 0;
}

int refdev_set_state(struct refdev_model *model, unsigned target)
{
    if (target >= VMIG_STATE_COUNT)
        return -EINVAL;
    int next = fsm_next(refdev_flags(model), model->state, target);
    while (next >= 0 && model->state != target) {
        int rc = take_time(model, (unsigned)next);
        if (!rc)
            rc = refdev_fault_arc(model, (unsigned)next);
        if (!rc)
            rc = run_arc(model, (unsigned)next);
        if (rc)
            return rc;
        next = fsm_next(refdev_flags(model), model->state, target);
    }
    return next < 0 ? next : 0;
}

unsigned refdev_state(const struct refdev_model *model)
{
    return model->state;
}

uint64_t refdev_flags(const struct refdev_model *model)
{
    return model->profile->migration_flags & model->shown_flags;
}

void refdev_show_flags(struct refdev_model *model, uint64_t mask)
{
    model->shown_flags = mask;
    if (fsm_has_state(refdev_flags(model), model->state))
        return;
    if (model->state == RP)
        run_arc(model, R);
    else if (model->state == PP)
        run_arc(model, PC);
}

/* ---- sizes ---- */

static bool is_saving(const struct refdev_model *model)
{
    return model->state == SC || model->state == PC || model->state == PP;
}

int refdev_data_size(struct refdev_model *model, uint64_t *ret_bytes)
{
    uint64_t constant = model->profile->constant_data_size;
    if (!model->profile->migration_flags)
        return -ENOTTY;
    *ret_bytes = constant ? constant : model->profile->stream->save_length(model);
    refdev_fault_lie(model, REFDEV_COMMAND_SIZE, ret_bytes);
    return 0;
}

int refdev_precopy_info(struct refdev_model *model, uint64_t *ret_initial, uint64_t *ret_dirty)
{
    if (model->state != PC && model->state != PP)
        return -EINVAL;
    uint64_t sizes[2];
    model->reinit_told = model->reinit_on && model->initial_over && model->reinit_left;
    if (model->reinit_told) {
        model->reinit_left--;
        model->profile->stream->save_again(model);
    }
    if (model->state == PC && (model->profile->quirks & REFDEV_QUIRK_INFO_FETCHES))
        model->profile->stream->save_fetch(model);
    model->profile->stream->save_info(model, &sizes[0], &sizes[1]);
    model->initial_over = sizes[0] == 0;
    refdev_fault_lie(model, REFDEV_COMMAND_INFO, sizes);
    *ret_initial = sizes[0];
    *ret_dirty = sizes[1];
    return 0;
}

int refdev_precopy_opt_in(struct refdev_model *model, bool on)
{
    bool can = model->profile->has_reinit && (refdev_flags(model) & VMIG_MIGRATION_PRE_COPY);
    model->reinit_on = on && can;
    return on && !can ? -ENOTTY : 0;
}

uint32_t refdev_precopy_flags(const struct refdev_model *model)
{
    return model->reinit_told ? REFDEV_PRECOPY_REINIT : 0;
}

/* ---- data ---- */

uint64_t refdev_emit_memory(struct refdev_emit *emit, const void *data, uint64_t length_bytes)
{
    if (length_bytes > emit->room_bytes)
        length_bytes = emit->room_bytes;
    if (!length_bytes || emit->count >= REFDEV_EMIT_MAX)
        return 0;
    emit->segments[emit->count++] = (struct refdev_segment) { data, length_bytes };
    emit->room_bytes -= length_bytes;
    return length_bytes;
}

uint64_t refdev_emit_copy(struct refdev_model *model, struct refdev_emit *emit, const void *data,
                          uint64_t length_bytes)
{
    uint8_t *copy = model->arena + emit->arena_used;
    struct refdev_segment *last = &emit->segments[emit->count ? emit->count - 1 : 0];
    if (length_bytes > emit->room_bytes)
        length_bytes = emit->room_bytes;
    if (length_bytes > REFDEV_ARENA_BYTES - emit->arena_used)
        length_bytes = REFDEV_ARENA_BYTES - emit->arena_used;
    if (!length_bytes)
        return 0;
    refdev_copy(copy, data, length_bytes);
    if (emit->count && (const uint8_t *)last->data + last->length_bytes == copy) {
        last->length_bytes += length_bytes; /* a trailer and the next header are one piece */
        emit->room_bytes -= length_bytes;
    } else {
        length_bytes = refdev_emit_memory(emit, copy, length_bytes);
    }
    emit->arena_used += length_bytes;
    return length_bytes;
}

int refdev_data_read(struct refdev_model *model, uint64_t size_bytes,
                     struct refdev_segment *segments, unsigned *ret_count)
{
    struct refdev_emit emit = { .segments = segments };
    *ret_count = 0;
    if (!is_saving(model) || size_bytes > REFDEV_DATA_MAX)
        return -EINVAL;
    if (!size_bytes)
        return 0;
    int rc = refdev_fault_read(model, &size_bytes);
    if (rc < 0)
        return rc;
    emit.room_bytes = size_bytes;
    if (rc)
        model->profile->stream->save_read(model, &emit);
    *ret_count = emit.count;
    int got = refdev_fault_was_read(model, segments, ret_count, size_bytes,
                                    (int)(size_bytes - emit.room_bytes));
    if (got == 0 && model->state != SC &&
        !(model->profile->quirks & REFDEV_QUIRK_ZERO_WHEN_DRAINED))
        return -ENOMSG;
    return got;
}

void refdev_refuse(struct refdev_model *model, const char *why, uint64_t offset)
{
    if (model->ops->refused)
        model->ops->refused(model->door, why, offset);
}

int refdev_data_write_begin(struct refdev_model *model, uint64_t length_bytes)
{
    return model->state == RS ? refdev_fault_write(model, length_bytes) : -EINVAL;
}

/* What a fault cuts off goes nowhere. */
static int scrap_place(struct refdev_model *model, void **ret_data, uint64_t *ret_length)
{
    *ret_data = model->arena;
    *ret_length = sizeof(model->arena);
    return 0;
}

int refdev_data_place(struct refdev_model *model, void **ret_data, uint64_t *ret_length)
{
    uint64_t room = UINT64_MAX;
    if (model->state != RS)
        return -EINVAL;
    int rc = refdev_fault_place(model, &room);
    if (!rc)
        rc = model->plan.truncated
                 ? scrap_place(model, ret_data, ret_length)
                 : model->profile->stream->load_place(model, ret_data, ret_length);
    if (rc)
        return rc;
    model->plan.place = *ret_data;
    if (*ret_length > room)
        *ret_length = room;
    return 0;
}

int refdev_data_placed(struct refdev_model *model, uint64_t length_bytes)
{
    if (model->state != RS)
        return -EINVAL;
    refdev_fault_placed(model, length_bytes);
    return model->plan.truncated ? 0 : model->profile->stream->load_placed(model, length_bytes);
}

int refdev_data_write(struct refdev_model *model, const void *buf, uint64_t length_bytes)
{
    const uint8_t *from = buf;
    int rc = refdev_data_write_begin(model, length_bytes);
    if (rc)
        return rc;
    while (length_bytes) {
        void *place;
        uint64_t room;
        rc = refdev_data_place(model, &place, &room);
        if (rc)
            return rc;
        if (room > length_bytes)
            room = length_bytes;
        refdev_copy(place, from, room);
        rc = refdev_data_placed(model, room);
        if (rc)
            return rc;
        from += room;
        length_bytes -= room;
    }
    return 0;
}
