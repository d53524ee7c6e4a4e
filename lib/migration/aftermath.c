/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After the pause its terms are known: those of the source from its own clock, those of the target from
 * LOADED and RUNNING. They are told beside the prediction, and remembered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/participant/ram.h"
#include "lib/trace/trace.h"

/* ---- the truth ---- */

static double slowest(const struct vmig_migration *m, enum step step)
{
    double ms = 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->step_ms[step] > ms)
            ms = m->participants[i]->step_ms[step];
    return ms;
}

static uint64_t pause_bytes(const struct vmig_migration *m)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        bytes += m->participants[i]->data_bytes - m->participants[i]->precopy_bytes;
    return bytes;
}

static double between_ms(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

static void measure_locked(struct vmig_migration *m, uint64_t end_ns)
{
    if (!m->pause_start_ns) { /* it stood still anyway: this run kept nobody waiting */
        m->statistics.predicted = (struct vmig_pause) { 0 };
        m->statistics.predicted_downtime_ms = 0;
        return;
    }
    const struct time_model *t = &m->model;
    double pause_ms = between_ms(m->pause_start_ns, end_ns);
    struct vmig_pause p = {
        .workload_stop_ms = t->workload_stop_ms,
        .quiesce_ms = slowest(m, STEP_QUIESCE),
        .stop_ms = slowest(m, STEP_STOP),
        .data_ms = between_ms(t->complete_ns, m->one_way ? end_ns : t->data_end_ns),
        .load_ms = slowest(m, STEP_LOAD_COMPLETE),
        .start_ms = slowest(m, STEP_START_P2P) + slowest(m, STEP_START),
        .workload_start_ms = t->workload_start_ms,
        .data_bytes = pause_bytes(m),
    };
    double rest = pause_ms - m->statistics.pre_switchover_ms - forecast_sum_ms(&p);
    if (rest < 0) { /* the target claims more than there was */
        p.load_ms = p.start_ms = p.workload_start_ms = 0;
        rest = pause_ms - m->statistics.pre_switchover_ms - forecast_sum_ms(&p);
    }
    p.handover_ms = rest > 0 ? rest : 0;
    m->model.tail_ms = between_ms(t->completed_ns, t->data_end_ns);
    m->statistics.measured = p;
    m->statistics.downtime_ms = pause_ms;
}

void aftermath_measure(struct vmig_migration *m, uint64_t end_ns)
{
    const struct vmig_statistics *s = &m->statistics;
    {
        LOCK_SCOPE(&m->lock);
        measure_locked(m, end_ns);
    }
    TRACE(migration_pause_end, (uint64_t)(s->downtime_ms * 1e3),
          (uint64_t)(s->predicted_downtime_ms * 1e3), s->measured.data_bytes);
}

/* ---- remembering ---- */

/* The little that every device has does not tell how good its estimate is. */
#define SIZE_BYTES_MIN (1u << 20)
/* Less says nothing about the speed of a participant, or of the link. */
#define RATE_BYTES_MIN FORECAST_LITTLE_BYTES
#define LINK_BYTES_MIN (8u << 20)

static double pause_rate(const struct vmig_migration *m, const struct participant *p)
{
    double ms = p->step_ms[STEP_COMPLETE] + m->model.tail_ms;
    uint64_t bytes = p->data_bytes - p->precopy_bytes;
    if (p->kind == PARTICIPANT_RAM)
        ms -= participant_ram_sync_ms(p->opaque);
    return bytes >= RATE_BYTES_MIN && ms > 0 ? (double)bytes / ms : -1;
}

/* Of what it had said. */
static double size_part(const struct participant *p)
{
    uint64_t said = convergence_bytes(p);
    bool knew = p->pending.stop_copy_bytes != UINT64_MAX && said >= SIZE_BYTES_MIN;
    return knew ? (double)(p->data_bytes - p->precopy_bytes) / (double)said : -1;
}

static unsigned num_devices(const struct vmig_migration *m)
{
    unsigned count = 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        count += m->participants[i]->kind == PARTICIPANT_DEVICE;
    return count;
}

static void note_participant(const struct vmig_migration *m, const struct participant *p,
                             struct history *news)
{
    char kind[HISTORY_KIND_BYTES];
    struct history_sample sample;
    convergence_kind(m, p, kind, &sample);
    sample.value[HISTORY_RATE] = pause_rate(m, p);
    sample.value[HISTORY_TOGETHER] = num_devices(m);
    if (p->kind == PARTICIPANT_DEVICE) {
        sample.value[HISTORY_QUIESCE] = p->step_ms[STEP_QUIESCE];
        sample.value[HISTORY_STOP] = p->step_ms[STEP_STOP];
        sample.value[HISTORY_LOAD] = p->step_ms[STEP_LOAD_COMPLETE];
        sample.value[HISTORY_START_P2P] = p->step_ms[STEP_START_P2P];
        sample.value[HISTORY_START] = p->step_ms[STEP_START];
        sample.value[HISTORY_SIZE] = size_part(p);
    }
    history_add(news, kind, &sample);
}

/* A prediction that had nothing to go by was not wrong, it was a guess. */
static bool was_informed(const struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct forecast_part *f = &m->participants[i]->forecast;
        if (f->device && f->past[HISTORY_STOP] < 0)
            return false;
    }
    return true;
}

