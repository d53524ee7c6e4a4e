/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client, from VERSION to its disconnect. Commands are rows: who may be asked before VERSION,
 * which handler. Doubts about framing end the connection; a command that makes no sense gets an
 * error reply after its body was read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/device/fsm.h"
#include "lib/error.h"
#include "refdev/server-internal.h"

/* ---- VERSION ---- */

/* The second socket for DMA messages; its other end goes to the client. */
static int make_twin(struct refdev_server *server)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    if (vuser_socket_init(&server->twin, ends[0], SERVER_MESSAGE_MAX, SERVER_STALL_MS)) {
        vuser_socket_done(&server->twin);
        close(ends[1]);
        return -1;
    }
    return ends[1];
}

static struct vuser_capabilities own_capabilities(const struct refdev_server *server)
{
    struct vuser_capabilities own = vuser_capabilities_default();
    own.minor = own.minor < server->peer.minor ? own.minor : server->peer.minor;
    own.max_msg_fds = SERVER_FDS_MAX;
    own.max_data_xfer_size = SERVER_DATA_MAX;
    own.write_multiple = server->peer.write_multiple;
    own.migration_pgsize = 4096;
    own.extensions = server->peer.extensions;
    return own;
}

static void reply_version(struct refdev_server *server, const struct request *request)
{
    struct vuser_capabilities own = own_capabilities(server);
    CLEANUP_FD int twin_fd = server->peer.twin_socket ? make_twin(server) : -1;
    CLEANUP_FREE void *payload = NULL;
    size_t length;
    if (twin_fd >= 0) {
        own.twin_socket = true;
        own.twin_fd_index = 0;
    }
    if (vuser_version_build(&own, &payload, &length)) {
        server->broken = true;
        return;
    }
    struct iovec iov = { payload, length };
    refdev_client_reply_iov(server, request, &iov, 1, &twin_fd, twin_fd >= 0);
}

static int refdev_handle_version(struct refdev_server *server, struct request *request)
{
    struct vmig_error err = { 0 };
    if (server->negotiated)
        return -EINVAL;
    server->broken = true; /* unless all goes well */
    if (vuser_version_parse(request->payload, request->payload_bytes, &server->peer, &err)) {
        refdev_server_log(server, "client refused: %s", err.text);
        return -EINVAL;
    }
    if (server->peer.major != VUSER_MAJOR) {
        refdev_server_log(server, "client refused: it wants version %u, this is %u",
                          server->peer.major, VUSER_MAJOR);
        return -EINVAL;
    }
    server->broken = false;
    server->negotiated = true;
    server->peer.extensions &= server->config.no_extensions ? 0 : VUSER_EXT_ALL;
    bool p2p = server->peer.extensions & VUSER_EXT_P2P;
    refdev_show_flags(server->model, p2p ? ~0ull : ~2ull);
    refdev_precopy_opt_in(server->model, false);
    refdev_server_log(server, "client: version %u.%u, extensions 0x%x", server->peer.major,
                      server->peer.minor, server->peer.extensions);
    reply_version(server, request);
    return 0;
}

/* ---- replies ---- */

void refdev_client_reply_iov(struct refdev_server *server, const struct request *request,
                             const struct iovec *iov, unsigned count, const int *fds,
                             unsigned num_fds)
{
    size_t length = 0;
    if ((request->header.flags & VUSER_NO_REPLY) || server->silent)
        return;
    for (unsigned i = 0; i < count; i++)
        length += iov[i].iov_len;
    struct vuser_header header = vuser_reply_header(&request->header, (uint32_t)length);
    if (vuser_socket_send(&server->socket, &header, iov, count, fds, num_fds))
        server->broken = true;
}

void refdev_client_reply(struct refdev_server *server, const struct request *request,
                         const void *payload, size_t length_bytes)
{
    struct iovec iov = { (void *)(uintptr_t)payload, length_bytes };
    refdev_client_reply_iov(server, request, &iov, length_bytes > 0, NULL, 0);
}

static void reply_error(struct refdev_server *server, const struct request *request, int code)
{
    if ((request->header.flags & VUSER_NO_REPLY) || server->silent)
        return;
    if (vuser_socket_send_error(&server->socket, &request->header, code))
        server->broken = true;
}

/* ---- dispatch ---- */

typedef int handler(struct refdev_server *server, struct request *request);

static handler *const handlers[VUSER_COMMAND_END] = {
    [VUSER_VERSION] = refdev_handle_version,
    [VUSER_DMA_MAP] = refdev_handle_dma_map,
    [VUSER_DMA_UNMAP] = refdev_handle_dma_unmap,
    [VUSER_DEVICE_GET_INFO] = refdev_handle_get_info,
    [VUSER_DEVICE_GET_REGION_INFO] = refdev_handle_region_info,
    [VUSER_DEVICE_GET_REGION_IO_FDS] = refdev_handle_region_io_fds,
    [VUSER_DEVICE_GET_IRQ_INFO] = refdev_handle_irq_info,
    [VUSER_DEVICE_SET_IRQS] = refdev_handle_set_irqs,
    [VUSER_REGION_READ] = refdev_handle_region_read,
    [VUSER_REGION_WRITE] = refdev_handle_region_write,
    [VUSER_DEVICE_RESET] = refdev_handle_reset,
    [VUSER_REGION_WRITE_MULTI] = refdev_handle_write_multi,
    [VUSER_DEVICE_FEATURE] = refdev_handle_feature,
    [VUSER_MIG_DATA_READ] = refdev_handle_data_read,
    [VUSER_MIG_DATA_WRITE] = refdev_handle_data_write,
    [VUSER_GET_PRECOPY_INFO] = refdev_handle_precopy_info,
};

