/* SPDX-License-Identifier: BSD-3-Clause */
/* What the bits of a config space are to a migration; expectations from the PCI specifications. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/stream/pci-bits.h"

#define PM 0x40
#define MSIX 0x50
#define EXPRESS 0x60
#define VENDOR 0xa0
#define MSI 0xc0

struct device {
    uint8_t config[PCI_CONFIG_LARGE];
};

static void put16(struct device *d, unsigned at, unsigned value)
{
    d->config[at] = (uint8_t)value;
    d->config[at + 1] = (uint8_t)(value >> 8);
}

static void put32(struct device *d, unsigned at, uint32_t value)
{
    put16(d, at, value & 0xffff);
    put16(d, at + 2, value >> 16);
}

/* An endpoint as a real one: each register has something in it. @msi: its message control. */
static struct device make(unsigned msi)
{
    struct device d = { 0 };
    put32(&d, 0x00, 0x10191af4);
    put32(&d, 0x04, 0x00100407);
    put32(&d, 0x08, 0x02000003);
    put32(&d, 0x10, 0xfe000000); /* 32-bit memory */
    put32(&d, 0x14, 0x0000c001); /* I/O */
    put32(&d, 0x18, 0x0000000c); /* 64-bit, prefetchable, */
    put32(&d, 0x1c, 0x00000080); /* at 512 GiB */
    put32(&d, 0x2c, 0x11001af4);
    put32(&d, 0x34, PM);
    put32(&d, 0x3c, 0x0000010b);
    put32(&d, PM, 0xc8030001 | MSIX << 8);
    put32(&d, PM + 4, 0x00000008);
    put32(&d, MSIX, 0x80070011 | EXPRESS << 8);
    put32(&d, MSIX + 4, 0x00000004);
    put32(&d, MSIX + 8, 0x00000804);
    put32(&d, EXPRESS, 0x00020010 | VENDOR << 8);
    put32(&d, EXPRESS + 4, 0x10008fe2);
    put32(&d, EXPRESS + 8, 0x00102810);
    put32(&d, EXPRESS + 12, 0x03477d03); /* port 3 */
    put32(&d, EXPRESS + 16, 0x10430040);
    put32(&d, VENDOR, 0x42100009 | MSI << 8); /* 16 bytes */
    put32(&d, VENDOR + 4, 0x44454647);
    put32(&d, MSI, msi << 16 | 0x0005);
    put32(&d, 0x100, 0x14020001); /* error reporting; next at 0x140 */
    put32(&d, 0x10c, 0x00462030);
    put32(&d, 0x140, 0x00010003); /* serial number */
    put32(&d, 0x144, 0x12345678);
    return d;
}

static int differ(const struct device *ours, const struct device *theirs, bool ignore_vendor)
{
    static struct pci_bits bits; /* tests have one thread */
    assert_int_equal(pci_bits_of(ours->config, PCI_CONFIG_LARGE, ignore_vendor, &bits), 0);
    return pci_bits_differ(&bits, ours->config, theirs->config);
}

/* Ours, once everything was written that can be. */
static struct device written(const struct device *ours, const struct device *theirs)
{
    static struct pci_bits bits;
    struct device after = *ours;
    assert_int_equal(pci_bits_of(ours->config, PCI_CONFIG_LARGE, false, &bits), 0);
    for (unsigned at = 0; at < PCI_CONFIG_LARGE; at += 4) {
        struct pci_write write;
        if (!pci_bits_write(&bits, ours->config, theirs->config, at, &write))
            continue;
        assert_true(write.offset / 4 == at / 4);
        assert_true(write.length_bytes == 2 || write.length_bytes == 4);
        assert_int_equal(write.offset % write.length_bytes, 0);
        memcpy(after.config + write.offset, write.bytes, write.length_bytes);
    }
    return after;
}

