/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's VMState sections: which there are, and what became of each in this run. */
#ifndef LIB_MIGRATION_VMSTATES_H
#define LIB_MIGRATION_VMSTATES_H

#include <stdbool.h>
#include <vfio-migrate/vmstate.h>

#define VMSTATE_IDSTR_MAX 200 /* the manifest's name of it has the instance as well */

struct vmstate_section {
    char idstr[VMSTATE_IDSTR_MAX + 1];
    uint32_t instance_id;
    const struct vmig_vmstate *vmsd;
    void *opaque;
};

/* In the order of the stream: priority, then as they were added. */
struct vmstates {
    unsigned count, size;
    struct vmstate_section *sections; /* owned */
};

void vmstates_done(struct vmstates *v);

#endif
