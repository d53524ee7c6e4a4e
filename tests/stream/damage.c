/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damaged streams by the thousand, the same ones in every run. Each goes through the fuzzer's
 * target, which checks what must hold for any input; under a sanitizer this is a short fuzzing run.
 */
#include <errno.h>
#include "fuzz/fuzz.h"
#include "lib/stream/inspect.h"
#include "tests/stream/sample.h"
#include "tests/stream/small.h"

/* The parsers of fuzz/stream.c by its first byte. */
enum { WHOLE_STREAM, RETURN_PATH, DESCRIPTION, CONFIG, MANIFEST, PARSERS };

/* xorshift64*: small, and the same everywhere */
static uint64_t random_number(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit ? (size_t)(random_number(state) % limit) : 0;
}

/* Where to damage: anywhere, or near an end, where there is more structure than pages. */
static size_t pick(uint64_t *state, size_t length)
{
    size_t near = length < 600 ? length : 600;
    switch (below(state, 3)) {
    case 0:
        return below(state, near);
    case 1:
        return length - 1 - below(state, length < 20000 ? length : 20000);
    default:
        return below(state, length);
    }
}

/* One change; the new length. @bytes has room for 16 more. */
static size_t damage(uint64_t *state, uint8_t *bytes, size_t length)
{
    static const uint8_t telling[] = { 0x00, 0x01, 0x04, 0x05, 0x06, 0x08, 0x7e, 0x7f, 0xff };
    size_t at = pick(state, length), n = below(state, 16) + 1;
    n = n < length - at ? n : length - at;
    switch (below(state, 6)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << below(state, 8));
        return length;
    case 1:
        bytes[at] = (uint8_t)random_number(state);
        return length;
    case 2:
        bytes[at] = telling[below(state, sizeof(telling))];
        return length;
    case 3: /* lose some */
        memmove(bytes + at, bytes + at + n, length - at - n);
        return length - n;
    case 4: /* repeat some */
        memmove(bytes + at + n, bytes + at, length - at);
        return length + n;
    default: /* cut, rarely: it hides the rest */
        return below(state, 8) ? length : at;
    }
}

static void try_damage(uint8_t parser, const uint8_t *bytes, size_t length, unsigned rounds)
{
    uint64_t state = 20240607 + parser;
    for (unsigned i = 0; i < rounds; i++) {
        uint8_t *copy = malloc(1 + length + 4 * 16);
        size_t damaged = length;
        copy[0] = parser;
        memcpy(copy + 1, bytes, length);
        for (size_t changes = below(&state, 4) + 1; changes > 0 && damaged > 0; changes--)
            damaged = damage(&state, copy + 1, damaged);
        copy = realloc(copy, 1 + damaged); /* a read past the end shows */
        LLVMFuzzerTestOneInput(copy, 1 + damaged);
        free(copy);
    }
}

static void the_small_stream_is_well(void **state)
{
    (void)state;
    static const struct inspect_ops nothing;
    struct vmig_error err;
    struct writer w;
    writer_init(&w);
    small_stream(&w);
    assert_int_equal(w.error, 0);
    assert_done(inspect_memory(w.buf, w.length, &nothing, NULL, &err), &err);
    for (size_t length = 0; length < w.length; length++)
        if (inspect_memory(w.buf, length, &nothing, NULL, NULL) == 0)
            assert_int_equal(w.buf[length], QEMU_VMDESCRIPTION); /* only the description is lost */
    writer_done(&w);
}

static void a_damaged_small_stream_does_no_harm(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w);
    small_stream(&w);
    try_damage(WHOLE_STREAM, w.buf, w.length, 3000);
    writer_done(&w);
}

static void damaged_recordings_do_no_harm(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned rounds;
    } samples[] = { { "microvm.mig", 400 }, { "one-device.mig", 50 }, { "pc-multifd.main", 200 } };
    for (int i = 0; i < 3; i++) {
        struct sample sample = sample_load(samples[i].name);
        try_damage(WHOLE_STREAM, sample.bytes, sample.length, samples[i].rounds);
        sample_free(&sample);
    }
}

static void damaged_return_paths_do_no_harm(void **state)
{
    (void)state;
    struct sample sample = sample_load("pc-postcopy.dst-to-src");
    try_damage(RETURN_PATH, sample.bytes, sample.length, 5000);
    sample_free(&sample);
}

static void a_damaged_description_does_no_harm(void **state)
{
    (void)state;
    struct sample sample = sample_load("microvm.mig");
    size_t at = (size_t)vmdesc_locate(sample.bytes, sample.length) + 5;
    try_damage(DESCRIPTION, sample.bytes + at, sample.length - at, 1000);
    sample_free(&sample);
}

/* Config record and manifest, cut out of the small stream. */
static void damaged_records_do_no_harm(void **state)
{
    (void)state;
    struct writer w;
    writer_init(&w);
    small_stream(&w);
    for (size_t at = 0; at + 40 < w.length; at++) {
        static const uint8_t config_word[8] = { 0xff, 0xff, 0xff, 0xff, 0xef, 0x10, 0x00, 0x02 };
        if (memcmp(w.buf + at, config_word, 8) == 0)
            try_damage(CONFIG, w.buf + at + 8, 4 + 256 + 16 + 49 + 59 + 8, 5000);
        if (memcmp(w.buf + at, MANIFEST_IDSTR, strlen(MANIFEST_IDSTR)) == 0)
            try_damage(MANIFEST, w.buf + at + strlen(MANIFEST_IDSTR) + 8, 16 + 4 + 44 + 8, 5000);
    }
    writer_done(&w);
}

static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    uint64_t numbers = 1;
    for (unsigned i = 0; i < 20000; i++) {
        size_t length = below(&numbers, 200) + 1;
        uint8_t *bytes = malloc(length);
        for (size_t j = 0; j < length; j++)
            bytes[j] = (uint8_t)random_number(&numbers);
        bytes[0] = (uint8_t)(i % PARSERS);
        LLVMFuzzerTestOneInput(bytes, length);
        free(bytes);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_small_stream_is_well),
        cmocka_unit_test(a_damaged_small_stream_does_no_harm),
        cmocka_unit_test(damaged_recordings_do_no_harm),
        cmocka_unit_test(damaged_return_paths_do_no_harm),
        cmocka_unit_test(a_damaged_description_does_no_harm),
        cmocka_unit_test(damaged_records_do_no_harm),
        cmocka_unit_test(random_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
