/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/vfio-user/fake-server.h"

#define MESSAGE_MAX ((1u << 20) + 4096)

const struct backend_options fake_options = { .command_timeout_ms = 20000,
                                              .transition_timeout_ms = 20000 };
const struct backend_options fake_hasty = { .command_timeout_ms = 200,
                                            .transition_timeout_ms = 200 };

uint8_t fake_byte(size_t i)
{
    return (uint8_t)(i ^ i >> 8 ^ i >> 16 ^ 0x5a);
}

/* ---- sending ---- */

/* A client that has closed is none of the server's concern. */
void fake_reply(struct fake *f, const struct vuser_header *h, const void *payload, size_t length)
{
    struct vuser_header reply = vuser_reply_header(h, (uint32_t)length);
    if (!(h->flags & VUSER_NO_REPLY))
        vuser_socket_send_buf(&f->main, &reply, payload, length);
}

void fake_error(struct fake *f, const struct vuser_header *h, int code)
{
    if (!(h->flags & VUSER_NO_REPLY))
        vuser_socket_send_error(&f->main, h, code);
}

void fake_raw(struct fake *f, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = send(f->main.fd, at, length, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += n;
        length -= (size_t)n;
    }
}

void fake_header(struct fake *f, struct vuser_header h, size_t length)
{
    uint8_t *bytes = calloc(1, vuser_header_BYTES + length);
    vuser_header_encode(&h, bytes);
    fake_raw(f, bytes, vuser_header_BYTES + length);
    free(bytes);
}

void fake_vanish(struct fake *f)
{
    vuser_socket_shutdown(&f->main);
}

int fake_dma(struct fake *f, uint16_t command, uint64_t iova, void *buf, uint64_t count)
{
    struct vuser_socket *s = f->twin.fd >= 0 ? &f->twin : &f->main;
    bool write = command == VUSER_DMA_WRITE;
    uint8_t fixed[16];
    struct vuser_dma_access access = { iova, count };
    struct vuser_header h = vuser_command_header(7, command, (uint32_t)(16 + (write ? count : 0)));
    struct iovec iov[2] = { { fixed, 16 }, { buf, write ? count : 0 } };
    struct vuser_fds fds;
    vuser_dma_access_encode(&access, fixed);
    if (vuser_socket_send(s, &h, iov, 2, NULL, 0))
        return -EPIPE;
    if (vuser_socket_recv_header(s, &h, &fds, NULL) != 1 || !vuser_is_reply(&h) || h.id != 7 ||
        h.command != command)
        return -EPROTO;
    if (h.flags & VUSER_ERROR)
        return vuser_error_code(h.error);
    if (h.size_bytes != 32 + (write ? 0 : count) || vuser_socket_recv(s, fixed, 16, NULL))
        return -EPROTO;
    vuser_dma_access_decode(fixed, &access);
    if (access.iova != iova || access.count_bytes != count)
        return -EPROTO;
    return write ? 0 : vuser_socket_recv(s, buf, count, NULL);
}

/* ---- the honest server ---- */

static void answer_version(struct fake *f, const struct vuser_header *h)
{
    void *payload;
    size_t length;
    vuser_version_build(&f->caps, &payload, &length);
    struct vuser_header reply = vuser_reply_header(h, (uint32_t)length);
    struct iovec iov = { payload, length };
    vuser_socket_send(&f->main, &reply, &iov, 1, &f->twin_client_fd, f->twin_client_fd >= 0);
    if (f->twin_client_fd >= 0)
        close(f->twin_client_fd);
    f->twin_client_fd = -1;
    free(payload);
}

