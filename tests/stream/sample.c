/* SPDX-License-Identifier: BSD-3-Clause */
#include <lzma.h>
#include "tests/stream/sample.h"

#define UNPACKED_MAX (16u << 20)

static uint8_t *read_file(const char *path, size_t size, size_t *ret_length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(size);
    if (!file || !bytes)
        fail_msg("cannot read %s", path);
    *ret_length = fread(bytes, 1, size, file);
    fclose(file);
    return bytes;
}

static char *path_of(const char *name, const char *ending)
{
    static char path[4096]; /* tests have one thread */
    const char *data = getenv("TEST_DATA");
    snprintf(path, sizeof(path), "%s/streams/%s%s", data ? data : "tests/data", name, ending);
    return path;
}

struct sample sample_load(const char *name)
{
    size_t packed_length, at = 0;
    uint64_t memory = 128u << 20;
    uint8_t *packed = read_file(path_of(name, ".xz"), UNPACKED_MAX, &packed_length);
    struct sample sample = { .bytes = malloc(UNPACKED_MAX) };
    lzma_ret rc = lzma_stream_buffer_decode(&memory, 0, NULL, packed, &at, packed_length,
                                            sample.bytes, &sample.length, UNPACKED_MAX);
    if (rc != LZMA_OK)
        fail_msg("unpacking %s: liblzma says %d", name, (int)rc);
    free(packed);
    /* exactly as long as the stream, so that a sanitizer sees every read past its end */
    sample.bytes = realloc(sample.bytes, sample.length);
    return sample;
}

void sample_free(struct sample *sample)
{
    free(sample->bytes);
    *sample = (struct sample) { 0 };
}

json_t *sample_expected(const char *name)
{
    json_error_t err;
    json_t *root = json_load_file(path_of(name, ".json"), 0, &err);
    if (!root)
        fail_msg("%s.json: %s", name, err.text);
    return root;
}

void sample_mtty(uint8_t ret[96])
{
    size_t length;
    uint8_t *bytes = read_file(path_of("../mtty-96", ".bin"), 97, &length);
    assert_int_equal(length, 96);
    memcpy(ret, bytes, 96);
    free(bytes);
}
