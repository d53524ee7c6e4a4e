/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of a device's address that name descriptors: "KEY=VALUE" between commas. */
#ifndef LIB_DEVICE_ADDRESS_PARTS_H
#define LIB_DEVICE_ADDRESS_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <vfio-migrate/error.h>

/* A key whose value is a decimal number. */
struct address_key {
    const char *name;
    uint64_t min, max;
    bool optional;
};

struct address_value {
    uint64_t number;
    bool seen;
};

/* Read @part of @what ("the address fd:7,...") into the value of its key, among @count @keys.
 * -EINVAL when none of them is its key, it comes twice, or it is no such number. */
int address_part_read(const struct address_key *keys, unsigned count, const char *what,
                      const char *part, struct address_value *values, struct vmig_error *err);
/* -EINVAL when one that is not optional was not seen. */
int address_parts_check(const struct address_key *keys, unsigned count, const char *what,
                        const struct address_value *values, struct vmig_error *err);

/* Digits, and then @end. */
bool address_number(const char **text, int base, char end, uint64_t *ret);

/* "WHAT: 'PART' WHY". -EINVAL. */
int address_malformed(struct vmig_error *err, const char *what, const char *part, const char *why);

#endif
