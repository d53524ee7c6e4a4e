/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers and region capability chains. The chain is a list whose links the peer chose: every
 * offset must lie behind the one before it, so a loop cannot be written down. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/vfio-user/message.h"

#define MAPPING_ALIGN 4096u /* an area that starts elsewhere can be mapped on no host */

/* ---- headers ---- */

int vuser_header_check(const struct vuser_header *header, uint64_t max_bytes,
                       struct vmig_error *err)
{
    uint32_t type = header->flags & VUSER_TYPE_MASK;
    char name[16];
    if (header->size_bytes < vuser_header_BYTES || header->size_bytes > max_bytes)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "%s message of %" PRIu32 " bytes, allowed are %d to %" PRIu64,
                         vuser_command_name(header->command, name), header->size_bytes,
                         vuser_header_BYTES, max_bytes);
    if (type != VUSER_TYPE_COMMAND && type != VUSER_TYPE_REPLY)
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "%s message of type %" PRIu32 ", neither command (0) nor reply (1)",
                         vuser_command_name(header->command, name), type);
    return 0;
}

struct vuser_header vuser_command_header(uint16_t id, uint16_t command, uint32_t payload_bytes)
{
    return (struct vuser_header) { .id = id,
                                   .command = command,
                                   .size_bytes = vuser_header_BYTES + payload_bytes,
                                   .flags = VUSER_TYPE_COMMAND };
}

struct vuser_header vuser_reply_header(const struct vuser_header *command, uint32_t payload_bytes)
{
    return (struct vuser_header) { .id = command->id,
                                   .command = command->command,
                                   .size_bytes = vuser_header_BYTES + payload_bytes,
                                   .flags = VUSER_TYPE_REPLY };
}

struct vuser_header vuser_error_header(const struct vuser_header *command, int code)
{
    struct vuser_header header = vuser_reply_header(command, 0);
    header.flags |= VUSER_ERROR;
    header.error = (uint32_t)abs(code);
    return header;
}

int vuser_error_code(uint32_t error)
{
    return error >= 1 && error <= 4095 ? -(int)error : -EIO;
}

/* ---- region info ---- */

struct chain {
    const uint8_t *payload;
    size_t length_bytes;
    unsigned num_fds;
    struct vuser_region *region;
    struct vmig_error *err;
};

static int broken(const struct chain *c, const char *what, uint64_t have, uint64_t limit)
{
    return error_set(c->err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                     "information about region %" PRIu32 ": %s (%" PRIu64 ", limit %" PRIu64 ")",
                     c->region->info.index, what, have, limit);
}

static int add_area(struct chain *c, struct vuser_region_area area)
{
    struct vuser_region *region = c->region;
    uint64_t end, fd_offset;
    if (area.size_bytes == 0 || __builtin_add_overflow(area.offset_bytes, area.size_bytes, &end) ||
        end > region->info.size_bytes)
        return broken(c, "a mappable area is empty or not inside the region", area.offset_bytes,
                      region->info.size_bytes);
    if (__builtin_add_overflow(area.fd_offset, area.size_bytes, &fd_offset))
        return broken(c, "a mappable area's file offset wraps", area.fd_offset, UINT64_MAX);
    for (unsigned i = 0; i < region->num_areas; i++) {
        const struct vuser_region_area *other = &region->areas[i];
        if (area.offset_bytes < other->offset_bytes + other->size_bytes &&
            other->offset_bytes < end)
            return broken(c, "mappable areas overlap", area.offset_bytes, other->offset_bytes);
    }
    if (c->num_fds == 0) /* the short answer to a first question has none: nothing to map yet */
        return 0;
    if (area.fd_index >= c->num_fds)
        return broken(c, "index of a file descriptor", area.fd_index, c->num_fds);
    if (region->num_areas < VUSER_AREAS_MAX && area.fd_offset % MAPPING_ALIGN == 0)
        region->areas[region->num_areas++] = area;
    return 0;
}

/* @at: behind the capability's header. */
static int parse_sparse(struct chain *c, size_t at, bool with_fds)
{
    size_t stride = with_fds ? vuser_area_fd_BYTES : vuser_area_BYTES;
    struct vuser_sparse sparse;
    if (c->length_bytes - at < vuser_sparse_BYTES)
        return broken(c, "a sparse capability is cut off at byte", at, c->length_bytes);
    vuser_sparse_decode(c->payload + at, &sparse);
    at += vuser_sparse_BYTES;
    if (sparse.nr_areas > (c->length_bytes - at) / stride)
        return broken(c, "number of areas", sparse.nr_areas, (c->length_bytes - at) / stride);
    int rc = 0;
    for (uint32_t i = 0; i < sparse.nr_areas && !rc; i++, at += stride) {
        struct vuser_area_fd wire = { 0 };
        if (with_fds) {
            vuser_area_fd_decode(c->payload + at, &wire);
        } else {
            struct vuser_area area;
            vuser_area_decode(c->payload + at, &area);
            wire.offset = area.offset;
            wire.size_bytes = area.size_bytes;
            if (__builtin_add_overflow(area.offset, c->region->info.offset, &wire.fd_offset))
                return broken(c, "a mappable area's file offset wraps", area.offset, UINT64_MAX);
        }
        rc = add_area(c, (struct vuser_region_area) { wire.offset, wire.size_bytes, wire.fd_offset,
                                                      wire.fd_index });
    }
    return rc;
}

