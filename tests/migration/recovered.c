/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lib/cleanup.h"
#include "tests/migration/recovered.h"

static bool met[64];

static const struct recovery_row *row_of(const struct outcome *o)
{
    const struct recovery_row *row = recovery_find(o->point, o->at, o->left);
    assert_non_null(row);
    for (unsigned n = 0; recovery_row_at(n); n++)
        if (recovery_row_at(n) == row)
            met[n] = true;
    return row;
}

void expect_every_row_met(void)
{
    for (unsigned n = 0; recovery_row_at(n); n++)
        if (!met[n])
            fail_msg("no test came to row %u of the table (%s)", n,
                     recovery_point_name(recovery_row_at(n)->first));
}

/* ---- devices ---- */

static bool is_faulty(const struct party *side, unsigned device, const struct outcome *o)
{
    bool at_source = side == side->world->source;
    return !o->no_device && device == o->device && at_source == (o->at == SIDE_SOURCE);
}

static bool has_ended(enum recovery_end end, enum vmig_state state)
{
    switch (end) {
    case END_UNTOUCHED:
    case END_RUNNING:
    case END_RESET:
        return state == VMIG_STATE_RUNNING;
    case END_HELD:
        return state == VMIG_STATE_STOP_COPY || state == VMIG_STATE_STOP;
    case END_KEPT:
        return state == VMIG_STATE_RUNNING_P2P || state == VMIG_STATE_STOP ||
               state == VMIG_STATE_RUNNING;
    default:
        return state == VMIG_STATE_STOP;
    }
}

static void expect_device(struct party *side, unsigned i, enum recovery_end end,
                          const struct outcome *o)
{
    enum vmig_health health = vmig_device_health(side->devices[i].device);
    bool faulty = is_faulty(side, i, o);
    bool gone = faulty && o->left == VMIG_HEALTH_LOST;
    /* the target resets what it lets go of, so that a reset there is nothing special */
    if (gone != (health == VMIG_HEALTH_LOST) ||
        (side == side->world->source && health != (faulty ? o->left : VMIG_HEALTH_OK)))
        fail_msg("%s's device %u: health %d, wanted %d (%s)", side->name, i, health,
                 faulty ? o->left : VMIG_HEALTH_OK, side->err.text);
    if (gone)
        return;
    enum vmig_state state = party_state(side, i);
    bool reset = faulty && o->left == VMIG_HEALTH_RESET;
    if (reset ? state != VMIG_STATE_RUNNING : !has_ended(end, state))
        fail_msg("%s's device %u is in %s, which is not \"%s\" (%s)", side->name, i,
                 vmig_state_name(state), recovery_end_name(end), side->err.text);
}

static void expect_devices(struct party *side, enum recovery_end end, const struct outcome *o)
{
    for (unsigned i = 0; i < side->world->plan.devices; i++)
        expect_device(side, i, end, o);
}

/* ---- the workload ---- */

static bool runs(struct party *side)
{
    LOCK_SCOPE(&side->world->lock);
    return side->runs;
}

static void expect_workload(struct world *w, const struct recovery_row *row,
                            const struct outcome *o)
{
    bool source = row->workload == WORKLOAD_AT_SOURCE;
    bool target = row->workload == WORKLOAD_AT_TARGET;
    assert_false(w->both_ran);
    if (runs(w->source) != source || runs(w->target) != target)
        fail_msg("the workload runs at the source: %d, at the target: %d; wanted \"%s\" (%s; %s)",
                 runs(w->source), runs(w->target), recovery_workload_name(row->workload),
                 w->source->err.text, w->target->err.text);
    /* intact, with all memory and device patterns, wherever all devices are there to be asked */
    if (source && o->left != VMIG_HEALTH_LOST)
        world_runs_at(w, w->source);
    else if (source && o->at == SIDE_TARGET)
        party_runs(w->source);
    if (target)
        party_runs(w->target);
}

