/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of the pause, by numbers: each term alone, then what is gathered for them, then the
 * decision. Nothing here looks at a clock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/migration/world.h"

/* ---- forecast.c ---- */

static struct forecast_part part(bool device)
{
    struct forecast_part p = { .device = device, .source_arc_ms = -1, .target_arc_ms = -1 };
    forecast_nothing(p.past);
    return p;
}

/* One arc a step, 10 ms at the source, 3 ms at the target. */
static struct forecast_part device(void)
{
    struct forecast_part p = part(true);
    p.arcs = (struct forecast_arcs) { 1, 1, 1, 1, 1 };
    p.source_arc_ms = 10;
    p.target_arc_ms = 3;
    return p;
}

/* 100,000 bytes a ms, and the workload stops and starts in no time. */
static struct forecast_link link_of(double bandwidth)
{
    struct forecast_link l = { .bandwidth = bandwidth };
    forecast_nothing(l.past);
    l.past[HISTORY_WORKLOAD_STOP] = l.past[HISTORY_WORKLOAD_START] = 0;
    return l;
}

static struct vmig_pause pause_of(const struct forecast_part *parts, unsigned count,
                                  const struct forecast_link *link)
{
    struct vmig_pause p;
    forecast_pause(parts, count, link, &p);
    return p;
}

#define assert_ms(value, ms) assert_int_equal((int)((value)*1000 + 0.5), (int)((ms)*1000))

static void each_side_takes_its_own_arcs(void **state)
{
    (void)state;
    struct forecast_part p = device();
    struct forecast_link l = link_of(1e5);
    p.arcs = (struct forecast_arcs) { 1, 2, 1, 1, 1 };
    struct vmig_pause pause = pause_of(&p, 1, &l);
    assert_ms(pause.quiesce_ms, 10);
    assert_ms(pause.stop_ms, 20);
    assert_ms(pause.load_ms, 3);
    assert_ms(pause.start_ms, 6);
    assert_ms(forecast_sum_ms(&pause), 39);
}

static void side_that_was_not_measured_is_like_the_other(void **state)
{
    (void)state;
    struct forecast_part p = device();
    struct forecast_link l = link_of(1e5);
    p.source_arc_ms = -1;
    assert_ms(pause_of(&p, 1, &l).stop_ms, 3);
    p = device();
    p.target_arc_ms = -1;
    assert_ms(pause_of(&p, 1, &l).load_ms, 10);
    p.source_arc_ms = -1;
    assert_ms(pause_of(&p, 1, &l).load_ms, 0);
}

/* Barriers: the slowest of each step, whoever it is; not the slowest device, and no sum. */
static void slowest_device_of_each_step_counts_once(void **state)
{
    (void)state;
    struct forecast_part p[3] = { device(), device(), part(false) };
    struct forecast_link l = link_of(1e5);
    p[1].source_arc_ms = 7;
    p[1].target_arc_ms = 50;
    struct vmig_pause pause = pause_of(p, 3, &l);
    assert_ms(pause.quiesce_ms, 10);
    assert_ms(pause.load_ms, 50);
    assert_ms(pause.start_ms, 100);
}

/* P2P of one and the start of another are behind different barriers. */
static void start_is_the_slowest_p2p_and_the_slowest_start(void **state)
{
    (void)state;
    struct forecast_part p[2] = { device(), device() };
    struct forecast_link l = link_of(1e5);
    p[0].past[HISTORY_START_P2P] = 5;
    p[0].past[HISTORY_START] = 1;
    p[1].past[HISTORY_START_P2P] = 2;
    p[1].past[HISTORY_START] = 9;
    assert_ms(pause_of(p, 2, &l).start_ms, 14);
}

static void what_was_seen_in_a_pause_counts_before_what_is_derived_from_arcs(void **state)
{
    (void)state;
    struct forecast_part p = device();
    struct forecast_link l = link_of(1e5);
    p.past[HISTORY_QUIESCE] = 4;
    p.past[HISTORY_LOAD] = 70;
    struct vmig_pause pause = pause_of(&p, 1, &l);
    assert_ms(pause.quiesce_ms, 4);
    assert_ms(pause.stop_ms, 10); /* not remembered */
    assert_ms(pause.load_ms, 70);
}

