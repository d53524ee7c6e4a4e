/* SPDX-License-Identifier: BSD-3-Clause */
/* The client against servers that lie, stumble, stall or vanish. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/vfio-user/fake-server.h"

#define OPS backend_vfio_user

static struct fake f;
static struct vmig_error why;

/* What the server does with the first command of that number. */
typedef void act(struct fake *fake, const struct vuser_header *h);
static _Atomic uint16_t act_on;
static act *_Atomic action; /* set last, after act_on */

static bool script(struct fake *fake, const struct vuser_header *h, const uint8_t *payload,
                   size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != act_on || !action)
        return false;
    act *now = action;
    action = NULL;
    now(fake, h);
    return true;
}

static void *start(uint16_t command, act *what, const struct backend_options *options)
{
    fake_init(&f);
    f.save_bytes = 1 << 20;
    f.hook = script;
    action = NULL;
    fake_start(&f);
    void *c = fake_open(&f, options);
    struct vmig_device_info info;
    assert_int_equal(OPS.info(c, &info, NULL), 0);
    act_on = command;
    action = what;
    why = (struct vmig_error) { 0 };
    return c;
}

static int read_4(void *c)
{
    uint8_t buf[4];
    return OPS.region_read(c, 1, 0, buf, sizeof(buf), &why);
}

static bool is_alive(void *c)
{
    enum vmig_state at;
    return OPS.get_state(c, &at, NULL) == 0;
}

/* The reply @what to a region read must end the connection, with @text as the reason. */
static void check_deadly(act *what, const char *text)
{
    void *c = start(VUSER_REGION_READ, what, &fake_options);
    int rc = read_4(c);
    if (rc != -EPROTO || why.code != rc || !strstr(why.text, text))
        fail_msg("%d '%s', expected '%s'", rc, why.text, text);
    struct vmig_error again = { 0 };
    enum vmig_state at;
    assert_int_equal(OPS.get_state(c, &at, &again), -EPROTO); /* and says why to everybody */
    assert_non_null(strstr(again.text, text));
    fake_close(&f, c);
}

/* ---- framing ---- */

static struct vuser_header reply_to(const struct vuser_header *h, uint32_t payload)
{
    return vuser_reply_header(h, payload);
}

static void size_15(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 0);
    r.size_bytes = 15;
    fake_header(fake, r, 0);
}

static void size_0(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 0);
    r.size_bytes = 0;
    fake_header(fake, r, 0);
}

static void size_4_gib(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 0);
    r.size_bytes = UINT32_MAX;
    fake_header(fake, r, 0);
}

static void type_2(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 20);
    r.flags = 2;
    fake_header(fake, r, 20);
}

static void a_size_or_type_that_cannot_be_ends_the_connection(void **state)
{
    (void)state;
    check_deadly(size_15, "15 bytes");
    check_deadly(size_0, "0 bytes");
    check_deadly(size_4_gib, "longer than was asked for");
    check_deadly(type_2, "type 2");
}

static void unknown_id(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 20);
    r.id ^= 0x5555;
    fake_header(fake, r, 20);
}

static void wrong_command(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 20);
    r.command = VUSER_DMA_MAP;
    fake_header(fake, r, 20);
}

static void unknown_command(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 20);
    r.command = 999;
    fake_header(fake, r, 20);
}

static void error_with_payload(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 4);
    r.flags |= VUSER_ERROR;
    r.error = EINVAL;
    fake_header(fake, r, 4);
}

static void a_reply_must_belong_to_a_request(void **state)
{
    (void)state;
    check_deadly(unknown_id, "answers nothing that was asked");
    check_deadly(wrong_command, "answers another command");
    check_deadly(unknown_command, "answers another command");
    check_deadly(error_with_payload, "error with a payload");
}

static void answered_twice(struct fake *fake, const struct vuser_header *h)
{
    uint8_t reply[20] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4 };
    fake_reply(fake, h, reply, 20);
    fake_reply(fake, h, reply, 20);
}

static void a_second_reply_ends_the_connection(void **state)
{
    (void)state;
    void *c = start(VUSER_REGION_READ, answered_twice, &fake_options);
    int rc = read_4(c);
    assert_true(rc == 0 || rc == -EPROTO);
    assert_false(is_alive(c));
    fake_close(&f, c);
}

