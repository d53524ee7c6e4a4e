/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/device/dirty-log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/memory/bitmap.h"

static bool is_pgsize(uint64_t pgsize)
{
    return pgsize >= DEVICE_PGSIZE_MIN && !(pgsize & (pgsize - 1));
}

/* ---- bits that are kept ---- */

struct kept_bits {
    struct kept_bits *next;
    struct iova_bits bits; /* 4 KiB pages */
    bool edge;             /* a page of the log; not all of it need have been mapped */
};

void dirty_log_init(struct dirty_log *log)
{
    pthread_mutex_init(&log->lock, NULL);
    atomic_store(&log->pgsize, DEVICE_PGSIZE_MIN);
}

static void forget_kept(struct dirty_log *log)
{
    LOCK_SCOPE(&log->lock);
    while (log->kept) {
        struct kept_bits *first = log->kept;
        log->kept = first->next;
        free(first->bits.words);
        free(first);
    }
    log->num_kept = 0;
}

void dirty_log_done(struct dirty_log *log)
{
    forget_kept(log);
    pthread_mutex_destroy(&log->lock);
}

static struct kept_bits *find_kept_locked(struct dirty_log *log, uint64_t iova, uint64_t size_bytes)
{
    struct kept_bits *kept = log->kept;
    while (kept && (kept->bits.iova != iova || kept->bits.size_bytes != size_bytes))
        kept = kept->next;
    return kept;
}

/* Make sure that bits of the range can be kept. */
static int reserve_kept(struct vmig_device *device, struct dirty_log *log, uint64_t iova,
                        uint64_t size_bytes, bool edge, struct vmig_error *err)
{
    LOCK_SCOPE(&log->lock);
    struct kept_bits *kept = find_kept_locked(log, iova, size_bytes);
    if (kept) {
        kept->edge = kept->edge && edge;
        return 0;
    }
    if (log->num_kept == DIRTY_LOG_KEPT_MAX)
        return device_refuse(device, err, ENOSPC,
                             "%u different mappings have gone away while its writes were tracked; "
                             "no more can be remembered, end the migration first",
                             log->num_kept);
    kept = calloc(1, sizeof(*kept));
    uint64_t *words = kept ? bitmap_new(size_bytes / DEVICE_PGSIZE_MIN) : NULL;
    if (!words) {
        free(kept);
        return -ENOMEM;
    }
    *kept = (struct kept_bits) { log->kept, { iova, size_bytes, DEVICE_PGSIZE_MIN, words }, edge };
    log->kept = kept;
    log->num_kept++;
    return 0;
}

static void keep(struct dirty_log *log, const struct iova_bits *bits)
{
    LOCK_SCOPE(&log->lock);
    struct kept_bits *kept = find_kept_locked(log, bits->iova, bits->size_bytes);
    if (kept) /* the log may have been stopped meanwhile */
        iova_bits_or(&kept->bits, bits);
}

static bool overlap(const struct iova_bits *a, const struct iova_bits *b)
{
    return a->iova <= b->iova + (b->size_bytes - 1) && b->iova <= a->iova + (a->size_bytes - 1);
}

static void take_kept(struct dirty_log *log, struct iova_bits *want)
{
    LOCK_SCOPE(&log->lock);
    for (struct kept_bits *kept = log->kept; kept; kept = kept->next)
        if (overlap(&kept->bits, want)) {
            iova_bits_or(want, &kept->bits);
            iova_bits_clear(&kept->bits, want);
        }
}

/* Where the kept range around @iova ends; @iova itself when there is none. */
static uint64_t kept_until(struct dirty_log *log, uint64_t iova)
{
    LOCK_SCOPE(&log->lock);
    uint64_t until = iova;
    for (const struct kept_bits *kept = log->kept; kept; kept = kept->next)
        if (!kept->edge && kept->bits.iova <= iova &&
            iova - kept->bits.iova < kept->bits.size_bytes &&
            kept->bits.iova + kept->bits.size_bytes > until)
            until = kept->bits.iova + kept->bits.size_bytes;
    return until;
}

/* ---- pages of the log that reach beyond what is asked for ---- */

/* The log has one bit for such a page, and it is gone when any part of the page was asked for: who
 * asks for another part must hear of it as well. At most two, the first and the last page of a
 * range. */