static void answer_region_info(struct fake *f, const struct vuser_header *h, const uint8_t *payload)
{
    uint8_t out[80];
    struct vuser_region_info ask;
    struct vuser_region region = { .info = { .index = 0 } };
    vuser_region_info_decode(payload, &ask);
    region.info.index = ask.index;
    if (ask.index == 1) {
        region.info.flags = VUSER_REGION_FLAG_READ | VUSER_REGION_FLAG_WRITE;
        region.info.size_bytes = FAKE_REGION_BYTES;
        region.num_areas = 2;
        region.areas[0].size_bytes = region.areas[1].size_bytes = 0x1000;
        region.areas[1].offset_bytes = 0x2000;
    }
    size_t need = vuser_region_build(&region, out, ask.argsz < 80 ? ask.argsz : 80);
    bool full = need <= ask.argsz;
    size_t length = full ? need : vuser_region_info_BYTES;
    struct vuser_header reply = vuser_reply_header(h, (uint32_t)length);
    struct iovec iov = { out, length };
    vuser_socket_send(&f->main, &reply, &iov, 1, &f->region_fd, full && ask.index == 1);
}

static void answer_region(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                          size_t length)
{
    struct vuser_region_access a;
    vuser_region_access_decode(payload, &a);
    bool write = h->command == VUSER_REGION_WRITE;
    if (a.region != 1 || a.offset > FAKE_REGION_BYTES ||
        a.count_bytes > FAKE_REGION_BYTES - a.offset || (write && length != 16 + a.count_bytes)) {
        fake_error(f, h, EINVAL);
        return;
    }
    if (write) {
        memcpy(f->region + a.offset, payload + 16, a.count_bytes);
        fake_reply(f, h, payload, 16);
        return;
    }
    uint8_t out[16 + FAKE_REGION_BYTES];
    memcpy(out, payload, 16);
    memcpy(out + 16, f->region + a.offset, a.count_bytes);
    fake_reply(f, h, out, 16 + a.count_bytes);
}

static void answer_feature(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                           size_t length)
{
    uint8_t out[64] = { 0 };
    struct vuser_feature feature;
    struct vuser_state state = { 0, -1 };
    vuser_feature_decode(payload, &feature);
    unsigned number = feature.flags & VUSER_FEATURE_NUMBER_MASK;
    bool get = feature.flags & VUSER_FEATURE_GET, set = feature.flags & VUSER_FEATURE_SET;
    bool log = number >= 6 && number <= 8 && f->logging;
    if (!f->flags || !(number == 1 || number == 2 || number == 9 || log)) {
        fake_error(f, h, EINVAL);
        return;
    }
    memcpy(out, payload, 8);
    if (feature.flags & VUSER_FEATURE_PROBE) {
        fake_reply(f, h, out, 8);
    } else if (number == 1 && get) {
        vuser_migration_encode(&(struct vuser_migration) { f->flags }, out + 8);
        fake_reply(f, h, out, 16);
    } else if (number == 9 && get) {
        uint64_t left = f->save_bytes - f->sent_bytes;
        vuser_data_size_encode(&(struct vuser_data_size) { left }, out + 8);
        fake_reply(f, h, out, 16);
    } else if (number == 2 && get) {
        state.device_state = f->state;
        vuser_state_encode(&state, out + 8);
        fake_reply(f, h, out, 16);
    } else if (number == 2 && set) {
        vuser_state_decode(payload + 8, &state);
        f->state = state.device_state;
        fake_reply(f, h, payload, length);
    } else {
        fake_reply(f, h, payload, length);
    }
}

static void answer_data_read(struct fake *f, const struct vuser_header *h, const uint8_t *payload)
{
    struct vuser_mig_data ask;
    vuser_mig_data_decode(payload, &ask);
    size_t end = f->state == VMIG_STATE_STOP_COPY ? f->save_bytes : f->precopy_bytes;
    size_t sent = f->sent_bytes, n = end - sent;
    if (f->state != VMIG_STATE_STOP_COPY && f->state != VMIG_STATE_PRE_COPY &&
        f->state != VMIG_STATE_PRE_COPY_P2P) {
        fake_error(f, h, EINVAL);
        return;
    }
    n = n < ask.size_bytes ? n : ask.size_bytes;
    if (f->reply_bytes && n > f->reply_bytes)
        n = f->reply_bytes;
    size_t length = 8 + (f->padded ? ask.size_bytes : n);
    uint8_t *out = calloc(1, length);
    vuser_mig_data_encode(&(struct vuser_mig_data) { (uint32_t)(8 + n), (uint32_t)n }, out);
    for (size_t i = 0; i < n; i++)
        out[8 + i] = fake_byte(sent + i);
    f->sent_bytes = sent + n;
    fake_reply(f, h, out, length);
    free(out);
}

