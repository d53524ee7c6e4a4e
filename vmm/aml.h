/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes of ACPI tables, and the few words of AML that describe a host bridge. */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdint.h>

struct aml {
    uint8_t *bytes; /* room for what is put there is the caller's to know: all of it is constant */
    unsigned used;
};

void aml_put(struct aml *aml, uint64_t value, unsigned length_bytes);
void aml_text(struct aml *aml, const char *text);
/* An object with a length of its own, below 4,096: begin returns what end wants. */
unsigned aml_begin(struct aml *aml, const char *opcode);
void aml_end(struct aml *aml, unsigned begun);
/* Name (@name, ...): the value follows. */
void aml_name(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint32_t value);
/* "PNP0A08" as a number of 32 bits. */
void aml_eisa_id(struct aml *aml, const char *id);

/* Resource templates: a buffer that begins, ranges, and its end. */
unsigned aml_begin_resources(struct aml *aml);
void aml_end_resources(struct aml *aml, unsigned begun);
enum aml_range { AML_MEMORY, AML_IO, AML_BUS };
/* @unit: bytes of an address, 2, 4 or 8. */
void aml_window(struct aml *aml, enum aml_range range, unsigned unit, uint64_t first, uint64_t end);
/* I/O ports that are nobody else's. */
void aml_ports(struct aml *aml, uint16_t first, uint8_t count);

#endif
