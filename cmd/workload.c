/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate workload: a process that embeds the library with a running workload, as source or as
 * target. `vfio-migrate demo` starts two; it can be driven by hand, too: commands come on stdin,
 * one a line, reports go out on stdout, one JSON object a line.
 *
 *   where it runs:      "send ADDRESS" migrates it; the source is started with it
 *   where it does not:  "receive ADDRESS" waits for it and runs it afterwards
 *   both:               "verify" stops and checks everything, "go-on" goes on after it; "quit"
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/backend-argument.h"
#include "cmd/endpoint.h"
#include "cmd/workload.h"
#include "lib/migration/statistics-json.h"

enum { KEY_RAM = 0x1001, KEY_SOURCE, KEY_DIRTY, KEY_DMA, KEY_DEVICE_DIRTY, KEY_SEED };

struct process {
    struct endpoint end; /* addresses and parameters; it opens nothing itself */
    struct workload workload;
    bool source;    /* begins with the workload */
    bool runs_here; /* has it now */
    uint64_t ram_bytes, dirty_rate, dma_rate, device_dirty_rate, seed;
    unsigned num_devices;
    struct vmig_device *devices[WORKLOAD_DEVICES_MAX];
    struct vmig_migration *migration;
};

/* ---- reports ---- */

static void report(json_t *take)
{
    char *text = take ? json_dumps(take, JSON_COMPACT) : NULL;
    json_decref(take);
    if (text)
        puts(text);
    free(text);
    fflush(stdout);
}

static void report_failure(const struct vmig_error *err)
{
    report(json_pack("{s:s, s:i, s:o}", "event", "failed", "exit", (int)cmd_exit_of(err), "error",
                     cmd_error_json(err)));
}

static void report_result(struct process *p)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(p->migration, &s);
    report(json_pack("{s:s, s:o}", "event", "done", "result", statistics_json(&s)));
}

static void on_event(void *opaque, const struct vmig_event *event)
{
    (void)opaque;
    if (event->kind == VMIG_EVENT_LISTENING)
        report(json_pack("{s:s, s:s}", "event", "listening", "address", event->text));
    else if (event->kind == VMIG_EVENT_WAITING || event->kind == VMIG_EVENT_WARNING ||
             event->kind == VMIG_EVENT_QUIESCE_NOTICE)
        report(json_pack("{s:s, s:s}", "event", "message", "text", event->text));
    else if (event->kind == VMIG_EVENT_TRACKING)
        report(json_pack("{s:s, s:s}", "event", "tracking", "text", event->text));
    else
        report(json_pack("{s:s, s:i, s:i, s:I, s:I}", "event", "progress", "stage",
                         (int)event->stage, "round", (int)event->round, "sent",
                         (json_int_t)event->sent_bytes, "remaining",
                         (json_int_t)event->remaining_bytes));
}

/* ---- the host ---- */

static int on_stop(void *opaque, struct vmig_error *err)
{
    struct process *p = opaque;
    (void)err;
    return workload_stop(&p->workload);
}

static int on_start(void *opaque, struct vmig_error *err)
{
    struct process *p = opaque;
    return workload_start(&p->workload, err);
}

static int open_devices(struct process *p, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < p->end.num_addresses; i++) {
        struct device_argument d;
        endpoint_device(&p->end, i, &d);
        struct vmig_device_options options = {
            .size = sizeof(options),
            .id = d.id,
            .backend = backend_for(d.address, p->end.backend),
        };
        rc = vmig_device_open(d.address, &options, &p->devices[i], err);
        if (rc == 0) {
            p->num_devices++;
            rc = workload_attach(&p->workload, i, p->devices[i], err);
        }
        if (rc == 0)
            rc = vmig_migration_add_device_with(p->migration, p->devices[i], &d.settings, err);
    }
    return rc < 0 ? rc : endpoint_set_tracking(&p->end, p->migration, err);
}

