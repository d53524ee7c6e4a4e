/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A test card in a ramfb: eight bars, and below them squares whose colours follow from the seed. It is drawn once and
 * its place told once, so whoever sees it elsewhere sees what came along.
 */
#include "refdev/pattern.h"
#include "vmm/guest/guest.h"

#define WIDTH 160u
#define HEIGHT 120u
#define LINE_PIXELS 176u /* lines do not follow each other */
#define SQUARE 8u
#define XRGB 0x34325258u /* "XR24" */

/* fw_cfg: items, and a request's control. */
#define SIGNATURE 0
#define ID 1
#define DIRECTORY 0x19
#define ID_HAS_REQUESTS 2
#define ERROR 1u
#define READ 2u
#define SELECT 8u
#define WRITE 16u

struct file { /* as all of fw_cfg, big-endian */
    uint32_t length_bytes;
    uint16_t key, reserved;
    char name[56];
};

static uint32_t picture[HEIGHT][LINE_PIXELS];

static bool request(const struct guest_params *params, uint32_t control, void *data,
                    uint32_t length_bytes)
{
    static struct {
        uint32_t control, length_bytes;
        uint64_t address;
    } volatile request;
    uint64_t at = (uint64_t)&request;
    request.length_bytes = __builtin_bswap32(length_bytes);
    request.address = __builtin_bswap64((uint64_t)data);
    request.control = __builtin_bswap32(control);
    out32(params->fw_cfg_port + 4, __builtin_bswap32((uint32_t)(at >> 32)));
    out32(params->fw_cfg_port + 8, __builtin_bswap32((uint32_t)at));
    while (request.control & ~__builtin_bswap32(ERROR))
        __builtin_ia32_pause();
    __asm__ volatile("" : : : "memory");
    return !request.control;
}

static bool is(const char *text, const char *other)
{
    while (*text && *text == *other)
        text++, other++;
    return *text == *other;
}

/* Its item; 0: there is none. */
static uint32_t find(const struct guest_params *params, const char *name)
{
    struct file file;
    uint32_t count;
    bool good = request(params, DIRECTORY << 16 | SELECT | READ, &count, sizeof(count));
    for (count = good ? __builtin_bswap32(count) : 0; count; count--)
        if (request(params, READ, &file, sizeof(file)) && is(file.name, name))
            return __builtin_bswap16(file.key);
    return 0;
}

static bool has_requests(uint16_t port)
{
    static const char signature[] = "QEMU";
    bool there = true;
    out16(port, SIGNATURE);
    for (const char *at = signature; *at; at++)
        there &= in8(port + 1) == (uint8_t)*at;
    out16(port, ID);
    return there && (in8(port + 1) & ID_HAS_REQUESTS);
}

static uint32_t colour(uint64_t seed, unsigned x, unsigned y)
{
    unsigned bar = x * 8 / WIDTH;
    if (y < HEIGHT / 2)
        return (bar & 4 ? 0xff0000 : 0) | (bar & 2 ? 0xff00 : 0) | (bar & 1 ? 0xff : 0);
    uint64_t key = refdev_pattern_key(seed, REFDEV_PATTERN_THREAD, y / SQUARE, 0);
    return (uint32_t)refdev_pattern_lane(key, x / SQUARE) | 0xff000000; /* which says nothing */
}

void display_begin(const struct guest_params *params, const struct options *options)
{
    uint32_t key = has_requests(params->fw_cfg_port) ? find(params, "etc/ramfb") : 0;
    struct __attribute__((packed)) {
        uint64_t address;
        uint32_t fourcc, flags, width, height, line_bytes;
    } place = { __builtin_bswap64((uint64_t)picture),
                __builtin_bswap32(XRGB),
                0,
                __builtin_bswap32(WIDTH),
                __builtin_bswap32(HEIGHT),
                __builtin_bswap32(LINE_PIXELS * 4) };
    if (!key)
        return;
    for (unsigned y = 0; y < HEIGHT; y++)
        for (unsigned x = 0; x < WIDTH; x++)
            picture[y][x] = colour(options->seed, x, y);
    say(request(params, key << 16 | SELECT | WRITE, &place, sizeof(place)) ? "display\n"
                                                                           : "no display\n");
}
