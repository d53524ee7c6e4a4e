/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When to switch. forecast.c predicts the pause from what is gathered here: how fast each participant
 * changes and moves and how fast the link is, from the rounds; what one arc takes, from entering
 * PRE_COPY and RESUMING.
 *
 * Decision: switch when the prediction, and some doubt about it, keeps the limit and another round
 * would not shorten the pause noticeably; give up when the rounds are used up and it still does not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/participant/device.h"
#include "lib/participant/ram.h"
#include "lib/trace/trace.h"

/* ---- what is left ---- */

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* The larger of both: a device's estimate of the rest may count its pre-copy data or not. RAM's two
 * numbers are apart. */
uint64_t convergence_bytes(const struct participant *p)
{
    const struct vmig_pending *n = &p->pending;
    if (p->kind != PARTICIPANT_DEVICE)
        return add_capped(n->precopy_bytes, n->stop_copy_bytes);
    uint64_t rest = n->stop_copy_bytes == UINT64_MAX ? FORECAST_UNKNOWN_BYTES : n->stop_copy_bytes;
    return rest > n->precopy_bytes ? rest : n->precopy_bytes;
}

uint64_t convergence_remaining(const struct vmig_migration *m)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < m->num_participants; i++)
        bytes = add_capped(bytes, convergence_bytes(m->participants[i]));
    return bytes;
}

/* ---- learning: how fast it changes ---- */

/* Short rounds see a page or none; so older rounds count, too, each half as much as the next. */
#define AGEING 0.5

static void learn_rate(struct produced *produced, double bytes, double ms)
{
    produced->bytes = produced->bytes * AGEING + bytes;
    produced->ms = produced->ms * AGEING + ms;
}

static double rate_of(const struct produced *produced)
{
    return produced->ms > 0 ? produced->bytes / produced->ms : 0;
}

/* What was pending was sent, so what is pending now came since. */
static void learn_ram(struct participant *p, double ms)
{
    double own = (double)participant_ram_device_bytes(p->opaque);
    double all = (double)p->pending.precopy_bytes;
    learn_rate(&p->learned.by_itself, own, ms);
    learn_rate(&p->learned.by_workload, all > own ? all - own : 0, ms);
}

static void learn_device(struct participant *p, double ms)
{
    double sent = (double)(p->data_bytes - p->learned.looked_data_bytes);
    double produced =
        (double)p->pending.precopy_bytes + sent - (double)p->learned.looked_precopy_bytes;
    learn_rate(&p->learned.by_itself, produced > 0 ? produced : 0, ms);
}

static void look_at(struct participant *p, double ms)
{
    uint64_t bytes = convergence_bytes(p);
    statistics_left(p, bytes);
    if (ms > 0 && p->kind == PARTICIPANT_RAM)
        learn_ram(p, ms);
    else if (ms > 0)
        learn_device(p, ms);
    p->learned.looked_data_bytes = p->data_bytes;
    p->learned.looked_precopy_bytes = p->pending.precopy_bytes;
    if (bytes > p->learned.bytes_max)
        p->learned.bytes_max = bytes;
}

static void note_dirty_rate(struct vmig_migration *m, const struct participant *ram)
{
    double bytes = rate_of(&ram->learned.by_workload) + rate_of(&ram->learned.by_itself);
    LOCK_SCOPE(&m->lock);
    m->statistics.dirty_pages_per_s = bytes * 1e3 / RAM_PAGE_SIZE;
}

void convergence_look(struct vmig_migration *m, double since_ms)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        look_at(p, since_ms);
        if (p->kind != PARTICIPANT_RAM)
            continue;
        m->model.sync_ms = participant_ram_sync_ms(p->opaque);
        note_dirty_rate(m, p);
        p->learned.bytes_max = ram_size_bytes(m->ram);
    }
}

/* ---- learning: how fast it moves ---- */

/* The best of the last few: a busy machine makes them slower, and nothing makes them faster. */
static double best(const struct recent *recent)
{
    double rate = 0;
    for (unsigned i = 0; i < RECENT_RATES; i++)
        if (recent->rate[i] > rate)
            rate = recent->rate[i];
    return rate;
}

/* Less than this says how long a round trip takes, not how fast data moves. */
#define RATE_BYTES_MIN (1u << 20)

static void learn_speed(struct recent *recent, uint64_t bytes, double ms)
{
    if (bytes >= RATE_BYTES_MIN && ms > 0)
        recent->rate[recent->next++ % RECENT_RATES] = (double)bytes / ms;
}

/* No round trip is longer than the shortest wait for an answer. */
static double without_round_trip(const struct vmig_migration *m, double ms)
{
    return ms > m->model.round_trip_ms ? ms - m->model.round_trip_ms : ms;
}

