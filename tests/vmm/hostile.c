/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest may do to the machine through its addresses: config space by both ways, BARs, the MSI-X table, the
 * serial port, with any size, offset and value. Below is a device that has everything, and a KVM that looks whether
 * what it is asked for makes sense.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/fail.h"
#include "vmm/pci.h"
#include "vmm/serial.h"
#include "vmm/vfio.h"

#define PAGE 4096u
#define VECTORS 5u /* no multiple of anything */
#define TABLE_BAR 4
#define TABLE_OFFSET 0x200u
#define PENDING_OFFSET 0x800u
#define MSIX 0x60u
#define ROUNDS 60000

/* ---- a device ---- */

struct vmig_device {
    pthread_mutex_t lock; /* guards config, as a device guards its own */
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t *mapped; /* all of BAR 2 */
    unsigned on;     /* MSI-X vectors with an eventfd */
    bool gone;
};

static const uint64_t bar_bytes[6] = { 0x1000, 0, 0x4000, 0, 0x1000, 0x20 };

static uint64_t region_bytes(unsigned index)
{
    return index < 6 ? bar_bytes[index] : index == VMIG_REGION_CONFIG ? PCI_CONFIG_BYTES : 0;
}

int vmig_device_region_info(struct vmig_device *device, unsigned index,
                            struct vmig_region_info *ret, struct vmig_error *err)
{
    (void)device;
    (void)err;
    *ret = (struct vmig_region_info) { .index = index, .size_bytes = region_bytes(index) };
    if (index == 2 || index == TABLE_BAR) {
        ret->num_areas = 1;
        ret->areas[0] = (struct vmig_region_area) { 0, ret->size_bytes };
    }
    return 0;
}

static bool is_inside(unsigned index, uint64_t offset, size_t length)
{
    return offset < region_bytes(index) && length <= region_bytes(index) - offset;
}

int vmig_device_region_read(struct vmig_device *device, unsigned index, uint64_t offset, void *buf,
                            size_t length, struct vmig_error *err)
{
    assert_non_null(err);
    if (device->gone)
        return vmm_fail(err, ECONNRESET, NULL, "gone");
    assert_true(is_inside(index, offset, length));
    memset(buf, 0xa5, length);
    pthread_mutex_lock(&device->lock);
    if (index == VMIG_REGION_CONFIG)
        memcpy(buf, device->config + offset, length);
    pthread_mutex_unlock(&device->lock);
    return 0;
}

int vmig_device_region_write(struct vmig_device *device, unsigned index, uint64_t offset,
                             const void *buf, size_t length, struct vmig_error *err)
{
    (void)err;
    assert_true(is_inside(index, offset, length));
    pthread_mutex_lock(&device->lock);
    if (index == VMIG_REGION_CONFIG) /* it lets all of it be written, unlike any real one */
        memcpy(device->config + offset, buf, length);
    pthread_mutex_unlock(&device->lock);
    return 0;
}

int vmig_device_region_map(struct vmig_device *device, unsigned index, unsigned area, void **ret,
                           struct vmig_error *err)
{
    (void)index;
    (void)area;
    (void)err;
    *ret = device->mapped;
    return 0;
}

int vmig_device_irq_info(struct vmig_device *device, unsigned index, struct vmig_irq_info *ret,
                         struct vmig_error *err)
{
    (void)device;
    (void)err;
    *ret = (struct vmig_irq_info) { .index = index, .count = index == VMIG_IRQ_MSIX ? VECTORS : 1 };
    return 0;
}

int vmig_device_set_irqs(struct vmig_device *device, unsigned index, unsigned start, unsigned count,
                         const int *eventfds, struct vmig_error *err)
{
    (void)err;
    assert_int_equal(start, 0);
    assert_true(count <= (index == VMIG_IRQ_MSIX ? VECTORS : 1));
    for (unsigned i = 0; i < count; i++)
        assert_true(eventfds[i] >= 0);
    if (index == VMIG_IRQ_MSIX)
        device->on = count;
    return 0;
}

int vmig_device_unmask_irqs(struct vmig_device *device, unsigned index, unsigned start,
                            unsigned count, struct vmig_error *err)
{
    (void)device;
    (void)index;
    (void)start;
    (void)count;
    (void)err;
    return 0;
}

