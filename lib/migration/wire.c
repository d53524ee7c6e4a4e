/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "lib/digest.h"
#include "lib/migration/wire.h"

/* Offsets in a packet's header: magic 0, kind 4, digests 6, participant 8, count 12, length 16,
 * sequence 24, body 32, digest 40 (XXH3-64 over bytes 0 to 39). */
#define AT_DIGEST 40

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

static uint64_t body_digest(const void *body, size_t length)
{
    return body && length ? digest_of(body, length) : 0;
}

void wire_extent_encode(const struct wire_extent *extent, uint8_t ret[WIRE_EXTENT_BYTES])
{
    put32(ret, extent->block);
    put32(ret + 4, extent->pages);
    put64(ret + 8, extent->offset_bytes);
}

unsigned wire_packet_encode(const struct wire_packet *p, const struct wire_extent *extents,
                            const uint64_t *digests, const void *payload, uint8_t *ret)
{
    uint8_t *list = ret + WIRE_PACKET_BYTES;
    unsigned length = wire_list_bytes(p);
    for (uint32_t i = 0; i < p->count; i++)
        wire_extent_encode(&extents[i], list + i * WIRE_EXTENT_BYTES);
    for (uint32_t i = 0; i < p->digests; i++)
        put64(list + p->count * WIRE_EXTENT_BYTES + i * sizeof(uint64_t), digests[i]);
    put32(ret, WIRE_PACKET_MAGIC);
    put16(ret + 4, (uint16_t)p->kind);
    put16(ret + 6, (uint16_t)p->digests);
    put32(ret + 8, p->participant);
    put32(ret + 12, p->count);
    put64(ret + 16, p->length);
    put64(ret + 24, p->sequence);
    put64(ret + 32, length ? body_digest(list, length) : body_digest(payload, p->length));
    put64(ret + AT_DIGEST, XXH3_64bits(ret, AT_DIGEST));
    return WIRE_PACKET_BYTES + length;
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
    if (get32(bytes) == WIRE_PACKET_MAGIC &&
        get64(bytes + AT_DIGEST) != XXH3_64bits(bytes, AT_DIGEST))
        return -EBADMSG;
    if (get32(bytes) != WIRE_PACKET_MAGIC || kind == 0 || kind >= WIRE_PACKET_KINDS)
        return -EPROTO;
    struct wire_packet p = {
        .kind = (enum wire_packet_kind)kind,
        .participant = get32(bytes + 8),
        .count = get32(bytes + 12),
        .digests = get16(bytes + 6),
        .length = get64(bytes + 16),
        .sequence = get64(bytes + 24),
        .body = get64(bytes + 32),
    };
    if (p.digests > (kind == WIRE_PACKET_RAM ? WIRE_DIGESTS_MAX : 0) ||
        p.count > limits[kind].count_max || p.length < limits[kind].length_min ||
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

uint64_t wire_digest_decode(const struct wire_packet *packet, const uint8_t *list, unsigned index)
{
    return get64(list + packet->count * WIRE_EXTENT_BYTES + index * sizeof(uint64_t));
}

bool wire_body_intact(const struct wire_packet *packet, const void *body, size_t length_bytes)
{
    return packet->body == body_digest(body, length_bytes);
}
