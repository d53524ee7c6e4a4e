/* SPDX-License-Identifier: BSD-3-Clause */
/* DEVICE_FEATURE and the state's data. Features are rows: number, methods, least data, handler. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "refdev/server-internal.h"

#define GET VUSER_FEATURE_GET
#define SET VUSER_FEATURE_SET
#define PROBE VUSER_FEATURE_PROBE

/* A feature command; @data behind its 8 bytes. */
struct feature_call {
    struct request *request;
    uint32_t argsz, method;
    const uint8_t *data;
    uint32_t data_bytes;
};

/* Answer with the command's flags and @data. */
static int feature_reply(struct refdev_server *server, const struct feature_call *call,
                         const void *data, size_t length_bytes)
{
    struct vuser_feature feature;
    uint8_t head[vuser_feature_BYTES];
    vuser_feature_decode(call->request->payload, &feature);
    feature.argsz = (uint32_t)(sizeof(head) + length_bytes);
    vuser_feature_encode(&feature, head);
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)data, length_bytes } };
    refdev_client_reply_iov(server, call->request, iov, length_bytes ? 2 : 1, NULL, 0);
    return 0;
}

/* ---- the features ---- */

static int feature_migration(struct refdev_server *server, const struct feature_call *call)
{
    uint8_t out[vuser_migration_BYTES];
    uint64_t flags = refdev_flags(server->model);
    refdev_fault_lie(server->model, REFDEV_COMMAND_FLAGS, &flags);
    vuser_migration_encode(&(struct vuser_migration) { flags }, out);
    return feature_reply(server, call, out, sizeof(out));
}

static int feature_state(struct refdev_server *server, const struct feature_call *call)
{
    struct vuser_state state = { .data_fd = -1 };
    uint8_t out[vuser_state_BYTES];
    if (call->method == SET) {
        vuser_state_decode(call->data, &state);
        int rc = refdev_set_state(server->model, state.device_state);
        if (rc)
            return rc;
    } else {
        uint64_t answer = refdev_state(server->model);
        refdev_fault_lie(server->model, REFDEV_COMMAND_GET_STATE, &answer);
        state.device_state = (uint32_t)answer;
    }
    state.data_fd = -1;
    vuser_state_encode(&state, out);
    return feature_reply(server, call, out, sizeof(out));
}

static int feature_data_size(struct refdev_server *server, const struct feature_call *call)
{
    struct vuser_data_size size;
    uint8_t out[vuser_data_size_BYTES];
    int rc = refdev_data_size(server->model, &size.stop_copy_length);
    if (rc)
        return rc;
    vuser_data_size_encode(&size, out);
    return feature_reply(server, call, out, sizeof(out));
}

static int feature_precopy_info2(struct refdev_server *server, const struct feature_call *call)
{
    int rc = refdev_precopy_opt_in(server->model, true);
    return rc ? -EINVAL : feature_reply(server, call, NULL, 0);
}

/* The ranges of a START. One whose numbers do not fit (there are clients that send the kernel's
 * structure, with a pointer) means everything. */
static unsigned read_ranges(const struct feature_call *call, const struct vuser_log_start *start,
                            struct refdev_range *ranges)
{
    struct vuser_log_range range;
    uint64_t room = (call->data_bytes - vuser_log_start_BYTES) / vuser_log_range_BYTES;
    if (start->num_ranges > room)
        return 0;
    for (unsigned i = 0; i < start->num_ranges && i < REFDEV_LOG_RANGES_MAX; i++) {
        vuser_log_range_decode(
            call->data + vuser_log_start_BYTES + (size_t)i * vuser_log_range_BYTES, &range);
        ranges[i] = (struct refdev_range) { range.iova, range.size_bytes };
    }
    return start->num_ranges;
}

static int feature_log_start(struct refdev_server *server, const struct feature_call *call)
{
    struct refdev_range ranges[REFDEV_LOG_RANGES_MAX];
    struct vuser_log_start start;
    vuser_log_start_decode(call->data, &start);
    unsigned count = read_ranges(call, &start, ranges);
    int rc = refdev_log_start(server->model, ranges, count, &start.pgsize);
    if (rc)
        return rc;
    memcpy(server->out, call->data, call->data_bytes);
    vuser_log_start_encode(&start, server->out);
    return feature_reply(server, call, server->out, call->data_bytes);
}

