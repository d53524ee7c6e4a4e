/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "lib/monitor/scanner.h"

bool scanner_init(struct scanner *s)
{
    *s = (struct scanner) { .text = malloc(SCANNER_BYTES_MAX) };
    return s->text;
}

void scanner_done(struct scanner *s)
{
    free(s->text);
    s->text = NULL;
}

static void begin_anew(struct scanner *s)
{
    *s = (struct scanner) { .text = s->text };
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool resets(unsigned char c)
{
    return (c < 0x20 && !is_blank(c)) || c == 0xff;
}

/* Follow strings and brackets. True: with @c a text is complete. */
static bool follow(struct scanner *s, unsigned char c)
{
    if (s->in_string) {
        bool closes = c == '"' && !s->escaped;
        s->escaped = c == '\\' && !s->escaped;
        s->in_string = !closes;
        return closes && !s->depth;
    }
    if (c == '"')
        s->in_string = true;
    else if (c == '{' || c == '[')
        s->depth++;
    else if ((c == '}' || c == ']') && s->depth)
        s->depth--;
    return !s->in_string && !s->depth;
}

static bool is_structural(unsigned char c)
{
    return c && strchr("{}[],:\"", c);
}

/* A number or a name outside of brackets ends where something else begins. */
static bool ends_word(unsigned char c)
{
    return is_blank(c) || is_structural(c);
}

static const char *excess(const struct scanner *s)
{
    if (s->length == SCANNER_BYTES_MAX)
        return "JSON token size limit exceeded";
    return s->depth > SCANNER_DEPTH_MAX ? "JSON nesting depth limit exceeded" : NULL;
}

static enum scan bad(struct scanner *s, const char *why, const char **ret_why)
{
    begin_anew(s);
    *ret_why = why;
    return SCAN_BAD;
}

/* Of what is too large only the end is looked for. */
static void skip(struct scanner *s, unsigned char c)
{
    bool over = s->in_word ? ends_word(c) : follow(s, c);
    if (over || c == '\n')
        begin_anew(s);
}

static enum scan take_byte(struct scanner *s, unsigned char c, const char **ret_why)
{
    if (resets(c))
        return bad(s, "JSON parse error, stray control character: what came before it is dropped",
                   ret_why);
    if (s->skipping) {
        skip(s, c);
        return SCAN_MORE;
    }
    if (s->in_string && (c == '\n' || c == '\r' || c == '\t'))
        return bad(s, "JSON parse error, stray control character in a string", ret_why);
    if (!s->in_text && is_blank(c))
        return SCAN_MORE;
    if (!s->in_text) {
        s->in_text = true;
        s->length = 0;
        s->in_word = !is_structural(c);
    }
    bool complete = follow(s, c) && !s->in_word;
    *ret_why = excess(s);
    if (*ret_why) {
        s->skipping = !complete;
        s->in_text = false;
        return SCAN_BAD;
    }
    s->text[s->length++] = (char)c;
    s->in_text = !complete;
    return complete ? SCAN_TEXT : SCAN_MORE;
}

enum scan scanner_take(struct scanner *s, const char **bytes, size_t *length, const char **ret_why)
{
    while (*length) {
        unsigned char c = (unsigned char)**bytes;
        if (s->in_word && !s->skipping && ends_word(c)) {
            s->in_word = s->in_text = false;
            return SCAN_TEXT;
        }
        ++*bytes;
        --*length;
        enum scan scan = take_byte(s, c, ret_why);
        if (scan != SCAN_MORE)
            return scan;
    }
    return SCAN_MORE;
}
