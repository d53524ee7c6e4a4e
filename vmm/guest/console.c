/* SPDX-License-Identifier: BSD-3-Clause */
/* The serial port, polled. */
#include "vmm/guest/guest.h"

#define STATUS 5
#define STATUS_TYPED 0x01
#define STATUS_ROOM 0x20

static uint16_t port;

void console_begin(const struct guest_params *params)
{
    port = params->serial_port;
}

static void put(char c)
{
    while (!(in8(port + STATUS) & STATUS_ROOM))
        __builtin_ia32_pause();
    out8(port, (uint8_t)c);
}

void say(const char *text)
{
    while (*text)
        put(*text++);
}

void say_number(const char *text, uint64_t value)
{
    char digits[20];
    unsigned count = 0;
    say(text);
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        put(digits[--count]);
}

char typed(void)
{
    return in8(port + STATUS) & STATUS_TYPED ? (char)in8(port) : 0;
}
