/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state machine against its rules. The arcs and the rule for ways of several arcs are written
 * down here once more, as the uAPI's text gives them, and the shortest ways are computed; the same
 * table is then compared with what the kernel does (tests/data/fsm-arcs.json).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "lib/device/fsm.h"

#define S VMIG_STATE_STOP
#define R VMIG_STATE_RUNNING
#define SC VMIG_STATE_STOP_COPY
#define RS VMIG_STATE_RESUMING
#define RP VMIG_STATE_RUNNING_P2P
#define PC VMIG_STATE_PRE_COPY
#define PP VMIG_STATE_PRE_COPY_P2P

#define BASE VMIG_MIGRATION_STOP_COPY
#define P2P VMIG_MIGRATION_P2P
#define PRE VMIG_MIGRATION_PRE_COPY

static const uint64_t sets[] = { BASE, BASE | P2P, BASE | PRE, BASE | P2P | PRE };

/* ---- the rules ---- */

/* An arc exists on devices that have all of `with` and none of `without`. */
static const struct arc {
    enum vmig_state from, to;
    uint64_t with, without;
} arcs[] = {
    { R, S, BASE, P2P },
    { S, R, BASE, P2P },
    { R, RP, BASE | P2P, 0 },
    { RP, R, BASE | P2P, 0 },
    { RP, S, BASE | P2P, 0 },
    { S, RP, BASE | P2P, 0 },
    { S, SC, BASE, 0 },
    { SC, S, BASE, 0 },
    { S, RS, BASE, 0 },
    { RS, S, BASE, 0 },
    { R, PC, BASE | PRE, 0 },
    { PC, R, BASE | PRE, 0 },
    { PC, SC, BASE | PRE, P2P },
    { RP, PP, BASE | P2P | PRE, 0 },
    { PP, RP, BASE | P2P | PRE, 0 },
    { PC, PP, BASE | P2P | PRE, 0 },
    { PP, PC, BASE | P2P | PRE, 0 },
    { PP, SC, BASE | P2P | PRE, 0 },
};

static bool is_arc(uint64_t flags, int from, int to)
{
    for (size_t i = 0; i < sizeof(arcs) / sizeof(arcs[0]); i++)
        if ((int)arcs[i].from == from && (int)arcs[i].to == to &&
            (flags & arcs[i].with) == arcs[i].with && !(flags & arcs[i].without))
            return true;
    return false;
}

static bool is_saving(int state)
{
    return state == PC || state == PP || state == SC;
}

static bool is_state(uint64_t flags, int state)
{
    for (int other = 0; other < VMIG_STATE_COUNT; other++)
        if (is_arc(flags, state, other))
            return true;
    return false;
}

/* Number of arcs of the shortest way by the rules, -1 when there is none: breadth first. */
static int shortest(uint64_t flags, int from, int to)
{
    int distance[VMIG_STATE_COUNT];
    bool blocked = from == SC && (to == PC || to == PP);
    if (blocked || !is_state(flags, from) || !is_state(flags, to))
        return -1;
    for (int i = 0; i < VMIG_STATE_COUNT; i++)
        distance[i] = i == from ? 0 : -1;
    for (int round = 0; round < VMIG_STATE_COUNT; round++)
        for (int at = 0; at < VMIG_STATE_COUNT; at++) {
            bool middle = at != from;
            if (distance[at] != round ||
                (middle && is_saving(at) && !(is_saving(from) && is_saving(to))))
                continue;
            for (int next = 0; next < VMIG_STATE_COUNT; next++)
                if (distance[next] < 0 && is_arc(flags, at, next))
                    distance[next] = round + 1;
        }
    return distance[to];
}

/* ---- against the rules ---- */

static void every_way_is_a_shortest_one_by_the_rules(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        for (int from = 0; from < VMIG_STATE_COUNT; from++)
            for (int to = 0; to < VMIG_STATE_COUNT; to++) {
                int expected = shortest(sets[i], from, to);
                int arcs_needed = fsm_distance(sets[i], (enum vmig_state)from, (enum vmig_state)to);
                assert_int_equal(arcs_needed, expected < 0 ? -EINVAL : expected);
            }
}