static void short_15(struct fake *fake, const struct vuser_header *h)
{
    fake_header(fake, reply_to(h, 15), 15);
}

static void empty(struct fake *fake, const struct vuser_header *h)
{
    fake_header(fake, reply_to(h, 0), 0);
}

static void long_reply(struct fake *fake, const struct vuser_header *h)
{
    fake_header(fake, reply_to(h, 20 + 65), 20 + 65);
}

static void a_reply_must_have_a_length_that_the_command_can_answer(void **state)
{
    (void)state;
    check_deadly(short_15, "too short");
    check_deadly(empty, "too short");
    check_deadly(long_reply, "longer than was asked for");
}

static void padded_reply(struct fake *fake, const struct vuser_header *h)
{
    uint8_t reply[20 + 64] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9 };
    fake_reply(fake, h, reply, sizeof(reply));
}

static void a_little_too_much_is_tolerated(void **state)
{
    (void)state;
    void *c = start(VUSER_REGION_READ, padded_reply, &fake_options);
    uint8_t buf[8] = { 0 };
    assert_int_equal(OPS.region_read(c, 1, 0, buf, 4, NULL), 0);
    assert_int_equal(buf[0], 9);
    assert_int_equal(buf[4], 0);
    assert_true(is_alive(c));
    fake_close(&f, c);
}

/* ---- answers that make no sense ---- */

static uint8_t odd_reply[64];
static size_t odd_bytes;

static void answer_odd(struct fake *fake, const struct vuser_header *h)
{
    fake_reply(fake, h, odd_reply, odd_bytes);
}

/* To a question whose first answer was cut. */
static void answer_cut_then_odd(struct fake *fake, const struct vuser_header *h)
{
    fake_reply(fake, h, odd_reply, 32);
    action = answer_odd;
}

/* A well-framed region read reply {offset, region, count, data} that says something wrong. */
static void check_odd_read(uint64_t offset, uint32_t region, uint32_t count, size_t data)
{
    void *c = start(VUSER_REGION_READ, answer_odd, &fake_options);
    memset(odd_reply, 0, sizeof(odd_reply));
    vuser_region_access_encode(&(struct vuser_region_access) { offset, region, count }, odd_reply);
    odd_bytes = 16 + data;
    int rc = read_4(c);
    if (rc != -EPROTO || !strstr(why.text, "makes no sense"))
        fail_msg("%d '%s'", rc, why.text);
    assert_true(is_alive(c)); /* the framing was right */
    fake_close(&f, c);
}

static void a_region_access_is_answered_for_what_was_asked(void **state)
{
    (void)state;
    check_odd_read(1, 1, 4, 4);
    check_odd_read(0, 2, 4, 4);
    check_odd_read(0, 1, 5, 5);
    check_odd_read(0, 1, 0, 0);
    check_odd_read(0, 1, 4, 3);
    check_odd_read(0, 1, UINT32_MAX, 4);
}

static void error_0(struct fake *fake, const struct vuser_header *h)
{
    fake_error(fake, h, 0);
}

static void error_5000(struct fake *fake, const struct vuser_header *h)
{
    fake_error(fake, h, 5000);
}

static void error_enodev(struct fake *fake, const struct vuser_header *h)
{
    fake_error(fake, h, ENODEV);
}

static void check_error(act *what, int code)
{
    void *c = start(VUSER_REGION_READ, what, &fake_options);
    assert_int_equal(read_4(c), code);
    assert_int_equal(why.code, code);
    assert_non_null(strstr(why.text, "refused REGION_READ"));
    assert_true(is_alive(c));
    fake_close(&f, c);
}

static void an_error_reply_is_an_error_whatever_its_number(void **state)
{
    (void)state;
    check_error(error_0, -EIO);
    check_error(error_5000, -EIO);
    check_error(error_enodev, -ENODEV);
}

static void state_8(struct fake *fake, const struct vuser_header *h)
{
    uint8_t out[16] = { 16, 0, 0, 0, 2, 0, 1, 0, 8 };
    fake_reply(fake, h, out, 16);
}

static void another_feature(struct fake *fake, const struct vuser_header *h)
{
    uint8_t out[16] = { 16, 0, 0, 0, 1, 0, 1, 0, 2 };
    fake_reply(fake, h, out, 16);
}

