/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory half of the workload: layout, threads, verification. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cmd/workload.h"
#include "cmd/workload-device.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "refdev/pattern.h"

#define MAGIC UINT64_C(0x31444c4b524f5756) /* "VWORKLD1" */

static void lay_out(struct workload *w)
{
    struct workload_layout *l = &w->layout;
    uint64_t at = 1;
    l->pages = w->size_bytes / WORKLOAD_PAGE;
    l->window_pages = l->pages / 32; /* each thread rewrites a 32nd of the memory */
    for (unsigned i = 0; i < WORKLOAD_THREADS; i++, at += l->window_pages)
        l->window_first[i] = at;
    for (unsigned i = 0; i < w->num_devices; i++, at += WORKLOAD_SLOTS)
        l->slots_first[i] = at;
    l->static_first = at;
    l->hole_first = l->pages - l->pages / 8;
    l->static_pages = l->hole_first - at;
}

static uint64_t *page_at(const struct workload *w, uint64_t page)
{
    return (uint64_t *)(w->memory + page * WORKLOAD_PAGE);
}

static struct workload_header *header(const struct workload *w)
{
    return (struct workload_header *)w->memory;
}

int workload_new(struct workload *w, uint64_t size_bytes, unsigned num_devices,
                 struct vmig_error *err)
{
    *w = (struct workload) { .size_bytes = size_bytes, .num_devices = num_devices, .fd = -1 };
    lay_out(w);
    w->fd = memfd_create("vfio-migrate-workload", MFD_CLOEXEC);
    if (w->fd < 0 || ftruncate(w->fd, (off_t)size_bytes) != 0)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "%" PRIu64 " bytes of memory: %s",
                         size_bytes, strerror(errno));
    w->memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    if (w->memory != MAP_FAILED)
        return 0;
    w->memory = NULL;
    return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "mapping %" PRIu64 " bytes: %s",
                     size_bytes, strerror(errno));
}

void workload_done(struct workload *w)
{
    workload_stop(w);
    if (w->memory)
        munmap(w->memory, w->size_bytes);
    if (w->fd >= 0)
        close(w->fd);
    w->memory = NULL;
    w->fd = -1;
}

int workload_attach(struct workload *w, unsigned index, struct vmig_device *device,
                    struct vmig_error *err)
{
    struct vmig_dma_map map = {
        .iova = WORKLOAD_IOVA,
        .size_bytes = w->size_bytes,
        .vaddr = w->memory,
        .fd = w->fd,
        .writable = true,
    };
    w->devices[index] = device;
    return vmig_device_dma_map(device, &map, err);
}

static uint64_t thread_key(const struct workload *w, uint64_t page, uint64_t times)
{
    return refdev_pattern_key(header(w)->seed, REFDEV_PATTERN_THREAD, page, times);
}

int workload_begin(struct workload *w, uint64_t seed, uint64_t dma_rate, uint64_t dirty_rate,
                   struct vmig_error *err)
{
    const struct workload_layout *l = &w->layout;
    struct workload_header *h = header(w);
    h->magic = MAGIC;
    h->seed = seed;
    h->devices = w->num_devices;
    for (unsigned t = 0; t < WORKLOAD_THREADS; t++)
        for (uint64_t i = 0; i < l->window_pages; i++)
            refdev_pattern_fill(page_at(w, l->window_first[t] + i),
                                thread_key(w, l->window_first[t] + i, 0));
    for (uint64_t i = 0; i < l->static_pages; i++)
        refdev_pattern_fill(page_at(w, l->static_first + i), thread_key(w, l->static_first + i, 0));
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < w->num_devices; i++)
        rc = workload_device_begin(w->devices[i], WORKLOAD_IOVA + l->slots_first[i] * WORKLOAD_PAGE,
                                   WORKLOAD_SLOTS, dma_rate, dirty_rate, err);
    return rc;
}

/* ---- threads ---- */

/* One page: check what it holds, write what comes next, then count. Stopping waits for a whole
 * step, so that counter and page agree. */
static void step(struct workload_thread *t)
{
    struct workload *w = t->workload;
    const struct workload_layout *l = &w->layout;
    _Atomic uint64_t *steps = &header(w)->thread[t->index].steps;
    uint64_t done = atomic_load_explicit(steps, memory_order_relaxed);
    uint64_t index = refdev_turn(done % l->window_pages, l->window_pages);
    uint64_t page = l->window_first[t->index] + index;
    uint64_t times = refdev_times_written(index, done, l->window_pages);
    if (!refdev_pattern_matches(page_at(w, page), thread_key(w, page, times)))
        atomic_fetch_add(&w->lost_writes, 1);
    refdev_pattern_fill(page_at(w, page), thread_key(w, page, times + 1));
    atomic_store_explicit(steps, done + 1, memory_order_relaxed);
}

