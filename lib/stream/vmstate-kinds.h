/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known of each kind of field, by those who walk a table and by those who read a description. */
#ifndef LIB_STREAM_VMSTATE_KINDS_H
#define LIB_STREAM_VMSTATE_KINDS_H

#include <vfio-migrate/vmstate.h>

enum vmstate_check { VMSTATE_ANY, VMSTATE_TRUTH, VMSTATE_EQUAL, VMSTATE_AT_MOST };

/* What stands in the bytes, for who shows them. */
enum vmstate_form {
    VMSTATE_BYTES,
    VMSTATE_UNSIGNED,
    VMSTATE_SIGNED,
    VMSTATE_FLAG,
    VMSTATE_BITS,   /* of a floating point number */
    VMSTATE_STRUCT, /* in a member of its own */
    VMSTATE_INLINE, /* among the members of its description */
    VMSTATE_LIST,
    VMSTATE_TREE,
};

struct vmstate_kind {
    const char *name; /* the description's */
    unsigned bytes;   /* of a number, in memory and on the wire; 0: it is none */
    enum vmstate_form form;
    enum vmstate_check check; /* when it is loaded */
};
extern const struct vmstate_kind vmstate_kinds[VMIG_VMSTATE_KIND_COUNT];

/* A list or a tree. */
bool vmstate_is_container(const struct vmig_vmstate_field *field);
/* NULL: a kind of somebody's own. */
const struct vmstate_kind *vmstate_kind_by_name(const char *name);

#endif
