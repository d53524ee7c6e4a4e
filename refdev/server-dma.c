/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA windows: where in the client's memory the device may read and write, and how it gets there.
 * Windows with a file are accessed with pread and pwrite, so that a file that shrinks is an error
 * and not a SIGBUS; windows without one by DMA_READ and DMA_WRITE messages. While the reply to such
 * a message is awaited, the client's own commands on the same socket are queued.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "refdev/server-internal.h"

#define HUGETLBFS 0x958458f6

/* ---- windows ---- */

/* The first window that ends after @iova. */
static unsigned find_window(const struct refdev_server *server, uint64_t iova)
{
    unsigned low = 0, high = server->window_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct window *window = &server->windows[middle];
        if (window->iova + (window->size_bytes - 1) < iova)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void window_close(struct window *window)
{
    if (window->mapped)
        munmap(window->mapped, window->size_bytes);
    if (window->fd >= 0)
        close(window->fd);
}

void refdev_windows_drop(struct refdev_server *server)
{
    for (unsigned i = 0; i < server->window_count; i++)
        window_close(&server->windows[i]);
    free(server->windows);
    server->windows = NULL;
    server->window_count = server->window_room = 0;
}

static int insert_window(struct refdev_server *server, unsigned at, const struct window *window)
{
    if (server->window_count == SERVER_WINDOWS_MAX)
        return -ENOSPC;
    if (server->window_count == server->window_room) {
        unsigned room = server->window_room ? 2 * server->window_room : 16;
        struct window *windows = realloc(server->windows, room * sizeof(*windows));
        if (!windows)
            return -ENOMEM;
        server->windows = windows;
        server->window_room = room;
    }
    memmove(server->windows + at + 1, server->windows + at,
            (server->window_count - at) * sizeof(*window));
    server->windows[at] = *window;
    server->window_count++;
    return 0;
}

static void remove_window(struct refdev_server *server, unsigned at)
{
    window_close(&server->windows[at]);
    server->window_count--;
    memmove(server->windows + at, server->windows + at + 1,
            (server->window_count - at) * sizeof(*server->windows));
}

static int check_file_access(const struct window *window)
{
    int mode = fcntl(window->fd, F_GETFL);
    if (mode < 0)
        return -errno;
    mode &= O_ACCMODE;
    if ((window->flags & VUSER_DMA_READABLE) && mode == O_WRONLY)
        return -EACCES;
    if ((window->flags & VUSER_DMA_WRITABLE) && mode == O_RDONLY)
        return -EACCES;
    return 0;
}

static int map_window(struct window *window)
{
    int prot = (window->flags & VUSER_DMA_READABLE ? PROT_READ : 0) |
               (window->flags & VUSER_DMA_WRITABLE ? PROT_WRITE : 0);
    void *mapped =
        mmap(NULL, window->size_bytes, prot, MAP_SHARED, window->fd, (off_t)window->fd_offset);
    if (mapped == MAP_FAILED)
        return -errno;
    window->mapped = mapped;
    window->access = WINDOW_MAPPED;
    return 0;
}

/* Decide how the file behind the window is reached. */
static int open_window(struct window *window)
{
    struct stat st;
    struct statfs fs;
    uint64_t end;
    if (window->fd < 0) {
        window->access = WINDOW_MESSAGES;
        return 0;
    }
    if (__builtin_add_overflow(window->fd_offset, window->size_bytes, &end) || end > INT64_MAX)
        return -EINVAL;
    int rc = check_file_access(window);
    if (rc)
        return rc;
    if (fstat(window->fd, &st) < 0 || fstatfs(window->fd, &fs) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return map_window(window);
    if (end > (uint64_t)st.st_size)
        return -EINVAL;
    if (fs.f_type == HUGETLBFS)
        return map_window(window);
    window->access = WINDOW_FILE;
    return 0;
}

static int add_window(struct refdev_server *server, const struct vuser_dma_map *map, int take_fd)
{
    struct window window = { .iova = map->iova,
                             .size_bytes = map->size_bytes,
                             .flags = map->flags & (VUSER_DMA_READABLE | VUSER_DMA_WRITABLE),
                             .fd = take_fd,
                             .fd_offset = map->offset };
    unsigned at = find_window(server, map->iova);
    int rc = 0;
    if (at < server->window_count && server->windows[at].iova - map->iova < map->size_bytes)
        rc = -EEXIST;
    if (at < server->window_count && server->windows[at].iova <= map->iova)
        rc = -EEXIST;
    if (!rc)
        rc = open_window(&window);
    if (!rc)
        rc = insert_window(server, at, &window);
    if (rc)
        window_close(&window);
    return rc;
}

int refdev_handle_dma_map(struct refdev_server *server, struct request *request)
{
    const uint32_t how = VUSER_DMA_BY_MMAP | VUSER_DMA_BY_FILE_IO;
    const uint32_t known = VUSER_DMA_READABLE | VUSER_DMA_WRITABLE | how;
    struct vuser_dma_map map;
    uint64_t last;
    vuser_dma_map_decode(request->payload, &map);
    if (map.argsz < vuser_dma_map_BYTES || (map.flags & ~known) || !map.size_bytes ||
        __builtin_add_overflow(map.iova, map.size_bytes - 1, &last) ||
        ((map.flags & how) && !request->fds.count))
        return -EINVAL;
    int rc = add_window(server, &map, vuser_fds_take(&request->fds, 0));
    if (!rc)
        refdev_client_reply(server, request, NULL, 0);
    return rc;
}

int refdev_handle_dma_unmap(struct refdev_server *server, struct request *request)
{
    struct vuser_dma_unmap unmap;
    vuser_dma_unmap_decode(request->payload, &unmap);
    if (unmap.argsz < vuser_dma_unmap_BYTES || (unmap.flags & ~VUSER_UNMAP_ALL))
        return -EINVAL;
    if (unmap.flags & VUSER_UNMAP_ALL) {
        if (unmap.iova || unmap.size_bytes)
            return -EINVAL;
        refdev_windows_drop(server);
    } else {
        unsigned at = find_window(server, unmap.iova);
        if (at == server->window_count || server->windows[at].iova != unmap.iova ||
            server->windows[at].size_bytes != unmap.size_bytes)
            return -ENOENT;
        remove_window(server, at);
    }
    refdev_client_reply(server, request, request->payload, vuser_dma_unmap_BYTES);
    return 0;
}

/* ---- messages ---- */

/* The socket has something to read; -EIO otherwise, with the client given up. */
static int wait_for_reply(struct refdev_server *server, const struct vuser_socket *socket)
{
    struct pollfd polls[2] = { { .fd = socket->fd, .events = POLLIN },
                               { .fd = server->stop_fd, .events = POLLIN } };
    int n;
    do {
        n = poll(polls, 2, SERVER_STALL_MS);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && polls[0].revents)
        return 0;
    if (n == 0)
        refdev_server_log(server, "client dropped: no reply to a DMA request for %u ms",
                          SERVER_STALL_MS);
    server->broken = true;
    return -EIO;
}

/* Wait for the reply to @command. Other commands that come first are queued. */
static int receive_reply(struct refdev_server *server, struct vuser_socket *socket,
                         const struct vuser_header *command, struct vuser_header *ret)
{
    struct vuser_fds fds;
    for (;;) {
        int rc = server->broken ? -EIO : wait_for_reply(server, socket);
        if (!rc && vuser_socket_recv_header(socket, ret, &fds, NULL) != 1)
            rc = -EIO;
        if (rc) {
            server->broken = true;
            return rc;
        }
        if (vuser_is_reply(ret)) {
            vuser_fds_close(&fds);
            break;
        }
        if (socket == &server->twin) {
            vuser_fds_close(&fds);
            server->broken = true; /* no commands belong here */
            return -EIO;
        }
        refdev_client_queue(server, ret, &fds);
    }
    if (ret->id == command->id && ret->command == command->command)
        return 0;
    refdev_server_log(server, "client dropped: a reply to nothing");
    server->broken = true;
    return -EIO;
}

/* The reply's payload: @access again, then @data_bytes to @data. */
static int receive_access(struct refdev_server *server, struct vuser_socket *socket,
                          const struct vuser_header *reply, const struct vuser_dma_access *access,
                          void *data, size_t data_bytes)
{
    uint8_t fixed[vuser_dma_access_BYTES];
    struct vuser_dma_access got;
    uint32_t payload = vuser_payload_bytes(reply);
    if (reply->flags & VUSER_ERROR) {
        if (payload && vuser_socket_skip(socket, payload, NULL))
            server->broken = true;
        return vuser_error_code(reply->error);
    }
    if (!payload && !data_bytes)
        return 0; /* a bare header in answer to DMA_WRITE: all of it was written */
    if (payload != sizeof(fixed) + data_bytes) {
        /* A short read, or nonsense: either way not what the device needs. */
        if (vuser_socket_skip(socket, payload, NULL))
            server->broken = true;
        return -EIO;
    }
    if (vuser_socket_recv(socket, fixed, sizeof(fixed), NULL) ||
        vuser_socket_recv(socket, data, data_bytes, NULL)) {
        server->broken = true;
        return -EIO;
    }
    vuser_dma_access_decode(fixed, &got);
    return got.iova == access->iova && got.count_bytes == access->count_bytes ? 0 : -EIO;
}

static int message(struct refdev_server *server, uint16_t number, uint64_t iova, void *in,
                   const void *out, size_t length)
{
    struct vuser_socket *socket = server->twin.fd >= 0 ? &server->twin : &server->socket;
    struct vuser_dma_access access = { iova, length };
    uint8_t fixed[vuser_dma_access_BYTES];
    struct iovec iov[2] = { { fixed, sizeof(fixed) }, { (void *)(uintptr_t)out, length } };
    struct vuser_header reply;
    vuser_dma_access_encode(&access, fixed);
    struct vuser_header command = vuser_command_header(
        ++server->next_id, number, (uint32_t)(sizeof(fixed) + (out ? length : 0)));
    if (vuser_socket_send(socket, &command, iov, out ? 2 : 1, NULL, 0)) {
        server->broken = true;
        return -EIO;
    }
    int rc = receive_reply(server, socket, &command, &reply);
    return rc ? rc : receive_access(server, socket, &reply, &access, in, out ? 0 : length);
}

/* In pieces that the client takes. */
static int messages(struct refdev_server *server, uint16_t number, uint64_t iova, uint8_t *in,
                    const uint8_t *out, size_t length)
{
    size_t most = server->peer.max_data_xfer_size;
    if (most > SERVER_DATA_MAX)
        most = SERVER_DATA_MAX;
    for (size_t done = 0; done < length;) {
        size_t part = length - done < most ? length - done : most;
        if (server->broken)
            return -EIO;
        int rc = message(server, number, iova + done, in ? in + done : NULL,
                         out ? out + done : NULL, part);
        if (rc)
            return rc;
        done += part;
    }
    return 0;
}

/* ---- access ---- */

static int file_io(const struct window *window, uint64_t offset, uint8_t *in, const uint8_t *out,
                   size_t length)
{
    off_t at = (off_t)(window->fd_offset + offset);
    for (size_t done = 0; done < length;) {
        ssize_t n = in ? pread(window->fd, in + done, length - done, at + (off_t)done)
                       : pwrite(window->fd, out + done, length - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EFAULT; /* the file has shrunk */
        done += (size_t)n;
    }
    return 0;
}

/* One piece inside one window. 1: the client carried out a write. */
static int window_access(struct refdev_server *server, const struct window *window, uint64_t iova,
                         uint8_t *in, const uint8_t *out, size_t length)
{
    uint64_t offset = iova - window->iova;
    int rc;
    switch (window->access) {
    case WINDOW_MESSAGES:
        rc = messages(server, in ? VUSER_DMA_READ : VUSER_DMA_WRITE, iova, in, out, length);
        return rc ? rc : out != NULL;
    case WINDOW_FILE:
        return file_io(window, offset, in, out, length);
    case WINDOW_MAPPED:
        break;
    }
    if (in)
        memcpy(in, window->mapped + offset, length);
    else
        memcpy(window->mapped + offset, out, length);
    return 0;
}

/* Over as many windows as it takes. One part by our own hand makes the whole ours to log. */
static int dma(struct refdev_server *server, uint64_t iova, uint8_t *in, const uint8_t *out,
               uint64_t length)
{
    uint32_t needed = in ? VUSER_DMA_READABLE : VUSER_DMA_WRITABLE;
    bool by_client = out != NULL;
    if (!server->window_count)
        return -ENXIO;
    for (uint64_t done = 0; done < length;) {
        unsigned at = find_window(server, iova + done);
        /* A copy: the queue may be run, and windows change, only after this. */
        if (at == server->window_count || server->windows[at].iova > iova + done)
            return -EFAULT;
        struct window window = server->windows[at];
        if (!(window.flags & needed))
            return -EACCES;
        uint64_t part = window.size_bytes - (iova + done - window.iova);
        if (part > length - done)
            part = length - done;
        int rc = window_access(server, &window, iova + done, in ? in + done : NULL,
                               out ? out + done : NULL, part);
        if (rc < 0)
            return rc;
        by_client = by_client && rc == 1;
        done += part;
    }
    return by_client;
}

int refdev_server_dma_read(void *door, uint64_t iova, void *buf, uint64_t length_bytes)
{
    return dma(door, iova, buf, NULL, length_bytes);
}

int refdev_server_dma_write(void *door, uint64_t iova, const void *buf, uint64_t length_bytes)
{
    return dma(door, iova, NULL, buf, length_bytes);
}
