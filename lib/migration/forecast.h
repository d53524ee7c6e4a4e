/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of the pause, without a clock: what is known of each participant and of the link
 * goes in, the terms of the pause come out. convergence.c gathers what goes in.
 *
 * A barrier waits for the slowest, so each step of the devices counts once, with its slowest
 * device. Bytes share the link, and each participant has a rate of its own below it.
 */
#ifndef LIB_MIGRATION_FORECAST_H
#define LIB_MIGRATION_FORECAST_H

#include <stdbool.h>
#include <vfio-migrate/migration.h>
#include "lib/migration/history.h"

/* A size that nobody knows counts as this much, so that an unknown pause is never taken for a short
 * one (QEMU counts the same). */
#define FORECAST_UNKNOWN_BYTES (UINT64_C(100) << 30)

/* Arcs that a device goes through in each step of the pause. */
struct forecast_arcs {
    unsigned quiesce, stop, load, start_p2p, start;
};

/* One participant. A negative time and a rate of 0 are not known. */
struct forecast_part {
    bool device;
    bool shown; /* the host has something to set up there before its guest sees the device */
    struct forecast_arcs arcs;
    double source_arc_ms, target_arc_ms; /* of one arc, measured in this run */
    double past[HISTORY_TERMS];          /* what is remembered of its kind */
    uint64_t bytes;                      /* left when it was looked at last */
    uint64_t bytes_min;                  /* of these it is sure */
    uint64_t bytes_max;                  /* it never has more than this */
    /* bytes a ms that it becomes more: until the workload stands still; until it is stopped itself */
    double workload_rate, own_rate;
    /* bytes a ms, measured in this run: that it moves at by itself, and that all moved at together while
     * it was none that the others waited for */
    double rate, shared_rate;
};

struct forecast_link {
    double sync_ms, round_trip_ms;
    double bandwidth;           /* bytes a ms; 0: not known */
    unsigned vmstates;          /* tables of the host's own state */
    double past[HISTORY_TERMS]; /* what is remembered of it and of the workload */
};

/* No rate is learned from fewer bytes in a pause: waiting for turns on processors outweighs them. What that took is
 * remembered by itself, and expected of no more than so much. */
#define FORECAST_LITTLE_BYTES (4u << 20)

void forecast_nothing(double past[HISTORY_TERMS]);
void forecast_pause(const struct forecast_part *parts, unsigned count,
                    const struct forecast_link *link, struct vmig_pause *ret);
/* What HISTORY_DATA_REST adds to the data of @pause. */
double forecast_data_rest_ms(const struct vmig_pause *pause, const double past[HISTORY_TERMS]);
/* The terms together, without the doubt. */
double forecast_sum_ms(const struct vmig_pause *pause);
/* What a decision adds where arcs at the source, or what the host has to do, could only be guessed. */
double forecast_guess_ms(const struct forecast_part *parts, unsigned count,
                         const struct forecast_link *link);
/* What a decision adds to a prediction. @excess_ms: by how much the predictions of
 * former migrations were too short, as remembered; negative: not known. */
double forecast_doubt_ms(const struct vmig_pause *pause, double excess_ms);

#endif