static void must_be_equal(unsigned at, unsigned bit)
{
    struct device ours = make(0x0086), theirs = ours;
    theirs.config[at] ^= (uint8_t)(1u << bit);
    if (differ(&ours, &theirs, false) != (int)at)
        fail_msg("bit %u at %#x may differ", bit, at);
    struct device after = written(&ours, &theirs);
    if (after.config[at] != ours.config[at])
        fail_msg("bit %u at %#x is written", bit, at);
}

static void driver_writes(unsigned at, unsigned bit)
{
    struct device ours = make(0x0086), theirs = ours;
    theirs.config[at] ^= (uint8_t)(1u << bit);
    if (differ(&ours, &theirs, false) != -1)
        fail_msg("bit %u at %#x must not differ", bit, at);
    struct device after = written(&ours, &theirs);
    assert_memory_equal(after.config, theirs.config, PCI_CONFIG_LARGE);
}

static void devices_own(unsigned at, unsigned bit)
{
    struct device ours = make(0x0086), theirs = ours;
    theirs.config[at] ^= (uint8_t)(1u << bit);
    if (differ(&ours, &theirs, false) != -1)
        fail_msg("bit %u at %#x must not differ", bit, at);
    struct device after = written(&ours, &theirs);
    assert_memory_equal(after.config, ours.config, PCI_CONFIG_LARGE);
}

static void each_bit(unsigned at, unsigned bytes, void (*check)(unsigned at, unsigned bit))
{
    for (unsigned i = 0; i < bytes; i++)
        for (unsigned bit = 0; bit < 8; bit++)
            check(at + i, bit);
}

static void ids_class_and_the_list_of_capabilities_must_be_equal(void **state)
{
    (void)state;
    each_bit(0x00, 4, must_be_equal); /* vendor, device */
    each_bit(0x08, 4, must_be_equal); /* revision, class */
    each_bit(0x2c, 4, must_be_equal); /* subsystem */
    each_bit(0x34, 1, must_be_equal);
    must_be_equal(0x06, 4); /* there are capabilities */
    for (unsigned bit = 0; bit < 7; bit++)
        must_be_equal(0x0e, bit); /* kind of header */
    static const unsigned capabilities[] = { PM, MSIX, EXPRESS, VENDOR, MSI };
    for (unsigned i = 0; i < 5; i++)
        each_bit(capabilities[i], 2, must_be_equal);
    each_bit(0x100, 4, must_be_equal);
    each_bit(0x140, 4, must_be_equal);
}

static void what_capabilities_say_of_the_device_must_be_equal(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8; bit++)
        must_be_equal(MSIX + 2, bit); /* number of vectors */
    for (unsigned bit = 0; bit < 3; bit++)
        must_be_equal(MSIX + 3, bit);
    each_bit(MSIX + 4, 8, must_be_equal); /* where table and pending bits are */
    must_be_equal(MSI + 2, 7);            /* 64-bit addresses */
    must_be_equal(MSI + 3, 0);            /* masks */
    each_bit(EXPRESS + 2, 1, must_be_equal);
    must_be_equal(EXPRESS + 7, 4); /* can be reset */
    for (unsigned bit = 0; bit < 3; bit++)
        must_be_equal(PM + 2, bit); /* version */
}

static void kind_and_width_of_a_BAR_must_be_equal(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 4; bit++) {
        must_be_equal(0x10, bit);
        must_be_equal(0x18, bit);
    }
    must_be_equal(0x14, 0);
    must_be_equal(0x14, 1);
}

static void what_drivers_write_is_written(void **state)
{
    (void)state;
    static const unsigned command[] = { 0, 1, 2, 6 };
    for (unsigned i = 0; i < 4; i++)
        driver_writes(0x04, command[i]);
    driver_writes(0x05, 0); /* report system errors */
    driver_writes(0x05, 2); /* no INTx */
    driver_writes(0x10, 4);
    each_bit(0x11, 3, driver_writes);
    driver_writes(0x14, 2);
    each_bit(0x15, 3, driver_writes);
    driver_writes(0x18, 4);
    each_bit(0x19, 3, driver_writes);
    each_bit(0x1c, 4, driver_writes);
    each_bit(0x0c, 1, driver_writes);
    each_bit(0x3c, 1, driver_writes);
    driver_writes(PM + 4, 0);
    driver_writes(PM + 4, 1);
    driver_writes(MSIX + 3, 7);
    driver_writes(MSIX + 3, 6);
    driver_writes(MSI + 2, 0);
    each_bit(EXPRESS + 8, 1, driver_writes);
    for (unsigned bit = 0; bit < 7; bit++)
        driver_writes(EXPRESS + 9, bit);
    each_bit(0x108, 8, driver_writes); /* errors: masks and severity */
}

