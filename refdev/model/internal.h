/* SPDX-License-Identifier: BSD-3-Clause */
/* What the model's files share. Who may do what is decided by the migration state alone: */
/*   RUNNING, PRE_COPY            everything                                                    */
/*   RUNNING_P2P, PRE_COPY_P2P    registers and peers' writes are taken, no work, no DMA        */
/*   STOP, STOP_COPY, RESUMING    frozen: BAR writes are dropped and counted                    */
#ifndef REFDEV_MODEL_INTERNAL_H
#define REFDEV_MODEL_INTERNAL_H

#include "lib/device/fsm.h"
#include "refdev/model/digest.h"
#include "refdev/model/model.h"
#include "refdev/pattern.h"

#define REFDEV_CONFIG_BYTES 4096
#define REFDEV_REG_UNSURE                                                                          \
    REFDEV_REG_END /* internal: bit 0 the next slot, bit 1 the peer page may                       \
                    * hold anything, since a write into it failed */
#define REFDEV_REGS (REFDEV_REG_UNSURE / 8 + 1)
#define REFDEV_SMALL_BYTES 4096
#define REFDEV_ARENA_BYTES 16384
#define REFDEV_RUN_PAGES 256u /* largest run of pages in one record: 1 MiB */
/* Each fault can cut a segment into three. */
#define REFDEV_EMIT_MAX (REFDEV_SEGMENTS_MAX - 2 * REFDEV_FAULTS_MAX)

/* ---- DMA log: leaves of bits, made as pages are written ---- */

#define REFDEV_LEAF_SHIFT 27 /* IOVA bytes that a leaf covers: 128 MiB, 4 KiB of bits */
#define REFDEV_LEAF_WORDS 512
#define REFDEV_LOG_BUCKETS 256
#define REFDEV_LOG_LEAVES_MAX 16384u /* 2 TiB of guest memory that was written */

struct refdev_leaf {
    struct refdev_leaf *next;
    uint64_t number; /* iova >> REFDEV_LEAF_SHIFT */
    uint64_t bits[REFDEV_LEAF_WORDS];
};

struct refdev_log {
    bool on, lost; /* lost: no leaf for a page, so the log is worthless */
    uint64_t pgsize;
    unsigned range_count; /* 0: everything */
    unsigned leaf_count;
    struct refdev_range ranges[REFDEV_LOG_RANGES_MAX];
    struct refdev_leaf *buckets[REFDEV_LOG_BUCKETS];
};
void refdev_log_mark(struct refdev_model *model, uint64_t iova, uint64_t length_bytes);

/* ---- state stream ---- */

struct refdev_emit {
    struct refdev_segment *segments;
    unsigned count;
    uint64_t room_bytes;
    uint64_t arena_used;
};

struct refdev_stream_ops {
    void (*save_begin)(struct refdev_model *model);
    /* The device stopped: what it holds now is what goes out last. */
    void (*save_stopped)(struct refdev_model *model);
    void (*save_read)(struct refdev_model *model, struct refdev_emit *emit);
    /* Only with REFDEV_QUIRK_INFO_FETCHES: if all was read, look what more there is. */
    void (*save_fetch)(struct refdev_model *model);
    void (*save_info)(const struct refdev_model *model, uint64_t *initial, uint64_t *dirty);
    uint64_t (*save_length)(const struct refdev_model *model);
    /* Begin again with initial bytes, on the same stream. NULL: cannot. */
    void (*save_again)(struct refdev_model *model);
    void (*load_begin)(struct refdev_model *model);
    int (*load_place)(struct refdev_model *model, void **data, uint64_t *length_bytes);
    int (*load_placed)(struct refdev_model *model, uint64_t length_bytes);
    int (*load_finish)(struct refdev_model *model);
};
extern const struct refdev_stream_ops refdev_bulk_stream;
extern const struct refdev_stream_ops refdev_mtty_stream;
extern const struct refdev_stream_ops refdev_hisi_stream;
extern const struct refdev_stream_ops refdev_qat_stream;

/* A piece that is passed on as it lies in memory, and one whose bytes are copied first. Both return
 * how many bytes were taken. */
uint64_t refdev_emit_memory(struct refdev_emit *emit, const void *data, uint64_t length_bytes);
uint64_t refdev_emit_copy(struct refdev_model *model, struct refdev_emit *emit, const void *data,
                          uint64_t length_bytes);

