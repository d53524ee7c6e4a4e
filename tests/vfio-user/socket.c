/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages over a stream socket: pieces, file descriptors, peers that stop. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/vfio-user/socket.h"

#define BIG ((size_t)3 << 20) /* more than any socket buffer here */

struct pair {
    struct vuser_socket a, b;
};

static int setup_stalling(void **state, unsigned stall_ms)
{
    struct pair *p = calloc(1, sizeof(*p));
    int fds[2];
    if (!p || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return -1;
    *state = p;
    return vuser_socket_init(&p->a, fds[0], 4 * BIG, stall_ms) ||
           vuser_socket_init(&p->b, fds[1], 4 * BIG, stall_ms);
}

static int setup(void **state)
{
    return setup_stalling(state, 0);
}

static int setup_hasty(void **state)
{
    return setup_stalling(state, 100);
}

static int teardown(void **state)
{
    struct pair *p = *state;
    vuser_socket_done(&p->a);
    vuser_socket_done(&p->b);
    vuser_socket_done(&p->b); /* twice is fine */
    free(p);
    return 0;
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 ^ i >> 9);
}

/* ---- pieces ---- */

static void *send_byte_by_byte(void *arg)
{
    struct pair *p = arg;
    uint8_t wire[20] = { 0 };
    struct vuser_header h = vuser_command_header(5, VUSER_REGION_READ, 4);
    vuser_header_encode(&h, wire);
    memcpy(wire + 16, "abcd", 4);
    for (unsigned i = 0; i < sizeof(wire); i++)
        send(p->a.fd, wire + i, 1, MSG_NOSIGNAL);
    return NULL;
}

static void a_message_may_arrive_byte_by_byte(void **state)
{
    struct pair *p = *state;
    struct vuser_header h;
    struct vuser_fds fds;
    char body[4];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_byte_by_byte, p), 0);
    assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, NULL), 1);
    assert_int_equal(h.id, 5);
    assert_int_equal(vuser_payload_bytes(&h), 4);
    assert_int_equal(vuser_socket_recv(&p->b, body, 4, NULL), 0);
    assert_memory_equal(body, "abcd", 4);
    pthread_join(thread, NULL);
}

static void *send_big(void *arg)
{
    struct pair *p = arg;
    uint8_t *data = malloc(BIG);
    struct vuser_header h = vuser_command_header(1, VUSER_MIG_DATA_WRITE, BIG);
    struct iovec iov[4] = {
        { data, 1 }, { data + 1, 0 }, { data + 1, BIG - 2 }, { data + BIG - 1, 1 }
    };
    for (size_t i = 0; i < BIG; i++)
        data[i] = pattern(i);
    intptr_t rc = vuser_socket_send(&p->a, &h, iov, 4, NULL, 0);
    free(data);
    return (void *)rc;
}

static void a_message_larger_than_the_socket_arrives_whole(void **state)
{
    struct pair *p = *state;
    struct vuser_header h;
    struct vuser_fds fds;
    uint8_t *data = malloc(BIG);
    pthread_t thread;
    void *rc;
    assert_int_equal(pthread_create(&thread, NULL, send_big, p), 0);
    assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, NULL), 1);
    struct iovec iov[4] = {
        { data, 0 }, { data, 100000 }, { data + 100000, BIG - 100007 }, { data, 0 }
    };
    assert_int_equal(vuser_socket_recv_iov(&p->b, iov, 4, NULL), 0);
    for (size_t i = 0; i < BIG - 7; i++)
        if (data[i] != pattern(i))
            fail_msg("byte %zu", i);
    assert_int_equal(vuser_socket_skip(&p->b, 7, NULL), 0);
    pthread_join(thread, &rc);
    assert_null(rc);
    free(data);
}

#define SENDERS 4
#define MESSAGES 50

static void *send_many(void *arg)
{
    struct pair *p = arg;
    uint8_t *data = malloc(100000);
    for (unsigned i = 0; i < MESSAGES; i++) {
        memset(data, (int)i, 100000);
        struct vuser_header h = vuser_command_header((uint16_t)i, VUSER_MIG_DATA_WRITE, 100000);
        vuser_socket_send_buf(&p->a, &h, data, 100000);
    }
    free(data);
    return NULL;
}

static void messages_of_several_senders_do_not_mix(void **state)
{
    struct pair *p = *state;
    struct vuser_header h;
    struct vuser_fds fds;
    uint8_t *data = malloc(100000);
    pthread_t threads[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, p), 0);
    for (unsigned i = 0; i < SENDERS * MESSAGES; i++) {
        assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, NULL), 1);
        assert_int_equal(h.size_bytes, 100016);
        assert_int_equal(vuser_socket_recv(&p->b, data, 100000, NULL), 0);
        assert_int_equal(data[0], (uint8_t)h.id);
        assert_int_equal(data[99999], (uint8_t)h.id);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    free(data);
}

/* ---- what is not sent ---- */

