/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The status: names and order are QEMU's, with `device` at every source, as since 10.0, and with
 * `unresolved`, which is ours. run_status() alone changes it. A change that the table does not have is
 * a mistake of the library: the migration fails like any other, and says so.
 */
#include <errno.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/migration.h"
#include "lib/migration/status.h"
#include "lib/trace/trace.h"

static const char *const names[] = {
    [VMIG_STATUS_NONE] = "none",
    [VMIG_STATUS_SETUP] = "setup",
    [VMIG_STATUS_ACTIVE] = "active",
    [VMIG_STATUS_PRE_SWITCHOVER] = "pre-switchover",
    [VMIG_STATUS_DEVICE] = "device",
    [VMIG_STATUS_COMPLETED] = "completed",
    [VMIG_STATUS_CANCELLING] = "cancelling",
    [VMIG_STATUS_CANCELLED] = "cancelled",
    [VMIG_STATUS_FAILED] = "failed",
    [VMIG_STATUS_UNRESOLVED] = "unresolved",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == VMIG_STATUS_COUNT, "a name for every status");

VMIG_EXPORT const char *vmig_status_name(enum vmig_status status)
{
    return (unsigned)status < VMIG_STATUS_COUNT ? names[status] : "?";
}

#define ROW(from, to, source, target, when)                                                        \
    {                                                                                              \
        VMIG_STATUS_##from, VMIG_STATUS_##to, source, target, when                                 \
    }

/* clang-format off */
static const struct status_row rows[] = {
    ROW(NONE,           SETUP,          true,  true,  "a migration begins"),
    ROW(COMPLETED,      SETUP,          true,  true,  "the next one begins"),
    ROW(CANCELLED,      SETUP,          true,  true,  "the next one begins"),
    ROW(FAILED,         SETUP,          true,  true,  "the next one begins"),
    ROW(SETUP,          ACTIVE,         true,  true,  "both sides are set up"),
    ROW(ACTIVE,         PRE_SWITCHOVER, true,  false, "everything stands still, with pause-before-switchover"),
    ROW(PRE_SWITCHOVER, DEVICE,         true,  false, "somebody continued it"),
    ROW(ACTIVE,         DEVICE,         true,  false, "everything stands still"),
    ROW(DEVICE,         COMPLETED,      true,  false, "the target runs, or the file is complete"),
    ROW(ACTIVE,         COMPLETED,      false, true,  "it runs here"),
    ROW(SETUP,          CANCELLING,     true,  true,  "somebody cancelled it"),
    ROW(ACTIVE,         CANCELLING,     true,  true,  "somebody cancelled it"),
    ROW(PRE_SWITCHOVER, CANCELLING,     true,  false, "somebody cancelled it"),
    ROW(DEVICE,         CANCELLING,     true,  false, "somebody cancelled it"),
    ROW(CANCELLING,     CANCELLED,      true,  true,  "devices run, and so does the workload where it did"),
    ROW(CANCELLING,     FAILED,         true,  true,  "there was no way back, or it had failed before"),
    ROW(SETUP,          FAILED,         true,  true,  "as for cancelled, after an error"),
    ROW(ACTIVE,         FAILED,         true,  true,  "as for cancelled, after an error"),
    ROW(PRE_SWITCHOVER, FAILED,         true,  false, "as for cancelled, after an error"),
    ROW(DEVICE,         FAILED,         true,  false, "as for cancelled, after an error"),
    ROW(DEVICE,         UNRESOLVED,     true,  false, "the hand-over hangs"),
    ROW(ACTIVE,         UNRESOLVED,     false, true,  "the hand-over hangs"),
    ROW(UNRESOLVED,     COMPLETED,      true,  true,  "resolved: the target runs"),
    ROW(UNRESOLVED,     FAILED,         true,  true,  "resolved: it does not"),
};
/* clang-format on */

const struct status_row *status_row_at(unsigned n)
{
    return n < sizeof(rows) / sizeof(rows[0]) ? &rows[n] : NULL;
}

bool status_may_follow(bool source, enum vmig_status from, enum vmig_status to)
{
    for (unsigned n = 0; status_row_at(n); n++)
        if (rows[n].from == from && rows[n].to == to && (source ? rows[n].source : rows[n].target))
            return true;
    return false;
}

/* Participants first, so that the host hears of what they have seen. */
static void tell_participants(struct vmig_migration *m, enum vmig_status status)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (p->ops->notify && !p->lost)
            p->ops->notify(p->opaque, status);
    }
}

enum change { CHANGE_NONE, CHANGE_DONE, CHANGE_WRONG };

static enum change change(struct vmig_migration *m, enum vmig_status to, struct vmig_error *ret_bug)
{
    LOCK_SCOPE(&m->lock);
    enum vmig_status *status = &m->statistics.status;
    bool source = m->side == SIDE_SOURCE;
    if (*status == to)
        return CHANGE_NONE;
    if (status_may_follow(source, *status, to)) {
        *status = to;
        pthread_cond_broadcast(&m->changed); /* for who wants to begin the next one */
        return CHANGE_DONE;
    }
    error_set(
        ret_bug, ENOTRECOVERABLE, m->stage, NULL, "internal-error",
        "the %s's status went from \"%s\" to \"%s\", which must not be; this is a mistake in the "
        "library, please report it",
        source ? "source" : "target", names[*status], vmig_status_name(to));
    bool too_late = run_too_late_locked(m);
    if (too_late) /* to fail: whoever waits for the end must see it */
        *status = to;
    return too_late ? CHANGE_WRONG : CHANGE_NONE;
}

void run_status(struct vmig_migration *m, enum vmig_status status)
{
    struct vmig_error bug = { 0 };
    enum change changed = change(m, status, &bug);
    if (bug.code && changed == CHANGE_NONE)
        run_abort(m, &bug);
    if (changed == CHANGE_WRONG)
        run_event(m, VMIG_EVENT_WARNING, bug.text);
    if (changed == CHANGE_NONE)
        return;
    TRACE(migrate_set_state, run_side_name(m), names[status]);
    tell_participants(m, status);
    run_event(m, VMIG_EVENT_STATUS, NULL);
}
