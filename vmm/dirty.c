/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "vmm/dirty.h"
#include "vmm/fail.h"

static size_t words_of(uint64_t size_bytes)
{
    return (size_t)((size_bytes / 4096 + 63) / 64);
}

static void dirty_stop(void *opaque)
{
    struct dirty *dirty = opaque;
    for (unsigned i = 0; i < dirty->memory->num_blocks; i++)
        kvm_log(dirty->kvm, dirty->memory->blocks[i].iova, false, NULL);
    free(dirty->bits);
    dirty->bits = NULL;
}

/* The log of a slot begins empty when it is switched on. */
static int dirty_start(void *opaque, struct vmig_error *err)
{
    struct dirty *dirty = opaque;
    const struct memory *memory = dirty->memory;
    uint64_t largest = 0;
    int rc = 0;
    for (unsigned i = 0; i < memory->num_blocks; i++)
        if (memory->blocks[i].size_bytes > largest)
            largest = memory->blocks[i].size_bytes;
    dirty->bits = calloc(words_of(largest), sizeof(uint64_t));
    if (!dirty->bits)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    for (unsigned i = 0; rc == 0 && i < memory->num_blocks; i++)
        rc = kvm_log(dirty->kvm, memory->blocks[i].iova, true, err);
    if (rc < 0)
        dirty_stop(dirty);
    return rc;
}

static int dirty_sync(void *opaque, const struct vmig_ram_block *block, uint64_t *bitmap,
                      struct vmig_error *err)
{
    struct dirty *dirty = opaque;
    int rc = kvm_read_log(dirty->kvm, block->iova, dirty->bits, err);
    for (size_t i = 0; rc == 0 && i < words_of(block->size_bytes); i++)
        bitmap[i] |= dirty->bits[i];
    return rc;
}

int dirty_add(struct dirty *dirty, struct vmig_migration *migration, struct kvm *kvm,
              const struct memory *memory, struct vmig_error *err)
{
    static const struct vmig_tracker_ops ops = {
        .size = sizeof(ops), .start = dirty_start, .sync = dirty_sync, .stop = dirty_stop
    };
    *dirty = (struct dirty) { .kvm = kvm, .memory = memory };
    return vmig_migration_set_tracker(migration, &ops, dirty, err);
}
