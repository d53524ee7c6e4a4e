/* SPDX-License-Identifier: BSD-3-Clause */
/* Which names somebody may have meant who wrote one that is not there. */
#ifndef LIB_NEAR_H
#define LIB_NEAR_H

#include <stddef.h>

/* Number of letters to insert, drop or change to make @a into @b; UINT_MAX for words so long that
 * nobody mistypes them. */
unsigned near_edits(const char *a, const char *b);

/* The names (@name(0), @name(1), ... NULL) nearest to @word, three at most, as "a, b and c", or "" when
 * none is near. Names that hold @word, or a piece of it of four letters or more that is between glob
 * characters, are near. */
void near_names(const char *word, const char *(*name)(unsigned index), char *ret, size_t size);

#endif
