/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MIGRATION_STATISTICS_JSON_H
#define LIB_MIGRATION_STATISTICS_JSON_H

#include <jansson.h>
#include <vfio-migrate/migration.h>

/* New reference; NULL: no memory. */
json_t *statistics_json(const struct vmig_statistics *statistics);

#endif
