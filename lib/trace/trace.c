/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch of all trace points, and their lines.
 *
 * A place that traces takes no lock. It looks at trace_current, counts itself into that set, and looks
 * again: if it is still the same the set is whole and stays so until the place has counted itself out.
 * Who changes what is traced fills the set that nobody uses, makes it current, and waits until nobody
 * is in the old one. So a sink is not called any more once it was taken away.
 */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <vfio-migrate/trace.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/near.h"
#include "lib/trace/trace.h"

struct trace_set {
    atomic_uint inside;
    bool on[TRACE_COUNT];
    void (*sink)(void *opaque, const char *line);
    void *opaque;
};

/* Beside trace_current, and touched by those who change it alone. */
static struct {
    pthread_mutex_t lock;
    struct trace_set sets[2];
} changing = { .lock = PTHREAD_MUTEX_INITIALIZER };
_Atomic(struct trace_set *) trace_current;

/* ---- the list ---- */

#define FIELD(type, name) { #name, #type },
#define FIELDS(point, meaning, ...)                                                                \
    static const struct vmig_trace_field fields_of_##point[] = { TRACE_EACH(FIELD, __VA_ARGS__) };
TRACE_LIST(FIELDS)
#define ROW(point, meaning, ...)                                                                   \
    { #point, meaning, sizeof(fields_of_##point) / sizeof(fields_of_##point[0]),                   \
      fields_of_##point },
static const struct vmig_trace_point points[TRACE_COUNT] = { TRACE_LIST(ROW) };

VMIG_EXPORT const struct vmig_trace_point *vmig_trace_point(unsigned index)
{
    return index < TRACE_COUNT ? &points[index] : NULL;
}

/* ---- lines ---- */

/* What does not fit is left out: an error's text fits. */
#define LINE_BYTES 1400

struct line {
    char text[LINE_BYTES];
    size_t length;
};

static void put(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->text + l->length, sizeof(l->text) - l->length, format, args);
    va_end(args);
    size_t room = sizeof(l->text) - l->length - 1;
    if (n > 0)
        l->length += (size_t)n < room ? (size_t)n : room;
}

static void put_time(struct line *l)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    put(l, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
        utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000);
}

static bool is_plain(const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/+-";
    return text[0] && strspn(text, plain) == strlen(text);
}

/* An id or a text may come from the other side: nothing of it reaches a terminal as it is. */
static void put_text(struct line *l, const char *text)
{
    if (is_plain(text)) {
        put(l, "%s", text);
        return;
    }
    put(l, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\')
            put(l, "\\%c", *at);
        else if (*at >= ' ' && *at < 0x7f)
            put(l, "%c", *at);
        else
            put(l, "\\x%02x", *at);
    }
    put(l, "\"");
}

static void put_value(struct line *l, const struct vmig_trace_field *field,
                      const union trace_value *value)
{
    put(l, " %s=", field->name);
    if (strcmp(field->type, "str") == 0)
        put_text(l, value->str ? value->str : "");
    else if (strcmp(field->type, "u64") == 0)
        put(l, "%" PRIu64, value->u64);
    else if (strcmp(field->type, "u32") == 0)
        put(l, "%" PRIu32, value->u32);
    else if (strcmp(field->type, "i32") == 0)
        put(l, "%" PRId32, value->i32);
    else
        put(l, "%s", value->flag ? "true" : "false");
}

static void tell(const struct trace_set *set, enum trace_number number,
                 const union trace_value *values)
{
    const struct vmig_trace_point *point = &points[number];
    struct line line = { .length = 0 };
    put_time(&line);
    put(&line, " %s", point->name);
    for (unsigned i = 0; i < point->num_fields; i++)
        put_value(&line, &point->fields[i], &values[i]);
    set->sink(set->opaque, line.text);
}

void trace_line(enum trace_number number, const union trace_value *values)
{
    int saved = errno;
    struct trace_set *set = atomic_load(&trace_current);
    if (!set)
        return;
    atomic_fetch_add(&set->inside, 1);
    if (atomic_load(&trace_current) == set && set->on[number])
        tell(set, number, values);
    atomic_fetch_sub(&set->inside, 1);
    errno = saved;
}

/* ---- the switch ---- */

static void publish_locked(struct trace_set *set)
{
    struct trace_set *old = atomic_exchange(&trace_current, set);
    while (old && atomic_load(&old->inside))
        poll(NULL, 0, 1); /* a sink returns soon */
}

static unsigned match(const char *pattern, bool ret_on[TRACE_COUNT])
{
    unsigned count = 0;
    for (unsigned i = 0; i < TRACE_COUNT; i++)
        if (fnmatch(pattern, points[i].name, 0) == 0) {
            ret_on[i] = true;
            count++;
        }
    return count;
}

static const char *name_of(unsigned index)
{
    return index < TRACE_COUNT ? points[index].name : NULL;
}

static int unknown(const char *pattern, struct vmig_error *err)
{
    char near[200];
    near_names(pattern, name_of, near, sizeof(near));
    return error_set(
        err, ENOENT, VMIG_STAGE_NONE, NULL, "unknown-trace-point",
        "no trace point matches '%.60s'%s%s; vfio-migrate trace list shows all of them", pattern,
        near[0] ? "; near are: " : "", near);
}

VMIG_EXPORT int vmig_trace_enable(const char *pattern, void (*sink)(void *opaque, const char *line),
                                  void *opaque, struct vmig_error *err)
{
    LOCK_SCOPE(&changing.lock);
    const struct trace_set *now = atomic_load(&trace_current);
    struct trace_set *set = &changing.sets[now == &changing.sets[0]];
    if (now && (now->sink != sink || now->opaque != opaque))
        return error_set(err, EBUSY, VMIG_STAGE_NONE, NULL, "trace-sink-taken",
                         "lines of trace points go to somebody else in this process already; call "
                         "vmig_trace_disable() first");
    for (unsigned i = 0; i < TRACE_COUNT; i++)
        set->on[i] = now && now->on[i];
    if (!match(pattern, set->on))
        return unknown(pattern, err);
    set->sink = sink;
    set->opaque = opaque;
    publish_locked(set);
    return 0;
}

VMIG_EXPORT void vmig_trace_disable(void)
{
    LOCK_SCOPE(&changing.lock);
    publish_locked(NULL);
}
