/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in the way of a device, over every combination of facts. Each sentence of the rules is
 * said anew here, as a condition under which something must, or must not, be found; none says how.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/participant/obstacles.h"

#define HAS(bits, which) (((bits)&OBSTACLE_BIT(OBSTACLE_##which)) != 0)

struct found {
    struct obstacle_facts f;
    struct obstacles o;
};

static void say(const struct obstacle_facts *f, const char *rule)
{
    fail_msg("%s: enable %d viommu %d supported %d p2p %d device-log %d iommu-log %d too-large %d "
             "size %d wanted %d all-dirty %d memory %d others %d/%d",
             rule, (int)f->enable_migration, f->viommu, f->supported, f->p2p, f->device_log,
             f->iommu_log, f->too_large, f->size_known, (int)f->wanted, f->all_dirty, f->memory,
             f->others, f->others_p2p);
}

#define must(c, rule)                                                                              \
    do {                                                                                           \
        if (!(c))                                                                                  \
            say(&c_->f, rule);                                                                     \
    } while (0)

static bool take(unsigned *left, unsigned *ret, unsigned values)
{
    *ret = *left % values;
    *left /= values;
    return *ret;
}

/* Call @check with everything that can be. */
static void over_all(void (*check)(const struct found *c_))
{
    for (unsigned n = 0; n < 3u * 4 * 3 * (1u << 9); n++) {
        unsigned left = n, value;
        struct found c = { 0 };
        take(&left, &value, 3);
        c.f.enable_migration = (enum vmig_on_off_auto)value;
        take(&left, &value, VMIG_DIRTY_COUNT);
        c.f.wanted = (enum vmig_dirty_tracking)value;
        take(&left, &value, 3);
        c.f.others = value > 0;
        c.f.others_p2p = value != 1; /* none, some without, all with */
        c.f.viommu = take(&left, &value, 2);
        c.f.supported = take(&left, &value, 2);
        c.f.p2p = take(&left, &value, 2);
        c.f.device_log = take(&left, &value, 2);
        c.f.iommu_log = take(&left, &value, 2);
        c.f.too_large = take(&left, &value, 2);
        c.f.size_known = take(&left, &value, 2);
        c.f.all_dirty = take(&left, &value, 2);
        c.f.memory = take(&left, &value, 2);
        assert_int_equal(left, 0);
        obstacles_find(&c.f, &c.o);
        check(&c);
    }
}

/* ---- enable-migration ---- */

static void off_is_a_blocker_and_nothing_else_is(const struct found *c_)
{
    must(HAS(c_->o.blockers, DISABLED) == (c_->f.enable_migration == VMIG_OFF), "disabled");
    must(!HAS(c_->o.warnings, DISABLED), "never a warning");
}

static void
a_device_that_is_off_is_blocked_by_just_that_and_by_what_would_block_it_with_auto(void **state)
{
    (void)state;
    over_all(off_is_a_blocker_and_nothing_else_is);
}

static void only_on_refuses(const struct found *c_)
{
    if (c_->f.enable_migration != VMIG_ON)
        must(!c_->o.refused, "auto and off are accepted");
    else if (c_->o.blockers)
        must(c_->o.refused, "on is refused what would be blocked");
}

static void on_refuses_whatever_would_be_blocked_and_auto_and_off_accept_everything(void **state)
{
    (void)state;
    over_all(only_on_refuses);
}

static void as_with_auto(const struct found *c_)
{
    struct obstacle_facts f = c_->f;
    struct obstacles with_auto;
    const unsigned tracking = OBSTACLE_BIT(OBSTACLE_TRACKING) | OBSTACLE_BIT(OBSTACLE_BITMAP);
    f.enable_migration = VMIG_AUTO;
    obstacles_find(&f, &with_auto);
    switch (c_->f.enable_migration) {
    case VMIG_ON:
        must((c_->o.blockers | (c_->o.warnings & tracking)) == with_auto.blockers,
             "on finds what auto finds");
        must(!(c_->o.blockers & tracking), "lack of tracking is only a warning with on");
        break;
    case VMIG_OFF:
        must((c_->o.blockers & ~OBSTACLE_BIT(OBSTACLE_DISABLED)) == with_auto.blockers,
             "off lists what else fails");
        break;
    default:
        must(!(c_->o.warnings & tracking), "auto is silent apart from the blocker");
    }
}

