/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device wrote to memory, from its own log and from the IOMMU in front of it.
 *
 * Bits leave a log in two ways: somebody asks for them, or they would be lost. The second kind (of a
 * mapping that goes away while the log runs, of the rest of a mapping that can only be asked for as
 * a whole, of the rest of a page of the log that is larger than what was asked for) is kept here and comes with the next report of its range.
 */
#ifndef LIB_DEVICE_DIRTY_LOG_H
#define LIB_DEVICE_DIRTY_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "lib/device/iova-bits.h"
#include "lib/device/log-call.h"

#define DIRTY_LOG_KEPT_MAX 65536

struct kept_bits;

struct dirty_log {
    atomic_bool on;          /* written by who has the device's turn */
    _Atomic uint64_t pgsize; /* of the pages that it has bits for */
    pthread_mutex_t lock;    /* of what follows; nothing is taken under it */
    struct kept_bits *kept;  /* in pages of 4 KiB; an entry stays until the log stops */
    unsigned num_kept;
};

void dirty_log_init(struct dirty_log *log);
void dirty_log_done(struct dirty_log *log);

struct device_mapping;

/* Unmap, with the device's turn, and keep what running logs know of the mapping. Memory for it is
 * found before anything is changed. */
int dirty_log_unmap(struct vmig_device *device, const struct device_mapping *mapping,
                    struct vmig_error *err);
/* After a reset, with the device's turn: some devices' own logs end with it, others' go on. */
void dirty_log_end_with_reset(struct vmig_device *device);
/* -ENOSPC: the log of the device's IOMMU is on, and cannot report so large a mapping. */
int dirty_log_may_map(struct vmig_device *device, uint64_t size_bytes, struct vmig_error *err);

#endif
