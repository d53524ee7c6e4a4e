/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocking calls with the socket's own timeouts: one sendmsg or recvmsg moves as much as there is,
 * and the kernel does the waiting. SO_RCVTIMEO and SO_SNDTIMEO count from the last progress, which
 * is what "stalled" means.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/vfio-user/socket.h"

int vuser_socket_init(struct vuser_socket *s, int take_fd, uint64_t max_bytes,
                      unsigned stall_timeout_ms)
{
    struct timeval stall = { .tv_sec = stall_timeout_ms / 1000,
                             .tv_usec = (stall_timeout_ms % 1000) * 1000 };
    s->fd = take_fd;
    s->max_bytes = max_bytes;
    pthread_mutex_init(&s->write_lock, NULL);
    if (setsockopt(take_fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)) < 0 ||
        setsockopt(take_fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)) < 0)
        return -errno;
    return 0;
}

void vuser_socket_done(struct vuser_socket *s)
{
    if (s->fd < 0)
        return;
    close(s->fd);
    s->fd = -1;
    pthread_mutex_destroy(&s->write_lock);
}

int vuser_socket_release(struct vuser_socket *s)
{
    if (s->fd >= 0)
        pthread_mutex_destroy(&s->write_lock);
    return take_fd(&s->fd);
}

void vuser_socket_shutdown(struct vuser_socket *s)
{
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR);
}

/* ---- file descriptors ---- */

void vuser_fds_trim(struct vuser_fds *fds, unsigned allowed)
{
    while (fds->count > allowed) {
        int fd = fds->fds[--fds->count];
        if (fd >= 0)
            close(fd);
    }
}

void vuser_fds_close(struct vuser_fds *fds)
{
    vuser_fds_trim(fds, 0);
}

int vuser_fds_take(struct vuser_fds *fds, unsigned index)
{
    return index < fds->count ? take_fd(&fds->fds[index]) : -1;
}

/* Add what came with one recvmsg; -EPROTO when more came than one message can carry. */
static int collect_fds(struct msghdr *msg, struct vuser_fds *fds)
{
    int rc = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (fds->count < VUSER_FDS_MAX) {
                fds->fds[fds->count++] = fd;
            } else {
                close(fd);
                rc = -EPROTO;
            }
        }
    }
    return rc;
}

/* ---- receiving ---- */

static int closed_early(struct vmig_error *err)
{
    return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                     "the peer closed the connection in the middle of a message");
}

static int receive_failed(int code, struct vmig_error *err)
{
    if (code == EAGAIN || code == EWOULDBLOCK)
        return error_set(err, ETIMEDOUT, VMIG_STAGE_NONE, NULL, NULL,
                         "the peer stopped in the middle of a message");
    return error_set(err, code, VMIG_STAGE_NONE, NULL, NULL, "receiving: %s", strerror(code));
}

