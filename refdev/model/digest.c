/* SPDX-License-Identifier: BSD-3-Clause */
#include "refdev/model/digest.h"
#include "refdev/pattern.h"

#define DIGEST_PRIME 0x9fb21c651e98df25ull

void refdev_digest_begin(struct refdev_digest *digest, uint64_t seed)
{
    for (unsigned i = 0; i < REFDEV_DIGEST_LANES; i++)
        digest->lanes[i] = refdev_mix(seed + i + 1);
    digest->length_bytes = 0;
}

static void add_blocks(struct refdev_digest *digest, const uint8_t *data, uint64_t blocks)
{
    uint64_t lanes[REFDEV_DIGEST_LANES], words[REFDEV_DIGEST_LANES];
    refdev_copy(lanes, digest->lanes, sizeof(lanes));
    for (; blocks; blocks--, data += REFDEV_DIGEST_BLOCK) {
        refdev_copy(words, data, sizeof(words));
        for (unsigned i = 0; i < REFDEV_DIGEST_LANES; i++) {
            uint64_t x = (lanes[i] ^ words[i]) * DIGEST_PRIME;
            lanes[i] = x << 27 | x >> 37;
        }
    }
    refdev_copy(digest->lanes, lanes, sizeof(lanes));
}

void refdev_digest_add(struct refdev_digest *digest, const void *data, uint64_t length_bytes)
{
    const uint8_t *at = data;
    uint64_t waiting = digest->length_bytes % REFDEV_DIGEST_BLOCK;
    digest->length_bytes += length_bytes;
    if (waiting) {
        uint64_t take = REFDEV_DIGEST_BLOCK - waiting;
        if (take > length_bytes)
            take = length_bytes;
        refdev_copy(digest->tail + waiting, at, take);
        at += take;
        length_bytes -= take;
        if (waiting + take < REFDEV_DIGEST_BLOCK)
            return;
        add_blocks(digest, digest->tail, 1);
    }
    add_blocks(digest, at, length_bytes / REFDEV_DIGEST_BLOCK);
    uint64_t rest = length_bytes % REFDEV_DIGEST_BLOCK;
    if (rest)
        refdev_copy(digest->tail, at + length_bytes - rest, rest);
}

uint64_t refdev_digest_end(struct refdev_digest *digest)
{
    uint64_t waiting = digest->length_bytes % REFDEV_DIGEST_BLOCK;
    if (waiting) {
        refdev_zero(digest->tail + waiting, REFDEV_DIGEST_BLOCK - waiting);
        add_blocks(digest, digest->tail, 1);
    }
    uint64_t sum = refdev_mix(digest->length_bytes);
    for (unsigned i = 0; i < REFDEV_DIGEST_LANES; i++)
        sum = refdev_mix(sum ^ digest->lanes[i]);
    return sum;
}
