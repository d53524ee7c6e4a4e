/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving bytes: whole writes and reads over whatever kind of file descriptor stands behind. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel/channel.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"

int channel_from_fd(int take_fd, struct channel **ret)
{
    struct stat st;
    struct channel *c = calloc(1, sizeof(*c));
    int rc = !c ? -ENOMEM : fstat(take_fd, &st) != 0 ? -errno : 0;
    if (rc < 0) {
        /* a guess could take a socket for something that never answers */
        free(c);
        close(take_fd);
        return rc;
    }
    c->fd = take_fd;
    c->child = -1;
    c->cancel_fd = -1;
    c->socket = S_ISSOCK(st.st_mode);
    c->one_way = !c->socket;
    *ret = c;
    return 0;
}

/* How long a command has to end when it is asked to. */
#define TERM_PATIENCE_MS 50

/* Readable when @pid has ended; -1 where the kernel has none. */
static int ended_fd(pid_t pid)
{
    return pidfd_open(pid, 0);
}

static void end_child(pid_t pid)
{
    CLEANUP_FD int ended = ended_fd(pid);
    struct pollfd p = { .fd = ended, .events = POLLIN };
    kill(pid, SIGTERM);
    if (poll(&p, 1, TERM_PATIENCE_MS) == 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

struct channel *channel_free(struct channel *c)
{
    if (!c)
        return NULL;
    if (c->fd >= 0)
        close(c->fd);
    if (c->temporary_path)
        unlink(c->temporary_path);
    if (c->child > 0)
        end_child(c->child);
    free(c->temporary_path);
    free(c->final_path);
    free(c);
    return NULL;
}

/* Sockets are shut down to end a wait; a pipe is polled together with its cancel_fd. */
static int wait_pipe(struct channel *c, short events)
{
    if (c->socket || c->cancel_fd < 0)
        return 0;
    struct pollfd p[2] = { { .fd = c->fd, .events = events },
                           { .fd = c->cancel_fd, .events = POLLIN } };
    while (poll(p, 2, -1) < 0)
        if (errno != EINTR)
            return -errno;
    return p[1].revents ? -ECANCELED : 0;
}

/* A blocking write to a pipe of more than there is room for would not come back for a cancel. */
static ssize_t write_pipe_now(struct channel *c, struct iovec *iov, unsigned count)
{
    if (c->cancel_fd < 0 || c->temporary_path || c->nonblocking)
        return writev(c->fd, iov, (int)count);
    size_t some = iov->iov_len < PIPE_BUF ? iov->iov_len : PIPE_BUF;
    return write(c->fd, iov->iov_base, some);
}

/* A reader that went away is an error code, and not a signal to the embedding program. */
static ssize_t write_pipe(struct channel *c, struct iovec *iov, unsigned count)
{
    sigset_t pipe_signal, old, pending;
    int rc = wait_pipe(c, POLLOUT);
    if (rc < 0) {
        errno = -rc;
        return -1;
    }
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
    ssize_t n = write_pipe_now(c, iov, count);
    int saved = errno;
    if (n < 0 && saved == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe_signal, NULL, &(struct timespec) { 0 });
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return n;
}

static ssize_t send_some(struct channel *c, struct iovec *iov, unsigned count)
{
    if (!c->socket)
        return write_pipe(c, iov, count);
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
    return sendmsg(c->fd, &msg, MSG_NOSIGNAL);
}

/* Drop the first @done bytes of *iov, skipping what is empty. */
static void advance(struct iovec **iov, unsigned *count, size_t done)
{
    while (*count && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (*count) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

int channel_writev(struct channel *c, struct iovec *iov, unsigned count)
{
    advance(&iov, &count, 0);
    while (count) {
        ssize_t n = send_some(c, iov, count < IOV_MAX ? count : IOV_MAX);
        if (n < 0 && (errno == EINTR || (errno == EAGAIN && c->nonblocking)))
            continue;
        if (n < 0)
            return -errno;
        advance(&iov, &count, (size_t)n);
    }
    return 0;
}

/* 0 when @c has @events. */
static int wait_unless(struct channel *c, short events, int end_fd, uint64_t deadline_ns)
{
    struct pollfd p[2] = { { .fd = c->fd, .events = events }, { .fd = end_fd, .events = POLLIN } };
    for (;;) {
        uint64_t now = clock_ns();
        if (now >= deadline_ns)
            return -ETIMEDOUT;
        uint64_t left_ms = (deadline_ns - now) / NS_PER_MS + 1;
        int n = poll(p, 2, left_ms < INT_MAX ? (int)left_ms : -1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            return p[1].revents ? -ECANCELED : 0;
    }
}

static int send_all_unless(struct channel *c, struct iovec *iov, unsigned count, int end_fd,
                           uint64_t deadline_ns, size_t *done)
{
    advance(&iov, &count, 0);
    while (count) {
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count < IOV_MAX ? count : IOV_MAX };
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        int rc = n < 0 ? -errno : 0;
        if (rc == -EAGAIN)
            rc = wait_unless(c, POLLOUT, end_fd, deadline_ns);
        if (rc < 0 && rc != -EINTR)
            return rc;
        if (n > 0) {
            *done += (size_t)n;
            advance(&iov, &count, (size_t)n);
        }
    }
    return 0;
}

int channel_writev_unless(struct channel *c, struct iovec *iov, unsigned count, int end_fd,
                          uint64_t deadline_ns)
{
    size_t done = 0;
    if (c->torn)
        return -EPIPE;
    if (!c->socket) /* its cancel_fd ends waits */
        return channel_writev(c, iov, count);
    int rc = send_all_unless(c, iov, count, end_fd, deadline_ns, &done);
    c->torn = rc < 0;
    return rc;
}

int channel_write(struct channel *c, const void *buf, size_t length_bytes)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = length_bytes };
    return channel_writev(c, &iov, 1);
}

ssize_t channel_read(struct channel *c, void *buf, size_t size)
{
    int rc = wait_pipe(c, POLLIN);
    if (rc < 0)
        return rc;
    ssize_t n;
    do
        n = read(c->fd, buf, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* A reader that is woken for each segment has its sender do little else than wake it: of a long read it
 * sleeps until so much is there (1 GiB over loopback: 1,500 instead of 9,000 reads, in two thirds of the
 * time). The kernel counts what is there for each sleep anew, so the last two of these are waited for
 * in the ordinary way. */
#define LOW_WATER_BYTES (256 << 10)

/* The window must not be made of it: that would stop the sender each time. */
static int low_water_of(const struct channel *c)
{
    int buffer = 0;
    socklen_t length = sizeof(buffer);
    if (getsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer, &length) != 0)
        return 1;
    return buffer / 8 < LOW_WATER_BYTES ? buffer / 8 : LOW_WATER_BYTES;
}

/* 1 is what every other reader of a socket needs. */
static int set_low_water(struct channel *c, int bytes)
{
    if (setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) != 0)
        return -errno;
    c->low_water = bytes > 1;
    return 0;
}

static size_t total_of(const struct iovec *iov, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

int channel_readv_full(struct channel *c, struct iovec *iov, unsigned count)
{
    size_t left = total_of(iov, count);
    advance(&iov, &count, 0);
    if (c->socket && left >= 4 * LOW_WATER_BYTES)
        set_low_water(c, low_water_of(c)); /* where that fails it is slower */
    while (count) {
        int rc = wait_pipe(c, POLLIN);
        if (rc == 0 && c->low_water && left < 2 * LOW_WATER_BYTES)
            rc = set_low_water(c, 1);
        if (rc < 0)
            return rc;
        ssize_t n = readv(c->fd, iov, (int)(count < IOV_MAX ? count : IOV_MAX));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ECONNRESET;
        left -= (size_t)n;
        advance(&iov, &count, (size_t)n);
    }
    return c->low_water ? set_low_water(c, 1) : 0;
}

int channel_read_unless(struct channel *c, void *buf, size_t length_bytes, int end_fd,
                        uint64_t deadline_ns)
{
    for (size_t done = 0; done < length_bytes;) {
        int rc = wait_unless(c, POLLIN, end_fd, deadline_ns);
        if (rc < 0)
            return rc;
        ssize_t n = recv(c->fd, (char *)buf + done, length_bytes - done, MSG_DONTWAIT);
        if (n == 0)
            return -ECONNRESET;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

void channel_shutdown(struct channel *c)
{
    if (c && c->socket)
        shutdown(c->fd, SHUT_RDWR);
}

static int sync_fd(int fd)
{
    while (fsync(fd) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* -errno; where there is only no right to look at it, it cannot be helped. */
static int open_directory_of(const char *path, int *ret_fd)
{
    CLEANUP_FREE char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    *ret_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 && errno != EACCES ? -errno : 0;
}

/* The new name is durable only once the directory is. */
static int rename_durably(const char *from, const char *to)
{
    CLEANUP_FD int dir = -1;
    int rc = open_directory_of(to, &dir);
    if (rc == 0 && rename(from, to) != 0)
        rc = -errno;
    if (rc < 0 || dir < 0)
        return rc;
    rc = sync_fd(dir);
    if (rc == -EINVAL || rc == -EROFS) /* a file system that has no such thing */
        return 0;
    if (rc < 0)
        unlink(to); /* the source goes on: nobody may start from this file */
    return rc;
}

static int not_durable(struct channel *c, int rc, struct vmig_error *err)
{
    return error_set(err, rc, VMIG_STAGE_HANDOVER, NULL, NULL,
                     "%s could not be made durable: %s; the source keeps its devices",
                     c->final_path, strerror(-rc));
}

int channel_commit(struct channel *c, struct vmig_error *err)
{
    if (!c->temporary_path)
        return 0;
    int rc = rename_durably(c->temporary_path, c->final_path);
    if (rc < 0)
        return not_durable(c, rc, err);
    free(c->temporary_path);
    c->temporary_path = NULL;
    return 0;
}

/* Until the command has ended, or the wait is cancelled: then it is ended. */
static int wait_child(struct channel *c, pid_t pid, int *ret_status)
{
    CLEANUP_FD int ended_handle = ended_fd(pid);
    struct pollfd p[2] = { { .fd = c->cancel_fd, .events = POLLIN },
                           { .fd = ended_handle, .events = POLLIN } };
    for (;;) {
        pid_t ended = waitpid(pid, ret_status, WNOHANG);
        if (ended == pid)
            return 0;
        if (ended < 0 && errno != EINTR)
            return -errno;
        if (poll(p, 2, ended_handle < 0 ? 20 : -1) > 0 && p[0].revents) {
            end_child(pid);
            return -ECANCELED;
        }
    }
}

static int commit_child(struct channel *c, struct vmig_error *err)
{
    int status;
    close(c->fd); /* the command sees the end of its input */
    c->fd = -1;
    pid_t pid = c->child;
    c->child = -1;
    int rc = wait_child(c, pid, &status);
    if (rc < 0)
        return error_set(err, rc, VMIG_STAGE_HANDOVER, NULL, rc == -ECANCELED ? "cancelled" : NULL,
                         "waiting for the command to end: %s; the source keeps its devices",
                         strerror(-rc));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, EPIPE, VMIG_STAGE_HANDOVER, NULL, NULL,
                     "the command %s %d, so the stream is not safe; the source keeps its devices",
                     WIFEXITED(status) ? "exited with status" : "was killed by signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

int channel_make_durable(struct channel *c, struct vmig_error *err)
{
    int rc = c->temporary_path ? sync_fd(c->fd) : 0;
    if (rc < 0)
        return not_durable(c, rc, err);
    return c->child > 0 ? commit_child(c, err) : 0;
}
