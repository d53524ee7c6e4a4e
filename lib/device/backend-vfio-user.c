/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server as a device: each operation is one command, or as many as its size needs.
 *
 * Answers are checked against what was asked; a server may have repeated another question's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/device/backend-vfio-user.h"
#include "lib/error.h"
#include "lib/memory/bitmap.h"

#define REGION_REPLY_MAX 65536u /* 32 bytes an area: far more areas than make sense */

static int odd_answer(struct vmig_error *err, const char *what, uint64_t got, uint64_t want)
{
    return error_set(err, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                     "the vfio-user server's answer makes no sense: %s is %" PRIu64
                     ", expected %" PRIu64,
                     what, got, want);
}

/* ---- DEVICE_FEATURE ---- */

static int check_feature_reply(const struct vuc_feature *f, const struct vuc_request *r,
                               const uint8_t *head, struct vmig_error *err)
{
    struct vuser_feature echo;
    size_t want = vuser_feature_BYTES + f->out_bytes + f->more_bytes;
    if (r->got_bytes < want)
        return odd_answer(err, "the length of a feature's data", r->got_bytes, want);
    vuser_feature_decode(head, &echo);
    if (echo.flags != f->flags)
        return odd_answer(err, "the feature", echo.flags, f->flags);
    return 0;
}

int vuc_feature(struct vuc *v, struct vuc_feature *f, struct vmig_error *err)
{
    uint8_t head[vuser_feature_BYTES], reply[vuser_feature_BYTES + 32];
    uint64_t in = sizeof(head) + f->in_bytes, out = sizeof(head) + f->out_bytes + f->more_bytes;
    uint64_t argsz = f->flags & VUSER_FEATURE_GET && out > in ? out : in;
    if (v->no_features)
        return -ENOTTY;
    if (argsz > UINT32_MAX || sizeof(head) + f->out_bytes > sizeof(reply))
        return error_set(err, E2BIG, VMIG_STAGE_NONE, NULL, NULL,
                         "%" PRIu64 " bytes do not fit into one message", argsz);
    vuser_feature_encode(&(struct vuser_feature) { (uint32_t)argsz, f->flags }, head);
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)f->in, f->in_bytes } };
    struct vuc_request r = {
        .command = VUSER_DEVICE_FEATURE,
        .fixed = reply,
        .fixed_bytes = sizeof(head) + f->out_bytes,
        .data = f->more,
        .data_bytes = f->more_bytes,
        .slack_bytes = f->in_bytes + VUC_REPLY_SLACK_BYTES, /* SET repeats the command */
    };
    int rc = vuc_start(&v->conn, &r, iov, f->in_bytes > 0 ? 2 : 1, NULL, 0, err);
    if (!rc)
        rc = vuc_wait(&v->conn, &r, f->timeout_ms ? f->timeout_ms : vuc_command_timeout(v), err);
    f->errno_zero = r.errno_zero;
    if (!rc)
        rc = check_feature_reply(f, &r, reply, err);
    if (!rc && f->out_bytes > 0)
        memcpy(f->out, reply + sizeof(head), f->out_bytes);
    return rc;
}

/* ---- what it is ---- */

static int ask_info(struct vuc *v, struct vmig_error *err)
{
    uint8_t command[vuser_device_info_BYTES] = { 0 }, reply[vuser_device_info_BYTES];
    struct vuser_device_info info = { .argsz = sizeof(command) };
    struct vuc_request r = { .command = VUSER_DEVICE_GET_INFO,
                             .fixed = reply,
                             .fixed_bytes = sizeof(reply) };
    vuser_device_info_encode(&info, command);
    int rc = vuc_call(&v->conn, &r, command, sizeof(command), vuc_command_timeout(v), err);
    if (rc)
        return rc;
    vuser_device_info_decode(reply, &info);
    if (info.num_regions == 0 || info.num_regions > VUC_REGIONS_MAX)
        return odd_answer(err, "the number of regions", info.num_regions, VUC_REGIONS_MAX);
    if (info.num_irqs > VUC_IRQS_MAX)
        return odd_answer(err, "the number of interrupt kinds", info.num_irqs, VUC_IRQS_MAX);
    v->regions = calloc(info.num_regions, sizeof(*v->regions));
    if (!v->regions)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    v->info = info;
    return 0;
}

