/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cancelling at any moment.
 *
 * Who cancels may be a signal handler, so all it does is set a flag and write to an eventfd. A thread
 * watches that: it ends the run as any other failure does, which makes end_fd readable, wakes every
 * condition and closes the inboxes, so that no wait anywhere needs to look by itself from time to
 * time. What can not be woken is a call into a device, a disk or the host: then the engine says what
 * it waits for, CANCEL_NAME_MS after the cancel at the latest.
 *
 * Past the point of no return a cancel changes nothing, and the host is told so.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/thread.h"
#include "lib/trace/trace.h"

/* Half of the 100 ms in which a cancel has happened or is explained. */
#define CANCEL_NAME_MS 50
/* And again, while it takes. */
#define NAME_AGAIN_MS 1000

static void set_readable(int fd)
{
    eventfd_write(fd, 1); /* full means that it is readable already */
}

/* Only what a signal handler may do. */
VMIG_EXPORT void vmig_migration_cancel(struct vmig_migration *m)
{
    int saved = errno;
    uint_fast64_t never = 0;
    atomic_compare_exchange_strong(&m->cancelled_ns, &never, clock_ns());
    atomic_store(&m->cancelled, true);
    set_readable(m->cancel_fd);
    errno = saved;
}

/* One read takes all that was written. */
static void drain(int fd)
{
    eventfd_t count;
    eventfd_read(fd, &count);
}

void cancel_forget(struct vmig_migration *m)
{
    drain(m->cancel_fd);
    atomic_store(&m->cancelled, false);
    atomic_store(&m->cancelled_ns, 0);
}

/* Without a lock a signal handler can not know whether it comes too late; whoever can wait may ask. */
int cancel_if_not_too_late(struct vmig_migration *m, struct vmig_error *err)
{
    vmig_migration_cancel(m);
    LOCK_SCOPE(&m->lock);
    if (m->side == SIDE_NONE || !run_too_late_locked(m))
        return 0;
    return error_set(
        err, EALREADY, VMIG_STAGE_HANDOVER, NULL, "too-late",
        m->side == SIDE_SOURCE
            ? "the source has given up already, so there is nothing to cancel here"
            : "all has arrived here and the source may have given up already, so there "
              "is nothing to cancel here");
}

/* ---- the watch ---- */

static void heed(struct vmig_migration *m)
{
    bool too_late;
    run_check(m, NULL); /* ends the run, if it is not too late */
    {
        LOCK_SCOPE(&m->lock);
        m->waiting.named_cancelling = false; /* whoever cancels again is told again */
        too_late = run_too_late_locked(m);
        if (too_late) {
            m->cancelled_late = true;
            m->told_late = false;
            set_readable(m->watch.late_fd);
        }
        pthread_cond_broadcast(&m->changed);
    }
    TRACE(migration_cancel, too_late);
}

static void *watch_main(void *opaque)
{
    struct vmig_migration *m = opaque;
    for (;;) {
        struct pollfd p[2] = { { .fd = m->cancel_fd, .events = POLLIN },
                               { .fd = m->watch.stop_fd, .events = POLLIN } };
        if (poll(p, 2, -1) < 0)
            continue; /* EINTR; nothing else can happen to two eventfds */
        if (p[1].revents)
            return NULL;
        drain(m->cancel_fd);
        heed(m);
    }
}

int cancel_watch(struct vmig_migration *m, struct vmig_error *err)
{
    drain(m->watch.stop_fd);
    drain(m->watch.late_fd);
    drain(m->end_fd);
    int rc = thread_start(&m->watch.thread, watch_main, m);
    if (rc != 0)
        return error_set(err, rc, VMIG_STAGE_PREPARE, NULL, NULL,
                         "no thread for the migration: %s; check the limits on threads",
                         strerror(-rc));
    m->watch.running = true;
    return 0;
}

