/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables, descriptor tables, interrupts. */
#include "vmm/guest/guest.h"

#define PRESENT 1ull
#define WRITABLE 2ull
#define UNCACHED 0x10ull
#define LARGE 0x80ull
#define LARGE_BYTES (2ull << 20)
#define TABLES_MAX 48 /* 16 GiB of memory, three windows of devices, and two above them */

#define LAPIC 0xfee00000ull
#define LAPIC_EOI 0xb0
#define LAPIC_SPURIOUS 0xf0
#define IOAPIC 0xfec00000ull
#define CODE_SELECTOR 8

struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* Without interrupt descriptors a trap shuts the processor down, which nobody takes for a good end. */
void cpu_crash(const char *text, uint64_t number)
{
    struct pointer none = { 0, 0 };
    say_number(text, number);
    say("\n");
    for (;;)
        __asm__ volatile("lidt %0\n\tint3" : : "m"(none));
}

/* ---- memory ---- */

typedef uint64_t table[512];
static table tables[TABLES_MAX] __attribute__((aligned(4096)));
static unsigned num_tables = 1; /* the first is the root */

static uint64_t *below(uint64_t *entry)
{
    if (!(*entry & PRESENT)) {
        if (num_tables == TABLES_MAX)
            cpu_crash("no page table is left of ", TABLES_MAX);
        *entry = (uint64_t)tables[num_tables++] | PRESENT | WRITABLE;
    }
    return (uint64_t *)(*entry & ~(PAGE - 1));
}

static void map(uint64_t address, uint64_t size_bytes, uint64_t flags)
{
    uint64_t end = address + size_bytes;
    for (address &= ~(LARGE_BYTES - 1); address < end; address += LARGE_BYTES) {
        uint64_t *directory_pointers = below(&tables[0][address >> 39 & 511]);
        uint64_t *directory = below(&directory_pointers[address >> 30 & 511]);
        directory[address >> 21 & 511] = address | PRESENT | WRITABLE | LARGE | flags;
    }
}

static void load_tables(void)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(tables[0]) : "memory");
}

void cpu_map_device(uint64_t address, uint64_t size_bytes)
{
    map(address, size_bytes, UNCACHED);
    load_tables();
}

/* ---- interrupts ---- */

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

static uint64_t gdt[3] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff }; /* code at 8, data at 16 */
static struct gate idt[256];
static volatile uint64_t counts[DEVICE_VECTORS];

static volatile uint32_t *lapic(unsigned offset)
{
    return (volatile uint32_t *)(LAPIC + offset);
}

extern const uint8_t vectors[]; /* start.S */
#define VECTOR_BYTES 16
#define TRAPS 32
#define SPURIOUS 0xff

void cpu_on_interrupt(uint64_t vector, uint64_t code, uint64_t ip);

/* The stub tells the vector: to ask the LAPIC which is in service would not do on all KVMs. */
void cpu_on_interrupt(uint64_t vector, uint64_t code, uint64_t ip)
{
    if (vector < TRAPS) {
        say_number("trap ", vector);
        say_number(", code ", code);
        cpu_crash(", at ", ip);
    }
    if (vector == SPURIOUS)
        return;
    if (vector == INTX_VECTOR)
        device_on_intx();
    else if (vector >= DEVICE_VECTOR && vector < DEVICE_VECTOR + DEVICE_VECTORS)
        __atomic_fetch_add(&counts[vector - DEVICE_VECTOR], 1, __ATOMIC_RELAXED);
    *lapic(LAPIC_EOI) = 0;
}

static void make_gates(void)
{
    for (unsigned vector = 0; vector < 256; vector++) {
        uint64_t address = (uint64_t)vectors + vector * VECTOR_BYTES;
        idt[vector] = (struct gate) { .offset_low = (uint16_t)address,
                                      .selector = CODE_SELECTOR,
                                      .type = 0x8e,
                                      .offset_middle = (uint16_t)(address >> 16),
                                      .offset_high = (uint32_t)(address >> 32) };
    }
}

uint64_t cpu_interrupts(unsigned vector)
{
    return counts[vector - DEVICE_VECTOR];
}

void cpu_route_line(unsigned gsi)
{
    volatile uint32_t *select = (volatile uint32_t *)IOAPIC, *window = select + 4;
    *select = 0x11 + 2 * gsi; /* upper half of the redirection entry: to the CPU with APIC id 0 */
    *window = 0;
    *select = 0x10 + 2 * gsi;
    *window = INTX_VECTOR | 1u << 15; /* level triggered */
}

/* ---- begin ---- */

static volatile bool tables_made;

static void load_descriptors(void)
{
    struct pointer gdt_pointer = { sizeof(gdt) - 1, (uint64_t)gdt };
    struct pointer idt_pointer = { sizeof(idt) - 1, (uint64_t)idt };
    __asm__ volatile("lgdt %0\n\t"
                     "push $8\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "lretq\n"
                     "1:\tmov $16, %%eax\n\t"
                     "mov %%eax, %%ds\n\t"
                     "mov %%eax, %%es\n\t"
                     "mov %%eax, %%ss\n\t"
                     "lidt %1"
                     :
                     : "m"(gdt_pointer), "m"(idt_pointer)
                     : "rax", "memory");
}

void cpu_begin(const struct guest_params *params, unsigned index)
{
    if (index == 0) {
        map(0, params->low_bytes, 0);
        map(0x100000000ull, params->high_bytes, 0);
        map(params->ecam, 1 << 20, UNCACHED);
        map(LAPIC, PAGE, UNCACHED);
        map(IOAPIC, PAGE, UNCACHED);
        make_gates();
        tables_made = true;
    }
    while (!tables_made)
        __builtin_ia32_pause();
    load_tables();
    load_descriptors();
    *lapic(LAPIC_SPURIOUS) = 0x1ff; /* on */
    __asm__ volatile("sti");
}
