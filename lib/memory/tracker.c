/* SPDX-License-Identifier: BSD-3-Clause */
/* The choice of the tracker for this process's own writes. */
#include "lib/memory/tracker.h"

#include <errno.h>
#include <string.h>
#include "lib/error.h"

static int tracker_none_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    (void)tracker, (void)ram, (void)err;
    return 0;
}

static void tracker_none_stop(struct tracker *tracker)
{
    (void)tracker;
}

static void tracker_none_free(struct tracker *tracker)
{
    free(tracker);
}

/* Nobody writes, so there is nothing to report. */
static const struct tracker_ops tracker_none_ops = {
    .name = "none",
    .start = tracker_none_start,
    .sync = tracker_none_start,
    .stop = tracker_none_stop,
    .free = tracker_none_free,
};

static int tracker_none_new(struct tracker **ret, struct vmig_error *err)
{
    struct tracker *tracker = calloc(1, sizeof(*tracker));

    if (!tracker)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "no memory for a tracker");
    tracker->ops = &tracker_none_ops;
    *ret = tracker;
    return 0;
}

int tracker_cpu_new(enum tracker_cpu_kind kind, struct tracker **ret, struct vmig_error *err)
{
    switch (kind) {
    case TRACKER_CPU_AUTO:
        /* The error of the last one tried is the one that says what is missing. */
        if (!tracker_pagemap_new(ret, NULL))
            return 0;
        return tracker_uffd_new(ret, err);
    case TRACKER_CPU_PAGEMAP:
        return tracker_pagemap_new(ret, err);
    case TRACKER_CPU_UFFD:
        return tracker_uffd_new(ret, err);
    case TRACKER_CPU_NONE:
        return tracker_none_new(ret, err);
    }
    return error_set(err, EINVAL, VMIG_STAGE_NONE, NULL, NULL, "no tracker has the number %d",
                     (int)kind);
}
