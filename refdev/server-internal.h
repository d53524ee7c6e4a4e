/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the server's files share. Everything belongs to the thread that runs the server, except
 * stop_fd and plan.
 *
 *   server.c            life, the poll loop, refusing second clients
 *   server-client.c     one client: VERSION, dispatch, what is left behind when it goes
 *   server-device.c     info, regions, interrupts, reset
 *   server-dma.c        DMA windows; reads and writes by file, mapping or message
 *   server-migration.c  features, state data
 *   server-fault.c      the fault plan
 */
#ifndef REFDEV_SERVER_INTERNAL_H
#define REFDEV_SERVER_INTERNAL_H

#include <pthread.h>

#include "lib/vfio-user/socket.h"
#include "refdev/server.h"

#define SERVER_STALL_MS 5000u /* a peer that makes no progress for so long is dropped */
#define SERVER_DATA_MAX REFDEV_DATA_MAX
#define SERVER_MESSAGE_MAX (SERVER_DATA_MAX + 4096u) /* headers and fixed parts around the data */
#define SERVER_FDS_MAX 16                            /* announced; more are taken */
#define SERVER_WINDOWS_MAX 65535u                    /* as announced; the protocol's default */
#define SERVER_QUEUE_MAX 1024u /* commands that wait while a DMA reply is awaited */
#define SERVER_QUEUE_BYTES_MAX (16u << 20)
#define SERVER_BITMAP_MAX (32u << 20) /* of one report: 1 TiB in 4 KiB pages */
#define SERVER_INTRUDERS_MAX 8

enum window_access {
    WINDOW_MESSAGES, /* no fd: the client does it for us */
    WINDOW_FILE,     /* pread and pwrite: a file that shrinks under us is an error, not a SIGBUS */
    WINDOW_MAPPED,   /* what cannot be read and written as a file (hugetlbfs, devices) */
};

struct window {
    uint64_t iova, size_bytes;
    uint32_t flags; /* VUSER_DMA_READABLE, _WRITABLE */
    enum window_access access;
    int fd;
    uint64_t fd_offset;
    uint8_t *mapped;
};

struct irq {
    int eventfd; /* -1: nobody listens */
    bool masked, pending;
};

/* A command with its payload in memory. MIG_DATA_WRITE is the exception: fresh from the socket its
 * data is still there (@unread_bytes), to be put where it belongs. */
struct request {
    struct request *next; /* in the queue */
    struct vuser_header header;
    struct vuser_fds fds;
    const uint8_t *payload;
    uint32_t payload_bytes; /* in memory */
    uint32_t unread_bytes;
};

/* A further client, until it has said VERSION and can be told EBUSY. */
struct intruder {
    int fd;
    unsigned have;
    uint8_t header[vuser_header_BYTES];
};

/* The fault plan that other threads set. */
struct server_plan {
    pthread_mutex_t lock; /* of everything here but wake_fd; nothing else is locked under it */
    pthread_cond_t fired_changed;
    int wake_fd; /* readable: replaced */
    struct refdev_fault faults[REFDEV_FAULTS_MAX];
    unsigned count;
    bool replaced; /* and not yet adopted by the model */
    unsigned fired;
};

struct refdev_server {
    struct refdev_config config;
    struct refdev_model *model;
    void *local, *shared;
    uint64_t local_bytes;
    int shared_fd; /* the memory of the mappable BAR */
    int stop_fd;
    int listen_fd;
    struct server_plan plan;
    bool vanished; /* there is no device any more */
    struct intruder intruders[SERVER_INTRUDERS_MAX];

    /* the client */
    struct vuser_socket socket, twin; /* fd -1: none */
    bool negotiated, broken;          /* broken: drop it as soon as possible */
    bool silent;                      /* it gets no more answers */
    bool info_was_read;
    struct vuser_capabilities peer;
    uint16_t next_id;
    struct request *queue_head, **queue_tail;
    unsigned queue_count;
    uint64_t queue_bytes;
    struct irq irqs[REFDEV_NUM_IRQS][REFDEV_MSIX_VECTORS];
    struct window *windows; /* by address */
    unsigned window_count, window_room;

    uint8_t in[SERVER_MESSAGE_MAX], out[SERVER_MESSAGE_MAX];
};

void refdev_server_log(struct refdev_server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* server-client.c */
int refdev_client_begin(struct refdev_server *server, int take_fd);
void refdev_client_end(struct refdev_server *server);
static inline bool refdev_client_is_here(const struct refdev_server *server)
{
    return server->socket.fd >= 0;
}
/* Receive one message and act on it. */
void refdev_client_receive(struct refdev_server *server);
/* Commands that came while a DMA reply was awaited. */
void refdev_client_run_queue(struct refdev_server *server);
/* Keep a command for later; takes its fds and reads its payload. */
void refdev_client_queue(struct refdev_server *server, const struct vuser_header *header,
                         struct vuser_fds *fds);
/* Answer @request, unless it asked for none. */
void refdev_client_reply(struct refdev_server *server, const struct request *request,
                         const void *payload, size_t length_bytes);
void refdev_client_reply_iov(struct refdev_server *server, const struct request *request,
                             const struct iovec *iov, unsigned count, const int *fds,
                             unsigned num_fds);

/* Handlers: 0 after having replied, or a negative errno, which is then the reply. */
int refdev_handle_get_info(struct refdev_server *server, struct request *request);
int refdev_handle_region_info(struct refdev_server *server, struct request *request);
int refdev_handle_region_io_fds(struct refdev_server *server, struct request *request);
int refdev_handle_irq_info(struct refdev_server *server, struct request *request);
int refdev_handle_set_irqs(struct refdev_server *server, struct request *request);
int refdev_handle_region_read(struct refdev_server *server, struct request *request);
int refdev_handle_region_write(struct refdev_server *server, struct request *request);
int refdev_handle_write_multi(struct refdev_server *server, struct request *request);
int refdev_handle_reset(struct refdev_server *server, struct request *request);
int refdev_handle_dma_map(struct refdev_server *server, struct request *request);
int refdev_handle_dma_unmap(struct refdev_server *server, struct request *request);
int refdev_handle_feature(struct refdev_server *server, struct request *request);
int refdev_handle_data_read(struct refdev_server *server, struct request *request);
int refdev_handle_data_write(struct refdev_server *server, struct request *request);
int refdev_handle_precopy_info(struct refdev_server *server, struct request *request);

/* server-device.c: what the model calls, and what happens when the client goes */
bool refdev_server_interrupt(void *door, unsigned index, unsigned vector);
void refdev_irqs_drop(struct refdev_server *server);

/* server-dma.c */
int refdev_server_dma_read(void *door, uint64_t iova, void *buf, uint64_t length_bytes);
int refdev_server_dma_write(void *door, uint64_t iova, const void *buf, uint64_t length_bytes);
void refdev_windows_drop(struct refdev_server *server);

/* server-fault.c */
int refdev_plan_init(struct refdev_server *server);
void refdev_plan_done(struct refdev_server *server);
void refdev_plan_adopt(struct refdev_server *server);
/* @request is about to be executed: 0, or the errno to answer instead. */
int refdev_plan_command(struct refdev_server *server, const struct request *request);
void refdev_server_faulted(void *door, const struct refdev_fault *fault);
int refdev_server_hang(void *door);
void refdev_server_vanish(void *door);

#endif
