/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners beside the host, who come and go at any time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/migration/world.h"

struct ear {
    struct vmig_migration *m;
    struct world *world;
    unsigned statuses[VMIG_STATUS_COUNT], heard;
    struct ear *removes; /* who is removed in the first call */
    bool inside, leave, removed;
    char reason[40];
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void ear_init(struct ear *e, struct vmig_migration *m)
{
    *e = (struct ear) { .m = m };
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
}

static void hear(void *opaque, const struct vmig_event *event)
{
    struct ear *e = opaque;
    e->heard++;
    if (event->kind == VMIG_EVENT_STATUS)
        e->statuses[event->status]++;
    if (e->removes) {
        x(vmig_migration_remove_observer(e->m, hear, e->removes, &err));
        e->removes = NULL;
    }
}

static void observer_hears_what_the_host_hears(void **state)
{
    (void)state;
    struct world w;
    struct ear e;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    ear_init(&e, w.source->m);
    x(vmig_migration_add_observer(w.source->m, hear, &e, &err));
    world_move(&w);
    world_moved(&w);
    assert_int_equal(e.statuses[VMIG_STATUS_SETUP], 1);
    assert_int_equal(e.statuses[VMIG_STATUS_ACTIVE], 1);
    assert_int_equal(e.statuses[VMIG_STATUS_DEVICE], 1);
    assert_int_equal(e.statuses[VMIG_STATUS_COMPLETED], 1);
    assert_int_equal(e.statuses[VMIG_STATUS_FAILED], 0);
    world_close(&w);
}

static void observer_can_remove_itself_and_others_while_it_is_called(void **state)
{
    (void)state;
    struct world w;
    struct ear a, b;
    world_open(&w, &(struct world_plan) { 0 });
    ear_init(&a, w.source->m);
    ear_init(&b, w.source->m);
    x(vmig_migration_add_observer(w.source->m, hear, &a, &err));
    x(vmig_migration_add_observer(w.source->m, hear, &b, &err));
    a.removes = &b; /* whose turn is after this one's */
    world_move(&w);
    world_moved(&w);
    assert_int_equal(b.heard, 0);
    assert_true(a.heard > 1);
    world_turn_round(&w);
    a.heard = 0;
    a.removes = &a;
    world_move(&w);
    world_moved(&w);
    assert_int_equal(a.heard, 1);
    world_close(&w);
}

static void stay(void *opaque, const struct vmig_event *event)
{
    struct ear *e = opaque;
    (void)event;
    pthread_mutex_lock(&e->lock);
    e->inside = true;
    pthread_cond_broadcast(&e->changed);
    while (!e->leave)
        pthread_cond_wait(&e->changed, &e->lock);
    e->inside = false;
    pthread_mutex_unlock(&e->lock);
}

static void *take_away(void *opaque)
{
    struct ear *e = opaque;
    x(vmig_migration_remove_observer(e->m, stay, e, &err));
    e->removed = !e->inside; /* without a lock: nothing of it runs any more */
    return NULL;
}

static void removing_waits_until_the_observer_has_returned(void **state)
{
    (void)state;
    struct world w;
    struct ear e;
    pthread_t thread;
    void *rc;
    world_open(&w, &(struct world_plan) { 0 });
    ear_init(&e, w.source->m);
    x(vmig_migration_add_observer(w.source->m, stay, &e, &err));
    party_start(w.source, true, "unix:/nowhere");
    pthread_mutex_lock(&e.lock);
    while (!e.inside)
        pthread_cond_wait(&e.changed, &e.lock);
    pthread_mutex_unlock(&e.lock);
    assert_int_equal(pthread_create(&thread, NULL, take_away, &e), 0);
    struct vmig_error why = { 0 };
    while (vmig_migration_remove_observer(w.source->m, hear, &e, &why) == 0)
        ; /* no other is there: returns at once while the first is being called */
    assert_int_equal(why.code, -ENOENT);
    assert_int_equal(pthread_tryjoin_np(thread, &rc), EBUSY);
    pthread_mutex_lock(&e.lock);
    e.leave = true;
    pthread_cond_broadcast(&e.changed);
    pthread_mutex_unlock(&e.lock);
    pthread_join(thread, NULL);
    assert_true(e.removed);
    party_join(w.source);
    world_close(&w);
}

/* Stay in the call that says that it completed. */
static void stay_at_the_end(void *opaque, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_STATUS && event->status == VMIG_STATUS_COMPLETED)
        stay(opaque, event);
}

