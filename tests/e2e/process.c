/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/process.h"

char folder[64];

void folder_make(void)
{
    snprintf(folder, sizeof(folder), "/tmp/vfio-migrate-e2e.XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_STATE_HOME", folder, 1);
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char name[600];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            remove_tree(name);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

void folder_remove(void)
{
    remove_tree(folder);
}

const char *at(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

#define ARGS_MAX 40

static void collect(char **argv, const char *first, va_list args)
{
    unsigned n = 0;
    argv[n++] = (char *)"vfio-migrate";
    for (const char *a = first; a && n < ARGS_MAX - 1; a = va_arg(args, const char *))
        argv[n++] = (char *)a;
    argv[n] = NULL;
}

/* The child: its three streams, and it does not outlive the test. */
static pid_t spawn(char **argv, int in, int out, int err)
{
    const char *program = getenv("VFIO_MIGRATE");
    assert_non_null(program);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    execv(program, argv);
    _exit(127);
}

static int status_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void slurp(int fd, char *ret, size_t size)
{
    ssize_t n = pread(fd, ret, size - 1, 0);
    ret[n > 0 ? n : 0] = '\0';
    close(fd);
}

static int scratch(void)
{
    char name[128];
    snprintf(name, sizeof(name), "%s/out.XXXXXX", folder);
    int fd = mkostemp(name, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(name);
    return fd;
}

struct result run_(const char *first, ...)
{
    static struct result r;
    char *argv[ARGS_MAX];
    va_list args;
    va_start(args, first);
    collect(argv, first, args);
    va_end(args);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out = scratch(), err = scratch(), status;
    pid_t pid = spawn(argv, in, out, err);
    close(in);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    r.exit_code = status_code(status);
    slurp(out, r.out, sizeof(r.out));
    slurp(err, r.err, sizeof(r.err));
    return r;
}

void expect_(struct result r, int exit_code, const char *text, const char *file, int line)
{
    if (r.exit_code == exit_code && (!text || strstr(r.out, text) || strstr(r.err, text)))
        return;
    fail_msg("%s:%d: exit %d, wanted %d and \"%s\"\n%s%s", file, line, r.exit_code, exit_code,
             text ? text : "", r.out, r.err);
}

struct process start_(const char *first, ...)
{
    char *argv[ARGS_MAX];
    va_list args;
    va_start(args, first);
    collect(argv, first, args);
    va_end(args);
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    struct process p = { .pid = spawn(argv, in[0], out[1], 2) };
    close(in[0]);
    close(out[1]);
    p.to = fdopen(in[1], "w");
    p.from = fdopen(out[0], "r");
    signal(SIGPIPE, SIG_IGN);
    return p;
}

json_t *await(struct process *p, const char *event)
{
    char *line = NULL;
    size_t size = 0;
    json_t *found = NULL;
    while (!found && getline(&line, &size, p->from) > 0) {
        json_t *object = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(object, "event"));
        if (name && (strcmp(name, event) == 0 || strcmp(name, "failed") == 0))
            found = object;
        else
            json_decref(object);
    }
    free(line);
    return found;
}

void tell(struct process *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(p->to, format, args);
    va_end(args);
    fputc('\n', p->to);
    fflush(p->to);
}

int end(struct process *p)
{
    int status = 0;
    if (p->pid <= 0)
        return -1;
    fclose(p->to);
    while (fgetc(p->from) != EOF)
        ;
    fclose(p->from);
    waitpid(p->pid, &status, 0);
    p->pid = 0;
    return status_code(status);
}

void kill_hard(struct process *p)
{
    if (p->pid > 0)
        kill(p->pid, SIGKILL);
    end(p);
}

struct process device(const char *name, const char *profile)
{
    const char *path = at(name);
    bool bulk = strcmp(profile, "default") == 0; /* the others have a size of their own */
    struct process p =
        bulk ? start("refdev", "--socket-path", path, "--profile", profile, "--json", "--quiet",
                     "--seed", "5", "--state-size", "64K")
             : start("refdev", "--socket-path", path, "--profile", profile, "--json", "--quiet");
    /* its first line says that it listens */
    char line[1000];
    assert_non_null(fgets(line, sizeof(line), p.from));
    return p;
}

void pair_begin(struct process servers[2], char from[200], char to[200])
{
    folder_make();
    servers[0] = device("source", "default");
    servers[1] = device("target", "default");
    snprintf(from, 200, "vfio-user:%s", at("source"));
    snprintf(to, 200, "vfio-user:%s", at("target"));
}

void pair_end(struct process servers[2])
{
    kill_hard(&servers[0]);
    kill_hard(&servers[1]);
    folder_remove();
}

void expect_state(const char *name, const char *state)
{
    char address[200], text[80];
    snprintf(address, sizeof(address), "vfio-user:%s", at(name));
    snprintf(text, sizeof(text), "\"state\": \"%s\"", state);
    expect(run("probe", "--json", address), 0, text);
}