const char *vmig_device_id(const struct vmig_device *device)
{
    (void)device;
    return "device";
}

/* Nothing is migrated here. */
int vmig_migration_add_device_with(struct vmig_migration *migration, struct vmig_device *device,
                                   const struct vmig_device_settings *settings,
                                   struct vmig_error *err)
{
    (void)migration;
    (void)device;
    (void)settings;
    return vmm_fail(err, ENOSYS, NULL, "no");
}

int vmig_migration_add_vmstate(struct vmig_migration *migration, const char *name,
                               uint32_t instance, const struct vmig_vmstate *vmstate, void *data,
                               struct vmig_error *err)
{
    (void)migration;
    (void)name;
    (void)instance;
    (void)vmstate;
    (void)data;
    return vmm_fail(err, ENOSYS, NULL, "no");
}

static unsigned failures;
void vfio_failed(struct vfio_device *device, const struct vmig_error *err)
{
    (void)device;
    assert_int_equal(err->code, -ECONNRESET);
    failures++;
}

/* ---- a KVM ---- */

static uint64_t slots[KVM_SLOTS]; /* address of each, 0: free */
static bool attached[IRQ_LINES + IRQ_MESSAGES_MAX];

/* A device without display. */
void ramfb_get(struct ramfb *ramfb, struct vmig_ramfb *ret)
{
    (void)ramfb;
    (void)ret;
    fail();
}

void ramfb_set(struct ramfb *ramfb, const struct vmig_ramfb *state)
{
    (void)ramfb;
    (void)state;
    fail();
}

int kvm_map(struct kvm *kvm, uint64_t address, uint64_t size_bytes, void *vaddr, unsigned *ret_slot,
            struct vmig_error *err)
{
    (void)kvm;
    (void)vaddr;
    (void)err;
    assert_int_equal((address | size_bytes) % PAGE, 0);
    assert_true((address >= MMIO32_BASE && address <= MMIO32_LAST &&
                 size_bytes <= MMIO32_LAST + 1 - address) ||
                (address >= MMIO64_BASE && address <= MMIO64_LAST &&
                 size_bytes <= MMIO64_LAST + 1 - address));
    for (*ret_slot = 0; slots[*ret_slot]; ++*ret_slot)
        assert_true(*ret_slot + 1 < KVM_SLOTS);
    slots[*ret_slot] = address;
    return 0;
}

void kvm_unmap(struct kvm *kvm, unsigned slot)
{
    (void)kvm;
    assert_true(slot < KVM_SLOTS && slots[slot]);
    slots[slot] = 0;
}

void kvm_irq_line(struct kvm *kvm, unsigned gsi, int level)
{
    (void)kvm;
    assert_int_equal(gsi, SERIAL_IRQ);
    assert_true(level == 0 || level == 1);
}

int irqs_add_messages(struct irqs *irqs, unsigned count, unsigned *ret_gsi, struct vmig_error *err)
{
    (void)irqs;
    (void)err;
    assert_int_equal(count, VECTORS);
    *ret_gsi = IRQ_LINES;
    return 0;
}

bool irqs_set_message(struct irqs *irqs, unsigned gsi, uint64_t address, uint32_t data)
{
    (void)irqs;
    (void)address;
    (void)data;
    assert_true(gsi >= IRQ_LINES && gsi < IRQ_LINES + VECTORS);
    return true;
}

int irqs_route(struct irqs *irqs, struct vmig_error *err)
{
    (void)irqs;
    (void)err;
    return 0;
}

int irq_attach(struct kvm *kvm, unsigned gsi, int eventfd, int resample_fd, struct vmig_error *err)
{
    (void)kvm;
    (void)resample_fd;
    (void)err;
    assert_true(eventfd >= 0 && !attached[gsi]);
    attached[gsi] = true;
    return 0;
}

void irq_detach(struct kvm *kvm, unsigned gsi, int eventfd)
{
    (void)kvm;
    assert_true(eventfd >= 0 && attached[gsi]);
    attached[gsi] = false;
}

int loop_watch(struct loop *loop, int fd, short events, void (*ready)(void *opaque), void *opaque,
               struct vmig_error *err)
{
    (void)loop;
    (void)events;
    (void)ready;
    (void)opaque;
    (void)err;
    assert_true(fd >= 0);
    return 0;
}

