/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtual machine that moves from one vfio-vmm to another. Its guest is the built-in one: it rewrites pages and
 * drives the devices, checks both, and numbers what it reports on its console. So the consoles of source and target,
 * one behind the other, are one text in which no report is missing and none comes twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/demo.h"
#include "cmd/monitor-connection.h"
#include "lib/clock.h"
#include "lib/migration/control.h"

#define CPUS "2"
#define GUEST_DEVICES_MAX 4 /* that the guest drives */
#define GUEST_PAGES 2048    /* that it rewrites; the rest of memory stays as it is */
#define RAM_MIN (UINT64_C(16) << 20)
#define RAM_MAX (UINT64_C(16) << 30)
#define RAM_UNIT (UINT64_C(2) << 20)
/* A guest that says nothing for so long stands still; machines can be slow. */
#define SILENCE_NS (60 * NS_PER_S)
#define LOOK_MS 20 /* at how far it is */

struct side {
    const char *who;
    struct child process; /* what it writes is the guest's console */
    int err;              /* its standard error; 0: none */
    char words[4096];     /* what it says there, the last line unfinished */
    char address[100];    /* where it listens */
    char said[512];       /* the last that it said, and that is more than a status */
    char qmp[80], control[80];
};

/* What the guest says of itself. */
struct guest {
    uint64_t reports, missing_reports, last_report;
    uint64_t reports_before; /* it was waited for another one */
    json_t *verified;        /* the last time that it was asked */
};

struct vm {
    char program[PATH_MAX], folder[64];
    struct side sides[2]; /* source, target */
    struct guest guest;
};

/* ---- the guest's console ---- */

/* The number behind @word; 0: it is not there. */
static uint64_t number_behind(const char *line, const char *word)
{
    const char *at = strstr(line, word);
    return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

/* That of all devices: "; device 0: copies 8 interrupts 8 lost 0 slots 12 wrong 0; device 1: ..." */
static uint64_t sum_of(const char *line, const char *word)
{
    uint64_t sum = 0;
    for (const char *at = line; (at = strstr(at, "; device ")); at++)
        sum += number_behind(at, word);
    return sum;
}

static void take_report(struct guest *guest, const char *line)
{
    uint64_t number = number_behind(line, "report ");
    guest->reports++;
    guest->missing_reports += number > guest->last_report ? number - guest->last_report - 1 : 1;
    guest->last_report = number;
}

static void take_verification(struct guest *guest, const char *line)
{
    size_t length = strlen(line);
    bool good = length > 6 && strcmp(line + length - 6, ": good") == 0;
    json_decref(guest->verified);
    guest->verified = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ok", good && !guest->missing_reports,
        "checked_pages", (json_int_t)GUEST_PAGES, "wrong_pages",
        (json_int_t)number_behind(line, "wrong "), "reports", (json_int_t)guest->reports,
        "missing_reports", (json_int_t)guest->missing_reports, "interrupts",
        (json_int_t)sum_of(line, " interrupts "), "lost_interrupts",
        (json_int_t)sum_of(line, " lost "), "dma_pages", (json_int_t)sum_of(line, " slots "),
        "device_wrong_pages", (json_int_t)sum_of(line, " wrong "));
}

static void take_line(struct guest *guest, const char *line)
{
    if (strncmp(line, "report ", 7) == 0)
        take_report(guest, line);
    else if (strncmp(line, "verified: ", 10) == 0)
        take_verification(guest, line);
}

/* Whole lines; what is no line yet stays. */
static void take_console(struct guest *guest, struct child *console)
{
    char *newline, line[1024];
    while (console->length && (newline = memchr(console->text, '\n', console->length))) {
        size_t bytes = (size_t)(newline - console->text) + 1;
        snprintf(line, sizeof(line), "%.*s", (int)bytes - 1, console->text);
        memmove(console->text, console->text + bytes, console->length -= bytes);
        take_line(guest, line);
    }
}

/* ---- what the machines say ---- */

