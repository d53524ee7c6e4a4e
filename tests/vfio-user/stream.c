/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's data stream: complete, in order, pipelined, and honest about what it read ahead. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/vfio-user/fake-server.h"

#define OPS backend_vfio_user
#define MIB ((size_t)1 << 20)

#define x(call)                                                                                    \
    do {                                                                                           \
        struct vmig_error err = { 0 };                                                             \
        int rc_ = (int)(call);                                                                     \
        if (rc_ < 0)                                                                               \
            fail_msg("%s: %d %s", #call, rc_, err.text);                                           \
    } while (0)

static struct fake f;
static uint8_t buf[2u << 20];

static void *start_in(enum vmig_state state)
{
    enum vmig_state at;
    fake_start(&f);
    void *c = fake_open(&f, &fake_options);
    x(OPS.get_state(c, &at, &err));
    x(OPS.set_state(c, state, &err));
    return c;
}

/* Read until nothing comes, @size at a time; the bytes must continue at *@at. */
static void drain(void *c, size_t size, size_t *at)
{
    for (;;) {
        struct vmig_error err = { 0 };
        ssize_t n = OPS.data_read(c, buf, size, &err);
        if (n < 0)
            fail_msg("data_read: %zd %s", n, err.text);
        if (n == 0)
            return;
        assert_true((size_t)n <= size);
        for (ssize_t i = 0; i < n; i++, ++*at)
            if (buf[i] != fake_byte(*at))
                fail_msg("byte %zu is wrong", *at);
    }
}

/* ---- reading ---- */

static void check_save(size_t bytes, size_t read_size, size_t reply_bytes, bool padded,
                       uint64_t max_xfer)
{
    size_t at = 0;
    fake_init(&f);
    f.save_bytes = bytes;
    f.reply_bytes = reply_bytes;
    f.padded = padded;
    f.caps.max_data_xfer_size = max_xfer;
    void *c = start_in(VMIG_STATE_STOP_COPY);
    drain(c, read_size, &at);
    assert_int_equal(at, bytes);
    drain(c, read_size, &at); /* the end stays the end */
    assert_int_equal(at, bytes);
    fake_close(&f, c);
}

static void a_state_of_any_size_is_read_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,       1,           4095,    MIB - 1,     MIB,
                                    MIB + 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 3 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_save(sizes[i], MIB, 0, false, MIB);
}

static void reads_may_have_any_size(void **state)
{
    (void)state;
    check_save(300000, 1, 0, false, 4096);
    check_save(3 * MIB, 1000, 0, false, MIB);
    check_save(3 * MIB, MIB - 1, 0, false, MIB);
    check_save(3 * MIB, 2 * MIB, 0, false, MIB);
    check_save(20000, 65536, 0, false, 1); /* a server that takes a byte at a time */
}

static void short_and_padded_replies_are_accepted(void **state)
{
    (void)state;
    check_save(MIB, MIB, 1000, false, MIB);
    check_save(MIB, 777, 1000, false, MIB);
    check_save(2 * MIB, MIB, MIB / 2, true, MIB);
    check_save(2 * MIB + 5, MIB, 0, true, MIB);
}

/* Keeps reads back until @held are there. */
static struct vuser_header kept[64];
static unsigned num_kept, hold, passed;

static bool hold_reads(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                       size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_MIG_DATA_READ || passed < 5) {
        passed += h->command == VUSER_MIG_DATA_READ;
        return false;
    }
    kept[num_kept++] = *h;
    if (num_kept < hold)
        return true;
    for (unsigned i = 0; i < num_kept; i++) {
        uint8_t out[8 + 4096] = { 0 };
        size_t n = fake->save_bytes - fake->sent_bytes;
        n = n < 4096 ? n : 4096;
        vuser_mig_data_encode(&(struct vuser_mig_data) { (uint32_t)(8 + n), (uint32_t)n }, out);
        for (size_t j = 0; j < n; j++)
            out[8 + j] = fake_byte(fake->sent_bytes + j);
        fake->sent_bytes += n;
        fake_reply(fake, &kept[i], out, 8 + n);
    }
    num_kept = 0;
    hold = 1;
    return true;
}

