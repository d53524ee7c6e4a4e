/* SPDX-License-Identifier: BSD-3-Clause */
/* The fault plan, seen by a client: every fault at every place where it makes sense. */
#include <time.h>

#include "raw-client.h"

/* A client of a device of 128 KiB with a plan of @text and @more (or NULL). */
static void set_plan(struct fixture *f, const char *text, const char *more)
{
    struct refdev_fault faults[2];
    assert_int_equal(refdev_fault_parse(text, &faults[0]), 0);
    if (more)
        assert_int_equal(refdev_fault_parse(more, &faults[1]), 0);
    refdev_server_set_faults(f->server, faults, more ? 2 : 1);
}

static struct fixture *faulty(const char *text)
{
    struct refdev_config config = { .local_bytes = 128 << 10, .knobs.seed = 11 };
    if (text)
        assert_int_equal(refdev_fault_parse(text, &config.knobs.faults[config.knobs.fault_count++]),
                         0);
    struct fixture *f = server_start(&config);
    f->fd = connect_client(f);
    say_version(f, full_json);
    return f;
}

static void fired(struct fixture *f, unsigned count)
{
    assert_int_equal(refdev_server_faults_fired(f->server), count);
}

enum { STOP = 1, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P };

/* One read of state: its length, or -errno. The data is in f->reply + 8. */
static int try_read(struct fixture *f, uint32_t size)
{
    uint32_t want[2] = { 8 + size, size };
    unsigned rc = call(f, CMD_DATA_READ, want, 8);
    return rc ? -(int)rc : (int)at32(f, 4);
}

/* Saved by a device without faults; @ret_length of it. */
static uint8_t *good_state(size_t *ret_length)
{
    struct fixture *f = faulty(NULL);
    uint8_t *state = malloc(1 << 20);
    go(f, STOP_COPY);
    *ret_length = read_state(f, state, 65536);
    server_end(f);
    return state;
}

/* ---- fail, error ---- */

static void failed_arc_leaves_the_state_before_and_works_the_next_time(void **arg)
{
    struct fixture *f = faulty("fail:EBUSY@arc/STOP");
    (void)arg;
    assert_int_equal(try_set_state(f, STOP_COPY), EBUSY);
    assert_int_equal(get_state(f), RUNNING_P2P);
    fired(f, 1);
    go(f, STOP_COPY);
    go(f, RUNNING);
    fired(f, 1);
    server_end(f);
}

static void arcs_are_counted_one_by_one_or_those_into_a_state(void **arg)
{
    struct fixture *f = faulty("fail@arc#3");
    (void)arg;
    assert_int_equal(try_set_state(f, STOP_COPY), EIO); /* RUNNING_P2P, STOP, then it */
    assert_int_equal(get_state(f), STOP);
    go(f, RUNNING);
    set_plan(f, "fail@arc/STOP#2+", NULL);
    go(f, STOP);
    go(f, RUNNING);
    for (int i = 0; i < 3; i++)
        assert_int_equal(try_set_state(f, STOP), EIO);
    fired(f, 3);
    server_end(f);
}

static void error_at_an_arc_leaves_the_device_in_error_until_it_is_reset(void **arg)
{
    struct fixture *f = faulty("error:ENXIO@arc/STOP_COPY");
    (void)arg;
    assert_int_equal(try_set_state(f, STOP_COPY), ENXIO);
    assert_int_equal(get_state(f), 0);
    assert_int_equal(try_set_state(f, RUNNING), EINVAL);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    assert_int_equal(get_state(f), RUNNING);
    go(f, STOP_COPY);
    server_end(f);
}

static void failed_read_takes_nothing(void **arg)
{
    struct fixture *f = faulty("fail:ENODATA@read#2");
    size_t length;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(try_read(f, 1000), 1000);
    memcpy(state, f->reply + 8, 1000);
    assert_int_equal(try_read(f, 1000), -ENODATA);
    assert_int_equal(read_state(f, state + 1000, 4096), length - 1000);
    assert_memory_equal(state, good, length);
    free(good);
    free(state);
    server_end(f);
}

