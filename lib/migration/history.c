/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "lib/migration/history.h"

#define VERSION 1
/* Ten days, a thousand TB/s: beyond this a number is no measurement. */
#define VALUE_MAX 1e9

static const char *const names[HISTORY_TERMS] = {
    [HISTORY_SOURCE_ARC] = "source_arc_ms",
    [HISTORY_TARGET_ARC] = "target_arc_ms",
    [HISTORY_QUIESCE] = "quiesce_ms",
    [HISTORY_STOP] = "stop_ms",
    [HISTORY_LOAD] = "load_ms",
    [HISTORY_START_P2P] = "start_p2p_ms",
    [HISTORY_START] = "start_ms",
    [HISTORY_SIZE] = "size_part",
    [HISTORY_RATE] = "bytes_per_ms",
    [HISTORY_TOGETHER] = "devices",
    [HISTORY_WORKLOAD_STOP] = "workload_stop_ms",
    [HISTORY_WORKLOAD_START] = "workload_start_ms",
    [HISTORY_HANDOVER] = "handover_ms",
    [HISTORY_DATA_REST] = "data_rest_ms",
    [HISTORY_VMSTATES] = "vmstates_ms",
    [HISTORY_EXCESS] = "excess_ms",
};

struct history *history_new(void)
{
    return calloc(1, sizeof(struct history));
}

void history_sample_init(struct history_sample *sample, uint64_t when_s)
{
    sample->when_s = when_s;
    for (unsigned i = 0; i < HISTORY_TERMS; i++)
        sample->value[i] = -1;
}

static bool is_sane(double value)
{
    return value >= 0 && value <= VALUE_MAX; /* false for NaN */
}

/* ---- adding ---- */

static struct history_kind *find(const struct history *history, const char *name)
{
    for (unsigned i = 0; i < history->count; i++)
        if (strcmp(history->kinds[i].name, name) == 0)
            return (struct history_kind *)&history->kinds[i];
    return NULL;
}

/* The place of the kind that was not seen for longest: its newest sample is the oldest. */
static struct history_kind *stalest(struct history *history)
{
    struct history_kind *found = &history->kinds[0];
    for (unsigned i = 1; i < history->count; i++)
        if (history->kinds[i].samples[0].when_s < found->samples[0].when_s)
            found = &history->kinds[i];
    return found;
}

static struct history_kind *make(struct history *history, const char *name)
{
    struct history_kind *kind =
        history->count < HISTORY_KINDS_MAX ? &history->kinds[history->count++] : stalest(history);
    memset(kind, 0, sizeof(*kind));
    memcpy(kind->name, name, strnlen(name, sizeof(kind->name) - 1));
    return kind;
}

void history_add(struct history *history, const char *name, const struct history_sample *sample)
{
    struct history_kind *kind = find(history, name);
    unsigned at = 0;
    if (!kind)
        kind = make(history, name);
    while (at < kind->count && kind->samples[at].when_s > sample->when_s)
        at++;
    if (at == HISTORY_SAMPLES_MAX)
        return;
    if (kind->count < HISTORY_SAMPLES_MAX)
        kind->count++;
    memmove(&kind->samples[at + 1], &kind->samples[at],
            (kind->count - at - 1) * sizeof(kind->samples[0]));
    kind->samples[at] = *sample;
    for (unsigned i = 0; i < HISTORY_TERMS; i++)
        if (!is_sane(sample->value[i]))
            kind->samples[at].value[i] = -1;
}

/* ---- recalling ---- */

/* An arc is one that was measured before when it differs by less than a busy machine makes of one and
 * the same: it makes it longer, never shorter. */
#define LONGER_MS 15
#define LONGER_PART 0.5
#define SHORTER_MS 5
#define SHORTER_PART 0.25

static bool is_like(double then, double now)
{
    if (then < 0 || now < 0)
        return true;
    if (now >= then)
        return now - then <= LONGER_MS || now - then <= then * LONGER_PART;
    return then - now <= SHORTER_MS || then - now <= then * SHORTER_PART;
}

/* The arc by which a sample of @term is recognised: that of its own side. */
static enum history_term arc_of(enum history_term term)
{
    bool target = term == HISTORY_LOAD || term == HISTORY_START_P2P || term == HISTORY_START;
    return target ? HISTORY_TARGET_ARC : HISTORY_SOURCE_ARC;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median, of two the larger: an even number of samples leans to the longer pause. But a device that
 * once had as much to send as it says may have it again. */
static double typical(enum history_term term, double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare);
    if (count == 0)
        return -1;
    return values[term == HISTORY_SIZE ? count - 1 : count / 2];
}

