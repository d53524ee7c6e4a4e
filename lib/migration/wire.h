/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What two of our own peers say to each other beyond QEMU's framing. The numbers stand in
 * vfio-migrate-stream(5); a change here is a new WIRE_PROTOCOL.
 *
 * Main channel, source to target: QEMU COMMAND sections with numbers of our own. Target to source:
 * QEMU return-path messages with numbers of our own. Data channels: packets.
 */
#ifndef LIB_MIGRATION_WIRE_H
#define LIB_MIGRATION_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate/error.h>
#include "lib/memory/suspect.h"

#define WIRE_PROTOCOL 2

/* Commands. QEMU's own end at 11, so a QEMU that meets one refuses it as unknown. */
enum wire_command {
    WIRE_CMD_HELLO = 0x5601, /* JSON, see hello.h; the first thing after OPEN_RETURN_PATH */
    WIRE_CMD_ROUND = 0x5602, /* u32 k: round k was sent; a BARRIER k stands on each data channel */
    WIRE_CMD_GO = 0x5603,    /* the source has given up: run */
    WIRE_CMD_ABORT = 0x5604, /* text: the source goes on itself; let go of everything */
};

/* Return-path messages. */
enum wire_return {
    WIRE_RP_HELLO = 0x5601,        /* JSON */
    WIRE_RP_READY = 0x5602,        /* JSON {"devices":[{"id","arc_ms"}]}: on the way to RESUMING */
    WIRE_RP_ROUND_LOADED = 0x5603, /* u32 k: all of round k has been taken by memory and devices */
    WIRE_RP_CREDIT = 0x5604,       /* u32 participant, u64 bytes more may be sent */
    WIRE_RP_LOADED = 0x5605,       /* JSON {"devices":[{"id","load_ms"}]}: checked, holding */
    WIRE_RP_RUNNING = 0x5606,      /* JSON {"devices":[{"id","start_p2p_ms","start_ms"}],
                                      "workload_ms"} */
    WIRE_RP_FAILED = 0x5607,       /* JSON {"code","stage","device","reason","text"} */
    WIRE_RP_INITIAL_LOADED = 0x5608, /* u32 participant, u32 n: all before its nth INIT_DATA_SENT */
    WIRE_RP_SUSPECT = 0x5609, /* extents: these pages are to be sent again; before ROUND_LOADED */
};

/* Bytes of device data that may be on the way to one participant, unloaded. With the buffer being
 * read and the one being written it keeps a device under the 16 MiB of the design. */
#define WIRE_WINDOW_BYTES (8u << 20)
/* One packet's or record's device data at most; QEMU reads its device in pieces of 1 MiB too. */
#define WIRE_CHUNK_BYTES (1u << 20)

/* ---- packets on data channels ---- */
#define WIRE_PACKET_MAGIC 0x564d4431u /* "VMD1" */
#define WIRE_PACKET_BYTES 48u
#define WIRE_EXTENT_BYTES 16u
#define WIRE_EXTENTS_MAX 256u
/* One for each run of each extent: all runs of 4 MiB, and a short one at the end of each extent. */
#define WIRE_DIGESTS_MAX (WIRE_RAM_BYTES_MAX / (RAM_RUN_PAGES * RAM_PAGE_SIZE) + WIRE_EXTENTS_MAX)
#define WIRE_LIST_BYTES_MAX                                                                        \
    (WIRE_EXTENTS_MAX * WIRE_EXTENT_BYTES + WIRE_DIGESTS_MAX * sizeof(uint64_t))
/* In one SUSPECT: narrow gaps between more of them are sent again as well. */
#define WIRE_SUSPECTS_MAX 1024u
/* RAM in one packet: large enough that system calls do not count (bench/migration), small enough
 * for a round to be cancelled. */
#define WIRE_RAM_BYTES_MAX (4u << 20)

enum wire_packet_kind {
    WIRE_PACKET_HELLO = 1, /* payload: the migration's 16-byte identity; sequence: channel number */
    WIRE_PACKET_RAM = 2,   /* count extents, with ram-digest their digests, then their bytes */
    WIRE_PACKET_ZERO = 3,  /* count extents that read as zero */
    WIRE_PACKET_DATA = 4,  /* device data */
    WIRE_PACKET_INITIAL = 5, /* all initial bytes of the participant precede this */
    WIRE_PACKET_END = 6,     /* all data of the participant precedes this */
    WIRE_PACKET_BARRIER = 7, /* sequence: the round that ends here */
    WIRE_PACKET_FILL = 8,    /* bytes to be dropped: they measure the link */
    WIRE_PACKET_KINDS
};

struct wire_packet {
    enum wire_packet_kind kind;
    uint32_t participant; /* index in HELLO's list */
    uint32_t count;       /* extents */
    uint32_t digests;     /* after the extents */
    uint64_t length;      /* payload bytes after header and list */
    uint64_t sequence;    /* per participant, from 0; BARRIER and HELLO: see there */
    uint64_t body;        /* digest of the list; without one, of the payload */
};

struct wire_extent {
    uint32_t block; /* index in HELLO's list */
    uint32_t pages;
    uint64_t offset_bytes;
};

static inline unsigned wire_list_bytes(const struct wire_packet *packet)
{
    return packet->count * WIRE_EXTENT_BYTES + packet->digests * (unsigned)sizeof(uint64_t);
}

/* Header and list as bytes. @payload: of a packet without a list, packet->length bytes. @ret holds
 * WIRE_PACKET_BYTES + wire_list_bytes(). Returns that length. */
unsigned wire_packet_encode(const struct wire_packet *packet, const struct wire_extent *extents,
                            const uint64_t *digests, const void *payload, uint8_t *ret);
/* The header alone, before anything that it promises is waited for. -EBADMSG: its digest is wrong;
 * -EPROTO: kind, counts or length are not what that kind may have. */
int wire_packet_decode(const uint8_t bytes[WIRE_PACKET_BYTES], struct wire_packet *ret);
void wire_extent_encode(const struct wire_extent *extent, uint8_t ret[WIRE_EXTENT_BYTES]);
void wire_extent_decode(const uint8_t bytes[WIRE_EXTENT_BYTES], struct wire_extent *ret);
/* The @index-th digest of a packet's list. */
uint64_t wire_digest_decode(const struct wire_packet *packet, const uint8_t *list, unsigned index);
/* Is @body, the list or else the payload, what the packet was sent with? */
bool wire_body_intact(const struct wire_packet *packet, const void *body, size_t length_bytes);

#endif
