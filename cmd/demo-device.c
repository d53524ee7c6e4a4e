/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo's own devices: servers of reference devices, a process each, reached through descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/demo.h"

#define SERVER_ARGS_MAX (20 + 2 * DEMO_FAULTS_MAX)

/* The faults of device @index, to the end of the arguments. */
static void add_faults(struct demo *d, unsigned index, char **argv)
{
    unsigned n = 0;
    while (argv[n])
        n++;
    for (unsigned i = 0; i < d->num_faults; i++) {
        const struct cmd_sided_fault *fault = &d->faults[i];
        if (index != fault->device + (fault->source ? 0 : d->num_devices))
            continue;
        argv[n++] = "--fault";
        argv[n++] = (char *)fault->text;
    }
}

static int start_server(struct demo *d, unsigned index)
{
    int ends[2], ready[2];
    char fd[16], seed[16];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return demo_failed(d, "a socket for device %u: %s", index, strerror(errno));
    d->device_fds[index] = ends[0];
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    if (pipe2(ready, O_CLOEXEC) != 0) {
        close(ends[1]);
        return demo_failed(d, "a pipe for device %u: %s", index, strerror(errno));
    }
    d->ready_fds[index] = ready[0];
    snprintf(fd, sizeof(fd), "%d", ends[1]);
    /* a target begins with another seed, so what it has later can only have come from the source */
    snprintf(seed, sizeof(seed), "%u", index + 100);
    char *argv[SERVER_ARGS_MAX] = { "vfio-migrate",
                                    "refdev",
                                    "--fd",
                                    fd,
                                    "--profile",
                                    (char *)d->profile->name,
                                    "--transition-latency",
                                    (char *)d->latency,
                                    "--seed",
                                    seed,
                                    "--quiet",
                                    "--json",
                                    d->state_size ? "--state-size" : NULL,
                                    (char *)d->state_size,
                                    NULL };
    add_faults(d, index, argv);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ready[1], STDOUT_FILENO);
        demo_become(NULL, argv);
    }
    close(ends[1]);
    close(ready[1]);
    if (pid < 0)
        return demo_failed(d, "starting device %u: %s", index, strerror(errno));
    d->servers[d->num_servers++] = pid;
    return 0;
}

/* Gigabytes of local memory take longer to fill than a client waits for an answer. */
static int await_server(struct demo *d, unsigned index)
{
    char byte;
    ssize_t n;
    do {
        n = read(d->ready_fds[index], &byte, 1);
    } while (n < 0 && errno == EINTR && !demo_interrupted());
    if (n == 1)
        return 0;
    return demo_interrupted() ? demo_cancelled(d)
                              : demo_failed(d, "device %u could not be started", index);
}

char *demo_device_address(struct demo *d, bool source, unsigned index, char *store)
{
    int fd = d->device_fds[source ? index : d->num_devices + index];
    fcntl(fd, F_SETFD, 0);
    snprintf(store, DEMO_ADDRESS_MAX, "vfio-user:fd:%d", fd);
    return store;
}

int demo_start_devices(struct demo *d)
{
    int rc = 0;
    for (unsigned i = 0; i < d->num_faults; i++)
        demo_say(d, "device %u of the %s will: %s", d->faults[i].device,
                 d->faults[i].source ? "source" : "target", d->faults[i].text);
    for (unsigned i = 0; rc == 0 && i < 2 * d->num_devices; i++)
        rc = start_server(d, i);
    for (unsigned i = 0; rc == 0 && i < 2 * d->num_devices; i++)
        rc = await_server(d, i);
    return rc;
}

void demo_end_devices(struct demo *d)
{
    for (unsigned i = 0; i < d->num_servers; i++)
        demo_end_process(d->servers[i]);
    for (unsigned i = 0; i < 2 * d->num_devices; i++) {
        if (d->device_fds[i] > 0)
            close(d->device_fds[i]);
        if (d->ready_fds[i] > 0)
            close(d->ready_fds[i]);
    }
}
