/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine versions: what a VM of an older one does not have, so that its streams are what that version
 * wrote and read. A version turns off defaults; what settings ask for by name they get. */
#ifndef LIB_MIGRATION_COMPAT_H
#define LIB_MIGRATION_COMPAT_H

#include <stdbool.h>
#include <vfio-migrate/error.h>

enum compat_property {
    COMPAT_DISPLAY_RAMFB, /* the ramfb of a VFIO device's display moves */
    COMPAT_RAMFB,         /* that of a ramfb device of its own does */
    COMPAT_COUNT
};

/* 0.0: the newest, whatever that is. */
struct compat_version {
    unsigned major, minor;
};

/* "8.1". -EINVAL: it is no version. */
int compat_parse(const char *text, struct compat_version *ret, struct vmig_error *err);
/* QEMU's name of it, "ramfb.x-migrate". Static string. */
const char *compat_name(enum compat_property property);
bool compat_turns_off(const struct compat_version *version, enum compat_property property);

#endif