/* 6 MB and 4 MB at 100,000 a ms; sync 3, a round trip of 4 here and one in the hand-over. */
static void all_bytes_share_the_link(void **state)
{
    (void)state;
    struct forecast_part p[2] = { part(false), part(true) };
    struct forecast_link l = link_of(1e5);
    p[0].bytes = 6000000;
    p[1].bytes = 4000000;
    p[1].rate = 1e9;
    l.sync_ms = 3;
    l.round_trip_ms = 4;
    struct vmig_pause pause = pause_of(p, 2, &l);
    assert_ms(pause.data_ms, 107);
    assert_ms(pause.handover_ms, 4);
    assert_int_equal(pause.data_bytes, 10000000);
}

/* 10 MB at 20,000 a ms are 500 ms; the other's 10 MB pass meanwhile. */
static void slow_participant_holds_up_the_pause_and_not_the_others(void **state)
{
    (void)state;
    struct forecast_part p[2] = { part(false), device() };
    struct forecast_link l = link_of(1e5);
    p[0].bytes = p[1].bytes = 10000000;
    p[1].rate = 2e4;
    assert_ms(pause_of(p, 2, &l).data_ms, 500);
    p[0].rate = 1e4; /* and memory has a rate of its own, too */
    assert_ms(pause_of(p, 2, &l).data_ms, 1000);
}

/* 8 and 2 MB that moved at 50,000 a ms when they moved together, in whatever shares. */
static void participants_seen_only_together_are_counted_together(void **state)
{
    (void)state;
    struct forecast_part p[3] = { part(false), device(), device() };
    struct forecast_link l = link_of(1e8);
    p[0].bytes = 8000000;
    p[1].bytes = 2000000;
    p[0].shared_rate = p[1].shared_rate = 5e4;
    assert_ms(pause_of(p, 3, &l).data_ms, 200);
    p[1].rate = 1e4; /* one of them is slow by itself */
    assert_ms(pause_of(p, 3, &l).data_ms, 200);
    p[0].bytes = 1000000;
    assert_ms(pause_of(p, 3, &l).data_ms, 200);
    p[1].rate = 2e4;
    assert_ms(pause_of(p, 3, &l).data_ms, 100);
}

/* The default of 1 GB/s for all such devices, or the link where that is slower. */
static void device_that_was_never_read_is_not_taken_for_fast(void **state)
{
    (void)state;
    struct forecast_part p[2] = { device(), device() };
    struct forecast_link fast = link_of(1e7), slow = link_of(1e5);
    p[0].bytes = p[1].bytes = 10000000;
    assert_ms(pause_of(p, 1, &fast).data_ms, 10);
    assert_ms(pause_of(p, 1, &slow).data_ms, 100);
    assert_ms(pause_of(p, 2, &fast).data_ms, 20);
    p[0].past[HISTORY_RATE] = 5e6; /* but it was read in a former pause */
    assert_ms(pause_of(p, 1, &fast).data_ms, 2);
    assert_ms(pause_of(p, 2, &fast).data_ms, 10);
}

static void memory_is_as_fast_as_it_was_ever_seen(void **state)
{
    (void)state;
    struct forecast_part p[2] = { part(false), device() };
    struct forecast_link l = link_of(1e8);
    for (unsigned i = 0; i < 2; i++) {
        p[i].bytes = 10000000;
        p[i].past[HISTORY_RATE] = 1e6;
        p[i].rate = 2e6;
    }
    assert_ms(pause_of(p, 1, &l).data_ms, 5);
    assert_ms(pause_of(p + 1, 1, &l).data_ms, 10);
    p[0].rate = 5e5;
    assert_ms(pause_of(p, 1, &l).data_ms, 10);
}

static void rate_of_one_device_is_divided_among_more(void **state)
{
    (void)state;
    struct forecast_part p[4] = { device(), device(), device(), device() };
    struct forecast_link l = link_of(1e8);
    for (unsigned i = 0; i < 4; i++) {
        p[i].bytes = 10000000;
        p[i].past[HISTORY_RATE] = 1e6;
        p[i].past[HISTORY_TOGETHER] = 2;
    }
    assert_ms(pause_of(p, 1, &l).data_ms, 10); /* fewer than then: not faster than was seen */
    assert_ms(pause_of(p, 2, &l).data_ms, 10);
    assert_ms(pause_of(p, 4, &l).data_ms, 20);
}

