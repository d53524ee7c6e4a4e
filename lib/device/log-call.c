/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls into a device's dirty logs, each made on a thread that can be left behind.
 *
 * Whoever reads the logs of all devices does so one after the other; a device that hangs there must
 * not take him, and with him the other devices' logs, along. So the caller waits with a deadline. A
 * call that misses it keeps the thread, copies of its arguments and a reference to the device; the
 * device is lost, and what the call may still bring is thrown away.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/worker.h"

/* One thread with room for one call. A device keeps an idle one between calls. */
struct log_caller {
    struct worker *worker;
    struct vmig_device *device;
    enum log_source source;
    struct vmig_dma_range ranges[DEVICE_LOG_RANGES_MAX];
    unsigned num_ranges;
    uint64_t iova, size_bytes, pgsize;
    uint64_t *bits; /* as struct backend_ops wants them; all zero between calls */
    size_t num_words, room_bytes;
};

const char *log_call_name(enum log_source source)
{
    return source == LOG_IOMMU ? "its IOMMU's dirty bits" : "its DMA log";
}

/* ---- on the thread ---- */

static int start(void *arg, struct vmig_error *err)
{
    struct log_caller *c = arg;
    const struct backend_ops *ops = c->device->ops;
    if (c->source == LOG_IOMMU)
        return ops->iommu_log_start(c->device->backend, err);
    return ops->dma_log_start(c->device->backend, c->ranges, c->num_ranges, &c->pgsize, err);
}

static int stop(void *arg, struct vmig_error *err)
{
    struct log_caller *c = arg;
    const struct backend_ops *ops = c->device->ops;
    return (c->source == LOG_IOMMU ? ops->iommu_log_stop : ops->dma_log_stop)(c->device->backend,
                                                                              err);
}

static int report(void *arg, struct vmig_error *err)
{
    struct log_caller *c = arg;
    const struct backend_ops *ops = c->device->ops;
    return (c->source == LOG_IOMMU ? ops->iommu_log_report : ops->dma_log_report)(
        c->device->backend, c->iova, c->size_bytes, c->pgsize, c->bits, err);
}

/* ---- the thread's life ---- */

static void caller_free(struct log_caller *c)
{
    if (!c)
        return;
    worker_free(c->worker);
    free(c->bits);
    free(c);
}

/* The kept one, or another when several threads call at a time. */
static struct log_caller *caller_take(struct vmig_device *device, enum log_source source)
{
    struct log_caller *c = atomic_exchange(&device->log_caller, NULL);
    if (!c)
        c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->device = device;
    c->source = source;
    if (!c->worker)
        c->worker = worker_new();
    if (c->worker)
        return c;
    free(c);
    return NULL;
}

static void caller_give_back(struct log_caller *c)
{
    caller_free(atomic_exchange(&c->device->log_caller, c));
}

void log_call_done(struct vmig_device *device)
{
    caller_free(atomic_exchange(&device->log_caller, NULL));
}

/* The abandoned call came back at last. */
static void let_go(void *arg)
{
    struct log_caller *c = arg;
    device_unref(c->device);
    free(c->bits);
    free(c);
}

static int abandon(struct log_caller *c, unsigned ms, const char *what, struct vmig_error *err)
{
    struct vmig_device *device = c->device;
    char call[60];
    snprintf(call, sizeof(call), "%s %s", what, log_call_name(c->source));
    device_abandon(device, call, ms);
    worker_abandon(c->worker, let_go, c); /* which may free it at once */
    return error_set(err, ETIMEDOUT, VMIG_STAGE_NONE, device->id, "device-hung",
                     "%s did not come back within %u ms and was abandoned; the device is lost, "
                     "reset it before it is used again",
                     call, ms);
}

