/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data stream over messages, fast: requests are pipelined in both directions.
 *
 * Out of the device, a ring of requests is in flight, each with a buffer of its own (or the
 * reader's own, when the oldest reply has not begun to arrive: then nothing is copied). Reading
 * ahead takes bytes out of the device before somebody asked for them, so they are given out in
 * order before anything else, whatever state the device goes to meanwhile, and are added to every
 * size the device reports. A state change first collects what is in flight: an empty reply from
 * before it means "drained for now" and must not be taken for the end of the stream behind it.
 *
 * The window starts at one, doubles with every full reply and falls to one with an empty reply: a
 * small state costs no empty replies, a drained device is left alone until somebody wants data, and
 * memory is touched only as far as it is used.
 *
 * A reply that was lost (time-out, dead connection) is a hole in the stream. From then on it only
 * fails, until the device starts a new one.
 *
 * Into the device, writes are sent from the caller's buffer and not waited for; their first error
 * comes with a later call and stays until the stream ends.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/device/backend-vfio-user.h"
#include "lib/error.h"

/* While the device runs, a deep queue would delay the state change that waits behind it. */
#define WINDOW_RUNNING 4u
#define WINDOW_PADDED 2u

int vuc_stream_init(struct vuc_stream *s)
{
    memset(s, 0, sizeof(*s));
    atomic_init(&s->state, VMIG_STATE_ERROR);
    s->window = 1;
    s->chunk_bytes = s->write_bytes = VUSER_SMALL_WRITE_BYTES;
    return -pthread_mutex_init(&s->lock, NULL);
}

void vuc_stream_done(struct vuc_stream *s)
{
    for (unsigned i = 0; i < VUC_READS_MAX; i++)
        free(s->slots[i].buf);
    pthread_mutex_destroy(&s->lock);
}

static size_t at_most(uint64_t value, size_t limit)
{
    return value < limit ? (size_t)value : limit;
}

void vuc_stream_limits(struct vuc_stream *s, const struct vuc_conn *c)
{
    bool large = c->extensions & VUSER_EXT_LARGE_WRITES;
    s->chunk_bytes = at_most(c->peer.max_data_xfer_size, VUC_DATA_XFER_BYTES);
    s->write_bytes =
        at_most(c->peer.max_data_xfer_size, large ? VUSER_DATA_XFER_MAX : VUSER_SMALL_WRITE_BYTES);
}

static enum vmig_state state_of(struct vuc_stream *s)
{
    return (enum vmig_state)atomic_load(&s->state);
}

static bool is_precopy(enum vmig_state state)
{
    return state == VMIG_STATE_PRE_COPY || state == VMIG_STATE_PRE_COPY_P2P;
}

static bool is_saving(enum vmig_state state)
{
    return is_precopy(state) || state == VMIG_STATE_STOP_COPY;
}

/* ---- reading: the ring ---- */

static struct vuc_slot *slot_at(struct vuc_stream *s, unsigned i)
{
    return &s->slots[(s->first + i) % VUC_READS_MAX];
}

static void pop_slot(struct vuc_stream *s)
{
    s->first = (s->first + 1) % VUC_READS_MAX;
    s->count--;
}

static uint64_t buffered_bytes(const struct vuc_stream *s)
{
    return s->fetched_bytes - s->consumed_bytes;
}

static int ask(struct vuc *v, struct vmig_error *err)
{
    struct vuc_stream *s = &v->stream;
    struct vuc_slot *slot = slot_at(s, s->count);
    uint8_t command[vuser_mig_data_BYTES];
    if (!slot->buf)
        slot->buf = malloc(s->chunk_bytes);
    if (!slot->buf)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    slot->wanted_bytes = s->chunk_bytes;
    slot->at_bytes = slot->have_bytes = 0;
    slot->collected = false;
    slot->request = (struct vuc_request) {
        .command = VUSER_MIG_DATA_READ,
        .fixed = slot->head,
        .fixed_bytes = sizeof(slot->head),
        .data = slot->buf,
        .data_bytes = slot->wanted_bytes,
    };
    struct vuser_mig_data wanted = { (uint32_t)(sizeof(command) + slot->wanted_bytes),
                                     (uint32_t)slot->wanted_bytes };
    vuser_mig_data_encode(&wanted, command);
    struct iovec iov = { command, sizeof(command) };
    int rc = vuc_start(&v->conn, &slot->request, &iov, 1, NULL, 0, err);
    if (!rc)
        s->count++;
    return rc;
}

static unsigned window_limit(struct vuc_stream *s)
{
    unsigned limit = is_precopy(state_of(s)) ? WINDOW_RUNNING : VUC_READS_MAX;
    return s->padded && limit > WINDOW_PADDED ? WINDOW_PADDED : limit;
}

/* Keep the window full. One request at least when there is none: somebody wants data. */
static int ask_ahead(struct vuc *v, struct vmig_error *err)
{
    struct vuc_stream *s = &v->stream;
    unsigned limit = window_limit(s), want = s->window < limit ? s->window : limit;
    int rc = 0;
    while (!rc && s->count < want)
        rc = ask(v, err);
    return rc;
}

/* Wait for the reply of @slot and look at it. */
static int collect(struct vuc *v, struct vuc_slot *slot, struct vmig_error *err)
{
    struct vuc_stream *s = &v->stream;
    struct vuser_mig_data got;
    if (slot->collected)
        return 0;
    int rc = vuc_wait(&v->conn, &slot->request, vuc_command_timeout(v), err);
    slot->collected = true;
    if (rc)
        return rc;
    vuser_mig_data_decode(slot->head, &got);
    size_t payload = slot->request.got_bytes - sizeof(slot->head);
    if (got.size_bytes > slot->wanted_bytes || got.size_bytes > payload)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "the vfio-user server claims %" PRIu32
                         " bytes of state in a reply that carries %zu, asked for were %zu",
                         got.size_bytes, payload, slot->wanted_bytes);
    slot->have_bytes = got.size_bytes;
    s->fetched_bytes += got.size_bytes;
    if (payload > got.size_bytes)
        s->padded = true;
    if (got.size_bytes == slot->wanted_bytes && s->window < VUC_READS_MAX)
        s->window *= 2;
    if (got.size_bytes == 0)
        s->window = 1; /* nothing is asked for beyond what somebody waits for */
    return 0;
}

