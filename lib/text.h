/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts on their way into JSON. */
#ifndef LIB_TEXT_H
#define LIB_TEXT_H

#include <jansson.h>

/* @text as a JSON string. One that was cut in the middle of a character is no UTF-8 any more: then each
 * byte that is not ASCII is shown as '?'. NULL: no memory. */
json_t *text_json(const char *text);

#endif
