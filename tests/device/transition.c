/* SPDX-License-Identifier: BSD-3-Clause */
/* State changes on a scripted device: every way of refusing, recovering, resetting and losing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/device/device.h"
#include "lib/device/fsm.h"
#include "tests/device/fake-backend.h"

#define NONE VMIG_STATE_ERROR /* no recover state */
#define S VMIG_STATE_STOP
#define R VMIG_STATE_RUNNING
#define SC VMIG_STATE_STOP_COPY
#define RS VMIG_STATE_RESUMING
#define RP VMIG_STATE_RUNNING_P2P
#define PC VMIG_STATE_PRE_COPY
#define PP VMIG_STATE_PRE_COPY_P2P

static struct fake fake;
static struct vmig_device *device;
static struct vmig_error err;

/* Open the fake in @state, with a clean history. */
static void begin(enum vmig_state state)
{
    device = vmig_device_close(device);
    fake_init(&fake);
    fake.state = state;
    memset(&err, 0, sizeof(err));
    assert_int_equal(fake_open(&fake, NULL, &device, &err), 0);
    fake.history[0] = '\0';
    fake.num_gets = 0;
}

static int end(void **unused)
{
    (void)unused;
    device = vmig_device_close(device);
    return 0;
}

/* Ask for @target; the result, health and final state must be these. */
static void expect(enum vmig_state target, enum vmig_state recover, int rc, enum vmig_health health,
                   enum vmig_state final)
{
    memset(&err, 0, sizeof(err));
    assert_int_equal(vmig_device_set_state(device, target, recover, &err), rc);
    assert_int_equal(vmig_device_health(device), health);
    assert_int_equal(fake.state, final);
    assert_int_equal(err.code, rc);
}

/* ---- it works ---- */

static void every_legal_way_is_one_request_and_arrives(void **unused)
{
    (void)unused;
    static const uint64_t sets[] = { 1, 3, 5, 7 };
    for (unsigned i = 0; i < 4; i++)
        for (int from = S; from < VMIG_STATE_COUNT; from++)
            for (int to = S; to < VMIG_STATE_COUNT; to++) {
                if (fsm_next(sets[i], (enum vmig_state)from, (enum vmig_state)to) < 0)
                    continue;
                device = vmig_device_close(device);
                fake_init(&fake);
                fake.flags = sets[i];
                fake.state = (enum vmig_state)from;
                assert_int_equal(fake_open(&fake, NULL, &device, NULL), 0);
                expect((enum vmig_state)to, NONE, 0, VMIG_HEALTH_OK, (enum vmig_state)to);
                assert_int_equal(fake.num_sets, 1);
                assert_int_equal(fake.num_resets, 0);
            }
}

/* ---- refused here ---- */

static void every_impossible_way_is_refused_without_touching_the_device(void **unused)
{
    (void)unused;
    static const uint64_t sets[] = { 1, 3, 5, 7 };
    for (unsigned i = 0; i < 4; i++)
        for (int from = VMIG_STATE_ERROR; from < VMIG_STATE_COUNT; from++)
            for (int to = VMIG_STATE_ERROR; to <= VMIG_STATE_COUNT; to++) {
                if (fsm_next(sets[i], (enum vmig_state)from, (enum vmig_state)to) >= 0 ||
                    !fsm_has_state(sets[i], (enum vmig_state)from))
                    continue;
                device = vmig_device_close(device);
                fake_init(&fake);
                fake.flags = sets[i];
                fake.state = (enum vmig_state)from;
                assert_int_equal(fake_open(&fake, NULL, &device, NULL), 0);
                expect((enum vmig_state)to, R, -EINVAL, VMIG_HEALTH_OK, (enum vmig_state)from);
                assert_int_equal(fake.num_sets, 0);
                assert_int_equal(fake.num_resets, 0);
            }
}

static void stop_copy_to_pre_copy_never_reaches_the_device(void **unused)
{
    (void)unused;
    static const enum vmig_state targets[] = { PC, PP };
    for (unsigned i = 0; i < 2; i++) {
        begin(SC);
        expect(targets[i], R, -EINVAL, VMIG_HEALTH_OK, SC);
        assert_null(strstr(fake.history, "set"));
        assert_non_null(strstr(err.text, "no way from STOP_COPY to PRE_COPY"));
        assert_string_equal(err.device, vmig_device_id(device));
    }
}

