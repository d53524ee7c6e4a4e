/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user client, for its own files ("vuc"). One device is one connection; three parts lie on
 * top of each other:
 *
 *   backend-vfio-user-conn.c    requests out, replies in, the server's own commands
 *   backend-vfio-user-dma.c     the memory the server may reach, and what it wrote there
 *   backend-vfio-user-data.c    the data stream: requests pipelined both ways
 *   backend-vfio-user-open.c    connecting, VERSION, what the server can do
 *   backend-vfio-user-hand-on.c a connection goes to another process, or comes from one
 *   backend-vfio-user.c         the rest of the operations, one command each
 *
 * Threads
 *   receiver    alone reads the sockets; fills a waiting request's buffers in place and the
 *               memory of a DMA_WRITE; never sends, so that two full sockets cannot lock up
 *   responder   alone answers the server's commands, in order; reads memory for DMA_READ
 *   callers     send requests and wait for them
 *
 * Lock order: stream.lock, conn.lock, dma.lock, a socket's write lock. stream.lock is held over
 * waits for replies; the others are not.
 */
#ifndef LIB_DEVICE_BACKEND_VFIO_USER_H
#define LIB_DEVICE_BACKEND_VFIO_USER_H

#include <pthread.h>
#include <stdatomic.h>
#include "lib/device/backend.h"
#include "lib/vfio-user/socket.h"

#define VUC_DATA_XFER_BYTES VUSER_DATA_XFER_DEFAULT /* what we announce; larger gains nothing */
#define VUC_REPLY_SLACK_BYTES                                                                      \
    64 /* servers repeat a command's structure where none is specified                             \
        */

/* ---- requests ---- */

enum vuc_request_state {
    VUC_IDLE,     /* nobody's; also after a wait that timed out */
    VUC_WAITING,  /* sent or about to be; the owner may still change data and data_bytes */
    VUC_ARRIVING, /* the receiver is filling the buffers: they must stay */
    VUC_DONE,
};

/* One command and where its reply goes. The owner keeps it and its buffers alive until the request
 * is DONE or IDLE. */
struct vuc_request {
    /* Set by the owner before vuc_start(). */
    uint16_t command;
    void *fixed; /* first part of the reply's payload */
    size_t fixed_bytes;
    void *data; /* what follows */
    size_t data_bytes;
    size_t slack_bytes;    /* so much more is tolerated and dropped; 0: VUC_REPLY_SLACK_BYTES */
    struct vuser_fds *fds; /* NULL: close what comes */

    /* The connection's, under conn.lock; the owner's again when DONE. */
    struct vuc_request *next;
    uint16_t id;
    enum vuc_request_state state;
    bool waited;      /* somebody sleeps for it */
    int result;       /* 0 or negative errno */
    bool errno_zero;  /* an Error reply whose number was 0: a server that knows no such command */
    size_t got_bytes; /* payload that came, dropped bytes included */
};

/* ---- memory the server may reach ---- */

#define VUC_PAGE 4096u

struct vuc_mapping {
    struct vmig_dma_map map;
    _Atomic uint64_t *dirty; /* one bit per VUC_PAGE, set by the receiver, taken by reports */
};

struct vuc_dma {
    pthread_rwlock_t lock; /* writers first; guards the array, and the memory against unmapping */
    struct vuc_mapping *mappings; /* sorted by iova */
    unsigned count;
};

int vuc_dma_init(struct vuc_dma *dma);
void vuc_dma_done(struct vuc_dma *dma);
int vuc_dma_add(struct vuc_dma *dma, const struct vmig_dma_map *map);
/* -ENOENT when there is no exactly such mapping. */
int vuc_dma_remove(struct vuc_dma *dma, uint64_t iova, uint64_t size);
/* The mapping that [iova, iova + size) lies in. */
bool vuc_dma_find(struct vuc_dma *dma, uint64_t iova, uint64_t size, struct vmig_dma_map *ret);
/* Describe [iova, iova + size) as parts of our memory in @iov, with dma->lock held. Number of
 * parts, or -EFAULT not mapped, -EPERM not writable, -E2BIG more than @max parts. */
int vuc_dma_iov(struct vuc_dma *dma, uint64_t iova, uint64_t size, bool write, struct iovec *iov,
                unsigned max);
/* The server wrote there; with dma->lock held. */
void vuc_dma_mark(struct vuc_dma *dma, uint64_t iova, uint64_t size);
/* Merge a device's bitmap of the mapping at @iova; -ENOENT when that is gone. */
int vuc_dma_merge(struct vuc_dma *dma, uint64_t iova, uint64_t size, uint64_t pgsize,
                  const uint64_t *bitmap);
/* Move the marks of [iova, iova + size) into @bitmap, one bit per @pgsize. */
int vuc_dma_take(struct vuc_dma *dma, uint64_t iova, uint64_t size, uint64_t pgsize,
                 uint64_t *bitmap);

/* ---- the connection ---- */

#define VUC_ABANDONED_MAX 64 /* replies still owed to requests that timed out */
#define VUC_ANSWERS_MAX 64   /* the server's commands not answered yet */