void convergence_learn_link(struct vmig_migration *m, uint64_t bytes, double ms)
{
    learn_speed(&m->model.link, bytes, without_round_trip(m, ms));
    LOCK_SCOPE(&m->lock);
    m->statistics.bandwidth_bytes_per_s = best(&m->model.link) * 1e3;
}

static bool is_throttled(const struct vmig_migration *m)
{
    return m->parameters[PARAMETER_MAX_BANDWIDTH] && m->carrier && m->carrier->measure;
}

/* Was it alone for most of the round, for the others had long been done? */
static bool holds_up(const struct vmig_migration *m, const struct participant *p)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i] != p &&
            m->participants[i]->step_ms[STEP_ITERATE] * 2 > p->step_ms[STEP_ITERATE])
            return false;
    return true;
}

void convergence_learn_round(struct vmig_migration *m, uint64_t bytes, double ms, double wait_ms)
{
    struct time_model *t = &m->model;
    if (ms <= 0)
        return;
    if (t->round_trip_ms <= 0 || wait_ms < t->round_trip_ms)
        t->round_trip_ms = wait_ms;
    if (is_throttled(m)) /* these rates are the limit's, which does not hold in the pause */
        return;
    convergence_learn_link(m, bytes, ms);
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        double alone_ms = p->step_ms[STEP_ITERATE] + wait_ms;
        if (p->data_bytes - p->learned.looked_data_bytes < RATE_BYTES_MIN)
            continue;
        if (holds_up(m, p))
            learn_speed(&p->learned.speed, p->data_bytes - p->learned.looked_data_bytes,
                        without_round_trip(m, alone_ms));
        else
            learn_speed(&p->learned.shared_speed, bytes, without_round_trip(m, ms));
    }
}

/* Rounds tell about the link only what participants make of it: the first one pays for memory that the
 * target touches for the first time, devices without PRE_COPY send nothing, and max-bandwidth hides it.
 * So it is measured once by itself, when there is something to send in the pause. */
bool convergence_wants_link(const struct vmig_migration *m)
{
    return !m->model.link_measured && m->carrier->measure &&
           !m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH] &&
           convergence_remaining(m) >= WIRE_CHUNK_BYTES;
}

/* ---- what is remembered ---- */

/* What makes one device's measurements useful for another: same device, same way through the pause. */
static void name_kind(const struct participant *p, char *ret)
{
    struct vmig_device_info info = { .backend = "" };
    if (p->kind != PARTICIPANT_DEVICE) {
        snprintf(ret, HISTORY_KIND_BYTES, "%s", p->kind == PARTICIPANT_RAM ? HISTORY_RAM : p->id);
        return;
    }
    vmig_device_info(p->device, &info, NULL);
    snprintf(ret, HISTORY_KIND_BYTES, "%s %s%s%s%s", p->identity, info.backend,
             p->precopy ? " PRE_COPY" : "",
             participant_device_flags(p->opaque) & VMIG_MIGRATION_P2P ? " P2P" : "",
             p->forecast.arcs.stop == 1 && !p->precopy ? " STOP" : "");
}

static double source_arc_ms(const struct participant *p)
{
    return p->step_ms[STEP_SETUP];
}

static double target_arc_ms(const struct participant *p)
{
    return p->learned.target_arc_ms;
}

/* Of the devices of one kind: they take the same, and what is longer is the machine's doing. */
static double shortest(const struct vmig_migration *m, const struct participant *p,
                       double (*ms)(const struct participant *p))
{
    double found = ms(p);
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *other = m->participants[i];
        if (other->kind == p->kind && other->precopy == p->precopy && ms(other) < found &&
            strcmp(other->identity, p->identity) == 0)
            found = ms(other);
    }
    return found;
}

static void measured_arcs(const struct vmig_migration *m, const struct participant *p,
                          struct history_sample *ret)
{
    history_sample_init(ret, m->history_now_s);
    if (p->kind != PARTICIPANT_DEVICE)
        return;
    if (p->precopy)
        ret->value[HISTORY_SOURCE_ARC] = shortest(m, p, source_arc_ms);
    if (!m->one_way)
        ret->value[HISTORY_TARGET_ARC] = shortest(m, p, target_arc_ms);
}

void convergence_kind(const struct vmig_migration *m, const struct participant *p,
                      char ret_kind[HISTORY_KIND_BYTES], struct history_sample *ret)
{
    measured_arcs(m, p, ret);
    name_kind(p, ret_kind);
}