static void link_that_nobody_measured_is_slow(void **state)
{
    (void)state;
    struct forecast_part p = part(false);
    struct forecast_link l = link_of(0);
    p.bytes = 10000000;
    assert_ms(pause_of(&p, 1, &l).data_ms, 100);
    l.past[HISTORY_RATE] = 1e6;
    assert_ms(pause_of(&p, 1, &l).data_ms, 10);
}

/* Faster than measured, up to four times: a moment's measurement is low. Slower never counts. */
static void remembered_link_counts_while_it_may_be_the_same(void **state)
{
    (void)state;
    struct forecast_part p = part(false);
    struct forecast_link l = link_of(1e5);
    p.bytes = 10000000;
    l.past[HISTORY_RATE] = 2e5;
    assert_ms(pause_of(&p, 1, &l).data_ms, 50);
    l.past[HISTORY_RATE] = 4e5;
    assert_ms(pause_of(&p, 1, &l).data_ms, 100);
    l.past[HISTORY_RATE] = 1e4;
    assert_ms(pause_of(&p, 1, &l).data_ms, 100);
}

/* 100 kB take 1 ms at this rate, and took 40 more whenever; of 10 MB that was part of the rate. */
static void little_data_takes_what_it_took_beyond_its_bytes(void **state)
{
    (void)state;
    struct forecast_part p = part(false);
    struct forecast_link l = link_of(1e5);
    p.bytes = 100000;
    assert_ms(pause_of(&p, 1, &l).data_ms, 1);
    l.past[HISTORY_DATA_REST] = 40;
    assert_ms(pause_of(&p, 1, &l).data_ms, 41);
    p.bytes = 10000000;
    assert_ms(pause_of(&p, 1, &l).data_ms, 100);
}

/* The workload writes 1,000 bytes a ms for the 5 ms until it stands, devices write 200 a ms for these
 * and for the 10 + 10 until they stand. */
static void what_is_written_until_it_stops_is_counted(void **state)
{
    (void)state;
    struct forecast_part p[2] = { part(false), device() };
    struct forecast_link l = link_of(1e5);
    l.past[HISTORY_WORKLOAD_STOP] = 5;
    p[0].bytes = 100000;
    p[0].bytes_max = 1000000;
    p[0].workload_rate = 1000;
    p[0].own_rate = 200;
    struct vmig_pause pause = pause_of(p, 2, &l);
    assert_ms(pause.workload_stop_ms, 5);
    assert_int_equal(pause.data_bytes, 100000 + 5 * 1000 + 25 * 200);
    p[0].bytes_max = 101000; /* there is no more than that */
    assert_int_equal(pause_of(p, 2, &l).data_bytes, 101000);
}

/* It says 10 MB and a hundredth came the last time; it knows of 50 kB, then of 500. */
static void device_that_always_says_everything_is_known_for_it(void **state)
{
    (void)state;
    struct forecast_part p = device();
    struct forecast_link l = link_of(1e5);
    p.bytes = p.bytes_max = 10000000;
    p.bytes_min = 50000;
    assert_int_equal(pause_of(&p, 1, &l).data_bytes, 10000000);
    p.past[HISTORY_SIZE] = 0.01;
    assert_int_equal(pause_of(&p, 1, &l).data_bytes, 100000);
    p.bytes_min = 500000;
    assert_int_equal(pause_of(&p, 1, &l).data_bytes, 500000);
    p.past[HISTORY_SIZE] = 2; /* one that said too little */
    assert_int_equal(pause_of(&p, 1, &l).data_bytes, 20000000);
    p.past[HISTORY_SIZE] = 1000;
    assert_int_equal(pause_of(&p, 1, &l).data_bytes, 40000000);
}

static void unknown_workload_is_not_taken_for_instant(void **state)
{
    (void)state;
    struct forecast_part p = part(false);
    struct forecast_link l = link_of(1e5);
    forecast_nothing(l.past);
    struct vmig_pause pause = pause_of(&p, 1, &l);
    assert_ms(pause.workload_stop_ms, 1);
    assert_ms(pause.workload_start_ms, 1);
}

