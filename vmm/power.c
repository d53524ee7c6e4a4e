/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "vmm/layout.h"
#include "vmm/power.h"

#define SLEEP_ENABLE (1u << 13)
#define SLEEP_TYPE(control) ((control) >> 10 & 7)
#define SCI_ENABLED 1u
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET 0xfe

static void control_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    (void)opaque;
    memset(data, 0, length_bytes);
    if (offset == 0)
        *(uint8_t *)data = SCI_ENABLED; /* ACPI is on from the start */
}

static void control_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    uint16_t control = 0;
    if (offset || length_bytes < sizeof(control))
        return;
    memcpy(&control, data, sizeof(control));
    if ((control & SLEEP_ENABLE) && SLEEP_TYPE(control) == POWER_S5)
        vcpus_end(((struct power *)opaque)->vcpus, GUEST_SHUT_DOWN,
                  "the guest switched the machine off");
}

static void event_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    const struct power *power = opaque;
    uint8_t registers[4] = { 0, 0, (uint8_t)power->enable, (uint8_t)(power->enable >> 8) };
    memcpy(data, registers + offset, length_bytes);
}

static void event_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    struct power *power = opaque;
    if (offset == 2 && length_bytes == sizeof(power->enable))
        memcpy(&power->enable, data, sizeof(power->enable));
}

static void nothing_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    (void)opaque;
    (void)offset;
    memset(data, 0, length_bytes);
}

static void reset_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    (void)offset;
    (void)length_bytes;
    if (*(const uint8_t *)data & 4)
        vcpus_end(((struct power *)opaque)->vcpus, GUEST_RESET, "the guest reset the machine");
}

/* Nothing of a keyboard is there: neither output nor a full input buffer. */
static void keyboard_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    (void)offset;
    (void)length_bytes;
    if (*(const uint8_t *)data == KEYBOARD_RESET)
        vcpus_end(((struct power *)opaque)->vcpus, GUEST_RESET,
                  "the guest reset the machine by the keyboard controller");
}

int power_claim(struct power *power, struct bus *ports, struct vcpus *vcpus, struct vmig_error *err)
{
    static const struct {
        uint16_t port, bytes;
        struct bus_ops ops;
    } rows[] = {
        { POWER_PM1_EVENT, 4, { event_read, event_write } },
        { POWER_PM1_CONTROL, 2, { control_read, control_write } },
        { POWER_RESET, 1, { nothing_read, reset_write } },
        { KEYBOARD_COMMAND, 1, { nothing_read, keyboard_write } },
    };
    int rc = 0;
    *power = (struct power) { .vcpus = vcpus };
    for (unsigned i = 0; rc == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
        rc = bus_claim(ports, rows[i].port, rows[i].bytes, &rows[i].ops, power, err);
    return rc;
}

static const struct vmig_vmstate_field fields[] = { VMIG_VMSTATE_UINT16(enable, struct power),
                                                    VMIG_VMSTATE_END() };
const struct vmig_vmstate power_vmstate = {
    .name = "power", .version = 1, .minimum_version = 1, .fields = fields
};
