/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "lib/clock.h"

#define PIECE MIB

void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

void must(int rc, const struct vmig_error *err)
{
    char text[700];
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name,
            vmig_error_message(err, text, sizeof(text)));
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double percentile(double *values, int count, double part)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    int at = (int)ceil(part * count) - 1;
    return count ? values[at < 0 ? 0 : at] : 0;
}

double median(double *values, int count)
{
    return percentile(values, count, 0.5);
}

const char *bench_option(int argc, char **argv, const char *name)
{
    const char *value = NULL;
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            value = argv[i + 1];
    return value;
}

void bench_read_plan(int argc, char **argv, const char *size_option, uint64_t mib_min,
                     struct bench_plan *plan)
{
    const char *size = bench_option(argc, argv, size_option);
    const char *repeat = bench_option(argc, argv, "--repeat");
    plan->only = bench_option(argc, argv, "--only");
    if (size)
        plan->mib = strtoull(size, NULL, 0);
    if (repeat)
        plan->repeat = atoi(repeat);
    if (plan->repeat < 1 || plan->repeat > REPEAT_MAX || plan->mib < mib_min)
        exit(2);
}

bool bench_is_wanted(const char *only, const char *name)
{
    return !only || strcmp(only, name) == 0;
}

void bench_report(const char *name, uint64_t bytes, double *rate, double *base, double *ratio,
                  int repeat, double wanted)
{
    double middle = median(ratio, repeat); /* sorts */
    printf("{\"bench\": \"%s\", \"mib\": %llu, \"gib_per_s\": %.2f, \"baseline_gib_per_s\": %.2f, "
           "\"ratio\": %.2f, \"ratio_min\": %.2f, \"ratio_max\": %.2f, \"wanted\": %.2f}\n",
           name, (unsigned long long)(bytes / MIB), median(rate, repeat), median(base, repeat),
           middle, ratio[0], ratio[repeat - 1], wanted);
    fflush(stdout);
}

void bench_compare(const struct comparison *c, int repeat)
{
    double rate[REPEAT_MAX], base[REPEAT_MAX], ratio[REPEAT_MAX];
    for (int i = 0; i < repeat; i++) {
        double before = c->limit(c->arg);
        rate[i] = c->measure(c->arg);
        base[i] = (before + c->limit(c->arg)) / 2;
        ratio[i] = rate[i] / base[i];
    }
    bench_report(c->name, c->bytes, rate, base, ratio, repeat, c->wanted);
}

/* ---- memory ---- */

static void fill_random(const struct memory *memory)
{
    uint64_t x = 88172645463325252, *word = (uint64_t *)(void *)memory->at;
    for (uint64_t i = 0; i < memory->bytes / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word[i] = x;
    }
}

struct memory bench_memory(uint64_t bytes, enum contents contents)
{
    struct memory memory = { .bytes = bytes, .fd = memfd_create("bench", MFD_CLOEXEC) };
    if (memory.fd < 0 || ftruncate(memory.fd, (off_t)bytes) != 0)
        die("memfd");
    memory.at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
    if (memory.at == MAP_FAILED)
        die("mmap");
    if (contents == ZEROS)
        memset(memory.at, 0, bytes);
    else if (contents == RANDOM)
        fill_random(&memory);
    return memory;
}

void bench_release(struct memory *memory)
{
    munmap(memory->at, memory->bytes);
    close(memory->fd);
    *memory = (struct memory) { .fd = -1 };
}

void bench_populate(const struct memory *memory)
{
    if (madvise(memory->at, memory->bytes, MADV_POPULATE_WRITE) != 0)
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

static _Noreturn void be_raw_receiver(int listen_fd, int ready_fd, const struct memory *memory)
{
    bench_populate(memory);
    if (write(ready_fd, "p", 1) != 1)
        die("pipe");
    int fd = accept(listen_fd, NULL, NULL);
    for (uint64_t done = 0; done < memory->bytes;) {
        uint64_t left = memory->bytes - done;
        ssize_t n = read(fd, memory->at + done, left < PIECE ? left : PIECE);
        if (n <= 0)
            die("reading");
        done += (uint64_t)n;
    }
    if (write(fd, "k", 1) != 1)
        die("answering");
    _exit(0);
}

/* Seconds until the other side has all of it. */
static double send_raw(const struct sockaddr_in *addr, const struct memory *memory)
{
    char ok;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0)
        die("connecting");
    uint64_t start = clock_ns();
    for (uint64_t done = 0; done < memory->bytes;) {
        uint64_t left = memory->bytes - done;
        ssize_t n = write(fd, memory->at + done, left < PIECE ? left : PIECE);
        if (n <= 0)
            die("writing");
        done += (uint64_t)n;
    }
    if (read(fd, &ok, 1) != 1)
        die("the answer");
    double seconds = clock_ms_since(start) / 1e3;
    close(fd);
    return seconds;
}

double bench_raw_rate(const struct memory *source, const struct memory *target)
{
    struct sockaddr_in addr;
    int listen_fd = listen_loopback(&addr), populated[2];
    char ready;
    if (pipe(populated) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid == 0)
        be_raw_receiver(listen_fd, populated[1], target);
    if (read(populated[0], &ready, 1) != 1)
        die("pipe");
    double seconds = send_raw(&addr, source);
    waitpid(pid, NULL, 0);
    close(populated[0]);
    close(populated[1]);
    close(listen_fd);
    return (double)source->bytes / GIB / seconds;
}
