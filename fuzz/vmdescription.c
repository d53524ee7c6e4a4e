/* SPDX-License-Identifier: BSD-3-Clause */
/* Two bytes of length, a payload of that many, a description: its lengths, and the payload decoded by
 * its first device. What decodes has exactly the length that the description's sizes add up to. */
#include <stdbool.h>

#include "fuzz/fuzz.h"
#include "lib/stream/vmdesc-decode.h"
#include "lib/stream/vmdescription.h"

static void decode(const json_t *root, const uint8_t *payload, size_t length,
                   const struct vmdesc *lengths)
{
    struct vmig_error err = { 0 };
    json_t *values = NULL;
    const json_t *device = json_array_get(json_object_get(root, "devices"), 0);
    if (!device)
        return;
    if (vmdesc_decode(device, payload, length, 0, &values, &err) == 0)
        MUST(json_is_object(values) && (!lengths || lengths->devices[0].length_bytes == length));
    else
        MUST(err.code < 0 && err.text[0] && !values);
    json_decref(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = size < 2 ? 0 : (size_t)(data[0] << 8 | data[1]);
    if (size < 2 || length > size - 2)
        return 0;
    const char *text = (const char *)data + 2 + length;
    size_t text_length = size - 2 - length;
    struct vmdesc lengths;
    json_t *root = NULL;
    bool counted = vmdesc_parse(&lengths, text, text_length, NULL) == 0;
    if (vmdesc_load(text, text_length, &root, NULL) == 0)
        decode(root, data + 2, length, counted ? &lengths : NULL);
    json_decref(root);
    if (counted)
        vmdesc_done(&lengths);
    return 0;
}
