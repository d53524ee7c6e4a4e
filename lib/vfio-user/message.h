/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is inside messages beyond fixed structures: headers and their checks, error numbers, the
 * VERSION negotiation and region capability chains. Pure functions on buffers; the same for client
 * and server, and the fuzzers' way in.
 */
#ifndef LIB_VFIO_USER_MESSAGE_H
#define LIB_VFIO_USER_MESSAGE_H

#include <vfio-migrate/error.h>
#include "lib/vfio-user/protocol.h"

/* ---- headers ---- */

/* 0, or -EPROTO with a message: size below 16 or above @max_bytes, type neither command nor reply.
 * After such a header the stream cannot be trusted any more: close it. */
int vuser_header_check(const struct vuser_header *header, uint64_t max_bytes,
                       struct vmig_error *err);

static inline bool vuser_is_reply(const struct vuser_header *header)
{
    return (header->flags & VUSER_TYPE_MASK) == VUSER_TYPE_REPLY;
}

static inline uint32_t vuser_payload_bytes(const struct vuser_header *header)
{
    return header->size_bytes - vuser_header_BYTES;
}

/* Headers to send: a command, the reply to @command with @payload_bytes, the Error reply with
 * @code (positive or negative errno). */
struct vuser_header vuser_command_header(uint16_t id, uint16_t command, uint32_t payload_bytes);
struct vuser_header vuser_reply_header(const struct vuser_header *command, uint32_t payload_bytes);
struct vuser_header vuser_error_header(const struct vuser_header *command, int code);

/* Negative errno for the error field of an Error reply: 0 and numbers above 4095, which are legal
 * on the wire and mean nothing, become -EIO. */
int vuser_error_code(uint32_t error);

/* ---- VERSION ---- */

/*
 * Extensions of our own: what migration needs and the protocol lacks. Each side announces a member
 * of "capabilities" in its VERSION JSON; the server answers with those it knows among the ones the
 * client named:
 *
 *     "x_vfio_migrate": { "p2p": true, "mig_data_size": true, "precopy_info": true,
 *                         "large_writes": true }
 *
 * An extension is used only when both sides announced it; members that are absent, false or unknown
 * are not.
 *
 * p2p            feature MIGRATION may report the P2P flag; states RUNNING_P2P and PRE_COPY_P2P may
 *                be set and reported. Without it a server hides the flag.
 * mig_data_size  feature 9 (MIG_DATA_SIZE, GET) with the kernel's payload.
 * precopy_info   command 19, GET_PRECOPY_INFO; and PRE_COPY to STOP_COPY goes on with one data
 *                stream instead of starting again.
 * large_writes   the receiver reads whole messages however they arrive in pieces, so that a
 *                MIG_DATA_WRITE or REGION_WRITE may carry up to its max_data_xfer_size. Without
 *                it a sender stays within 32 KiB.
 */
#define VUSER_EXTENSIONS_NAME "x_vfio_migrate"
#define VUSER_EXT_P2P (1u << 0)
#define VUSER_EXT_MIG_DATA_SIZE (1u << 1)
#define VUSER_EXT_PRECOPY_INFO (1u << 2)
#define VUSER_EXT_LARGE_WRITES (1u << 3)
#define VUSER_EXT_PRECOPY_INFO2 (1u << 4)
#define VUSER_EXT_ALL 0x1fu

#define VUSER_MAJOR 0
#define VUSER_MINOR 2

#define VUSER_SMALL_WRITE_BYTES 32768u   /* see large_writes */
#define VUSER_DATA_XFER_DEFAULT 1048576u /* max_data_xfer_size when absent; what we announce */
#define VUSER_DATA_XFER_MAX (64u << 20)  /* larger announcements are cut to this */
#define VUSER_DMA_MAPS_DEFAULT 65535u
#define VUSER_JSON_BYTES_MAX 16384u /* seen: 150 to 300 */
#define VUSER_JSON_DEPTH_MAX 16u    /* specified: 3 */

/* One side's VERSION. Numbers say what that side can receive. */
struct vuser_capabilities {
    uint16_t major, minor;
    unsigned max_msg_fds;        /* 0..VUSER_FDS_MAX */
    uint64_t max_data_xfer_size; /* 1..VUSER_DATA_XFER_MAX */
    uint64_t max_dma_maps;
    uint64_t pgsizes;
    bool write_multiple;
    bool sparse_mmap_fds;
    bool twin_socket;          /* "supported" */
    int twin_fd_index;         /* -1: absent */
    uint64_t migration_pgsize; /* of the obsolete "migration" object: 0 when absent */
    uint64_t migration_max_bitmap_size;
    unsigned extensions; /* VUSER_EXT_* */
};

/* Version VUSER_MAJOR.VUSER_MINOR and the specification's defaults for what is absent. */
struct vuser_capabilities vuser_capabilities_default(void);

/* Payload for VERSION, malloc'd; *ret_bytes includes the JSON's NUL. Fields at their default are
 * written too, apart from false booleans, absent objects and extensions. */
int vuser_version_build(const struct vuser_capabilities *capabilities, void **ret,
                        size_t *ret_bytes);
/* -EINVAL with a message: too short, no NUL, too long, nested too deep, no JSON object, wrong
 * types, numbers negative, fractional or beyond 2^63. Unknown members are ignored. */
int vuser_version_parse(const void *payload, size_t length_bytes, struct vuser_capabilities *ret,
                        struct vmig_error *err);

/* ---- region info ---- */

#define VUSER_AREAS_MAX 16 /* as VMIG_REGION_AREAS_MAX */

/* A part of a region that may be mapped. */
struct vuser_region_area {
    uint64_t offset_bytes; /* in the region */
    uint64_t size_bytes;
    uint64_t fd_offset;
    unsigned fd_index; /* among the reply's fds */
};

struct vuser_region {
    struct vuser_region_info info; /* flags without CAPS, cap_offset 0 */
    unsigned num_areas;            /* 0: not mappable */
    struct vuser_region_area areas[VUSER_AREAS_MAX];
    uint32_t type, subtype; /* 0: none */
};

/* Parse the payload of a GET_REGION_INFO reply that came with @num_fds fds. Chain bounded, areas
 * inside the region, without overlap, fd indexes valid; areas beyond VUSER_AREAS_MAX are left out.
 * -EPROTO with a message. An answer cut to its fixed part (argsz above @length_bytes) is no error,
 * has no areas, and says in argsz how much to ask for. */
int vuser_region_parse(const void *payload, size_t length_bytes, unsigned num_fds,
                       struct vuser_region *ret, struct vmig_error *err);

/* Write a full reply payload with the sparse capability (all areas of one fd, whose offsets are
 * region->info.offset plus their own) to @out; returns its size, which may exceed @size_bytes: then
 * only the fixed part was written, with argsz saying how much is needed and no CAPS flag. */
size_t vuser_region_build(const struct vuser_region *region, void *out, size_t size_bytes);

#endif
