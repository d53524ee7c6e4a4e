/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that does what a test says. It keeps to the state machine unless its script makes it
 * fail, lie or land somewhere else, writes down what it was asked, and gives and takes data.
 *
 * The test owns struct fake and may change it between calls; open it with fake_open().
 */
#ifndef TESTS_DEVICE_FAKE_BACKEND_H
#define TESTS_DEVICE_FAKE_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include "lib/device/backend.h"

#define FAKE_STEPS 8
#define FAKE_STAYS (-1) /* a request that fails leaves the device where it was */

struct fake_set {
    int rc;    /* 0: does what it was asked, unless lands says otherwise */
    int lands; /* the state it is in afterwards; 0 on a success: the target; FAKE_STAYS */
    bool lies; /* reports success and stays where it was */
};

struct fake {
    uint64_t flags;
    struct vmig_device_info info;
    struct vmig_migration_info migration; /* flags come from above */
    enum vmig_state state;

    /* Scripts: what the nth request does; behind the end all succeed. Negative errno. */
    struct fake_set sets[FAKE_STEPS];
    int gets[FAKE_STEPS];
    int resets[FAKE_STEPS];
    unsigned num_sets, num_gets, num_resets;
    enum vmig_state after_reset; /* 0: RUNNING */
    char history[512];           /* "get set:STOP_COPY get reset " */

    /* Out: reads give the next bytes, an empty read at precopy_length in PRE_COPY and at length
     * in STOP_COPY. empty: what an empty read is, 0 or -ENOMSG. */
    const uint8_t *data;
    size_t length, precopy_length, given;
    int empty, read_rc;
    size_t largest_read;
    bool too_much; /* claims more bytes than were asked for */
    /* In. */
    uint8_t taken[4096];
    size_t taken_length;
    int write_rc, flush_rc;
    unsigned num_writes;

    uint64_t data_size;
    int data_size_rc;
    struct vmig_precopy_info precopy;
    int reinit_rc;
    unsigned num_reinits;

    int region_info_rc, irq_info_rc;
    struct vmig_region_info regions[10];
    uint8_t config[256];
    uint64_t log_pgsize; /* what START chooses; 0: what was wished */
    int log_start_rc, log_report_rc;
    unsigned num_reports, num_log_stops;
    uint64_t reported_iova, reported_size, reported_pgsize;
    uint64_t log_word; /* the first 64 bits of a report; 0: the first page */
    bool log_empty;    /* no bit at all, log_word comes once */
    bool log_ends_with_mapping;
    /* Its IOMMU's dirty bits: info; what was asked; what the next report or unmap finds in its first
     * 64 pages. */
    struct backend_iommu_log iommu_log;
    int iommu_start_rc, iommu_report_rc;
    unsigned num_iommu_reports;
    uint64_t iommu_iova, iommu_size, iommu_word;
    int map_rc, unmap_rc;
    int open_rc;
    bool closed;

    /* Block the next SET until released: a hanging kernel. */
    bool hang;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hanging;
};

extern const struct backend_ops fake_ops;

/* All states, RUNNING, a config space with an identity. */
void fake_init(struct fake *fake);
/* vmig_device_open() of @fake. */
int fake_open(struct fake *fake, const struct vmig_device_options *options,
              struct vmig_device **ret, struct vmig_error *err);
/* Wait until a SET hangs; let it go on. */
void fake_wait_hanging(struct fake *fake);
void fake_release(struct fake *fake);
bool fake_is_closed(struct fake *fake);

#endif
