/* SPDX-License-Identifier: BSD-3-Clause */
/* What the VMM itself writes to guest memory is told to the migration as what processors wrote is: no page less, none
 * more, once. And what KVM's rings tell is, even where one ran over. KVM is the test's. */
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

/* KVM's side of the ring of one vCPU, and which of the first pages can be written without an entry. */
#define WATCHED 40
static struct {
    struct kvm_dirty_gfn entries[DIRTY_RING_ENTRIES];
    unsigned written, taken_back; /* entries */
    bool writable[WATCHED];
} ring;

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
    (void)err;
    if (on)
        memset(ring.writable, 0, sizeof(ring.writable));
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
    int count = 0;
    (void)fd;
    (void)argument;
    (void)what;
    (void)err;
    assert_int_equal(request, KVM_RESET_DIRTY_RINGS);
    for (;; ring.taken_back++, count++) {
        struct kvm_dirty_gfn *entry = &ring.entries[ring.taken_back % DIRTY_RING_ENTRIES];
        if (!(entry->flags & KVM_DIRTY_GFN_F_RESET))
            return count;
        assert_int_not_equal(ring.taken_back, ring.written); /* what was never there */
        entry->flags = 0;
        ring.writable[entry->offset] = false;
    }
}

/* An emulated write has an entry of its own every time, others only where the page was not writable. Nothing but
 * ring_is_full() keeps the vCPU from it. */
static void guest_writes(uint64_t page, bool emulated)
{
    if (ring.writable[page] && !emulated)
        return;
    ring.writable[page] = true;
    ring.entries[ring.written++ % DIRTY_RING_ENTRIES] =
        (struct kvm_dirty_gfn) { .flags = KVM_DIRTY_GFN_F_DIRTY, .offset = page };
}

/* The vCPU must leave the guest. */
static bool ring_is_full(void)
{
    return ring.written - ring.taken_back >= DIRTY_RING_ENTRIES - 64;
}

bool vcpus_hold(struct vcpus *vcpus)
{
    return !vcpus->running;
}

void vcpus_let_go(struct vcpus *vcpus)
{
    (void)vcpus;
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

/* ---- rings that run over ---- */

static void begin_ring(struct scene *s)
{
    memset(&ring, 0, sizeof(ring));
    s->kvm.dirty = DIRTY_RING;
    s->vcpus.count = 1;
    s->vcpus.list[0].ring = ring.entries;
    s->vcpus.running = true;
    assert_int_equal(tracker->start(&s->dirty, NULL), 0);
}

/* Everything that is told to have been written, of the pages that the ring watches, is added to @told. */
static void add_told(struct scene *s, bool told[WATCHED])
{
    uint64_t *bitmap = calloc(s->memory.blocks[0].size_bytes / PAGE / 64, sizeof(uint64_t));
    assert_int_equal(tracker->sync(&s->dirty, &s->memory.blocks[0], bitmap, NULL), 0);
    for (unsigned n = 0; n < WATCHED; n++)
        told[n] |= bitmap[n / 64] >> n % 64 & 1;
    free(bitmap);
}

/* In one go, the reserve and @more entries beyond the ring's end. The first pages' entries are those that get lost. */
static void run_over(unsigned more)
{
    unsigned entries = DIRTY_RING_ENTRIES - (ring.written - ring.taken_back) + more;
    for (unsigned n = 0; n < entries; n++)
        guest_writes(n < WATCHED / 2 ? n : WATCHED / 2, true);
    assert_true(ring_is_full());
}

static void expect_each_write_is_told(struct scene *s)
{
    for (unsigned n = 0; n < WATCHED; n++) {
        bool told[WATCHED] = { false };
        guest_writes(n, false);
        add_told(s, told);
        if (!told[n])
            fail_msg("page %u was written and nobody knows", n);
    }
}

/* As often as it likes. */
static void expect_the_guest_goes_on(struct scene *s)
{
    for (unsigned n = 0; n < 2 * DIRTY_RING_ENTRIES; n++) {
        guest_writes(n % WATCHED, true);
        if (ring_is_full())
            s->vcpus.ring_full(s->vcpus.ring_opaque, 0);
        assert_false(ring_is_full());
    }
}

static void expect_nothing_is_lost(struct scene *s)
{
    bool told[WATCHED] = { false };
    add_told(s, told);
    for (unsigned n = 0; n <= WATCHED / 2; n++)
        if (!told[n])
            fail_msg("page %u was written before the ring ran over, and nobody knows", n);
    for (unsigned i = 0; i < 2; i++)
        expect_each_write_is_told(s);
    expect_the_guest_goes_on(s);
    add_told(s, (bool[WATCHED]) { false });
    expect_each_write_is_told(s);
}

static const unsigned overruns[] = { 0, 1, 4, 960 };

static void a_ring_that_ran_over_loses_no_page(void **state)
{
    struct scene *s = *state;
    for (unsigned before = 0; before <= DIRTY_RING_ENTRIES; before += DIRTY_RING_ENTRIES / 2)
        for (unsigned i = 0; i < sizeof(overruns) / sizeof(overruns[0]); i++) {
            bool told[WATCHED] = { false };
            begin_ring(s);
            for (unsigned n = 0; n < before && !ring_is_full(); n++)
                guest_writes(n % WATCHED, true);
            s->vcpus.ring_full(s->vcpus.ring_opaque, 0);
            add_told(s, told);
            run_over(overruns[i]);
            s->vcpus.ring_full(s->vcpus.ring_opaque, 0);
            assert_false(ring_is_full()); /* so its vCPU goes on */
            expect_nothing_is_lost(s);
            tracker->stop(&s->dirty);
            s->dirty = (struct dirty) { .vcpus = &s->vcpus, .memory = &s->memory };
        }
}

static void so_it_is_when_the_guest_is_stopped_then(void **state)
{
    struct scene *s = *state;
    begin_ring(s);
    run_over(4);
    s->vcpus.running = false;
    expect_nothing_is_lost(s);
    assert_false(ring_is_full());
    tracker->stop(&s->dirty);
}

static void it_is_told_again_until_its_vcpu_has_emptied_it(void **state)
{
    struct scene *s = *state;
    begin_ring(s);
    run_over(4);
    for (unsigned i = 0; i < 2; i++) {
        bool told[WATCHED] = { false };
        add_told(s, told);
        assert_true(told[WATCHED / 2]);
        assert_true(ring_is_full());
    }
    s->vcpus.ring_full(s->vcpus.ring_opaque, 0);
    expect_nothing_is_lost(s);
    tracker->stop(&s->dirty);
}

static void it_may_run_over_again_and_again(void **state)
{
    struct scene *s = *state;
    begin_ring(s);
    for (unsigned i = 0; i < 10; i++) {
        run_over(1 + 7 * i);
        s->vcpus.ring_full(s->vcpus.ring_opaque, 0);
        if (i % 2)
            expect_nothing_is_lost(s);
    }
    tracker->stop(&s->dirty);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(what_the_vmm_writes_is_told_once),
        TEST(it_comes_beside_what_processors_wrote),
        TEST(a_ring_that_ran_over_loses_no_page),
        TEST(so_it_is_when_the_guest_is_stopped_then),
        TEST(it_is_told_again_until_its_vcpu_has_emptied_it),
        TEST(it_may_run_over_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
