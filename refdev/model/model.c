/* SPDX-License-Identifier: BSD-3-Clause */
/* The device as a whole: beginning, reset, and the bounds that every region access must keep. */
#include "refdev/model/internal.h"

size_t refdev_model_bytes(void)
{
    return (sizeof(struct refdev_model) + 63) / 64 * 64;
}

bool refdev_knobs_fit(const struct refdev_knobs *knobs, uint64_t local_bytes)
{
    const struct refdev_profile *profile = knobs->profile;
    uint64_t pgsize = knobs->log_pgsize;
    return local_bytes % REFDEV_PAGE_BYTES == 0 && local_bytes <= profile->max_local_bytes &&
           (local_bytes || !profile->default_local_bytes) &&
           knobs->dirty_set_bytes % REFDEV_PAGE_BYTES == 0 &&
           knobs->dirty_set_bytes <= local_bytes && knobs->dma_rate <= REFDEV_RATE_MAX &&
           knobs->dirty_rate <= REFDEV_RATE_MAX && knobs->slot_count <= REFDEV_SLOTS_MAX &&
           (!knobs->reinit || profile->has_reinit) && knobs->fault_count <= REFDEV_FAULTS_MAX &&
           knobs->slot_base % REFDEV_PAGE_BYTES == 0 && knobs->slot_base <= 1ull << 63 &&
           (!pgsize || (pgsize >= 4096 && pgsize <= 2u << 20 && !(pgsize & (pgsize - 1))));
}

int refdev_init(struct refdev_model *model, const struct refdev_knobs *knobs, void *local,
                uint64_t local_bytes, void *shared, const struct refdev_door_ops *ops, void *door)
{
    if (!knobs->profile || !refdev_knobs_fit(knobs, local_bytes))
        return -EINVAL;
    refdev_zero(model, sizeof(*model));
    model->profile = knobs->profile;
    model->knobs = *knobs;
    model->ops = ops;
    model->door = door;
    model->shown_flags = ~0ull;
    model->local = local;
    model->local_pages = local_bytes / REFDEV_PAGE_BYTES;
    model->local_touched = true;
    model->shared = shared;
    if (model->local_pages) {
        model->dirty_bits = ops->alloc(door, (model->local_pages + 63) / 64 * 8);
        if (!model->dirty_bits)
            return -ENOMEM;
    }
    refdev_set_faults(model, knobs->faults, knobs->fault_count);
    refdev_reset(model);
    return 0;
}

void refdev_done(struct refdev_model *model)
{
    refdev_log_stop(model);
    if (model->dirty_bits)
        model->ops->free(model->door, model->dirty_bits);
    model->dirty_bits = NULL;
}

void refdev_set_shared(struct refdev_model *model, void *shared)
{
    model->shared = shared;
}

void refdev_reset(struct refdev_model *model)
{
    refdev_log_stop(model);
    model->state = VMIG_STATE_RUNNING;
    model->tracking = false;
    model->profile->regions->reset(model);
    refdev_local_reset(model);
    refdev_workload_start(model);
}

const struct refdev_profile *refdev_profile_of(const struct refdev_model *model)
{
    return model->profile;
}

int refdev_region_info(const struct refdev_model *model, unsigned index,
                       struct refdev_region_info *ret)
{
    if (index >= REFDEV_NUM_REGIONS)
        return -EINVAL;
    index = refdev_bounded(index, REFDEV_NUM_REGIONS);
    return model->profile->regions->info(model, index, ret);
}

int refdev_irq_info(const struct refdev_model *model, unsigned index, struct refdev_irq_info *ret)
{
    if (index >= REFDEV_NUM_IRQS)
        return -EINVAL;
    index = refdev_bounded(index, REFDEV_NUM_IRQS);
    return model->profile->regions->irq(model, index, ret);
}

static bool in_region(const struct refdev_model *model, unsigned index, uint64_t offset,
                      uint64_t length_bytes)
{
    struct refdev_region_info info;
    return !refdev_region_info(model, index, &info) && length_bytes <= info.size_bytes &&
           offset <= info.size_bytes - length_bytes;
}

int refdev_region_read(struct refdev_model *model, unsigned index, uint64_t offset, void *buf,
                       uint64_t length_bytes)
{
    if (!in_region(model, index, offset, length_bytes))
        return -EINVAL;
    return length_bytes ? model->profile->regions->read(model, index, offset, buf, length_bytes)
                        : 0;
}

int refdev_region_write(struct refdev_model *model, unsigned index, uint64_t offset,
                        const void *buf, uint64_t length_bytes)
{
    if (!in_region(model, index, offset, length_bytes))
        return -EINVAL;
    return length_bytes ? model->profile->regions->write(model, index, offset, buf, length_bytes)
                        : 0;
}
