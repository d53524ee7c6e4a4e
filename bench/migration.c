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
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <unistd.h>

#include <vfio-migrate.h>
#include "lib/clock.h"
#include "refdev/server.h"

#define MIB (UINT64_C(1) << 20)
#define GIB ((double)(UINT64_C(1) << 30))
#define PIECE MIB
#define REPEAT_MAX 9

enum contents { UNTOUCHED, ZEROS, RANDOM };

static void die(const char *what)
{
    fprintf(stderr, "bench/migration: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void must(int rc, const struct vmig_error *err)
{
    char text[700];
    if (rc >= 0)
        return;
    fprintf(stderr, "bench/migration: %s\n", vmig_error_message(err, text, sizeof(text)));
    exit(1);
}

static void *memory(uint64_t bytes, int *ret_fd)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        die("memfd");
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        die("mmap");
    *ret_fd = fd;
    return at;
}

static void fill(void *at, uint64_t bytes, enum contents contents)
{
    uint64_t x = 88172645463325252, *word = at;
    if (contents == UNTOUCHED)
        return;
    if (contents == ZEROS) {
        memset(at, 0, bytes);
        return;
    }
    for (uint64_t i = 0; i < bytes / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word[i] = x;
    }
}

/* A forked child has the memory but not its page table entries yet: their faults are not what is
 * measured. */
static void populate(void *at, uint64_t bytes)
{
    if (madvise(at, bytes, MADV_POPULATE_WRITE) != 0)
        die("populating memory");
}

/* ---- the limit: raw loopback ---- */

static int listen_loopback(struct sockaddr_in *addr)
{
    socklen_t length = sizeof(*addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *addr =
        (struct sockaddr_in) { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || bind(fd, (struct sockaddr *)addr, length) != 0 || listen(fd, 4) != 0 ||
        getsockname(fd, (struct sockaddr *)addr, &length) != 0)
        die("listening");
    return fd;
}

static int populated[2];

static void raw_receiver(int listen_fd, char *at, uint64_t bytes)
{
    populate(at, bytes);
    if (write(populated[1], "p", 1) != 1)
        die("pipe");
    int fd = accept(listen_fd, NULL, NULL);
    for (uint64_t done = 0; done < bytes;) {
        uint64_t left = bytes - done;
        ssize_t n = read(fd, at + done, left < PIECE ? left : PIECE);
        if (n <= 0)
            die("reading");
        done += (uint64_t)n;
    }
    if (write(fd, "k", 1) != 1)
        die("answering");
    _exit(0);
}

static double raw_rate(char *source, char *target, uint64_t bytes)
{
    struct sockaddr_in addr;
    int listen_fd = listen_loopback(&addr);
    char ready;
    if (pipe(populated) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == 0)
        raw_receiver(listen_fd, target, bytes);
    if (read(populated[0], &ready, 1) != 1)
        die("pipe");
    close(populated[0]);
    close(populated[1]);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
        die("connecting");
    uint64_t start = clock_ns();
    for (uint64_t done = 0; done < bytes;) {
        uint64_t left = bytes - done;
        ssize_t n = write(fd, source + done, left < PIECE ? left : PIECE);
        if (n <= 0)
            die("writing");
        done += (uint64_t)n;
    }
    char ok;
    if (read(fd, &ok, 1) != 1)
        die("the answer");
    double seconds = (double)(clock_ns() - start) / 1e9;
    close(fd);
    close(listen_fd);
    waitpid(pid, NULL, 0);
    return (double)bytes / GIB / seconds;
}

/* ---- the engine ---- */

static int address_pipe[2];

static void tell_address(void *opaque, const struct vmig_event *event)
{
    (void)opaque;
    if (event->kind == VMIG_EVENT_LISTENING &&
        write(address_pipe[1], event->text, strlen(event->text) + 1) < 0)
        die("pipe");
}

static struct vmig_migration *one_block(const struct vmig_host *host, void *at, int fd,
                                        uint64_t bytes)
{
    struct vmig_error err = { 0 };
    struct vmig_migration *m = vmig_migration_new(host, &err);
    struct vmig_ram_block block = { .name = "ram", .size_bytes = bytes, .vaddr = at, .fd = fd };
    must(m ? vmig_migration_add_ram(m, &block, &err) : -1, &err);
    must(vmig_migration_set(m, "downtime-limit", 2000, &err), &err);
    return m;
}

static void engine_receiver(void *at, int fd, uint64_t bytes, bool touched)
{
    if (touched)
        populate(at, bytes);
    struct vmig_host host = { .size = sizeof(host), .event = tell_address };
    struct vmig_error err = { 0 };
    struct vmig_migration *m = one_block(&host, at, fd, bytes);
    must(vmig_migration_receive(m, "tcp:127.0.0.1:0", &err), &err);
    _exit(0);
}

/* Bytes of guest memory a second over the stages that move it: setup (tracking starts), rounds, the
 * pause. */
/* A parameter that differs from its default. */
struct setting {
    const char *name;
    uint64_t value;
};

static double engine_rate(void *source, int source_fd, void *target, int target_fd, uint64_t bytes,
                          bool touched, const struct setting *setting)
{
    char address[100];
    struct vmig_error err = { 0 };
    struct vmig_statistics s = { .size = sizeof(s) };
    if (pipe(address_pipe) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == 0)
        engine_receiver(target, target_fd, bytes, touched);
    if (read(address_pipe[0], address, sizeof(address)) <= 0)
        die("pipe");
    close(address_pipe[0]);
    close(address_pipe[1]);
    struct vmig_migration *m = one_block(NULL, source, source_fd, bytes);
    if (setting)
        must(vmig_migration_set(m, setting->name, setting->value, &err), &err);
    must(vmig_migration_send(m, address, &err), &err);
    vmig_migration_query(m, &s);
    vmig_migration_free(m);
    waitpid(pid, NULL, 0);
    double ms = s.total_ms - s.stage_ms[VMIG_STAGE_PREPARE] - s.stage_ms[VMIG_STAGE_CLEANUP];
    return (double)bytes / GIB / (ms / 1e3);
}

/* ---- one core reading for zeros ---- */

static double read_rate(const uint64_t *at, uint64_t bytes)
{
    uint64_t start = clock_ns(), sum = 0;
    for (uint64_t i = 0; i < bytes / 8; i++)
        sum |= at[i];
    if (sum)
        die("memory that should be zero is not");
    return (double)bytes / GIB / ((double)(clock_ns() - start) / 1e9);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof(*v), compare);
    return v[n / 2];
}

static void report(const char *name, uint64_t bytes, double *rate, double *base, double *ratio,
                   int repeat, double wanted)
{
    double middle = median(ratio, repeat); /* sorts */
    printf("{\"bench\": \"%s\", \"mib\": %llu, \"gib_per_s\": %.2f, \"baseline_gib_per_s\": %.2f, "
           "\"ratio\": %.2f, \"ratio_min\": %.2f, \"ratio_max\": %.2f, \"wanted\": %.2f}\n",
           name, (unsigned long long)(bytes / MIB), median(rate, repeat), median(base, repeat),
           middle, ratio[0], ratio[repeat - 1], wanted);
    fflush(stdout);
}

static void run(const char *name, enum contents contents, uint64_t bytes, int repeat, double wanted)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        int source_fd, target_fd;
        char *source = memory(bytes, &source_fd), *sink = memory(bytes, &target_fd);
        fill(source, bytes, contents);
        if (contents == RANDOM)
            memset(sink, 1, bytes);
        base[i] = contents == RANDOM  ? raw_rate(source, sink, bytes)
                  : contents == ZEROS ? read_rate((const uint64_t *)source, bytes)
                                      : 1;
        rate[i] = engine_rate(source, source_fd, sink, target_fd, bytes, contents == RANDOM, NULL);
        if (contents == RANDOM) { /* and once more, so that drift shows */
            double again = raw_rate(source, sink, bytes);
            base[i] = (base[i] + again) / 2;
        }
        ratio[i] = rate[i] / base[i];
        munmap(source, bytes);
        munmap(sink, bytes);
        close(source_fd);
        close(target_fd);
    }
    report(name, bytes, rate, base, ratio, repeat, wanted);
}

