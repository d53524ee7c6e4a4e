/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a vfio-user device: connect, agree on VERSION, find out what the server can do.
 *
 * Neither what VERSION announces nor its absence proves that a server migrates: DEVICE_FEATURE
 * does. But merely asking it breaks one family of servers, which answer an unknown command with
 * errno 0 and leave its body in the stream; then we connect again and do not ask.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/device/backend-vfio-user.h"
#include "lib/error.h"
#include "lib/trace/trace.h"

#define PREFIX "vfio-user:"
#define PREFIX_FD "vfio-user:fd:"
#define CONNECT_RETRY_MS 20
#define OUR_MSG_FDS 16 /* more makes QEMU's server side refuse */

bool vuc_matches(const char *address)
{
    return !strncmp(address, PREFIX, strlen(PREFIX));
}

/* ---- connecting ---- */

static int parse_fd(const char *address, int *ret, struct vmig_error *err)
{
    const char *text = address + strlen(PREFIX_FD);
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || (*end && *end != ',') || errno || number > INT_MAX)
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "address '%.200s': fd: wants the number of a file descriptor", address);
    *ret = (int)number;
    return 0;
}

static int check_socket(const char *address, int fd, struct vmig_error *err)
{
    int domain = -1, type = -1;
    socklen_t size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && domain == AF_UNIX &&
        type == SOCK_STREAM)
        return 0;
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                     "address '%.200s': file descriptor %d is no connected UNIX stream socket",
                     address, fd);
}

static int take_socket_fd(const char *address, int *ret_fd, struct vmig_error *err)
{
    int fd = -1;
    int rc = parse_fd(address, &fd, err);
    if (!rc)
        rc = check_socket(address, fd, err);
    if (rc)
        return rc;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    *ret_fd = fd;
    return 0;
}

static int connect_failed(const char *path, int code, struct vmig_error *err)
{
    const char *hint = "";
    if (code == EAGAIN) {
        code = EBUSY;
        hint = "; the server is serving another client, stop that one first";
    } else if (code == ENOENT) {
        hint = "; is the server running?";
    } else if (code == ECONNREFUSED) {
        hint = "; the server that made this socket is gone, start it again";
    }
    return error_set(err, code, VMIG_STAGE_OPEN, NULL, NULL, "connecting to %.200s: %s%s", path,
                     strerror(code), hint);
}

/* A server that listens without a queue and has a client makes connect() wait for ever; without
 * waiting it says EAGAIN. */
static int connect_path(const char *path, unsigned timeout_ms, int *ret_fd, struct vmig_error *err)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    uint64_t deadline = clock_ns() + timeout_ms * NS_PER_MS;
    if (path[0] == '\0' || strlen(path) >= sizeof(name.sun_path))
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "socket path '%.200s' has %zu bytes, must have 1 to %zu", path,
                         strlen(path), sizeof(name.sun_path) - 1);
    memcpy(name.sun_path, path, strlen(path));
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return connect_failed(path, errno, err);
    while (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
        if ((errno != EAGAIN && errno != EINTR) || clock_ns() >= deadline)
            return connect_failed(path, errno, err);
        poll(NULL, 0, CONNECT_RETRY_MS);
    }
    if (fcntl(fd, F_SETFL, 0) < 0)
        return connect_failed(path, errno, err);
    *ret_fd = take_fd(&fd);
    return 0;
}

static int get_socket(struct vuc *v, int *ret_fd, struct vmig_error *err)
{
    if (!strncmp(v->address, PREFIX_FD, strlen(PREFIX_FD)))
        return take_socket_fd(v->address, ret_fd, err);
    return connect_path(v->address + strlen(PREFIX), vuc_command_timeout(v), ret_fd, err);
}

/* ---- VERSION ---- */