static int parse_type(struct chain *c, size_t at)
{
    if (c->length_bytes - at < 8)
        return broken(c, "a type capability is cut off at byte", at, c->length_bytes);
    memcpy(&c->region->type, c->payload + at, 4);
    memcpy(&c->region->subtype, c->payload + at + 4, 4);
    return 0;
}

/* Walk the chain. *ret_sparse: it held a list of areas, so there is none but those. */
static int parse_chain(struct chain *c, uint32_t first, bool *ret_sparse)
{
    uint64_t previous = vuser_region_info_BYTES;
    int rc = 0;
    for (uint32_t at = first; at != 0 && !rc;) {
        struct vuser_capability cap;
        if (at < previous || at % 4 != 0)
            return broken(c, "a capability's offset is misaligned or goes back", at, previous);
        if (at > c->length_bytes || c->length_bytes - at < vuser_capability_BYTES)
            return broken(c, "a capability lies beyond the message", at, c->length_bytes);
        vuser_capability_decode(c->payload + at, &cap);
        size_t body = at + vuser_capability_BYTES;
        bool with_fds =
            cap.id == VUSER_CAP_SPARSE_MMAP_FDS || cap.id == VUSER_CAP_SPARSE_MMAP_FDS_DRAFT;
        if (with_fds || cap.id == VUSER_CAP_SPARSE_MMAP) {
            if (*ret_sparse)
                return broken(c, "a second list of mappable areas at byte", at, c->length_bytes);
            *ret_sparse = true;
            rc = parse_sparse(c, body, with_fds);
        } else if (cap.id == VUSER_CAP_REGION_TYPE) {
            rc = parse_type(c, body);
        }
        previous = body;
        at = cap.next;
    }
    return rc;
}

int vuser_region_parse(const void *payload, size_t length_bytes, unsigned num_fds,
                       struct vuser_region *ret, struct vmig_error *err)
{
    struct vuser_region region = { 0 };
    struct chain c = { payload, length_bytes, num_fds, &region, err };
    if (length_bytes < vuser_region_info_BYTES)
        return broken(&c, "message too short", length_bytes, vuser_region_info_BYTES);
    vuser_region_info_decode(payload, &region.info);
    uint32_t first = region.info.flags & VUSER_REGION_FLAG_CAPS ? region.info.cap_offset : 0;
    region.info.flags &= ~VUSER_REGION_FLAG_CAPS;
    region.info.cap_offset = 0;

    bool cut = region.info.argsz > length_bytes, sparse = false;
    int rc = cut ? 0 : parse_chain(&c, first, &sparse);
    if (rc)
        return rc;
    bool map = (region.info.flags & VUSER_REGION_FLAG_MMAP) && region.info.size_bytes > 0 && !cut;
    if (!map)
        region.num_areas = 0;
    else if (!sparse)
        rc = add_area(
            &c, (struct vuser_region_area) { 0, region.info.size_bytes, region.info.offset, 0 });
    if (!rc)
        *ret = region;
    return rc;
}

size_t vuser_region_build(const struct vuser_region *region, void *out, size_t size_bytes)
{
    uint8_t *at = out;
    struct vuser_region_info info = region->info;
    size_t need = vuser_region_info_BYTES;
    if (region->num_areas > 0) {
        need += vuser_capability_BYTES + vuser_sparse_BYTES;
        need += (size_t)region->num_areas * vuser_area_BYTES;
        info.flags |= VUSER_REGION_FLAG_MMAP;
    }
    bool full = need > vuser_region_info_BYTES && need <= size_bytes;
    info.argsz = (uint32_t)need;
    if (full) {
        info.flags |= VUSER_REGION_FLAG_CAPS;
        info.cap_offset = vuser_region_info_BYTES;
    }
    if (size_bytes >= vuser_region_info_BYTES)
        vuser_region_info_encode(&info, at);
    if (!full)
        return need;

    at += vuser_region_info_BYTES;
    vuser_capability_encode(&(struct vuser_capability) { VUSER_CAP_SPARSE_MMAP, 1, 0 }, at);
    at += vuser_capability_BYTES;
    vuser_sparse_encode(&(struct vuser_sparse) { region->num_areas, 0 }, at);
    at += vuser_sparse_BYTES;
    for (unsigned i = 0; i < region->num_areas; i++, at += vuser_area_BYTES)
        vuser_area_encode(
            &(struct vuser_area) { region->areas[i].offset_bytes, region->areas[i].size_bytes },
            at);
    return need;
}
