/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zero detection. It runs over every page that is about to be sent, so for pages with content it
 * must cost nothing (they nearly always show it in the first word), and for zeros it must run at
 * the speed of memory: 256 bits a load, four loads an exit test.
 *
 * The workload goes on writing while we read. That race is meant: a page that changes after we
 * looked is reported by the trackers and looked at again. Hence the sanitizer's exception.
 */
#include "lib/memory/zero.h"

#include <stddef.h>
#include <stdint.h>
#include "lib/memory/ram.h"

#define RACES __attribute__((no_sanitize("thread")))

RACES bool zero_page_portable(const void *page)
{
    const uint64_t *words = page;

    for (size_t i = 0; i < RAM_PAGE_SIZE / 8; i += 8) {
        uint64_t any = 0;

        for (size_t j = 0; j < 8; j++)
            any |= words[i + j];
        if (any)
            return false;
    }
    return true;
}

#ifdef __x86_64__
#include <immintrin.h>

RACES __attribute__((target("avx2"))) static bool zero_avx2(const __m256i *vectors)
{
    for (size_t i = 0; i < RAM_PAGE_SIZE / 32; i += 4) {
        __m256i low = _mm256_or_si256(vectors[i], vectors[i + 1]);
        __m256i high = _mm256_or_si256(vectors[i + 2], vectors[i + 3]);
        __m256i any = _mm256_or_si256(low, high);

        if (!_mm256_testz_si256(any, any))
            return false;
    }
    return true;
}

static bool zero_rest(const void *page)
{
    if (__builtin_cpu_supports("avx2"))
        return zero_avx2(page);
    return zero_page_portable(page);
}
#else
static bool zero_rest(const void *page)
{
    return zero_page_portable(page);
}
#endif

RACES bool zero_page(const void *page)
{
    if (*(const uint64_t *)page)
        return false;
    return zero_rest(page);
}
