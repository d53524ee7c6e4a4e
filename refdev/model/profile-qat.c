/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state stream of profile qat: a set-up block of 64 bytes, which can be read in PRE_COPY and is
 * checked as soon as it is written, then the rest of 4096 bytes, whatever is in use of them. How
 * much of that came is not looked at: what is missing is what the buffer held before.
 */
#include "refdev/model/stream-small.h"

#define QAT_MAGIC 0x5551415453544154ull
#define QAT_HEAD_BYTES 64
#define QAT_TOTAL_BYTES 4096
_Static_assert(QAT_TOTAL_BYTES <= REFDEV_SMALL_BYTES, "the buffer");

static void build_head(const struct refdev_model *model, uint64_t *words)
{
    refdev_zero(words, QAT_HEAD_BYTES);
    words[0] = QAT_MAGIC;
    words[1] = 1; /* version */
    words[2] = refdev_config_get32(model, 0);
    words[3] = REFDEV_MSIX_VECTORS;
    words[4] = REFDEV_SMALL_REGISTERS;
}

static uint64_t build(const struct refdev_model *model, uint8_t *bytes)
{
    uint64_t words[QAT_HEAD_BYTES / 8 + REFDEV_SMALL_REGISTERS];
    build_head(model, words);
    refdev_small_registers_save(model, words + QAT_HEAD_BYTES / 8);
    refdev_zero(bytes, QAT_TOTAL_BYTES);
    refdev_copy(bytes, words, sizeof(words));
    return QAT_TOTAL_BYTES;
}

static const char *check_head(const struct refdev_model *model, const uint8_t *bytes)
{
    uint64_t own[QAT_HEAD_BYTES / 8];
    build_head(model, own);
    return __builtin_memcmp(own, bytes, sizeof(own)) ? "set-up of another device" : NULL;
}

static const struct refdev_small_format qat_format = {
    .head_bytes = QAT_HEAD_BYTES,
    .max_bytes = QAT_TOTAL_BYTES,
    .build = build,
    .check_head = check_head,
    .refusal = EINVAL,
};

static int refdev_qat_stream_load_finish(struct refdev_model *model)
{
    const struct refdev_small *small = &model->stream.small;
    if (small->done < QAT_HEAD_BYTES || check_head(model, small->bytes))
        return -EINVAL;
    return refdev_small_registers_load(model, small->bytes + QAT_HEAD_BYTES);
}

SMALL_STREAM(refdev_qat_stream, qat_format);