/* *take_c is NULL afterwards if the call hangs; otherwise it holds what the call brought. */
static int call(struct log_caller **take_c, worker_job job, const char *what,
                struct vmig_error *err)
{
    struct log_caller *c = *take_c;
    unsigned ms = atomic_load(&c->device->log_timeout_ms);
    device_ref(c->device);
    worker_post(c->worker, job, c);
    if (!worker_wait(c->worker, clock_ns() + ms * NS_PER_MS)) {
        *take_c = NULL;
        return abandon(c, ms, what, err);
    }
    device_unref(c->device); /* not the last: the caller is inside */
    return worker_result(c->worker, err);
}

/* ---- the calls ---- */

void device_set_log_timeout(struct vmig_device *device, unsigned ms)
{
    atomic_store(&device->log_timeout_ms, ms);
}

static bool is_lost(const struct vmig_device *device)
{
    return atomic_load(&device->health) == VMIG_HEALTH_LOST;
}

int log_call_start(struct vmig_device *device, enum log_source source,
                   const struct vmig_dma_range *ranges, unsigned num_ranges, uint64_t *pgsize,
                   struct vmig_error *err)
{
    struct log_caller *c = caller_take(device, source);
    if (!c)
        return -ENOMEM;
    if (num_ranges)
        memcpy(c->ranges, ranges, num_ranges * sizeof(*ranges));
    c->num_ranges = num_ranges;
    c->pgsize = *pgsize;
    int rc = call(&c, start, "starting", err);
    if (!c)
        return rc;
    *pgsize = c->pgsize;
    caller_give_back(c);
    return rc;
}

static bool has_stop(const struct vmig_device *device, enum log_source source)
{
    return source == LOG_IOMMU ? device->ops->iommu_log_stop : device->ops->dma_log_stop;
}

int log_call_stop(struct vmig_device *device, enum log_source source, struct vmig_error *err)
{
    if (!has_stop(device, source) || is_lost(device))
        return 0; /* a lost device's log ends with it */
    struct log_caller *c = caller_take(device, source);
    if (!c)
        return -ENOMEM;
    int rc = call(&c, stop, "stopping", err);
    if (c)
        caller_give_back(c);
    return rc;
}

/* In whole pages. */
static int make_room(struct log_caller *c, uint64_t pages)
{
    size_t bytes = (size_t)(pages / 64 + 1) * sizeof(uint64_t);
    bytes += -bytes % DEVICE_PGSIZE_MIN;
    c->num_words = (size_t)(pages / 64 + (pages % 64 != 0));
    if (bytes <= c->room_bytes)
        return 0;
    free(c->bits);
    c->bits = aligned_alloc(DEVICE_PGSIZE_MIN, bytes);
    c->room_bytes = c->bits ? bytes : 0;
    if (!c->bits)
        return -ENOMEM;
    memset(c->bits, 0, bytes);
    return 0;
}

/* Most words are 0, and only the others are touched, which leaves a clean buffer for the next call: four
 * passes over the bits of 64 GiB, clearing them among those, took ten times the ioctl
 * (bench/dma-log). */
static void take_bits(struct log_caller *c, uint64_t *bitmap)
{
    for (size_t i = 0; i < c->num_words; i += 8) { /* the buffer is whole pages */
        uint64_t *w = &c->bits[i];
        if (!(w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]))
            continue;
        for (size_t j = 0; j < 8 && i + j < c->num_words; j++)
            bitmap[i + j] |= w[j];
        memset(w, 0, 8 * sizeof(*w));
    }
}

int log_call_report(struct vmig_device *device, enum log_source source, uint64_t iova,
                    uint64_t size_bytes, uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err)
{
    struct log_caller *c = caller_take(device, source);
    int rc = c ? make_room(c, size_bytes / pgsize + (size_bytes % pgsize != 0)) : -ENOMEM;
    if (rc == 0) {
        c->iova = iova;
        c->size_bytes = size_bytes;
        c->pgsize = pgsize;
        rc = call(&c, report, "reading", err);
    }
    if (rc == 0)
        take_bits(c, bitmap);
    else if (c && c->bits)
        memset(c->bits, 0, c->room_bytes);
    if (c)
        caller_give_back(c);
    return rc;
}