static void status_slot_and_link_are_each_devices_own(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8; bit++)
        if (bit != 4)
            devices_own(0x06, bit);
    each_bit(0x07, 1, devices_own);
    devices_own(0x0e, 7);           /* has neighbours in its slot */
    each_bit(0x3d, 1, devices_own); /* interrupt pin */
    devices_own(PM + 5, 7);         /* woke somebody */
    devices_own(EXPRESS + 9, 7);    /* resets the function */
    each_bit(EXPRESS + 10, 2, devices_own);
    each_bit(EXPRESS + 12, 4, devices_own); /* link: speed, width, port */
    each_bit(EXPRESS + 18, 2, devices_own);
    each_bit(0x104, 4, devices_own); /* errors that were */
    each_bit(0x144, 8, devices_own); /* serial number */
}

static void a_vendor_capability_is_checked_unless_ignored(void **state)
{
    (void)state;
    struct device ours = make(0x0086), theirs = ours;
    for (unsigned at = VENDOR + 3; at < VENDOR + 16; at++) {
        theirs = ours;
        theirs.config[at] ^= 0x10;
        assert_int_equal(differ(&ours, &theirs, false), at);
        assert_int_equal(differ(&ours, &theirs, true), -1);
    }
    theirs = ours;
    theirs.config[VENDOR + 16] ^= 0x10; /* behind its end */
    assert_int_equal(differ(&ours, &theirs, false), -1);
    theirs.config[VENDOR + 2] = 17;
    assert_int_equal(differ(&ours, &theirs, true), VENDOR + 2);
    struct device after = written(&ours, &theirs);
    assert_memory_equal(after.config, ours.config, PCI_CONFIG_LARGE);
}

/* A vendor capability may claim more bytes than there are up to the next one. */
static void a_vendor_capability_ends_where_the_next_begins(void **state)
{
    (void)state;
    struct device ours = make(0x0086), theirs;
    ours.config[VENDOR + 2] = 0xff;
    theirs = ours;
    put32(&theirs, MSI + 4, 0xfee00000);
    assert_int_equal(differ(&ours, &theirs, false), -1);
}

/* Address (2 or 4 words), data, mask: their places follow from the message control. */
static void the_four_layouts_of_MSI_are_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool wide = i & 1, masks = i & 2;
        struct device ours = make((wide ? 0x80u : 0u) | (masks ? 0x100u : 0u)), theirs = ours;
        unsigned data = MSI + (wide ? 12 : 8), mask = data + 4, end = masks ? mask + 4 : data + 2;
        memset(theirs.config + MSI + 4, 0xff, 24);
        struct device after = written(&ours, &theirs);
        for (unsigned at = MSI + 4; at < MSI + 24; at++) {
            bool there = at < data + 2 || (masks && at >= mask && at < end);
            unsigned wanted = !there ? 0 : at == MSI + 4 ? 0xfc : 0xff;
            if (after.config[at] != wanted)
                fail_msg("layout %u, byte %#x: %#x", i, at, after.config[at]);
        }
    }
}

static void bits_that_writing_clears_are_written_as_zeros(void **state)
{
    (void)state;
    struct device ours = make(0x0086), theirs = ours;
    ours.config[PM + 5] |= 0x80; /* it woke somebody here */
    theirs.config[PM + 4] |= 3;
    struct device after = written(&ours, &theirs);
    assert_int_equal(after.config[PM + 5] & 0x80, 0);
    assert_int_equal(after.config[PM + 4] & 3, 3);
}