static void error_at_a_read_or_write_ends_the_stream(void **arg)
{
    struct fixture *f = faulty("error@read#2");
    size_t length;
    uint8_t *good = good_state(&length);
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(try_read(f, 1000), 1000);
    assert_int_equal(try_read(f, 1000), -EIO);
    assert_int_equal(get_state(f), 0);
    assert_int_equal(try_read(f, 1000), -EINVAL);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    set_plan(f, "error@write#2", NULL);
    go(f, RESUMING);
    assert_int_equal(try_write_state(f, good, 1000, 1000), 0);
    assert_int_equal(try_write_state(f, good + 1000, 1000, 1000), EIO);
    assert_int_equal(get_state(f), 0);
    free(good);
    server_end(f);
}

static void failed_write_takes_nothing(void **arg)
{
    struct fixture *f = faulty("fail:ENOSPC@write#2");
    size_t length;
    uint8_t *good = good_state(&length);
    (void)arg;
    go(f, RESUMING);
    assert_int_equal(try_write_state(f, good, 5000, 5000), 0);
    assert_int_equal(try_write_state(f, good + 5000, 5000, 5000), ENOSPC);
    assert_int_equal(try_write_state(f, good + 5000, length - 5000, 5000), 0);
    go(f, RUNNING);
    free(good);
    server_end(f);
}

static void fault_at_a_byte_cuts_the_read_before_it(void **arg)
{
    struct fixture *f = faulty("fail@byte#70000");
    size_t length;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(try_read(f, 65536), 65536);
    memcpy(state, f->reply + 8, 65536);
    assert_int_equal(try_read(f, 65536), 70000 - 65536);
    memcpy(state + 65536, f->reply + 8, 70000 - 65536);
    assert_int_equal(try_read(f, 65536), -EIO);
    assert_int_equal(read_state(f, state + 70000, 65536), length - 70000);
    assert_memory_equal(state, good, length);
    go(f, STOP);
    go(f, RESUMING); /* once is once, in whatever stream */
    assert_int_equal(try_write_state(f, good, length, 65536), 0);
    go(f, STOP);
    set_plan(f, "fail:EFBIG@byte#70000", NULL);
    go(f, RESUMING);
    assert_int_equal(try_write_state(f, good, 65536, 65536), 0);
    assert_int_equal(try_write_state(f, good + 65536, 65536, 65536), EFBIG);
    free(good);
    free(state);
    server_end(f);
}

static void failed_command_is_not_executed(void **arg)
{
    struct fixture *f = faulty("fail:EAGAIN@command/reset");
    (void)arg;
    go(f, STOP);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), EAGAIN);
    assert_int_equal(get_state(f), STOP);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    assert_int_equal(get_state(f), RUNNING);
    set_plan(f, "error@command/set-state", NULL);
    assert_int_equal(get_state(f), RUNNING);
    assert_int_equal(try_set_state(f, STOP), EIO);
    assert_int_equal(get_state(f), 0);
    server_end(f);
}

/* ---- hang, late, vanish ---- */

static bool is_answered(struct fixture *f, int timeout_ms)
{
    struct pollfd p = { .fd = f->fd, .events = POLLIN };
    return poll(&p, 1, timeout_ms) == 1;
}

static void send_read(struct fixture *f)
{
    uint32_t want[2] = { 8 + 1000, 1000 };
    send_command(f->fd, 99, CMD_DATA_READ, 0, want, 8, NULL, 0);
}

static void hung_device_answers_nobody_and_goes_on_when_the_plan_is_replaced(void **arg)
{
    static const char *const texts[] = { "hang@read#2", "hang@byte#1000",
                                         "hang@command/data-read#2" };
    struct wire_header header;
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = faulty(texts[i]);
        go(f, STOP_COPY);
        assert_int_equal(try_read(f, 1000), 1000);
        send_read(f);
        assert_true(refdev_server_await_fault(f->server, 1, 60000));
        assert_false(is_answered(f, 20));
        refdev_server_set_faults(f->server, NULL, 0);
        assert_true(receive(f, f->fd, &header));
        assert_int_equal(header.flags, 1);
        assert_int_equal(at32(f, 4), 1000);
        fired(f, 0);
        server_end(f);
    }
}