/* The stream has a hole: whatever else is in flight is of no use. */
static int fail_reading(struct vuc *v, int rc, const struct vmig_error *cause)
{
    struct vuc_stream *s = &v->stream;
    /* A server that answers will answer these too; one that does not has had its time. */
    unsigned timeout_ms = rc == -ETIMEDOUT ? 0 : vuc_command_timeout(v);
    for (; s->count > 0; pop_slot(s))
        if (!slot_at(s, 0)->collected)
            vuc_wait(&v->conn, &slot_at(s, 0)->request, timeout_ms, NULL);
    error_copy(&s->read_error, cause);
    error_set(&s->read_error, rc, VMIG_STAGE_NONE, NULL, NULL, "%s", strerror(-rc));
    return rc;
}

static ssize_t give(struct vuc_stream *s, struct vuc_slot *slot, const uint8_t *from, void *buf,
                    size_t size)
{
    size_t left = slot->have_bytes - slot->at_bytes, some = left < size ? left : size;
    if (from != buf)
        memcpy(buf, from + slot->at_bytes, some);
    slot->at_bytes += some;
    s->consumed_bytes += some;
    if (slot->at_bytes == slot->have_bytes)
        pop_slot(s);
    return (ssize_t)some;
}

/* The oldest reply's data; 0 when it is empty. */
static ssize_t read_oldest(struct vuc *v, void *buf, size_t size, struct vmig_error *err)
{
    struct vuc_stream *s = &v->stream;
    struct vuc_slot *slot = slot_at(s, 0);
    bool direct = !slot->collected && size >= slot->wanted_bytes &&
                  vuc_retarget(&v->conn, &slot->request, buf);
    int rc = collect(v, slot, err);
    if (rc)
        return rc;
    return give(s, slot, direct ? buf : slot->buf, buf, size);
}

