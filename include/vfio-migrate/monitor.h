/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A migration that management software drives over a UNIX socket, in QEMU's Machine Protocol (QMP).
 *
 *   struct vmig_monitor_host host = { .size = sizeof(host), .opaque = vm, .quit = quit };
 *   vmig_monitor_new("unix:/run/vm.qmp", migration, &host, &monitor, &err);
 *
 * vfio-migrate-qmp(7) lists commands, events and what differs from QEMU.
 *
 * Threads: a monitor has threads of its own; vmig_migration_send() and receive() that a client asked
 * for run on one of them. Members of struct vmig_monitor_host are called on these threads, with no lock
 * held and with the signal mask of who called vmig_monitor_new(); none of them may call
 * vmig_monitor_free().
 */
#ifndef VFIO_MIGRATE_MONITOR_H
#define VFIO_MIGRATE_MONITOR_H

#include <vfio-migrate/migration.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmig_monitor;

/* The embedding program. NULL members are skipped. */
struct vmig_monitor_host {
    size_t size; /* sizeof(struct vmig_monitor_host) */
    void *opaque;
    /* What the greeting and query-version tell; strings are copied. NULL package: "". */
    unsigned version[3]; /* major, minor, micro */
    const char *package;
    /* This program waits for migrate-incoming, which is refused otherwise. */
    bool incoming_defer;
    /* The command quit: end soon, but not from inside of this call. The answer goes out once
     * vmig_monitor_free() was called or this has returned. Without it quit is refused. */
    int (*quit)(void *opaque, struct vmig_error *err);
    /* A migration that a client began has ended: what send or receive (@incoming) returned. */
    void (*ended)(void *opaque, bool incoming, int rc, const struct vmig_error *err);
    /* The host's own commands: names, the last one NULL, and what runs them; several at once, from
     * several clients. @arguments_json: an object, as JSON text. *ret_json: malloc'd JSON text, which
     * the monitor frees, or left NULL for an empty object. A failure becomes a GenericError with
     * err->text. Names of the monitor's own commands cannot be taken. */
    const char *const *commands;
    int (*command)(void *opaque, const char *name, const char *arguments_json, char **ret_json,
                   struct vmig_error *err);
};

/* Listen at @address, "unix:PATH", for clients that drive @migration, which is borrowed until
 * vmig_monitor_free(). @host is copied (its commands are borrowed), and may be NULL. 0, -EINVAL no such
 * address, -EADDRINUSE somebody listens there, -ENOMEM, or why it cannot be listened there. */
int vmig_monitor_new(const char *address, struct vmig_migration *migration,
                     const struct vmig_monitor_host *host, struct vmig_monitor **ret,
                     struct vmig_error *err);
/* Commands that run are waited for, a migration that a client began is cancelled and waited for. Clients
 * get what is due to them as far as they take it at once, and are closed. NULL is fine. Returns NULL. */
struct vmig_monitor *vmig_monitor_free(struct vmig_monitor *monitor);

#ifdef __cplusplus
}
#endif
#endif
