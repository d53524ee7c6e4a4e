/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What KVM knows of the guest's writes as the migration's tracker: they go past this process's own page tables.
 *
 * The log is a bitmap that KVM keeps for each slot and copies when it is asked. A ring has an entry for each page
 * that its vCPU was the first to write since that page's last entry was given back; a vCPU whose ring is full
 * leaves the guest and empties it, into a bitmap of ours, as whoever asks does.
 */
#ifndef VMM_DIRTY_H
#define VMM_DIRTY_H

#include <pthread.h>
#include <vfio-migrate/migration.h>

#include "vmm/memory.h"
#include "vmm/vcpu.h"

/* Lives as long as the vCPUs do. */
struct dirty {
    struct vcpus *vcpus;
    const struct memory *memory;
    pthread_mutex_t lock;     /* guards the rest */
    uint64_t *bits[2];        /* of each block, while it runs */
    bool any[2];              /* of its bits are set; rings only */
    unsigned next[VCPUS_MAX]; /* of each ring's entries */
    bool lost[VCPUS_MAX];     /* next[] is not known: that ring ran over */
    unsigned owed;            /* entries that the kernel has yet to take back */
};

int dirty_add(struct dirty *dirty, struct vmig_migration *migration, struct vcpus *vcpus,
              const struct memory *memory, struct vmig_error *err);

#endif
