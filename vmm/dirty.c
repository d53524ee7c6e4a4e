/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/dirty.h"
#include "vmm/fail.h"
#include "vmm/lock.h"

static size_t words_of(const struct vmig_ram_block *block)
{
    return (size_t)((block->size_bytes / PAGE_BYTES + 63) / 64);
}

/* ---- the rings ---- */

static void note_locked(struct dirty *dirty, const struct kvm_dirty_gfn *page)
{
    for (unsigned i = 0; i < dirty->memory->num_blocks; i++)
        if (dirty->bits[i] && dirty->memory->slots[i] == page->slot) {
            dirty->bits[i][page->offset / 64] |= UINT64_C(1) << page->offset % 64;
            dirty->any[i] = true;
        }
}

/* The kernel stops in the middle when a signal is pending. One for a vCPU is no reason to. */
static int give_back_locked(struct dirty *dirty, struct vmig_error *err)
{
    sigset_t kick, before;
    int rc = 1;
    sigemptyset(&kick);
    sigaddset(&kick, VCPU_KICK);
    pthread_sigmask(SIG_BLOCK, &kick, &before);
    while (dirty->owed && rc > 0) {
        rc = kvm_ask(dirty->vcpus->kvm->vm, KVM_RESET_DIRTY_RINGS, NULL, "emptying the dirty rings",
                     err);
        dirty->owed -= rc < 0 ? 0 : (unsigned)rc < dirty->owed ? (unsigned)rc : dirty->owed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc < 0 ? rc : 0;
}

/* Take all entries out of all rings. Only after the kernel has them back it tells of the next writes to these
 * pages, so a bit is set before that, and handed on after it. */
static int empty_rings_locked(struct dirty *dirty, struct vmig_error *err)
{
    struct vcpus *vcpus = dirty->vcpus;
    for (unsigned i = 0; i < vcpus->count; i++)
        for (;; dirty->next[i]++, dirty->owed++) {
            struct kvm_dirty_gfn *page = &vcpus->list[i].ring[dirty->next[i] % DIRTY_RING_ENTRIES];
            if (!(__atomic_load_n(&page->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
                break;
            note_locked(dirty, page);
            __atomic_store_n(&page->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        }
    return give_back_locked(dirty, err);
}

static void on_ring_full(void *opaque)
{
    struct dirty *dirty = opaque;
    struct vmig_error err = { 0 };
    LOCK_SCOPE(&dirty->lock);
    int rc = empty_rings_locked(dirty, &err);
    if (rc < 0)
        vcpus_end(dirty->vcpus, GUEST_FAILED, "%s", err.text);
}

/* Processors that keep a list of written pages give it to the ring when they leave the guest: what is missing here
 * for that, comes with the last sync at the latest, when none is in the guest. */
static int read_rings_locked(struct dirty *dirty, unsigned i, uint64_t *bitmap,
                             struct vmig_error *err)
{
    int rc = empty_rings_locked(dirty, err);
    for (size_t n = 0; rc == 0 && dirty->any[i] && n < words_of(&dirty->memory->blocks[i]); n++) {
        bitmap[n] |= dirty->bits[i][n];
        dirty->bits[i][n] = 0;
    }
    dirty->any[i] &= rc < 0;
    return rc;
}

/* ---- the log ---- */

static int read_log_locked(struct dirty *dirty, unsigned i, uint64_t *bitmap,
                           struct vmig_error *err)
{
    int rc = kvm_read_log(dirty->vcpus->kvm, dirty->memory->slots[i], dirty->bits[i], err);
    for (size_t n = 0; rc == 0 && n < words_of(&dirty->memory->blocks[i]); n++)
        bitmap[n] |= dirty->bits[i][n];
    return rc;
}

/* ---- the VMM itself ---- */

static void take_written(const struct memory *memory, const struct vmig_ram_block *block,
                         uint64_t *bitmap)
{
    uint64_t *written = memory->written + block->fd_offset / PAGE_BYTES / 64;
    for (size_t n = 0; n < words_of(block); n++)
        if (__atomic_load_n(&written[n], __ATOMIC_RELAXED))
            bitmap[n] |= __atomic_exchange_n(&written[n], 0, __ATOMIC_ACQUIRE);
}

/* ---- what the migration asks ---- */

static bool has_rings(const struct dirty *dirty)
{
    return dirty->vcpus->kvm->dirty == DIRTY_RING;
}

/* Rings are left empty: what stands there would be a page that the next migration takes for written. */
static void dirty_stop(void *opaque)
{
    struct dirty *dirty = opaque;
    for (unsigned i = 0; i < dirty->memory->num_blocks; i++)
        kvm_track(dirty->vcpus->kvm, dirty->memory->slots[i], false, NULL);
    LOCK_SCOPE(&dirty->lock);
    for (unsigned i = 0; i < dirty->memory->num_blocks; i++) {
        free(dirty->bits[i]);
        dirty->bits[i] = NULL;
    }
    if (has_rings(dirty))
        empty_rings_locked(dirty, NULL);
}

/* Both begin empty when a slot's tracking is switched on. */
static int dirty_start(void *opaque, struct vmig_error *err)
{
    struct dirty *dirty = opaque;
    const struct memory *memory = dirty->memory;
    int rc = 0;
    pthread_mutex_lock(&dirty->lock);
    for (unsigned i = 0; rc == 0 && i < memory->num_blocks; i++) {
        dirty->bits[i] = calloc(words_of(&memory->blocks[i]), sizeof(uint64_t));
        dirty->any[i] = false;
        rc = dirty->bits[i] ? 0 : vmm_fail(err, ENOMEM, NULL, "out of memory");
    }
    pthread_mutex_unlock(&dirty->lock);
    for (unsigned i = 0; rc == 0 && i < memory->num_blocks; i++)
        rc = kvm_track(dirty->vcpus->kvm, memory->slots[i], true, err);
    if (rc < 0)
        dirty_stop(dirty);
    return rc;
}

static int dirty_sync(void *opaque, const struct vmig_ram_block *block, uint64_t *bitmap,
                      struct vmig_error *err)
{
    struct dirty *dirty = opaque;
    unsigned i = block->iova == dirty->memory->blocks[0].iova ? 0 : 1;
    LOCK_SCOPE(&dirty->lock);
    take_written(dirty->memory, block, bitmap);
    return has_rings(dirty) ? read_rings_locked(dirty, i, bitmap, err)
                            : read_log_locked(dirty, i, bitmap, err);
}

int dirty_add(struct dirty *dirty, struct vmig_migration *migration, struct vcpus *vcpus,
              const struct memory *memory, struct vmig_error *err)
{
    static const struct vmig_tracker_ops ops = {
        .size = sizeof(ops), .start = dirty_start, .sync = dirty_sync, .stop = dirty_stop
    };
    *dirty = (struct dirty) { vcpus, memory, .lock = PTHREAD_MUTEX_INITIALIZER };
    vcpus->ring_full = on_ring_full;
    vcpus->ring_opaque = dirty;
    return vmig_migration_set_tracker(migration, &ops, dirty, err);
}
