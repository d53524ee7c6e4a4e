/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How well the pause is predicted: migrations of a running workload between two processes, with
 * devices in processes of their own, each with its own latencies, sizes, rates and limits.
 *
 *   bench/prediction [--repeat 50] [--seed 1] [--each]
 *
 * A repetition draws a setting and moves it four times: cold (nothing remembered); cold again with a
 * downtime-limit near what was predicted; warm (the first one remembered); warm with a limit near that.
 * So 50 repetitions are 200 migrations. Prints a JSON object for cold and one for warm: errors, and how
 * many of those that were let through with a limit kept it. --each: one for each migration, too.
 *
 * Processes that wait for a processor make pauses longer than any model knows. The kernel counts that
 * (schedstat): "waited" is what source, target and devices together waited in the pause.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "cmd/workload.h"
#include "lib/clock.h"
#include "refdev/server.h"

#define DEVICES_MAX 4
#define NO_LIMIT_MS 2000 /* past every setting's pause */

/* ---- settings ---- */

struct setting {
    const char *profile;
    unsigned devices, channels;
    uint64_t ram_bytes, state_bytes, dirty_pages, dma_pages, device_pages, max_bandwidth;
    double source_arc_ms, target_arc_ms;
    bool no_precopy;
};

static uint64_t random_state;

static double uniform(double from, double to)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return from + (to - from) * (double)(random_state >> 11) / 0x1p53;
}

/* As many between 1 and 2 as between 100 and 200. */
static double logarithmic(double from, double to)
{
    return from * pow(to / from, uniform(0, 1));
}

static double arc(void)
{
    double kind = uniform(0, 3);
    return kind < 1 ? 0 : kind < 2 ? uniform(0, 10) : uniform(10, 100);
}

static struct setting draw(void)
{
    static const char *const profiles[] = { "default", "default",  "default", "mlx5",
                                            "pds",     "hisi_acc", "xe",      "qat" };
    struct setting s = { .profile = profiles[(int)uniform(0, 8)],
                         .devices = (unsigned)uniform(1, DEVICES_MAX + 1),
                         .channels = (unsigned)uniform(1, 5),
                         .ram_bytes = (uint64_t)logarithmic(32, 256) * MIB,
                         .state_bytes = (uint64_t)logarithmic(1, 257) * MIB,
                         .dirty_pages = (uint64_t)uniform(0, 20000),
                         .dma_pages = (uint64_t)uniform(0, 4000),
                         .device_pages = (uint64_t)uniform(0, 4000),
                         .source_arc_ms = arc(),
                         .target_arc_ms = arc() };
    const struct refdev_profile *profile = refdev_profile_find(s.profile);
    if (!(profile->migration_flags & VMIG_MIGRATION_P2P))
        s.devices = 1;
    if (s.state_bytes > profile->max_local_bytes)
        s.state_bytes = profile->max_local_bytes;
    s.no_precopy = uniform(0, 4) < 1;
    if (uniform(0, 5) < 1)
        s.max_bandwidth = (uint64_t)uniform(100, 500) * MIB;
    if (uniform(0, 2) < 1) /* the same at both sides, as on real machines */
        s.target_arc_ms = s.source_arc_ms;
    return s;
}

/* ---- processes ---- */

struct run {
    const struct setting *setting;
    uint64_t limit_ms;
    const char *history; /* or NULL */
    unsigned num_processes;
    pid_t processes[2 * DEVICES_MAX + 1]; /* devices and target */
    int source[DEVICES_MAX], target[DEVICES_MAX];
    int address_pipe[2], result_pipe[2], ready_pipe[2];
};

struct outcome {
    bool moved, refused;
    struct vmig_pause predicted, measured;
    double predicted_ms, pause_ms, waited_ms;
    unsigned rounds;
};

static int serve_device(struct run *r, double arc_ms, uint64_t seed)
{
    int ends[2];
    struct refdev_server *server;
    struct vmig_error err = { 0 };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        die("socketpair");
    pid_t pid = fork();
    if (pid != 0) {
        close(ends[1]);
        r->processes[r->num_processes++] = pid;
        return ends[0];
    }
    struct refdev_config config = { .knobs = { .profile = refdev_profile_find(r->setting->profile),
                                               .seed = seed,
                                               .transition_ns = (uint64_t)(arc_ms * 1e6) },
                                    .local_bytes = r->setting->state_bytes };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    must(refdev_server_new(&config, &server, &err), &err);
    if (write(r->ready_pipe[1], "r", 1) != 1)
        die("pipe");
    refdev_server_serve(server, ends[1]);
    _exit(0);
}

/* Threads that end take their count with them: what counts is who is there at both times. */
#define TASKS_MAX 512
struct waits {
    unsigned count;
    struct {
        long task;
        double ms;
    } of[TASKS_MAX];
};

