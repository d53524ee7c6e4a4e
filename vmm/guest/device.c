/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver of reference devices (refdev/registers.h). Each is asked for one copy after the other: it fills a
 * buffer and raises an interrupt, and the next is asked for when that interrupt came and the buffer is right.
 * Beside that it writes pages to slots by itself and checks them. So lost are: an interrupt when the device
 * says that it is done and none comes; a write of the device when a page is not what it must be.
 */
#include "refdev/pattern.h"
#include "vmm/guest/guest.h"

#define DEVICE_BYTES (512ull << 10) /* of GUEST_DMA, for each device */
#define BUFFER_PAGES 2
#define SLOTS 64
/* How often a device says that it is done before its interrupt counts as lost. Each time takes a way to the
 * device and back, which is longer where interrupts take longer. */
#define PATIENCE 200000
#define LOOKS 64 /* for an interrupt between two such questions */
#define VECTORS 8

#define COMMAND 0x04
#define COMMAND_MEMORY_AND_MASTER 6
#define COMMAND_INTX_DISABLE 0x400
#define LINE 0x3c
#define CAPABILITIES 0x34
#define CAPABILITY_MSIX 0x11
#define MSIX_ENABLE 0x8000
#define MSIX_MASK 0x4000

struct device {
    volatile uint8_t *config, *registers, *shared, *table;
    volatile uint64_t *slots, *buffer;
    uint64_t seed;
    uint64_t asked, lost, bad_pages;
    unsigned vector; /* of its first MSI-X vector; 0: INTx */
    unsigned msix;   /* where its capability is, if it masks all the time; 0 */
    bool waits;
    uint64_t looks;
};

static struct device devices[DEVICES_MAX];
static unsigned num_devices;
static volatile uint64_t lines[DEVICES_MAX]; /* copies of which INTx told */

static uint16_t config16(const struct device *d, unsigned offset)
{
    return *(volatile uint16_t *)(d->config + offset);
}

static void set_config16(const struct device *d, unsigned offset, uint16_t value)
{
    *(volatile uint16_t *)(d->config + offset) = value;
}

static uint64_t bar(const struct device *d, unsigned index)
{
    volatile uint32_t *at = (volatile uint32_t *)(d->config + 0x10 + 4 * index);
    uint64_t low = at[0];
    return (low & ~15ull) | ((low & 6) == 4 ? (uint64_t)at[1] << 32 : 0);
}

static uint64_t get(const struct device *d, enum refdev_register reg)
{
    return *(volatile uint64_t *)(d->registers + reg);
}

static void set(const struct device *d, enum refdev_register reg, uint64_t value)
{
    *(volatile uint64_t *)(d->registers + reg) = value;
}

/* ---- interrupts ---- */

static uint64_t interrupts(const struct device *d)
{
    return d->vector ? cpu_interrupts(d->vector) : lines[d - devices];
}

void device_on_intx(void)
{
    for (unsigned i = 0; i < num_devices; i++)
        if (!devices[i].vector && get(&devices[i], REFDEV_REG_INTX)) {
            set(&devices[i], REFDEV_REG_INTX, 1);
            lines[i] =
                get(&devices[i], REFDEV_REG_COPIES); /* not of another kind: those are told, too */
        }
}

static unsigned find_msix(const struct device *d)
{
    unsigned at = d->config[CAPABILITIES] & 0xfc;
    for (unsigned hops = 0; at && hops < 48; hops++, at = d->config[at + 1] & 0xfc)
        if (d->config[at] == CAPABILITY_MSIX)
            return at;
    return 0;
}

/* The vectors are spread over the CPUs. */
static void begin_msix(struct device *d, unsigned capability, unsigned first_vector, unsigned cpus)
{
    for (unsigned n = 0; n < VECTORS; n++) {
        volatile uint32_t *entry = (volatile uint32_t *)(d->table + 16 * n);
        entry[0] = 0xfee00000u | (n % cpus) << 12;
        entry[1] = 0;
        entry[2] = first_vector + n;
        entry[3] = 0;
    }
    set_config16(d, COMMAND, COMMAND_MEMORY_AND_MASTER | COMMAND_INTX_DISABLE);
    set_config16(d, capability + 2, MSIX_ENABLE);
    d->vector = first_vector;
}

/* ---- begin ---- */

static void begin_interrupts(struct device *d, unsigned cpus, bool intx)
{
    unsigned capability = find_msix(d);
    unsigned n = (unsigned)(d - devices);
    if (capability && !intx)
        begin_msix(d, capability, DEVICE_VECTOR + VECTORS * n, cpus);
    else
        cpu_route_line(d->config[LINE]);
}

static void begin_device(struct device *d, const struct guest_params *params,
                         const struct options *options)
{
    uint64_t memory = GUEST_DMA + (uint64_t)(d - devices) * DEVICE_BYTES;
    d->slots = (uint64_t *)memory;
    d->buffer = (uint64_t *)(memory + SLOTS * PAGE);
    d->seed = get(d, REFDEV_REG_SEED);
    num_devices++;
    set_config16(d, COMMAND, COMMAND_MEMORY_AND_MASTER);
    begin_interrupts(d, (unsigned)params->cpus, options->intx);
    d->msix = d->vector && options->mask ? find_msix(d) : 0;
    set(d, REFDEV_REG_SLOT_BASE, memory);
    set(d, REFDEV_REG_SLOT_COUNT, SLOTS);
    set(d, REFDEV_REG_DMA_RATE, options->dma);
    set(d, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN);
    *(volatile uint64_t *)(d->shared + REFDEV_SHARED_MAP_OFFSET) = d->seed;
    say_number("device ", num_devices - 1);
    say_number(d->vector ? ": MSI-X, seed " : ": INTx, seed ", d->seed);
    say("\n");
}

