/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device's model: what a door (vfio-user server, kernel module) drives.
 *
 * The door owns memory and time: it hands in the device-local memory and the shared BAR, calls
 * refdev_tick() when work is due, and carries the client's accesses and migration calls. The model
 * reaches guest memory and interrupts through struct refdev_door_ops. Calls are not reentrant and
 * not locked: one thread at a time. The only exception: the mapped part of BAR 2 may be written by
 * anybody at any time.
 *
 * 0 or a count on success, negative errno on failure.
 */
#ifndef REFDEV_MODEL_MODEL_H
#define REFDEV_MODEL_MODEL_H

#include "refdev/model/fault.h"
#include "refdev/model/types.h"
#include "refdev/registers.h"

struct refdev_model;

struct refdev_door_ops {
    /* Guest memory. -ENXIO: there is none at all now (no client). A write returns 0 when it went
     * there directly, 1 when the other side carried it out and so records it as dirty itself. */
    int (*dma_read)(void *door, uint64_t iova, void *buf, uint64_t length_bytes);
    int (*dma_write)(void *door, uint64_t iova, const void *buf, uint64_t length_bytes);
    /* Raise vector @vector of interrupt index @index (0 INTx, 1 MSI, 2 MSI-X). False: nobody
     * listens to it. */
    bool (*interrupt)(void *door, unsigned index, unsigned vector);
    /* Wait. Non-zero: broken off, the door is being closed. */
    int (*sleep_ns)(void *door, uint64_t ns);
    uint64_t (*now_ns)(void *door);
    /* Zeroed memory or NULL. */
    void *(*alloc)(void *door, size_t size_bytes);
    void (*free)(void *door, void *ptr);
    /* Tell whoever operates the device why state was refused; @offset is into the stream. */
    void (*refused)(void *door, const char *why, uint64_t offset);
    /* For devices with a fault plan. @fault happens now. */
    void (*faulted)(void *door, const struct refdev_fault *fault);
    /* Answer nobody, until the plan is replaced (0: go on) or the door is closed (non-zero). */
    int (*hang)(void *door);
    /* The device is gone: after this call ends, so does the door. */
    void (*vanish)(void *door);
};

/* ---- profiles ---- */

#define REFDEV_QUIRK_IRQ_NEEDS_INFO 1u    /* interrupt calls fail until the device info was read */
#define REFDEV_QUIRK_NO_RESET_FLAG 2u     /* reset works but is not advertised */
#define REFDEV_QUIRK_ECHO_INFO_FLAGS 4u   /* pre-copy info returns the flags it was given */
#define REFDEV_QUIRK_ZERO_WHEN_DRAINED 8u /* an empty read in PRE_COPY instead of ENOMSG */
/* Written pages become pre-copy data only when the pre-copy info is asked for, in PRE_COPY, after
 * all before was read. */
#define REFDEV_QUIRK_INFO_FETCHES 16u
#define REFDEV_QUIRK_WHOLE_AGAIN 32u        /* what is fetched is everything, each time */
#define REFDEV_QUIRK_SIZE_IS_WHOLE 64u      /* the size counts what pre-copy has sent already */
#define REFDEV_QUIRK_IMAGES 128u            /* records in frames of 16 bytes: stream-bulk.h */
#define REFDEV_QUIRK_TRUNCATION_PASSES 256u /* leaves RESUMING with whatever has come */
#define REFDEV_QUIRK_P2P_FREEZES 512u       /* the P2P states stop all, registers included */

struct refdev_stream_ops;
struct refdev_region_ops;

struct refdev_profile {
    const char *name;
    const char *about; /* for people: sentences that end with a full stop */
    uint16_t vendor_id, device_id;
    uint32_t class_code;
    uint64_t migration_flags; /* bit 0 STOP_COPY, 1 P2P, 2 PRE_COPY */
    bool has_dma, has_dma_log, log_always_clean, log_one_range;
    bool has_reinit; /* can announce new initial bytes in mid-flight */
    unsigned quirks;
    uint64_t default_local_bytes, max_local_bytes;
    uint64_t constant_data_size; /* 0: the truth */
    uint64_t log_pgsize;         /* smallest page of the DMA log; 0: 4096 */
    unsigned load_begin_arcs;    /* entering RESUMING takes as long as so many arcs; 0: one */
    const struct refdev_stream_ops *stream;
    const struct refdev_region_ops *regions;
};

