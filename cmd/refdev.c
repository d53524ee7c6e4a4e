/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-migrate refdev: the reference device as a vfio-user server. The device and its server are in
 * refdev/; here are the options, the socket file and the signals.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/fault-argument.h"
#include "cmd/profile-argument.h"
#include "lib/error.h"
#include "refdev/server.h"

#define NAME "refdev"
#define LOCAL_BYTES_MAX (1ull << 40)
#define LATENCY_MAX_NS 600000000000ull /* ten minutes: longer than anybody waits */

struct arguments {
    const char *socket_path;
    int fd; /* -1: none */
    bool json, list, list_faults, quiet;
    struct refdev_config config;
};

enum {
    KEY_SOCKET_PATH = CMD_KEY_JSON + 1,
    KEY_FD,
    KEY_PROFILE,
    KEY_STATE_SIZE,
    KEY_DIRTY_SET,
    KEY_TRANSITION_LATENCY,
    KEY_DIRTY_RATE,
    KEY_DMA_RATE,
    KEY_DMA_SLOTS,
    KEY_LOG_PAGE_SIZE,
    KEY_REINIT,
    KEY_SEED,
    KEY_FAULT,
    KEY_NO_EXTENSIONS,
    KEY_QUIET,
};

static const struct argp_option options[] = {
    { "socket-path", KEY_SOCKET_PATH, "PATH", 0, "Listen on this UNIX socket", 1 },
    { "fd", KEY_FD, "N", 0, "Serve the connected or listening socket N instead", 1 },
    { "profile", KEY_PROFILE, "NAME", 0,
      "The real driver to behave like (\"default\"); \"list\" explains them", 2 },
    { "state-size", KEY_STATE_SIZE, "SIZE", 0,
      "Device-local memory, the bulk of the state (64M; the profile decides)", 2 },
    { "transition-latency", KEY_TRANSITION_LATENCY, "TIME", 0,
      "What each single state change takes (0)", 2 },
    { "dirty-rate", KEY_DIRTY_RATE, "N", 0,
      "Pages of local memory rewritten per second, from the start (0)", 3 },
    { "dirty-set", KEY_DIRTY_SET, "SIZE", 0, "How much of local memory is rewritten (all of it)",
      3 },
    { "dma-rate", KEY_DMA_RATE, "N", 0,
      "Pages written to guest memory per second, from the start (0)", 3 },
    { "dma-slots", KEY_DMA_SLOTS, "COUNT@IOVA", 0,
      "Where to: COUNT pages at IOVA, which nobody else may write to (a client's registers decide)",
      3 },
    { "seed", KEY_SEED, "N", 0, "Of the patterns it writes (random)", 3 },
    { "log-page-size", KEY_LOG_PAGE_SIZE, "SIZE", 0,
      "Smallest page of the DMA log, whatever a client asks for (4K)", 4 },
    { "reinit", KEY_REINIT, "N", 0,
      "Announce new initial bytes N times in one PRE_COPY, to a client that opted in (0)", 4 },
    { "no-extensions", KEY_NO_EXTENSIONS, NULL, 0,
      "Offer only what the published protocol has: no P2P states, no sizes", 4 },
    { "fault", KEY_FAULT, "TEXT", 0,
      "What goes wrong and when, for instance fail:EIO@arc/STOP_COPY; may be given several times; "
      "\"list\" explains",
      4 },
    { "quiet", KEY_QUIET, NULL, 0, "Print nothing but errors", 5 },
    CMD_JSON_OPTION,
    { 0 },
};

/* ---- arguments ---- */

static uint64_t page_size_argument(const struct argp_state *state, const char *text)
{
    uint64_t size = cmd_arg_size(state, "--log-page-size", text, 4096, 2u << 20);
    if (size & (size - 1))
        argp_error(state, "--log-page-size: %s is not a power of two", text);
    return size;
}