static void a_feature_cut_short(struct fake *fake, const struct vuser_header *h)
{
    uint8_t out[16] = { 16, 0, 0, 0, 2, 0, 1, 0, 2 };
    fake_reply(fake, h, out, 15);
}

static void check_odd_state(act *what)
{
    enum vmig_state at;
    void *c = start(VUSER_DEVICE_FEATURE, what, &fake_options);
    assert_int_equal(OPS.get_state(c, &at, &why), -EPROTO);
    assert_non_null(strstr(why.text, "makes no sense"));
    assert_true(is_alive(c));
    fake_close(&f, c);
}

static void a_state_that_is_none_is_refused(void **state)
{
    (void)state;
    check_odd_state(state_8);
    check_odd_state(another_feature);
    check_odd_state(a_feature_cut_short);
}

static void data_reply(uint32_t claimed, size_t data)
{
    uint8_t buf[4096];
    void *c = start(VUSER_MIG_DATA_READ, answer_odd, &fake_options);
    assert_int_equal(OPS.set_state(c, VMIG_STATE_STOP_COPY, &why), 0);
    memset(odd_reply, 0, sizeof(odd_reply));
    memcpy(odd_reply + 4, &claimed, 4);
    odd_bytes = 8 + data;
    assert_int_equal(OPS.data_read(c, buf, sizeof(buf), &why), -EPROTO);
    assert_non_null(strstr(why.text, "claims"));
    fake_close(&f, c);
}

static void more_data_than_came_or_was_asked_for_is_refused(void **state)
{
    (void)state;
    data_reply(9, 8);
    data_reply(1, 0);
    data_reply((1u << 20) + 1, 8);
    data_reply(UINT32_MAX, 8);
}

static void not_even_within_the_slack_of_a_reply(void **state)
{
    (void)state;
    uint8_t buf[64];
    struct vmig_error refusal = { 0 };
    fake_init(&f);
    f.caps.max_data_xfer_size = 16;
    f.save_bytes = 100;
    f.hook = script;
    action = NULL;
    fake_start(&f);
    void *c = fake_open(&f, &fake_options);
    assert_int_equal(OPS.set_state(c, VMIG_STATE_STOP_COPY, NULL), 0);
    memset(odd_reply, 0, sizeof(odd_reply));
    odd_reply[4] = 17;
    odd_bytes = 8 + 17;
    act_on = VUSER_MIG_DATA_READ;
    action = answer_odd;
    assert_int_equal(OPS.data_read(c, buf, sizeof(buf), &refusal), -EPROTO);
    assert_non_null(strstr(refusal.text, "claims 17 bytes"));
    fake_close(&f, c);
}

/* ---- descriptions ---- */

static void check_odd_region(const struct vuser_region_info *info, uint32_t more, const char *text)
{
    struct vmig_region_info region;
    void *c = start(VUSER_DEVICE_GET_REGION_INFO, answer_cut_then_odd, &fake_options);
    memset(odd_reply, 0, sizeof(odd_reply));
    vuser_region_info_encode(info, odd_reply);
    memcpy(odd_reply + 36, &more, 4); /* a capability's next, should there be one */
    odd_bytes = more ? 40 : 32;
    assert_int_equal(OPS.region_info(c, 1, &region, &why), -EPROTO);
    if (!strstr(why.text, text))
        fail_msg("'%s', expected '%s'", why.text, text);
    assert_true(is_alive(c));
    fake_close(&f, c);
}

static void regions_are_checked(void **state)
{
    (void)state;
    check_odd_region(&(struct vuser_region_info) { 32, 3, 2, 0, 0x1000, 0 }, 0, "a region's index");
    check_odd_region(&(struct vuser_region_info) { 65537, 3, 1, 0, 0x1000, 0 }, 0,
                     "length of a region's description");
    check_odd_region(&(struct vuser_region_info) { UINT32_MAX, 3, 1, 0, 0x1000, 0 }, 0,
                     "length of a region's description");
    check_odd_region(&(struct vuser_region_info) { 41, 11, 1, 32, 0x1000, 0 }, 0,
                     "length of a region's description");
    check_odd_region(&(struct vuser_region_info) { 40, 11, 1, 32, 0x1000, 0 }, 32, "goes back");
    check_odd_region(&(struct vuser_region_info) { 40, 11, 1, 32, 0x1000, 0 }, 0xfffffff0,
                     "beyond the message");
    check_odd_region(&(struct vuser_region_info) { 40, 11, 1, 0xfffffffc, 0x1000, 0 }, 40,
                     "beyond the message");
}