static int set_up(struct process *p, struct vmig_error *err)
{
    struct vmig_host host = {
        .size = sizeof(host), .opaque = p, .stop = on_stop, .start = on_start, .event = on_event
    };
    p->migration = vmig_migration_new(&host, err);
    if (!p->migration)
        return err->code;
    int rc = workload_new(&p->workload, p->ram_bytes, p->end.num_addresses, err);
    if (rc < 0)
        return rc;
    struct vmig_ram_block block = {
        .name = "workload",
        .iova = WORKLOAD_IOVA,
        .size_bytes = p->ram_bytes,
        .vaddr = p->workload.memory,
        .fd = p->workload.fd,
    };
    rc = vmig_migration_add_ram(p->migration, &block, err);
    if (rc == 0)
        rc = endpoint_configure(&p->end, p->migration, err);
    if (rc == 0 && p->source)
        rc = endpoint_remember(&p->end, p->migration, err);
    return rc < 0 ? rc : open_devices(p, err);
}

static int begin(struct process *p, struct vmig_error *err)
{
    p->workload.dirty_rate_pages = p->dirty_rate / WORKLOAD_PAGE;
    if (!p->source)
        return 0;
    p->runs_here = true;
    int rc = workload_begin(&p->workload, p->seed, p->dma_rate, p->device_dirty_rate, err);
    return rc < 0 ? rc : workload_start(&p->workload, err);
}

static void tear_down(struct process *p)
{
    workload_stop(&p->workload);
    p->migration = vmig_migration_free(p->migration);
    for (unsigned i = 0; i < p->num_devices; i++)
        p->devices[i] = vmig_device_close(p->devices[i]);
    workload_done(&p->workload);
}

/* ---- signals ---- */

/* What migrates now, for the signal handler. */
static _Atomic(struct vmig_migration *) moving;

