/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user connection's socket: whole messages in and out of a stream, with file descriptors.
 *
 * Receiving is in two steps, so that the body lands where it belongs without a copy: the header
 * (checked, with its fds), then exactly its payload into the caller's buffers. The receiver never
 * allocates and trusts no length. One thread receives; any thread may send.
 *
 * No wait inside a message is for ever: a peer that stops in the middle, or that does not take what
 * is sent, ends with -ETIMEDOUT after stall_timeout_ms without progress. Waiting for the first byte
 * of a message has no limit; poll the fd first, or shut the socket down to end it.
 *
 * After any error of these functions other than one documented as harmless the stream is out of
 * step: close it.
 */
#ifndef LIB_VFIO_USER_SOCKET_H
#define LIB_VFIO_USER_SOCKET_H

#include <pthread.h>
#include <sys/uio.h>
#include "lib/vfio-user/message.h"

struct vuser_socket {
    int fd;                     /* -1: closed */
    uint64_t max_bytes;         /* largest message accepted, header included */
    pthread_mutex_t write_lock; /* around one message; taken inside, after any other lock */
};

/* Take over the connected socket @take_fd. stall_timeout_ms 0: never give up. */
int vuser_socket_init(struct vuser_socket *socket, int take_fd, uint64_t max_bytes,
                      unsigned stall_timeout_ms);
/* Close. An all-zero or never opened one with fd -1 is fine. */
void vuser_socket_done(struct vuser_socket *socket);
/* Let go without closing: the fd is the caller's, connected still; -1 when there is none. */
int vuser_socket_release(struct vuser_socket *socket);
/* Wake everybody: they see end of stream. Any thread. */
void vuser_socket_shutdown(struct vuser_socket *socket);

/* File descriptors that came with a message; the receiver owns them until it takes them. */
struct vuser_fds {
    unsigned count;
    int fds[VUSER_FDS_MAX];
};
void vuser_fds_close(struct vuser_fds *fds);
/* Close all but the first @allowed. */
void vuser_fds_trim(struct vuser_fds *fds, unsigned allowed);
/* Move out number @index; -1 if there is none. */
int vuser_fds_take(struct vuser_fds *fds, unsigned index);

/* Wait for a message and read its header. 1: there is one, size and type checked; 0: the peer
 * closed between two messages; -EPROTO with a message (size, type, end inside the header, truncated
 * or too many fds), -ETIMEDOUT, or the socket's errno. @fds is filled, close-on-exec; empty after
 * 0 or an error. */
int vuser_socket_recv_header(struct vuser_socket *socket, struct vuser_header *ret,
                             struct vuser_fds *fds, struct vmig_error *err);
/* Read exactly what @iov describes (it is changed) of the payload: call it as often as needed until
 * vuser_payload_bytes() are read. -EPROTO when the peer closed before. */
int vuser_socket_recv_iov(struct vuser_socket *socket, struct iovec *iov, unsigned count,
                          struct vmig_error *err);
int vuser_socket_recv(struct vuser_socket *socket, void *buf, size_t length_bytes,
                      struct vmig_error *err);
/* Read @length_bytes and drop them. */
int vuser_socket_skip(struct vuser_socket *socket, uint64_t length_bytes, struct vmig_error *err);

/* Send one message: @header, then the payload described by @iov (at most VUSER_IOV_MAX parts,
 * not changed, header->size_bytes must agree), with @num_fds borrowed fds. One sendmsg unless the
 * socket takes less. -ETIMEDOUT, -EPIPE and so on; -EMSGSIZE (harmless, nothing sent): sizes
 * do not agree, too many parts or fds. */
#define VUSER_IOV_MAX 32
int vuser_socket_send(struct vuser_socket *socket, const struct vuser_header *header,
                      const struct iovec *iov, unsigned count, const int *fds, unsigned num_fds);
/* Shorthands: one buffer; an Error reply. */
int vuser_socket_send_buf(struct vuser_socket *socket, const struct vuser_header *header,
                          const void *payload, size_t length_bytes);
int vuser_socket_send_error(struct vuser_socket *socket, const struct vuser_header *command,
                            int code);

#endif