static unsigned find_edges(const struct dirty_log *log, uint64_t iova, uint64_t size_bytes,
                           uint64_t edges[2])
{
    uint64_t pgsize = atomic_load(&log->pgsize), last = iova + (size_bytes - 1);
    uint64_t first_page = iova & -pgsize, last_page = last & -pgsize;
    bool cut_first = iova != first_page, cut_last = last != (last_page | (pgsize - 1));
    unsigned count = 0;
    if (cut_first)
        edges[count++] = first_page;
    if (cut_last && !(cut_first && first_page == last_page))
        edges[count++] = last_page;
    return count;
}

static int reserve_edges(struct vmig_device *device, struct dirty_log *log, uint64_t iova,
                         uint64_t size_bytes, struct vmig_error *err)
{
    uint64_t edges[2];
    unsigned count = find_edges(log, iova, size_bytes, edges);
    int rc = 0;
    for (unsigned i = 0; !rc && i < count; i++)
        rc = reserve_kept(device, log, edges[i], atomic_load(&log->pgsize), true, err);
    return rc;
}

static void keep_edges(struct dirty_log *log, const struct iova_bits *bits)
{
    uint64_t edges[2], pgsize = atomic_load(&log->pgsize);
    unsigned count = find_edges(log, bits->iova, bits->size_bytes, edges);
    for (unsigned i = 0; i < count; i++) {
        uint64_t word = 0;
        struct iova_bits page = { edges[i], pgsize, pgsize, &word };
        iova_bits_or(&page, bits);
        keep(log, &page);
    }
}

/* ---- starting and stopping ---- */

static bool ranges_overlap(const struct vmig_dma_range *a, const struct vmig_dma_range *b)
{
    return a->iova < b->iova + b->size_bytes && b->iova < a->iova + a->size_bytes;
}

static int check_ranges(struct vmig_device *device, const struct vmig_dma_range *ranges,
                        unsigned num_ranges, uint64_t pgsize, struct vmig_error *err)
{
    if (!is_pgsize(pgsize))
        return device_refuse(device, err, EINVAL,
                             "DMA log page size %" PRIu64 ": must be a power of two from %u on",
                             pgsize, DEVICE_PGSIZE_MIN);
    if (!num_ranges || num_ranges > DEVICE_LOG_RANGES_MAX)
        return device_refuse(device, err, EINVAL, "DMA log of %u ranges: must be 1 to %u",
                             num_ranges, DEVICE_LOG_RANGES_MAX);
    for (unsigned i = 0; i < num_ranges; i++) {
        if (!device_is_iova_range(ranges[i].iova, ranges[i].size_bytes, pgsize))
            return device_refuse(device, err, EINVAL,
                                 "DMA log range of %" PRIu64 " bytes at IOVA 0x%" PRIx64
                                 ": must be multiples of the page size %" PRIu64,
                                 ranges[i].size_bytes, ranges[i].iova, pgsize);
        for (unsigned j = 0; j < i; j++)
            if (ranges_overlap(&ranges[i], &ranges[j]))
                return device_refuse(device, err, EINVAL,
                                     "DMA log ranges at IOVA 0x%" PRIx64 " and 0x%" PRIx64
                                     " overlap",
                                     ranges[j].iova, ranges[i].iova);
    }
    return 0;
}

/* A page of @ranges to ask for in the trial: a mapped one if there is one. */
static uint64_t trial_page(struct vmig_device *device, const struct vmig_dma_range *ranges,
                           unsigned num_ranges)
{
    for (unsigned i = 0; i < num_ranges; i++)
        if (device_is_mapped(device, ranges[i].iova, DEVICE_PGSIZE_MIN))
            return ranges[i].iova;
    return ranges[0].iova;
}

/* A log in smaller pages than can be asked for is asked for in the smallest that can. Below 512 no
 * number is a page's size. */
static uint64_t usable_pgsize(uint64_t chosen)
{
    if (chosen < 512 || chosen & (chosen - 1))
        return 0;
    return chosen < DEVICE_PGSIZE_MIN ? DEVICE_PGSIZE_MIN : chosen;
}

/* Some kernels (Debian's 6.12 with mtty) start a log and then refuse every report: better known
 * now than after the first round. What the trial reads is dropped: it was written before start
 * returned, and whoever starts a log reads the memory only afterwards. */
