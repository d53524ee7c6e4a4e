/* SPDX-License-Identifier: BSD-3-Clause */
/* What the device is, access to its regions, its interrupts, its reset. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "refdev/server-internal.h"

static unsigned quirks(const struct refdev_server *server)
{
    return refdev_profile_of(server->model)->quirks;
}

/* ---- information ---- */

int refdev_handle_get_info(struct refdev_server *server, struct request *request)
{
    struct vuser_device_info info;
    uint8_t out[vuser_device_info_BYTES];
    vuser_device_info_decode(request->payload, &info);
    if (info.argsz < vuser_device_info_BYTES)
        return -EINVAL;
    info = (struct vuser_device_info) { .argsz = vuser_device_info_BYTES,
                                        .flags = VUSER_INFO_PCI | VUSER_INFO_RESET,
                                        .num_regions = REFDEV_NUM_REGIONS,
                                        .num_irqs = REFDEV_NUM_IRQS };
    if (quirks(server) & REFDEV_QUIRK_NO_RESET_FLAG)
        info.flags &= ~VUSER_INFO_RESET;
    server->info_was_read = true;
    vuser_device_info_encode(&info, out);
    refdev_client_reply(server, request, out, sizeof(out));
    return 0;
}

int refdev_handle_region_info(struct refdev_server *server, struct request *request)
{
    struct vuser_region region = { 0 };
    struct refdev_region_info info;
    uint8_t out[256];
    vuser_region_info_decode(request->payload, &region.info);
    if (region.info.argsz < vuser_region_info_BYTES)
        return -EINVAL;
    int rc = refdev_region_info(server->model, region.info.index, &info);
    if (rc)
        return rc;
    size_t room = region.info.argsz < sizeof(out) ? region.info.argsz : sizeof(out);
    region.info = (struct vuser_region_info) { .index = region.info.index,
                                               .flags = info.flags & ~REFDEV_REGION_MMAP,
                                               .size_bytes = info.size_bytes };
    if (info.map_bytes) {
        region.num_areas = 1;
        region.areas[0].offset_bytes = info.map_offset;
        region.areas[0].size_bytes = info.map_bytes;
    }
    size_t need = vuser_region_build(&region, out, room);
    bool full = need <= room;
    struct iovec iov = { out, full ? need : vuser_region_info_BYTES };
    refdev_client_reply_iov(server, request, &iov, 1, &server->shared_fd, full && info.map_bytes);
    return 0;
}

/* There are no ioeventfds to offer: an empty list. */
int refdev_handle_region_io_fds(struct refdev_server *server, struct request *request)
{
    struct vuser_region_io_fds io_fds;
    struct refdev_region_info info;
    uint8_t out[vuser_region_io_fds_BYTES];
    vuser_region_io_fds_decode(request->payload, &io_fds);
    if (io_fds.argsz < vuser_region_io_fds_BYTES || io_fds.flags ||
        refdev_region_info(server->model, io_fds.index, &info) || !info.flags)
        return -EINVAL;
    io_fds.argsz = vuser_region_io_fds_BYTES;
    io_fds.count = 0;
    vuser_region_io_fds_encode(&io_fds, out);
    refdev_client_reply(server, request, out, sizeof(out));
    return 0;
}

static int irq_info(const struct refdev_server *server, unsigned index, struct refdev_irq_info *ret)
{
    if ((quirks(server) & REFDEV_QUIRK_IRQ_NEEDS_INFO) && !server->info_was_read)
        return -EINVAL;
    return refdev_irq_info(server->model, index, ret);
}

int refdev_handle_irq_info(struct refdev_server *server, struct request *request)
{
    struct vuser_irq_info info;
    struct refdev_irq_info irq;
    uint8_t out[vuser_irq_info_BYTES];
    vuser_irq_info_decode(request->payload, &info);
    if (info.argsz < vuser_irq_info_BYTES)
        return -EINVAL;
    int rc = irq_info(server, info.index, &irq);
    if (rc)
        return rc;
    info.argsz = vuser_irq_info_BYTES;
    info.flags = irq.flags;
    info.count = irq.count;
    vuser_irq_info_encode(&info, out);
    refdev_client_reply(server, request, out, sizeof(out));
    return 0;
}

