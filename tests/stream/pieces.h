/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of streams share: a source that gives bytes in small pieces, and how a refusal is
 * checked. */
#ifndef TESTS_STREAM_PIECES_H
#define TESTS_STREAM_PIECES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <cmocka.h>
#include <vfio-migrate/error.h>

/* 1, 2, ... 7, 1, ... bytes a call. */
struct pieces {
    const uint8_t *bytes;
    size_t length, at;
    unsigned step;
    int error; /* instead of the end */
};

static inline ssize_t pieces_fill(void *opaque, void *buf, size_t size)
{
    struct pieces *p = opaque;
    size_t n = p->step++ % 7 + 1;
    n = n < size ? n : size;
    n = n < p->length - p->at ? n : p->length - p->at;
    if (n == 0)
        return p->error;
    memcpy(buf, p->bytes + p->at, n);
    p->at += n;
    return (ssize_t)n;
}

/* @call fails with @code (positive errno) and a message that has @fragment in it. */
#define assert_refused(call, err, code_, fragment)                                                 \
    do {                                                                                           \
        memset(err, 0, sizeof(*(err)));                                                            \
        assert_int_equal(call, -(code_));                                                          \
        assert_int_equal((err)->code, -(code_));                                                   \
        if (!strstr((err)->text, fragment))                                                        \
            fail_msg("\"%s\" does not say \"%s\"", (err)->text, fragment);                         \
    } while (0)

/* @call succeeds; its message is shown when it does not. */
#define assert_done(call, err)                                                                     \
    do {                                                                                           \
        memset(err, 0, sizeof(*(err)));                                                            \
        int rc_ = (int)(call);                                                                     \
        if (rc_ < 0)                                                                               \
            fail_msg("%s: %d: %s", #call, rc_, (err)->text);                                       \
    } while (0)

#endif
