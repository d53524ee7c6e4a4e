/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/near.h"

/* Longer words are nobody's typing mistake. */
#define WORD_MAX 64

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

unsigned near_edits(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t length = strlen(b);
    if (strlen(a) > WORD_MAX || length > WORD_MAX)
        return UINT_MAX;
    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            unsigned above = row[j + 1];
            row[j + 1] = least(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[length];
}

#define SHOWN 3
#define PIECE_MIN 4 /* shorter ones are in too many names */

/* Does @name hold a piece of @word that no glob character is in? */
static int holds_piece(const char *name, const char *word)
{
    char piece[WORD_MAX];
    for (const char *at = word; *at; at += strspn(at, "*?[]")) {
        size_t length = strcspn(at, "*?[]");
        if (length >= PIECE_MIN && length < sizeof(piece)) {
            memcpy(piece, at, length);
            piece[length] = '\0';
            if (strstr(name, piece))
                return 1;
        }
        at += length;
    }
    return 0;
}

/* A third of its letters wrong is another word. */
static unsigned distance(const char *name, const char *word)
{
    if (holds_piece(name, word))
        return 1;
    unsigned edits = near_edits(word, name);
    return edits <= strlen(name) / 3 ? edits : UINT_MAX;
}

void near_names(const char *word, const char *(*name)(unsigned index), char *ret, size_t size)
{
    struct {
        const char *name;
        unsigned distance;
    } best[SHOWN + 1];
    unsigned count = 0;
    size_t used = 0;
    const char *n;
    for (unsigned i = 0; (n = name(i)); i++) {
        unsigned d = distance(n, word), at = count;
        if (d == UINT_MAX)
            continue;
        for (; at && best[at - 1].distance > d; at--)
            best[at] = best[at - 1];
        best[at].name = n;
        best[at].distance = d;
        count += count < SHOWN;
    }
    ret[0] = '\0';
    for (unsigned i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(ret + used, size - used, "%s%s",
                                 i == 0           ? ""
                                 : i + 1 == count ? " and "
                                                  : ", ",
                                 best[i].name);
}
