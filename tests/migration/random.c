/* SPDX-License-Identifier: BSD-3-Clause */
/* A target that is sent nonsense: random bytes, and good streams with a few bytes changed, on the
 * main channel and on data channels. It refuses, resets its device and can be used again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/migration/by-hand.h"
#include "tests/migration/world.h"

/* Fixed, so that what fails once fails again. */
static uint64_t random_state;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void fill_random(uint8_t *buf, size_t length)
{
    for (size_t i = 0; i < length; i++)
        buf[i] = (uint8_t)(random64() >> 32);
}

static void change_some(uint8_t *buf, size_t length)
{
    static const uint8_t hard[] = { 0x00, 0xff, 0x7f, 0x80, 0x01 };
    for (uint64_t n = 1 + random64() % 4; n; n--) {
        /* half of them near the beginning, where the structure is */
        size_t range = random64() % 2 && length > 400 ? 400 : length;
        uint8_t *at = &buf[random64() % range];
        *at = random64() % 2 ? hard[random64() % sizeof(hard)] : (uint8_t)random64();
    }
}

/* What the other end does not take any more is dropped. */
static void pour(int fd, const uint8_t *buf, size_t length)
{
    while (length) {
        ssize_t n = send(fd, buf, length, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        buf += n;
        length -= (size_t)n;
    }
}

/* Whatever it was, the target has let go, or holds all of a good stream and then lets go. */
static void ends(struct party *target)
{
    int rc = party_join(target);
    if (rc == -EUCLEAN)
        x(vmig_migration_resolve(target->m, VMIG_RESOLVE_DISCARD, false, &err));
    else if (rc == 0)
        fail_msg("nonsense was taken for a migration");
    assert_int_equal(target->starts, 0);
    assert_int_equal(party_state(target, 0), VMIG_STATE_RUNNING);
}

static void receive_from_pair(struct world *w, const uint8_t *buf, size_t length)
{
    int ends_of_pair[2];
    char address[32];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_of_pair), 0);
    snprintf(address, sizeof(address), "fd:%d", ends_of_pair[1]);
    party_start(w->target, false, address);
    pour(ends_of_pair[0], buf, length);
    shutdown(ends_of_pair[0], SHUT_WR);
    /* its messages are not read: there is room for all of them */
    ends(w->target);
    close(ends_of_pair[0]);
    close(ends_of_pair[1]);
}

static void random_bytes_on_the_main_channel_are_refused(void **state)
{
    struct world w;
    uint8_t buf[4096];
    (void)state;
    random_state = 1234567;
    world_open(&w, &(struct world_plan) { .devices = 1, .still = true });
    for (unsigned i = 0; i < 2500; i++) {
        size_t length = random64() % sizeof(buf);
        fill_random(buf, length);
        if (i % 2 && length > 8) /* past the first check */
            memcpy(buf, "QEVM\0\0\0\3", 8);
        receive_from_pair(&w, buf, length);
    }
    world_close(&w);
}

/* A stream as a file has it. */
static uint8_t *record(struct world *w, size_t *ret_length)
{
    char path[100], address[110];
    snprintf(path, sizeof(path), "%s/file", w->directory);
    snprintf(address, sizeof(address), "file:%s", path);
    x(vmig_migration_snapshot(w->source->m, address, &err));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *buf = malloc((size_t)size);
    assert_int_equal(pread(fd, buf, (size_t)size, 0), size);
    close(fd);
    *ret_length = (size_t)size;
    return buf;
}

static void good_stream_with_changes_is_refused_or_whole(void **state)
{
    struct world w;
    size_t length;
    (void)state;
    random_state = 7654321;
    world_open(&w, &(struct world_plan) { .devices = 1, .still = true, .ram_bytes = 4u << 20 });
    /* little memory with content, so that the stream is short */
    memset(w.source->load.memory, 0, w.source->load.size_bytes);
    memset(w.source->load.memory + 8192, 5, 16384);
    party_set(w.source, "ram-digest", 1); /* nobody would know changed memory otherwise */
    uint8_t *good = record(&w, &length), *bad = malloc(length);
    for (unsigned i = 0; i < 2500; i++) {
        memcpy(bad, good, length);
        change_some(bad, length);
        if (memcmp(bad, good, length) == 0)
            continue;
        receive_from_pair(&w, bad, random64() % 4 ? length : random64() % length);
    }
    free(good);
    free(bad);
    world_close(&w);
}

