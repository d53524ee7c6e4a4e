/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA log: which pages the device wrote. Bits live in leaves of 128 MiB each that are made when
 * a page in them is first written, so neither a client's ranges nor its guest's size decide what is
 * allocated; whoever sends the device all over the address space loses the log, not the machine's
 * memory. Inside, a bit is always 4 KiB; a coarser page size sets all the bits of its page.
 */
#include "refdev/model/internal.h"

#define LOG_PAGE 4096ull
#define LOG_PGSIZE_MAX (2ull << 20)

static bool is_power_of_two(uint64_t x)
{
    return x && !(x & (x - 1));
}

static bool ends_past_64_bits(uint64_t iova, uint64_t length_bytes)
{
    uint64_t end;
    return __builtin_add_overflow(iova, length_bytes, &end);
}

static struct refdev_leaf *find_leaf(const struct refdev_log *log, uint64_t number)
{
    struct refdev_leaf *leaf = log->buckets[refdev_mix(number) % REFDEV_LOG_BUCKETS];
    while (leaf && leaf->number != number)
        leaf = leaf->next;
    return leaf;
}

static struct refdev_leaf *make_leaf(struct refdev_model *model, uint64_t number)
{
    struct refdev_leaf **bucket = &model->log.buckets[refdev_mix(number) % REFDEV_LOG_BUCKETS];
    struct refdev_leaf *leaf = NULL;
    if (model->log.leaf_count < REFDEV_LOG_LEAVES_MAX)
        leaf = model->ops->alloc(model->door, sizeof(*leaf));
    if (!leaf) {
        model->log.lost = true;
        return NULL;
    }
    model->log.leaf_count++;
    leaf->number = number;
    leaf->next = *bucket;
    *bucket = leaf;
    return leaf;
}

static void mark_page(struct refdev_model *model, uint64_t page)
{
    uint64_t number = page >> (REFDEV_LEAF_SHIFT - 12);
    struct refdev_leaf *leaf = find_leaf(&model->log, number);
    if (!leaf)
        leaf = make_leaf(model, number);
    page %= REFDEV_LEAF_WORDS * 64;
    if (leaf)
        leaf->bits[page / 64] |= 1ull << page % 64;
}

static bool is_logged(const struct refdev_log *log, uint64_t iova)
{
    for (unsigned i = 0; i < log->range_count; i++)
        if (iova >= log->ranges[i].iova && iova - log->ranges[i].iova < log->ranges[i].length_bytes)
            return true;
    return log->range_count == 0;
}

void refdev_log_mark(struct refdev_model *model, uint64_t iova, uint64_t length_bytes)
{
    const struct refdev_log *log = &model->log;
    if (!log->on || !length_bytes || model->profile->log_always_clean)
        return;
    uint64_t first = (iova & ~(log->pgsize - 1)) / LOG_PAGE;
    uint64_t last = ((iova + length_bytes - 1) | (log->pgsize - 1)) / LOG_PAGE;
    for (uint64_t page = first; page <= last; page++)
        if (is_logged(log, page * LOG_PAGE))
            mark_page(model, page);
}

static int check_ranges(const struct refdev_range *ranges, unsigned count, uint64_t pgsize)
{
    if (count > REFDEV_LOG_RANGES_MAX)
        return -E2BIG;
    for (unsigned i = 0; i < count; i++) {
        const struct refdev_range *range = &ranges[i];
        if (ends_past_64_bits(range->iova, range->length_bytes))
            return -EOVERFLOW;
        if (!range->length_bytes || (range->iova | range->length_bytes) & (pgsize - 1))
            return -EINVAL;
        for (unsigned j = 0; j < i; j++)
            if (range->iova < ranges[j].iova + ranges[j].length_bytes &&
                ranges[j].iova < range->iova + range->length_bytes)
                return -EINVAL;
    }
    return 0;
}

static uint64_t smallest_page(const struct refdev_model *model)
{
    if (model->knobs.log_pgsize)
        return model->knobs.log_pgsize;
    return model->profile->log_pgsize ? model->profile->log_pgsize : LOG_PAGE;
}

int refdev_log_start(struct refdev_model *model, const struct refdev_range *ranges, unsigned count,
                     uint64_t *pgsize)
{
    struct refdev_log *log = &model->log;
    uint64_t smallest = smallest_page(model);
    if (!model->profile->has_dma_log)
        return -ENOTTY;
    if (!is_power_of_two(*pgsize))
        return -EINVAL;
    int rc = check_ranges(ranges, count, *pgsize);
    if (rc)
        return rc;
    if (log->on && !model->profile->log_always_clean)
        return model->profile->log_one_range ? -EEXIST : -EINVAL;
    refdev_log_stop(model);
    if (*pgsize < smallest)
        *pgsize = smallest;
    if (*pgsize > LOG_PGSIZE_MAX)
        *pgsize = LOG_PGSIZE_MAX;
    log->pgsize = *pgsize;
    log->range_count = count;
    if (count)
        refdev_copy(log->ranges, ranges, count * sizeof(*ranges));
    log->on = true;
    return 0;
}

