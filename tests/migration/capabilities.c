/* SPDX-License-Identifier: BSD-3-Clause */
/* Every capability and every parameter: known by QEMU's name, set or refused with a reason, together
 * or not at all. Expectations are from what QEMU has and from what is meant to work here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/migration/world.h"

/* ---- capabilities ---- */

#define NAMES_MAX 64

/* All of QEMU's up to 9.0, as query-migrate-capabilities lists them. */
static const struct {
    const char *name;
    bool standard, works;
} all[] = {
    { "xbzrle", false, false },
    { "rdma-pin-all", false, false },
    { "auto-converge", false, false },
    { "zero-blocks", false, false },
    { "compress", false, false },
    { "events", false, true },
    { "postcopy-ram", false, false },
    { "x-colo", false, false },
    { "release-ram", false, false },
    { "block", false, false },
    { "return-path", true, true },
    { "pause-before-switchover", false, true },
    { "multifd", true, true },
    { "dirty-bitmaps", false, false },
    { "postcopy-blocktime", false, false },
    { "late-block-activate", false, false },
    { "x-ignore-shared", false, false },
    { "validate-uuid", false, true },
    { "background-snapshot", false, false },
    { "zero-copy-send", false, false },
    { "postcopy-preempt", false, false },
    { "switchover-ack", true, true },
    { "dirty-limit", false, false },
    { "mapped-ram", false, false },
};
#define COUNT (sizeof(all) / sizeof(all[0]))

static struct vmig_migration *with_host(const char *const *implements)
{
    struct vmig_host host = { .size = sizeof(host), .implements = implements };
    struct vmig_migration *m = vmig_migration_new(&host, NULL);
    assert_non_null(m);
    return m;
}

static bool is_on(struct vmig_migration *m, const char *name)
{
    struct vmig_capability list[NAMES_MAX];
    unsigned count = vmig_migration_capabilities(m, list, NAMES_MAX);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].on;
    fail_msg("there is no %s", name);
    return false;
}

/* Refused with @rc, @reason and @text in its message, and nothing has changed. */
static void refuses(struct vmig_migration *m, const struct vmig_capability *list, unsigned count,
                    int rc, const char *reason, const char *text)
{
    struct vmig_error err = { 0 };
    struct vmig_capability before[NAMES_MAX], after[NAMES_MAX];
    vmig_migration_capabilities(m, before, NAMES_MAX);
    int got = vmig_migration_set_capabilities(m, list, count, &err);
    if (got != rc || strcmp(err.reason, reason) != 0 || !strstr(err.text, text))
        fail_msg("%s: %d %s: %s; wanted %d %s: ...%s...", list[0].name, got, err.reason, err.text,
                 rc, reason, text);
    vmig_migration_capabilities(m, after, NAMES_MAX);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(after[i].on, before[i].on);
}

static void all_capabilities_of_qemu_are_listed_in_its_order(void **state)
{
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    struct vmig_capability list[NAMES_MAX];
    assert_int_equal(vmig_migration_capabilities(m, list, NAMES_MAX), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_string_equal(list[i].name, all[i].name);
        assert_int_equal(list[i].on, all[i].standard);
    }
    struct vmig_capability two[3] = { { 0 }, { 0 }, { "untouched", true } };
    assert_int_equal(vmig_migration_capabilities(m, two, 2), COUNT);
    assert_string_equal(two[1].name, all[1].name);
    assert_string_equal(two[2].name, "untouched");
    assert_int_equal(vmig_migration_capabilities(m, NULL, 0), COUNT);
    vmig_migration_free(m);
}

/* None of QEMU's names is unknown, and who is refused hears why and what to do. */
static void each_capability_is_switched_or_refused_with_its_reason(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        struct vmig_migration *m = with_host(NULL);
        struct vmig_capability on = { all[i].name, true }, off = { all[i].name, false };
        struct vmig_capability off_with_what_needs_it[] = { off, { "switchover-ack", false } };
        if (all[i].works) {
            x(vmig_migration_set_capabilities(m, &on, 1, &err));
            assert_true(is_on(m, all[i].name));
        } else {
            refuses(m, &on, 1, -EOPNOTSUPP, "not-implemented", all[i].name);
            assert_true(strlen(capability_table[i].reason) > 20);
        }
        x(vmig_migration_set_capabilities(m, off_with_what_needs_it, 2, &err));
        assert_false(is_on(m, all[i].name));
        vmig_migration_free(m);
    }
}

