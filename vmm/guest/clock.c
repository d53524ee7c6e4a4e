/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time goes forward, also where the guest moves meanwhile: the TSC, for all CPUs together, and KVM's clock for each,
 * whose pages say how to make nanoseconds of the TSC. How much time passed is nobody's business here.
 */
#include "vmm/guest/guest.h"

#define MSR_KVM_CLOCK 0x4b564d01u
#define KVM_FEATURES 0x40000001u
#define KVM_FEATURE_CLOCK 3

struct kvm_clock {
    volatile uint32_t version; /* odd while it changes */
    uint32_t reserved;
    uint64_t tsc, ns; /* so many at that TSC */
    uint32_t scale;
    int8_t shift;
    uint8_t flags, more[2];
} __attribute__((aligned(64)));

static struct kvm_clock pages[CPUS_MAX];
static bool has_clock;
static uint64_t latest_tsc, latest_ns[CPUS_MAX];
static uint64_t back;

static uint64_t read_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static uint64_t read_clock(const struct kvm_clock *clock)
{
    uint32_t version;
    uint64_t ns;
    do {
        version = clock->version & ~1u;
        __asm__ volatile("lfence" : : : "memory");
        uint64_t ticks = read_tsc() - clock->tsc;
        ticks = clock->shift < 0 ? ticks >> -clock->shift : ticks << clock->shift;
        ns = clock->ns + (uint64_t)((unsigned __int128)ticks * clock->scale >> 32);
        __asm__ volatile("lfence" : : : "memory");
    } while (version != clock->version);
    return ns;
}

void clock_begin(unsigned index)
{
    uint32_t leaf = KVM_FEATURES, b, c, d;
    uint64_t page = (uint64_t)&pages[index] | 1;
    __asm__ volatile("cpuid" : "+a"(leaf), "=b"(b), "=c"(c), "=d"(d));
    if (!(leaf & 1u << KVM_FEATURE_CLOCK))
        return;
    __asm__ volatile("wrmsr" : : "c"(MSR_KVM_CLOCK), "a"((uint32_t)page), "d"(0) : "memory");
    has_clock = true;
}

void clock_step(unsigned index)
{
    uint64_t seen = __atomic_load_n(&latest_tsc, __ATOMIC_ACQUIRE);
    uint64_t now = read_tsc();
    if (now < seen)
        __atomic_fetch_add(&back, 1, __ATOMIC_RELAXED);
    while (now > seen && !__atomic_compare_exchange_n(&latest_tsc, &seen, now, false,
                                                      __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    if (!has_clock)
        return;
    now = read_clock(&pages[index]);
    if (now < latest_ns[index])
        __atomic_fetch_add(&back, 1, __ATOMIC_RELAXED);
    latest_ns[index] = now;
}

uint64_t clock_back(void)
{
    return back;
}
