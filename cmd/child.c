/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/child.h"

#define READ_BYTES 4096

bool child_read(struct child *child)
{
    if (child->size - child->length < READ_BYTES) {
        char *longer = realloc(child->text, child->size + 4 * READ_BYTES);
        if (!longer)
            return false;
        child->text = longer;
        child->size += 4 * READ_BYTES;
    }
    ssize_t n = read(child->from, child->text + child->length, READ_BYTES);
    if (n > 0)
        child->length += (size_t)n;
    return n > 0 || (n < 0 && errno == EINTR);
}

/* The report at or after *at, which goes behind it; what is none is passed over. */
static json_t *report_at(const struct child *child, size_t *at)
{
    const char *newline;
    json_t *report = NULL;
    while (!report && *at < child->length &&
           (newline = memchr(child->text + *at, '\n', child->length - *at))) {
        size_t end = (size_t)(newline - child->text);
        report = json_loadb(child->text + *at, end - *at, 0, NULL);
        *at = end + 1;
    }
    return report;
}

json_t *child_look(struct child *child)
{
    return report_at(child, &child->looked);
}

json_t *child_take(struct child *child)
{
    size_t taken = 0;
    json_t *report = report_at(child, &taken);
    if (taken)
        memmove(child->text, child->text + taken, child->length - taken);
    child->length -= taken;
    child->looked -= taken < child->looked ? taken : child->looked;
    return report;
}

void child_done(struct child *child)
{
    if (child->to)
        fclose(child->to);
    if (child->from > 0)
        close(child->from);
    free(child->text);
    child->to = NULL;
    child->from = 0;
    child->text = NULL;
    child->length = child->size = child->looked = 0;
}
