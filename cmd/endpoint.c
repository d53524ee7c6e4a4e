/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/backend-argument.h"
#include "cmd/endpoint.h"
#include "cmd/progress.h"
#include "cmd/qmp.h"
#include "cmd/ramfb-file.h"
#include "cmd/state.h"
#include "cmd/trace-argument.h"
#include "lib/channel/channel.h"
#include "lib/migration/compat.h"
#include "lib/migration/statistics-json.h"

/* ---- options ---- */

enum {
    KEY_CONTROL = 0x1100,
    KEY_CAPABILITY,
    KEY_UUID,
    KEY_DOWNTIME,
    KEY_BANDWIDTH,
    KEY_ROUNDS,
    KEY_CHANNELS,
    KEY_PAUSE_BEFORE,
    KEY_NO_PRE_COPY,
    KEY_ALL_DIRTY,
    KEY_TRACKING,
    KEY_RAM_DIGEST,
    KEY_QUIESCE_NOTICE,
    KEY_STATE_SIZE,
    KEY_TIMEOUT,
    KEY_HISTORY,
    KEY_ONLY_MIGRATABLE,
    KEY_COMPAT,
    KEY_RAMFB,
};

static void add_ram(struct endpoint *e, const char *text, struct argp_state *state)
{
    const char *at = strrchr(text, '@');
    char *end;
    if (e->num_ram == ENDPOINT_RAM_MAX)
        argp_error(state, "--ram-file can be given %d times", ENDPOINT_RAM_MAX);
    struct endpoint_ram *ram = &e->ram[e->num_ram++];
    *ram = (struct endpoint_ram) { .fd = -1 };
    errno = 0;
    ram->iova = at ? strtoull(at + 1, &end, 0) : 0;
    if (!at || at == text || !at[1] || *end || errno || (size_t)(at - text) >= sizeof(ram->path))
        argp_error(state, "--ram-file takes FILE@IOVA, for example guest.ram@0x0, not '%s'", text);
    memcpy(ram->path, text, (size_t)(at - text));
}

/* "NAME=on" or "NAME=off"; whether there is such a one the library knows. */
static void add_capability(struct endpoint *e, char *text, struct argp_state *state)
{
    char *equals = strchr(text, '=');
    bool on = equals && strcmp(equals, "=on") == 0;
    if (!on && (!equals || strcmp(equals, "=off") != 0))
        argp_error(state,
                   "--capability takes NAME=on or NAME=off, for example return-path=off, "
                   "not '%s'",
                   text);
    *equals = '\0';
    endpoint_switch(e, text, on);
}

/* 8-4-4-4-12 hexadecimal digits. */
static void set_uuid(struct endpoint *e, const char *text, struct argp_state *state)
{
    const char *at = text;
    unsigned i;
    for (i = 0;
         i < sizeof(e->uuid) && isxdigit((unsigned char)at[0]) && isxdigit((unsigned char)at[1]);
         i++) {
        sscanf(at, "%2hhx", &e->uuid[i]);
        at += 2;
        if (*at == '-' && (i == 3 || i == 5 || i == 7 || i == 9))
            at++;
    }
    if (i < sizeof(e->uuid) || *at)
        argp_error(state,
                   "--uuid takes a UUID such as 5b46e1a2-3c0d-4e6f-8a9b-0c1d2e3f4a5b, not '%s'",
                   text);
    e->has_uuid = true;
    endpoint_switch(e, "validate-uuid", true);
}

void endpoint_switch(struct endpoint *e, const char *capability, bool on)
{
    if (e->num_capabilities == sizeof(e->capabilities) / sizeof(e->capabilities[0]))
        return; /* more than exist: the last ones would be repetitions */
    e->capabilities[e->num_capabilities++] = (struct vmig_capability) { capability, on };
}

static const char *compat_argument(struct argp_state *state, const char *text)
{
    struct compat_version version;
    struct vmig_error err = { 0 };
    if (compat_parse(text, &version, &err) < 0)
        argp_error(state, "--compat: %s", err.text);
    return text;
}

