/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening channels by address, as the side that connects or writes and as the side that listens or
 * reads. Waits can be cancelled through an fd. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel/channel.h"
#include "lib/channel/lookup.h"
#include "lib/cleanup.h"
#include "lib/error.h"

static int fail(struct vmig_error *err, int code, const char *what, const char *where)
{
    return error_set(err, code, VMIG_STAGE_OPEN, NULL, NULL, "%s %.300s: %s", what, where,
                     strerror(abs(code)));
}

static int wrap(int take_fd, struct channel **ret, struct vmig_error *err)
{
    int rc = channel_from_fd(take_fd, ret);
    return rc < 0 ? fail(err, rc, "opening", "a channel") : 0;
}

/* Give an opened channel its cancel_fd. */
static int cancellable(int rc, struct channel **ret, int cancel_fd)
{
    if (rc == 0)
        (*ret)->cancel_fd = cancel_fd;
    return rc;
}

/* 0 when @fd has @events; -ECANCELED when @cancel_fd became readable. */
static int wait_for(int fd, short events, int cancel_fd)
{
    struct pollfd p[2] = { { .fd = fd, .events = events }, { .fd = cancel_fd, .events = POLLIN } };
    for (;;) {
        int n = poll(p, 2, -1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && p[1].revents)
            return -ECANCELED;
        if (n > 0 && p[0].revents)
            return 0;
    }
}

static int connect_socket(int fd, const struct sockaddr *addr, socklen_t length, int cancel_fd)
{
    if (connect(fd, addr, length) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EAGAIN)
        return -errno;
    int rc = wait_for(fd, POLLOUT, cancel_fd);
    if (rc < 0)
        return rc;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    return -error;
}

static int set_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

/* Small control messages must not wait for large ones to fill a segment. Keep-alive finds a dead
 * peer host within about a minute while nothing is sent. */
static void tune_tcp(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int) { 1 }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int) { 20 }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int) { 10 }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int) { 4 }, sizeof(int));
}

static int resolve(const struct address *a, int flags, int cancel_fd, struct addrinfo **ret,
                   struct vmig_error *err)
{
    int rc =
        lookup_address(getaddrinfo, a->host[0] ? a->host : NULL, a->port, flags, cancel_fd, ret);
    if (rc == 0)
        return 0;
    if (rc == LOOKUP_CANCELLED)
        return fail(err, ECANCELED, "looking up", a->host);
    return error_set(err, EHOSTUNREACH, VMIG_STAGE_OPEN, NULL, NULL, "host \"%s\" port \"%s\": %s",
                     a->host, a->port, gai_strerror(rc));
}

static int connect_tcp(const struct address *a, int cancel_fd, struct channel **ret,
                       struct vmig_error *err)
{
    struct addrinfo *list;
    int rc = resolve(a, 0, cancel_fd, &list, err);
    if (rc < 0)
        return rc;
    rc = -EHOSTUNREACH;
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        CLEANUP_FD int fd =
            socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
        rc = fd < 0 ? -errno : connect_socket(fd, ai->ai_addr, ai->ai_addrlen, cancel_fd);
        if (rc == -ECANCELED)
            break;
        if (rc < 0)
            continue;
        tune_tcp(fd);
        set_blocking(fd);
        freeaddrinfo(list);
        return wrap(take_fd(&fd), ret, err);
    }
    freeaddrinfo(list);
    char where[320];
    snprintf(where, sizeof(where), "tcp:%s:%s", a->host, a->port);
    return fail(err, rc, "connecting to", where);
}

static void unix_address(const struct address *a, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
    snprintf(ret->sun_path, sizeof(ret->sun_path), "%.107s", a->path);
}

/* Nothing tells when there is room again in a listener's queue. */
#define QUEUE_RETRY_MS 10

/* A connect that finds the queue full would wait for room, whatever happens meanwhile. */
static int connect_queued(int fd, const struct sockaddr_un *sun, int cancel_fd)
{
    struct pollfd p = { .fd = cancel_fd, .events = POLLIN };
    while (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) != 0) {
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (poll(&p, 1, QUEUE_RETRY_MS) > 0)
            return -ECANCELED;
    }
    return 0;
}

