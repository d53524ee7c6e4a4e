/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What trace points cost: a place that nobody listens to, one that is listened to, and a move of two
 * devices with all lines on against the same with none.
 *
 *   bench/trace [--repeat 5]
 *
 * Prints a JSON object for each; base and measurement take turns in one run.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "lib/clock.h"
#include "lib/trace/trace.h"

#define PASSES 20000000
#define PASSES_ON 200000

static void count(void *opaque, const char *line)
{
    (void)line;
    (*(unsigned long *)opaque)++;
}

/* What the compiler must not take out of a loop. */
static inline void keep(unsigned long *value)
{
    __asm__ volatile("" : "+m"(*value));
}

static double empty_ns(unsigned long passes)
{
    uint64_t start = clock_ns();
    for (unsigned long i = 0; i < passes; i++)
        keep(&i);
    return (double)(clock_ns() - start) / (double)passes;
}

static double traced_ns(unsigned long passes)
{
    uint64_t start = clock_ns();
    for (unsigned long i = 0; i < passes; i++) {
        keep(&i);
        TRACE(vfio_save_iterate, "device0", i, 0);
    }
    return (double)(clock_ns() - start) / (double)passes;
}

static void report_place(const char *name, const char *pattern, unsigned long passes, int repeat)
{
    double with[REPEAT_MAX], without[REPEAT_MAX];
    static unsigned long lines;
    struct vmig_error err = { 0 };
    if (pattern)
        must(vmig_trace_enable(pattern, count, &lines, &err), &err);
    for (int i = 0; i < repeat; i++) {
        without[i] = empty_ns(passes);
        with[i] = traced_ns(passes);
    }
    vmig_trace_disable();
    double base = median(without, repeat), all = median(with, repeat);
    printf("{\"name\": \"%s\", \"empty_ns\": %.2f, \"traced_ns\": %.2f, \"cost_ns\": %.2f}\n", name,
           base, all, all - base);
}

static double move_ms(bool traced)
{
    static unsigned long lines;
    struct vmig_error err = { 0 };
    if (traced)
        must(vmig_trace_enable("*", count, &lines, &err), &err);
    struct moved m = bench_move_devices(2, 64 * MIB, 0, true);
    vmig_trace_disable();
    return bench_moving_ms(&m.statistics);
}

static void report_move(int repeat)
{
    double off[REPEAT_MAX], on[REPEAT_MAX], ratio[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        off[i] = move_ms(false);
        on[i] = move_ms(true);
        ratio[i] = on[i] / off[i];
    }
    printf("{\"name\": \"a move with all lines\", \"off_ms\": %.1f, \"on_ms\": %.1f, "
           "\"ratio\": %.2f}\n",
           median(off, repeat), median(on, repeat), median(ratio, repeat));
}

int main(int argc, char **argv)
{
    int repeat = argc == 3 && strcmp(argv[1], "--repeat") == 0 ? atoi(argv[2]) : 5;
    if (repeat < 1 || repeat > REPEAT_MAX || (argc != 1 && argc != 3)) {
        fprintf(stderr, "usage: trace [--repeat 1..%d]\n", REPEAT_MAX);
        return 2;
    }
    report_place("a place, nobody listens", NULL, PASSES, repeat);
    report_place("a place, others are listened to", "migrate_error", PASSES, repeat);
    report_place("a place that makes a line", "vfio_save_iterate", PASSES_ON, repeat);
    report_move(repeat);
    return 0;
}