/* Where no answer is due, nothing can be seen but that later commands wait. */
static void hung_write_holds_up_what_comes_after_it(void **arg)
{
    static const char *const texts[] = { "hang@write", "hang@byte#300" };
    struct wire_header header;
    uint8_t write[8 + 500] = { [0] = 0xfc, [1] = 1, [4] = 0xf4, [5] = 1 };
    size_t length;
    uint8_t *good = good_state(&length);
    memcpy(write + 8, good, 500);
    (void)arg;
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = faulty(texts[i]);
        go(f, RESUMING);
        send_command(f->fd, 1, CMD_DATA_WRITE, 0x10, write, sizeof(write), NULL, 0);
        send_command(f->fd, 2, CMD_RESET, 0, NULL, 0, NULL, 0);
        assert_true(refdev_server_await_fault(f->server, 1, 60000));
        assert_false(is_answered(f, 20));
        refdev_server_set_faults(f->server, NULL, 0);
        assert_true(receive(f, f->fd, &header));
        assert_int_equal(header.id, 2);
        assert_int_equal(header.flags, 1);
        server_end(f);
    }
    free(good);
}

static void hung_device_can_be_stopped_and_says_nothing(void **arg)
{
    struct fixture *f = faulty("hang@arc/RUNNING_P2P");
    uint32_t set[4] = { 16, SET | 2, STOP, 0xffffffff };
    uint8_t byte;
    (void)arg;
    send_command(f->fd, 1, CMD_FEATURE, 0, set, 16, NULL, 0);
    assert_true(refdev_server_await_fault(f->server, 1, 60000));
    int fd = dup(f->fd);
    server_end(f);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void late_answer_is_the_right_one_not_before_its_time(void **arg)
{
    struct fixture *f = faulty("late:50ms@arc/STOP");
    uint64_t begin = now_ms();
    (void)arg;
    go(f, STOP);
    assert_true(now_ms() - begin >= 50);
    static const char *const texts[] = { "late:50ms@read", "late:50ms@byte",
                                         "late:50ms@command/data-read" };
    for (unsigned i = 0; i < 3; i++) {
        set_plan(f, texts[i], NULL);
        go(f, STOP_COPY);
        begin = now_ms();
        assert_int_equal(try_read(f, 1000), 1000);
        assert_true(now_ms() - begin >= 50);
        fired(f, 1);
        go(f, STOP);
    }
    server_end(f);
}

static void is_gone(struct fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    uint8_t byte;
    /* No answer, the end; of a command that was not read to its end, it is told so. */
    ssize_t n = recv(f->fd, &byte, 1, 0);
    assert_true(n == 0 || (n == -1 && errno == ECONNRESET));
    memcpy(address.sun_path, f->path, sizeof(f->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
}

static void vanished_device_ends_the_connection_and_refuses_the_next(void **arg)
{
    static const char *const texts[] = { "vanish@read", "vanish@byte", "vanish@command/data-read" };
    uint32_t set[4] = { 16, SET | 2, RESUMING, 0xffffffff };
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = faulty(texts[i]);
        go(f, STOP_COPY);
        send_read(f);
        is_gone(f);
        server_end(f);
    }
    struct fixture *f = faulty("vanish@arc/RESUMING");
    send_command(f->fd, 1, CMD_FEATURE, 0, set, 16, NULL, 0);
    is_gone(f);
    server_end(f);
    f = faulty("vanish@write");
    go(f, RESUMING);
    uint8_t write[1000 + 8] = { [0] = 240, [1] = 3, [4] = 232, [5] = 3 };
    send_command(f->fd, 1, CMD_DATA_WRITE, 0, write, sizeof(write), NULL, 0);
    is_gone(f);
    server_end(f);
}

/* ---- lie, short, corrupt, truncate ---- */

static void sizes_flags_and_states_can_be_lies(void **arg)
{
    struct fixture *f = faulty("lie:5@command/size#2");
    uint32_t info[6] = { 24, 0 };
    (void)arg;
    assert_int_equal(try_feature(f, GET | 9, NULL, 0, 16), 0);
    uint64_t truth = at64(f, 8);
    assert_true(truth > 128 << 10);
    assert_int_equal(try_feature(f, GET | 9, NULL, 0, 16), 0);
    assert_int_equal(at64(f, 8), 5);
    assert_int_equal(try_feature(f, GET | 9, NULL, 0, 16), 0);
    assert_int_equal(at64(f, 8), truth);
    set_plan(f, "lie:,7@command/info", "lie:1@command/flags");
    assert_int_equal(try_feature(f, GET | 1, NULL, 0, 16), 0);
    assert_int_equal(at64(f, 8), 1);
    go(f, PRE_COPY);
    assert_int_equal(call(f, CMD_PRECOPY_INFO, info, 24), 0);
    assert_true(at64(f, 8) > 128 << 10);
    assert_int_equal(at64(f, 16), 7);
    fired(f, 2);
    set_plan(f, "lie:ERROR@command/state", NULL);
    assert_int_equal(get_state(f), 0);
    assert_int_equal(get_state(f), PRE_COPY);
    server_end(f);
}

static void log_that_lies_says_all_or_nothing_and_forgets(void **arg)
{
    struct fixture *f = faulty("lie:0@command/log-report");
    uint64_t start[2] = { 4096, 0 }, report[3] = { 0, 1 << 20, 4096 }, pages = 0;
    int memory = memfd_create("ram", MFD_CLOEXEC);
    (void)arg;
    assert_int_equal(ftruncate(memory, 1 << 20), 0);
    assert_int_equal(try_map(f, 0, 1 << 20, memory, 0, 3), 0);
    assert_int_equal(try_feature(f, SET | 6, start, 16, 24), 0);
    assert_int_equal(call(f, CMD_REGION_WRITE, &(struct access) { 4, 7, 2, 6 }, 18), 0);
    static const char *const texts[] = { NULL, NULL, "lie:1@command/log-report" };
    static const unsigned expected[] = { 0, 2, 256 };
    for (unsigned i = 0; i < 3; i++) {
        if (texts[i])
            set_plan(f, texts[i], NULL);
        reg_write(f, REFDEV_REG_COPY_SOURCE, 0);
        reg_write(f, REFDEV_REG_COPY_TARGET, 16 * 4096);
        reg_write(f, REFDEV_REG_COPY_LENGTH, 2 * 4096);
        reg_write(f, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
        while (reg_read(f, REFDEV_REG_COPY_STATUS) == REFDEV_STATUS_BUSY)
            ;
        assert_int_equal(try_feature(f, GET | 8, report, 24, 8 + 24 + 32), 0);
        pages = 0;
        for (unsigned word = 0; word < 4; word++)
            pages += (unsigned)__builtin_popcountll(at64(f, 8 + 24 + 8 * word));
        assert_int_equal(pages, expected[i]);
    }
    assert_int_equal(try_feature(f, GET | 8, report, 24, 8 + 24 + 32), 0);
    assert_int_equal(at64(f, 8 + 24), 0); /* two pages were dirty; the truth is lost */
    close(memory);
    server_end(f);
}

static void end_of_data_can_be_said_too_early(void **arg)
{
    struct fixture *f = faulty("lie:0@read#2");
    size_t length;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(read_state(f, state, 1000), 1000);
    assert_int_equal(read_state(f, state + 1000, 1000), length - 1000);
    assert_memory_equal(state, good, length);
    free(good);
    free(state);
    server_end(f);
}

static void data_can_come_after_its_end(void **arg)
{
    struct fixture *f = faulty("lie:100K@read");
    size_t length;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(read_state(f, state, 65536), length + 100 * 1024);
    assert_memory_equal(state, good, length);
    assert_int_equal(try_read(f, 65536), 0);
    server_end(f);
    f = faulty(NULL);
    go(f, RESUMING);
    assert_int_equal(try_write_state(f, state, length + 100, 65536), EINVAL);
    free(good);
    free(state);
    server_end(f);
}

static void short_reads_lose_nothing(void **arg)
{
    static const char *const texts[] = { "short@read#2", "short:777@read#1+", "short@byte#5" };
    static const int first[] = { 4096, 777, 5 }, second[] = { 1, 777, 4096 };
    size_t length;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = faulty(texts[i]);
        go(f, STOP_COPY);
        assert_int_equal(try_read(f, 4096), first[i]);
        memcpy(state, f->reply + 8, (size_t)first[i]);
        assert_int_equal(try_read(f, 4096), second[i]);
        memcpy(state + first[i], f->reply + 8, (size_t)second[i]);
        size_t have = (size_t)first[i] + (size_t)second[i];
        assert_int_equal(read_state(f, state + have, 4096), length - have);
        assert_memory_equal(state, good, length);
        server_end(f);
    }
    free(good);
    free(state);
}

/* Number of bits in which they differ, and where the last one is. */
static unsigned bits_apart(const uint8_t *a, const uint8_t *b, size_t length, size_t *ret_at)
{
    unsigned bits = 0;
    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i])
            *ret_at = i;
        bits += (unsigned)__builtin_popcount(a[i] ^ b[i]);
    }
    return bits;
}

