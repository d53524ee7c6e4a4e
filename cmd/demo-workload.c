/* SPDX-License-Identifier: BSD-3-Clause */
/* A workload that moves from one process to another: `vfio-migrate workload` at each end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/demo.h"
#include "lib/clock.h"

#define ARGS_MAX (20 + 2 * WORKLOAD_DEVICES_MAX + 2 * ENDPOINT_TRACES_MAX)

/* The workload's command line; strings that are made live in @store. */
static void workload_arguments(struct demo *d, bool source, char **argv,
                               char (*store)[DEMO_ADDRESS_MAX])
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
                                            : demo_device_address(d, source, i, store[i]);
    }
    argv[n] = NULL;
}

static int start_workload(struct demo *d, bool source, struct child *ret)
{
    char *argv[ARGS_MAX], store[WORKLOAD_DEVICES_MAX][DEMO_ADDRESS_MAX];
    pid_t pid = demo_fork(d, ret, NULL);
    if (pid == 0) {
        workload_arguments(d, source, argv, store);
        demo_become(NULL, argv);
    }
    return pid < 0 ? -1 : 0;
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
    demo_end_process(c->pid);
    child_done(c);
}

/* ---- talking to the workloads ---- */

static int tell(struct demo *d, struct child *c, const char *command)
{
    if (fprintf(c->to, "%s\n", command) < 0 || fflush(c->to) != 0)
        return demo_failed(d, "a workload process is gone");
    return 0;
}

static void show(struct demo *d, json_t *event)
{
    struct vmig_event e = {
        .stage = (enum vmig_stage)json_integer_value(json_object_get(event, "stage")),
        .round = (unsigned)json_integer_value(json_object_get(event, "round")),
        .sent_bytes = (uint64_t)json_integer_value(json_object_get(event, "sent")),
        .remaining_bytes = (uint64_t)json_integer_value(json_object_get(event, "remaining")),
    };
    demo_draw(d, &e);
}

static int take_failure(struct demo *d, const char *who, json_t *event)
{
    json_t *error = json_object_get(event, "error");
    const char *message = demo_text(error, "message");
    demo_failed_as(d, who, message[0] ? message : "failed", error);
    d->exit_code = (enum cmd_exit)json_integer_value(json_object_get(event, "exit"));
    return -1;
}

/* What is only to be known is told when it comes, whoever is waited for: a device that takes long,
 * for instance. */
static void overhear(struct demo *d, struct child *c)
{
    json_t *event;
    while ((event = child_look(c))) {
        if (strcmp(demo_text(event, "event"), "message") == 0) {
            demo_hide(d);
            fprintf(stderr, "vfio-migrate demo: at the %s: %s\n",
                    c == &d->source ? "source" : "target", demo_text(event, "text"));
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
        const char *name = demo_text(event, "event");
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
        if (demo_interrupted())
            demo_cancelled(d);
        else if (ended)
            demo_failed(d, "the %s process ended unexpectedly", who);
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

static int begin(struct demo *d)
{
    int rc = start_workload(d, true, &d->source);
    if (rc == 0)
        rc = start_workload(d, false, &d->target);
    if (rc == 0)
        rc = expect(d, &d->target, "target", "ready");
    return rc < 0 ? rc : expect(d, &d->source, "source", "ready");
}

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
    nanosleep(&(struct timespec) { .tv_nsec = DEMO_WARM_UP_NS }, NULL);
    demo_say(d, "migrating over %s while it runs", address ? address : "");
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

/* What a side says of its workload, after it ran for a while. */
static json_t *verify(struct demo *d, bool target)
{
    struct child *side = target ? &d->target : &d->source;
    const char *who = target ? "target" : "source";
    nanosleep(&(struct timespec) { .tv_nsec = DEMO_WARM_UP_NS }, NULL);
    json_t *event = tell(d, side, "verify") < 0 ? NULL : await(d, side, who, "verified");
    json_object_del(event, "event");
    return event;
}

#define STORY_NS (5 * NS_PER_S) /* a device that hangs takes longer, and the source tells of it */

/* How the move ended for the target, if it says so soon. New reference or NULL. */
static json_t *await_targets_end(struct demo *d)
{
    uint64_t end = clock_ns() + STORY_NS;
    for (bool there = true;;) {
        json_t *event;
        while ((event = child_take(&d->target))) {
            const char *name = demo_text(event, "event");
            if (strcmp(name, "failed") == 0 || strcmp(name, "done") == 0)
                return event;
            json_decref(event);
        }
        if (!there || demo_interrupted() || clock_ns() >= end)
            return NULL;
        there = listen_for(d, &d->target);
    }
}

/* What the target knows of it and the source does not. */
static void tell_targets_story(struct demo *d)
{
    json_t *event = await_targets_end(d), *error = json_object_get(event, "error");
    const char *text = demo_text(error, "message"), *device = demo_text(error, "device");
    if (strcmp(demo_text(event, "event"), "done") == 0)
        demo_say(d, "at the target: the workload runs there");
    else if (text[0] && !strstr(d->error.text, text) &&
             strcmp(demo_text(error, "reason"), "source-goes-on") != 0)
        demo_say(d, "at the target: %s%s%s: %s", device, device[0] ? ": " : "",
                 demo_text(error, "stage"), text);
    json_decref(event);
}

static void end(struct demo *d)
{
    end_workload(&d->source);
    end_workload(&d->target);
}

const struct demo_kind demo_workload = { .name = "workload",
                                         .begin = begin,
                                         .move = move,
                                         .verify = verify,
                                         .tell_targets_story = tell_targets_story,
                                         .end = end };
