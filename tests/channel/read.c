/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads of all lengths from a TCP connection whose other end sends just what is read, and the next only after it was
 * answered: a read that waits for more than it was to take would wait for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/channel/channel.h"

#define MIB ((size_t)1 << 20)
#define LONGEST (9 * MIB)
#define STEPS (MIB / 4) /* near these lengths it changes how a read waits */

struct ends {
    struct channel *reader, *writer;
    uint8_t *sent, *got;
};

static void connect_both(struct ends *ends)
{
    struct address address;
    struct vmig_error err = { 0 };
    char *name;
    int listen_fd;
    bool public;
    assert_int_equal(address_parse("tcp:127.0.0.1:0", &address, &err), 0);
    assert_int_equal(channel_listen(&address, -1, &listen_fd, &name, &public, &err), 0);
    assert_int_equal(address_parse(name, &address, &err), 0);
    assert_int_equal(channel_connect(&address, -1, &ends->writer, &err), 0);
    assert_int_equal(channel_accept(listen_fd, -1, &ends->reader, &err), 0);
    close(listen_fd);
    free(name);
}

static int setup(void **state)
{
    struct ends *ends = calloc(1, sizeof(*ends));
    ends->sent = malloc(LONGEST);
    ends->got = malloc(LONGEST);
    for (size_t i = 0; i < LONGEST; i++)
        ends->sent[i] = (uint8_t)(i * 7 + i / 4093);
    connect_both(ends);
    *state = ends;
    return 0;
}

static int teardown(void **state)
{
    struct ends *ends = *state;
    channel_free(ends->reader);
    channel_free(ends->writer);
    free(ends->sent);
    free(ends->got);
    free(ends);
    return 0;
}

struct sending {
    struct ends *ends;
    size_t length;
    bool goes_away;
    int rc;
};

static void *send_all(void *opaque)
{
    struct sending *s = opaque;
    s->rc = channel_write(s->ends->writer, s->ends->sent, s->length);
    if (s->goes_away)
        channel_shutdown(s->ends->writer);
    return NULL;
}

/* As two pieces, as memory comes: they need not be neighbours. */
static void passes(struct ends *ends, size_t length)
{
    struct sending s = { .ends = ends, .length = length };
    pthread_t thread;
    memset(ends->got, 0, length);
    assert_int_equal(pthread_create(&thread, NULL, send_all, &s), 0);
    struct iovec iov[2] = { { ends->got, length / 3 },
                            { ends->got + length / 3, length - length / 3 } };
    assert_int_equal(channel_readv_full(ends->reader, iov, 2), 0);
    pthread_join(thread, NULL);
    assert_int_equal(s.rc, 0);
    assert_memory_equal(ends->got, ends->sent, length);
}

static void a_read_ends_when_all_of_it_is_there(void **state)
{
    for (size_t at = STEPS; at <= 20 * STEPS; at += STEPS)
        for (int more = -1; more <= 1; more++)
            passes(*state, at + (size_t)more);
    passes(*state, LONGEST);
}

/* One byte after it, which must not wait for company; and nothing else was taken. */
static void so_does_a_short_one_after_a_long_one(void **state)
{
    struct ends *ends = *state;
    for (size_t length = MIB; length <= LONGEST; length += MIB) {
        passes(ends, length);
        passes(ends, 1);
        uint8_t byte = 0;
        assert_int_equal(channel_write(ends->writer, "x", 1), 0);
        assert_int_equal(channel_read(ends->reader, &byte, 1), 1);
        assert_int_equal(byte, 'x');
    }
}

/* A sender that goes away in the middle is no reason to wait. */
static void a_connection_that_ends_ends_a_long_read(void **state)
{
    struct ends *ends = *state;
    static const size_t sent[] = { 0, 1, MIB / 4 - 1, MIB, 3 * MIB };
    for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
        struct sending s = { .ends = ends, .length = sent[i], .goes_away = true };
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, send_all, &s), 0);
        struct iovec iov = { ends->got, LONGEST };
        assert_int_equal(channel_readv_full(ends->reader, &iov, 1), -ECONNRESET);
        pthread_join(thread, NULL);
        channel_free(ends->writer);
        channel_free(ends->reader);
        connect_both(ends);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_read_ends_when_all_of_it_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(so_does_a_short_one_after_a_long_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_that_ends_ends_a_long_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
