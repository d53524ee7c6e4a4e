/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a vfio-user server may reach, and which pages it wrote through messages.
 *
 * A server that writes by DMA_WRITE does not log that: the memory changes on our side, so marking
 * it is our job, always, from the mapping on. The device's own log is merged into the same bitmap,
 * which then answers every report. That way the device can be asked for a whole mapping, which some
 * servers insist on, or for parts that fit into messages, and nothing it said beyond the range asked
 * for is lost.
 *
 * A page is marked after its bytes have landed, never before: a report in between would let it be
 * sent too early and forget it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/device/backend-vfio-user.h"
#include "lib/memory/bitmap.h"

int vuc_dma_init(struct vuc_dma *dma)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* The receiver reads all the time; whoever maps must not starve. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int rc = -pthread_rwlock_init(&dma->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    dma->mappings = NULL;
    dma->count = 0;
    return rc;
}

void vuc_dma_done(struct vuc_dma *dma)
{
    for (unsigned i = 0; i < dma->count; i++)
        free((void *)dma->mappings[i].dirty);
    free(dma->mappings);
    pthread_rwlock_destroy(&dma->lock);
}

/* Index of the first mapping that ends behind @iova. */
static unsigned find_locked(const struct vuc_dma *dma, uint64_t iova)
{
    unsigned low = 0, high = dma->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const struct vmig_dma_map *map = &dma->mappings[middle].map;
        if (map->iova + (map->size_bytes - 1) < iova)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The mapping that all of [iova, iova + size) lies in, or NULL. */
static struct vuc_mapping *containing_locked(struct vuc_dma *dma, uint64_t iova, uint64_t size)
{
    unsigned i = find_locked(dma, iova);
    if (i == dma->count)
        return NULL;
    const struct vmig_dma_map *map = &dma->mappings[i].map;
    bool inside = map->iova <= iova && size <= map->size_bytes - (iova - map->iova);
    return inside ? &dma->mappings[i] : NULL;
}

static int insert_locked(struct vuc_dma *dma, const struct vmig_dma_map *map, uint64_t *take_dirty)
{
    unsigned i = find_locked(dma, map->iova);
    if (i < dma->count && dma->mappings[i].map.iova <= map->iova + (map->size_bytes - 1))
        return -EEXIST;
    struct vuc_mapping *grown = realloc(dma->mappings, (dma->count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    dma->mappings = grown;
    memmove(&grown[i + 1], &grown[i], (dma->count - i) * sizeof(*grown));
    grown[i] = (struct vuc_mapping) { *map, (_Atomic uint64_t *)take_dirty };
    dma->count++;
    return 0;
}

int vuc_dma_add(struct vuc_dma *dma, const struct vmig_dma_map *map)
{
    uint64_t last;
    if (map->size_bytes == 0 || map->size_bytes % VUC_PAGE || map->iova % VUC_PAGE ||
        __builtin_add_overflow(map->iova, map->size_bytes - 1, &last))
        return -EINVAL;
    uint64_t *dirty = bitmap_new(map->size_bytes / VUC_PAGE);
    if (!dirty)
        return -ENOMEM;
    pthread_rwlock_wrlock(&dma->lock);
    int rc = insert_locked(dma, map, dirty);
    pthread_rwlock_unlock(&dma->lock);
    if (rc)
        free(dirty);
    return rc;
}

int vuc_dma_remove(struct vuc_dma *dma, uint64_t iova, uint64_t size)
{
    pthread_rwlock_wrlock(&dma->lock);
    struct vuc_mapping *m = containing_locked(dma, iova, size);
    bool exact = m && m->map.iova == iova && m->map.size_bytes == size;
    if (exact) {
        free((void *)m->dirty);
        dma->count--;
        memmove(m, m + 1, (size_t)(&dma->mappings[dma->count] - m) * sizeof(*m));
    }
    pthread_rwlock_unlock(&dma->lock);
    return exact ? 0 : -ENOENT;
}

bool vuc_dma_find(struct vuc_dma *dma, uint64_t iova, uint64_t size, struct vmig_dma_map *ret)
{
    pthread_rwlock_rdlock(&dma->lock);
    struct vuc_mapping *m = containing_locked(dma, iova, size);
    if (m)
        *ret = m->map;
    pthread_rwlock_unlock(&dma->lock);
    return m != NULL;
}

/* ---- access by the server ---- */

int vuc_dma_iov(struct vuc_dma *dma, uint64_t iova, uint64_t size, bool write, struct iovec *iov,
                unsigned max)
{
    unsigned parts = 0;
    for (unsigned i = find_locked(dma, iova); size > 0; i++, parts++) {
        if (i == dma->count || dma->mappings[i].map.iova > iova)
            return -EFAULT;
        const struct vmig_dma_map *map = &dma->mappings[i].map;
        if (write && !map->writable)
            return -EPERM;
        if (parts == max)
            return -E2BIG;
        uint64_t offset = iova - map->iova, some = map->size_bytes - offset;
        if (some > size)
            some = size;
        iov[parts] = (struct iovec) { (uint8_t *)map->vaddr + offset, some };
        iova += some; /* wraps to 0 only at the very end of the address space */
        size -= some;
        if (iova == 0 && size > 0)
            return -EFAULT;
    }
    return (int)parts;
}

static void mark_pages(struct vuc_mapping *m, uint64_t offset, uint64_t size)
{
    uint64_t last = (offset + size - 1) / VUC_PAGE;
    for (uint64_t page = offset / VUC_PAGE; page <= last; page++)
        atomic_fetch_or_explicit(&m->dirty[page / 64], UINT64_C(1) << (page % 64),
                                 memory_order_release);
}

void vuc_dma_mark(struct vuc_dma *dma, uint64_t iova, uint64_t size)
{
    for (unsigned i = find_locked(dma, iova); size > 0 && i < dma->count; i++) {
        struct vuc_mapping *m = &dma->mappings[i];
        if (m->map.iova > iova)
            return;
        uint64_t offset = iova - m->map.iova, some = m->map.size_bytes - offset;
        if (some > size)
            some = size;
        mark_pages(m, offset, some);
        iova += some;
        size -= some;
    }
}

/* ---- reports ---- */

int vuc_dma_merge(struct vuc_dma *dma, uint64_t iova, uint64_t size, uint64_t pgsize,
                  const uint64_t *bitmap)
{
    uint64_t bits = size / pgsize + (size % pgsize != 0);
    pthread_rwlock_rdlock(&dma->lock);
    struct vuc_mapping *m = containing_locked(dma, iova, size);
    uint64_t first = m ? (iova - m->map.iova) / VUC_PAGE : 0;
    bool word_by_word = pgsize == VUC_PAGE && first % 64 == 0;
    for (uint64_t word = 0; m && word < bitmap_words(bits); word++) {
        if (bitmap[word] && word_by_word && word < bits / 64) {
            atomic_fetch_or(&m->dirty[first / 64 + word], bitmap[word]);
            continue;
        }
        for (uint64_t rest = bitmap[word]; rest; rest &= rest - 1) {
            uint64_t bit = word * 64 + (uint64_t)__builtin_ctzll(rest);
            if (bit >= bits) /* the last word's spare bits are the server's fancy */
                break;
            uint64_t at = bit * pgsize, some = size - at < pgsize ? size - at : pgsize;
            mark_pages(m, iova - m->map.iova + at, some);
        }
    }
    pthread_rwlock_unlock(&dma->lock);
    return m ? 0 : -ENOENT;
}

/* The bits of pages [first, end) within word @word. */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t end)
{
    uint64_t mask = UINT64_MAX;
    if (word == first / 64)
        mask &= UINT64_MAX << (first % 64);
    if (word == end / 64)
        mask &= ~(UINT64_MAX << (end % 64));
    return mask;
}

int vuc_dma_take(struct vuc_dma *dma, uint64_t iova, uint64_t size, uint64_t pgsize,
                 uint64_t *bitmap)
{
    if (size == 0 || iova % VUC_PAGE || size % VUC_PAGE || pgsize < VUC_PAGE || pgsize % VUC_PAGE)
        return -EINVAL;
    pthread_rwlock_rdlock(&dma->lock);
    struct vuc_mapping *m = containing_locked(dma, iova, size);
    uint64_t first = m ? (iova - m->map.iova) / VUC_PAGE : 0, end = first + size / VUC_PAGE;
    for (uint64_t word = first / 64; m && word * 64 < end; word++) {
        uint64_t mask = word_mask(word, first, end);
        if (!(atomic_load_explicit(&m->dirty[word], memory_order_relaxed) & mask))
            continue;
        uint64_t taken = atomic_fetch_and(&m->dirty[word], ~mask) & mask;
        for (; taken; taken &= taken - 1) {
            uint64_t page = word * 64 + (uint64_t)__builtin_ctzll(taken) - first;
            bitmap_set(bitmap, page * VUC_PAGE / pgsize);
        }
    }
    pthread_rwlock_unlock(&dma->lock);
    return m ? 0 : -ENOENT;
}
