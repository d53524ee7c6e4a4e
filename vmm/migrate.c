/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/fail.h"
#include "vmm/machine.h"
#include "vmm/migrate.h"
#include "vmm/state.h"

struct migrate {
    struct machine *machine;
    struct vmig_migration *migration;
    struct vmig_monitor *monitor;
    struct state *state;
    int quit_fd; /* eventfd: the loop shall end; -1 */
    pthread_t receiver;
    bool has_receiver;
    atomic_bool failed; /* to receive, when there is nobody to tell it once more */
    atomic_bool hangs;  /* the hand-over does, and waits for somebody to settle it */
    bool warned;        /* who wants this machine to end all the same */
};

/* ---- what the library asks of the host ---- */

static int on_stop(void *opaque, struct vmig_error *err)
{
    struct migrate *migrate = opaque;
    struct vcpus *vcpus = &migrate->machine->vcpus;
    vcpus_stop(vcpus);
    if (vcpus->end != GUEST_RUNS) /* that is no state, and would not arrive */
        return vmm_fail(err, ESHUTDOWN, "guest-ended", "the guest ended: %s", vcpus->end_text);
    int rc = state_stop_clock(migrate->state, err);
    for (unsigned i = 0; i < migrate->machine->num_devices; i++)
        vfio_hold(&migrate->machine->devices[i]);
    return rc;
}

static int on_start(void *opaque, struct vmig_error *err)
{
    struct migrate *migrate = opaque;
    int rc = state_start_clock(migrate->state, &migrate->machine->vcpus, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < migrate->machine->num_devices; i++)
        vfio_release(&migrate->machine->devices[i]);
    serial_listen(&migrate->machine->serial);
    vcpus_start(&migrate->machine->vcpus);
    return 0;
}

static void on_event(void *opaque, const struct vmig_event *event)
{
    struct migrate *migrate = opaque;
    if (event->kind == VMIG_EVENT_LISTENING)
        fprintf(stderr, "vfio-vmm: listening on %s\n", event->text);
    else if (event->kind == VMIG_EVENT_WARNING || event->kind == VMIG_EVENT_STATE_LOST)
        fprintf(stderr, "vfio-vmm: %s\n", event->text);
    else if (event->kind == VMIG_EVENT_STATUS)
        fprintf(stderr, "vfio-vmm: migration %s\n", vmig_status_name(event->status));
    if (event->kind == VMIG_EVENT_STATUS && event->status == VMIG_STATUS_UNRESOLVED)
        migrate->hangs = true; /* at once: whoever hears of it may ask for the machine's end */
}

/* What must be settled first, and how. */
static int tell_of_hang(const struct migrate *migrate, struct vmig_error *err)
{
    const char *control = migrate->machine->options.control;
    return vmm_fail(err, EUCLEAN, "unresolved",
                    "the hand-over hangs, and this machine holds a guest that may go on at one "
                    "side only: %s%s%s",
                    control ? "tell it which with `vfio-migrate resolve " : "there is no --control",
                    control ? control : " through which it could be told which",
                    control ? " run|discard`" : "");
}

bool migrate_may_end(struct migrate *migrate)
{
    struct vmig_error err = { 0 };
    if (!migrate->hangs || migrate->warned)
        return true;
    tell_of_hang(migrate, &err);
    fprintf(stderr, "vfio-vmm: %s; once more, and it ends with what it holds\n", err.text);
    migrate->warned = true;
    return false;
}

static int on_quit(void *opaque, struct vmig_error *err)
{
    struct migrate *migrate = opaque;
    if (migrate->hangs)
        return tell_of_hang(migrate, err);
    eventfd_write(migrate->quit_fd, 1);
    return 0;
}

static const char *const commands[] = { "screendump", NULL };

static int on_command(void *opaque, const char *name, const char *arguments, char **ret,
                      struct vmig_error *err)
{
    struct migrate *migrate = opaque;
    (void)name;
    (void)ret;
    return screenshot_take(&migrate->machine->ramfb, arguments, err);
}

/* A hand-over that hangs is somebody else's to settle, through the control socket; until then both sides hold what
 * they have. Returns what became of it. */
static int settle(struct migrate *migrate, bool incoming, int rc, const struct vmig_error *err)
{
    struct vmig_error later = { 0 };
    char text[700];
    if (rc < 0)
        fprintf(stderr, "vfio-vmm: %s: %s\n", incoming ? "receiving" : "sending",
                vmig_error_message(err, text, sizeof(text)));
    if (rc != -EUCLEAN)
        return rc;
    rc = vmig_migration_wait_resolved(migrate->migration, &later);
    if (rc == -ECANCELED)
        return rc; /* the machine ends as it is */
    migrate->hangs = false;
    fprintf(stderr, "vfio-vmm: resolved: %s\n",
            rc > 0    ? "the guest runs here"
            : rc == 0 ? "the guest is not here"
                      : vmig_error_message(&later, text, sizeof(text)));
    return rc > 0 ? 0 : -ECANCELED;
}

