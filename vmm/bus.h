/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who answers at an address: one table for I/O ports and one for memory. A vCPU's exit is looked up here and
 * goes to the device that claimed the range; reads that nobody claims are all ones, writes go nowhere.
 *
 * The table has a lock, a device's operations are called without it: what a device guards, it guards by
 * itself, and a slow one holds nobody else up. So who claims a range lives as long as the bus.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <pthread.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

#define BUS_RANGES_MAX 256

/* @length_bytes: 1 to 8, for KVM cuts accesses at pages; the access lies inside the range that was claimed. */
struct bus_ops {
    void (*read)(void *opaque, uint64_t offset, void *data, unsigned length_bytes);
    void (*write)(void *opaque, uint64_t offset, const void *data, unsigned length_bytes);
};

struct bus {
    pthread_mutex_t lock; /* guards the rest */
    unsigned num_ranges;
    struct bus_range {
        uint64_t base, size_bytes;
        const struct bus_ops *ops;
        void *opaque;
    } ranges[BUS_RANGES_MAX];
};

void bus_init(struct bus *bus);
void bus_done(struct bus *bus);
/* What was claimed last answers where ranges overlap. -ENOSPC: the table is full. */
int bus_claim(struct bus *bus, uint64_t base, uint64_t size_bytes, const struct bus_ops *ops,
              void *opaque, struct vmig_error *err);
/* Everything that @opaque claimed at @base. */
void bus_release(struct bus *bus, uint64_t base, const void *opaque);
void bus_read(struct bus *bus, uint64_t address, void *data, unsigned length_bytes);
void bus_write(struct bus *bus, uint64_t address, const void *data, unsigned length_bytes);

#endif
