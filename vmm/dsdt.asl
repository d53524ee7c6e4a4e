// SPDX-License-Identifier: BSD-3-Clause
// What Linux has to be told of the machine beyond numbers: the PCI host bridge with its windows and lines, who owns
// ECAM (without an owner Linux does not use it), fw_cfg, and how to switch off.
#include "vmm/layout.h"

#define WINDOW(name) name##_BASE, name##_LAST, 0, name##_BYTES
// INTA of a slot; the others are not wired.
#define LINE(slot) Package () { (slot << 16) | 0xffff, 0, 0, PCI_LINE(slot) }

DefinitionBlock ("", "DSDT", 2, "VFIOMG", "VFIO-VMM", 1)
{
    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, WINDOW (PCI_IO))
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0, WINDOW (MMIO32))
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0, WINDOW (MMIO64))
            })
            Name (_PRT, Package ()
            {
                LINE (1), LINE (2), LINE (3), LINE (4), LINE (5), LINE (6), LINE (7), LINE (8), LINE (9), LINE (10), LINE (11),
                LINE (12), LINE (13), LINE (14), LINE (15), LINE (16), LINE (17), LINE (18), LINE (19), LINE (20), LINE (21),
                LINE (22), LINE (23), LINE (24), LINE (25), LINE (26), LINE (27), LINE (28), LINE (29), LINE (30), LINE (31)
            })
        }

        Device (ECAM)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, ECAM_BASE, ECAM_BYTES) })
        }

        Device (FWCF)
        {
            Name (_HID, "QEMU0002")
            Name (_STA, 0x0b) // there, on, works; not for people to see
            Name (_CRS, ResourceTemplate () { IO (Decode16, FW_CFG_PORT, FW_CFG_PORT, 1, FW_CFG_PORT_COUNT) })
        }
    }

    Name (\_S5, Package () { POWER_S5, POWER_S5 })
}