struct vuc_answer {
    struct vuser_socket *socket;
    struct vuser_header command;
    struct vuser_dma_access access;
    int code; /* negative: an Error reply */
};

struct vuc_conn {
    struct vuser_socket main, twin; /* twin.fd -1: none */
    struct vuser_capabilities peer;
    unsigned extensions; /* announced by both */
    struct vuc_dma *dma;
    pthread_t receiver, responder;
    int wake_fd;      /* an eventfd: the receiver is to stop between two messages */
    bool established; /* VERSION was exchanged by somebody before us */
    bool receiver_runs, responder_runs; /* the opener's and closer's */

    pthread_mutex_t lock;   /* guards what follows, and each request's state */
    pthread_cond_t done;    /* a request is DONE, or the handshake is over */
    pthread_cond_t work;    /* the responder has something to do */
    pthread_cond_t room;    /* the queue of answers has room again */
    bool leaving;           /* the responder is to stop when all answers are given */
    bool ready;             /* VERSION is settled: twin may be read */
    struct vmig_error dead; /* code 0: alive */
    uint16_t next_id;
    struct vuc_request *first, **last; /* outstanding, oldest first */
    struct {
        uint16_t id, command;
    } abandoned[VUC_ABANDONED_MAX];
    unsigned num_abandoned;
    struct vuc_answer answers[VUC_ANSWERS_MAX]; /* a ring */
    unsigned answers_at, num_answers;
};

/* Take over @take_fd and start the threads. On failure it is closed. @established: no reply to
 * VERSION will come. */
int vuc_conn_start(struct vuc_conn *conn, int take_fd, struct vuc_dma *dma, bool established,
                   unsigned stall_timeout_ms, struct vmig_error *err);
/* VERSION is settled: the receiver goes on, with @take_twin_fd if that is not -1. */
int vuc_conn_ready(struct vuc_conn *conn, int take_twin_fd, unsigned stall_timeout_ms,
                   struct vmig_error *err);
/* Close and join. A zeroed one is fine. */
void vuc_conn_stop(struct vuc_conn *conn);
/* Stop the threads between two messages, all answers given, and let go of the sockets, which stay
 * open and connected. -EBUSY, nothing changed: replies are owed to us. */
int vuc_conn_release(struct vuc_conn *conn, int *ret_fd, int *ret_twin_fd, struct vmig_error *err);
/* The connection cannot be used any more: everybody who waits fails with @code and the text. The
 * first reason stays. */
