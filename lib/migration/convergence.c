/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The time model and what is decided with it. Pause = stopping the workload + the slowest device's
 * arcs + the last dirty sync + the data after the switch / measured bandwidth + the hand-over's
 * round trips. Every term is measured before it is needed: arcs when PRE_COPY and RESUMING are
 * entered, sync, bandwidth and round trip in the rounds.
 *
 * Decision: switch when the prediction keeps the limit and another round would not shorten the
 * pause noticeably; give up when the rounds are used up and it still does not.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/participant/device.h"
#include "lib/participant/ram.h"

/* A size that nobody knows counts as this much, so that an unknown pause is never taken for a short
 * one (QEMU counts the same). */
#define UNKNOWN_BYTES (UINT64_C(100) << 30)

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* The larger of both: a device's estimate of the rest may count its pre-copy data or not. RAM's two
 * numbers are apart. */
static uint64_t participant_bytes(const struct participant *p)
{
    const struct vmig_pending *n = &p->pending;
    if (p->kind != PARTICIPANT_DEVICE)
        return add_capped(n->precopy_bytes, n->stop_copy_bytes);
    uint64_t rest = n->stop_copy_bytes == UINT64_MAX ? UNKNOWN_BYTES : n->stop_copy_bytes;
    return rest > n->precopy_bytes ? rest : n->precopy_bytes;
}

uint64_t convergence_remaining(const struct vmig_migration *m)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        bytes = add_capped(bytes, participant_bytes(m->participants[i]));
    return bytes;
}

/* Barriers wait for the slowest device, so its arcs count once, not once per device. */
static double arcs_ms(const struct vmig_migration *m)
{
    double target = m->model.target_arc_ms, slowest = 0;
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (p->kind != PARTICIPANT_DEVICE)
            continue;
        /* Of two samples the shorter one: entering PRE_COPY or RESUMING for the first time may also
         * allocate, which the arcs of the pause do not. */
        double source = p->precopy ? p->step_ms[STEP_SETUP] : target;
        double arc = source < target ? source : target;
        double ms = arc * participant_device_pause_arcs(p->opaque);
        if (ms > slowest)
            slowest = ms;
    }
    return slowest;
}

/* Bytes a ms where nothing was measured, as in a file whose first bytes come in the pause: a slow
 * disk's or a gigabit link's. */
#define UNMEASURED 1e5

static double bandwidth(const struct vmig_migration *m)
{
    uint64_t given = m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH];
    if (given)
        return (double)given / 1e3;
    return m->model.bandwidth > 0 ? m->model.bandwidth : UNMEASURED;
}

double convergence_predict_ms(const struct vmig_migration *m, uint64_t bytes)
{
    double data = (double)bytes / bandwidth(m);
    return m->model.stop_ms + arcs_ms(m) + m->model.sync_ms + data + 2 * m->model.round_trip_ms;
}

/* Small rounds say how long a round trip takes, large ones how fast data moves. */
#define BANDWIDTH_BYTES_MIN (1u << 20)

void convergence_learn_round(struct vmig_migration *m, uint64_t bytes, double ms)
{
    struct time_model *t = &m->model;
    if (ms <= 0)
        return;
    if (bytes >= BANDWIDTH_BYTES_MIN)
        t->bandwidth = (double)bytes / ms;
    else
        t->round_trip_ms = ms;
    LOCK_SCOPE(&m->lock);
    m->statistics.bandwidth_bytes_per_s = t->bandwidth * 1e3;
}

/* Gains under a tenth are within the noise of a round. */
#define WORTHWHILE 0.9
/* However well it converges, a pause this far under the limit is good enough. */
#define GOOD_ENOUGH 0.02

static int give_up(struct vmig_migration *m, double predicted, uint64_t bytes,
                   struct vmig_error *err)
{
    uint64_t limit = m->parameters[PARAMETER_DOWNTIME_LIMIT];
    double data_ms = (double)bytes / bandwidth(m);
    return error_set(err, ETIME, VMIG_STAGE_ROUNDS, NULL, "not-converging",
                     "after %u rounds the pause would take %.0f ms, %.0f ms more than the "
                     "downtime-limit of %llu ms (%.0f ms of it are %llu bytes at %.0f MB/s); raise "
                     "downtime-limit to %.0f ms, slow the workload down, or use a faster link",
                     m->round, predicted, predicted - (double)limit, (unsigned long long)limit,
                     data_ms, (unsigned long long)bytes, bandwidth(m) / 1e3, predicted * 1.2);
}

/* A file or pipe whose first bytes come in the pause: there is nothing to predict from, so there is no
 * limit to hold either; but a size that nobody knows is still refused. */
static bool unpredictable(const struct vmig_migration *m)
{
    if (m->model.bandwidth > 0 || m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH] ||
        m->carrier->measure)
        return false;
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->pending.stop_copy_bytes == UINT64_MAX)
            return false;
    return true;
}

enum verdict convergence_decide(struct vmig_migration *m, double *best_ms, struct vmig_error *err)
{
    uint64_t bytes = convergence_remaining(m);
    double predicted = convergence_predict_ms(m, bytes);
    double limit = (double)m->parameters[PARAMETER_DOWNTIME_LIMIT];
    double fixed = convergence_predict_ms(m, 0);
    {
        LOCK_SCOPE(&m->lock);
        m->statistics.predicted_downtime_ms = predicted;
    }
    bool pays = *best_ms <= 0 || predicted < *best_ms * WORTHWHILE;
    if (pays || predicted < *best_ms)
        *best_ms = predicted;
    if (unpredictable(m))
        return VERDICT_SWITCH;
    bool last = m->round >= m->parameters[PARAMETER_MAX_ROUNDS];
    if (predicted <= limit && (!pays || last || predicted - fixed <= limit * GOOD_ENOUGH))
        return VERDICT_SWITCH;
    if (!last)
        return VERDICT_GO_ON;
    give_up(m, predicted, bytes, err);
    return VERDICT_GIVE_UP;
}
