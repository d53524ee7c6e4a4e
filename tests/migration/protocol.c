/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one side says to the other, and in which order: the acknowledgement of the switch, the first
 * words, messages that nobody may send. A side under test speaks to one that is made by hand.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/stream/vfio-section.h"
#include "tests/migration/by-hand.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

/* ---- the acknowledgement ---- */

static void nap(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
}

static void source_waits_until_the_initial_bytes_are_loaded(void **state)
{
    (void)state;
    for (int lone = 0; lone < 2; lone++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 2, .relay = true, .lone_main = lone });
        w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX, .swallow_ack = true });
        world_begin(&w);
        while (!relay_has_ack(w.relay))
            nap();
        party_await_stage(w.source, VMIG_STAGE_SWITCHOVER);
        party_goes_on(w.source);
        assert_false(party_was_in(w.source, VMIG_STAGE_QUIESCE));
        assert_false(party_was_in(w.source, VMIG_STAGE_RESUME));
        assert_int_equal(party_state(w.source, 0), VMIG_STATE_PRE_COPY);
        relay_release_ack(w.relay);
        world_join(&w);
        world_moved(&w);
        world_close(&w);
    }
}

static void source_without_the_capability_does_not_wait(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2, .relay = true });
    w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX, .swallow_ack = true });
    party_switch(w.source, "switchover-ack", false);
    world_move(&w);
    world_moved(&w);
    assert_false(relay_has_ack(w.relay));
    world_close(&w);
}

/* ---- a source made by hand ---- */

struct hand {
    struct world w;
    int fd;
    struct writer out; /* all that was said */
    size_t flushed;
    unsigned stall_ms;
    bool no_ack, no_precopy, numbered;
    const char *hello; /* instead of the right one */
};

static void hand_flush(struct hand *h)
{
    while (h->flushed < h->out.length) {
        ssize_t n = send(h->fd, h->out.buf + h->flushed, h->out.length - h->flushed, MSG_NOSIGNAL);
        if (n < 0)
            break; /* the other side has gone, which the test looks at */
        h->flushed += (size_t)n;
    }
}

static void hand_begin(struct hand *h)
{
    int ends[2];
    char address[32], hello[600];
    world_open(&h->w, &(struct world_plan) { .devices = 1, .no_ram = true, .link = WORLD_FD });
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    h->fd = ends[0];
    h->w.pair[1] = ends[1];
    writer_init(&h->out);
    snprintf(hello, sizeof(hello),
             "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":0,"
             "\"switchover-ack\":%s,%s\"participants\":[{\"id\":\"device0\",\"kind\":\"device\","
             "\"identity\":\"%s\",\"precopy\":%s}],\"ram\":[]}",
             h->no_ack ? "false" : "true", h->numbered ? "\"numbered-acks\":true," : "",
             h->w.target->m->participants[0]->identity, h->no_precopy ? "false" : "true");
    snprintf(address, sizeof(address), "fd:%d", ends[1]);
    if (h->stall_ms)
        h->w.target->m->stall_ms = h->stall_ms;
    party_start(h->w.target, false, address);
    const char *text = h->hello ? h->hello : hello;
    qemu_write_header(&h->out);
    qemu_write_configuration(&h->out, "by-hand");
    qemu_write_command(&h->out, QEMU_CMD_OPEN_RETURN_PATH, NULL, 0);
    by_hand_command(&h->out, WIRE_CMD_HELLO, text, strlen(text));
}

static void hand_device(struct hand *h)
{
    qemu_write_start(&h->out, 1, "device0/vfio", 0, 1);
    writer_u64(&h->out, QEMU_VFIO_DEV_SETUP_STATE);
    writer_u64(&h->out, QEMU_VFIO_END_OF_STATE);
    qemu_write_footer(&h->out, 1);
}

static void hand_initial(struct hand *h)
{
    qemu_write_part(&h->out, 1);
    writer_u64(&h->out, QEMU_VFIO_DEV_INIT_DATA_SENT);
    qemu_write_footer(&h->out, 1);
}

/* Read what the target says up to and with a message of @type; false: it ended before. @ret gets
 * the message's data as a string. */
static bool hand_hears(struct hand *h, unsigned type, char *ret, size_t size)
{
    for (;;) {
        uint8_t head[4];
        char data[65536];
        if (recv(h->fd, head, 4, MSG_WAITALL) != 4)
            return false;
        size_t length = (size_t)head[2] << 8 | head[3];
        if (length && recv(h->fd, data, length, MSG_WAITALL) != (ssize_t)length)
            return false;
        data[length] = '\0';
        if (((unsigned)head[0] << 8 | head[1]) != type)
            continue;
        if (ret) /* between check and digest */
            snprintf(ret, size, "%.*s", (int)(length - MESSAGE_FRAME_BYTES), data + 8);
        return true;
    }
}

