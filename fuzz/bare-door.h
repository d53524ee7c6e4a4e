/* SPDX-License-Identifier: BSD-3-Clause */
/* The reference device's model without a server, for fuzz targets: no client, no guest memory, no
 * time, and a device that hangs goes on without its faults. */
#ifndef FUZZ_BARE_DOOR_H
#define FUZZ_BARE_DOOR_H

#include <stdlib.h>
#include <string.h>

#include "refdev/model/model.h"

#define BARE_LOCAL_BYTES 8192u /* where the profile has local memory */

struct bare_device {
    struct refdev_model *model;
    void *local, *shared;
    bool vanished;
};

static inline int bare_read(void *door, uint64_t iova, void *buf, uint64_t length_bytes)
{
    (void)door;
    (void)iova;
    memset(buf, 0, length_bytes);
    return 0;
}

static inline int bare_write(void *door, uint64_t iova, const void *buf, uint64_t length_bytes)
{
    (void)door;
    (void)iova;
    (void)buf;
    (void)length_bytes;
    return 0;
}

static inline bool bare_interrupt(void *door, unsigned index, unsigned vector)
{
    (void)door;
    (void)index;
    (void)vector;
    return false;
}

static inline int bare_sleep(void *door, uint64_t ns)
{
    (void)door;
    (void)ns;
    return 0;
}

static inline uint64_t bare_now(void *door)
{
    (void)door;
    return 0;
}

static inline void *bare_alloc(void *door, size_t size_bytes)
{
    (void)door;
    return calloc(1, size_bytes);
}

static inline void bare_free(void *door, void *ptr)
{
    (void)door;
    free(ptr);
}

static inline int bare_hang(void *door)
{
    refdev_set_faults(((struct bare_device *)door)->model, NULL, 0);
    return 0;
}

static inline void bare_vanish(void *door)
{
    ((struct bare_device *)door)->vanished = true;
}

static const struct refdev_door_ops bare_ops = {
    .dma_read = bare_read,
    .dma_write = bare_write,
    .interrupt = bare_interrupt,
    .sleep_ns = bare_sleep,
    .now_ns = bare_now,
    .alloc = bare_alloc,
    .free = bare_free,
    .hang = bare_hang,
    .vanish = bare_vanish,
};

static inline void bare_begin(struct bare_device *device, struct refdev_knobs *knobs)
{
    uint64_t local_bytes = knobs->profile->default_local_bytes ? BARE_LOCAL_BYTES : 0;
    *device = (struct bare_device) { .model = aligned_alloc(64, refdev_model_bytes()),
                                     .local = aligned_alloc(4096, BARE_LOCAL_BYTES),
                                     .shared = aligned_alloc(4096, REFDEV_SHARED_BYTES) };
    memset(device->model, 0, refdev_model_bytes());
    if (refdev_init(device->model, knobs, local_bytes ? device->local : NULL, local_bytes,
                    device->shared, &bare_ops, device))
        abort();
}

static inline void bare_end(struct bare_device *device)
{
    refdev_done(device->model);
    free(device->model);
    free(device->local);
    free(device->shared);
}

/* Read state until there is no more, at most @room bytes and @reads times; returns how much. */
static inline size_t bare_save(struct bare_device *device, uint8_t *buf, size_t room, size_t chunk,
                               unsigned reads)
{
    static struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    size_t length = 0;
    for (; reads && length + chunk <= room; reads--) {
        unsigned count;
        int got = refdev_data_read(device->model, chunk, segments, &count);
        if (got <= 0)
            break;
        if ((size_t)got > chunk || count > REFDEV_SEGMENTS_MAX)
            abort();
        size_t end = length + (size_t)got;
        for (unsigned i = 0; i < count; i++) {
            memcpy(buf + length, segments[i].data, segments[i].length_bytes);
            length += segments[i].length_bytes;
        }
        if (length != end)
            abort();
    }
    return length;
}

/* 0, or the error of the piece of at most @chunk bytes that was refused. */
static inline int bare_load(struct bare_device *device, const uint8_t *buf, size_t length,
                            size_t chunk)
{
    for (size_t done = 0; done < length; done += chunk) {
        size_t part = length - done < chunk ? length - done : chunk;
        int rc = refdev_data_write(device->model, buf + done, part);
        if (rc)
            return rc;
    }
    return 0;
}

#endif