static int trial_report(struct vmig_device *device, const struct vmig_dma_range *ranges,
                        unsigned num_ranges, uint64_t chosen, struct vmig_error *err)
{
    uint64_t bitmap = 0;
    struct vmig_error cause = { 0 };
    int rc = -EPROTO;
    if (usable_pgsize(chosen))
        rc = log_call_report(device, LOG_DEVICE, trial_page(device, ranges, num_ranges),
                             DEVICE_PGSIZE_MIN, DEVICE_PGSIZE_MIN, &bitmap, &cause);
    if (!rc)
        return 0;
    log_call_stop(device, LOG_DEVICE, NULL);
    if (rc == -ETIMEDOUT)
        return error_copy(err, &cause), rc;
    return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, device->id, "vfio-log-unreadable",
                     "the DMA log starts (page size %" PRIu64
                     ") but cannot be read: %s; the kernel may lack CONFIG_IOMMUFD_DRIVER",
                     chosen, cause.code ? cause.text : device_errno_text(rc));
}

static int dma_log_start(struct vmig_device *device, const struct vmig_dma_range *ranges,
                         unsigned num_ranges, uint64_t *pgsize, struct vmig_error *err)
{
    struct dirty_log *log = &device->logs[LOG_DEVICE];
    if (!device->migration.has_dma_logging || !device->ops->dma_log_start ||
        !device->ops->dma_log_report)
        return -ENOTTY;
    if (atomic_load(&log->on))
        return device_refuse(device, err, EALREADY, "its DMA log is on already");
    uint64_t chosen = *pgsize;
    int rc = check_ranges(device, ranges, num_ranges, chosen, err);
    if (!rc)
        rc = log_call_start(device, LOG_DEVICE, ranges, num_ranges, &chosen, err);
    if (!rc)
        rc = trial_report(device, ranges, num_ranges, chosen, err);
    if (rc)
        return rc;
    *pgsize = usable_pgsize(chosen);
    atomic_store(&log->pgsize, *pgsize);
    atomic_store(&log->on, true);
    return 0;
}

VMIG_EXPORT int vmig_device_dma_log_start(struct vmig_device *device,
                                          const struct vmig_dma_range *ranges, unsigned num_ranges,
                                          uint64_t *pgsize, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = dma_log_start(device, ranges, num_ranges, pgsize, err);
    return device_leave(device, rc, err, "starting its DMA log of %u ranges", num_ranges);
}

static int check_mapping_size(struct vmig_device *device, uint64_t size_bytes,
                              struct vmig_error *err)
{
    if (size_bytes <= device->iommu_log.max_mapping_bytes)
        return 0;
    return error_set(err, ENOSPC, VMIG_STAGE_NONE, device->id, "vfio-bitmap-too-large",
                     "a mapping of %" PRIu64 " bytes is more than its IOMMU can report, %" PRIu64
                     " bytes; map it in smaller parts",
                     size_bytes, device->iommu_log.max_mapping_bytes);
}

int dirty_log_may_map(struct vmig_device *device, uint64_t size_bytes, struct vmig_error *err)
{
    return atomic_load(&device->logs[LOG_IOMMU].on) ? check_mapping_size(device, size_bytes, err)
                                                    : 0;
}

/* Only the holder of the turn changes the table of mappings. */
static int check_mappings(struct vmig_device *device, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < device->num_mappings; i++)
        rc = check_mapping_size(device, device->mappings[i].size_bytes, err);
    return rc;
}

static int iommu_log_start(struct vmig_device *device, uint64_t *ret_pgsize, struct vmig_error *err)
{
    const struct backend_iommu_log *can = &device->iommu_log;
    uint64_t pgsize = can->pgsize;
    if (can->kind == VMIG_IOMMU_LOG_NONE)
        return device_refuse(device, err, EOPNOTSUPP,
                             "its IOMMU cannot tell what the device wrote: %s", can->why);
    if (!is_pgsize(pgsize))
        return device_refuse(device, err, EPROTO,
                             "its IOMMU has dirty bits of pages of %" PRIu64
                             " bytes; must be a power of two from %u on",
                             pgsize, DEVICE_PGSIZE_MIN);
    if (atomic_load(&device->logs[LOG_IOMMU].on))
        return device_refuse(device, err, EALREADY, "its IOMMU's dirty bits are on already");
    int rc = check_mappings(device, err);
    if (!rc)
        rc = log_call_start(device, LOG_IOMMU, NULL, 0, &pgsize, err);
    if (rc)
        return rc;
    atomic_store(&device->logs[LOG_IOMMU].on, true);
    *ret_pgsize = pgsize;
    return 0;
}

