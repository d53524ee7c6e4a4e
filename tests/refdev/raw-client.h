/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user client made of bytes, and a server in a thread. Numbers and offsets are written out
 * here as the specification has them: nothing is shared with the server's own code.
 */
#ifndef TESTS_REFDEV_RAW_CLIENT_H
#define TESTS_REFDEV_RAW_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "refdev/pattern.h"
#include "refdev/server.h"

enum {
    CMD_VERSION = 1,
    CMD_DMA_MAP,
    CMD_DMA_UNMAP,
    CMD_GET_INFO,
    CMD_REGION_INFO,
    CMD_IO_FDS,
    CMD_IRQ_INFO,
    CMD_SET_IRQS,
    CMD_REGION_READ,
    CMD_REGION_WRITE,
    CMD_DMA_READ,
    CMD_DMA_WRITE,
    CMD_RESET,
    CMD_WRITE_MULTI = 15,
    CMD_FEATURE,
    CMD_DATA_READ,
    CMD_DATA_WRITE,
    CMD_PRECOPY_INFO,
};

#define REPLY_MAX ((1u << 20) + 64)
#define GET 0x10000u
#define SET 0x20000u
#define PROBE 0x40000u

struct wire_header {
    uint16_t id, command;
    uint32_t size, flags, error;
};

struct fixture {
    struct refdev_server *server;
    pthread_t thread;
    int listen_fd;
    char path[64];
    int fd; /* the first client */
    uint16_t next_id;
    uint8_t reply[REPLY_MAX];
    uint32_t reply_bytes;
    int reply_fds[4];
    unsigned reply_fd_count;
};

static inline void *server_thread(void *arg)
{
    struct fixture *f = arg;
    int rc = refdev_server_run(f->server, f->listen_fd);
    return (void *)(intptr_t)rc;
}

static inline struct fixture *server_start(const struct refdev_config *config)
{
    static unsigned counter;
    struct fixture *f = calloc(1, sizeof(*f));
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct vmig_error err = { 0 };
    if (refdev_server_new(config, &f->server, &err))
        fail_msg("%s", err.text);
    /* An abstract address: nothing to remove. */
    snprintf(address.sun_path + 1, 60, "refdev-test-%d-%u", (int)getpid(), counter++);
    memcpy(f->path, address.sun_path, sizeof(f->path));
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(f->listen_fd, 8), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, server_thread, f), 0);
    f->fd = -1;
    return f;
}