static int vuc_info(void *self, struct vmig_device_info *ret, struct vmig_error *err)
{
    struct vuc *v = self;
    int rc = v->info.num_regions ? 0 : ask_info(v, err);
    if (rc)
        return rc;
    ret->pci = v->info.flags & VUSER_INFO_PCI;
    ret->reset = v->info.flags & VUSER_INFO_RESET;
    ret->num_regions = v->info.num_regions;
    ret->num_irqs = v->info.num_irqs;
    return 0;
}

/* ---- regions ---- */

/* One question, with room for @argsz; the fds replace those of an earlier answer. */
static int ask_region(struct vuc *v, unsigned index, uint32_t argsz, struct vuc_region *region,
                      struct vmig_error *err)
{
    uint8_t command[vuser_region_info_BYTES];
    struct vuser_region_info info = { .argsz = argsz, .index = index };
    CLEANUP_FREE uint8_t *reply = malloc(argsz);
    if (!reply)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    vuser_fds_close(&region->fds);
    struct vuc_request r = { .command = VUSER_DEVICE_GET_REGION_INFO,
                             .fixed = reply,
                             .fixed_bytes = argsz,
                             .fds = &region->fds };
    vuser_region_info_encode(&info, command);
    int rc = vuc_call(&v->conn, &r, command, sizeof(command), vuc_command_timeout(v), err);
    if (rc)
        return rc;
    size_t length = r.got_bytes < argsz ? r.got_bytes : argsz;
    rc = vuser_region_parse(reply, length, region->fds.count, &region->region, err);
    bool full = argsz > vuser_region_info_BYTES; /* what was asked for */
    if (!rc && full && region->region.info.argsz > length)
        rc = odd_answer(err, "the length of a region's description", length,
                        region->region.info.argsz);
    if (!rc && region->region.info.index != index)
        rc = odd_answer(err, "a region's index", region->region.info.index, index);
    return rc;
}

/* The first answer says how long the full one is, and only the full one has fds. */
static int ask_region_twice(struct vuc *v, unsigned index, struct vuc_region *region,
                            struct vmig_error *err)
{
    int rc = ask_region(v, index, vuser_region_info_BYTES, region, err);
    uint32_t argsz = rc ? 0 : region->region.info.argsz;
    if (argsz > REGION_REPLY_MAX)
        return odd_answer(err, "the length of a region's description", argsz, REGION_REPLY_MAX);
    if (!rc && argsz > vuser_region_info_BYTES)
        rc = ask_region(v, index, argsz, region, err);
    return rc;
}

/* Asked once and kept: some servers do not answer this in all states. */
static int get_region(struct vuc *v, unsigned index, struct vuc_region **ret,
                      struct vmig_error *err)
{
    struct vmig_device_info info;
    int rc = vuc_info(v, &info, err);
    if (rc)
        return rc;
    if (index >= info.num_regions)
        return -EINVAL;
    if (!v->regions[index]) {
        struct vuc_region *region = calloc(1, sizeof(*region));
        rc = region ? ask_region_twice(v, index, region, err) : -ENOMEM;
        if (rc) {
            if (region)
                vuser_fds_close(&region->fds);
            free(region);
            return rc;
        }
        v->regions[index] = region;
    }
    *ret = v->regions[index];
    return 0;
}

