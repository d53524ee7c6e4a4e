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

/* What KVM keeps free of a ring for what a vCPU writes before it sees that it is to leave the guest. */
#define RING_RESERVE 64

static struct kvm_dirty_gfn *entry_at(const struct dirty *dirty, unsigned ring, unsigned n)
{
    return &dirty->vcpus->list[ring].ring[n % DIRTY_RING_ENTRIES];
}

static uint32_t flags_at(const struct dirty *dirty, unsigned ring, unsigned n)
{
    return __atomic_load_n(&entry_at(dirty, ring, n)->flags, __ATOMIC_ACQUIRE);
}

static bool is_news(const struct dirty *dirty, unsigned ring, unsigned n)
{
    return flags_at(dirty, ring, n) & KVM_DIRTY_GFN_F_DIRTY;
}

static void set_flags(const struct dirty *dirty, unsigned ring, unsigned n, uint32_t flags)
{
    __atomic_store_n(&entry_at(dirty, ring, n)->flags, flags, __ATOMIC_RELEASE);
}

/* An entry that is overwritten while we read it may be half of one and half of the other. */
static void note_locked(struct dirty *dirty, const struct kvm_dirty_gfn *page)
{
    for (unsigned i = 0; i < dirty->memory->num_blocks; i++)
        if (dirty->bits[i] && dirty->memory->slots[i] == page->slot &&
            page->offset / 64 < words_of(&dirty->memory->blocks[i])) {
            dirty->bits[i][page->offset / 64] |= UINT64_C(1) << page->offset % 64;
            dirty->any[i] = true;
        }
}

/* The kernel stops in the middle when a signal is pending. One for a vCPU is no reason to, and others are not when it
 * is asked once more. */
static int give_back_locked(struct dirty *dirty, struct vmig_error *err)
{
    sigset_t kick, before;
    int rc = 0;
    sigemptyset(&kick);
    sigaddset(&kick, VCPU_KICK);
    pthread_sigmask(SIG_BLOCK, &kick, &before);
    for (unsigned vain = 0; dirty->owed && rc >= 0 && vain < 3; vain = rc ? 0 : vain + 1) {
        rc = kvm_ask(dirty->vcpus->kvm->vm, KVM_RESET_DIRTY_RINGS, NULL, "emptying the dirty rings",
                     err);
        dirty->owed -= rc < 0 ? 0 : (unsigned)rc < dirty->owed ? (unsigned)rc : dirty->owed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc < 0 ? rc : 0;
}

/* ---- a ring that ran over ----
 *
 * A vCPU leaves the guest when its ring is almost full, but KVM looks only where it enters the guest. What it emulates
 * in one go can be more writes than the reserve, and each is an entry: a string instruction, or with a KVM that has no
 * hardware for kernels' code whatever the guest does. Then the oldest entries are overwritten, and KVM goes on writing
 * some entries behind the place where it takes the next one back. So: all of memory counts as written and is watched
 * anew; the ring is emptied, and where the vCPU goes on shows with its next entry. */

/* All entries are in use, so it ran over, or is about to. Only while the vCPU stands still. */
static bool is_full(const struct dirty *dirty, unsigned ring)
{
    unsigned n = 0;
    while (n < DIRTY_RING_ENTRIES && flags_at(dirty, ring, n))
        n++;
    return n == DIRTY_RING_ENTRIES;
}

/* Nobody knows which pages' entries are gone. Switching it on makes KVM tell of every page's next write. */
static int watch_all_anew_locked(struct dirty *dirty, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < dirty->memory->num_blocks; i++) {
        if (!dirty->bits[i])
            continue;
        memset(dirty->bits[i], 0xff, words_of(&dirty->memory->blocks[i]) * sizeof(uint64_t));
        dirty->any[i] = true;
        rc = kvm_track(dirty->vcpus->kvm, dirty->memory->slots[i], false, err);
        if (rc == 0)
            rc = kvm_track(dirty->vcpus->kvm, dirty->memory->slots[i], true, err);
    }
    return rc;
}

/* KVM takes entries back up to one that was not given back, so with the first one held back it shows where it began. */
static int start_over_locked(struct dirty *dirty, unsigned ring, struct vmig_error *err)
{
    unsigned first = 1;
    for (unsigned n = 1; n < DIRTY_RING_ENTRIES; n++)
        set_flags(dirty, ring, n, KVM_DIRTY_GFN_F_RESET);
    set_flags(dirty, ring, 0, KVM_DIRTY_GFN_F_DIRTY);
    dirty->owed = DIRTY_RING_ENTRIES;
    int rc = give_back_locked(dirty, err);
    while (first < DIRTY_RING_ENTRIES && flags_at(dirty, ring, first))
        first++;
    set_flags(dirty, ring, 0, KVM_DIRTY_GFN_F_RESET);
    if (rc == 0)
        rc = give_back_locked(dirty, err);
    if (rc == 0 && dirty->owed)
        rc = vmm_fail(err, EIO, NULL, "KVM does not take back the dirty ring of vCPU %u", ring);
    dirty->next[ring] = first % DIRTY_RING_ENTRIES;
    dirty->lost[ring] = true;
    return rc < 0 ? rc : watch_all_anew_locked(dirty, err);
}

