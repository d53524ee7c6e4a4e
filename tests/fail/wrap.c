/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands in front of the calls that can fail: for each, the errors that are plausible where the
 * library makes it, and what is legal without being an error. The linker's --wrap=NAME sends calls
 * of NAME to __wrap_NAME, and calls of __real_NAME to the real one; both names are the linker's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/fail/inject.h"

#define FRONT(type, name, ...)                                                                     \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

#define FAULT(name, fd, ...) inject_now(#name, fd, &(const struct inject_faults) { __VA_ARGS__ })

/* "return -1 with this errno" and the like */
#define FAIL(value, code)                                                                          \
    do {                                                                                           \
        errno = (code);                                                                            \
        return (value);                                                                            \
    } while (0)

/* ---- memory ---- */

static bool no_memory(const char *call)
{
    bool fails = inject_now(call, -1, &(const struct inject_faults) { .errors = { ENOMEM } });
    if (fails)
        errno = ENOMEM;
    return fails;
}

static void *owned(void *allocation)
{
    if (allocation)
        inject_count_allocation(1);
    return allocation;
}

FRONT(void *, malloc, size_t size)
{
    return no_memory("malloc") ? NULL : owned(__real_malloc(size));
}

FRONT(void *, calloc, size_t count, size_t size)
{
    return no_memory("calloc") ? NULL : owned(__real_calloc(count, size));
}

FRONT(void, free, void *allocation)
{
    if (allocation)
        inject_count_allocation(-1);
    __real_free(allocation);
}

FRONT(void *, realloc, void *old, size_t size)
{
    if (no_memory("realloc"))
        return NULL;
    return old ? __real_realloc(old, size) : owned(__real_realloc(old, size));
}

FRONT(void *, reallocarray, void *old, size_t count, size_t size)
{
    if (no_memory("reallocarray"))
        return NULL;
    void *grown = __real_reallocarray(old, count, size);
    return old ? grown : owned(grown);
}

FRONT(void *, aligned_alloc, size_t alignment, size_t size)
{
    return no_memory("aligned_alloc") ? NULL : owned(__real_aligned_alloc(alignment, size));
}

FRONT(char *, strdup, const char *text)
{
    return no_memory("strdup") ? NULL : owned(__real_strdup(text));
}

FRONT(int, asprintf, char **ret, const char *format, ...)
{
    if (no_memory("asprintf"))
        return -1;
    va_list args;
    va_start(args, format);
    int length = vasprintf(ret, format, args);
    va_end(args);
    if (length >= 0)
        owned(*ret);
    return length;
}

FRONT(XXH3_state_t *, XXH3_createState, void)
{
    return no_memory("XXH3_createState") ? NULL : owned(__real_XXH3_createState());
}

FRONT(XXH_errorcode, XXH3_freeState, XXH3_state_t *digest)
{
    if (digest)
        inject_count_allocation(-1);
    return __real_XXH3_freeState(digest);
}

FRONT(void *, mmap64, void *where, size_t size, int protection, int flags, int fd, off64_t offset)
{
    if (FAULT(mmap, fd, .errors = { ENOMEM }))
        FAIL(MAP_FAILED, ENOMEM);
    void *mapping = __real_mmap64(where, size, protection, flags, fd, offset);
    if (mapping != MAP_FAILED)
        inject_count_mapping(1);
    return mapping;
}

FRONT(int, munmap, void *where, size_t size)
{
    inject_count_mapping(-1);
    return __real_munmap(where, size);
}

/* ---- threads: a new one works for whom its maker works ---- */

struct start {
    void *(*entry)(void *arg);
    void *arg;
    enum inject_side side;
};

static void *start_main(void *opaque)
{
    struct start start = *(struct start *)opaque;
    __real_free(opaque);
    inject_act_for(start.side);
    return start.entry(start.arg);
}

FRONT(int, pthread_create, pthread_t *ret, const pthread_attr_t *attr, void *(*entry)(void *),
      void *arg)
{
    if (FAULT(pthread_create, -1, .errors = { EAGAIN }))
        return EAGAIN;
    struct start *start = __real_malloc(sizeof(*start));
    enum inject_side side = inject_act_for(INJECT_NOBODY);
    inject_act_for(side);
    *start = (struct start) { entry, arg, side };
    int rc = __real_pthread_create(ret, attr, start_main, start);
    if (rc != 0)
        __real_free(start);
    return rc;
}

FRONT(int, pthread_cond_wait, pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (FAULT(pthread_cond_wait, -1, .hiccups = { INJECT_SPURIOUS }))
        return 0;
    return __real_pthread_cond_wait(cond, mutex);
}

