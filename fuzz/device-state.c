/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference device's state, as a target loads it. Byte 0 is the profile, byte 1 how much is
 * written at once; with its bit 7 the digests, numbers and total of the bulk format's records are
 * put right first, so that what is behind them is reached. A state that is taken must make a device
 * that works: it runs, and what it saves is taken again and leads to the same state.
 */
#include "fuzz/bare-door.h"
#include "fuzz/fuzz.h"
#include "lib/device/fsm.h"
#include "refdev/model/digest.h"
#include "refdev/model/stream-bulk.h"

#define STATE_MAX (128u << 10)
#define READS_MAX (STATE_MAX / 100)

/* ---- putting records right ---- */

static void mend_record(uint8_t *at, uint64_t payload_bytes, uint32_t sequence, uint64_t before)
{
    struct refdev_digest digest;
    struct refdev_record record;
    memcpy(&record, at, sizeof(record));
    record.sequence = sequence;
    memcpy(at, &record, sizeof(record));
    if (record.type == BULK_END && payload_bytes == 8)
        memcpy(at + sizeof(record), &before, 8);
    refdev_digest_begin(&digest, sequence);
    refdev_digest_add(&digest, at, sizeof(record) + payload_bytes);
    uint64_t trailer = refdev_digest_end(&digest);
    memcpy(at + sizeof(record) + payload_bytes, &trailer, sizeof(trailer));
}

/* Wherever a record's magic is, with or without frames around it. */
static void mend(uint8_t *data, size_t size)
{
    const uint64_t magic = BULK_MAGIC;
    uint32_t sequence = 0;
    uint64_t before = 0;
    for (size_t at = 0; at + BULK_OVERHEAD <= size; at++) {
        uint64_t length;
        if (memcmp(data + at, &magic, sizeof(magic)))
            continue;
        memcpy(&length, data + at + offsetof(struct refdev_record, length_bytes), sizeof(length));
        if (length > size - at - BULK_OVERHEAD)
            continue;
        mend_record(data + at, length, sequence++, before);
        before += length + BULK_OVERHEAD;
        at += length + BULK_OVERHEAD - 1;
    }
}

/* ---- what was taken ---- */

static void use(struct bare_device *device)
{
    uint64_t value;
    for (uint64_t now = 0; now < 20000000; now += 1000000)
        refdev_tick(device->model, now);
    for (uint64_t offset = 0; offset < REFDEV_REG_END; offset += 8)
        refdev_region_read(device->model, REFDEV_BAR_REGISTERS, offset, &value, 8);
    for (uint64_t offset = 0; offset < 256; offset += 4)
        refdev_region_read(device->model, REFDEV_REGION_CONFIG, offset, &value, 4);
}

static size_t save_stopped(struct bare_device *device, uint8_t *buf)
{
    if (refdev_set_state(device->model, VMIG_STATE_STOP_COPY))
        abort();
    return bare_save(device, buf, STATE_MAX, 4096, READS_MAX);
}

/* The device is in STOP. */
static void go_round(struct bare_device *device, struct refdev_knobs *knobs)
{
    static uint8_t first[STATE_MAX], second[STATE_MAX];
    struct bare_device other;
    size_t length = save_stopped(device, first);
    bare_begin(&other, knobs);
    if (refdev_set_state(other.model, VMIG_STATE_RESUMING) ||
        bare_load(&other, first, length, 1000) || refdev_set_state(other.model, VMIG_STATE_STOP))
        abort();
    if (save_stopped(&other, second) != length || memcmp(first, second, length))
        abort();
    bare_end(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct refdev_knobs knobs = { .seed = 5 };
    struct bare_device device;
    unsigned profiles = 0;
    if (size < 2)
        return 0;
    while (refdev_profile_at(profiles))
        profiles++;
    knobs.profile = refdev_profile_at(data[0] % profiles);
    uint8_t *copy = malloc(size);
    memcpy(copy, data + 2, size - 2);
    if (data[1] & 0x80)
        mend(copy, size - 2);
    bare_begin(&device, &knobs);
    if (refdev_set_state(device.model, VMIG_STATE_RESUMING))
        abort();
    bare_load(&device, copy, size - 2, 1 + (data[1] & 0x7f) * 131u);
    free(copy);
    if (!refdev_set_state(device.model, VMIG_STATE_STOP)) {
        go_round(&device, &knobs);
        if (refdev_set_state(device.model, VMIG_STATE_RUNNING))
            abort();
        use(&device);
    } else {
        refdev_reset(device.model);
    }
    bare_end(&device);
    return 0;
}
