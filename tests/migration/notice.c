/* SPDX-License-Identifier: BSD-3-Clause */
/* Lead time: the host is told before the workload stops, rounds go on meanwhile, and a stop that does
 * not come is called off. */
#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "tests/migration/world.h"

#define LEAD_MS 20

/* What the source's host saw, in order: n a notice, o one that was called off, r a round, s the stop.
 * All on the engine's thread. */
static struct log {
    char seen[200];
    unsigned leads[8], num_leads;
    uint64_t told_ns, stopped_ns;
    int (*stop)(void *opaque, struct vmig_error *err);
    void (*then)(struct party *side); /* after the first notice */
} log_;

static void note(char what)
{
    size_t length = strlen(log_.seen);
    if (length + 1 < sizeof(log_.seen))
        log_.seen[length] = what;
}

static void on_notice(void *opaque, unsigned lead_ms)
{
    struct party *side = opaque;
    note(lead_ms ? 'n' : 'o');
    if (lead_ms)
        log_.told_ns = clock_ns();
    else /* what called it off has passed */
        side->m->parameters[PARAMETER_DOWNTIME_LIMIT] = 60000;
    if (log_.num_leads++ == 0 && log_.then)
        log_.then(side);
}

static int on_stop(void *opaque, struct vmig_error *err)
{
    note('s');
    log_.stopped_ns = clock_ns();
    return log_.stop(opaque, err);
}

static void on_event(struct party *side, const struct vmig_event *event)
{
    (void)side;
    if (event->kind == VMIG_EVENT_ROUND)
        note('r');
    if (event->kind == VMIG_EVENT_QUIESCE_NOTICE && log_.num_leads <= 8)
        log_.leads[log_.num_leads - 1] = event->lead_ms;
}

static void move(struct world *w, unsigned lead_ms, void (*then)(struct party *side))
{
    world_open(w, &(struct world_plan) { .devices = 1 });
    memset(&log_, 0, sizeof(log_));
    log_.then = then;
    log_.stop = w->source->m->host.stop;
    w->source->m->host.stop = on_stop;
    w->source->m->host.quiesce_notice = on_notice;
    w->source->on_event = on_event;
    party_set(w->source, "quiesce-notice", lead_ms);
    world_move(w);
}

static void host_is_told_and_rounds_go_on_before_the_workload_stops(void **state)
{
    (void)state;
    struct world w;
    move(&w, LEAD_MS, NULL);
    world_moved(&w);
    const char *told = strchr(log_.seen, 'n'), *stopped = strchr(log_.seen, 's');
    assert_non_null(told);
    assert_non_null(stopped);
    assert_true(told < stopped);
    assert_non_null(memchr(told, 'r', (size_t)(stopped - told)));
    assert_int_equal(stopped[-1], 'r'); /* and it stops right after one */
    assert_null(strchr(told + 1, 'n'));
    assert_null(strchr(log_.seen, 'o'));
    assert_int_equal(log_.leads[0], LEAD_MS);
    assert_true(log_.stopped_ns - log_.told_ns >= LEAD_MS * NS_PER_MS);
    world_close(&w);
}

static void nobody_is_told_unless_it_is_wanted(void **state)
{
    (void)state;
    struct world w;
    move(&w, 0, NULL);
    world_moved(&w);
    assert_null(strchr(log_.seen, 'n'));
    assert_null(strchr(log_.seen, 'o'));
    assert_int_equal(log_.num_leads, 0);
    world_close(&w);
}

/* From then on no pause is short enough. */
static void expect_too_much(struct party *side)
{
    side->m->parameters[PARAMETER_DOWNTIME_LIMIT] = 0;
}

static void stop_that_would_be_too_long_by_then_is_called_off_and_announced_again(void **state)
{
    (void)state;
    struct world w;
    move(&w, LEAD_MS, expect_too_much);
    world_moved(&w);
    const char *first = strchr(log_.seen, 'n'), *off = strchr(log_.seen, 'o');
    assert_non_null(off);
    assert_true(first < off);
    assert_null(memchr(log_.seen, 's', (size_t)(off - log_.seen)));
    const char *again = strchr(off, 'n'), *stopped = strchr(off, 's');
    assert_non_null(again);
    assert_true(again < stopped);
    assert_int_equal(log_.leads[0], LEAD_MS);
    assert_int_equal(log_.leads[1], 0);
    assert_int_equal(log_.leads[2], LEAD_MS);
    world_close(&w);
}

static void cancel(struct party *side)
{
    vmig_migration_cancel(side->m);
}

static void cancel_in_the_lead_calls_it_off_and_nothing_stops(void **state)
{
    (void)state;
    struct world w;
    move(&w, 60000, cancel); /* a minute would be noticed */
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    assert_non_null(strstr(log_.seen, "no"));
    assert_null(strchr(log_.seen, 's'));
    assert_int_equal(log_.leads[1], 0);
    world_runs_at(&w, w.source);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_is_told_and_rounds_go_on_before_the_workload_stops),
        cmocka_unit_test(nobody_is_told_unless_it_is_wanted),
        cmocka_unit_test(stop_that_would_be_too_long_by_then_is_called_off_and_announced_again),
        cmocka_unit_test(cancel_in_the_lead_calls_it_off_and_nothing_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