static void sums_do_not_wrap_round(void **state)
{
    (void)state;
    struct forecast_part p[2] = { part(false), part(false) };
    struct forecast_link l = link_of(1e5);
    p[0].bytes = p[1].bytes = UINT64_MAX;
    struct vmig_pause pause = pause_of(p, 2, &l);
    assert_int_equal(pause.data_bytes, UINT64_MAX);
    assert_true(pause.data_ms > 3e14);
}

/* 30 ms for each arc of the slowest in each step; nothing where it was measured or is remembered. */
static void guessed_arcs_are_doubted(void **state)
{
    (void)state;
    struct forecast_part p[3] = { device(), device(), part(false) };
    struct forecast_link l = link_of(1e5);
    assert_ms(forecast_guess_ms(p, 3, &l), 0);
    p[0].source_arc_ms = -1;
    assert_ms(forecast_guess_ms(p, 3, &l), 60);
    p[1].source_arc_ms = -1;
    p[1].arcs.stop = 2;
    assert_ms(forecast_guess_ms(p, 3, &l), 90);
    p[1].past[HISTORY_STOP] = 7;
    assert_ms(forecast_guess_ms(p, 3, &l), 60);
}

/* Nobody can try them before the pause: they are doubted until they were seen in one. */
static void what_the_host_does_in_the_pause_is_doubted_until_it_was_seen(void **state)
{
    (void)state;
    struct forecast_part p = device();
    struct forecast_link l = link_of(1e5);
    p.shown = true;
    assert_ms(forecast_guess_ms(&p, 1, &l), 30);
    l.vmstates = 7;
    assert_ms(forecast_guess_ms(&p, 1, &l), 60);
    p.past[HISTORY_LOAD] = 12;
    assert_ms(forecast_guess_ms(&p, 1, &l), 30);
    l.past[HISTORY_VMSTATES] = 25;
    assert_ms(forecast_guess_ms(&p, 1, &l), 0);
}

/* Beside whatever else the hand-over takes, remembered or not. */
static void state_tables_are_part_of_the_hand_over(void **state)
{
    (void)state;
    struct forecast_part p = part(false);
    struct forecast_link l = link_of(1e5);
    l.round_trip_ms = 4;
    l.vmstates = 7;
    assert_ms(pause_of(&p, 1, &l).handover_ms, 4);
    l.past[HISTORY_VMSTATES] = 25;
    assert_ms(pause_of(&p, 1, &l).handover_ms, 29);
    l.past[HISTORY_HANDOVER] = 9;
    assert_ms(pause_of(&p, 1, &l).handover_ms, 34);
}

static double doubt(double other_ms, double data_ms, double excess_ms)
{
    struct vmig_pause pause = { .stop_ms = other_ms, .data_ms = data_ms };
    return forecast_doubt_ms(&pause, excess_ms);
}

static void doubt_is_bounded(void **state)
{
    (void)state;
    assert_ms(doubt(100, 0, -1), 10);  /* nothing known: a tenth */
    assert_ms(doubt(10, 0, -1), 2);    /* or some threads' turns */
    assert_ms(doubt(100, 0, 7), 7);    /* as it was */
    assert_ms(doubt(100, 0, 0), 5);    /* right by chance */
    assert_ms(doubt(100, 0, 500), 25); /* one bad day */
    assert_ms(doubt(4, 0, 0), 2);
    assert_ms(doubt(4, 0, 500), 10);
    assert_ms(doubt(50, 50, 7), 17); /* and a fifth of the data */
}

/* ---- convergence.c: what is gathered ---- */

/* One participant of memory with @bytes to send, over data channels. */
static struct vmig_migration *with_pending(uint64_t precopy, uint64_t stop_copy)
{
    static char memory[8192] __attribute__((aligned(4096)));
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    struct vmig_ram_block block = {
        .name = "m", .size_bytes = sizeof(memory), .vaddr = memory, .fd = -1
    };
    x(vmig_migration_add_ram(m, &block, &err));
    m->participants[0]->pending =
        (struct vmig_pending) { .precopy_bytes = precopy, .stop_copy_bytes = stop_copy };
    m->carrier = &carrier_lanes;
    x(vmig_migration_set(m, "max-bandwidth", 0, &err)); /* rounds under a limit teach nothing */
    convergence_recall(m);
    return m;
}

