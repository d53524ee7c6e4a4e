/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/device/address-parts.h"
#include "lib/error.h"

int address_malformed(struct vmig_error *err, const char *what, const char *part, const char *why)
{
    return error_set(err, EINVAL, VMIG_STAGE_OPEN, NULL, "bad-address", "%s: '%.60s' %s", what,
                     part, why);
}

bool address_number(const char **text, int base, char end, uint64_t *ret)
{
    char *after;
    if (!**text || !strchr("0123456789abcdef", **text))
        return false;
    errno = 0;
    *ret = strtoull(*text, &after, base);
    if (errno || *after != end || after == *text)
        return false;
    *text = after + (end != '\0');
    return true;
}

int address_part_read(const struct address_key *keys, unsigned count, const char *what,
                      const char *part, struct address_value *values, struct vmig_error *err)
{
    for (unsigned i = 0; i < count; i++) {
        size_t length = strlen(keys[i].name);
        const char *text = part + length + 1;
        if (strncmp(part, keys[i].name, length) || part[length] != '=')
            continue;
        if (values[i].seen)
            return address_malformed(err, what, part, "comes twice");
        if (!address_number(&text, 10, '\0', &values[i].number) || values[i].number < keys[i].min ||
            values[i].number > keys[i].max)
            return address_malformed(err, what, part, "is no number that makes sense there");
        values[i].seen = true;
        return 0;
    }
    return address_malformed(err, what, part, "is not understood");
}

int address_parts_check(const struct address_key *keys, unsigned count, const char *what,
                        const struct address_value *values, struct vmig_error *err)
{
    for (unsigned i = 0; i < count; i++)
        if (!keys[i].optional && !values[i].seen)
            return address_malformed(err, what, keys[i].name, "is missing");
    return 0;
}