/* The target refuses what was sent so far: it says why, lets go and its device is as new. */
static void hand_is_refused(struct hand *h, int rc, const char *reason, const char *text)
{
    char failed[1000] = "";
    hand_flush(h);
    assert_true(hand_hears(h, WIRE_RP_FAILED, failed, sizeof(failed)));
    party_join(h->w.target);
    party_failed(h->w.target, rc, reason, text);
    assert_non_null(strstr(failed, text));
    assert_int_equal(party_state(h->w.target, 0), VMIG_STATE_RUNNING);
    party_is_still(h->w.target);
    close(h->fd);
    writer_done(&h->out);
    world_close(&h->w);
}

static void init_data_sent_is_acknowledged(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    hand_initial(&h);
    hand_flush(&h);
    assert_true(hand_hears(&h, QEMU_RP_SWITCHOVER_ACK, NULL, 0));
    shutdown(h.fd, SHUT_WR);
    hand_is_refused(&h, -ENODATA, NULL, "");
}

/* The end of the stream became the beginning of a section that never comes. */
static void silence_in_the_middle_of_a_section_is_not_waited_out(void **state)
{
    struct hand h = { .stall_ms = 200 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    writer_u8(&h.out, QEMU_SECTION_START);
    hand_is_refused(&h, -ETIMEDOUT, "stalled", "200 ms");
}

/* Between sections, and between the records of an END, the source may have nothing to say. */
static void silence_elsewhere_is(void **state)
{
    struct hand h = { .stall_ms = 100 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    for (unsigned place = 0; place < 3; place++) {
        hand_flush(&h);
        for (unsigned ms = 0; ms < 300; ms++)
            nap();
        if (place == 0)
            hand_initial(&h);
        if (place == 1)
            qemu_write_end(&h.out, 1);
    }
    writer_u64(&h.out, QEMU_VFIO_END_OF_STATE);
    qemu_write_footer(&h.out, 1);
    qemu_write_eof(&h.out);
    hand_is_refused(&h, -EPROTO, "bad-stream", "manifest"); /* all that is missing */
}

static void init_data_sent_twice_is_refused(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    hand_initial(&h);
    hand_initial(&h);
    hand_is_refused(&h, -EPROTO, "bad-stream", "twice");
}

/* The next message is about device 0 and its announcement @number. */
static bool hand_hears_number(struct hand *h, unsigned number)
{
    uint8_t m[4 + MESSAGE_FRAME_BYTES + 8];
    const uint8_t content[8] = { 0, 0, 0, 0, 0, 0, 0, (uint8_t)number };
    return recv(h->fd, m, sizeof(m), MSG_WAITALL) == sizeof(m) &&
           m[0] == WIRE_RP_INITIAL_LOADED >> 8 && m[1] == (WIRE_RP_INITIAL_LOADED & 0xff) &&
           memcmp(m + 12, content, sizeof(content)) == 0;
}

/* Each by its own number, and there is no acknowledgement of all beside it. */
static void init_data_sent_again_is_acknowledged_by_its_number(void **state)
{
    struct hand h = { .numbered = true };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    hand_flush(&h);
    assert_true(hand_hears(&h, WIRE_RP_READY, NULL, 0));
    for (unsigned number = 1; number <= 3; number++) {
        hand_initial(&h);
        hand_flush(&h);
        assert_true(hand_hears_number(&h, number));
    }
    shutdown(h.fd, SHUT_WR);
    hand_is_refused(&h, -ENODATA, NULL, "");
}

static void init_data_sent_without_the_capability_is_refused(void **state)
{
    struct hand h = { .no_ack = true };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    hand_initial(&h);
    hand_is_refused(&h, -EPROTO, "bad-stream", "switchover-ack is off");
}

static void init_data_sent_of_a_device_without_precopy_is_refused(void **state)
{
    struct hand h = { .no_precopy = true };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    hand_initial(&h);
    hand_is_refused(&h, -EPROTO, "bad-stream", "without PRE_COPY");
}

/* ---- order and first words ---- */

static void command_that_nobody_knows_is_refused(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    by_hand_command(&h.out, 0x5677, "x", 1);
    hand_is_refused(&h, -EPROTO, "bad-stream", "0x5677 of 17 bytes");
}

static void second_hello_is_refused(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    by_hand_command(&h.out, WIRE_CMD_HELLO, "{}", 2);
    hand_is_refused(&h, -EPROTO, "bad-stream", "out of order");
}

static void go_before_loaded_is_refused(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    by_hand_command(&h.out, WIRE_CMD_GO, NULL, 0);
    hand_is_refused(&h, -EPROTO, "bad-stream", "0x5603");
}

static void abort_lets_go(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    by_hand_command(&h.out, WIRE_CMD_ABORT, "a change of mind", 16);
    hand_is_refused(&h, -ECANCELED, "source-goes-on", "a change of mind");
}

/* All is over before anything was sent that proves that it is all. */
static void stream_without_a_manifest_is_refused(void **state)
{
    struct hand h = { 0 };
    (void)state;
    hand_begin(&h);
    hand_device(&h);
    qemu_write_end(&h.out, 1);
    writer_u64(&h.out, QEMU_VFIO_END_OF_STATE);
    qemu_write_footer(&h.out, 1);
    qemu_write_eof(&h.out);
    hand_is_refused(&h, -EPROTO, "bad-stream", "manifest");
}

static void section_of_an_unknown_name_is_refused_with_its_offset(void **state)
{
    struct hand h = { 0 };
    (void)state;
    char text[40];
    hand_begin(&h);
    snprintf(text, sizeof(text), " at offset %zu ", h.out.length);
    qemu_write_full(&h.out, 9, "0000:00:07.0/e1000", 0, 3);
    hand_is_refused(&h, -ENOENT, "layout-mismatch", text);
}

static void malformed_first_words_are_refused(void **state)
{
    static const struct {
        const char *hello, *text;
    } rows[] = {
        { "", "no JSON" },
        { "[", "no JSON" },
        { "[]", "protocol 0" },
        { "{\"protocol\":3}", "protocol" },
        { "{\"protocol\":2,\"protocol\":2}", "no JSON" },
        { "{\"protocol\":2,\"migration\":\"00\",\"channels\":0,\"switchover-ack\":true}",
          "malformed" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":17,"
          "\"switchover-ack\":true}",
          "malformed" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":-1,"
          "\"switchover-ack\":true}",
          "malformed" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":0,"
          "\"switchover-ack\":true}",
          "0 participants and the target has 1" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":0,"
          "\"switchover-ack\":true,\"participants\":[7],\"ram\":[]}",
          "malformed" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":0,"
          "\"switchover-ack\":true,\"participants\":[{\"id\":\"device0\",\"kind\":\"ram\","
          "\"identity\":\"\",\"precopy\":false}],\"ram\":[]}",
          "ram at the source and a device here" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":0,"
          "\"switchover-ack\":true,\"participants\":[{\"id\":\"device0\",\"kind\":\"device\","
          "\"identity\":\"8086:1234 0000:0000\",\"precopy\":false}],\"ram\":[]}",
          "8086:1234 0000:0000, this one is 524d:0001" },
        { "{\"protocol\":2,\"migration\":\"000102030405060708090a0b0c0d0e0f\",\"channels\":1,"
          "\"switchover-ack\":true,\"participants\":[{\"id\":\"device0\",\"kind\":\"device\","
          "\"identity\":\"%s\",\"precopy\":false}],\"ram\":[]}",
          "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hand h = { .hello = rows[i].hello };
        hand_begin(&h);
        hand_flush(&h);
        char failed[1000] = "";
        assert_true(hand_hears(&h, WIRE_RP_FAILED, failed, sizeof(failed)));
        party_join(h.w.target);
        assert_true(h.w.target->rc < 0);
        if (!strstr(h.w.target->err.text, rows[i].text))
            fail_msg("\"%s\" was answered with \"%s\"", rows[i].hello, h.w.target->err.text);
        /* nothing was touched */
        assert_false(h.w.target->stages_seen & 1u << VMIG_STAGE_SETUP);
        close(h.fd);
        writer_done(&h.out);
        world_close(&h.w);
    }
}

/* ---- a target made by hand ---- */

/* The source meets @bytes as the target's first message and must refuse it, its devices running. */
static void source_meets(const void *bytes, size_t length, int rc, const char *text)
{
    struct world w;
    int ends[2];
    char address[32];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    snprintf(address, sizeof(address), "fd:%d", ends[0]);
    assert_int_equal(send(ends[1], bytes, length, 0), (ssize_t)length);
    shutdown(ends[1], SHUT_WR);
    party_start(w.source, true, address);
    party_join(w.source);
    party_failed(w.source, rc, NULL, text);
    close(ends[0]);
    close(ends[1]);
    world_runs_at(&w, w.source);
    world_close(&w);
}

/* A whole message of ours. */
static void source_meets_message(unsigned type, const void *content, size_t length, int rc,
                                 const char *text)
{
    struct writer w;
    writer_init(&w);
    by_hand_return(&w, (uint16_t)type, content, length);
    source_meets(w.buf, w.length, rc, text);
    writer_done(&w);
}

static void source_refuses_what_no_target_says(void **state)
{
    (void)state;
    source_meets("", 0, -ECONNRESET, "went away");
    source_meets("\x56", 1, -ECONNRESET, "went away");
    source_meets("\x77\x01\x00\x00", 4, -EPROTO, "0x7701 of 0 bytes");
    source_meets_message(WIRE_RP_HELLO, "{}", 2, -EINVAL, "protocol 0");
    source_meets_message(WIRE_RP_HELLO, "[[", 2, -EINVAL, "protocol 0");
    /* ROUND_LOADED of the wrong length; credit for nobody; RUNNING out of nothing */
    source_meets_message(WIRE_RP_ROUND_LOADED, "abc", 3, -EPROTO, "0x5603 of 19 bytes");
    source_meets_message(WIRE_RP_CREDIT, "\0\0\0\x63\0\0\0\0\0\0\0\x01", 12, -EPROTO, "credit");
    /* acknowledgements of what was not sent */
    source_meets("\x00\x07\x00\x00", 4, -EPROTO, "not sent");
    source_meets_message(WIRE_RP_INITIAL_LOADED, "\0\0\0\0\0\0\0\x01", 8, -EPROTO, "not sent");
    source_meets_message(WIRE_RP_INITIAL_LOADED, "\0\0\0\x63\0\0\0\0", 8, -EPROTO, "not sent");
    source_meets_message(WIRE_RP_RUNNING, "{}", 2, -EPROTO, "was not told to");
    source_meets_message(WIRE_RP_FAILED, "{}", 2, -EREMOTEIO, "no reason was given");
    source_meets_message(WIRE_RP_FAILED, "\xff\xfe\xfd", 3, -EREMOTEIO, "no reason was given");
}

/* A message that ends early; one of which each byte in turn has a wrong bit; and one whose head
 * promises more than ever comes, which nobody waits for: the link stays open. */
static void source_refuses_what_was_changed_on_its_way(void **state)
{
    struct writer w;
    (void)state;
    writer_init(&w);
    by_hand_return(&w, WIRE_RP_FAILED, "{}", 2);
    source_meets(w.buf, w.length - 1, -ECONNRESET, "went away");
    for (size_t i = 4; i < w.length; i++) {
        w.buf[i] ^= (uint8_t)(1u << i % 8);
        source_meets(w.buf, w.length, -EBADMSG, "changed on its way");
        w.buf[i] ^= (uint8_t)(1u << i % 8);
    }
    w.buf[2] = 0x40;
    struct world world;
    int ends[2];
    char address[32];
    world_open(&world, &(struct world_plan) { .devices = 1 });
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    snprintf(address, sizeof(address), "fd:%d", ends[0]);
    assert_int_equal(send(ends[1], w.buf, w.length, 0), (ssize_t)w.length);
    party_start(world.source, true, address);
    party_join(world.source);
    party_failed(world.source, -EBADMSG, "corrupt-data", "of 16402 bytes");
    close(ends[0]);
    close(ends[1]);
    world_runs_at(&world, world.source);
    world_close(&world);
    writer_done(&w);
}

/* The same at the target, before it has heard anything else. */
static void target_refuses_first_words_that_were_changed(void **state)
{
    (void)state;
    for (unsigned place = 0; place < 4; place++) {
        struct hand h = { 0 };
        hand_begin(&h);
        size_t hello = 8 + 1 + 4 + strlen("by-hand") + 5;
        size_t at[4] = { 15, hello + 3, hello + 7, h.out.length - 1 };
        /* a letter of the machine's name, the length, the check, the digest */
        h.out.buf[at[place]] ^= 0x40;
        hand_is_refused(&h, -EBADMSG, "corrupt-data", "changed on its way");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_waits_until_the_initial_bytes_are_loaded),
        cmocka_unit_test(source_without_the_capability_does_not_wait),
        cmocka_unit_test(init_data_sent_is_acknowledged),
        cmocka_unit_test(silence_in_the_middle_of_a_section_is_not_waited_out),
        cmocka_unit_test(silence_elsewhere_is),
        cmocka_unit_test(init_data_sent_twice_is_refused),
        cmocka_unit_test(init_data_sent_again_is_acknowledged_by_its_number),
        cmocka_unit_test(init_data_sent_without_the_capability_is_refused),
        cmocka_unit_test(init_data_sent_of_a_device_without_precopy_is_refused),
        cmocka_unit_test(command_that_nobody_knows_is_refused),
        cmocka_unit_test(second_hello_is_refused),
        cmocka_unit_test(go_before_loaded_is_refused),
        cmocka_unit_test(abort_lets_go),
        cmocka_unit_test(stream_without_a_manifest_is_refused),
        cmocka_unit_test(section_of_an_unknown_name_is_refused_with_its_offset),
        cmocka_unit_test(malformed_first_words_are_refused),
        cmocka_unit_test(source_refuses_what_no_target_says),
        cmocka_unit_test(source_refuses_what_was_changed_on_its_way),
        cmocka_unit_test(target_refuses_first_words_that_were_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