/* NULL past the end. */
const struct refdev_profile *refdev_profile_at(unsigned n);

/* ---- creation ---- */

struct refdev_knobs {
    const struct refdev_profile *profile;
    uint64_t seed;
    uint64_t transition_ns;   /* what each arc takes */
    uint64_t dirty_set_bytes; /* part of local memory that is rewritten; 0: all of it */
    uint64_t log_pgsize;      /* smallest page of the DMA log; 0: the profile's */
    uint64_t reinit; /* announcements of new initial bytes in one PRE_COPY, to who opted in */
    /* an autonomous workload from the start and after every reset, when a rate is not 0 */
    uint64_t dma_rate, dirty_rate, slot_base, slot_count;
    struct refdev_fault faults[REFDEV_FAULTS_MAX];
    unsigned fault_count;
};

size_t refdev_model_bytes(void);

/* Does the profile take these settings, with @local_bytes of local memory? */
bool refdev_knobs_fit(const struct refdev_knobs *knobs, uint64_t local_bytes);

/* Begin a device in RUNNING. @model: refdev_model_bytes() zeroed bytes, 64-byte aligned. @local:
 * @local_bytes of page-aligned memory (a multiple of the page, 0 and NULL where the profile has
 * none), filled here; @shared: REFDEV_SHARED_BYTES of it. Everything is borrowed until
 * refdev_done(). -EINVAL for knobs that do not fit the profile. */
int refdev_init(struct refdev_model *model, const struct refdev_knobs *knobs, void *local,
                uint64_t local_bytes, void *shared, const struct refdev_door_ops *ops, void *door);
void refdev_done(struct refdev_model *model);
/* Other memory in place of @shared, before a reset; the old is given back. */
void refdev_set_shared(struct refdev_model *model, void *shared);

/* Do the work that is due at @now_ns. Returns the ns until there is more, UINT64_MAX for none. */
uint64_t refdev_tick(struct refdev_model *model, uint64_t now_ns);

/* Function reset: registers and local memory as new, RUNNING, streams and DMA log gone. */
void refdev_reset(struct refdev_model *model);

/* ---- faults ---- */

/* Fault number @index of the plan with what was counted; false where there is none. */
bool refdev_fault_at(const struct refdev_model *model, unsigned index, struct refdev_fault *ret);

/* Replace the fault plan; all counting begins anew. @count <= REFDEV_FAULTS_MAX. */
void refdev_set_faults(struct refdev_model *model, const struct refdev_fault *faults,
                       unsigned count);
/* The door was asked for @command and is about to do it. Non-zero: answer this errno instead. */
int refdev_fault_command(struct refdev_model *model, enum refdev_fault_command command);
/* The door is about to answer @command with @values: true when some of them became lies. The model
 * itself lies about sizes and the DMA log. */
bool refdev_fault_lie(struct refdev_model *model, enum refdev_fault_command command,
                      uint64_t *values);

/* ---- regions and interrupts: indexes as in VFIO's PCI numbering ---- */

#define REFDEV_NUM_REGIONS 9
#define REFDEV_NUM_IRQS 5
#define REFDEV_REGION_CONFIG 7
#define REFDEV_REGION_READ 1u
#define REFDEV_REGION_WRITE 2u
#define REFDEV_REGION_MMAP 4u

struct refdev_region_info {
    uint64_t size_bytes; /* 0: not implemented */
    uint32_t flags;
    uint64_t map_offset, map_bytes; /* the part that may be mapped; 0: none */
};
int refdev_region_info(const struct refdev_model *model, unsigned index,
                       struct refdev_region_info *ret);