ssize_t vuc_data_read(void *self, void *buf, size_t size, struct vmig_error *err)
{
    struct vuc *v = self;
    struct vuc_stream *s = &v->stream;
    struct vmig_error cause = { 0 };
    LOCK_SCOPE(&s->lock);
    if (s->read_error.code)
        return error_copy(err, &s->read_error);
    if (size == 0 || !is_saving(state_of(s)))
        return -EINVAL;
    ssize_t got;
    do { /* behind an empty reply only what was asked for already is looked at */
        int rc = ask_ahead(v, &cause);
        got = rc ? rc : read_oldest(v, buf, size, &cause);
    } while (got == 0 && s->count > 0);
    if (got < 0) {
        fail_reading(v, (int)got, &cause);
        error_copy(err, &s->read_error);
    }
    return got;
}

/* Wait for all that is in flight; empty replies are dropped, they were of the state until now. */
static void collect_all(struct vuc *v)
{
    struct vuc_stream *s = &v->stream;
    struct vmig_error cause = { 0 };
    unsigned kept = 0, count = s->count;
    for (unsigned i = 0; i < count; i++) {
        int rc = collect(v, slot_at(s, i), &cause);
        if (rc) {
            fail_reading(v, rc, &cause);
            return;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        struct vuc_slot *from = slot_at(s, i), *to = slot_at(s, kept);
        if (from->have_bytes == from->at_bytes)
            continue;
        if (from != to) {
            struct vuc_slot swap = *to;
            *to = *from;
            *from = swap;
        }
        kept++;
    }
    s->count = kept;
}

/* ---- writing ---- */

/* The oldest write's reply; its error is kept if it is the first. */
static void reap_write(struct vuc *v)
{
    struct vuc_stream *s = &v->stream;
    struct vmig_error cause = { 0 };
    struct vuc_write *w = &s->writes[s->first_write];
    int rc = vuc_wait(&v->conn, &w->request, vuc_command_timeout(v), &cause);
    s->first_write = (s->first_write + 1) % VUC_WRITES_MAX;
    s->num_writes--;
    if (rc)
        error_copy(&s->write_error, &cause);
}

/* Take the replies that are there; wait until at most @leave are not. */
static int reap_writes(struct vuc *v, unsigned leave, struct vmig_error *err)
{
    struct vuc_stream *s = &v->stream;
    while (s->num_writes > leave ||
           (s->num_writes > 0 && vuc_is_done(&v->conn, &s->writes[s->first_write].request)))
        reap_write(v);
    return s->write_error.code ? error_copy(err, &s->write_error) : 0;
}

static int send_write(struct vuc *v, const uint8_t *data, size_t length)
{
    struct vuc_stream *s = &v->stream;
    struct vuc_write *w = &s->writes[(s->first_write + s->num_writes) % VUC_WRITES_MAX];
    uint8_t head[vuser_mig_data_BYTES];
    struct vuser_mig_data command = { (uint32_t)(sizeof(head) + length), (uint32_t)length };
    vuser_mig_data_encode(&command, head);
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)data, length } };
    w->request = (struct vuc_request) {
        .command = VUSER_MIG_DATA_WRITE,
        .fixed = w->reply,
        .fixed_bytes = sizeof(w->reply),
    };
    int rc = vuc_start(&v->conn, &w->request, iov, 2, NULL, 0, &s->write_error);
    if (!rc)
        s->num_writes++;
    return rc;
}

int vuc_data_write(void *self, const void *buf, size_t length, struct vmig_error *err)
{
    struct vuc *v = self;
    const uint8_t *at = buf;
    LOCK_SCOPE(&v->stream.lock);
    if (state_of(&v->stream) != VMIG_STATE_RESUMING)
        return -EINVAL;
    while (length > 0) {
        size_t some = at_most(length, v->stream.write_bytes);
        int rc = reap_writes(v, VUC_WRITES_MAX - 1, err);
        if (rc)
            return rc;
        if (send_write(v, at, some))
            return error_copy(err, &v->stream.write_error);
        at += some;
        length -= some;
    }
    return 0;
}

int vuc_data_flush(void *self, struct vmig_error *err)
{
    struct vuc *v = self;
    LOCK_SCOPE(&v->stream.lock);
    return reap_writes(v, 0, err);
}

/* ---- state changes ---- */

static void forget_reading(struct vuc_stream *s)
{
    s->first = s->count = 0;
    s->window = 1;
    s->padded = s->initial_over = false;
    s->fetched_bytes = s->consumed_bytes = s->initial_end_bytes = 0;
    s->read_error = (struct vmig_error) { 0 };
}

