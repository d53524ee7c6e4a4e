/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every fuzz target is one file fuzz/NAME.c with this function, and seeds in fuzz/corpus/NAME. A
 * build with -Dfuzz=true has libFuzzer drive it, to search; any other has driver.c replay the seeds
 * and mutations of them, always the same, as an ordinary test.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What holds for any input. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define FUZZ_INPUT_MAX (4u << 20)

/* An input in memory of FUZZ_INPUT_MAX bytes. */
struct fuzz_input {
    size_t size;
    uint8_t *data;
};

/* Make @ret from one of @seeds by a few changes. *random_state goes on from call to call. */
void fuzz_mutate(const struct fuzz_input *seeds, size_t num_seeds, uint64_t *random_state,
                 struct fuzz_input *ret);

#endif
