/* SPDX-License-Identifier: BSD-3-Clause */
/* What the benchmarks share: memory, the raw limit that the engine is compared with, and two
 * processes with an engine each. Whatever fails ends the program with a message. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <vfio-migrate.h>

#define MIB (UINT64_C(1) << 20)
#define GIB ((double)(UINT64_C(1) << 30))
#define REPEAT_MAX 9

_Noreturn void die(const char *what); /* says errno */
void must(int rc, const struct vmig_error *err);

/* Both sort. @part of @count values are no larger: 0.9 is the 90th percentile; 0 of none. */
double percentile(double *values, int count, double part);
double median(double *values, int count);

/* What NAME VALUE on the command line says; NULL: nothing. */
const char *bench_option(int argc, char **argv, const char *name);

/* What most of them are told: a size, how often, and with --only NAME that one alone. */
struct bench_plan {
    uint64_t mib; /* --ram, --state ... */
    int repeat;   /* 1 to REPEAT_MAX */
    const char *only;
};
/* @plan has what holds where nothing is said. Ends the program with 2 when a number is out of range. */
void bench_read_plan(int argc, char **argv, const char *size_option, uint64_t mib_min,
                     struct bench_plan *plan);
bool bench_is_wanted(const char *only, const char *name);

/* One JSON object: rates in GiB/s, the median of their ratios, its spread. Sorts all three. */
void bench_report(const char *name, uint64_t bytes, double *rate, double *base, double *ratio,
                  int repeat, double wanted);

/* What is measured against what limit, both in GiB/s. */
struct comparison {
    const char *name;
    uint64_t bytes;
    double (*measure)(void *arg), (*limit)(void *arg);
    void *arg;
    double wanted;
};
/* The limit is taken before and after each measurement, so that drift shows. */
void bench_compare(const struct comparison *c, int repeat);

/* ---- memory ---- */

enum contents { UNTOUCHED, ZEROS, RANDOM };

/* Shared memory, unmapped and closed again by bench_release(). */
struct memory {
    char *at;
    uint64_t bytes;
    int fd;
};
struct memory bench_memory(uint64_t bytes, enum contents contents);
void bench_release(struct memory *memory);
/* A forked child has the memory but not its page table entries yet: their faults are not what is
 * measured. */
void bench_populate(const struct memory *memory);

/* GiB/s of raw loopback TCP between two processes, in pieces of 1 MiB, from and to memory that is
 * touched: the limit. */
double bench_raw_rate(const struct memory *source, const struct memory *target);

/* ---- two processes with an engine each (pair.c) ---- */

struct moved {
    struct vmig_statistics statistics; /* the source's */
    double source_peak_mib, target_peak_mib;
};
/* Move what @add adds, over loopback TCP. It is called in both processes. */
struct moved bench_move(void (*add)(struct vmig_migration *m, bool target, void *arg), void *arg);
/* Milliseconds of the stages that move data: not opening connections, nor cleaning up. */
double bench_moving_ms(const struct vmig_statistics *s);

/* A reference device in a process of its own. Returns its socket; the device ends with it. */
int bench_serve_device(uint64_t state_bytes, unsigned transition_ms);

/* Move @count fresh devices. */
struct moved bench_move_devices(unsigned count, uint64_t state_bytes, unsigned transition_ms,
                                bool precopy);

#endif