static void unknown_capability_is_refused_by_name(void **state)
{
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    const char *const names[] = { "", "Events", "events ", "event", "downtime-limit" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct vmig_capability c = { names[i], false };
        char quoted[64];
        snprintf(quoted, sizeof(quoted), "\"%s\"", names[i]);
        refuses(m, &c, 1, -ENOENT, "unknown-capability", quoted);
    }
    refuses(m, &(struct vmig_capability) { NULL, true }, 1, -ENOENT, "unknown-capability", "\"\"");
    vmig_migration_free(m);
}

static void one_bad_entry_leaves_all_as_they_were(void **state)
{
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    const struct vmig_capability bad[] = { { "xbzrle", true }, { "no-such", true } };
    for (unsigned b = 0; b < 2; b++)
        for (unsigned at = 0; at < 3; at++) {
            struct vmig_capability list[3] = { { "events", true },
                                               { "pause-before-switchover", true },
                                               { "validate-uuid", true } };
            list[at] = bad[b];
            refuses(m, list, 3, b ? -ENOENT : -EOPNOTSUPP,
                    b ? "unknown-capability" : "not-implemented", bad[b].name);
        }
    vmig_migration_free(m);
}

static const char *const does_all[] = { "postcopy-ram", "background-snapshot", NULL };