/* COUNT@IOVA */
static void slots_argument(const struct argp_state *state, char *text, struct refdev_knobs *knobs)
{
    char *at = strchr(text, '@');
    if (!at)
        argp_error(state, "--dma-slots: '%s' is not COUNT@IOVA, for instance 256@0x100000", text);
    *at = '\0';
    knobs->slot_count = cmd_arg_number(state, "--dma-slots", text, 1, REFDEV_SLOTS_MAX);
    knobs->slot_base = cmd_arg_number(state, "--dma-slots", at + 1, 0, 1ull << 63);
    if (knobs->slot_base % REFDEV_PAGE_BYTES)
        argp_error(state, "--dma-slots: IOVA %s is not a multiple of 4096", at + 1);
}

static void check_together(const struct argp_state *state, const struct arguments *args)
{
    const struct refdev_profile *profile = args->config.knobs.profile;
    uint64_t local = args->config.local_bytes;
    if (args->list || args->list_faults)
        return;
    if (!args->socket_path == (args->fd < 0))
        argp_error(state, "exactly one of --socket-path PATH and --fd N is needed");
    if (args->socket_path &&
        strlen(args->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        argp_error(state, "--socket-path: longer than the %zu bytes a UNIX socket's path can have",
                   sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    if (local > profile->max_local_bytes)
        argp_error(state, "--state-size: profile %s takes at most %llu bytes", profile->name,
                   (unsigned long long)profile->max_local_bytes);
    if (local % REFDEV_PAGE_BYTES || args->config.knobs.dirty_set_bytes % REFDEV_PAGE_BYTES)
        argp_error(state, "--state-size and --dirty-set: multiples of 4K are needed");
    if (args->config.knobs.dirty_set_bytes > (local ? local : profile->default_local_bytes))
        argp_error(state, "--dirty-set is larger than --state-size");
    if (!profile->has_dma && (args->config.knobs.dma_rate || args->config.knobs.slot_count))
        argp_error(state, "--dma-rate and --dma-slots: profile %s does no DMA", profile->name);
    if (!profile->has_reinit && args->config.knobs.reinit)
        argp_error(state, "--reinit: profile %s announces its initial bytes once", profile->name);
    if (!profile->default_local_bytes && (args->config.knobs.dirty_rate || local))
        argp_error(state, "--state-size and --dirty-rate: profile %s has no local memory",
                   profile->name);
}

static error_t parse_knob(int key, char *arg, struct argp_state *state)
{
    struct arguments *args = state->input;
    struct refdev_knobs *knobs = &args->config.knobs;
    switch (key) {
    case KEY_STATE_SIZE:
        args->config.local_bytes = cmd_arg_size(state, "--state-size", arg, 4096, LOCAL_BYTES_MAX);
        return 0;
    case KEY_DIRTY_SET:
        knobs->dirty_set_bytes = cmd_arg_size(state, "--dirty-set", arg, 4096, LOCAL_BYTES_MAX);
        return 0;
    case KEY_TRANSITION_LATENCY:
        knobs->transition_ns =
            cmd_arg_duration(state, "--transition-latency", arg, 0, LATENCY_MAX_NS);
        return 0;
    case KEY_DIRTY_RATE:
        knobs->dirty_rate = cmd_arg_number(state, "--dirty-rate", arg, 0, REFDEV_RATE_MAX);
        return 0;
    case KEY_DMA_RATE:
        knobs->dma_rate = cmd_arg_number(state, "--dma-rate", arg, 0, REFDEV_RATE_MAX);
        return 0;
    case KEY_DMA_SLOTS:
        slots_argument(state, arg, knobs);
        return 0;
    case KEY_LOG_PAGE_SIZE:
        knobs->log_pgsize = page_size_argument(state, arg);
        return 0;
    case KEY_REINIT:
        knobs->reinit = cmd_arg_number(state, "--reinit", arg, 0, 1000000);
        return 0;
    case KEY_SEED:
        knobs->seed = cmd_arg_number(state, "--seed", arg, 0, UINT64_MAX);
        return 0;
    case KEY_FAULT:
        args->list_faults = !strcmp(arg, "list");
        if (!args->list_faults)
            cmd_arg_fault(state, arg, knobs);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct arguments *args = state->input;
    switch (key) {
    case KEY_SOCKET_PATH:
        args->socket_path = arg;
        return 0;
    case KEY_FD:
        args->fd = (int)cmd_arg_number(state, "--fd", arg, 0, 1 << 20);
        return 0;
    case KEY_PROFILE:
        args->list = !strcmp(arg, "list");
        if (!args->list)
            args->config.knobs.profile = cmd_arg_profile(state, arg);
        return 0;
    case KEY_NO_EXTENSIONS:
        args->config.no_extensions = true;
        return 0;
    case KEY_QUIET:
        args->quiet = true;
        return 0;
    case CMD_KEY_JSON:
        args->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is not understood; this takes options only", arg);
        return 0;
    case ARGP_KEY_END:
        check_together(state, args);
        return 0;
    default:
        return parse_knob(key, arg, state);
    }
}

/* ---- profiles ---- */

static json_t *flag_names(uint64_t flags)
{
    static const char *const names[] = { "STOP_COPY", "P2P", "PRE_COPY" };
    json_t *list = json_array();
    for (unsigned i = 0; i < 3; i++)
        if (flags & 1u << i)
            json_array_append_new(list, json_string(names[i]));
    return list;
}

#define LIST_INDENT 10
#define LIST_WIDTH 96

/* A name, and beside it a text in lines that fit a terminal. */
static void print_entry(const char *name, const char *text)
{
    printf("%-*s", LIST_INDENT, name);
    while (strlen(text) > LIST_WIDTH - LIST_INDENT) {
        int length = LIST_WIDTH - LIST_INDENT;
        while (length > 1 && text[length] != ' ')
            length--;
        printf("%.*s\n%*s", length, text, LIST_INDENT, "");
        text += length + 1;
    }
    puts(text);
}

static int list_profiles(bool json)
{
    json_t *list = json_array();
    const struct refdev_profile *profile;
    for (unsigned i = 0; (profile = refdev_profile_at(i)); i++) {
        if (!json)
            print_entry(profile->name, profile->about);
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:b, s:I}", "name", profile->name,
                                              "about", profile->about, "migration_flags",
                                              flag_names(profile->migration_flags), "dma_log",
                                              profile->has_dma_log, "state_bytes",
                                              (json_int_t)profile->default_local_bytes));
    }
    if (json)
        cmd_print_json(json_pack("{s:O}", "profiles", list));
    json_decref(list);
    return CMD_DONE;
}

/* ---- the socket file ---- */

/* Does anybody answer on this path? */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                 (errno != ECONNREFUSED && errno != ENOENT);
    close(fd);
    return alive;
}