/* The same memory with and without @setting, one after the other. */
static void run_setting(const char *name, const struct setting *setting, uint64_t bytes, int repeat,
                        double wanted)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    int source_fd, sink_fd;
    char *source = memory(bytes, &source_fd), *sink = memory(bytes, &sink_fd);
    fill(source, bytes, RANDOM);
    memset(sink, 1, bytes);
    for (int i = 0; i < repeat; i++) {
        base[i] = engine_rate(source, source_fd, sink, sink_fd, bytes, true, NULL);
        rate[i] = engine_rate(source, source_fd, sink, sink_fd, bytes, true, setting);
        base[i] = (base[i] + engine_rate(source, source_fd, sink, sink_fd, bytes, true, NULL)) / 2;
        ratio[i] = rate[i] / base[i];
    }
    munmap(source, bytes);
    munmap(sink, bytes);
    close(source_fd);
    close(sink_fd);
    report(name, bytes, rate, base, ratio, repeat, wanted);
}

/* ---- devices ---- */

static int serve_device(uint64_t state_bytes, unsigned latency_ms)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        die("socketpair");
    if (fork() != 0) {
        close(ends[1]);
        return ends[0];
    }
    struct refdev_server *server;
    struct vmig_error err = { 0 };
    struct refdev_config config = { .knobs = { .transition_ns = latency_ms * NS_PER_MS },
                                    .local_bytes = state_bytes };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    must(refdev_server_new(&config, &server, &err), &err);
    refdev_server_serve(server, ends[1]);
    _exit(0);
}

