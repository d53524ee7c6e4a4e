/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/machine.h"
#include "lib/clock.h"
#include "vmm/options.h"

#define ARGUMENTS_MAX 40
#define PATIENCE_S 120 /* for anything that a machine does */
#define NO_PROGRAM 127

static _Noreturn void machine_die(const struct machine *machine, const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, machine->kind->name, what);
    exit(1);
}

static void pause_ms(unsigned ms)
{
    poll(NULL, 0, (int)ms);
}

/* ---- what it says ---- */

static uint64_t moment_of(const json_t *event)
{
    const json_t *stamp = json_object_get(event, "timestamp");
    return (uint64_t)json_integer_value(json_object_get(stamp, "seconds")) * NS_PER_S +
           (uint64_t)json_integer_value(json_object_get(stamp, "microseconds")) * 1000;
}

static void on_event(void *opaque, const json_t *line)
{
    struct moments *said = opaque;
    const char *event = json_string_value(json_object_get(line, "event"));
    const char *status =
        json_string_value(json_object_get(json_object_get(line, "data"), "status"));
    uint64_t now = moment_of(line);
    if (!event)
        return;
    if (strcmp(event, "STOP") == 0)
        said->stopped_ns = now;
    else if (strcmp(event, "RESUME") == 0)
        said->resumed_ns = now;
    else if (strcmp(event, "MIGRATION") == 0 && status && strcmp(status, "completed") == 0)
        said->completed_ns = now;
    else if (strcmp(event, "MIGRATION") == 0 && status && strcmp(status, "failed") == 0)
        said->failed_ns = now;
}

json_t *machine_ask(struct machine *machine, const char *command, json_t *take_arguments)
{
    struct vmig_error err = { 0 };
    json_t *call = json_pack("{s:s, s:o*}", "execute", command, "arguments", take_arguments);
    json_t *line = connection_call(&machine->qmp, call, NULL, &err);
    must(line ? 0 : err.code, &err);
    json_t *answer = json_object_get(line, "return");
    if (!answer) {
        json_dumpf(line, stderr, JSON_COMPACT);
        machine_die(machine, command);
    }
    json_incref(answer);
    json_decref(line);
    json_decref(call);
    return answer;
}

void machine_tell(struct machine *machine, const char *command, json_t *take_arguments)
{
    json_decref(machine_ask(machine, command, take_arguments));
}

/* ---- life ---- */

static _Noreturn void be_machine(const struct machine *machine, enum role role)
{
    const struct machine_kind *kind = machine->kind;
    const char *const *lists[] = { kind->arguments, kind->of_role[role] };
    char *argv[ARGUMENTS_MAX] = { (char *)kind->program };
    unsigned argc = 1;
    for (unsigned i = 0; i < 2; i++)
        for (const char *const *text = lists[i]; *text; text++, argc++) {
            const char *path = strstr(*text, "%s"), *size = strstr(*text, "%u");
            const char *place = path ? path : size;
            int rc = !place ? asprintf(&argv[argc], "%s", *text)
                     : path ? asprintf(&argv[argc], "%.*s%s%s", (int)(path - *text), *text,
                                       machine->socket, path + 2)
                            : asprintf(&argv[argc], "%.*s%" PRIu64 "%s", (int)(size - *text), *text,
                                       machine->memory_bytes / MIB, size + 2);
            if (rc < 0)
                die("out of memory");
        }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    if (!getenv("BENCH_VERBOSE"))
        dup2(nothing, STDERR_FILENO);
    execvp(kind->program, argv);
    _exit(NO_PROGRAM);
}

static _Noreturn void ended_early(const struct machine *machine, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code != NO_PROGRAM && code != VMM_NO_KVM)
        machine_die(machine, "it ended at once; BENCH_VERBOSE=1 shows what it says");
    fprintf(stderr, "%s: skipped: %s %s\n", program_invocation_short_name, machine->kind->program,
            code == NO_PROGRAM ? "is not here" : "finds no KVM");
    exit(77);
}

static void connect_monitor(struct machine *machine)
{
    struct vmig_error err = { 0 };
    uint64_t deadline = clock_ns() + PATIENCE_S * NS_PER_S;
    while (access(machine->socket, F_OK) != 0 && clock_ns() < deadline) {
        int status;
        if (waitpid(machine->pid, &status, WNOHANG) != 0)
            ended_early(machine, status);
        pause_ms(10);
    }
    machine->qmp = (struct connection) { .fd = -1, .on_other = on_event, .opaque = &machine->said };
    int rc;
    while ((rc = connection_open(&machine->qmp, machine->socket, &err)) == -ECONNREFUSED &&
           clock_ns() < deadline) /* bound, but not listening yet */
        pause_ms(10);
    must(rc, &err);
}

