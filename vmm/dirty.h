/* SPDX-License-Identifier: BSD-3-Clause */
/* KVM's dirty log as the migration's tracker: what vCPUs write goes past this process's own page tables. */
#ifndef VMM_DIRTY_H
#define VMM_DIRTY_H

#include <vfio-migrate/migration.h>

#include "vmm/kvm.h"
#include "vmm/memory.h"

struct dirty {
    struct kvm *kvm;
    const struct memory *memory;
    uint64_t *bits; /* of the largest block, while it runs */
};

int dirty_add(struct dirty *dirty, struct vmig_migration *migration, struct kvm *kvm,
              const struct memory *memory, struct vmig_error *err);

#endif