struct side {
    struct run *run;
    struct workload load;
    struct vmig_migration *m;
    struct waits before, after; /* the pause */
};

static double task_waited_ms(pid_t pid, const char *task)
{
    char path[400];
    unsigned long long ran, waited = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, task);
    FILE *file = fopen(path, "re");
    bool known = file && fscanf(file, "%llu %llu", &ran, &waited) == 2;
    if (file)
        fclose(file);
    return known ? (double)waited / 1e6 : -1;
}

static void add_process(struct waits *w, pid_t pid)
{
    char path[64];
    struct dirent *entry;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    while (tasks && (entry = readdir(tasks)) && w->count < TASKS_MAX) {
        if (entry->d_name[0] == '.')
            continue;
        w->of[w->count].task = atol(entry->d_name);
        w->of[w->count].ms = task_waited_ms(pid, entry->d_name);
        w->count += w->of[w->count].ms >= 0;
    }
    if (tasks)
        closedir(tasks);
}

static void look_at_waits(const struct run *r, struct waits *ret)
{
    ret->count = 0;
    add_process(ret, getpid());
    for (unsigned i = 0; i < r->num_processes; i++)
        add_process(ret, r->processes[i]);
}

static double waited_ms(const struct waits *before, const struct waits *after)
{
    double ms = 0;
    for (unsigned i = 0; i < after->count; i++)
        for (unsigned k = 0; k < before->count; k++)
            if (before->of[k].task == after->of[i].task)
                ms += after->of[i].ms - before->of[k].ms;
    return ms;
}

static int on_stop(void *opaque, struct vmig_error *err)
{
    struct side *s = opaque;
    (void)err;
    return workload_stop(&s->load);
}

static int on_start(void *opaque, struct vmig_error *err)
{
    struct side *s = opaque;
    return workload_start(&s->load, err);
}

static void on_event(void *opaque, const struct vmig_event *event)
{
    struct side *s = opaque;
    if (event->kind == VMIG_EVENT_LISTENING &&
        write(s->run->address_pipe[1], event->text, strlen(event->text) + 1) < 0)
        die("pipe");
    if (event->kind != VMIG_EVENT_STAGE || s->load.layout.pages == 0)
        return;
    if (event->stage == VMIG_STAGE_QUIESCE)
        look_at_waits(s->run, &s->before);
    else if (event->stage == VMIG_STAGE_CLEANUP)
        look_at_waits(s->run, &s->after);
}

static void open_side(struct side *s, struct run *r, const int *fds)
{
    const struct setting *setting = r->setting;
    struct vmig_error err = { 0 };
    struct vmig_host host = {
        .size = sizeof(host), .opaque = s, .stop = on_stop, .start = on_start, .event = on_event
    };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    *s = (struct side) { .run = r };
    s->m = vmig_migration_new(&host, &err);
    must(s->m ? 0 : -1, &err);
    must(workload_new(&s->load, setting->ram_bytes, setting->devices, &err), &err);
    s->load.dirty_rate_pages = setting->dirty_pages;
    struct vmig_ram_block block = { .name = "ram",
                                    .iova = WORKLOAD_IOVA,
                                    .size_bytes = setting->ram_bytes,
                                    .vaddr = s->load.memory,
                                    .fd = s->load.fd };
    must(vmig_migration_add_ram(s->m, &block, &err), &err);
    for (unsigned i = 0; i < setting->devices; i++) {
        char address[64], id[24];
        struct vmig_device *device;
        snprintf(address, sizeof(address), "vfio-user:fd:%d", fds[i]);
        snprintf(id, sizeof(id), "device%u", i);
        struct vmig_device_options options = { .size = sizeof(options), .id = id };
        must(vmig_device_open(address, &options, &device, &err), &err);
        must(workload_attach(&s->load, i, device, &err), &err);
        must(vmig_migration_add_device(s->m, device, &err), &err);
    }
}

static void be_target(struct run *r)
{
    struct side s;
    struct vmig_error err = { 0 };
    open_side(&s, r, r->target);
    int rc = vmig_migration_receive(s.m, "tcp:127.0.0.1:0", &err);
    if (rc == 0)
        pause(); /* its devices and its workload are looked at while they run */
    _exit(0);
}