/* Of something that is no memory: its sizes are taken as a device's. */
static const struct vmig_participant_ops no_ops = { .size = sizeof(no_ops) };

static struct participant *add_other(struct vmig_migration *m, enum participant_kind kind)
{
    x(vmig_migration_add_participant(m, "other", &no_ops, NULL, &err));
    struct participant *p = m->participants[m->num_participants - 1];
    p->kind = kind;
    return p;
}

static void end(struct vmig_migration *m)
{
    vmig_migration_free(m);
}

static void memory_counts_both_its_sizes_and_a_device_the_larger(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(6000000, 4000000);
    assert_int_equal(convergence_remaining(m), 10000000);
    struct participant *p = add_other(m, PARTICIPANT_DEVICE);
    p->pending = (struct vmig_pending) { .precopy_bytes = 3000, .stop_copy_bytes = 5000 };
    assert_int_equal(convergence_remaining(m), 10005000);
    p->pending = (struct vmig_pending) { .precopy_bytes = 7000, .stop_copy_bytes = 5000 };
    assert_int_equal(convergence_remaining(m), 10007000);
    m->participants[0]->pending.precopy_bytes = UINT64_MAX;
    assert_int_equal(convergence_remaining(m), UINT64_MAX);
    end(m);
}

static void device_of_unknown_size_has_100_gib(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(0, 0);
    struct participant *p = add_other(m, PARTICIPANT_DEVICE);
    struct vmig_pause pause;
    p->pending.stop_copy_bytes = UINT64_MAX;
    assert_int_equal(convergence_remaining(m), UINT64_C(100) << 30);
    forecast_nothing(p->forecast.past);
    p->forecast.past[HISTORY_SIZE] = 0; /* whatever it was the last time */
    convergence_predict(m, &pause);
    assert_int_equal(pause.data_bytes, UINT64_C(100) << 30);
    p->kind = PARTICIPANT_OTHER;
    end(m);
}

/* A round trip of 3 ms: 4 MB in 43 ms moved in 40. */
static void rounds_teach_bandwidth_without_the_round_trip(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(0, 0);
    convergence_learn_round(m, 1000, 3, 3);
    assert_ms(m->model.round_trip_ms, 3);
    assert_int_equal((int)m->statistics.bandwidth_bytes_per_s, 0); /* too little to tell */
    convergence_learn_round(m, 4000000, 43, 20);
    assert_ms(m->model.round_trip_ms, 3);
    assert_int_equal((int)(m->statistics.bandwidth_bytes_per_s + 0.5), 100000000);
    convergence_learn_round(m, 1u << 30, 0, 0);
    assert_ms(m->model.round_trip_ms, 3);
    end(m);
}

/* Slower rounds are the machine's doing; but what is four rounds old is past. */
static void best_of_the_last_three_rounds_counts(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(0, 0);
    static const double ms[] = { 10, 40, 20, 80 };
    static const double want[] = { 10, 10, 10, 20 };
    for (int i = 0; i < 4; i++) {
        convergence_learn_link(m, 4000000, ms[i]);
        assert_int_equal((int)(m->statistics.bandwidth_bytes_per_s + 0.5),
                         (int)(4000000 / want[i] * 1e3));
    }
    end(m);
}

/* 2 MB of each in 100 ms. Who was busy for 100 of them while the other took 40 is that slow himself;
 * the other, and both where it was 60, could not have been seen any faster. */
static void slow_one_is_told_from_those_that_share(void **state)
{
    (void)state;
    for (int together = 0; together < 2; together++) {
        struct vmig_migration *m = with_pending(0, 0);
        struct participant *slow = add_other(m, PARTICIPANT_DEVICE), *fast = m->participants[0];
        slow->data_bytes = fast->data_bytes = 2000000;
        slow->step_ms[STEP_ITERATE] = 100;
        fast->step_ms[STEP_ITERATE] = together ? 60 : 40;
        convergence_learn_round(m, 4000000, 100, 0);
        assert_ms(slow->learned.speed.rate[0], together ? 0 : 20000);
        assert_ms(slow->learned.shared_speed.rate[0], together ? 40000 : 0);
        assert_ms(fast->learned.speed.rate[0], 0);
        assert_ms(fast->learned.shared_speed.rate[0], 40000);
        slow->kind = PARTICIPANT_OTHER;
        end(m);
    }
}