static void every_step_is_an_arc_and_no_saving_state_is_in_the_middle(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        for (int from = 0; from < VMIG_STATE_COUNT; from++)
            for (int to = 0; to < VMIG_STATE_COUNT; to++) {
                int at = from;
                while (at != to && shortest(sets[i], from, to) >= 0) {
                    int next = fsm_next(sets[i], (enum vmig_state)at, (enum vmig_state)to);
                    assert_true(is_arc(sets[i], at, next));
                    if (next != to && is_saving(next))
                        assert_true(is_saving(from) && is_saving(to));
                    at = next;
                }
            }
}

static void arcs_without_flags_are_6_with_p2p_8_with_pre_copy_9_with_both_15(void **unused)
{
    (void)unused;
    static const int expected[] = { 6, 8, 9, 15 };
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        int count = 0;
        for (int from = 0; from < VMIG_STATE_COUNT; from++)
            for (int to = 0; to < VMIG_STATE_COUNT; to++)
                count += fsm_distance(sets[i], (enum vmig_state)from, (enum vmig_state)to) == 1;
        assert_int_equal(count, expected[i]);
    }
}

static void stop_copy_to_pre_copy_is_refused(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        assert_int_equal(fsm_next(sets[i], SC, PC), -EINVAL);
        assert_int_equal(fsm_next(sets[i], SC, PP), -EINVAL);
    }
}

static void nothing_enters_or_leaves_error(void **unused)
{
    (void)unused;
    for (int state = 0; state < VMIG_STATE_COUNT; state++) {
        assert_int_equal(fsm_next(sets[3], VMIG_STATE_ERROR, (enum vmig_state)state), -EINVAL);
        assert_int_equal(fsm_next(sets[3], (enum vmig_state)state, VMIG_STATE_ERROR), -EINVAL);
    }
}

static void numbers_that_are_no_state_are_refused(void **unused)
{
    (void)unused;
    static const int wrong[] = { -1, VMIG_STATE_COUNT, VMIG_STATE_COUNT + 1, 1 << 30 };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(fsm_next(sets[3], R, (enum vmig_state)wrong[i]), -EINVAL);
        assert_int_equal(fsm_next(sets[3], (enum vmig_state)wrong[i], R), -EINVAL);
        assert_false(fsm_has_state(sets[3], (enum vmig_state)wrong[i]));
        assert_string_equal(vmig_state_name((enum vmig_state)wrong[i]), "?");
    }
}

static void without_stop_copy_there_is_only_running(void **unused)
{
    (void)unused;
    for (uint64_t flags = 0; flags < 8; flags++) {
        if (flags & BASE)
            continue;
        for (int state = VMIG_STATE_STOP; state < VMIG_STATE_COUNT; state++)
            assert_int_equal(fsm_has_state(flags, (enum vmig_state)state), state == R);
    }
}

static void unknown_flags_change_nothing(void **unused)
{
    (void)unused;
    for (int from = 0; from < VMIG_STATE_COUNT; from++)
        for (int to = 0; to < VMIG_STATE_COUNT; to++)
            assert_int_equal(fsm_next(sets[3] | 0xfff0, (enum vmig_state)from, (enum vmig_state)to),
                             fsm_next(sets[3], (enum vmig_state)from, (enum vmig_state)to));
}

/* ---- against the kernel ---- */

static json_t *kernel;

static int load_kernel(void **unused)
{
    (void)unused;
    char path[4096];
    const char *folder = getenv("TEST_DATA");
    snprintf(path, sizeof(path), "%s/fsm-arcs.json", folder ? folder : "tests/data");
    kernel = json_load_file(path, 0, NULL);
    return kernel ? 0 : -1;
}

static int unload_kernel(void **unused)
{
    (void)unused;
    json_decref(kernel);
    return 0;
}

static int state_number(const char *name)
{
    return (int)json_integer_value(json_object_get(json_object_get(kernel, "states"), name));
}

static bool has_pair(const json_t *pairs, int from, int to)
{
    size_t i;
    json_t *pair;
    json_array_foreach(pairs, i, pair)
    {
        if (state_number(json_string_value(json_array_get(pair, 0))) == from &&
            state_number(json_string_value(json_array_get(pair, 1))) == to)
            return true;
    }
    return false;
}