/* Where the guest's view is not the device's, what stands at another place is not written there. */
static void a_capability_that_is_elsewhere_is_not_written(void **state)
{
    (void)state;
    struct device ours = make(0x0086), theirs = ours;
    memset(theirs.config + MSIX, 0, 12);
    memcpy(theirs.config + 0x70, ours.config + MSIX, 12);
    theirs.config[PM + 1] = 0x70;
    theirs.config[MSIX + 3] = 0x40;
    struct device after = written(&ours, &theirs);
    assert_memory_equal(after.config + MSIX, ours.config + MSIX, 12);
}

static void the_order_is_settings_then_command_then_interrupts(void **state)
{
    (void)state;
    static struct pci_bits bits;
    struct device d = make(0x0086);
    assert_int_equal(pci_bits_of(d.config, PCI_CONFIG_LARGE, false, &bits), 0);
    assert_int_equal(bits.phase[0x10 / 4], PCI_PHASE_SETUP);
    assert_int_equal(bits.phase[(MSI + 4) / 4], PCI_PHASE_SETUP);
    assert_int_equal(bits.phase[0x04 / 4], PCI_PHASE_COMMAND);
    assert_int_equal(bits.phase[MSI / 4], PCI_PHASE_LAST);
    assert_int_equal(bits.phase[MSIX / 4], PCI_PHASE_LAST);
    assert_int_equal(bits.phase[(PM + 4) / 4], PCI_PHASE_LAST);
}

static void a_bridge_has_no_BARs_beyond_its_own(void **state)
{
    (void)state;
    struct device ours = make(0x0086), theirs;
    ours.config[0x0e] = 1;
    theirs = ours;
    memset(theirs.config + 0x10, 0xff, 0x24);
    struct device after = written(&ours, &theirs);
    assert_memory_equal(after.config, ours.config, PCI_CONFIG_LARGE);
}

/* Whatever a device shows and a peer sends: no checked bit changes, and what is written is within the
 * config space (the sanitizers look). */
static void any_bytes_write_only_what_may_be_written(void **state)
{
    (void)state;
    static struct pci_bits bits;
    struct device ours, theirs;
    srand(20261121);
    for (unsigned round = 0; round < 300; round++) {
        ours = theirs = make((unsigned)rand() & 0x1ff);
        for (unsigned i = 0; i < 1u + (unsigned)rand() % 200; i++) {
            unsigned at = (unsigned)rand() % (rand() % 2 ? 256 : PCI_CONFIG_LARGE);
            (rand() % 2 ? &ours : &theirs)->config[at] = (uint8_t)rand();
        }
        if (pci_bits_of(ours.config, PCI_CONFIG_LARGE, false, &bits) < 0)
            continue;
        struct device after = written(&ours, &theirs);
        for (unsigned at = 0; at < PCI_CONFIG_LARGE; at++)
            assert_int_equal((after.config[at] ^ ours.config[at]) & bits.checked[at] &
                                 ~bits.writable[at] & ~bits.clears[at],
                             0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_class_and_the_list_of_capabilities_must_be_equal),
        cmocka_unit_test(what_capabilities_say_of_the_device_must_be_equal),
        cmocka_unit_test(kind_and_width_of_a_BAR_must_be_equal),
        cmocka_unit_test(what_drivers_write_is_written),
        cmocka_unit_test(status_slot_and_link_are_each_devices_own),
        cmocka_unit_test(a_vendor_capability_is_checked_unless_ignored),
        cmocka_unit_test(a_vendor_capability_ends_where_the_next_begins),
        cmocka_unit_test(the_four_layouts_of_MSI_are_written),
        cmocka_unit_test(bits_that_writing_clears_are_written_as_zeros),
        cmocka_unit_test(a_capability_that_is_elsewhere_is_not_written),
        cmocka_unit_test(the_order_is_settings_then_command_then_interrupts),
        cmocka_unit_test(a_bridge_has_no_BARs_beyond_its_own),
        cmocka_unit_test(any_bytes_write_only_what_may_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