static inline int connect_client(struct fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = 60 };
    memcpy(address.sun_path, f->path, sizeof(f->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static inline void server_end(struct fixture *f)
{
    void *rc;
    refdev_server_stop(f->server);
    assert_int_equal(pthread_join(f->thread, &rc), 0);
    assert_ptr_equal(rc, NULL);
    if (f->fd >= 0)
        close(f->fd);
    close(f->listen_fd);
    refdev_server_free(f->server);
    free(f);
}

/* ---- messages ---- */

static inline bool try_send_raw(int fd, const void *buf, size_t length)
{
    return send(fd, buf, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static inline void send_command(int fd, uint16_t id, uint16_t command, uint32_t flags,
                                const void *payload, uint32_t length, const int *fds,
                                unsigned num_fds)
{
    struct wire_header header = { id, command, 16 + length, flags, 0 };
    struct iovec iov[2] = { { &header, 16 }, { (void *)(uintptr_t)payload, length } };
    union {
        char buf[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control = { { 0 } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = length ? 2 : 1 };
    if (num_fds) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
    }
    size_t total = 16 + length;
    while (total) {
        ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        assert_true(n > 0);
        total -= (size_t)n;
        for (unsigned i = 0; i < 2 && n; i++) {
            size_t take = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;
            iov[i].iov_base = (char *)iov[i].iov_base + take;
            iov[i].iov_len -= take;
            n -= (ssize_t)take;
        }
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    }
}

/* False at the end of the stream. */
static inline bool read_all(int fd, void *buf, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = recv(fd, (char *)buf + done, length - done, 0);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* The next message into f->reply, with its fds. */
static inline bool receive(struct fixture *f, int fd, struct wire_header *header)
{
    union {
        char buf[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { header, sizeof(*header) };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    f->reply_fd_count = 0;
    if (recvmsg(fd, &msg, MSG_WAITALL) != 16)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        f->reply_fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(f->reply_fds, CMSG_DATA(c), f->reply_fd_count * sizeof(int));
    }
    f->reply_bytes = header->size - 16;
    assert_true(f->reply_bytes <= REPLY_MAX);
    return read_all(fd, f->reply, f->reply_bytes);
}

/* A command and its reply. 0, or the errno of the Error reply. */
static inline unsigned call_fds(struct fixture *f, uint16_t command, const void *payload,
                                uint32_t length, const int *fds, unsigned num_fds)
{
    struct wire_header header;
    uint16_t id = ++f->next_id;
    send_command(f->fd, id, command, 0, payload, length, fds, num_fds);
    assert_true(receive(f, f->fd, &header));
    assert_int_equal(header.id, id);
    assert_int_equal(header.command, command);
    if (header.flags == 0x21) {
        assert_int_equal(header.size, 16);
        return header.error;
    }
    assert_int_equal(header.flags, 1);
    return 0;
}

static inline unsigned call(struct fixture *f, uint16_t command, const void *payload,
                            uint32_t length)
{
    return call_fds(f, command, payload, length, NULL, 0);
}

static inline uint32_t at32(const struct fixture *f, unsigned offset)
{
    uint32_t value;
    memcpy(&value, f->reply + offset, 4);
    return value;
}

static inline uint64_t at64(const struct fixture *f, unsigned offset)
{
    uint64_t value;
    memcpy(&value, f->reply + offset, 8);
    return value;
}

static const char plain_json[] = "{\"capabilities\":{\"max_msg_fds\":8}}";
static const char full_json[] =
    "{\"capabilities\":{\"max_msg_fds\":8,\"x_vfio_migrate\":{\"p2p\":true,\"mig_data_size\":true,"
    "\"precopy_info\":true,\"large_writes\":true}}}";

static inline void say_version(struct fixture *f, const char *json)
{
    uint8_t payload[1024] = { 0, 0, 2, 0 };
    size_t length = json ? strlen(json) + 1 : 0;
    memcpy(payload + 4, json ? json : "", length);
    assert_int_equal(call(f, CMD_VERSION, payload, (uint32_t)(4 + length)), 0);
}

static inline struct fixture *client_of(const char *profile, const char *json)
{
    struct refdev_config config = { .local_bytes = 0, .knobs.seed = 11 };
    config.knobs.profile = refdev_profile_find(profile);
    if (!strcmp(profile, "default"))
        config.local_bytes = 1 << 20;
    struct fixture *f = server_start(&config);
    f->fd = connect_client(f);
    say_version(f, json);
    return f;
}

static inline void reconnect(struct fixture *f, const char *json)
{
    close(f->fd);
    f->fd = connect_client(f);
    say_version(f, json);
}

/* ---- the device ---- */

struct access {
    uint64_t offset;
    uint32_t region, count;
    uint64_t value;
};

static inline uint64_t region_read(struct fixture *f, uint32_t region, uint64_t offset,
                                   uint32_t count)
{
    struct access access = { offset, region, count, 0 };
    uint64_t value = 0;
    assert_int_equal(call(f, CMD_REGION_READ, &access, 16), 0);
    assert_int_equal(f->reply_bytes, 16 + count);
    memcpy(&value, f->reply + 16, count);
    return value;
}

static inline void region_write(struct fixture *f, uint32_t region, uint64_t offset, uint64_t value,
                                uint32_t count)
{
    struct access access = { offset, region, count, value };
    assert_int_equal(call(f, CMD_REGION_WRITE, &access, 16 + count), 0);
}

#define reg_read(f, offset) region_read(f, 0, offset, 8)
#define reg_write(f, offset, value) region_write(f, 0, offset, value, 8)

struct feature {
    uint32_t argsz, flags;
    uint8_t data[64];
};

static inline unsigned try_feature(struct fixture *f, uint32_t flags, const void *data,
                                   uint32_t length, uint32_t argsz)
{
    struct feature feature = { argsz, flags, { 0 } };
    if (length)
        memcpy(feature.data, data, length);
    return call(f, CMD_FEATURE, &feature, 8 + length);
}

static inline unsigned try_set_state(struct fixture *f, uint32_t state)
{
    uint32_t data[2] = { state, 0xffffffff };
    return try_feature(f, SET | 2, data, 8, 16);
}

static inline uint32_t get_state(struct fixture *f)
{
    assert_int_equal(try_feature(f, GET | 2, NULL, 0, 16), 0);
    return at32(f, 8);
}

static inline void go(struct fixture *f, uint32_t state)
{
    assert_int_equal(try_set_state(f, state), 0);
    assert_int_equal(get_state(f), state);
}

struct dma_map {
    uint32_t argsz, flags;
    uint64_t offset, iova, size;
};

static inline unsigned try_map(struct fixture *f, uint64_t iova, uint64_t size, int fd,
                               uint64_t offset, uint32_t flags)
{
    struct dma_map map = { 32, flags, offset, iova, size };
    return call_fds(f, CMD_DMA_MAP, &map, 32, &fd, fd >= 0);
}

/* Read the state to its end (or its end for now). Returns its length. */
static inline size_t read_state(struct fixture *f, uint8_t *buf, uint32_t chunk)
{
    size_t length = 0;
    for (;;) {
        uint32_t want[2] = { 8 + chunk, chunk };
        assert_int_equal(call(f, CMD_DATA_READ, want, 8), 0);
        uint32_t got = at32(f, 4);
        assert_int_equal(at32(f, 0), 8 + got);
        assert_int_equal(f->reply_bytes, 8 + got);
        if (!got)
            return length;
        memcpy(buf + length, f->reply + 8, got);
        length += got;
    }
}

static inline unsigned try_write_state(struct fixture *f, const uint8_t *buf, size_t length,
                                       size_t chunk)
{
    uint8_t *message = malloc(8 + chunk);
    unsigned rc = 0;
    for (size_t done = 0; done < length && !rc; done += chunk) {
        size_t part = length - done < chunk ? length - done : chunk;
        uint32_t head[2] = { (uint32_t)(8 + part), (uint32_t)part };
        memcpy(message, head, 8);
        memcpy(message + 8, buf + done, part);
        rc = call(f, CMD_DATA_WRITE, message, (uint32_t)(8 + part));
    }
    free(message);
    return rc;
}

#endif
