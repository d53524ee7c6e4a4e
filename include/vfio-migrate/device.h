/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One VFIO device: what it is, its regions and interrupts, its migration state and its data stream.
 *
 * A device is opened by an address:
 *   vfio-user:PATH          a vfio-user server's UNIX socket
 *   vfio-user:fd:N          a connected vfio-user socket, taken over
 *   DDDD:BB:SS.F            a PCI device bound to a VFIO driver: by its character device and iommufd
 *                           where this host has and permits that, else by its group (type1)
 *   UUID                    a mediated device (same)
 *   /dev/vfio/devices/vfioN the same device by its character device
 *   fd:N,iommufd=M          that, opened, not bound yet, and /dev/iommu, opened; with ",ioas=ID" it
 *                           is attached to that address space of M, else to one of its own there
 *   fd:N,container=M        a device from VFIO_GROUP_GET_DEVICE_FD, and its container with an IOMMU set
 *   vfio-user:fd:N,established=1,..., fd:N,...,established=1
 *                           what vmig_device_hand_on() wrote: goes on where the last owner stopped
 * fd: addresses may have ",name=NAME", the PCI address or UUID, for messages and for what sysfs
 * tells. Opened so, N is the device's and closed with it, M stays the caller's, who may use it for
 * other devices (after hand-on: all are the device's). When opening fails all of them stay the
 * caller's and open; N may then be bound already, and only closing undoes that.
 * Device state numbers and flags are those of linux/vfio.h.
 *
 * Threads: every call may be made from any thread. Control calls of one device are serialised
 * inside the handle and may block as long as the device takes, at most the timeouts of struct
 * vmig_device_options; vmig_device_data_read/write may run beside control calls.
 */
#ifndef VFIO_MIGRATE_DEVICE_H
#define VFIO_MIGRATE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <vfio-migrate/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmig_device;

enum vmig_state {
    VMIG_STATE_ERROR = 0,
    VMIG_STATE_STOP = 1,
    VMIG_STATE_RUNNING = 2,
    VMIG_STATE_STOP_COPY = 3,
    VMIG_STATE_RESUMING = 4,
    VMIG_STATE_RUNNING_P2P = 5,
    VMIG_STATE_PRE_COPY = 6,
    VMIG_STATE_PRE_COPY_P2P = 7,
};
#define VMIG_STATE_COUNT 8

/* "STOP_COPY" for VMIG_STATE_STOP_COPY, "?" for a number that is no state. Static string. */
const char *vmig_state_name(enum vmig_state state);
/* The same as QEMU's events have it, "stop-copy". Static string. */
const char *vmig_state_word(enum vmig_state state);

/* Migration flags, as VFIO_DEVICE_FEATURE_MIGRATION reports them. */
#define VMIG_MIGRATION_STOP_COPY (1u << 0)
#define VMIG_MIGRATION_P2P (1u << 1)
#define VMIG_MIGRATION_PRE_COPY (1u << 2)

struct vmig_device_options {
    size_t size;                 /* sizeof(struct vmig_device_options) */
    const char *id;              /* name in messages and on the wire; NULL: the address. Copied */
    unsigned command_timeout_ms; /* 0: 5,000 */
    unsigned transition_timeout_ms; /* state changes and reset; 0: 30,000 */
    bool no_mmap;                   /* access regions by read and write only */
    const char *backend;            /* "cdev", "group", "vfio-user"; NULL or "auto": what fits */
};

/* Open @address. On success *ret is the caller's and ends with vmig_device_close(). A kernel device
 * that is not RUNNING is reset.
 * Errors: -EINVAL address not understood, or backend that it does not belong to; -ENOENT nothing
 * there, -ENODEV no VFIO device that can be used, -EBUSY in use by somebody else, -EPERM/-EACCES no
 * permission, -ETIMEDOUT no answer, -EPROTO the peer broke the protocol. The reason codes are in
 * vfio-migrate(7). */
int vmig_device_open(const char *address, const struct vmig_device_options *options,
                     struct vmig_device **ret, struct vmig_error *err);

/* Close; NULL is fine. A kernel device loses its migration state here. Returns NULL. */
struct vmig_device *vmig_device_close(struct vmig_device *device);

/* Let another owner have the device, as it is: a program that this process exec()s or forks, or one
 * that gets the descriptors by SCM_RIGHTS. Closing instead would end the state of a kernel device
 * and take memory and interrupts from a vfio-user device.
 * On success the address that the new owner opens is in @ret (@size_bytes of it, 4,096 do for 30
 * mappings), the descriptors in it are open without close-on-exec and the caller's, and @device is
 * dead: every call on it returns -ENODEV, and vmig_device_close() leaves the descriptors alone.
 * Over SCM_RIGHTS descriptors arrive with other numbers: the sender passes N and the numbers behind
 * "twin=", "iommufd=", "container=" and "group=", as far as they are there; the receiver writes its
 * numbers into the address in their place and leaves the rest as it is. The sender then closes its
 * copies.
 *
 * In the new owner: the state, the registers, interrupts (to the old eventfds, until set anew) and
 * DMA mappings are as they were. Memory that a vfio-user server reaches by messages answers it with
 * EFAULT until the new owner maps it; a vmig_device_dma_map() of the same IOVA, size, access and
 * file goes on with the old mapping, anything else there is refused with -EEXIST until
 * vmig_device_dma_unmap() of the old one. A kernel's mappings cannot be compared: mapping there is
 * always refused so, but for remembering (vmig_device_dma_map() without vaddr). When opening is refused with -EINVAL the descriptors stay as they are, and
 * open.
 *
 * Blocks until the device's threads have stopped. The last call on @device; no other may be under
 * way. 0, -EBUSY in a state with a data stream or with the DMA log on, or replies are owed; -ENOSPC
 * @ret is too small; -ENOTTY the backend cannot: nothing has changed. Other errors: the connection
 * broke, the device is of no use any more. */
int vmig_device_hand_on(struct vmig_device *device, char *ret, size_t size_bytes,
                        struct vmig_error *err);

const char *vmig_device_id(const struct vmig_device *device);
const char *vmig_device_address(const struct vmig_device *device);

/* ---- what it is ---- */

struct vmig_device_info {
    char backend[24]; /* "vfio-user", "cdev", "group" */
    bool pci;
    bool reset; /* the RESET flag; clear does not prove that reset fails */
    unsigned num_regions, num_irqs;
    uint16_t vendor_id, device_id; /* 0xffff where there is no PCI config space */
    uint16_t subsystem_vendor_id, subsystem_id;
    uint32_t class_code; /* 24 bits */
    uint8_t revision;
};
/* What it was when it was opened; the device is not asked. 0. */
int vmig_device_info(struct vmig_device *device, struct vmig_device_info *ret,
                     struct vmig_error *err);

#define VMIG_REGION_READ (1u << 0)
#define VMIG_REGION_WRITE (1u << 1)
#define VMIG_REGION_MMAP (1u << 2)
#define VMIG_REGION_CONFIG 7 /* index of PCI config space; BAR n is n, the ROM is 6 */
#define VMIG_REGION_AREAS_MAX 16

struct vmig_region_area {
    uint64_t offset_bytes, size_bytes; /* inside the region */
};

struct vmig_region_info {
    unsigned index;
    uint32_t flags;      /* VMIG_REGION_* */
    uint64_t size_bytes; /* 0: not implemented */
    unsigned num_areas;  /* parts that may be mapped; one that covers everything if not sparse */
    struct vmig_region_area areas[VMIG_REGION_AREAS_MAX];
};
/* Region @index of num_regions; asked once, then remembered. 0, or -EINVAL there is no such region,
 * -EPROTO what the device says makes no sense. @ret is untouched on failure, here and below. */
int vmig_device_region_info(struct vmig_device *device, unsigned index,
                            struct vmig_region_info *ret, struct vmig_error *err);

/* Access @length_bytes (> 0) at @offset_bytes of region @index, in the device's byte order. 0, or
 * -EINVAL: outside of the region, or it cannot be read or written. */
int vmig_device_region_read(struct vmig_device *device, unsigned index, uint64_t offset_bytes,
                            void *buf, size_t length_bytes, struct vmig_error *err);
int vmig_device_region_write(struct vmig_device *device, unsigned index, uint64_t offset_bytes,
                             const void *buf, size_t length_bytes, struct vmig_error *err);

/* Map area @area (of num_areas) of region @index, shared and writable: *ret is the area's first byte,
 * the device's, and lives until vmig_device_close(). The same area is mapped once. 0, or -EINVAL
 * there is none, -EOPNOTSUPP mapping was switched off (no_mmap). */
int vmig_device_region_map(struct vmig_device *device, unsigned index, unsigned area, void **ret,
                           struct vmig_error *err);

#define VMIG_IRQ_INTX 0
#define VMIG_IRQ_MSI 1
#define VMIG_IRQ_MSIX 2

struct vmig_irq_info {
    unsigned index;
    uint32_t flags; /* bit 0 eventfd, 1 maskable, 2 automasked, 3 noresize */
    unsigned count; /* vectors */
};
/* Interrupts of kind @index, VMIG_IRQ_* or another below num_irqs. 0, -EINVAL there is no such kind,
 * -EPROTO what the device says makes no sense. */
int vmig_device_irq_info(struct vmig_device *device, unsigned index, struct vmig_irq_info *ret,
                         struct vmig_error *err);

/* Route vectors [start, start + count) to @eventfds (borrowed: the device has its own reference; -1
 * detaches one). count 0 switches the whole kind off. 0, or -EINVAL: more than it has. */
int vmig_device_set_irqs(struct vmig_device *device, unsigned index, unsigned start, unsigned count,
                         const int *eventfds, struct vmig_error *err);

/* Let vectors [start, start + count) come again: a vector that is "automasked" is masked by what it
 * signals, until the driver has handled it. One that came meanwhile comes at once. 0, or -EINVAL more
 * than it has, or not maskable. */
int vmig_device_unmask_irqs(struct vmig_device *device, unsigned index, unsigned start,
                            unsigned count, struct vmig_error *err);

/* ---- memory the device may reach ---- */

struct vmig_dma_map {
    uint64_t iova, size_bytes; /* page aligned */
    void *vaddr;               /* where it is in this process; must stay valid until unmapped */
    int fd;                    /* shared memory behind it, borrowed; -1: none (vfio-user then asks
                                * for each access by message) */
    uint64_t fd_offset;
    bool writable; /* by the device; it may always read */
};
/* @map is copied. 0, or -EINVAL not page aligned, -EEXIST a part of it is mapped already, -ENOMEM
 * locking it would pass RLIMIT_MEMLOCK (kernel devices; "memlock").
 * Where somebody else maps the memory (the owner of the ioas= or container= of the address, or the
 * last owner), vaddr NULL and fd -1 only say that it is so: the DMA log reports inside known
 * mappings only. Unmapping such a one forgets it. */
int vmig_device_dma_map(struct vmig_device *device, const struct vmig_dma_map *map,
                        struct vmig_error *err);
/* Exactly what was mapped. When it returns, the device does not reach it any more. What it wrote
 * there is not lost to a dirty log that is on: the next report of that range has it, whatever is
 * mapped there then; all of it is dirty when the log cannot tell. Only an IOMMU's log through
 * iommufd misses what is written during this call: have the device stop writing there before.
 * 0, or -ENOENT: no mapping is exactly that; -ENOSPC: a log is on and remembers 65,536 others that
 * are gone. */
int vmig_device_dma_unmap(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                          struct vmig_error *err);

/* ---- migration ---- */

/* Can the IOMMU in front of the device tell which memory it wrote? */
enum vmig_iommu_log {
    VMIG_IOMMU_LOG_NONE,
    VMIG_IOMMU_LOG_ALL, /* it calls all that is mapped dirty, each time: nothing is lost, nothing is
                          * saved (type1 behind a real IOMMU) */
    VMIG_IOMMU_LOG_TRUE, /* what was written */
};

struct vmig_migration_info {
    uint64_t flags;        /* VMIG_MIGRATION_*; 0: the device cannot migrate, see reason */
    bool has_data_size;    /* stop_copy_length can be asked */
    bool has_precopy_info; /* initial and dirty bytes can be asked */
    bool has_dma_logging;
    bool has_reinit;  /* can announce new initial bytes, see vmig_device_enable_reinit() */
    bool reinit;      /* does so: somebody enabled it through this handle */
    char reason[40];  /* why flags is 0: "vfio-no-kernel-support", ...; or "" */
    char remedy[200]; /* what to do about it, or "" */
    enum vmig_iommu_log iommu_log;
    uint64_t reserved[7]; /* 0; new members will come out of these */
};
int vmig_device_migration_info(struct vmig_device *device, struct vmig_migration_info *ret,
                               struct vmig_error *err);

/* Ask the device for its state. 0, or -EOPNOTSUPP: it cannot migrate. */
int vmig_device_get_state(struct vmig_device *device, enum vmig_state *ret, struct vmig_error *err);

/* How the device is after its last state change. */
enum vmig_health {
    VMIG_HEALTH_OK,    /* in the state asked for, or refused and in the recover state */
    VMIG_HEALTH_RESET, /* had to be reset: RUNNING, but its state is lost */
    VMIG_HEALTH_LOST,  /* even the reset was refused or did not answer: unusable */
};
enum vmig_health vmig_device_health(const struct vmig_device *device);

/* Go to @target. When the device refuses, go to @recover; when that is refused too, or @recover is
 * VMIG_STATE_ERROR, reset; when that fails the device is lost (vmig_device_health()).
 * Blocks, at most options.transition_timeout_ms for each of these steps.
 * 0 only if @target was reached; else the errno of the first refusal: -EINVAL no such way from here
 * (decided here, the device is not asked and not touched), -ETIMEDOUT, or what the device said. */
int vmig_device_set_state(struct vmig_device *device, enum vmig_state target,
                          enum vmig_state recover, struct vmig_error *err);

/* Reset the function: RUNNING, registers and memory as new, DMA mappings kept, streams and DMA log
 * gone. Blocks, at most options.transition_timeout_ms. Health is OK afterwards; if it fails, LOST. */
int vmig_device_reset(struct vmig_device *device, struct vmig_error *err);

#define VMIG_HOT_RESET_DEVICES_MAX 256

/* One PCI function that a hot reset (of the slot, or of the whole bus) would reset as well. */
struct vmig_hot_reset_device {
    uint16_t segment;
    uint8_t bus, device, function; /* segment:bus:device.function */
    bool owned;                    /* it, or its IOMMU group, belongs to this handle's owner */
    int group;       /* IOMMU group; -1: not told, the device was opened by its character device */
    uint32_t dev_id; /* in the iommufd; 0: it has none there, or was opened by its group */
};

struct vmig_hot_reset_info {
    bool all_owned;       /* so nobody else's device is in the way */
    unsigned num_devices; /* the device itself included */
    struct vmig_hot_reset_device devices[VMIG_HOT_RESET_DEVICES_MAX];
};
/* What a PCI hot reset of the device would reset. 0, or -ENOTTY it is no PCI device of a kernel's
 * (nor mediated ones: they have no bus), -ENODEV neither its slot nor its bus can be reset, -EPERM one
 * of those devices is behind no IOMMU, -EPROTO more of them than there is room for. */
int vmig_device_hot_reset_info(struct vmig_device *device, struct vmig_hot_reset_info *ret,
                               struct vmig_error *err);

/* Bytes still needed to finish STOP_COPY; an estimate. -ENOTTY: the device cannot tell. */
int vmig_device_data_size(struct vmig_device *device, uint64_t *ret_bytes, struct vmig_error *err);

struct vmig_precopy_info {
    uint64_t initial_bytes; /* should be at the target before the switch */
    uint64_t dirty_bytes;   /* changed since; need not reach 0 */
    bool reinit; /* initial_bytes are new ones since the last question: whatever was ready for the
                  * switch is not any more. Told once; false unless enabled */
    uint64_t reserved[4]; /* 0; new members will come out of these */
};
/* In PRE_COPY and PRE_COPY_P2P. -ENOTTY: the device cannot tell; -EINVAL in another state. */
int vmig_device_precopy_info(struct vmig_device *device, struct vmig_precopy_info *ret,
                             struct vmig_error *err);

/* Let the device announce new initial bytes in the middle of PRE_COPY (mlx5 does, when what was sent
 * became worthless). Whoever enables it must look for them, up to the last question before STOP_COPY.
 * Lasts until the device is closed. 0, also when it was enabled before; -ENOTTY: the device or its
 * kernel does not know it, and all goes on as without. */
int vmig_device_enable_reinit(struct vmig_device *device, struct vmig_error *err);

/* Read at most @size_bytes (> 0) of the device's state, in order. Returns the count (> 0);
 * 0: end of data (only in STOP_COPY); -ENOMSG: drained for now (only in PRE_COPY and PRE_COPY_P2P);
 * other errors: the stream is over, look at the state again. One reader at a time. */
ssize_t vmig_device_data_read(struct vmig_device *device, void *buf, size_t size_bytes,
                              struct vmig_error *err);

/* Write all of @length_bytes, in RESUMING. May return before the device has taken them; an error
 * then comes with a later write or with vmig_device_data_flush(). After an error the device must be
 * reset. One writer at a time. */
int vmig_device_data_write(struct vmig_device *device, const void *buf, size_t length_bytes,
                           struct vmig_error *err);
/* Wait until the device has taken everything written. 0, or the first write's error. */
int vmig_device_data_flush(struct vmig_device *device, struct vmig_error *err);

/* ---- which memory the device wrote: its own log, and the IOMMU's dirty bits ---- */

struct vmig_dma_range {
    uint64_t iova, size_bytes;
};
/* Start logging writes to @ranges (1 to 256). *pgsize: wished in; chosen out, at least 4,096 (bytes).
 * Makes one trial report: a log that cannot be read is refused with -EOPNOTSUPP (reason
 * "vfio-log-unreadable"). -E2BIG, -EINVAL, -EOPNOTSUPP also from devices that take fewer ranges, or
 * less memory. */
int vmig_device_dma_log_start(struct vmig_device *device, const struct vmig_dma_range *ranges,
                              unsigned num_ranges, uint64_t *pgsize, struct vmig_error *err);
/* 0 also when it was off. */
int vmig_device_dma_log_stop(struct vmig_device *device, struct vmig_error *err);
/* Copy the dirty bits of [iova, iova + size_bytes), multiples of 4096, into @bitmap and clear them in
 * the device. All of it must be mapped, or have been since the log started. Bit n is page
 * iova + n * pgsize, u64 words in host order, ceil(pages / 64) words, ORed into what is there. Pages
 * that a vfio-user server wrote through DMA_WRITE messages are included. */
int vmig_device_dma_log_report(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                               uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err);

/* Start tracking writes to all that is mapped now or will be. *ret_pgsize: what the IOMMU tells pages
 * in (bytes). -EOPNOTSUPP it cannot (VMIG_IOMMU_LOG_NONE); -ENOSPC a mapping is larger than it can
 * report (reason "vfio-bitmap-too-large", also from vmig_device_dma_map() while it is on). */
int vmig_device_iommu_log_start(struct vmig_device *device, uint64_t *ret_pgsize,
                                struct vmig_error *err);
/* 0 also when it was off. */
int vmig_device_iommu_log_stop(struct vmig_device *device, struct vmig_error *err);
/* As vmig_device_dma_log_report(). Whole mappings are cheapest: others are read whole, and what was
 * not asked for is kept for a later report. */
int vmig_device_iommu_log_report(struct vmig_device *device, uint64_t iova, uint64_t size_bytes,
                                 uint64_t pgsize, uint64_t *bitmap, struct vmig_error *err);

/* ---- which devices there are ---- */

enum vmig_prospect {
    VMIG_PROSPECT_UNKNOWN, /* its driver is not known: open it and ask */
    VMIG_PROSPECT_LIKELY,  /* its driver can, where hardware and firmware can */
    VMIG_PROSPECT_NO,      /* see reason */
};

/* One device, as sysfs and /dev show it. Made by the library, so it may grow at its end. */
struct vmig_device_entry {
    char address[64];              /* for vmig_device_open(): PCI address or UUID */
    bool mediated;                 /* a mediated device; else a PCI function */
    bool vfio;                     /* a VFIO driver holds it */
    char driver[64];               /* "": none */
    int group;                     /* number of its IOMMU group; -1: none */
    char group_node[64];           /* "/dev/vfio/17", "" none; whether it is there is in blocked */
    char cdev_node[64];            /* "/dev/vfio/devices/vfio0", or "": none */
    uint16_t vendor_id, device_id; /* 0xffff: not told */
    uint32_t class_code;           /* 24 bits */
    enum vmig_prospect prospect;
    char reason[40];        /* why it cannot migrate as it is: "no-vfio-driver", ...; or "" */
    char remedy[200];       /* what to do about it, or "" */
    char blocked[40];       /* why this process could not open it: "no-permission", ...; or "" */
    char blocked_text[400]; /* the same in words */
};

#define VMIG_LIST_ALL (1u << 0) /* also functions that no VFIO driver holds or is made for */

/* Call @each for every mediated device and PCI function that VFIO holds, or for which this kernel has
 * a VFIO driver that migrates it; first those that VFIO holds, by address. Opens no device and
 * disturbs none; needs no privilege. @entry lives for the call of @each, which may call anything
 * here; what it returns other than 0 ends the list and is returned.
 * @flags: VMIG_LIST_*. 0 when at least one was listed; -ENODEV there is none, and err->reason and
 * text say why and what to do; -ENOENT no sysfs to look in ("no-sysfs"); -ENOMEM. */
int vmig_device_list(unsigned flags,
                     int (*each)(const struct vmig_device_entry *entry, void *opaque), void *opaque,
                     struct vmig_error *err);

#ifdef __cplusplus
}
#endif
#endif