static int connect_unix(const struct address *a, int cancel_fd, struct channel **ret,
                        struct vmig_error *err)
{
    struct sockaddr_un sun;
    unix_address(a, &sun);
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -errno : connect_queued(fd, &sun, cancel_fd);
    if (rc < 0)
        return fail(err, rc, "connecting to", a->path);
    set_blocking(fd);
    return wrap(take_fd(&fd), ret, err);
}

static int open_fd(const struct address *a, struct channel **ret, struct vmig_error *err)
{
    int fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 3);
    char where[16];
    snprintf(where, sizeof(where), "%d", a->fd);
    return fd < 0 ? fail(err, errno, "file descriptor", where) : wrap(fd, ret, err);
}

/* Write beside the final name, so that a half-written stream never has it. */
static int open_file_write(const struct address *a, struct channel **ret, struct vmig_error *err)
{
    CLEANUP_FREE char *temporary = NULL;
    struct stat st;
    if (stat(a->path, &st) == 0 && !S_ISREG(st.st_mode))
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                         "%.300s is no regular file and would be replaced by one; use exec: or fd: "
                         "to write into something else",
                         a->path);
    if (asprintf(&temporary, "%s.XXXXXX", a->path) < 0)
        return fail(err, ENOMEM, "creating", a->path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return fail(err, errno, "creating", a->path);
    int rc = wrap(fd, ret, err);
    if (rc < 0) {
        unlink(temporary);
        return rc;
    }
    (*ret)->temporary_path = take_ptr(temporary);
    (*ret)->final_path = strdup(a->path);
    if ((*ret)->final_path)
        return 0;
    *ret = channel_free(*ret);
    return fail(err, ENOMEM, "creating", a->path);
}

/* Run a shell command with one end of a pipe as its standard input or output. */
static int open_exec(const struct address *a, bool write, struct channel **ret,
                     struct vmig_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail(err, errno, "starting", a->path);
    int ours = write ? ends[1] : ends[0], theirs = write ? ends[0] : ends[1];
    pid_t pid = fork();
    if (pid == 0) {
        dup2(theirs, write ? STDIN_FILENO : STDOUT_FILENO);
        execl("/bin/sh", "sh", "-c", a->path, (char *)NULL);
        _exit(127);
    }
    int error = errno;
    close(theirs);
    if (pid < 0) {
        close(ours);
        return fail(err, error, "starting", a->path);
    }
    int rc = wrap(ours, ret, err);
    if (rc < 0) {
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
        return rc;
    }
    (*ret)->child = pid;
    /* this end is ours alone, so its mode may change */
    (*ret)->nonblocking = write && fcntl(ours, F_SETFL, O_NONBLOCK) == 0;
    return 0;
}

static int connect_any(const struct address *a, int cancel_fd, struct channel **ret,
                       struct vmig_error *err)
{
    switch (a->kind) {
    case ADDRESS_TCP:
        return connect_tcp(a, cancel_fd, ret, err);
    case ADDRESS_UNIX:
        return connect_unix(a, cancel_fd, ret, err);
    case ADDRESS_FD:
        return open_fd(a, ret, err);
    case ADDRESS_FILE:
        return open_file_write(a, ret, err);
    case ADDRESS_EXEC:
        return open_exec(a, true, ret, err);
    }
    return -EINVAL;
}

int channel_connect(const struct address *a, int cancel_fd, struct channel **ret,
                    struct vmig_error *err)
{
    return cancellable(connect_any(a, cancel_fd, ret, err), ret, cancel_fd);
}

static int open_read(const struct address *a, struct channel **ret, struct vmig_error *err)
{
    if (a->kind == ADDRESS_FD)
        return open_fd(a, ret, err);
    if (a->kind == ADDRESS_EXEC)
        return open_exec(a, false, ret, err);
    int fd = open(a->path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? fail(err, errno, "opening", a->path) : wrap(fd, ret, err);
}

int channel_open_read(const struct address *a, int cancel_fd, struct channel **ret,
                      struct vmig_error *err)
{
    return cancellable(open_read(a, ret, err), ret, cancel_fd);
}

static bool is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr) >> 24) == 127;
    return addr->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)addr)->sin6_addr);
}

