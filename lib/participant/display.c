/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/participant/display.h"

/* ---- what settings come to ---- */

static int refuse(struct vmig_error *err, const char *device, const char *reason, const char *text)
{
    return error_set(err, EINVAL, VMIG_STAGE_PREPARE, device, reason, "%s", text);
}

int display_resolve(const struct vmig_device_settings *s, bool off_by_default, const char *device,
                    struct display *ret, struct vmig_error *err)
{
    enum vmig_on_off_auto migrate = s->ramfb_migrate;
    *ret = (struct display) { .shown = s->display || s->ramfb, .ramfb = s->ramfb };
    if ((unsigned)migrate > VMIG_OFF)
        return refuse(err, device, "bad-settings", "ramfb_migrate is neither auto, on nor off");
    if (s->ramfb && s->hotplugged)
        return refuse(err, device, "ramfb-hotplugged",
                      "a hot-added device cannot have a ramfb, since firmware has looked for one "
                      "already; have the device from the start, or without ramfb");
    if (migrate == VMIG_AUTO && off_by_default)
        migrate = VMIG_OFF;
    ret->ignored_on = migrate == VMIG_ON && !s->ramfb;
    if (ret->ignored_on)
        migrate = VMIG_OFF;
    if (s->enable_migration == VMIG_OFF && migrate == VMIG_ON)
        return refuse(err, device, "ramfb-disabled",
                      "ramfb-migrate is on and the device's migration is off; switch both on, or "
                      "neither");
    ret->moves = s->enable_migration != VMIG_OFF && migrate != VMIG_OFF && s->ramfb;
    if (ret->moves && (!s->pci || !s->pci->save || !s->pci->load))
        return refuse(err, device, "bad-settings",
                      "the device's ramfb moves, and nobody has its state: give pci operations "
                      "that save and load, or ramfb-migrate off");
    return 0;
}

int display_of(const struct vmig_migration *m, const struct participant *p, struct display *ret,
               struct vmig_error *err)
{
    bool off = compat_turns_off(&m->compat, COMPAT_DISPLAY_RAMFB);
    return display_resolve(&p->settings, off, p->id, ret, err);
}

int display_check(bool moves, const struct vmig_pci_state *theirs, const char *device,
                  struct vmig_error *err)
{
    if (!theirs->has_ramfb)
        return 0;
    if (moves)
        return ramfb_check(&theirs->ramfb, device, err);
    return error_set(
        err, EINVAL, VMIG_STAGE_NONE, device, "display-mismatch",
        "the source moves the ramfb of its display and this side does not: it has "
        "none, ramfb-migrate is off, or the machine version is older (%s is off); make "
        "both sides the same",
        compat_name(COMPAT_DISPLAY_RAMFB));
}

/* ---- what a guest may have written ---- */

/* Larger than any display is, small enough that nothing overflows. */
#define SIDE_PIXELS_MAX 16384u
#define PIXEL_BYTES_MIN 2u  /* of the formats that ramfb has */
#define PIXEL_BYTES_MAX 16u /* with what lies between lines */

static bool is_plausible(const struct vmig_ramfb *r)
{
    uint64_t last;
    uint32_t stride = r->stride_bytes ? r->stride_bytes : r->width * PIXEL_BYTES_MIN;
    return r->width <= SIDE_PIXELS_MAX && r->height <= SIDE_PIXELS_MAX &&
           stride >= r->width * PIXEL_BYTES_MIN && stride <= SIDE_PIXELS_MAX * PIXEL_BYTES_MAX &&
           !__builtin_add_overflow(r->addr, (uint64_t)stride * r->height, &last);
}

int ramfb_check(const struct vmig_ramfb *r, const char *device, struct vmig_error *err)
{
    bool no_picture = !r->width || !r->height || !r->fourcc;
    if (no_picture || is_plausible(r))
        return 0;
    return error_set(err, EINVAL, VMIG_STAGE_NONE, device, "display-mismatch",
                     "no ramfb shows %" PRIu32 " x %" PRIu32 " pixels in lines of %" PRIu32
                     " bytes at %#" PRIx64 "; the stream is damaged, or its guest has made that up",
                     r->width, r->height, r->stride_bytes, r->addr);
}

void ramfb_sanitize(struct vmig_ramfb *ramfb)
{
    if (ramfb_check(ramfb, NULL, NULL) < 0)
        *ramfb = (struct vmig_ramfb) { 0 };
}
