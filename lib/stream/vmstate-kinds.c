/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "lib/stream/vmstate-kinds.h"

const struct vmstate_kind vmstate_kinds[VMIG_VMSTATE_KIND_COUNT] = {
    [VMIG_VMSTATE_KIND_BOOL] = { "bool", 1, VMSTATE_FLAG, VMSTATE_TRUTH },
    [VMIG_VMSTATE_KIND_INT8] = { "int8", 1, VMSTATE_SIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_UINT8] = { "uint8", 1, VMSTATE_UNSIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_INT16] = { "int16", 2, VMSTATE_SIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_UINT16] = { "uint16", 2, VMSTATE_UNSIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_INT32] = { "int32", 4, VMSTATE_SIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_UINT32] = { "uint32", 4, VMSTATE_UNSIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_INT64] = { "int64", 8, VMSTATE_SIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_UINT64] = { "uint64", 8, VMSTATE_UNSIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_UINT8_EQUAL] = { "uint8 equal", 1, VMSTATE_UNSIGNED, VMSTATE_EQUAL },
    [VMIG_VMSTATE_KIND_UINT16_EQUAL] = { "uint16 equal", 2, VMSTATE_UNSIGNED, VMSTATE_EQUAL },
    [VMIG_VMSTATE_KIND_INT32_EQUAL] = { "int32 equal", 4, VMSTATE_SIGNED, VMSTATE_EQUAL },
    [VMIG_VMSTATE_KIND_UINT32_EQUAL] = { "uint32 equal", 4, VMSTATE_UNSIGNED, VMSTATE_EQUAL },
    /* so QEMU calls the unsigned one */
    [VMIG_VMSTATE_KIND_UINT64_EQUAL] = { "int64 equal", 8, VMSTATE_UNSIGNED, VMSTATE_EQUAL },
    [VMIG_VMSTATE_KIND_INT32_LE] = { "int32 le", 4, VMSTATE_SIGNED, VMSTATE_AT_MOST },
    [VMIG_VMSTATE_KIND_CPU_DOUBLE] = { "CPU_Double_U", 8, VMSTATE_BITS, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_FLOAT64] = { "float64", 8, VMSTATE_BITS, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_TIMER] = { "timer", 8, VMSTATE_SIGNED, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_BUFFER] = { "buffer", 0, VMSTATE_BYTES, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_UNUSED] = { "unused_buffer", 0, VMSTATE_BYTES, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_BITMAP] = { "bitmap", 0, VMSTATE_BYTES, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_CUSTOM] = { NULL, 0, VMSTATE_BYTES, VMSTATE_ANY }, /* the codec's */
    [VMIG_VMSTATE_KIND_STRUCT] = { "struct", 0, VMSTATE_STRUCT, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_VSTRUCT] = { "vstruct", 0, VMSTATE_INLINE, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_TMP] = { "tmp", 0, VMSTATE_INLINE, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_VALIDATE] = { NULL, 0, VMSTATE_BYTES, VMSTATE_ANY }, /* never described */
    [VMIG_VMSTATE_KIND_TAILQ] = { "qtailq", 0, VMSTATE_LIST, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_LIST] = { "qlist", 0, VMSTATE_LIST, VMSTATE_ANY },
    [VMIG_VMSTATE_KIND_TREE] = { "gtree", 0, VMSTATE_TREE, VMSTATE_ANY },
};

const struct vmstate_kind *vmstate_kind_by_name(const char *name)
{
    for (unsigned i = 0; i < VMIG_VMSTATE_KIND_COUNT; i++)
        if (vmstate_kinds[i].name && strcmp(vmstate_kinds[i].name, name) == 0)
            return &vmstate_kinds[i];
    return NULL;
}
