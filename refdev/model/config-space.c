/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI config space: an ordinary endpoint with power management (0x40), MSI-X (0x50) and PCI Express
 * (0x60); for mtty a conventional device without capabilities. A table says which bits a driver can
 * write; BAR sizing falls out of it, since the address bits below a BAR's size are not writable.
 * Everything else reads as it was made.
 */
#include "refdev/model/internal.h"

#define CAP_PM 0x40
#define CAP_MSIX 0x50
#define CAP_EXPRESS 0x60

#define COMMAND 0x04
#define COMMAND_BUS_MASTER 4u
#define COMMAND_INTX_DISABLE 0x400u
#define EXPRESS_DEVICE_CONTROL (CAP_EXPRESS + 8)
#define EXPRESS_FLR 0x8000u /* in device control: reset the function */

/* One row per dword that is not zero or can be written. */
struct config_dword {
    uint16_t offset;
    bool saved; /* travels with the device's state */
    uint32_t value, writable;
};

static const struct config_dword endpoint_dwords[] = {
    { 0x04, true, 0x00100000, 0x00000507 },            /* COMMAND; status: capabilities */
    { 0x0c, true, 0, 0x000000ff },                     /* cache line size */
    { 0x10, true, 0, ~(REFDEV_REGISTERS_BYTES - 1u) }, /* BAR 0: 32-bit memory */
    { 0x18, true, 0xc, ~(REFDEV_SHARED_BYTES - 1u) },  /* BAR 2: 64-bit, prefetchable */
    { 0x1c, true, 0, 0xffffffff },                     /* its upper half */
    { 0x20, true, 0, ~(REFDEV_MSIX_BYTES - 1u) },      /* BAR 4 */
    { 0x2c, false, 0x0001524du, 0 },                   /* subsystem */
    { 0x34, false, CAP_PM, 0 },
    { 0x3c, true, 0x00000100, 0x000000ff }, /* INTA, line */
    { CAP_PM, false, 0x0003 << 16 | CAP_MSIX << 8 | 0x01, 0 },
    { CAP_PM + 4, true, 0x00000008, 0x00000003 }, /* no soft reset; D0..D3 */
    { CAP_MSIX, true, (REFDEV_MSIX_VECTORS - 1u) << 16 | CAP_EXPRESS << 8 | 0x11, 0xc0000000 },
    { CAP_MSIX + 4, false, 0x000 | REFDEV_BAR_MSIX, 0 }, /* table */
    { CAP_MSIX + 8, false, 0x800 | REFDEV_BAR_MSIX, 0 }, /* pending bits */
    { CAP_EXPRESS, false, 0x0002 << 16 | 0x10, 0 },      /* version 2, endpoint */
    { CAP_EXPRESS + 4, false, 0x10008000, 0 },           /* role based errors, FLR */
    { EXPRESS_DEVICE_CONTROL, true, 0x00002810, 0x000078ff },
    { CAP_EXPRESS + 12, false, 0x00000011, 0 },         /* x1, 2.5 GT/s */
    { CAP_EXPRESS + 16, true, 0x00110000, 0x00000003 }, /* link status and control */
};

static const struct config_dword mtty_dwords[] = {
    { 0x04, false, 0x02000000, 0x00000507 }, /* COMMAND; status: medium timing */
    { 0x10, false, 0x00000001, 0xfffffff8 }, /* BAR 0 and 1: 8 I/O ports each */
    { 0x14, false, 0x00000001, 0xfffffff8 }, { 0x2c, false, 0x32534348, 0 }, /* subsystem */
    { 0x3c, false, 0x00000100, 0x000000ff },
};

#define ROWS(table) (sizeof(table) / sizeof(table[0]))

static const struct config_dword *dwords_of(const struct refdev_model *model, unsigned *ret_count)
{
    bool endpoint = model->profile->regions == &refdev_pci_regions;
    *ret_count = endpoint ? ROWS(endpoint_dwords) : ROWS(mtty_dwords);
    return endpoint ? endpoint_dwords : mtty_dwords;
}

uint32_t refdev_config_get32(const struct refdev_model *model, unsigned offset)
{
    uint32_t value;
    refdev_copy(&value, model->config + offset, sizeof(value));
    return value;
}

static void put32(struct refdev_model *model, unsigned offset, uint32_t value)
{
    refdev_copy(model->config + offset, &value, sizeof(value));
}

void refdev_config_reset(struct refdev_model *model)
{
    const struct refdev_profile *profile = model->profile;
    unsigned count;
    const struct config_dword *dwords = dwords_of(model, &count);
    refdev_zero(model->config, sizeof(model->config));
    for (unsigned i = 0; i < count; i++)
        put32(model, dwords[i].offset, dwords[i].value);
    put32(model, 0x00, (uint32_t)profile->device_id << 16 | profile->vendor_id);
    put32(model, 0x08, profile->class_code << 8 | 1);
    /* Nobody enables the device for a workload that starts by itself. */
    if (model->knobs.dma_rate)
        put32(model, COMMAND, refdev_config_get32(model, COMMAND) | 2 | COMMAND_BUS_MASTER);
}

static void write_dword(struct refdev_model *model, const struct config_dword *dword,
                        uint32_t value, uint32_t bytes_written)
{
    uint32_t writable = dword->writable & bytes_written;
    uint32_t old = refdev_config_get32(model, dword->offset);
    put32(model, dword->offset, (old & ~writable) | (value & writable));
}

/* A write of any length and alignment, dword by dword. */
void refdev_config_write(struct refdev_model *model, uint64_t offset, const uint8_t *buf,
                         uint64_t length_bytes)
{
    unsigned count;
    const struct config_dword *dwords = dwords_of(model, &count);
    bool function_reset = false;
    for (unsigned i = 0; i < count; i++) {
        uint32_t value = 0, mask = 0;
        for (unsigned byte = 0; byte < 4; byte++) {
            uint64_t at = dwords[i].offset + byte;
            if (at < offset || at - offset >= length_bytes)
                continue;
            value |= (uint32_t)buf[at - offset] << (8 * byte);
            mask |= 0xffu << (8 * byte);
        }
        if (!mask)
            continue;
        write_dword(model, &dwords[i], value, mask);
        if (dwords[i].offset == EXPRESS_DEVICE_CONTROL && (value & EXPRESS_FLR))
            function_reset = true;
    }
    if (function_reset)
        refdev_reset(model);
}

bool refdev_config_bus_master(const struct refdev_model *model)
{
    return refdev_config_get32(model, COMMAND) & COMMAND_BUS_MASTER;
}

bool refdev_config_intx_enabled(const struct refdev_model *model)
{
    return !(refdev_config_get32(model, COMMAND) & COMMAND_INTX_DISABLE);
}

/* Only endpoints have a state format that config space travels in. */
void refdev_config_save(const struct refdev_model *model, uint32_t *dwords)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ROWS(endpoint_dwords) && count < REFDEV_CONFIG_SAVED; i++)
        if (endpoint_dwords[i].saved)
            dwords[count++] = refdev_config_get32(model, endpoint_dwords[i].offset);
}

void refdev_config_load(struct refdev_model *model, const uint32_t *dwords)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ROWS(endpoint_dwords) && count < REFDEV_CONFIG_SAVED; i++)
        if (endpoint_dwords[i].saved)
            write_dword(model, &endpoint_dwords[i], dwords[count++], 0xffffffff);
}