static struct vuser_capabilities our_capabilities(void)
{
    struct vuser_capabilities ours = vuser_capabilities_default();
    ours.max_msg_fds = OUR_MSG_FDS;
    ours.max_data_xfer_size = VUC_DATA_XFER_BYTES;
    ours.sparse_mmap_fds = true;
    ours.twin_socket = true;
    ours.migration_pgsize = 4096; /* some servers stumble over its absence */
    ours.extensions = VUSER_EXT_ALL;
    return ours;
}

/* A socket for DMA came along, or none; anything in between is inconsistent. */
static int take_twin(const struct vuser_capabilities *peer, struct vuser_fds *fds, int *ret_fd,
                     struct vmig_error *err)
{
    *ret_fd = -1;
    if (!peer->twin_socket)
        return 0;
    if (peer->twin_fd_index >= 0)
        *ret_fd = vuser_fds_take(fds, (unsigned)peer->twin_fd_index);
    if (*ret_fd < 0)
        return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, NULL,
                         "VERSION: a twin socket is promised as file descriptor %d, but %u came "
                         "along",
                         peer->twin_fd_index, fds->count);
    return 0;
}

static int check_version(const struct vuser_capabilities *ours,
                         const struct vuser_capabilities *peer, struct vmig_error *err)
{
    if (peer->major == ours->major && peer->minor <= ours->minor)
        return 0;
    return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, NULL,
                     "VERSION: the server answers %u.%u, understood is up to %u.%u", peer->major,
                     peer->minor, ours->major, ours->minor);
}

static unsigned stall_timeout(const struct vuc *v)
{
    return v->options.transition_timeout_ms > v->options.command_timeout_ms
               ? v->options.transition_timeout_ms
               : v->options.command_timeout_ms;
}

/* What the server says to VERSION, in words that help. */
static int version_failed(const struct vuc *v, int rc, struct vmig_error *cause,
                          struct vmig_error *err)
{
    if (rc == -EBUSY)
        return error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL,
                         "%.200s: the vfio-user server is serving another client; stop that one "
                         "first",
                         v->address);
    if (rc == -ETIMEDOUT)
        return error_set(err, rc, VMIG_STAGE_OPEN, NULL, NULL,
                         "%.200s: the vfio-user server did not answer VERSION within %u ms; it may "
                         "be serving another client",
                         v->address, vuc_command_timeout(v));
    error_prefix(cause, "%.200s", v->address);
    return error_copy(err, cause);
}

static int exchange_version(struct vuc *v, struct vuser_fds *fds, struct vmig_error *err)
{
    struct vuser_capabilities ours = our_capabilities();
    CLEANUP_FREE uint8_t *reply = malloc(vuser_version_BYTES + VUSER_JSON_BYTES_MAX);
    CLEANUP_FREE void *payload = NULL;
    size_t length;
    if (!reply || vuser_version_build(&ours, &payload, &length))
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    struct vuc_request r = { .command = VUSER_VERSION,
                             .fixed = reply,
                             .fixed_bytes = vuser_version_BYTES + VUSER_JSON_BYTES_MAX,
                             .fds = fds };
    int rc = vuc_call(&v->conn, &r, payload, length, vuc_command_timeout(v), err);
    if (rc)
        return rc;
    struct vmig_error wrong = { 0 };
    size_t got = r.got_bytes < r.fixed_bytes ? r.got_bytes : r.fixed_bytes;
    if (vuser_version_parse(reply, got, &v->conn.peer, &wrong))
        return error_set(err, EPROTO, VMIG_STAGE_OPEN, NULL, NULL, "%s", wrong.text);
    v->conn.extensions = v->conn.peer.extensions & ours.extensions;
    return check_version(&ours, &v->conn.peer, err);
}

