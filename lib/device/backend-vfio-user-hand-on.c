/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handing a connection on to another process image, and taking one over.
 *
 * A server drops its client's memory and interrupts when the connection closes, so the connection
 * itself moves: its descriptors, and in an address what VERSION agreed on, which is said only once
 *
 *   vfio-user:fd:7,established=1,max_msg_fds=16,...,dma=100000+10000+w+fe00+2f+0
 *
 * and which memory the server reaches. That it goes on reaching: a device that runs has no moment
 * without. Whoever took over shows the same memory again by mapping it, which is then told to the
 * server no second time.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/device/address-parts.h"
#include "lib/device/backend-vfio-user.h"
#include "lib/error.h"

/* ---- what the server was told to reach ---- */

int vuc_window_describe(const struct vmig_dma_map *map, bool with_fd, struct vuc_window *ret)
{
    struct stat st = { 0 };
    if (with_fd && fstat(map->fd, &st) < 0)
        return -errno;
    *ret = (struct vuc_window) {
        .iova = map->iova,
        .size_bytes = map->size_bytes,
        .writable = map->writable,
        .by_message = !with_fd,
        .ours = true,
        .dev = with_fd ? st.st_dev : 0,
        .ino = with_fd ? st.st_ino : 0,
        .fd_offset = with_fd ? map->fd_offset : 0,
    };
    return 0;
}

int vuc_window_add(struct vuc *v, const struct vuc_window *window)
{
    struct vuc_window *grown = reallocarray(v->windows, v->num_windows + 1, sizeof(*v->windows));
    if (!grown)
        return -ENOMEM;
    v->windows = grown;
    v->windows[v->num_windows++] = *window;
    return 0;
}

struct vuc_window *vuc_window_find(struct vuc *v, uint64_t iova, uint64_t size)
{
    for (unsigned i = 0; i < v->num_windows; i++)
        if (v->windows[i].iova == iova && v->windows[i].size_bytes == size)
            return &v->windows[i];
    return NULL;
}

void vuc_window_remove(struct vuc *v, uint64_t iova, uint64_t size, bool ours)
{
    struct vuc_window *window = vuc_window_find(v, iova, size);
    if (window && window->ours == ours)
        *window = v->windows[--v->num_windows];
}

/* 1: the server has exactly this already, from before the connection was taken over. */
int vuc_window_take_over(struct vuc *v, const struct vuc_window *wanted, struct vmig_error *err)
{
    for (unsigned i = 0; i < v->num_windows; i++) {
        struct vuc_window *w = &v->windows[i];
        if (w->ours || w->iova > wanted->iova + (wanted->size_bytes - 1) ||
            wanted->iova > w->iova + (w->size_bytes - 1))
            continue;
        if (w->iova != wanted->iova || w->size_bytes != wanted->size_bytes ||
            w->writable != wanted->writable || w->by_message != wanted->by_message ||
            w->dev != wanted->dev || w->ino != wanted->ino || w->fd_offset != wanted->fd_offset)
            return error_set(err, EEXIST, VMIG_STAGE_NONE, NULL, NULL,
                             "the device reaches other memory at IOVA 0x%" PRIx64 " (%" PRIu64
                             " bytes) since before it was handed on; map that file again, or unmap "
                             "it first",
                             w->iova, w->size_bytes);
        w->ours = true;
        return 1;
    }
    return 0;
}

bool vuc_inherits(void *self, uint64_t iova, uint64_t size)
{
    struct vuc_window *window = vuc_window_find(self, iova, size);
    return window && !window->ours;
}

/* ---- the address ---- */

/* Numbers of an address that must all be there, once. */
enum { ESTABLISHED, TWIN, MSG_FDS, DATA_XFER, DMA_MAPS, EXTENSIONS, FEATURES, NUM_NUMBERS };
static const struct address_key keys[NUM_NUMBERS] = {
    [ESTABLISHED] = { "established", 1, 1, false }, /* the version of this form */
    [TWIN] = { "twin", 0, INT32_MAX, true },
    [MSG_FDS] = { "max_msg_fds", 0, VUSER_FDS_MAX, false },
    [DATA_XFER] = { "max_data_xfer_size", 1, VUSER_DATA_XFER_MAX, false },
    [DMA_MAPS] = { "max_dma_maps", 0, UINT64_MAX, false },
    [EXTENSIONS] = { "extensions", 0, VUSER_EXT_ALL, false },
    [FEATURES] = { "features", 0, 1, false },
};
#define WHAT "the address of an established connection (to be passed on exactly as it was given)"

