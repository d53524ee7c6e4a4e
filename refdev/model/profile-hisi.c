/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state stream of profile hisi_acc: 40 bytes of match data, which can be read and checked in
 * PRE_COPY, then 136 bytes of queue state (here: the registers of the workload). When the guest has
 * no driver loaded (REFDEV_CONTROL_NO_DRIVER) nothing follows the match data, and 40 bytes are a
 * valid state. There is no digest, and no completeness test between 40 and 176 but the length.
 */
#include "refdev/model/stream-small.h"

#define HISI_MAGIC 0x4353414953494856ull
#define HISI_HEAD_BYTES 40
#define HISI_TOTAL_BYTES 176

#define HISI_REGISTERS REFDEV_SMALL_REGISTERS
_Static_assert(HISI_HEAD_BYTES + 8 * HISI_REGISTERS == HISI_TOTAL_BYTES, "the stream's size");

static void build_head(const struct refdev_model *model, uint64_t *words)
{
    words[0] = HISI_MAGIC;
    words[1] = 1; /* version */
    words[2] = refdev_config_get32(model, 0);
    words[3] = REFDEV_MSIX_VECTORS;
    words[4] = HISI_REGISTERS - 1; /* without COMMAND */
}

static uint64_t build(const struct refdev_model *model, uint8_t *bytes)
{
    uint64_t words[HISI_TOTAL_BYTES / 8];
    build_head(model, words);
    refdev_small_registers_save(model, words + HISI_HEAD_BYTES / 8);
    refdev_copy(bytes, words, sizeof(words));
    bool driver = !(refdev_reg_value(model, REFDEV_REG_CONTROL) & REFDEV_CONTROL_NO_DRIVER);
    return driver ? HISI_TOTAL_BYTES : HISI_HEAD_BYTES;
}

static const char *check_head(const struct refdev_model *model, const uint8_t *bytes)
{
    uint64_t own[HISI_HEAD_BYTES / 8];
    build_head(model, own);
    return __builtin_memcmp(own, bytes, sizeof(own)) ? "match data of another device" : NULL;
}

static const struct refdev_small_format hisi_format = {
    .head_bytes = HISI_HEAD_BYTES,
    .max_bytes = HISI_TOTAL_BYTES,
    .build = build,
    .check_head = check_head,
    .refusal = EFAULT,
};

static int refdev_hisi_stream_load_finish(struct refdev_model *model)
{
    const struct refdev_small *small = &model->stream.small;
    if (small->done < HISI_HEAD_BYTES || check_head(model, small->bytes))
        return -EINVAL;
    if (small->done == HISI_HEAD_BYTES) {
        /* The guest comes without its driver, or moving on would send what never came. */
        *refdev_reg(model, REFDEV_REG_CONTROL) = REFDEV_CONTROL_NO_DRIVER;
        return 0;
    }
    if (small->done != HISI_TOTAL_BYTES) {
        refdev_refuse(model, "the state is truncated", small->done);
        return -EINVAL;
    }
    return refdev_small_registers_load(model, small->bytes + HISI_HEAD_BYTES);
}

SMALL_STREAM(refdev_hisi_stream, hisi_format);