static void recall(struct vmig_migration *m, struct participant *p)
{
    struct history_sample like;
    char kind[HISTORY_KIND_BYTES];
    struct forecast_part *f = &p->forecast;
    *f = (struct forecast_part) { .device = p->kind == PARTICIPANT_DEVICE };
    if (f->device)
        participant_device_arcs(p->opaque, &f->arcs);
    f->shown = f->device && participant_device_is_shown(p->opaque);
    convergence_kind(m, p, kind, &like);
    f->source_arc_ms = like.value[HISTORY_SOURCE_ARC];
    f->target_arc_ms = like.value[HISTORY_TARGET_ARC];
    history_recall(m->history, kind, &like, f->past);
}

void convergence_vmstates_kind(const struct vmig_migration *m, char ret_kind[HISTORY_KIND_BYTES])
{
    snprintf(ret_kind, HISTORY_KIND_BYTES, "vmstates %u", m->vmstates.count);
}

void convergence_recall(struct vmig_migration *m)
{
    struct history_sample none;
    double host[HISTORY_TERMS], tables[HISTORY_TERMS];
    char kind[HISTORY_KIND_BYTES];
    history_sample_init(&none, 0);
    for (unsigned i = 0; i < m->num_participants; i++)
        recall(m, m->participants[i]);
    history_recall(m->history, HISTORY_HOST, &none, host);
    history_recall(m->history, m->model.link_kind, &none, m->model.past);
    convergence_vmstates_kind(m, kind);
    history_recall(m->history, kind, &none, tables);
    m->model.past[HISTORY_VMSTATES] = tables[HISTORY_VMSTATES];
    m->model.past[HISTORY_WORKLOAD_STOP] = host[HISTORY_WORKLOAD_STOP];
    m->model.past[HISTORY_WORKLOAD_START] = host[HISTORY_WORKLOAD_START];
}

/* ---- predicting ---- */

static double bandwidth(const struct vmig_migration *m)
{
    uint64_t given = m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH];
    return given ? (double)given / 1e3 : best(&m->model.link);
}

static void gather(const struct vmig_migration *m, const struct participant *p,
                   struct forecast_part *ret)
{
    *ret = p->forecast;
    ret->bytes = convergence_bytes(p);
    ret->bytes_min = p->pending.precopy_bytes;
    if (p->pending.stop_copy_bytes == UINT64_MAX) /* nobody knows, and a guess is not enough */
        ret->past[HISTORY_SIZE] = -1;
    ret->bytes_max = p->learned.bytes_max;
    ret->workload_rate = rate_of(&p->learned.by_workload);
    ret->own_rate = rate_of(&p->learned.by_itself);
    ret->rate = best(&p->learned.speed);
    ret->shared_rate = best(&p->learned.shared_speed);
    if (m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH]) { /* the user knows better */
        ret->rate = bandwidth(m);
        ret->shared_rate = 0;
        ret->past[HISTORY_RATE] = -1;
    }
}

void convergence_predict(const struct vmig_migration *m, struct vmig_pause *ret)
{
    struct forecast_part parts[PARTICIPANTS_MAX];
    struct forecast_link link = { .sync_ms = m->model.sync_ms,
                                  .round_trip_ms = m->one_way ? 0 : m->model.round_trip_ms,
                                  .bandwidth = bandwidth(m),
                                  .vmstates = m->vmstates.count };
    memcpy(link.past, m->model.past, sizeof(link.past));
    if (m->parameters[PARAMETER_SWITCHOVER_BANDWIDTH])
        link.past[HISTORY_RATE] = link.past[HISTORY_DATA_REST] = -1;
    for (unsigned i = 0; i < m->num_participants; i++)
        gather(m, m->participants[i], &parts[i]);
    forecast_pause(parts, m->num_participants, &link, ret);
    ret->doubt_ms = forecast_doubt_ms(ret, history_excess_ms(m->history)) +
                    forecast_guess_ms(parts, m->num_participants, &link);
}

/* ---- deciding ---- */

/* Gains under a tenth are within the noise of a round. */
#define WORTHWHILE 0.9
/* However well it converges, data that adds no more than this to the pause is little enough: this part
 * of the limit, and what nobody notices. */
#define GOOD_ENOUGH 0.02
#define GOOD_ENOUGH_MS 10

/* Who has most of what is left. */
static const struct participant *largest(const struct vmig_migration *m)
{
    const struct participant *ret = m->participants[0];
    for (unsigned i = 1; i < m->num_participants; i++)
        if (convergence_bytes(m->participants[i]) > convergence_bytes(ret))
            ret = m->participants[i];
    return ret;
}

