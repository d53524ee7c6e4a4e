/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate demo: a running workload with devices moves, live, from one process to another over
 * TCP, and every page is checked afterwards. Nothing is simulated in between: reference devices are
 * processes of their own (two for each device) or those of the addresses given; the workload is a virtual machine
 * with a guest where that can be, else a process, one at each end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/backend-argument.h"
#include "cmd/demo-report.h"
#include "cmd/demo.h"
#include "cmd/progress.h"
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
    KEY_VM,
    KEY_WORKLOAD,
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool demo_interrupted(void)
{
    return interrupted;
}

int demo_failed(struct demo *d, const char *format, ...)
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

int demo_failed_as(struct demo *d, const char *who, const char *text, json_t *error)
{
    demo_failed(d, "at the %s: %s", who, text);
    d->error.stage = demo_stage(demo_text(error, "stage"));
    snprintf(d->error.reason, sizeof(d->error.reason), "%s", demo_text(error, "reason"));
    snprintf(d->error.device, sizeof(d->error.device), "%s", demo_text(error, "device"));
    return -1;
}

int demo_cancelled(struct demo *d)
{
    demo_failed(d, "cancelled; all processes of the demo have ended");
    d->error.code = -ECANCELED;
    d->exit_code = CMD_CANCELLED;
    return -1;
}

/* ---- processes ---- */

void demo_become(const char *program, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    execv(program ? program : "/proc/self/exe", argv);
    fprintf(stderr, "vfio-migrate demo: starting %s: %s\n", program ? program : "itself again",
            strerror(errno));
    _exit(127);
}

/* @into, the rest is closed. */
static void stand_for(const int pipe[2], int end, int into)
{
    if (pipe[end] >= 0)
        dup2(pipe[end], into);
}

static void close_pipe(const int pipe[2])
{
    for (unsigned i = 0; i < 2; i++)
        if (pipe[i] >= 0)
            close(pipe[i]);
}

pid_t demo_fork(struct demo *d, struct child *ret, int *ret_err)
{
    int to[2] = { -1, -1 }, from[2] = { -1, -1 }, err[2] = { -1, -1 };
    bool made = pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0 &&
                (!ret_err || pipe2(err, O_CLOEXEC) == 0);
    ret->pid = made ? fork() : -1;
    if (ret->pid == 0) {
        stand_for(to, 0, STDIN_FILENO);
        stand_for(from, 1, STDOUT_FILENO);
        stand_for(err, 1, STDERR_FILENO);
        return 0;
    }
    if (ret->pid < 0) {
        demo_failed(d, "starting a process: %s", strerror(errno));
        close_pipe(to);
        close_pipe(from);
        close_pipe(err);
        return -1;
    }
    close(to[0]);
    close(from[1]);
    if (ret_err) {
        close(err[1]);
        *ret_err = err[0];
    }
    ret->from = from[0];
    ret->to = fdopen(to[1], "w");
    return ret->to ? ret->pid : demo_failed(d, "out of memory");
}

#define END_NS (10 * NS_PER_S)

void demo_end_process(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    uint64_t last = clock_ns() + END_NS;
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_ns() >= last)
            kill(pid, SIGKILL);
        poll(NULL, 0, 2);
    }
}

/* ---- what is printed ---- */

void demo_draw(struct demo *d, const struct vmig_event *event)
{
    if (d->end.json || d->end.quiet || d->num_faults || d->end.num_traces || !isatty(STDERR_FILENO))
        return; /* faults and traces are told where the progress would be drawn */
    progress_draw(event);
    d->progress_shown = true;
}

void demo_hide(struct demo *d)
{
    if (d->progress_shown)
        fputs("\r\033[K", stderr);
    d->progress_shown = false;
}

enum vmig_stage demo_stage(const char *name)
{
    for (unsigned i = 0; name && i < VMIG_STAGE_COUNT; i++)
        if (strcmp(name, vmig_stage_name((enum vmig_stage)i)) == 0)
            return (enum vmig_stage)i;
    return VMIG_STAGE_NONE;
}