static void on_ended(void *opaque, bool incoming, int rc, const struct vmig_error *err)
{
    settle(opaque, incoming, rc, err);
}

/* ---- what moves ---- */

static int add_all(struct migrate *migrate, struct vmig_error *err)
{
    struct machine *machine = migrate->machine;
    struct vmig_migration *m = migrate->migration;
    int rc = machine->options.incoming
                 ? vmig_migration_set_run_state(m, VMIG_RUN_STATE_INMIGRATE, err)
                 : 0;
    if (rc == 0)
        rc = vmig_migration_set_only_migratable(m, machine->options.only_migratable, err);
    if (rc == 0 && machine->options.compat)
        rc = vmig_migration_set_compat(m, machine->options.compat, err);
    for (unsigned i = 0; rc == 0 && i < machine->memory.num_blocks; i++)
        rc = vmig_migration_add_ram(m, &machine->memory.blocks[i], err);
    if (rc == 0 && machine->options.control)
        rc = vmig_migration_set_control(m, machine->options.control, err);
    if (rc == 0 && machine->options.history)
        rc = vmig_migration_set_history(m, machine->options.history, err);
    if (rc == 0)
        rc = dirty_add(&machine->dirty, m, &machine->vcpus, &machine->memory, err);
    if (rc == 0)
        rc = state_new(&migrate->state, m, machine, err);
    for (unsigned i = 0; rc == 0 && i < machine->num_devices; i++)
        rc = vfio_add(&machine->devices[i], m, &machine->options.devices[i].settings,
                      &machine->ramfb, err);
    return rc;
}

static void on_quit_asked(void *opaque)
{
    struct migrate *migrate = opaque;
    migrate->machine->loop.done = true;
}

static int open_monitor(struct migrate *migrate, struct vmig_error *err)
{
    const struct options *options = &migrate->machine->options;
    const struct vmig_monitor_host host = {
        .size = sizeof(host),
        .opaque = migrate,
        .package = "vfio-vmm",
        .incoming_defer = options->incoming && !strcmp(options->incoming, "defer"),
        .quit = on_quit,
        .ended = on_ended,
        .commands = commands,
        .command = on_command,
    };
    return options->qmp
               ? vmig_monitor_new(options->qmp, migrate->migration, &host, &migrate->monitor, err)
               : 0;
}

int migrate_new(struct migrate **ret, struct machine *machine, struct vmig_error *err)
{
    struct migrate *migrate = calloc(1, sizeof(*migrate));
    const struct vmig_host host = { .size = sizeof(host),
                                    .opaque = migrate,
                                    .stop = on_stop,
                                    .start = on_start,
                                    .event = on_event };
    if (!migrate)
        return vmm_fail(err, ENOMEM, NULL, "out of memory");
    *ret = migrate;
    migrate->machine = machine;
    migrate->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (migrate->quit_fd < 0)
        return vmm_fail(err, errno, NULL, "making an eventfd: %m");
    int rc = loop_watch(&machine->loop, migrate->quit_fd, POLLIN, on_quit_asked, migrate, err);
    if (rc < 0)
        return rc;
    migrate->migration = vmig_migration_new(&host, err);
    rc = migrate->migration ? add_all(migrate, err) : err->code;
    return rc;
}

void migrate_free(struct migrate *migrate)
{
    if (!migrate)
        return;
    migrate->monitor = vmig_monitor_free(migrate->monitor);
    if (migrate->has_receiver) {
        vmig_migration_cancel(migrate->migration);
        pthread_join(migrate->receiver, NULL);
    }
    vmig_migration_free(migrate->migration);
    state_free(migrate->state);
    if (migrate->quit_fd >= 0)
        close(migrate->quit_fd);
    free(migrate);
}

/* ---- receiving ---- */

static void *receive(void *opaque)
{
    struct migrate *migrate = opaque;
    struct vmig_error err = { 0 };
    int rc = vmig_migration_receive(migrate->migration, migrate->machine->options.incoming, &err);
    if (settle(migrate, true, rc, &err) < 0) {
        migrate->failed = true;
        eventfd_write(migrate->quit_fd, 1);
    }
    return NULL;
}

int migrate_open(struct migrate *migrate, struct vmig_error *err)
{
    const char *incoming = migrate->machine->options.incoming;
    for (unsigned i = 0; incoming && i < migrate->machine->num_devices; i++)
        vfio_hold(&migrate->machine->devices[i]);
    int rc = open_monitor(migrate, err);
    if (rc < 0 || !incoming ||
        !strcmp(incoming, "defer")) /* then the monitor receives, when it is told to */
        return rc;
    rc = pthread_create(&migrate->receiver, NULL, receive, migrate);
    migrate->has_receiver = rc == 0;
    return rc ? vmm_fail(err, rc, NULL, "starting a thread failed") : 0;
}

int migrate_result(const struct migrate *migrate, struct vmig_error *err)
{
    if (migrate->hangs)
        return vmm_fail(err, EUCLEAN, "unresolved",
                        "ended while the hand-over hung: what the guest was here is lost");
    return migrate->failed ? -ECANCELED : 0;
}
