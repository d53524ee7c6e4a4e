/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/device.h"
#include "tests/migration/witness.h"

#define WITNESSES_MAX 64
#define STEPS_MAX 512

struct witness {
    void *self; /* the backend's */
    const struct backend_ops *inner;
    struct backend_ops ops;
    struct party *side;
    unsigned device;
    bool hangs;
    enum witness_call call;
    enum vmig_state state;
    unsigned refused; /* bits by state */
    bool in_error;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct witness all[WITNESSES_MAX];
    unsigned count, hung;
    bool released, well;
    struct {
        struct party *side;
        struct witness_step step;
    } steps[STEPS_MAX];
    unsigned num_steps;
} w = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static struct witness *find_locked(void *self)
{
    for (unsigned i = w.count; i-- > 0;) /* addresses come again */
        if (w.all[i].self == self)
            return &w.all[i];
    return NULL;
}

static const struct backend_ops *inner(void *self)
{
    LOCK_SCOPE(&w.lock);
    return find_locked(self)->inner;
}

/* 0: go on. When it was its turn to hang and that is over: -EIO, or 1, as if it had been done. */
static int pass(void *self, enum witness_call call, enum vmig_state state)
{
    LOCK_SCOPE(&w.lock);
    struct witness *it = find_locked(self);
    if (!it->hangs || it->call != call || (call == WITNESS_SET_STATE && it->state != state))
        return 0;
    it->hangs = false;
    w.hung++;
    while (!w.released)
        pthread_cond_wait(&w.changed, &w.lock);
    w.hung--;
    pthread_cond_broadcast(&w.changed);
    bool asks = call == WITNESS_GET_STATE || call == WITNESS_RESET;
    return w.well && !asks ? 1 : -EIO;
}

static int done(int rc)
{
    return rc < 0 ? rc : 0;
}

static void note(void *self, enum vmig_state state, bool end)
{
    LOCK_SCOPE(&w.lock);
    struct witness *it = find_locked(self);
    if (w.num_steps == STEPS_MAX)
        return;
    w.steps[w.num_steps].side = it->side;
    w.steps[w.num_steps++].step =
        (struct witness_step) { .device = it->device, .state = state, .end = end };
}

static bool in_error(void *self)
{
    LOCK_SCOPE(&w.lock);
    return find_locked(self)->in_error;
}

static bool refuses(void *self, enum vmig_state state)
{
    LOCK_SCOPE(&w.lock);
    struct witness *it = find_locked(self);
    return it->in_error || it->refused & 1u << state;
}

static int on_set_state(void *self, enum vmig_state target, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_SET_STATE, target);
    if (rc != 0)
        return done(rc);
    note(self, target, false);
    rc = refuses(self, target) ? -EPERM : inner(self)->set_state(self, target, err);
    note(self, target, true);
    return rc;
}

static int on_get_state(void *self, enum vmig_state *ret, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_GET_STATE, 0);
    if (rc == 0)
        rc = inner(self)->get_state(self, ret, err);
    if (rc == 0 && in_error(self))
        *ret = VMIG_STATE_ERROR;
    return rc;
}

static ssize_t on_data_read(void *self, void *buf, size_t size, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_READ, 0);
    if (rc > 0)
        return -ENOMSG; /* it has nothing more now */
    if (rc == 0 && in_error(self))
        rc = -EIO;
    return rc < 0 ? rc : inner(self)->data_read(self, buf, size, err);
}

static int on_data_write(void *self, const void *buf, size_t length, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_WRITE, 0);
    return rc != 0 ? done(rc) : inner(self)->data_write(self, buf, length, err);
}

static int on_data_flush(void *self, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_FLUSH, 0);
    return rc != 0 ? done(rc) : inner(self)->data_flush(self, err);
}

static int on_log_start(void *self, const struct vmig_dma_range *ranges, unsigned num_ranges,
                        uint64_t *pgsize, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_LOG_START, 0);
    return rc != 0 ? done(rc) : inner(self)->dma_log_start(self, ranges, num_ranges, pgsize, err);
}