static void limited_rounds_say_nothing_about_the_link(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(64u << 20, 0);
    x(vmig_migration_set(m, "max-bandwidth", 1000000, &err));
    convergence_learn_round(m, 4u << 20, 4000, 3);
    assert_int_equal((int)m->statistics.bandwidth_bytes_per_s, 0);
    assert_true(convergence_wants_link(m));
    m->model.link_measured = true;
    assert_false(convergence_wants_link(m));
    end(m);
}

static void link_is_not_measured_for_nothing(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending((1u << 20) - 1, 0);
    assert_false(convergence_wants_link(m));
    m->participants[0]->pending.precopy_bytes++;
    assert_true(convergence_wants_link(m));
    m->carrier = &carrier_sections; /* has no way to */
    assert_false(convergence_wants_link(m));
    m->carrier = &carrier_lanes;
    x(vmig_migration_set(m, "avail-switchover-bandwidth", 1000, &err));
    assert_false(convergence_wants_link(m));
    end(m);
}

static void bandwidth_that_was_given_counts(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(10000000, 0);
    struct vmig_pause pause;
    convergence_learn_link(m, 10000000, 100);
    convergence_predict(m, &pause);
    assert_int_equal((int)(pause.data_ms + 0.5), 100);
    m->model.past[HISTORY_RATE] = m->participants[0]->forecast.past[HISTORY_RATE] = 150000;
    x(vmig_migration_set(m, "avail-switchover-bandwidth", 20000000, &err)); /* 20 MB/s */
    convergence_predict(m, &pause);
    assert_int_equal((int)(pause.data_ms + 0.5), 500);
    end(m);
}

/* It had 9,000, sent 8,000 and has 3,000: 2,000 are new, in 10 ms. Then 1,000 more in 10 ms, and what
 * was before counts half: 2,000 in 15. */
static void device_that_goes_on_changing_is_noticed(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(0, 0);
    struct participant *p = add_other(m, PARTICIPANT_DEVICE);
    p->pending = (struct vmig_pending) { .precopy_bytes = 9000 };
    convergence_look(m, 0);
    assert_int_equal(p->learned.bytes_max, 9000);
    p->data_bytes += 8000;
    p->pending.precopy_bytes = 3000;
    convergence_look(m, 10);
    assert_ms(p->learned.by_itself.bytes / p->learned.by_itself.ms, 200);
    p->data_bytes += 3000;
    p->pending.precopy_bytes = 1000;
    convergence_look(m, 10);
    assert_int_equal((int)p->learned.by_itself.bytes, 2000);
    assert_int_equal((int)p->learned.by_itself.ms, 15);
    /* it has less than before: nothing is known to be new */
    p->data_bytes += 500;
    p->pending.precopy_bytes = 0;
    convergence_look(m, 1e9);
    assert_int_equal((int)p->learned.by_itself.bytes, 1000);
    p->kind = PARTICIPANT_OTHER;
    end(m);
}

/* ---- convergence.c: the decision ---- */

static enum verdict judge(struct vmig_migration *m, double data_ms, double *best_ms,
                          struct vmig_error *err)
{
    struct vmig_pause pause = { .data_ms = data_ms, .doubt_ms = 5 };
    return convergence_judge(m, &pause, best_ms, err);
}

/* Limit 300: 295 and 5 of doubt keep it, a hair more does not; and the last round decides. */
static void pause_at_the_limit_switches_and_above_it_gives_up(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct vmig_migration *m = with_pending(1000000, 0);
        struct vmig_error err = { 0 };
        double best_ms = 0;
        m->round = 30;
        assert_int_equal(judge(m, 295 + over, &best_ms, &err),
                         over ? VERDICT_GIVE_UP : VERDICT_SWITCH);
        if (over) {
            assert_int_equal(err.code, -ETIME);
            assert_string_equal(err.reason, "not-converging");
            assert_non_null(strstr(err.text, "301 ms, 1 ms more than the downtime-limit of 300"));
        }
        end(m);
    }
}

static void goes_on_while_it_gains_and_rounds_are_left(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(1000000, 0);
    double best_ms = 0;
    m->round = 1; /* 200 ms: under the limit, and a round may shorten it */
    assert_int_equal(judge(m, 200, &best_ms, NULL), VERDICT_GO_ON);
    m->round = 2;
    assert_int_equal(judge(m, 190, &best_ms, NULL), VERDICT_SWITCH); /* 5 % is not worth a round */
    end(m);
}