/* From QEMU 8.2: both orders of asking for them, and the way out that the text names. */
static void capabilities_that_do_not_go_together_are_refused_in_both_orders(void **state)
{
    static const struct {
        const char *which;
        bool other_on;
        const char *other;
    } conflicts[] = {
        { "switchover-ack", false, "return-path" },
        { "postcopy-ram", true, "multifd" },
        { "background-snapshot", true, "postcopy-ram" },
        { "background-snapshot", true, "return-path" },
        { "background-snapshot", true, "pause-before-switchover" },
        { "background-snapshot", true, "multifd" },
        { "background-snapshot", true, "validate-uuid" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++) {
        struct vmig_migration *m = with_host(does_all);
        /* from a quiet state, in which each of the two can be had alone */
        struct vmig_capability quiet[] = { { "switchover-ack", false },
                                           { "return-path", false },
                                           { "multifd", false } };
        struct vmig_capability both[] = { { conflicts[i].which, true },
                                          { conflicts[i].other, conflicts[i].other_on } };
        struct vmig_capability turned[] = { both[1], both[0] };
        struct vmig_capability out[] = { both[0], { conflicts[i].other, !conflicts[i].other_on } };
        x(vmig_migration_set_capabilities(m, quiet, 3, &err));
        refuses(m, both, 2, -EINVAL, "capability-conflict", conflicts[i].which);
        refuses(m, turned, 2, -EINVAL, "capability-conflict", conflicts[i].other);
        x(vmig_migration_set_capabilities(m, out, 2, &err));
        refuses(m, &both[1], 1, -EINVAL, "capability-conflict", conflicts[i].other);
        vmig_migration_free(m);
    }
}

static void last_word_on_a_capability_counts(void **state)
{
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    struct vmig_capability list[] = { { "events", true }, { "events", false } };
    x(vmig_migration_set_capabilities(m, list, 2, &err));
    assert_false(is_on(m, "events"));
    x(vmig_migration_set_capabilities(m, NULL, 0, &err));
    vmig_migration_free(m);
}

static void host_switches_on_what_it_implements(void **state)
{
    (void)state;
    const char *one[] = { "postcopy-ram", NULL };
    struct vmig_migration *m = with_host(one);
    one[0] = "gone"; /* the list was the caller's */
    struct vmig_capability postcopy[] = { { "multifd", false }, { "postcopy-ram", true } };
    struct vmig_capability snapshot = { "background-snapshot", true };
    x(vmig_migration_set_capabilities(m, postcopy, 2, &err));
    assert_true(is_on(m, "postcopy-ram"));
    refuses(m, &snapshot, 1, -EOPNOTSUPP, "not-implemented", "background-snapshot");
    vmig_migration_free(m);
}

static void host_cannot_implement_what_is_not_a_hosts(void **state)
{
    (void)state;
    const char *const names[] = { "xbzrle", "events", "nonsense" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *list[] = { "postcopy-ram", names[i], NULL };
        struct vmig_host host = { .size = sizeof(host), .implements = list };
        struct vmig_error why = { 0 };
        assert_null(vmig_migration_new(&host, &why));
        assert_int_equal(why.code, -EINVAL);
        assert_non_null(strstr(why.text, names[i]));
    }
}

/* ---- parameters ---- */

static void set_refused(struct vmig_migration *m, const char *name, uint64_t value, int rc,
                        const char *reason)
{
    struct vmig_error why = { 0 };
    uint64_t before = 0, after = 1;
    int known = vmig_migration_get(m, name, &before, NULL);
    assert_int_equal(vmig_migration_set(m, name, value, &why), rc);
    assert_string_equal(why.reason, reason);
    if (!strstr(why.text, name))
        fail_msg("%s=%" PRIu64 ": %s", name, value, why.text);
    if (known == 0) {
        x(vmig_migration_get(m, name, &after, &err));
        assert_true(before == after);
    }
}

static void each_parameter_takes_its_range_and_nothing_beyond(void **state)
{
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    struct vmig_parameter list[NAMES_MAX], now[NAMES_MAX];
    unsigned count = vmig_migration_parameters(m, list, NAMES_MAX);
    assert_in_range(count, 1, NAMES_MAX);
    for (unsigned i = 0; i < count; i++) {
        const struct vmig_parameter *p = &list[i];
        uint64_t values[2] = { p->min, p->max }, value;
        assert_true(p->value == p->standard && p->min <= p->standard && p->standard <= p->max);
        for (unsigned v = 0; v < 2; v++) {
            x(vmig_migration_set(m, p->name, values[v], &err));
            x(vmig_migration_get(m, p->name, &value, &err));
            assert_true(value == values[v]);
            vmig_migration_parameters(m, now, NAMES_MAX);
            assert_true(now[i].value == values[v]);
        }
        if (p->min)
            set_refused(m, p->name, p->min - 1, -ERANGE, "parameter-range");
        if (p->max != UINT64_MAX)
            set_refused(m, p->name, p->max + 1, -ERANGE, "parameter-range");
    }
    vmig_migration_free(m);
}

/* Where QEMU has the same: its default and range, or the table says why not. */
static void parameters_of_qemu_have_its_defaults(void **state)
{
    static const struct {
        const char *name;
        uint64_t min, max, standard;
        bool differs;
    } rows[] = {
        { "downtime-limit", 0, 2000000, 300, false },
        { "max-bandwidth", 0, UINT64_MAX, 134217728, false },
        { "avail-switchover-bandwidth", 0, UINT64_MAX, 0, false },
        { "multifd-channels", 1, 16, 2, true },
    };
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    struct vmig_parameter list[NAMES_MAX];
    unsigned count = vmig_migration_parameters(m, list, NAMES_MAX);
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        unsigned i = 0;
        while (i < count && strcmp(list[i].name, rows[r].name) != 0)
            i++;
        assert_true(i < count);
        assert_true(list[i].min == rows[r].min && list[i].max == rows[r].max);
        assert_true(list[i].standard == rows[r].standard);
        assert_int_equal(list[i].reason != NULL, rows[r].differs);
    }
    vmig_migration_free(m);
}

