/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A picture in guest memory, in front of a VFIO device's display: the guest writes where it is and how its pixels lie
 * to the file etc/ramfb of fw_cfg, in any pieces, and from then on only to its memory. So all that there is to do is to
 * look there when somebody wants to see it, and to believe nothing: whatever was written is checked each time.
 */
#ifndef VMM_RAMFB_H
#define VMM_RAMFB_H

#include <stdatomic.h>
#include <vfio-migrate/pci.h>

#include "vmm/fw-cfg.h"

struct ramfb {
    struct fw_cfg *fw_cfg;   /* whose lock guards the file; NULL: there is no ramfb */
    atomic_bool left_behind; /* the guest came, and not what it had written */
    struct __attribute__((packed)) ramfb_file { /* big-endian */
        uint64_t addr;
        uint32_t fourcc, flags, width, height, stride_bytes;
    } file;
};

void ramfb_new(struct ramfb *ramfb, struct fw_cfg *fw_cfg);
/* Any thread: what the guest has written, and what it had written elsewhere; NULL: that did not come along. */
void ramfb_get(struct ramfb *ramfb, struct vmig_ramfb *ret);
void ramfb_set(struct ramfb *ramfb, const struct vmig_ramfb *state);

/* A picture that lies in memory as a whole. */
struct ramfb_picture {
    const uint8_t *pixels;
    uint32_t width, height;
    uint64_t stride_bytes;
    unsigned pixel_bytes; /* 3, or 4 of which the last says nothing */
    bool blue_first;
};
/* -ENODATA, "no-picture": there is none, or none that can be shown, and why. */
int ramfb_look(struct ramfb *ramfb, struct ramfb_picture *ret, struct vmig_error *err);

/* The monitor's command screendump, on any thread (screenshot.c). @arguments: its arguments, a JSON object. */
int screenshot_take(struct ramfb *ramfb, const char *arguments, struct vmig_error *err);

#endif
