/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions, interrupts, and what a hot reset would take along. Region facts are asked once and kept; every access is checked against
 * them here, so a backend never sees one that is out of range. */
#include <errno.h>
#include <inttypes.h>

#include "lib/device/device.h"
#include "lib/error.h"
#include "lib/export.h"

/* ---- regions ---- */

/* A peer's areas must lie inside its region. */
static int check_region(const struct vmig_device *device, const struct vmig_region_info *info,
                        struct vmig_error *err)
{
    if (info->num_areas > VMIG_REGION_AREAS_MAX)
        return device_refuse(device, err, EPROTO, "region %u claims %u mappable areas, at most %u",
                             info->index, info->num_areas, VMIG_REGION_AREAS_MAX);
    for (unsigned i = 0; i < info->num_areas; i++) {
        const struct vmig_region_area *area = &info->areas[i];
        uint64_t end;
        if (__builtin_add_overflow(area->offset_bytes, area->size_bytes, &end) ||
            end > info->size_bytes)
            return device_refuse(
                device, err, EPROTO,
                "region %u has %" PRIu64 " bytes, but its area %u is %" PRIu64 " bytes at %" PRIu64,
                info->index, info->size_bytes, i, area->size_bytes, area->offset_bytes);
    }
    return 0;
}

/* Devices refuse what they do not have within the numbers that they tell: no VGA region, no MSI-X
 * (vfio-pci, mtty). That is an answer. */
static int absent_is_empty(int rc, const struct vmig_error *cause, struct vmig_error *err)
{
    if (rc && rc != -EINVAL)
        error_copy(err, cause);
    return rc == -EINVAL ? 0 : rc;
}

static int ask_region(struct vmig_device *device, unsigned index, struct vmig_region_info *ret,
                      struct vmig_error *err)
{
    struct vmig_error cause = { 0 };
    *ret = (struct vmig_region_info) { 0 };
    int rc = device->ops->region_info(device->backend, index, ret, &cause);
    if (rc)
        *ret = (struct vmig_region_info) { 0 };
    ret->index = index;
    rc = absent_is_empty(rc, &cause, err);
    if (device->no_mmap) {
        ret->flags &= ~VMIG_REGION_MMAP;
        ret->num_areas = 0;
    }
    return rc ? rc : check_region(device, ret, err);
}

/* Find region @index; the caller has the turn. */
static int find_region(struct vmig_device *device, unsigned index, struct device_region **ret,
                       struct vmig_error *err)
{
    if (index >= device->info.num_regions)
        return device_refuse(device, err, EINVAL, "no region %u, it has %u", index,
                             device->info.num_regions);
    struct device_region *region = &device->regions[index];
    int rc = region->known ? 0 : ask_region(device, index, &region->info, err);
    if (rc)
        return rc;
    region->known = true;
    *ret = region;
    return 0;
}

VMIG_EXPORT int vmig_device_region_info(struct vmig_device *device, unsigned index,
                                        struct vmig_region_info *ret, struct vmig_error *err)
{
    struct device_region *region = NULL;
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = find_region(device, index, &region, err);
    if (!rc)
        *ret = region->info;
    return device_leave(device, rc, err, "asking for region %u", index);
}

static int check_access(struct vmig_device *device, unsigned index, uint32_t need, uint64_t offset,
                        size_t length, struct vmig_error *err)
{
    struct device_region *region = NULL;
    int rc = find_region(device, index, &region, err);
    if (rc)
        return rc;
    if (!(region->info.flags & need))
        return device_refuse(device, err, EINVAL, "region %u cannot be %s", index,
                             need == VMIG_REGION_READ ? "read" : "written");
    if (!length || length > region->info.size_bytes || offset > region->info.size_bytes - length)
        return device_refuse(device, err, EINVAL,
                             "access to %zu bytes at %" PRIu64 " of region %u, which has %" PRIu64,
                             length, offset, index, region->info.size_bytes);
    return 0;
}

VMIG_EXPORT int vmig_device_region_read(struct vmig_device *device, unsigned index,
                                        uint64_t offset_bytes, void *buf, size_t length_bytes,
                                        struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = check_access(device, index, VMIG_REGION_READ, offset_bytes, length_bytes, err);
    if (!rc)
        rc = device->ops->region_read(device->backend, index, offset_bytes, buf, length_bytes, err);
    return device_leave(device, rc, err, "reading %zu bytes at %" PRIu64 " of region %u",
                        length_bytes, offset_bytes, index);
}

VMIG_EXPORT int vmig_device_region_write(struct vmig_device *device, unsigned index,
                                         uint64_t offset_bytes, const void *buf,
                                         size_t length_bytes, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = check_access(device, index, VMIG_REGION_WRITE, offset_bytes, length_bytes, err);
    if (!rc)
        rc =
            device->ops->region_write(device->backend, index, offset_bytes, buf, length_bytes, err);
    return device_leave(device, rc, err, "writing %zu bytes at %" PRIu64 " of region %u",
                        length_bytes, offset_bytes, index);
}