static int vuc_region_info(void *self, unsigned index, struct vmig_region_info *ret,
                           struct vmig_error *err)
{
    struct vuc_region *region;
    int rc = get_region(self, index, &region, err);
    if (rc)
        return rc;
    ret->index = index;
    ret->flags =
        region->region.info.flags & (VMIG_REGION_READ | VMIG_REGION_WRITE | VMIG_REGION_MMAP);
    ret->size_bytes = region->region.info.size_bytes;
    ret->num_areas = region->region.num_areas;
    for (unsigned i = 0; i < ret->num_areas; i++)
        ret->areas[i] = (struct vmig_region_area) { region->region.areas[i].offset_bytes,
                                                    region->region.areas[i].size_bytes };
    if (ret->num_areas == 0)
        ret->flags &= ~VMIG_REGION_MMAP;
    return 0;
}

static int map_area(struct vuc_region *region, unsigned i, struct vmig_error *err)
{
    const struct vuser_region_area *area = &region->region.areas[i];
    int fd = region->fds.fds[area->fd_index];
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        (uint64_t)st.st_size < area->fd_offset + area->size_bytes)
        return odd_answer(err, "the size of the file behind a region", (uint64_t)st.st_size,
                          area->fd_offset + area->size_bytes);
    int prot =
        region->region.info.flags & VUSER_REGION_FLAG_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    void *map = mmap(NULL, area->size_bytes, prot, MAP_SHARED, fd, (off_t)area->fd_offset);
    if (map == MAP_FAILED)
        return error_set(err, errno, VMIG_STAGE_NONE, NULL, NULL, "mapping a region: %s",
                         strerror(errno));
    region->maps[i] = map;
    return 0;
}

static int vuc_region_map(void *self, unsigned index, const struct vmig_region_area *area,
                          void **ret, struct vmig_error *err)
{
    struct vuc_region *region;
    int rc = get_region(self, index, &region, err);
    for (unsigned i = 0; !rc && i < region->region.num_areas; i++) {
        if (region->region.areas[i].offset_bytes != area->offset_bytes)
            continue;
        rc = region->maps[i] ? 0 : map_area(region, i, err);
        if (!rc)
            *ret = region->maps[i];
        return rc;
    }
    return rc ? rc : -EINVAL;
}

/* One REGION_READ or REGION_WRITE; returns the count done, at least 1. */
static int64_t access_region(struct vuc *v, unsigned index, uint64_t offset, void *read_to,
                             const void *write_from, size_t length, struct vmig_error *err)
{
    uint8_t head[vuser_region_access_BYTES], reply[vuser_region_access_BYTES];
    struct vuser_region_access access = { offset, index, (uint32_t)length }, echo;
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)write_from, length } };
    struct vuc_request r = { .command = read_to ? VUSER_REGION_READ : VUSER_REGION_WRITE,
                             .fixed = reply,
                             .fixed_bytes = sizeof(reply),
                             .data = read_to,
                             .data_bytes = read_to ? length : 0 };
    vuser_region_access_encode(&access, head);
    int rc = vuc_start(&v->conn, &r, iov, read_to ? 1 : 2, NULL, 0, err);
    if (!rc)
        rc = vuc_wait(&v->conn, &r, vuc_command_timeout(v), err);
    if (rc)
        return rc;
    vuser_region_access_decode(reply, &echo);
    if (echo.offset != offset || echo.region != index)
        return odd_answer(err, "the offset of a region access", echo.offset, offset);
    if (echo.count_bytes == 0 || echo.count_bytes > length)
        return odd_answer(err, "the count of a region access", echo.count_bytes, length);
    if (read_to && r.got_bytes < sizeof(reply) + echo.count_bytes)
        return odd_answer(err, "the length of a region read", r.got_bytes,
                          sizeof(reply) + echo.count_bytes);
    return echo.count_bytes;
}

