/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handle behind struct vmig_device, for the files of this room.
 *
 * Threads. A control call holds the device's turn (device_enter .. device_leave): one at a time,
 * and waiting for it ends with a deadline, because the call that has it may hang in a kernel for
 * ever. Data calls and dma_log_report run beside it. Each call inside holds a reference, so a
 * handle that is closed while a call hangs is freed by that call when it ever returns, and by
 * nobody before.
 *
 * Locks: one, `lock`, held for a few instructions and never over a backend call. What it guards is
 * said below; nothing else is taken under it.
 */
#ifndef LIB_DEVICE_DEVICE_H
#define LIB_DEVICE_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include "lib/device/backend.h"
#include "lib/device/dirty-log.h"

/* Limits on what a device may claim, so that its numbers never size our memory. vfio-pci has 9
 * regions and 5 interrupt kinds and a few device-specific ones; MSI-X ends at 2,048 vectors. */
#define DEVICE_REGIONS_MAX 256
#define DEVICE_IRQS_MAX 64
#define DEVICE_VECTORS_MAX 2048
#define DEVICE_MAPPINGS_MAX 65535 /* type1's limit */
/* What the uAPI guarantees to be accepted with 4 KiB pages. */
#define DEVICE_LOG_RANGES_MAX 256
/* One request for state data. Larger ones gain nothing, and a device's claim must not size them. */
#define DEVICE_CHUNK_MAX ((size_t)1 << 20)
#define DEVICE_PGSIZE_MIN 4096u

struct device_region {
    bool known;
    struct vmig_region_info info;
    void *maps[VMIG_REGION_AREAS_MAX];
};

struct device_mapping {
    uint64_t iova, size_bytes;
    bool remembered; /* somebody else mapped it and will unmap it */
};

struct vmig_device {
    /* Set by open, constant afterwards. */
    const struct backend_ops *ops;
    void *backend;
    char id[64];
    char *address;
    struct vmig_device_info info;
    struct vmig_migration_info migration;
    struct backend_iommu_log iommu_log;
    unsigned turn_timeout_ms;
    bool no_mmap;

    atomic_uint refs;  /* the handle's and one per call inside */
    atomic_int health; /* enum vmig_health; LOST is final */
    atomic_bool
        hung; /* it is LOST because of a call that hangs, which hung_call names from then on */
    char hung_call[100];
    atomic_int state; /* where our own last request left the device: tells a stream's meaning */
    atomic_bool handed_on; /* and so LOST for this handle */
    atomic_bool reinit;    /* opted in: REINIT of the pre-copy info means something */
    atomic_bool broken;    /* a write was refused in RESUMING: only a reset leaves it */

    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool busy;                       /* lock: somebody has the turn */
    struct device_mapping *mappings; /* lock: sorted by iova */
    unsigned num_mappings;           /* lock */
    struct dirty_log logs[LOG_SOURCES];
    _Atomic(struct log_caller *) log_caller; /* idle, of the last call into a dirty log, or NULL */
    atomic_uint log_timeout_ms;
    struct device_region *regions; /* the turn: info.num_regions of them */
};

/* As vmig_device_open(), with the backends given. */
int device_open(const struct backend_choice *choice, const char *address,
                const struct vmig_device_options *options, struct vmig_device **ret,
                struct vmig_error *err);

/* Take the turn. -ENODEV when the device is lost, -ETIMEDOUT when another call hangs. */
int device_enter(struct vmig_device *device, struct vmig_error *err);
/* Give it back. @rc: the call's result; a negative one fills @err unless the backend did ("WHAT:
 * Input/output error"). Returns @rc. */
int device_leave(struct vmig_device *device, int rc, struct vmig_error *err, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* The same for calls that run beside control calls: no turn, only the reference. */
int device_enter_data(struct vmig_device *device, struct vmig_error *err);
int device_leave_data(struct vmig_device *device, int rc, struct vmig_error *err, const char *what);

/* Refuse: fill @err with the device's name and return -abs(code). */
int device_refuse(const struct vmig_device *device, struct vmig_error *err, int code,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Whoever watches deadlines gives up on @call, which hangs since @ms: the device is lost from now on, waiting
 * calls return -ENODEV and say why. The caller may close the handle then; the hanging call frees it. */
void device_abandon(struct vmig_device *device, const char *call, double ms);

/* Keep the handle beyond its close, for a thread that was abandoned in a call. */
void device_ref(struct vmig_device *device);
void device_unref(struct vmig_device *device);

/* As vmig_device_reset(), of a device found in ERROR: it has lost its state, which its health
 * tells. */
int device_reset_from_error(struct vmig_device *device, struct vmig_error *err);

/* Whoever used the device since its reset took it as it is: RESET becomes OK. */
void device_accept_reset(struct vmig_device *device);

/* Multiples of @align, not empty, and below 2^64. */
bool device_is_iova_range(uint64_t iova, uint64_t size_bytes, uint64_t align);
/* Is [iova, iova + size) inside one mapping? Any thread. */
bool device_is_mapped(struct vmig_device *device, uint64_t iova, uint64_t size_bytes);
/* The mapping around @iova, or, with none there, size 0 and in ret->iova where the next one begins
 * (UINT64_MAX: nowhere). Any thread. */
void device_find_mapping(struct vmig_device *device, uint64_t iova, struct device_mapping *ret);

/* 0: nothing is mapped. Any thread. */
uint64_t device_largest_mapping(struct vmig_device *device);

/* "Input/output error" for -EIO. Static string. */
const char *device_errno_text(int rc);

#endif
