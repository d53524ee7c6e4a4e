/* SPDX-License-Identifier: BSD-3-Clause */
/* Dirty bits of a range of IOVA: bit n is the page at iova + n * pgsize. Two such maps may differ in
 * where they begin, how long they are, and how large their pages are. */
#ifndef LIB_DEVICE_IOVA_BITS_H
#define LIB_DEVICE_IOVA_BITS_H

#include <stdint.h>

struct iova_bits {
    uint64_t iova, size_bytes, pgsize;
    uint64_t *words;
};

/* In pages, the last of which may be cut short. */
uint64_t iova_bits_count(const struct iova_bits *bits);

/* Set in @to each page that a set page of @from touches; what lies outside of @to is left out. */
void iova_bits_or(struct iova_bits *to, const struct iova_bits *from);
/* Clear what of @from lies inside of @inside; both begin and end at multiples of @from's pages. */
void iova_bits_clear(struct iova_bits *from, const struct iova_bits *inside);

#endif
