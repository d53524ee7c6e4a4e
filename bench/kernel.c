/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast a kernel device's state moves: instances of the project's own module (refdev/kernel), so
 * this runs where that is loaded, as root: in the rig.
 *
 *   scripts/rig/run -- build/bench/bench-kernel [--state 512] [--repeat 3] [--only NAME]      sizes in MiB
 *
 * kernel-save: a device's state into nothing, against a bare loop that reads the same data fd in pieces
 * of the same size. kernel-save-file: into a file, against a loop that also writes one. kernel-live: from
 * one device through two engines into another, all in the pause, against raw loopback TCP.
 *
 * Prints one JSON object a line. Exit status 77: no such module here.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "lib/clock.h"
#include "lib/device/device.h"
#include "lib/device/kernel.h"
#include "lib/migration/wire.h"

#define TYPE "/sys/class/mdev_bus/refdev/mdev_supported_types/refdev-default"
#define SOURCE "6d64e5f2-57a6-4d3c-9a8e-0000000000a1"
#define TARGET "6d64e5f2-57a6-4d3c-9a8e-0000000000a2"
#define SAVED "/tmp/bench-kernel-state"

/* ---- devices ---- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

static void write_attribute(const char *uuid, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/%s", uuid, name);
    write_file(path, text);
}

static void create(const char *uuid, uint64_t state_bytes)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)state_bytes);
    write_file(TYPE "/create", uuid);
    write_attribute(uuid, "refdev/state_size", text);
}

static struct vmig_device *open_device(const char *uuid)
{
    /* it answers when all of its memory is filled */
    struct vmig_device_options options = { .size = sizeof(options),
                                           .id = "device",
                                           .command_timeout_ms = 600000 };
    struct vmig_error err = { 0 };
    struct vmig_device *device;
    must(vmig_device_open(uuid, &options, &device, &err), &err);
    return device;
}

/* ---- save ---- */

/* Its data fd, without the library. */
static int set_state(struct vmig_device *device, uint32_t state)
{
    struct vfio_device_feature_mig_state feature = { .device_state = state, .data_fd = -1 };
    struct kernel_device *kernel = device->backend;
    if (kernel_feature(kernel, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
                       &feature, sizeof(feature)) != 0)
        die("changing the device's state");
    return feature.data_fd;
}

struct save {
    struct vmig_device *device;
    bool file; /* or into nothing */
};

static int open_output(const struct save *save)
{
    int fd = save->file ? open(SAVED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                        : open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        die("opening what is written to");
    return fd;
}

/* Read, and to a file also written, by one thread. */
static double bare_rate(void *arg)
{
    const struct save *save = arg;
    char *buf = malloc(WIRE_CHUNK_BYTES);
    int out = open_output(save), fd = set_state(save->device, VFIO_DEVICE_STATE_STOP_COPY);
    uint64_t start = clock_ns(), total = 0;
    ssize_t n;
    for (; (n = read(fd, buf, WIRE_CHUNK_BYTES)) > 0; total += (uint64_t)n)
        if (save->file && write(out, buf, (size_t)n) != n)
            die("writing the device's state");
    if (n < 0 || (save->file && fsync(out) != 0))
        die("copying the device's state");
    double rate = (double)total / GIB / (clock_ms_since(start) / 1e3);
    close(fd);
    close(out);
    unlink(SAVED);
    set_state(save->device, VFIO_DEVICE_STATE_RUNNING);
    free(buf);
    return rate;
}

/* As `vfio-migrate save` does it: changes of state count, and the file's way to its name. */
static double save_rate(void *arg)
{
    const struct save *save = arg;
    struct vmig_error err = { 0 };
    struct vmig_statistics s = { .size = sizeof(s) };
    struct vmig_migration *m = vmig_migration_new(NULL, &err);
    char address[100] = "file:" SAVED;
    int out = open_output(save);
    if (!save->file)
        snprintf(address, sizeof(address), "fd:%d", out);
    must(m ? 0 : err.code, &err);
    must(vmig_migration_set(m, "pre-copy", 0, &err), &err);
    must(vmig_migration_set(m, "downtime-limit", 2000000, &err), &err);
    must(vmig_migration_set(m, "max-bandwidth", 0, &err), &err);
    must(vmig_migration_add_device(m, save->device, &err), &err);
    must(vmig_migration_snapshot(m, address, &err), &err);
    vmig_migration_query(m, &s);
    vmig_migration_free(m);
    close(out);
    unlink(SAVED);
    return (double)s.stage_bytes[VMIG_STAGE_COMPLETE] / GIB / (bench_moving_ms(&s) / 1e3);
}

/* ---- live ---- */

struct live {
    uint64_t bytes;
    struct memory memory[2]; /* for the limit */
};

static void add(struct vmig_migration *m, bool target, void *arg)
{
    struct vmig_error err = { 0 };
    (void)arg;
    must(vmig_migration_set(m, "pre-copy", 0, &err), &err);
    must(vmig_migration_add_device(m, open_device(target ? TARGET : SOURCE), &err), &err);
}

static double live_rate(void *arg)
{
    const struct live *live = arg;
    struct moved moved = bench_move(add, NULL);
    return (double)live->bytes / GIB / (moved.statistics.stage_ms[VMIG_STAGE_COMPLETE] / 1e3);
}

static double loopback_rate(void *arg)
{
    const struct live *live = arg;
    return bench_raw_rate(&live->memory[0], &live->memory[1]);
}

/* ---- both ---- */

static void run_save(const char *name, bool file, uint64_t bytes, int repeat)
{
    struct save save = { .device = open_device(SOURCE), .file = file };
    bench_compare(&(struct comparison) { .name = name,
                                         .bytes = bytes,
                                         .measure = save_rate,
                                         .limit = bare_rate,
                                         .arg = &save,
                                         .wanted = 0.6 },
                  repeat);
    vmig_device_close(save.device);
}

static void run_live(uint64_t bytes, int repeat)
{
    struct live live = {
        .bytes = bytes,
        .memory = { bench_memory(bytes / 4, RANDOM), bench_memory(bytes / 4, RANDOM) },
    };
    create(TARGET, bytes);
    bench_compare(&(struct comparison) { .name = "kernel-live",
                                         .bytes = bytes,
                                         .measure = live_rate,
                                         .limit = loopback_rate,
                                         .arg = &live,
                                         .wanted = 0.5 },
                  repeat);
    write_attribute(TARGET, "remove", "1");
    bench_release(&live.memory[0]);
    bench_release(&live.memory[1]);
}

int main(int argc, char **argv)
{
    struct bench_plan plan = { .mib = 512, .repeat = 3 };
    bench_read_plan(argc, argv, "--state", 1, &plan);
    if (access(TYPE, F_OK) != 0) {
        fprintf(stderr,
                "vfio_migrate_refdev.ko is not loaded: scripts/rig/run -- PROGRAM runs this\n");
        return 77;
    }
    create(SOURCE, plan.mib * MIB);
    if (bench_is_wanted(plan.only, "kernel-save"))
        run_save("kernel-save", false, plan.mib * MIB, plan.repeat);
    if (bench_is_wanted(plan.only, "kernel-save-file"))
        run_save("kernel-save-file", true, plan.mib * MIB, plan.repeat);
    if (bench_is_wanted(plan.only, "kernel-live"))
        run_live(plan.mib * MIB, plan.repeat);
    write_attribute(SOURCE, "remove", "1");
    return 0;
}
