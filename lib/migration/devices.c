/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices come and go, each with its settings. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/export.h"
#include "lib/migration/blockers.h"
#include "lib/migration/participants.h"
#include "lib/participant/device.h"

/* ---- adding ---- */

/* Members that the caller does not know have their defaults, which are 0. */
static int copy_settings(const struct vmig_device_settings *settings, const char *id,
                         struct vmig_device_settings *ret, struct vmig_error *err)
{
    *ret = (struct vmig_device_settings) { 0 };
    if (settings)
        memcpy(ret, settings, settings->size < sizeof(*ret) ? settings->size : sizeof(*ret));
    ret->size = sizeof(*ret);
    if (settings && settings->size < sizeof(settings->size))
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, id, "bad-settings",
                         "settings of %zu bytes do not even have a size; set that to "
                         "sizeof(struct vmig_device_settings)",
                         settings->size);
    if ((unsigned)ret->enable_migration > VMIG_OFF)
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, id, "bad-settings",
                         "enable_migration is %d, and neither auto, on nor off",
                         (int)ret->enable_migration);
    if ((unsigned)ret->dirty_tracking >= VMIG_DIRTY_COUNT)
        return error_set(err, EINVAL, VMIG_STAGE_PREPARE, id, "bad-settings",
                         "no dirty tracking has the number %d", (int)ret->dirty_tracking);
    return 0;
}

static int check_display(struct vmig_migration *m, const struct participant *p,
                         struct vmig_error *err)
{
    struct display display;
    LOCK_SCOPE(&m->lock);
    return display_of(m, p, &display, err);
}

VMIG_EXPORT int vmig_migration_add_device_with(struct vmig_migration *m, struct vmig_device *device,
                                               const struct vmig_device_settings *settings,
                                               struct vmig_error *err)
{
    struct participant p = {
        .kind = PARTICIPANT_DEVICE,
        .ops = &participant_device_ops,
        .device = device,
        .free_opaque = participant_device_free,
    };
    snprintf(p.id, sizeof(p.id), "%s", vmig_device_id(device));
    snprintf(p.idstr, sizeof(p.idstr), "%s/vfio", p.id);
    int rc = copy_settings(settings, p.id, &p.settings, err);
    if (rc == 0)
        rc = check_display(m, &p, err);
    if (rc == 0)
        rc = participant_device_identity(device, p.identity, sizeof(p.identity), err);
    if (rc < 0)
        return rc;
    p.tracking.viommu = p.settings.viommu;
    p.tracking.wanted = p.settings.dirty_tracking;
    p.opaque = participant_device_new(m, device);
    if (!p.opaque)
        return error_set(err, ENOMEM, VMIG_STAGE_PREPARE, p.id, NULL, "out of memory");
    rc = participant_add(m, &p, err);
    if (rc < 0)
        participant_device_free(p.opaque);
    return rc;
}

VMIG_EXPORT int vmig_migration_add_device(struct vmig_migration *m, struct vmig_device *device,
                                          struct vmig_error *err)
{
    return vmig_migration_add_device_with(m, device, NULL, err);
}

/* ---- removing ---- */

static struct participant *take_out(struct vmig_migration *m, const struct vmig_device *device,
                                    struct vmig_error *err)
{
    LOCK_SCOPE(&m->lock);
    struct participant *p = NULL;
    for (unsigned i = 0; i < m->num_participants; i++)
        if (m->participants[i]->device == device)
            p = m->participants[i];
    if (!p) {
        error_set(err, ENOENT, VMIG_STAGE_NONE, NULL, NULL,
                  "the device was not added to this migration");
        return NULL;
    }
    if (m->side != SIDE_NONE || m->run.taken) {
        error_set(err, EBUSY, VMIG_STAGE_NONE, p->id, "migration-running",
                  "cannot be removed while a migration, a stop or a cont runs; cancel that first");
        return NULL;
    }
    participant_take_out_locked(m, p);
    return p;
}

VMIG_EXPORT int vmig_migration_remove_device(struct vmig_migration *m, struct vmig_device *device,
                                             struct vmig_error *err)
{
    struct vmig_error why = { 0 };
    struct participant *p = take_out(m, device, &why);
    if (!p)
        return error_copy(err, &why);
    participant_free(p);
    return 0;
}

/* ---- dirty tracking ---- */

static bool is_meant(const struct participant *p, const char *device_id)
{
    return p->device && (!device_id || strcmp(p->id, device_id) == 0);
}

static int set_tracking_locked(struct vmig_migration *m, const char *device_id,
                               enum vmig_dirty_tracking how, struct vmig_error *err)
{
    enum vmig_dirty_tracking before[PARTICIPANTS_MAX];
    bool found = !device_id;
    for (unsigned i = 0; i < m->num_participants; i++) {
        struct participant *p = m->participants[i];
        before[i] = p->tracking.wanted;
        if (!is_meant(p, device_id))
            continue;
        p->tracking.wanted = how;
        found = true;
    }
    if (!found)
        return error_set(err, ENOENT, VMIG_STAGE_NONE, device_id, NULL,
                         "no device of this migration has this id");
    int rc = blockers_refuse_new_locked(m, err);
    for (unsigned i = 0; rc < 0 && i < m->num_participants; i++)
        m->participants[i]->tracking.wanted = before[i];
    return rc;
}

VMIG_EXPORT int vmig_migration_set_dirty_tracking(struct vmig_migration *m, const char *device_id,
                                                  enum vmig_dirty_tracking how,
                                                  struct vmig_error *err)
{
    if ((unsigned)how >= VMIG_DIRTY_COUNT)
        return error_set(err, EINVAL, VMIG_STAGE_NONE, device_id, NULL,
                         "no dirty tracking has the number %d", (int)how);
    pthread_mutex_lock(&m->lock);
    int rc = m->side == SIDE_NONE
                 ? set_tracking_locked(m, device_id, how, err)
                 : error_set(err, EBUSY, VMIG_STAGE_NONE, device_id, "migration-running",
                             "dirty tracking cannot be changed while a migration runs");
    pthread_mutex_unlock(&m->lock);
    if (rc == 0)
        blockers_warn(m);
    return rc;
}
