/* SPDX-License-Identifier: BSD-3-Clause */
/* A whole stream with a little of everything, for what must be tried thousands of times. */
#ifndef TESTS_STREAM_SMALL_H
#define TESTS_STREAM_SMALL_H

#include "lib/stream/writer.h"

void small_stream(struct writer *w);

#endif
