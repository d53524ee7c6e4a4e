/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trackers: sources of dirty-page facts. Each watches some or all of the RAM blocks for one kind of
 * writer; the union of all is the truth.
 *
 * Life: new -> start -> sync... -> stop -> free. All calls are made by one thread (the RAM worker).
 * After start() returns, every write by that tracker's kind of writer is reported by the next
 * sync(), which sets bits in ram_block.dirty (ORs, never clears) and goes on watching without a
 * gap: a write is in this sync or in the next one.
 */
#ifndef LIB_MEMORY_TRACKER_H
#define LIB_MEMORY_TRACKER_H

#include "lib/memory/ram.h"

struct tracker {
    const struct tracker_ops *ops;
};

struct tracker_ops {
    const char *name;
    int (*start)(struct tracker *tracker, struct ram *ram, struct vmig_error *err);
    int (*sync)(struct tracker *tracker, struct ram *ram, struct vmig_error *err);
    void (*stop)(struct tracker *tracker);
    void (*free)(struct tracker *tracker);
};

/* Writes by this process's own threads through the block's own mapping. By design not seen: writes
 * through another mapping of the same memory, by another process (a forked child too), or by
 * write(2) to the fd; pages that are discarded (MADV_DONTNEED, holes punched). Who writes there has
 * to be watched by a tracker of its own. The mapping must stay as it is between start and stop.
 *
 * Write-protect userfaultfd in asynchronous mode, read with PAGEMAP_SCAN (Linux 6.7). */
int tracker_pagemap_new(struct tracker **ret, struct vmig_error *err);
/* The same for kernels without it: userfaultfd write faults served by a thread of the tracker.
 * Anonymous memory and memfd only. For an ordinary user a system call that writes into tracked
 * memory, such as read(2), or reads anonymous memory that was never touched, fails with EFAULT in
 * the workload; root is free of that. */
int tracker_uffd_new(struct tracker **ret, struct vmig_error *err);

/* Which of the two; auto takes the first that works here. */
enum tracker_cpu_kind {
    TRACKER_CPU_AUTO,
    TRACKER_CPU_PAGEMAP,
    TRACKER_CPU_UFFD,
    TRACKER_CPU_NONE, /* nobody writes in this process */
};
int tracker_cpu_new(enum tracker_cpu_kind kind, struct tracker **ret, struct vmig_error *err);

/* Writes by @device's DMA, from its own log (device DMA logging). Ranges: the RAM blocks, merged to at
 * most 256, and to fewer until the device takes them. A report that fails fails the sync. @device is
 * borrowed. */
int tracker_device_new(struct vmig_device *device, struct tracker **ret, struct vmig_error *err);
/* The same from the dirty bits of the IOMMU in front of it. */
int tracker_iommu_new(struct vmig_device *device, struct tracker **ret, struct vmig_error *err);

/* What the host itself tells of its workload. @ops and @opaque are borrowed. */
int tracker_host_new(const struct vmig_tracker_ops *ops, void *opaque, struct tracker **ret,
                     struct vmig_error *err);

/* For tests only in the sense that nobody else needs it: forgets every @nth dirty page of @inner
 * (takes it over). It proves that verification finds a lost page. */
int tracker_forgetful_new(struct tracker *inner, unsigned nth, struct tracker **ret);

#endif
