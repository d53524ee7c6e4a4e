/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    CLEANUP_FREE char *ascii = strdup(text);
    for (char *c = ascii; c && *c; c++)
        if (*c & 0x80)
            *c = '?';
    return ascii ? json_string(ascii) : NULL;
}