static void a_file_smaller_than_its_region_is_not_mapped(void **state)
{
    (void)state;
    struct vmig_region_info region;
    void *map;
    void *c = start(0, NULL, &fake_options);
    assert_int_equal(ftruncate(f.region_fd, 0x2fff), 0);
    assert_int_equal(OPS.region_info(c, 1, &region, NULL), 0);
    assert_int_equal(OPS.region_map(c, 1, &region.areas[1], &map, &why), -EPROTO);
    assert_non_null(strstr(why.text, "file behind a region"));
    assert_int_equal(OPS.region_map(c, 1, &region.areas[0], &map, NULL), 0);
    fake_close(&f, c);
}

static void check_odd_info(uint32_t regions, uint32_t irqs)
{
    struct vmig_device_info info;
    fake_init(&f);
    f.hook = script;
    act_on = VUSER_DEVICE_GET_INFO;
    action = answer_odd;
    vuser_device_info_encode(&(struct vuser_device_info) { 16, 3, regions, irqs }, odd_reply);
    odd_bytes = 16;
    fake_start(&f);
    void *c = fake_open(&f, &fake_options);
    assert_int_equal(OPS.info(c, &info, NULL), -EPROTO);
    fake_close(&f, c);
}

static void huge_numbers_of_regions_and_interrupts_are_refused(void **state)
{
    (void)state;
    check_odd_info(0, 5);
    check_odd_info(257, 5);
    check_odd_info(UINT32_MAX, 5);
    check_odd_info(9, 65);
    check_odd_info(9, UINT32_MAX);
}

/* ---- file descriptors ---- */

static unsigned open_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static unsigned fds_to_send;

static void reply_with_fds(struct fake *fake, const struct vuser_header *h)
{
    int fds[VUSER_FDS_MAX];
    uint8_t reply[20] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4 };
    struct iovec iov = { reply, sizeof(reply) };
    struct vuser_header r = reply_to(h, sizeof(reply));
    int one = eventfd(0, EFD_CLOEXEC);
    for (unsigned i = 0; i < fds_to_send; i++)
        fds[i] = one;
    vuser_socket_send(&fake->main, &r, &iov, 1, fds, fds_to_send);
    close(one);
}

static void unexpected_file_descriptors_are_closed(void **state)
{
    (void)state;
    static const unsigned counts[] = { 1, 16, VUSER_FDS_MAX };
    for (unsigned i = 0; i < 3; i++) {
        fds_to_send = counts[i];
        void *c = start(VUSER_REGION_READ, reply_with_fds, &fake_options);
        assert_true(is_alive(c));
        unsigned before = open_fds();
        assert_int_equal(read_4(c), 0);
        assert_true(is_alive(c)); /* and with its reply the fds of the one before are gone */
        assert_int_equal(open_fds(), before);
        fake_close(&f, c);
    }
}

static void fds_in_the_middle(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 36);
    fake_header(fake, r, 16);
    int fd = eventfd(0, EFD_CLOEXEC);
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { "01234567890123456789", 20 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.buf,
                          .msg_controllen = sizeof(control.buf) };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    sendmsg(fake->main.fd, &msg, MSG_NOSIGNAL);
    close(fd);
}

static void file_descriptors_inside_a_message_end_the_connection(void **state)
{
    (void)state;
    check_deadly(fds_in_the_middle, "file descriptors in the middle");
}

/* ---- vanishing and stalling ---- */

static void vanish(struct fake *fake, const struct vuser_header *h)
{
    (void)h;
    fake_vanish(fake);
}

static void vanish_in_header(struct fake *fake, const struct vuser_header *h)
{
    uint8_t wire[16];
    struct vuser_header r = reply_to(h, 20);
    vuser_header_encode(&r, wire);
    fake_raw(fake, wire, 15);
    fake_vanish(fake);
}

static void vanish_in_body(struct fake *fake, const struct vuser_header *h)
{
    fake_header(fake, reply_to(h, 20), 19);
    fake_vanish(fake);
}