static void a_recover_state_that_the_device_lacks_is_refused(void **unused)
{
    (void)unused;
    fake_init(&fake);
    fake.flags = VMIG_MIGRATION_STOP_COPY;
    assert_int_equal(fake_open(&fake, NULL, &device, NULL), 0);
    fake.history[0] = '\0';
    expect(S, RP, -EINVAL, VMIG_HEALTH_OK, R);
    assert_string_equal(fake.history, "");
}

static void a_device_that_cannot_migrate_says_why(void **unused)
{
    (void)unused;
    fake_init(&fake);
    fake.flags = 0;
    strcpy(fake.migration.reason, "vfio-no-kernel-support");
    strcpy(fake.migration.remedy, "bind it to mlx5_vfio_pci instead");
    assert_int_equal(fake_open(&fake, NULL, &device, NULL), 0);
    expect(S, R, -EOPNOTSUPP, VMIG_HEALTH_OK, R);
    assert_string_equal(err.reason, "vfio-no-kernel-support");
    assert_non_null(strstr(err.text, "bind it to mlx5_vfio_pci instead"));
}

/* ---- refused by the device ---- */

static void refused_where_it_was_and_that_is_the_recover_state(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EIO, FAKE_STAYS, false };
    expect(SC, R, -EIO, VMIG_HEALTH_OK, R);
    assert_string_equal(fake.history, "get set:STOP_COPY get ");
    assert_non_null(strstr(err.text, "from RUNNING to STOP_COPY"));
    assert_non_null(strstr(err.text, "Input/output error"));
    assert_non_null(strstr(err.text, "it is in RUNNING still"));
}

static void refused_on_the_way_and_recovered(void **unused)
{
    (void)unused;
    static const enum vmig_state middle[] = { RP, S };
    for (unsigned i = 0; i < 2; i++) {
        begin(R);
        fake.sets[0] = (struct fake_set) { -ETIMEDOUT, middle[i], false };
        expect(SC, R, -ETIMEDOUT, VMIG_HEALTH_OK, R);
        assert_string_equal(fake.history, "get set:STOP_COPY get set:RUNNING get ");
        assert_non_null(strstr(err.text, "it is back in RUNNING"));
    }
}

static void refused_but_arrived_all_the_same_is_refused(void **unused)
{
    (void)unused;
    begin(R); /* the kernel had no number for the data fd: the stream is lost */
    fake.sets[0] = (struct fake_set) { -EMFILE, PC, false };
    expect(PC, R, -EMFILE, VMIG_HEALTH_OK, R);
}

static void a_recover_state_reached_by_a_failed_request_has_no_stream_and_is_not_kept(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EMFILE, PC, false };
    expect(PC, PC, -EMFILE, VMIG_HEALTH_RESET, R);
}

static void without_a_recover_state_it_is_reset(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EIO, FAKE_STAYS, false };
    expect(SC, NONE, -EIO, VMIG_HEALTH_RESET, R);
    assert_string_equal(fake.history, "get set:STOP_COPY get reset get ");
    assert_non_null(strstr(err.text, "it was reset: RUNNING, its state is lost"));
}

static void refused_and_in_error_it_is_reset(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EIO, VMIG_STATE_ERROR, false };
    expect(SC, R, -EIO, VMIG_HEALTH_RESET, R);
    assert_string_equal(fake.history, "get set:STOP_COPY get reset get ");
}

static void refused_and_not_even_telling_its_state_it_is_reset(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EIO, FAKE_STAYS, false };
    fake.gets[1] = -EIO;
    expect(SC, R, -EIO, VMIG_HEALTH_RESET, R);
    assert_string_equal(fake.history, "get set:STOP_COPY get reset get ");
}

static void a_recover_state_without_a_way_is_not_asked_for(void **unused)
{
    (void)unused;
    begin(PC); /* the way from STOP_COPY back to PRE_COPY hangs old kernels */
    fake.sets[0] = (struct fake_set) { -EIO, SC, false };
    expect(SC, PC, -EIO, VMIG_HEALTH_RESET, R);
    assert_string_equal(fake.history, "get set:STOP_COPY get reset get ");
}

