/* SPDX-License-Identifier: BSD-3-Clause */
/* What can run in the machine. Each puts itself into memory and sets the vCPUs that begin. */
#ifndef VMM_GUEST_H
#define VMM_GUEST_H

#include "vmm/memory.h"
#include "vmm/vcpu.h"

/* The built-in guest (guest/), on all vCPUs. @options: see vfio-vmm(1), or NULL. */
int guest_load_pattern(struct memory *memory, struct vcpus *vcpus, const char *options,
                       struct vmig_error *err);

/* Linux, from a bzImage; @initrd and @append, its command line, may be NULL. */
int guest_load_linux(struct memory *memory, struct vcpus *vcpus, const char *kernel,
                     const char *initrd, const char *append, struct vmig_error *err);

#endif