/* The mapping of that name and at least that size. */
static uint64_t find_memory(const struct machine *machine)
{
    char path[64], line[512];
    uint64_t from, to, found = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", machine->pid);
    FILE *maps = fopen(path, "r");
    while (maps && !found && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 &&
            to - from >= machine->memory_bytes && strstr(line, machine->kind->mapping))
            found = from;
    if (maps)
        fclose(maps);
    return found ? found : (machine_die(machine, "its memory is not in /proc/PID/maps"), 0);
}

struct machine *machine_start(const struct machine_kind *kind, enum role role,
                              uint64_t memory_bytes)
{
    static unsigned number;
    struct machine *machine = calloc(1, sizeof(*machine));
    if (!machine)
        die("out of memory");
    machine->kind = kind;
    machine->memory_bytes = memory_bytes;
    snprintf(machine->socket, sizeof(machine->socket), "/tmp/bench-%d-%u.qmp", getpid(), number++);
    unlink(machine->socket);
    fflush(stdout);
    machine->pid = fork();
    if (machine->pid == 0)
        be_machine(machine, role);
    connect_monitor(machine);
    machine->memory_at = find_memory(machine);
    return machine;
}

struct machine *machine_end(struct machine *machine)
{
    kill(machine->pid, SIGKILL);
    waitpid(machine->pid, NULL, 0);
    connection_close(&machine->qmp);
    unlink(machine->socket);
    free(machine);
    return NULL;
}

/* ---- the guest ---- */

void machine_stop(struct machine *machine)
{
    if (!machine->kind->starts_stopped)
        machine_tell(machine, "stop", NULL);
}

/* Clock ticks that the process has used. */
static unsigned long ticks_of(const struct machine *machine)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", machine->pid);
    FILE *file = fopen(path, "r");
    if (file && fgets(text, sizeof(text), file) && strrchr(text, ')'))
        sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &system);
    if (file)
        fclose(file);
    return user + system;
}

void machine_idle(struct machine *machine)
{
    unsigned long before, now = ticks_of(machine);
    if (machine->kind->starts_stopped)
        machine_tell(machine, "cont", NULL);
    do {
        before = now;
        pause_ms(500);
        now = ticks_of(machine);
    } while (now > before + 1);
}

void machine_fill(struct machine *machine, const struct memory *piece, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t length = to - from < piece->bytes ? to - from : piece->bytes;
        struct iovec here = { piece->at, length };
        struct iovec there = { (void *)(uintptr_t)(machine->memory_at + from), length };
        ssize_t n = process_vm_writev(machine->pid, &here, 1, &there, 1, 0);
        if (n <= 0)
            die("writing guest memory");
        from += (uint64_t)n;
    }
}

/* ---- moving it ---- */

static json_t *listen_at(struct machine *target)
{
    machine_tell(target, "migrate-incoming", json_pack("{s:s}", "uri", "tcp:127.0.0.1:0"));
    json_t *answer = machine_ask(target, "query-migrate", NULL);
    json_t *address = json_array_get(json_object_get(answer, "socket-address"), 0);
    const char *port = json_string_value(json_object_get(address, "port"));
    json_t *uri = port ? json_sprintf("tcp:127.0.0.1:%s", port) : NULL;
    json_decref(answer);
    if (!uri)
        machine_die(target, "it does not say where it listens");
    return uri;
}

static bool is_over(const struct machine *machine)
{
    if (machine->said.failed_ns)
        machine_die(machine, "the migration failed");
    return machine->said.completed_ns;
}

static uint64_t wall_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t machine_move(struct machine *source, struct machine *target, bool runs)
{
    struct machine *both[] = { source, target };
    json_t *arguments = json_pack("{s:o}", "uri", listen_at(target));
    uint64_t start = wall_clock_ns();
    machine_tell(source, "migrate", arguments);
    while (!is_over(source) || !is_over(target) || (runs && !target->said.resumed_ns)) {
        struct pollfd p[] = { { source->qmp.fd, POLLIN, 0 }, { target->qmp.fd, POLLIN, 0 } };
        if (poll(p, 2, PATIENCE_S * 1000) <= 0)
            machine_die(source, "the migration does not end");
        for (unsigned i = 0; i < 2; i++)
            if (p[i].revents && !connection_poll(&both[i]->qmp))
                machine_die(both[i], "its monitor went away");
    }
    return start;
}