static bool is_reference_device(struct device *d)
{
    if (config16(d, 0) == 0xffff || bar(d, 0) == 0)
        return false;
    set_config16(d, COMMAND, COMMAND_MEMORY_AND_MASTER);
    cpu_map_device(bar(d, REFDEV_BAR_REGISTERS), REFDEV_REGISTERS_BYTES);
    d->registers = (uint8_t *)bar(d, REFDEV_BAR_REGISTERS);
    if (get(d, REFDEV_REG_MAGIC) != REFDEV_MAGIC)
        return false;
    cpu_map_device(bar(d, REFDEV_BAR_SHARED), REFDEV_SHARED_BYTES);
    cpu_map_device(bar(d, REFDEV_BAR_MSIX), REFDEV_MSIX_BYTES);
    d->shared = (uint8_t *)bar(d, REFDEV_BAR_SHARED);
    d->table = (uint8_t *)bar(d, REFDEV_BAR_MSIX);
    return true;
}

void devices_begin(const struct guest_params *params, const struct options *options)
{
    for (unsigned slot = 0; slot < 32 && num_devices < DEVICES_MAX; slot++) {
        struct device *d = &devices[num_devices];
        *d = (struct device) { .config = (uint8_t *)params->ecam + (slot << 15) };
        if (is_reference_device(d))
            begin_device(d, params, options);
    }
}

/* ---- work ---- */

static void ask(struct device *d)
{
    for (unsigned page = 0; page < BUFFER_PAGES; page++)
        d->buffer[page * REFDEV_PATTERN_LANES] =
            0; /* so that the last copy does not pass for this one */
    d->asked++;
    d->looks = 0;
    d->waits = true;
    set(d, REFDEV_REG_COPY_TARGET, (uint64_t)d->buffer);
    set(d, REFDEV_REG_COPY_LENGTH, BUFFER_PAGES * PAGE);
    set(d, REFDEV_REG_COPY_OPERATION, REFDEV_COPY_FILL);
}

static void check(struct device *d)
{
    for (unsigned page = 0; page < BUFFER_PAGES; page++) {
        const uint64_t *lanes = (const uint64_t *)(uint64_t)d->buffer + page * REFDEV_PATTERN_LANES;
        if (!refdev_pattern_matches(lanes,
                                    refdev_pattern_key(d->seed, REFDEV_PATTERN_FILL, page, 1)))
            d->bad_pages++;
    }
    d->waits = false;
}

/* By the vector, by the function, by both, by none: what comes meanwhile is pending, and comes afterwards. */
static void mask(const struct device *d)
{
    *(volatile uint32_t *)(d->table + 16 * REFDEV_VECTOR_COPY + 12) = d->looks & 1;
    set_config16(d, d->msix + 2, MSIX_ENABLE | (d->looks & 2 ? MSIX_MASK : 0));
}

static void look(struct device *d)
{
    if (d->msix)
        mask(d);
    if (interrupts(d) + d->lost >= d->asked) {
        check(d);
        return;
    }
    if (++d->looks % LOOKS || get(d, REFDEV_REG_COPY_STATUS) == REFDEV_STATUS_BUSY)
        return;
    if (d->looks / LOOKS > PATIENCE) {
        d->lost++;
        check(d);
    }
}

void devices_step(void)
{
    for (unsigned i = 0; i < num_devices; i++) {
        if (devices[i].waits)
            look(&devices[i]);
        else
            ask(&devices[i]);
    }
}

/* The device's own mapped memory is in its BAR, behind a memory slot: what was written there is there. */
static uint64_t shared_wrong(const struct device *d)
{
    return *(volatile uint64_t *)(d->shared + REFDEV_SHARED_MAP_OFFSET) != d->seed;
}

static uint64_t device_wrong(const struct device *d)
{
    return d->lost + d->bad_pages + get(d, REFDEV_REG_SLOT_MISMATCHES) +
           get(d, REFDEV_REG_DMA_ERRORS) + get(d, REFDEV_REG_STOPPED_WRITES) + shared_wrong(d);
}

uint64_t devices_copies(void)
{
    uint64_t least = ~0ull;
    for (unsigned i = 0; i < num_devices; i++)
        if (devices[i].asked < least)
            least = devices[i].asked;
    return least;
}

void devices_report(void)
{
    for (unsigned i = 0; i < num_devices; i++) {
        const struct device *d = &devices[i];
        say_number("; device ", i);
        say_number(": copies ", d->asked);
        say_number(" interrupts ", interrupts(d));
        say_number(" lost ", d->lost);
        say_number(" slots ", get(d, REFDEV_REG_DMA_STEPS));
        say_number(" wrong ", device_wrong(d));
    }
}

/* The device reads all its slots and counts those that are wrong. */
void devices_verify(void)
{
    for (unsigned i = 0; i < num_devices; i++) {
        struct device *d = &devices[i];
        while (d->waits)
            look(d);
        set(d, REFDEV_REG_VERIFY, 1);
        while (get(d, REFDEV_REG_VERIFY) >= REFDEV_VERIFY_NOT_RUN)
            __builtin_ia32_pause();
        d->bad_pages += get(d, REFDEV_REG_VERIFY);
    }
}

uint64_t devices_wrong(void)
{
    uint64_t wrong = 0;
    for (unsigned i = 0; i < num_devices; i++)
        wrong += device_wrong(&devices[i]);
    return wrong;
}
