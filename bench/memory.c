/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast are the memory room's parts? Prints one JSON object. Rates are compared with what one
 * core can read from the same memory in the same run; each figure is the median of several repeats,
 * "spread" is (largest - smallest) / median.
 *
 *   zeros          zero detection over written zeros, against reading them
 *   content        the same over pages that are not zero: what it costs a sender
 *   never_touched  start a tracker, mark what is populated, a first pass, a sync: on sparse memory
 *   sync           1 GiB of touched memory with none, 1 % and all of its pages written
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "lib/memory/tracker.h"

#define GIB (UINT64_C(1) << 30)
#define EXTENT_BYTES (UINT64_C(4) << 20)
#define REPEATS 7

/* ---- measuring ---- */

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

struct times {
    double ms[REPEATS];
    unsigned count;
};

static int by_value(const void *left, const void *right)
{
    const double *l = left, *r = right;

    return *l < *r ? -1 : *l > *r;
}

static double median_ms(struct times *times)
{
    qsort(times->ms, times->count, sizeof(times->ms[0]), by_value);
    return times->ms[times->count / 2];
}

static double spread(struct times *times)
{
    double median = median_ms(times);

    return (times->ms[times->count - 1] - times->ms[0]) / median;
}

static double gib_per_s(uint64_t bytes, double ms)
{
    return (double)bytes / (double)GIB / ms * 1e3;
}

static void must(int ret, const struct vmig_error *err, const char *what)
{
    if (ret >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

/* ---- memory ---- */

struct memory {
    struct ram *ram;
    uint8_t *at;
    uint64_t bytes;
    int fd;
};

static struct memory memory_new(bool shared, uint64_t bytes)
{
    struct memory memory = { .ram = ram_new(), .bytes = bytes, .fd = -1 };
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    struct vmig_error err = { 0 };

    if (shared) {
        memory.fd = memfd_create("bench", MFD_CLOEXEC);
        flags = MAP_SHARED | MAP_NORESERVE;
        if (ftruncate(memory.fd, (off_t)bytes) < 0)
            perror("memfd"), exit(1);
    }
    memory.at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, memory.fd, 0);
    if (memory.at == MAP_FAILED || !memory.ram)
        perror("memory"), exit(1);
    struct vmig_ram_block desc = {
        .name = "ram", .size_bytes = bytes, .vaddr = memory.at, .fd = memory.fd
    };
    must(ram_add(memory.ram, &desc, &err), &err, "ram_add");
    return memory;
}

static void memory_free(struct memory *memory)
{
    ram_free(memory->ram);
    munmap(memory->at, memory->bytes);
    if (memory->fd >= 0)
        close(memory->fd);
}

/* Read every byte, without looking at it: the baseline. */
#ifdef __x86_64__
#include <immintrin.h>
__attribute__((target("avx2"))) static uint64_t read_avx2(const struct memory *memory)
{
    const __m256i *vectors = (const __m256i *)memory->at;
    __m256i sum[4] = { 0 };

    for (uint64_t i = 0; i < memory->bytes / 32; i += 4)
        for (unsigned j = 0; j < 4; j++)
            sum[j] = _mm256_or_si256(sum[j], vectors[i + j]);
    __m256i all = _mm256_or_si256(_mm256_or_si256(sum[0], sum[1]), _mm256_or_si256(sum[2], sum[3]));
    return (uint64_t)_mm256_extract_epi64(all, 0) | (uint64_t)_mm256_extract_epi64(all, 1) |
           (uint64_t)_mm256_extract_epi64(all, 2) | (uint64_t)_mm256_extract_epi64(all, 3);
}
#endif

static uint64_t read_words(const struct memory *memory)
{
    const uint64_t *words = (const uint64_t *)memory->at;
    uint64_t all = 0;

    for (uint64_t i = 0; i < memory->bytes / 8; i++)
        all |= words[i];
    return all;
}

static uint64_t read_all(const struct memory *memory)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return read_avx2(memory);
#endif
    return read_words(memory);
}