void cancel_unwatch(struct vmig_migration *m)
{
    if (!m->watch.running)
        return;
    set_readable(m->watch.stop_fd);
    pthread_join(m->watch.thread, NULL);
    m->watch.running = false;
}

/* ---- what is waited for ---- */

void cancel_waiting(struct vmig_migration *m, const char *format, ...)
{
    struct waiting w = { .since_ns = clock_ns() };
    va_list args;
    va_start(args, format);
    vsnprintf(w.what, sizeof(w.what), format, args);
    va_end(args);
    LOCK_SCOPE(&m->lock);
    m->waiting = w;
}

void cancel_rephrase(struct vmig_migration *m, const char *what)
{
    LOCK_SCOPE(&m->lock);
    snprintf(m->waiting.what, sizeof(m->waiting.what), "%s", what);
}

void cancel_waits_no_more(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    m->waiting = (struct waiting) { 0 };
}

static bool cancelling_locked(const struct vmig_migration *m)
{
    return m->side != SIDE_NONE && !m->unresolved && atomic_load(&m->cancelled) &&
           !run_too_late_locked(m);
}

/* False when nothing is waited for. */
static bool describe_locked(const struct vmig_migration *m, char *ret, size_t size)
{
    bool cancelling = cancelling_locked(m);
    uint64_t since = cancelling ? atomic_load(&m->cancelled_ns) : m->waiting.since_ns;
    snprintf(ret, size, "%swaiting for %s, %.0f ms so far", cancelling ? "cancelling: " : "",
             m->waiting.what, clock_ms_since(since));
    return m->waiting.what[0];
}

bool cancel_describe(struct vmig_migration *m, char *ret, size_t size)
{
    LOCK_SCOPE(&m->lock);
    bool waits = describe_locked(m, ret, size);
    if (!waits)
        ret[0] = '\0';
    return waits;
}

bool cancel_is_under_way(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    return cancelling_locked(m);
}

/* When what is waited for is to be named next. @slow: it should not take long, whether or not
 * somebody cancelled. */
uint64_t cancel_due_locked(const struct vmig_migration *m, bool slow)
{
    if (m->cancelled_late && !m->told_late)
        return 0;
    uint64_t again = m->waiting.named_ns ? m->waiting.named_ns + NAME_AGAIN_MS * NS_PER_MS : 0;
    if (!m->waiting.what[0])
        return UINT64_MAX;
    if (cancelling_locked(m)) {
        uint64_t first = atomic_load(&m->cancelled_ns) + CANCEL_NAME_MS * NS_PER_MS;
        return m->waiting.named_cancelling ? again : first;
    }
    if (!slow)
        return UINT64_MAX;
    return again ? again : m->waiting.since_ns + NAME_AGAIN_MS * NS_PER_MS;
}

static void tell_late(struct vmig_migration *m)
{
    {
        LOCK_SCOPE(&m->lock);
        if (!m->cancelled_late || m->told_late)
            return;
        m->told_late = true;
        drain(m->watch.late_fd);
    }
    run_warning(m, "too-late",
                m->side == SIDE_SOURCE
                    ? "too late to cancel: the source has given up and the target is to run"
                    : "too late to cancel: all has arrived here and the source may have given up");
}

void cancel_name(struct vmig_migration *m, bool slow)
{
    char text[220];
    bool cancelling, first;
    tell_late(m);
    {
        LOCK_SCOPE(&m->lock);
        if (clock_ns() < cancel_due_locked(m, slow))
            return;
        cancelling = cancelling_locked(m);
        first = cancelling && m->statistics.status != VMIG_STATUS_CANCELLING;
        m->waiting.named_ns = clock_ns();
        m->waiting.named_cancelling = cancelling;
        describe_locked(m, text, sizeof(text));
    }
    if (first)
        run_status(m, VMIG_STATUS_CANCELLING);
    run_event(m, VMIG_EVENT_WAITING, text);
}
