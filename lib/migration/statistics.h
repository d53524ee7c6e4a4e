/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a migration counts. Whoever sends or receives something adds to a counter, and whoever asks
 * reads it, so that asking holds nobody up. What each number means is in the public header.
 */
#ifndef LIB_MIGRATION_STATISTICS_H
#define LIB_MIGRATION_STATISTICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmig_error;
struct vmig_migration;
struct participant;

/* Beside sent_bytes. */
struct counters {
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t lane_bytes;   /* of either */
    _Atomic uint64_t paused_bytes; /* source: sent while @paused */
    atomic_bool paused;            /* source: the workload stands still */
    /* target: what had come when the last round ended, and whether the source has switched since */
    _Atomic uint64_t round_bytes;
    atomic_bool switched;
    _Atomic uint64_t normal_pages, zero_pages, dirty_pages, dirty_syncs;
};

/* Rates are those of the last one that was long enough; under the migration's lock. */
struct rate_window {
    uint64_t start_ns, bytes, pages;
    double bytes_per_s, pages_per_s;
    bool known;
};

/* A new run: nothing was counted yet; lock held. */
void statistics_reset_locked(struct vmig_migration *m);
void statistics_sent(struct vmig_migration *m, size_t bytes, bool on_lane);
void statistics_received(struct vmig_migration *m, size_t bytes, bool on_lane);
/* Sent, or at the target received. */
uint64_t statistics_transferred(const struct vmig_migration *m);
/* Source: from now on bytes are those of the pause, or are not any more. */
void statistics_pause(struct vmig_migration *m, bool stands_still);
/* Target: a round ended; the end of @p's data came, up to which @bytes had come. */
void statistics_round(struct vmig_migration *m);
void statistics_switched(struct participant *p);
void statistics_switched_at(struct participant *p, uint64_t bytes);
/* Source: @p has that much to send. */
void statistics_left(struct participant *p, uint64_t bytes);
uint64_t statistics_remaining(const struct vmig_migration *m);
/* Time goes by; lock held. */
void statistics_tick_locked(struct vmig_migration *m);
/* How it ends. */
void statistics_error(struct vmig_migration *m, const struct vmig_error *err);

#endif