static int on_log_stop(void *self, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_LOG_STOP, 0);
    return rc != 0 ? done(rc) : inner(self)->dma_log_stop(self, err);
}

static int on_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                         uint64_t *bitmap, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_LOG_REPORT, 0);
    return rc != 0 ? done(rc) : inner(self)->dma_log_report(self, iova, size, pgsize, bitmap, err);
}

static int on_reset(void *self, struct vmig_error *err)
{
    int rc = pass(self, WITNESS_RESET, 0);
    if (rc == 0)
        rc = inner(self)->reset(self, err);
    LOCK_SCOPE(&w.lock);
    if (rc == 0)
        find_locked(self)->in_error = false;
    return rc;
}

void witness_side(struct party *side)
{
    LOCK_SCOPE(&w.lock);
    for (unsigned i = 0; i < side->world->plan.devices; i++) {
        struct vmig_device *device = side->devices[i].device;
        struct witness *it = &w.all[w.count++];
        assert_true(w.count <= WITNESSES_MAX);
        *it = (struct witness) {
            .self = device->backend,
            .inner = device->ops,
            .ops = *device->ops,
            .side = side,
            .device = i,
        };
        it->ops.set_state = on_set_state;
        it->ops.get_state = on_get_state;
        it->ops.data_read = on_data_read;
        it->ops.data_flush = on_data_flush;
        it->ops.data_write = on_data_write;
        it->ops.dma_log_start = on_log_start;
        it->ops.dma_log_stop = on_log_stop;
        it->ops.dma_log_report = on_log_report;
        it->ops.reset = on_reset;
        device->ops = &it->ops;
    }
}

static struct witness *of_locked(struct party *side, unsigned device)
{
    return find_locked(side->devices[device].device->backend);
}

void witness_hang(struct party *side, unsigned device, enum witness_call call,
                  enum vmig_state state)
{
    LOCK_SCOPE(&w.lock);
    struct witness *it = of_locked(side, device);
    it->call = call;
    it->state = state;
    it->hangs = true;
}

void witness_refuse(struct party *side, unsigned device, enum vmig_state state)
{
    LOCK_SCOPE(&w.lock);
    of_locked(side, device)->refused |= 1u << state;
}

void witness_error(struct party *side, unsigned device)
{
    LOCK_SCOPE(&w.lock);
    of_locked(side, device)->in_error = true;
}

unsigned witness_hung(void)
{
    LOCK_SCOPE(&w.lock);
    return w.hung;
}

void witness_release(bool well)
{
    LOCK_SCOPE(&w.lock);
    w.well = well;
    w.released = true;
    pthread_cond_broadcast(&w.changed);
    while (w.hung)
        pthread_cond_wait(&w.changed, &w.lock);
}

const struct witness_step *witness_steps(struct party *side, unsigned *ret_count)
{
    static struct witness_step steps[STEPS_MAX];
    LOCK_SCOPE(&w.lock);
    *ret_count = 0;
    for (unsigned i = 0; i < w.num_steps; i++)
        if (w.steps[i].side == side)
            steps[(*ret_count)++] = w.steps[i].step;
    return steps;
}

bool witness_barrier(struct party *side, enum vmig_state first, enum vmig_state second)
{
    unsigned count, seen = 0;
    const struct witness_step *steps = witness_steps(side, &count);
    bool begun = false;
    for (unsigned i = 0; i < count; i++) {
        seen += steps[i].state == first;
        begun |= steps[i].state == second && !steps[i].end;
        if (begun && steps[i].state == first)
            return false;
    }
    return seen > 0 && begun;
}

void witness_done(void)
{
    LOCK_SCOPE(&w.lock);
    w.num_steps = 0; /* what was abandoned may have looked at the rest until just now */
    w.released = false;
}
