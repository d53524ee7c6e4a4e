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

/* The registers that travel, in order; COMMAND of the config space is the last word. */
static const uint16_t hisi_registers[] = {
    REFDEV_REG_SEED,       REFDEV_REG_SCRATCH,         REFDEV_REG_CONTROL,
    REFDEV_REG_SLOT_BASE,  REFDEV_REG_SLOT_COUNT,      REFDEV_REG_DMA_RATE,
    REFDEV_REG_PEER_IOVA,  REFDEV_REG_DMA_STEPS,       REFDEV_REG_PEER_STEPS,
    REFDEV_REG_COPIES,     REFDEV_REG_SLOT_MISMATCHES, REFDEV_REG_PEER_MISMATCHES,
    REFDEV_REG_DMA_ERRORS, REFDEV_REG_STOPPED_WRITES,  REFDEV_REG_INTX,
    REFDEV_REG_UNSURE,
};
#define HISI_REGISTERS (sizeof(hisi_registers) / sizeof(hisi_registers[0]))
_Static_assert(HISI_HEAD_BYTES + 8 * HISI_REGISTERS + 8 == HISI_TOTAL_BYTES, "the stream's size");

static void build_head(const struct refdev_model *model, uint64_t *words)
{
    words[0] = HISI_MAGIC;
    words[1] = 1; /* version */
    words[2] = refdev_config_get32(model, 0);
    words[3] = REFDEV_MSIX_VECTORS;
    words[4] = HISI_REGISTERS;
}

static uint64_t build(const struct refdev_model *model, uint8_t *bytes)
{
    uint64_t words[HISI_TOTAL_BYTES / 8];
    uint64_t *registers = words + HISI_HEAD_BYTES / 8;
    build_head(model, words);
    for (unsigned i = 0; i < HISI_REGISTERS; i++)
        registers[i] = refdev_reg_value(model, hisi_registers[i]);
    registers[HISI_REGISTERS] = refdev_config_get32(model, 4) & 0xffff;
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
};

static int refdev_hisi_stream_load_finish(struct refdev_model *model)
{
    const struct refdev_small *small = &model->stream.small;
    uint64_t registers[HISI_REGISTERS + 1], regs[REFDEV_REGS];
    if (small->done < HISI_HEAD_BYTES || check_head(model, small->bytes))
        return -EINVAL;
    if (small->done == HISI_HEAD_BYTES)
        return 0;
    if (small->done != HISI_TOTAL_BYTES) {
        refdev_refuse(model, "the state is truncated", small->done);
        return -EINVAL;
    }
    refdev_copy(registers, small->bytes + HISI_HEAD_BYTES, sizeof(registers));
    refdev_copy(regs, model->regs, sizeof(regs));
    for (unsigned i = 0; i < HISI_REGISTERS; i++)
        regs[hisi_registers[i] / 8] = registers[i];
    if (!refdev_registers_valid(model, regs)) {
        refdev_refuse(model, "registers with impossible contents", HISI_HEAD_BYTES);
        return -EINVAL;
    }
    refdev_copy(model->regs, regs, sizeof(regs));
    uint16_t command = (uint16_t)registers[HISI_REGISTERS];
    refdev_config_write(model, 4, (const uint8_t *)&command, sizeof(command));
    return 0;
}

SMALL_STREAM(refdev_hisi_stream, hisi_format);
