/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault plan: what goes wrong in a device that was told to, and when.
 *
 *     WHAT[:VALUE]@WHERE[/NAME][#N[+]]
 *
 *     fail:EIO@arc/STOP_COPY      hang@arc/RUNNING_P2P#2      late:500ms@read#3
 *     corrupt@byte#65536          lie:0@command/size#1+       vanish@write#10
 *
 * WHERE is counted from 1 (byte: an offset, from 0) since the plan was set; + means from then on.
 * What each WHAT does at each WHERE, and what makes no sense, is the table in fault.c and, in words
 * for users, vfio-migrate-refdev(1).
 */
#ifndef REFDEV_MODEL_FAULT_H
#define REFDEV_MODEL_FAULT_H

#include "refdev/model/types.h"

#define REFDEV_FAULTS_MAX 8
#define REFDEV_FAULT_TEXT_MAX 80 /* with its NUL */
#define REFDEV_FAULT_LATE_MAX_NS 3600000000000ull

enum refdev_fault_what {
    REFDEV_FAIL,     /* answers an errno; the device stays as it was */
    REFDEV_ERROR,    /* answers an errno; the device is in ERROR from then on */
    REFDEV_HANG,     /* does not answer until the door is closed or the plan replaced */
    REFDEV_LATE,     /* answers after a time */
    REFDEV_LIE,      /* answers what is not true */
    REFDEV_SHORT,    /* a read returns less than it could */
    REFDEV_CORRUPT,  /* a bit of the state flips */
    REFDEV_TRUNCATE, /* the state ends */
    REFDEV_VANISH,   /* the device is gone */
    REFDEV_WHAT_COUNT,
};

enum refdev_fault_where {
    REFDEV_AT_ARC,     /* a single state change begins; NAME is the state that it leads to */
    REFDEV_AT_READ,    /* state is read */
    REFDEV_AT_WRITE,   /* state is written */
    REFDEV_AT_BYTE,    /* the stream that is saved or loaded has come to this offset */
    REFDEV_AT_COMMAND, /* anything is asked of the device; NAME is what */
    REFDEV_WHERE_COUNT,
};

enum refdev_fault_command {
    REFDEV_COMMAND_VERSION,
    REFDEV_COMMAND_DMA_MAP,
    REFDEV_COMMAND_DMA_UNMAP,
    REFDEV_COMMAND_DEVICE_INFO,
    REFDEV_COMMAND_REGION_INFO,
    REFDEV_COMMAND_IRQ_INFO,
    REFDEV_COMMAND_SET_IRQS,
    REFDEV_COMMAND_REGION_READ,
    REFDEV_COMMAND_REGION_WRITE,
    REFDEV_COMMAND_RESET,
    REFDEV_COMMAND_PROBE, /* of any feature */
    REFDEV_COMMAND_FLAGS,
    REFDEV_COMMAND_GET_STATE,
    REFDEV_COMMAND_SET_STATE,
    REFDEV_COMMAND_SIZE,
    REFDEV_COMMAND_INFO,
    REFDEV_COMMAND_REINIT, /* the opt-in to initial bytes that are announced again */
    REFDEV_COMMAND_LOG_START,
    REFDEV_COMMAND_LOG_STOP,
    REFDEV_COMMAND_LOG_REPORT,
    REFDEV_COMMAND_DATA_READ,
    REFDEV_COMMAND_DATA_WRITE,
    REFDEV_COMMAND_OTHER,
    REFDEV_COMMAND_COUNT,
};

struct refdev_fault {
    enum refdev_fault_what what;
    enum refdev_fault_where where;
    uint32_t names;     /* bits by state (arc) or enum refdev_fault_command; all set: any */
    int code;           /* fail, error: errno, positive */
    uint64_t values[2]; /* late: ns; short: bytes; lie: what is said (info: initial, dirty) */
    bool lies[2];       /* which of the values are said */
    uint64_t nth;       /* byte: offset */
    bool from_then_on;
    uint64_t seen; /* how often it was there (byte: whether it fired) */
    char text[REFDEV_FAULT_TEXT_MAX];
};

/* Why a text is no fault: a sentence, the part of the text it is about, and, for a word that is
 * not known, those that are (NULL-terminated; else NULL). */
struct refdev_fault_error {
    const char *why;
    unsigned at, length;
    const char *const *names;
};

/* 0 or -EINVAL. */
int refdev_fault_parse(const char *text, struct refdev_fault *ret);
int refdev_fault_parse_why(const char *text, struct refdev_fault *ret,
                           struct refdev_fault_error *ret_error);

/* The numbers in faults, for doors whose other settings are text as well: sizes such as "4096" or
 * "64K" (up to T), times such as "500ms" (ns to m). False: @text is not one of them. */
bool refdev_parse_bytes(const char *text, uint64_t *ret);
bool refdev_parse_time(const char *text, uint64_t *ret);

/* The words, each a NULL-terminated list. */
extern const char *const refdev_fault_whats[],
    *const refdev_fault_wheres[], *const refdev_fault_states[], *const refdev_fault_commands[];

#endif