static void take_words(struct side *side)
{
    static const char name[] = "vfio-vmm: ", listening[] = "listening on ", status[] = "migration ";
    char *newline;
    while ((newline = strchr(side->words, '\n'))) {
        char *line = side->words;
        *newline = '\0';
        if (strncmp(line, name, strlen(name)) == 0)
            line += strlen(name);
        if (strncmp(line, listening, strlen(listening)) == 0)
            snprintf(side->address, sizeof(side->address), "%s", line + strlen(listening));
        else if (strncmp(line, status, strlen(status)) != 0)
            snprintf(side->said, sizeof(side->said), "%s", line);
        memmove(side->words, newline + 1, strlen(newline + 1) + 1);
    }
}

static void read_words(struct side *side)
{
    size_t used = strlen(side->words);
    if (used == sizeof(side->words) - 1)
        used = 0; /* no line is that long */
    ssize_t n = read(side->err, side->words + used, sizeof(side->words) - 1 - used);
    if (n == 0 || (n < 0 && errno != EINTR)) {
        close(side->err);
        side->err = 0;
    }
    side->words[used + (n > 0 ? (size_t)n : 0)] = '\0';
    take_words(side);
}

static void read_console(struct side *side)
{
    if (child_read(&side->process))
        return;
    close(side->process.from);
    side->process.from = 0;
}

/* Where the guest is, and was: the target's console is the end of the source's. */
static void listen_to(struct vm *vm, int timeout_ms)
{
    struct pollfd polls[4];
    for (unsigned i = 0; i < 4; i++) {
        const struct side *side = &vm->sides[i / 2];
        int fd = i % 2 ? side->err : side->process.from;
        polls[i] = (struct pollfd) { .fd = fd ? fd : -1, .events = POLLIN };
    }
    if (poll(polls, 4, timeout_ms) <= 0)
        return;
    for (unsigned i = 0; i < 4; i++)
        if (polls[i].revents)
            (i % 2 ? read_words : read_console)(&vm->sides[i / 2]);
    take_console(&vm->guest, &vm->sides[0].process);
    if (!vm->sides[0].process.from && !vm->sides[0].process.length)
        take_console(&vm->guest, &vm->sides[1].process);
}

/* ---- waiting ---- */

static bool has_ended(const struct side *side)
{
    return !side->process.from && !side->err;
}

static int ended(struct demo *d, const struct side *side)
{
    return demo_failed(d, "the %s's vfio-vmm ended: %s", side->who,
                       side->said[0] ? side->said : "it did not say why");
}

/* Until @is_so; @side must be there for it. */
static int await(struct demo *d, struct side *side, bool (*is_so)(const struct vm *vm),
                 const char *what)
{
    uint64_t last = clock_ns() + SILENCE_NS, heard = d->vm->guest.reports;
    while (!is_so(d->vm)) {
        if (demo_interrupted())
            return demo_cancelled(d);
        if (has_ended(side))
            return ended(d, side);
        if (clock_ns() >= last)
            return demo_failed(d, "nothing came for %d s of %s", (int)(SILENCE_NS / NS_PER_S),
                               what);
        listen_to(d->vm, LOOK_MS);
        if (heard != d->vm->guest.reports)
            last = clock_ns() + SILENCE_NS;
        heard = d->vm->guest.reports;
    }
    return 0;
}

static bool target_listens(const struct vm *vm)
{
    return vm->sides[1].address[0];
}

static bool guest_reports(const struct vm *vm)
{
    return vm->guest.reports > vm->guest.reports_before;
}

static bool guest_has_verified(const struct vm *vm)
{
    return vm->guest.verified;
}

static bool source_is_silent(const struct vm *vm)
{
    return has_ended(&vm->sides[0]);
}

static int listen_for(struct demo *d, uint64_t ns)
{
    for (uint64_t end = clock_ns() + ns; clock_ns() < end;) {
        if (demo_interrupted())
            return demo_cancelled(d);
        listen_to(d->vm, LOOK_MS);
    }
    return 0;
}

/* ---- is it possible? ---- */