static void check_way(uint64_t flags, int from, int to, const json_t *middle)
{
    int at = from;
    if (json_is_null(middle)) {
        assert_int_equal(fsm_next(flags, (enum vmig_state)from, (enum vmig_state)to), -EINVAL);
        return;
    }
    size_t i;
    json_t *state;
    json_array_foreach(middle, i, state)
    {
        at = fsm_next(flags, (enum vmig_state)at, (enum vmig_state)to);
        assert_int_equal(at, state_number(json_string_value(state)));
    }
    assert_int_equal(fsm_next(flags, (enum vmig_state)at, (enum vmig_state)to), to);
}

static void every_way_is_the_kernels_for_all_capability_sets(void **unused)
{
    (void)unused;
    const char *set_name, *from_name, *to_name;
    json_t *set, *row, *middle;
    unsigned pairs = 0;
    json_object_foreach(json_object_get(kernel, "capability_sets"), set_name, set)
    {
        uint64_t flags = (uint64_t)json_integer_value(json_object_get(set, "migration_flags"));
        json_object_foreach(json_object_get(set, "intermediate"), from_name, row)
        {
            json_object_foreach(row, to_name, middle)
            {
                check_way(flags, state_number(from_name), state_number(to_name), middle);
                pairs++;
            }
        }
    }
    assert_int_equal(pairs, 4 * VMIG_STATE_COUNT * VMIG_STATE_COUNT);
}

static void states_are_the_kernels_for_all_capability_sets(void **unused)
{
    (void)unused;
    const char *set_name;
    json_t *set;
    json_object_foreach(json_object_get(kernel, "capability_sets"), set_name, set)
    {
        uint64_t flags = (uint64_t)json_integer_value(json_object_get(set, "migration_flags"));
        json_t *names = json_object_get(set, "supported_states"), *name;
        size_t i, count = 0;
        json_array_foreach(names, i, name)
        {
            assert_true(
                fsm_has_state(flags, (enum vmig_state)state_number(json_string_value(name))));
        }
        for (int state = VMIG_STATE_STOP; state < VMIG_STATE_COUNT; state++)
            count += fsm_has_state(flags, (enum vmig_state)state);
        assert_int_equal(count, json_array_size(names));
    }
}

static void data_streams_begin_and_end_on_the_kernels_arcs(void **unused)
{
    (void)unused;
    json_t *opens = json_object_get(kernel, "arcs_that_return_a_data_fd");
    json_t *ends = json_object_get(kernel, "arcs_that_end_a_data_fd");
    for (size_t i = 0; i < sizeof(arcs) / sizeof(arcs[0]); i++) {
        enum vmig_state from = arcs[i].from, to = arcs[i].to;
        assert_int_equal(fsm_arc_opens_data(from, to), has_pair(opens, (int)from, (int)to));
        assert_int_equal(fsm_arc_ends_data(from, to), has_pair(ends, (int)from, (int)to));
    }
}

static void names_are_the_kernels(void **unused)
{
    (void)unused;
    const char *name;
    json_t *number;
    json_object_foreach(json_object_get(kernel, "states"), name, number)
    {
        assert_string_equal(vmig_state_name((enum vmig_state)json_integer_value(number)), name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_is_a_shortest_one_by_the_rules),
        cmocka_unit_test(every_step_is_an_arc_and_no_saving_state_is_in_the_middle),
        cmocka_unit_test(arcs_without_flags_are_6_with_p2p_8_with_pre_copy_9_with_both_15),
        cmocka_unit_test(stop_copy_to_pre_copy_is_refused),
        cmocka_unit_test(nothing_enters_or_leaves_error),
        cmocka_unit_test(numbers_that_are_no_state_are_refused),
        cmocka_unit_test(without_stop_copy_there_is_only_running),
        cmocka_unit_test(unknown_flags_change_nothing),
        cmocka_unit_test(every_way_is_the_kernels_for_all_capability_sets),
        cmocka_unit_test(states_are_the_kernels_for_all_capability_sets),
        cmocka_unit_test(data_streams_begin_and_end_on_the_kernels_arcs),
        cmocka_unit_test(names_are_the_kernels),
    };
    return cmocka_run_group_tests_name("fsm", tests, load_kernel, unload_kernel);
}
