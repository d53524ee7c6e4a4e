/* SPDX-License-Identifier: BSD-3-Clause */
/* What the VMM tells the built-in guest: a page at GUEST_PARAMS, which vCPU n gets in RDI, with n in RSI. */
#ifndef VMM_GUEST_PARAMS_H
#define VMM_GUEST_PARAMS_H

#include <stdint.h>

#define GUEST_PARAMS 0x8000
#define GUEST_BASE 0x100000    /* where the program is, and its stacks and tables: to GUEST_DMA */
#define GUEST_DMA 0x200000     /* what its devices write to, to GUEST_PATTERN */
#define GUEST_PATTERN 0x400000 /* from here on memory is rewritten */
#define GUEST_OPTIONS_BYTES 512

struct guest_params {
    uint64_t cpus;
    uint64_t low_bytes, high_bytes; /* memory from 0, and from 4 GiB */
    uint64_t ecam;
    uint16_t serial_port, power_port, power_value; /* the last written to the one before it: off */
    uint16_t fw_cfg_port;
    char options[GUEST_OPTIONS_BYTES]; /* "name=number" each, see options.c */
};

#endif
