/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device as a driver sees it: BAR layout and registers.
 *
 *   BAR 0  4 KiB   registers (below), 64-bit, host byte order; read in any size, write 4 or 8 bytes
 *   BAR 2  16 KiB  shared memory, part of the device's state; page 0 is not mappable, pages 1..3
 *                  are (one sparse mmap area). Peers write here
 *   BAR 4  4 KiB   MSI-X table (offset 0) and pending bits (offset 0x800)
 *   config         Express, MSI-X, power management. The device does DMA only while bus mastering
 *                  is on (COMMAND, config offset 4, bit 2); reset turns it off unless the device
 *                  was started with an autonomous workload
 *
 * The workload writes pages of a pattern (pattern.h) into slots of guest memory, and into its own
 * local memory, round after round:
 *   slot pages     step k (counting from 0) writes slot refdev_turn(k % SLOT_COUNT, SLOT_COUNT)
 *   local pages    likewise over LOCAL_WINDOW pages of local memory
 * DMA_STEPS and LOCAL_STEPS count the steps, so the number of times each page was written is known
 * without a list: refdev_times_written(). Before a page is overwritten the device reads the old one
 * and compares: SLOT_MISMATCHES counts pages that lost a write. That is how a lost dirty page is
 * proved, and why nothing else may write into the slots.
 *
 * To start it:  config write COMMAND |= 6 (memory, bus master) · SLOT_BASE, SLOT_COUNT · DMA_RATE,
 * DIRTY_RATE · CONTROL = REFDEV_CONTROL_RUN. To check it: write 1 to VERIFY, read VERIFY until it
 * is below REFDEV_VERIFY_NOT_RUN: the number of wrong pages in slots, peer page and local memory.
 *
 * While the device is stopped (STOP, STOP_COPY, RESUMING, ERROR) writes to BAR 0 and BAR 2 are
 * dropped and counted in STOPPED_WRITES; a change of BAR 2's mapped pages in that time is noticed
 * when the device is thawed and counted there too. In the P2P states BAR writes are taken but no
 * DMA is started.
 */
#ifndef REFDEV_REGISTERS_H
#define REFDEV_REGISTERS_H

#define REFDEV_BAR_REGISTERS 0
#define REFDEV_BAR_SHARED 2
#define REFDEV_BAR_MSIX 4
#define REFDEV_REGISTERS_BYTES 4096
#define REFDEV_SHARED_BYTES 16384
#define REFDEV_SHARED_MAP_OFFSET 4096 /* the mappable part begins here and ends with the BAR */
#define REFDEV_MSIX_BYTES 4096
#define REFDEV_MSIX_VECTORS 8
#define REFDEV_PAGE_BYTES 4096

enum refdev_register {
    /* read only */
    REFDEV_REG_MAGIC = 0x000,
    REFDEV_REG_VERSION = 0x008, /* of this register layout: 1 */
    REFDEV_REG_STATE = 0x010,   /* migration state's number, as in linux/vfio.h */
    REFDEV_REG_SEED = 0x018,    /* of the patterns; travels with the state */
    REFDEV_REG_LOCAL_PAGES = 0x020,
    REFDEV_REG_LOCAL_WINDOW = 0x028, /* pages of local memory that are rewritten in turn */
    /* read and write */
    REFDEV_REG_SCRATCH = 0x040,
    REFDEV_REG_CONTROL = 0x048,
    REFDEV_REG_SLOT_BASE = 0x050,  /* IOVA, page aligned; a write restarts DMA_STEPS at 0 */
    REFDEV_REG_SLOT_COUNT = 0x058, /* at most REFDEV_SLOTS_MAX; a write restarts DMA_STEPS at 0 */
    REFDEV_REG_DMA_RATE = 0x060,   /* slot pages per second, at most REFDEV_RATE_MAX */
    REFDEV_REG_DIRTY_RATE = 0x068, /* local pages per second, same limit */
    REFDEV_REG_PEER_IOVA = 0x070,  /* page that every step writes too, for instance in a peer's BAR
                                    * 2 that is mapped for DMA; 0: none. Restarts PEER_STEPS */
    /* counters, read only */
    REFDEV_REG_DMA_STEPS = 0x080,
    REFDEV_REG_LOCAL_STEPS = 0x088,
    REFDEV_REG_PEER_STEPS = 0x090,
    REFDEV_REG_COPIES = 0x098, /* one-shot operations completed */
    /* errors, read only */
    REFDEV_REG_SLOT_MISMATCHES = 0x0a0,
    REFDEV_REG_LOCAL_MISMATCHES = 0x0a8,
    REFDEV_REG_PEER_MISMATCHES = 0x0b0,
    REFDEV_REG_DMA_ERRORS = 0x0b8,     /* accesses that failed: not mapped, no permission */
    REFDEV_REG_STOPPED_WRITES = 0x0c0, /* see above */
    REFDEV_REG_DMA_VIOLATIONS = 0x0c8, /* DMA attempted while it was forbidden; always 0 */
    /* verify */
    REFDEV_REG_VERIFY = 0x0d0,
    /* one-shot DMA: SOURCE, TARGET, LENGTH, then OPERATION; ends with MSI-X vector 0 (or INTx) */
    REFDEV_REG_COPY_SOURCE = 0x100, /* IOVA */
    REFDEV_REG_COPY_TARGET = 0x108, /* IOVA */
    REFDEV_REG_COPY_LENGTH = 0x110, /* bytes, at most REFDEV_COPY_MAX */
    REFDEV_REG_COPY_OPERATION = 0x118,
    REFDEV_REG_COPY_STATUS = 0x120,
    /* interrupts */
    REFDEV_REG_INTERRUPT = 0x128, /* write n: raise MSI-X vector n (n < REFDEV_MSIX_VECTORS) */
    REFDEV_REG_INTX = 0x130,      /* 1 while INTx is asserted; write 1 to deassert */
    REFDEV_REG_END = 0x138,
    /* write n: new initial bytes are announced n times more in this PRE_COPY, to a client that opted
     * in; read: how often still. No part of the state */
    REFDEV_REG_REINIT = 0x200,
};

#define REFDEV_MAGIC 0x3156454446455256ull /* "VREFDEV1" */

#define REFDEV_CONTROL_RUN 1ull
#define REFDEV_CONTROL_NO_DRIVER 2ull /* profile hisi_acc: nothing but the match data is saved */

#define REFDEV_SLOTS_MAX 1048576ull
#define REFDEV_RATE_MAX 10000000ull
#define REFDEV_COPY_MAX (16ull << 20)

#define REFDEV_VERIFY_NOT_RUN (~1ull) /* never run, or broken off by a migration */
#define REFDEV_VERIFY_BUSY (~0ull)

#define REFDEV_COPY_NONE 0ull
#define REFDEV_COPY_MOVE 1ull /* SOURCE to TARGET */
#define REFDEV_COPY_FILL                                                                           \
    2ull /* pages of pattern (index: page number from 0, times 1) to TARGET                        \
          */

#define REFDEV_STATUS_IDLE 0ull
#define REFDEV_STATUS_BUSY 1ull
#define REFDEV_STATUS_DONE 2ull
#define REFDEV_STATUS_FAILED 3ull

#define REFDEV_VECTOR_COPY 0
#define REFDEV_VECTOR_VERIFY 1

#endif
