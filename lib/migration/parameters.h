/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters and capabilities as one table: name, range, default. */
#ifndef LIB_MIGRATION_PARAMETERS_H
#define LIB_MIGRATION_PARAMETERS_H

#include <stdint.h>

enum parameter {
    PARAMETER_DOWNTIME_LIMIT,
    PARAMETER_MAX_BANDWIDTH,
    PARAMETER_SWITCHOVER_BANDWIDTH,
    PARAMETER_MAX_ROUNDS,
    PARAMETER_CHANNELS,
    PARAMETER_SWITCHOVER_ACK,
    PARAMETER_PRE_COPY,
    PARAMETER_TRANSITION_TIMEOUT,
    PARAMETER_TRACKER,
    PARAMETER_STATE_SIZE,
    PARAMETER_SNAPSHOT,
    PARAMETER_ALL_DIRTY,
    PARAMETER_RAM_DIGEST,
    PARAMETER_QUIESCE_NOTICE,
    PARAMETER_COUNT
};

struct parameter_row {
    const char *name, *unit, *help;
    uint64_t min, max, standard;
};
extern const struct parameter_row parameter_table[PARAMETER_COUNT];

#endif
