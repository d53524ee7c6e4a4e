/* SPDX-License-Identifier: BSD-3-Clause */
/* A door without a client: guest memory is an array, time is a number, interrupts are counted. */
#ifndef TESTS_REFDEV_FAKE_DOOR_H
#define TESTS_REFDEV_FAKE_DOOR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/device/fsm.h"
#include "refdev/model/model.h"
#include "refdev/pattern.h"

#define GUEST_BASE 0x100000ull
#define GUEST_PAGES 64

struct fake {
    struct refdev_model *model;
    uint8_t *local, *shared;
    uint64_t local_bytes;
    uint8_t guest[GUEST_PAGES * REFDEV_PAGE_BYTES];
    uint8_t *peer; /* reached at PEER_BASE, one page */
    uint64_t now_ns, slept_ns;
    unsigned interrupts[3];
    bool by_message, no_memory, closing;
    char refused[128];
};
#define PEER_BASE 0x80000000ull

static inline uint8_t *fake_memory(struct fake *fake, uint64_t iova, uint64_t length)
{
    if (fake->peer && iova == PEER_BASE && length <= REFDEV_PAGE_BYTES)
        return fake->peer;
    if (iova < GUEST_BASE || length > sizeof(fake->guest) ||
        iova - GUEST_BASE > sizeof(fake->guest) - length)
        return NULL;
    return fake->guest + (iova - GUEST_BASE);
}

static inline int fake_read(void *door, uint64_t iova, void *buf, uint64_t length)
{
    uint8_t *memory = fake_memory(door, iova, length);
    if (memory)
        memcpy(buf, memory, length);
    return memory ? 0 : -EFAULT;
}

static inline int fake_write(void *door, uint64_t iova, const void *buf, uint64_t length)
{
    struct fake *fake = door;
    uint8_t *memory = fake_memory(fake, iova, length);
    if (memory)
        memcpy(memory, buf, length);
    return memory ? fake->by_message : -EFAULT;
}

static inline bool fake_interrupt(void *door, unsigned index, unsigned vector)
{
    struct fake *fake = door;
    (void)vector;
    fake->interrupts[index]++;
    return true;
}

static inline int fake_sleep(void *door, uint64_t ns)
{
    struct fake *fake = door;
    fake->slept_ns += ns;
    return fake->closing;
}

static inline uint64_t fake_now(void *door)
{
    return ((struct fake *)door)->now_ns;
}

static inline void *fake_alloc(void *door, size_t size)
{
    return ((struct fake *)door)->no_memory ? NULL : calloc(1, size);
}

static inline void fake_free(void *door, void *ptr)
{
    (void)door;
    free(ptr);
}

static inline void fake_refused(void *door, const char *why, uint64_t offset)
{
    struct fake *fake = door;
    (void)offset;
    strncpy(fake->refused, why, sizeof(fake->refused) - 1);
}

static const struct refdev_door_ops fake_ops = {
    .dma_read = fake_read,
    .dma_write = fake_write,
    .interrupt = fake_interrupt,
    .sleep_ns = fake_sleep,
    .now_ns = fake_now,
    .alloc = fake_alloc,
    .free = fake_free,
    .refused = fake_refused,
};

static inline const struct refdev_profile *profile_named(const char *name)
{
    for (unsigned i = 0; refdev_profile_at(i); i++)
        if (!strcmp(refdev_profile_at(i)->name, name))
            return refdev_profile_at(i);
    fail_msg("no profile %s", name);
    return NULL;
}

static inline int try_fake_new(struct fake **ret, const struct refdev_knobs *knobs,
                               uint64_t local_bytes)
{
    struct fake *fake = calloc(1, sizeof(*fake));
    fake->local_bytes = local_bytes;
    fake->local = local_bytes ? aligned_alloc(4096, local_bytes) : NULL;
    fake->shared = aligned_alloc(4096, REFDEV_SHARED_BYTES);
    fake->model = aligned_alloc(64, refdev_model_bytes());
    memset(fake->model, 0, refdev_model_bytes());
    *ret = fake;
    return refdev_init(fake->model, knobs, fake->local, local_bytes, fake->shared, &fake_ops, fake);
}

