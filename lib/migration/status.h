/* SPDX-License-Identifier: BSD-3-Clause */
/* The status machine as one table, which vfio-migrate(7) prints (STATUS; a test compares them). */
#ifndef LIB_MIGRATION_STATUS_H
#define LIB_MIGRATION_STATUS_H

#include <stdbool.h>
#include <vfio-migrate/migration.h>

struct status_row {
    enum vmig_status from, to;
    bool source, target; /* where that happens */
    const char *when;
};
/* NULL past the end. */
const struct status_row *status_row_at(unsigned n);
bool status_may_follow(bool source, enum vmig_status from, enum vmig_status to);

#endif
