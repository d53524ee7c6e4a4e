/* SPDX-License-Identifier: BSD-3-Clause */
#include <xxhash.h>

#include "lib/digest.h"

void digest_update(struct XXH3_state_s *state, const void *buf, size_t length_bytes)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        digest_avx2_update(state, buf, length_bytes);
        return;
    }
#endif
    XXH3_64bits_update(state, buf, length_bytes);
}

uint64_t digest_of(const void *buf, size_t length_bytes)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return digest_avx2_of(buf, length_bytes);
#endif
    return XXH3_64bits(buf, length_bytes);
}