/* One recvmsg for a piece of the header, fds included. Count, 0 at the end. */
static ssize_t recv_piece(struct vuser_socket *s, void *buf, size_t size, struct vuser_fds *fds,
                          struct vmig_error *err)
{
    union {
        char buf[CMSG_SPACE(VUSER_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { buf, size };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.buf,
                          .msg_controllen = sizeof(control.buf) };
    ssize_t n = recvmsg(s->fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    if (collect_fds(&msg, fds) < 0 || (msg.msg_flags & MSG_CTRUNC))
        return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                         "file descriptors of a message were lost (too many, or this process may "
                         "open no more: see ulimit -n)");
    return n;
}

static int recv_header_bytes(struct vuser_socket *s, uint8_t *buf, struct vuser_fds *fds,
                             struct vmig_error *err)
{
    size_t have = 0;
    while (have < vuser_header_BYTES) {
        ssize_t n = recv_piece(s, buf + have, vuser_header_BYTES - have, fds, err);
        if (n == 0)
            return have == 0 ? 0 : closed_early(err);
        if (n == -EINTR || (n == -EAGAIN && have == 0))
            continue;
        if (n < 0)
            return receive_failed((int)-n, err);
        have += (size_t)n;
    }
    return 1;
}

int vuser_socket_recv_header(struct vuser_socket *s, struct vuser_header *ret,
                             struct vuser_fds *fds, struct vmig_error *err)
{
    uint8_t buf[vuser_header_BYTES];
    fds->count = 0;
    int rc = recv_header_bytes(s, buf, fds, err);
    if (rc == 1) {
        vuser_header_decode(buf, ret);
        int bad = vuser_header_check(ret, s->max_bytes, err);
        rc = bad ? bad : 1;
    }
    if (rc != 1)
        vuser_fds_close(fds);
    return rc;
}

/* Drop @n bytes from the front of @iov. */
static void advance(struct iovec **iov, unsigned *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*count;
    }
    if (*count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

int vuser_socket_recv_iov(struct vuser_socket *s, struct iovec *iov, unsigned count,
                          struct vmig_error *err)
{
    advance(&iov, &count, 0); /* empty parts in front */
    while (count > 0) {
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
        ssize_t n = recvmsg(s->fd, &msg, MSG_WAITALL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return receive_failed(errno, err);
        if (n == 0)
            return closed_early(err);
        if (msg.msg_flags & MSG_CTRUNC) /* without a control buffer the kernel closed them */
            return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                             "file descriptors in the middle of a message");
        advance(&iov, &count, (size_t)n);
    }
    return 0;
}

int vuser_socket_recv(struct vuser_socket *s, void *buf, size_t length_bytes,
                      struct vmig_error *err)
{
    struct iovec iov = { buf, length_bytes };
    return vuser_socket_recv_iov(s, &iov, 1, err);
}

int vuser_socket_skip(struct vuser_socket *s, uint64_t length_bytes, struct vmig_error *err)
{
    uint8_t sink[4096];
    int rc = 0;
    while (length_bytes > 0 && !rc) {
        size_t some = length_bytes < sizeof(sink) ? (size_t)length_bytes : sizeof(sink);
        rc = vuser_socket_recv(s, sink, some, err);
        length_bytes -= some;
    }
    return rc;
}

/* ---- sending ---- */

static void attach_fds(struct msghdr *msg, void *control, const int *fds, unsigned num_fds)
{
    if (num_fds == 0)
        return;
    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
    memset(control, 0, msg->msg_controllen);
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
    memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
}

/* The fds travel with the first byte, so only with the first piece. */
static int send_all(struct vuser_socket *s, struct iovec *iov, unsigned count, const int *fds,
                    unsigned num_fds)
{
    union {
        char buf[CMSG_SPACE(VUSER_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    while (count > 0) {
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
        attach_fds(&msg, &control, fds, num_fds);
        ssize_t n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? -ETIMEDOUT : -errno;
        num_fds = 0;
        advance(&iov, &count, (size_t)n);
    }
    return 0;
}

int vuser_socket_send(struct vuser_socket *s, const struct vuser_header *header,
                      const struct iovec *iov, unsigned count, const int *fds, unsigned num_fds)
{
    uint8_t head[vuser_header_BYTES];
    struct iovec all[VUSER_IOV_MAX + 1] = { { head, sizeof(head) } };
    uint64_t total = sizeof(head);
    if (count > VUSER_IOV_MAX || num_fds > VUSER_FDS_MAX)
        return -EMSGSIZE;
    for (unsigned i = 0; i < count; i++) {
        all[i + 1] = iov[i];
        total += iov[i].iov_len;
    }
    if (total != header->size_bytes)
        return -EMSGSIZE;
    vuser_header_encode(header, head);
    LOCK_SCOPE(&s->write_lock);
    return send_all(s, all, count + 1, fds, num_fds);
}

int vuser_socket_send_buf(struct vuser_socket *s, const struct vuser_header *header,
                          const void *payload, size_t length_bytes)
{
    struct iovec iov = { (void *)(uintptr_t)payload, length_bytes };
    return vuser_socket_send(s, header, &iov, length_bytes > 0, NULL, 0);
}

int vuser_socket_send_error(struct vuser_socket *s, const struct vuser_header *command, int code)
{
    struct vuser_header header = vuser_error_header(command, code);
    return vuser_socket_send(s, &header, NULL, 0, NULL, 0);
}
