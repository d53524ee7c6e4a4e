/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/stream/machine.h"

/* ---- ports ---- */

static bool overran(void *opaque)
{
    return ((struct port *)opaque)->overrun;
}

static const struct vmig_vmstate_field overrun_fields[] = {
    VMIG_VMSTATE_BOOL(overrun, struct port),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate overrun_table = {
    .name = "port/overrun", .version = 1, .fields = overrun_fields, .needed = overran
};
static const struct vmig_vmstate *const port_subsections[] = { &overrun_table, NULL };
static const struct vmig_vmstate_field port_fields[] = {
    VMIG_VMSTATE_UINT16(baud, struct port),
    VMIG_VMSTATE_UINT8_ARRAY(queue, struct port),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate port_table = {
    .name = "port", .version = 1, .fields = port_fields, .subsections = port_subsections
};
/* All are alike. */
static const struct vmig_vmstate plain_table = { .name = "plain",
                                                 .version = 2,
                                                 .fields = port_fields };

/* ---- a temporary ---- */

struct instant {
    struct machine *machine;
    uint64_t ns;
};

static int instant_pre_save(void *opaque, struct vmig_error *err)
{
    struct instant *t = opaque;
    (void)err;
    t->ns = t->machine->seconds * UINT64_C(1000000000) + t->machine->nanoseconds;
    return 0;
}

static int instant_post_load(void *opaque, uint32_t version, struct vmig_error *err)
{
    struct instant *t = opaque;
    (void)version;
    (void)err;
    t->machine->seconds = (uint32_t)(t->ns / 1000000000);
    t->machine->nanoseconds = (uint32_t)(t->ns % 1000000000);
    return 0;
}

static const struct vmig_vmstate_field instant_fields[] = {
    VMIG_VMSTATE_UINT64(ns, struct instant),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate instant_table = {
    .name = "instant",
    .version = 1,
    .fields = instant_fields,
    .pre_save = instant_pre_save,
    .post_load = instant_post_load,
};

/* ---- a codec: four lines of 0 or 1 in a byte ---- */

static size_t lines_length(void *member)
{
    (void)member;
    return 1;
}

static int lines_save(void *member, void *buf, size_t length, struct vmig_error *err)
{
    const uint8_t *lines = member;
    (void)length;
    (void)err;
    *(uint8_t *)buf = (uint8_t)(lines[0] | lines[1] << 1 | lines[2] << 2 | lines[3] << 3);
    return 0;
}

static int lines_load(void *member, const void *buf, size_t length, struct vmig_error *err)
{
    uint8_t *lines = member, all = *(const uint8_t *)buf;
    (void)length;
    (void)err;
    for (unsigned i = 0; i < 4; i++)
        lines[i] = all >> i & 1;
    return all > 15 ? -ERANGE : 0;
}

static const struct vmig_vmstate_codec lines_codec = { "lines", lines_length, lines_save,
                                                       lines_load };

/* ---- lists and trees: all of them singly linked here, the newest last ---- */

static bool has_tail(void *opaque)
{
    return ((struct request *)opaque)->tail;
}

static const struct vmig_vmstate_field tail_fields[] = { VMIG_VMSTATE_UINT8(tail, struct request),
                                                         VMIG_VMSTATE_END() };
static const struct vmig_vmstate tail_table = {
    .name = "request/tail", .version = 1, .fields = tail_fields, .needed = has_tail
};
static const struct vmig_vmstate *const request_subsections[] = { &tail_table, NULL };
static const struct vmig_vmstate_field request_fields[] = {
    VMIG_VMSTATE_UINT64(sector, struct request),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate request_table = {
    .name = "request", .version = 1, .fields = request_fields, .subsections = request_subsections
};

static void *request_next(void *container, void *element)
{
    return element ? ((struct request *)element)->next : *(struct request **)container;
}

static void *request_add(void *container, const void *key)
{
    struct request **at = container;
    (void)key;
    while (*at)
        at = &(*at)->next;
    *at = calloc(1, sizeof(**at));
    return *at;
}

static void request_clear(void *container)
{
    struct request **at = container;
    while (*at) {
        struct request *next = (*at)->next;
        free(*at);
        *at = next;
    }
}

static const struct vmig_vmstate_container requests = { .next = request_next,
                                                        .add = request_add,
                                                        .clear = request_clear };

static const struct vmig_vmstate_field mapping_fields[] = {
    VMIG_VMSTATE_UINT32(target, struct mapping),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate mapping_table = { .name = "mapping",
                                                   .version = 1,
                                                   .fields = mapping_fields };
static const struct vmig_vmstate_field slot_fields[] = {
    VMIG_VMSTATE_UINT8(bus, struct slot),
    VMIG_VMSTATE_UINT8(slot, struct slot),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate slot_table = { .name = "slot",
                                                .version = 1,
                                                .fields = slot_fields };

static void *mapping_next(void *container, void *element)
{
    return element ? ((struct mapping *)element)->next : *(struct mapping **)container;
}

static struct mapping *mapping_new(struct mapping **at)
{
    while (*at)
        at = &(*at)->next;
    *at = calloc(1, sizeof(**at));
    return *at;
}

static void *mapping_add(void *container, const void *key)
{
    struct mapping *m = mapping_new(container);
    if (m)
        memcpy(&m->key, key, sizeof(m->key));
    return m;
}

static void *slot_add(void *container, const void *key)
{
    struct mapping *m = mapping_new(container);
    if (m)
        memcpy(&m->where, key, sizeof(m->where));
    return m;
}

static void mapping_clear(void *container)
{
    struct mapping **at = container;
    while (*at) {
        struct mapping *next = (*at)->next;
        free(*at);
        *at = next;
    }
}

static const void *mapping_key(void *container, void *element)
{
    (void)container;
    return &((struct mapping *)element)->key;
}

static const void *slot_key(void *container, void *element)
{
    (void)container;
    return &((struct mapping *)element)->where;
}

static const struct vmig_vmstate_container mappings = {
    .next = mapping_next, .add = mapping_add, .clear = mapping_clear, .key = mapping_key
};
static const struct vmig_vmstate_container slots = { .next = mapping_next,
                                                     .add = slot_add,
                                                     .clear = mapping_clear,
                                                     .key = slot_key,
                                                     .key_vmsd = &slot_table,
                                                     .key_bytes = sizeof(struct slot) };

/* ---- the machine ---- */

static bool is_wide(void *opaque, uint32_t version)
{
    (void)version;
    return ((struct machine *)opaque)->wide;
}

static bool is_narrow(void *opaque, uint32_t version)
{
    return !is_wide(opaque, version);
}

static bool has_room(void *opaque, uint32_t version)
{
    (void)version;
    return ((struct machine *)opaque)->count <= 8;
}

static bool has_extra(void *opaque)
{
    return ((struct machine *)opaque)->has_extra;
}

static int extra_is_there(void *opaque, uint32_t version, struct vmig_error *err)
{
    (void)version;
    (void)err;
    ((struct machine *)opaque)->has_extra = true;
    return 0;
}

static const struct vmig_vmstate_field extra_fields[] = {
    VMIG_VMSTATE_UINT32(extra, struct machine),
    VMIG_VMSTATE_END(),
};
static const struct vmig_vmstate extra_table = { .name = "machine/extra",
                                                 .version = 7,
                                                 .minimum_version = 7,
                                                 .fields = extra_fields,
                                                 .needed = has_extra,
                                                 .post_load = extra_is_there };
static const struct vmig_vmstate *const machine_subsections[] = { &extra_table, NULL };

#define M struct machine
static const struct vmig_vmstate_field machine_fields[] = {
    VMIG_VMSTATE_BOOL(flag, M),
    VMIG_VMSTATE_INT8(i8, M),
    VMIG_VMSTATE_UINT8(u8, M),
    VMIG_VMSTATE_INT16(i16, M),
    VMIG_VMSTATE_UINT16(u16, M),
    VMIG_VMSTATE_INT32(i32, M),
    VMIG_VMSTATE_UINT32(u32, M),
    VMIG_VMSTATE_INT64(i64, M),
    VMIG_VMSTATE_UINT64(u64, M),
    VMIG_VMSTATE_VALUE(UINT8_EQUAL, u8_equal, M),
    VMIG_VMSTATE_VALUE(UINT16_EQUAL, u16_equal, M),
    VMIG_VMSTATE_VALUE(INT32_EQUAL, i32_equal, M),
    VMIG_VMSTATE_VALUE(UINT32_EQUAL, u32_equal, M),
    VMIG_VMSTATE_VALUE(UINT64_EQUAL, u64_equal, M),
    VMIG_VMSTATE_VALUE(INT32_LE, most, M),
    VMIG_VMSTATE_VALUE(FLOAT64, f64, M),
    VMIG_VMSTATE_VALUE(CPU_DOUBLE, cpu_double, M),
    VMIG_VMSTATE_TIMER(timer, M),
    VMIG_VMSTATE_BUFFER(raw, M),
    VMIG_VMSTATE_UNUSED(2),
    VMIG_VMSTATE_BITMAP(bits, M, 70),
    VMIG_VMSTATE_UINT32(num_bits, M),
    VMIG_VMSTATE_BITMAP_POINTER(more_bits, M, num_bits, 128),
    VMIG_VMSTATE_UINT16_ARRAY(array, M),
    VMIG_VMSTATE_UINT8(count, M),
    VMIG_VMSTATE_VALIDATE("count fits", has_room),
    VMIG_VMSTATE_VARRAY(UINT32, some, M, count, 1),
    VMIG_VMSTATE_UINT16(length, M),
    VMIG_VMSTATE_VBUFFER_ALLOC(bytes, M, length, 2, 1000),
    VMIG_VMSTATE_POINTER(UINT32, pointed, M),
    VMIG_VMSTATE_ARRAY_OF_POINTERS(UINT32, gaps, M),
    VMIG_VMSTATE_STRUCT(port, M, &port_table),
    VMIG_VMSTATE_STRUCT_ARRAY(ports, M, &port_table),
    VMIG_VMSTATE_STRUCT_ARRAY(ports, M, &plain_table),
    VMIG_VMSTATE_VSTRUCT(spare, M, &plain_table, 1),
    VMIG_VMSTATE_TMP(struct instant, &instant_table),
    VMIG_VMSTATE_CUSTOM(lines, M, &lines_codec),
    VMIG_VMSTATE_BOOL(wide, M),
    VMIG_VMSTATE_VALUE_IF(UINT32, config, M, 0, is_wide),
    VMIG_VMSTATE_VALUE_IF(INT32, config, M, 0, is_narrow),
    VMIG_VMSTATE_ELEMENTS_OF(TAILQ, queue, M, &request_table, &requests, 5),
    VMIG_VMSTATE_ELEMENTS_OF(LIST, done, M, &request_table, &requests, 5),
    VMIG_VMSTATE_ELEMENTS_OF(TREE, mappings, M, &mapping_table, &mappings, 5),
    VMIG_VMSTATE_ELEMENTS_OF(TREE, slots, M, &mapping_table, &slots, 5),
    VMIG_VMSTATE_END(),
};
const struct vmig_vmstate machine_table = { .name = "machine",
                                            .version = 3,
                                            .minimum_version = 3,
                                            .fields = machine_fields,
                                            .subsections = machine_subsections };

void machine_init(struct machine *m)
{
    memset(m, 0, sizeof(*m));
    m->u8_equal = 8;
    m->u16_equal = 16;
    m->i32_equal = -32;
    m->u32_equal = 32;
    m->u64_equal = UINT64_C(1) << 63;
    m->most = 10;
    m->more_bits = calloc(2, sizeof(uint64_t));
    m->pointed = &m->target;
    m->gaps[0] = &m->numbers[0];
    m->gaps[2] = &m->numbers[1];
}

static void add_request(struct request **list, uint64_t sector, uint8_t tail)
{
    struct request *r = request_add(list, NULL);
    r->sector = sector;
    r->tail = tail;
}

static void add_mapping(struct mapping **tree, uint64_t key, struct slot where, uint32_t target)
{
    struct mapping *m = mapping_new(tree);
    m->key = key;
    m->where = where;
    m->target = target;
}

void machine_fill(struct machine *m)
{
    static const struct port port = { 9600, { 1, 2, 3 }, false };
    m->flag = m->wide = m->has_extra = true;
    m->i8 = -8;
    m->u8 = 200;
    m->i16 = -16;
    m->u16 = 60000;
    m->i32 = -32;
    m->u32 = 4000000000;
    m->i64 = -64;
    m->u64 = UINT64_MAX;
    m->most = 7;
    m->f64 = 1.5;
    m->cpu_double = 1;
    m->timer = -1;
    memcpy(m->raw, "abcdef", 6);
    m->bits[0] = 1;
    m->bits[1] = 0x20;
    m->num_bits = 64;
    m->more_bits[0] = 3;
    for (uint16_t i = 0; i < 4; i++)
        m->array[i] = i;
    m->count = 2;
    m->some[0] = 5;
    m->some[1] = 6;
    m->length = 2;
    m->bytes = malloc(4);
    memcpy(m->bytes, "wxyz", 4);
    m->target = 77;
    m->numbers[0] = 1;
    m->numbers[1] = 2;
    m->port = m->ports[0] = m->ports[1] = m->spare = port;
    m->ports[1].overrun = true;
    m->seconds = 2;
    m->nanoseconds = 5;
    m->lines[1] = 1;
    m->config = 99;
    add_request(&m->queue, 10, 0);
    add_request(&m->queue, 11, 4);
    add_request(&m->queue, 12, 0);
    add_mapping(&m->mappings, 1, (struct slot) { 0 }, 100);
    add_mapping(&m->mappings, 2, (struct slot) { 0 }, 200);
    add_mapping(&m->slots, 0, (struct slot) { 3, 4 }, 300);
    m->extra = 55;
}

void machine_done(struct machine *m)
{
    request_clear(&m->queue);
    request_clear(&m->done);
    mapping_clear(&m->mappings);
    mapping_clear(&m->slots);
    free(m->bytes);
    free(m->more_bits);
}
