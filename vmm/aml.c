/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vmm/aml.h"

#define BYTE_PREFIX 0x0a
#define DWORD_PREFIX 0x0c
#define WORD_PREFIX 0x0b

void aml_put(struct aml *aml, uint64_t value, unsigned length_bytes)
{
    for (unsigned i = 0; i < length_bytes; i++)
        aml->bytes[aml->used++] = (uint8_t)(value >> 8 * i);
}

void aml_text(struct aml *aml, const char *text)
{
    while (*text)
        aml_put(aml, (uint8_t)*text++, 1);
}

/* The length counts itself; its form with two bytes fits whatever there is here. */
unsigned aml_begin(struct aml *aml, const char *opcode)
{
    aml_text(aml, opcode);
    unsigned begun = aml->used;
    aml_put(aml, 0, 2);
    return begun;
}

void aml_end(struct aml *aml, unsigned begun)
{
    unsigned length = aml->used - begun;
    aml->bytes[begun] = (uint8_t)(0x40 | (length & 15));
    aml->bytes[begun + 1] = (uint8_t)(length >> 4);
}

void aml_name(struct aml *aml, const char *name)
{
    aml_put(aml, 0x08, 1);
    aml_text(aml, name);
}

void aml_integer(struct aml *aml, uint32_t value)
{
    unsigned bytes = value < 0x100 ? 1 : value < 0x10000 ? 2 : 4;
    aml_put(aml, bytes == 1 ? BYTE_PREFIX : bytes == 2 ? WORD_PREFIX : DWORD_PREFIX, 1);
    aml_put(aml, value, bytes);
}

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

/* Three letters of five bits, four digits of four, the highest byte first. */
void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 3; i++)
        value = value << 5 | ((unsigned)id[i] & 31);
    for (unsigned i = 3; i < 7; i++)
        value = value << 4 | hex_digit(id[i]);
    aml_put(aml, DWORD_PREFIX, 1);
    aml_put(aml, __builtin_bswap32(value), 4);
}

/* A buffer: its length as an object, then as a number, then its bytes. */
unsigned aml_begin_resources(struct aml *aml)
{
    unsigned begun = aml_begin(aml, "\x11");
    aml_put(aml, WORD_PREFIX, 1);
    aml_put(aml, 0, 2);
    return begun;
}

void aml_end_resources(struct aml *aml, unsigned begun)
{
    aml_put(aml, 0x0079, 2); /* end, no checksum */
    unsigned bytes = aml->used - begun - 5;
    aml->bytes[begun + 3] = (uint8_t)bytes;
    aml->bytes[begun + 4] = (uint8_t)(bytes >> 8);
    aml_end(aml, begun);
}

/* Address space descriptor: kind, length, range, flags (both ends fixed), and five numbers. */
void aml_window(struct aml *aml, enum aml_range range, unsigned unit, uint64_t first, uint64_t end)
{
    static const uint8_t of_range[] = { 0x01 /* read and write */, 0x03 /* all of ISA */, 0 };
    aml_put(aml, unit == 2 ? 0x88 : unit == 4 ? 0x87 : 0x8a, 1);
    aml_put(aml, 3 + 5 * unit, 2);
    aml_put(aml, range, 1);
    aml_put(aml, 0x0c, 1);
    aml_put(aml, of_range[range], 1);
    aml_put(aml, 0, unit);
    aml_put(aml, first, unit);
    aml_put(aml, end - 1, unit);
    aml_put(aml, 0, unit);
    aml_put(aml, end - first, unit);
}

void aml_ports(struct aml *aml, uint16_t first, uint8_t count)
{
    aml_put(aml, 0x0147, 2); /* all 16 bits of an address count */
    aml_put(aml, first, 2);
    aml_put(aml, first, 2);
    aml_put(aml, 1, 1);
    aml_put(aml, count, 1);
}
