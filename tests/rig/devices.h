/* SPDX-License-Identifier: BSD-3-Clause */
/* The rig's devices: mtty, of which each test makes its own and removes it, and one PCI device. */
#ifndef TESTS_RIG_DEVICES_H
#define TESTS_RIG_DEVICES_H

#include <stdint.h>

/* A serial card with two ports has 96 bytes of state: a header of 24, then 36 for each port. */
#define MTTY_ONE_PORT "mtty-1"
#define MTTY_TWO_PORTS "mtty-2"
#define MTTY_HEADER_BYTES 24
#define MTTY_PORT_BYTES 36
#define MTTY_STATE_BYTES (MTTY_HEADER_BYTES + 2 * MTTY_PORT_BYTES)

/* BAR 0 is port 0's eight UART registers. The last one is the scratch register: the card keeps what
 * is written there and does nothing with it. */
#define MTTY_SCRATCH 7
/* Where port 0's copy of it is in the stream. */
#define MTTY_SCRATCH_AT (MTTY_HEADER_BYTES + MTTY_SCRATCH)

struct mtty {
    char uuid[37];
};

/* A new device of @type. */
void mtty_create(struct mtty *mtty, const char *type);
/* Waits until nobody has it open. */
void mtty_remove(struct mtty *mtty);

/* QEMU's `edu` behind the emulated IOMMU: it has a DMA engine and no migration. */
#define EDU "0000:00:10.0"
/* Give it to vfio-pci, take it away again. */
void edu_bind(void);
void edu_unbind(void);

#endif
