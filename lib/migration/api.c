/* SPDX-License-Identifier: BSD-3-Clause */
/* The public handle: making it, adding what moves, asking, cancelling. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/clock.h"
#include "lib/migration/control.h"
#include "lib/migration/migration.h"
#include "lib/migration/participants.h"
#include "lib/participant/ram.h"

static void init_locks(struct vmig_migration *m)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&m->lock, NULL);
    turnstile_init(&m->main_write);
    listeners_init(&m->listeners);
    observers_init(&m->observers);
    pthread_mutex_init(&m->ram_lock, NULL);
    pthread_mutex_init(&m->throttle.lock, NULL);
}

static void close_eventfds(struct vmig_migration *m)
{
    int *const fds[] = { &m->cancel_fd, &m->end_fd, &m->watch.stop_fd, &m->watch.late_fd };
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
}

static int open_eventfds(struct vmig_migration *m)
{
    m->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->watch.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->watch.late_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->cancel_fd >= 0 && m->end_fd >= 0 && m->watch.stop_fd >= 0 && m->watch.late_fd >= 0)
        return 0;
    close_eventfds(m);
    return -1;
}

static int may_go_on(void *opaque, struct vmig_error *err)
{
    return run_check(opaque, err);
}

VMIG_EXPORT struct vmig_migration *vmig_migration_new(const struct vmig_host *host,
                                                      struct vmig_error *err)
{
    struct vmig_migration *m = calloc(1, sizeof(*m));
    struct ram *ram = ram_new();
    XXH3_state_t *said = XXH3_createState(), *heard = XXH3_createState();
    if (!m || !ram || !said || !heard || open_eventfds(m) < 0) {
        free(m);
        XXH3_freeState(said);
        XXH3_freeState(heard);
        ram_free(ram);
        error_set(err, ENOMEM, VMIG_STAGE_PREPARE, NULL, NULL,
                  "out of memory or file descriptors for a migration");
        return NULL;
    }
    m->refs = 1;
    m->ram = ram;
    ram->may_go_on = may_go_on;
    ram->opaque = m;
    m->stall_ms = STALL_MS;
    m->run.now = m->run.before = VMIG_RUN_STATE_RUNNING;
    m->said = said;
    m->heard = heard;
    init_locks(m);
    if (host) {
        size_t known = host->size < sizeof(m->host) ? host->size : sizeof(m->host);
        memcpy(&m->host, host, known);
    }
    for (unsigned i = 0; i < PARAMETER_COUNT; i++)
        m->parameters[i] = parameter_table[i].standard;
    if (capabilities_init(m, m->host.implements, err) < 0)
        return vmig_migration_free(m);
    m->host.implements = NULL; /* the list is not ours */
    return m;
}

VMIG_EXPORT struct vmig_migration *vmig_migration_free(struct vmig_migration *m)
{
    if (!m)
        return NULL;
    m->control = control_free(m->control);
    if (m->unresolved)
        vmig_migration_resolve(m, VMIG_RESOLVE_DISCARD, true, NULL);
    migration_unref(m);
    return NULL;
}

void migration_ref(struct vmig_migration *m)
{
    atomic_fetch_add(&m->refs, 1);
}

/* The last is the handle's, or that of a worker that hung and came back after the handle was let go
 * of: until then it looks at its participant. */
void migration_unref(struct vmig_migration *m)
{
    if (atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    participants_free(m);
    blockers_done(&m->own_blockers);
    vmstates_done(&m->vmstates);
    ram_free(m->ram);
    close_eventfds(m);
    XXH3_freeState(m->said);
    XXH3_freeState(m->heard);
    free(m->control_path);
    free(m->peer_control);
    free(m->history_path);
    free(m->history);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    turnstile_done(&m->main_write);
    listeners_done(&m->listeners);
    observers_done(&m->observers);
    pthread_mutex_destroy(&m->ram_lock);
    pthread_mutex_destroy(&m->throttle.lock);
    free(m);
}

static int refuse_running(struct vmig_migration *m, const char *what, struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    if (m->side == SIDE_NONE)
        return 0;
    return error_set(err, EBUSY, VMIG_STAGE_NONE, what, "migration-running",
                     "cannot be added while a migration runs");
}

static int add_ram_participant(struct vmig_migration *m, struct vmig_error *err)
{
    struct participant p = {
        .id = "ram",
        .idstr = "ram",
        .kind = PARTICIPANT_RAM,
        .ops = &participant_ram_ops,
        .opaque = participant_ram_new(m),
        .free_opaque = participant_ram_free,
    };
    if (!p.opaque)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, "ram", NULL, "out of memory");
    int rc = participant_add(m, &p, err);
    if (rc < 0)
        participant_ram_free(p.opaque);
    return rc;
}

VMIG_EXPORT int vmig_migration_add_ram(struct vmig_migration *m, const struct vmig_ram_block *block,
                                       struct vmig_error *err)
{
    int rc = refuse_running(m, block->name, err);
    if (rc == 0)
        rc = ram_add(m->ram, block, err);
    if (rc < 0 || participant_find(m, "ram"))
        return rc;
    rc = add_ram_participant(m, err);
    if (rc < 0)
        ram_drop_last(m->ram); /* so that it can be added once more */
    return rc;
}

/* Of the first release. */
#define OPS_SIZE_MIN offsetof(struct vmig_participant_ops, notify)

VMIG_EXPORT int vmig_migration_add_participant(struct vmig_migration *m, const char *id,
                                               const struct vmig_participant_ops *ops, void *opaque,
                                               struct vmig_error *err)
{
    int rc = refuse_running(m, id, err);
    if (rc < 0)
        return rc;
    if (!id[0] || strlen(id) >= 64 || ops->size < OPS_SIZE_MIN)
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, id, NULL,
                         "a participant has an id of 1 to 63 bytes and an operations table of at "
                         "least %zu bytes, not %zu",
                         OPS_SIZE_MIN, ops->size);
    struct participant p = { .kind = PARTICIPANT_OTHER, .opaque = opaque };
    memcpy(&p.hosts_ops, ops, ops->size < sizeof(*ops) ? ops->size : sizeof(*ops));
    snprintf(p.id, sizeof(p.id), "%s", id);
    snprintf(p.idstr, sizeof(p.idstr), "%s", id);
    return participant_add(m, &p, err);
}

VMIG_EXPORT int vmig_migration_set_tracker(struct vmig_migration *m,
                                           const struct vmig_tracker_ops *ops, void *opaque,
                                           struct vmig_error *err)
{
    int rc = refuse_running(m, "the tracker", err);
    if (rc < 0)
        return rc;
    if (ops && (ops->size < sizeof(*ops) || !ops->start || !ops->sync || !ops->stop))
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, NULL, NULL,
                         "a tracker has start, sync and stop in a table of at least %zu bytes, "
                         "not %zu",
                         sizeof(*ops), ops->size);
    m->tracker = ops;
    m->tracker_opaque = opaque;
    return 0;
}

VMIG_EXPORT int vmig_migration_set_control(struct vmig_migration *m, const char *path,
                                           struct vmig_error *err)
{
    int rc = refuse_running(m, path, err);
    if (rc < 0)
        return rc;
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, NULL, NULL, "out of memory");
    m->control = control_free(m->control);
    free(m->control_path);
    m->control_path = copy;
    return path ? control_new(m, path, &m->control, err) : 0;
}