/* 2 % of the limit of 300 ms is 6 ms; of a long one no more than 10. */
static void little_data_does_not_wait_for_another_round(void **state)
{
    (void)state;
    static const struct {
        unsigned limit;
        double ms;
        enum verdict verdict;
    } rows[] = { { 300, 6, VERDICT_SWITCH },
                 { 300, 6.1, VERDICT_GO_ON },
                 { 10000, 10, VERDICT_SWITCH },
                 { 10000, 10.1, VERDICT_GO_ON } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct vmig_migration *m = with_pending(1000000, 0);
        double best_ms = 0;
        m->round = 1;
        x(vmig_migration_set(m, "downtime-limit", rows[i].limit, &err));
        assert_int_equal(judge(m, rows[i].ms, &best_ms, NULL), rows[i].verdict);
        end(m);
    }
}

static void round_that_measured_the_link_is_none_of_the_allowed(void **state)
{
    (void)state;
    struct vmig_migration *m = with_pending(1000000, 0);
    double best_ms = 0;
    m->round = 30;
    m->model.link_measured = true;
    assert_int_equal(judge(m, 1000, &best_ms, NULL), VERDICT_GO_ON);
    m->round = 31;
    assert_int_equal(judge(m, 1000, &best_ms, NULL), VERDICT_GIVE_UP);
    end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_side_takes_its_own_arcs),
        cmocka_unit_test(side_that_was_not_measured_is_like_the_other),
        cmocka_unit_test(slowest_device_of_each_step_counts_once),
        cmocka_unit_test(start_is_the_slowest_p2p_and_the_slowest_start),
        cmocka_unit_test(what_was_seen_in_a_pause_counts_before_what_is_derived_from_arcs),
        cmocka_unit_test(all_bytes_share_the_link),
        cmocka_unit_test(slow_participant_holds_up_the_pause_and_not_the_others),
        cmocka_unit_test(participants_seen_only_together_are_counted_together),
        cmocka_unit_test(device_that_was_never_read_is_not_taken_for_fast),
        cmocka_unit_test(memory_is_as_fast_as_it_was_ever_seen),
        cmocka_unit_test(rate_of_one_device_is_divided_among_more),
        cmocka_unit_test(link_that_nobody_measured_is_slow),
        cmocka_unit_test(remembered_link_counts_while_it_may_be_the_same),
        cmocka_unit_test(little_data_takes_what_it_took_beyond_its_bytes),
        cmocka_unit_test(what_is_written_until_it_stops_is_counted),
        cmocka_unit_test(device_that_always_says_everything_is_known_for_it),
        cmocka_unit_test(unknown_workload_is_not_taken_for_instant),
        cmocka_unit_test(sums_do_not_wrap_round),
        cmocka_unit_test(guessed_arcs_are_doubted),
        cmocka_unit_test(what_the_host_does_in_the_pause_is_doubted_until_it_was_seen),
        cmocka_unit_test(state_tables_are_part_of_the_hand_over),
        cmocka_unit_test(doubt_is_bounded),
        cmocka_unit_test(memory_counts_both_its_sizes_and_a_device_the_larger),
        cmocka_unit_test(device_of_unknown_size_has_100_gib),
        cmocka_unit_test(rounds_teach_bandwidth_without_the_round_trip),
        cmocka_unit_test(best_of_the_last_three_rounds_counts),
        cmocka_unit_test(slow_one_is_told_from_those_that_share),
        cmocka_unit_test(limited_rounds_say_nothing_about_the_link),
        cmocka_unit_test(link_is_not_measured_for_nothing),
        cmocka_unit_test(bandwidth_that_was_given_counts),
        cmocka_unit_test(device_that_goes_on_changing_is_noticed),
        cmocka_unit_test(pause_at_the_limit_switches_and_above_it_gives_up),
        cmocka_unit_test(goes_on_while_it_gains_and_rounds_are_left),
        cmocka_unit_test(little_data_does_not_wait_for_another_round),
        cmocka_unit_test(round_that_measured_the_link_is_none_of_the_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