static int give_up(struct vmig_migration *m, const struct vmig_pause *p, struct vmig_error *err)
{
    double limit = (double)m->parameters[PARAMETER_DOWNTIME_LIMIT];
    double predicted = forecast_sum_ms(p), needed = predicted + p->doubt_ms;
    const struct participant *most = largest(m);
    const char *culprit = p->data_ms > predicted / 2 ? most->id : NULL;
    return error_set(err, ETIME, VMIG_STAGE_ROUNDS, culprit, "not-converging",
                     "after %u rounds the pause would take %.0f ms, %.0f ms more than the "
                     "downtime-limit of %.0f ms (predicted are %.0f ms: %.0f ms for %llu bytes at "
                     "%.0f MB/s, %llu of them %s's, %.0f ms for devices to stop and start); raise "
                     "downtime-limit to %.0f ms, slow the workload down, or use a faster link",
                     run_rounds(m), needed, needed - limit, limit, predicted, p->data_ms,
                     (unsigned long long)p->data_bytes, bandwidth(m) / 1e3,
                     (unsigned long long)convergence_bytes(most), most->id,
                     p->quiesce_ms + p->stop_ms + p->load_ms + p->start_ms, needed * 1.1);
}

const struct participant *convergence_unknown(const struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->pending.stop_copy_bytes == UINT64_MAX)
            return m->participants[i];
    return NULL;
}

const char *convergence_why_unknown(const struct participant *p)
{
    return p->kind == PARTICIPANT_DEVICE ? participant_device_why_unknown(p->opaque)
                                         : "it does not tell";
}

static int give_up_unknown(struct vmig_migration *m, const struct participant *p,
                           struct vmig_error *err)
{
    return error_set(err, ETIME, VMIG_STAGE_ROUNDS, p->id, "device-size-unknown",
                     "after %u rounds the size of its state is not known (%s), so nobody can say "
                     "how long the pause would take; set device-state-size to the most that it can "
                     "be",
                     run_rounds(m), convergence_why_unknown(p));
}

/* A file or pipe whose first bytes come in the pause: there is nothing to predict from, so there is no
 * limit to hold either. */
static bool unpredictable(const struct vmig_migration *m)
{
    return bandwidth(m) <= 0 && !m->carrier->measure;
}

enum verdict convergence_judge(struct vmig_migration *m, const struct vmig_pause *pause,
                               double *best_ms, struct vmig_error *err)
{
    double predicted = forecast_sum_ms(pause);
    double limit = (double)m->parameters[PARAMETER_DOWNTIME_LIMIT];
    bool pays = *best_ms <= 0 || predicted < *best_ms * WORTHWHILE;
    if (pays || predicted < *best_ms)
        *best_ms = predicted;
    bool last = run_rounds(m) >= m->parameters[PARAMETER_MAX_ROUNDS];
    const struct participant *unknown = convergence_unknown(m);
    if (unknown && last)
        give_up_unknown(m, unknown, err);
    if (unknown)
        return last ? VERDICT_GIVE_UP : VERDICT_GO_ON;
    if (unpredictable(m))
        return VERDICT_SWITCH;
    if (predicted + pause->doubt_ms <= limit &&
        (!pays || last ||
         (pause->data_ms <= limit * GOOD_ENOUGH && pause->data_ms <= GOOD_ENOUGH_MS)))
        return VERDICT_SWITCH;
    if (!last)
        return VERDICT_GO_ON;
    give_up(m, pause, err);
    return VERDICT_GIVE_UP;
}

static void predict_and_note(struct vmig_migration *m, struct vmig_pause *ret)
{
    convergence_predict(m, ret);
    LOCK_SCOPE(&m->lock);
    m->statistics.predicted = *ret;
    m->statistics.predicted_downtime_ms = forecast_sum_ms(ret);
}

static uint64_t us(double ms)
{
    return ms > 0 ? (uint64_t)(ms * 1e3) : 0;
}

static void trace_decision(const struct vmig_migration *m, enum verdict verdict,
                           const struct vmig_pause *p)
{
    static const char *const names[] = {
        [VERDICT_GO_ON] = "go-on", [VERDICT_SWITCH] = "switch", [VERDICT_GIVE_UP] = "give-up"
    };
    TRACE(migration_switchover_decision, names[verdict],
          m->parameters[PARAMETER_DOWNTIME_LIMIT] * 1000, us(forecast_sum_ms(p)), us(p->doubt_ms),
          us(p->quiesce_ms), us(p->stop_ms), us(p->data_ms), us(p->load_ms), us(p->handover_ms),
          us(p->start_ms), p->data_bytes);
}

enum verdict convergence_decide(struct vmig_migration *m, double *best_ms, struct vmig_error *err)
{
    struct vmig_pause pause;
    predict_and_note(m, &pause);
    enum verdict verdict = convergence_judge(m, &pause, best_ms, err);
    trace_decision(m, verdict, &pause);
    return verdict;
}

bool convergence_keeps_limit(struct vmig_migration *m)
{
    struct vmig_pause pause;
    predict_and_note(m, &pause);
    return unpredictable(m) || forecast_sum_ms(&pause) + pause.doubt_ms <=
                                   (double)m->parameters[PARAMETER_DOWNTIME_LIMIT];
}