static int connect_and_agree(struct vuc *v, struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    struct vuser_fds fds = { 0 };
    int fd = -1, twin = -1;
    unsigned stall = stall_timeout(v);
    int rc = get_socket(v, &fd, err);
    if (!rc)
        rc = vuc_conn_start(&v->conn, fd, &v->dma, false, stall, err);
    if (rc)
        return rc;
    rc = exchange_version(v, &fds, &cause);
    if (!rc)
        rc = take_twin(&v->conn.peer, &fds, &twin, &cause);
    vuser_fds_close(&fds);
    if (!rc)
        rc = vuc_conn_ready(&v->conn, twin, stall, &cause);
    if (!rc) {
        vuc_stream_limits(&v->stream, &v->conn);
        TRACE(vfio_user_connect, v->address);
        return 0;
    }
    vuc_conn_stop(&v->conn);
    return version_failed(v, rc, &cause, err);
}

/* ---- a connection that somebody handed on ---- */

static const char *established_parts(const struct vuc *v)
{
    const char *comma = strchr(v->address, ',');
    return comma && !strncmp(v->address, PREFIX_FD, strlen(PREFIX_FD)) ? comma + 1 : NULL;
}

static int take_established(struct vuc *v, const char *parts, struct vmig_error *err)
{
    struct vuc_established e;
    int fd = -1;
    int rc = vuc_established_parse(v, parts, &e, err);
    if (!rc && e.twin_fd >= 0)
        rc = check_socket(v->address, e.twin_fd, err);
    if (!rc)
        rc = take_socket_fd(v->address, &fd, err);
    if (rc)
        return rc;
    rc = vuc_conn_start(&v->conn, fd, &v->dma, true, stall_timeout(v), err);
    if (rc) { /* the one is closed, the other is of no use alone */
        cleanup_fd_(&e.twin_fd);
        return rc;
    }
    if (e.twin_fd >= 0)
        fcntl(e.twin_fd, F_SETFD, FD_CLOEXEC);
    v->no_features = e.no_features;
    v->conn.peer = e.peer;
    v->conn.extensions = e.peer.extensions;
    rc = vuc_conn_ready(&v->conn, e.twin_fd, stall_timeout(v), err);
    if (!rc)
        vuc_stream_limits(&v->stream, &v->conn);
    return rc;
}

/* ---- what it can do ---- */

static bool probe(struct vuc *v, uint32_t feature, uint32_t operation)
{
    struct vuc_feature f = { .flags = VUSER_FEATURE_PROBE | operation | feature };
    return vuc_feature(v, &f, NULL) == 0;
}

/* A server without our pre-copy extension cannot say how much is left, and the one known to offer
 * PRE_COPY starts its stream again in STOP_COPY instead of going on: what was sent before would be
 * garbage. Neither are the P2P states part of the published protocol. So both count only if
 * announced; otherwise such a device moves with stop-copy alone, which is always right. */
static uint64_t usable_flags(const struct vuc *v, uint64_t flags)
{
    if (!(v->conn.extensions & VUSER_EXT_PRECOPY_INFO))
        flags &= ~(uint64_t)VMIG_MIGRATION_PRE_COPY;
    if (!(v->conn.extensions & VUSER_EXT_P2P))
        flags &= ~(uint64_t)VMIG_MIGRATION_P2P;
    return flags & VMIG_MIGRATION_STOP_COPY ? flags : 0;
}

static void no_migration(struct vuc *v, const char *reason, const char *remedy)
{
    v->migration = (struct vmig_migration_info) { 0 };
    snprintf(v->migration.reason, sizeof(v->migration.reason), "%s", reason);
    snprintf(v->migration.remedy, sizeof(v->migration.remedy), "%s", remedy);
}

static void describe_migration(struct vuc *v, uint64_t flags)
{
    struct vmig_migration_info *m = &v->migration;
    m->flags = usable_flags(v, flags);
    if (!m->flags) {
        no_migration(v, "vfio-no-stop-copy",
                     "the vfio-user server does not offer STOP_COPY; it must support migration "
                     "version 2");
        return;
    }
    m->has_data_size = v->conn.extensions & VUSER_EXT_MIG_DATA_SIZE;
    m->has_precopy_info = m->flags & VMIG_MIGRATION_PRE_COPY;
    m->has_reinit = m->has_precopy_info && (v->conn.extensions & VUSER_EXT_PRECOPY_INFO2) &&
                    probe(v, VUSER_FEATURE_MIG_PRECOPY_INFO2, VUSER_FEATURE_SET);
    m->has_dma_logging = probe(v, VUSER_FEATURE_DMA_LOGGING_START, VUSER_FEATURE_SET) &&
                         probe(v, VUSER_FEATURE_DMA_LOGGING_STOP, VUSER_FEATURE_SET) &&
                         probe(v, VUSER_FEATURE_DMA_LOGGING_REPORT, VUSER_FEATURE_GET);
}