static void run_request(struct refdev_server *server, struct request *request)
{
    const struct vuser_rule *rule = vuser_rule(request->header.command);
    handler *handle = rule ? handlers[request->header.command] : NULL;
    int rc = -EINVAL;
    if (!server->negotiated && request->header.command != VUSER_VERSION) {
        refdev_server_log(server, "client refused: its first command is not VERSION");
        server->broken = true;
    } else if (handle && vuser_payload_bytes(&request->header) >= rule->command_min) {
        vuser_fds_trim(&request->fds, rule->command_fds);
        rc = refdev_plan_command(server, request);
        if (!rc)
            rc = handle(server, request);
    }
    if (!server->broken && request->unread_bytes &&
        vuser_socket_skip(&server->socket, request->unread_bytes, NULL))
        server->broken = true;
    if (rc)
        reply_error(server, request, rc);
    vuser_fds_close(&request->fds);
}

/* Only the data of a MIG_DATA_WRITE stays on the socket. */
static uint32_t bytes_to_read(const struct vuser_header *header)
{
    uint32_t payload = vuser_payload_bytes(header);
    if (header->command == VUSER_MIG_DATA_WRITE && payload > vuser_mig_data_BYTES)
        return vuser_mig_data_BYTES;
    return payload;
}

void refdev_client_receive(struct refdev_server *server)
{
    struct request request = { .payload = server->in };
    struct vmig_error err = { 0 };
    int rc = vuser_socket_recv_header(&server->socket, &request.header, &request.fds, &err);
    if (rc == 1 && vuser_is_reply(&request.header))
        rc = error_set(&err, EPROTO, VMIG_STAGE_NONE, NULL, NULL, "a reply to nothing");
    if (rc == 1) {
        request.payload_bytes = bytes_to_read(&request.header);
        request.unread_bytes = vuser_payload_bytes(&request.header) - request.payload_bytes;
        if (vuser_socket_recv(&server->socket, server->in, request.payload_bytes, &err))
            rc = -EPROTO;
    }
    if (rc != 1) {
        if (rc < 0)
            refdev_server_log(server, "client dropped: %s", err.text);
        vuser_fds_close(&request.fds);
        server->broken = true;
        return;
    }
    run_request(server, &request);
}

/* ---- the queue ---- */

void refdev_client_queue(struct refdev_server *server, const struct vuser_header *header,
                         struct vuser_fds *fds)
{
    uint32_t bytes = vuser_payload_bytes(header);
    struct request *request = NULL;
    if (server->queue_count < SERVER_QUEUE_MAX &&
        server->queue_bytes + bytes <= SERVER_QUEUE_BYTES_MAX)
        request = malloc(sizeof(*request) + bytes);
    if (!request) {
        refdev_server_log(server, "client dropped: too many commands while it owes a DMA reply");
        vuser_fds_close(fds);
        server->broken = true;
        return;
    }
    *request = (struct request) {
        .header = *header, .fds = *fds, .payload = (uint8_t *)(request + 1), .payload_bytes = bytes
    };
    *server->queue_tail = request;
    server->queue_tail = &request->next;
    server->queue_count++;
    server->queue_bytes += bytes;
    if (vuser_socket_recv(&server->socket, request + 1, bytes, NULL))
        server->broken = true;
}

static struct request *queue_take(struct refdev_server *server)
{
    struct request *request = server->queue_head;
    if (!request)
        return NULL;
    server->queue_head = request->next;
    if (!server->queue_head)
        server->queue_tail = &server->queue_head;
    server->queue_count--;
    server->queue_bytes -= request->payload_bytes;
    return request;
}

void refdev_client_run_queue(struct refdev_server *server)
{
    struct request *request = queue_take(server);
    if (request && !server->broken)
        run_request(server, request);
    else if (request)
        vuser_fds_close(&request->fds);
    free(request);
}

/* ---- coming and going ---- */

int refdev_client_begin(struct refdev_server *server, int take_fd)
{
    server->broken = false;
    int rc = vuser_socket_init(&server->socket, take_fd, SERVER_MESSAGE_MAX, SERVER_STALL_MS);
    if (rc)
        vuser_socket_done(&server->socket);
    return rc;
}

/* The device keeps its state; what belonged to the client goes. */
void refdev_client_end(struct refdev_server *server)
{
    if (!refdev_client_is_here(server))
        return;
    server->broken = true;
    while (server->queue_head)
        refdev_client_run_queue(server);
    refdev_windows_drop(server);
    refdev_irqs_drop(server);
    refdev_log_stop(server->model);
    vuser_socket_done(&server->twin);
    vuser_socket_done(&server->socket);
    server->twin.fd = server->socket.fd = -1;
    if (server->negotiated)
        refdev_server_log(server, "client left; the device is in state %s",
                          vmig_state_name(refdev_state(server->model)));
    server->negotiated = false;
    server->info_was_read = false;
    server->broken = server->silent = false;
}