const char *demo_text(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

void demo_say(struct demo *d, const char *format, ...)
{
    if (d->end.json || d->end.quiet)
        return;
    demo_hide(d);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

/* ---- the story ---- */

static void say_what_moves(struct demo *d)
{
    bool given = d->given[0].count, vm = d->kind == &demo_vm;
    const char *plural = d->num_devices == 1 ? "" : "s";
    if (vm)
        demo_say(d, "a virtual machine moves (--workload: a process instead)");
    else
        demo_say(d, "a workload process moves, no virtual machine: %s", d->why);
    if (given)
        demo_say(d, "starting a workload with %s of memory on %u given device%s, and its target",
                 d->ram, d->num_devices, plural);
    else
        demo_say(d, "starting %u device%s (%s%s%s) twice, %s with %s of memory, and its target",
                 d->num_devices, plural, d->profile->name, d->state_size ? ", state " : "",
                 d->state_size ? d->state_size : "", vm ? "a machine" : "a workload", d->ram);
    if (!given && !d->profile->has_dma_log) {
        d->all_dirty = true;
        demo_say(d, "these devices cannot log their DMA, so all memory is sent again in the pause "
                    "(--all-dirty)");
    }
}

static int choose_kind(struct demo *d)
{
    d->kind = &demo_workload;
    if (d->want_workload)
        snprintf(d->why, sizeof(d->why), "--workload");
    else if (d->about_workload)
        snprintf(d->why, sizeof(d->why), "%s is for workloads", d->about_workload);
    else if (demo_vm_is_possible(d))
        d->kind = &demo_vm;
    if (demo_interrupted())
        return demo_cancelled(d);
    return d->want_vm && d->kind != &demo_vm ? demo_failed(d, "--vm: %s", d->why) : 0;
}

static int set_stage(struct demo *d)
{
    int rc = choose_kind(d);
    if (rc < 0)
        return rc;
    say_what_moves(d);
    rc = d->given[0].count ? 0 : demo_start_devices(d);
    return rc < 0 ? rc : d->kind->begin(d);
}

static int verify(struct demo *d)
{
    char damage[300];
    json_t *found = d->kind->verify(d, true);
    if (!found)
        return -1;
    bool ok = json_is_true(json_object_get(found, "ok"));
    json_object_set_new(d->result, "verified", json_boolean(ok));
    json_object_set_new(d->result, "verification", found);
    if (!ok)
        demo_failed(d,
                    "verification failed: what runs at the target is not what the source had: %s",
                    demo_damage(found, damage, sizeof(damage)));
    return ok ? 0 : -1;
}

/* It failed before the source gave up, so it must go on there as if nothing had been. */
static void verify_source(struct demo *d)
{
    struct vmig_error error = d->error;
    enum cmd_exit exit_code = d->exit_code;
    char damage[300];
    d->error = (struct vmig_error) { 0 };
    json_t *found = d->kind->verify(d, false);
    if (json_is_true(json_object_get(found, "ok")))
        demo_say(d, "it failed; the workload goes on at the source, every page of it is right");
    else if (found)
        demo_failed(d,
                    "verification failed: the workload that goes on at the source is not what it "
                    "was (%s), after: %s",
                    demo_damage(found, damage, sizeof(damage)), error.text);
    if (!json_is_false(json_object_get(found, "ok")))
        d->error = error;
    json_decref(found);
    d->exit_code = exit_code;
}

static void strike(struct demo *d)
{
    demo_hide(d);
    d->kind->end(d);
    demo_end_devices(d);
}

/* ---- options ---- */

static void give(struct demo_given *given, char *address, struct argp_state *state)
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

/* What only the workload has says what moves, too. */
static void check_kind(struct demo *d, struct argp_state *state)
{
    if (d->end.num_traces)
        d->about_workload = "--trace";
    if (d->want_vm && d->want_workload)
        argp_error(state, "--vm and --workload are two things: one of them moves");
    else if (d->want_vm && d->about_workload)
        argp_error(state, "%s is for a workload process, and --vm moves none", d->about_workload);
    else if (d->want_vm && !demo_vm_fits(d))
        argp_error(state, "--vm: %s", d->why);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct demo *d = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &d->end;
        return 0;
    case KEY_SOURCE_DEVICE:
        d->about_workload = "--source-device";
        give(&d->given[0], arg, state);
        return 0;
    case KEY_TARGET_DEVICE:
        d->about_workload = "--target-device";
        give(&d->given[1], arg, state);
        return 0;
    case KEY_BACKEND:
        d->about_workload = "--backend";
        d->backend = backend_argument(state, arg);
        return 0;
    case KEY_VM:
        d->want_vm = true;
        return 0;
    case KEY_WORKLOAD:
        d->want_workload = true;
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
        d->about_workload = "--history";
        d->history = arg;
        return 0;
    case KEY_DOWNTIME:
        cmd_arg_duration(state, "--downtime-limit", arg, 0, 2000000000000);
        d->downtime_limit = arg;
        return 0;
    case KEY_DIRTY:
        d->about_workload = "--dirty-rate";
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
        d->about_workload = "--fault";
        d->about_own = "--fault";
        if (d->num_faults == DEMO_FAULTS_MAX)
            argp_error(state, "--fault: at most %d", DEMO_FAULTS_MAX);
        else
            d->faults[d->num_faults++] = cmd_arg_sided_fault(state, arg);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "no arguments are expected, only options");
        return 0;
    case ARGP_KEY_END:
        check_given(d, state);
        check_kind(d, state);
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
    { "vm", KEY_VM, NULL, 0,
      "Move a virtual machine, as is done unless something stands in the way, or fail", 0 },
    { "workload", KEY_WORKLOAD, NULL, 0,
      "Move a workload process, as is done where there is no KVM and with the options that only it "
      "has: "
      "--source-device, --target-device, --backend, --dirty-rate, --history, --fault, --trace",
      0 },
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
    sigaction(SIGHUP, &action, NULL);
    int rc = set_stage(&d);
    bool moving = rc == 0;
    if (rc == 0)
        rc = d.kind->move(&d);
    if (rc < 0 && moving && d.exit_code != CMD_CANCELLED && d.exit_code != CMD_REFUSED)
        d.kind->tell_targets_story(&d);
    if (d.exit_code == CMD_UNRESOLVED)
        demo_say(&d, "here an operator would use `vfio-migrate resolve`; the demo ends");
    if (rc == 0)
        rc = verify(&d);
    else if (moving && d.exit_code == CMD_FAILED)
        verify_source(&d);
    strike(&d);
    if (rc < 0 && !json_object_get(d.result, "verified")) {
        json_decref(d.result);
        return cmd_fail("demo", d.end.json, d.exit_code, &d.error);
    }
    json_object_set_new(d.result, "moved", json_string(d.kind->name));
    demo_report(d.result, d.end.json, d.end.quiet);
    json_decref(d.result);
    if (rc < 0 && !d.end.json)
        return cmd_fail("demo", false, d.exit_code, &d.error);
    return rc < 0 ? (int)d.exit_code : CMD_DONE;
}