static void refused_twice_it_is_reset_and_the_first_refusal_is_the_result(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EREMOTEIO, S, false };
    fake.sets[1] = (struct fake_set) { -EBUSY, FAKE_STAYS, false };
    expect(SC, R, -EREMOTEIO, VMIG_HEALTH_RESET, R);
    assert_string_equal(fake.history, "get set:STOP_COPY get set:RUNNING reset get ");
    assert_non_null(strstr(err.text, "going back to RUNNING failed too"));
}

static void a_refused_reset_loses_the_device(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EIO, S, false };
    fake.sets[1] = (struct fake_set) { -EIO, FAKE_STAYS, false };
    fake.resets[0] = -ENODEV;
    expect(SC, R, -EIO, VMIG_HEALTH_LOST, S);
    assert_non_null(strstr(err.text, "the device is lost"));
}

static void a_reset_that_does_not_lead_to_running_loses_the_device(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { -EIO, VMIG_STATE_ERROR, false };
    fake.after_reset = S;
    expect(SC, R, -EIO, VMIG_HEALTH_LOST, S);
}

static void a_lost_device_answers_nothing_any_more(void **unused)
{
    (void)unused;
    a_refused_reset_loses_the_device(NULL);
    char buf[16];
    uint64_t size;
    enum vmig_state state;
    fake.history[0] = '\0';
    assert_int_equal(vmig_device_set_state(device, R, NONE, NULL), -ENODEV);
    assert_int_equal(vmig_device_get_state(device, &state, NULL), -ENODEV);
    assert_int_equal(vmig_device_reset(device, NULL), -ENODEV);
    assert_int_equal(vmig_device_data_read(device, buf, sizeof(buf), NULL), -ENODEV);
    assert_int_equal(vmig_device_data_write(device, buf, sizeof(buf), NULL), -ENODEV);
    assert_int_equal(vmig_device_data_size(device, &size, NULL), -ENODEV);
    assert_string_equal(fake.history, "");
    assert_int_equal(vmig_device_health(device), VMIG_HEALTH_LOST);
}

static void health_is_ok_again_after_the_next_change_that_works(void **unused)
{
    (void)unused;
    without_a_recover_state_it_is_reset(NULL);
    expect(S, R, 0, VMIG_HEALTH_OK, S);
}

static void success_that_is_not_true_is_a_refusal(void **unused)
{
    (void)unused;
    begin(R);
    fake.sets[0] = (struct fake_set) { .lies = true };
    expect(SC, R, -EPROTO, VMIG_HEALTH_OK, R);
    assert_non_null(strstr(err.text, "reported success but is in RUNNING"));
    begin(R);
    fake.sets[0] = (struct fake_set) { 0, PP, false };
    expect(SC, R, -EPROTO, VMIG_HEALTH_OK, R);
}

static void an_unanswered_question_before_the_change_is_a_refusal(void **unused)
{
    (void)unused;
    begin(R);
    fake.gets[0] = -ETIMEDOUT;
    expect(SC, R, -ETIMEDOUT, VMIG_HEALTH_OK, R);
    assert_null(strstr(fake.history, "STOP_COPY"));
}

/* Every combination of the answers: first request, second request, reset. */
static void exactly_one_of_ok_reset_and_lost_follows_from_every_combination(void **unused)
{
    (void)unused;
    for (int combination = 0; combination < 3 * 2 * 2 * 2; combination++) {
        int landing = combination % 3; /* stays, on the way, ERROR */
        bool recover = combination / 3 % 2, second_fails = combination / 6 % 2;
        bool reset_fails = combination / 12 % 2;
        begin(R);
        fake.sets[0] = (struct fake_set) { -EIO,
                                           landing == 0   ? FAKE_STAYS
                                           : landing == 1 ? S
                                                          : 0,
                                           false };
        fake.sets[1] =
            (struct fake_set) { second_fails ? -EIO : 0, second_fails ? FAKE_STAYS : 0, false };
        fake.resets[0] = reset_fails ? -EIO : 0;
        bool recovers = recover && (landing == 0 || (landing == 1 && !second_fails));
        enum vmig_health health = recovers      ? VMIG_HEALTH_OK
                                  : reset_fails ? VMIG_HEALTH_LOST
                                                : VMIG_HEALTH_RESET;
        assert_int_equal(vmig_device_set_state(device, SC, recover ? R : NONE, NULL), -EIO);
        assert_int_equal(vmig_device_health(device), health);
        if (health != VMIG_HEALTH_LOST)
            assert_int_equal(fake.state, R);
    }
}

