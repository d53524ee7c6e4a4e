/* SPDX-License-Identifier: BSD-3-Clause */
/* A host that tells by itself what its workload writes. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/migration/world.h"

struct teller {
    uint8_t word; /* what each byte of the bitmaps becomes */
    int start_rc, sync_rc;
    unsigned starts, syncs, stops;
    struct vmig_ram_block block;
};

static int tell_start(void *opaque, struct vmig_error *err)
{
    struct teller *t = opaque;
    (void)err;
    t->starts += t->start_rc == 0;
    return t->start_rc;
}

static int tell(void *opaque, const struct vmig_ram_block *block, uint64_t *bitmap,
                struct vmig_error *err)
{
    struct teller *t = opaque;
    (void)err;
    assert_int_equal(t->starts, t->stops + 1);
    t->syncs++;
    t->block = *block;
    if (t->word) /* whole words, as hypervisors do, also behind the block's end */
        memset(bitmap, t->word, (block->size_bytes / 4096 + 63) / 64 * 8);
    return t->sync_rc;
}

static void tell_stop(void *opaque)
{
    ((struct teller *)opaque)->stops++;
}

static const struct vmig_tracker_ops ops = {
    .size = sizeof(ops), .start = tell_start, .sync = tell, .stop = tell_stop
};

static void world_of(struct world *w, struct teller *teller)
{
    /* no whole number of words of the bitmap */
    world_open(
        w, &(struct world_plan) { .ram_bytes = (4u << 20) + 3 * 4096, .dirty_rate_pages = 4000 });
    x(vmig_migration_set_tracker(w->source->m, &ops, teller, NULL));
}

static void what_the_host_tells_goes_over(void **state)
{
    (void)state;
    struct teller teller = { .word = 0xff };
    struct world w;
    world_of(&w, &teller);
    world_move(&w);
    world_moved(&w);
    assert_int_equal(teller.starts, 1);
    assert_int_equal(teller.stops, 1);
    assert_true(teller.syncs >= 2);
    assert_int_equal(teller.block.size_bytes, (4u << 20) + 3 * 4096);
    assert_ptr_equal(teller.block.vaddr, w.source->load.memory);
    world_close(&w);
}

static void write_more(struct party *side, enum vmig_stage stage)
{
    struct workload_header *h = (struct workload_header *)side->load.memory;
    uint64_t had = atomic_load(&h->thread[0].steps);
    while (stage == VMIG_STAGE_QUIESCE && atomic_load(&h->thread[0].steps) < had + 40)
        nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
}

static void nobody_else_is_asked_about_the_workload(void **state)
{
    (void)state;
    struct teller teller = { 0 };
    struct world w;
    world_of(&w, &teller);
    w.source->on_stage = write_more;
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    assert_true(w.compared);
    assert_false(w.equal);
    world_close(&w);
}

static void a_host_that_cannot_tell_ends_the_migration(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct teller teller = { .start_rc = i ? 0 : -EIO, .sync_rc = i ? -EIO : 0 };
        struct world w;
        world_of(&w, &teller);
        world_move(&w);
        assert_int_equal(w.source->rc, -EIO);
        assert_int_equal(teller.starts, teller.stops);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void without_the_hosts_the_library_looks_by_itself_again(void **state)
{
    (void)state;
    struct teller teller = { 0 };
    struct world w;
    world_of(&w, &teller);
    x(vmig_migration_set_tracker(w.source->m, NULL, NULL, NULL));
    world_move(&w);
    world_moved(&w);
    assert_int_equal(teller.starts, 0);
    world_close(&w);
}

static void half_a_table_is_refused(void **state)
{
    (void)state;
    struct vmig_tracker_ops part = ops, small = ops;
    struct vmig_error err = { 0 };
    struct world w;
    world_open(&w, &(struct world_plan) { .still = true });
    part.sync = NULL;
    small.size--;
    assert_int_equal(vmig_migration_set_tracker(w.source->m, &part, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "sync"));
    assert_int_equal(vmig_migration_set_tracker(w.source->m, &small, NULL, NULL), -EINVAL);
    world_close(&w);
}

static void while_a_migration_runs_it_stays(void **state)
{
    (void)state;
    struct teller teller = { .word = 0xff };
    struct world w;
    world_of(&w, &teller);
    party_set(w.target, "downtime-limit", 100000);
    party_start(w.target, false, "tcp:127.0.0.1:0");
    char address[200];
    party_await_listening(w.target, address, sizeof(address));
    assert_int_equal(vmig_migration_set_tracker(w.target->m, NULL, NULL, NULL), -EBUSY);
    vmig_migration_cancel(w.target->m);
    assert_int_equal(party_join(w.target), -ECANCELED);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_host_tells_goes_over),
        cmocka_unit_test(nobody_else_is_asked_about_the_workload),
        cmocka_unit_test(a_host_that_cannot_tell_ends_the_migration),
        cmocka_unit_test(without_the_hosts_the_library_looks_by_itself_again),
        cmocka_unit_test(half_a_table_is_refused),
        cmocka_unit_test(while_a_migration_runs_it_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