static void one_bit_flips_in_what_is_read_and_not_in_the_device(void **arg)
{
    static const char *const texts[] = { "corrupt@byte#70000", "corrupt@byte#0", "corrupt@read#3" };
    static const size_t where[] = { 70000, 0, 10000 };
    size_t length, at = 0;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    for (unsigned i = 0; i < 3; i++) {
        struct fixture *f = faulty(texts[i]);
        go(f, STOP_COPY);
        assert_int_equal(read_state(f, state, 4000), length);
        assert_int_equal(bits_apart(state, good, length, &at), 1);
        assert_int_equal(at, where[i]);
        fired(f, 1);
        go(f, STOP);
        go(f, STOP_COPY);
        assert_int_equal(read_state(f, state, 4000), length);
        assert_memory_equal(state, good, length);
        server_end(f);
    }
    free(good);
    free(state);
}

static void flipped_bit_of_a_write_is_found(void **arg)
{
    static const char *const texts[] = { "corrupt@byte#70000", "corrupt@write#2" };
    size_t length;
    uint8_t *good = good_state(&length);
    (void)arg;
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = faulty(texts[i]);
        go(f, RESUMING);
        assert_int_equal(try_write_state(f, good, length, 65536), EINVAL);
        fired(f, 1);
        server_end(f);
    }
    free(good);
}