static int access_all(struct vuc *v, unsigned index, uint64_t offset, uint8_t *read_to,
                      const uint8_t *write_from, size_t length, struct vmig_error *err)
{
    size_t max = read_to ? v->stream.chunk_bytes : v->stream.write_bytes, done = 0;
    while (done < length) {
        size_t some = length - done < max ? length - done : max;
        int64_t n = access_region(v, index, offset + done, read_to ? read_to + done : NULL,
                                  write_from ? write_from + done : NULL, some, err);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return 0;
}

static int vuc_region_read(void *self, unsigned index, uint64_t offset, void *buf, size_t length,
                           struct vmig_error *err)
{
    return access_all(self, index, offset, buf, NULL, length, err);
}

static int vuc_region_write(void *self, unsigned index, uint64_t offset, const void *buf,
                            size_t length, struct vmig_error *err)
{
    return access_all(self, index, offset, NULL, buf, length, err);
}

/* ---- interrupts ---- */

static int vuc_irq_info(void *self, unsigned index, struct vmig_irq_info *ret,
                        struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t command[vuser_irq_info_BYTES], reply[vuser_irq_info_BYTES];
    struct vuser_irq_info info = { .argsz = sizeof(command), .index = index };
    struct vuc_request r = { .command = VUSER_DEVICE_GET_IRQ_INFO,
                             .fixed = reply,
                             .fixed_bytes = sizeof(reply) };
    vuser_irq_info_encode(&info, command);
    int rc = vuc_call(&v->conn, &r, command, sizeof(command), vuc_command_timeout(v), err);
    if (rc)
        return rc;
    vuser_irq_info_decode(reply, &info);
    if (info.index != index)
        return odd_answer(err, "an interrupt index", info.index, index);
    *ret = (struct vmig_irq_info) { index, info.flags, info.count };
    return 0;
}

static int send_irqs(struct vuc *v, uint32_t flags, unsigned index, unsigned start, unsigned count,
                     const int *fds, unsigned num_fds, struct vmig_error *err)
{
    uint8_t command[vuser_set_irqs_BYTES];
    struct vuser_set_irqs set = { sizeof(command), flags, index, start, count };
    struct vuc_request r = { .command = VUSER_DEVICE_SET_IRQS };
    struct iovec iov = { command, sizeof(command) };
    vuser_set_irqs_encode(&set, command);
    int rc = vuc_start(&v->conn, &r, &iov, 1, fds, num_fds, err);
    return rc ? rc : vuc_wait(&v->conn, &r, vuc_command_timeout(v), err);
}

/* A message has an fd for each of its vectors or none at all, and not more than the server takes:
 * runs of either kind, cut at that limit. */
static int vuc_set_irqs(void *self, unsigned index, unsigned start, unsigned count,
                        const int *eventfds, struct vmig_error *err)
{
    struct vuc *v = self;
    unsigned limit = v->conn.peer.max_msg_fds;
    int rc = 0;
    if (count == 0)
        return send_irqs(v, VUSER_IRQ_DATA_NONE | VUSER_IRQ_TRIGGER, index, 0, 0, NULL, 0, err);
    for (unsigned at = 0, run; at < count && !rc; at += run) {
        bool attach = eventfds[at] >= 0;
        if (attach && limit == 0)
            return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, NULL, NULL,
                             "the vfio-user server takes no file descriptors (max_msg_fds 0)");
        for (run = 1; at + run < count && (eventfds[at + run] >= 0) == attach; run++)
            if (attach && run == limit)
                break;
        rc = send_irqs(v, VUSER_IRQ_DATA_EVENTFD | VUSER_IRQ_TRIGGER, index, start + at, run,
                       eventfds + at, attach ? run : 0, err);
    }
    return rc;
}

static int vuc_unmask_irqs(void *self, unsigned index, unsigned start, unsigned count,
                           struct vmig_error *err)
{
    return send_irqs(self, VUSER_IRQ_DATA_NONE | VUSER_IRQ_UNMASK, index, start, count, NULL, 0,
                     err);
}

/* ---- memory ---- */

static int room_for_window(struct vuc *v, const struct vuc_window *window, struct vmig_error *err)
{
    if (v->num_windows >= v->conn.peer.max_dma_maps)
        return error_set(err, ENOSPC, VMIG_STAGE_NONE, NULL, NULL,
                         "the vfio-user server takes %" PRIu64 " DMA mappings, this is number %u",
                         v->conn.peer.max_dma_maps, v->num_windows + 1);
    return vuc_window_add(v, window);
}

