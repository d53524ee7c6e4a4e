/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a cancel takes: migrations of two devices and 256 MiB of memory between two processes,
 * each cancelled once, at the source and at the target in turn, at a random moment of its length.
 * It has happened when send or receive returns, with the devices back where they were; or it is
 * answered by naming what it waits for, if that comes first.
 *
 *   bench/cancel [--count N] [--transition MS] [--state MIB] [--seed N]
 *
 * Prints one JSON object. Those that came past the point of no return are drawn again.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "lib/clock.h"

#define DEVICES 2
#define COUNT_MAX 10000
#define RAM_BYTES (256 * MIB)

struct plan {
    struct memory memory[2];
    int devices[2][DEVICES];
    bool cancel_target;
    double at_ms; /* after the target was found; negative: never */
};

struct sample {
    int rc;
    double length_ms;   /* from the first stage after PREPARE to the return */
    double returned_ms; /* from the cancel */
    double named_ms;    /* the same, or 0 */
};

/* One side, in a process of its own. */
static struct side {
    struct vmig_migration *m;
    int address_fd, begun[2];
    double at_ms;
    _Atomic uint64_t begun_ns, cancelled_ns, named_ns;
} side;

static void on_event(void *opaque, const struct vmig_event *event)
{
    uint64_t none = 0, now = clock_ns();
    (void)opaque;
    if (event->kind == VMIG_EVENT_LISTENING &&
        write(side.address_fd, event->text, strlen(event->text) + 1) < 0)
        die("pipe");
    if (event->kind == VMIG_EVENT_STAGE && event->stage > VMIG_STAGE_PREPARE &&
        atomic_compare_exchange_strong(&side.begun_ns, &none, now) &&
        write(side.begun[1], "b", 1) != 1)
        die("pipe");
    if (event->kind == VMIG_EVENT_WAITING && side.cancelled_ns && !side.named_ns)
        side.named_ns = now;
}

static void *cancel_main(void *opaque)
{
    char byte;
    (void)opaque;
    if (read(side.begun[0], &byte, 1) != 1)
        return NULL;
    usleep((unsigned)(side.at_ms * 1e3));
    side.cancelled_ns = clock_ns();
    vmig_migration_cancel(side.m);
    return NULL;
}

static void add_devices(const struct plan *plan, bool target)
{
    struct vmig_error err = { 0 };
    const struct memory *memory = &plan->memory[target];
    struct vmig_dma_map map = {
        .size_bytes = memory->bytes, .vaddr = memory->at, .fd = memory->fd, .writable = true
    };
    for (unsigned i = 0; i < DEVICES; i++) {
        char address[64], id[16];
        struct vmig_device *device;
        snprintf(address, sizeof(address), "vfio-user:fd:%d", plan->devices[target][i]);
        snprintf(id, sizeof(id), "device%u", i);
        struct vmig_device_options options = { .size = sizeof(options), .id = id };
        must(vmig_device_open(address, &options, &device, &err), &err);
        must(vmig_device_dma_map(device, &map, &err), &err);
        must(vmig_migration_add_device(side.m, device, &err), &err);
    }
}

static void prepare(const struct plan *plan, bool target)
{
    struct vmig_error err = { 0 };
    const struct memory *memory = &plan->memory[target];
    struct vmig_host host = { .size = sizeof(host), .event = on_event };
    struct vmig_ram_block block = {
        .name = "ram", .size_bytes = memory->bytes, .vaddr = memory->at, .fd = memory->fd
    };
    side.m = vmig_migration_new(&host, &err);
    must(side.m ? 0 : err.code, &err);
    must(vmig_migration_set(side.m, "downtime-limit", 2000000, &err), &err);
    must(vmig_migration_set(side.m, "max-bandwidth", 0, &err), &err);
    bench_populate(memory);
    must(vmig_migration_add_ram(side.m, &block, &err), &err);
    add_devices(plan, target);
    if (pipe(side.begun) != 0)
        die("pipe");
}

static double ms_between(uint64_t from, uint64_t to)
{
    return from && to ? (double)(to - from) / 1e6 : 0;
}

