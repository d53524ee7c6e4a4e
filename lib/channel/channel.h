/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordered byte pipes: tcp, unix, fd, file, exec; opened by address. */
#ifndef LIB_CHANNEL_CHANNEL_H
#define LIB_CHANNEL_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <vfio-migrate/error.h>

enum address_kind {
    ADDRESS_TCP,
    ADDRESS_UNIX,
    ADDRESS_FD,
    ADDRESS_FILE,
    ADDRESS_EXEC,
};

struct address {
    enum address_kind kind;
    char host[256];  /* tcp */
    char port[32];   /* tcp; digits or a service name; 0 to listen anywhere */
    char path[4096]; /* unix, file: path; exec: command */
    int fd;          /* fd */
};

/* -EINVAL with the forms that are understood. tcp:[::1]:4444 is an IPv6 address. */
int address_parse(const char *text, struct address *ret, struct vmig_error *err);

/* A one-way address carries bytes from source to target only: file and exec always, fd when it is
 * neither a socket. */
struct channel {
    int fd; /* -1 when closed */
    bool one_way;
    bool socket;
    int child;     /* exec: its pid, or -1 */
    int cancel_fd; /* borrowed: ends waits on pipes, which cannot be shut down; or -1 */
    bool nonblocking;
    bool low_water;   /* a long read sleeps until there is much */
    bool torn;        /* a write was given up in the middle: what follows would make no sense */
    char *final_path; /* file, writing: rename to this at channel_commit() */
    char *temporary_path;
};

struct channel *channel_free(struct channel *channel); /* closes; an uncommitted file is removed */

/* Connect, or open for writing. @cancel_fd: readable when the wait must end (-ECANCELED), or -1. */
int channel_connect(const struct address *address, int cancel_fd, struct channel **ret,
                    struct vmig_error *err);
/* Listen: an fd for channel_accept(); *ret_name is the address with the real port (malloc'd).
 * Only tcp and unix. *ret_public: reachable from beyond this host. */
int channel_listen(const struct address *address, int cancel_fd, int *ret_fd, char **ret_name,
                   bool *ret_public, struct vmig_error *err);
int channel_accept(int listen_fd, int cancel_fd, struct channel **ret, struct vmig_error *err);
/* fd, file, exec for reading. */
int channel_open_read(const struct address *address, int cancel_fd, struct channel **ret,
                      struct vmig_error *err);
/* A connected socket or pipe end, taken over; closed on failure. 0, -ENOMEM, or why it cannot be
 * told which of the two it is. */
int channel_from_fd(int take_fd, struct channel **ret);

/* All of it, looping; MSG_NOSIGNAL. 0 or negative errno. */
int channel_write(struct channel *channel, const void *buf, size_t length_bytes);
/* @iov is changed. */
int channel_writev(struct channel *channel, struct iovec *iov, unsigned count);
/* To a peer that may not read: -ECANCELED when @end_fd (or -1) is readable before all is written,
 * -ETIMEDOUT at @deadline_ns (UINT64_MAX: none). After a failure nothing can be written any more
 * (-EPIPE). @iov is changed. */
int channel_writev_unless(struct channel *channel, struct iovec *iov, unsigned count, int end_fd,
                          uint64_t deadline_ns);
/* Count > 0, 0 at the end, negative errno. */
ssize_t channel_read(struct channel *channel, void *buf, size_t size);
int channel_readv_full(struct channel *channel, struct iovec *iov, unsigned count);
/* All of it from a socket; -ECANCELED and -ETIMEDOUT as above. */
int channel_read_unless(struct channel *channel, void *buf, size_t length_bytes, int end_fd,
                        uint64_t deadline_ns);

/* One-way: make it durable (fsync of a file, which no cancel can end; wait for the command's success),
 * then give it its name. */
int channel_make_durable(struct channel *channel, struct vmig_error *err);
int channel_commit(struct channel *channel, struct vmig_error *err);
/* Wake everybody blocked on a socket; they see end of stream or an error. Any thread. Waits on a
 * pipe end by its cancel_fd (-ECANCELED). */
void channel_shutdown(struct channel *channel);

#endif