static inline struct fake *fake_new(const char *profile, uint64_t seed, uint64_t local_bytes)
{
    struct refdev_knobs knobs = { .profile = profile_named(profile), .seed = seed };
    struct fake *fake;
    assert_int_equal(try_fake_new(&fake, &knobs, local_bytes), 0);
    return fake;
}

static inline void fake_delete(struct fake *fake)
{
    refdev_done(fake->model);
    free(fake->model);
    free(fake->shared);
    free(fake->local);
    free(fake);
}

static inline uint64_t reg(struct fake *fake, unsigned offset)
{
    uint64_t value;
    assert_int_equal(refdev_region_read(fake->model, REFDEV_BAR_REGISTERS, offset, &value, 8), 0);
    return value;
}

static inline int try_set_reg(struct fake *fake, unsigned offset, uint64_t value)
{
    return refdev_region_write(fake->model, REFDEV_BAR_REGISTERS, offset, &value, 8);
}

static inline void set_reg(struct fake *fake, unsigned offset, uint64_t value)
{
    assert_int_equal(try_set_reg(fake, offset, value), 0);
}

static inline void bus_master(struct fake *fake)
{
    uint16_t command = 6;
    assert_int_equal(refdev_region_write(fake->model, REFDEV_REGION_CONFIG, 4, &command, 2), 0);
}

/* Let @ms pass in steps of 1 ms. */
static inline void run_ms(struct fake *fake, unsigned ms)
{
    for (; ms; ms--) {
        fake->now_ns += 1000000;
        refdev_tick(fake->model, fake->now_ns);
    }
}

static inline void start_workload(struct fake *fake, unsigned slots, unsigned dma_rate,
                                  unsigned dirty_rate)
{
    bus_master(fake);
    set_reg(fake, REFDEV_REG_SLOT_BASE, GUEST_BASE);
    set_reg(fake, REFDEV_REG_SLOT_COUNT, slots);
    set_reg(fake, REFDEV_REG_DMA_RATE, dma_rate);
    set_reg(fake, REFDEV_REG_DIRTY_RATE, dirty_rate);
    set_reg(fake, REFDEV_REG_CONTROL, REFDEV_CONTROL_RUN);
}

/* The device's own verdict: number of wrong pages. */
static inline uint64_t verify(struct fake *fake)
{
    set_reg(fake, REFDEV_REG_VERIFY, 1);
    for (unsigned i = 0; i < 1000 && reg(fake, REFDEV_REG_VERIFY) == REFDEV_VERIFY_BUSY; i++)
        refdev_tick(fake->model, fake->now_ns);
    return reg(fake, REFDEV_REG_VERIFY);
}

static inline void set_state(struct fake *fake, unsigned state)
{
    assert_int_equal(refdev_set_state(fake->model, state), 0);
    assert_int_equal(refdev_state(fake->model), state);
}

/* Append what can be read now to @buf, @chunk bytes at a time. Returns the new length. */
static inline size_t read_state(struct fake *fake, uint8_t *buf, size_t length, size_t room,
                                size_t chunk)
{
    static struct refdev_segment segments[REFDEV_SEGMENTS_MAX];
    for (;;) {
        unsigned count;
        int got = refdev_data_read(fake->model, chunk, segments, &count);
        if (got <= 0) {
            assert_true(got == 0 || got == -ENOMSG);
            return length;
        }
        assert_true((size_t)got <= chunk && length + (size_t)got <= room);
        for (unsigned i = 0; i < count; i++) {
            memcpy(buf + length, segments[i].data, segments[i].length_bytes);
            length += segments[i].length_bytes;
        }
    }
}

static inline int write_state(struct fake *fake, const uint8_t *buf, size_t length, size_t chunk)
{
    for (size_t done = 0; done < length; done += chunk) {
        size_t part = length - done < chunk ? length - done : chunk;
        int rc = refdev_data_write(fake->model, buf + done, part);
        if (rc)
            return rc;
    }
    return 0;
}

#endif