/* "tcp:HOST:PORT" with the port that was really taken. */
static int listening_name(int fd, const struct address *a, char **ret, struct vmig_error *err)
{
    struct sockaddr_storage addr;
    socklen_t length = sizeof(addr);
    char port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&addr, &length) != 0)
        return fail(err, errno, "the port listened on at", a->host);
    int rc =
        getnameinfo((struct sockaddr *)&addr, length, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
    if (rc != 0)
        return error_set(err, rc == EAI_MEMORY ? ENOMEM : EIO, VMIG_STAGE_OPEN, NULL, NULL,
                         "the port listened on at %.300s: %s", a->host, gai_strerror(rc));
    bool v6 = strchr(a->host, ':') != NULL;
    if (asprintf(ret, "tcp:%s%s%s:%s", v6 ? "[" : "", a->host, v6 ? "]" : "", port) < 0)
        return fail(err, ENOMEM, "listening on", a->host);
    return 0;
}

static int listen_tcp(const struct address *a, int cancel_fd, int *ret_fd, char **ret_name,
                      bool *ret_public, struct vmig_error *err)
{
    struct addrinfo *list;
    int rc = resolve(a, AI_PASSIVE, cancel_fd, &list, err);
    if (rc < 0)
        return rc;
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        CLEANUP_FD int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
        if (fd >= 0)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int));
        if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, 64) != 0) {
            rc = -errno;
            continue;
        }
        *ret_public = !is_loopback(ai->ai_addr);
        freeaddrinfo(list);
        rc = listening_name(fd, a, ret_name, err);
        if (rc == 0)
            *ret_fd = take_fd(&fd);
        return rc;
    }
    freeaddrinfo(list);
    char where[320];
    snprintf(where, sizeof(where), "tcp:%s:%s", a->host, a->port);
    return fail(err, rc, "listening on", where);
}

/* A socket file that nobody listens on any more is replaced; one that answers is not. */
static int bind_unix(int fd, const struct sockaddr_un *sun)
{
    if (bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    CLEANUP_FD int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;
    if (lstat(sun->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return -EADDRINUSE;
    if (probe < 0 || connect(probe, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ||
        errno != ECONNREFUSED)
        return -EADDRINUSE;
    unlink(sun->sun_path);
    return bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ? 0 : -errno;
}

static int listen_unix(const struct address *a, int *ret_fd, char **ret_name,
                       struct vmig_error *err)
{
    struct sockaddr_un sun;
    unix_address(a, &sun);
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, errno, "listening on", a->path);
    int rc = bind_unix(fd, &sun);
    if (rc < 0)
        return fail(err, rc, "listening on", a->path);
    if (listen(fd, 64) != 0)
        return fail(err, errno, "listening on", a->path);
    if (asprintf(ret_name, "unix:%s", a->path) < 0)
        return fail(err, ENOMEM, "listening on", a->path);
    *ret_fd = take_fd(&fd);
    return 0;
}

int channel_listen(const struct address *a, int cancel_fd, int *ret_fd, char **ret_name,
                   bool *ret_public, struct vmig_error *err)
{
    *ret_public = false;
    if (a->kind == ADDRESS_TCP)
        return listen_tcp(a, cancel_fd, ret_fd, ret_name, ret_public, err);
    if (a->kind == ADDRESS_UNIX)
        return listen_unix(a, ret_fd, ret_name, err);
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                     "only tcp: and unix: addresses can be listened on");
}

int channel_accept(int listen_fd, int cancel_fd, struct channel **ret, struct vmig_error *err)
{
    for (;;) {
        int rc = wait_for(listen_fd, POLLIN, cancel_fd);
        if (rc < 0)
            return fail(err, rc, "waiting for", "a connection");
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN))
            continue;
        if (fd < 0)
            return fail(err, errno, "accepting", "a connection");
        tune_tcp(fd); /* without effect on a UNIX socket */
        return wrap(fd, ret, err);
    }
}
