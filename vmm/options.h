/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of vfio-vmm. */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum vmm_exit { /* the numbers that vfio-migrate has, too, mean the same */
                VMM_DONE = 0,
                VMM_FAILED = 1,
                VMM_USAGE = 2,
                VMM_NO_KVM = 6,
};

struct options {
    bool pattern;
    const char *append, *serial;
    unsigned cpus;
    uint64_t memory_bytes;
    bool huge_pages;
};

/* Ends the program with a message where something is wrong, and after --help. */
void options_parse(int argc, char **argv, struct options *ret);

#endif
