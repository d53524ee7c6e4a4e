/* SPDX-License-Identifier: BSD-3-Clause */
/* The manifest's payload: what was decoded encodes to the bytes it came from, and is the same as
 * itself. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "lib/stream/manifest.h"

/* Section head and footer are qemu_*'s; only what stands between them came from @data. */
static void check_same(const struct manifest *manifest, const uint8_t *data, uint64_t taken)
{
    const size_t head = 1 + 4 + 1 + strlen(MANIFEST_IDSTR) + 4 + 4, seal = 8, footer = 5;
    struct writer w;
    writer_init(&w);
    manifest_write(&w, 1, manifest);
    manifest_seal(&w, 1, 0);
    MUST(w.error ||
         (w.length - head - footer == taken && memcmp(w.buf + head, data, taken - seal) == 0));
    writer_done(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest manifest;
    struct reader reader;
    struct vmig_error err = { 0 };
    reader_init_memory(&reader, data, size);
    if (manifest_read(&reader, MANIFEST_VERSION, &manifest, &err) == 0) {
        check_same(&manifest, data, reader.offset);
        MUST(manifest_compare(&manifest, &manifest, &err) == 0);
    }
    manifest_done(&manifest);
    return 0;
}