static void answer_data_write(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                              size_t length)
{
    struct vuser_mig_data write;
    vuser_mig_data_decode(payload, &write);
    if (f->state != VMIG_STATE_RESUMING || write.size_bytes != length - 8) {
        fake_error(f, h, EINVAL);
        return;
    }
    for (size_t i = 0; i < write.size_bytes; i++)
        if (payload[8 + i] != fake_byte(f->loaded_bytes + i))
            f->load_wrong = true;
    if (write.size_bytes > f->largest_write)
        f->largest_write = write.size_bytes;
    f->loaded_bytes += write.size_bytes;
    fake_reply(f, h, NULL, 0);
}

static void answer_precopy(struct fake *f, const struct vuser_header *h)
{
    uint8_t out[24];
    size_t left = f->precopy_bytes > f->sent_bytes ? f->precopy_bytes - f->sent_bytes : 0;
    vuser_precopy_info_encode(&(struct vuser_precopy_info) { 24, 0, left, 5 }, out);
    fake_reply(f, h, out, 24);
}

static void answer_dma_map(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                           struct vuser_fds *fds)
{
    unsigned n = f->num_maps;
    if (n == FAKE_MAPS_MAX) {
        fake_error(f, h, ENOSPC);
        return;
    }
    vuser_dma_map_decode(payload, &f->maps[n]);
    f->map_fds[n] = vuser_fds_take(fds, 0);
    f->num_maps = n + 1;
    fake_reply(f, h, NULL, 0);
}

static void answer_irqs(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                        const struct vuser_fds *fds)
{
    struct vuser_set_irqs set;
    unsigned n = f->num_irq_messages;
    vuser_set_irqs_decode(payload, &set);
    if (n < 64) {
        f->irq_start[n] = set.start;
        f->irq_count[n] = set.count;
        f->irq_fds[n] = fds->count;
    }
    f->num_irq_messages = n + 1;
    fake_reply(f, h, NULL, 0);
}

static void answer(struct fake *f, const struct vuser_header *h, const uint8_t *payload,
                   size_t length, struct vuser_fds *fds)
{
    uint8_t out[16];
    struct vuser_irq_info irq;
    switch (h->command) {
    case VUSER_VERSION:
        answer_version(f, h);
        break;
    case VUSER_DEVICE_GET_INFO:
        vuser_device_info_encode(&(struct vuser_device_info) { 16, 3, 9, 5 }, out);
        fake_reply(f, h, out, 16);
        break;
    case VUSER_DEVICE_GET_REGION_INFO:
        answer_region_info(f, h, payload);
        break;
    case VUSER_DEVICE_GET_IRQ_INFO:
        vuser_irq_info_decode(payload, &irq);
        vuser_irq_info_encode(&(struct vuser_irq_info) { 16, 1, irq.index, 4 }, out);
        fake_reply(f, h, out, 16);
        break;
    case VUSER_DEVICE_SET_IRQS:
        answer_irqs(f, h, payload, fds);
        break;
    case VUSER_REGION_READ:
    case VUSER_REGION_WRITE:
        answer_region(f, h, payload, length);
        break;
    case VUSER_DMA_MAP:
        answer_dma_map(f, h, payload, fds);
        break;
    case VUSER_DMA_UNMAP:
        fake_reply(f, h, payload, 24);
        break;
    case VUSER_DEVICE_RESET:
        f->state = VMIG_STATE_RUNNING;
        fake_reply(f, h, NULL, 0);
        break;
    case VUSER_DEVICE_FEATURE:
        answer_feature(f, h, payload, length);
        break;
    case VUSER_MIG_DATA_READ:
        answer_data_read(f, h, payload);
        break;
    case VUSER_MIG_DATA_WRITE:
        answer_data_write(f, h, payload, length);
        break;
    case VUSER_GET_PRECOPY_INFO:
        answer_precopy(f, h);
        break;
    default:
        fake_error(f, h, EINVAL);
    }
}

