/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing a device's state, and what is done when it refuses.
 *
 *   ask      where the device is. Somebody else may have moved it: a guest can reset its function
 * in the middle of PRE_COPY, and then our data stream is gone. refuse   what is no way from there,
 * without touching the device. change   one request; then ask again, since success is what the
 * device is in, not what it said. recover  when it refused: to the recover state, if there is a
 * way. reset    when that is refused too or no recover state was given: RUNNING, with its state
 * gone. lost     when even the reset fails or the device is not RUNNING after it.
 *
 * Each step reports into the same error: the first refusal is the result, the rest is told in its
 * text. What to do with a device that was reset is decided above.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/device/device.h"
#include "lib/device/fsm.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/trace/trace.h"

struct transition {
    struct vmig_device *device;
    enum vmig_state expected; /* where our own last request left the device */
    enum vmig_state from;     /* where it was when asked */
    enum vmig_state target, recover;
    enum vmig_state at; /* where it is now; ERROR when it does not even tell */
    struct vmig_error cause;
    char outcome[200]; /* what the recovery came to, for the message */
};

static const char *cause_text(const struct vmig_error *cause, int rc)
{
    return cause->text[0] ? cause->text : device_errno_text(rc);
}

static bool has_stream(enum vmig_state state)
{
    return fsm_arc_ends_data(state, VMIG_STATE_STOP);
}

static void set_health(struct vmig_device *device, enum vmig_health health)
{
    /* LOST is final: whoever abandoned the device meanwhile must not see it come back. */
    int old = atomic_load(&device->health);
    while (old != VMIG_HEALTH_LOST &&
           !atomic_compare_exchange_weak(&device->health, &old, (int)health))
        ;
}

static void set_state_known(struct vmig_device *device, enum vmig_state state)
{
    atomic_store(&device->state, (int)state);
}

static void note_state(struct vmig_device *device, enum vmig_state state)
{
    bool had_stream = has_stream((enum vmig_state)atomic_load(&device->state));
    set_state_known(device, state);
    TRACE(vfio_migration_set_state, device->id, vmig_state_name(state));
    if (has_stream(state) && !had_stream)
        TRACE(vfio_data_start, device->id, vmig_state_name(state));
}

/* One request and a look whether it was true. */
static int request_state(struct vmig_device *device, enum vmig_state target,
                         struct vmig_error *cause)
{
    enum vmig_state at = VMIG_STATE_ERROR;
    int rc = device->ops->set_state(device->backend, target, cause);
    if (!rc)
        rc = device->ops->get_state(device->backend, &at, cause);
    if (!rc && at != target)
        rc = error_set(cause, EPROTO, VMIG_STAGE_NONE, NULL, NULL,
                       "it reported success but is in %s", vmig_state_name(at));
    if (!rc)
        note_state(device, target);
    return rc;
}

/* ---- after a refusal ---- */

static int reset_to_running(struct vmig_device *device, struct vmig_error *cause)
{
    enum vmig_state at = VMIG_STATE_RUNNING;
    int rc = device->ops->reset ? device->ops->reset(device->backend, cause) : -ENOTTY;
    if (!rc && device->migration.flags)
        rc = device->ops->get_state(device->backend, &at, cause);
    if (!rc && at != VMIG_STATE_RUNNING)
        rc = error_set(cause, EPROTO, VMIG_STAGE_NONE, NULL, NULL, "it is in %s after the reset",
                       vmig_state_name(at));
    if (!rc) {
        atomic_store(&device->broken, false);
        set_state_known(device, VMIG_STATE_RUNNING);
        dirty_log_end_with_reset(device);
    }
    TRACE(vfio_device_reset, device->id, rc);
    return rc;
}

static void try_reset(struct transition *t)
{
    struct vmig_error cause = { 0 };
    size_t used = strlen(t->outcome);
    int rc = reset_to_running(t->device, &cause);
    set_health(t->device, rc ? VMIG_HEALTH_LOST : VMIG_HEALTH_RESET);
    if (rc)
        snprintf(t->outcome + used, sizeof(t->outcome) - used,
                 "the reset failed (%.100s): the device is lost", cause_text(&cause, rc));
    else
        snprintf(t->outcome + used, sizeof(t->outcome) - used,
                 "it was reset: RUNNING, its state is lost");
}

/* May the device stay in, or be asked for, the recover state? Not with half of a state loaded:
 * drivers install it on the way out of RESUMING without looking. */
static bool may_recover(const struct transition *t)
{
    if (t->recover == VMIG_STATE_ERROR || atomic_load(&t->device->broken))
        return false;
    if (fsm_next(t->device->migration.flags, t->at, t->recover) < 0)
        return false;
    /* There already, but through a request that failed: its stream was never ours. */
    return !(t->at == t->recover && t->at != t->expected && has_stream(t->recover));
}

static bool recovered(struct transition *t)
{
    if (!may_recover(t))
        return false;
    if (t->at == t->recover && t->at == t->expected) {
        snprintf(t->outcome, sizeof(t->outcome), "it is in %s still", vmig_state_name(t->recover));
        return true;
    }
    struct vmig_error cause = { 0 };
    int rc = request_state(t->device, t->recover, &cause);
    if (rc)
        snprintf(t->outcome, sizeof(t->outcome), "going back to %s failed too (%.80s); ",
                 vmig_state_name(t->recover), cause_text(&cause, rc));
    else
        snprintf(t->outcome, sizeof(t->outcome), "it is back in %s", vmig_state_name(t->recover));
    return !rc;
}