/* 1: asking broke the connection, connect again. */
static int ask_migration(struct vuc *v, struct vmig_error *err)
{
    uint8_t data[vuser_migration_BYTES];
    struct vmig_error cause = { 0 };
    struct vuser_migration migration;
    struct vuc_feature f = { .flags = VUSER_FEATURE_GET | VUSER_FEATURE_MIGRATION,
                             .out = data,
                             .out_bytes = sizeof(data) };
    int rc = v->no_features ? -ENOTTY : vuc_feature(v, &f, &cause);
    if (f.errno_zero)
        return 1;
    if (rc == -EINVAL || rc == -ENOTTY) {
        no_migration(v, "vfio-user-no-migration",
                     "the vfio-user server does not support migration; ask its vendor for version "
                     "2 of the migration protocol");
        return 0;
    }
    if (rc)
        return error_copy(err, &cause);
    vuser_migration_decode(data, &migration);
    describe_migration(v, migration.flags);
    return 0;
}

static int connect_again(struct vuc *v, struct vmig_error *err)
{
    vuc_conn_stop(&v->conn);
    if (!strncmp(v->address, PREFIX_FD, strlen(PREFIX_FD)))
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_OPEN, NULL, "vfio-user-no-migration",
                         "%.200s: this vfio-user server's connection does not survive being asked "
                         "for migration, and a given file descriptor cannot be connected again; "
                         "use vfio-user:PATH",
                         v->address);
    v->no_features = true;
    int rc = connect_and_agree(v, err);
    return rc ? rc : ask_migration(v, err);
}

/* ---- the handle ---- */

static struct vuc *vuc_new(const char *address, const struct backend_options *options)
{
    struct vuc *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    v->address = strdup(address);
    v->options = *options;
    if (!v->address || vuc_dma_init(&v->dma)) {
        free(v->address);
        free(v);
        return NULL;
    }
    if (vuc_stream_init(&v->stream)) {
        vuc_dma_done(&v->dma);
        free(v->address);
        free(v);
        return NULL;
    }
    return v;
}

int vuc_open(const char *address, const struct backend_options *options, void **ret,
             struct vmig_error *err)
{
    struct vuc *v = vuc_new(address, options);
    if (!v)
        return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory");
    const char *parts = established_parts(v);
    int rc = parts ? take_established(v, parts, err) : connect_and_agree(v, err);
    if (!rc)
        rc = ask_migration(v, err);
    if (rc == 1)
        rc = connect_again(v, err);
    if (rc) {
        vuc_close(v);
        return rc;
    }
    *ret = v;
    return 0;
}

static void free_region(struct vuc_region *region)
{
    if (!region)
        return;
    for (unsigned i = 0; i < VUSER_AREAS_MAX; i++)
        if (region->maps[i])
            munmap(region->maps[i], region->region.areas[i].size_bytes);
    vuser_fds_close(&region->fds);
    free(region);
}

void vuc_close(void *self)
{
    struct vuc *v = self;
    vuc_conn_stop(&v->conn); /* first: nobody touches the rest any more */
    TRACE(vfio_user_disconnect, v->address);
    for (unsigned i = 0; v->regions && i < v->info.num_regions; i++)
        free_region(v->regions[i]);
    free(v->regions);
    vuc_stream_done(&v->stream);
    vuc_dma_done(&v->dma);
    free(v->windows);
    free(v->address);
    free(v);
}
