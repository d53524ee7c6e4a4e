/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/participant/obstacles.h"

/* ---- the checks ---- */

static bool is_wanted(const struct obstacle_facts *f, enum vmig_dirty_tracking source)
{
    return f->wanted == VMIG_DIRTY_AUTO || f->wanted == source;
}

static bool can_device_log(const struct obstacle_facts *f)
{
    return f->device_log && is_wanted(f, VMIG_DIRTY_DEVICE);
}

static bool can_iommu_log(const struct obstacle_facts *f)
{
    return f->iommu_log && is_wanted(f, VMIG_DIRTY_IOMMU);
}

/* The user's word, given in so many words. */
static bool is_all_dirty(const struct obstacle_facts *f)
{
    return f->all_dirty || f->wanted == VMIG_DIRTY_NONE;
}

static bool has_to_be_tracked(const struct obstacle_facts *f)
{
    return f->supported && f->memory && !is_all_dirty(f);
}

static bool is_disabled(const struct obstacle_facts *f)
{
    return f->enable_migration == VMIG_OFF;
}

static bool is_unsupported(const struct obstacle_facts *f)
{
    return !f->supported;
}

static bool is_untracked(const struct obstacle_facts *f)
{
    return has_to_be_tracked(f) && !can_device_log(f) && !can_iommu_log(f);
}

static bool is_too_large(const struct obstacle_facts *f)
{
    bool by_itself = can_device_log(f) && !f->viommu;
    return has_to_be_tracked(f) && !by_itself && can_iommu_log(f) && f->too_large;
}

static bool lacks_p2p(const struct obstacle_facts *f)
{
    return f->supported && f->others && !f->p2p;
}

static bool is_behind_viommu(const struct obstacle_facts *f)
{
    bool by_iommu = can_iommu_log(f) && !f->too_large;
    return f->viommu && !by_iommu && !is_all_dirty(f);
}

static bool is_of_unknown_size(const struct obstacle_facts *f)
{
    return f->supported && !f->size_known;
}

static bool lacks_ramfb(const struct obstacle_facts *f)
{
    return f->ramfb_missing;
}

/* What fails is a blocker, unless the row says that it is only a warning: always, or with ON. */
static const struct check {
    bool (*fails)(const struct obstacle_facts *facts);
    bool warns, warns_when_on;
} checks[OBSTACLE_COUNT] = {
    [OBSTACLE_DISABLED] = { is_disabled, false, false },
    [OBSTACLE_UNSUPPORTED] = { is_unsupported, false, false },
    [OBSTACLE_TRACKING] = { is_untracked, false, true },
    [OBSTACLE_BITMAP] = { is_too_large, false, true },
    [OBSTACLE_NEIGHBOURS] = { lacks_p2p, false, false },
    [OBSTACLE_VIOMMU] = { is_behind_viommu, false, false },
    [OBSTACLE_SIZE] = { is_of_unknown_size, true, true },
    [OBSTACLE_RAMFB] = { lacks_ramfb, true, true },
};

/* ---- the whole ---- */

bool obstacles_could_move(const struct obstacle_facts *facts)
{
    return facts->supported && !is_disabled(facts);
}

void obstacles_find(const struct obstacle_facts *facts, struct obstacles *ret)
{
    bool on = facts->enable_migration == VMIG_ON;
    *ret = (struct obstacles) { .receive = obstacles_could_move(facts) };
    for (unsigned i = 0; i < OBSTACLE_COUNT; i++) {
        if (!checks[i].fails(facts))
            continue;
        bool warns = checks[i].warns || (on && checks[i].warns_when_on);
        *(warns ? &ret->warnings : &ret->blockers) |= OBSTACLE_BIT(i);
    }
    if (!on)
        return;
    ret->refused = ret->blockers;
    if (facts->supported && facts->others && !facts->others_p2p)
        ret->refused |= OBSTACLE_BIT(OBSTACLE_NEIGHBOURS);
}
