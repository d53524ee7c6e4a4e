/* SPDX-License-Identifier: BSD-3-Clause */
/* --backend: how the kernel's devices are opened. */
#ifndef CMD_BACKEND_ARGUMENT_H
#define CMD_BACKEND_ARGUMENT_H

#include "cmd/cmd.h"

#define KEY_BACKEND 0x1200
#define BACKEND_OPTION                                                                             \
    {                                                                                              \
        "backend", KEY_BACKEND, "auto|cdev|group", 0,                                              \
            "How PCI and mediated devices are opened: by character device and iommufd, or by "     \
            "group; auto takes the first where this host has and permits it",                      \
            0                                                                                      \
    }

/* Another word than those ends the program with argp's usage message. Static string. */
const char *backend_argument(const struct argp_state *state, const char *text);

/* What of it goes into the options of the device at @address: it is about the kernel's only. */
const char *backend_for(const char *address, const char *wish);

#endif