/* ---- data channels ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

/* Everything up to the target's READY. */
static void open_main(const char *identity, int fd)
{
    struct writer out;
    char hello[900];
    snprintf(hello, sizeof(hello),
             "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":1,"
             "\"switchover-ack\":true,\"participants\":["
             "{\"id\":\"ram\",\"kind\":\"ram\",\"identity\":\"\",\"precopy\":false},"
             "{\"id\":\"device0\",\"kind\":\"device\",\"identity\":\"%s\",\"precopy\":true}],"
             "\"ram\":[{\"name\":\"workload\",\"iova\":1048576,\"size\":4194304}]}",
             identity);
    writer_init(&out);
    qemu_write_header(&out);
    qemu_write_configuration(&out, "by-hand");
    qemu_write_command(&out, QEMU_CMD_OPEN_RETURN_PATH, NULL, 0);
    by_hand_command(&out, WIRE_CMD_HELLO, hello, strlen(hello));
    qemu_write_start(&out, 2, "device0/vfio", 0, 1);
    writer_u64(&out, UINT64_C(0xffffffffef100003)); /* setup state */
    writer_u64(&out, UINT64_C(0xffffffffef100001)); /* end of state */
    qemu_write_footer(&out, 2);
    pour(fd, out.buf, out.length);
    writer_done(&out);
}

static size_t one_packet(uint8_t *ret, uint64_t sequence)
{
    static const enum wire_packet_kind kinds[] = { WIRE_PACKET_RAM,     WIRE_PACKET_ZERO,
                                                   WIRE_PACKET_DATA,    WIRE_PACKET_INITIAL,
                                                   WIRE_PACKET_BARRIER, WIRE_PACKET_FILL,
                                                   WIRE_PACKET_END };
    struct wire_packet p = { .kind = kinds[random64() % 7], .sequence = sequence };
    struct wire_extent extents[4];
    uint64_t pages = 0;
    bool ram = p.kind == WIRE_PACKET_RAM || p.kind == WIRE_PACKET_ZERO;
    p.participant = ram || p.kind == WIRE_PACKET_BARRIER ? 0 : 1;
    p.count = ram ? 1 + (uint32_t)(random64() % 4) : 0;
    for (unsigned i = 0; i < p.count; i++) {
        /* often at the edge of the block, or beyond it */
        extents[i] = (struct wire_extent) { .block = random64() % 16 == 0,
                                            .pages = (uint32_t)(random64() % 3),
                                            .offset_bytes = (random64() % 1028) * 4096 };
        if (random64() % 32 == 0)
            extents[i].offset_bytes = random64();
        if (random64() % 32 == 0)
            extents[i].pages = (uint32_t)random64();
        pages += extents[i].pages;
    }
    if (p.kind == WIRE_PACKET_RAM)
        p.length = random64() % 16 ? pages * 4096 : random64() % 65536;
    if (p.kind == WIRE_PACKET_DATA || p.kind == WIRE_PACKET_FILL)
        p.length = 1 + random64() % 3000;
    size_t body = p.length < 60000 ? p.length : 60000;
    unsigned head = WIRE_PACKET_BYTES + p.count * WIRE_EXTENT_BYTES;
    fill_random(ret + head, body);
    wire_packet_encode(&p, extents, NULL, ret + head, ret);
    return head + body;
}

static void nonsense_on_a_data_channel_is_refused(void **state)
{
    struct world w;
    static uint8_t buf[256 << 10];
    char address[120];
    (void)state;
    random_state = 192837465;
    world_open(&w, &(struct world_plan) { .devices = 1, .still = true });
    const char *identity = participant_find(w.target->m, "device0")->identity;
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(address, sizeof(address), "unix:%s/link", w.directory);
        party_start(w.target, false, address);
        party_await_listening(w.target, address, sizeof(address));
        int main_fd = connect_to(address + 5);
        int data_fd = connect_to(address + 5);
        open_main(identity, main_fd);
        struct wire_packet hello = { .kind = WIRE_PACKET_HELLO, .length = 16 };
        uint8_t *end = buf + WIRE_PACKET_BYTES;
        for (uint8_t n = 0; n < 16; n++)
            *end++ = n;
        wire_packet_encode(&hello, NULL, NULL, buf + WIRE_PACKET_BYTES, buf);
        if (i % 4 == 0) {
            fill_random(end, 2000);
            end += 2000;
        }
        for (uint64_t n = 0; i % 4 && n < 1 + random64() % 6; n++)
            end += one_packet(end, n / 2);
        if (i % 4 == 3)
            change_some(buf, (size_t)(end - buf));
        pour(data_fd, buf, (size_t)(end - buf));
        shutdown(data_fd, SHUT_WR);
        shutdown(main_fd, SHUT_WR);
        ends(w.target);
        close(main_fd);
        close(data_fd);
    }
    world_close(&w);
}

/* After all that the same handles still move a workload. */
static void target_that_was_sent_nonsense_still_works(void **state)
{
    struct world w;
    uint8_t buf[600];
    (void)state;
    random_state = 5;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    for (unsigned i = 0; i < 20; i++) {
        fill_random(buf, sizeof(buf));
        memcpy(buf, "QEVM\0\0\0\3", 8);
        receive_from_pair(&w, buf, sizeof(buf));
    }
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_on_the_main_channel_are_refused),
        cmocka_unit_test(good_stream_with_changes_is_refused_or_whole),
        cmocka_unit_test(nonsense_on_a_data_channel_is_refused),
        cmocka_unit_test(target_that_was_sent_nonsense_still_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
