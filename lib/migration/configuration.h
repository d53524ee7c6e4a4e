/* SPDX-License-Identifier: BSD-3-Clause */
/* What a stream says at its very beginning about the machine that it is of, and whether that fits. */
#ifndef LIB_MIGRATION_CONFIGURATION_H
#define LIB_MIGRATION_CONFIGURATION_H

#include "lib/stream/qemu.h"

struct vmig_migration;

/* With validate-uuid, and one that was set: it goes with the stream. */
bool configuration_has_uuid(const struct vmig_migration *m);
void configuration_write(const struct vmig_migration *m, struct writer *w);
/* QEMU's rules: page size and validated capabilities are the same on both sides, and the UUID where
 * both have one. */
int configuration_check(struct vmig_migration *m, const struct qemu_stream *s,
                        struct vmig_error *err);

#endif
