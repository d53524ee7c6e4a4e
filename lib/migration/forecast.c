/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/migration/forecast.h"

/* ---- what nobody measured ---- */

/* Bytes a ms where nothing was measured, as in a file whose first bytes come in the pause: a slow
 * disk's or a gigabit link's. */
#define LINK_DEFAULT 1e5
/* Bytes a ms of all devices that were never read before the pause nor in a former one, together: about
 * what is reported of real ones, whose state is made and loaded in firmware. */
#define UNREAD_DEFAULT 1e6
/* Threads or vCPUs that finish their step. */
#define WORKLOAD_DEFAULT_MS 1

void forecast_nothing(double past[HISTORY_TERMS])
{
    for (unsigned i = 0; i < HISTORY_TERMS; i++)
        past[i] = -1;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double known_or(double value, double otherwise)
{
    return value >= 0 ? value : otherwise;
}

/* ---- the devices' steps ---- */

/* One side's arc stands for the other's where that could not be measured: devices of one kind. */
static double source_arc(const struct forecast_part *p)
{
    return known_or(p->source_arc_ms, known_or(p->target_arc_ms, 0));
}

static double target_arc(const struct forecast_part *p)
{
    return known_or(p->target_arc_ms, known_or(p->source_arc_ms, 0));
}

static double step_ms(const struct forecast_part *p, enum history_term term)
{
    const struct forecast_arcs *a = &p->arcs;
    if (!p->device)
        return 0;
    switch (term) {
    case HISTORY_QUIESCE:
        return known_or(p->past[term], a->quiesce * source_arc(p));
    case HISTORY_STOP:
        return known_or(p->past[term], a->stop * source_arc(p));
    case HISTORY_LOAD:
        return known_or(p->past[term], a->load * target_arc(p));
    case HISTORY_START_P2P:
        return known_or(p->past[term], a->start_p2p * target_arc(p));
    case HISTORY_START:
        return known_or(p->past[term], a->start * target_arc(p));
    default:
        return 0;
    }
}

static double slowest(const struct forecast_part *parts, unsigned count, enum history_term term)
{
    double ms = 0;
    for (unsigned i = 0; i < count; i++)
        ms = larger(ms, step_ms(&parts[i], term));
    return ms;
}

/* ---- the data ---- */

/* Some drivers always say the size of the whole state, whatever of it was sent before: what a kind of
 * device says is taken as it turned out, within reason, but never for less than what it knows. */
#define SIZE_PART_MAX 4

static double bytes_now(const struct forecast_part *p)
{
    double part = p->past[HISTORY_SIZE];
    if (part < 0)
        return (double)p->bytes;
    return larger((double)p->bytes * smaller(part, SIZE_PART_MAX), (double)p->bytes_min);
}

/* What is left when it has stopped: what was left, and what was added since. */
static double bytes_then(const struct forecast_part *p, const struct vmig_pause *so_far)
{
    double workload_ms = so_far->workload_stop_ms;
    double own_ms = workload_ms + so_far->quiesce_ms + so_far->stop_ms;
    double bytes = bytes_now(p) + p->workload_rate * workload_ms + p->own_rate * own_ms;
    double most = larger((double)p->bytes_max, bytes_now(p));
    return p->bytes_max >= p->bytes ? smaller(bytes, most) : bytes;
}

/* n devices share a machine: a rate that was seen with fewer is divided among more. */
static double remembered_rate(const struct forecast_part *p, unsigned devices)
{
    double rate = p->past[HISTORY_RATE], together = p->past[HISTORY_TOGETHER];
    if (rate <= 0)
        return 0;
    return p->device && together > 0 && devices > together ? rate * together / devices : rate;
}

/* Measurements of a moment are often too low; one that is far lower is of a link that has changed. */
#define SAME_LINK 4

static double link_rate(const struct forecast_link *link)
{
    double past = link->past[HISTORY_RATE];
    if (link->bandwidth <= 0)
        return past > 0 ? past : LINK_DEFAULT;
    return past > link->bandwidth && past < link->bandwidth * SAME_LINK ? past : link->bandwidth;
}

/* Of its own; 0: it was only seen among others. */
static double own_rate(const struct forecast_part *p, unsigned devices, double bandwidth)
{
    double past = remembered_rate(p, devices);
    if (past > 0) /* devices were faster alone than they will be together; memory is one anyway */
        return p->device ? past : larger(past, p->rate);
    return p->device || p->rate > 0 || p->shared_rate > 0 ? p->rate : bandwidth;
}

/* Everything shares the link, nobody is faster than himself, and those who were only seen together
 * are together no faster than then. */
static double data_ms(const struct forecast_part *parts, unsigned count,
                      const struct forecast_link *link, struct vmig_pause *so_far)
{
    double bandwidth = link_rate(link), all = 0, ms = 0, shared = 0, shared_rate = 0, unread = 0;
    unsigned devices = 0;
    for (unsigned i = 0; i < count; i++)
        devices += parts[i].device;
    for (unsigned i = 0; i < count; i++) {
        double bytes = bytes_then(&parts[i], so_far);
        double rate = own_rate(&parts[i], devices, bandwidth);
        all += bytes;
        if (rate > 0)
            ms = larger(ms, bytes / rate);
        else if (parts[i].shared_rate > 0)
            shared += bytes;
        else
            unread += bytes;
        shared_rate = larger(shared_rate, parts[i].shared_rate);
    }
    ms = larger(ms, unread / smaller(bandwidth, UNREAD_DEFAULT));
    if (shared_rate > 0)
        ms = larger(ms, shared / shared_rate);
    so_far->data_bytes = all < 0x1p63 ? (uint64_t)all : UINT64_MAX;
    return larger(ms, all / bandwidth);
}

double forecast_data_rest_ms(const struct vmig_pause *pause, const double past[HISTORY_TERMS])
{
    bool little = pause->data_bytes < FORECAST_LITTLE_BYTES;
    return little ? known_or(past[HISTORY_DATA_REST], 0) : 0;
}

/* ---- the whole ---- */

void forecast_pause(const struct forecast_part *parts, unsigned count,
                    const struct forecast_link *link, struct vmig_pause *ret)
{
    *ret = (struct vmig_pause) { 0 };
    ret->workload_stop_ms = known_or(link->past[HISTORY_WORKLOAD_STOP], WORKLOAD_DEFAULT_MS);
    ret->quiesce_ms = slowest(parts, count, HISTORY_QUIESCE);
    ret->stop_ms = slowest(parts, count, HISTORY_STOP);
    ret->data_ms = data_ms(parts, count, link, ret) + link->sync_ms + link->round_trip_ms;
    ret->data_ms += forecast_data_rest_ms(ret, link->past);
    ret->load_ms = slowest(parts, count, HISTORY_LOAD);
    ret->handover_ms = known_or(link->past[HISTORY_HANDOVER], link->round_trip_ms) +
                       known_or(link->past[HISTORY_VMSTATES], 0);
    ret->start_ms = slowest(parts, count, HISTORY_START_P2P) + slowest(parts, count, HISTORY_START);
    ret->workload_start_ms = known_or(link->past[HISTORY_WORKLOAD_START], WORKLOAD_DEFAULT_MS);
}

double forecast_sum_ms(const struct vmig_pause *p)
{
    return p->workload_stop_ms + p->quiesce_ms + p->stop_ms + p->data_ms + p->load_ms +
           p->handover_ms + p->start_ms + p->workload_start_ms;
}

/* An arc that nobody saw: drivers take up to some tens of ms for one. */
#define GUESS_MS 30

static double guess_ms(const struct forecast_part *p, enum history_term term, unsigned arcs)
{
    return p->device && p->source_arc_ms < 0 && p->past[term] < 0 ? arcs * GUESS_MS : 0;
}

/* Neither can be tried before the pause: a VMM's tables are the state of processors and chips, hundreds of
 * registers that its kernel has to be asked for; showing its guest a device means memory slots and
 * interrupts, for which the kernel waits until nobody uses the old ones. */
#define GUESS_HOST_MS 30

double forecast_guess_ms(const struct forecast_part *parts, unsigned count,
                         const struct forecast_link *link)
{
    bool tables = link->vmstates && link->past[HISTORY_VMSTATES] < 0;
    double quiesce = 0, stop = 0, show = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct forecast_part *p = &parts[i];
        quiesce = larger(quiesce, guess_ms(p, HISTORY_QUIESCE, p->arcs.quiesce));
        stop = larger(stop, guess_ms(p, HISTORY_STOP, p->arcs.stop));
        if (p->shown && p->past[HISTORY_LOAD] < 0)
            show = GUESS_HOST_MS;
    }
    return quiesce + stop + show + (tables ? GUESS_HOST_MS : 0);
}

/* A tenth where nothing is known, and a few threads that wait for a processor; what is remembered
 * within bounds: predictions that were right by chance prove little, and a bad day must not forbid every
 * migration after it. */
#define DOUBT 0.1
#define DOUBT_MIN 0.05
#define DOUBT_MAX 0.25
#define DOUBT_MIN_MS 2
#define DOUBT_MAX_MS 10
/* Of the data: bytes are known, but rates differ from one moment to the next. */
#define DOUBT_DATA 0.2

double forecast_doubt_ms(const struct vmig_pause *pause, double excess_ms)
{
    double predicted_ms = forecast_sum_ms(pause);
    double least = larger(predicted_ms * DOUBT_MIN, DOUBT_MIN_MS);
    double most = larger(predicted_ms * DOUBT_MAX, DOUBT_MAX_MS);
    double doubt = known_or(excess_ms, larger(predicted_ms * DOUBT, DOUBT_MIN_MS));
    return smaller(larger(doubt, least), most) + pause->data_ms * DOUBT_DATA;
}