static void sixteen_requests_are_kept_in_flight(void **state)
{
    (void)state;
    size_t at = 0;
    fake_init(&f);
    f.save_bytes = 100 * 4096 + 7;
    f.caps.max_data_xfer_size = 4096;
    f.hook = hold_reads;
    num_kept = passed = 0;
    hold = 16; /* the server answers none before it has so many */
    void *c = start_in(VMIG_STATE_STOP_COPY);
    drain(c, 4096, &at);
    assert_int_equal(at, f.save_bytes);
    fake_close(&f, c);
}

static void nothing_is_asked_for_after_an_empty_reply_until_somebody_wants_it(void **state)
{
    (void)state;
    size_t at = 0;
    enum vmig_state now;
    fake_init(&f);
    f.precopy_bytes = 3 * MIB;
    f.save_bytes = 4 * MIB;
    void *c = start_in(VMIG_STATE_PRE_COPY);
    drain(c, MIB, &at);
    assert_int_equal(at, 3 * MIB);
    unsigned asked = f.counts[VUSER_MIG_DATA_READ];
    x(OPS.get_state(c, &now, &err)); /* answered in order: what was sent before has arrived */
    assert_int_equal(f.counts[VUSER_MIG_DATA_READ], asked);
    drain(c, MIB, &at);
    assert_int_equal(f.counts[VUSER_MIG_DATA_READ], asked + 1);
    fake_close(&f, c);
}

static void precopy_and_stop_copy_are_one_stream(void **state)
{
    (void)state;
    static const size_t taken[] = { 0, 1, MIB, 3 * MIB - 1, 3 * MIB };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        size_t at = 0;
        fake_init(&f);
        f.precopy_bytes = 3 * MIB;
        f.save_bytes = 5 * MIB;
        void *c = start_in(VMIG_STATE_PRE_COPY);
        while (at < taken[i]) { /* leave some of it read ahead */
            size_t want = taken[i] - at < MIB ? taken[i] - at : MIB;
            ssize_t n = OPS.data_read(c, buf, want, NULL);
            assert_true(n > 0);
            at += (size_t)n;
        }
        x(OPS.set_state(c, VMIG_STATE_PRE_COPY_P2P, &err));
        x(OPS.set_state(c, VMIG_STATE_STOP_COPY, &err));
        drain(c, MIB, &at);
        assert_int_equal(at, 5 * MIB);
        fake_close(&f, c);
    }
}

static void what_was_read_ahead_counts_as_not_read_yet(void **state)
{
    (void)state;
    struct vmig_precopy_info info;
    uint64_t size;
    fake_init(&f);
    f.precopy_bytes = 3 * MIB;
    f.save_bytes = 5 * MIB;
    void *c = start_in(VMIG_STATE_PRE_COPY);
    x(OPS.precopy_info(c, &info, &err));
    assert_int_equal(info.initial_bytes, 3 * MIB);
    assert_int_equal(info.dirty_bytes, 5);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(OPS.data_read(c, buf, 10000, NULL), 10000);
    x(OPS.precopy_info(c, &info, &err));
    assert_int_equal(info.initial_bytes, 3 * MIB - 1000000);
    assert_int_equal(info.dirty_bytes, 5);
    x(OPS.data_size(c, &size, &err));
    assert_int_equal(size, 5 * MIB - 1000000);
    size_t at = 1000000;
    drain(c, 10000, &at);
    x(OPS.precopy_info(c, &info, &err));
    assert_int_equal(info.initial_bytes, 0);
    fake_close(&f, c);
}

static void a_new_stream_does_not_begin_with_the_old_ones_rest(void **state)
{
    (void)state;
    size_t at = 0;
    fake_init(&f);
    f.save_bytes = f.precopy_bytes = 5 * MIB;
    void *c = start_in(VMIG_STATE_PRE_COPY);
    assert_int_equal(OPS.data_read(c, buf, 1000, NULL), 1000);
    x(OPS.set_state(c, VMIG_STATE_RUNNING, &err));
    assert_int_equal(OPS.data_read(c, buf, 1000, NULL), -EINVAL);
    f.sent_bytes = 0;
    x(OPS.set_state(c, VMIG_STATE_STOP_COPY, &err));
    drain(c, MIB, &at);
    assert_int_equal(at, 5 * MIB);
    fake_close(&f, c);
}

/* ---- reading fails ---- */

static unsigned fail_at, reads;

static bool fail_a_read(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                        size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_MIG_DATA_READ || ++reads != fail_at)
        return false;
    fake_error(fake, h, EIO);
    return true;
}

