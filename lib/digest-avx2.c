/* SPDX-License-Identifier: BSD-3-Clause */
/* libxxhash's header as code, in the one file that is compiled for AVX2. As that library it is compiled
 * without sanitizers: a workload may write to memory that is hashed. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/digest.h"

void digest_avx2_update(struct XXH3_state_s *state, const void *buf, size_t length_bytes)
{
    XXH3_64bits_update(state, buf, length_bytes);
}

uint64_t digest_avx2_of(const void *buf, size_t length_bytes)
{
    return XXH3_64bits(buf, length_bytes);
}
