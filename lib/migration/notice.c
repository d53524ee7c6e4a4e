/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lead time: host and outsiders are told some time before the workload stops, so that peers whose
 * patience is shorter than the pause (RDMA's is tens of ms) can be asked for more. Rounds go on
 * meanwhile, so that what is written does not pile up, and the decision is looked at again after
 * them. Every notice ends in the stop or is called off.
 */
#include <stdio.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/migration/migration.h"
#include "lib/trace/trace.h"

/* Rounds in a lead. More would only use up max-rounds where they are short. */
#define LEAD_ROUNDS 4

static void tell(struct vmig_migration *m, unsigned lead_ms, const char *text)
{
    m->notice.lead_ms = lead_ms;
    TRACE(migration_quiesce_notice, lead_ms);
    if (m->host.quiesce_notice)
        m->host.quiesce_notice(m->host.opaque, lead_ms);
    run_event(m, VMIG_EVENT_QUIESCE_NOTICE, text);
}

bool notice_give(struct vmig_migration *m)
{
    unsigned lead_ms = (unsigned)m->parameters[PARAMETER_QUIESCE_NOTICE];
    if (!lead_ms)
        return false;
    m->notice.stands = true;
    m->notice.given_ns = clock_ns();
    char text[64];
    snprintf(text, sizeof(text), "the workload stops in about %u ms", lead_ms);
    tell(m, lead_ms, text);
    return true;
}

void notice_call_off(struct vmig_migration *m)
{
    if (!m->notice.stands)
        return;
    m->notice.stands = false;
    tell(m, 0, "the stop that was announced is called off");
}

static uint64_t end_ns(const struct vmig_migration *m)
{
    return m->notice.given_ns + m->parameters[PARAMETER_QUIESCE_NOTICE] * NS_PER_MS;
}

bool notice_is_over(const struct vmig_migration *m)
{
    return clock_ns() >= end_ns(m);
}

int notice_wait(struct vmig_migration *m, struct vmig_error *err)
{
    uint64_t slice = m->parameters[PARAMETER_QUIESCE_NOTICE] * NS_PER_MS / LEAD_ROUNDS;
    uint64_t until = clock_ns() + slice;
    if (until > end_ns(m))
        until = end_ns(m);
    for (;;) {
        int rc = run_check(m, err);
        if (rc < 0 || clock_ns() >= until || run_state_interrupts(m))
            return rc;
        LOCK_SCOPE(&m->lock);
        run_wait_locked(m, until);
    }
}