static void on_finds_the_same_as_auto_and_only_warns_of_tracking(void **state)
{
    (void)state;
    over_all(as_with_auto);
}

/* ---- what the device can ---- */

static void support(const struct found *c_)
{
    must(HAS(c_->o.blockers, UNSUPPORTED) == !c_->f.supported, "unsupported");
    if (!c_->f.supported)
        must(!HAS(c_->o.blockers | c_->o.warnings, TRACKING) &&
                 !HAS(c_->o.blockers | c_->o.warnings, BITMAP) &&
                 !HAS(c_->o.blockers, NEIGHBOURS) && !HAS(c_->o.warnings, SIZE),
             "of one that cannot migrate nothing else is asked that its driver would have to tell");
}

static void an_unsupported_device_is_blocked(void **state)
{
    (void)state;
    over_all(support);
}

static void receiving(const struct found *c_)
{
    must(c_->o.receive == (c_->f.supported && c_->f.enable_migration != VMIG_OFF),
         "it can receive");
}

static void only_an_unsupported_or_disabled_device_cannot_receive(void **state)
{
    (void)state;
    over_all(receiving);
}

static void unknown_size(const struct found *c_)
{
    must(!HAS(c_->o.blockers, SIZE), "never a blocker");
    must(HAS(c_->o.warnings, SIZE) == (c_->f.supported && !c_->f.size_known), "a warning");
}

static void a_size_that_nobody_knows_is_warned_of(void **state)
{
    (void)state;
    over_all(unknown_size);
}

/* ---- who tells what it writes ---- */

/* By how much less than the device and its IOMMU have to offer. */
static bool someone_offers(const struct obstacle_facts *f)
{
    switch (f->wanted) {
    case VMIG_DIRTY_DEVICE:
        return f->device_log;
    case VMIG_DIRTY_IOMMU:
        return f->iommu_log;
    default:
        return f->device_log || f->iommu_log;
    }
}

static void tracking(const struct found *c_)
{
    unsigned all = c_->o.blockers | c_->o.warnings;
    if (!c_->f.memory)
        must(!HAS(all, TRACKING) && !HAS(all, BITMAP), "without memory nothing is tracked");
    if (c_->f.all_dirty || c_->f.wanted == VMIG_DIRTY_NONE)
        must(!HAS(all, TRACKING) && !HAS(all, BITMAP), "the user's word does for tracking");
    else if (c_->f.memory && c_->f.supported)
        must(HAS(all, TRACKING) == !someone_offers(&c_->f), "somebody has to tell");
}

static void memory_that_moves_needs_somebody_who_tells_or_the_users_word(void **state)
{
    (void)state;
    over_all(tracking);
}

static void too_large(const struct found *c_)
{
    const struct obstacle_facts *f = &c_->f;
    unsigned all = c_->o.blockers | c_->o.warnings;
    if (f->supported && f->memory && !f->all_dirty && f->wanted == VMIG_DIRTY_AUTO &&
        f->iommu_log && f->too_large)
        must(HAS(all, BITMAP) == (!f->device_log || f->viommu), "where only the IOMMU can tell");
    if (!HAS(all, BITMAP))
        return;
    must(f->too_large && f->iommu_log && f->wanted != VMIG_DIRTY_DEVICE, "of the IOMMU's alone");
    must(!f->device_log || f->viommu || f->wanted == VMIG_DIRTY_IOMMU,
         "not where the device itself can be asked");
    must(!HAS(all, TRACKING), "there is somebody who could tell");
}

static void a_mapping_that_is_too_large_matters_only_where_the_IOMMU_is_needed(void **state)
{
    (void)state;
    struct obstacles o;
    struct obstacle_facts f = { .supported = true,
                                .iommu_log = true,
                                .too_large = true,
                                .memory = true,
                                .size_known = true,
                                .others_p2p = true };
    over_all(too_large);
    obstacles_find(&f, &o);
    assert_int_equal(o.blockers, OBSTACLE_BIT(OBSTACLE_BITMAP));
    f.device_log = true;
    obstacles_find(&f, &o);
    assert_int_equal(o.blockers, 0);
    f.wanted = VMIG_DIRTY_IOMMU;
    obstacles_find(&f, &o);
    assert_int_equal(o.blockers, OBSTACLE_BIT(OBSTACLE_BITMAP));
}

/* ---- vIOMMU ---- */

