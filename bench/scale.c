/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What grows and what does not: device state of 1 MiB to 8 GiB, 1 to 64 devices, state that comes in
 * chunks of 64 KiB to 128 MiB, 64 GiB of memory of which little is there. Memory is the peak of a
 * whole process with one engine in it.
 *
 *   bench/scale [--only NAME] [--largest MIB] [--repeat N]
 *
 * Prints one JSON object a line. --largest limits the size of a device's state: two devices hold it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/bench.h"
#include "lib/clock.h"

/* ---- device state, all of it in the pause ---- */

static void state_of_size(uint64_t mib)
{
    struct moved moved = bench_move_devices(1, mib * MIB, 0, false);
    double ms = moved.statistics.stage_ms[VMIG_STAGE_COMPLETE];
    printf("{\"bench\": \"state-size\", \"mib\": %llu, \"gib_per_s\": %.2f, \"pause_ms\": %.1f, "
           "\"source_peak_mib\": %.1f, \"target_peak_mib\": %.1f}\n",
           (unsigned long long)mib, (double)mib / 1024 / (ms / 1e3), moved.statistics.downtime_ms,
           moved.source_peak_mib, moved.target_peak_mib);
}

static void run_state_size(uint64_t largest_mib, int repeat)
{
    (void)repeat;
    for (uint64_t mib = 1; mib <= largest_mib; mib *= mib < 64 ? 8 : mib < 512 ? 8 : 4)
        state_of_size(mib);
}

/* ---- devices ---- */

static void devices_of(unsigned count, unsigned transition_ms, int repeat, double *one_ms)
{
    double pause[REPEAT_MAX], total[REPEAT_MAX];
    struct moved moved;
    for (int i = 0; i < repeat; i++) {
        moved = bench_move_devices(count, MIB, transition_ms, true);
        pause[i] = moved.statistics.downtime_ms;
        total[i] = moved.statistics.total_ms;
    }
    double pause_ms = median(pause, repeat);
    *one_ms = count == 1 ? pause_ms : *one_ms;
    printf("{\"bench\": \"devices\", \"devices\": %u, \"transition_ms\": %u, \"pause_ms\": %.1f, "
           "\"pause_of_one\": %.2f, \"total_ms\": %.0f, \"source_peak_mib\": %.1f, "
           "\"target_peak_mib\": %.1f}\n",
           count, transition_ms, pause_ms, pause_ms / *one_ms, median(total, repeat),
           moved.source_peak_mib, moved.target_peak_mib);
}

static void run_devices(uint64_t largest_mib, int repeat)
{
    (void)largest_mib;
    for (unsigned transition_ms = 0; transition_ms <= 50; transition_ms += 50) {
        double one_ms = 0;
        for (unsigned count = 1; count <= VMIG_DEVICES_MAX; count *= 2)
            devices_of(count, transition_ms, repeat, &one_ms);
    }
}

/* ---- chunks ---- */

#define CHUNKS_TOTAL (1024 * MIB)

struct chunks {
    char *buf;
    size_t chunk_bytes;
};

static int send_chunks(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    const struct chunks *chunks = opaque;
    int rc = 0;
    for (uint64_t sent = 0; rc == 0 && sent < CHUNKS_TOTAL; sent += chunks->chunk_bytes)
        rc = vmig_writer_put(writer, chunks->buf, chunks->chunk_bytes, err);
    return rc;
}

static int drop_chunks(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    (void)opaque;
    (void)buf;
    (void)length_bytes;
    (void)err;
    return 0;
}

static void add_chunks(struct vmig_migration *m, bool target, void *arg)
{
    static const struct vmig_participant_ops ops = { .size = sizeof(ops),
                                                     .complete = send_chunks,
                                                     .load = drop_chunks };
    struct vmig_error err = { 0 };
    (void)target;
    must(vmig_migration_add_participant(m, "chunks", &ops, arg, &err), &err);
}

/* The buffer is the participant's, so it is not counted. */
static void chunks_of(size_t chunk_bytes)
{
    struct memory buffer = bench_memory(chunk_bytes, RANDOM);
    struct chunks chunks = { buffer.at, chunk_bytes };
    struct moved moved = bench_move(add_chunks, &chunks);
    double seconds = moved.statistics.stage_ms[VMIG_STAGE_COMPLETE] / 1e3;
    printf("{\"bench\": \"chunks\", \"chunk_kib\": %zu, \"gib_per_s\": %.2f, "
           "\"source_peak_mib\": %.1f, \"target_peak_mib\": %.1f}\n",
           chunk_bytes / 1024, (double)CHUNKS_TOTAL / GIB / seconds,
           moved.source_peak_mib - (double)chunk_bytes / MIB, moved.target_peak_mib);
    bench_release(&buffer);
}

