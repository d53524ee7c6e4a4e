/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The embedding program's signals and the library's threads. Every thread of the test's own blocks the
 * signal at the moment when it comes, so that it stays pending unless one of the library's takes it.
 * Masks are inherited: whenever the library may start a thread, the signal is not blocked.
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/thread.h"
#include "tests/migration/world.h"

static atomic_uint handled;

static void count(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static void mask(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    assert_int_equal(pthread_sigmask(how, &set, NULL), 0);
}

static void inherit_it_unblocked(const struct party *side)
{
    mask(side ? SIG_UNBLOCK : SIG_BLOCK);
}

/* The rounds begin when all threads of a side run. The target is there first, and waits no more for
 * the source than for any other. */
static void block_in_the_rounds(struct party *side, enum vmig_stage stage)
{
    (void)side;
    if (stage == VMIG_STAGE_ROUNDS)
        mask(SIG_BLOCK);
}

static void send_before_the_pause(struct party *side, enum vmig_stage stage)
{
    block_in_the_rounds(side, stage);
    if (stage != VMIG_STAGE_QUIESCE)
        return;
    party_await_stage(side->world->target, VMIG_STAGE_ROUNDS);
    kill(getpid(), SIGUSR1);
}

static bool take_pending(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigtimedwait(&set, NULL, &(struct timespec) { 0 }) == SIGUSR1;
}

/* Those that ran have ended when both sides have returned, and handled before what they were given. */
static void nobody_takes_a_signal(const struct world_plan *shape)
{
    struct world w;
    struct world_plan plan = *shape;
    struct sigaction action = { .sa_handler = count }, old;
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    atomic_store(&handled, 0);
    mask(SIG_BLOCK);
    plan.acting = inherit_it_unblocked;
    world_open(&w, &plan);
    w.target->on_stage = block_in_the_rounds;
    w.source->on_stage = send_before_the_pause;
    world_move(&w);
    world_moved(&w);
    world_close(&w);
    assert_int_equal(atomic_load(&handled), 0);
    assert_true(take_pending());
    mask(SIG_UNBLOCK);
    sigaction(SIGUSR1, &old, NULL);
}

static void no_thread_of_a_migration_takes_a_signal_of_the_program(void **state)
{
    (void)state;
    nobody_takes_a_signal(&(struct world_plan) { .devices = 2, .channels = 2 });
}

static void nor_does_one_on_a_link_without_data_channels(void **state)
{
    (void)state;
    nobody_takes_a_signal(&(struct world_plan) { .devices = 1, .lone_main = true });
}

static void *divide_by_nothing(void *opaque)
{
    (void)opaque;
    raise(SIGFPE); /* to itself, as the processor does */
    return NULL;
}

/* Blocked, it would end the program without its handler. */
static void what_a_thread_does_to_itself_reaches_the_programs_handler(void **state)
{
    (void)state;
    pthread_t thread;
    struct sigaction action = { .sa_handler = count }, old;
    assert_int_equal(sigaction(SIGFPE, &action, &old), 0);
    atomic_store(&handled, 0);
    assert_int_equal(thread_start(&thread, divide_by_nothing, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&handled), 1);
    sigaction(SIGFPE, &old, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_thread_of_a_migration_takes_a_signal_of_the_program),
        cmocka_unit_test(nor_does_one_on_a_link_without_data_channels),
        cmocka_unit_test(what_a_thread_does_to_itself_reaches_the_programs_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