static int vuc_dma_map(void *self, const struct vmig_dma_map *map, struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t command[vuser_dma_map_BYTES];
    bool with_fd = map->fd >= 0 && v->conn.peer.max_msg_fds > 0;
    struct vuser_dma_map wire = {
        .argsz = sizeof(command),
        .flags = VUSER_DMA_READABLE | (map->writable ? VUSER_DMA_WRITABLE : 0),
        .offset = with_fd ? map->fd_offset : 0,
        .iova = map->iova,
        .size_bytes = map->size_bytes,
    };
    struct vuc_request r = { .command = VUSER_DMA_MAP };
    struct iovec iov = { command, sizeof(command) };
    struct vuc_window window;
    int rc = vuc_window_describe(map, with_fd, &window);
    if (rc)
        return rc;
    /* First: the server may use it before we see its reply. */
    rc = vuc_dma_add(&v->dma, map);
    if (rc)
        return rc;
    rc = vuc_window_take_over(v, &window, err);
    if (rc == 1)
        return 0;
    if (!rc)
        rc = room_for_window(v, &window, err);
    vuser_dma_map_encode(&wire, command);
    if (!rc)
        rc = vuc_start(&v->conn, &r, &iov, 1, &map->fd, with_fd, err);
    if (!rc)
        rc = vuc_wait(&v->conn, &r, vuc_command_timeout(v), err);
    if (rc) {
        vuc_dma_remove(&v->dma, map->iova, map->size_bytes);
        vuc_window_remove(v, window.iova, window.size_bytes, true);
    }
    return rc;
}

static int vuc_dma_unmap(void *self, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t command[vuser_dma_unmap_BYTES], reply[vuser_dma_unmap_BYTES];
    struct vuser_dma_unmap wire = { .argsz = sizeof(command), .iova = iova, .size_bytes = size };
    struct vuc_request r = { .command = VUSER_DMA_UNMAP,
                             .fixed = reply,
                             .fixed_bytes = sizeof(reply) };
    vuser_dma_unmap_encode(&wire, command);
    int rc = vuc_call(&v->conn, &r, command, sizeof(command), vuc_command_timeout(v), err);
    bool inherited = vuc_inherits(v, iova, size);
    /* Whatever the server said: from now on it does not reach that memory through us. */
    int removed = vuc_dma_remove(&v->dma, iova, size);
    if (!rc || !inherited)
        vuc_window_remove(v, iova, size, !inherited);
    return rc || inherited ? rc : removed;
}

/* ---- migration ---- */

static int vuc_reset(void *self, struct vmig_error *err)
{
    struct vuc *v = self;
    struct vuc_request r = { .command = VUSER_DEVICE_RESET };
    vuc_stream_enter(v, NULL);
    int rc = vuc_call(&v->conn, &r, NULL, 0, v->options.transition_timeout_ms, err);
    /* Where a reset leads differs between servers; the streams end in every case. */
    vuc_stream_leave(v, rc ? -1 : (int)VMIG_STATE_RUNNING);
    if (!rc)
        atomic_store(&v->logging, false);
    return rc;
}

static int vuc_migration_info(void *self, struct vmig_migration_info *ret, struct vmig_error *err)
{
    struct vuc *v = self;
    (void)err;
    *ret = v->migration;
    return 0;
}

static int vuc_get_state(void *self, enum vmig_state *ret, struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t data[vuser_state_BYTES];
    struct vuser_state state;
    struct vuc_feature f = { .flags = VUSER_FEATURE_GET | VUSER_FEATURE_MIG_DEVICE_STATE,
                             .out = data,
                             .out_bytes = sizeof(data) };
    int rc = vuc_feature(v, &f, err);
    if (rc)
        return rc;
    vuser_state_decode(data, &state);
    if (state.device_state >= VMIG_STATE_COUNT)
        return odd_answer(err, "the migration state", state.device_state, VMIG_STATE_COUNT - 1);
    vuc_stream_saw(v, (enum vmig_state)state.device_state);
    *ret = (enum vmig_state)state.device_state;
    return 0;
}

