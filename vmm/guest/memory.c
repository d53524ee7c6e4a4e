/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is rewritten, and checked before: page n belongs to CPU n modulo the number of CPUs. What must
 * be in a page follows from how many steps its CPU has made, so a page that was lost on the way, or is one
 * write old, shows the next time that its turn comes.
 */
#include "refdev/pattern.h"
#include "vmm/guest/guest.h"

struct share {
    uint64_t pages; /* that this CPU owns */
    volatile uint64_t steps, wrong;
    uint64_t reserved[5]; /* a cache line for each */
};

static struct share shares[CPUS_MAX];
static uint64_t low_pages, cpus, seed, lanes;

static uint64_t *page_at(uint64_t number)
{
    uint64_t address = number < low_pages ? GUEST_PATTERN + number * PAGE
                                          : 0x100000000ull + (number - low_pages) * PAGE;
    return (uint64_t *)address;
}

void memory_begin(const struct guest_params *params, const struct options *options)
{
    low_pages = (params->low_bytes - GUEST_PATTERN) / PAGE;
    cpus = params->cpus;
    seed = options->seed;
    lanes = options->lanes;
    uint64_t pages = low_pages + params->high_bytes / PAGE;
    if (options->pages && options->pages < pages)
        pages = options->pages;
    if (pages < cpus)
        pages = cpus;
    for (unsigned i = 0; i < cpus; i++)
        shares[i].pages = (pages - i + cpus - 1) / cpus;
}

static uint64_t key_of(uint64_t number, uint64_t times)
{
    return refdev_pattern_key(seed, REFDEV_PATTERN_THREAD, number, times);
}

/* A page that was never written is zero. */
static bool is_right(uint64_t number, uint64_t times)
{
    const uint64_t *page = page_at(number);
    uint64_t key = key_of(number, times), wrong = 0;
    for (uint64_t lane = 0; lane < lanes; lane++)
        wrong |= page[lane] ^ (times ? refdev_pattern_lane(key, lane) : 0);
    return wrong == 0;
}

static void rewrite(uint64_t number, uint64_t times)
{
    uint64_t *page = page_at(number), key = key_of(number, times);
    for (uint64_t lane = 0; lane < lanes; lane++)
        page[lane] = refdev_pattern_lane(key, lane);
}

void memory_step(unsigned index)
{
    struct share *share = &shares[index];
    uint64_t number = index + refdev_turn(share->steps % share->pages, share->pages) * cpus;
    uint64_t times = share->steps / share->pages;
    if (!is_right(number, times))
        share->wrong++;
    rewrite(number, times + 1);
    share->steps++;
}

void memory_verify(unsigned index)
{
    struct share *share = &shares[index];
    for (uint64_t n = 0; n < share->pages; n++)
        if (!is_right(index + n * cpus, refdev_times_written(n, share->steps, share->pages)))
            share->wrong++;
}

uint64_t memory_steps(unsigned index)
{
    return shares[index].steps;
}

uint64_t memory_wrong(void)
{
    uint64_t wrong = 0;
    for (unsigned i = 0; i < cpus; i++)
        wrong += shares[i].wrong;
    return wrong;
}
