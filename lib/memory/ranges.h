/* SPDX-License-Identifier: BSD-3-Clause */
/* The IOVA ranges that a device is asked to log. */
#ifndef LIB_MEMORY_RANGES_H
#define LIB_MEMORY_RANGES_H

#include "lib/memory/ram.h"

/* What every device accepts (one page of them). */
#define RANGES_MAX 256

/* The blocks' ranges in ascending order, neighbours merged; as long as there are more than @max
 * (> 0), the two with the smallest gap between them become one. Returns their number. */
unsigned ranges_of_ram(const struct ram *ram, unsigned max,
                       struct vmig_dma_range ret[RAM_BLOCKS_MAX]);

#endif
