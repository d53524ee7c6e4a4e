/* SPDX-License-Identifier: BSD-3-Clause */
/* Live migration of VFIO devices: everything. */
#ifndef VFIO_MIGRATE_H
#define VFIO_MIGRATE_H

#include <vfio-migrate/error.h>
#include <vfio-migrate/device.h>
#include <vfio-migrate/participant.h>
#include <vfio-migrate/pci.h>
#include <vfio-migrate/migration.h>
#include <vfio-migrate/monitor.h>
#include <vfio-migrate/vmstate.h>
#include <vfio-migrate/settings.h>
#include <vfio-migrate/trace.h>
#include <vfio-migrate/run-state.h>

#endif