FRONT(int, pthread_cond_timedwait, pthread_cond_t *cond, pthread_mutex_t *mutex,
      const struct timespec *deadline)
{
    if (FAULT(pthread_cond_timedwait, -1, .hiccups = { INJECT_SPURIOUS }))
        return 0;
    return __real_pthread_cond_timedwait(cond, mutex, deadline);
}

/* ---- sockets ---- */

FRONT(int, socket, int domain, int type, int protocol)
{
    int fault = FAULT(socket, -1, .errors = { EMFILE, ENOBUFS });
    if (fault)
        FAIL(-1, fault);
    return __real_socket(domain, type, protocol);
}

/* Over TCP the library does not wait in connect(), so no signal interrupts it there. */
FRONT(int, connect, int fd, const struct sockaddr *addr, socklen_t length)
{
    int fault = addr->sa_family == AF_UNIX
                    ? FAULT(connect, fd, .errors = { ECONNREFUSED, ENOENT }, .hiccups = { EINTR })
                    : FAULT(connect, fd, .errors = { ECONNREFUSED, ENETUNREACH });
    if (fault)
        FAIL(-1, fault);
    return __real_connect(fd, addr, length);
}

FRONT(int, bind, int fd, const struct sockaddr *addr, socklen_t length)
{
    int fault = FAULT(bind, fd, .errors = { EACCES, ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_bind(fd, addr, length);
}

FRONT(int, listen, int fd, int backlog)
{
    int fault = FAULT(listen, fd, .errors = { ENOBUFS });
    if (fault)
        FAIL(-1, fault);
    return __real_listen(fd, backlog);
}

FRONT(int, accept4, int fd, struct sockaddr *addr, socklen_t *length, int flags)
{
    int fault = FAULT(accept4, fd, .errors = { EMFILE, ENOMEM },
                      .hiccups = { EINTR, ECONNABORTED, EAGAIN });
    if (fault)
        FAIL(-1, fault);
    return __real_accept4(fd, addr, length, flags);
}

FRONT(int, getsockopt, int fd, int level, int name, void *value, socklen_t *length)
{
    int fault = FAULT(getsockopt, fd, .errors = { ENOBUFS });
    if (fault)
        FAIL(-1, fault);
    return __real_getsockopt(fd, level, name, value, length);
}

FRONT(int, setsockopt, int fd, int level, int name, const void *value, socklen_t length)
{
    int fault = FAULT(setsockopt, fd, .errors = { ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_setsockopt(fd, level, name, value, length);
}

FRONT(int, getsockname, int fd, struct sockaddr *addr, socklen_t *length)
{
    int fault = FAULT(getsockname, fd, .errors = { ENOBUFS });
    if (fault)
        FAIL(-1, fault);
    return __real_getsockname(fd, addr, length);
}

FRONT(int, getaddrinfo, const char *node, const char *service, const struct addrinfo *hints,
      struct addrinfo **ret)
{
    if (FAULT(getaddrinfo, -1, .errors = { ENOMEM }))
        return EAI_MEMORY;
    return __real_getaddrinfo(node, service, hints, ret);
}

FRONT(int, getnameinfo, const struct sockaddr *addr, socklen_t length, char *host,
      socklen_t host_size, char *service, socklen_t service_size, int flags)
{
    if (FAULT(getnameinfo, -1, .errors = { ENOMEM }))
        return EAI_MEMORY;
    return __real_getnameinfo(addr, length, host, host_size, service, service_size, flags);
}

FRONT(ssize_t, recv, int fd, void *buf, size_t size, int flags)
{
    int fault = flags & MSG_DONTWAIT
                    ? FAULT(recv, fd, .errors = { ECONNRESET }, .hiccups = { EINTR, EAGAIN })
                    : FAULT(recv, fd, .errors = { ECONNRESET }, .hiccups = { EINTR, INJECT_SHORT });
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    return __real_recv(fd, buf, fault ? 1 : size, flags);
}

/* The first byte of what there is; of a message with descriptors, these too. */
static struct msghdr first_byte(const struct msghdr *msg, struct iovec *part)
{
    struct msghdr shorter = *msg;
    for (size_t i = 0; i < msg->msg_iovlen; i++) {
        if (!msg->msg_iov[i].iov_len)
            continue;
        *part = (struct iovec) { msg->msg_iov[i].iov_base, 1 };
        shorter.msg_iov = part;
        shorter.msg_iovlen = 1;
        break;
    }
    return shorter;
}

FRONT(ssize_t, recvmsg, int fd, struct msghdr *msg, int flags)
{
    int fault =
        FAULT(recvmsg, fd, .errors = { ECONNRESET, ENOMEM }, .hiccups = { INJECT_SHORT, EINTR });
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    if (!fault)
        return __real_recvmsg(fd, msg, flags);
    struct iovec part, *iov = msg->msg_iov;
    size_t count = msg->msg_iovlen;
    *msg = first_byte(msg, &part);
    ssize_t n = __real_recvmsg(fd, msg, flags);
    msg->msg_iov = iov;
    msg->msg_iovlen = count;
    return n;
}

FRONT(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
    int fault =
        FAULT(sendmsg, fd, .errors = { ECONNRESET, ENOBUFS }, .hiccups = { INJECT_SHORT, EINTR });
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    struct iovec part;
    struct msghdr shorter = first_byte(msg, &part);
    return __real_sendmsg(fd, fault ? &shorter : msg, flags);
}

/* ---- reading and writing ---- */

FRONT(ssize_t, read, int fd, void *buf, size_t size)
{
    int fault = FAULT(read, fd, .errors = { EIO }, .hiccups = { INJECT_SHORT, EINTR });
    if (fault == INJECT_SHORT && size == sizeof(uint64_t))
        fault = 0; /* an eventfd gives all or nothing */
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    return __real_read(fd, buf, fault && size ? 1 : size);
}

FRONT(ssize_t, readv, int fd, const struct iovec *iov, int count)
{
    int fault = FAULT(readv, fd, .errors = { ECONNRESET, EIO }, .hiccups = { INJECT_SHORT, EINTR });
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    struct iovec part;
    struct msghdr all = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count };
    struct msghdr shorter = first_byte(&all, &part);
    return fault ? __real_readv(fd, shorter.msg_iov, (int)shorter.msg_iovlen)
                 : __real_readv(fd, iov, count);
}

FRONT(ssize_t, write, int fd, const void *buf, size_t size)
{
    bool event = size == sizeof(uint64_t); /* to an eventfd with room for it: cannot fail */
    int fault =
        event ? 0 : FAULT(write, fd, .errors = { ENOSPC, EIO }, .hiccups = { INJECT_SHORT, EINTR });
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    return __real_write(fd, buf, fault && size ? 1 : size);
}

FRONT(ssize_t, writev, int fd, const struct iovec *iov, int count)
{
    int fault = FAULT(writev, fd, .errors = { ENOSPC, EIO }, .hiccups = { INJECT_SHORT, EINTR });
    if (fault && fault != INJECT_SHORT)
        FAIL(-1, fault);
    struct iovec part;
    struct msghdr all = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count };
    struct msghdr shorter = first_byte(&all, &part);
    return fault ? __real_writev(fd, shorter.msg_iov, (int)shorter.msg_iovlen)
                 : __real_writev(fd, iov, count);
}

FRONT(ssize_t, pread64, int fd, void *buf, size_t size, off64_t offset)
{
    int fault = FAULT(pread, fd, .errors = { EIO }, .hiccups = { EINTR });
    if (fault)
        FAIL(-1, fault);
    return __real_pread64(fd, buf, size, offset);
}

FRONT(off64_t, lseek64, int fd, off64_t offset, int whence)
{
    int fault = FAULT(lseek, fd, .errors = { EIO, EINVAL });
    if (fault)
        FAIL(-1, fault);
    return __real_lseek64(fd, offset, whence);
}

/* ---- files ---- */

FRONT(int, open64, const char *path, int flags, ...)
{
    int fault = FAULT(open, -1, .errors = { EMFILE, EACCES });
    if (fault)
        FAIL(-1, fault);
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return __real_open64(path, flags, mode);
}

FRONT(FILE *, fopen64, const char *path, const char *mode)
{
    int fault = FAULT(fopen, -1, .errors = { EMFILE, ENOMEM });
    if (fault)
        FAIL(NULL, fault);
    return __real_fopen64(path, mode);
}

FRONT(ssize_t, __getdelim, char **line, size_t *size, int delimiter, FILE *file)
{
    if (FAULT(getdelim, -1, .errors = { ENOMEM }))
        FAIL(-1, ENOMEM);
    bool had = *line;
    ssize_t n = __real___getdelim(line, size, delimiter, file);
    if (!had)
        owned(*line);
    return n;
}

/* Only a copy of a descriptor is something new. */
FRONT(int, fcntl64, int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long argument = va_arg(args, long);
    va_end(args);
    if (command == F_DUPFD_CLOEXEC && FAULT(fcntl, fd, .errors = { EMFILE }))
        FAIL(-1, EMFILE);
    return __real_fcntl64(fd, command, argument);
}

FRONT(int, fstat64, int fd, struct stat64 *ret)
{
    if (FAULT(fstat, fd, .errors = { ENOMEM }))
        FAIL(-1, ENOMEM);
    return __real_fstat64(fd, ret);
}

FRONT(int, stat64, const char *path, struct stat64 *ret)
{
    int fault = FAULT(stat, -1, .errors = { EACCES, ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_stat64(path, ret);
}

FRONT(int, lstat64, const char *path, struct stat64 *ret)
{
    int fault = FAULT(lstat, -1, .errors = { EACCES, ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_lstat64(path, ret);
}

FRONT(int, mkostemp64, char *name, int flags)
{
    int fault = FAULT(mkostemp, -1, .errors = { EMFILE, ENOSPC });
    if (fault)
        FAIL(-1, fault);
    return __real_mkostemp64(name, flags);
}

FRONT(int, fsync, int fd)
{
    int fault = FAULT(fsync, fd, .errors = { EIO, ENOSPC }, .hiccups = { EINTR });
    if (fault)
        FAIL(-1, fault);
    return __real_fsync(fd);
}

FRONT(int, flock, int fd, int operation)
{
    int fault = FAULT(flock, fd, .errors = { ENOLCK }, .hiccups = { EWOULDBLOCK });
    if (fault)
        FAIL(-1, fault);
    return __real_flock(fd, operation);
}

FRONT(int, rename, const char *from, const char *to)
{
    int fault = FAULT(rename, -1, .errors = { EACCES, ENOSPC });
    if (fault)
        FAIL(-1, fault);
    return __real_rename(from, to);
}

FRONT(char *, getcwd, char *buf, size_t size)
{
    if (FAULT(getcwd, -1, .errors = { ENOENT }))
        FAIL(NULL, ENOENT);
    return __real_getcwd(buf, size);
}

/* ---- processes and the rest ---- */

FRONT(int, pipe2, int ret[2], int flags)
{
    if (FAULT(pipe2, -1, .errors = { EMFILE }))
        FAIL(-1, EMFILE);
    return __real_pipe2(ret, flags);
}

FRONT(int, eventfd, unsigned start, int flags)
{
    int fault = FAULT(eventfd, -1, .errors = { EMFILE, ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_eventfd(start, flags);
}

FRONT(int, pidfd_open, pid_t pid, unsigned flags)
{
    int fault = FAULT(pidfd_open, -1, .errors = { EMFILE, ENOSYS });
    if (fault)
        FAIL(-1, fault);
    return __real_pidfd_open(pid, flags);
}

FRONT(pid_t, fork, void)
{
    int fault = FAULT(fork, -1, .errors = { EAGAIN, ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_fork();
}

FRONT(pid_t, waitpid, pid_t pid, int *ret, int options)
{
    if (FAULT(waitpid, -1, .hiccups = { EINTR }))
        FAIL(-1, EINTR);
    return __real_waitpid(pid, ret, options);
}

/* A range whose mapping is being changed is told EAGAIN; that passes. */
FRONT(int, ioctl, int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    int fault = request == UFFDIO_WRITEPROTECT
                    ? FAULT(ioctl, fd, .errors = { ENOMEM }, .hiccups = { EAGAIN })
                    : FAULT(ioctl, fd, .errors = { ENOMEM });
    if (fault)
        FAIL(-1, fault);
    return __real_ioctl(fd, request, argument);
}

FRONT(long, syscall, long number, ...)
{
    int fault = FAULT(userfaultfd, -1, .errors = { EPERM, EMFILE });
    if (fault)
        FAIL(-1, fault);
    va_list args;
    va_start(args, number);
    long argument = va_arg(args, long); /* userfaultfd's flags */
    va_end(args);
    return __real_syscall(number, argument);
}

FRONT(int, poll, struct pollfd *fds, nfds_t count, int timeout)
{
    int fault = FAULT(poll, count ? fds[0].fd : -1, .errors = { ENOMEM }, .hiccups = { EINTR });
    if (fault)
        FAIL(-1, fault);
    return __real_poll(fds, count, timeout);
}

FRONT(ssize_t, getrandom, void *buf, size_t size, unsigned flags)
{
    int fault = FAULT(getrandom, -1, .errors = { ENOSYS }, .hiccups = { EINTR });
    if (fault)
        FAIL(-1, fault);
    return __real_getrandom(buf, size, flags);
}

FRONT(int, nanosleep, const struct timespec *time, struct timespec *left)
{
    if (FAULT(nanosleep, -1, .hiccups = { EINTR }))
        FAIL(-1, EINTR);
    return __real_nanosleep(time, left);
}

FRONT(int, sigtimedwait, const sigset_t *set, siginfo_t *ret, const struct timespec *timeout)
{
    if (FAULT(sigtimedwait, -1, .hiccups = { EINTR }))
        FAIL(-1, EINTR);
    return __real_sigtimedwait(set, ret, timeout);
}