void refdev_log_stop(struct refdev_model *model)
{
    struct refdev_log *log = &model->log;
    for (unsigned i = 0; i < REFDEV_LOG_BUCKETS; i++) {
        while (log->buckets[i]) {
            struct refdev_leaf *leaf = log->buckets[i];
            log->buckets[i] = leaf->next;
            model->ops->free(model->door, leaf);
        }
    }
    log->on = false;
    log->lost = false;
    log->range_count = 0;
    log->leaf_count = 0;
}

static bool inside_one_range(const struct refdev_log *log, uint64_t iova, uint64_t length_bytes)
{
    for (unsigned i = 0; i < log->range_count; i++)
        if (iova >= log->ranges[i].iova &&
            iova + length_bytes <= log->ranges[i].iova + log->ranges[i].length_bytes)
            return true;
    return log->range_count == 0;
}

/* Move the bits of one word of a leaf that lie in [first, end) pages into the bitmap, if any. */
static void take_word(uint64_t *word, uint64_t word_page, uint64_t first, uint64_t end,
                      uint64_t pages_per_bit, uint64_t *bitmap)
{
    for (uint64_t left = *word; left; left &= left - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(left);
        uint64_t page = word_page + bit;
        if (page < first || page >= end)
            continue;
        uint64_t n = (page - first) / pages_per_bit;
        if (bitmap)
            bitmap[n / 64] |= 1ull << n % 64;
        *word &= ~(1ull << bit);
    }
}

static void take_leaf(struct refdev_leaf *leaf, uint64_t first, uint64_t end,
                      uint64_t pages_per_bit, uint64_t *bitmap)
{
    uint64_t page = leaf->number << (REFDEV_LEAF_SHIFT - 12);
    if (page >= end || first >= page + REFDEV_LEAF_WORDS * 64)
        return;
    for (unsigned word = 0; word < REFDEV_LEAF_WORDS; word++)
        take_word(&leaf->bits[word], page + word * 64ull, first, end, pages_per_bit, bitmap);
}

uint64_t refdev_log_next(const struct refdev_model *model, uint64_t iova)
{
    const struct refdev_log *log = &model->log;
    uint64_t next = UINT64_MAX;
    if (model->plan.count || model->profile->log_one_range)
        return iova;
    for (unsigned i = 0; i < REFDEV_LOG_BUCKETS; i++)
        for (const struct refdev_leaf *leaf = log->buckets[i]; leaf; leaf = leaf->next)
            if (leaf->number >= iova >> REFDEV_LEAF_SHIFT &&
                leaf->number << REFDEV_LEAF_SHIFT < next)
                next = leaf->number << REFDEV_LEAF_SHIFT;
    return next > iova ? next : iova;
}

int refdev_log_report(struct refdev_model *model, uint64_t iova, uint64_t length_bytes,
                      uint64_t pgsize, uint64_t *bitmap)
{
    struct refdev_log *log = &model->log;
    if (!model->profile->has_dma_log)
        return -ENOTTY;
    if (!is_power_of_two(pgsize) || pgsize < LOG_PAGE || !length_bytes || iova % LOG_PAGE)
        return -EINVAL;
    if (ends_past_64_bits(iova, length_bytes))
        return -EOVERFLOW;
    if (model->profile->log_always_clean)
        return 0;
    if (!log->on)
        return -EINVAL;
    if (log->lost)
        return -EIO;
    if (model->profile->log_one_range && !inside_one_range(log, iova, length_bytes))
        return -EINVAL;
    uint64_t lie = 0;
    bool lies = refdev_fault_lie(model, REFDEV_COMMAND_LOG_REPORT, &lie);
    if (lies && lie)
        for (uint64_t n = 0; n < (length_bytes + pgsize - 1) / pgsize; n++)
            bitmap[n / 64] |= 1ull << n % 64;
    if (lies)
        bitmap = NULL;
    uint64_t first = iova / LOG_PAGE, end = (iova + length_bytes - 1) / LOG_PAGE + 1;
    /* Leaf by leaf: there are more addresses than there is time. */
    for (unsigned i = 0; i < REFDEV_LOG_BUCKETS; i++)
        for (struct refdev_leaf *leaf = log->buckets[i]; leaf; leaf = leaf->next)
            take_leaf(leaf, first, end, pgsize / LOG_PAGE, bitmap);
    return 0;
}
