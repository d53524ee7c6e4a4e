/* SPDX-License-Identifier: BSD-3-Clause */
/* Which parts of a RAM block hold anything, found without reading (and so populating) them. */
#ifndef LIB_MEMORY_HOLES_H
#define LIB_MEMORY_HOLES_H

#include <stdbool.h>
#include "lib/memory/mapping.h"

/* [offset, offset + length) of the block, whole pages, in ascending order. False: enough. */
typedef bool holes_visit(void *opaque, uint64_t offset_bytes, uint64_t length_bytes);

/* Visit all that may hold something else than zeros; everything, where nothing can tell. False: the
 * visitor had enough. */
bool holes_populated(const struct vmig_ram_block *desc, holes_visit *visit, void *opaque);

/* The same for [from, to) of a block that is MAPPING_FILE. */
bool holes_file_data(const struct vmig_ram_block *desc, uint64_t from, uint64_t to,
                     holes_visit *visit, void *opaque);

#endif
