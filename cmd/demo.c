/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate demo: a running workload with devices moves, live, from one process to another over
 * TCP, and every page is checked afterwards. Nothing is simulated in between: reference devices are
 * processes of their own (two for each device) or those of the addresses given, the workload is one
 * at each end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/backend-argument.h"
#include "cmd/child.h"
#include "cmd/demo-report.h"
#include "cmd/endpoint.h"
#include "cmd/fault-argument.h"
#include "cmd/profile-argument.h"
#include "cmd/progress.h"
#include "cmd/workload.h"
#include "lib/clock.h"
#include "refdev/server.h"

enum {
    KEY_RAM = 0x1001,
    KEY_DEVICES,
    KEY_STATE_SIZE,
    KEY_DIRTY,
    KEY_LATENCY,
    KEY_PROFILE,
    KEY_DMA,
    KEY_DOWNTIME,
    KEY_HISTORY,
    KEY_FAULT,
    KEY_SOURCE_DEVICE,
    KEY_TARGET_DEVICE,
    KEY_ALL_DIRTY,
};

#define FAULTS_MAX 16 /* of all devices together */

/* The devices of one side that somebody else made: addresses as typed. */
struct given {
    const char *addresses[WORKLOAD_DEVICES_MAX];
    unsigned count;
};

struct demo {
    struct endpoint end; /* tuning parameters, json, quiet */
    /* as typed; state_size NULL: what the profile has */
    const char *ram, *state_size, *dirty_rate, *latency, *dma_rate, *downtime_limit, *history;
    const struct refdev_profile *profile;
    unsigned num_devices;
    struct given given[2]; /* source's, target's; empty: the demo starts devices of its own */
    const char *backend;   /* of the given devices, as typed */
    const char *about_own; /* an option that was given and is about devices of its own */
    bool all_dirty;
    struct cmd_sided_fault faults[FAULTS_MAX];
    unsigned num_faults;
    bool progress_shown;
    unsigned num_servers;
    pid_t servers[2 * WORKLOAD_DEVICES_MAX];
    int device_fds[2 * WORKLOAD_DEVICES_MAX]; /* sources', then targets' */
    int ready_fds[2 * WORKLOAD_DEVICES_MAX];  /* what a server prints when it serves; 0: none */
    struct child source, target;
    struct vmig_error error;
    enum cmd_exit exit_code;
    json_t *result;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static int failed(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int failed(struct demo *d, const char *format, ...)
{
    if (!d->error.code) {
        va_list args;
        va_start(args, format);
        d->error.code = -EIO;
        vsnprintf(d->error.text, sizeof(d->error.text), format, args);
        va_end(args);
        d->exit_code = CMD_FAILED;
    }
    return -1;
}

static int cancelled(struct demo *d)
{
    failed(d, "cancelled; all processes of the demo have ended");
    d->error.code = -ECANCELED;
    d->exit_code = CMD_CANCELLED;
    return -1;
}

/* ---- processes ---- */

/* In the child: die with the demo, leave ^C to it, become `vfio-migrate ...`. */
static void become(char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    execv("/proc/self/exe", argv);
    fprintf(stderr, "vfio-migrate demo: starting itself again: %s\n", strerror(errno));
    _exit(127);
}

#define SERVER_ARGS_MAX (20 + 2 * FAULTS_MAX)

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
        return failed(d, "a socket for device %u: %s", index, strerror(errno));
    d->device_fds[index] = ends[0];
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    if (pipe2(ready, O_CLOEXEC) != 0) {
        close(ends[1]);
        return failed(d, "a pipe for device %u: %s", index, strerror(errno));
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
        become(argv);
    }
    close(ends[1]);
    close(ready[1]);
    if (pid < 0)
        return failed(d, "starting device %u: %s", index, strerror(errno));
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
    } while (n < 0 && errno == EINTR && !interrupted);
    if (n == 1)
        return 0;
    return interrupted ? cancelled(d) : failed(d, "device %u could not be started", index);
}

#define ARGS_MAX (20 + 2 * WORKLOAD_DEVICES_MAX + 2 * ENDPOINT_TRACES_MAX)
#define ADDRESS_MAX 64

