/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel headers of older systems lack: asynchronous write protection (Linux 6.7) and the
 * pagemap scan that reads it. Names of our own, so that newer headers do not collide. The numbers
 * are part of the kernel's stable interface; tests/memory/kernel.c checks them on the running one.
 */
#ifndef LIB_MEMORY_UAPI_H
#define LIB_MEMORY_UAPI_H

#include <stdint.h>
#include <sys/ioctl.h>

/* Features of UFFDIO_API. */
#define UAPI_UFFD_WP_PAGEFAULT (UINT64_C(1) << 0)    /* write protection of anonymous memory: 5.7 */
#define UAPI_UFFD_WP_SHMEM (UINT64_C(1) << 12)       /* and of shared memory: 5.19 */
#define UAPI_UFFD_WP_UNPOPULATED (UINT64_C(1) << 13) /* also where there is no page yet: 6.4 */
#define UAPI_UFFD_WP_ASYNC (UINT64_C(1) << 15)       /* the kernel lets the writer go on: 6.7 */

/* A descriptor from /dev/userfaultfd (6.1), for whom the system call is forbidden. */
#define UAPI_USERFAULTFD_NEW _IO(0xAA, 0x00)

/* What PAGEMAP_SCAN knows about a page. */
#define UAPI_PAGE_WRITTEN (UINT64_C(1) << 1) /* its write protection is gone */
#define UAPI_PAGE_PRESENT (UINT64_C(1) << 3)
#define UAPI_PAGE_SWAPPED (UINT64_C(1) << 4) /* also a mere marker "write protected, no page" */
#define UAPI_PAGE_ZERO (UINT64_C(1) << 5)    /* the kernel's shared page of zeros */

#define UAPI_SCAN_PROTECT (UINT64_C(1) << 0)     /* write-protect what matches, in the same step */
#define UAPI_SCAN_CHECK_ASYNC (UINT64_C(1) << 1) /* EPERM where the memory is not registered */

struct uapi_scan_region {
    uint64_t start, end; /* addresses */
    uint64_t categories; /* UAPI_PAGE_*, those of return_mask */
};

/* A page matches if, after the bits of @inverted were flipped, it has all of @all and one of @any
 * (0: no condition). */
struct uapi_scan {
    uint64_t size; /* sizeof(struct uapi_scan) */
    uint64_t flags;
    uint64_t start, end;
    uint64_t walk_end; /* out: how far it came */
    uint64_t regions;  /* address of the output array */
    uint64_t regions_len;
    uint64_t max_pages; /* 0: no limit */
    uint64_t inverted, all, any;
    uint64_t return_mask;
};
#define UAPI_PAGEMAP_SCAN _IOWR('f', 16, struct uapi_scan)

_Static_assert(sizeof(struct uapi_scan_region) == 24, "a page region has three words");
_Static_assert(sizeof(struct uapi_scan) == 96, "the scan's argument has twelve words");

#endif
