/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-vmm and QEMU side by side: the same memory with the same contents moves over loopback TCP, by turns, and both
 * are told the same way (QMP) what to do. QEMU emulates its processors; while memory is measured they stand still.
 *
 *   bench/qemu --vmm PATH [--qemu qemu-system-x86_64] [--ram 1024] [--repeat 5] [--only NAME]      sizes in MiB
 *
 * Rates count from the command `migrate` until both sides have said that it is completed: connecting and cleaning up
 * are in them. A pause counts from STOP at the source to RESUME at the target. QEMU has one connection; ours has one
 * data channel, or none where the row's name ends in "-no-channel" (then memory goes in sections of the main channel,
 * as QEMU's does). Guest memory is a memfd in both, as devices in other processes need it.
 *
 * Prints a JSON object a line. Exit status 77: there is no QEMU here, or no KVM. BENCH_VERBOSE=1: what the machines say.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"

#define BANDWIDTH (INT64_C(1) << 40) /* bytes a second: no limit */
#define PIECE_BYTES (64 * MIB)
#define DOWNTIME_LIMIT_MS 300 /* what both have unless told otherwise */
#define PAUSE_AT_MOST 0.1
#define KEEP_BYTES (16 * MIB) /* at both ends of memory: what an idle guest is made of */

#define LIST(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

enum { THEIRS, OURS };
static struct machine_kind kinds[] = {
    [THEIRS] = { .name = "QEMU",
                 .program = "qemu-system-x86_64",
                 .mapping = "memfd:memory-backend-memfd",
                 .arguments = LIST("-nodefaults", "-no-user-config", "-display", "none", "-machine",
                                   "pc,accel=tcg,memory-backend=ram", "-object",
                                   "memory-backend-memfd,id=ram,share=on,size=%uM", "-m", "%uM",
                                   "-qmp", "unix:%s,server=on,wait=off"),
                 .of_role = { LIST("-S"), LIST("-incoming", "defer") },
                 .starts_stopped = true },
    [OURS] = { .name = "vfio-vmm",
               .program = "vfio-vmm",
               .mapping = "memfd:guest-memory",
               .arguments = LIST("--memory", "%uM", "--qmp", "unix:%s", "--serial", "none"),
               .of_role = { LIST("--guest", "pattern", "--append", "idle=1"),
                            LIST("--incoming", "defer") } },
};

struct setting {
    const char *name;
    double wanted;
    enum contents at_source, at_target;
    unsigned channels; /* of ours */
    bool runs;         /* the guest does, and has nothing to do; otherwise it is stopped */
};

struct outcome {
    double seconds, pause_ms;
};

static void prepare(struct machine *machine, unsigned channels)
{
    machine_tell(machine, "migrate-set-capabilities",
                 json_pack("{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability", "multifd",
                           "state", channels > 0, "capability", "events", "state", 1));
    machine_tell(machine, "migrate-set-parameters",
                 json_pack("{s:I, s:i, s:i}", "max-bandwidth", (json_int_t)BANDWIDTH,
                           "downtime-limit", DOWNTIME_LIMIT_MS, "multifd-channels",
                           channels ? (int)channels : 1));
}

static void fill(struct machine *machine, enum contents contents, uint64_t keep_bytes)
{
    if (contents == UNTOUCHED)
        return;
    struct memory piece = bench_memory(PIECE_BYTES, contents);
    machine_fill(machine, &piece, keep_bytes, machine->memory_bytes - keep_bytes);
    bench_release(&piece);
}

static struct outcome move(const struct machine_kind *kind, const struct setting *setting,
                           uint64_t bytes)
{
    unsigned channels = kind == &kinds[OURS] ? setting->channels : 0;
    struct machine *source = machine_start(kind, SOURCE, bytes);
    struct machine *target = machine_start(kind, TARGET, bytes);
    prepare(source, channels);
    prepare(target, channels);
    fill(target, setting->at_target, 0);
    if (setting->runs)
        machine_idle(source);
    else
        machine_stop(source);
    fill(source, setting->at_source, setting->runs ? KEEP_BYTES : 0);
    source->said = target->said = (struct moments) { 0 };
    uint64_t start = machine_move(source, target, setting->runs);
    const struct moments *last =
        source->said.completed_ns > target->said.completed_ns ? &source->said : &target->said;
    struct outcome outcome = { .seconds = (double)(last->completed_ns - start) / 1e9 };
    if (setting->runs)
        outcome.pause_ms = (double)(target->said.resumed_ns - source->said.stopped_ns) / 1e6;
    machine_end(target);
    machine_end(source);
    return outcome;
}

