/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's firmware configuration device: items by number and files by name, through two I/O ports or by a request in
 * guest memory (DMA). A guest reads what the machine is from it and writes where its picture is.
 *
 * Whatever a guest asks for: items that are not there are empty, and behind an item's end are zeros. A request that
 * writes what is not the guest's, or reaches past an item or past memory, changes nothing and has its error bit set.
 */
#ifndef VMM_FW_CFG_H
#define VMM_FW_CFG_H

#include <vfio-migrate/vmstate.h>

#include "vmm/bus.h"
#include "vmm/memory.h"

#define FW_CFG_FILES_MAX 1
#define FW_CFG_ITEMS_MAX 8

struct fw_cfg {
    struct memory *memory;
    pthread_mutex_t lock; /* guards the rest, and what files contain */
    uint16_t key;
    uint32_t offset;
    uint64_t request; /* its address, as far as it was written */
    unsigned num_items, num_files;
    struct fw_cfg_item {
        uint16_t key;
        bool writable;
        uint32_t length_bytes;
        uint8_t *bytes;
    } items[FW_CFG_ITEMS_MAX];
    char signature[4];
    uint32_t id;
    uint64_t ram_bytes;
    uint16_t cpus;
    struct fw_cfg_directory { /* big-endian */
        uint32_t count;
        struct {
            uint32_t length_bytes;
            uint16_t key, reserved;
            char name[56];
        } files[FW_CFG_FILES_MAX];
    } directory;
};

int fw_cfg_new(struct fw_cfg *fw_cfg, struct memory *memory, unsigned cpus, struct bus *ports,
               struct vmig_error *err);
void fw_cfg_done(struct fw_cfg *fw_cfg);
/* A file that the guest may write, before it runs; @bytes is borrowed. FW_CFG_FILES_MAX at most. */
void fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, void *bytes, uint32_t length_bytes);

extern const struct vmig_vmstate fw_cfg_vmstate; /* of struct fw_cfg, without its files */

#endif
