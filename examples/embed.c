/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program with an event loop of its own that moves its memory and a device while the loop goes
 * on. Sending and receiving block, so they have a thread; what that thread asks the host for is done
 * by the loop, between two of its own turns. ^C cancels the migration and nothing else.
 *
 *   cc embed.c -o embed $(pkg-config --cflags --libs libvfio-migrate) -pthread
 *   vfio-migrate refdev --socket-path /tmp/a.sock & vfio-migrate refdev --socket-path /tmp/b.sock &
 *   ./embed receive unix:/tmp/move.sock vfio-user:/tmp/b.sock &
 *   ./embed send unix:/tmp/move.sock vfio-user:/tmp/a.sock
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <vfio-migrate.h>

#define PAGE 4096
#define PAGES 4096
#define IOVA 0x100000

enum request { REQUEST_STOP = 's', REQUEST_START = 'g', REQUEST_DONE = 'd' };

struct program {
    int requests[2], answers[2]; /* pipes: migration's thread to loop, and back */
    struct vmig_migration *migration;
    bool sends, runs, broken, done;
    char *memory; /* moves; page 0 starts with the number of turns */
    const char *address;
    int rc;
    struct vmig_error err;
};

/* ---- the workload: turn n writes n into page n % PAGES, which must hold what was last there ---- */

static void turn(struct program *program)
{
    uint64_t *turns = (uint64_t *)program->memory, n = ++*turns;
    uint64_t *page = (uint64_t *)(program->memory + n % PAGES * PAGE) + 1;
    program->broken |= *page != (n > PAGES ? n - PAGES : 0);
    *page = n;
}

/* ---- the migration's thread ---- */

static void *migrate(void *opaque)
{
    struct program *program = opaque;
    program->rc = (program->sends ? vmig_migration_send : vmig_migration_receive)(
        program->migration, program->address, &program->err);
    if (write(program->requests[1], &(char) { REQUEST_DONE }, 1) < 0)
        perror("write");
    return NULL;
}

/* Done by the loop; this thread waits for it, so that the workload surely stands still. */
static int ask_loop(struct program *program, char request)
{
    char answer;
    return write(program->requests[1], &request, 1) == 1 &&
                   read(program->answers[0], &answer, 1) == 1
               ? 0
               : -5; /* EIO */
}

static int stop(void *opaque, struct vmig_error *err)
{
    (void)err;
    return ask_loop(opaque, REQUEST_STOP);
}

static int start(void *opaque, struct vmig_error *err)
{
    (void)err;
    return ask_loop(opaque, REQUEST_START);
}

/* On the migration's thread, too: nothing here that the loop owns. */
static void event(void *opaque, const struct vmig_event *event)
{
    (void)opaque;
    if (event->kind == VMIG_EVENT_STATUS)
        fprintf(stderr, "embed: %s\n", vmig_status_name(event->status));
    else if (event->text)
        fprintf(stderr, "embed: %s\n", event->text);
}

/* ---- the loop ---- */

static void on_request(struct program *program)
{
    char request;
    if (read(program->requests[0], &request, 1) != 1)
        return;
    program->done = request == REQUEST_DONE;
    if (program->done)
        return;
    program->runs = request == REQUEST_START;
    if (write(program->answers[1], &request, 1) < 0)
        perror("write");
}

static void loop(struct program *program, int signals)
{
    struct pollfd fds[2] = { { .fd = program->requests[0], .events = POLLIN },
                             { .fd = signals, .events = POLLIN } };
    struct signalfd_siginfo info;
    while (!program->done) {
        for (int i = 0; program->runs && i < 64; i++)
            turn(program);
        if (poll(fds, 2, 1) <= 0)
            continue;
        if (fds[0].revents)
            on_request(program);
        if (fds[1].revents && read(signals, &info, sizeof(info)) > 0)
            vmig_migration_cancel(program->migration);
    }
    for (int i = 0; program->runs && i < 2 * PAGES; i++)
        turn(program); /* looks at every page */
}

static int set_up(struct program *program, const char *device_address, struct vmig_device **ret)
{
    const struct vmig_host host = {
        .size = sizeof(host), .opaque = program, .stop = stop, .start = start, .event = event
    };
    const struct vmig_device_options options = { .size = sizeof(options), .id = "device" };
    struct vmig_error *err = &program->err;
    int fd = memfd_create("embed", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, PAGES * PAGE) || pipe(program->requests) || pipe(program->answers))
        return -1;
    program->memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const struct vmig_ram_block block = { "memory", IOVA, PAGES * PAGE, program->memory, fd, 0 };
    const struct vmig_dma_map map = { IOVA, PAGES * PAGE, program->memory, fd, 0, true };
    int rc = vmig_device_open(device_address, &options, ret, err);
    if (rc == 0)
        rc = vmig_device_dma_map(*ret, &map, err);
    program->migration = vmig_migration_new(&host, err);
    if (rc == 0) /* milliseconds; what is there to move takes a few, but machines can be busy */
        rc = vmig_migration_set(program->migration, "downtime-limit", 60000, err);
    if (rc == 0)
        rc = vmig_migration_add_ram(program->migration, &block, err);
    return rc ? rc : vmig_migration_add_device(program->migration, *ret, err);
}

int main(int argc, char **argv)
{
    struct program program = { 0 };
    struct vmig_device *device = NULL;
    char text[700];
    sigset_t interrupt;
    pthread_t thread;
    program.sends = argc == 4 && !strcmp(argv[1], "send");
    if (!program.sends && (argc != 4 || strcmp(argv[1], "receive"))) {
        fprintf(stderr, "usage: embed send|receive ADDRESS DEVICE\n");
        return 2;
    }
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, NULL); /* before there are threads: all inherit it */
    program.address = argv[2];
    program.runs = program.sends;
    program.rc = set_up(&program, argv[3], &device);
    if (program.rc == 0 && pthread_create(&thread, NULL, migrate, &program) == 0) {
        loop(&program, signalfd(-1, &interrupt, SFD_CLOEXEC));
        pthread_join(thread, NULL);
    }
    if (program.rc)
        fprintf(stderr, "embed: %s\n", vmig_error_message(&program.err, text, sizeof(text)));
    if (program.runs)
        printf("runs here after %llu turns, %s\n", (unsigned long long)*(uint64_t *)program.memory,
               program.broken ? "and something was lost" : "nothing lost");
    vmig_migration_free(program.migration);
    vmig_device_close(device);
    return program.broken || program.rc ? 1 : 0;
}
