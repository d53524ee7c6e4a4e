/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each CPU does. The first one also reports, listens to the console and drives the devices. Typed
 * characters: 'v' verifies everything, 'q' does and then switches the machine off.
 */
#include "vmm/guest/guest.h"

static struct options options;
static volatile uint64_t verifications;      /* asked for so far */
static volatile uint64_t verified[CPUS_MAX]; /* carried out so far, by each */
static volatile bool begun;

void guest_main(const struct guest_params *params, unsigned index);

/* The compiler may call these. */
void *memset(void *to, int value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((volatile char *)to)[i] = (char)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

static void report(const struct guest_params *params)
{
    static uint64_t number;
    say_number("report ", ++number);
    for (unsigned i = 0; i < params->cpus; i++)
        say_number(i ? "," : " steps ", memory_steps(i));
    say_number(" wrong ", memory_wrong());
    devices_report();
    say("\n");
}

static void verify_own(unsigned index)
{
    if (verified[index] == verifications)
        return;
    memory_verify(index);
    verified[index] = verifications;
}

static void verify_all(const struct guest_params *params)
{
    verifications++;
    verify_own(0);
    for (unsigned i = 1; i < params->cpus; i++)
        while (verified[i] != verifications)
            __builtin_ia32_pause();
    devices_verify();
    say_number("verified: wrong ", memory_wrong());
    devices_report();
    if (clock_back())
        say_number("; times that time went back: ", clock_back());
    say(memory_wrong() || devices_wrong() || clock_back() ? ": bad\n" : ": good\n");
}

static void first_cpu_step(const struct guest_params *params, uint64_t step)
{
    char key = typed();
    bool last = key == 'q' ||
                (options.steps && step >= options.steps && devices_copies() >= options.copies);
    devices_step();
    if (step % options.report == 0)
        report(params);
    if (last || key == 'v')
        verify_all(params);
    if (last)
        out16(params->power_port, params->power_value);
}

void guest_main(const struct guest_params *params, unsigned index)
{
    if (index == 0) {
        console_begin(params);
        options_parse(params->options, &options);
        cpu_begin(params, index);
        memory_begin(params, &options);
        say_number("pattern guest on ", params->cpus);
        say(" CPUs\n");
        display_begin(params, &options);
        devices_begin(params, &options);
        begun = true;
    } else {
        cpu_begin(params, index);
        while (!begun)
            __builtin_ia32_pause();
    }
    clock_begin(index);
    while (options.idle)
        __asm__ volatile("hlt");
    for (uint64_t step = 1;; step++) {
        memory_step(index);
        clock_step(index);
        if (index == 0)
            first_cpu_step(params, step);
        else
            verify_own(index);
    }
}
