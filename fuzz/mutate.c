/* SPDX-License-Identifier: BSD-3-Clause */
/* Inputs near the seeds: bits flipped, numbers at their limits, parts removed, repeated, spliced.
 * From a generator whose state the caller keeps, so that the same run makes the same inputs. */
#include <stdbool.h>
#include <string.h>

#include "fuzz/fuzz.h"

#define CHANGES_MAX 8u

/* xorshift64 */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit ? (size_t)(next_random(state) % limit) : 0;
}

static void flip_bit(uint64_t *state, struct fuzz_input *in)
{
    if (in->size > 0)
        in->data[below(state, in->size)] ^= (uint8_t)(1u << below(state, 8));
}

static void set_number(uint64_t *state, struct fuzz_input *in)
{
    static const uint64_t numbers[] = { 0,          1,          2,          7,          8,
                                        15,         16,         17,         0x7f,       0x80,
                                        0xff,       0xfff,      0x1000,     0x1001,     0x7fff,
                                        0x8000,     0xffff,     0x10000,    0xfffff,    0x100000,
                                        0x100001,   0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff,
                                        UINT64_MAX, INT64_MAX };
    uint64_t number = numbers[below(state, sizeof(numbers) / sizeof(numbers[0]))];
    size_t bytes = (size_t)1 << below(state, 4);
    if (in->size >= bytes)
        memcpy(in->data + below(state, in->size - bytes + 1), &number, bytes);
}

static void remove_part(uint64_t *state, struct fuzz_input *in)
{
    size_t at = below(state, in->size),
           count = below(state, in->size - at < 64 ? in->size - at : 64);
    memmove(in->data + at, in->data + at + count, in->size - at - count);
    in->size -= count;
}

static void insert_part(uint64_t *state, struct fuzz_input *in, const uint8_t *part, size_t count)
{
    size_t at = below(state, in->size + 1);
    if (count > FUZZ_INPUT_MAX - in->size)
        return;
    memmove(in->data + at + count, in->data + at, in->size - at);
    memcpy(in->data + at, part, count);
    in->size += count;
}

static void repeat_part(uint64_t *state, struct fuzz_input *in)
{
    uint8_t part[64];
    size_t at = below(state, in->size),
           count = below(state, in->size - at < 64 ? in->size - at : 64);
    memcpy(part, in->data + at, count);
    insert_part(state, in, part, count);
}

static void insert_noise(uint64_t *state, struct fuzz_input *in)
{
    uint64_t noise = next_random(state);
    insert_part(state, in, (uint8_t *)&noise, below(state, 9));
}

static void splice(uint64_t *state, struct fuzz_input *in, const struct fuzz_input *other)
{
    size_t at = below(state, other->size), count = other->size - at,
           keep = below(state, in->size + 1);
    if (count > FUZZ_INPUT_MAX - keep)
        count = FUZZ_INPUT_MAX - keep;
    memcpy(in->data + keep, other->data + at, count);
    in->size = keep + count;
}

static void mutate(uint64_t *state, struct fuzz_input *in, const struct fuzz_input *other)
{
    switch (below(state, 8)) {
    case 0:
    case 1:
        flip_bit(state, in);
        break;
    case 2:
    case 3:
        set_number(state, in);
        break;
    case 4:
        remove_part(state, in);
        break;
    case 5:
        repeat_part(state, in);
        break;
    case 6:
        insert_noise(state, in);
        break;
    default:
        splice(state, in, other);
    }
}

void fuzz_mutate(const struct fuzz_input *seeds, size_t num_seeds, uint64_t *random_state,
                 struct fuzz_input *ret)
{
    const struct fuzz_input *seed = &seeds[below(random_state, num_seeds)];
    memcpy(ret->data, seed->data, seed->size);
    ret->size = seed->size;
    for (size_t changes = 1 + below(random_state, CHANGES_MAX); changes > 0; changes--)
        mutate(random_state, ret, &seeds[below(random_state, num_seeds)]);
}
