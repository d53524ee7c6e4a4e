/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TRACE(name, values...): one of the points of trace-list.h, as a USDT probe (a nop, and a note in the
 * ELF file that says where it and its values are) and, while somebody listens, as a line.
 *
 * From the list come, for each point: its number, a function with typed arguments, which is inlined so
 * that each place is a probe of its own, and its row of the table that the public header shows.
 */
#ifndef LIB_TRACE_TRACE_H
#define LIB_TRACE_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#define SDT_USE_VARIADIC
#include <sys/sdt.h>

#include "lib/trace/trace-list.h"

/* M(type, name) for each (type, name). */
#define TRACE_EACH_1(M, f) M f
#define TRACE_EACH_2(M, f, ...) M f TRACE_EACH_1(M, __VA_ARGS__)
#define TRACE_EACH_3(M, f, ...) M f TRACE_EACH_2(M, __VA_ARGS__)
#define TRACE_EACH_4(M, f, ...) M f TRACE_EACH_3(M, __VA_ARGS__)
#define TRACE_EACH_5(M, f, ...) M f TRACE_EACH_4(M, __VA_ARGS__)
#define TRACE_EACH_6(M, f, ...) M f TRACE_EACH_5(M, __VA_ARGS__)
#define TRACE_EACH_7(M, f, ...) M f TRACE_EACH_6(M, __VA_ARGS__)
#define TRACE_EACH_8(M, f, ...) M f TRACE_EACH_7(M, __VA_ARGS__)
#define TRACE_EACH_9(M, f, ...) M f TRACE_EACH_8(M, __VA_ARGS__)
#define TRACE_EACH_10(M, f, ...) M f TRACE_EACH_9(M, __VA_ARGS__)
#define TRACE_EACH_11(M, f, ...) M f TRACE_EACH_10(M, __VA_ARGS__)
#define TRACE_EACH_12(M, f, ...) M f TRACE_EACH_11(M, __VA_ARGS__)
#define TRACE_PICK(a, b, c, d, e, f, g, h, i, j, k, l, n, ...) TRACE_EACH_##n
#define TRACE_EACH_N(...) TRACE_PICK(__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define TRACE_EACH(M, ...) TRACE_EACH_N(__VA_ARGS__)(M, __VA_ARGS__)
/* The same between commas. */
#define TRACE_WITHOUT_FIRST(first, ...) __VA_ARGS__
#define TRACE_AFTER_FIRST(...) TRACE_WITHOUT_FIRST(__VA_ARGS__)
#define TRACE_COMMAS(M, ...) TRACE_AFTER_FIRST(TRACE_EACH(M, __VA_ARGS__))

#define TRACE_FIELDS_MAX 12 /* of the probes, too */

typedef const char *trace_str;
typedef uint64_t trace_u64;
typedef uint32_t trace_u32;
typedef int32_t trace_i32;
typedef bool trace_flag;

#define TRACE_NUMBER(name, ...) TRACE_##name,
enum trace_number { TRACE_LIST(TRACE_NUMBER) TRACE_COUNT };

union trace_value {
    trace_str str;
    trace_u64 u64;
    trace_u32 u32;
    trace_i32 i32;
    trace_flag flag;
};

/* Whom lines go to; NULL: nobody, and that is all that a place looks at. The one mutable thing at file
 * scope in the library: a place has no handle that knows who listens, as it has none for its probe. */
struct trace_set;
extern _Atomic(struct trace_set *) trace_current;
/* Keeps errno. */
void trace_line(enum trace_number number, const union trace_value *values);

#define TRACE_ARGUMENT(type, name) , trace_##type name
#define TRACE_NAME(type, name) , name
#define TRACE_VALUE(type, name) TRACE_VALUE_##type(name)
#define TRACE_VALUE_str(name) { .str = name },
#define TRACE_VALUE_u64(name) { .u64 = name },
#define TRACE_VALUE_u32(name) { .u32 = name },
#define TRACE_VALUE_i32(name) { .i32 = name },
#define TRACE_VALUE_flag(name) { .flag = name },
#define TRACE_FUNCTION(point, meaning, ...)                                                        \
    static inline __attribute__((always_inline)) void trace_##point(                               \
        TRACE_COMMAS(TRACE_ARGUMENT, __VA_ARGS__))                                                 \
    {                                                                                              \
        STAP_PROBEV(vfio_migrate, point, TRACE_COMMAS(TRACE_NAME, __VA_ARGS__));                   \
        if (__builtin_expect(!!atomic_load_explicit(&trace_current, memory_order_relaxed), 0))     \
            trace_line(TRACE_##point,                                                              \
                       (const union trace_value[]) { TRACE_EACH(TRACE_VALUE, __VA_ARGS__) });      \
    }
TRACE_LIST(TRACE_FUNCTION)

#define TRACE(point, ...) trace_##point(__VA_ARGS__)

#endif
