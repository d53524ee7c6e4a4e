/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device's first door: a vfio-user server. One server holds one device and serves one
 * client at a time; the device outlives its clients.
 *
 * One thread does everything in refdev_server_run() or _serve(): the client's messages, the
 * device's workload, refusing further clients. refdev_server_stop() may be called from any other
 * thread or from a signal handler, the functions about faults from any thread.
 */
#ifndef REFDEV_SERVER_H
#define REFDEV_SERVER_H

#include <vfio-migrate/error.h>
#include "refdev/model/model.h"

struct refdev_server;

struct refdev_config {
    struct refdev_knobs knobs; /* .profile NULL: "default" */
    uint64_t local_bytes;      /* device-local memory; 0: as the profile has it */
    bool no_extensions;        /* behave like a server that knows the published protocol only */
    /* One line, without a newline, about clients and refused state; may be NULL. */
    void (*log)(void *arg, const char *line);
    void *log_arg;
    /* The same about faults of the plan, as they happen; NULL: they go to log, too. */
    void (*fault_log)(void *arg, const char *line);
};

/* NULL when there is none of that name. */
const struct refdev_profile *refdev_profile_find(const char *name);

/* -EINVAL for knobs that do not fit the profile, -ENOMEM. */
int refdev_server_new(const struct refdev_config *config, struct refdev_server **ret,
                      struct vmig_error *err);
/* NULL is fine. Not while it runs. */
void refdev_server_free(struct refdev_server *server);

/* Serve clients that connect to @listen_fd (borrowed, non-blocking is set), one after the other,
 * until refdev_server_stop(), or until the device vanished by its fault plan; then the socket has
 * been shut down. 0, or the errno of poll or accept. */
int refdev_server_run(struct refdev_server *server, int listen_fd);
/* Serve the one client behind the connected socket @take_fd until it leaves or the server stops. */
int refdev_server_serve(struct refdev_server *server, int take_fd);

/* Make run and serve return, now or when they are next called. Async-signal-safe. */
void refdev_server_stop(struct refdev_server *server);

/* Replace the fault plan, from the client's next message on; all counting begins anew. A device
 * that hangs goes on. @faults: @count (0..REFDEV_FAULTS_MAX) of them, copied. */
void refdev_server_set_faults(struct refdev_server *server, const struct refdev_fault *faults,
                              unsigned count);
/* Fault number @index of the plan with what was counted; false where there is none. Only while nobody
 * is served. */
bool refdev_server_fault_at(const struct refdev_server *server, unsigned index,
                            struct refdev_fault *ret);
/* How many faults have happened since; one that hangs counts when it begins to. */
unsigned refdev_server_faults_fired(struct refdev_server *server);
/* Wait until @count have. False: they have not within @timeout_ms. */
bool refdev_server_await_fault(struct refdev_server *server, unsigned count, unsigned timeout_ms);

#endif