void vuc_conn_kill(struct vuc_conn *conn, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Send @request's command with payload @iov. 0: it is WAITING or further, vuc_wait() must follow;
 * else it failed and is IDLE. */
int vuc_start(struct vuc_conn *conn, struct vuc_request *request, const struct iovec *iov,
              unsigned count, const int *fds, unsigned num_fds, struct vmig_error *err);
/* Wait for the reply. Its result, or -ETIMEDOUT: then the request is IDLE and a late reply is
 * dropped, or, when the reply had begun to arrive, the connection is dead. */
int vuc_wait(struct vuc_conn *conn, struct vuc_request *request, unsigned timeout_ms,
             struct vmig_error *err);
/* Is it DONE, so that vuc_wait() would return at once? */
bool vuc_is_done(struct vuc_conn *conn, struct vuc_request *request);
/* Let the reply's data go to @data instead, unless it arrives already: then false. */
bool vuc_retarget(struct vuc_conn *conn, struct vuc_request *request, void *data);
/* Both, with one buffer. */
int vuc_call(struct vuc_conn *conn, struct vuc_request *request, const void *payload, size_t length,
             unsigned timeout_ms, struct vmig_error *err);

/* ---- the data stream ---- */

#define VUC_READS_MAX 16  /* requests in flight, and buffers of at most 1 MiB */
#define VUC_WRITES_MAX 64 /* 2 MiB in small writes: more than a socket holds */

struct vuc_slot {
    struct vuc_request request;
    uint8_t head[vuser_mig_data_BYTES];
    uint8_t *buf; /* allocated when first needed, chunk_bytes */
    size_t wanted_bytes;
    size_t at_bytes, have_bytes; /* what is left for the reader, when collected */
    bool collected;              /* its reply was looked at */
};

struct vuc_write {
    struct vuc_request request;
    uint8_t reply[vuser_mig_data_BYTES];
};

struct vuc_stream {
    pthread_mutex_t lock;
    atomic_int state; /* enum vmig_state: where the device was last seen; changes under lock */
    size_t chunk_bytes, write_bytes;

    /* Reading: slots[(first + i) % VUC_READS_MAX] for i < count are asked for, oldest first. */
    struct vuc_slot slots[VUC_READS_MAX];
    unsigned first, count;
    unsigned window; /* how many to keep in flight */
    bool padded;     /* the server fills replies up with zeros: many empty ones are expensive */
    uint64_t fetched_bytes, consumed_bytes; /* of this stream */
    uint64_t initial_end_bytes; /* fetched when initial_bytes was last seen above 0 or reached 0 */
    bool initial_over;
    struct vmig_error read_error; /* bytes were lost: stays until the stream ends */

    /* Writing: the same kind of ring. */
    struct vuc_write writes[VUC_WRITES_MAX];
    unsigned first_write, num_writes;
    struct vmig_error write_error; /* the first; stays until the stream ends */
};

/* ---- one device ---- */

#define VUC_REGIONS_MAX 256
#define VUC_IRQS_MAX 64

struct vuc_region {
    struct vuser_region region;
    struct vuser_fds fds; /* count 0: nothing to map */
    void *maps[VUSER_AREAS_MAX];
};

/* Memory that the server was told to reach. */
struct vuc_window {
    uint64_t iova, size_bytes;
    bool writable;
    bool by_message; /* no file went along */
    bool ours;       /* in vuc.dma; else mapped before the device was handed on to us */
    uint64_t dev, ino, fd_offset; /* the file */
};

struct vuc {
    char *address;
    struct backend_options options;
    struct vuc_conn conn;
    struct vuc_dma dma;
    struct vuc_stream stream;
    struct vuc_window *windows; /* control calls only */
    unsigned num_windows;
    bool no_features;            /* asking DEVICE_FEATURE broke the connection before */
    atomic_bool logging;         /* START succeeded */
    _Atomic uint64_t log_pgsize; /* as START chose */
    atomic_bool logs_whole;      /* the server reports nothing smaller than a mapping */
    struct vmig_migration_info migration;
    struct vuser_device_info info; /* num_regions 0: not asked yet */
    struct vuc_region **regions;   /* [info.num_regions], NULL: not asked yet */
};

static inline unsigned vuc_command_timeout(const struct vuc *v)
{
    return v->options.command_timeout_ms;
}

/* DEVICE_FEATURE: GET, SET or PROBE of @feature (flags VUSER_FEATURE_*). @out_bytes of the reply's
 * data are required; more come along to @more when that is given and must be exactly that many. */
struct vuc_feature {
    uint32_t flags; /* with the number */
    const void *in;
    size_t in_bytes;
    void *out;
    size_t out_bytes;
    void *more;
    size_t more_bytes;
    unsigned timeout_ms; /* 0: the command timeout */
    bool errno_zero;     /* out */
};
int vuc_feature(struct vuc *v, struct vuc_feature *f, struct vmig_error *err);

/* backend-vfio-user-open.c */
bool vuc_matches(const char *address);
int vuc_open(const char *address, const struct backend_options *options, void **ret,
             struct vmig_error *err);
void vuc_close(void *self);

/* backend-vfio-user-hand-on.c */
struct vuc_established {
    struct vuser_capabilities peer;
    int twin_fd; /* -1: none */
    bool no_features;
};
/* What follows "vfio-user:fd:N," in an address; adds windows that are not ours. */
int vuc_established_parse(struct vuc *v, const char *parts, struct vuc_established *ret,
                          struct vmig_error *err);
int vuc_window_describe(const struct vmig_dma_map *map, bool with_fd, struct vuc_window *ret);
int vuc_window_add(struct vuc *v, const struct vuc_window *window);
struct vuc_window *vuc_window_find(struct vuc *v, uint64_t iova, uint64_t size);
void vuc_window_remove(struct vuc *v, uint64_t iova, uint64_t size, bool ours);
/* 1: the server has @wanted since before the device was handed on, now it is ours; 0: nothing is
 * there; -EEXIST: something else is. */
int vuc_window_take_over(struct vuc *v, const struct vuc_window *wanted, struct vmig_error *err);
int vuc_hand_on(void *self, char *ret, size_t size, struct vmig_error *err);
bool vuc_inherits(void *self, uint64_t iova, uint64_t size);

/* backend-vfio-user-data.c */
int vuc_stream_init(struct vuc_stream *s);
void vuc_stream_done(struct vuc_stream *s);
/* How long messages may be, after VERSION. */
void vuc_stream_limits(struct vuc_stream *s, const struct vuc_conn *conn);
/* The device was seen in @state: streams that cannot exist there are dropped. */
void vuc_stream_saw(struct vuc *v, enum vmig_state state);
/* Around a state change: collect what is under way; -EIO when written data was refused. Returns
 * with stream.lock held in every case, vuc_stream_leave() releases it. */
int vuc_stream_enter(struct vuc *v, struct vmig_error *err);
/* @state: where the device is now, or -1 when that is unknown. */
void vuc_stream_leave(struct vuc *v, int state);
ssize_t vuc_data_read(void *self, void *buf, size_t size, struct vmig_error *err);
int vuc_data_write(void *self, const void *buf, size_t length, struct vmig_error *err);
int vuc_data_flush(void *self, struct vmig_error *err);
int vuc_data_size(void *self, uint64_t *ret, struct vmig_error *err);
int vuc_enable_reinit(void *self, struct vmig_error *err);
int vuc_precopy_info(void *self, struct vmig_precopy_info *ret, struct vmig_error *err);

#endif