/* The backend maps, and unmaps when it is closed; asking twice gives the same mapping. */
static int map_area(struct vmig_device *device, unsigned index, unsigned area, void **ret,
                    struct vmig_error *err)
{
    struct device_region *region = NULL;
    int rc = find_region(device, index, &region, err);
    if (rc)
        return rc;
    if (!(region->info.flags & VMIG_REGION_MMAP) || !device->ops->region_map)
        return device_refuse(device, err, EOPNOTSUPP,
                             "region %u cannot be mapped; read and write it instead", index);
    if (area >= region->info.num_areas)
        return device_refuse(device, err, EINVAL, "no area %u in region %u, it has %u", area, index,
                             region->info.num_areas);
    if (!region->maps[area])
        rc = device->ops->region_map(device->backend, index, &region->info.areas[area],
                                     &region->maps[area], err);
    if (!rc)
        *ret = region->maps[area];
    return rc;
}

VMIG_EXPORT int vmig_device_region_map(struct vmig_device *device, unsigned index, unsigned area,
                                       void **ret, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = map_area(device, index, area, ret, err);
    return device_leave(device, rc, err, "mapping area %u of region %u", area, index);
}

/* ---- hot reset ---- */

VMIG_EXPORT int vmig_device_hot_reset_info(struct vmig_device *device,
                                           struct vmig_hot_reset_info *ret, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = -ENOTTY;
    if (device->info.pci && device->ops->hot_reset_info)
        rc = device->ops->hot_reset_info(device->backend, ret, err);
    return device_leave(device, rc, err, "asking what a hot reset of it would reset");
}

/* ---- interrupts ---- */

static int find_irq(struct vmig_device *device, unsigned index, struct vmig_irq_info *ret,
                    struct vmig_error *err)
{
    if (index >= device->info.num_irqs)
        return device_refuse(device, err, EINVAL, "no interrupt kind %u, it has %u", index,
                             device->info.num_irqs);
    if (!device->ops->irq_info)
        return -ENOTTY;
    struct vmig_error cause = { 0 };
    *ret = (struct vmig_irq_info) { 0 };
    int rc = device->ops->irq_info(device->backend, index, ret, &cause);
    if (rc)
        *ret = (struct vmig_irq_info) { 0 };
    ret->index = index;
    rc = absent_is_empty(rc, &cause, err);
    if (!rc && ret->count > DEVICE_VECTORS_MAX)
        rc =
            device_refuse(device, err, EPROTO, "claims %u vectors of interrupt kind %u, at most %u",
                          ret->count, index, DEVICE_VECTORS_MAX);
    return rc;
}

VMIG_EXPORT int vmig_device_irq_info(struct vmig_device *device, unsigned index,
                                     struct vmig_irq_info *ret, struct vmig_error *err)
{
    struct vmig_irq_info info;
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = find_irq(device, index, &info, err);
    if (!rc)
        *ret = info;
    return device_leave(device, rc, err, "asking for interrupt kind %u", index);
}

static int check_vectors(struct vmig_device *device, unsigned index, unsigned start, unsigned count,
                         struct vmig_irq_info *ret, struct vmig_error *err)
{
    int rc = find_irq(device, index, ret, err);
    if (rc)
        return rc;
    if ((!count && start) || count > ret->count || start > ret->count - count)
        return device_refuse(device, err, EINVAL,
                             "vectors %u to %u of interrupt kind %u, which has %u", start,
                             start + count, index, ret->count);
    return 0;
}

static int check_eventfds(struct vmig_device *device, unsigned index, unsigned start,
                          unsigned count, const int *eventfds, struct vmig_error *err)
{
    struct vmig_irq_info info;
    int rc = check_vectors(device, index, start, count, &info, err);
    for (unsigned i = 0; !rc && i < count; i++)
        if (!eventfds || eventfds[i] < -1)
            return device_refuse(device, err, EINVAL, "no eventfd for vector %u", start + i);
    return rc;
}

VMIG_EXPORT int vmig_device_set_irqs(struct vmig_device *device, unsigned index, unsigned start,
                                     unsigned count, const int *eventfds, struct vmig_error *err)
{
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = check_eventfds(device, index, start, count, eventfds, err);
    if (!rc && !device->ops->set_irqs)
        rc = -ENOTTY;
    if (!rc)
        rc = device->ops->set_irqs(device->backend, index, start, count, eventfds, err);
    return device_leave(device, rc, err, "routing %u vectors of interrupt kind %u", count, index);
}

#define IRQ_MASKABLE 2u

VMIG_EXPORT int vmig_device_unmask_irqs(struct vmig_device *device, unsigned index, unsigned start,
                                        unsigned count, struct vmig_error *err)
{
    struct vmig_irq_info info;
    int rc = device_enter(device, err);
    if (rc)
        return rc;
    rc = check_vectors(device, index, start, count, &info, err);
    if (!rc && count && !(info.flags & IRQ_MASKABLE))
        rc = device_refuse(device, err, EINVAL, "interrupt kind %u cannot be masked", index);
    if (!rc && !device->ops->unmask_irqs)
        rc = -ENOTTY;
    if (!rc && count)
        rc = device->ops->unmask_irqs(device->backend, index, start, count, err);
    return device_leave(device, rc, err, "unmasking %u vectors of interrupt kind %u", count, index);
}
