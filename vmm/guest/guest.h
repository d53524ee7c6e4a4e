/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The built-in guest: a program that runs on the bare machine, in 64-bit mode, with page tables of its own.
 * It rewrites memory with patterns and checks each page before it overwrites it, drives reference devices
 * and reports on the serial port every so many steps. It knows no time: what it says depends on what was
 * done, not on how long that took.
 */
#ifndef VMM_GUEST_GUEST_H
#define VMM_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/guest/params.h"

#define PAGE 4096ull
#define CPUS_MAX 8
#define DEVICES_MAX 4

/* ---- the processor (cpu.c) ---- */

/* Own page tables and descriptor tables; the first CPU makes them, the others wait for it. */
void cpu_begin(const struct guest_params *params, unsigned index);
/* Reach device memory at its address, uncached. By the first CPU, before its first use. */
void cpu_map_device(uint64_t address, uint64_t size_bytes);
/* Interrupt vectors that devices may have, DEVICE_VECTORS of them; how often each came. */
#define DEVICE_VECTOR 0x40u
#define DEVICE_VECTORS 32u
#define INTX_VECTOR 0x60u
uint64_t cpu_interrupts(unsigned vector);
/* Called in the handler of INTX_VECTOR, before the end of the interrupt is told. */
void device_on_intx(void);
/* Have line @gsi of the IOAPIC raise INTX_VECTOR at the first CPU, level triggered. */
void cpu_route_line(unsigned gsi);

/* Say that and end badly. */
__attribute__((noreturn)) void cpu_crash(const char *text, uint64_t number);

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* ---- the console (console.c) ---- */

void console_begin(const struct guest_params *params);
/* Text, with a number behind it. */
void say(const char *text);
void say_number(const char *text, uint64_t number);
/* What was typed, 0: nothing. */
char typed(void);

/* ---- options (options.c) ---- */

struct options {     /* the table in options.c has the defaults */
    uint64_t report; /* steps of the first CPU between two reports */
    uint64_t steps;  /* of the first CPU, then it verifies all and switches off; 0: never */
    uint64_t copies; /* that each device must have been asked for before that */
    uint64_t pages;  /* that are rewritten; 0: all of memory */
    uint64_t seed;
    uint64_t lanes; /* 64-bit words of each page that are written and checked, 1 to 512 */
    uint64_t dma;   /* pages a second that each device writes to its slots */
    uint64_t intx;  /* 1: devices use INTx instead of MSI-X */
    uint64_t mask;  /* 1: interrupts are masked and unmasked without rest */
    uint64_t idle;  /* 1: after its beginning it does nothing */
};
void options_parse(const char *text, struct options *ret);

/* ---- memory (memory.c) ---- */

void memory_begin(const struct guest_params *params, const struct options *options);
/* Check and rewrite the next of the pages that CPU @index owns. */
void memory_step(unsigned index);
/* Check all of them. */
void memory_verify(unsigned index);
uint64_t memory_steps(unsigned index);
uint64_t memory_wrong(void); /* pages that were not what was last written there */

/* ---- the display (display.c), by the first CPU ---- */

/* Where there is one, a picture, which then stays as it is. */
void display_begin(const struct guest_params *params, const struct options *options);

/* ---- time (clock.c) ---- */

/* By each CPU, once, and after each of its steps. */
void clock_begin(unsigned index);
void clock_step(unsigned index);
uint64_t clock_back(void); /* how often time went back */

/* ---- reference devices (device.c), by the first CPU ---- */

void devices_begin(const struct guest_params *params, const struct options *options);
void devices_step(void);
/* Copies that the laziest device was asked for; ~0 without devices. */
uint64_t devices_copies(void);
void devices_report(void);
void devices_verify(void);
uint64_t devices_wrong(void); /* of all kinds */

#endif
