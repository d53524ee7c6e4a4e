/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients that break the rules: the server answers or closes, and the next client finds it well. */
#include "raw-client.h"

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A new client gets served: the server is alive and in step. */
static void assert_well(struct fixture *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = connect_client(f);
    say_version(f, full_json);
    assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
    assert_int_equal(get_state(f), 2);
}

static void messages_may_arrive_in_pieces(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint8_t message[16 + 16] = { 9, 0, CMD_REGION_READ, 0, 32 };
    struct access access = { REFDEV_REG_MAGIC, 0, 8, 0 };
    struct wire_header header;
    (void)arg;
    memcpy(message + 16, &access, 16);
    for (unsigned cut = 1; cut < sizeof(message); cut++) {
        assert_true(try_send_raw(f->fd, message, cut));
        usleep(100);
        assert_true(try_send_raw(f->fd, message + cut, sizeof(message) - cut));
        assert_true(receive(f, f->fd, &header));
        assert_int_equal(header.id, 9);
        assert_true(at64(f, 16) == REFDEV_MAGIC);
    }
    server_end(f);
}

static void framing_doubts_close_the_connection(void **arg)
{
    static const struct wire_header bad[] = {
        { 1, CMD_GET_INFO, 15, 0, 0 },         { 1, CMD_GET_INFO, 0, 0, 0 },
        { 1, CMD_GET_INFO, 0xffffffff, 0, 0 }, { 1, CMD_GET_INFO, 2u << 20, 0, 0 },
        { 1, CMD_GET_INFO, 32, 2, 0 },         { 1, CMD_GET_INFO, 32, 15, 0 },
        { 1, CMD_DMA_READ, 32, 1, 0 },         { 7, CMD_GET_INFO, 32, 0x21, 5 },
    };
    struct fixture *f = client_of("default", plain_json);
    struct wire_header header;
    (void)arg;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t message[32] = { 0 };
        memcpy(message, &bad[i], 16);
        assert_true(try_send_raw(f->fd, message, sizeof(message)));
        assert_false(receive(f, f->fd, &header));
        assert_well(f);
    }
    server_end(f);
}

/* Every command with every payload length up to beyond its structures, twice: zeros and ones. */
static void every_command_of_every_length_is_answered(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    uint8_t payload[80];
    (void)arg;
    for (int fill = 0; fill <= 0xff; fill += 0xff) {
        memset(payload, fill, sizeof(payload));
        for (uint16_t command = 0; command < 24; command++) {
            for (uint32_t length = 0; length <= sizeof(payload); length++)
                call(f, command, payload, length);
        }
    }
    assert_int_equal(call(f, 0xffff, payload, 8), EINVAL);
    assert_well(f);
    server_end(f);
}

/* Well-formed messages with 32-bit fields from the values that break sums. */
static void fields_at_the_edges_are_answered(void **arg)
{
    static const uint32_t edges[] = { 0,          1,          7,          8,          16,
                                      4095,       4096,       0x100000,   0x7fffffff, 0x80000000,
                                      0xfffff000, 0xffffffff, 0xfffffff0, 2,          3,
                                      32,         24,         0x10001,    0x20002,    0x20006,
                                      0x10008,    0x24,       0x21 };
    struct fixture *f = client_of("default", full_json);
    uint64_t seed = 0x1234567;
    (void)arg;
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t words[14];
        uint16_t command = (uint16_t)(2 + random_next(&seed) % 18);
        uint32_t length = (uint32_t)(random_next(&seed) % 15) * 4;
        for (unsigned w = 0; w < 14; w++)
            words[w] = edges[random_next(&seed) % (sizeof(edges) / sizeof(edges[0]))];
        if (command == CMD_DMA_READ || command == CMD_DMA_WRITE)
            continue;
        /* No workload: it would ask us for memory that was mapped without an fd. */
        if (i % 64 == 0)
            assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
        call(f, command, words, length);
    }
    assert_well(f);
    server_end(f);
}

static void random_bytes_are_survived(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    uint64_t seed = 0xfeedface;
    (void)arg;
    close(f->fd);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t noise[300];
        f->fd = connect_client(f);
        if (i % 2)
            say_version(f, full_json);
        for (unsigned n = 0; n < sizeof(noise); n++)
            noise[n] = (uint8_t)random_next(&seed);
        if (i % 3) { /* a header that passes, so that the noise is its payload */
            struct wire_header header = { 1, (uint16_t)(noise[0] % 20), 16 + noise[1],
                                          noise[2] & 0x10, 0 };
            memcpy(noise, &header, 16);
        }
        try_send_raw(f->fd, noise, sizeof(noise));
        close(f->fd);
    }
    f->fd = -1;
    assert_well(f);
    server_end(f);
}