static void a_failed_read_ends_the_stream_until_a_new_one(void **state)
{
    (void)state;
    struct vmig_error refusal = { 0 };
    size_t at = 0;
    fake_init(&f);
    f.save_bytes = 8 * MIB;
    f.hook = fail_a_read;
    fail_at = 4;
    reads = 0;
    void *c = start_in(VMIG_STATE_STOP_COPY);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(OPS.data_read(c, buf, MIB, NULL), MIB);
    assert_int_equal(OPS.data_read(c, buf, MIB, &refusal), -EIO);
    assert_non_null(strstr(refusal.text, "MIG_DATA_READ"));
    assert_int_equal(OPS.data_read(c, buf, MIB, NULL), -EIO); /* not the bytes behind the hole */
    x(OPS.set_state(c, VMIG_STATE_STOP, &err));
    f.sent_bytes = 0;
    x(OPS.set_state(c, VMIG_STATE_STOP_COPY, &err));
    drain(c, MIB, &at);
    assert_int_equal(at, 8 * MIB);
    fake_close(&f, c);
}

static bool ignore_a_read(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                          size_t length, const struct vuser_fds *fds)
{
    (void)fake, (void)payload, (void)length, (void)fds;
    return h->command == VUSER_MIG_DATA_READ && ++reads == fail_at;
}

static void an_unanswered_read_times_out_and_leaves_no_gap(void **state)
{
    (void)state;
    struct vmig_error refusal = { 0 };
    enum vmig_state now;
    fake_init(&f);
    f.save_bytes = 8 * MIB;
    f.hook = ignore_a_read;
    fail_at = 1;
    reads = 0;
    fake_start(&f);
    void *c = fake_open(&f, &fake_hasty);
    x(OPS.set_state(c, VMIG_STATE_STOP_COPY, &err));
    assert_int_equal(OPS.data_read(c, buf, MIB, &refusal), -ETIMEDOUT);
    assert_int_equal(OPS.data_read(c, buf, MIB, NULL), -ETIMEDOUT);
    x(OPS.get_state(c, &now, &err)); /* the connection is fine */
    fake_close(&f, c);
}

/* ---- writing ---- */

static void write_state(void *c, size_t bytes, size_t piece)
{
    uint8_t *all = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        all[i] = fake_byte(i);
    for (size_t at = 0; at < bytes; at += piece)
        x(OPS.data_write(c, all + at, bytes - at < piece ? bytes - at : piece, &err));
    memset(all, 0, bytes); /* the caller's buffer is its own again */
    x(OPS.data_flush(c, &err));
    free(all);
}

static void check_load(size_t bytes, size_t piece, unsigned extensions, uint64_t max_xfer,
                       unsigned expected_largest)
{
    fake_init(&f);
    f.caps.extensions = extensions;
    f.caps.max_data_xfer_size = max_xfer;
    void *c = start_in(VMIG_STATE_RESUMING);
    write_state(c, bytes, piece);
    assert_int_equal(f.loaded_bytes, bytes);
    assert_false(f.load_wrong);
    assert_int_equal(f.largest_write, expected_largest);
    fake_close(&f, c);
}

static void writes_stay_within_32_kib_unless_larger_ones_are_announced(void **state)
{
    (void)state;
    check_load(32767, MIB, 0, MIB, 32767);
    check_load(32768, MIB, 0, MIB, 32768);
    check_load(32769, MIB, 0, MIB, 32768);
    check_load(3 * MIB + 1, MIB, 0, MIB, 32768);
    check_load(3 * MIB + 1, MIB, VUSER_EXT_LARGE_WRITES, MIB, 1048576);
    check_load(3 * MIB, MIB, VUSER_EXT_LARGE_WRITES, 100000, 100000);
    check_load(3 * MIB, 100, VUSER_EXT_LARGE_WRITES, MIB, 100);
    check_load(100000, MIB, 0, 1000, 1000);
    check_load(0, MIB, 0, 1000, 0);
}

static bool hold_writes(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                        size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)fds;
    if (h->command != VUSER_MIG_DATA_WRITE)
        return false;
    fake->loaded_bytes += length - 8;
    kept[num_kept++] = *h;
    for (unsigned i = 0; num_kept == hold && i < hold; i++)
        fake_reply(fake, &kept[i], "12345678", 8); /* some servers answer with 8 bytes */
    if (num_kept == hold)
        num_kept = 0;
    return true;
}