bool console_put(struct console *console, uint8_t byte)
{
    (void)console;
    (void)byte;
    return true;
}

bool console_has_room(struct console *console)
{
    (void)console;
    return true;
}

void console_wake(struct console *console)
{
    (void)console;
}

/* ---- the machine ---- */

struct machine {
    struct bus ports, mmio;
    struct pci pci;
    struct serial serial;
    struct vmig_device below;
    struct vfio_device device;
};

static int begin(void **state)
{
    struct machine *m = calloc(1, sizeof(*m));
    struct vmig_error err = { 0 };
    memset(slots, 0, sizeof(slots));
    memset(attached, 0, sizeof(attached));
    failures = 0;
    bus_init(&m->ports);
    bus_init(&m->mmio);
    assert_int_equal(serial_new(&m->serial, NULL, NULL, &m->ports, &err), 0);
    assert_int_equal(pci_new(&m->pci, &m->ports, &m->mmio, &err), 0);
    pthread_mutex_init(&m->below.lock, NULL);
    uint8_t *config = m->below.config;
    m->below.mapped = calloc(4, PAGE);
    config[0x06] = 0x10; /* capabilities */
    config[0x34] = 0x40;
    config[0x3d] = 1;
    config[0x40] = 0x05; /* MSI, which is hidden */
    config[0x41] = MSIX;
    config[MSIX] = 0x11;
    config[MSIX + 1] = 0x40; /* round and round */
    config[MSIX + 2] = VECTORS - 1;
    config[MSIX + 4] = TABLE_BAR | (TABLE_OFFSET & 0xff);
    config[MSIX + 5] = TABLE_OFFSET >> 8;
    config[MSIX + 8] = TABLE_BAR;
    config[MSIX + 9] = PENDING_OFFSET >> 8;
    config[0x18] = 4; /* BAR 2 has 64 bits */
    config[0x24] = 1; /* BAR 5 is I/O */
    m->device = (struct vfio_device) {
        .place = { .ports = &m->ports, .mmio = &m->mmio, .pci = &m->pci },
        .device = &m->below,
        .intx_fd = -1,
        .resample_fd = -1,
    };
    pthread_mutex_init(&m->device.lock, NULL);
    m->device.slot = (unsigned)pci_add(&m->pci, &vfio_config_ops, &m->device, &err);
    assert_int_equal(vfio_config_new(&m->device, &err), 0);
    assert_int_equal(vfio_irqs_new(&m->device, &err), 0);
    assert_int_equal(vfio_bars_new(&m->device, &err), 0);
    *state = m;
    return 0;
}

static int finish(void **state)
{
    struct machine *m = *state;
    vfio_irqs_done(&m->device);
    for (size_t gsi = 0; gsi < sizeof(attached); gsi++)
        assert_false(attached[gsi]);
    pthread_mutex_destroy(&m->device.lock);
    pthread_mutex_destroy(&m->below.lock);
    serial_done(&m->serial);
    bus_done(&m->ports);
    bus_done(&m->mmio);
    free(m->below.mapped);
    free(m);
    return 0;
}

static uint64_t config_at(const struct machine *m, unsigned offset)
{
    return ECAM_BASE + (m->device.slot << 15) + offset;
}

static void set_config(struct machine *m, unsigned offset, uint32_t value, unsigned length)
{
    bus_write(&m->mmio, config_at(m, offset), &value, length);
}

static uint32_t get_config(struct machine *m, unsigned offset)
{
    uint32_t value;
    bus_read(&m->mmio, config_at(m, offset), &value, 4);
    return value;
}

/* ---- any access ---- */

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t some_value(uint64_t *seed)
{
    static const uint64_t values[] = { 0,
                                       ~UINT64_C(0),
                                       0xffffffff,
                                       MMIO32_BASE,
                                       MMIO64_BASE,
                                       MMIO64_BASE >> 32,
                                       MMIO32_LAST - 0xfff,
                                       0x80000000,
                                       6,
                                       0xc000,
                                       0x8000c000 };
    uint64_t random = next(seed);
    return random % 3 ? values[random / 3 % (sizeof(values) / sizeof(values[0]))] : next(seed);
}

