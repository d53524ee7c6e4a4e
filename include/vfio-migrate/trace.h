/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trace points: what the library does, moment by moment, a line for each change of state, stage and
 * round, nothing for a page. Each is a USDT probe of the provider vfio_migrate, too (perf, bpftrace,
 * SystemTap), which needs none of these calls. Names, fields and meanings are in
 * vfio-migrate-trace(7); where an event is one of QEMU's it has QEMU's name.
 *
 *   vmig_trace_enable("vfio_migration_*", print_line, NULL, &err);
 *
 * One switch for the whole process, as a probe is: it has no influence on what the library does.
 * Any thread may use it at any time, also while migrations run.
 */
#ifndef VFIO_MIGRATE_TRACE_H
#define VFIO_MIGRATE_TRACE_H

#include <vfio-migrate/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmig_trace_field {
    const char *name;
    const char *type; /* "str", "u64", "u32", "i32" or "flag" */
};

/* May grow at its end. */
struct vmig_trace_point {
    const char *name, *meaning; /* one line, for people */
    unsigned num_fields;
    const struct vmig_trace_field *fields;
};

/* The @index-th one; NULL when there are no more. Static. */
const struct vmig_trace_point *vmig_trace_point(unsigned index);

/* From now on @sink gets a line, without its end, from each point that matches @pattern, as in
 *   2026-11-21T19:40:00.123456Z vfio_migration_set_state name=device0 state=STOP_COPY
 * beside those that matched before: time in UTC, name, fields. A value that has anything but letters,
 * digits and "_.:/+-" in it stands in double quotes, with \" \\ and \xNN for what is not printable.
 * @pattern: a name, or what fnmatch(3) takes for several ("*", "vfio_save_*").
 * @sink is called on whichever thread is there, also by several at once, at times with locks of the
 * library held: it must return soon and call nothing of the library. @line is borrowed for the call.
 * 0, -ENOENT nothing matches ("unknown-trace-point", the text says what is near), -EBUSY lines go to
 * another sink or opaque already ("trace-sink-taken"). */
int vmig_trace_enable(const char *pattern, void (*sink)(void *opaque, const char *line),
                      void *opaque, struct vmig_error *err);
/* All off. When it returns no thread is in the sink any more, so it must not be called from there. */
void vmig_trace_disable(void);

#ifdef __cplusplus
}
#endif
#endif