static void run_chunks(uint64_t largest_mib, int repeat)
{
    (void)largest_mib;
    (void)repeat;
    for (size_t bytes = 64 << 10; bytes <= 128 * MIB; bytes *= bytes < MIB ? 4 : 2)
        chunks_of(bytes);
}

/* The same for what a program reads of a device itself. */
static void reads_of(size_t chunk_bytes, uint64_t state_bytes)
{
    struct vmig_error err = { 0 };
    struct vmig_device *device;
    char address[64], *buf = malloc(chunk_bytes);
    if (!buf)
        die("a buffer");
    memset(buf, 1, chunk_bytes);
    snprintf(address, sizeof(address), "vfio-user:fd:%d", bench_serve_device(state_bytes, 0));
    must(vmig_device_open(address, NULL, &device, &err), &err);
    must(vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err), &err);
    uint64_t start = clock_ns(), total = 0, reads = 0;
    ssize_t n;
    while ((n = vmig_device_data_read(device, buf, chunk_bytes, &err)) > 0) {
        total += (uint64_t)n;
        reads++;
    }
    must((int)n, &err);
    printf("{\"bench\": \"reads\", \"chunk_kib\": %zu, \"gib_per_s\": %.2f, \"reads\": %llu}\n",
           chunk_bytes / 1024, (double)total / GIB / (clock_ms_since(start) / 1e3),
           (unsigned long long)reads);
    vmig_device_close(device);
    free(buf);
}

static void run_reads(uint64_t largest_mib, int repeat)
{
    (void)repeat;
    uint64_t state = (largest_mib < 512 ? largest_mib : 512) * MIB;
    for (size_t bytes = 64 << 10; bytes <= 128 * MIB; bytes *= 4)
        reads_of(bytes, state);
    reads_of(128 * MIB, state);
}

/* ---- sparse memory ---- */

#define SPARSE_BYTES (UINT64_C(64) << 30)
#define SPARSE_STRIDE 64 /* one page of so many is there: 1 GiB of 64 */

static void add_sparse(struct vmig_migration *m, bool target, void *arg)
{
    const struct memory *memory = (const struct memory *)arg + target;
    struct vmig_error err = { 0 };
    struct vmig_ram_block block = {
        .name = "ram", .size_bytes = memory->bytes, .vaddr = memory->at, .fd = memory->fd
    };
    must(vmig_migration_add_ram(m, &block, &err), &err);
}

static void check_sparse(const struct memory *source, const struct memory *target)
{
    for (uint64_t at = 0; at < SPARSE_BYTES; at += SPARSE_STRIDE * 4096)
        if (memcmp(source->at + at, target->at + at, 4096) != 0)
            die("a page differs");
}

static void run_sparse(uint64_t largest_mib, int repeat)
{
    (void)largest_mib;
    (void)repeat;
    struct memory memory[2] = { bench_memory(SPARSE_BYTES, UNTOUCHED),
                                bench_memory(SPARSE_BYTES, UNTOUCHED) };
    for (uint64_t at = 0; at < SPARSE_BYTES; at += SPARSE_STRIDE * 4096)
        memset(memory[0].at + at, (int)(at >> 18 | 1), 4096);
    struct moved moved = bench_move(add_sparse, memory);
    check_sparse(&memory[0], &memory[1]);
    const struct vmig_statistics *s = &moved.statistics;
    printf("{\"bench\": \"sparse\", \"gib\": %llu, \"present_gib\": %.1f, \"total_ms\": %.0f, "
           "\"setup_ms\": %.0f, \"rounds_ms\": %.0f, \"pause_ms\": %.1f, \"sent_mib\": %llu}\n",
           (unsigned long long)(SPARSE_BYTES >> 30), 64.0 / SPARSE_STRIDE, s->total_ms,
           s->stage_ms[VMIG_STAGE_SETUP], s->stage_ms[VMIG_STAGE_ROUNDS], s->downtime_ms,
           (unsigned long long)(s->ram_sent_bytes / MIB));
    bench_release(&memory[0]);
    bench_release(&memory[1]);
}

static const struct {
    const char *name;
    void (*run)(uint64_t largest_mib, int repeat);
} benches[] = {
    { "state-size", run_state_size }, { "devices", run_devices }, { "chunks", run_chunks },
    { "reads", run_reads },           { "sparse", run_sparse },
};

int main(int argc, char **argv)
{
    struct bench_plan plan = { .mib = 1024, .repeat = 1 };
    bench_read_plan(argc, argv, "--largest", 1, &plan);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++)
        if (bench_is_wanted(plan.only, benches[i].name))
            benches[i].run(plan.mib, plan.repeat);
    return 0;
}
