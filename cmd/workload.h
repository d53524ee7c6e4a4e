/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running workload to migrate: memory that threads rewrite all the time, and reference devices
 * that write into it, all in patterns that prove every page.
 *
 * Memory, in pages: the header (what the threads must remember: it moves with the memory); each
 * thread's window; each device's DMA slots; pages that were written once; and an eighth that is
 * never touched. A page's right contents follow from counters (refdev/pattern.h), and each writer
 * checks the old contents before it overwrites a page, so that a lost write is found even when the
 * page is written again right after.
 */
#ifndef CMD_WORKLOAD_H
#define CMD_WORKLOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <vfio-migrate.h>

#define WORKLOAD_THREADS 2
#define WORKLOAD_DEVICES_MAX 16
#define WORKLOAD_PAGE 4096u
#define WORKLOAD_IOVA UINT64_C(0x100000)
#define WORKLOAD_SLOTS 512u /* DMA pages of each device */
#define WORKLOAD_RAM_MIN (32u << 20)

struct workload_layout {
    uint64_t pages;
    uint64_t window_first[WORKLOAD_THREADS], window_pages; /* per thread */
    uint64_t slots_first[WORKLOAD_DEVICES_MAX];
    uint64_t static_first, static_pages;
    uint64_t hole_first;
};

/* Page 0 of the memory. */
struct workload_header {
    uint64_t magic, seed, devices;
    struct {
        _Atomic uint64_t steps;
        uint64_t pad[7]; /* a cache line each */
    } thread[WORKLOAD_THREADS];
};

struct workload {
    struct workload_layout layout;
    unsigned num_devices;
    struct vmig_device *devices[WORKLOAD_DEVICES_MAX];
    uint64_t size_bytes, dirty_rate_pages; /* pages a second of all threads */
    int fd;
    char *memory;
    struct workload_thread {
        struct workload *workload;
        unsigned index;
        pthread_t thread;
        bool running;
    } threads[WORKLOAD_THREADS];
    atomic_bool stop;
    atomic_uint_fast64_t lost_writes; /* found by threads before they overwrote a page */
};

/* Make @size_bytes of shared memory; empty. */
int workload_new(struct workload *w, uint64_t size_bytes, unsigned num_devices,
                 struct vmig_error *err);
void workload_done(struct workload *w);
/* Show the memory to device @index and take it (borrowed). */
int workload_attach(struct workload *w, unsigned index, struct vmig_device *device,
                    struct vmig_error *err);
/* First contents, and the devices' own workloads at @dma_rate and @dirty_rate pages a second. */
int workload_begin(struct workload *w, uint64_t seed, uint64_t dma_rate, uint64_t dirty_rate,
                   struct vmig_error *err);

/* For struct vmig_host: all threads stand still, all threads go on. Devices are the migration's. */
int workload_stop(struct workload *w);
int workload_start(struct workload *w, struct vmig_error *err);

struct workload_report {
    uint64_t checked_pages, wrong_pages, lost_writes; /* memory that threads own */
    uint64_t steps, device_steps;
    uint64_t slot_mismatches, local_mismatches, dma_errors, device_wrong_pages; /* all devices */
    char first_wrong[120];
};
/* Stop everything and check every page of memory and every device. 0 also when something is wrong:
 * look at the report. */
int workload_verify(struct workload *w, struct workload_report *ret, struct vmig_error *err);
/* Go on after it. */
int workload_go_on(struct workload *w, struct vmig_error *err);
bool workload_intact(const struct workload_report *r);

#endif
