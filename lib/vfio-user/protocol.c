/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of commands, and encode and decode of every structure made from its list of fields. */
#include <stdio.h>
#include <string.h>

#include "lib/vfio-user/protocol.h"

#define C2S VUSER_TO_SERVER
#define S2C VUSER_TO_CLIENT

static const struct vuser_rule rules[] = {
    /* clang-format off */
    /*                                  name                       from  command min       reply min  fds */
    [VUSER_VERSION]                  = { "VERSION",                 C2S,  4,                4,  0, 1 },
    [VUSER_DMA_MAP]                  = { "DMA_MAP",                 C2S, 32,                0,  1, 0 },
    /* A server without DMA answers DMA_UNMAP with an empty payload. */
    [VUSER_DMA_UNMAP]                = { "DMA_UNMAP",               C2S, 24,                0,  0, 0 },
    [VUSER_DEVICE_GET_INFO]          = { "DEVICE_GET_INFO",         C2S, 16,               16,  0, 0 },
    [VUSER_DEVICE_GET_REGION_INFO]   = { "DEVICE_GET_REGION_INFO",  C2S, 32,               32,  0, VUSER_FDS_MAX },
    [VUSER_DEVICE_GET_REGION_IO_FDS] = { "DEVICE_GET_REGION_IO_FDS", C2S, 16,              16,  0, VUSER_FDS_MAX },
    [VUSER_DEVICE_GET_IRQ_INFO]      = { "DEVICE_GET_IRQ_INFO",     C2S, 16,               16,  0, 0 },
    [VUSER_DEVICE_SET_IRQS]          = { "DEVICE_SET_IRQS",         C2S, 20,                0,  VUSER_FDS_MAX, 0 },
    [VUSER_REGION_READ]              = { "REGION_READ",             C2S, 16,               16,  0, 0 },
    [VUSER_REGION_WRITE]             = { "REGION_WRITE",            C2S, 16,               16,  0, 0 },
    [VUSER_DMA_READ]                 = { "DMA_READ",                S2C, 16,               16,  0, 0 },
    /* Some clients answer DMA_WRITE with a bare header. */
    [VUSER_DMA_WRITE]                = { "DMA_WRITE",               S2C, 16,                0,  0, 0 },
    [VUSER_DEVICE_RESET]             = { "DEVICE_RESET",            C2S,  0,                0,  0, 0 },
    [VUSER_REGION_WRITE_MULTI]       = { "REGION_WRITE_MULTI",      C2S,  8,                8,  0, 0 },
    /* A known server reports a failed DMA log as success without payload: the caller looks. */
    [VUSER_DEVICE_FEATURE]           = { "DEVICE_FEATURE",          C2S,  8,                0,  0, 0 },
    [VUSER_MIG_DATA_READ]            = { "MIG_DATA_READ",           C2S,  8,                8,  0, 0 },
    [VUSER_MIG_DATA_WRITE]           = { "MIG_DATA_WRITE",          C2S,  8,                0,  0, 0 },
    [VUSER_GET_PRECOPY_INFO]         = { "GET_PRECOPY_INFO",        C2S, 24,               24,  0, 0 },
    /* clang-format on */
};
_Static_assert(sizeof(rules) / sizeof(rules[0]) == VUSER_COMMAND_END, "a row for every command");

const struct vuser_rule *vuser_rule(uint16_t command)
{
    return command < VUSER_COMMAND_END && rules[command].name ? &rules[command] : NULL;
}

const char *vuser_command_name(uint16_t command, char buf[16])
{
    const struct vuser_rule *rule = vuser_rule(command);
    if (rule)
        return rule->name;
    snprintf(buf, 16, "command %u", command);
    return buf;
}

#define ENCODE_FIELD(type, field)                                                                  \
    memcpy(at, &in->field, sizeof(type));                                                          \
    at += sizeof(type);
#define DECODE_FIELD(type, field)                                                                  \
    memcpy(&out->field, at, sizeof(type));                                                         \
    at += sizeof(type);
#define DEFINE(name, fields, bytes)                                                                \
    void name##_encode(const struct name *in, void *out)                                           \
    {                                                                                              \
        uint8_t *at = out;                                                                         \
        fields(ENCODE_FIELD)(void) at;                                                             \
    }                                                                                              \
    void name##_decode(const void *in, struct name *out)                                           \
    {                                                                                              \
        const uint8_t *at = in;                                                                    \
        fields(DECODE_FIELD)(void) at;                                                             \
    }
VUSER_STRUCTS(DEFINE)
