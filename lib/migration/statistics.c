/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"

/* ---- counting ---- */

static void reset_participant(struct participant *p)
{
    for (unsigned i = 0; i < STEP_COUNT; i++)
        p->step_ms[i] = 0;
    p->iterate_ms = p->loading_ms = 0;
    p->data_bytes = p->precopy_bytes = p->left_bytes = p->left_sent_bytes = 0;
    p->switched = false;
    p->doing = NULL;
}

void statistics_reset_locked(struct vmig_migration *m)
{
    struct counters *c = &m->counters;
    m->statistics = (struct vmig_statistics) { .size = sizeof(m->statistics) };
    m->sent_bytes = 0;
    c->received_bytes = c->lane_bytes = c->paused_bytes = c->round_bytes = 0;
    c->paused = c->switched = false;
    c->normal_pages = c->zero_pages = c->dirty_pages = c->dirty_syncs = 0;
    m->rate = (struct rate_window) { .start_ns = clock_ns() };
    for (unsigned i = 0; i < m->num_participants; i++)
        reset_participant(m->participants[i]);
}

/* The whole before its part, and read the other way round: so the part is never the larger one. */
void statistics_sent(struct vmig_migration *m, size_t bytes, bool on_lane)
{
    atomic_fetch_add(&m->sent_bytes, bytes);
    if (on_lane)
        atomic_fetch_add(&m->counters.lane_bytes, bytes);
    if (atomic_load(&m->counters.paused))
        atomic_fetch_add(&m->counters.paused_bytes, bytes);
}

void statistics_received(struct vmig_migration *m, size_t bytes, bool on_lane)
{
    atomic_fetch_add(&m->counters.received_bytes, bytes);
    if (on_lane)
        atomic_fetch_add(&m->counters.lane_bytes, bytes);
}

/* A source receives nothing that counts, and a target sends nothing. */
uint64_t statistics_transferred(const struct vmig_migration *m)
{
    return atomic_load(&m->sent_bytes) + atomic_load(&m->counters.received_bytes);
}

void statistics_pause(struct vmig_migration *m, bool stands_still)
{
    atomic_store(&m->counters.paused, stands_still);
}

void statistics_round(struct vmig_migration *m)
{
    if (!atomic_load(&m->counters.switched))
        atomic_store(&m->counters.round_bytes, atomic_load(&m->counters.received_bytes));
}

void statistics_switched(struct participant *p)
{
    atomic_store(&p->switched, true);
    atomic_store(&p->migration->counters.switched, true);
}

void statistics_switched_at(struct participant *p, uint64_t bytes)
{
    if (!atomic_load(&p->migration->counters.switched))
        atomic_store(&p->migration->counters.round_bytes, bytes);
    statistics_switched(p);
}

/* Pages of zeros are none of memory's data, but were among what was left. */
static uint64_t moved_bytes(const struct participant *p)
{
    const struct counters *c = &p->migration->counters;
    if (p->kind != PARTICIPANT_RAM)
        return atomic_load(&p->data_bytes);
    return (atomic_load(&c->normal_pages) + atomic_load(&c->zero_pages)) * RAM_PAGE_SIZE;
}

void statistics_left(struct participant *p, uint64_t bytes)
{
    atomic_store(&p->left_bytes, bytes);
    atomic_store(&p->left_sent_bytes, moved_bytes(p));
}

static uint64_t left(const struct participant *p)
{
    uint64_t moved = moved_bytes(p), from = atomic_load(&p->left_sent_bytes);
    uint64_t since = moved > from ? moved - from : 0, was = atomic_load(&p->left_bytes);
    return was > since ? was - since : 0;
}

uint64_t statistics_remaining(const struct vmig_migration *m)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        bytes += left(m->participants[i]);
    return bytes;
}

void statistics_error(struct vmig_migration *m, const struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    m->statistics.error = *err;
}

/* ---- rates ---- */

#define WINDOW_NS (100 * NS_PER_MS)

static uint64_t pages(const struct vmig_migration *m)
{
    return atomic_load(&m->counters.normal_pages) + atomic_load(&m->counters.zero_pages);
}

static void set_rates(struct rate_window *w, const struct vmig_migration *m, double ms)
{
    w->bytes_per_s = ms > 0 ? (double)(statistics_transferred(m) - w->bytes) / ms * 1e3 : 0;
    w->pages_per_s = ms > 0 ? (double)(pages(m) - w->pages) / ms * 1e3 : 0;
}

void statistics_tick_locked(struct vmig_migration *m)
{
    struct rate_window *w = &m->rate;
    uint64_t now = clock_ns();
    bool over = now >= w->start_ns + WINDOW_NS;
    if (!over && w->known)
        return;
    set_rates(w, m, (double)(now - w->start_ns) / 1e6);
    if (!over)
        return;
    *w = (struct rate_window) { .start_ns = now,
                                .bytes = statistics_transferred(m),
                                .pages = pages(m),
                                .bytes_per_s = w->bytes_per_s,
                                .pages_per_s = w->pages_per_s,
                                .known = true };
}

/* ---- asking ---- */