static void be_source(struct run *r, const char *address)
{
    struct side s;
    struct vmig_error err = { 0 };
    const struct setting *setting = r->setting;
    struct vmig_statistics st = { .size = sizeof(st) };
    open_side(&s, r, r->source);
    must(vmig_migration_set(s.m, "downtime-limit", r->limit_ms, &err), &err);
    must(vmig_migration_set(s.m, "multifd-channels", setting->channels, &err), &err);
    must(vmig_migration_set(s.m, "pre-copy", !setting->no_precopy, &err), &err);
    must(vmig_migration_set(s.m, "max-bandwidth", setting->max_bandwidth, &err), &err);
    must(vmig_migration_set(s.m, "all-dirty", !refdev_profile_find(setting->profile)->has_dma_log,
                            &err),
         &err);
    must(vmig_migration_set_history(s.m, r->history, &err), &err);
    must(workload_begin(&s.load, 7, setting->dma_pages, setting->device_pages, &err), &err);
    must(workload_start(&s.load, &err), &err);
    usleep(100000); /* it runs */
    int rc = vmig_migration_send(s.m, address, &err);
    if (rc < 0 && strcmp(err.reason, "not-converging") != 0)
        must(rc, &err);
    vmig_migration_query(s.m, &st);
    struct outcome o = { .moved = rc == 0,
                         .refused = rc < 0,
                         .predicted = st.predicted,
                         .measured = st.measured,
                         .predicted_ms = st.predicted_downtime_ms,
                         .pause_ms = st.downtime_ms,
                         .waited_ms = waited_ms(&s.before, &s.after),
                         .rounds = st.rounds };
    if (write(r->result_pipe[1], &o, sizeof(o)) != sizeof(o))
        die("pipe");
    _exit(0);
}

static void read_exactly(int fd, void *buf, size_t size, const char *what)
{
    if (read(fd, buf, size) <= 0)
        die(what);
}

static struct outcome migrate(const struct setting *setting, uint64_t limit_ms, const char *history)
{
    struct run r = { .setting = setting, .limit_ms = limit_ms, .history = history };
    struct outcome o;
    char address[100];
    char ready;
    if (pipe(r.address_pipe) != 0 || pipe(r.result_pipe) != 0 || pipe(r.ready_pipe) != 0)
        die("pipe");
    for (unsigned i = 0; i < setting->devices; i++) {
        r.source[i] = serve_device(&r, setting->source_arc_ms, 100 + i);
        r.target[i] = serve_device(&r, setting->target_arc_ms, 500 + i);
    }
    for (unsigned i = 0; i < 2 * setting->devices; i++)
        read_exactly(r.ready_pipe[0], &ready, 1, "a device");
    pid_t target = fork();
    if (target == 0)
        be_target(&r);
    r.processes[r.num_processes++] = target;
    read_exactly(r.address_pipe[0], address, sizeof(address), "the target's address");
    pid_t source = fork();
    if (source == 0)
        be_source(&r, address);
    close(r.result_pipe[1]);
    read_exactly(r.result_pipe[0], &o, sizeof(o), "the source's result");
    waitpid(source, NULL, 0);
    for (unsigned i = 0; i < r.num_processes; i++) {
        kill(r.processes[i], SIGKILL);
        waitpid(r.processes[i], NULL, 0);
    }
    for (unsigned i = 0; i < setting->devices; i++) {
        close(r.source[i]);
        close(r.target[i]);
    }
    close(r.ready_pipe[0]);
    close(r.ready_pipe[1]);
    close(r.address_pipe[0]);
    close(r.address_pipe[1]);
    close(r.result_pipe[0]);
    return o;
}

/* ---- figures ---- */

#define RUNS_MAX 2000

struct group {
    const char *name;
    int count, promised, kept, refused, limited, within, calm, calm_within;
    double error_ms[RUNS_MAX], part[RUNS_MAX], calm_ms[RUNS_MAX];
};

/* What is asked for: 15 % of the pause, or 10 ms. */
static bool is_within(double error_ms, double pause_ms)
{
    return error_ms <= 10 || error_ms <= 0.15 * pause_ms;
}

/* Less waiting than this is no disturbance worth the name. */
#define CALM_MS 5

static void add(struct group *g, const struct outcome *o, uint64_t limit_ms)
{
    g->refused += o->refused;
    if (limit_ms < NO_LIMIT_MS) {
        g->limited++;
        g->promised += o->moved;
        g->kept += o->moved && o->pause_ms <= (double)limit_ms;
    }
    if (!o->moved || g->count == RUNS_MAX)
        return;
    double error = fabs(o->predicted_ms - o->pause_ms);
    g->error_ms[g->count] = error;
    g->part[g->count++] = error / o->pause_ms;
    g->within += is_within(error, o->pause_ms);
    if (o->waited_ms > CALM_MS)
        return;
    g->calm_ms[g->calm++] = error;
    g->calm_within += is_within(error, o->pause_ms);
}

