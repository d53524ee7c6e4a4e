/* SPDX-License-Identifier: BSD-3-Clause */
/* ACPI tables: how many CPUs there are, where ECAM and the BARs' windows are, how lines are wired, how the
 * machine is switched off. Enough for Linux. */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include "vmm/memory.h"

/* Put them into memory at BOOT_ACPI, the root pointer first. */
void acpi_make(struct memory *memory, unsigned cpus);

#endif