/* A stream that fits into a buffer (mtty, hisi_acc, qat). */
struct refdev_small {
    uint8_t bytes[REFDEV_SMALL_BYTES];
    uint64_t done, ready, total; /* save: sent, may be sent now, will be; load: filled in done */
    bool head_checked;
};

/* The bulk format: see stream-bulk.h. */
enum refdev_bulk_phase {
    REFDEV_BULK_SIZE, /* only in frames: how much is expected */
    REFDEV_BULK_HEADER,
    REFDEV_BULK_FIRST,  /* every page once, in order */
    REFDEV_BULK_DIRTY,  /* pages written since they were sent */
    REFDEV_BULK_SHARED, /* DEVICE began; SHARED is next */
    REFDEV_BULK_END,
    REFDEV_BULK_DONE,
};

struct refdev_record {
    uint64_t magic;
    uint32_t type;
    uint32_t sequence;
    uint64_t first; /* page index */
    uint64_t length_bytes;
};

struct refdev_frame {
    uint64_t length_bytes; /* of what follows */
    uint32_t flags, tag;
};

struct refdev_bulk {
    enum refdev_bulk_phase phase;
    struct refdev_frame frame;   /* around the record */
    struct refdev_record record; /* the one under way */
    const void *payload;         /* save */
    void *target;                /* load */
    uint64_t trailer;
    unsigned part; /* enum bulk_part */
    uint64_t part_done;
    struct refdev_digest digest;
    uint32_t sequence;
    uint64_t offset;       /* bytes of the stream so far */
    uint64_t record_bytes; /* those of records alone */
    uint64_t cursor; /* save: next page, or where to look on for dirty ones; load: all pages before
                      * it have come */
    uint64_t increment_pages; /* save: fetched and not sent yet, where that makes a difference */
    bool refused, ended;
    uint32_t seen; /* load: a bit per record type */
    union {
        uint64_t words[128];
        uint8_t bytes[1024];
    } section; /* HEADER, DEVICE and END are put together here */
    uint8_t shared[REFDEV_SHARED_BYTES];
};

/* ---- faults ---- */

/* The plan, and how it stands with the present stream. */
struct refdev_plan {
    struct refdev_fault faults[REFDEV_FAULTS_MAX];
    unsigned count;
    uint64_t offset; /* bytes of the stream saved or loaded so far */
    bool truncated;
    uint64_t junk_bytes; /* still to be read after the end */
    bool flip;           /* one bit of this read or write, at flip_at bytes of the stream */
    uint64_t flip_at;
    uint8_t *place; /* what refdev_data_place() returned */
    uint8_t flipped[REFDEV_FAULTS_MAX];
    unsigned flipped_count;
};

/* ---- regions ---- */

struct refdev_region_ops {
    void (*reset)(struct refdev_model *model);
    int (*info)(const struct refdev_model *model, unsigned index, struct refdev_region_info *ret);
    int (*irq)(const struct refdev_model *model, unsigned index, struct refdev_irq_info *ret);
    int (*read)(struct refdev_model *model, unsigned index, uint64_t offset, uint8_t *buf,
                uint64_t length_bytes);
    int (*write)(struct refdev_model *model, unsigned index, uint64_t offset, const uint8_t *buf,
                 uint64_t length_bytes);
};
extern const struct refdev_region_ops refdev_pci_regions;
extern const struct refdev_region_ops refdev_mtty_regions;

#define REFDEV_MTTY_PORTS 2
struct refdev_uart {
    uint8_t reg[8], fifo[16], head, tail, count, dlab, overrun;
    uint16_t divisor;
    uint8_t fcr, trigger;
};

/* ---- the model ---- */

struct refdev_model {
    const struct refdev_profile *profile;
    struct refdev_knobs knobs;
    const struct refdev_door_ops *ops;
    void *door;
    uint64_t shown_flags;
    unsigned state;

    uint64_t regs[REFDEV_REGS];
    uint8_t config[REFDEV_CONFIG_BYTES];
    uint8_t msix[REFDEV_MSIX_BYTES];
    struct refdev_uart uarts[REFDEV_MTTY_PORTS];

