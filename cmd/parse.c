/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers with units, from the command line and for people.
 *
 * Fractions are computed in integers: "1.1G" is exactly 1.1 * 2^30 rounded down, on every machine,
 * and "0.5" bytes is refused, not rounded to nothing.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"

struct unit {
    const char *name;
    uint64_t factor;
};

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };
static const struct unit size_units[] = {
    { "", 1 },      { "B", 1 },   { "K", KIB },   { "k", KIB }, { "KiB", KIB }, { "M", MIB },
    { "MiB", MIB }, { "G", GIB }, { "GiB", GIB }, { "T", TIB }, { "TiB", TIB }, { NULL, 0 },
};
static const struct unit rate_units[] = {
    { "", 1 },      { "B/s", 1 },     { "K", KIB }, { "K/s", KIB }, { "KiB/s", KIB }, { "M", MIB },
    { "M/s", MIB }, { "MiB/s", MIB }, { "G", GIB }, { "G/s", GIB }, { "GiB/s", GIB }, { NULL, 0 },
};
static const struct unit duration_units[] = {
    { "ns", 1 },
    { "us", 1000 },
    { "ms", 1000000 },
    { "s", UINT64_C(1000000000) },
    { "m", UINT64_C(60000000000) },
    { NULL, 0 },
};

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name; units++)
        if (!strcmp(units->name, name))
            return units;
    return NULL;
}

/* Decimal digits behind the point at *text as a fraction of @factor, rounded down. */
static int parse_fraction(const char **text, uint64_t *ret_digits, uint64_t *ret_scale)
{
    uint64_t digits = 0, scale = 1;
    const char *at = *text;
    if (!isdigit((unsigned char)*at))
        return -EINVAL;
    for (; isdigit((unsigned char)*at); at++) {
        if (scale == 1000000) /* more are beyond any unit's need */
            return -EINVAL;
        digits = digits * 10 + (uint64_t)(*at - '0');
        scale *= 10;
    }
    *text = at;
    *ret_digits = digits;
    *ret_scale = scale;
    return 0;
}

static int parse_whole(const char **text, uint64_t *ret)
{
    const char *at = *text;
    bool hex = at[0] == '0' && (at[1] == 'x' || at[1] == 'X');
    if (at[0] == '-' && isdigit((unsigned char)at[1]))
        return -ERANGE;
    if (!isdigit((unsigned char)at[0]) || (hex && !isxdigit((unsigned char)at[2])))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(at, &end, hex ? 16 : 10);
    if (errno == ERANGE)
        return -ERANGE;
    *text = end;
    *ret = value;
    return 0;
}

static int parse_with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
    uint64_t whole, digits = 0, scale = 1, part, total;
    int rc = parse_whole(&text, &whole);
    if (!rc && *text == '.') {
        text++;
        rc = parse_fraction(&text, &digits, &scale);
    }
    if (rc)
        return rc;
    const struct unit *unit = find_unit(units, text);
    if (!unit || (scale > 1 && unit->factor == 1))
        return -EINVAL;
    if (__builtin_mul_overflow(whole, unit->factor, &total))
        return -ERANGE;
    part = (uint64_t)((unsigned __int128)digits * unit->factor / scale);
    if (__builtin_add_overflow(total, part, &total))
        return -ERANGE;
    *ret = total;
    return 0;
}

int cmd_parse_number(const char *text, uint64_t *ret)
{
    return parse_with_unit(text, no_units, ret);
}

int cmd_parse_size(const char *text, uint64_t *ret_bytes)
{
    return parse_with_unit(text, size_units, ret_bytes);
}

int cmd_parse_duration(const char *text, uint64_t *ret_ns)
{
    if (!strcmp(text, "0")) { /* the one duration whose unit does not matter */
        *ret_ns = 0;
        return 0;
    }
    return parse_with_unit(text, duration_units, ret_ns);
}

int cmd_parse_rate(const char *text, uint64_t *ret_per_second)
{
    return parse_with_unit(text, rate_units, ret_per_second);
}

/* ---- as the argument of an option ---- */

struct kind {
    const char *what, *example;
    int (*parse)(const char *text, uint64_t *ret);
    void (*format)(uint64_t value, char *buf, size_t size);
};

static void format_plain(uint64_t value, char *buf, size_t size)
{
    snprintf(buf, size, "%" PRIu64, value);
}

static void format_bytes(uint64_t value, char *buf, size_t size)
{
    cmd_format_size(value, buf, size);
}

static void format_rate(uint64_t value, char *buf, size_t size)
{
    char text[32];
    snprintf(buf, size, "%s/s", cmd_format_size(value, text, sizeof(text)));
}

static void format_ns(uint64_t value, char *buf, size_t size)
{
    cmd_format_duration((double)value / 1e6, buf, size);
}

static const struct kind kind_number = { "a number", "8 or 0x1000", cmd_parse_number,
                                         format_plain };
static const struct kind kind_size = { "a size", "4096, 64M or 1.5G", cmd_parse_size,
                                       format_bytes };
static const struct kind kind_duration = { "a duration", "50us, 50ms or 2s", cmd_parse_duration,
                                           format_ns };
static const struct kind kind_rate = { "a rate", "100M/s or 1G/s", cmd_parse_rate, format_rate };

static uint64_t parse_argument(const struct kind *kind, const struct argp_state *state,
                               const char *option, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    int rc = kind->parse(text, &value);
    if (rc == -EINVAL)
        argp_error(state, "%s '%s': not %s such as %s", option, text, kind->what, kind->example);
    if (rc == -ERANGE || value < min || value > max) {
        char low[48], high[48];
        kind->format(min, low, sizeof(low));
        kind->format(max, high, sizeof(high));
        argp_error(state, "%s '%s': must be between %s and %s", option, text, low, high);
    }
    return value;
}

uint64_t cmd_arg_number(const struct argp_state *state, const char *option, const char *text,
                        uint64_t min, uint64_t max)
{
    return parse_argument(&kind_number, state, option, text, min, max);
}

uint64_t cmd_arg_size(const struct argp_state *state, const char *option, const char *text,
                      uint64_t min, uint64_t max)
{
    return parse_argument(&kind_size, state, option, text, min, max);
}

uint64_t cmd_arg_duration(const struct argp_state *state, const char *option, const char *text,
                          uint64_t min_ns, uint64_t max_ns)
{
    return parse_argument(&kind_duration, state, option, text, min_ns, max_ns);
}

uint64_t cmd_arg_rate(const struct argp_state *state, const char *option, const char *text,
                      uint64_t min, uint64_t max)
{
    return parse_argument(&kind_rate, state, option, text, min, max);
}

/* ---- for people ---- */

const char *cmd_format_size(uint64_t bytes, char *buf, size_t size)
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned i = 0;
    double value = (double)bytes;
    while (value >= 1024 && i + 1 < sizeof(names) / sizeof(names[0])) {
        value /= 1024;
        i++;
    }
    bool whole = i == 0 || bytes % (UINT64_C(1) << (10 * i)) == 0;
    snprintf(buf, size, whole ? "%.0f %s" : "%.1f %s", value, names[i]);
    return buf;
}

const char *cmd_format_duration(double ms, char *buf, size_t size)
{
    if (ms >= 1000)
        snprintf(buf, size, "%.2f s", ms / 1000);
    else if (ms >= 10 || ms == 0)
        snprintf(buf, size, "%.0f ms", ms);
    else if (ms >= 1)
        snprintf(buf, size, "%.1f ms", ms);
    else
        snprintf(buf, size, "%.0f us", ms * 1000);
    return buf;
}