/* ---- what is said ---- */

static void expect_end(struct party *side, int code, bool here, const struct outcome *o)
{
    enum vmig_status status = side->status;
    int exit_code = side->rc < 0 ? (int)cmd_exit_of(&side->err) : CMD_DONE;
    if (code == CMD_FAILED && here && o->cancelled)
        code = CMD_CANCELLED;
    if (code == CMD_FAILED && here && o->refused)
        code = CMD_REFUSED;
    if (exit_code != code)
        fail_msg("the %s would exit with %d, wanted %d: %d \"%s\" %s", side->name, exit_code, code,
                 side->rc, side->err.reason, side->err.text);
    enum vmig_status wanted = code == CMD_DONE         ? VMIG_STATUS_COMPLETED
                              : code == CMD_UNRESOLVED ? VMIG_STATUS_UNRESOLVED
                              : code == CMD_CANCELLED  ? VMIG_STATUS_CANCELLED
                                                       : VMIG_STATUS_FAILED;
    /* a target whose source was cancelled, or gave up, was given up itself */
    bool given_up = !here && status == VMIG_STATUS_CANCELLED && wanted == VMIG_STATUS_FAILED;
    if (status != wanted && !given_up)
        fail_msg("the %s ended as %s, wanted %s: %s", side->name, vmig_status_name(status),
                 vmig_status_name(wanted), side->err.text);
}

static void expect_error(struct world *w, const struct outcome *o)
{
    struct party *side = o->at == SIDE_SOURCE ? w->source : w->target;
    struct vmig_error *err = &side->err;
    char id[32] = "";
    if (!o->no_device)
        snprintf(id, sizeof(id), "device%u", o->device);
    if (side->rc == 0)
        return;
    if (!err->text[0] || (o->reason && strcmp(err->reason, o->reason) != 0) ||
        (o->text && !strstr(err->text, o->text)) || (o->stage && err->stage != o->stage) ||
        (id[0] && strcmp(err->device, id) != 0))
        fail_msg("the %s says: device \"%s\", stage %s, reason \"%s\": %s\nwanted device \"%s\", "
                 "stage %s, reason \"%s\": ...%s...",
                 side->name, err->device, vmig_stage_name(err->stage), err->reason, err->text, id,
                 o->stage ? vmig_stage_name(o->stage) : "any", o->reason ? o->reason : "any",
                 o->text ? o->text : "");
}

/* Whoever has lost a state, and where, is told to the host. */
static void expect_told(struct world *w, const struct recovery_row *row, const struct outcome *o)
{
    struct party *side = o->at == SIDE_SOURCE ? w->source : w->target;
    bool source_lost = o->at == SIDE_SOURCE && row->workload == WORKLOAD_STOPPED;
    bool target_lost =
        o->at == SIDE_TARGET && row->target_exit == CMD_DEVICE_LOST && row->target == END_RESET;
    bool told = side->state_lost[0] != '\0';
    if (o->point == POINT_GAVE_UP || o->point == POINT_STARTED || o->point == POINT_CLEANUP)
        return;
    if (told != (source_lost || target_lost))
        fail_msg("the %s's host was told \"%s\"", side->name, side->state_lost);
    if (!told || o->no_device)
        return;
    char id[32];
    snprintf(id, sizeof(id), "device%u: ", o->device);
    assert_true(strncmp(side->state_lost, id, strlen(id)) == 0);
}

void expect_recovered(struct world *w, const struct outcome *o)
{
    const struct recovery_row *row = row_of(o);
    expect_end(w->source, row->source_exit, o->at == SIDE_SOURCE, o);
    expect_end(w->target, row->target_exit, o->at == SIDE_TARGET, o);
    expect_error(w, o);
    expect_told(w, row, o);
    expect_devices(w->source, row->source, o);
    expect_devices(w->target, row->target, o);
    expect_workload(w, row, o);
}