static int vuc_set_state(void *self, enum vmig_state target, struct vmig_error *err)
{
    struct vuc *v = self;
    uint8_t data[vuser_state_BYTES];
    struct vuc_feature f = { .flags = VUSER_FEATURE_SET | VUSER_FEATURE_MIG_DEVICE_STATE,
                             .in = data,
                             .in_bytes = sizeof(data),
                             .timeout_ms = v->options.transition_timeout_ms };
    vuser_state_encode(&(struct vuser_state) { target, -1 }, data);
    int rc = vuc_stream_enter(v, err);
    if (!rc)
        rc = vuc_feature(v, &f, err);
    vuc_stream_leave(v, rc ? -1 : (int)target);
    return rc;
}

/* ---- DMA logging ---- */

static int vuc_dma_log_start(void *self, const struct vmig_dma_range *ranges, unsigned num_ranges,
                             uint64_t *pgsize, struct vmig_error *err)
{
    struct vuc *v = self;
    size_t bytes = vuser_log_start_BYTES + (size_t)num_ranges * vuser_log_range_BYTES;
    CLEANUP_FREE uint8_t *in = malloc(bytes);
    uint8_t out[vuser_log_start_BYTES];
    struct vuser_log_start start = { .pgsize = *pgsize, .num_ranges = num_ranges };
    struct vuc_feature f = { .flags = VUSER_FEATURE_SET | VUSER_FEATURE_DMA_LOGGING_START,
                             .in = in,
                             .in_bytes = bytes,
                             .out = out,
                             .out_bytes = sizeof(out) };
    if (!in)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    vuser_log_start_encode(&start, in);
    for (unsigned i = 0; i < num_ranges; i++)
        vuser_log_range_encode(&(struct vuser_log_range) { ranges[i].iova, ranges[i].size_bytes },
                               in + vuser_log_start_BYTES + (size_t)i * vuser_log_range_BYTES);
    int rc = vuc_feature(v, &f, err);
    if (rc)
        return rc;
    vuser_log_start_decode(out, &start);
    if (start.pgsize < 512 || (start.pgsize & (start.pgsize - 1)))
        return odd_answer(err, "the DMA log's page size", start.pgsize, *pgsize);
    *pgsize = start.pgsize;
    atomic_store(&v->log_pgsize, start.pgsize);
    atomic_store(&v->logging, true);
    return 0;
}

static int vuc_dma_log_stop(void *self, struct vmig_error *err)
{
    struct vuc *v = self;
    struct vuc_feature f = { .flags = VUSER_FEATURE_SET | VUSER_FEATURE_DMA_LOGGING_STOP };
    atomic_store(&v->logging, false);
    return vuc_feature(v, &f, err);
}

/* One report, in the page size of START: some servers answer for no other. */
static int fetch_range(struct vuc *v, uint64_t iova, uint64_t size, struct vmig_error *err)
{
    uint64_t pgsize = atomic_load(&v->log_pgsize);
    uint64_t pages = size / pgsize + (size % pgsize != 0);
    uint8_t in[vuser_log_report_BYTES], out[vuser_log_report_BYTES];
    CLEANUP_FREE uint64_t *bitmap = bitmap_new(pages);
    struct vuser_log_report report = { iova, size, pgsize };
    struct vuc_feature f = { .flags = VUSER_FEATURE_GET | VUSER_FEATURE_DMA_LOGGING_REPORT,
                             .in = in,
                             .in_bytes = sizeof(in),
                             .out = out,
                             .out_bytes = sizeof(out),
                             .more = bitmap,
                             .more_bytes = bitmap_words(pages) * 8 };
    if (!bitmap)
        return error_set(err, ENOMEM, VMIG_STAGE_NONE, NULL, NULL, "out of memory");
    vuser_log_report_encode(&report, in);
    int rc = vuc_feature(v, &f, err);
    if (rc)
        return rc;
    vuser_log_report_decode(out, &report);
    if (report.iova != iova || report.size_bytes != size || report.pgsize != pgsize)
        return odd_answer(err, "the DMA log's address", report.iova, iova);
    return vuc_dma_merge(&v->dma, iova, size, pgsize, bitmap);
}

