/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Displays. A VFIO device may have one, and in front of its own picture a ramfb, which firmware writes
 * to before there is a driver; a ramfb may also be a device of its own. What moves is where the picture
 * is in guest memory: in the first case with the device's config space, in the second as a section
 * "ramfb-dev".
 */
#ifndef LIB_PARTICIPANT_DISPLAY_H
#define LIB_PARTICIPANT_DISPLAY_H

#include <vfio-migrate/settings.h>
#include <vfio-migrate/pci.h>
#include "lib/stream/config.h"

struct display {
    bool shown; /* the device has a display */
    bool ramfb;
    bool moves;      /* and its state moves */
    bool ignored_on; /* it was asked to, but there is none: a warning */
};

/* What a device's settings come to, in this order:
 *  1. A ramfb cannot come with a hot-added device: firmware has looked for it by then.
 *  2. A ramfb implies a display.
 *  3. Where @off_by_default (an older machine version) auto is off.
 *  4. on without a ramfb is off, with a warning.
 *  5. Where the device shall not migrate, auto is off and on is an error.
 *  6. auto is on with a ramfb and off without.
 *  7. Somebody must have the state: both of pci's operations.
 * -EINVAL, "bad-settings" or the rule's own code. */
int display_resolve(const struct vmig_device_settings *settings, bool off_by_default,
                    const char *device, struct display *ret, struct vmig_error *err);

/* With the migration's lock held, or while it runs: of a device that was added, or is being added. */
struct participant;
int display_of(const struct vmig_migration *m, const struct participant *p, struct display *ret,
               struct vmig_error *err);

/* May a display show this? -EINVAL, "display-mismatch". No picture yet is fine. */
int ramfb_check(const struct vmig_ramfb *ramfb, const char *device, struct vmig_error *err);

/* At the target, of a device whose ramfb moves here (@moves) or does not:
 *  - the stream has it and here it does not move: refused, "display-mismatch"; it would be dropped
 *    silently, as a machine of the older version would refuse it as unknown;
 *  - the stream does not have it and here it moves: fine, as with QEMU; the display stays empty. */
int display_check(bool moves, const struct vmig_pci_state *theirs, const char *device,
                  struct vmig_error *err);

/* What a guest has made of it is not this side's fault, and the other would refuse it: then there is
 * no picture. */
void ramfb_sanitize(struct vmig_ramfb *ramfb);

/* A ramfb device of its own; one a VM. */
struct ramfb_device {
    struct vmig_migration *migration;
    struct vmig_ramfb_ops ops;
    void *opaque;
    uint8_t bytes[RAMFB_BYTES];
};

#endif