static void *server_main(void *arg)
{
    struct fake *f = arg;
    struct vuser_header h;
    struct vuser_fds fds;
    while (vuser_socket_recv_header(&f->main, &h, &fds, NULL) == 1) {
        size_t length = vuser_payload_bytes(&h);
        if (vuser_socket_recv(&f->main, f->message, length, NULL))
            break;
        if (vuser_is_reply(&h) && f->ignore_replies)
            continue;
        if (vuser_is_reply(&h))
            break;
        if (h.command < VUSER_COMMAND_END)
            f->counts[h.command]++;
        if (!f->hook || !f->hook(f, &h, f->message, length, &fds))
            answer(f, &h, f->message, length, &fds);
        vuser_fds_close(&fds);
    }
    vuser_socket_shutdown(&f->main);
    return NULL;
}

/* ---- life ---- */

void fake_init(struct fake *f)
{
    memset(f, 0, sizeof(*f));
    f->caps = vuser_capabilities_default();
    f->caps.max_msg_fds = 8;
    f->caps.extensions = VUSER_EXT_ALL;
    f->flags = VMIG_MIGRATION_STOP_COPY | VMIG_MIGRATION_P2P | VMIG_MIGRATION_PRE_COPY;
    f->state = VMIG_STATE_RUNNING;
    f->main.fd = f->twin.fd = f->client_fd = f->twin_client_fd = f->region_fd = -1;
    for (unsigned i = 0; i < FAKE_MAPS_MAX; i++)
        f->map_fds[i] = -1;
}

void fake_start(struct fake *f)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(vuser_socket_init(&f->main, pair[0], MESSAGE_MAX, 20000), 0);
    f->client_fd = pair[1];
    f->region_fd = memfd_create("region", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->region_fd, FAKE_REGION_BYTES), 0);
    if (f->caps.twin_socket) {
        f->caps.twin_fd_index = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(vuser_socket_init(&f->twin, pair[0], MESSAGE_MAX, 20000), 0);
        f->twin_client_fd = pair[1];
    }
    f->message = malloc(MESSAGE_MAX);
    assert_int_equal(pthread_create(&f->thread, NULL, server_main, f), 0);
}

void fake_stop(struct fake *f)
{
    vuser_socket_shutdown(&f->main);
    vuser_socket_shutdown(&f->twin);
    pthread_join(f->thread, NULL);
    vuser_socket_done(&f->main);
    vuser_socket_done(&f->twin);
    for (unsigned i = 0; i < FAKE_MAPS_MAX; i++)
        if (f->map_fds[i] >= 0)
            close(f->map_fds[i]);
    close(f->region_fd);
    if (f->twin_client_fd >= 0)
        close(f->twin_client_fd);
    free(f->message);
}

/* ---- the client's end ---- */

static int try_open(struct fake *f, const struct backend_options *options, void **ret,
                    struct vmig_error *err)
{
    char address[40];
    snprintf(address, sizeof(address), "vfio-user:fd:%d", f->client_fd);
    return backend_vfio_user.open(address, options, ret, err);
}

void *fake_open(struct fake *f, const struct backend_options *options)
{
    void *self = NULL;
    struct vmig_error err = { 0 };
    if (try_open(f, options, &self, &err))
        fail_msg("open: %s", err.text);
    return self;
}

void fake_open_err(struct fake *f, const struct backend_options *options, int code,
                   const char *text)
{
    void *self = NULL;
    struct vmig_error err = { 0 };
    int rc = try_open(f, options, &self, &err);
    if (rc != code || err.code != code || !strstr(err.text, text))
        fail_msg("open: %d '%s', expected %d '%s'", rc, err.text, code, text);
}

void fake_close(struct fake *f, void *self)
{
    if (self)
        backend_vfio_user.close(self);
    fake_stop(f);
}