/* Listen on @path. A socket file that a server left behind is replaced. */
static int listen_on(const char *path, struct vmig_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "socket: %s", strerror(errno));
    int rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    if (rc && errno == EADDRINUSE) {
        if (is_alive(&address)) {
            close(fd);
            return error_set(err, EADDRINUSE, VMIG_STAGE_OPEN, NULL, NULL,
                             "%s: a server is listening there; choose another path or end it",
                             path);
        }
        unlink(path);
        rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
    }
    if (rc || listen(fd, 16)) {
        rc = error_set(err, errno, VMIG_STAGE_OPEN, NULL, NULL, "%s: %s", path, strerror(errno));
        close(fd);
        return rc;
    }
    return fd;
}

/* ---- running ---- */

static void print_line(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "vfio-migrate refdev: %s\n", line);
}

static void announce(const struct arguments *args)
{
    const struct refdev_profile *profile = args->config.knobs.profile;
    uint64_t bytes =
        args->config.local_bytes ? args->config.local_bytes : profile->default_local_bytes;
    char size[32];
    if (args->json) {
        cmd_print_json(json_pack("{s:s?, s:s, s:I, s:I}", "listening", args->socket_path, "profile",
                                 profile->name, "state_bytes", (json_int_t)bytes, "pid",
                                 (json_int_t)getpid()));
        fflush(stdout);
    }
    if (args->quiet)
        return;
    if (args->socket_path)
        fprintf(stderr, "vfio-migrate refdev: listening on %s (profile %s, %s of local memory)\n",
                args->socket_path, profile->name, cmd_format_size(bytes, size, sizeof(size)));
    else
        fprintf(stderr, "vfio-migrate refdev: serving fd %d (profile %s, %s of local memory)\n",
                args->fd, profile->name, cmd_format_size(bytes, size, sizeof(size)));
}