static void random_state_data_is_refused(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    uint64_t seed = 99;
    uint8_t *buf = malloc(4 << 20);
    (void)arg;
    go(f, 3);
    size_t length = read_state(f, buf, 1 << 20);
    go(f, 2);
    for (unsigned i = 0; i < 300; i++) {
        size_t at = random_next(&seed) % length;
        uint8_t was = buf[at];
        buf[at] ^= (uint8_t)(1 + random_next(&seed) % 255);
        go(f, 4);
        unsigned rc = try_write_state(f, buf, length, 1 << 20);
        assert_int_equal(rc ? rc : try_set_state(f, 1), EINVAL);
        assert_int_equal(call(f, CMD_RESET, NULL, 0), 0);
        buf[at] = was;
    }
    go(f, 4);
    assert_int_equal(try_write_state(f, buf, length, 1 << 20), 0);
    go(f, 2);
    free(buf);
    server_end(f);
}

static void unexpected_fds_are_closed(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    uint32_t info[4] = { 16 };
    int pipes[2];
    char byte;
    (void)arg;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
        int fds[3] = { pipes[1], pipes[1], pipes[1] };
        assert_int_equal(call_fds(f, CMD_GET_INFO, info, 16, fds, 3), 0);
        assert_int_equal(call_fds(f, 99, info, 16, fds, 3), EINVAL);
        close(pipes[1]);
        assert_int_equal(get_state(f), 2);
        assert_int_equal(read(pipes[0], &byte, 1), 0); /* nobody holds the other end */
        close(pipes[0]);
    }
    server_end(f);
}

static void leaving_in_the_middle_of_anything_is_survived(void **arg)
{
    struct fixture *f = client_of("default", full_json);
    uint8_t message[16 + 8 + 5000] = { 1, 0, CMD_DATA_WRITE, 0 };
    uint32_t size = sizeof(message), head[2] = { 8 + 5000, 5000 };
    (void)arg;
    memcpy(message + 4, &size, 4);
    memcpy(message + 16, head, 8);
    for (uint32_t state = 1; state < 8; state++) {
        for (size_t cut = 1; cut < sizeof(message); cut += cut < 40 ? 1 : 1237) {
            go(f, state);
            assert_true(try_send_raw(f->fd, message, cut));
            assert_well(f);
        }
    }
    server_end(f);
}

static void client_that_never_answers_dma_is_dropped_by_leaving(void **arg)
{
    struct fixture *f = client_of("default", plain_json);
    struct wire_header header;
    (void)arg;
    assert_int_equal(try_map(f, 0x100000, 4096, -1, 0, 3), 0);
    region_write(f, 7, 4, 6, 2);
    reg_write(f, REFDEV_REG_COPY_TARGET, 0x100000);
    reg_write(f, REFDEV_REG_COPY_LENGTH, 4096);
    reg_write(f, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
    assert_true(receive(f, f->fd, &header));
    assert_int_equal(header.command, CMD_DMA_WRITE);
    assert_well(f);
    assert_int_equal(reg_read(f, REFDEV_REG_COPY_STATUS), REFDEV_STATUS_IDLE);
    server_end(f);
}

static void wrong_answers_to_dma_do_not_confuse_the_server(void **arg)
{
    /* size, flags of the reply header; the payload is zeros */
    static const uint32_t answers[][2] = {
        { 16, 1 }, { 17, 1 }, { 24, 1 }, { 32, 1 }, { 4000, 1 }, { 40, 0x21 }, { 0, 1 }, { 15, 1 },
    };
    struct fixture *f = client_of("default", plain_json);
    struct wire_header header;
    uint8_t out[4096] = { 0 };
    (void)arg;
    for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        assert_int_equal(try_map(f, 0x100000, 4096, -1, 0, 3), 0);
        region_write(f, 7, 4, 6, 2);
        reg_write(f, REFDEV_REG_COPY_SOURCE, 0x100000);
        reg_write(f, REFDEV_REG_COPY_TARGET, 0x100000);
        reg_write(f, REFDEV_REG_COPY_LENGTH, 4096);
        reg_write(f, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_MOVE);
        assert_true(receive(f, f->fd, &header));
        assert_int_equal(header.command, CMD_DMA_READ);
        struct wire_header reply = { header.id, header.command, answers[i][0], answers[i][1], 7 };
        memcpy(out, &reply, 16);
        try_send_raw(f->fd, out, answers[i][0] < 16 ? 16 : answers[i][0]);
        if (answers[i][0] >= 16)
            assert_int_equal(reg_read(f, REFDEV_REG_COPY_STATUS), REFDEV_STATUS_FAILED);
        assert_well(f);
    }
    server_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_may_arrive_in_pieces),
        cmocka_unit_test(framing_doubts_close_the_connection),
        cmocka_unit_test(every_command_of_every_length_is_answered),
        cmocka_unit_test(fields_at_the_edges_are_answered),
        cmocka_unit_test(random_bytes_are_survived),
        cmocka_unit_test(random_state_data_is_refused),
        cmocka_unit_test(unexpected_fds_are_closed),
        cmocka_unit_test(leaving_in_the_middle_of_anything_is_survived),
        cmocka_unit_test(client_that_never_answers_dma_is_dropped_by_leaving),
        cmocka_unit_test(wrong_answers_to_dma_do_not_confuse_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