static void set_state_locked(struct vuc *v, enum vmig_state state)
{
    struct vuc_stream *s = &v->stream;
    enum vmig_state old = state_of(s);
    if (!(is_saving(old) && is_saving(state))) {
        collect_all(v);
        forget_reading(s);
    }
    if (!(old == VMIG_STATE_RESUMING && state == VMIG_STATE_RESUMING)) {
        reap_writes(v, 0, NULL);
        s->write_error = (struct vmig_error) { 0 };
    }
    atomic_store(&s->state, (int)state);
}

void vuc_stream_saw(struct vuc *v, enum vmig_state state)
{
    if (state_of(&v->stream) == state) /* also while somebody reads and has the lock */
        return;
    LOCK_SCOPE(&v->stream.lock);
    set_state_locked(v, state);
}

int vuc_stream_enter(struct vuc *v, struct vmig_error *err)
{
    pthread_mutex_lock(&v->stream.lock);
    collect_all(v);
    return reap_writes(v, 0, err);
}

void vuc_stream_leave(struct vuc *v, int state)
{
    if (state >= 0)
        set_state_locked(v, (enum vmig_state)state);
    pthread_mutex_unlock(&v->stream.lock);
}

/* ---- sizes ---- */

static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

int vuc_data_size(void *self, uint64_t *ret, struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t data[vuser_data_size_BYTES];
    struct vuser_data_size size;
    if (!v->migration.has_data_size)
        return -ENOTTY;
    LOCK_SCOPE(&v->stream.lock);
    collect_all(v);
    struct vuc_feature f = { .flags = VUSER_FEATURE_GET | VUSER_FEATURE_MIG_DATA_SIZE,
                             .out = data,
                             .out_bytes = sizeof(data) };
    int rc = vuc_feature(v, &f, err);
    if (rc)
        return rc;
    vuser_data_size_decode(data, &size);
    *ret = saturating_add(size.stop_copy_length, buffered_bytes(&v->stream));
    return 0;
}

/* Of the bytes read ahead, which are initial ones? The stream has them first, but the server does
 * not say where they end: count as initial what was fetched until it last said that some were left,
 * or first said that none were. */
static void add_buffered(struct vuc_stream *s, struct vmig_precopy_info *info)
{
    if (info->initial_bytes > 0 || info->reinit || !s->initial_over)
        s->initial_end_bytes = s->fetched_bytes;
    s->initial_over = info->initial_bytes == 0;
    uint64_t initial =
        s->initial_end_bytes > s->consumed_bytes ? s->initial_end_bytes - s->consumed_bytes : 0;
    info->initial_bytes = saturating_add(info->initial_bytes, initial);
    info->dirty_bytes = saturating_add(info->dirty_bytes, buffered_bytes(s) - initial);
}

int vuc_enable_reinit(void *self, struct vmig_error *err)
{
    struct vuc *v = self;
    struct vuc_feature f = { .flags = VUSER_FEATURE_SET | VUSER_FEATURE_MIG_PRECOPY_INFO2 };
    return vuc_feature(v, &f, err);
}

int vuc_precopy_info(void *self, struct vmig_precopy_info *ret, struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t command[vuser_precopy_info_BYTES], reply[vuser_precopy_info_BYTES];
    struct vuser_precopy_info info = { .argsz = sizeof(command) };
    struct vuc_request r = { .command = VUSER_GET_PRECOPY_INFO,
                             .fixed = reply,
                             .fixed_bytes = sizeof(reply) };
    if (!v->migration.has_precopy_info)
        return -ENOTTY;
    LOCK_SCOPE(&v->stream.lock);
    collect_all(v);
    vuser_precopy_info_encode(&info, command);
    int rc = vuc_call(&v->conn, &r, command, sizeof(command), vuc_command_timeout(v), err);
    if (rc)
        return rc;
    vuser_precopy_info_decode(reply, &info);
    ret->initial_bytes = info.initial_bytes;
    ret->dirty_bytes = info.dirty_bytes;
    ret->reinit = info.flags & VUSER_PRECOPY_REINIT;
    add_buffered(&v->stream, ret);
    return 0;
}