void history_recall(const struct history *history, const char *name,
                    const struct history_sample *like, double ret[HISTORY_TERMS])
{
    const struct history_kind *kind = history ? find(history, name) : NULL;
    for (unsigned term = 0; term < HISTORY_TERMS; term++) {
        double values[HISTORY_SAMPLES_MAX];
        unsigned count = 0;
        for (unsigned i = 0; kind && i < kind->count; i++) {
            const double *then = kind->samples[i].value;
            if (then[term] >= 0 && is_like(then[arc_of(term)], like->value[arc_of(term)]))
                values[count++] = then[term];
        }
        ret[term] = typical(term, values, count);
    }
}

/* One bad pause is not held against a machine for ever. */
#define EXCESS_DECAY 0.7

double history_excess_ms(const struct history *history)
{
    const struct history_kind *kind = history ? find(history, HISTORY_HOST) : NULL;
    double worst = -1, weight = 1;
    for (unsigned i = 0; kind && i < kind->count; i++, weight *= EXCESS_DECAY) {
        double excess = kind->samples[i].value[HISTORY_EXCESS];
        if (excess >= 0 && excess * weight > worst)
            worst = excess * weight;
    }
    return worst;
}

/* ---- text ---- */

static int parse_sample(json_t *object, struct history_sample *ret)
{
    json_t *when = json_object_get(object, "when");
    if (!json_is_integer(when) || json_integer_value(when) < 0)
        return -EPROTO;
    history_sample_init(ret, (uint64_t)json_integer_value(when));
    for (unsigned i = 0; i < HISTORY_TERMS; i++) {
        json_t *value = json_object_get(object, names[i]);
        if (!value)
            continue;
        ret->value[i] = json_number_value(value);
        if (!json_is_number(value) || !is_sane(ret->value[i]))
            return -EPROTO;
    }
    return 0;
}

static int parse_kind(const char *name, json_t *samples, uint64_t now_s, struct history *history)
{
    size_t i;
    json_t *object;
    if (!json_is_array(samples) || !name[0] || strlen(name) >= HISTORY_KIND_BYTES)
        return -EPROTO;
    json_array_foreach(samples, i, object)
    {
        struct history_sample sample;
        int rc = parse_sample(object, &sample);
        if (rc < 0)
            return rc;
        /* a clock that was set back leaves samples from the future: they are not old */
        if (sample.when_s > now_s || now_s - sample.when_s <= HISTORY_AGE_S)
            history_add(history, name, &sample);
    }
    return 0;
}

static int parse_root(json_t *root, uint64_t now_s, struct history *history)
{
    json_t *version = json_object_get(root, "version"), *kinds = json_object_get(root, "kinds");
    const char *name;
    json_t *samples;
    if (!json_is_integer(version))
        return -EPROTO;
    if (json_integer_value(version) != VERSION)
        return -ENOTSUP;
    if (!json_is_object(kinds))
        return -EPROTO;
    json_object_foreach(kinds, name, samples)
    {
        int rc = parse_kind(name, samples, now_s, history);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The library says of a text that it had no memory for the same as of one that is wrong. What is wrong
 * stays so, and what is called damaged is replaced: so it is asked twice. */
static json_t *load_json(const char *text, size_t length)
{
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    return root ? root : json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
}

int history_parse(const char *text, size_t length, uint64_t now_s, struct history *history)
{
    if (length > HISTORY_FILE_BYTES_MAX)
        return -EPROTO;
    json_t *root = load_json(text, length);
    int rc = root ? parse_root(root, now_s, history) : -EPROTO;
    json_decref(root);
    if (rc < 0)
        memset(history, 0, sizeof(*history));
    return rc;
}

/* A text that lacks something would replace what is known: all of it or nothing. */
static json_t *format_sample(const struct history_sample *sample)
{
    json_t *object = json_pack("{s:I}", "when", (json_int_t)sample->when_s);
    int rc = object ? 0 : -1;
    for (unsigned i = 0; i < HISTORY_TERMS; i++)
        if (sample->value[i] >= 0)
            rc |= json_object_set_new(object, names[i], json_real(sample->value[i]));
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *format_kind(const struct history_kind *kind)
{
    json_t *samples = json_array();
    int rc = samples ? 0 : -1;
    for (unsigned i = 0; i < kind->count; i++)
        rc |= json_array_append_new(samples, format_sample(&kind->samples[i]));
    if (rc == 0)
        return samples;
    json_decref(samples);
    return NULL;
}

/* Short of memory the library may leave something out of a text and not say so. */
static char *checked(char *take_text)
{
    json_t *root = take_text ? load_json(take_text, strlen(take_text)) : NULL;
    if (!root) {
        free(take_text);
        return NULL;
    }
    json_decref(root);
    return take_text;
}

char *history_format(const struct history *history)
{
    json_t *kinds = json_object();
    int rc = kinds ? 0 : -1;
    for (unsigned i = 0; i < history->count; i++)
        rc |= json_object_set_new(kinds, history->kinds[i].name, format_kind(&history->kinds[i]));
    json_t *root = json_pack("{s:i, s:o}", "version", VERSION, "kinds", kinds);
    char *text = NULL;
    if (root && rc == 0)
        text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    json_decref(root);
    return checked(text);
}