static void truncated_state_ends_early_and_is_refused(void **arg)
{
    struct fixture *f = faulty("truncate@byte#70000");
    size_t length;
    uint8_t *good = good_state(&length), *state = malloc(1 << 20);
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(read_state(f, state, 65536), 70000);
    assert_int_equal(try_read(f, 65536), 0);
    assert_memory_equal(state, good, 70000);
    set_plan(f, "truncate@write#2", NULL);
    go(f, RESUMING);
    assert_int_equal(try_write_state(f, good, length, 65536), 0); /* it says */
    assert_int_equal(try_set_state(f, STOP), EINVAL);
    assert_int_equal(get_state(f), RESUMING);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    go(f, RESUMING); /* the next one is whole */
    assert_int_equal(try_write_state(f, good, length, 65536), 0);
    go(f, STOP);
    free(good);
    free(state);
    server_end(f);
}

/* ---- plans ---- */

static void plan_is_replaced_between_messages_and_counts_from_there(void **arg)
{
    struct fixture *f = faulty(NULL);
    struct wire_header header;
    struct refdev_fault used;
    (void)arg;
    go(f, STOP_COPY);
    set_plan(f, "late:100ms@read", "fail@read");
    send_read(f);
    assert_true(refdev_server_await_fault(f->server, 1, 60000));
    refdev_server_set_faults(f->server, NULL, 0); /* while it is late */
    assert_true(receive(f, f->fd, &header));
    assert_int_equal(header.flags, 0x21); /* the message goes by the old plan to its end */
    fired(f, 0);
    assert_int_equal(refdev_fault_parse("fail@read#2", &used), 0);
    used.seen = 7; /* whatever it counted elsewhere */
    refdev_server_set_faults(f->server, &used, 1);
    assert_int_equal(try_read(f, 1000), 1000);
    assert_int_equal(try_read(f, 1000), -EIO);
    server_end(f);
}