/* ---- regions ---- */

int refdev_handle_region_read(struct refdev_server *server, struct request *request)
{
    struct vuser_region_access access;
    vuser_region_access_decode(request->payload, &access);
    if (access.count_bytes > SERVER_DATA_MAX)
        return -EINVAL;
    int rc = refdev_region_read(server->model, access.region, access.offset,
                                server->out + vuser_region_access_BYTES, access.count_bytes);
    if (rc)
        return rc;
    vuser_region_access_encode(&access, server->out);
    refdev_client_reply(server, request, server->out,
                        vuser_region_access_BYTES + access.count_bytes);
    return 0;
}

int refdev_handle_region_write(struct refdev_server *server, struct request *request)
{
    struct vuser_region_access access;
    uint8_t out[vuser_region_access_BYTES];
    vuser_region_access_decode(request->payload, &access);
    if (access.count_bytes > request->payload_bytes - vuser_region_access_BYTES)
        return -EINVAL;
    int rc = refdev_region_write(server->model, access.region, access.offset,
                                 request->payload + vuser_region_access_BYTES, access.count_bytes);
    if (rc)
        return rc;
    vuser_region_access_encode(&access, out);
    refdev_client_reply(server, request, out, sizeof(out));
    return 0;
}

static int write_entry(struct refdev_server *server, const uint8_t *at)
{
    struct vuser_write_multi_entry entry;
    vuser_write_multi_entry_decode(at, &entry);
    if (entry.count_bytes > sizeof(entry.data))
        return -EINVAL;
    return refdev_region_write(server->model, entry.region, entry.offset, &entry.data,
                               entry.count_bytes);
}

int refdev_handle_write_multi(struct refdev_server *server, struct request *request)
{
    struct vuser_write_multi multi;
    uint8_t out[vuser_write_multi_BYTES];
    uint64_t room =
        (request->payload_bytes - vuser_write_multi_BYTES) / vuser_write_multi_entry_BYTES;
    uint64_t done = 0;
    int rc = 0;
    vuser_write_multi_decode(request->payload, &multi);
    if (multi.wr_cnt > room)
        return -EINVAL;
    const uint8_t *at = request->payload + vuser_write_multi_BYTES;
    for (; done < multi.wr_cnt; done++, at += vuser_write_multi_entry_BYTES) {
        rc = write_entry(server, at);
        if (rc)
            break;
    }
    if (rc && !done)
        return rc;
    multi.wr_cnt = done;
    vuser_write_multi_encode(&multi, out);
    refdev_client_reply(server, request, out, sizeof(out));
    return 0;
}

int refdev_handle_reset(struct refdev_server *server, struct request *request)
{
    refdev_reset(server->model);
    refdev_client_reply(server, request, NULL, 0);
    return 0;
}

/* ---- interrupts ---- */

/* Signal an eventfd; never block on one whose counter is full. */
static void signal_eventfd(int fd)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };
    uint64_t one = 1;
    if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) && write(fd, &one, sizeof(one)) < 0)
        return; /* the client's eventfd is broken: its interrupt is lost, as it would be there */
}

static void irq_fire(struct refdev_server *server, unsigned index, unsigned vector)
{
    struct irq *irq = &server->irqs[index][vector];
    struct refdev_irq_info info;
    if (irq->eventfd < 0)
        return;
    if (irq->masked) {
        irq->pending = true;
        return;
    }
    signal_eventfd(irq->eventfd);
    if (!refdev_irq_info(server->model, index, &info) && (info.flags & 4))
        irq->masked = true; /* automasked: the client unmasks when it has handled it */
}

bool refdev_server_interrupt(void *door, unsigned index, unsigned vector)
{
    struct refdev_server *server = door;
    if (server->irqs[index][vector].eventfd < 0)
        return false;
    irq_fire(server, index, vector);
    return true;
}

static void irq_clear(struct irq *irq)
{
    if (irq->eventfd >= 0)
        close(irq->eventfd);
    *irq = (struct irq) { .eventfd = -1 };
}

static void irqs_clear(struct refdev_server *server, unsigned index)
{
    for (unsigned vector = 0; vector < REFDEV_MSIX_VECTORS; vector++)
        irq_clear(&server->irqs[index][vector]);
}

