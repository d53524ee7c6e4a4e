/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tracker that loses pages, to prove that lost pages are found. The inner tracker reports to
 * bitmaps of ours; every nth page found there is left out of what is passed on.
 */
#include "lib/memory/tracker.h"

#include <errno.h>
#include <string.h>
#include "lib/error.h"

struct tracker_forgetful {
    struct tracker tracker;
    struct tracker *inner;
    unsigned nth;
    uint64_t seen; /* pages, over all syncs */
    struct ram *shadow;
};

static int make_shadow(struct tracker_forgetful *self, const struct ram *ram,
                       struct vmig_error *err)
{
    self->shadow = ram_new();
    if (!self->shadow)
        return error_set(err, ENOMEM, VMIG_STAGE_SETUP, NULL, NULL, "no memory for a tracker");
    for (unsigned i = 0; i < ram->num_blocks; i++) {
        int ret = ram_add(self->shadow, &ram->blocks[i].desc, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int tracker_forgetful_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_forgetful *self = (struct tracker_forgetful *)tracker;
    int ret = make_shadow(self, ram, err);

    if (!ret)
        ret = self->inner->ops->start(self->inner, self->shadow, err);
    if (ret < 0)
        self->shadow = ram_free(self->shadow);
    return ret;
}

static void pass_on(struct tracker_forgetful *self, struct ram_block *from, struct ram_block *to)
{
    uint64_t page = 0;

    for (;;) {
        page = bitmap_next_set(from->dirty, from->pages, page);
        if (page == from->pages)
            break;
        if (++self->seen % self->nth)
            bitmap_set(to->dirty, page);
        page++;
    }
    memset(from->dirty, 0, bitmap_words(from->pages) * sizeof(from->dirty[0]));
}

static int tracker_forgetful_sync(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    struct tracker_forgetful *self = (struct tracker_forgetful *)tracker;
    int ret = self->inner->ops->sync(self->inner, self->shadow, err);

    for (unsigned i = 0; !ret && i < ram->num_blocks; i++)
        pass_on(self, &self->shadow->blocks[i], &ram->blocks[i]);
    return ret;
}

static void tracker_forgetful_stop(struct tracker *tracker)
{
    struct tracker_forgetful *self = (struct tracker_forgetful *)tracker;

    self->inner->ops->stop(self->inner);
    self->shadow = ram_free(self->shadow);
}

static void tracker_forgetful_free(struct tracker *tracker)
{
    struct tracker_forgetful *self = (struct tracker_forgetful *)tracker;

    self->inner->ops->free(self->inner);
    ram_free(self->shadow);
    free(self);
}

static const struct tracker_ops tracker_forgetful_ops = {
    .name = "forgetful",
    .start = tracker_forgetful_start,
    .sync = tracker_forgetful_sync,
    .stop = tracker_forgetful_stop,
    .free = tracker_forgetful_free,
};

int tracker_forgetful_new(struct tracker *inner, unsigned nth, struct tracker **ret)
{
    struct tracker_forgetful *self = nth ? calloc(1, sizeof(*self)) : NULL;

    if (!self) {
        inner->ops->free(inner); /* taken over in any case */
        return nth ? -ENOMEM : -EINVAL;
    }
    self->tracker.ops = &tracker_forgetful_ops;
    self->inner = inner;
    self->nth = nth;
    *ret = &self->tracker;
    return 0;
}
