/* SPDX-License-Identifier: BSD-3-Clause */
/* What is behind a RAM block's addresses: that decides how holes are found and writes are seen. */
#ifndef LIB_MEMORY_MAPPING_H
#define LIB_MEMORY_MAPPING_H

#include <stdint.h>
#include <vfio-migrate/migration.h>

enum mapping_kind {
    MAPPING_ANONYMOUS, /* private, without a file: where there is no page it reads as zero */
    MAPPING_FILE,      /* a shared mapping of the block's own fd: holes of the file are holes */
    MAPPING_OTHER,     /* anything else, or it cannot be known: assume nothing */
};

/* Reads /proc/self/maps. A block of several mappings has their common kind, else OTHER. */
enum mapping_kind mapping_kind(const struct vmig_ram_block *desc);

/* Size of the pages that can be protected: the machine's, or hugetlbfs's; may be larger than ours.
 */
uint64_t mapping_page_bytes(const struct vmig_ram_block *desc);

#endif
