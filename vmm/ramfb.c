/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/fail.h"
#include "vmm/lock.h"
#include "vmm/ramfb.h"

#define SIDE_MAX 16384u /* pixels, which is more than any display has */

void ramfb_new(struct ramfb *ramfb, struct fw_cfg *fw_cfg)
{
    *ramfb = (struct ramfb) { .fw_cfg = fw_cfg };
    fw_cfg_add_file(fw_cfg, "etc/ramfb", &ramfb->file, sizeof(ramfb->file));
}

void ramfb_get(struct ramfb *ramfb, struct vmig_ramfb *ret)
{
    LOCK_SCOPE(&ramfb->fw_cfg->lock);
    struct ramfb_file f = ramfb->file;
    *ret = (struct vmig_ramfb) { .addr = be64toh(f.addr),
                                 .fourcc = be32toh(f.fourcc),
                                 .flags = be32toh(f.flags),
                                 .width = be32toh(f.width),
                                 .height = be32toh(f.height),
                                 .stride_bytes = be32toh(f.stride_bytes) };
}

void ramfb_set(struct ramfb *ramfb, const struct vmig_ramfb *state)
{
    ramfb->left_behind = !state;
    LOCK_SCOPE(&ramfb->fw_cfg->lock);
    if (state)
        ramfb->file = (struct ramfb_file) { .addr = htobe64(state->addr),
                                            .fourcc = htobe32(state->fourcc),
                                            .flags = htobe32(state->flags),
                                            .width = htobe32(state->width),
                                            .height = htobe32(state->height),
                                            .stride_bytes = htobe32(state->stride_bytes) };
}

/* ---- what is there to see ---- */

/* Pixel formats as DRM calls them; the names are from the highest byte of a pixel to the lowest, memory is the other
 * way round. */
static const struct format {
    char fourcc[5];
    uint8_t pixel_bytes;
    bool blue_first;
} formats[] = {
    { "XR24", 4, true },  { "AR24", 4, true }, { "XB24", 4, false },
    { "AB24", 4, false }, { "RG24", 3, true }, { "BG24", 3, false },
};

static const struct format *find_format(uint32_t fourcc)
{
    fourcc = htole32(fourcc);
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (!memcmp(&fourcc, formats[i].fourcc, sizeof(fourcc)))
            return &formats[i];
    return NULL;
}

static int no_picture(const struct ramfb *ramfb, struct vmig_error *err)
{
    return vmm_fail(
        err, ENODATA, "no-picture", "there is no picture: %s",
        ramfb->left_behind
            ? "where the guest has it did not come along (ramfb-migrate is off, or --compat is 8.1 "
              "or "
              "older, here or at the source); there will be one when the guest says so once more"
            : "the guest has not said yet where it has one (etc/ramfb)");
}

int ramfb_look(struct ramfb *ramfb, struct ramfb_picture *ret, struct vmig_error *err)
{
    struct vmig_ramfb r;
    if (!ramfb->fw_cfg)
        return vmm_fail(err, ENODATA, "no-picture",
                        "this machine has no display; give one of its devices ramfb=on");
    ramfb_get(ramfb, &r);
    if (!r.width || !r.height || !r.fourcc)
        return no_picture(ramfb, err);
    const struct format *format = find_format(r.fourcc);
    if (!format)
        return vmm_fail(err, ENODATA, "no-picture",
                        "the guest has its picture in format %#010" PRIx32
                        ", which cannot be shown; XR24, AR24, XB24, AB24, RG24 and BG24 can",
                        r.fourcc);
    uint64_t line_bytes = (uint64_t)r.width * format->pixel_bytes;
    uint64_t stride_bytes = r.stride_bytes ? r.stride_bytes : line_bytes;
    if (r.width > SIDE_MAX || r.height > SIDE_MAX || stride_bytes < line_bytes)
        return vmm_fail(err, ENODATA, "no-picture",
                        "the guest says that its picture has %" PRIu32 " x %" PRIu32
                        " pixels in lines of %" PRIu64
                        " bytes; at most %u x %u can be shown, and these lines would take %" PRIu64
                        " bytes",
                        r.width, r.height, stride_bytes, SIDE_MAX, SIDE_MAX, line_bytes);
    uint64_t size_bytes = (r.height - 1) * stride_bytes + line_bytes;
    *ret = (struct ramfb_picture) { memory_at(ramfb->fw_cfg->memory, r.addr, size_bytes),
                                    r.width,
                                    r.height,
                                    stride_bytes,
                                    format->pixel_bytes,
                                    format->blue_first };
    if (!ret->pixels)
        return vmm_fail(err, ENODATA, "no-picture",
                        "the guest says that its picture has %" PRIu64 " bytes at %#" PRIx64
                        ", where it has no such memory",
                        size_bytes, r.addr);
    return 0;
}