VMIG_EXPORT int vmig_device_iommu_log_start(struct vmig_device *device, uint64_t *ret_pgsize,
                                            struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = iommu_log_start(device, ret_pgsize, err);
    return device_leave(device, rc, err, "starting its IOMMU's dirty bits");
}

static int stop(struct vmig_device *device, enum log_source source, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    if (atomic_exchange(&device->logs[source].on, false))
        rc = log_call_stop(device, source, err);
    forget_kept(&device->logs[source]);
    log_call_done(device);
    return device_leave(device, rc, err, "stopping %s", log_call_name(source));
}

VMIG_EXPORT int vmig_device_dma_log_stop(struct vmig_device *device, struct vmig_error *err)
{
    return stop(device, LOG_DEVICE, err);
}

VMIG_EXPORT int vmig_device_iommu_log_stop(struct vmig_device *device, struct vmig_error *err)
{
    return stop(device, LOG_IOMMU, err);
}

void dirty_log_end_with_reset(struct vmig_device *device)
{
    struct dirty_log *log = &device->logs[LOG_DEVICE];
    if (!atomic_exchange(&log->on, false))
        return;
    log_call_stop(device, LOG_DEVICE, NULL); /* it may be off already */
    forget_kept(log);
}

/* ---- reports ---- */

/* Ask for @piece in pages of @pgsize, and add what comes to @want. */
static int ask(struct vmig_device *device, enum log_source source,
               const struct device_mapping *piece, uint64_t pgsize, struct iova_bits *want,
               struct vmig_error *err)
{
    if (want->iova == piece->iova && want->size_bytes == piece->size_bytes &&
        want->pgsize == pgsize)
        return log_call_report(device, source, piece->iova, piece->size_bytes, pgsize, want->words,
                               err);
    struct iova_bits bits = { piece->iova, piece->size_bytes, pgsize, NULL };
    CLEANUP_FREE uint64_t *words = bitmap_new(iova_bits_count(&bits));
    if (!words)
        return -ENOMEM;
    bits.words = words;
    int rc = log_call_report(device, source, piece->iova, piece->size_bytes, pgsize, words, err);
    if (!rc)
        iova_bits_or(want, &bits);
    return rc;
}

static int ask_cut_pages(struct vmig_device *device, const struct device_mapping *piece,
                         struct iova_bits *want, struct vmig_error *err)
{
    struct dirty_log *log = &device->logs[LOG_DEVICE];
    CLEANUP_FREE uint64_t *words = bitmap_new(piece->size_bytes / DEVICE_PGSIZE_MIN);
    struct iova_bits bits = { piece->iova, piece->size_bytes, DEVICE_PGSIZE_MIN, words };
    int rc = words ? reserve_edges(device, log, bits.iova, bits.size_bytes, err) : -ENOMEM;
    if (!rc)
        rc = ask(device, LOG_DEVICE, piece, DEVICE_PGSIZE_MIN, &bits, err);
    if (rc)
        return rc;
    keep_edges(log, &bits);
    iova_bits_or(want, &bits);
    return 0;
}

/* A range need not be made of pages as large as the log's: then it is asked for in the smallest, so
 * that it does not matter which way a device would round. */
static int ask_device(struct vmig_device *device, const struct device_mapping *piece,
                      struct iova_bits *want, struct vmig_error *err)
{
    uint64_t edges[2];
    if (find_edges(&device->logs[LOG_DEVICE], piece->iova, piece->size_bytes, edges))
        return ask_cut_pages(device, piece, want, err);
    bool whole_pages = !((piece->iova | piece->size_bytes) & (want->pgsize - 1));
    return ask(device, LOG_DEVICE, piece, whole_pages ? want->pgsize : DEVICE_PGSIZE_MIN, want,
               err);
}

/* A mapping can only be asked for as a whole (type1's rule). What of it is not wanted is kept, and
 * comes out again where the rest does. */
static int ask_iommu(struct vmig_device *device, const struct device_mapping *mapping,
                     struct iova_bits *want, struct vmig_error *err)
{
    uint64_t pgsize = device->iommu_log.pgsize, pages = mapping->size_bytes / DEVICE_PGSIZE_MIN;
    struct dirty_log *log = &device->logs[LOG_IOMMU];
    if (mapping->iova >= want->iova &&
        mapping->size_bytes <= want->size_bytes - (mapping->iova - want->iova))
        return ask(device, LOG_IOMMU, mapping, pgsize, want, err);
    CLEANUP_FREE uint64_t *words = bitmap_new(pages);
    struct iova_bits all = { mapping->iova, mapping->size_bytes, DEVICE_PGSIZE_MIN, words };
    int rc = words ? reserve_kept(device, log, all.iova, all.size_bytes, false, err) : -ENOMEM;
    if (!rc)
        rc = ask(device, LOG_IOMMU, mapping, pgsize, &all, err);
    if (!rc)
        keep(log, &all);
    return rc;
}

