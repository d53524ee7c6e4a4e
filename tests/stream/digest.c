/* SPDX-License-Identifier: BSD-3-Clause */
/* Our way to XXH3 against libxxhash's own, which is what the other side may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <xxhash.h>

#include "lib/digest.h"

#define BYTES 5000 /* past several of the blocks in which XXH3 works */

static uint8_t bytes[BYTES];

static int fill(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * i * 31 + i / 7);
    return 0;
}

static void every_length_has_the_digest_of_libxxhash(void **state)
{
    (void)state;
    for (size_t n = 0; n <= BYTES; n++)
        if (digest_of(bytes, n) != XXH3_64bits(bytes, n))
            fail_msg("%zu bytes have another digest", n);
}

/* In pieces of all sizes, each second one by libxxhash: they work on the same state. */
static void pieces_have_the_digest_of_the_whole_whoever_adds_them(void **state)
{
    XXH3_state_t *s = XXH3_createState();
    (void)state;
    for (size_t piece = 1; piece < 1500; piece += 7) {
        XXH3_64bits_reset(s);
        for (size_t at = 0, n, i = 0; at < BYTES; at += n, i++) {
            n = BYTES - at < piece ? BYTES - at : piece;
            if (i % 2)
                XXH3_64bits_update(s, bytes + at, n);
            else
                digest_update(s, bytes + at, n);
        }
        assert_int_equal(XXH3_64bits_digest(s), XXH3_64bits(bytes, BYTES));
    }
    XXH3_freeState(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_has_the_digest_of_libxxhash),
        cmocka_unit_test(pieces_have_the_digest_of_the_whole_whoever_adds_them),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
