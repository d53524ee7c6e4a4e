/* SPDX-License-Identifier: BSD-3-Clause */
/* Is a page all zeros? */
#ifndef LIB_MEMORY_ZERO_H
#define LIB_MEMORY_ZERO_H

#include <stdbool.h>

/* RAM_PAGE_SIZE bytes at @page, page aligned, which others may be writing to meanwhile: then the
 * answer is for some moment during the call. A page whose first word is not zero costs one cache
 * line. */
bool zero_page(const void *page);

/* What zero_page() does on machines without AVX2. */
bool zero_page_portable(const void *page);

#endif