static void viommu(const struct found *c_)
{
    const struct obstacle_facts *f = &c_->f;
    bool blocked = HAS(c_->o.blockers, VIOMMU);
    must(!HAS(c_->o.warnings, VIOMMU), "never a warning");
    if (!f->viommu)
        must(!blocked, "only where there is one");
    else if (f->all_dirty || f->wanted == VMIG_DIRTY_NONE)
        must(!blocked, "no device-side tracking is used");
    else if (f->wanted == VMIG_DIRTY_DEVICE)
        must(blocked, "device-side tracking is what it blocks");
    else
        must(blocked == !(f->iommu_log && !f->too_large), "IOMMU-side tracking is not blocked");
}

static void a_vIOMMU_blocks_device_side_tracking_and_not_the_IOMMUs(void **state)
{
    (void)state;
    over_all(viommu);
}

static void on_is_no_word_for_a_vIOMMU(const struct found *c_)
{
    const struct obstacle_facts *f = &c_->f;
    if (f->enable_migration == VMIG_ON && f->viommu && !f->iommu_log && !f->all_dirty &&
        f->wanted != VMIG_DIRTY_NONE)
        must(HAS(c_->o.refused, VIOMMU), "refused");
}

static void on_with_a_vIOMMU_is_refused_even_where_nothing_could_be_tracked_anyway(void **state)
{
    (void)state;
    over_all(on_is_no_word_for_a_vIOMMU);
}

/* ---- neighbours ---- */

static void neighbours(const struct found *c_)
{
    const struct obstacle_facts *f = &c_->f;
    bool alone = !f->others, all_have = f->p2p && f->others_p2p;
    must(HAS(c_->o.blockers, NEIGHBOURS) == (f->supported && !alone && !f->p2p),
         "named after who lacks the states");
    if (f->enable_migration == VMIG_ON && f->supported)
        must(HAS(c_->o.refused, NEIGHBOURS) == (!alone && !all_have),
             "on cannot join a set that needs a blocker");
}

static void several_devices_move_only_if_all_have_P2P_states(void **state)
{
    (void)state;
    over_all(neighbours);
}

static void could_move(const struct found *c_)
{
    must(obstacles_could_move(&c_->f) == (c_->f.supported && c_->f.enable_migration != VMIG_OFF),
         "a neighbour is one that could move");
}

static void one_that_cannot_or_must_not_move_is_nobodys_neighbour(void **state)
{
    (void)state;
    over_all(could_move);
}

/* ---- together ---- */

static void a_device_that_fails_three_checks_has_three_blockers(void **state)
{
    (void)state;
    struct obstacles o;
    const struct obstacle_facts f = {
        .supported = true, .viommu = true, .memory = true, .others = true, .size_known = true
    };
    obstacles_find(&f, &o);
    assert_int_equal(o.blockers, OBSTACLE_BIT(OBSTACLE_TRACKING) |
                                     OBSTACLE_BIT(OBSTACLE_NEIGHBOURS) |
                                     OBSTACLE_BIT(OBSTACLE_VIOMMU));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_device_that_is_off_is_blocked_by_just_that_and_by_what_would_block_it_with_auto),
        cmocka_unit_test(on_refuses_whatever_would_be_blocked_and_auto_and_off_accept_everything),
        cmocka_unit_test(on_finds_the_same_as_auto_and_only_warns_of_tracking),
        cmocka_unit_test(an_unsupported_device_is_blocked),
        cmocka_unit_test(only_an_unsupported_or_disabled_device_cannot_receive),
        cmocka_unit_test(a_size_that_nobody_knows_is_warned_of),
        cmocka_unit_test(memory_that_moves_needs_somebody_who_tells_or_the_users_word),
        cmocka_unit_test(a_mapping_that_is_too_large_matters_only_where_the_IOMMU_is_needed),
        cmocka_unit_test(a_vIOMMU_blocks_device_side_tracking_and_not_the_IOMMUs),
        cmocka_unit_test(on_with_a_vIOMMU_is_refused_even_where_nothing_could_be_tracked_anyway),
        cmocka_unit_test(several_devices_move_only_if_all_have_P2P_states),
        cmocka_unit_test(one_that_cannot_or_must_not_move_is_nobodys_neighbour),
        cmocka_unit_test(a_device_that_fails_three_checks_has_three_blockers),
    };
    return cmocka_run_group_tests_name("obstacles", tests, NULL, NULL);
}