/* The address of a device of our own, for a process that inherits its descriptor. */
static char *server_address(struct demo *d, bool source, unsigned index, char *store)
{
    int fd = d->device_fds[source ? index : d->num_devices + index];
    fcntl(fd, F_SETFD, 0);
    snprintf(store, ADDRESS_MAX, "vfio-user:fd:%d", fd);
    return store;
}

/* The workload's command line; strings that are made live in @store. */
static void workload_arguments(struct demo *d, bool source, char **argv, char (*store)[ADDRESS_MAX])
{
    unsigned n = 0;
    argv[n++] = "vfio-migrate";
    argv[n++] = "workload";
    if (source)
        argv[n++] = "--source";
    argv[n++] = "--memory";
    argv[n++] = (char *)d->ram;
    argv[n++] = "--dirty-rate";
    argv[n++] = (char *)d->dirty_rate;
    argv[n++] = "--dma-rate";
    argv[n++] = (char *)d->dma_rate;
    argv[n++] = "--downtime-limit";
    argv[n++] = (char *)d->downtime_limit;
    if (d->history) {
        argv[n++] = "--history";
        argv[n++] = (char *)d->history;
    }
    if (d->all_dirty)
        argv[n++] = "--all-dirty";
    if (d->backend) {
        argv[n++] = "--backend";
        argv[n++] = (char *)d->backend;
    }
    for (unsigned i = 0; i < d->end.num_traces; i++) {
        argv[n++] = "--trace";
        argv[n++] = (char *)d->end.traces[i];
    }
    for (unsigned i = 0; i < d->num_devices; i++) {
        argv[n++] = "--device";
        argv[n++] = d->given[!source].count ? (char *)d->given[!source].addresses[i]
                                            : server_address(d, source, i, store[i]);
    }
    argv[n] = NULL;
}

static int start_workload(struct demo *d, bool source, struct child *ret)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        return failed(d, "a pipe: %s", strerror(errno));
    ret->pid = fork();
    if (ret->pid == 0) {
        char *argv[ARGS_MAX], store[WORKLOAD_DEVICES_MAX][ADDRESS_MAX];
        workload_arguments(d, source, argv, store);
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        become(argv);
    }
    close(to[0]);
    close(from[1]);
    if (ret->pid < 0)
        return failed(d, "starting the workload: %s", strerror(errno));
    ret->to = fdopen(to[1], "w");
    ret->from = from[0];
    return ret->to ? 0 : failed(d, "out of memory");
}

