/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The autonomous workload: pages of pattern into slots of guest memory, into a peer, and into the
 * device's own memory, each checked for its former contents before it is overwritten. Rates are
 * kept by credit: time that passed buys pages, and what was not used up within 100 ms is lost, so
 * that a device that was stopped for long does not come back with a burst.
 */
#include "refdev/model/internal.h"

#define CREDIT_PAGE 1000000000ull /* one page per second and nanosecond */
#define CREDIT_MAX_NS 100000000ull
#define BATCH_PAGES 256u /* of one tick: the door has others to serve */

void refdev_workload_start(struct refdev_model *model)
{
    model->last_ns = model->ops->now_ns(model->door);
    model->dma_credit = 0;
    model->dirty_credit = 0;
}

/* Local memory as reset makes it: every page written 0 times. */
void refdev_local_reset(struct refdev_model *model)
{
    uint64_t seed = refdev_reg_value(model, REFDEV_REG_SEED);
    if (!model->local_touched)
        return;
    for (uint64_t page = 0; page < model->local_pages; page++) {
        refdev_pattern_fill(model->local + page * REFDEV_PATTERN_LANES,
                            refdev_pattern_key(seed, REFDEV_PATTERN_LOCAL, page, 0));
        refdev_breathe();
    }
    model->local_touched = false;
}

/* Overwrite one page of guest memory that was written @times before. False: try again later. */
static bool step_page(struct refdev_model *model, uint64_t iova, enum refdev_pattern_kind kind,
                      uint64_t index, uint64_t times, unsigned mismatches, uint64_t unsure)
{
    uint64_t seed = refdev_reg_value(model, REFDEV_REG_SEED);
    uint64_t *unsure_reg = refdev_reg(model, REFDEV_REG_UNSURE);
    if (times && !(*unsure_reg & unsure)) {
        if (refdev_dma_read(model, iova, model->page, REFDEV_PAGE_BYTES))
            return false;
        if (!refdev_pattern_matches(model->page, refdev_pattern_key(seed, kind, index, times)))
            ++*refdev_reg(model, mismatches);
    }
    refdev_pattern_fill(model->page, refdev_pattern_key(seed, kind, index, times + 1));
    if (refdev_dma_write(model, iova, model->page, REFDEV_PAGE_BYTES)) {
        *unsure_reg |= unsure;
        return false;
    }
    *unsure_reg &= ~unsure;
    return true;
}

static bool step_slot(struct refdev_model *model)
{
    uint64_t count = refdev_reg_value(model, REFDEV_REG_SLOT_COUNT);
    uint64_t *steps = refdev_reg(model, REFDEV_REG_DMA_STEPS);
    if (!count)
        return true;
    uint64_t slot = refdev_turn(*steps % count, count);
    uint64_t iova = refdev_reg_value(model, REFDEV_REG_SLOT_BASE) + slot * REFDEV_PAGE_BYTES;
    bool done = step_page(model, iova, REFDEV_PATTERN_SLOT, slot, *steps / count,
                          REFDEV_REG_SLOT_MISMATCHES, 1);
    *steps += done;
    return done;
}

static bool step_peer(struct refdev_model *model)
{
    uint64_t iova = refdev_reg_value(model, REFDEV_REG_PEER_IOVA);
    uint64_t *steps = refdev_reg(model, REFDEV_REG_PEER_STEPS);
    if (!iova)
        return true;
    bool done =
        step_page(model, iova, REFDEV_PATTERN_PEER, 0, *steps, REFDEV_REG_PEER_MISMATCHES, 2);
    *steps += done;
    return done;
}

static void mark_dirty(struct refdev_model *model, uint64_t page)
{
    uint64_t bit = 1ull << page % 64;
    if (!model->tracking || (model->dirty_bits[page / 64] & bit))
        return;
    model->dirty_bits[page / 64] |= bit;
    model->dirty_pages++;
}

static void step_local(struct refdev_model *model)
{
    uint64_t window = refdev_reg_value(model, REFDEV_REG_LOCAL_WINDOW);
    uint64_t seed = refdev_reg_value(model, REFDEV_REG_SEED);
    uint64_t *steps = refdev_reg(model, REFDEV_REG_LOCAL_STEPS);
    uint64_t page = refdev_turn(*steps % window, window), times = *steps / window;
    uint64_t *lanes = model->local + page * REFDEV_PATTERN_LANES;
    if (!refdev_pattern_matches(lanes, refdev_pattern_key(seed, REFDEV_PATTERN_LOCAL, page, times)))
        ++*refdev_reg(model, REFDEV_REG_LOCAL_MISMATCHES);
    refdev_pattern_fill(lanes, refdev_pattern_key(seed, REFDEV_PATTERN_LOCAL, page, times + 1));
    mark_dirty(model, page);
    model->local_touched = true;
    ++*steps;
}

/* How many pages @credit pays for; they are taken off. */
static unsigned spend(uint64_t *credit, uint64_t rate, uint64_t passed_ns)
{
    *credit += passed_ns * rate;
    uint64_t pages = *credit / CREDIT_PAGE;
    if (pages > BATCH_PAGES)
        pages = BATCH_PAGES;
    *credit -= pages * CREDIT_PAGE;
    if (*credit > CREDIT_MAX_NS * rate)
        *credit = CREDIT_MAX_NS * rate;
    return (unsigned)pages;
}

static uint64_t until_page_ns(uint64_t credit, uint64_t rate)
{
    if (!rate)
        return UINT64_MAX;
    return credit >= CREDIT_PAGE ? 0 : (CREDIT_PAGE - credit + rate - 1) / rate;
}

static uint64_t work(struct refdev_model *model, uint64_t now_ns)
{
    uint64_t passed = now_ns > model->last_ns ? now_ns - model->last_ns : 0;
    uint64_t dma_rate = refdev_reg_value(model, REFDEV_REG_DMA_RATE);
    uint64_t dirty_rate = refdev_reg_value(model, REFDEV_REG_DIRTY_RATE);
    bool has_target = refdev_reg_value(model, REFDEV_REG_SLOT_COUNT) ||
                      refdev_reg_value(model, REFDEV_REG_PEER_IOVA);
    if (!has_target || !model->profile->has_dma || !refdev_config_bus_master(model))
        dma_rate = 0;
    if (!model->local_pages)
        dirty_rate = 0;
    if (passed > CREDIT_MAX_NS)
        passed = CREDIT_MAX_NS;
    model->last_ns = now_ns;
    unsigned pages = spend(&model->dma_credit, dma_rate, passed);
    for (; pages; pages--)
        if (!step_slot(model) || !step_peer(model))
            break; /* memory is not there (yet); the next tick tries again */
    for (pages = spend(&model->dirty_credit, dirty_rate, passed); pages; pages--)
        step_local(model);
    uint64_t dma_ns = until_page_ns(model->dma_credit, dma_rate);
    uint64_t dirty_ns = until_page_ns(model->dirty_credit, dirty_rate);
    return dma_ns < dirty_ns ? dma_ns : dirty_ns;
}

uint64_t refdev_tick(struct refdev_model *model, uint64_t now_ns)
{
    if (!refdev_is_running(model))
        return UINT64_MAX;
    refdev_copy_run(model);
    refdev_verify_run(model);
    uint64_t wait_ns = UINT64_MAX;
    if (refdev_reg_value(model, REFDEV_REG_CONTROL) & REFDEV_CONTROL_RUN)
        wait_ns = work(model, now_ns);
    if (refdev_reg_value(model, REFDEV_REG_VERIFY) == REFDEV_VERIFY_BUSY)
        return 0;
    return wait_ns;
}
