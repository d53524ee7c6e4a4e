/* SPDX-License-Identifier: BSD-3-Clause */
/* The public handle. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/channel/channel.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/monitor/monitor.h"

static int out_of_memory(struct vmig_error *err)
{
    return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL, "out of memory for a monitor");
}

static int check_host(const struct vmig_monitor_host *host, struct vmig_error *err)
{
    json_t *package = json_string(host->package ? host->package : "");
    bool sound = package;
    json_decref(package);
    if (!sound)
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, NULL,
                         "the monitor's package must be UTF-8, for clients are told it");
    for (const char *const *own = host->commands; own && *own; own++)
        if (command_find(*own))
            return error_set(err, EEXIST, VMIG_STAGE_OPEN, NULL, NULL,
                             "the monitor has a command %.100s of its own; give the host's another "
                             "name",
                             *own);
    return 0;
}

static int listen_at(struct vmig_monitor *monitor, const char *text, struct vmig_error *err)
{
    struct address address;
    char *name = NULL;
    bool public;
    int rc = address_parse(text, &address, err);
    if (rc < 0)
        return rc;
    if (address.kind != ADDRESS_UNIX)
        return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address",
                         "a monitor listens at unix:PATH, not at %.200s: whoever reaches it may do "
                         "everything",
                         text);
    monitor->path = strdup(address.path);
    if (!monitor->path)
        return out_of_memory(err);
    rc = channel_listen(&address, -1, &monitor->listen_fd, &name, &public, err);
    free(name);
    if (rc == 0)
        fcntl(monitor->listen_fd, F_SETFL, O_NONBLOCK);
    return rc;
}

static void release(struct vmig_monitor *monitor)
{
    if (monitor->listen_fd >= 0) {
        close(monitor->listen_fd);
        unlink(monitor->path);
    }
    if (monitor->wake_fd >= 0)
        close(monitor->wake_fd);
    pthread_cond_destroy(&monitor->changed);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor->mover.address);
    free(monitor->package);
    free(monitor->path);
    free(monitor);
}

static void init(struct vmig_monitor *monitor, struct vmig_migration *m,
                 const struct vmig_monitor_host *host)
{
    pthread_condattr_t attr;
    monitor->migration = m;
    monitor->listen_fd = monitor->wake_fd = -1;
    if (host)
        memcpy(&monitor->host, host,
               host->size < sizeof(monitor->host) ? host->size : sizeof(monitor->host));
    pthread_sigmask(SIG_SETMASK, NULL, &monitor->mask);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&monitor->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&monitor->lock, NULL);
}

static int start(struct vmig_monitor *monitor, const char *address, struct vmig_error *err)
{
    int rc = check_host(&monitor->host, err);
    if (rc < 0)
        return rc;
    monitor->package = strdup(monitor->host.package ? monitor->host.package : "");
    if (!monitor->package)
        return out_of_memory(err);
    rc = listen_at(monitor, address, err);
    if (rc == 0)
        rc = vmig_migration_add_observer(monitor->migration, events_hear, monitor, err);
    if (rc < 0)
        return rc;
    rc = server_start(monitor, err);
    if (rc < 0)
        vmig_migration_remove_observer(monitor->migration, events_hear, monitor, NULL);
    return rc;
}

VMIG_EXPORT int vmig_monitor_new(const char *address, struct vmig_migration *m,
                                 const struct vmig_monitor_host *host, struct vmig_monitor **ret,
                                 struct vmig_error *err)
{
    struct vmig_monitor *monitor = calloc(1, sizeof(*monitor));
    if (!monitor)
        return out_of_memory(err);
    init(monitor, m, host);
    int rc = start(monitor, address, err);
    if (rc < 0)
        release(monitor);
    else
        *ret = monitor;
    return rc;
}

VMIG_EXPORT struct vmig_monitor *vmig_monitor_free(struct vmig_monitor *monitor)
{
    if (!monitor)
        return NULL;
    pthread_mutex_lock(&monitor->lock);
    monitor->over = true;
    pthread_cond_broadcast(&monitor->changed);
    pthread_mutex_unlock(&monitor->lock);
    mover_end(monitor); /* its last events still reach the clients */
    vmig_migration_remove_observer(monitor->migration, events_hear, monitor, NULL);
    server_end(monitor);
    release(monitor);
    return NULL;
}
