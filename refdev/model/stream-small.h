/* SPDX-License-Identifier: BSD-3-Clause */
/* What the formats of stream-small.c tell about themselves, and what they get. */
#ifndef REFDEV_MODEL_STREAM_SMALL_H
#define REFDEV_MODEL_STREAM_SMALL_H

#include "refdev/model/internal.h"

struct refdev_small_format {
    uint64_t head_bytes, max_bytes;
    /* Write the whole state to @bytes; returns its length (at most max_bytes). */
    uint64_t (*build)(const struct refdev_model *model, uint8_t *bytes);
    /* NULL when the head fits this device, else why not. */
    const char *(*check_head)(const struct refdev_model *model, const uint8_t *bytes);
    int refusal; /* errno of a write whose head does not fit */
};

/* The workload's registers and COMMAND of the config space, word by word: what the small formats
 * carry of a device. */
#define REFDEV_SMALL_REGISTERS 17
void refdev_small_registers_save(const struct refdev_model *model, uint64_t *words);
/* -EINVAL when they are impossible. */
int refdev_small_registers_load(struct refdev_model *model, const uint8_t *bytes);

void refdev_small_save_begin(struct refdev_model *model, const struct refdev_small_format *format);
void refdev_small_save_stopped(struct refdev_model *model,
                               const struct refdev_small_format *format);
void refdev_small_save_read(struct refdev_model *model, struct refdev_emit *emit);
void refdev_small_save_info(const struct refdev_model *model, uint64_t *initial, uint64_t *dirty);
int refdev_small_load_place(struct refdev_model *model, const struct refdev_small_format *format,
                            void **data, uint64_t *length_bytes);
int refdev_small_load_placed(struct refdev_model *model, const struct refdev_small_format *format,
                             uint64_t length_bytes);

/* The operations table @name of the format @format, whose files define finish_load and length. */
#define SMALL_STREAM(name, format)                                                                 \
    static void name##_save_begin(struct refdev_model *model)                                      \
    {                                                                                              \
        refdev_small_save_begin(model, &format);                                                   \
    }                                                                                              \
    static void name##_save_stopped(struct refdev_model *model)                                    \
    {                                                                                              \
        refdev_small_save_stopped(model, &format);                                                 \
    }                                                                                              \
    static void name##_load_begin(struct refdev_model *model)                                      \
    {                                                                                              \
        (void)model;                                                                               \
    }                                                                                              \
    static int name##_load_place(struct refdev_model *model, void **data, uint64_t *length_bytes)  \
    {                                                                                              \
        return refdev_small_load_place(model, &format, data, length_bytes);                        \
    }                                                                                              \
    static int name##_load_placed(struct refdev_model *model, uint64_t length_bytes)               \
    {                                                                                              \
        return refdev_small_load_placed(model, &format, length_bytes);                             \
    }                                                                                              \
    static uint64_t name##_save_length(const struct refdev_model *model)                           \
    {                                                                                              \
        (void)model;                                                                               \
        return format.max_bytes;                                                                   \
    }                                                                                              \
    const struct refdev_stream_ops name = {                                                        \
        .save_begin = name##_save_begin,                                                           \
        .save_stopped = name##_save_stopped,                                                       \
        .save_read = refdev_small_save_read,                                                       \
        .save_info = refdev_small_save_info,                                                       \
        .save_length = name##_save_length,                                                         \
        .load_begin = name##_load_begin,                                                           \
        .load_place = name##_load_place,                                                           \
        .load_placed = name##_load_placed,                                                         \
        .load_finish = name##_load_finish,                                                         \
    }

#endif
