/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmd/qmp.h"
#include "lib/cleanup.h"
#include "lib/error.h"

struct qmp {
    struct vmig_monitor *monitor;
    int ended_fd; /* eventfd */
    pthread_mutex_t lock;
    bool ended, quit; /* these and all that follows under the lock */
    int rc;
    struct vmig_error err;
};

/* ---- the option ---- */

enum { KEY_QMP = 0x1200 };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct endpoint *e = state->input;
    if (key != KEY_QMP)
        return ARGP_ERR_UNKNOWN;
    if (strncmp(arg, "unix:", 5) != 0 || !arg[5])
        argp_error(state, "--qmp takes unix:PATH, not '%s'", arg);
    e->qmp_address = arg;
    return 0;
}

static const struct argp_option options[] = {
    { "qmp", KEY_QMP, "unix:PATH", 0,
      "Serve a monitor there that speaks QMP (`vfio-migrate monitor PATH`); without ADDRESS it is "
      "told "
      "there what to do",
      0 },
    { 0 },
};
const struct argp qmp_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };

/* ---- the monitor's host ---- */

/* As a SIGTERM does. */
static int on_quit(void *opaque, struct vmig_error *err)
{
    struct qmp *q = opaque;
    (void)err;
    pthread_mutex_lock(&q->lock);
    q->quit = true;
    pthread_mutex_unlock(&q->lock);
    endpoint_interrupt();
    return 0;
}

static void on_ended(void *opaque, bool incoming, int rc, const struct vmig_error *err)
{
    struct qmp *q = opaque;
    (void)incoming;
    LOCK_SCOPE(&q->lock);
    q->ended = true;
    q->rc = rc;
    q->err = *err;
    eventfd_write(q->ended_fd, 1);
}

static void version_of(const char *text, unsigned ret[3])
{
    for (unsigned i = 0; i < 3; i++) {
        char *end;
        ret[i] = (unsigned)strtoul(text, &end, 10);
        text = *end == '.' ? end + 1 : end;
    }
}

static int out_of_resources(struct vmig_error *err)
{
    return error_set(err, ENOMEM, VMIG_STAGE_OPEN, NULL, NULL,
                     "out of memory or descriptors for --qmp");
}

int qmp_open(struct endpoint *e, bool incoming_defer, struct vmig_error *err)
{
    if (!e->qmp_address)
        return 0;
    struct qmp *q = calloc(1, sizeof(*q));
    if (!q)
        return out_of_resources(err);
    struct vmig_monitor_host host = {
        .size = sizeof(host),
        .opaque = q,
        .package = "vfio-migrate " VMIG_VERSION,
        .incoming_defer = incoming_defer,
        .quit = on_quit,
        .ended = on_ended,
    };
    int rc = incoming_defer
                 ? vmig_migration_set_run_state(e->migration, VMIG_RUN_STATE_INMIGRATE, err)
                 : 0;
    version_of(VMIG_VERSION, host.version);
    pthread_mutex_init(&q->lock, NULL);
    q->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->qmp = q;
    if (q->ended_fd < 0)
        return out_of_resources(err);
    return rc < 0 ? rc : vmig_monitor_new(e->qmp_address, e->migration, &host, &q->monitor, err);
}

void qmp_close(struct endpoint *e)
{
    struct qmp *q = e->qmp;
    if (!q)
        return;
    vmig_monitor_free(q->monitor);
    if (q->ended_fd >= 0)
        close(q->ended_fd);
    pthread_mutex_destroy(&q->lock);
    free(q);
    e->qmp = NULL;
}

static bool take_ended(struct qmp *q, int *ret_rc, struct vmig_error *ret_err)
{
    eventfd_t count;
    LOCK_SCOPE(&q->lock);
    if (!q->ended)
        return false;
    eventfd_read(q->ended_fd, &count);
    q->ended = false;
    *ret_rc = q->rc;
    *ret_err = q->err;
    return true;
}

bool qmp_wait_ended(struct endpoint *e, int *ret_rc, struct vmig_error *ret_err)
{
    struct qmp *q = e->qmp;
    struct pollfd p[2] = { { .fd = q->ended_fd, .events = POLLIN },
                           { .fd = endpoint_interrupted_fd(), .events = POLLIN } };
    while (poll(p, 2, -1) < 0)
        ; /* EINTR: the handler has made the other one readable */
    if (take_ended(q, ret_rc, ret_err))
        return true;
    /* what a client began is cancelled, and how that ended shall be told */
    q->monitor = vmig_monitor_free(q->monitor);
    return take_ended(q, ret_rc, ret_err);
}

bool qmp_was_quit(const struct endpoint *e)
{
    struct qmp *q = e->qmp;
    LOCK_SCOPE(&q->lock);
    return q->quit;
}
