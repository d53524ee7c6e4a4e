/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/bus.h"
#include "vmm/fail.h"
#include "vmm/lock.h"

void bus_init(struct bus *bus)
{
    *bus = (struct bus) { 0 };
    pthread_mutex_init(&bus->lock, NULL);
}

void bus_done(struct bus *bus)
{
    pthread_mutex_destroy(&bus->lock);
}

int bus_claim(struct bus *bus, uint64_t base, uint64_t size_bytes, const struct bus_ops *ops,
              void *opaque, struct vmig_error *err)
{
    LOCK_SCOPE(&bus->lock);
    bool full = bus->num_ranges == BUS_RANGES_MAX;
    if (!full)
        bus->ranges[bus->num_ranges++] = (struct bus_range) { base, size_bytes, ops, opaque };
    return full ? vmm_fail(err, ENOSPC, NULL, "all %d address ranges are in use", BUS_RANGES_MAX)
                : 0;
}

void bus_release(struct bus *bus, uint64_t base, const void *opaque)
{
    unsigned kept = 0;
    LOCK_SCOPE(&bus->lock);
    for (unsigned i = 0; i < bus->num_ranges; i++)
        if (bus->ranges[i].base != base || bus->ranges[i].opaque != opaque)
            bus->ranges[kept++] = bus->ranges[i];
    bus->num_ranges = kept;
}

static bool find(struct bus *bus, uint64_t address, unsigned length_bytes, struct bus_range *ret)
{
    bool found = false;
    LOCK_SCOPE(&bus->lock);
    for (unsigned i = bus->num_ranges; i-- && !found;) {
        const struct bus_range *range = &bus->ranges[i];
        uint64_t offset = address - range->base;
        found = address >= range->base && offset < range->size_bytes &&
                length_bytes <= range->size_bytes - offset;
        if (found)
            *ret = *range;
    }
    return found;
}

void bus_read(struct bus *bus, uint64_t address, void *data, unsigned length_bytes)
{
    struct bus_range range;
    memset(data, 0xff, length_bytes);
    if (find(bus, address, length_bytes, &range))
        range.ops->read(range.opaque, address - range.base, data, length_bytes);
}

void bus_write(struct bus *bus, uint64_t address, const void *data, unsigned length_bytes)
{
    struct bus_range range;
    if (find(bus, address, length_bytes, &range))
        range.ops->write(range.opaque, address - range.base, data, length_bytes);
}
