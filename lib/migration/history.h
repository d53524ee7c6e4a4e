/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What former migrations took, remembered for each kind of device in a small JSON file:
 *
 *   {"version": 1, "kinds": {KIND: [{"when": SECONDS, "quiesce_ms": 0.4, ...}, ...], ...}}
 *
 * The newest HISTORY_SAMPLES_MAX samples of a kind are kept, the newest HISTORY_KINDS_MAX kinds, and
 * nothing older than HISTORY_AGE_S. The file is untrusted: it is read whole, bounded, and what makes no
 * sense is refused as a whole.
 */
#ifndef LIB_MIGRATION_HISTORY_H
#define LIB_MIGRATION_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

enum history_term {
    /* of a device: one arc, measured before the pause; by these a sample is recognised */
    HISTORY_SOURCE_ARC,
    HISTORY_TARGET_ARC,
    /* of a device, in the pause */
    HISTORY_QUIESCE,
    HISTORY_STOP,
    HISTORY_LOAD,
    HISTORY_START_P2P,
    HISTORY_START,
    HISTORY_SIZE, /* what came in the pause, as a part of what it had said would */
    /* of any participant: bytes a ms in the pause, and how many devices moved then */
    HISTORY_RATE,
    HISTORY_TOGETHER,
    /* of the link, beside HISTORY_RATE */
    HISTORY_HANDOVER,
    HISTORY_DATA_REST, /* what little data took beyond what its bytes account for */
    HISTORY_VMSTATES,  /* of so many state tables: saving them and loading them */
    /* of this host */
    HISTORY_WORKLOAD_STOP,
    HISTORY_WORKLOAD_START,
    HISTORY_EXCESS, /* how much longer the pause was than predicted; 0 where it was shorter */
    HISTORY_TERMS
};

#define HISTORY_SAMPLES_MAX 8
#define HISTORY_KINDS_MAX 128
#define HISTORY_KIND_BYTES 224
#define HISTORY_AGE_S (UINT64_C(180) * 24 * 3600)
#define HISTORY_FILE_BYTES_MAX (640u << 10)
/* Kinds that are no devices; a link's is "link " and whom it leads to. */
#define HISTORY_HOST "host"
#define HISTORY_RAM "ram"

struct history_sample {
    uint64_t when_s;             /* since the epoch */
    double value[HISTORY_TERMS]; /* negative: not known */
};
struct history_kind {
    char name[HISTORY_KIND_BYTES];
    unsigned count;
    struct history_sample samples[HISTORY_SAMPLES_MAX]; /* newest first */
};
struct history {
    unsigned count;
    struct history_kind kinds[HISTORY_KINDS_MAX];
};

struct history *history_new(void);
void history_sample_init(struct history_sample *sample, uint64_t when_s);

/* ---- text ---- */
/* Add what @text says to @history, which is empty. -EPROTO: it makes no sense; -ENOTSUP: another
 * version; @history is empty then. What is older than HISTORY_AGE_S at @now_s is left out. */
int history_parse(const char *text, size_t length, uint64_t now_s, struct history *history);
/* The caller frees it; NULL when out of memory. */
char *history_format(const struct history *history);

/* ---- what it knows ---- */
/* One more sample; the oldest of its kind goes, or the kind that was not seen for longest. A value that
 * is no sane number is not known. */
void history_add(struct history *history, const char *kind, const struct history_sample *sample);
/* The medians of the samples of @kind that were taken when arcs of their side were like @like's, where
 * both are known; of HISTORY_SIZE the largest. Negative: there are none. */
void history_recall(const struct history *history, const char *kind,
                    const struct history_sample *like, double ret[HISTORY_TERMS]);
/* The largest HISTORY_EXCESS, where each older sample counts less. Negative: not known. */
double history_excess_ms(const struct history *history);

/* ---- file ---- */
/* 0 also when there is none. -EPROTO, -ENOTSUP and others: @history is empty and @err says why. */
int history_load(const char *path, uint64_t now_s, struct history *history, struct vmig_error *err);
/* Add what @news has to the file: whole or not at all, and with nothing lost that another process
 * adds at the same time. A damaged file is replaced, one of another version is kept. */
int history_save(const char *path, uint64_t now_s, const struct history *news,
                 struct vmig_error *err);

#endif