/* Beside this program, as installed, or where it was built. */
static bool find_program(struct vm *vm)
{
    static const char *const places[] = { "vfio-vmm", "../vmm/vfio-vmm" };
    char self[PATH_MAX - 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    for (unsigned i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(vm->program, sizeof(vm->program), "%.*s/%s", (int)(slash - self), self, places[i]);
        if (access(vm->program, X_OK) == 0)
            return true;
    }
    return false;
}

/* Nobody knows better than a machine whether there can be one: a small guest makes a step. */
static bool try_program(struct demo *d, struct vm *vm)
{
    static char *const argv[] = { "vfio-vmm", "--guest",  "pattern",
                                  "--memory", "16M",      "--serial",
                                  "none",     "--append", "steps=1 pages=1 lanes=1",
                                  NULL };
    struct side *side = &vm->sides[0];
    int status = 0;
    pid_t pid = demo_fork(d, &side->process, &side->err);
    if (pid == 0)
        demo_become(vm->program, (char **)argv);
    uint64_t last = clock_ns() + SILENCE_NS;
    while (pid > 0 && !has_ended(side) && !demo_interrupted() && clock_ns() < last)
        listen_to(vm, LOOK_MS);
    bool over = pid > 0 && has_ended(side) && waitpid(pid, &status, 0) == pid;
    if (!over)
        demo_end_process(pid);
    bool works = over && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!works)
        snprintf(d->why, sizeof(d->why), "%s",
                 side->said[0] ? side->said : "vfio-vmm does not run here");
    child_done(&side->process);
    if (side->err)
        close(side->err);
    return works;
}

bool demo_vm_fits(struct demo *d)
{
    uint64_t ram;
    cmd_parse_size(d->ram, &ram);
    if (ram < RAM_MIN || ram > RAM_MAX || ram % RAM_UNIT)
        snprintf(d->why, sizeof(d->why), "--ram %s: a machine has 16M to 16G, a multiple of 2M",
                 d->ram);
    else if (d->num_devices > GUEST_DEVICES_MAX)
        snprintf(d->why, sizeof(d->why), "--devices %u: the built-in guest drives at most %d",
                 d->num_devices, GUEST_DEVICES_MAX);
    else
        return true;
    return false;
}

bool demo_vm_is_possible(struct demo *d)
{
    struct vm vm = { 0 };
    bool possible = demo_vm_fits(d);
    if (possible && !find_program(&vm)) {
        snprintf(d->why, sizeof(d->why), "vfio-vmm is not installed");
        possible = false;
    }
    return possible && try_program(d, &vm);
}

/* ---- the machines ---- */

#define ARGS_MAX (24 + 2 * GUEST_DEVICES_MAX)

static int start_machine(struct demo *d, bool source)
{
    struct vm *vm = d->vm;
    struct side *side = &vm->sides[!source];
    char guest[100], store[GUEST_DEVICES_MAX][DEMO_ADDRESS_MAX], qmp[96];
    unsigned n = 0;
    snprintf(side->qmp, sizeof(side->qmp), "%s/%s.qmp", vm->folder, side->who);
    snprintf(side->control, sizeof(side->control), "%s/%s.control", vm->folder, side->who);
    snprintf(qmp, sizeof(qmp), "unix:%s", side->qmp);
    snprintf(guest, sizeof(guest), "pages=%d lanes=16 report=50 dma=%s", GUEST_PAGES, d->dma_rate);
    char *argv[ARGS_MAX] = { "vfio-vmm", "--cpus", CPUS,        "--memory",   (char *)d->ram,
                             "--qmp",    qmp,      "--control", side->control };
    while (argv[n])
        n++;
    argv[n++] = source ? "--guest" : "--incoming";
    argv[n++] = source ? "pattern" : "tcp:127.0.0.1:0";
    if (source) {
        argv[n++] = "--append";
        argv[n++] = guest;
    }
    pid_t pid = demo_fork(d, &side->process, &side->err);
    if (pid != 0)
        return pid < 0 ? -1 : 0;
    for (unsigned i = 0; i < d->num_devices; i++) {
        argv[n++] = "--device";
        argv[n++] = demo_device_address(d, source, i, store[i]);
    }
    demo_become(vm->program, argv);
}