/* Somewhere that matters: most accesses of really random addresses would go nowhere. */
static uint64_t some_address(struct machine *m, uint64_t *seed, struct bus **ret)
{
    uint64_t random = next(seed), offset = next(seed);
    const struct vfio_bar *bar = &m->device.bars[random / 8 % 6];
    *ret = random % 8 < 4 || (random % 8 < 6 && !bar->io) ? &m->mmio : &m->ports;
    switch (random % 8) {
    case 0:
    case 1:
        return config_at(m, offset % 64); /* command and BARs */
    case 2:
        return config_at(m, MSIX - 4 + offset % 24);
    case 3:
        return ECAM_BASE - 4 + offset % (ECAM_BYTES + 8);
    case 4:
    case 5:
        return bar->address + (bar->index == TABLE_BAR
                                   ? TABLE_OFFSET - 8 + offset % (16 * VECTORS + 16)
                                   : offset % (bar->size_bytes + 8));
    case 6:
        return SERIAL_PORT - 2 + offset % 12;
    default:
        return 0xcf4 + offset % 16;
    }
}

static void check(const struct machine *m)
{
    unsigned mapped = 0, used = 0;
    const struct vfio_device *d = &m->device;
    bool on = d->irq_mode == VFIO_IRQ_MSIX;
    for (unsigned i = 0; i < VFIO_BARS; i++)
        mapped += d->bars[i].num_slots;
    for (unsigned i = 0; i < KVM_SLOTS; i++)
        used += slots[i] != 0;
    assert_int_equal(mapped, used);
    assert_int_equal(m->below.on, on ? VECTORS : 0);
    assert_true(m->ports.num_ranges < 8 && m->mmio.num_ranges < 8);
    for (unsigned n = 0; n < VECTORS; n++) {
        assert_int_equal(d->msix.vectors[n].eventfd >= 0, on);
        assert_int_equal(d->msix.vectors[n].attached, attached[IRQ_LINES + n]);
    }
}

static void any_access_is_survived(void **state)
{
    struct machine *m = *state;
    uint64_t seed = 0x243f6a8885a308d3;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct bus *bus;
        uint64_t address = some_address(m, &seed, &bus), value = some_value(&seed);
        unsigned length = 1u << next(&seed) % 4;
        if (next(&seed) % 2)
            bus_write(bus, address, &value, length);
        else
            bus_read(bus, address, &value, length);
        if (next(&seed) % 64 == 0)
            vfio_hold(&m->device);
        if (next(&seed) % 64 == 0)
            vfio_release(&m->device);
        check(m);
    }
}

struct processor {
    pthread_t thread;
    struct machine *machine;
    uint64_t seed;
};

static void *do_anything(void *opaque)
{
    struct processor *p = opaque;
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        struct bus *bus;
        /* where BARs are is asked of config space, as a guest does; in between another may move them */
        pthread_mutex_lock(&p->machine->device.lock);
        uint64_t address = some_address(p->machine, &p->seed, &bus), value = some_value(&p->seed);
        pthread_mutex_unlock(&p->machine->device.lock);
        unsigned length = 1u << next(&p->seed) % 4;
        if (next(&p->seed) % 2)
            bus_write(bus, address, &value, length);
        else
            bus_read(bus, address, &value, length);
    }
    return NULL;
}