/* IOVA+SIZE+(r|w)+DEV+INODE+OFFSET in hexadecimal, or IOVA+SIZE+(r|w)+message. */
static int read_window(struct vuc *v, const char *part, struct vmig_error *err)
{
    struct vuc_window w = { 0 };
    const char *text = part + strlen("dma=");
    bool ok = address_number(&text, 16, '+', &w.iova) &&
              address_number(&text, 16, '+', &w.size_bytes) && (text[0] == 'r' || text[0] == 'w') &&
              text[1] == '+';
    w.writable = ok && text[0] == 'w';
    text += ok ? 2 : 0;
    w.by_message = ok && !strcmp(text, "message");
    ok = ok && (w.by_message ||
                (address_number(&text, 16, '+', &w.dev) && address_number(&text, 16, '+', &w.ino) &&
                 address_number(&text, 16, '\0', &w.fd_offset)));
    uint64_t last;
    if (!ok || !w.size_bytes || w.size_bytes % VUC_PAGE || w.iova % VUC_PAGE ||
        __builtin_add_overflow(w.iova, w.size_bytes - 1, &last))
        return address_malformed(err, WHAT, part, "describes no memory");
    for (unsigned i = 0; i < v->num_windows; i++) {
        const struct vuc_window *other = &v->windows[i];
        if (other->iova <= last && w.iova <= other->iova + (other->size_bytes - 1))
            return address_malformed(err, WHAT, part, "overlaps other memory");
    }
    return vuc_window_add(v, &w) ? address_malformed(err, WHAT, part, "does not fit into memory")
                                 : 0;
}

static int read_part(struct vuc *v, const char *part, struct address_value *values,
                     struct vmig_error *err)
{
    if (!strncmp(part, "dma=", strlen("dma=")))
        return read_window(v, part, err);
    return address_part_read(keys, NUM_NUMBERS, WHAT, part, values, err);
}

int vuc_established_parse(struct vuc *v, const char *parts, struct vuc_established *ret,
                          struct vmig_error *err)
{
    struct address_value values[NUM_NUMBERS] = { 0 };
    CLEANUP_FREE char *copy = strdup(parts);
    int rc = copy ? 0 : -ENOMEM;
    char *rest = copy, *part;
    while (!rc && (part = strsep(&rest, ",")))
        rc = read_part(v, part, values, err);
    if (!rc)
        rc = address_parts_check(keys, NUM_NUMBERS, WHAT, values, err);
    if (rc)
        return rc;
    ret->twin_fd = values[TWIN].seen ? (int)values[TWIN].number : -1;
    ret->peer = vuser_capabilities_default();
    ret->peer.max_msg_fds = (unsigned)values[MSG_FDS].number;
    ret->peer.max_data_xfer_size = values[DATA_XFER].number;
    ret->peer.max_dma_maps = values[DMA_MAPS].number;
    ret->peer.extensions = (unsigned)values[EXTENSIONS].number;
    ret->no_features = !values[FEATURES].number;
    return 0;
}

/* Append; false when it does not fit. */
static bool append(char **at, size_t *room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool append(char **at, size_t *room, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(*at, *room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= *room)
        return false;
    *at += n;
    *room -= (size_t)n;
    return true;
}

static bool write_window(const struct vuc_window *w, char **at, size_t *room)
{
    char flag = w->writable ? 'w' : 'r';
    if (w->by_message)
        return append(at, room, ",dma=%" PRIx64 "+%" PRIx64 "+%c+message", w->iova, w->size_bytes,
                      flag);
    return append(at, room, ",dma=%" PRIx64 "+%" PRIx64 "+%c+%" PRIx64 "+%" PRIx64 "+%" PRIx64,
                  w->iova, w->size_bytes, flag, w->dev, w->ino, w->fd_offset);
}

static bool write_address(const struct vuc *v, char *at, size_t room)
{
    const struct vuser_capabilities *peer = &v->conn.peer;
    bool ok = append(&at, &room,
                     "vfio-user:fd:%d,established=1,max_msg_fds=%u,max_data_xfer_size=%" PRIu64
                     ",max_dma_maps=%" PRIu64 ",extensions=%u,features=%d",
                     v->conn.main.fd, peer->max_msg_fds, peer->max_data_xfer_size,
                     peer->max_dma_maps, v->conn.extensions, !v->no_features);
    if (ok && v->conn.twin.fd >= 0)
        ok = append(&at, &room, ",twin=%d", v->conn.twin.fd);
    for (unsigned i = 0; ok && i < v->num_windows; i++)
        ok = write_window(&v->windows[i], &at, &room);
    return ok;
}

/* ---- handing on ---- */

int vuc_hand_on(void *self, char *ret, size_t size, struct vmig_error *err)
{
    struct vuc *v = self;
    int fd, twin;
    CLEANUP_FREE char *address = malloc(size ? size : 1);
    if (!address)
        return -ENOMEM;
    if (!write_address(v, address, size))
        return error_set(err, ENOSPC, VMIG_STAGE_NONE, NULL, NULL,
                         "its address for the next process, with %u DMA mappings, does not fit "
                         "into %zu bytes",
                         v->num_windows, size);
    int rc = vuc_conn_release(&v->conn, &fd, &twin, err);
    if (rc)
        return rc;
    fcntl(fd, F_SETFD, 0);
    if (twin >= 0)
        fcntl(twin, F_SETFD, 0);
    strcpy(ret, address);
    return 0;
}