/* The device refused with @rc and t->cause: bring it into the recover state or reset it. */
static int handle_refusal(struct transition *t, int rc, struct vmig_error *err)
{
    if (t->device->ops->get_state(t->device->backend, &t->at, NULL))
        t->at = VMIG_STATE_ERROR;
    TRACE(vfio_migration_set_state_refused, t->device->id, vmig_state_name(t->from),
          vmig_state_name(t->target), rc);
    if (recovered(t))
        set_health(t->device, VMIG_HEALTH_OK);
    else
        try_reset(t);
    return error_set(err, rc, VMIG_STAGE_NONE, t->device->id, t->cause.reason,
                     "going from %s to %s: %.220s; %s", vmig_state_name(t->from),
                     vmig_state_name(t->target), cause_text(&t->cause, rc), t->outcome);
}

/* ---- the change ---- */

/* Reasons not to ask the device although the way exists. */
static int check_stream(struct transition *t)
{
    if (has_stream(t->expected) && t->from != t->expected)
        return error_set(&t->cause, EBADF, VMIG_STAGE_NONE, NULL, "device-out-of-sync",
                         "the data stream is out of sync: the device was left in %s and is in %s "
                         "(a guest's reset does that), start its stream again",
                         vmig_state_name(t->expected), vmig_state_name(t->from));
    if (atomic_load(&t->device->broken))
        return error_set(&t->cause, EIO, VMIG_STAGE_NONE, NULL, NULL,
                         "it refused data while loading; only a reset leads out");
    return 0;
}

static int change_state(struct transition *t, struct vmig_error *err)
{
    struct vmig_device *device = t->device;
    int rc = device->ops->get_state(device->backend, &t->from, &t->cause);
    if (rc) {
        t->from = t->expected;
        return handle_refusal(t, rc, err);
    }
    rc = check_stream(t);
    if (rc)
        return handle_refusal(t, rc, err);
    if (fsm_next(device->migration.flags, t->from, t->target) < 0)
        return device_refuse(device, err, EINVAL, "there is no way from %s to %s%s",
                             vmig_state_name(t->from), vmig_state_name(t->target),
                             t->from == VMIG_STATE_ERROR ? ", only a reset helps" : "");
    rc = request_state(device, t->target, &t->cause);
    if (rc)
        return handle_refusal(t, rc, err);
    set_health(device, VMIG_HEALTH_OK);
    return 0;
}

static int check_states(const struct vmig_device *device, enum vmig_state target,
                        enum vmig_state recover, struct vmig_error *err)
{
    uint64_t flags = device->migration.flags;
    if (!flags)
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_NONE, device->id, device->migration.reason,
                         "it cannot migrate: %s",
                         device->migration.remedy[0] ? device->migration.remedy
                                                     : device->migration.reason);
    if (target == VMIG_STATE_ERROR || !fsm_has_state(flags, target))
        return device_refuse(device, err, EINVAL, "it has no state %s (%u) to go to",
                             vmig_state_name(target), (unsigned)target);
    if (!fsm_has_state(flags, recover))
        return device_refuse(device, err, EINVAL, "it has no state %s (%u) to recover to",
                             vmig_state_name(recover), (unsigned)recover);
    return 0;
}

VMIG_EXPORT int vmig_device_set_state(struct vmig_device *device, enum vmig_state target,
                                      enum vmig_state recover, struct vmig_error *err)
{
    int rc = check_states(device, target, recover, err);
    if (!rc)
        rc = device_enter(device, err);
    if (rc)
        return rc;
    struct transition t = {
        .device = device,
        .expected = (enum vmig_state)atomic_load(&device->state),
        .target = target,
        .recover = recover,
    };
    rc = change_state(&t, err);
    return device_leave(device, rc, err, "going to %s", vmig_state_name(target));
}

VMIG_EXPORT int vmig_device_get_state(struct vmig_device *device, enum vmig_state *ret,
                                      struct vmig_error *err)
{
    enum vmig_state state = VMIG_STATE_ERROR;
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = device->migration.flags ? device->ops->get_state(device->backend, &state, err)
                                 : -EOPNOTSUPP;
    if (!rc)
        *ret = state;
    return device_leave(device, rc, err, "asking for its migration state");
}

static int reset(struct vmig_device *device, enum vmig_health health, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = reset_to_running(device, err);
    set_health(device, rc ? VMIG_HEALTH_LOST : health);
    return device_leave(device, rc, err, "resetting");
}

/* A reset that was asked for takes nothing from anybody: health stays OK. */
VMIG_EXPORT int vmig_device_reset(struct vmig_device *device, struct vmig_error *err)
{
    return reset(device, VMIG_HEALTH_OK, err);
}

void device_accept_reset(struct vmig_device *device)
{
    int reset = VMIG_HEALTH_RESET;
    atomic_compare_exchange_strong(&device->health, &reset, VMIG_HEALTH_OK);
}

int device_reset_from_error(struct vmig_device *device, struct vmig_error *err)
{
    return reset(device, VMIG_HEALTH_RESET, err);
}
