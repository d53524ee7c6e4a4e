/* SPDX-License-Identifier: BSD-3-Clause */
/* The sections of the bulk format: what is in them, and what the target demands of them. */
#include "refdev/model/stream-bulk.h"

void refdev_bulk_header_fill(const struct refdev_model *model, uint64_t *words)
{
    refdev_zero(words, BULK_H_WORDS * sizeof(*words));
    words[BULK_H_VERSION] = BULK_VERSION;
    words[BULK_H_IDENTITY] = refdev_config_get32(model, 0);
    words[BULK_H_LOCAL_BYTES] = model->local_pages * REFDEV_PAGE_BYTES;
    words[BULK_H_PAGE_BYTES] = REFDEV_PAGE_BYTES;
    words[BULK_H_SHARED_BYTES] = REFDEV_SHARED_BYTES;
    words[BULK_H_REGISTERS] = REFDEV_REGS;
}

const char *refdev_bulk_header_check(const struct refdev_model *model, const uint64_t *words)
{
    uint64_t own[BULK_H_WORDS];
    refdev_bulk_header_fill(model, own);
    if (words[BULK_H_VERSION] != own[BULK_H_VERSION])
        return "another version of the format";
    if (words[BULK_H_IDENTITY] != own[BULK_H_IDENTITY])
        return "state of another kind of device";
    if (words[BULK_H_LOCAL_BYTES] != own[BULK_H_LOCAL_BYTES])
        return "state of a device with another size of local memory";
    for (unsigned i = 0; i < BULK_H_WORDS; i++)
        if (words[i] != own[i])
            return "state of a device with another layout";
    return NULL;
}

void refdev_bulk_device_fill(const struct refdev_model *model, uint64_t *words)
{
    refdev_zero(words, BULK_D_WORDS * sizeof(*words));
    refdev_copy(words, model->regs, sizeof(model->regs));
    refdev_config_save(model, (uint32_t *)(words + BULK_D_CONFIG));
    refdev_copy(words + BULK_D_MSIX, model->msix, 16 * REFDEV_MSIX_VECTORS);
}

const char *refdev_bulk_device_check(const struct refdev_model *model, const uint64_t *words)
{
    return refdev_registers_valid(model, words) ? NULL : "registers with impossible contents";
}

void refdev_bulk_device_apply(struct refdev_model *model, const uint64_t *words)
{
    refdev_copy(model->regs, words, sizeof(model->regs));
    *refdev_reg(model, REFDEV_REG_MAGIC) = REFDEV_MAGIC;
    *refdev_reg(model, REFDEV_REG_VERSION) = 1;
    refdev_verify_cancel(model);
    refdev_config_load(model, (const uint32_t *)(words + BULK_D_CONFIG));
    refdev_copy(model->msix, words + BULK_D_MSIX, 16 * REFDEV_MSIX_VECTORS);
}

const struct refdev_stream_ops refdev_bulk_stream = {
    .save_begin = refdev_bulk_save_begin,
    .save_stopped = refdev_bulk_save_stopped,
    .save_read = refdev_bulk_save_read,
    .save_fetch = refdev_bulk_save_fetch,
    .save_info = refdev_bulk_save_info,
    .save_again = refdev_bulk_save_again,
    .save_length = refdev_bulk_save_length,
    .load_begin = refdev_bulk_load_begin,
    .load_place = refdev_bulk_load_place,
    .load_placed = refdev_bulk_load_placed,
    .load_finish = refdev_bulk_load_finish,
};
