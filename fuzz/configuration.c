/* SPDX-License-Identifier: BSD-3-Clause */
/* The body of a device's config record: what was decoded encodes to the bytes it came from. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/stream/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmig_pci_state state; /* large; one thread */
    struct reader reader;
    struct writer w;
    reader_init_memory(&reader, data, size);
    if (pci_config_read(&reader, 0, &state, NULL) < 0)
        return 0;
    writer_init(&w);
    MUST(pci_config_write(&w, &state, NULL) == 0);
    MUST(w.error || (w.length == reader.offset && memcmp(w.buf, data, w.length) == 0));
    writer_done(&w);
    return 0;
}