static error_t parse_endpoint(int key, char *arg, struct argp_state *state)
{
    struct endpoint *e = state->input;
    switch (key) {
    case 'd':
        if (e->num_addresses == ENDPOINT_DEVICES_MAX)
            argp_error(state, "at most %d devices can move at once", ENDPOINT_DEVICES_MAX);
        e->addresses[e->num_addresses++] = device_argument_check(state, arg);
        return 0;
    case KEY_ONLY_MIGRATABLE:
        e->only_migratable = true;
        return 0;
    case KEY_COMPAT:
        e->compat = compat_argument(state, arg);
        return 0;
    case KEY_RAMFB:
        e->ramfb = arg;
        return 0;
    case 'r':
        add_ram(e, arg, state);
        return 0;
    case KEY_BACKEND:
        e->backend = backend_argument(state, arg);
        return 0;
    case KEY_CONTROL:
        e->control = arg;
        return 0;
    case KEY_CAPABILITY:
        add_capability(e, arg, state);
        return 0;
    case KEY_UUID:
        set_uuid(e, arg, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void add_trace(struct endpoint *e, const char *pattern, struct argp_state *state)
{
    if (e->num_traces == ENDPOINT_TRACES_MAX)
        argp_error(state, "--trace can be given %d times", ENDPOINT_TRACES_MAX);
    trace_argument(state, pattern);
    e->traces[e->num_traces++] = pattern;
}

static error_t parse_state(int key, char *arg, struct argp_state *state)
{
    struct endpoint *e = state->input;
    if (key == 'q')
        e->quiet = true;
    else if (key == KEY_TRACE)
        add_trace(e, arg, state);
    else if (key == CMD_KEY_JSON)
        e->json = true;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option endpoint_options[] = {
    { "device", 'd', "DEVICE[,id=NAME][,SETTING...]", 0,
      "A device to move; may be given several times. NAME must be the same on both sides; without "
      "it devices are paired in the order given. Settings: enable-migration=on (refuse it unless "
      "it "
      "can be sent), off (it must not move) or auto; viommu (a virtual IOMMU stands in front of "
      "it); "
      "ignore-vendor-capability (what that contains may differ); ramfb=FILE (FILE has where its "
      "guest's picture is), ramfb-migrate=on|off|auto, hotplugged; migration-events (a monitor "
      "tells "
      "its states)",
      0 },
    { "only-migratable", KEY_ONLY_MIGRATABLE, NULL, 0,
      "Refuse whatever could not be sent, as soon as it is there", 0 },
    { "compat", KEY_COMPAT, "VERSION", 0,
      "The VM's machine version, as 8.1: what it does not have is off (the newest)", 0 },
    { "ramfb", KEY_RAMFB, "FILE", 0,
      "There is a ramfb device; FILE has where its guest's picture is", 0 },
    BACKEND_OPTION,
    { "ram-file", 'r', "FILE@IOVA", 0,
      "Memory that the devices reach: a file (in /dev/shm, say), at this IOVA; same IOVA and size "
      "on both sides",
      0 },
    { "ram", 'r', NULL, OPTION_ALIAS, NULL, 0 },
    { "control", KEY_CONTROL, "PATH", 0,
      "Listen on this UNIX socket for `vfio-migrate resolve` and for the other side", 0 },
    { "capability", KEY_CAPABILITY, "NAME=on|off", 0,
      "Switch a capability; may be given several times", 0 },
    { "uuid", KEY_UUID, "UUID", 0,
      "Of the virtual machine: the source sends it, a target that has another refuses", 0 },
    { 0 },
};

static const struct argp_option state_options[] = {
    { "quiet", 'q', NULL, 0, "Print nothing but errors", 0 },
    CMD_JSON_OPTION,
    TRACE_OPTION,
    { 0 },
};
const struct argp endpoint_state_argp = {
    state_options, parse_state, NULL, NULL, NULL, NULL, NULL
};

static error_t pass_input(int key, char *arg, struct argp_state *state)
{
    if (key != ARGP_KEY_INIT)
        return parse_endpoint(key, arg, state);
    state->child_inputs[0] = state->input;
    return 0;
}

static const struct argp_child state_child[] = { { &endpoint_state_argp, 0, NULL, 0 }, { 0 } };
const struct argp endpoint_argp = { endpoint_options, pass_input, NULL, NULL,
                                    state_child,      NULL,       NULL };

void endpoint_check_address(const char *address, struct argp_state *state)
{
    struct address parsed;
    struct vmig_error err = { 0 };
    if (address_parse(address, &parsed, &err) < 0)
        argp_error(state, "%s", err.text);
}

void endpoint_set(struct endpoint *e, const char *name, uint64_t value)
{
    if (e->num_parameters == sizeof(e->parameters) / sizeof(e->parameters[0]))
        return; /* more options than parameters exist: the last ones would be repetitions */
    e->parameters[e->num_parameters].name = name;
    e->parameters[e->num_parameters++].value = value;
}

/* "[NAME=]HOW" */
static void add_tracking(struct endpoint *e, const char *text, struct argp_state *state)
{
    const char *equals = strrchr(text, '='), *name = equals ? equals + 1 : text;
    struct endpoint_tracking t = { .device = equals ? text : NULL,
                                   .device_bytes = equals ? (size_t)(equals - text) : 0 };
    while (t.how < VMIG_DIRTY_COUNT && strcmp(vmig_dirty_tracking_name(t.how), name) != 0)
        t.how++;
    if (t.how == VMIG_DIRTY_COUNT || (equals && !t.device_bytes))
        argp_error(state,
                   "--dirty-tracking takes [NAME=]auto, device, iommu or none, for example "
                   "device0=iommu, not '%s'",
                   text);
    if (e->num_tracking == ENDPOINT_DEVICES_MAX)
        argp_error(state, "--dirty-tracking can be given %d times", ENDPOINT_DEVICES_MAX);
    e->tracking[e->num_tracking++] = t;
}

static void set_channels(struct endpoint *e, uint64_t channels)
{
    endpoint_switch(e, "multifd", channels > 0);
    if (channels)
        endpoint_set(e, "multifd-channels", channels);
}

static error_t parse_tuning(int key, char *arg, struct argp_state *state)
{
    struct endpoint *e = state->input;
    const uint64_t ms = 1000000;
    switch (key) {
    case KEY_DOWNTIME:
        endpoint_set(e, "downtime-limit",
                     cmd_arg_duration(state, "--downtime-limit", arg, 0, 2000000 * ms) / ms);
        return 0;
    case KEY_BANDWIDTH:
        endpoint_set(e, "max-bandwidth",
                     cmd_arg_rate(state, "--max-bandwidth", arg, 1, UINT64_MAX));
        return 0;
    case KEY_ROUNDS:
        endpoint_set(e, "max-rounds", cmd_arg_number(state, "--max-rounds", arg, 1, 10000));
        return 0;
    case KEY_CHANNELS:
        set_channels(e, cmd_arg_number(state, "--channels", arg, 0, 16));
        return 0;
    case KEY_PAUSE_BEFORE:
        endpoint_switch(e, "pause-before-switchover", true);
        return 0;
    case KEY_NO_PRE_COPY:
        endpoint_set(e, "pre-copy", 0);
        return 0;
    case KEY_ALL_DIRTY:
        endpoint_set(e, "all-dirty", 1);
        return 0;
    case KEY_TRACKING:
        add_tracking(e, arg, state);
        return 0;
    case KEY_QUIESCE_NOTICE:
        endpoint_set(e, "quiesce-notice",
                     cmd_arg_duration(state, "--quiesce-notice", arg, 0, 60000 * ms) / ms);
        return 0;
    case KEY_RAM_DIGEST:
        endpoint_set(e, "ram-digest", 1);
        return 0;
    case KEY_STATE_SIZE:
        endpoint_set(e, "device-state-size",
                     cmd_arg_size(state, "--state-size", arg, 1, UINT64_MAX));
        return 0;
    case KEY_TIMEOUT:
        endpoint_set(e, "transition-timeout",
                     cmd_arg_duration(state, "--transition-timeout", arg, ms, 3600000 * ms) / ms);
        return 0;
    case KEY_HISTORY:
        e->history = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option tuning_options[] = {
    { "downtime-limit", KEY_DOWNTIME, "TIME", 0,
      "Longest pause to switch with (300ms); when pre-copy cannot reach it the migration fails",
      0 },
    { "max-bandwidth", KEY_BANDWIDTH, "RATE", 0, "Bytes per second before the switch (no limit)",
      0 },
    { "max-rounds", KEY_ROUNDS, "N", 0, "Pre-copy rounds before giving up (30)", 0 },
    { "channels", KEY_CHANNELS, "N", 0,
      "Data channels beside the main channel (2); 0: all on the main channel", 0 },
    { "pause-before-switchover", KEY_PAUSE_BEFORE, NULL, 0,
      "Wait, with everything stopped, until `vfio-migrate resolve CONTROL continue`", 0 },
    { "no-pre-copy", KEY_NO_PRE_COPY, NULL, 0, "Move all device state in the pause", 0 },
    { "all-dirty", KEY_ALL_DIRTY, NULL, 0,
      "For devices whose writes to memory nobody tells: send all memory again in the pause", 0 },
    { "dirty-tracking", KEY_TRACKING, "[NAME=]HOW", 0,
      "Who tells what a device (all, without NAME) writes to memory: auto (the device if it can, "
      "else "
      "its IOMMU), device, iommu, or none, which sends all memory again in the pause; may be given "
      "several times",
      0 },
    { "quiesce-notice", KEY_QUIESCE_NOTICE, "TIME", 0,
      "Announce the pause on standard error so long before it (0: not)", 0 },
    { "ram-digest", KEY_RAM_DIGEST, NULL, 0,
      "Digests of memory as well: what was damaged on its way is sent again", 0 },
    { "state-size", KEY_STATE_SIZE, "SIZE", 0,
      "What a device that cannot tell its state's size is counted with (100G)", 0 },
    { "transition-timeout", KEY_TIMEOUT, "TIME", 0, "Longest state change of a device (30s)", 0 },
    { "history", KEY_HISTORY, "PATH|none", 0,
      "Where to remember what a pause took, to predict the next one "
      "($XDG_STATE_HOME/vfio-migrate/terms.json)",
      0 },
    { 0 },
};
const struct argp endpoint_tuning_argp = { tuning_options, parse_tuning, NULL, NULL,
                                           NULL,           NULL,         NULL };

/* ---- signals ---- */

/* What a signal handler may see: the migration to cancel, and that there was a signal. */
static _Atomic(struct vmig_migration *) to_cancel;
static atomic_bool interrupted;
static int interrupted_fd = -1; /* eventfd, for whoever waits for other things as well */

/* Only what a signal handler may do. */
void endpoint_interrupt(void)
{
    int saved = errno;
    atomic_store(&interrupted, true);
    eventfd_write(interrupted_fd, 1);
    errno = saved;
    struct vmig_migration *m = atomic_load(&to_cancel);
    if (m)
        vmig_migration_cancel(m);
}

int endpoint_interrupted_fd(void)
{
    return interrupted_fd;
}

static void on_signal(int number)
{
    (void)number;
    endpoint_interrupt();
}

static void catch_signals(struct vmig_migration *m)
{
    struct sigaction action = { .sa_handler = on_signal };
    if (interrupted_fd < 0) /* before there is a handler; -1 is what poll() leaves out */
        interrupted_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store(&to_cancel, m);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void endpoint_wait_signal(void)
{
    /* another thread may take the signal, and then nothing interrupts this one */
    while (!atomic_load(&interrupted))
        poll(NULL, 0, 100);
}

/* ---- opening ---- */

static int fail(struct vmig_error *err, int code, const char *format, const char *what)
{
    err->code = -code;
    err->stage = VMIG_STAGE_OPEN;
    snprintf(err->text, sizeof(err->text), format, what, strerror(code));
    return -code;
}

/* A file that somebody else has open may be written behind our back, where no tracker sees it. A
 * write lease is granted only when nobody has. */
static int refuse_shared(struct endpoint_ram *ram, struct vmig_error *err)
{
    if (fcntl(ram->fd, F_SETLEASE, F_WRLCK) == 0) {
        fcntl(ram->fd, F_SETLEASE, F_UNLCK);
        return 0;
    }
    if (errno != EAGAIN)
        return 0; /* the file system has no leases: nothing can be said */
    return fail(err, EBUSY,
                "%s is open in another program, whose writes could not be tracked; close it there "
                "first, or let that program embed the library",
                ram->path);
}

/* Is the same file given twice? Then it is this program that has it open. */
static bool given_before(const struct endpoint *e, const struct endpoint_ram *ram)
{
    for (const struct endpoint_ram *other = e->ram; other < ram; other++)
        if (strcmp(other->path, ram->path) == 0)
            return true;
    return false;
}

static int map_ram(struct endpoint *e, struct endpoint_ram *ram, struct vmig_error *err)
{
    struct stat st;
    ram->fd = open(ram->path, O_RDWR | O_CLOEXEC);
    if (ram->fd < 0 || fstat(ram->fd, &st) != 0)
        return fail(err, errno, "opening memory file %s: %s", ram->path);
    if (st.st_size == 0 || st.st_size % 4096)
        return fail(err, EINVAL,
                    "memory file %s must have a size that is a multiple of 4096 bytes and not 0",
                    ram->path);
    if (given_before(e, ram))
        return fail(err, EINVAL, "memory file %s is given twice; give each block a file of its own",
                    ram->path);
    int rc = refuse_shared(ram, err);
    if (rc < 0)
        return rc;
    ram->size_bytes = (uint64_t)st.st_size;
    ram->vaddr = mmap(NULL, ram->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
    if (ram->vaddr != MAP_FAILED)
        return 0;
    ram->vaddr = NULL;
    return fail(err, errno, "mapping memory file %s: %s", ram->path);
}

/* The last that was said of all, or of this one. */
static enum vmig_dirty_tracking tracking_of(const struct endpoint *e, const char *id)
{
    enum vmig_dirty_tracking how = VMIG_DIRTY_AUTO;
    for (unsigned i = 0; i < e->num_tracking; i++) {
        const struct endpoint_tracking *t = &e->tracking[i];
        if (!t->device ||
            (strlen(id) == t->device_bytes && !strncmp(id, t->device, t->device_bytes)))
            how = t->how;
    }
    return how;
}

/* Without a name its place in the list names a device, so that both sides agree. */
void endpoint_device(const struct endpoint *e, unsigned index, struct device_argument *ret)
{
    char why[200];
    device_argument_parse(e->addresses[index], ret, why); /* was checked when it was typed */
    if (!ret->id[0])
        snprintf(ret->id, sizeof(ret->id), "device%u", index);
    ret->settings.dirty_tracking = tracking_of(e, ret->id);
}

static int open_device(struct endpoint *e, unsigned index, struct vmig_error *err)
{
    struct device_argument d;
    endpoint_device(e, index, &d);
    struct vmig_device_options options = {
        .size = sizeof(options),
        .id = d.id,
        .backend = backend_for(d.address, e->backend),
    };
    for (unsigned i = 0; i < e->num_parameters; i++)
        if (strcmp(e->parameters[i].name, "transition-timeout") == 0)
            options.transition_timeout_ms = (unsigned)e->parameters[i].value;
    e->settings[index] = d.settings;
    int rc = vmig_device_open(d.address, &options, &e->devices[index], err);
    if (rc == 0)
        e->num_devices = index + 1;
    return rc;
}

static int map_for_devices(struct endpoint *e, const struct endpoint_ram *ram,
                           struct vmig_error *err)
{
    struct vmig_dma_map map = {
        .iova = ram->iova,
        .size_bytes = ram->size_bytes,
        .vaddr = ram->vaddr,
        .fd = ram->fd,
        .writable = true,
    };
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < e->num_devices; i++)
        rc = vmig_device_dma_map(e->devices[i], &map, err);
    return rc;
}

static int add_ram_blocks(struct endpoint *e, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < e->num_ram; i++) {
        struct endpoint_ram *ram = &e->ram[i];
        char name[32];
        snprintf(name, sizeof(name), "ram%u", i);
        struct vmig_ram_block block = { .name = name,
                                        .iova = ram->iova,
                                        .size_bytes = ram->size_bytes,
                                        .vaddr = ram->vaddr,
                                        .fd = ram->fd };
        rc = vmig_migration_add_ram(e->migration, &block, err);
        if (rc == 0)
            rc = map_for_devices(e, ram, err);
    }
    return rc;
}

int endpoint_set_tracking(const struct endpoint *e, struct vmig_migration *migration,
                          struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < e->num_tracking; i++) {
        const struct endpoint_tracking *t = &e->tracking[i];
        char *id = t->device ? strndup(t->device, t->device_bytes) : NULL;
        rc = t->device && !id ? -ENOMEM
                              : vmig_migration_set_dirty_tracking(migration, id, t->how, err);
        free(id);
    }
    return rc;
}

static int add_devices(struct endpoint *e, struct vmig_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < e->num_devices; i++)
        rc = vmig_migration_add_device_with(e->migration, e->devices[i], &e->settings[i], err);
    return rc < 0 ? rc : endpoint_set_tracking(e, e->migration, err);
}

int endpoint_configure(const struct endpoint *e, struct vmig_migration *migration,
                       struct vmig_error *err)
{
    /* the library's default is for a workload whose network is also somebody else's */
    int rc = vmig_migration_set(migration, "max-bandwidth", 0, err);
    for (unsigned i = 0; rc == 0 && i < e->num_parameters; i++)
        rc = vmig_migration_set(migration, e->parameters[i].name, e->parameters[i].value, err);
    if (rc == 0)
        rc = vmig_migration_set_capabilities(migration, e->capabilities, e->num_capabilities, err);
    if (rc == 0 && e->has_uuid)
        rc = vmig_migration_set_uuid(migration, e->uuid, err);
    if (rc == 0)
        rc = vmig_migration_set_only_migratable(migration, e->only_migratable, err);
    if (rc == 0)
        rc = vmig_migration_set_compat(migration, e->compat, err);
    if (rc == 0 && e->ramfb)
        rc = vmig_migration_add_ramfb(migration, &ramfb_file_ops, (void *)(uintptr_t)e->ramfb, err);
    if (rc == 0 && e->control)
        rc = vmig_migration_set_control(migration, e->control, err);
    return rc;
}

static int make_migration(struct endpoint *e, struct vmig_error *err)
{
    struct vmig_host host = { .size = sizeof(host), .opaque = e, .event = progress_event };
    e->migration = vmig_migration_new(&host, err);
    if (!e->migration)
        return err->code;
    catch_signals(e->migration);
    return endpoint_configure(e, e->migration, err);
}

/* A server may be silent for seconds, and nothing ends a call to it. So that is done on a thread, and
 * who does not want to wait any more ends the program: nothing was touched yet. */
struct opening {
    struct endpoint *e;
    struct vmig_error *err;
    _Atomic(const char *) address; /* of the device it is at */
    int rc, done_fd;
};

static int open_all(struct opening *o)
{
    struct endpoint *e = o->e;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < e->num_ram; i++)
        rc = map_ram(e, &e->ram[i], o->err);
    for (unsigned i = 0; rc == 0 && i < e->num_addresses; i++) {
        atomic_store(&o->address, e->addresses[i]);
        rc = open_device(e, i, o->err);
    }
    if (rc == 0)
        rc = add_ram_blocks(e, o->err);
    return rc < 0 ? rc : add_devices(e, o->err);
}

static void *opening_main(void *opaque)
{
    struct opening *o = opaque;
    o->rc = open_all(o);
    eventfd_write(o->done_fd, 1);
    return NULL;
}

static _Noreturn void leave(struct opening *o)
{
    struct vmig_error err = { .code = -ECANCELED, .stage = VMIG_STAGE_OPEN, .reason = "cancelled" };
    const char *address = atomic_load(&o->address);
    snprintf(err.text, sizeof(err.text),
             "cancelled while %.300s was being opened; nothing had been touched",
             address ? address : "memory");
    if (o->e->control)
        vmig_migration_set_control(o->e->migration, NULL, NULL); /* removes its file */
    enum cmd_exit code = endpoint_fail(o->e, &err);
    fflush(NULL);
    _exit(code); /* the thread goes on with what belongs to the others */
}

static int open_unless_interrupted(struct opening *o)
{
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, NULL, opening_main, o);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return fail(o->err, rc, "no thread to open %s: %s", "devices");
    struct pollfd p[2] = { { .fd = o->done_fd, .events = POLLIN },
                           { .fd = interrupted_fd, .events = POLLIN } };
    while (poll(p, 2, -1) < 0)
        ; /* EINTR: the handler has made the other one readable */
    if (!p[0].revents)
        leave(o);
    pthread_join(thread, NULL);
    return o->rc;
}

int endpoint_open(struct endpoint *e, struct vmig_error *err)
{
    struct opening o = { .e = e, .err = err, .done_fd = -1 };
    int rc = make_migration(e, err);
    if (rc < 0)
        return rc;
    o.done_fd = eventfd(0, EFD_CLOEXEC);
    if (o.done_fd < 0)
        return fail(err, errno, "opening %s: %s", "an eventfd");
    rc = open_unless_interrupted(&o);
    close(o.done_fd);
    return rc;
}

int endpoint_remember(const struct endpoint *e, struct vmig_migration *migration,
                      struct vmig_error *err)
{
    char folder[3000], path[3072];
    if (e->history)
        return vmig_migration_set_history(migration,
                                          strcmp(e->history, "none") == 0 ? NULL : e->history, err);
    if (state_folder("", folder, sizeof(folder)) < 0)
        return 0;
    snprintf(path, sizeof(path), "%s/terms.json", folder);
    return vmig_migration_set_history(migration, path, err);
}

void endpoint_end_migration(struct endpoint *e)
{
    progress_end(e);
    qmp_close(e);
    atomic_store(&to_cancel, NULL);
    e->migration = vmig_migration_free(e->migration);
}

void endpoint_close(struct endpoint *e)
{
    endpoint_end_migration(e);
    for (unsigned i = 0; i < e->num_devices; i++)
        e->devices[i] = vmig_device_close(e->devices[i]);
    for (unsigned i = 0; i < e->num_ram; i++) {
        if (e->ram[i].vaddr)
            munmap(e->ram[i].vaddr, e->ram[i].size_bytes);
        if (e->ram[i].fd >= 0)
            close(e->ram[i].fd);
    }
}

/* ---- results ---- */

enum cmd_exit endpoint_fail(struct endpoint *e, const struct vmig_error *err)
{
    progress_end(e);
    enum cmd_exit code = cmd_exit_of(err);
    return (enum cmd_exit)cmd_fail(e->name, e->json, code, err);
}

void endpoint_report(struct endpoint *e)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    progress_end(e);
    vmig_migration_query(e->migration, &s);
    if (e->json) {
        cmd_print_json(statistics_json(&s));
        return;
    }
    if (e->quiet)
        return;
    uint64_t bytes = 0;
    char size[32], total[32], pause[32], waited[32], predicted[32];
    for (unsigned i = 0; i < s.num_devices; i++)
        bytes += s.devices[i].precopy_bytes + s.devices[i].stop_copy_bytes;
    cmd_format_size(bytes + s.ram_sent_bytes, size, sizeof(size));
    cmd_format_duration(s.total_ms, total, sizeof(total));
    printf("%s: %u device%s, %s in %s", vmig_status_name(s.status), s.num_devices,
           s.num_devices == 1 ? "" : "s", size, total);
    if (s.downtime_ms > 0)
        printf("; pause %s", cmd_format_duration(s.downtime_ms, pause, sizeof(pause)));
    if (s.pre_switchover_ms > 0)
        printf(" (%s of it in pre-switchover)",
               cmd_format_duration(s.pre_switchover_ms, waited, sizeof(waited)));
    if (s.downtime_ms > 0 &&
        s.bandwidth_bytes_per_s > 0) /* else nothing was measured to predict from */
        printf(", predicted %s",
               cmd_format_duration(s.predicted_downtime_ms, predicted, sizeof(predicted)));
    putchar('\n');
}