/* Take every extent, as a sender that sends nothing. Returns the bytes of pages with content. */
static uint64_t take_all(struct memory *memory)
{
    struct ram_cursor cursor = { 0 };
    struct ram_extent extent;
    uint64_t content = 0;

    while (ram_next_extent(memory->ram, &cursor, EXTENT_BYTES, &extent))
        content += extent.zero ? 0 : extent.length_bytes;
    return content;
}

/* ---- zero detection ---- */

static void bench_detection(const char *name, struct memory *memory, uint64_t expected)
{
    struct ram_block *block = &memory->ram->blocks[0];
    struct times reads = { .count = REPEATS }, takes = { .count = REPEATS };
    volatile uint64_t sink;

    for (unsigned i = 0; i < REPEATS; i++) { /* by turns: the machine's mood hits both */
        double start = now_ms();
        sink = read_all(memory);
        reads.ms[i] = now_ms() - start;
        bitmap_set_range(block->dirty, 0, block->pages);
        start = now_ms();
        if (take_all(memory) != expected)
            fprintf(stderr, "%s: wrong answer\n", name), exit(1);
        takes.ms[i] = now_ms() - start;
    }
    (void)sink;
    printf("  \"%s\": {\"bytes\": %llu, \"read_gib_s\": %.1f, \"detect_gib_s\": %.1f, "
           "\"detect_per_read\": %.2f, \"spread\": %.2f},\n",
           name, (unsigned long long)memory->bytes, gib_per_s(memory->bytes, median_ms(&reads)),
           gib_per_s(memory->bytes, median_ms(&takes)), median_ms(&reads) / median_ms(&takes),
           spread(&takes));
}

static void bench_zeros_and_content(void)
{
    struct memory memory = memory_new(true, GIB / 2);

    memset(memory.at, 0, memory.bytes);
    bench_detection("zeros", &memory, 0);
    memset(memory.at, 0x5a, memory.bytes);
    bench_detection("content", &memory, memory.bytes);
    memory_free(&memory);
}

/* ---- never touched ---- */

static double never_touched_ms(bool shared, enum tracker_cpu_kind kind, uint64_t bytes)
{
    struct memory memory = memory_new(shared, bytes);
    struct tracker *tracker;
    struct vmig_error err = { 0 };

    must(tracker_cpu_new(kind, &tracker, &err), &err, "tracker");
    double start = now_ms();
    must(tracker->ops->start(tracker, memory.ram, &err), &err, "start");
    must(ram_mark_populated(memory.ram, &err), &err, "mark");
    if (take_all(&memory))
        fprintf(stderr, "never touched: content found\n"), exit(1);
    must(tracker->ops->sync(tracker, memory.ram, &err), &err, "sync");
    double took = now_ms() - start;
    tracker->ops->stop(tracker);
    tracker->ops->free(tracker);
    memory_free(&memory);
    return took;
}

static void bench_never_touched(const char *name, bool shared, enum tracker_cpu_kind kind)
{
    printf("    \"%s\": {", name);
    for (unsigned gib = 1; gib <= 64; gib *= 4) {
        struct times times = { .count = 3 };
        for (unsigned i = 0; i < times.count; i++)
            times.ms[i] = never_touched_ms(shared, kind, gib * GIB);
        printf("%s\"%u_gib_ms\": %.3f, \"%u_gib_rate_gib_s\": %.0f", gib > 1 ? ", " : "", gib,
               median_ms(&times), gib, gib_per_s(gib * GIB, median_ms(&times)));
    }
    printf("}%s\n", shared && kind == TRACKER_CPU_UFFD ? "" : ",");
}

/* ---- sync ---- */