/* ---- somebody else moved it ---- */

static void a_device_reset_behind_our_back_is_out_of_sync_and_recovers(void **unused)
{
    (void)unused;
    begin(R);
    expect(PC, R, 0, VMIG_HEALTH_OK, PC);
    fake.state = R; /* a guest resets its function: the stream is gone */
    expect(SC, R, -EBADF, VMIG_HEALTH_OK, R);
    assert_string_equal(err.reason, "device-out-of-sync");
    assert_non_null(strstr(err.text, "out of sync"));
    assert_null(strstr(fake.history, "set:STOP_COPY"));
    expect(PC, R, 0, VMIG_HEALTH_OK, PC);
}

static void a_device_moved_without_an_open_stream_is_taken_as_it_is(void **unused)
{
    (void)unused;
    begin(R);
    fake.state = S;
    expect(SC, R, 0, VMIG_HEALTH_OK, SC);
}

/* ---- after refused data ---- */

static void after_refused_data_only_a_reset_leads_out_of_resuming(void **unused)
{
    (void)unused;
    static const enum vmig_state targets[] = { S, R, RP, SC };
    for (unsigned i = 0; i < 4; i++) {
        begin(R);
        expect(RS, R, 0, VMIG_HEALTH_OK, RS);
        fake.write_rc = -EINVAL;
        assert_int_equal(vmig_device_data_write(device, "x", 1, NULL), -EINVAL);
        fake.history[0] = '\0';
        expect(targets[i], R, -EIO, VMIG_HEALTH_RESET, R);
        assert_string_equal(fake.history, "get get reset get ");
    }
}

static void a_reset_makes_loading_possible_again(void **unused)
{
    (void)unused;
    begin(R);
    expect(RS, R, 0, VMIG_HEALTH_OK, RS);
    fake.write_rc = -EINVAL;
    assert_int_equal(vmig_device_data_write(device, "x", 1, NULL), -EINVAL);
    assert_int_equal(vmig_device_reset(device, NULL), 0);
    assert_int_equal(vmig_device_health(device), VMIG_HEALTH_OK);
    fake.write_rc = 0;
    expect(RS, R, 0, VMIG_HEALTH_OK, RS);
    assert_int_equal(vmig_device_data_write(device, "y", 1, NULL), 0);
    expect(S, NONE, 0, VMIG_HEALTH_OK, S);
}

/* ---- a call that hangs ---- */

static void *set_stop(void *opaque)
{
    int *rc = opaque;
    *rc = vmig_device_set_state(device, S, R, NULL);
    return NULL;
}

static void a_call_that_waits_for_a_hanging_one_ends_with_a_timeout(void **unused)
{
    (void)unused;
    pthread_t thread;
    int rc = 1;
    device = vmig_device_close(device);
    fake_init(&fake);
    struct vmig_device_options options = { .size = sizeof(options),
                                           .command_timeout_ms = 1,
                                           .transition_timeout_ms = 1 };
    assert_int_equal(fake_open(&fake, &options, &device, NULL), 0);
    fake.hang = true;
    assert_int_equal(pthread_create(&thread, NULL, set_stop, &rc), 0);
    fake_wait_hanging(&fake);
    enum vmig_state state;
    assert_int_equal(vmig_device_get_state(device, &state, NULL), -ETIMEDOUT);
    fake_release(&fake);
    pthread_join(thread, NULL);
    assert_int_equal(rc, 0);
}

static void an_abandoned_device_stays_lost_when_the_call_comes_back(void **unused)
{
    (void)unused;
    pthread_t thread;
    int rc = 1;
    begin(R);
    fake.hang = true;
    assert_int_equal(pthread_create(&thread, NULL, set_stop, &rc), 0);
    fake_wait_hanging(&fake);
    device_abandon(device, "going to STOP", 5);
    fake_release(&fake);
    pthread_join(thread, NULL);
    assert_int_equal(vmig_device_health(device), VMIG_HEALTH_LOST);
    assert_int_equal(vmig_device_set_state(device, R, NONE, NULL), -ENODEV);
}