int refdev_region_read(struct refdev_model *model, unsigned index, uint64_t offset, void *buf,
                       uint64_t length_bytes);
int refdev_region_write(struct refdev_model *model, unsigned index, uint64_t offset,
                        const void *buf, uint64_t length_bytes);

struct refdev_irq_info {
    uint32_t flags; /* bit 0 eventfd, 1 maskable, 2 automasked, 3 noresize */
    unsigned count;
};
int refdev_irq_info(const struct refdev_model *model, unsigned index, struct refdev_irq_info *ret);

const struct refdev_profile *refdev_profile_of(const struct refdev_model *model);

/* ---- migration ---- */

/* The flags that the present client is shown. Hiding the P2P bit while the device is in a P2P state
 * takes it to the state without. */
void refdev_show_flags(struct refdev_model *model, uint64_t mask);
uint64_t refdev_flags(const struct refdev_model *model);

unsigned refdev_state(const struct refdev_model *model);
/* All arcs on the way; an arc that fails leaves the device where the last one led. */
int refdev_set_state(struct refdev_model *model, unsigned target);

int refdev_data_size(struct refdev_model *model, uint64_t *ret_bytes);
int refdev_precopy_info(struct refdev_model *model, uint64_t *ret_initial, uint64_t *ret_dirty);
/* The present client wants new initial bytes announced, or no longer. -ENOTTY: never are. */
int refdev_precopy_opt_in(struct refdev_model *model, bool on);
#define REFDEV_PRECOPY_REINIT 1u
/* Flags of the last refdev_precopy_info(). */
uint32_t refdev_precopy_flags(const struct refdev_model *model);

struct refdev_segment {
    const void *data;
    size_t length_bytes;
};
#define REFDEV_DATA_MAX (1u << 20) /* bytes of one refdev_data_read() */
#define REFDEV_SEGMENTS_MAX 656u   /* what REFDEV_DATA_MAX can need */

/* The next @size_bytes (1..REFDEV_DATA_MAX) of the state as pieces of memory, valid until the next
 * call into the model. Returns the count of bytes, which is @size_bytes unless the end (or in
 * PRE_COPY the end for now) was reached; 0: end of data; -ENOMSG: nothing now; -EINVAL: not in a
 * saving state. @segments has room for REFDEV_SEGMENTS_MAX. */
int refdev_data_read(struct refdev_model *model, uint64_t size_bytes,
                     struct refdev_segment *segments, unsigned *ret_count);

/* A write of @length_bytes of the state begins: once before its first refdev_data_place(). */
int refdev_data_write_begin(struct refdev_model *model, uint64_t length_bytes);
/* Where the next bytes of the state to load shall be put: @ret_length bytes at @ret_data; then tell
 * how many were (0 < @length_bytes <= *ret_length). -EINVAL not in RESUMING, or the state was
 * refused before. */
int refdev_data_place(struct refdev_model *model, void **ret_data, uint64_t *ret_length);
int refdev_data_placed(struct refdev_model *model, uint64_t length_bytes);
/* The same from a buffer. All of it, or the error of the byte that was refused. */
int refdev_data_write(struct refdev_model *model, const void *buf, uint64_t length_bytes);

/* ---- DMA logging ---- */

struct refdev_range {
    uint64_t iova, length_bytes;
};
#define REFDEV_LOG_RANGES_MAX 256
/* @count 0: everything. *pgsize: wished in, chosen out. */
int refdev_log_start(struct refdev_model *model, const struct refdev_range *ranges, unsigned count,
                     uint64_t *pgsize);
void refdev_log_stop(struct refdev_model *model);
/* Read and clear. Sets bits in @bitmap: bit n is page @iova + n * @pgsize. */
int refdev_log_report(struct refdev_model *model, uint64_t iova, uint64_t length_bytes,
                      uint64_t pgsize, uint64_t *bitmap);
/* For doors that report a large range in parts: the first address from @iova on of which a report may
 * have anything to say, UINT64_MAX for none. */
uint64_t refdev_log_next(const struct refdev_model *model, uint64_t iova);

#endif
