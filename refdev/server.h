/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device's first door: a vfio-user server. One server holds one device and serves one
 * client at a time; the device outlives its clients.
 *
 * One thread does everything in refdev_server_run() or _serve(): the client's messages, the
 * device's workload, refusing further clients. refdev_server_stop() may be called from any other
 * thread or from a signal handler.
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
};

/* NULL when there is none of that name. */
const struct refdev_profile *refdev_profile_find(const char *name);

/* -EINVAL for knobs that do not fit the profile, -ENOMEM. */
int refdev_server_new(const struct refdev_config *config, struct refdev_server **ret,
                      struct vmig_error *err);
/* NULL is fine. Not while it runs. */
void refdev_server_free(struct refdev_server *server);

/* Serve clients that connect to @listen_fd (borrowed, non-blocking is set), one after the other,
 * until refdev_server_stop(). 0, or the errno of poll or accept. */
int refdev_server_run(struct refdev_server *server, int listen_fd);
/* Serve the one client behind the connected socket @take_fd until it leaves or the server stops. */
int refdev_server_serve(struct refdev_server *server, int take_fd);

/* Make run and serve return, now or when they are next called. Async-signal-safe. */
void refdev_server_stop(struct refdev_server *server);

#endif