static void note_host(const struct vmig_migration *m, struct history *news)
{
    const struct vmig_statistics *s = &m->statistics;
    struct history_sample sample;
    double excess = s->downtime_ms - s->pre_switchover_ms - s->predicted_downtime_ms;
    history_sample_init(&sample, m->history_now_s);
    sample.value[HISTORY_WORKLOAD_STOP] = s->measured.workload_stop_ms;
    sample.value[HISTORY_WORKLOAD_START] = s->measured.workload_start_ms;
    if (was_informed(m))
        sample.value[HISTORY_EXCESS] = excess > 0 ? excess : 0;
    history_add(news, HISTORY_HOST, &sample);
}

static double vmstates_ms(const struct vmig_migration *m)
{
    return m->vmstates.count ? m->model.vmstates_save_ms + m->model.vmstates_load_ms : 0;
}

static void note_vmstates(const struct vmig_migration *m, struct history *news)
{
    char kind[HISTORY_KIND_BYTES];
    struct history_sample sample;
    if (!m->vmstates.count)
        return;
    history_sample_init(&sample, m->history_now_s);
    sample.value[HISTORY_VMSTATES] = vmstates_ms(m);
    convergence_vmstates_kind(m, kind);
    history_add(news, kind, &sample);
}

/* Beyond what was predicted of its bytes alone; of a rate that was given that says nothing. */
static double data_rest_ms(const struct vmig_migration *m)
{
    const struct vmig_pause *was = &m->statistics.measured, *said = &m->statistics.predicted;
    if (m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH] || was->data_bytes >= FORECAST_LITTLE_BYTES ||
        said->data_bytes >= FORECAST_LITTLE_BYTES)
        return -1;
    double bytes_ms = said->data_ms - forecast_data_rest_ms(said, m->model.past);
    return was->data_ms > bytes_ms ? was->data_ms - bytes_ms : 0;
}

/* Tables may have been saved while data was on its way, so they need not have been part of it. */
static void note_link(const struct vmig_migration *m, struct history *news)
{
    const struct vmig_pause *p = &m->statistics.measured;
    double rest = p->handover_ms - vmstates_ms(m);
    struct history_sample sample;
    history_sample_init(&sample, m->history_now_s);
    sample.value[HISTORY_HANDOVER] = rest > 0 ? rest : 0;
    sample.value[HISTORY_DATA_REST] = data_rest_ms(m);
    if (p->data_bytes >= LINK_BYTES_MIN && p->data_ms > 0)
        sample.value[HISTORY_RATE] = (double)p->data_bytes / p->data_ms;
    history_add(news, m->model.link_kind, &sample);
}

void aftermath_remember(struct vmig_migration *m)
{
    CLEANUP_FREE struct history *news = NULL;
    struct vmig_error err = { 0 };
    if (!m->history_path || m->one_way || !m->pause_start_ns)
        return;
    news = history_new();
    if (!news)
        return;
    for (unsigned i = 0; i < m->num_participants; i++)
        note_participant(m, m->participants[i], news);
    note_host(m, news);
    note_vmstates(m, news);
    note_link(m, news);
    if (history_save(m->history_path, m->history_now_s, news, &err) < 0)
        run_warning(m, err.reason, err.text);
}

void aftermath_recall(struct vmig_migration *m, const struct address *address)
{
    struct vmig_error err = { 0 };
    bool tcp = address->kind == ADDRESS_TCP;
    snprintf(m->model.link_kind, sizeof(m->model.link_kind), "link %.200s",
             tcp ? address->host : "local");
    free(take_ptr(m->history));
    m->history_now_s = (uint64_t)time(NULL);
    if (!m->history_path || m->one_way)
        return;
    m->history = history_new();
    if (m->history && history_load(m->history_path, m->history_now_s, m->history, &err) < 0)
        run_warning(m, err.reason, err.text);
}

VMIG_EXPORT int vmig_migration_set_history(struct vmig_migration *m, const char *path,
                                           struct vmig_error *err)
{
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, NULL, NULL, "out of memory");
    LOCK_SCOPE(&m->lock);
    if (m->side != SIDE_NONE) {
        free(copy);
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "migration-running",
                         "the history cannot be changed while a migration runs");
    }
    free(m->history_path);
    m->history_path = copy;
    return 0;
}
