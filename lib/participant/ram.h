/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest RAM as a participant. */
#ifndef LIB_PARTICIPANT_RAM_H
#define LIB_PARTICIPANT_RAM_H

#include <vfio-migrate/migration.h>

extern const struct vmig_participant_ops participant_ram_ops;

void *participant_ram_new(struct vmig_migration *m);
void participant_ram_free(void *opaque);
/* Of what the last look found, what devices wrote alone: they go on when the workload has stopped. */
uint64_t participant_ram_device_bytes(const void *opaque);
/* How long the last dirty sync took; part of every prediction. */
double participant_ram_sync_ms(const void *opaque);

#endif