/* @address: of the target; NULL makes one. */
static _Noreturn void be(const struct plan *plan, const char *address, int out)
{
    struct vmig_error err = { 0 };
    pthread_t thread;
    bool target = !address;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    side.address_fd = out;
    side.at_ms = plan->at_ms;
    prepare(plan, target);
    if (plan->at_ms >= 0 && target == plan->cancel_target &&
        pthread_create(&thread, NULL, cancel_main, NULL) != 0)
        die("thread");
    int rc = target ? vmig_migration_receive(side.m, "tcp:127.0.0.1:0", &err)
                    : vmig_migration_send(side.m, address, &err);
    uint64_t end = clock_ns();
    struct sample s = { .rc = rc,
                        .length_ms = ms_between(side.begun_ns, end),
                        .returned_ms = ms_between(side.cancelled_ns, end),
                        .named_ms = ms_between(side.cancelled_ns, side.named_ns) };
    if (write(out, &s, sizeof(s)) != sizeof(s))
        die("pipe");
    _exit(0);
}

static void end_devices(struct plan *plan)
{
    for (int target = 0; target < 2; target++)
        for (unsigned i = 0; i < DEVICES; i++)
            close(plan->devices[target][i]);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ; /* devices that have ended */
}

/* What the side says that is cancelled, or the source. */
static struct sample run(struct plan *plan, uint64_t state_bytes, unsigned transition_ms)
{
    struct sample samples[2];
    char address[100];
    int out[2][2];
    pid_t pids[2];
    for (int target = 0; target < 2; target++)
        for (unsigned i = 0; i < DEVICES; i++)
            plan->devices[target][i] = bench_serve_device(state_bytes, transition_ms);
    if (pipe(out[0]) != 0 || pipe(out[1]) != 0)
        die("pipe");
    if ((pids[1] = fork()) == 0)
        be(plan, NULL, out[1][1]);
    if (read(out[1][0], address, sizeof(address)) <= 0)
        die("the target's address");
    if ((pids[0] = fork()) == 0)
        be(plan, address, out[0][1]);
    for (int i = 0; i < 2; i++) {
        close(out[i][1]);
        if (read(out[i][0], &samples[i], sizeof(samples[i])) != sizeof(samples[i]))
            die("a side's figures");
        close(out[i][0]);
        waitpid(pids[i], NULL, 0);
    }
    end_devices(plan);
    return samples[plan->cancel_target];
}

struct figures {
    double returned[COUNT_MAX], answered[COUNT_MAX];
    int count, named, late, other;
};

static void take(struct figures *f, const struct sample *s)
{
    if (s->rc == 0) {
        f->late++;
    } else if (s->rc != -ECANCELED || s->returned_ms == 0) {
        f->other++; /* the other side's end came first, or the hand-over hangs */
    } else {
        f->named += s->named_ms > 0;
        f->answered[f->count] = s->named_ms > 0 ? s->named_ms : s->returned_ms;
        f->returned[f->count++] = s->returned_ms;
    }
}

static void print_three(const char *name, double *values, int count)
{
    printf(", \"%s\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}", name,
           percentile(values, count, 0.5), percentile(values, count, 0.99),
           percentile(values, count, 1));
}

int main(int argc, char **argv)
{
    static struct figures f;
    int count = 200;
    unsigned transition_ms = 20, seed = 1;
    uint64_t state_mib = 16;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--count") == 0)
            count = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--transition") == 0)
            transition_ms = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--state") == 0)
            state_mib = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = (unsigned)atoi(argv[i + 1]);
    }
    if (count < 1 || count > COUNT_MAX)
        return 2;
    struct plan plan = {
        .memory = { bench_memory(RAM_BYTES, RANDOM), bench_memory(RAM_BYTES, RANDOM) }, .at_ms = -1
    };
    double lengths[3];
    for (int i = 0; i < 3; i++)
        lengths[i] = run(&plan, state_mib * MIB, transition_ms).length_ms;
    double length_ms = median(lengths, 3);
    for (unsigned i = 0; f.count < count; i++) {
        plan.cancel_target = i % 2;
        plan.at_ms = length_ms * rand_r(&seed) / RAND_MAX;
        struct sample s = run(&plan, state_mib * MIB, transition_ms);
        take(&f, &s);
    }
    printf("{\"bench\": \"cancel\", \"devices\": %d, \"ram_mib\": %d, \"state_mib\": %d, "
           "\"transition_ms\": %u, \"length_ms\": %.0f, \"cancelled\": %d, \"named\": %d, "
           "\"too_late\": %d, \"other\": %d",
           DEVICES, (int)(RAM_BYTES / MIB), (int)state_mib, transition_ms, length_ms, f.count,
           f.named, f.late, f.other);
    print_three("returned_ms", f.returned, f.count);
    print_three("answered_ms", f.answered, f.count);
    printf("}\n");
    return 0;
}
