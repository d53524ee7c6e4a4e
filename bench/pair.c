/* SPDX-License-Identifier: BSD-3-Clause */
/* Source and target as two processes, each with nothing but an engine in it, so that their memory
 * can be told. */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "lib/clock.h"
#include "refdev/server.h"

static void tell_address(void *opaque, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_LISTENING &&
        write(*(int *)opaque, event->text, strlen(event->text) + 1) < 0)
        die("pipe");
}

static struct vmig_migration *make(const struct vmig_host *host)
{
    struct vmig_error err = { 0 };
    struct vmig_migration *m = vmig_migration_new(host, &err);
    must(m ? 0 : err.code, &err);
    must(vmig_migration_set(m, "downtime-limit", 2000000, &err), &err);
    must(vmig_migration_set(m, "max-bandwidth", 0, &err), &err);
    return m;
}

static _Noreturn void
be_target(int fd, void (*add)(struct vmig_migration *m, bool target, void *arg), void *arg)
{
    struct vmig_host host = { .size = sizeof(host), .opaque = &fd, .event = tell_address };
    struct vmig_error err = { 0 };
    struct vmig_migration *m = make(&host);
    add(m, true, arg);
    must(vmig_migration_receive(m, "tcp:127.0.0.1:0", &err), &err);
    _exit(0);
}

static _Noreturn void be_source(int fd, const char *address,
                                void (*add)(struct vmig_migration *m, bool target, void *arg),
                                void *arg)
{
    struct vmig_error err = { 0 };
    struct vmig_statistics s = { .size = sizeof(s) };
    struct vmig_migration *m = make(NULL);
    add(m, false, arg);
    must(vmig_migration_send(m, address, &err), &err);
    vmig_migration_query(m, &s);
    if (write(fd, &s, sizeof(s)) != sizeof(s))
        die("pipe");
    _exit(0);
}

static double peak_mib(pid_t pid)
{
    struct rusage usage;
    int status;
    if (wait4(pid, &status, 0, &usage) != pid || status != 0)
        die("a process of the pair failed");
    return (double)usage.ru_maxrss / 1024;
}

struct moved bench_move(void (*add)(struct vmig_migration *m, bool target, void *arg), void *arg)
{
    struct moved moved;
    char address[100];
    int addresses[2], results[2];
    fflush(stdout);
    if (pipe(addresses) != 0 || pipe(results) != 0)
        die("pipe");
    pid_t target = fork();
    if (target == 0)
        be_target(addresses[1], add, arg);
    if (read(addresses[0], address, sizeof(address)) <= 0)
        die("pipe");
    pid_t source = fork();
    if (source == 0)
        be_source(results[1], address, add, arg);
    close(results[1]);
    /* less than a pipe holds, so written at once */
    if (read(results[0], &moved.statistics, sizeof(moved.statistics)) != sizeof(moved.statistics))
        die("the source's figures");
    moved.source_peak_mib = peak_mib(source);
    moved.target_peak_mib = peak_mib(target);
    close(results[0]);
    close(addresses[0]);
    close(addresses[1]);
    return moved;
}

double bench_moving_ms(const struct vmig_statistics *s)
{
    return s->total_ms - s->stage_ms[VMIG_STAGE_PREPARE] - s->stage_ms[VMIG_STAGE_CLEANUP];
}

/* ---- devices ---- */

int bench_serve_device(uint64_t state_bytes, unsigned transition_ms)
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
    struct refdev_config config = { .knobs = { .transition_ns = transition_ms * NS_PER_MS },
                                    .local_bytes = state_bytes };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    must(refdev_server_new(&config, &server, &err), &err);
    refdev_server_serve(server, ends[1]);
    _exit(0);
}

struct devices {
    unsigned count;
    bool precopy;
    int fds[2][VMIG_DEVICES_MAX];
};

static void add_devices(struct vmig_migration *m, bool target, void *arg)
{
    const struct devices *devices = arg;
    struct vmig_error err = { 0 };
    must(vmig_migration_set(m, "pre-copy", devices->precopy, &err), &err);
    for (unsigned i = 0; i < devices->count; i++) {
        char address[64], id[32];
        struct vmig_device *device;
        snprintf(address, sizeof(address), "vfio-user:fd:%d", devices->fds[target][i]);
        snprintf(id, sizeof(id), "device%u", i);
        /* a device answers when all of its memory is filled */
        struct vmig_device_options options = { .size = sizeof(options),
                                               .id = id,
                                               .command_timeout_ms = 300000 };
        must(vmig_device_open(address, &options, &device, &err), &err);
        must(vmig_migration_add_device(m, device, &err), &err);
    }
}

struct moved bench_move_devices(unsigned count, uint64_t state_bytes, unsigned transition_ms,
                                bool precopy)
{
    struct devices devices = { .count = count, .precopy = precopy };
    for (unsigned i = 0; i < count; i++)
        for (int side = 0; side < 2; side++)
            devices.fds[side][i] = bench_serve_device(state_bytes, transition_ms);
    struct moved moved = bench_move(add_devices, &devices);
    for (unsigned i = 0; i < count; i++)
        for (int side = 0; side < 2; side++) {
            shutdown(devices.fds[side][i], SHUT_RDWR);
            close(devices.fds[side][i]);
        }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ; /* devices that have ended */
    return moved;
}
