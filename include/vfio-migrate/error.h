/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors: a number for code, a message for people.
 *
 * Every call that can fail returns 0 or a count on success and a negative errno on failure, and
 * takes a struct vmig_error as its last argument. The caller owns it (zero it first), it may be
 * NULL, and it has a fixed size, so a failing path never allocates. The first error wins: a filled
 * one is never overwritten.
 */
#ifndef VFIO_MIGRATE_ERROR_H
#define VFIO_MIGRATE_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where in the life of a migration something happened; see vfio-migrate(7). */
enum vmig_stage {
    VMIG_STAGE_NONE,
    VMIG_STAGE_OPEN,       /* a device or channel is opened */
    VMIG_STAGE_PREPARE,    /* every participant may veto, nothing was touched */
    VMIG_STAGE_SETUP,      /* PRE_COPY and RESUMING are entered, tracking starts */
    VMIG_STAGE_ROUNDS,     /* pre-copy rounds */
    VMIG_STAGE_SWITCHOVER, /* asking the target for its acknowledgement */
    VMIG_STAGE_QUIESCE,    /* the workload stops, devices go to P2P, then to STOP_COPY */
    VMIG_STAGE_COMPLETE,   /* the rest of the state, the manifest */
    VMIG_STAGE_HANDOVER,   /* LOADED, GO, RUNNING */
    VMIG_STAGE_RESUME,     /* devices go back to RUNNING */
    VMIG_STAGE_CLEANUP,    /* after the pause */
    VMIG_STAGE_COUNT
};

struct vmig_error {
    int code;              /* negative errno; 0 means no error */
    enum vmig_stage stage; /* where it happened */
    char device[64];       /* the device's id, or "" when no device is concerned */
    char reason[40];       /* stable reason code such as "vfio-no-kernel-support", or "" */
    char text[512];        /* one sentence: what, both numbers, what to do; no newline */
};

/* "setup" for VMIG_STAGE_SETUP; "?" for a number that is no stage. Static string. */
const char *vmig_stage_name(enum vmig_stage stage);

/* Write "device: stage: text" (parts that are absent are left out) to @buf, always terminated.
 * Returns @buf. */
const char *vmig_error_message(const struct vmig_error *err, char *buf, size_t size_bytes);

#ifdef __cplusplus
}
#endif
#endif