static void a_server_that_vanishes_fails_everybody_at_once(void **state)
{
    (void)state;
    void *c = start(VUSER_REGION_READ, vanish, &fake_options);
    assert_int_equal(read_4(c), -ECONNRESET);
    assert_non_null(strstr(why.text, "closed the connection"));
    assert_false(is_alive(c));
    fake_close(&f, c);
    check_deadly(vanish_in_header, "in the middle of a message");
    check_deadly(vanish_in_body, "in the middle of a message");
}

static void silence(struct fake *fake, const struct vuser_header *h)
{
    (void)fake, (void)h;
}

static void a_request_without_reply_times_out_and_harms_nobody(void **state)
{
    (void)state;
    void *c = start(VUSER_REGION_READ, silence, &fake_hasty);
    assert_int_equal(read_4(c), -ETIMEDOUT);
    assert_non_null(strstr(why.text, "REGION_READ within 200 ms"));
    assert_true(is_alive(c));
    assert_int_equal(read_4(c), 0);
    fake_close(&f, c);
}

/* Answers the kept read when the state is asked, which is after it was given up. */
static struct vuser_header late;

static void keep(struct fake *fake, const struct vuser_header *h)
{
    (void)fake;
    late = *h;
}

static void answer_late(struct fake *fake, const struct vuser_header *h)
{
    uint8_t out[16] = { 16, 0, 0, 0, 2, 0, 1, 0, 2 };
    fake_header(fake, reply_to(&late, 20), 20);
    fake_reply(fake, h, out, 16);
}

static void a_late_reply_is_dropped(void **state)
{
    (void)state;
    enum vmig_state at;
    void *c = start(VUSER_REGION_READ, keep, &fake_hasty);
    assert_int_equal(read_4(c), -ETIMEDOUT);
    act_on = VUSER_DEVICE_FEATURE;
    action = answer_late;
    assert_int_equal(OPS.get_state(c, &at, NULL), 0);
    assert_int_equal(at, VMIG_STATE_RUNNING);
    assert_true(is_alive(c));
    act_on = VUSER_DEVICE_FEATURE; /* but only once */
    action = answer_late;
    OPS.get_state(c, &at, NULL);
    assert_false(is_alive(c));
    fake_close(&f, c);
}

static void half_a_reply(struct fake *fake, const struct vuser_header *h)
{
    fake_header(fake, reply_to(h, 20), 19);
}

static void a_reply_that_stops_in_the_middle_ends_the_connection_in_time(void **state)
{
    (void)state;
    void *c = start(VUSER_REGION_READ, half_a_reply, &fake_hasty);
    int rc = read_4(c);
    assert_true(rc == -ETIMEDOUT || rc == -EPROTO);
    assert_false(is_alive(c));
    fake_close(&f, c);
}

static void *read_in_thread(void *c)
{
    uint8_t buf[4];
    struct vmig_error err = { 0 };
    int rc = OPS.region_read(c, 1, 0, buf, sizeof(buf), &err);
    assert_true(rc == 0 || (rc == -EPROTO && strstr(err.text, "answers nothing")));
    return (void *)(intptr_t)rc;
}

static unsigned reads_seen;

static bool deadly_third_read(struct fake *fake, const struct vuser_header *h,
                              const uint8_t *payload, size_t length, const struct vuser_fds *fds)
{
    (void)payload, (void)length, (void)fds;
    if (h->command != VUSER_REGION_READ)
        return false;
    if (++reads_seen == 3)
        unknown_id(fake, h);
    return true;
}

static void everybody_who_waits_is_told(void **state)
{
    (void)state;
    void *c = start(0, NULL, &fake_options);
    f.hook = deadly_third_read;
    reads_seen = 0;
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_in_thread, c), 0);
    for (unsigned i = 0; i < 3; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        assert_int_equal((intptr_t)rc, -EPROTO);
    }
    fake_close(&f, c);
}

/* ---- the server's commands ---- */

static struct vuser_header answered;

/* Send @command as it is and take the client's answer. */
static void command_then_answer(struct fake *fake, struct vuser_header command, const void *payload,
                                size_t length)
{
    struct vuser_fds fds;
    uint8_t buf[64];
    vuser_socket_send_buf(&fake->main, &command, payload, length);
    answered = (struct vuser_header) { 0 };
    if (vuser_socket_recv_header(&fake->main, &answered, &fds, NULL) == 1)
        vuser_socket_recv(&fake->main, buf, vuser_payload_bytes(&answered), NULL);
}

