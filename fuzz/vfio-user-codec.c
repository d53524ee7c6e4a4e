/* SPDX-License-Identifier: BSD-3-Clause */
/* What parses a vfio-user message in memory: byte 0 says which, the rest is the message. */
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "lib/vfio-user/message.h"

static void parse_header(const uint8_t *data, size_t size)
{
    struct vmig_error err = { 0 };
    struct vuser_header h;
    if (size < vuser_header_BYTES)
        return;
    vuser_header_decode(data, &h);
    if (vuser_header_check(&h, 1 << 20, &err) == 0 && vuser_payload_bytes(&h) > (1 << 20))
        abort();
}

static void parse_version(const uint8_t *data, size_t size)
{
    struct vmig_error err = { 0 };
    struct vuser_capabilities c;
    void *payload;
    size_t length;
    if (vuser_version_parse(data, size, &c, &err))
        return;
    /* What was understood can be said again, and is understood the same. */
    struct vuser_capabilities again;
    if (vuser_version_build(&c, &payload, &length))
        return;
    if (vuser_version_parse(payload, length, &again, NULL) ||
        again.max_data_xfer_size != c.max_data_xfer_size || again.extensions != c.extensions ||
        again.max_msg_fds != c.max_msg_fds || again.twin_socket != c.twin_socket)
        abort();
    free(payload);
}

/* Byte 0: number of fds. Every area that is accepted lies inside its region. */
static void parse_region(const uint8_t *data, size_t size)
{
    struct vmig_error err = { 0 };
    struct vuser_region r;
    unsigned fds = size > 0 ? data[0] : 0;
    if (size == 0 || vuser_region_parse(data + 1, size - 1, fds, &r, &err))
        return;
    for (unsigned i = 0; i < r.num_areas; i++)
        if (r.areas[i].fd_index >= fds || r.areas[i].size_bytes == 0 ||
            r.areas[i].offset_bytes > r.info.size_bytes ||
            r.areas[i].size_bytes > r.info.size_bytes - r.areas[i].offset_bytes)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parsers[])(const uint8_t *, size_t) = { parse_header, parse_version,
                                                                parse_region };
    if (size > 0)
        parsers[data[0] % 3](data + 1, size - 1);
    return 0;
}