static void report_pause(const char *name, uint64_t bytes, double *ours, double *theirs,
                         double *ratio, int repeat)
{
    double middle = median(ratio, repeat); /* sorts */
    printf("{\"bench\": \"%s-pause\", \"mib\": %llu, \"ms\": %.2f, \"qemu_ms\": %.1f, "
           "\"ratio\": %.4f, \"ratio_min\": %.4f, \"ratio_max\": %.4f, \"at_most\": %.2f, "
           "\"downtime_limit_ms\": %d}\n",
           name, (unsigned long long)(bytes / MIB), median(ours, repeat), median(theirs, repeat),
           middle, ratio[0], ratio[repeat - 1], PAUSE_AT_MOST, DOWNTIME_LIMIT_MS);
    fflush(stdout);
}

/* By turns, so that what else the machine does hits both. */
static void run(const struct setting *setting, uint64_t bytes, int repeat)
{
    double rate[2][REPEAT_MAX], pause[2][REPEAT_MAX], ratio[REPEAT_MAX], shorter[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        for (int which = THEIRS; which <= OURS; which++) {
            struct outcome outcome = move(&kinds[which], setting, bytes);
            rate[which][i] = (double)bytes / GIB / outcome.seconds;
            pause[which][i] = outcome.pause_ms;
        }
        ratio[i] = rate[OURS][i] / rate[THEIRS][i];
        shorter[i] = pause[OURS][i] / pause[THEIRS][i];
    }
    bench_report(setting->name, bytes, rate[OURS], rate[THEIRS], ratio, repeat, setting->wanted);
    if (setting->runs)
        report_pause(setting->name, bytes, pause[OURS], pause[THEIRS], shorter, repeat);
}

/* What the same bytes take without any migration: both rates above are to be seen beside it. */
static void run_raw(uint64_t bytes, int repeat)
{
    double rate[REPEAT_MAX];
    struct memory from = bench_memory(bytes, RANDOM), to = bench_memory(bytes, RANDOM);
    for (int i = 0; i < repeat; i++)
        rate[i] = bench_raw_rate(&from, &to);
    printf("{\"bench\": \"qemu-raw-loopback\", \"mib\": %llu, \"gib_per_s\": %.2f}\n",
           (unsigned long long)(bytes / MIB), median(rate, repeat));
    fflush(stdout);
    bench_release(&from);
    bench_release(&to);
}

static const struct setting settings[] = {
    { "qemu-ram-incompressible", 1.3, RANDOM, RANDOM, 1, false },
    { "qemu-ram-incompressible-no-channel", 1.3, RANDOM, RANDOM, 0, false },
    { "qemu-ram-incompressible-2-channels", 1.3, RANDOM, RANDOM, 2, false },
    { "qemu-ram-untouched", 5, UNTOUCHED, UNTOUCHED, 1, false },
    { "qemu-ram-zeros", 1.5, ZEROS, UNTOUCHED, 1, false },
    { "qemu-ram-zeros-touched", 1.5, ZEROS, ZEROS, 1, false }, /* at the target, too */
    { "qemu-idle", 1.3, RANDOM, RANDOM, 1, true },
};

int main(int argc, char **argv)
{
    struct bench_plan plan = { .mib = 1024, .repeat = 5 };
    bench_read_plan(argc, argv, "--ram", 64, &plan);
    const char *vmm = bench_option(argc, argv, "--vmm");
    const char *qemu = bench_option(argc, argv, "--qemu");
    if (vmm)
        kinds[OURS].program = vmm;
    if (qemu)
        kinds[THEIRS].program = qemu;
    if (bench_is_wanted(plan.only, "qemu-raw-loopback"))
        run_raw(plan.mib * MIB, plan.repeat);
    for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (bench_is_wanted(plan.only, settings[i].name))
            run(&settings[i], plan.mib * MIB, plan.repeat);
    return 0;
}