static struct vuser_header server_command;
static uint8_t server_payload[32];

static void send_command(struct fake *fake, const struct vuser_header *h)
{
    uint8_t reply[20] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4 };
    command_then_answer(fake, server_command, server_payload, vuser_payload_bytes(&server_command));
    fake_reply(fake, h, reply, 20);
}

/* A command that is refused with @code, and the connection goes on. */
static void check_refused(uint16_t command, uint64_t iova, uint64_t count, uint32_t payload,
                          uint32_t code)
{
    void *c = start(VUSER_REGION_READ, send_command, &fake_options);
    vuser_dma_access_encode(&(struct vuser_dma_access) { iova, count }, server_payload);
    server_command = vuser_command_header(3, command, payload);
    assert_int_equal(read_4(c), 0);
    assert_int_equal(answered.id, 3);
    assert_int_equal(answered.command, command);
    assert_int_equal(answered.flags, VUSER_TYPE_REPLY | VUSER_ERROR);
    assert_int_equal(answered.error, code);
    assert_int_equal(answered.size_bytes, 16);
    assert_true(is_alive(c));
    fake_close(&f, c);
}

static void commands_that_are_none_of_the_servers_are_refused(void **state)
{
    (void)state;
    check_refused(VUSER_REGION_READ, 0, 4, 16, EINVAL);
    check_refused(VUSER_VERSION, 0, 0, 4, EINVAL);
    check_refused(14, 0, 0, 0, EINVAL);
    check_refused(65535, 0, 0, 5, EINVAL);
    check_refused(VUSER_DMA_READ, 0, 4, 15, EINVAL);
    check_refused(VUSER_DMA_WRITE, 0, 0, 0, EINVAL);
}

static void dma_beyond_its_limits_is_refused(void **state)
{
    (void)state;
    check_refused(VUSER_DMA_READ, 0, 4, 16, EFAULT);
    check_refused(VUSER_DMA_READ, 0, (1 << 20) + 1, 16, E2BIG);
    check_refused(VUSER_DMA_READ, 0, UINT64_MAX, 16, E2BIG);
    check_refused(VUSER_DMA_READ, UINT64_MAX, 2, 16, EFAULT);
    check_refused(VUSER_DMA_WRITE, 0, 16, 32, EFAULT);
    check_refused(VUSER_DMA_WRITE, 0, 17, 32, EINVAL);
    check_refused(VUSER_DMA_WRITE, 0, UINT64_MAX, 32, EINVAL);
}

static void huge_command(struct fake *fake, const struct vuser_header *h)
{
    (void)h;
    fake_header(fake, vuser_command_header(1, VUSER_DMA_WRITE, (1 << 20) + 17), 0);
}

static void a_command_larger_than_announced_ends_the_connection(void **state)
{
    (void)state;
    check_deadly(huge_command, "accepted are 1048592");
}

static void no_reply_command(struct fake *fake, const struct vuser_header *h)
{
    uint8_t reply[20] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4 };
    struct vuser_header quiet = vuser_command_header(1, VUSER_REGION_READ, 16);
    quiet.flags |= VUSER_NO_REPLY;
    fake_header(fake, quiet, 16);
    command_then_answer(fake, vuser_command_header(2, VUSER_REGION_READ, 16), reply, 16);
    fake_reply(fake, h, reply, 20);
}

static void a_command_that_wants_no_reply_gets_none(void **state)
{
    (void)state;
    void *c = start(VUSER_REGION_READ, no_reply_command, &fake_options);
    assert_int_equal(read_4(c), 0);
    assert_int_equal(answered.id, 2);
    fake_close(&f, c);
}

static void reply_on_twin(struct fake *fake, const struct vuser_header *h)
{
    struct vuser_header r = reply_to(h, 0);
    vuser_socket_send(&fake->twin, &r, NULL, 0, NULL, 0);
}