static void parameters_of_qemu_without_a_counterpart_are_refused_with_a_reason(void **state)
{
    static const char *const names[] = {
        "max-postcopy-bandwidth",
        "multifd-compression",
        "multifd-zlib-level",
        "multifd-zstd-level",
        "multifd-qatzip-level",
        "zero-page-detection",
        "direct-io",
        "mode",
        "cpr-exec-command",
        "xbzrle-cache-size",
        "throttle-trigger-threshold",
        "cpu-throttle-initial",
        "cpu-throttle-increment",
        "cpu-throttle-tailslow",
        "max-cpu-throttle",
        "announce-initial",
        "announce-max",
        "announce-rounds",
        "announce-step",
        "tls-creds",
        "tls-hostname",
        "tls-authz",
        "x-checkpoint-delay",
        "x-vcpu-dirty-limit-period",
        "vcpu-dirty-limit",
        "block-bitmap-mapping",
        "compress-level",
        "compress-threads",
        "decompress-threads",
        "compress-wait-thread",
        "block-incremental",
    };
    (void)state;
    struct vmig_migration *m = with_host(NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        set_refused(m, names[i], 0, -EOPNOTSUPP, "not-implemented");
    set_refused(m, "switchover-ack", 1, -ENOENT, "unknown-parameter");
    vmig_migration_free(m);
}

/* ---- while a migration runs ---- */

static void while_one_runs_only_live_parameters_change(void **state)
{
    (void)state;
    struct world w;
    struct vmig_parameter list[NAMES_MAX];
    struct vmig_capability none[] = { { "events", true } };
    unsigned live = 0;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_start(w.target, false, "tcp:127.0.0.1:0");
    party_await_stage(w.target, VMIG_STAGE_PREPARE);
    unsigned count = vmig_migration_parameters(w.target->m, list, NAMES_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (list[i].live)
            x(vmig_migration_set(w.target->m, list[i].name, list[i].value, &err));
        else
            set_refused(w.target->m, list[i].name, list[i].value, -EBUSY, "migration-running");
        live += list[i].live;
    }
    assert_int_equal(live, 4);
    refuses(w.target->m, none, 1, -EBUSY, "migration-running", "while a migration runs");
    vmig_migration_cancel(w.target->m);
    party_join(w.target);
    world_close(&w);
}

/* The first piece is booked for a month; then the user thinks better of it. */
static void bandwidth_that_is_raised_wakes_who_waits_for_it(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_set(w.source, "max-bandwidth", 1);
    world_begin(&w);
    party_await_stage(w.source, VMIG_STAGE_ROUNDS);
    party_set(w.source, "max-bandwidth", 2);
    party_set(w.source, "max-bandwidth", 0);
    world_join(&w);
    world_moved(&w);
    world_close(&w);
}

static void raise_limit(struct party *side, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_ROUND && event->round == 3)
        party_set(side, "downtime-limit", 60000);
}

/* It would go round for ever. */
static void downtime_limit_that_is_raised_lets_it_switch(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_set(w.source, "downtime-limit", 0);
    party_set(w.source, "max-rounds", 10000);
    w.source->on_event = raise_limit;
    world_move(&w);
    world_moved(&w);
    assert_in_range(w.source->rounds, 3, 10000);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_capabilities_of_qemu_are_listed_in_its_order),
        cmocka_unit_test(each_capability_is_switched_or_refused_with_its_reason),
        cmocka_unit_test(unknown_capability_is_refused_by_name),
        cmocka_unit_test(one_bad_entry_leaves_all_as_they_were),
        cmocka_unit_test(capabilities_that_do_not_go_together_are_refused_in_both_orders),
        cmocka_unit_test(last_word_on_a_capability_counts),
        cmocka_unit_test(host_switches_on_what_it_implements),
        cmocka_unit_test(host_cannot_implement_what_is_not_a_hosts),
        cmocka_unit_test(each_parameter_takes_its_range_and_nothing_beyond),
        cmocka_unit_test(parameters_of_qemu_have_its_defaults),
        cmocka_unit_test(parameters_of_qemu_without_a_counterpart_are_refused_with_a_reason),
        cmocka_unit_test(while_one_runs_only_live_parameters_change),
        cmocka_unit_test(bandwidth_that_is_raised_wakes_who_waits_for_it),
        cmocka_unit_test(downtime_limit_that_is_raised_lets_it_switch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
