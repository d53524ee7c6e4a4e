/* SPDX-License-Identifier: BSD-3-Clause */
/* An emulated machine as a VMM has one, with a table that uses every kind of field. */
#ifndef TESTS_STREAM_MACHINE_H
#define TESTS_STREAM_MACHINE_H

#include <vfio-migrate/vmstate.h>

struct port {
    uint16_t baud;
    uint8_t queue[3];
    bool overrun; /* a subsection */
};
struct request { /* in a list */
    struct request *next;
    uint64_t sector;
    uint8_t tail; /* a subsection of its own where not 0 */
};
struct mapping { /* in a tree */
    struct mapping *next;
    uint64_t key;
    struct slot {
        uint8_t bus, slot;
    } where; /* the other tree's key */
    uint32_t target;
};
struct machine {
    bool flag;
    int8_t i8;
    uint8_t u8, u8_equal;
    int16_t i16;
    uint16_t u16, u16_equal;
    int32_t i32, i32_equal, most;
    uint32_t u32, u32_equal;
    int64_t i64;
    uint64_t u64, u64_equal;
    double f64;
    uint64_t cpu_double;
    int64_t timer;
    uint8_t raw[6];
    uint64_t bits[2];
    uint32_t num_bits;
    uint64_t *more_bits;
    uint16_t array[4];
    uint8_t count;
    uint32_t some[8];
    uint16_t length;
    uint8_t *bytes;
    uint32_t *pointed, target;
    uint32_t numbers[2], *gaps[3];
    struct port port, ports[2], spare;
    uint32_t seconds, nanoseconds; /* one number on the wire, through a temporary */
    uint8_t lines[4];              /* as a codec has them: one byte */
    uint32_t config;
    bool wide; /* which of two entries of one name is there */
    struct request *queue, *done;
    struct mapping *mappings, *slots;
    bool has_extra;
    uint32_t extra;
};
extern const struct vmig_vmstate machine_table;

/* Nothing in it, but what must be equal and where pointers lead. */
void machine_init(struct machine *m);
void machine_fill(struct machine *m);
void machine_done(struct machine *m);

#endif