static void writes_are_not_waited_for(void **state)
{
    (void)state;
    fake_init(&f);
    f.hook = hold_writes;
    num_kept = 0;
    hold = 32; /* the server answers none before it has so many */
    void *c = start_in(VMIG_STATE_RESUMING);
    for (unsigned i = 0; i < 64; i++)
        x(OPS.data_write(c, buf, 1000, &err));
    x(OPS.data_flush(c, &err));
    assert_int_equal(f.loaded_bytes, 64000);
    fake_close(&f, c);
}

static bool fail_a_write(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                         size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_MIG_DATA_WRITE || ++reads < fail_at)
        return false;
    fake_error(fake, h, reads == fail_at ? ENOSPC : EIO);
    return true;
}

static void the_first_error_of_writing_is_reported_and_stays(void **state)
{
    (void)state;
    struct vmig_error refusal = { 0 };
    fake_init(&f);
    f.hook = fail_a_write;
    fail_at = 5;
    reads = 0;
    void *c = start_in(VMIG_STATE_RESUMING);
    int rc = 0;
    for (unsigned i = 0; i < 20 && !rc; i++)
        rc = OPS.data_write(c, buf, 1000, NULL);
    assert_true(rc == 0 || rc == -ENOSPC);
    assert_int_equal(OPS.data_flush(c, &refusal), -ENOSPC);
    assert_non_null(strstr(refusal.text, "MIG_DATA_WRITE"));
    assert_int_equal(OPS.data_write(c, buf, 1, NULL), -ENOSPC);
    /* Half of a state must not be installed by leaving RESUMING: not even tried. */
    assert_int_equal(OPS.set_state(c, VMIG_STATE_STOP, NULL), -ENOSPC);
    assert_int_equal(f.state, VMIG_STATE_RESUMING);
    x(OPS.reset(c, &err));
    fail_at = 0;
    f.hook = NULL;
    x(OPS.set_state(c, VMIG_STATE_RESUMING, &err));
    f.loaded_bytes = 0;
    write_state(c, 100000, 50000);
    x(OPS.set_state(c, VMIG_STATE_STOP, &err));
    assert_int_equal(f.loaded_bytes, 100000);
    fake_close(&f, c);
}

static void data_moves_only_in_the_states_for_it(void **state)
{
    (void)state;
    fake_init(&f);
    f.save_bytes = 100;
    void *c = start_in(VMIG_STATE_STOP);
    assert_int_equal(OPS.data_read(c, buf, 10, NULL), -EINVAL);
    assert_int_equal(OPS.data_write(c, buf, 10, NULL), -EINVAL);
    x(OPS.set_state(c, VMIG_STATE_RESUMING, &err));
    assert_int_equal(OPS.data_read(c, buf, 10, NULL), -EINVAL);
    x(OPS.set_state(c, VMIG_STATE_STOP_COPY, &err));
    assert_int_equal(OPS.data_write(c, buf, 10, NULL), -EINVAL);
    assert_int_equal(OPS.data_read(c, buf, 10, NULL), 10);
    fake_close(&f, c);
    assert_int_equal(f.counts[VUSER_MIG_DATA_WRITE], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_of_any_size_is_read_whole),
        cmocka_unit_test(reads_may_have_any_size),
        cmocka_unit_test(short_and_padded_replies_are_accepted),
        cmocka_unit_test(sixteen_requests_are_kept_in_flight),
        cmocka_unit_test(nothing_is_asked_for_after_an_empty_reply_until_somebody_wants_it),
        cmocka_unit_test(precopy_and_stop_copy_are_one_stream),
        cmocka_unit_test(what_was_read_ahead_counts_as_not_read_yet),
        cmocka_unit_test(a_new_stream_does_not_begin_with_the_old_ones_rest),
        cmocka_unit_test(a_failed_read_ends_the_stream_until_a_new_one),
        cmocka_unit_test(an_unanswered_read_times_out_and_leaves_no_gap),
        cmocka_unit_test(writes_stay_within_32_kib_unless_larger_ones_are_announced),
        cmocka_unit_test(writes_are_not_waited_for),
        cmocka_unit_test(the_first_error_of_writing_is_reported_and_stays),
        cmocka_unit_test(data_moves_only_in_the_states_for_it),
    };
    return cmocka_run_group_tests_name("vfio-user stream", tests, NULL, NULL);
}