static int feature_log_stop(struct refdev_server *server, const struct feature_call *call)
{
    refdev_log_stop(server->model);
    return feature_reply(server, call, call->data, call->data_bytes);
}

static int feature_log_report(struct refdev_server *server, const struct feature_call *call)
{
    struct vuser_log_report report;
    vuser_log_report_decode(call->data, &report);
    if (report.pgsize < 4096)
        return -EINVAL;
    uint64_t pages = report.size_bytes / report.pgsize + (report.size_bytes % report.pgsize != 0);
    uint64_t bitmap_bytes = (pages + 63) / 64 * 8;
    if (bitmap_bytes > SERVER_BITMAP_MAX ||
        call->argsz < vuser_feature_BYTES + vuser_log_report_BYTES + bitmap_bytes)
        return -EINVAL;
    CLEANUP_FREE uint8_t *out = calloc(1, vuser_log_report_BYTES + bitmap_bytes);
    if (!out)
        return -ENOMEM;
    _Static_assert(vuser_log_report_BYTES % sizeof(uint64_t) == 0, "the bitmap is aligned");
    memcpy(out, call->data, vuser_log_report_BYTES);
    int rc = refdev_log_report(server->model, report.iova, report.size_bytes, report.pgsize,
                               (uint64_t *)(void *)(out + vuser_log_report_BYTES));
    return rc ? rc : feature_reply(server, call, out, vuser_log_report_BYTES + bitmap_bytes);
}

/* ---- dispatch ---- */

static const struct feature {
    uint16_t number;
    uint32_t methods;
    uint32_t get_bytes, set_bytes; /* least data of the command */
    uint32_t reply_bytes;          /* of GET: argsz must have room for it */
    bool needs_log;
    unsigned extension; /* only when both sides announced it */
    int (*run)(struct refdev_server *server, const struct feature_call *call);
} features[] = {
    { VUSER_FEATURE_MIGRATION, GET, 0, 0, 8, false, 0, feature_migration },
    { VUSER_FEATURE_MIG_DEVICE_STATE, GET | SET, 0, 8, 8, false, 0, feature_state },
    { VUSER_FEATURE_DMA_LOGGING_START, SET, 0, 16, 0, true, 0, feature_log_start },
    { VUSER_FEATURE_DMA_LOGGING_STOP, SET, 0, 0, 0, true, 0, feature_log_stop },
    { VUSER_FEATURE_DMA_LOGGING_REPORT, GET, 24, 0, 24, true, 0, feature_log_report },
    { VUSER_FEATURE_MIG_DATA_SIZE, GET, 0, 0, 8, false, VUSER_EXT_MIG_DATA_SIZE,
      feature_data_size },
    { VUSER_FEATURE_MIG_PRECOPY_INFO2, SET, 0, 0, 0, false, VUSER_EXT_PRECOPY_INFO2,
      feature_precopy_info2 },
};

static const struct feature *find_feature(const struct refdev_server *server, uint32_t number)
{
    for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        const struct feature *feature = &features[i];
        if (feature->number != number)
            continue;
        if (feature->needs_log && !refdev_profile_of(server->model)->has_dma_log)
            return NULL;
        return (feature->extension & ~server->peer.extensions) ? NULL : feature;
    }
    return NULL;
}

int refdev_handle_feature(struct refdev_server *server, struct request *request)
{
    struct vuser_feature head;
    vuser_feature_decode(request->payload, &head);
    uint32_t method = head.flags & (GET | SET);
    const struct feature *feature = find_feature(server, head.flags & VUSER_FEATURE_NUMBER_MASK);
    struct feature_call call = { .request = request,
                                 .argsz = head.argsz,
                                 .method = method,
                                 .data = request->payload + vuser_feature_BYTES,
                                 .data_bytes = request->payload_bytes - vuser_feature_BYTES };
    if (!feature || (head.flags & ~(VUSER_FEATURE_NUMBER_MASK | GET | SET | PROBE)) ||
        (method & ~feature->methods) || head.argsz < vuser_feature_BYTES)
        return -EINVAL;
    if (head.flags & PROBE)
        return feature_reply(server, &call, call.data, call.data_bytes);
    if (method != GET && method != SET)
        return -EINVAL;
    if (call.data_bytes < (method == GET ? feature->get_bytes : feature->set_bytes))
        return -EINVAL;
    if (method == GET && head.argsz - vuser_feature_BYTES < feature->reply_bytes)
        return -EINVAL;
    return feature->run(server, &call);
}