/* Pages in an order without pattern, the same in every run. */
static void write_pages(struct memory *memory, uint64_t count)
{
    uint64_t pages = memory->bytes / RAM_PAGE_SIZE, page = 0;

    for (uint64_t i = 0; i < count; i++) {
        page = (page * 5 + 12345) % pages; /* all of them, for a power of two */
        memory->at[page * RAM_PAGE_SIZE + 1]++;
    }
}

static double sync_ms(struct memory *memory, struct tracker *tracker, uint64_t written)
{
    struct ram_block *block = &memory->ram->blocks[0];
    struct times times = { .count = REPEATS };

    for (unsigned i = 0; i < REPEATS; i++) {
        struct vmig_error err = { 0 };
        write_pages(memory, written);
        double start = now_ms();
        must(tracker->ops->sync(tracker, memory->ram, &err), &err, "sync");
        times.ms[i] = now_ms() - start;
        if (ram_dirty_pages(memory->ram) != written)
            fprintf(stderr, "sync: %llu pages reported, %llu written\n",
                    (unsigned long long)ram_dirty_pages(memory->ram), (unsigned long long)written),
                exit(1);
        bitmap_clear_range(block->dirty, 0, block->pages);
    }
    return median_ms(&times);
}

static void bench_sync(const char *name, struct memory *memory, enum tracker_cpu_kind kind,
                       double read_ms, const char *separator)
{
    struct tracker *tracker;
    struct vmig_error err = { 0 };
    uint64_t pages = memory->bytes / RAM_PAGE_SIZE;

    must(tracker_cpu_new(kind, &tracker, &err), &err, "tracker");
    double start = now_ms();
    must(tracker->ops->start(tracker, memory->ram, &err), &err, "start");
    double started = now_ms() - start;
    double clean = sync_ms(memory, tracker, 0), some = sync_ms(memory, tracker, pages / 100);
    double all = sync_ms(memory, tracker, pages);
    start = now_ms();
    write_pages(memory, pages);
    double faults = now_ms() - start;
    tracker->ops->stop(tracker);
    tracker->ops->free(tracker);
    bitmap_clear_range(memory->ram->blocks[0].dirty, 0, pages);
    printf("    \"%s\": {\"start_ms\": %.2f, \"clean_ms\": %.2f, \"one_percent_ms\": %.2f, "
           "\"all_ms\": %.2f, \"one_percent_per_read\": %.4f, \"us_per_first_write\": %.2f}%s\n",
           name, started, clean, some, all, some / read_ms, faults * 1e3 / (double)pages,
           separator);
}

static void bench_sync_of(bool shared, const char *separator)
{
    struct memory memory = memory_new(shared, GIB);
    char name[40];
    volatile uint64_t sink;

    memset(memory.at, 0x5a, memory.bytes);
    double start = now_ms();
    sink = read_all(&memory);
    double read_ms = now_ms() - start;
    (void)sink;
    snprintf(name, sizeof(name), "pagemap_%s", shared ? "memfd" : "anonymous");
    bench_sync(name, &memory, TRACKER_CPU_PAGEMAP, read_ms, ",");
    snprintf(name, sizeof(name), "uffd_%s", shared ? "memfd" : "anonymous");
    bench_sync(name, &memory, TRACKER_CPU_UFFD, read_ms, separator);
    memory_free(&memory);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("{\n");
    bench_zeros_and_content();
    printf("  \"never_touched\": {\n");
    bench_never_touched("pagemap_anonymous", false, TRACKER_CPU_PAGEMAP);
    bench_never_touched("pagemap_memfd", true, TRACKER_CPU_PAGEMAP);
    bench_never_touched("uffd_anonymous", false, TRACKER_CPU_UFFD);
    bench_never_touched("uffd_memfd", true, TRACKER_CPU_UFFD);
    printf("  },\n  \"sync_1_gib\": {\n");
    bench_sync_of(false, ",");
    bench_sync_of(true, "");
    printf("  }\n}\n");
    return 0;
}