/* The first entry since: what lies before it counts as given back, so that KVM takes back from there on, too. */
static void find_place_locked(struct dirty *dirty, unsigned ring)
{
    unsigned gap = 0, next = dirty->next[ring];
    while (gap < DIRTY_RING_ENTRIES && !is_news(dirty, ring, next + gap))
        gap++;
    if (gap == DIRTY_RING_ENTRIES)
        return; /* it has written nothing since */
    while (gap && is_news(dirty, ring, next + gap - 1))
        gap--; /* it came while we looked */
    for (unsigned n = 0; n < gap; n++)
        set_flags(dirty, ring, next + n, KVM_DIRTY_GFN_F_RESET);
    dirty->owed += gap;
    dirty->next[ring] += gap;
    dirty->lost[ring] = false;
}

/* ---- emptying them ---- */

static unsigned note_news_locked(struct dirty *dirty, unsigned ring)
{
    unsigned news = 0;
    for (; news < DIRTY_RING_ENTRIES && is_news(dirty, ring, dirty->next[ring] + news); news++)
        note_locked(dirty, entry_at(dirty, ring, dirty->next[ring] + news));
    return news;
}

/* @still: its vCPU is not in the guest. @kept: entries that KVM did not take back the last time. One that may have run
 * over is left to its vCPU, which comes with it at once: as long as entries are not given back they are read again. */
static int empty_ring_locked(struct dirty *dirty, unsigned ring, bool still, unsigned kept,
                             struct vmig_error *err)
{
    if (dirty->lost[ring])
        find_place_locked(dirty, ring);
    unsigned news = note_news_locked(dirty, ring);
    bool suspect = news + kept >= DIRTY_RING_ENTRIES - RING_RESERVE;
    if (suspect && !still)
        return 0;
    if (suspect && is_full(dirty, ring))
        return start_over_locked(dirty, ring, err);
    for (unsigned n = 0; n < news; n++)
        set_flags(dirty, ring, dirty->next[ring] + n, KVM_DIRTY_GFN_F_RESET);
    dirty->next[ring] += news;
    dirty->owed += news;
    return 0;
}

/* Take all entries out of all rings. Only after the kernel has them back it tells of the next writes to these
 * pages, so a bit is set before that, and handed on after it. @still: the ring whose vCPU stands still, ALL or NONE. */
enum { ALL = VCPUS_MAX, NONE };
static int empty_rings_locked(struct dirty *dirty, unsigned still, struct vmig_error *err)
{
    unsigned kept = dirty->owed;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < dirty->vcpus->count; i++)
        rc = empty_ring_locked(dirty, i, still == ALL || still == i, kept, err);
    return rc < 0 ? rc : give_back_locked(dirty, err);
}

static void on_ring_full(void *opaque, unsigned ring)
{
    struct dirty *dirty = opaque;
    struct vmig_error err = { 0 };
    LOCK_SCOPE(&dirty->lock);
    int rc = empty_rings_locked(dirty, ring, &err);
    if (rc < 0)
        vcpus_end(dirty->vcpus, GUEST_FAILED, "%s", err.text);
}

/* Processors that keep a list of written pages give it to the ring when they leave the guest: what is missing here
 * for that, comes with the last sync at the latest, when none is in the guest. */
static int read_rings_locked(struct dirty *dirty, unsigned i, uint64_t *bitmap,
                             struct vmig_error *err)
{
    bool still = vcpus_hold(dirty->vcpus);
    int rc = empty_rings_locked(dirty, still ? ALL : NONE, err);
    if (still)
        vcpus_let_go(dirty->vcpus);
    /* What the kernel has not got back yet may be written again without a word, so it is told once more. */
    bool again = rc < 0 || dirty->owed;
    for (size_t n = 0; rc == 0 && dirty->any[i] && n < words_of(&dirty->memory->blocks[i]); n++) {
        bitmap[n] |= dirty->bits[i][n];
        dirty->bits[i][n] &= again ? UINT64_MAX : 0;
    }
    dirty->any[i] &= again;
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
        empty_rings_locked(dirty, NONE, NULL);
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
