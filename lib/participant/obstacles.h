/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in the way of moving a device: from facts about it and what moves with it to the checks
 * that fail, without asking anything.
 *
 * The fine points:
 *  - Memory is what tracking is for. Where none moves nothing has to be tracked.
 *  - all-dirty, or dirty tracking "none" for the device, is the user's word that all memory goes again
 *    in the pause: then no log is used, and neither its lack nor a vIOMMU is in the way.
 *  - enable-migration=on is such a word, too, but a weaker one: it is for devices that nobody can track
 *    at all. A vIOMMU takes a log away that the user may count on, so that is refused.
 *  - A vIOMMU changes what IOVAs mean under the device's own log. The host's IOMMU tracks pages of
 *    memory, whatever the IOVA, so its dirty bits stay good.
 *  - Several devices may write into each other while they stop, unless all have P2P states. One that
 *    cannot or must not move is not among them. The blocker is named after who lacks the states, but
 *    one that has them and is "on" cannot join either: the set would need a blocker.
 */
#ifndef LIB_PARTICIPANT_OBSTACLES_H
#define LIB_PARTICIPANT_OBSTACLES_H

#include <vfio-migrate/settings.h>

/* In the order in which they are listed. */
enum obstacle {
    OBSTACLE_DISABLED,
    OBSTACLE_UNSUPPORTED,
    OBSTACLE_TRACKING,   /* nobody tells what it writes to memory */
    OBSTACLE_BITMAP,     /* its IOMMU could, but for a mapping that is too large */
    OBSTACLE_NEIGHBOURS, /* it has no P2P states and is not alone */
    OBSTACLE_VIOMMU,
    OBSTACLE_SIZE,  /* it cannot tell the size of its state */
    OBSTACLE_RAMFB, /* the state of a ramfb shall move that it does not have */
    OBSTACLE_COUNT
};
#define OBSTACLE_BIT(which) (1u << (which))

struct obstacle_facts {
    enum vmig_on_off_auto enable_migration;
    bool viommu;
    bool supported; /* it has STOP_COPY */
    bool p2p;
    bool device_log, iommu_log; /* it, its IOMMU can tell what it wrote */
    bool too_large;             /* a mapping is larger than its IOMMU can report */
    bool size_known;            /* it tells the size of its state, or the user did */
    bool ramfb_missing;         /* its state shall move */
    enum vmig_dirty_tracking wanted;
    bool all_dirty;
    bool memory;     /* some moves */
    bool others;     /* devices that could move */
    bool others_p2p; /* each of them has P2P states */
};

/* Bits of enum obstacle. */
struct obstacles {
    unsigned blockers; /* it cannot be sent */
    unsigned warnings;
    unsigned refused; /* with ON it is not accepted */
    bool receive;     /* it can receive */
};

void obstacles_find(const struct obstacle_facts *facts, struct obstacles *ret);

/* Could it move? Then it is a neighbour of others. */
bool obstacles_could_move(const struct obstacle_facts *facts);

#endif