static void an_abandoned_device_is_lost_and_freed_by_the_call_that_hung(void **unused)
{
    (void)unused;
    pthread_t thread;
    int rc = 1;
    begin(R);
    fake.hang = true;
    assert_int_equal(pthread_create(&thread, NULL, set_stop, &rc), 0);
    fake_wait_hanging(&fake);
    device_abandon(device, "going to STOP", 5);
    assert_int_equal(vmig_device_health(device), VMIG_HEALTH_LOST);
    enum vmig_state state;
    struct vmig_error why = { 0 };
    assert_int_equal(vmig_device_get_state(device, &state, &why), -ENODEV);
    assert_non_null(strstr(why.text, "going to STOP did not come back within 5 ms"));
    struct vmig_device *closed = device;
    assert_null(vmig_device_close(closed));
    assert_false(fake_is_closed(&fake));
    fake_release(&fake);
    pthread_join(thread, NULL);
    assert_true(fake_is_closed(&fake));
    device = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_legal_way_is_one_request_and_arrives, end),
        cmocka_unit_test_teardown(every_impossible_way_is_refused_without_touching_the_device, end),
        cmocka_unit_test_teardown(stop_copy_to_pre_copy_never_reaches_the_device, end),
        cmocka_unit_test_teardown(a_recover_state_that_the_device_lacks_is_refused, end),
        cmocka_unit_test_teardown(a_device_that_cannot_migrate_says_why, end),
        cmocka_unit_test_teardown(refused_where_it_was_and_that_is_the_recover_state, end),
        cmocka_unit_test_teardown(refused_on_the_way_and_recovered, end),
        cmocka_unit_test_teardown(refused_but_arrived_all_the_same_is_refused, end),
        cmocka_unit_test_teardown(
            a_recover_state_reached_by_a_failed_request_has_no_stream_and_is_not_kept, end),
        cmocka_unit_test_teardown(without_a_recover_state_it_is_reset, end),
        cmocka_unit_test_teardown(refused_and_in_error_it_is_reset, end),
        cmocka_unit_test_teardown(refused_and_not_even_telling_its_state_it_is_reset, end),
        cmocka_unit_test_teardown(a_recover_state_without_a_way_is_not_asked_for, end),
        cmocka_unit_test_teardown(refused_twice_it_is_reset_and_the_first_refusal_is_the_result,
                                  end),
        cmocka_unit_test_teardown(a_refused_reset_loses_the_device, end),
        cmocka_unit_test_teardown(a_reset_that_does_not_lead_to_running_loses_the_device, end),
        cmocka_unit_test_teardown(a_lost_device_answers_nothing_any_more, end),
        cmocka_unit_test_teardown(health_is_ok_again_after_the_next_change_that_works, end),
        cmocka_unit_test_teardown(success_that_is_not_true_is_a_refusal, end),
        cmocka_unit_test_teardown(an_unanswered_question_before_the_change_is_a_refusal, end),
        cmocka_unit_test_teardown(exactly_one_of_ok_reset_and_lost_follows_from_every_combination,
                                  end),
        cmocka_unit_test_teardown(a_device_reset_behind_our_back_is_out_of_sync_and_recovers, end),
        cmocka_unit_test_teardown(a_device_moved_without_an_open_stream_is_taken_as_it_is, end),
        cmocka_unit_test_teardown(after_refused_data_only_a_reset_leads_out_of_resuming, end),
        cmocka_unit_test_teardown(a_reset_makes_loading_possible_again, end),
        cmocka_unit_test_teardown(a_call_that_waits_for_a_hanging_one_ends_with_a_timeout, end),
        cmocka_unit_test_teardown(an_abandoned_device_stays_lost_when_the_call_comes_back, end),
        cmocka_unit_test_teardown(an_abandoned_device_is_lost_and_freed_by_the_call_that_hung, end),
    };
    return cmocka_run_group_tests_name("transition", tests, NULL, NULL);
}