/* What is at @at of @want, and where that ends: a mapping, or (*ret of size 0) what was unmapped since
 * the log began. */
static int find_piece(struct vmig_device *device, enum log_source source,
                      const struct iova_bits *want, uint64_t at, struct device_mapping *ret,
                      uint64_t *ret_end, struct vmig_error *err)
{
    uint64_t end = want->iova + want->size_bytes;
    device_find_mapping(device, at, ret);
    if (ret->size_bytes) {
        uint64_t left = ret->size_bytes - (at - ret->iova);
        *ret_end = left < end - at ? at + left : end;
        return 0;
    }
    *ret_end = kept_until(&device->logs[source], at);
    if (*ret_end > ret->iova)
        *ret_end = ret->iova;
    if (*ret_end > end)
        *ret_end = end;
    if (*ret_end > at)
        return 0;
    return device_refuse(device, err, EINVAL,
                         "dirty bits of %" PRIu64 " bytes at IOVA 0x%" PRIx64 ": 0x%" PRIx64
                         " is not mapped",
                         want->size_bytes, want->iova, at);
}

/* Asking clears, so not one piece is asked for before it is known that there are all. */
static int check_pieces(struct vmig_device *device, enum log_source source,
                        const struct iova_bits *want, struct vmig_error *err)
{
    if (!is_pgsize(want->pgsize) ||
        !device_is_iova_range(want->iova, want->size_bytes, DEVICE_PGSIZE_MIN))
        return device_refuse(device, err, EINVAL,
                             "dirty bits of %" PRIu64 " bytes at IOVA 0x%" PRIx64
                             " in pages of %" PRIu64 ": must be multiples of %u",
                             want->size_bytes, want->iova, want->pgsize, DEVICE_PGSIZE_MIN);
    struct device_mapping mapping;
    int rc = 0;
    for (uint64_t at = want->iova; !rc && at - want->iova < want->size_bytes;)
        rc = find_piece(device, source, want, at, &mapping, &at, err);
    return rc;
}

static int ask_for_piece(struct vmig_device *device, enum log_source source, uint64_t at,
                         struct iova_bits *want, uint64_t *ret_end, struct vmig_error *err)
{
    struct device_mapping mapping;
    int rc = find_piece(device, source, want, at, &mapping, ret_end, err);
    if (rc || !mapping.size_bytes)
        return rc;
    struct device_mapping piece = { .iova = at, .size_bytes = *ret_end - at };
    return source == LOG_IOMMU ? ask_iommu(device, &mapping, want, err)
                               : ask_device(device, &piece, want, err);
}

static int report(struct vmig_device *device, enum log_source source, struct iova_bits *want,
                  struct vmig_error *err)
{
    int rc = check_pieces(device, source, want, err);
    for (uint64_t at = want->iova; !rc && at - want->iova < want->size_bytes;)
        rc = ask_for_piece(device, source, at, want, &at, err);
    if (!rc)
        take_kept(&device->logs[source], want);
    return rc;
}

VMIG_EXPORT int vmig_device_dma_log_report(struct vmig_device *device, uint64_t iova,
                                           uint64_t size_bytes, uint64_t pgsize, uint64_t *bitmap,
                                           struct vmig_error *err)
{
    int rc = device_enter_data(device, err);
    if (rc)
        return rc;
    struct iova_bits want = { iova, size_bytes, pgsize, bitmap };
    rc = device->ops->dma_log_report ? report(device, LOG_DEVICE, &want, err) : -ENOTTY;
    return device_leave_data(device, rc, err, "reading its DMA log");
}

VMIG_EXPORT int vmig_device_iommu_log_report(struct vmig_device *device, uint64_t iova,
                                             uint64_t size_bytes, uint64_t pgsize, uint64_t *bitmap,
                                             struct vmig_error *err)
{
    int rc = device_enter_data(device, err);
    if (rc)
        return rc;
    struct iova_bits want = { iova, size_bytes, pgsize, bitmap };
    if (atomic_load(&device->logs[LOG_IOMMU].on))
        rc = report(device, LOG_IOMMU, &want, err);
    else /* kernels answer that with success and nothing */
        rc = device_refuse(device, err, EINVAL, "its IOMMU's dirty bits are not on; start them");
    return device_leave_data(device, rc, err, "reading its IOMMU's dirty bits");
}

