/* SPDX-License-Identifier: BSD-3-Clause */
/* A tracker that asks the embedding program, block by block. */
#include <errno.h>
#include <stdlib.h>

#include "lib/error.h"
#include "lib/memory/tracker.h"

struct tracker_host {
    struct tracker tracker;
    const struct vmig_tracker_ops *ops;
    void *opaque;
};

static int tracker_host_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_host *self = (struct tracker_host *)tracker;
    (void)ram;
    return self->ops->start(self->opaque, err);
}

static int tracker_host_sync(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_host *self = (struct tracker_host *)tracker;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < ram->num_blocks; i++) {
        struct ram_block *block = &ram->blocks[i];
        rc = ram_may_go_on(ram, err);
        if (rc == 0)
            rc = self->ops->sync(self->opaque, &block->desc, block->dirty, err);
        if (block->pages % 64) /* hypervisors write whole words */
            block->dirty[block->pages / 64] &= (UINT64_C(1) << block->pages % 64) - 1;
    }
    return rc;
}

static void tracker_host_stop(struct tracker *tracker)
{
    struct tracker_host *self = (struct tracker_host *)tracker;
    self->ops->stop(self->opaque);
}

static void tracker_host_free(struct tracker *tracker)
{
    free(tracker);
}

int tracker_host_new(const struct vmig_tracker_ops *ops, void *opaque, struct tracker **ret,
                     struct vmig_error *err)
{
    static const struct tracker_ops host_ops = {
        .name = "host",
        .start = tracker_host_start,
        .sync = tracker_host_sync,
        .stop = tracker_host_stop,
        .free = tracker_host_free,
    };
    struct tracker_host *self = calloc(1, sizeof(*self));
    if (!self)
        return error_set(err, ENOMEM, VMIG_STAGE_SETUP, NULL, NULL, "no memory for a tracker");
    *self = (struct tracker_host) { { &host_ops }, ops, opaque };
    *ret = &self->tracker;
    return 0;
}