static void processors_do_not_get_in_each_others_way(void **state)
{
    struct machine *m = *state;
    struct processor processors[3];
    for (unsigned i = 0; i < 3; i++) {
        processors[i] = (struct processor) { .machine = m, .seed = 0x13198a2e03707344 + i };
        assert_int_equal(pthread_create(&processors[i].thread, NULL, do_anything, &processors[i]),
                         0);
    }
    for (unsigned i = 0; i < 200; i++) { /* the guest is stopped and goes on */
        vfio_hold(&m->device);
        vfio_release(&m->device);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(processors[i].thread, NULL);
    check(m);
}

/* ---- places at which something could go wrong ---- */

static void a_bar_that_is_all_ones_is_nowhere(void **state)
{
    struct machine *m = *state;
    set_config(m, 4, 7, 2);
    assert_true(m->device.bars[2].address >= MMIO64_BASE);
    set_config(m, 0x18, ~0u, 4);
    set_config(m, 0x1c, ~0u, 4);
    assert_int_equal(m->device.bars[2].address, 0);
    assert_int_equal(get_config(m, 0x18), ~(0x4000u - 1) | 4); /* its size */
    assert_int_equal(get_config(m, 0x1c), ~0u);
    set_config(m, 0x10, 0, 4); /* over memory */
    assert_int_equal(m->device.bars[0].address, 0);
    set_config(m, 0x24, ~0u, 4);
    assert_int_equal(m->device.bars[5].address, 0);
    check(m);
}

static void a_bar_ends_inside_its_window(void **state)
{
    struct machine *m = *state;
    set_config(m, 4, 7, 2);
    set_config(m, 0x10, MMIO32_LAST - 0xfff, 4);
    assert_int_equal(m->device.bars[0].address, MMIO32_LAST - 0xfff);
    set_config(m, 0x10, MMIO32_LAST + 1, 4);
    assert_int_equal(m->device.bars[0].address, 0);
    set_config(m, 0x24, PCI_IO_LAST - 0x1f, 4);
    assert_int_equal(m->device.bars[5].address, PCI_IO_LAST - 0x1f);
    set_config(m, 0x24, PCI_IO_LAST + 1, 4);
    assert_int_equal(m->device.bars[5].address, 0);
}

static void the_table_ends_where_it_ends(void **state)
{
    struct machine *m = *state;
    set_config(m, 4, 7, 2);
    uint64_t end = m->device.bars[TABLE_BAR].address + TABLE_OFFSET + 16 * VECTORS, value;
    for (unsigned length = 1; length <= 8; length *= 2)
        for (unsigned before = 1; before <= 8; before++) {
            value = ~UINT64_C(0);
            bus_read(&m->mmio, end - before, &value, length);
            bus_write(&m->mmio, end - before, &value, length);
        }
    value = 0;
    bus_read(&m->mmio, end - 2, &value, 4); /* half of it is outside */
    assert_int_equal(value, 0);
}

static void what_a_lost_device_is_asked_for_is_ones(void **state)
{
    struct machine *m = *state;
    uint32_t value = 0;
    set_config(m, 4, 7, 2);
    m->below.gone = true;
    bus_read(&m->mmio, m->device.bars[0].address, &value, 4);
    assert_int_equal(value, ~0u);
    assert_int_equal(get_config(m, 0), ~0u);
    assert_int_equal(failures, 2);
    m->below.gone = false;
}

static void set_vector(struct machine *m, unsigned vector, uint32_t control)
{
    bus_write(&m->mmio, m->device.bars[TABLE_BAR].address + TABLE_OFFSET + 16 * vector + 12,
              &control, 4);
}

/* A guest masks and unmasks while it is stopped and goes on: what was raised comes, whenever that was. */
static void an_interrupt_that_is_held_or_masked_stays_pending(void **state)
{
    struct machine *m = *state;
    set_config(m, 4, 7, 2);
    set_config(m, MSIX + 2, 0x8000, 2);
    const struct vfio_vector *vector = &m->device.msix.vectors[3];
    for (unsigned i = 0; i < 32; i++) {
        bool held = i & 1, masked = i & 2, raised = i & 4, released_first = i & 8;
        eventfd_t count = 0;
        set_vector(m, 3, 0);
        assert_true(vector->attached);
        if (masked)
            set_vector(m, 3, 1);
        if (held)
            vfio_hold(&m->device);
        assert_int_equal(vector->attached, !held && !masked);
        if (raised)
            eventfd_write(vector->eventfd, 1);
        assert_int_equal(vfio_msix_is_pending_locked(&m->device, 3), raised && (held || masked));
        if (released_first)
            vfio_release(&m->device);
        set_vector(m, 3, 0);
        vfio_release(&m->device);
        assert_true(vector->attached);
        assert_int_equal(eventfd_read(vector->eventfd, &count) == 0 && count == 1, raised);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(any_access_is_survived),
        TEST(processors_do_not_get_in_each_others_way),
        TEST(a_bar_that_is_all_ones_is_nowhere),
        TEST(a_bar_ends_inside_its_window),
        TEST(the_table_ends_where_it_ends),
        TEST(what_a_lost_device_is_asked_for_is_ones),
        TEST(an_interrupt_that_is_held_or_masked_stays_pending),
    };
    return cmocka_run_group_tests_name("vmm-hostile", tests, NULL, NULL);
}
