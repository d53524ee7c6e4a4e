/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's VMState sections: which there are, and their bytes in this run. The target keeps these
 * aside until the manifest, which comes before them, has proved them, and only then shows them to the
 * host's tables and hooks.
 */
#ifndef LIB_MIGRATION_VMSTATES_H
#define LIB_MIGRATION_VMSTATES_H

#include <stdbool.h>
#include <vfio-migrate/vmstate.h>
#include "lib/stream/manifest.h"
#include "lib/stream/qemu.h"

#define VMSTATE_IDSTR_MAX 200 /* the manifest's name of it has the instance as well */
/* QEMU's largest devices have 150 KiB; what has more belongs into a participant, which has rounds. */
#define VMSTATE_BYTES_MAX (64u << 20)

struct vmstate_section {
    char idstr[VMSTATE_IDSTR_MAX + 1];
    uint32_t instance_id;
    const struct vmig_vmstate *vmsd;
    void *opaque;
    /* of this run */
    bool here; /* was saved, or came */
    uint8_t *bytes;
    uint64_t length_bytes, offset; /* target: where they stood in the stream */
    uint32_t version;
};

/* In the order of the stream: priority, then as they were added. */
struct vmstates {
    unsigned count, size;
    struct vmstate_section *sections; /* owned */
};

/* Forget this run's bytes. */
void vmstates_reset(struct vmstates *v);
void vmstates_done(struct vmstates *v);
struct vmstate_section *vmstates_find(const struct vmstates *v, const char *idstr,
                                      uint32_t instance_id);

/* Source, while everything stands still: all that are needed. @description: NULL, or where their
 * elements of "devices" go. */
int vmstates_save(struct vmstates *v, struct writer *description, struct vmig_error *err);
/* FULL sections with ids from @section_id on. */
void vmstates_write(const struct vmstates *v, struct writer *w, uint32_t section_id);
/* Both: of those that are here. */
int vmstates_list(const struct vmstates *v, struct manifest *list, struct vmig_error *err);

/* Target: the payload of @section, of which @sent tells the length. */
int vmstates_read(struct vmstate_section *s, const struct qemu_section *section,
                  const struct manifest *sent, struct reader *r, struct vmig_error *err);
/* When all are proved; the first that is missing or refuses ends it. */
int vmstates_load(const struct vmstates *v, struct vmig_error *err);

#endif
