/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel's VFIO as far as one device's ioctls go, for what no machine at hand shows: devices that
 * are none of PCI, broken capability chains, the old protocol, every errno of a bind.
 *
 * The program is linked with --wrap=ioctl. Descriptors are memfds; what one of them is follows its
 * duplicates.
 */
#ifndef TESTS_DEVICE_FAKE_KERNEL_H
#define TESTS_DEVICE_FAKE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/device/uapi.h"

#define FAKE_KERNEL_REGIONS 10
#define FAKE_KERNEL_CAPS 256
#define FAKE_KERNEL_DEVID 77
#define FAKE_KERNEL_IOAS 5
#define FAKE_KERNEL_TABLE 9 /* a page table that tracks writes */

struct fake_kernel {
    int device, iommufd, container, group; /* descriptors */
    bool bound;
    bool tracks;             /* its IOMMU can tell what it writes */
    uint32_t attached;       /* to this */
    bool tracking;           /* the page table is told to */
    char history[300];       /* "bind alloc attach " */
    unsigned calls, fail_at; /* ioctls so far; the one that fails with EIO, from 1; 0: none */

    int bind_errno, attach_errno, map_errno; /* 0: it works */
    bool container_logs;                     /* a type1 container with dirty bitmaps */
    uint32_t info_flags;
    uint64_t migration; /* flags; 0: ENOTTY */
    uint32_t state;

    struct vfio_region_info regions[FAKE_KERNEL_REGIONS];
    uint8_t caps[FAKE_KERNEL_REGIONS][FAKE_KERNEL_CAPS]; /* behind the info */
    uint32_t caps_bytes[FAKE_KERNEL_REGIONS];

    int hot_reset_errno;
    uint32_t hot_reset_flags, hot_reset_count;
    struct vfio_pci_dependent_device hot_reset[4];
};

extern struct fake_kernel fake_kernel;

/* A PCI device without migration, opened and not bound; an iommufd; a group in a container. */
void fake_kernel_begin(void);
void fake_kernel_end(void);

/* A capability of region @index: @size bytes with their header, whose next is @next. At the offset
 * where the last one ended. */
void fake_kernel_add_cap(unsigned index, const void *cap, uint32_t size);

#endif