static int begin(struct demo *d)
{
    struct vm *vm = d->vm = calloc(1, sizeof(*d->vm));
    const char *tmp = getenv("TMPDIR");
    if (!vm)
        return demo_failed(d, "out of memory");
    vm->sides[0].who = "source";
    vm->sides[1].who = "target";
    if (!find_program(vm))
        return demo_failed(d, "vfio-vmm is gone");
    if (!tmp || strlen(tmp) > 45) /* the names of sockets are short */
        tmp = "/tmp";
    snprintf(vm->folder, sizeof(vm->folder), "%s/demo-XXXXXX", tmp);
    if (!mkdtemp(vm->folder)) {
        int rc = demo_failed(d, "a folder for sockets, %s: %s", vm->folder, strerror(errno));
        vm->folder[0] = '\0';
        return rc;
    }
    int rc = start_machine(d, true);
    if (rc == 0)
        rc = start_machine(d, false);
    if (rc == 0)
        rc = await(d, &vm->sides[1], target_listens, "the target to listen");
    return rc < 0 ? rc : await(d, &vm->sides[0], guest_reports, "the guest's first report");
}

/* The demo's end is also that of who does not answer: no command waits for long. */
static int order(struct demo *d, struct side *side, json_t *take_command)
{
    struct connection connection = { .fd = -1 };
    struct vmig_error err = { 0 };
    json_t *answer = NULL;
    if (connection_open(&connection, side->qmp, &err) == 0) {
        answer = connection_call(&connection, take_command, NULL, &err);
        connection_close(&connection);
    }
    json_t *error = json_object_get(answer, "error");
    if (error)
        snprintf(err.text, sizeof(err.text), "%s", demo_text(error, "desc"));
    int rc = answer && !error ? 0 : demo_failed(d, "at the %s: %s", side->who, err.text);
    json_decref(take_command);
    json_decref(answer);
    return rc;
}

static bool monitor_is_there(const struct vm *vm)
{
    return access(vm->sides[0].qmp, F_OK) == 0;
}

static int begin_to_move(struct demo *d)
{
    struct side *source = &d->vm->sides[0];
    uint64_t limit_ns;
    cmd_parse_duration(d->downtime_limit, &limit_ns);
    json_t *parameters = json_pack("{s:I}", "downtime-limit", (json_int_t)(limit_ns / 1000000));
    if (d->all_dirty)
        json_object_set_new(parameters, "all-dirty", json_true());
    int rc = await(d, source, monitor_is_there, "the source's monitor");
    json_t *set =
        json_pack("{s:s, s:o}", "execute", "migrate-set-parameters", "arguments", parameters);
    if (rc < 0)
        json_decref(set);
    else
        rc = order(d, source, set);
    if (rc < 0)
        return rc;
    rc = order(d, source,
               json_pack("{s:s, s:{s:s}}", "execute", "migrate", "arguments", "uri",
                         d->vm->sides[1].address));
    if (rc < 0 && !strstr(d->error.text, "the connection")) /* refused, and nothing was touched */
        d->exit_code = CMD_REFUSED;
    return rc;
}

