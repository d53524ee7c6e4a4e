/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a device's writes to memory are found while the workload runs: who can tell, in which order
 * they are asked, and what happens when nobody can.
 */
#ifndef LIB_PARTICIPANT_TRACKING_H
#define LIB_PARTICIPANT_TRACKING_H

#include <stdbool.h>
#include <vfio-migrate/migration.h>

struct tracking {
    enum vmig_dirty_tracking wanted;
    bool viommu;                             /* stands in front of it */
    _Atomic enum vmig_dirty_tracking chosen; /* AUTO: nothing yet. Any thread reads it */
    char why_not[500]; /* what was tried before that, and why it is not that; or "" */
};

/* Start a tracker of @device from that source, DEVICE or IOMMU. */
typedef int (*tracking_starter)(void *opaque, struct vmig_device *device,
                                enum vmig_dirty_tracking how, struct vmig_error *err);

/* Why nobody can tell, as far as can be seen without touching the device: of those who are wanted. */
void tracking_explain(const struct vmig_device *device, const struct tracking *tracking, char *ret,
                      size_t size);
/* With that, and what can be done about it. */
#define TRACKING_NOBODY                                                                            \
    "nobody tells what the device writes to memory, so it would be lost (%.230s)"
#define TRACKING_REMEDY                                                                            \
    "all-dirty, or dirty tracking none for this device, sends all memory again in the pause"

/* Try one after the other. Where none works, @all_dirty is the user's word that all of it may count as
 * dirty: chosen NONE, and nothing was started. */
int tracking_begin(struct vmig_device *device, struct tracking *tracking, bool all_dirty,
                   tracking_starter start, void *opaque, struct vmig_error *err);
/* For people, to be put behind the device's name. */
void tracking_describe(const struct tracking *tracking, char *ret, size_t size);

#endif
