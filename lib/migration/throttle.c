/* SPDX-License-Identifier: BSD-3-Clause */
/* max-bandwidth: each piece of data books its time on the wire and waits for it to begin. Off in
 * the pause, where nobody wants to wait; but a VM that was paused before can. */

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/migration/migration.h"

/* When @bytes may start, booking them. */
static uint64_t book(struct vmig_migration *m, uint64_t bytes, uint64_t rate)
{
    LOCK_SCOPE(&m->throttle.lock);
    uint64_t now = clock_ns();
    if (m->throttle.next_ns < now)
        m->throttle.next_ns = now;
    uint64_t start = m->throttle.next_ns;
    m->throttle.next_ns += (uint64_t)((double)bytes / (double)rate * 1e9);
    return start;
}

void throttle_book(struct vmig_migration *m, uint64_t bytes)
{
    uint64_t rate = m->parameters[PARAMETER_MAX_BANDWIDTH];
    if (rate)
        book(m, bytes, rate);
}

static unsigned num_changes(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    return m->throttle.changes;
}

int throttle_wait(struct vmig_migration *m, uint64_t bytes, struct vmig_error *err)
{
    unsigned changes = num_changes(m); /* before the rate that they are about */
    uint64_t rate = m->parameters[PARAMETER_MAX_BANDWIDTH];
    if (!rate || m->pause_start_ns)
        return 0;
    uint64_t start = book(m, bytes, rate);
    while (clock_ns() < start && !run_state_interrupts(m)) {
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&m->lock);
        if (m->throttle.changes != changes)
            return 0;
        run_wait_locked(m, start);
    }
    return 0;
}

/* What was booked was booked at another rate: whoever waits goes at once, and counting begins anew. */
void throttle_changed_locked(struct vmig_migration *m)
{
    {
        LOCK_SCOPE(&m->throttle.lock);
        m->throttle.next_ns = 0;
    }
    m->throttle.changes++;
    pthread_cond_broadcast(&m->changed);
}
