/* SPDX-License-Identifier: BSD-3-Clause */
/* A VFIO device as a participant. */
#ifndef LIB_PARTICIPANT_DEVICE_H
#define LIB_PARTICIPANT_DEVICE_H

#include <vfio-migrate/migration.h>
#include "lib/stream/config.h"

extern const struct vmig_participant_ops participant_device_ops;

struct forecast_arcs;

void *participant_device_new(struct vmig_migration *m, struct vmig_device *device);
void participant_device_free(void *opaque);

/* What must be the same on both sides: "1b36:0005 1af4:1100", cut to @size. */
int participant_device_identity(struct vmig_device *device, char *ret, size_t size,
                                struct vmig_error *err);
/* After setup: the arcs in each step of the pause, for a device of the same kind at the target. */
void participant_device_arcs(const void *opaque, struct forecast_arcs *ret);
/* After prepare: will setup take it to PRE_COPY? */
bool participant_device_will_precopy(const void *opaque);
/* After setup: may it announce new initial bytes? */
bool participant_device_begins_again(const void *opaque);
/* Source: why its size is not known, when it is not. */
const char *participant_device_why_unknown(const void *opaque);
uint64_t participant_device_flags(const void *opaque);
/* The host shows it to a guest, and has that to set up at the target. */
bool participant_device_is_shown(const void *opaque);
/* Source, between steps: where it goes back to when the migration fails, or after a snapshot. */
void participant_device_ends(void *opaque, bool running);
/* Its own steps of stop and cont, with or without a migration. One that cannot migrate has no states,
 * so it is left as it is. */
int participant_device_halt_p2p(void *opaque, struct vmig_error *err);
int participant_device_halt(void *opaque, struct vmig_error *err);
int participant_device_cont_p2p(void *opaque, struct vmig_error *err);
int participant_device_cont(void *opaque, struct vmig_error *err);

/* Source, once the workload stands still: the device's config space; NULL when it has none. */
const struct vmig_pci_state *participant_device_config(const void *opaque);
/* Target: read the source's from @r and check that it fits this device; it is applied when the
 * device's data was taken over. */
int participant_device_read_config(void *opaque, struct reader *r, struct vmig_error *err);

#endif