static void end_process(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void end_workload(struct child *c)
{
    if (c->to)
        fclose(c->to); /* no more commands: it ends when it has done with what it does */
    c->to = NULL;
    if (c->pid > 0)
        kill(c->pid, SIGTERM);
    while (c->from > 0 && child_read(c)) /* it may have more to say, and must not wait for us */
        c->length = c->looked = 0;
    end_process(c->pid);
    child_done(c);
}

/* ---- talking to the workloads ---- */

static int tell(struct demo *d, struct child *c, const char *command)
{
    if (fprintf(c->to, "%s\n", command) < 0 || fflush(c->to) != 0)
        return failed(d, "a workload process is gone");
    return 0;
}

static void show(struct demo *d, json_t *event)
{
    if (d->end.json || d->end.quiet || d->num_faults || d->end.num_traces || !isatty(STDERR_FILENO))
        return; /* faults and traces are told where the progress would be drawn */
    struct vmig_event e = {
        .stage = (enum vmig_stage)json_integer_value(json_object_get(event, "stage")),
        .round = (unsigned)json_integer_value(json_object_get(event, "round")),
        .sent_bytes = (uint64_t)json_integer_value(json_object_get(event, "sent")),
        .remaining_bytes = (uint64_t)json_integer_value(json_object_get(event, "remaining")),
    };
    progress_draw(&e);
    d->progress_shown = true;
}

static void hide(struct demo *d)
{
    if (d->progress_shown)
        fputs("\r\033[K", stderr);
    d->progress_shown = false;
}

static enum vmig_stage stage_of(const char *name)
{
    for (unsigned i = 0; name && i < VMIG_STAGE_COUNT; i++)
        if (strcmp(name, vmig_stage_name((enum vmig_stage)i)) == 0)
            return (enum vmig_stage)i;
    return VMIG_STAGE_NONE;
}

static const char *text_in(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int take_failure(struct demo *d, const char *who, json_t *event)
{
    json_t *error = json_object_get(event, "error");
    const char *message = text_in(error, "message");
    failed(d, "at the %s: %s", who, message[0] ? message : "failed");
    d->error.stage = stage_of(text_in(error, "stage"));
    snprintf(d->error.reason, sizeof(d->error.reason), "%s", text_in(error, "reason"));
    snprintf(d->error.device, sizeof(d->error.device), "%s", text_in(error, "device"));
    d->exit_code = (enum cmd_exit)json_integer_value(json_object_get(event, "exit"));
    return -1;
}

/* What is only to be known is told when it comes, whoever is waited for: a device that takes long,
 * for instance. */
static void overhear(struct demo *d, struct child *c)
{
    json_t *event;
    while ((event = child_look(c))) {
        if (strcmp(text_in(event, "event"), "message") == 0) {
            hide(d);
            fprintf(stderr, "vfio-migrate demo: at the %s: %s\n",
                    c == &d->source ? "source" : "target", text_in(event, "text"));
        }
        json_decref(event);
    }
}

#define LOOK_UP_MS 200 /* a signal may come right before the wait */

/* Wait for what either side says, but not for long. False when @c has ended. */
static bool listen_for(struct demo *d, struct child *c)
{
    struct child *both[] = { &d->source, &d->target };
    struct pollfd polls[2];
    for (unsigned i = 0; i < 2; i++)
        polls[i] = (struct pollfd) { .fd = both[i]->from ? both[i]->from : -1, .events = POLLIN };
    if (poll(polls, 2, LOOK_UP_MS) < 0)
        return errno == EINTR;
    for (unsigned i = 0; i < 2; i++) {
        if (!polls[i].revents)
            continue;
        if (!child_read(both[i])) {
            close(both[i]->from);
            both[i]->from = 0;
        }
        overhear(d, both[i]);
    }
    return c->from;
}

/* The next report called @wanted among those that are there; those about progress are shown on the
 * way. New reference or NULL. */
static json_t *find(struct demo *d, struct child *c, const char *who, const char *wanted)
{
    json_t *event;
    while (!d->error.code && (event = child_take(c))) {
        const char *name = text_in(event, "event");
        if (strcmp(name, wanted) == 0)
            return event;
        if (strcmp(name, "failed") == 0)
            take_failure(d, who, event);
        else if (strcmp(name, "progress") == 0)
            show(d, event);
        json_decref(event);
    }
    return NULL;
}

/* The next report called @wanted; NULL when something else came, or the end. */
static json_t *await(struct demo *d, struct child *c, const char *who, const char *wanted)
{
    bool ended = false;
    for (;;) {
        json_t *found = find(d, c, who, wanted);
        if (found)
            return found;
        if (interrupted)
            cancelled(d);
        else if (ended)
            failed(d, "the %s process ended unexpectedly", who);
        if (d->error.code)
            return NULL;
        ended = !listen_for(d, c);
    }
}

static int expect(struct demo *d, struct child *c, const char *who, const char *wanted)
{
    json_t *event = await(d, c, who, wanted);
    json_decref(event);
    return event ? 0 : -1;
}

/* ---- the story ---- */

static void say(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct demo *d, const char *format, ...)
{
    if (d->end.json || d->end.quiet)
        return;
    hide(d);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static int start_servers(struct demo *d)
{
    int rc = 0;
    for (unsigned i = 0; i < d->num_faults; i++)
        say(d, "device %u of the %s will: %s", d->faults[i].device,
            d->faults[i].source ? "source" : "target", d->faults[i].text);
    for (unsigned i = 0; rc == 0 && i < 2 * d->num_devices; i++)
        rc = start_server(d, i);
    for (unsigned i = 0; rc == 0 && i < 2 * d->num_devices; i++)
        rc = await_server(d, i);
    return rc;
}

static int set_stage(struct demo *d)
{
    bool given = d->given[0].count;
    if (given)
        say(d, "starting a workload with %s of memory on %u given device%s, and its target", d->ram,
            d->num_devices, d->num_devices == 1 ? "" : "s");
    else
        say(d, "starting %u device%s (%s%s%s) twice, a workload with %s of memory, and its target",
            d->num_devices, d->num_devices == 1 ? "" : "s", d->profile->name,
            d->state_size ? ", state " : "", d->state_size ? d->state_size : "", d->ram);
    if (!given && !d->profile->has_dma_log) {
        d->all_dirty = true;
        say(d, "these devices cannot log their DMA, so all memory is sent again in the pause "
               "(--all-dirty)");
    }
    int rc = given ? 0 : start_servers(d);
    if (rc == 0)
        rc = start_workload(d, true, &d->source);
    if (rc == 0)
        rc = start_workload(d, false, &d->target);
    if (rc == 0)
        rc = expect(d, &d->target, "target", "ready");
    return rc < 0 ? rc : expect(d, &d->source, "source", "ready");
}

/* Let some of the workload happen before and after the move. */
#define WARM_UP_NS 300000000

static int move(struct demo *d)
{
    char command[600];
    if (tell(d, &d->target, "receive tcp:127.0.0.1:0") < 0)
        return -1;
    json_t *event = await(d, &d->target, "target", "listening");
    if (!event)
        return -1;
    const char *address = json_string_value(json_object_get(event, "address"));
    snprintf(command, sizeof(command), "send %s", address ? address : "");
    nanosleep(&(struct timespec) { .tv_nsec = WARM_UP_NS }, NULL);
    say(d, "migrating over %s while it runs", address ? address : "");
    json_decref(event);
    if (tell(d, &d->source, command) < 0)
        return -1;
    event = await(d, &d->source, "source", "done");
    if (!event)
        return -1;
    d->result = json_incref(json_object_get(event, "result"));
    json_decref(event);
    return expect(d, &d->target, "target", "done");
}

/* What a side says of its workload, after it ran for a while. New reference or NULL. */
static json_t *ask_to_verify(struct demo *d, struct child *side, const char *who)
{
    nanosleep(&(struct timespec) { .tv_nsec = WARM_UP_NS }, NULL);
    return tell(d, side, "verify") < 0 ? NULL : await(d, side, who, "verified");
}

static int verify(struct demo *d)
{
    char damage[300];
    json_t *event = ask_to_verify(d, &d->target, "target");
    if (!event)
        return -1;
    bool ok = json_is_true(json_object_get(event, "ok"));
    json_object_set_new(d->result, "verified", json_boolean(ok));
    json_object_del(event, "event");
    json_object_set_new(d->result, "verification", event);
    if (!ok)
        failed(d, "verification failed: the workload at the target is not what the source had: %s",
               demo_damage(event, damage, sizeof(damage)));
    return ok ? 0 : -1;
}

#define STORY_NS (5 * NS_PER_S) /* a device that hangs takes longer, and the source tells of it */

/* How the move ended for the target, if it says so soon. New reference or NULL. */
static json_t *await_targets_end(struct demo *d)
{
    uint64_t end = clock_ns() + STORY_NS;
    for (bool there = true;;) {
        json_t *event;
        while ((event = child_take(&d->target))) {
            const char *name = text_in(event, "event");
            if (strcmp(name, "failed") == 0 || strcmp(name, "done") == 0)
                return event;
            json_decref(event);
        }
        if (!there || interrupted || clock_ns() >= end)
            return NULL;
        there = listen_for(d, &d->target);
    }
}

/* What the target knows of it and the source does not. */
static void tell_targets_story(struct demo *d)
{
    json_t *event = await_targets_end(d), *error = json_object_get(event, "error");
    const char *text = text_in(error, "message"), *device = text_in(error, "device");
    if (strcmp(text_in(event, "event"), "done") == 0)
        say(d, "at the target: the workload runs there");
    else if (text[0] && !strstr(d->error.text, text) &&
             strcmp(text_in(error, "reason"), "source-goes-on") != 0)
        say(d, "at the target: %s%s%s: %s", device, device[0] ? ": " : "", text_in(error, "stage"),
            text);
    if (d->exit_code == CMD_UNRESOLVED)
        say(d, "here an operator would use `vfio-migrate resolve`; the demo ends");
    json_decref(event);
}

/* It failed before the source gave up, so the workload must go on there as if nothing had been. */
static void verify_source(struct demo *d)
{
    struct vmig_error error = d->error;
    enum cmd_exit exit_code = d->exit_code;
    char damage[300];
    d->error = (struct vmig_error) { 0 };
    json_t *event = ask_to_verify(d, &d->source, "source");
    if (json_is_true(json_object_get(event, "ok")))
        say(d, "it failed; the workload goes on at the source, every page of it is right");
    else if (event)
        failed(d,
               "verification failed: the workload that goes on at the source is not what it was "
               "(%s), after: %s",
               demo_damage(event, damage, sizeof(damage)), error.text);
    if (!json_is_false(json_object_get(event, "ok")))
        d->error = error;
    json_decref(event);
    d->exit_code = exit_code;
}

static void strike(struct demo *d)
{
    hide(d);
    end_workload(&d->source);
    end_workload(&d->target);
    for (unsigned i = 0; i < d->num_servers; i++)
        end_process(d->servers[i]);
    for (unsigned i = 0; i < 2 * d->num_devices; i++) {
        if (d->device_fds[i] > 0)
            close(d->device_fds[i]);
        if (d->ready_fds[i] > 0)
            close(d->ready_fds[i]);
    }
}

/* ---- options ---- */

static void give(struct given *given, char *address, struct argp_state *state)
{
    if (given->count == WORKLOAD_DEVICES_MAX)
        argp_error(state, "at most %d devices", WORKLOAD_DEVICES_MAX);
    else
        given->addresses[given->count++] = address;
}

/* Devices that are there already come in pairs, and are what they are. */
static void check_given(struct demo *d, struct argp_state *state)
{
    unsigned sources = d->given[0].count, targets = d->given[1].count;
    if (sources != targets)
        argp_error(state,
                   "%u --source-device and %u --target-device: each device moves to another one",
                   sources, targets);
    else if (sources && d->about_own)
        argp_error(state, "%s is for devices that the demo starts itself, and not for given ones",
                   d->about_own);
    else if (!sources && d->backend)
        argp_error(state, "--backend is for given devices: the demo's own are no kernel's");
    else if (sources)
        d->num_devices = sources;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct demo *d = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &d->end;
        return 0;
    case KEY_SOURCE_DEVICE:
        give(&d->given[0], arg, state);
        return 0;
    case KEY_TARGET_DEVICE:
        give(&d->given[1], arg, state);
        return 0;
    case KEY_BACKEND:
        d->backend = backend_argument(state, arg);
        return 0;
    case KEY_ALL_DIRTY:
        d->all_dirty = true;
        return 0;
    case KEY_RAM:
        cmd_arg_size(state, "--ram", arg, WORKLOAD_RAM_MIN, UINT64_C(1) << 40);
        d->ram = arg;
        return 0;
    case KEY_DEVICES:
        d->about_own = "--devices";
        d->num_devices = (unsigned)cmd_arg_number(state, "--devices", arg, 1, WORKLOAD_DEVICES_MAX);
        return 0;
    case KEY_STATE_SIZE:
        d->about_own = "--state-size";
        cmd_arg_size(state, "--state-size", arg, WORKLOAD_PAGE, UINT64_C(1) << 40);
        d->state_size = arg;
        return 0;
    case KEY_HISTORY:
        d->history = arg;
        return 0;
    case KEY_DOWNTIME:
        cmd_arg_duration(state, "--downtime-limit", arg, 0, 2000000000000);
        d->downtime_limit = arg;
        return 0;
    case KEY_DIRTY:
        cmd_arg_rate(state, "--dirty-rate", arg, 0, UINT64_C(1) << 40);
        d->dirty_rate = arg;
        return 0;
    case KEY_LATENCY:
        d->about_own = "--transition-latency";
        cmd_arg_duration(state, "--transition-latency", arg, 0, 60000000000);
        d->latency = arg;
        return 0;
    case KEY_PROFILE:
        d->about_own = "--profile";
        d->profile = cmd_arg_profile(state, arg);
        return 0;
    case KEY_DMA:
        cmd_arg_number(state, "--dma-rate", arg, 0, 10000000);
        d->dma_rate = arg;
        return 0;
    case KEY_FAULT:
        d->about_own = "--fault";
        if (d->num_faults == FAULTS_MAX)
            argp_error(state, "--fault: at most %d", FAULTS_MAX);
        else
            d->faults[d->num_faults++] = cmd_arg_sided_fault(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "no arguments are expected, only options");
        return 0;
    case ARGP_KEY_END:
        check_given(d, state);
        for (unsigned i = 0; i < d->num_faults; i++)
            if (d->faults[i].device >= d->num_devices)
                argp_error(state, "--fault: there is no device %u; --devices is %u",
                           d->faults[i].device, d->num_devices);
        if (d->state_size && cmd_arg_size(state, "--state-size", d->state_size, 0, UINT64_MAX) >
                                 d->profile->max_local_bytes)
            argp_error(state, "devices of profile %s have at most %llu bytes of local memory",
                       d->profile->name, (unsigned long long)d->profile->max_local_bytes);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "source-device", KEY_SOURCE_DEVICE, "DEVICE", 0,
      "Take this device, at the source, instead of starting any; may be given several times", 0 },
    { "target-device", KEY_TARGET_DEVICE, "DEVICE", 0,
      "Where it moves to, of the same kind; one for each source device, in that order", 0 },
    BACKEND_OPTION,
    { "all-dirty", KEY_ALL_DIRTY, NULL, 0,
      "For devices that cannot log their DMA: send all memory again in the pause", 0 },
    { "ram", KEY_RAM, "SIZE", 0, "Memory of the workload (256M)", 0 },
    { "devices", KEY_DEVICES, "N", 0, "Devices (2)", 0 },
    { "state-size", KEY_STATE_SIZE, "SIZE", 0,
      "Local memory of each device, the bulk of its state (the profile's; 64M with default)", 0 },
    { "downtime-limit", KEY_DOWNTIME, "TIME", 0, "Longest pause to switch with (300ms)", 0 },
    { "history", KEY_HISTORY, "PATH|none", 0,
      "Where to remember what a pause took, to predict the next one "
      "($XDG_STATE_HOME/vfio-migrate/terms.json)",
      0 },
    { "dirty-rate", KEY_DIRTY, "RATE", 0, "What threads rewrite, in bytes a second (50M)", 0 },
    { "dma-rate", KEY_DMA, "N", 0, "Pages a second that each device writes to memory (2000)", 0 },
    { "transition-latency", KEY_LATENCY, "TIME", 0, "What each state change of a device takes (0)",
      0 },
    { "profile", KEY_PROFILE, "NAME", 0,
      "Which device to imitate (default); `vfio-migrate refdev --profile list` explains them", 0 },
    { "fault", KEY_FAULT, "SIDE:TEXT", 0,
      "What goes wrong in a device and when, for instance source:fail:EIO@arc/STOP_COPY or "
      "target1:hang@write#3; may be given several times; `vfio-migrate refdev --fault list` "
      "explains",
      0 },
    { 0 },
};

int cmd_demo(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_state_argp, 0, NULL, 0 }, { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "",
        "Watch a running workload with its devices move from one process to another, live, and be "
        "verified page by page.",
        children,
        NULL,
        NULL
    };
    struct demo d = { .end = { .name = "demo" },
                      .ram = "256M",
                      .num_devices = 2,
                      .dirty_rate = "50M",
                      .latency = "0ms",
                      .profile = refdev_profile_find("default"),
                      .downtime_limit = "300ms",
                      .dma_rate = "2000" };
    cmd_parse_options(&argp, argc, argv, &d);
    signal(SIGPIPE, SIG_IGN);
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int rc = set_stage(&d);
    bool moving = rc == 0;
    if (rc == 0)
        rc = move(&d);
    if (rc < 0 && moving && d.exit_code != CMD_CANCELLED && d.exit_code != CMD_REFUSED)
        tell_targets_story(&d);
    if (rc == 0)
        rc = verify(&d);
    else if (moving && d.exit_code == CMD_FAILED)
        verify_source(&d);
    strike(&d);
    if (rc < 0 && !json_object_get(d.result, "verified")) {
        json_decref(d.result);
        return cmd_fail("demo", d.end.json, d.exit_code, &d.error);
    }
    demo_report(d.result, d.end.json, d.end.quiet);
    json_decref(d.result);
    if (rc < 0 && !d.end.json)
        return cmd_fail("demo", false, d.exit_code, &d.error);
    return rc < 0 ? (int)d.exit_code : CMD_DONE;
}