static void show(struct demo *d, json_t *statistics)
{
    static const struct {
        const char *status;
        enum vmig_stage stage;
    } stages[] = { { "setup", VMIG_STAGE_SETUP },
                   { "active", VMIG_STAGE_ROUNDS },
                   { "device", VMIG_STAGE_COMPLETE } };
    json_t *ram = json_object_get(statistics, "ram");
    struct vmig_event event = {
        .round = (unsigned)json_integer_value(json_object_get(ram, "rounds")),
        .sent_bytes =
            (uint64_t)json_integer_value(json_object_get(statistics, "transferred_bytes")),
        .remaining_bytes =
            (uint64_t)json_integer_value(json_object_get(statistics, "remaining_bytes")),
    };
    for (unsigned i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (strcmp(demo_text(statistics, "status"), stages[i].status) == 0)
            event.stage = stages[i].stage;
    demo_draw(d, &event);
}

/* As what `send` would have ended with. */
static int take_failure(struct demo *d, json_t *statistics)
{
    json_t *error = json_object_get(statistics, "error");
    const char *status = demo_text(statistics, "status"), *text = demo_text(error, "text");
    demo_failed_as(d, "source", text[0] ? text : status, error);
    if (strcmp(status, "unresolved") == 0)
        d->error.code = -EUCLEAN;
    if (strcmp(status, "cancelled") == 0)
        d->error.code = -ECANCELED;
    d->exit_code = cmd_exit_of(&d->error);
    return -1;
}

/* 0: it goes on, or -1; 1: it has moved. */
static int look(struct demo *d)
{
    static const char *const under_way[] = { "none",   "setup",      "active", "pre-switchover",
                                             "device", "cancelling", NULL };
    struct side *source = &d->vm->sides[0];
    struct vmig_error err = { 0 };
    json_t *answer = control_call(source->control, json_pack("{s:s}", "execute", "status"), &err);
    json_t *statistics = json_object_get(answer, "statistics");
    const char *status = demo_text(statistics, "status");
    int rc = 0;
    if (!answer && has_ended(source))
        rc = ended(d, source);
    else if (!answer)
        rc = demo_failed(d, "at the source: %s", err.text);
    else if (strcmp(status, "completed") == 0)
        rc = 1;
    else {
        unsigned i = 0;
        while (under_way[i] && strcmp(under_way[i], status))
            i++;
        rc = under_way[i] ? 0 : take_failure(d, statistics);
        show(d, statistics);
    }
    if (rc == 1)
        d->result = json_incref(statistics);
    json_decref(answer);
    return rc;
}

/* Nothing of the guest is at the source any more, when it has told all that it had of its console. */
static int end_source(struct demo *d)
{
    struct side *source = &d->vm->sides[0], *target = &d->vm->sides[1];
    int rc = order(d, source, json_pack("{s:s}", "execute", "quit"));
    if (rc == 0)
        rc = await(d, target, source_is_silent, "the end of the source");
    if (rc < 0 || !source->process.length)
        return rc;
    /* a line that the source has begun and the target ends */
    size_t begun = source->process.length, length = target->process.length;
    char *line = malloc(begun + length);
    if (!line)
        return demo_failed(d, "out of memory");
    memcpy(line, source->process.text, begun);
    if (length)
        memcpy(line + begun, target->process.text, length);
    free(target->process.text);
    target->process.text = line;
    target->process.length = target->process.size = begun + length;
    source->process.length = 0;
    return 0;
}

static int move(struct demo *d)
{
    int rc = listen_for(d, DEMO_WARM_UP_NS);
    if (rc < 0)
        return rc;
    demo_say(d, "migrating over %s while it runs", d->vm->sides[1].address);
    rc = begin_to_move(d);
    while (rc == 0) {
        rc = demo_interrupted() ? demo_cancelled(d) : look(d);
        listen_to(d->vm, LOOK_MS);
    }
    return rc < 0 ? rc : end_source(d);
}

static json_t *verify(struct demo *d, bool target)
{
    struct side *side = &d->vm->sides[target];
    d->vm->guest.reports_before = d->vm->guest.reports;
    if (listen_for(d, DEMO_WARM_UP_NS) < 0 ||
        await(d, side, guest_reports, "a report of the guest") < 0)
        return NULL;
    if (fputs("v", side->process.to) == EOF || fflush(side->process.to) == EOF) {
        ended(d, side);
        return NULL;
    }
    if (await(d, side, guest_has_verified, "the guest's verification") < 0)
        return NULL;
    return json_incref(d->vm->guest.verified);
}

static void tell_targets_story(struct demo *d)
{
    const struct side *target = &d->vm->sides[1];
    listen_for(d, DEMO_WARM_UP_NS);
    if (target->said[0] && !strstr(target->said, d->error.text))
        demo_say(d, "at the target: %s", target->said);
}

static void end_side(struct side *side)
{
    demo_end_process(side->process.pid);
    child_done(&side->process);
    if (side->err)
        close(side->err);
    unlink(side->qmp);
    unlink(side->control);
}

static void end(struct demo *d)
{
    if (!d->vm)
        return;
    for (unsigned i = 0; i < 2; i++)
        end_side(&d->vm->sides[i]);
    if (d->vm->folder[0])
        rmdir(d->vm->folder);
    json_decref(d->vm->guest.verified);
    free(d->vm);
    d->vm = NULL;
}

const struct demo_kind demo_vm = { .name = "vm",
                                   .begin = begin,
                                   .move = move,
                                   .verify = verify,
                                   .tell_targets_story = tell_targets_story,
                                   .end = end };
