/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Initial bytes: what a device wants to have loaded before the switch.
 *
 *   due            they have not all been sent yet
 *   announced      INIT_DATA_SENT went out behind them
 *   acknowledged   the target has loaded all before that
 *
 * A device can begin again: then they are due once more, and an acknowledgement that is still on
 * its way is of the old ones. So each announcement of a device has a number, counted from 1 at both
 * ends, and is acknowledged by that number; the next one follows the acknowledgement of the one
 * before. A peer that does not know the numbers acknowledges once, for all devices, and no device is
 * asked to begin again.
 */
#include <errno.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/migration/migration.h"
#include "lib/participant/device.h"
#include "lib/trace/trace.h"

/* ---- source ---- */

void announce_begin(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        p->precopy = p->device && participant_device_will_precopy(p->opaque);
        p->begins_again = p->precopy && participant_device_begins_again(p->opaque);
        p->initial_due = p->precopy;
    }
}

void announce_again(struct participant *p)
{
    p->initial_due = p->begins_again;
}

/* Later when the one before is on its way still: a round ends with all acknowledgements of it. */
static bool may_announce(struct participant *p)
{
    LOCK_SCOPE(&p->migration->lock);
    if (p->initial_acked != p->initial_sent)
        return false;
    p->initial_sent++;
    return true;
}

int announce_sent(struct participant *p, struct vmig_error *err)
{
    if (p->migration->switchover_ack && !may_announce(p))
        return 0;
    p->initial_due = false;
    TRACE(migration_initial_sent, p->id, p->initial_sent);
    if (!p->migration->switchover_ack)
        return 0;
    int rc = crew_enter_channel(p, err);
    return rc < 0 ? rc : crew_leave_channel(p, p->migration->carrier->initial_sent(p, err));
}

const struct participant *announce_due(const struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->initial_due)
            return m->participants[i];
    return NULL;
}

bool announce_acknowledged_locked(const struct vmig_migration *m)
{
    for (unsigned i = 0; i < m->num_participants; i++) {
        const struct participant *p = m->participants[i];
        if (p->precopy && (p->initial_sent == 0 || p->initial_acked != p->initial_sent))
            return false;
    }
    return true;
}

static int out_of_turn(const struct vmig_migration *m, const char *id, struct vmig_error *err)
{
    return error_set(
        err, EPROTO, m->stage, id, "bad-stream",
        "the target acknowledged initial bytes that were not sent, or did so twice; is "
        "it a vfio-migrate of another version?");
}

int announce_on_number(struct vmig_migration *m, uint32_t index, uint32_t number,
                       struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    struct participant *p = index < m->num_participants ? m->participants[index] : NULL;
    if (!p || !m->numbered_acks || number != p->initial_acked + 1 || number > p->initial_sent)
        return out_of_turn(m, p ? p->id : NULL, err);
    p->initial_acked = number;
    return 0;
}

int announce_on_ack(struct vmig_migration *m, struct vmig_error *err)
{
    bool any = false;
    LOCK_SCOPE(&m->lock);
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        if (!p->precopy)
            continue;
        if (m->numbered_acks || p->initial_sent == 0 || p->initial_acked)
            return out_of_turn(m, p->id, err);
        p->initial_acked = p->initial_sent;
        any = true;
    }
    return any ? 0 : out_of_turn(m, NULL, err);
}

/* ---- target ---- */

/* Received, not loaded yet. Only what the source may send is queued. */
int announce_arrived(struct participant *p, struct vmig_error *err)
{
    struct vmig_migration *m = p->migration;
    LOCK_SCOPE(&m->lock);
    if (!m->switchover_ack)
        return error_set(
            err, EPROTO, VMIG_STAGE_SWITCHOVER, p->id, "bad-stream",
            "INIT_DATA_SENT came although switchover-ack is off; set it on both sides");
    if (!p->precopy)
        return error_set(err, EPROTO, VMIG_STAGE_SWITCHOVER, p->id, "bad-stream",
                         "INIT_DATA_SENT came for a device without PRE_COPY");
    if (p->initial_sent != p->initial_acked || (p->initial_sent && !m->numbered_acks))
        return error_set(err, EPROTO, VMIG_STAGE_SWITCHOVER, p->id, "bad-stream",
                         "INIT_DATA_SENT came twice for one device%s",
                         m->numbered_acks ? ", before the first was acknowledged" : "");
    p->initial_sent++;
    return 0;
}

static int acknowledge_number(struct participant *p, uint32_t number, struct vmig_error *err)
{
    struct writer w;
    writer_init(&w);
    writer_u32(&w, p->index);
    writer_u32(&w, number);
    int rc =
        w.error ? w.error : main_return(p->migration, WIRE_RP_INITIAL_LOADED, w.buf, w.length, err);
    writer_done(&w);
    return rc;
}

/* A device may take its time before all that it was given has arrived. */
static int flush(struct participant *p, struct vmig_error *err)
{
    if (!p->device)
        return 0;
    crew_asks(p, p->id, "taking its initial data");
    int rc = vmig_device_data_flush(p->device, err);
    crew_answered(p);
    return rc;
}

int announce_loaded(struct participant *p, struct vmig_error *err)
{
    struct vmig_migration *m = p->migration;
    uint32_t number;
    bool all;
    int rc = flush(p, err);
    if (rc == 0)
        rc = crew_enter_channel(p, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&m->lock);
        number = p->initial_acked = p->initial_sent;
        all = announce_acknowledged_locked(m);
    }
    TRACE(loadvm_approve_switchover, p->id, number);
    if (m->numbered_acks)
        rc = acknowledge_number(p, number, err);
    else if (all)
        rc = main_return(m, QEMU_RP_SWITCHOVER_ACK, NULL, 0, err);
    return crew_leave_channel(p, rc);
}
