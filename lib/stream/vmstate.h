/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's VMState from the tables of vfio-migrate/vmstate.h, on a writer and a reader of the stream.
 * One walk of a table saves, describes and loads: what a field is like is decided in one place.
 */
#ifndef LIB_STREAM_VMSTATE_H
#define LIB_STREAM_VMSTATE_H

#include <vfio-migrate/vmstate.h>
#include "lib/stream/reader.h"
#include "lib/stream/writer.h"

/* Structures within structures; QEMU's devices nest six. */
#define VMSTATE_DEPTH_MAX 16u

/* Is the table one? Its sizes fit its kinds, everything it points to is there. -EINVAL names the field. */
int vmstate_check(const struct vmig_vmstate *vmsd, struct vmig_error *err);

/* Fields and subsections; no name, instance or version before them. @description: NULL, or where the
 * members "vmsd_name", "version", "fields" and "subsections" go, into an object that is open. On
 * failure @w holds a part of it. */
int vmstate_save(const struct vmig_vmstate *vmsd, void *opaque, struct writer *w,
                 struct writer *description, struct vmig_error *err);

/* The same with the object around it, as an element of "devices". */
int vmstate_save_section(const struct vmig_vmstate *vmsd, void *opaque, const char *idstr,
                         uint32_t instance_id, struct writer *w, struct writer *description,
                         struct vmig_error *err);

/* Up to the end of what is there of it; at a byte 05 it looks further for a subsection's name. The
 * reader need not stand in memory. */
int vmstate_load(const struct vmig_vmstate *vmsd, uint32_t version, void *opaque, struct reader *r,
                 struct vmig_error *err);

/* One subsection as it stands behind a structure, for formats that are no table otherwise. */
int vmstate_save_subsection(const struct vmig_vmstate *vmsd, void *opaque, struct writer *w,
                            struct vmig_error *err);

#endif
