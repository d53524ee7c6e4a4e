/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking everything that the patterns cover: local memory, all slots, the peer page. A part per
 * tick, while the workload may go on: each page is compared with what the counters say at that
 * moment.
 */
#include "refdev/model/internal.h"

#define VERIFY_LOCAL_PAGES 4096u /* per tick; 16 MiB, a few ms */
#define VERIFY_SLOTS 256u

void refdev_verify_begin(struct refdev_model *model)
{
    model->verify_next = 0;
    model->verify_wrong = 0;
    *refdev_reg(model, REFDEV_REG_VERIFY) = REFDEV_VERIFY_BUSY;
}

void refdev_verify_cancel(struct refdev_model *model)
{
    if (refdev_reg_value(model, REFDEV_REG_VERIFY) == REFDEV_VERIFY_BUSY)
        *refdev_reg(model, REFDEV_REG_VERIFY) = REFDEV_VERIFY_NOT_RUN;
}

static bool local_page_is_right(const struct refdev_model *model, uint64_t page)
{
    uint64_t seed = refdev_reg_value(model, REFDEV_REG_SEED);
    uint64_t window = refdev_reg_value(model, REFDEV_REG_LOCAL_WINDOW);
    uint64_t times = 0;
    if (page < window)
        times = refdev_times_written(page, refdev_reg_value(model, REFDEV_REG_LOCAL_STEPS), window);
    return refdev_pattern_matches(model->local + page * REFDEV_PATTERN_LANES,
                                  refdev_pattern_key(seed, REFDEV_PATTERN_LOCAL, page, times));
}

static bool guest_page_is_right(struct refdev_model *model, uint64_t iova,
                                enum refdev_pattern_kind kind, uint64_t index, uint64_t times)
{
    uint64_t seed = refdev_reg_value(model, REFDEV_REG_SEED);
    if (!times)
        return true; /* never written by this device */
    return !refdev_dma_read(model, iova, model->page, REFDEV_PAGE_BYTES) &&
           refdev_pattern_matches(model->page, refdev_pattern_key(seed, kind, index, times));
}

static bool slot_is_right(struct refdev_model *model, uint64_t slot, uint64_t count)
{
    uint64_t steps = refdev_reg_value(model, REFDEV_REG_DMA_STEPS);
    bool unsure = refdev_reg_value(model, REFDEV_REG_UNSURE) & 1;
    if (unsure && slot == refdev_turn(steps % count, count))
        return true;
    return guest_page_is_right(
        model, refdev_reg_value(model, REFDEV_REG_SLOT_BASE) + slot * REFDEV_PAGE_BYTES,
        REFDEV_PATTERN_SLOT, slot, refdev_times_written(slot, steps, count));
}

static bool peer_is_right(struct refdev_model *model)
{
    uint64_t iova = refdev_reg_value(model, REFDEV_REG_PEER_IOVA);
    if (!iova || (refdev_reg_value(model, REFDEV_REG_UNSURE) & 2))
        return true;
    return guest_page_is_right(model, iova, REFDEV_PATTERN_PEER, 0,
                               refdev_reg_value(model, REFDEV_REG_PEER_STEPS));
}

/* verify_next counts through local pages, then slots, then the peer page. */
void refdev_verify_run(struct refdev_model *model)
{
    uint64_t slots = model->profile->has_dma ? refdev_reg_value(model, REFDEV_REG_SLOT_COUNT) : 0;
    uint64_t slots_end = model->local_pages + slots;
    uint64_t *next = &model->verify_next;
    if (refdev_reg_value(model, REFDEV_REG_VERIFY) != REFDEV_VERIFY_BUSY)
        return;
    for (unsigned n = VERIFY_LOCAL_PAGES; n && *next < model->local_pages; n--, ++*next)
        model->verify_wrong += !local_page_is_right(model, *next);
    if (*next < model->local_pages)
        return;
    for (unsigned n = VERIFY_SLOTS; n && *next < slots_end; n--, ++*next)
        model->verify_wrong += !slot_is_right(model, *next - model->local_pages, slots);
    if (*next < slots_end)
        return;
    model->verify_wrong += !peer_is_right(model);
    *refdev_reg(model, REFDEV_REG_VERIFY) = model->verify_wrong;
    refdev_interrupt(model, REFDEV_VECTOR_VERIFY);
}
