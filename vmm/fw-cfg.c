/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "vmm/fw-cfg.h"
#include "vmm/lock.h"

enum { /* items */
       SIGNATURE = 0x00,
       ID = 0x01,
       RAM_BYTES = 0x03,
       CPUS = 0x05,
       CPUS_MAX = 0x0f,
       DIRECTORY = 0x19,
       FIRST_FILE = 0x20
};
enum { SELECTOR_PORT = 0, DATA_PORT = 1, REQUEST_PORT = 4 };

/* A request, in memory big-endian, and its control: what is to be done, in its upper half with which item. */
struct request {
    uint32_t control, length_bytes;
    uint64_t address;
};
enum {
    REQUEST_ERROR = 1,
    REQUEST_READ = 2,
    REQUEST_SKIP = 4,
    REQUEST_SELECT = 8,
    REQUEST_WRITE = 16
};

static void add_item(struct fw_cfg *f, uint16_t key, void *bytes, uint32_t length_bytes,
                     bool writable)
{
    f->items[f->num_items++] = (struct fw_cfg_item) { key, writable, length_bytes, bytes };
}

/* What is left of the selected item from the offset on; 0: nothing. */
static uint32_t left_of_item(const struct fw_cfg *f, const struct fw_cfg_item **ret)
{
    *ret = NULL;
    for (unsigned i = 0; i < f->num_items; i++)
        if (f->items[i].key == f->key && f->offset < f->items[i].length_bytes) {
            *ret = &f->items[i];
            return f->items[i].length_bytes - f->offset;
        }
    return 0;
}

static void select_item(struct fw_cfg *f, uint16_t key)
{
    f->key = key;
    f->offset = 0;
}

/* ---- requests ---- */

static bool copy(struct fw_cfg *f, uint32_t control, uint64_t address, uint32_t length_bytes)
{
    const struct fw_cfg_item *item;
    uint32_t left = left_of_item(f, &item), some = length_bytes < left ? length_bytes : left;
    bool reads = control & REQUEST_READ, writes = !reads && (control & REQUEST_WRITE);
    uint8_t *at = memory_at(f->memory, address, length_bytes);
    if (((reads || writes) && !at) || (writes && (some < length_bytes || !item->writable)))
        return false;
    if (reads) {
        memset(at + some, 0, length_bytes - some);
        if (some)
            memcpy(at, item->bytes + f->offset, some);
        memory_wrote(f->memory, at, length_bytes);
    } else if (writes) {
        memcpy(item->bytes + f->offset, at, length_bytes);
    }
    if (reads || writes || (control & REQUEST_SKIP))
        f->offset += some;
    return true;
}

static void carry_out(struct fw_cfg *f, uint64_t address)
{
    struct request request;
    void *at = memory_at(f->memory, address, sizeof(request));
    if (!at)
        return; /* nowhere to tell of the error */
    memcpy(&request, at, sizeof(request));
    uint32_t control = be32toh(request.control), length_bytes = be32toh(request.length_bytes);
    if (control & REQUEST_SELECT)
        select_item(f, (uint16_t)(control >> 16));
    bool good = !length_bytes || copy(f, control, be64toh(request.address), length_bytes);
    request.control = good ? 0 : htobe32(REQUEST_ERROR);
    memcpy(at, &request.control, sizeof(request.control));
    memory_wrote(f->memory, at, sizeof(request.control));
}

/* ---- ports ---- */

static void port_read(void *opaque, uint64_t offset, void *data, unsigned length_bytes)
{
    struct fw_cfg *f = opaque;
    const struct fw_cfg_item *item;
    memset(data, 0, length_bytes);
    LOCK_SCOPE(&f->lock);
    if (offset >= REQUEST_PORT) /* so a guest knows that it may write there */
        memcpy(data, &"QEMU CFG"[offset - REQUEST_PORT], length_bytes);
    else if (offset == DATA_PORT && length_bytes == 1 && left_of_item(f, &item))
        *(uint8_t *)data = item->bytes[f->offset++];
}

/* Half of an address each; the lower one begins the request. */
static void address_write_locked(struct fw_cfg *f, bool lower, uint32_t half)
{
    uint64_t address = f->request | half;
    f->request = lower ? 0 : (uint64_t)half << 32;
    if (lower)
        carry_out(f, address);
}

static void port_write(void *opaque, uint64_t offset, const void *data, unsigned length_bytes)
{
    struct fw_cfg *f = opaque;
    uint32_t value = 0;
    memcpy(&value, data, length_bytes < sizeof(value) ? length_bytes : sizeof(value));
    LOCK_SCOPE(&f->lock);
    if (offset == SELECTOR_PORT && length_bytes == 2)
        select_item(f, (uint16_t)value);
    else if (offset >= REQUEST_PORT && offset % 4 == 0 && length_bytes == 4)
        address_write_locked(f, offset > REQUEST_PORT, be32toh(value));
}

/* ---- what there is ---- */

int fw_cfg_new(struct fw_cfg *f, struct memory *memory, unsigned cpus, struct bus *ports,
               struct vmig_error *err)
{
    static const struct bus_ops ops = { port_read, port_write };
    *f = (struct fw_cfg) { .memory = memory,
                           .signature = { 'Q', 'E', 'M', 'U' },
                           .id = 3, /* ports and requests */
                           .ram_bytes = memory->size_bytes,
                           .cpus = (uint16_t)cpus };
    pthread_mutex_init(&f->lock, NULL);
    add_item(f, SIGNATURE, f->signature, sizeof(f->signature), false);
    add_item(f, ID, &f->id, sizeof(f->id), false);
    add_item(f, RAM_BYTES, &f->ram_bytes, sizeof(f->ram_bytes), false);
    add_item(f, CPUS, &f->cpus, sizeof(f->cpus), false);
    add_item(f, CPUS_MAX, &f->cpus, sizeof(f->cpus), false);
    add_item(f, DIRECTORY, &f->directory, sizeof(f->directory), false);
    return bus_claim(ports, FW_CFG_PORT, FW_CFG_PORT_COUNT, &ops, f, err);
}

void fw_cfg_done(struct fw_cfg *f)
{
    pthread_mutex_destroy(&f->lock);
}

void fw_cfg_add_file(struct fw_cfg *f, const char *name, void *bytes, uint32_t length_bytes)
{
    uint16_t key = (uint16_t)(FIRST_FILE + f->num_files);
    struct fw_cfg_directory *d = &f->directory;
    d->files[f->num_files].length_bytes = htobe32(length_bytes);
    d->files[f->num_files].key = htobe16(key);
    snprintf(d->files[f->num_files].name, sizeof(d->files[0].name), "%s", name);
    d->count = htobe32(++f->num_files);
    add_item(f, key, bytes, length_bytes, true);
}

/* ---- moving ---- */

static const struct vmig_vmstate_field fields[] = { VMIG_VMSTATE_UINT16(key, struct fw_cfg),
                                                    VMIG_VMSTATE_UINT32(offset, struct fw_cfg),
                                                    VMIG_VMSTATE_UINT64(request, struct fw_cfg),
                                                    VMIG_VMSTATE_END() };
const struct vmig_vmstate fw_cfg_vmstate = {
    .name = "fw-cfg", .version = 1, .minimum_version = 1, .fields = fields
};