static void query_device(const struct participant *p, uint64_t remaining_bytes,
                         struct vmig_device_statistics *d, struct vmig_device_progress *more)
{
    const char *doing = atomic_load(&p->doing);
    uint64_t sent = atomic_load(&p->data_bytes), precopy = atomic_load(&p->precopy_bytes);
    snprintf(d->id, sizeof(d->id), "%s", p->id);
    /* at the target the one counts what came, the other what the device has taken */
    d->precopy_bytes = atomic_load(&p->switched) && precopy < sent ? precopy : sent;
    d->stop_copy_bytes = sent - d->precopy_bytes;
    d->setup_ms = p->step_ms[STEP_SETUP] + p->step_ms[STEP_LOAD_SETUP];
    d->quiesce_ms = p->step_ms[STEP_QUIESCE];
    d->stop_ms = p->step_ms[STEP_STOP];
    d->complete_ms = p->step_ms[STEP_COMPLETE];
    d->load_ms = p->step_ms[STEP_LOAD_COMPLETE];
    d->resume_ms = p->step_ms[STEP_START_P2P] + p->step_ms[STEP_START] +
                   p->step_ms[STEP_RESUME_P2P] + p->step_ms[STEP_RESUME];
    *more = (struct vmig_device_progress) {
        .state = (enum vmig_state)atomic_load(&p->device->state),
        .step = doing ? doing : "",
        .remaining_bytes = remaining_bytes,
        .iterate_ms = p->iterate_ms,
        .loading_ms = p->loading_ms,
        .cleanup_ms = p->step_ms[STEP_CLEANUP],
    };
}

static void query_participants_locked(const struct vmig_migration *m, struct vmig_statistics *s)
{
    bool completed = s->status == VMIG_STATUS_COMPLETED;
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        uint64_t remaining = completed ? 0 : left(p);
        s->remaining_bytes += remaining;
        if (p->kind == PARTICIPANT_RAM)
            s->ram_remaining_bytes = remaining;
        if (p->kind != PARTICIPANT_DEVICE || s->num_devices == VMIG_DEVICES_MAX)
            continue;
        unsigned n = s->num_devices++;
        s->dirty_tracking[n] = p->tracking.chosen;
        query_device(p, remaining, &s->devices[n], &s->progress[n]);
        s->vfio_bytes += s->devices[n].precopy_bytes + s->devices[n].stop_copy_bytes;
    }
    if (completed)
        s->dirty_pages_per_s = 0;
}

static void query_pages_locked(const struct vmig_migration *m, struct vmig_statistics *s)
{
    const struct counters *c = &m->counters;
    s->page_size_bytes = RAM_PAGE_SIZE;
    s->ram_dirty_pages = atomic_load(&c->dirty_pages);
    s->ram_normal_pages = atomic_load(&c->normal_pages);
    s->ram_sent_bytes = s->ram_normal_pages * RAM_PAGE_SIZE;
    s->ram_zero_pages = atomic_load(&c->zero_pages);
    s->dirty_syncs = atomic_load(&c->dirty_syncs);
}

static void query_bytes_locked(const struct vmig_migration *m, struct vmig_statistics *s)
{
    const struct counters *c = &m->counters;
    bool switched = atomic_load(&c->switched);
    uint64_t paused = atomic_load(&c->paused_bytes), round = atomic_load(&c->round_bytes);
    s->data_channel_bytes = atomic_load(&c->lane_bytes);
    s->transferred_bytes = statistics_transferred(m);
    s->downtime_bytes = switched ? s->transferred_bytes - round : paused;
    s->precopy_bytes = s->transferred_bytes - s->downtime_bytes;
}

/* The stage that is not over yet has what no other one had. */
static void query_stages_locked(const struct vmig_migration *m, struct vmig_statistics *s)
{
    enum vmig_stage stage = m->stage;
    if (m->side != SIDE_NONE) {
        uint64_t before = 0;
        for (unsigned i = 0; i < VMIG_STAGE_COUNT; i++)
            before += s->stage_bytes[i];
        s->stage_ms[stage] += clock_ms_since(m->stage_start_ns);
        s->total_ms = clock_ms_since(m->start_ns);
        s->stage_bytes[stage] += s->transferred_bytes - before;
    }
    s->setup_ms = s->stage_ms[VMIG_STAGE_PREPARE] + s->stage_ms[VMIG_STAGE_SETUP];
}

static void query_rates_locked(struct vmig_migration *m, struct vmig_statistics *s)
{
    double seconds = s->total_ms / 1e3;
    double bytes_per_s = m->rate.bytes_per_s;
    s->pages_per_s = m->rate.pages_per_s;
    if (m->side == SIDE_NONE) {
        bytes_per_s = seconds > 0 ? (double)s->transferred_bytes / seconds : 0;
        s->pages_per_s = seconds > 0 ? (double)pages(m) / seconds : 0;
    }
    s->mbps = bytes_per_s * 8 / 1e6;
}

static void query_prediction_locked(const struct vmig_migration *m, struct vmig_statistics *s)
{
    if (m->side != SIDE_TARGET && s->status != VMIG_STATUS_NONE)
        s->expected_downtime_ms = s->predicted_downtime_ms > 0
                                      ? s->predicted_downtime_ms
                                      : (double)m->parameters[PARAMETER_DOWNTIME_LIMIT];
    if (!s->error.code && m->aborted)
        s->error = m->first_error;
}

VMIG_EXPORT void vmig_migration_query(struct vmig_migration *m, struct vmig_statistics *ret)
{
    size_t room = ret->size < sizeof(*ret) ? ret->size : sizeof(*ret);
    struct vmig_statistics s;
    {
        LOCK_SCOPE(&m->lock);
        if (m->side != SIDE_NONE)
            statistics_tick_locked(m);
        s = m->statistics;
        s.rounds = run_rounds(m);
        /* what is in something before that: it is counted later and grows meanwhile */
        query_pages_locked(m, &s);
        query_participants_locked(m, &s);
        query_bytes_locked(m, &s);
        query_stages_locked(m, &s);
        query_rates_locked(m, &s);
        query_prediction_locked(m, &s);
    }
    s.size = room;
    memcpy(ret, &s, room);
}