void refdev_irqs_drop(struct refdev_server *server)
{
    for (unsigned index = 0; index < REFDEV_NUM_IRQS; index++)
        irqs_clear(server, index);
}

/* What is signalled by write() must be an eventfd, or the client could make us block or die. */
static bool is_eventfd(int fd)
{
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return true; /* no /proc: believe it */
    target[n] = '\0';
    return !strcmp(target, "anon_inode:[eventfd]");
}

static int install_eventfds(struct refdev_server *server, const struct vuser_set_irqs *set,
                            struct vuser_fds *fds)
{
    if (fds->count != 0 && fds->count != set->count)
        return -EINVAL;
    for (unsigned i = 0; i < fds->count; i++)
        if (!is_eventfd(fds->fds[i]))
            return -EINVAL;
    for (unsigned i = 0; i < set->count; i++) {
        struct irq *irq = &server->irqs[set->index][set->start + i];
        irq_clear(irq);
        irq->eventfd = vuser_fds_take(fds, i);
    }
    return 0;
}

static void irq_act(struct refdev_server *server, const struct vuser_set_irqs *set, unsigned vector)
{
    struct irq *irq = &server->irqs[set->index][vector];
    if (set->flags & VUSER_IRQ_TRIGGER) {
        irq_fire(server, set->index, vector);
    } else if (set->flags & VUSER_IRQ_MASK) {
        irq->masked = true;
    } else {
        irq->masked = false;
        if (irq->pending)
            irq_fire(server, set->index, vector);
        irq->pending = false;
    }
}

static bool one_bit(uint32_t bits)
{
    return bits && !(bits & (bits - 1));
}

/* -EINVAL unless everything about the command fits together. */
static int check_set_irqs(const struct refdev_server *server, const struct vuser_set_irqs *set,
                          const struct request *request)
{
    const uint32_t data = VUSER_IRQ_DATA_NONE | VUSER_IRQ_DATA_BOOL | VUSER_IRQ_DATA_EVENTFD;
    const uint32_t action = VUSER_IRQ_MASK | VUSER_IRQ_UNMASK | VUSER_IRQ_TRIGGER;
    struct refdev_irq_info info;
    if (set->argsz < vuser_set_irqs_BYTES || (set->flags & ~(data | action)) ||
        !one_bit(set->flags & data) || !one_bit(set->flags & action) ||
        irq_info(server, set->index, &info))
        return -EINVAL;
    if (!set->count)
        return set->start || set->flags != (VUSER_IRQ_DATA_NONE | VUSER_IRQ_TRIGGER) ? -EINVAL : 0;
    if (set->start >= info.count || set->count > info.count - set->start)
        return -EINVAL;
    if (!(set->flags & VUSER_IRQ_TRIGGER) &&
        (!(info.flags & 2) || (set->flags & VUSER_IRQ_DATA_EVENTFD)))
        return -EINVAL; /* not maskable; or wants to be told of masking, which we do not do */
    if ((set->flags & VUSER_IRQ_DATA_BOOL) &&
        set->count > request->payload_bytes - vuser_set_irqs_BYTES)
        return -EINVAL;
    if (!(set->flags & VUSER_IRQ_DATA_EVENTFD) && request->fds.count)
        return -EINVAL;
    return 0;
}

int refdev_handle_set_irqs(struct refdev_server *server, struct request *request)
{
    struct vuser_set_irqs set;
    vuser_set_irqs_decode(request->payload, &set);
    const uint8_t *bools = request->payload + vuser_set_irqs_BYTES;
    int rc = check_set_irqs(server, &set, request);
    if (!rc && !set.count)
        irqs_clear(server, set.index);
    else if (!rc && (set.flags & VUSER_IRQ_DATA_EVENTFD))
        rc = install_eventfds(server, &set, &request->fds);
    else if (!rc)
        for (unsigned i = 0; i < set.count; i++)
            if ((set.flags & VUSER_IRQ_DATA_NONE) || bools[i])
                irq_act(server, &set, set.start + i);
    if (!rc)
        refdev_client_reply(server, request, NULL, 0);
    return rc;
}