static void a_reply_on_the_twin_socket_ends_the_connection(void **state)
{
    (void)state;
    fake_init(&f);
    f.caps.twin_socket = true;
    f.hook = script;
    act_on = VUSER_REGION_READ;
    action = reply_on_twin;
    fake_start(&f);
    void *c = fake_open(&f, &fake_options);
    why = (struct vmig_error) { 0 };
    assert_int_equal(read_4(c), -EPROTO);
    assert_non_null(strstr(why.text, "twin socket"));
    fake_close(&f, c);
}

/* ---- VERSION ---- */

static char version_json[400];
static uint16_t version_major, version_minor;

static void answer_version(struct fake *fake, const struct vuser_header *h)
{
    uint8_t out[404];
    size_t json = strlen(version_json) + 1;
    vuser_version_encode(&(struct vuser_version) { version_major, version_minor }, out);
    memcpy(out + 4, version_json, json);
    fake_reply(fake, h, out, 4 + json);
}

static void check_version(uint16_t major, uint16_t minor, const char *json, const char *text)
{
    fake_init(&f);
    f.hook = script;
    act_on = VUSER_VERSION;
    action = answer_version;
    version_major = major;
    version_minor = minor;
    snprintf(version_json, sizeof(version_json), "%s", json);
    fake_start(&f);
    if (text)
        fake_open_err(&f, &fake_options, -EPROTO, text);
    fake_close(&f, text ? NULL : fake_open(&f, &fake_options));
}

static void versions_that_cannot_be_spoken_are_refused(void **state)
{
    (void)state;
    check_version(0, 0, "", NULL);
    check_version(0, 0, "{\"capabilities\":{}}", NULL);
    check_version(0, 2, "{\"capabilities\":{\"pgsizes\":4096,\"unheard\":{}}}", NULL);
    check_version(0, 3, "{}", "answers 0.3, understood is up to 0.2");
    check_version(1, 0, "{}", "answers 1.0");
    check_version(0, 2, "{", "JSON wrong");
    check_version(0, 2, "{\"capabilities\":{\"max_msg_fds\":-1}}", "max_msg_fds");
    check_version(0, 2, "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}",
                  "promised as file descriptor 0, but 0 came");
    check_version(0, 2, "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}",
                  "promised as file descriptor -1");
    check_version(0, 2, "{\"capabilities\":{\"twin_socket\":{\"supported\":false,\"fd_index\":0}}}",
                  NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_or_type_that_cannot_be_ends_the_connection),
        cmocka_unit_test(a_reply_must_belong_to_a_request),
        cmocka_unit_test(a_second_reply_ends_the_connection),
        cmocka_unit_test(a_reply_must_have_a_length_that_the_command_can_answer),
        cmocka_unit_test(a_little_too_much_is_tolerated),
        cmocka_unit_test(a_region_access_is_answered_for_what_was_asked),
        cmocka_unit_test(an_error_reply_is_an_error_whatever_its_number),
        cmocka_unit_test(a_state_that_is_none_is_refused),
        cmocka_unit_test(more_data_than_came_or_was_asked_for_is_refused),
        cmocka_unit_test(not_even_within_the_slack_of_a_reply),
        cmocka_unit_test(regions_are_checked),
        cmocka_unit_test(a_file_smaller_than_its_region_is_not_mapped),
        cmocka_unit_test(huge_numbers_of_regions_and_interrupts_are_refused),
        cmocka_unit_test(unexpected_file_descriptors_are_closed),
        cmocka_unit_test(file_descriptors_inside_a_message_end_the_connection),
        cmocka_unit_test(a_server_that_vanishes_fails_everybody_at_once),
        cmocka_unit_test(a_request_without_reply_times_out_and_harms_nobody),
        cmocka_unit_test(a_late_reply_is_dropped),
        cmocka_unit_test(a_reply_that_stops_in_the_middle_ends_the_connection_in_time),
        cmocka_unit_test(everybody_who_waits_is_told),
        cmocka_unit_test(commands_that_are_none_of_the_servers_are_refused),
        cmocka_unit_test(dma_beyond_its_limits_is_refused),
        cmocka_unit_test(a_command_larger_than_announced_ends_the_connection),
        cmocka_unit_test(a_command_that_wants_no_reply_gets_none),
        cmocka_unit_test(a_reply_on_the_twin_socket_ends_the_connection),
        cmocka_unit_test(versions_that_cannot_be_spoken_are_refused),
    };
    return cmocka_run_group_tests_name("vfio-user hostile servers", tests, NULL, NULL);
}