static struct vmig_migration *with_devices(const struct vmig_host *host, const int *fds,
                                           unsigned count, bool precopy)
{
    struct vmig_error err = { 0 };
    struct vmig_migration *m = vmig_migration_new(host, &err);
    must(m ? 0 : -1, &err);
    must(vmig_migration_set(m, "downtime-limit", 2000000, &err), &err);
    must(vmig_migration_set(m, "pre-copy", precopy, &err), &err);
    for (unsigned i = 0; i < count; i++) {
        char address[64], id[16];
        struct vmig_device *device;
        snprintf(address, sizeof(address), "vfio-user:fd:%d", fds[i]);
        snprintf(id, sizeof(id), "device%u", i);
        struct vmig_device_options options = { .size = sizeof(options), .id = id };
        must(vmig_device_open(address, &options, &device, &err), &err);
        must(vmig_migration_add_device(m, device, &err), &err);
    }
    return m;
}

/* Move @count fresh devices between two processes. */
static struct vmig_statistics move_devices(unsigned count, uint64_t state_bytes,
                                           unsigned latency_ms, bool precopy)
{
    int source[VMIG_DEVICES_MAX], target[VMIG_DEVICES_MAX];
    char address[100];
    struct vmig_error err = { 0 };
    struct vmig_statistics s = { .size = sizeof(s) };
    for (unsigned i = 0; i < count; i++) {
        source[i] = serve_device(state_bytes, latency_ms);
        target[i] = serve_device(state_bytes, latency_ms);
    }
    if (pipe(address_pipe) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        struct vmig_host host = { .size = sizeof(host), .event = tell_address };
        struct vmig_migration *m = with_devices(&host, target, count, precopy);
        must(vmig_migration_receive(m, "tcp:127.0.0.1:0", &err), &err);
        _exit(0);
    }
    if (read(address_pipe[0], address, sizeof(address)) <= 0)
        die("pipe");
    struct vmig_migration *m = with_devices(NULL, source, count, precopy);
    must(vmig_migration_send(m, address, &err), &err);
    vmig_migration_query(m, &s);
    vmig_migration_free(m); /* its devices end with this process's children */
    waitpid(pid, NULL, 0);
    for (unsigned i = 0; i < count; i++) {
        shutdown(source[i], SHUT_RDWR);
        close(target[i]);
    }
    close(address_pipe[0]);
    close(address_pipe[1]);
    return s;
}

/* From one device through two engines into another: all its state in the pause, so that the time is
 * the transfer's. */
