/* SPDX-License-Identifier: BSD-3-Clause */
/* Where our monitor does not say what QEMU 7.2 says, and why. */
#ifndef TESTS_MONITOR_QEMU_EXCEPTIONS_H
#define TESTS_MONITOR_QEMU_EXCEPTIONS_H

enum difference { ONLY_QEMU, ONLY_OURS, OTHER_TYPE, OTHER_VALUE };

struct exception {
    const char *step, *path; /* patterns, as of a shell; the steps are in qemu.c. NULL: the end */
    enum difference what;
    const char *reason;
    unsigned used;
};
extern struct exception exceptions[];

#endif