/* ---- state data ---- */

/* Send pieces of memory as they lie; too many of them are put together first. */
static void reply_data(struct refdev_server *server, struct request *request,
                       const struct refdev_segment *segments, unsigned count, size_t total)
{
    struct vuser_mig_data data = { (uint32_t)(vuser_mig_data_BYTES + total), (uint32_t)total };
    uint8_t head[vuser_mig_data_BYTES];
    struct iovec iov[VUSER_IOV_MAX] = { { head, sizeof(head) } };
    vuser_mig_data_encode(&data, head);
    if (count < VUSER_IOV_MAX) {
        for (unsigned i = 0; i < count; i++)
            iov[i + 1] =
                (struct iovec) { (void *)(uintptr_t)segments[i].data, segments[i].length_bytes };
        refdev_client_reply_iov(server, request, iov, count + 1, NULL, 0);
        return;
    }
    uint8_t *at = server->out;
    for (unsigned i = 0; i < count; i++) {
        memcpy(at, segments[i].data, segments[i].length_bytes);
        at += segments[i].length_bytes;
    }
    iov[1] = (struct iovec) { server->out, total };
    refdev_client_reply_iov(server, request, iov, 2, NULL, 0);
}

int refdev_handle_data_read(struct refdev_server *server, struct request *request)
{
    struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    struct vuser_mig_data data;
    unsigned count;
    vuser_mig_data_decode(request->payload, &data);
    if (data.size_bytes > SERVER_DATA_MAX || data.size_bytes > server->peer.max_data_xfer_size ||
        data.argsz < vuser_mig_data_BYTES + (uint64_t)data.size_bytes)
        return -EINVAL;
    int got = refdev_data_read(server->model, data.size_bytes, segments, &count);
    if (got < 0 && got != -ENOMSG)
        return got;
    reply_data(server, request, segments, count, got < 0 ? 0 : (size_t)got);
    return 0;
}

/* Straight from the socket to where the device wants it. */
static int load_from_socket(struct refdev_server *server, struct request *request, uint32_t bytes)
{
    int rc = refdev_data_write_begin(server->model, bytes);
    if (rc)
        return rc;
    while (bytes) {
        void *place;
        uint64_t room;
        rc = refdev_data_place(server->model, &place, &room);
        if (rc)
            return rc;
        uint32_t part = room < bytes ? (uint32_t)room : bytes;
        if (vuser_socket_recv(&server->socket, place, part, NULL)) {
            server->broken = true;
            return -EIO;
        }
        request->unread_bytes -= part;
        bytes -= part;
        rc = refdev_data_placed(server->model, part);
        if (rc)
            return rc;
    }
    return 0;
}

int refdev_handle_data_write(struct refdev_server *server, struct request *request)
{
    struct vuser_mig_data data;
    vuser_mig_data_decode(request->payload, &data);
    uint32_t in_memory = request->payload_bytes - vuser_mig_data_BYTES;
    if (data.size_bytes > in_memory + request->unread_bytes ||
        refdev_state(server->model) != 4 /* RESUMING */)
        return -EINVAL;
    int rc = in_memory ? refdev_data_write(server->model, request->payload + vuser_mig_data_BYTES,
                                           data.size_bytes)
                       : load_from_socket(server, request, data.size_bytes);
    if (!rc)
        refdev_client_reply(server, request, NULL, 0);
    return rc;
}

int refdev_handle_precopy_info(struct refdev_server *server, struct request *request)
{
    struct vuser_precopy_info info;
    uint8_t out[vuser_precopy_info_BYTES];
    vuser_precopy_info_decode(request->payload, &info);
    if (!(server->peer.extensions & VUSER_EXT_PRECOPY_INFO) || info.argsz < sizeof(out))
        return -EINVAL;
    int rc = refdev_precopy_info(server->model, &info.initial_bytes, &info.dirty_bytes);
    if (rc)
        return rc;
    info.argsz = sizeof(out);
    if (!(refdev_profile_of(server->model)->quirks & REFDEV_QUIRK_ECHO_INFO_FLAGS))
        info.flags = refdev_precopy_flags(server->model);
    vuser_precopy_info_encode(&info, out);
    refdev_client_reply(server, request, out, sizeof(out));
    return 0;
}