static int serve(const struct arguments *args, struct refdev_server *server, int fd)
{
    int listening = 0;
    socklen_t length = sizeof(listening);
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length);
    announce(args);
    if (!listening)
        return refdev_server_serve(server, fd);
    int rc = refdev_server_run(server, fd);
    close(fd);
    return rc;
}

/* The signals that end the server are taken by a thread of their own: no handler, no globals. */
static void *wait_for_signal(void *arg)
{
    sigset_t set;
    int signal_number;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &signal_number);
    refdev_server_stop(arg);
    return NULL;
}

static int run_until_signal(const struct arguments *args, struct refdev_server *server, int fd)
{
    pthread_t waiter;
    int rc = -pthread_create(&waiter, NULL, wait_for_signal, server);
    if (rc)
        return rc;
    rc = serve(args, server, fd);
    pthread_kill(waiter, SIGTERM);
    pthread_join(waiter, NULL);
    return rc;
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Who asked for one wants to know that nothing which came of it was its doing. */
static void tell_of_faults_that_did_not_happen(const struct refdev_server *server)
{
    struct refdev_fault fault;
    for (unsigned i = 0; refdev_server_fault_at(server, i, &fault); i++) {
        if (fault.where == REFDEV_AT_BYTE && !fault.seen)
            fprintf(stderr, "vfio-migrate refdev: fault %s did not happen\n", fault.text);
        else if (fault.where != REFDEV_AT_BYTE && fault.seen < fault.nth)
            fprintf(stderr,
                    "vfio-migrate refdev: fault %s did not happen: it came there %" PRIu64
                    " times\n",
                    fault.text, fault.seen);
    }
}

int cmd_refdev(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .doc = "A device without hardware that has every migration feature, as a vfio-user server: "
               "one device, one client at a time, state kept from client to client.\v"
               "Its registers are in refdev/registers.h. SIGTERM and SIGINT end it and remove the "
               "socket file.",
    };
    struct arguments args = { .fd = -1 };
    struct vmig_error err = { 0 };
    struct refdev_server *server = NULL;
    args.config.knobs.profile = refdev_profile_at(0);
    if (getrandom(&args.config.knobs.seed, sizeof(args.config.knobs.seed), 0) < 0)
        args.config.knobs.seed = (uint64_t)getpid();
    cmd_parse_options(&argp, argc, argv, &args);
    if (args.list)
        return list_profiles(args.json);
    if (args.list_faults) {
        cmd_print_faults(args.json);
        return CMD_DONE;
    }
    args.config.log = args.quiet ? NULL : print_line;
    args.config.fault_log = print_line; /* wanted: whoever made it wants to see it */
    block_signals();
    if (refdev_server_new(&args.config, &server, &err))
        return cmd_fail(NAME, args.json, CMD_FAILED, &err);
    int fd = args.socket_path ? listen_on(args.socket_path, &err) : args.fd;
    int rc = fd < 0 ? fd : run_until_signal(&args, server, fd);
    if (args.socket_path && fd >= 0)
        unlink(args.socket_path);
    tell_of_faults_that_did_not_happen(server);
    refdev_server_free(server);
    if (rc && !err.code)
        error_set(&err, rc, VMIG_STAGE_OPEN, NULL, NULL, "%s: %s",
                  args.socket_path ? args.socket_path : "the socket", strerror(-rc));
    return rc ? cmd_fail(NAME, args.json, CMD_FAILED, &err) : CMD_DONE;
}
