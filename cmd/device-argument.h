/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as it is typed: ADDRESS[,id=NAME][,enable-migration=on|off|auto][,viommu]
 * [,ignore-vendor-capability][,hotplugged][,ramfb=FILE][,ramfb-migrate=on|off|auto][,migration-events].
 * What is not one of these belongs to the address, which may have commas of its own.
 */
#ifndef CMD_DEVICE_ARGUMENT_H
#define CMD_DEVICE_ARGUMENT_H

#include "cmd/cmd.h"

struct device_argument {
    char address[4096];
    char id[64];                          /* "": not given */
    struct vmig_device_settings settings; /* pci_opaque: in what was typed, see cmd/ramfb-file.h */
};

/* 0, or -EINVAL and in @why what is wrong with it. */
int device_argument_parse(const char *text, struct device_argument *ret, char why[200]);
/* The same; what is wrong ends the program with argp's usage message. */
const char *device_argument_check(const struct argp_state *state, const char *text);

#endif
