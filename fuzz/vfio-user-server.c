/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device's server against a client that sends the input. Byte 0 chooses the profile;
 * bit 7 leaves out the VERSION message that is otherwise sent first. Then records {u8 number of fds
 * (modulo 4), u16 length, bytes}: each is sent by itself, in pieces of at most 143 bytes, with that
 * many fds at its first byte. What the server sends is read and dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "lib/vfio-user/socket.h"
#include "refdev/server.h"

#define PIECE_MAX 143u

struct client {
    int fd, memory_fd;
    const uint8_t *at, *end;
    const uint8_t *piece; /* what is being sent of the record */
    size_t left;
    unsigned fds;
    struct vuser_fds received;
};

static bool next_record(struct client *c)
{
    if (c->end - c->at < 3)
        return false;
    size_t length = (size_t)c->at[1] | (size_t)c->at[2] << 8, rest = (size_t)(c->end - c->at - 3);
    c->fds = c->at[0] % 4;
    c->piece = c->at + 3;
    c->left = length < rest ? length : rest;
    c->at = c->piece + c->left;
    return true;
}

/* One piece, if the socket takes it. False: the server has gone. */
static bool send_piece(struct client *c)
{
    union {
        char buf[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { (void *)(uintptr_t)c->piece, c->left < PIECE_MAX ? c->left : PIECE_MAX };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (c->fds > 0) {
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(c->fds * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(c->fds * sizeof(int));
        for (unsigned i = 0; i < c->fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &c->memory_fd, sizeof(int));
    }
    ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN;
    c->fds = 0;
    c->piece += n;
    c->left -= (size_t)n;
    return true;
}

static void *client_main(void *arg)
{
    static uint8_t sink[65536];
    struct client *c = arg;
    bool sending = true;
    for (;;) {
        while (sending && c->left == 0 && (sending = next_record(c)))
            ;
        if (!sending)
            shutdown(c->fd, SHUT_WR);
        struct pollfd p = { .fd = c->fd, .events = POLLIN | (sending ? POLLOUT : 0) };
        poll(&p, 1, -1);
        if ((p.revents & (POLLIN | POLLHUP)) && recv(c->fd, sink, sizeof(sink), 0) <= 0)
            break;
        if (sending && (p.revents & POLLOUT) && !send_piece(c))
            sending = false;
    }
    return NULL;
}

static void say_version(int fd)
{
    struct vuser_capabilities caps = vuser_capabilities_default();
    struct vuser_socket s;
    void *payload;
    size_t length;
    caps.extensions = VUSER_EXT_ALL;
    if (vuser_version_build(&caps, &payload, &length) || vuser_socket_init(&s, fd, 1, 0))
        abort();
    struct vuser_header h = vuser_command_header(1, VUSER_VERSION, (uint32_t)length);
    vuser_socket_send_buf(&s, &h, payload, length);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const profiles[] = { "default", "mtty", "hisi_acc", "pds",
                                            "mlx5",    "qat",  "virtio",   "xe" };
    struct refdev_config config = { .local_bytes = 0 };
    struct refdev_server *server;
    struct client client = { 0 };
    pthread_t thread;
    int pair[2];
    if (size == 0)
        return 0;
    config.knobs.profile = refdev_profile_find(profiles[data[0] % 8]);
    if (config.knobs.profile->default_local_bytes > 65536)
        config.local_bytes = 65536;
    if (refdev_server_new(&config, &server, NULL) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        abort();
    client.fd = pair[1];
    client.at = data + 1;
    client.end = data + size;
    client.memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (client.memory_fd < 0 || ftruncate(client.memory_fd, 65536))
        abort();
    if (!(data[0] & 0x80))
        say_version(client.fd);
    if (pthread_create(&thread, NULL, client_main, &client))
        abort();
    refdev_server_serve(server, pair[0]);
    pthread_join(thread, NULL);
    close(client.memory_fd);
    close(client.fd);
    refdev_server_free(server);
    return 0;
}