static void on_signal(int number)
{
    struct vmig_migration *m = atomic_load(&moving);
    if (m) {
        vmig_migration_cancel(m);
        return;
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- commands ---- */

static void do_move(struct process *p, const char *address, bool send)
{
    struct vmig_error err = { 0 };
    atomic_store(&moving, p->migration);
    int rc = send ? vmig_migration_send(p->migration, address, &err)
                  : vmig_migration_receive(p->migration, address, &err);
    atomic_store(&moving, NULL);
    if (rc < 0) {
        report_failure(&err);
        return;
    }
    p->runs_here = !send;
    report_result(p);
}

static void do_go_on(struct process *p)
{
    struct vmig_error err = { 0 };
    if (workload_go_on(&p->workload, &err) < 0)
        report_failure(&err);
    else
        report(json_pack("{s:s}", "event", "ready"));
}

static void do_verify(struct process *p)
{
    struct workload_report r;
    struct vmig_error err = { 0 };
    if (workload_verify(&p->workload, &r, &err) < 0) {
        report_failure(&err);
        return;
    }
    report(json_pack(
        "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "event", "verified", "ok",
        (int)workload_intact(&r), "checked_pages", (json_int_t)r.checked_pages, "wrong_pages",
        (json_int_t)r.wrong_pages, "lost_writes", (json_int_t)r.lost_writes, "slot_mismatches",
        (json_int_t)r.slot_mismatches, "local_mismatches", (json_int_t)r.local_mismatches,
        "dma_errors", (json_int_t)r.dma_errors, "device_wrong_pages",
        (json_int_t)r.device_wrong_pages, "steps", (json_int_t)r.steps, "device_steps",
        (json_int_t)r.device_steps, "first_wrong", r.first_wrong));
}

static bool obey(struct process *p, char *line)
{
    char *argument = strchr(line, ' ');
    line[strcspn(line, "\n")] = '\0';
    if (argument)
        *argument++ = '\0';
    if (strcmp(line, "send") == 0 && argument && p->runs_here)
        do_move(p, argument, true);
    else if (strcmp(line, "receive") == 0 && argument && !p->runs_here)
        do_move(p, argument, false);
    else if (strcmp(line, "go-on") == 0 && p->runs_here)
        do_go_on(p);
    else if (strcmp(line, "verify") == 0)
        do_verify(p);
    else if (strcmp(line, "quit") == 0)
        return false;
    else
        report(json_pack("{s:s, s:s}", "event", "message", "text",
                         "send ADDRESS (where the workload runs), receive ADDRESS (where it does "
                         "not), verify, go-on or quit is expected"));
    return true;
}

/* ---- options ---- */

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct process *p = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->child_inputs[1] = &p->end;
        return 0;
    case KEY_SOURCE:
        p->source = true;
        return 0;
    case KEY_RAM:
        p->ram_bytes = cmd_arg_size(state, "--memory", arg, WORKLOAD_RAM_MIN, UINT64_C(1) << 40) &
                       ~(uint64_t)(WORKLOAD_PAGE - 1);
        return 0;
    case KEY_DIRTY:
        p->dirty_rate = cmd_arg_rate(state, "--dirty-rate", arg, 0, UINT64_C(1) << 40);
        return 0;
    case KEY_DMA:
        p->dma_rate = cmd_arg_number(state, "--dma-rate", arg, 0, 10000000);
        return 0;
    case KEY_DEVICE_DIRTY:
        p->device_dirty_rate = cmd_arg_number(state, "--device-dirty-rate", arg, 0, 10000000);
        return 0;
    case KEY_SEED:
        p->seed = cmd_arg_number(state, "--seed", arg, 0, UINT64_MAX);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "no arguments are expected; commands come on standard input");
        return 0;
    case ARGP_KEY_END:
        if (p->end.num_addresses > WORKLOAD_DEVICES_MAX)
            argp_error(state, "at most %d devices", WORKLOAD_DEVICES_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    { "source", KEY_SOURCE, NULL, 0, "Begin with a running workload (otherwise wait for one)", 0 },
    { "memory", KEY_RAM, "SIZE", 0, "Memory of the workload (256M)", 0 },
    { "dirty-rate", KEY_DIRTY, "RATE", 0, "What threads rewrite, in bytes a second (50M)", 0 },
    { "dma-rate", KEY_DMA, "N", 0, "Pages a second that each device writes to memory (2000)", 0 },
    { "device-dirty-rate", KEY_DEVICE_DIRTY, "N", 0,
      "Pages a second that each device rewrites in itself (500)", 0 },
    { "seed", KEY_SEED, "N", 0, "Of the patterns (1)", 0 },
    { 0 },
};

int cmd_workload(int argc, char **argv)
{
    static const struct argp_child children[] = { { &endpoint_argp, 0, NULL, 0 },
                                                  { &endpoint_tuning_argp, 0, "Tuning:", 1 },
                                                  { 0 } };
    static const struct argp argp = {
        options,
        parse,
        "[--source] --device DEVICE...",
        "A process with a running workload that can be migrated; see `vfio-migrate demo`.\v"
        "Commands on standard input: send ADDRESS, receive ADDRESS, verify, go-on, quit. Reports "
        "on "
        "standard output, one JSON object a line.",
        children,
        NULL,
        NULL
    };
    struct process p = { .end = { .name = "workload" },
                         .ram_bytes = 256u << 20,
                         .dirty_rate = 50u << 20,
                         .dma_rate = 2000,
                         .device_dirty_rate = 500,
                         .seed = 1 };
    struct vmig_error err = { 0 };
    char line[4352];
    cmd_parse_options(&argp, argc, argv, &p);
    catch_signals();
    int rc = set_up(&p, &err);
    if (rc == 0)
        rc = begin(&p, &err);
    if (rc < 0)
        report_failure(&err);
    else
        report(json_pack("{s:s}", "event", "ready"));
    while (rc == 0 && fgets(line, sizeof(line), stdin) && obey(&p, line))
        ;
    tear_down(&p);
    return rc < 0 ? CMD_FAILED : CMD_DONE;
}