    uint64_t *local;
    uint64_t local_pages;
    bool local_touched; /* differs from what reset makes */
    uint8_t *shared;
    uint64_t shared_digest; /* when the device was frozen */

    uint64_t last_ns, dma_credit, dirty_credit; /* credits in 1e-9 pages */
    uint64_t verify_next, verify_wrong;

    struct refdev_plan plan;
    struct refdev_log log;
    bool tracking; /* pages that the save stream has to send (again) */
    uint64_t *dirty_bits, dirty_pages;
    /* pre-copy info: opted in; announcements that are still due; initial bytes were told as 0; the
     * last answer announced new ones */
    bool reinit_on, initial_over, reinit_told;
    uint64_t reinit_left;

    union {
        struct refdev_bulk bulk;
        struct refdev_small small;
    } stream;
    uint64_t page[REFDEV_PATTERN_LANES];
    uint8_t arena[REFDEV_ARENA_BYTES];
};

static inline uint64_t *refdev_reg(struct refdev_model *model, unsigned offset)
{
    return &model->regs[offset / 8];
}

static inline uint64_t refdev_reg_value(const struct refdev_model *model, unsigned offset)
{
    return model->regs[offset / 8];
}

static inline bool refdev_is_running(const struct refdev_model *model)
{
    return model->state == VMIG_STATE_RUNNING || model->state == VMIG_STATE_PRE_COPY;
}

static inline bool refdev_is_p2p(const struct refdev_model *model)
{
    return model->state == VMIG_STATE_RUNNING_P2P || model->state == VMIG_STATE_PRE_COPY_P2P;
}

static inline bool refdev_is_frozen(const struct refdev_model *model)
{
    bool p2p_takes = !(model->profile->quirks & REFDEV_QUIRK_P2P_FREEZES);
    return !refdev_is_running(model) && !(p2p_takes && refdev_is_p2p(model));
}

/* config-space.c */
void refdev_config_reset(struct refdev_model *model);
void refdev_config_write(struct refdev_model *model, uint64_t offset, const uint8_t *buf,
                         uint64_t length_bytes);
bool refdev_config_bus_master(const struct refdev_model *model);
bool refdev_config_intx_enabled(const struct refdev_model *model);
uint32_t refdev_config_get32(const struct refdev_model *model, unsigned offset);
#define REFDEV_CONFIG_SAVED 11 /* dwords that travel with the state */
void refdev_config_save(const struct refdev_model *model, uint32_t *dwords);
void refdev_config_load(struct refdev_model *model, const uint32_t *dwords);

/* registers.c */
bool refdev_registers_valid(const struct refdev_model *model, const uint64_t *regs);
void refdev_interrupt(struct refdev_model *model, unsigned vector);

/* dma.c */
int refdev_dma_read(struct refdev_model *model, uint64_t iova, void *buf, uint64_t length_bytes);
int refdev_dma_write(struct refdev_model *model, uint64_t iova, const void *buf,
                     uint64_t length_bytes);
void refdev_copy_run(struct refdev_model *model);

/* workload.c */
void refdev_workload_start(struct refdev_model *model);
void refdev_local_reset(struct refdev_model *model);

/* verify.c */
void refdev_verify_begin(struct refdev_model *model);
void refdev_verify_run(struct refdev_model *model);
void refdev_verify_cancel(struct refdev_model *model);

void refdev_refuse(struct refdev_model *model, const char *why, uint64_t offset);

/* fault-fire.c: each at the place in its name, before anything is done. Negative: answer that. */
void refdev_fault_stream_begins(struct refdev_model *model);
int refdev_fault_arc(struct refdev_model *model, unsigned to);
/* May lower *size_bytes; 1: read, 0: answer that there is nothing. */
int refdev_fault_read(struct refdev_model *model, uint64_t *size_bytes);
/* @got bytes are about to be answered. Returns how many it shall be. */
int refdev_fault_was_read(struct refdev_model *model, struct refdev_segment *segments,
                          unsigned *count, uint64_t size_bytes, int got);
int refdev_fault_write(struct refdev_model *model, uint64_t length_bytes);
int refdev_fault_place(struct refdev_model *model, uint64_t *room_bytes);
void refdev_fault_placed(struct refdev_model *model, uint64_t length_bytes);

#endif
