/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters as one table: name, range, default. */
#ifndef LIB_MIGRATION_PARAMETERS_H
#define LIB_MIGRATION_PARAMETERS_H

#include <stdbool.h>
#include <stdint.h>

enum parameter {
    PARAMETER_DOWNTIME_LIMIT,
    PARAMETER_MAX_BANDWIDTH,
    PARAMETER_SWITCHOVER_BANDWIDTH,
    PARAMETER_MAX_ROUNDS,
    PARAMETER_CHANNELS,
    PARAMETER_PRE_COPY,
    PARAMETER_TRANSITION_TIMEOUT,
    PARAMETER_TRACKER,
    PARAMETER_STATE_SIZE,
    PARAMETER_ALL_DIRTY,
    PARAMETER_RAM_DIGEST,
    PARAMETER_QUIESCE_NOTICE,
    PARAMETER_COUNT
};

struct parameter_row {
    const char *name, *unit, *help;
    uint64_t min, max, standard;
    bool live;          /* can be changed while a migration runs */
    const char *reason; /* where range or default are not QEMU's: why */
};
extern const struct parameter_row parameter_table[PARAMETER_COUNT];

/* Of QEMU's, which have no counterpart here. NULL past the end. */
struct parameter_refused {
    const char *name, *reason;
};
const struct parameter_refused *parameter_refused_at(unsigned n);

#endif