static void print_group(struct group *g)
{
    printf(
        "{\"bench\": \"prediction-%s\", \"migrations\": %d, \"error_ms\": {\"p50\": %.1f, \"p90\": "
        "%.1f, \"p99\": %.1f}, \"error_part\": {\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f}, "
        "\"within_15_percent_or_10_ms\": %.3f, \"calm\": {\"migrations\": %d, \"p50\": %.1f, "
        "\"p90\": %.1f, \"p99\": %.1f, \"within\": %.3f}, \"limited\": %d, \"promised\": %d, "
        "\"kept\": %d, \"refused\": %d}\n",
        g->name, g->count, percentile(g->error_ms, g->count, 0.5),
        percentile(g->error_ms, g->count, 0.9), percentile(g->error_ms, g->count, 0.99),
        percentile(g->part, g->count, 0.5), percentile(g->part, g->count, 0.9),
        percentile(g->part, g->count, 0.99), g->count ? (double)g->within / g->count : 0, g->calm,
        percentile(g->calm_ms, g->calm, 0.5), percentile(g->calm_ms, g->calm, 0.9),
        percentile(g->calm_ms, g->calm, 0.99), g->calm ? (double)g->calm_within / g->calm : 0,
        g->limited, g->promised, g->kept, g->refused);
    fflush(stdout);
}

static void print_pause(const char *name, const struct vmig_pause *p)
{
    printf(
        ", \"%s\": {\"workload_stop\": %.2f, \"quiesce\": %.2f, \"stop\": %.2f, \"data\": %.2f, "
        "\"load\": %.2f, \"handover\": %.2f, \"start\": %.2f, \"workload_start\": %.2f, \"kib\": "
        "%llu}",
        name, p->workload_stop_ms, p->quiesce_ms, p->stop_ms, p->data_ms, p->load_ms,
        p->handover_ms, p->start_ms, p->workload_start_ms,
        (unsigned long long)p->data_bytes / 1024);
}

static void print_each(const struct group *g, const struct setting *s, uint64_t limit_ms,
                       const struct outcome *o)
{
    printf(
        "{\"run\": \"%s\", \"profile\": \"%s%s\", \"devices\": %u, \"channels\": %u, \"ram_mib\": "
        "%llu, \"state_mib\": %llu, \"dirty\": %llu, \"dma\": %llu, \"device_dirty\": %llu, "
        "\"max_bandwidth_mib\": %llu, \"source_arc\": %.1f, \"target_arc\": %.1f, \"limit\": %llu, "
        "\"moved\": %s, \"rounds\": %u, \"predicted_ms\": %.2f, \"pause_ms\": %.2f, \"doubt\": "
        "%.2f, \"waited\": %.2f",
        g->name, s->profile, s->no_precopy ? "/stop-copy" : "", s->devices, s->channels,
        (unsigned long long)(s->ram_bytes / MIB), (unsigned long long)(s->state_bytes / MIB),
        (unsigned long long)s->dirty_pages, (unsigned long long)s->dma_pages,
        (unsigned long long)s->device_pages, (unsigned long long)(s->max_bandwidth / MIB),
        s->source_arc_ms, s->target_arc_ms, (unsigned long long)limit_ms,
        o->moved ? "true" : "false", o->rounds, o->predicted_ms, o->pause_ms, o->predicted.doubt_ms,
        o->waited_ms);
    print_pause("predicted", &o->predicted);
    print_pause("measured", &o->measured);
    printf("}\n");
    fflush(stdout);
}

static double one(struct group *g, const struct setting *s, uint64_t limit_ms, const char *history,
                  bool each)
{
    struct outcome o = migrate(s, limit_ms, history);
    add(g, &o, limit_ms);
    if (each)
        print_each(g, s, limit_ms, &o);
    return o.predicted_ms;
}

/* A limit that the prediction may keep or not. */
static uint64_t near_limit(double predicted_ms)
{
    return (uint64_t)(predicted_ms * uniform(0.8, 1.6)) + 1;
}

static void repeat(struct group *cold, struct group *warm, const char *history, bool each)
{
    struct setting s = draw();
    unlink(history);
    double predicted = one(cold, &s, NO_LIMIT_MS, history, each);
    one(cold, &s, near_limit(predicted), NULL, each);
    predicted = one(warm, &s, NO_LIMIT_MS, history, each);
    one(warm, &s, near_limit(predicted), history, each);
}

int main(int argc, char **argv)
{
    static struct group cold = { .name = "cold" }, warm = { .name = "warm" };
    char directory[] = "/tmp/vfio-migrate-bench.XXXXXX", history[64];
    int repetitions = 50;
    bool each = false;
    random_state = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--each") == 0)
            each = true;
        else if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc)
            repetitions = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            random_state = strtoull(argv[++i], NULL, 0);
        else
            return 2;
    }
    random_state = random_state * UINT64_C(0x9e3779b97f4a7c15) | 1;
    if (repetitions < 1 || repetitions > RUNS_MAX / 2 || !mkdtemp(directory))
        return 2;
    snprintf(history, sizeof(history), "%s/terms.json", directory);
    for (int i = 0; i < repetitions; i++)
        repeat(&cold, &warm, history, each);
    print_group(&cold);
    print_group(&warm);
    unlink(history);
    rmdir(directory);
    return 0;
}