static void *send_on(void *opaque)
{
    struct ear *e = opaque;
    struct vmig_error why = { 0 };
    vmig_migration_send(e->m, "unix:/nowhere", &why);
    snprintf(e->reason, sizeof(e->reason), "%s", why.reason);
    return NULL;
}

static void who_heard_the_end_may_send_on_at_once(void **state)
{
    (void)state;
    struct world w;
    struct ear e;
    pthread_t thread;
    void *rc;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    ear_init(&e, w.target->m);
    x(vmig_migration_add_observer(w.target->m, stay_at_the_end, &e, &err));
    world_begin(&w);
    pthread_mutex_lock(&e.lock);
    while (!e.inside)
        pthread_cond_wait(&e.changed, &e.lock);
    pthread_mutex_unlock(&e.lock);
    assert_int_equal(pthread_create(&thread, NULL, send_on, &e), 0);
    usleep(100000); /* time to be refused: who waits passes on any machine */
    assert_int_equal(pthread_tryjoin_np(thread, &rc), EBUSY);
    pthread_mutex_lock(&e.lock);
    e.leave = true;
    pthread_cond_broadcast(&e.changed);
    pthread_mutex_unlock(&e.lock);
    world_join(&w);
    pthread_join(thread, NULL);
    assert_string_not_equal(e.reason, "migration-running");
    world_close(&w);
}

static void send_in_the_call(void *opaque, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_STATUS && event->status == VMIG_STATUS_COMPLETED)
        send_on(opaque);
}

static void but_not_from_within_the_call_that_tells_it(void **state)
{
    (void)state;
    struct world w;
    struct ear e;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    ear_init(&e, w.target->m);
    x(vmig_migration_add_observer(w.target->m, send_in_the_call, &e, &err));
    world_move(&w);
    world_moved(&w);
    assert_string_equal(e.reason, "migration-running");
    world_close(&w);
}

static void so_many_observers_and_no_more(void **state)
{
    (void)state;
    struct ear ears[VMIG_OBSERVERS_MAX + 1];
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    struct vmig_error why = { 0 };
    for (unsigned i = 0; i < VMIG_OBSERVERS_MAX; i++)
        x(vmig_migration_add_observer(m, hear, &ears[i], &err));
    assert_int_equal(vmig_migration_add_observer(m, hear, &ears[0], NULL), -EEXIST);
    assert_int_equal(vmig_migration_add_observer(m, hear, &ears[VMIG_OBSERVERS_MAX], &why), -EBUSY);
    assert_string_equal(why.reason, "too-many-listeners");
    x(vmig_migration_remove_observer(m, hear, &ears[3], &err));
    assert_int_equal(vmig_migration_remove_observer(m, hear, &ears[3], NULL), -ENOENT);
    x(vmig_migration_add_observer(m, hear, &ears[VMIG_OBSERVERS_MAX], &err));
    vmig_migration_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(observer_hears_what_the_host_hears),
        cmocka_unit_test(observer_can_remove_itself_and_others_while_it_is_called),
        cmocka_unit_test(removing_waits_until_the_observer_has_returned),
        cmocka_unit_test(who_heard_the_end_may_send_on_at_once),
        cmocka_unit_test(but_not_from_within_the_call_that_tells_it),
        cmocka_unit_test(so_many_observers_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
