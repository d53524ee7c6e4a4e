/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long it takes to bring in a device's own log of what it wrote: 64 GiB of IOVA space, 1 % of its
 * pages dirty, against the bare ioctl into memory that is ready for it. The device is the project's own
 * kernel module, so this runs where that is loaded, as root: in the rig.
 *
 *   scripts/rig/run -- build/bench/bench-dma-log [--gib 64] [--repeat 5] [--run 256]
 *
 * --run: how many dirty pages lie side by side. Memory is never there but where the device writes.
 * Prints one JSON object. Exit status 77: no such module here.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench.h"
#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/device/kernel.h"
#include "lib/memory/tracker.h"
#include "refdev/registers.h"

#define TYPE "/sys/class/mdev_bus/refdev/mdev_supported_types/refdev-default"
#define UUID "6d64e5f2-57a6-4d3c-9a8e-0000000000b1"
#define PAGE UINT64_C(4096)
#define IOVA (UINT64_C(1) << 32)

struct log {
    struct vmig_device *device;
    struct ram *ram;
    struct tracker *tracker;
    void *memory;
    uint64_t bytes, dirty_pages, run_pages;
    uint64_t *bits; /* the bare ioctl's */
};

/* ---- the device ---- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

static void put(struct log *log, unsigned reg, uint64_t value)
{
    struct vmig_error err = { 0 };
    must(vmig_device_region_write(log->device, REFDEV_BAR_REGISTERS, reg, &value, sizeof(value),
                                  &err),
         &err);
}

static uint64_t get(struct log *log, unsigned reg)
{
    struct vmig_error err = { 0 };
    uint64_t value = 0;
    must(vmig_device_region_read(log->device, REFDEV_BAR_REGISTERS, reg, &value, sizeof(value),
                                 &err),
         &err);
    return value;
}

static void fill(struct log *log, uint64_t page)
{
    put(log, REFDEV_REG_COPY_TARGET, IOVA + page * PAGE);
    put(log, REFDEV_REG_COPY_LENGTH, log->run_pages * PAGE);
    put(log, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
    while (get(log, REFDEV_REG_COPY_STATUS) == REFDEV_STATUS_BUSY)
        ;
    if (get(log, REFDEV_REG_COPY_STATUS) != REFDEV_STATUS_DONE)
        die("the device cannot write to memory");
}

/* Runs at equal distances. */
static void make_dirty(struct log *log)
{
    uint64_t runs = log->dirty_pages / log->run_pages, pages = log->bytes / PAGE;
    for (uint64_t i = 0; i < runs; i++)
        fill(log, i * (pages / runs));
}