/* ---- a mapping goes away ---- */

struct leaving {
    struct device_mapping mapping;
    struct iova_bits bits; /* 4 KiB pages */
};

/* What cannot be known is dirty. */
static void ask_leaving(struct vmig_device *device, struct leaving *leaving)
{
    if (log_call_report(device, LOG_DEVICE, leaving->mapping.iova, leaving->mapping.size_bytes,
                        DEVICE_PGSIZE_MIN, leaving->bits.words, NULL))
        bitmap_set_range(leaving->bits.words, 0, iova_bits_count(&leaving->bits));
}

/* Before, because there are devices whose log of a mapping ends with it; and after, because others
 * write until it is gone. */
static int unmap_with_device_log(struct vmig_device *device, struct leaving *leaving,
                                 int (*go)(struct vmig_device *, struct leaving *,
                                           struct vmig_error *),
                                 struct vmig_error *err)
{
    ask_leaving(device, leaving);
    int rc = go(device, leaving, err);
    if (!rc)
        ask_leaving(device, leaving);
    keep(&device->logs[LOG_DEVICE], &leaving->bits);
    keep_edges(&device->logs[LOG_DEVICE], &leaving->bits);
    return rc;
}

/* What somebody else mapped stays mapped: it is only forgotten. */
static int unmap_plain(struct vmig_device *device, struct leaving *leaving, struct vmig_error *err)
{
    if (leaving->mapping.remembered)
        return 0;
    return device->ops->dma_unmap(device->backend, leaving->mapping.iova,
                                  leaving->mapping.size_bytes, err);
}

static int unmap_with_iommu_log(struct vmig_device *device, struct leaving *leaving,
                                struct vmig_error *err)
{
    const uint64_t pgsize = device->iommu_log.pgsize, iova = leaving->mapping.iova;
    struct iova_bits bits = { iova, leaving->mapping.size_bytes, pgsize, NULL };
    size_t bytes = bitmap_words(iova_bits_count(&bits)) * sizeof(uint64_t);
    bytes += -bytes % DEVICE_PGSIZE_MIN;
    CLEANUP_FREE uint64_t *words = aligned_alloc(DEVICE_PGSIZE_MIN, bytes);
    if (!words)
        return -ENOMEM;
    bits.words = memset(words, 0, bytes);
    __auto_type take =
        leaving->mapping.remembered ? device->ops->iommu_log_report : device->ops->iommu_log_unmap;
    int rc = take(device->backend, iova, bits.size_bytes, pgsize, words, NULL);
    if (rc) { /* what cannot be known is dirty */
        bitmap_set_range(words, 0, iova_bits_count(&bits));
        rc = unmap_plain(device, leaving, err);
    }
    keep(&device->logs[LOG_IOMMU], &bits);
    return rc;
}

int dirty_log_unmap(struct vmig_device *device, const struct device_mapping *mapping,
                    struct vmig_error *err)
{
    const uint64_t iova = mapping->iova, size_bytes = mapping->size_bytes;
    struct leaving leaving = { *mapping, { iova, size_bytes, DEVICE_PGSIZE_MIN, NULL } };
    bool on[LOG_SOURCES];
    int rc = 0;
    for (unsigned i = 0; i < LOG_SOURCES; i++) {
        on[i] = atomic_load(&device->logs[i].on);
        if (!rc && on[i])
            rc = reserve_kept(device, &device->logs[i], iova, size_bytes, false, err);
    }
    if (!rc && on[LOG_DEVICE])
        rc = reserve_edges(device, &device->logs[LOG_DEVICE], iova, size_bytes, err);
    CLEANUP_FREE uint64_t *words =
        on[LOG_DEVICE] ? bitmap_new(size_bytes / DEVICE_PGSIZE_MIN) : NULL;
    leaving.bits.words = words;
    if (rc || (on[LOG_DEVICE] && !words))
        return rc ? rc : -ENOMEM;
    __auto_type go = on[LOG_IOMMU] ? unmap_with_iommu_log : unmap_plain;
    return on[LOG_DEVICE] ? unmap_with_device_log(device, &leaving, go, err)
                          : go(device, &leaving, err);
}
