/* SPDX-License-Identifier: BSD-3-Clause */
/* What the VMM itself writes to guest memory is told to the migration as what processors wrote is: no page less, none
 * more, once. KVM, which knows nothing of it, is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/dirty.h"
#include "vmm/fail.h"

#define GIB (UINT64_C(1) << 30)
#define PAGE UINT64_C(4096)

static const struct vmig_tracker_ops *tracker;
static uint64_t logged; /* the first pages of each block, in KVM's log */

int vmig_migration_set_tracker(struct vmig_migration *migration, const struct vmig_tracker_ops *ops,
                               void *opaque, struct vmig_error *err)
{
    (void)migration;
    (void)opaque;
    (void)err;
    tracker = ops;
    return 0;
}

int kvm_map(struct kvm *kvm, uint64_t address, uint64_t size_bytes, void *vaddr, unsigned *ret_slot,
            struct vmig_error *err)
{
    (void)kvm;
    (void)address;
    (void)size_bytes;
    (void)vaddr;
    (void)err;
    *ret_slot = 0;
    return 0;
}

int kvm_track(struct kvm *kvm, unsigned slot, bool on, struct vmig_error *err)
{
    (void)kvm;
    (void)slot;
    (void)on;
    (void)err;
    return 0;
}

int kvm_read_log(struct kvm *kvm, unsigned slot, uint64_t *ret, struct vmig_error *err)
{
    (void)kvm;
    (void)slot;
    (void)err;
    ret[0] = logged;
    return 0;
}

int kvm_ask(int fd, unsigned long request, void *argument, const char *what, struct vmig_error *err)
{
    (void)fd;
    (void)request;
    (void)argument;
    (void)what;
    (void)err;
    return 0;
}

void vcpus_end(struct vcpus *vcpus, enum guest_end end, const char *format, ...)
{
    (void)vcpus;
    (void)end;
    fail_msg("%s", format);
}

struct scene {
    struct memory memory;
    struct vcpus vcpus;
    struct kvm kvm;
    struct dirty dirty;
};

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct vmig_error err = { 0 };
    if (memory_new(&s->memory, 4 * GIB, false, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(s->memory.num_blocks, 2); /* below 3 GiB, and from 4 GiB on */
    s->vcpus.kvm = &s->kvm;
    assert_int_equal(dirty_add(&s->dirty, NULL, &s->vcpus, &s->memory, NULL), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    memory_done(&s->memory);
    free(s);
    return 0;
}

/* The pages of @block that are told to have been written are @first and @second, or UINT64_MAX: none. */
static void expect_written(struct scene *s, unsigned block, uint64_t first, uint64_t second)
{
    uint64_t pages = s->memory.blocks[block].size_bytes / PAGE;
    uint64_t *bitmap = calloc(pages / 64, sizeof(uint64_t));
    assert_int_equal(tracker->sync(&s->dirty, &s->memory.blocks[block], bitmap, NULL), 0);
    for (uint64_t n = 0; n < pages; n++)
        if ((bitmap[n / 64] >> n % 64 & 1) != (n == first || n == second))
            fail_msg("block %u, page %u", block, (unsigned)n);
    free(bitmap);
}

static void write_at(struct scene *s, uint64_t address, uint64_t length)
{
    memory_wrote(&s->memory, memory_at(&s->memory, address, length), length);
}

static void what_the_vmm_writes_is_told_once(void **state)
{
    struct scene *s = *state;
    static const enum dirty_how hows[] = { DIRTY_LOG, DIRTY_RING };
    for (unsigned i = 0; i < 2; i++) {
        s->kvm.dirty = hows[i];
        logged = 0;
        assert_int_equal(tracker->start(&s->dirty, NULL), 0);
        expect_written(s, 0, UINT64_MAX, UINT64_MAX);
        write_at(s, 5 * PAGE - 1, 2);
        write_at(s, 4 * GIB, 1);
        expect_written(s, 0, 4, 5);
        expect_written(s, 0, UINT64_MAX, UINT64_MAX);
        expect_written(s, 1, 0, UINT64_MAX);
        write_at(s, 3 * GIB - 1, 1);
        write_at(s, 5 * GIB - PAGE, PAGE);
        expect_written(s, 1, GIB / PAGE - 1, UINT64_MAX);
        expect_written(s, 0, 3 * GIB / PAGE - 1, UINT64_MAX);
        tracker->stop(&s->dirty);
    }
}

static void it_comes_beside_what_processors_wrote(void **state)
{
    struct scene *s = *state;
    s->kvm.dirty = DIRTY_LOG;
    assert_int_equal(tracker->start(&s->dirty, NULL), 0);
    logged = 1 << 7;
    write_at(s, 9 * PAGE, PAGE);
    expect_written(s, 0, 7, 9);
    logged = 0;
    expect_written(s, 0, UINT64_MAX, UINT64_MAX);
    tracker->stop(&s->dirty);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(what_the_vmm_writes_is_told_once),
        TEST(it_comes_beside_what_processors_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