static void map(struct log *log)
{
    struct vmig_error err = { 0 };
    uint16_t enable = 6; /* memory, bus master */
    log->memory = mmap(NULL, log->bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    /* a huge page for each run would be more than the rig has */
    if (log->memory == MAP_FAILED || madvise(log->memory, log->bytes, MADV_NOHUGEPAGE))
        die("address space");
    struct vmig_dma_map request = {
        .iova = IOVA, .size_bytes = log->bytes, .vaddr = log->memory, .fd = -1, .writable = true
    };
    must(vmig_device_dma_map(log->device, &request, &err), &err);
    must(
        vmig_device_region_write(log->device, VMIG_REGION_CONFIG, 4, &enable, sizeof(enable), &err),
        &err);
}

static void begin(struct log *log)
{
    struct vmig_error err = { 0 };
    write_file(TYPE "/create", UUID);
    must(vmig_device_open(UUID, NULL, &log->device, &err), &err);
    map(log);
    struct vmig_ram_block block = {
        .name = "ram", .iova = IOVA, .size_bytes = log->bytes, .vaddr = log->memory, .fd = -1
    };
    log->ram = ram_new();
    must(ram_add(log->ram, &block, &err), &err);
    must(tracker_device_new(log->device, &log->tracker, &err), &err);
    must(log->tracker->ops->start(log->tracker, log->ram, &err), &err);
    if (posix_memalign((void **)&log->bits, PAGE, log->bytes / PAGE / 8))
        die("memory for bits");
}

static void end(struct log *log)
{
    log->tracker->ops->free(log->tracker);
    ram_free(log->ram);
    vmig_device_close(log->device);
    munmap(log->memory, log->bytes);
    free(log->bits);
    write_file("/sys/bus/mdev/devices/" UUID "/remove", "1");
}

/* ---- measuring ---- */

static void check(const struct log *log, const uint64_t *bits)
{
    if (bitmap_count(bits, log->bytes / PAGE) == log->dirty_pages)
        return;
    fprintf(stderr, "%llu of %llu dirty pages were told\n",
            (unsigned long long)bitmap_count(bits, log->bytes / PAGE),
            (unsigned long long)log->dirty_pages);
    exit(1);
}

static double bare_ms(struct log *log)
{
    struct vfio_device_feature_dma_logging_report report = {
        .iova = IOVA, .length = log->bytes, .page_size = PAGE, .bitmap = (uintptr_t)log->bits
    };
    make_dirty(log);
    memset(log->bits, 0, log->bytes / PAGE / 8);
    uint64_t start = clock_ns();
    if (kernel_feature(log->device->backend, VFIO_DEVICE_FEATURE_GET,
                       VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, &report, sizeof(report)))
        die("reading the log");
    double ms = clock_ms_since(start);
    check(log, log->bits);
    return ms;
}

static double sync_ms(struct log *log)
{
    struct vmig_error err = { 0 };
    struct ram_block *block = &log->ram->blocks[0];
    make_dirty(log);
    bitmap_clear_range(block->dirty, 0, block->pages);
    uint64_t start = clock_ns();
    must(log->tracker->ops->sync(log->tracker, log->ram, &err), &err);
    double ms = clock_ms_since(start);
    check(log, block->dirty);
    return ms;
}

int main(int argc, char **argv)
{
    struct log log = { .bytes = UINT64_C(64) << 30, .run_pages = 256 };
    double bare[REPEAT_MAX], ours[REPEAT_MAX];
    int repeat = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--gib"))
            log.bytes = strtoull(argv[i + 1], NULL, 0) << 30;
        else if (!strcmp(argv[i], "--repeat"))
            repeat = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--run"))
            log.run_pages = strtoull(argv[i + 1], NULL, 0);
    }
    uint64_t pages = log.bytes / PAGE;
    if (!log.run_pages || log.run_pages > REFDEV_COPY_MAX / PAGE || !log.bytes || repeat < 1 ||
        repeat > REPEAT_MAX) {
        fprintf(stderr, "usage: bench-dma-log [--gib N] [--repeat 1 to %d] [--run 1 to %llu]\n",
                REPEAT_MAX, (unsigned long long)(REFDEV_COPY_MAX / PAGE));
        return 2;
    }
    if (access(TYPE, F_OK)) {
        fprintf(stderr, "the project's kernel module is not loaded here: run this in the rig\n");
        return 77;
    }
    log.dirty_pages = pages / 100 / log.run_pages * log.run_pages;
    begin(&log);
    bare_ms(&log); /* what the device touches first takes longer */
    for (int i = 0; i < repeat; i++) {
        bare[i] = bare_ms(&log);
        ours[i] = sync_ms(&log);
    }
    end(&log);
    double bare_median = median(bare, repeat), ours_median = median(ours, repeat);
    printf(
        "{\"bench\":\"dma-log\",\"gib\":%.0f,\"dirty_pages\":%llu,\"run_pages\":%llu,\"repeat\":%d,"
        "\"bare_ms\":%.2f,\"sync_ms\":%.2f,\"ratio\":%.2f,\"bare_spread\":%.2f,"
        "\"sync_spread\":%.2f}\n",
        (double)log.bytes / GIB, (unsigned long long)log.dirty_pages,
        (unsigned long long)log.run_pages, repeat, bare_median, ours_median,
        ours_median / bare_median, (bare[repeat - 1] - bare[0]) / bare_median,
        (ours[repeat - 1] - ours[0]) / ours_median);
    return 0;
}
