/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The digest of a record in the state format: eight independent 64-bit lanes of multiply and
 * rotate, folded at the end. Eight, so that the multiplier is never waited for: it runs at memory
 * speed in plain C. It finds accidents (truncation, flipped bits, records out of order), it is not
 * made to withstand forgery.
 */
#ifndef REFDEV_MODEL_DIGEST_H
#define REFDEV_MODEL_DIGEST_H

#include "refdev/model/types.h"

#define REFDEV_DIGEST_LANES 8
#define REFDEV_DIGEST_BLOCK (8 * REFDEV_DIGEST_LANES)

struct refdev_digest {
    uint64_t lanes[REFDEV_DIGEST_LANES];
    uint64_t length_bytes;
    uint8_t tail[REFDEV_DIGEST_BLOCK]; /* length_bytes % REFDEV_DIGEST_BLOCK bytes wait here */
};

void refdev_digest_begin(struct refdev_digest *digest, uint64_t seed);
void refdev_digest_add(struct refdev_digest *digest, const void *data, uint64_t length_bytes);
uint64_t refdev_digest_end(struct refdev_digest *digest);

#endif
