/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cuts what a client sends into JSON texts, whatever pieces it arrives in. Texts need no newline
 * between them: one is over when its brackets are. What is inside of it is the parser's affair; this
 * only bounds it, so that no client makes us hold more than SCANNER_BYTES_MAX or lets a parser recurse
 * deeper than SCANNER_DEPTH_MAX.
 *
 * Getting back in step: a control character other than tab, CR and LF, or a byte 0xff, drops what was
 * begun, as QEMU does, and so does the end of a line in a string. What is too large is refused at once
 * and not kept; the next text begins after its end or at the next line.
 */
#ifndef LIB_MONITOR_SCANNER_H
#define LIB_MONITOR_SCANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCANNER_BYTES_MAX (64u << 10)
#define SCANNER_DEPTH_MAX 1024u /* QEMU's */

struct scanner {
    char *text; /* SCANNER_BYTES_MAX bytes */
    size_t length;
    uint64_t depth; /* also counts brackets of what is skipped */
    bool in_text, in_string, escaped, in_word, skipping;
};

enum scan {
    SCAN_MORE, /* all bytes were taken, nothing is complete */
    SCAN_TEXT, /* text and length are one; valid until the next call */
    SCAN_BAD,  /* *ret_why says what was dropped */
};

/* False: no memory. */
bool scanner_init(struct scanner *s);
void scanner_done(struct scanner *s);
/* Takes bytes from the front of [*bytes, *bytes + *length) until something is to be told. */
enum scan scanner_take(struct scanner *s, const char **bytes, size_t *length, const char **ret_why);

#endif