static void a_message_whose_sizes_disagree_is_not_sent(void **state)
{
    struct pair *p = *state;
    struct vuser_header h = vuser_command_header(1, VUSER_REGION_READ, 16);
    struct iovec iov[VUSER_IOV_MAX + 1] = { { "0123456789abcdef", 16 } };
    int fds[VUSER_FDS_MAX + 1] = { 0 };
    char byte;
    iov[0].iov_len = 15;
    assert_int_equal(vuser_socket_send(&p->a, &h, iov, 1, NULL, 0), -EMSGSIZE);
    iov[0].iov_len = 17;
    assert_int_equal(vuser_socket_send(&p->a, &h, iov, 1, NULL, 0), -EMSGSIZE);
    iov[0].iov_len = 16;
    assert_int_equal(vuser_socket_send(&p->a, &h, iov, VUSER_IOV_MAX + 1, NULL, 0), -EMSGSIZE);
    assert_int_equal(vuser_socket_send(&p->a, &h, iov, 1, fds, VUSER_FDS_MAX + 1), -EMSGSIZE);
    assert_int_equal(recv(p->b.fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(vuser_socket_send(&p->a, &h, iov, VUSER_IOV_MAX, NULL, 0), 0);
}

static void sending_to_a_closed_peer_is_an_error_and_no_signal(void **state)
{
    struct pair *p = *state;
    struct vuser_header h = vuser_command_header(1, VUSER_DEVICE_RESET, 0);
    vuser_socket_done(&p->b);
    assert_int_equal(vuser_socket_send(&p->a, &h, NULL, 0, NULL, 0), -EPIPE);
}

/* ---- file descriptors ---- */

static void send_fds(struct pair *p, unsigned count)
{
    int fds[VUSER_FDS_MAX], one = eventfd(0, EFD_CLOEXEC);
    struct vuser_header h = vuser_command_header(1, VUSER_DEVICE_SET_IRQS, 0);
    for (unsigned i = 0; i < count; i++)
        fds[i] = one;
    assert_int_equal(vuser_socket_send(&p->a, &h, NULL, 0, fds, count), 0);
    close(one);
}

static void file_descriptors_arrive_with_their_message(void **state)
{
    struct pair *p = *state;
    static const unsigned counts[] = { 0, 1, 16, VUSER_FDS_MAX - 1, VUSER_FDS_MAX };
    unsigned before = open_fds();
    struct vuser_header h;
    struct vuser_fds fds;
    for (unsigned i = 0; i < 5; i++)
        send_fds(p, counts[i]);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, NULL), 1);
        assert_int_equal(fds.count, counts[i]);
        assert_int_equal(open_fds(), before + counts[i]);
        if (fds.count > 0)
            assert_int_equal(fcntl(fds.fds[0], F_GETFD), FD_CLOEXEC);
        vuser_fds_close(&fds);
        assert_int_equal(open_fds(), before);
    }
}

static void file_descriptors_are_taken_or_closed(void **state)
{
    struct pair *p = *state;
    unsigned before = open_fds();
    struct vuser_header h;
    struct vuser_fds fds;
    send_fds(p, 4);
    assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, NULL), 1);
    vuser_fds_trim(&fds, 3);
    assert_int_equal(open_fds(), before + 3);
    int taken = vuser_fds_take(&fds, 1);
    assert_true(taken >= 0);
    assert_int_equal(vuser_fds_take(&fds, 1), -1); /* once */
    assert_int_equal(vuser_fds_take(&fds, 3), -1);
    vuser_fds_close(&fds);
    assert_int_equal(open_fds(), before + 1);
    close(taken);
}

static void file_descriptors_that_do_not_fit_into_the_process_are_an_error(void **state)
{
    struct pair *p = *state;
    struct rlimit old, tight;
    struct vuser_header h;
    struct vuser_fds fds;
    struct vmig_error err = { 0 };
    unsigned before = open_fds();
    send_fds(p, 16);
    getrlimit(RLIMIT_NOFILE, &old);
    int highest = dup(0);
    close(highest);
    tight = (struct rlimit) { (rlim_t)highest + 4, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    int rc = vuser_socket_recv_header(&p->b, &h, &fds, &err);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(rc, -EPROTO);
    assert_non_null(strstr(err.text, "ulimit -n"));
    assert_int_equal(fds.count, 0);
    assert_int_equal(open_fds(), before); /* those that came are closed */
}

/* ---- ends ---- */

static void the_end_between_messages_is_no_error(void **state)
{
    struct pair *p = *state;
    struct vuser_header h;
    struct vuser_fds fds;
    struct vmig_error err = { 0 };
    vuser_socket_shutdown(&p->a);
    assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, &err), 0);
    assert_int_equal(err.code, 0);
}

static void the_end_inside_a_header_is_one(void **state)
{
    struct pair *p = *state;
    struct vuser_header h;
    struct vuser_fds fds;
    struct vmig_error err = { 0 };
    assert_int_equal(send(p->a.fd, "123456789012345", 15, 0), 15);
    vuser_socket_shutdown(&p->a);
    assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, &err), -EPROTO);
    assert_non_null(strstr(err.text, "middle of a message"));
}

static void a_peer_that_stops_inside_a_message_is_given_up(void **state)
{
    struct pair *p = *state;
    struct vuser_header h;
    struct vuser_fds fds;
    struct vmig_error err = { 0 };
    char body[8];
    assert_int_equal(send(p->a.fd, "1", 1, 0), 1);
    assert_int_equal(vuser_socket_recv_header(&p->b, &h, &fds, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "stopped in the middle"));
    assert_int_equal(send(p->a.fd, "1234567", 7, 0), 7);
    assert_int_equal(vuser_socket_recv(&p->b, body, 8, NULL), -ETIMEDOUT);
}

static void a_peer_that_does_not_read_is_given_up(void **state)
{
    struct pair *p = *state;
    assert_int_equal((intptr_t)send_big(p), -ETIMEDOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_may_arrive_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_larger_than_the_socket_arrives_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(messages_of_several_senders_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_whose_sizes_disagree_is_not_sent, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sending_to_a_closed_peer_is_an_error_and_no_signal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(file_descriptors_arrive_with_their_message, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(file_descriptors_are_taken_or_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(
            file_descriptors_that_do_not_fit_into_the_process_are_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_between_messages_is_no_error, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_inside_a_header_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_stops_inside_a_message_is_given_up, setup_hasty,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_does_not_read_is_given_up, setup_hasty,
                                        teardown),
    };
    return cmocka_run_group_tests_name("vfio-user socket", tests, NULL, NULL);
}