/* What one reply may tell of: a bitmap is data like any other, and no longer than we announced. */
static uint64_t report_bytes_max(const struct vuc *v)
{
    uint64_t words = v->stream.chunk_bytes / 8, bytes;
    uint64_t of_word = 64 * atomic_load(&v->log_pgsize);
    return __builtin_mul_overflow(words ? words : 1, of_word, &bytes) ? UINT64_MAX : bytes;
}

/* How servers say that they know only whole mappings. */
static bool refuses_part(int rc)
{
    return rc == -EOPNOTSUPP || rc == -EINVAL || rc == -ENOENT;
}

/* Ask for the log of one mapping, in as few parts as messages allow; of a server that refuses parts
 * in one, however long. */
static int fetch_log(struct vuc *v, const struct vmig_dma_map *map, struct vmig_error *err)
{
    uint64_t most = report_bytes_max(v), size;
    if (map->size_bytes <= most || atomic_load(&v->logs_whole))
        return fetch_range(v, map->iova, map->size_bytes, err);
    for (uint64_t done = 0; done < map->size_bytes; done += size) {
        struct vmig_error cause = { 0 };
        size = map->size_bytes - done < most ? map->size_bytes - done : most;
        int rc = fetch_range(v, map->iova + done, size, &cause);
        if (refuses_part(rc)) {
            atomic_store(&v->logs_whole, true);
            return fetch_range(v, map->iova, map->size_bytes, err);
        }
        if (rc)
            return error_copy(err, &cause), rc;
    }
    return 0;
}

/* Memory without a file behind it is written by messages only, which are marked here already; and
 * servers refuse to report it. */
static int vuc_dma_log_report(void *self, uint64_t iova, uint64_t size, uint64_t pgsize,
                              uint64_t *bitmap, struct vmig_error *err)
{
    struct vuc *v = self;
    struct vmig_dma_map map;
    if (!vuc_dma_find(&v->dma, iova, size, &map))
        return -EINVAL;
    int rc = 0;
    if (atomic_load(&v->logging) && map.fd >= 0 && v->conn.peer.max_msg_fds > 0)
        rc = fetch_log(v, &map, err);
    return rc ? rc : vuc_dma_take(&v->dma, iova, size, pgsize, bitmap);
}

const struct backend_ops backend_vfio_user = {
    .name = "vfio-user",
    .matches = vuc_matches,
    .open = vuc_open,
    .close = vuc_close,
    .info = vuc_info,
    .region_info = vuc_region_info,
    .region_read = vuc_region_read,
    .region_write = vuc_region_write,
    .region_map = vuc_region_map,
    .irq_info = vuc_irq_info,
    .set_irqs = vuc_set_irqs,
    .unmask_irqs = vuc_unmask_irqs,
    .dma_map = vuc_dma_map,
    .dma_unmap = vuc_dma_unmap,
    .reset = vuc_reset,
    .migration_info = vuc_migration_info,
    .get_state = vuc_get_state,
    .set_state = vuc_set_state,
    .data_size = vuc_data_size,
    .precopy_info = vuc_precopy_info,
    .enable_reinit = vuc_enable_reinit,
    .data_read = vuc_data_read,
    .data_write = vuc_data_write,
    .data_flush = vuc_data_flush,
    .dma_log_start = vuc_dma_log_start,
    .dma_log_stop = vuc_dma_log_stop,
    .dma_log_report = vuc_dma_log_report,
    .hand_on = vuc_hand_on,
    .inherits = vuc_inherits,
};