static void run_state(uint64_t bytes, int repeat, double wanted)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        int source_fd, target_fd;
        char *source = memory(bytes, &source_fd), *sink = memory(bytes, &target_fd);
        fill(source, bytes, RANDOM);
        memset(sink, 1, bytes);
        base[i] = raw_rate(source, sink, bytes);
        struct vmig_statistics s = move_devices(1, bytes, 0, false);
        rate[i] = (double)bytes / GIB / (s.stage_ms[VMIG_STAGE_COMPLETE] / 1e3);
        base[i] = (base[i] + raw_rate(source, sink, bytes)) / 2;
        ratio[i] = rate[i] / base[i];
        munmap(source, bytes);
        munmap(sink, bytes);
        close(source_fd);
        close(target_fd);
    }
    report("device-state-live", bytes, rate, base, ratio, repeat, wanted);
}

/* What a program sees that reads one device's state: the client alone. */
static void run_read(uint64_t bytes, int repeat, double wanted)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    char *buf = malloc(MIB);
    for (int i = 0; i < repeat; i++) {
        int source_fd, target_fd;
        char *source = memory(bytes, &source_fd), *sink = memory(bytes, &target_fd);
        struct vmig_error err = { 0 };
        struct vmig_device *device;
        char address[64];
        fill(source, bytes, RANDOM);
        memset(sink, 1, bytes);
        base[i] = raw_rate(source, sink, bytes);
        snprintf(address, sizeof(address), "vfio-user:fd:%d", serve_device(bytes, 0));
        must(vmig_device_open(address, NULL, &device, &err), &err);
        must(vmig_device_set_state(device, VMIG_STATE_STOP_COPY, VMIG_STATE_RUNNING, &err), &err);
        uint64_t start = clock_ns(), total = 0;
        ssize_t n;
        while ((n = vmig_device_data_read(device, buf, MIB, &err)) > 0)
            total += (uint64_t)n;
        must((int)n, &err);
        rate[i] = (double)total / GIB / ((double)(clock_ns() - start) / 1e9);
        vmig_device_close(device);
        base[i] = (base[i] + raw_rate(source, sink, bytes)) / 2;
        ratio[i] = rate[i] / base[i];
        munmap(source, bytes);
        munmap(sink, bytes);
        close(source_fd);
        close(target_fd);
    }
    free(buf);
    report("device-state-read", bytes, rate, base, ratio, repeat, wanted);
}

static void run_pause(unsigned count, unsigned latency_ms, int repeat, double wanted)
{
    double one[REPEAT_MAX], many[REPEAT_MAX], ratio[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        one[i] = move_devices(1, MIB, latency_ms, true).downtime_ms;
        many[i] = move_devices(count, MIB, latency_ms, true).downtime_ms;
        ratio[i] = many[i] / one[i];
    }
    printf("{\"bench\": \"pause-of-%u-devices\", \"transition_ms\": %u, \"one_ms\": %.1f, "
           "\"many_ms\": %.1f, \"ratio\": %.2f, \"wanted_below\": %.2f}\n",
           count, latency_ms, median(one, repeat), median(many, repeat), median(ratio, repeat),
           wanted);
    fflush(stdout);
}

static bool is_wanted(const char *only, const char *name)
{
    return !only || strcmp(only, name) == 0;
}

int main(int argc, char **argv)
{
    uint64_t mib = 1024;
    int repeat = 3;
    const char *only = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--ram") == 0)
            mib = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--repeat") == 0)
            repeat = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
    }
    if (repeat < 1 || repeat > REPEAT_MAX || mib < 1)
        return 2;
    if (is_wanted(only, "ram-incompressible"))
        run("ram-incompressible", RANDOM, mib * MIB, repeat, 0.7);
    if (is_wanted(only, "ram-digest"))
        run_setting("ram-digest", &(struct setting) { "ram-digest", 1 }, mib * MIB, repeat, 0.7);
    if (is_wanted(only, "ram-zeros"))
        run("ram-zeros", ZEROS, mib * MIB, repeat, 0.7);
    if (is_wanted(only, "ram-never-touched"))
        run("ram-never-touched", UNTOUCHED, 16 * mib * MIB, repeat, 40);
    if (is_wanted(only, "device-state-read"))
        run_read(mib / 2 * MIB, repeat, 0.25);
    if (is_wanted(only, "device-state-live"))
        run_state(mib / 2 * MIB, repeat, 0.25);
    if (is_wanted(only, "pause-of-8-devices"))
        run_pause(8, 50, 1, 2);
    return 0;
}