static void *thread_main(void *opaque)
{
    struct workload_thread *t = opaque;
    struct workload *w = t->workload;
    uint64_t start = clock_ns(), done = 0;
    double rate = (double)w->dirty_rate_pages / WORKLOAD_THREADS;
    while (!atomic_load(&w->stop)) {
        uint64_t due = (uint64_t)((double)(clock_ns() - start) / 1e9 * rate);
        for (; done < due && !atomic_load(&w->stop); done++)
            step(t);
        nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
    }
    return NULL;
}

int workload_stop(struct workload *w)
{
    atomic_store(&w->stop, true);
    for (unsigned i = 0; i < WORKLOAD_THREADS; i++) {
        if (w->threads[i].running)
            pthread_join(w->threads[i].thread, NULL);
        w->threads[i].running = false;
    }
    return 0;
}

int workload_start(struct workload *w, struct vmig_error *err)
{
    atomic_store(&w->stop, false);
    for (unsigned i = 0; i < WORKLOAD_THREADS; i++) {
        struct workload_thread *t = &w->threads[i];
        t->workload = w;
        t->index = i;
        int rc = pthread_create(&t->thread, NULL, thread_main, t);
        if (rc != 0)
            return error_set(err, rc, VMIG_STAGE_RESUME, NULL, NULL, "no thread: %s", strerror(rc));
        t->running = true;
    }
    return 0;
}

/* ---- verification ---- */

static void wrong(struct workload_report *r, const char *what, uint64_t page)
{
    if (!r->wrong_pages++)
        snprintf(r->first_wrong, sizeof(r->first_wrong), "page %" PRIu64 " (%s)", page, what);
}

static void check_pages(struct workload *w, uint64_t first, uint64_t count, uint64_t steps,
                        const char *what, struct workload_report *r)
{
    for (uint64_t i = 0; i < count; i++, r->checked_pages++) {
        uint64_t times = steps == UINT64_MAX ? 0 : refdev_times_written(i, steps, count);
        if (!refdev_pattern_matches(page_at(w, first + i), thread_key(w, first + i, times)))
            wrong(r, what, first + i);
    }
}

static void check_holes(struct workload *w, struct workload_report *r)
{
    static const uint64_t zero[WORKLOAD_PAGE / 8];
    for (uint64_t page = w->layout.hole_first; page < w->layout.pages; page++, r->checked_pages++)
        if (memcmp(page_at(w, page), zero, sizeof(zero)) != 0)
            wrong(r, "never touched", page);
}

static void check_memory(struct workload *w, struct workload_report *r)
{
    const struct workload_layout *l = &w->layout;
    const struct workload_header *h = header(w);
    if (h->magic != MAGIC || h->devices != w->num_devices)
        wrong(r, "header", 0);
    r->checked_pages++;
    for (unsigned t = 0; t < WORKLOAD_THREADS; t++) {
        uint64_t steps = atomic_load(&h->thread[t].steps);
        check_pages(w, l->window_first[t], l->window_pages, steps, "rewritten by a thread", r);
        r->steps += steps;
    }
    check_pages(w, l->static_first, l->static_pages, UINT64_MAX, "written once", r);
    check_holes(w, r);
    r->lost_writes = atomic_load(&w->lost_writes);
}

int workload_verify(struct workload *w, struct workload_report *ret, struct vmig_error *err)
{
    *ret = (struct workload_report) { 0 };
    workload_stop(w);
    check_memory(w, ret);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < w->num_devices; i++)
        rc = workload_device_verify(w->devices[i], ret, err);
    ret->checked_pages += (uint64_t)w->num_devices * WORKLOAD_SLOTS; /* by the devices */
    return rc;
}

int workload_go_on(struct workload *w, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < w->num_devices; i++)
        rc = workload_device_go_on(w->devices[i], err);
    return rc < 0 ? rc : workload_start(w, err);
}

bool workload_intact(const struct workload_report *r)
{
    return !r->wrong_pages && !r->lost_writes && !r->slot_mismatches && !r->local_mismatches &&
           !r->dma_errors && !r->device_wrong_pages;
}