static void waiting_for_a_fault_that_does_not_come_ends(void **arg)
{
    struct fixture *f = faulty("fail@read#2");
    (void)arg;
    go(f, STOP_COPY);
    assert_int_equal(try_read(f, 1000), 1000);
    assert_false(refdev_server_await_fault(f->server, 1, 10));
    assert_int_equal(try_read(f, 1000), -EIO);
    assert_true(refdev_server_await_fault(f->server, 1, 0));
    server_end(f);
}

/* ---- the log ---- */

static void faults_are_logged_one_line_each(void *arg, const char *line)
{
    char *log = arg;
    strcat(log, line);
    strcat(log, "\n");
}

static void fault_is_told_when_it_happens(void **arg)
{
    char log[1000] = "";
    struct refdev_config config = { .local_bytes = 1 << 20,
                                    .fault_log = faults_are_logged_one_line_each,
                                    .log_arg = log,
                                    .knobs.fault_count = 1 };
    (void)arg;
    assert_int_equal(refdev_fault_parse("fail:EIO@arc/STOP#2", config.knobs.faults), 0);
    struct fixture *f = server_start(&config);
    f->fd = connect_client(f);
    say_version(f, full_json);
    go(f, STOP);
    go(f, RUNNING);
    assert_string_equal(log, "");
    assert_int_equal(try_set_state(f, STOP), EIO);
    assert_string_equal(log, "fault fail:EIO@arc/STOP#2, in state RUNNING_P2P\n");
    server_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_arc_leaves_the_state_before_and_works_the_next_time),
        cmocka_unit_test(arcs_are_counted_one_by_one_or_those_into_a_state),
        cmocka_unit_test(error_at_an_arc_leaves_the_device_in_error_until_it_is_reset),
        cmocka_unit_test(failed_read_takes_nothing),
        cmocka_unit_test(error_at_a_read_or_write_ends_the_stream),
        cmocka_unit_test(failed_write_takes_nothing),
        cmocka_unit_test(fault_at_a_byte_cuts_the_read_before_it),
        cmocka_unit_test(failed_command_is_not_executed),
        cmocka_unit_test(hung_device_answers_nobody_and_goes_on_when_the_plan_is_replaced),
        cmocka_unit_test(hung_write_holds_up_what_comes_after_it),
        cmocka_unit_test(hung_device_can_be_stopped_and_says_nothing),
        cmocka_unit_test(late_answer_is_the_right_one_not_before_its_time),
        cmocka_unit_test(vanished_device_ends_the_connection_and_refuses_the_next),
        cmocka_unit_test(sizes_flags_and_states_can_be_lies),
        cmocka_unit_test(log_that_lies_says_all_or_nothing_and_forgets),
        cmocka_unit_test(end_of_data_can_be_said_too_early),
        cmocka_unit_test(data_can_come_after_its_end),
        cmocka_unit_test(short_reads_lose_nothing),
        cmocka_unit_test(one_bit_flips_in_what_is_read_and_not_in_the_device),
        cmocka_unit_test(flipped_bit_of_a_write_is_found),
        cmocka_unit_test(truncated_state_ends_early_and_is_refused),
        cmocka_unit_test(plan_is_replaced_between_messages_and_counts_from_there),
        cmocka_unit_test(waiting_for_a_fault_that_does_not_come_ends),
        cmocka_unit_test(fault_is_told_when_it_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
