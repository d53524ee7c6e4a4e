/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams that fit into a buffer: those of the profiles mtty and hisi_acc. A head can be read in
 * PRE_COPY already and tells the target whether it fits; the rest follows in STOP_COPY.
 */
#include "refdev/model/stream-small.h"

void refdev_small_save_begin(struct refdev_model *model, const struct refdev_small_format *format)
{
    struct refdev_small *small = &model->stream.small;
    format->build(model, small->bytes);
    small->ready = format->head_bytes;
    small->total = format->head_bytes;
}

void refdev_small_save_stopped(struct refdev_model *model, const struct refdev_small_format *format)
{
    struct refdev_small *small = &model->stream.small;
    small->total = format->build(model, small->bytes);
    small->ready = small->total;
}

void refdev_small_save_read(struct refdev_model *model, struct refdev_emit *emit)
{
    struct refdev_small *small = &model->stream.small;
    small->done +=
        refdev_emit_copy(model, emit, small->bytes + small->done, small->ready - small->done);
}

void refdev_small_save_info(const struct refdev_model *model, uint64_t *initial, uint64_t *dirty)
{
    *initial = model->stream.small.ready - model->stream.small.done;
    *dirty = 0;
}

int refdev_small_load_place(struct refdev_model *model, const struct refdev_small_format *format,
                            void **data, uint64_t *length_bytes)
{
    struct refdev_small *small = &model->stream.small;
    if (small->done >= format->max_bytes)
        return -ENOMEM; /* more than this device's state can be */
    *data = small->bytes + small->done;
    *length_bytes = format->max_bytes - small->done;
    return 0;
}

int refdev_small_load_placed(struct refdev_model *model, const struct refdev_small_format *format,
                             uint64_t length_bytes)
{
    struct refdev_small *small = &model->stream.small;
    if (length_bytes > format->max_bytes - small->done)
        return -ENOMEM;
    small->done += length_bytes;
    if (small->head_checked || small->done < format->head_bytes)
        return 0;
    small->head_checked = true;
    const char *why = format->check_head(model, small->bytes);
    if (!why)
        return 0;
    refdev_refuse(model, why, 0);
    return -EFAULT;
}
