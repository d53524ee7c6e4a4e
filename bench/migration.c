/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast the engine is, as ratios to raw loopback TCP between two processes in the same run:
 * memory of the same size, touched on both sides beforehand (fresh memory measures page faults),
 * sent and received in pieces of 1 MiB by one thread each.
 *
 *   bench/migration [--ram 1024] [--repeat 3] [--only NAME]      sizes in MiB
 *
 * Prints one JSON object a line: name, GiB/s, ratio, and what was asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "lib/clock.h"

/* ---- memory ---- */

struct ram_move {
    struct memory memory[2]; /* source, target */
    enum contents contents;
    bool digest;
};

static void add_ram(struct vmig_migration *m, bool target, void *arg)
{
    const struct ram_move *move = arg;
    const struct memory *memory = &move->memory[target];
    struct vmig_error err = { 0 };
    struct vmig_ram_block block = {
        .name = "ram", .size_bytes = memory->bytes, .vaddr = memory->at, .fd = memory->fd
    };
    if (move->contents == RANDOM || (move->contents == ZEROS && !target))
        bench_populate(memory);
    must(vmig_migration_set(m, "ram-digest", move->digest, &err), &err);
    must(vmig_migration_add_ram(m, &block, &err), &err);
}

static double engine_rate(struct ram_move *move)
{
    struct moved moved = bench_move(add_ram, move);
    return (double)move->memory[0].bytes / GIB / (bench_moving_ms(&moved.statistics) / 1e3);
}

/* One core reading. */
static double read_rate(const struct memory *memory)
{
    const uint64_t *at = (const uint64_t *)(const void *)memory->at;
    uint64_t start = clock_ns(), sum = 0;
    for (uint64_t i = 0; i < memory->bytes / 8; i++)
        sum |= at[i];
    if (sum)
        die("memory that should be zero is not");
    return (double)memory->bytes / GIB / (clock_ms_since(start) / 1e3);
}

static double base_rate(const struct ram_move *move)
{
    if (move->contents == RANDOM)
        return bench_raw_rate(&move->memory[0], &move->memory[1]);
    return move->contents == ZEROS ? read_rate(&move->memory[0]) : 1;
}

static void run_ram(const char *name, enum contents contents, uint64_t bytes, int repeat,
                    double wanted)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        struct ram_move move = {
            .contents = contents,
            .memory = { bench_memory(bytes, contents),
                        bench_memory(bytes, contents == RANDOM ? RANDOM : UNTOUCHED) },
        };
        base[i] = base_rate(&move);
        rate[i] = engine_rate(&move);
        if (contents == RANDOM) /* and once more, so that drift shows */
            base[i] = (base[i] + base_rate(&move)) / 2;
        ratio[i] = rate[i] / base[i];
        bench_release(&move.memory[0]);
        bench_release(&move.memory[1]);
    }
    bench_report(name, bytes, rate, base, ratio, repeat, wanted);
}

/* The same memory without and with digests. */
static void run_digest(const char *name, uint64_t bytes, int repeat, double wanted)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    struct ram_move move = {
        .contents = RANDOM, .memory = { bench_memory(bytes, RANDOM), bench_memory(bytes, RANDOM) }
    };
    for (int i = 0; i < repeat; i++) {
        move.digest = false;
        base[i] = engine_rate(&move);
        move.digest = true;
        rate[i] = engine_rate(&move);
        move.digest = false;
        base[i] = (base[i] + engine_rate(&move)) / 2;
        ratio[i] = rate[i] / base[i];
    }
    bench_release(&move.memory[0]);
    bench_release(&move.memory[1]);
    bench_report(name, bytes, rate, base, ratio, repeat, wanted);
}

/* ---- devices ---- */

struct state_move {
    uint64_t bytes;
    struct memory memory[2]; /* for the limit */
};

/* GiB/s of all its state in the pause, from one device through two engines into another. */
static double live_rate(void *arg)
{
    uint64_t bytes = ((struct state_move *)arg)->bytes;
    struct moved moved = bench_move_devices(1, bytes, 0, false);
    return (double)bytes / GIB / (moved.statistics.stage_ms[VMIG_STAGE_COMPLETE] / 1e3);
}

/* What a program sees that reads one device's state: the client alone. */
static double client_rate(void *arg)
{
    uint64_t bytes = ((struct state_move *)arg)->bytes;
    struct vmig_error err = { 0 };
    struct vmig_device *device;
    char address[64], *buf = malloc(MIB);
    snprintf(address, sizeof(address), "vfio-user:fd:%d", bench_serve_device(bytes, 0));
    must(vmig_device_open(address, NULL, &device, &err), &err);
    must(vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err), &err);
    uint64_t start = clock_ns(), total = 0;
    ssize_t n;
    while ((n = vmig_device_data_read(device, buf, MIB, &err)) > 0)
        total += (uint64_t)n;
    must((int)n, &err);
    double rate = (double)total / GIB / (clock_ms_since(start) / 1e3);
    vmig_device_close(device);
    free(buf);
    return rate;
}

static double loopback_rate(void *arg)
{
    const struct state_move *move = arg;
    return bench_raw_rate(&move->memory[0], &move->memory[1]);
}

static void run_state(const char *name, double (*measure)(void *arg), uint64_t bytes, int repeat)
{
    struct state_move move = {
        .bytes = bytes, .memory = { bench_memory(bytes, RANDOM), bench_memory(bytes, RANDOM) }
    };
    bench_compare(&(struct comparison) { .name = name,
                                         .bytes = bytes,
                                         .measure = measure,
                                         .limit = loopback_rate,
                                         .arg = &move,
                                         .wanted = 0.25 },
                  repeat);
    bench_release(&move.memory[0]);
    bench_release(&move.memory[1]);
}

int main(int argc, char **argv)
{
    struct bench_plan plan = { .mib = 1024, .repeat = 3 };
    bench_read_plan(argc, argv, "--ram", 1, &plan);
    if (bench_is_wanted(plan.only, "ram-incompressible"))
        run_ram("ram-incompressible", RANDOM, plan.mib * MIB, plan.repeat, 0.7);
    if (bench_is_wanted(plan.only, "ram-digest"))
        run_digest("ram-digest", plan.mib * MIB, plan.repeat, 0.7);
    if (bench_is_wanted(plan.only, "ram-zeros"))
        run_ram("ram-zeros", ZEROS, plan.mib * MIB, plan.repeat, 0.7);
    if (bench_is_wanted(plan.only, "ram-never-touched"))
        run_ram("ram-never-touched", UNTOUCHED, 16 * plan.mib * MIB, plan.repeat, 40);
    if (bench_is_wanted(plan.only, "device-state-read"))
        run_state("device-state-read", client_rate, plan.mib / 2 * MIB, plan.repeat);
    if (bench_is_wanted(plan.only, "device-state-live"))
        run_state("device-state-live", live_rate, plan.mib / 2 * MIB, plan.repeat);
    return 0;
}
