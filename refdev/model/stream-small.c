/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams that fit into a buffer: those of the profiles mtty, hisi_acc and qat. A head can be read in
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
    return -format->refusal;
}

/* ---- registers ---- */

static const uint16_t registers[] = {
    REFDEV_REG_SEED,       REFDEV_REG_SCRATCH,         REFDEV_REG_CONTROL,
    REFDEV_REG_SLOT_BASE,  REFDEV_REG_SLOT_COUNT,      REFDEV_REG_DMA_RATE,
    REFDEV_REG_PEER_IOVA,  REFDEV_REG_DMA_STEPS,       REFDEV_REG_PEER_STEPS,
    REFDEV_REG_COPIES,     REFDEV_REG_SLOT_MISMATCHES, REFDEV_REG_PEER_MISMATCHES,
    REFDEV_REG_DMA_ERRORS, REFDEV_REG_STOPPED_WRITES,  REFDEV_REG_INTX,
    REFDEV_REG_UNSURE,
};
#define REGISTERS (sizeof(registers) / sizeof(registers[0]))
_Static_assert(REGISTERS + 1 == REFDEV_SMALL_REGISTERS, "and COMMAND");

void refdev_small_registers_save(const struct refdev_model *model, uint64_t *words)
{
    for (unsigned i = 0; i < REGISTERS; i++)
        words[i] = refdev_reg_value(model, registers[i]);
    words[REGISTERS] = refdev_config_get32(model, 4) & 0xffff;
}

int refdev_small_registers_load(struct refdev_model *model, const uint8_t *bytes)
{
    uint64_t words[REFDEV_SMALL_REGISTERS], regs[REFDEV_REGS];
    refdev_copy(words, bytes, sizeof(words));
    refdev_copy(regs, model->regs, sizeof(regs));
    for (unsigned i = 0; i < REGISTERS; i++)
        regs[registers[i] / 8] = words[i];
    if (!refdev_registers_valid(model, regs)) {
        refdev_refuse(model, "registers with impossible contents",
                      (uint64_t)(bytes - model->stream.small.bytes));
        return -EINVAL;
    }
    refdev_copy(model->regs, regs, sizeof(regs));
    uint16_t command = (uint16_t)words[REGISTERS];
    refdev_config_write(model, 4, (const uint8_t *)&command, sizeof(command));
    return 0;
}
