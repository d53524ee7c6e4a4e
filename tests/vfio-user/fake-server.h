/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server for tests: small, honest unless told otherwise. It serves one client on one
 * end of a socketpair, in a thread of its own. A test puts a hook before it, which sees each
 * message first and may answer what it likes.
 */
#ifndef TESTS_VFIO_USER_FAKE_SERVER_H
#define TESTS_VFIO_USER_FAKE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include "lib/device/backend.h"
#include "lib/vfio-user/socket.h"

#define FAKE_REGION_BYTES 0x3000 /* region 1: read, write, mmap of the first and the third page */
#define FAKE_DATA_MAX (8u << 20)
#define FAKE_MAPS_MAX 8

struct fake;
/* true: answered (or deliberately not), false: the honest server goes on. */
typedef bool fake_hook(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                       size_t length, const struct vuser_fds *fds);

struct fake {
    /* Set by the test before fake_start(). */
    struct vuser_capabilities caps; /* what VERSION is answered with */
    fake_hook *hook;
    void *arg;            /* the hook's */
    uint64_t flags;       /* migration; 0: not supported */
    size_t save_bytes;    /* the state is byte i = fake_byte(i) */
    size_t precopy_bytes; /* so much of it is there in PRE_COPY already, initial */
    size_t reply_bytes;   /* at most so many in one reply; 0: as many as asked */
    bool padded;          /* replies as long as asked, filled with zeros */
    bool logging;         /* has DMA logging */
    bool ignore_replies;  /* to commands of its own that nobody waits for */

    int client_fd; /* the test's end, given to the client */
    struct vuser_socket main, twin;
    int twin_client_fd; /* until VERSION has sent it */
    pthread_t thread;
    uint8_t *message;

    /* What the server saw; the test looks after fake_stop(), or at atomics. */
    atomic_uint counts[VUSER_COMMAND_END];
    atomic_uint state;
    atomic_size_t sent_bytes, loaded_bytes;
    atomic_bool load_wrong; /* loaded bytes that were not fake_byte() */
    atomic_uint largest_write;
    struct vuser_dma_map maps[FAKE_MAPS_MAX];
    int map_fds[FAKE_MAPS_MAX];
    atomic_uint num_maps;
    uint8_t region[FAKE_REGION_BYTES];
    int region_fd; /* shared memory behind the region */
    unsigned irq_start[64], irq_count[64], irq_fds[64];
    atomic_uint num_irq_messages;
};

uint8_t fake_byte(size_t i);

/* Honest defaults: all extensions, 1 MiB transfers, STOP_COPY, P2P and PRE_COPY. */
void fake_init(struct fake *f);
void fake_start(struct fake *f);
/* The client has gone or is to be cut off: join and free. */
void fake_stop(struct fake *f);

/* For hooks. */
void fake_reply(struct fake *f, const struct vuser_header *h, const void *payload, size_t length);
void fake_error(struct fake *f, const struct vuser_header *h, int code);
void fake_raw(struct fake *f, const void *bytes, size_t length);
/* Send a header as it is, with @length bytes of zeros behind it. */
void fake_header(struct fake *f, struct vuser_header h, size_t length);
/* Close the connection. */
void fake_vanish(struct fake *f);
/* One DMA command and its reply: data in @buf; the reply's code. On the twin if there is one. */
int fake_dma(struct fake *f, uint16_t command, uint64_t iova, void *buf, uint64_t count);

/* ---- the client's end ---- */

extern const struct backend_options fake_options; /* generous timeouts */
extern const struct backend_options fake_hasty;   /* 200 ms */

/* Open @f's end; must succeed. */
void *fake_open(struct fake *f, const struct backend_options *options);
/* Must fail exactly so, with @text in the message. */
void fake_open_err(struct fake *f, const struct backend_options *options, int code,
                   const char *text);
/* Close the client, then the server. */
void fake_close(struct fake *f, void *self);

#endif
