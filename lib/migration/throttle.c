/* SPDX-License-Identifier: BSD-3-Clause */
/* max-bandwidth: each piece of data books its time on the wire and waits for it to begin. Off in
 * the pause, where nobody wants to wait. */

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/migration/migration.h"

/* When @bytes may start, booking them. */
static uint64_t book(struct vmig_migration *m, uint64_t bytes)
{
    LOCK_SCOPE(&m->throttle.lock);
    uint64_t now = clock_ns();
    if (m->throttle.next_ns < now)
        m->throttle.next_ns = now;
    uint64_t start = m->throttle.next_ns;
    double seconds = (double)bytes / (double)m->parameters[PARAMETER_MAX_BANDWIDTH];
    m->throttle.next_ns += (uint64_t)(seconds * 1e9);
    return start;
}

void throttle_book(struct vmig_migration *m, uint64_t bytes)
{
    if (m->parameters[PARAMETER_MAX_BANDWIDTH])
        book(m, bytes);
}

int throttle_wait(struct vmig_migration *m, uint64_t bytes, struct vmig_error *err)
{
    if (!m->parameters[PARAMETER_MAX_BANDWIDTH] || m->completing)
        return 0;
    uint64_t start = book(m, bytes);
    while (clock_ns() < start) {
        int rc = run_check(m, err);
        if (rc < 0)
            return rc;
        LOCK_SCOPE(&m->lock);
        run_wait_locked(m, start);
    }
    return 0;
}
