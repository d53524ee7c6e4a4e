/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/participant/tracking.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"

static const char *const names[] = {
    [VMIG_DIRTY_AUTO] = "auto",
    [VMIG_DIRTY_DEVICE] = "device",
    [VMIG_DIRTY_IOMMU] = "iommu",
    [VMIG_DIRTY_NONE] = "none",
};
_Static_assert(sizeof(names) / sizeof(names[0]) == VMIG_DIRTY_COUNT, "a name for each");

VMIG_EXPORT const char *vmig_dirty_tracking_name(enum vmig_dirty_tracking how)
{
    return (unsigned)how < VMIG_DIRTY_COUNT ? names[how] : "?";
}

/* ---- who can tell, in order ---- */

/* Each: NULL when it may work, else why it does not. */
static const char *device_cannot(const struct vmig_device *device, const struct tracking *tracking)
{
    if (tracking->viommu)
        return "a vIOMMU stands in front of it";
    return device->migration.has_dma_logging ? NULL : "the device cannot log its DMA";
}

static const char *iommu_cannot(const struct vmig_device *device, const struct tracking *tracking)
{
    (void)tracking;
    return device->iommu_log.kind == VMIG_IOMMU_LOG_TRUE ? NULL : device->iommu_log.why;
}

static const struct source {
    enum vmig_dirty_tracking how;
    const char *(*cannot)(const struct vmig_device *device, const struct tracking *tracking);
} sources[] = {
    { VMIG_DIRTY_DEVICE, device_cannot },
    { VMIG_DIRTY_IOMMU, iommu_cannot },
};
#define NUM_SOURCES (sizeof(sources) / sizeof(sources[0]))

static bool is_wanted(const struct tracking *tracking, const struct source *source)
{
    return tracking->wanted == VMIG_DIRTY_AUTO || tracking->wanted == source->how;
}

/* ---- choosing ---- */

static void add_reason(char *why_not, size_t size, const struct source *source, const char *reason)
{
    size_t used = strlen(why_not);
    snprintf(why_not + used, size - used, "%s%s: %.200s", used ? "; " : "", names[source->how],
             reason);
}

void tracking_explain(const struct vmig_device *device, const struct tracking *tracking, char *ret,
                      size_t size)
{
    ret[0] = '\0';
    for (size_t i = 0; i < NUM_SOURCES; i++) {
        const char *reason = sources[i].cannot(device, tracking);
        if (reason && is_wanted(tracking, &sources[i]))
            add_reason(ret, size, &sources[i], reason);
    }
}

/* It does not work here; other errors are about something else, and end the migration. */
static bool does_not_work(int rc, const struct vmig_device *device)
{
    return (rc == -ENOTTY || rc == -EOPNOTSUPP || rc == -EINVAL || rc == -E2BIG || rc == -ENOSPC ||
            rc == -EEXIST) &&
           vmig_device_health(device) != VMIG_HEALTH_LOST;
}

/* 0: it was started, or *reason says why not. */
static int try(struct vmig_device *device, const struct tracking *tracking,
               const struct source *source, tracking_starter start, void *opaque,
               char reason[sizeof(((struct vmig_error *)0)->text)], struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    const char *cannot = source->cannot(device, tracking);
    reason[0] = '\0';
    int rc = cannot ? 0 : start(opaque, device, source->how, &cause);
    if (cannot)
        snprintf(reason, sizeof(cause.text), "%s", cannot);
    if (rc < 0 && !does_not_work(rc, device)) {
        error_copy(err, &cause);
        return rc;
    }
    if (rc < 0)
        snprintf(reason, sizeof(cause.text), "%s", cause.code ? cause.text : device_errno_text(rc));
    return 0;
}

int tracking_begin(struct vmig_device *device, struct tracking *tracking, bool all_dirty,
                   tracking_starter start, void *opaque, struct vmig_error *err)
{
    char reason[sizeof(err->text)];
    tracking->chosen = VMIG_DIRTY_AUTO;
    tracking->why_not[0] = '\0';
    for (size_t i = 0; i < NUM_SOURCES; i++) {
        if (!is_wanted(tracking, &sources[i]))
            continue;
        int rc = try(device, tracking, &sources[i], start, opaque, reason, err);
        if (rc < 0)
            return rc;
        if (!reason[0]) {
            tracking->chosen = sources[i].how;
            return 0;
        }
        add_reason(tracking->why_not, sizeof(tracking->why_not), &sources[i], reason);
    }
    if (!all_dirty && tracking->wanted != VMIG_DIRTY_NONE)
        return error_set(err, EOPNOTSUPP, VMIG_STAGE_PREPARE, vmig_device_id(device),
                         "vfio-no-dirty-tracking", TRACKING_NOBODY "; " TRACKING_REMEDY,
                         tracking->why_not);
    tracking->chosen = VMIG_DIRTY_NONE;
    return 0;
}

void tracking_describe(const struct tracking *tracking, char *ret, size_t size)
{
    static const char *const who[] = {
        [VMIG_DIRTY_DEVICE] = "its own log tells what it writes to memory",
        [VMIG_DIRTY_IOMMU] = "its IOMMU tells what it writes to memory",
        [VMIG_DIRTY_NONE] = "all memory goes again in the pause, since nobody tells what it writes",
    };
    const char *why_not = tracking->why_not;
    snprintf(ret, size, "%s%s%s%s", who[tracking->chosen], why_not[0] ? " (" : "", why_not,
             why_not[0] ? ")" : "");
}
