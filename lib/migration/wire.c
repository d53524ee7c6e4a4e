/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "lib/migration/wire.h"

/* Offsets in a packet's header: magic 0, kind 4, reserved 6, participant 8, count 12, length 16,
 * sequence 24, digest 32 (XXH3-64 over bytes 0 to 31 and the extents). */
#define AT_DIGEST 32

static void put16(uint8_t *at, uint16_t v)
{
    v = htobe16(v);
    memcpy(at, &v, sizeof(v));
}

static void put32(uint8_t *at, uint32_t v)
{
    v = htobe32(v);
    memcpy(at, &v, sizeof(v));
}

static void put64(uint8_t *at, uint64_t v)
{
    v = htobe64(v);
    memcpy(at, &v, sizeof(v));
}

static uint16_t get16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof(v));
    return be16toh(v);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return be32toh(v);
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return be64toh(v);
}

static uint64_t digest(const uint8_t *header, const uint8_t *list, uint32_t count)
{
    uint64_t h = XXH3_64bits(header, AT_DIGEST);
    return count ? XXH3_64bits_withSeed(list, (size_t)count * WIRE_EXTENT_BYTES, h) : h;
}

unsigned wire_packet_encode(const struct wire_packet *p, const struct wire_extent *extents,
                            uint8_t *ret)
{
    uint8_t *list = ret + WIRE_PACKET_BYTES;
    put32(ret, WIRE_PACKET_MAGIC);
    put16(ret + 4, (uint16_t)p->kind);
    put16(ret + 6, 0);
    put32(ret + 8, p->participant);
    put32(ret + 12, p->count);
    put64(ret + 16, p->length);
    put64(ret + 24, p->sequence);
    for (uint32_t i = 0; i < p->count; i++) {
        uint8_t *at = list + i * WIRE_EXTENT_BYTES;
        put32(at, extents[i].block);
        put32(at + 4, extents[i].pages);
        put64(at + 8, extents[i].offset_bytes);
    }
    put64(ret + AT_DIGEST, digest(ret, list, p->count));
    return WIRE_PACKET_BYTES + p->count * WIRE_EXTENT_BYTES;
}

/* What each kind may carry. */
static const struct {
    uint32_t count_max;
    uint64_t length_min, length_max;
} limits[WIRE_PACKET_KINDS] = {
    [WIRE_PACKET_HELLO] = { 0, 16, 16 },
    [WIRE_PACKET_RAM] = { WIRE_EXTENTS_MAX, 1, WIRE_RAM_BYTES_MAX },
    [WIRE_PACKET_ZERO] = { WIRE_EXTENTS_MAX, 0, 0 },
    [WIRE_PACKET_DATA] = { 0, 1, WIRE_CHUNK_BYTES },
    [WIRE_PACKET_FILL] = { 0, 1, WIRE_CHUNK_BYTES },
};

int wire_packet_decode(const uint8_t bytes[WIRE_PACKET_BYTES], struct wire_packet *ret)
{
    unsigned kind = get16(bytes + 4);
    if (get32(bytes) != WIRE_PACKET_MAGIC || kind == 0 || kind >= WIRE_PACKET_KINDS)
        return -EPROTO;
    struct wire_packet p = {
        .kind = (enum wire_packet_kind)kind,
        .participant = get32(bytes + 8),
        .count = get32(bytes + 12),
        .length = get64(bytes + 16),
        .sequence = get64(bytes + 24),
    };
    if (p.count > limits[kind].count_max || p.length < limits[kind].length_min ||
        p.length > limits[kind].length_max)
        return -EPROTO;
    *ret = p;
    return 0;
}

void wire_extent_decode(const uint8_t bytes[WIRE_EXTENT_BYTES], struct wire_extent *ret)
{
    ret->block = get32(bytes);
    ret->pages = get32(bytes + 4);
    ret->offset_bytes = get64(bytes + 8);
}

bool wire_packet_intact(const uint8_t header[WIRE_PACKET_BYTES], const uint8_t *list,
                        uint32_t count)
{
    return get64(header + AT_DIGEST) == digest(header, list, count);
}
