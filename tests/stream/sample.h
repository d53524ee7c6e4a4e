/* SPDX-License-Identifier: BSD-3-Clause */
/* Recorded streams of tests/data/streams, unpacked. */
#ifndef TESTS_STREAM_SAMPLE_H
#define TESTS_STREAM_SAMPLE_H

#include <jansson.h>
#include "tests/stream/pieces.h"

struct sample {
    uint8_t *bytes; /* owned */
    size_t length;
};

/* @name without ".xz". A missing or damaged file fails the test. */
struct sample sample_load(const char *name);
void sample_free(struct sample *sample);
/* What an independent parser found in it. The caller's. */
json_t *sample_expected(const char *name);
/* The 96 bytes of device data in one-device: a complete mtty state. */
void sample_mtty(uint8_t ret[96]);

#endif
