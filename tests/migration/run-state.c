/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stop and cont: devices follow the VM through the P2P barrier, with a migration or without one, and
 * its run state travels with it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "refdev/model/fault.h"
#include "tests/migration/world.h"

/* ---- vocabulary ---- */

static void expect_state(struct party *side, const char *name)
{
    const char *is = vmig_run_state_name(vmig_migration_run_state(side->m));
    if (strcmp(is, name) != 0)
        fail_msg("the %s is %s, wanted %s", side->name, is, name);
}

static void expect_devices(struct party *side, enum vmig_state state)
{
    for (unsigned i = 0; i < side->world->plan.devices; i++)
        assert_string_equal(vmig_state_name(party_state(side, i)), vmig_state_name(state));
}

static void expect_paused(struct party *side)
{
    expect_state(side, "paused");
    expect_devices(side, VMIG_STATE_STOP);
    party_is_still(side);
}

static void expect_running(struct party *side)
{
    expect_state(side, "running");
    party_runs(side);
}

static void expect_refused(int rc, const struct vmig_error *err, int code, const char *reason)
{
    if (rc != code || strcmp(err->reason, reason) != 0 || !err->text[0])
        fail_msg("%d \"%s\": %s; wanted %d \"%s\"", rc, err->reason, err->text, code, reason);
}

static void cont_is_refused(struct party *side, int code, const char *reason)
{
    struct vmig_error err = { 0 };
    int rc = vmig_migration_cont(side->m, &err);
    expect_refused(rc, &err, code, reason);
}

/* Events of one side as words, in order: "stop", "resume", "active", "device0:stop". */
#define WORDS_BYTES 600
static struct {
    struct party *side;
    char words[WORDS_BYTES];
} heard;

static void hear(struct party *side, const struct vmig_event *event)
{
    char word[100] = "";
    if (event->kind == VMIG_EVENT_STOP)
        snprintf(word, sizeof(word), "stop ");
    if (event->kind == VMIG_EVENT_RESUME)
        snprintf(word, sizeof(word), "resume ");
    if (event->kind == VMIG_EVENT_STATUS)
        snprintf(word, sizeof(word), "%s ", vmig_status_name(event->status));
    if (event->kind == VMIG_EVENT_DEVICE_STATE)
        snprintf(word, sizeof(word), "%s:%s ", event->text, vmig_state_word(event->device_state));
    LOCK_SCOPE(&side->world->lock);
    if (side == heard.side && strlen(heard.words) + strlen(word) < WORDS_BYTES)
        strcat(heard.words, word);
}

static void listen_to(struct party *side)
{
    heard.side = side;
    heard.words[0] = '\0';
    side->on_event = hear;
}

static void expect_heard(const char *words)
{
    assert_string_equal(heard.words, words);
    heard.words[0] = '\0';
}

/* ---- without a migration ---- */

static const struct kind {
    const char *profile;
    unsigned devices;
    bool pre_copy;
} kinds[] = {
    { "default", 2, true },   /* PRE_COPY and P2P */
    { "pds", 2, true },       /* P2P alone */
    { "hisi_acc", 1, true },  /* PRE_COPY alone */
    { "hisi_acc", 1, false }, /* neither */
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void open_kind(struct world *w, const struct kind *kind, struct world_plan plan)
{
    plan.devices = kind->devices;
    plan.profile = kind->profile;
    world_open(w, &plan);
    world_set(w, "pre-copy", kind->pre_copy);
    world_set(w, "all-dirty", 1);
    print_message("# %u %s%s\n", kind->devices, kind->profile,
                  kind->pre_copy ? "" : " without PRE_COPY");
}

static void devices_follow_stop_and_cont(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct world w;
        open_kind(&w, &kinds[i], (struct world_plan) { 0 });
        x(vmig_migration_stop(w.source->m, &err));
        expect_paused(w.source);
        x(vmig_migration_stop(w.source->m, &err));
        assert_int_equal(w.source->stops, 1);
        x(vmig_migration_cont(w.source->m, &err));
        x(vmig_migration_cont(w.source->m, &err));
        assert_int_equal(w.source->starts, 2);
        expect_running(w.source);
        world_close(&w);
    }
}

static void stop_and_resume_are_told_in_qemus_order(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    w.source->m->participants[1]->settings.migration_events = true;
    listen_to(w.source);
    x(vmig_migration_stop(w.source->m, &err));
    expect_heard("device0:running-p2p device0:stop stop ");
    x(vmig_migration_cont(w.source->m, &err));
    expect_heard("resume device0:running-p2p device0:running ");
    x(vmig_migration_stop(w.source->m, &err));
    x(vmig_migration_stop(w.source->m, &err));
    expect_heard("device0:running-p2p device0:stop stop ");
    world_close(&w);
}

static void moves_tell_stop_before_device_and_resume_before_completed(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    listen_to(w.source);
    world_move(&w);
    party_goes_on(w.target);
    expect_heard("setup active stop device completed ");
    w.source->on_event = NULL;
    world_turn_round(&w);
    listen_to(w.target);
    world_move(&w);
    world_moved(&w);
    expect_heard("setup active resume completed ");
    world_close(&w);
}

/* ---- paused before ---- */

/* With PRE_COPY and without, with P2P and without, running or paused. */
static void run_state_travels(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * KINDS; i++) {
        struct world w;
        bool paused = i >= KINDS;
        open_kind(&w, &kinds[i % KINDS], (struct world_plan) { 0 });
        if (paused)
            x(vmig_migration_stop(w.source->m, &err));
        world_move(&w);
        if (w.source->rc || w.target->rc)
            fail_msg("%s; %s", w.source->err.text, w.target->err.text);
        expect_state(w.source, "postmigrate");
        party_is_still(w.source);
        if (paused) {
            expect_paused(w.target);
            assert_int_equal(w.target->starts, 0);
            x(vmig_migration_cont(w.target->m, &err));
        }
        expect_running(w.target);
        assert_false(w.both_ran);
        world_close(&w);
    }
}

static void what_was_sent_is_not_sent_again_nor_continued(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error refusal = { 0 };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    world_move(&w);
    assert_int_equal(w.source->rc, 0);
    int rc = vmig_migration_send(w.source->m, "unix:/nobody", &refusal);
    expect_refused(rc, &refusal, -EBUSY, "postmigrate");
    cont_is_refused(w.source, -EPERM, "runs-elsewhere");
    x(vmig_migration_stop(w.source->m, &err)); /* it stands still */
    expect_state(w.source, "postmigrate");
    /* the operator: the target is gone and never ran it */
    x(vmig_migration_set_run_state(w.source->m, VMIG_RUN_STATE_PAUSED, &err));
    x(vmig_migration_stop(w.target->m, &err));
    x(vmig_migration_cont(w.source->m, &err));
    expect_devices(w.source, VMIG_STATE_RUNNING);
    expect_state(w.source, "running");
    world_close(&w);
}

static void library_says_its_own_run_states_itself(void **state)
{
    (void)state;
    struct vmig_migration *m = vmig_migration_new(NULL, NULL);
    static const enum vmig_run_state ours[] = { VMIG_RUN_STATE_FINISH_MIGRATE,
                                                VMIG_RUN_STATE_SAVE_VM, VMIG_RUN_STATE_POSTMIGRATE,
                                                VMIG_RUN_STATE_COUNT };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        struct vmig_error err = { 0 };
        assert_int_equal(vmig_migration_set_run_state(m, ours[i], &err), -EINVAL);
        assert_int_equal(vmig_migration_run_state(m), VMIG_RUN_STATE_RUNNING);
    }
    vmig_migration_free(m);
}

/* ---- orders in the middle of a move ---- */

/* A stop or a cont given by a thread of its own when a side comes to a stage. The engine goes on as soon
 * as the library has taken notice of it. */
static struct order {
    struct party *side;
    enum vmig_stage at;
    bool cont, given;
    pthread_t thread;
    atomic_bool done;
    int rc;
    struct vmig_error err;
} order;

static void *carry_out(void *opaque)
{
    struct vmig_migration *m = opaque;
    order.rc = order.cont ? vmig_migration_cont(m, &order.err) : vmig_migration_stop(m, &order.err);
    atomic_store(&order.done, true);
    return NULL;
}

static bool is_noticed(struct vmig_migration *m)
{
    LOCK_SCOPE(&m->lock);
    return m->aborted || atomic_load(&m->run.stops) > 0;
}

static void give(struct party *side, enum vmig_stage stage)
{
    if (order.given || side != order.side || stage != order.at)
        return;
    order.given = true;
    assert_int_equal(pthread_create(&order.thread, NULL, carry_out, side->m), 0);
    while (!atomic_load(&order.done) && !is_noticed(side->m))
        usleep(1000);
}

static void move_with_order(struct world *w, bool cont, enum vmig_stage at)
{
    order = (struct order) { .side = w->source, .at = at, .cont = cont };
    w->source->on_stage = give;
    world_begin(w);
    party_join(w->source);
    if (cont && at == VMIG_STAGE_PREPARE) /* it did not even connect */
        vmig_migration_cancel(w->target->m);
    world_join(w);
    assert_true(order.given);
    pthread_join(order.thread, NULL);
    w->source->on_stage = NULL;
}

static const enum vmig_stage stages[] = { VMIG_STAGE_PREPARE, VMIG_STAGE_SETUP, VMIG_STAGE_ROUNDS,
                                          VMIG_STAGE_QUIESCE, VMIG_STAGE_COMPLETE };
#define STAGES (sizeof(stages) / sizeof(stages[0]))

/* All stages with one kind of device, two of them with the others. */
static bool is_worth_it(size_t kind, enum vmig_stage stage)
{
    return kind == 0 || stage == VMIG_STAGE_ROUNDS || stage == VMIG_STAGE_COMPLETE;
}

static void expect_downtime(struct party *side, bool any)
{
    struct vmig_statistics s = { .size = sizeof(s) };
    vmig_migration_query(side->m, &s);
    assert_int_equal(s.downtime_ms > 0, any);
}

static void stop_in_any_stage_moves_a_paused_vm(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++)
        for (size_t k = 0; k < STAGES; k++) {
            struct world w;
            if (!is_worth_it(i, stages[k]))
                continue;
            open_kind(&w, &kinds[i], (struct world_plan) { 0 });
            move_with_order(&w, false, stages[k]);
            if (order.rc || w.source->rc || w.target->rc)
                fail_msg("%s: %s; %s; %s", vmig_stage_name(stages[k]), order.err.text,
                         w.source->err.text, w.target->err.text);
            expect_state(w.source, "postmigrate");
            expect_paused(w.target);
            expect_downtime(w.source, stages[k] == VMIG_STAGE_COMPLETE);
            assert_int_equal(w.source->stops, 1);
            assert_int_equal(w.target->starts, 0);
            x(vmig_migration_cont(w.target->m, &err));
            expect_running(w.target);
            assert_false(w.both_ran);
            world_close(&w);
        }
}

static void stop_once_the_target_was_told_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    move_with_order(&w, false, VMIG_STAGE_HANDOVER);
    expect_refused(order.rc, &order.err, -EBUSY, "handover-running");
    world_moved(&w);
    expect_state(w.target, "running");
    world_close(&w);
}

static void cont_in_any_stage_goes_on_here_and_says_migrate_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++)
        for (size_t k = 0; k <= STAGES; k++) {
            struct world w;
            enum vmig_stage at = k < STAGES ? stages[k] : VMIG_STAGE_HANDOVER;
            if (!is_worth_it(i, at))
                continue;
            /* in the hand-over the target looks at the source's memory, which would change by then */
            bool still = at == VMIG_STAGE_HANDOVER;
            open_kind(&w, &kinds[i], (struct world_plan) { .still = still });
            x(vmig_migration_stop(w.source->m, &err));
            move_with_order(&w, true, at);
            if (order.rc)
                fail_msg("%s: %s", vmig_stage_name(at), order.err.text);
            party_failed(w.source, -EAGAIN, "vm-continued", "migrate again");
            assert_true(w.target->rc < 0);
            expect_state(w.source, "running");
            party_goes_on(w.source);
            world_move(&w);
            world_moved(&w);
            world_close(&w);
        }
}

/* Continued after it was stopped in the same move: no stream is left over. */
static void stop_and_cont_in_one_move_leave_the_vm_running(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    order = (struct order) { .side = w.source, .at = VMIG_STAGE_ROUNDS };
    w.source->on_stage = give;
    world_begin(&w);
    party_await_stage(w.source, VMIG_STAGE_QUIESCE);
    pthread_join(order.thread, NULL);
    assert_int_equal(order.rc, 0);
    struct vmig_error refusal = { 0 };
    int rc = vmig_migration_cont(w.source->m, &refusal);
    world_join(&w);
    if (rc == 0) { /* it came in time */
        party_failed(w.source, -EAGAIN, "vm-continued", NULL);
        expect_running(w.source);
    } else {
        assert_int_equal(w.source->rc, 0);
        expect_paused(w.target);
    }
    world_close(&w);
}

static void waiting_for_oneself_is_refused(struct party *side, enum vmig_stage stage)
{
    struct vmig_error err = { 0 };
    if (stage != VMIG_STAGE_ROUNDS || order.given)
        return;
    order.given = true;
    order.rc = vmig_migration_stop(side->m, &err);
    expect_refused(order.rc, &err, -EDEADLK, "own-callback");
}

static void who_receives_is_not_stopped(struct party *side, enum vmig_stage stage)
{
    struct vmig_error err = { 0 };
    if (stage != VMIG_STAGE_ROUNDS)
        return;
    expect_state(side, "inmigrate");
    expect_refused(vmig_migration_stop(side->m, &err), &err, -EBUSY, "inmigrate");
    cont_is_refused(side, -EBUSY, "inmigrate");
}

static void orders_that_nobody_could_carry_out_are_refused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    order = (struct order) { 0 };
    w.source->on_stage = waiting_for_oneself_is_refused;
    w.target->on_stage = who_receives_is_not_stopped;
    world_move(&w);
    assert_true(order.given);
    world_moved(&w);
    world_close(&w);
}

/* ---- what goes wrong ---- */

static void failure_leaves_a_paused_vm_paused(void **state)
{
    static const struct {
        bool source;
        const char *fault;
    } faults[] = { { true, "fail:EBUSY@arc/STOP_COPY" },
                   { true, "fail:EIO@read" },
                   { false, "fail:EIO@arc/RESUMING" },
                   { false, "fail:EIO@arc/STOP#2" } };
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 1 });
        x(vmig_migration_stop(w.source->m, &err));
        party_fault(faults[i].source ? w.source : w.target, 0, faults[i].fault);
        world_move(&w);
        party_await_fault(faults[i].source ? w.source : w.target, 0);
        assert_true(w.source->rc < 0);
        expect_paused(w.source);
        assert_int_equal(w.source->starts, 1);
        party_fault(w.source, 0, NULL);
        x(vmig_migration_cont(w.source->m, &err));
        expect_running(w.source);
        world_close(&w);
    }
}

/* Its devices had run when the move began. */
static void failure_after_a_stop_in_the_move_leaves_the_vm_paused(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_fault(w.target, 0, "fail:EIO@arc/STOP#2");
    move_with_order(&w, false, VMIG_STAGE_ROUNDS);
    party_await_fault(w.target, 0);
    assert_int_equal(order.rc, 0);
    assert_true(w.source->rc < 0);
    expect_paused(w.source);
    x(vmig_migration_cont(w.source->m, &err));
    expect_running(w.source);
    world_close(&w);
}

static void device_that_refuses_a_stop_runs_on(void **state)
{
    static const char *const faults[] = { "fail:EBUSY@arc/RUNNING_P2P", "fail:EBUSY@arc/STOP" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct vmig_error refusal = { 0 };
        world_open(&w, &(struct world_plan) { .devices = 2 });
        party_fault(w.source, 1, faults[i]);
        assert_int_equal(vmig_migration_stop(w.source->m, &refusal), -EBUSY);
        assert_string_equal(refusal.device, "device1");
        expect_running(w.source);
        world_close(&w);
    }
}

static void device_that_refuses_to_continue_leaves_the_vm_paused(void **state)
{
    (void)state;
    struct world w;
    struct vmig_error refusal = { 0 };
    world_open(&w, &(struct world_plan) { .devices = 2 });
    x(vmig_migration_stop(w.source->m, &err));
    party_fault(w.source, 1, "fail:EBUSY@arc/RUNNING");
    assert_int_equal(vmig_migration_cont(w.source->m, &refusal), -EBUSY);
    assert_string_equal(refusal.device, "device1");
    expect_paused(w.source);
    x(vmig_migration_cont(w.source->m, &err));
    expect_running(w.source);
    world_close(&w);
}

static void lost_state_is_an_internal_error_until_the_host_says_otherwise(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_fault(w.source, 0, "error@arc/STOP");
    assert_true(vmig_migration_stop(w.source->m, NULL) < 0);
    expect_state(w.source, "internal-error");
    cont_is_refused(w.source, -ENOTRECOVERABLE, "reset-required");
    x(vmig_migration_set_run_state(w.source->m, VMIG_RUN_STATE_PAUSED, &err));
    x(vmig_migration_cont(w.source->m, &err));
    expect_state(w.source, "running");
    world_close(&w);
}

static void paused_vm_is_not_sent_to_a_target_that_would_start_it(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    w.target->m->no_run_state = true;
    x(vmig_migration_stop(w.source->m, &err));
    world_move(&w);
    party_failed(w.source, -EOPNOTSUPP, "run-state-unknown", "paused");
    expect_paused(w.source);
    x(vmig_migration_cont(w.source->m, &err));
    party_goes_on(w.source);
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* ---- storms ---- */

#define STORM_THREADS 4
#define STORM_ORDERS 12

static void *storm(void *opaque)
{
    struct vmig_migration *m = opaque;
    for (int i = 0; i < STORM_ORDERS; i++) {
        vmig_migration_stop(m, NULL);
        vmig_migration_cont(m, NULL);
    }
    return NULL;
}

static void begin_storm(struct party *side, pthread_t threads[STORM_THREADS])
{
    for (int i = 0; i < STORM_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm, side->m), 0);
}

static void end_storm(pthread_t threads[STORM_THREADS])
{
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void orders_of_many_threads_come_one_after_the_other(void **state)
{
    (void)state;
    struct world w;
    pthread_t threads[STORM_THREADS];
    world_open(&w, &(struct world_plan) { .devices = 2 });
    begin_storm(w.source, threads);
    end_storm(threads);
    x(vmig_migration_cont(w.source->m, &err));
    assert_int_equal(w.source->starts, w.source->stops + 1);
    expect_running(w.source);
    world_close(&w);
}

static void orders_of_many_threads_during_a_move_leave_one_side_running(void **state)
{
    (void)state;
    for (int turn = 0; turn < 3; turn++) {
        struct world w;
        pthread_t threads[STORM_THREADS];
        world_open(&w, &(struct world_plan) { .devices = 2 });
        begin_storm(w.source, threads);
        world_begin(&w);
        if (party_join(w.source) < 0) /* perhaps it did not even connect */
            vmig_migration_cancel(w.target->m);
        world_join(&w);
        end_storm(threads);
        struct party *holder = w.source->rc ? w.source : w.target;
        if (w.source->rc)
            party_failed(w.source, -EAGAIN, "vm-continued", NULL);
        x(vmig_migration_cont(holder->m, &err));
        world_runs_at(&w, holder);
        world_close(&w);
    }
}

/* ---- through the control socket ---- */

static void tell(struct party *side, const char *line, char *ret, size_t size)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t length = 0;
    snprintf(name.sun_path, sizeof(name.sun_path), "%s/%s", side->world->directory, side->name);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
    for (ssize_t n; (n = read(fd, ret + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    ret[length] = '\0';
    close(fd);
}

static void outsider_stops_and_continues(void **state)
{
    (void)state;
    struct world w;
    char answer[16384];
    world_open(&w, &(struct world_plan) { .devices = 1, .control = true });
    tell(w.source, "{\"execute\": \"stop\"}\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "stopped"));
    expect_paused(w.source);
    tell(w.source, "{\"execute\": \"status\"}\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "\"run-state\":\"paused\""));
    tell(w.source, "{\"execute\": \"cont\"}\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "running"));
    party_goes_on(w.source);
    world_move(&w);
    tell(w.source, "{\"execute\": \"cont\"}\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "runs-elsewhere"));
    world_moved(&w);
    world_close(&w);
}

/* ---- snapshots ---- */

static void file_of(struct world *w, char *ret, size_t size)
{
    snprintf(ret, size, "file:%s/file", w->directory);
}

static void restore(struct world *w)
{
    char address[100];
    file_of(w, address, sizeof(address));
    party_start(w->target, false, address);
    if (party_join(w->target) < 0)
        fail_msg("%s", w->target->err.text);
}

static void snapshot_of_a_running_vm_starts_running(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct world w;
        char address[100];
        open_kind(&w, &kinds[i], (struct world_plan) { 0 });
        file_of(&w, address, sizeof(address));
        x(vmig_migration_snapshot(w.source->m, address, &err));
        expect_state(w.source, "running");
        party_goes_on(w.source);
        x(vmig_migration_stop(w.source->m, &err)); /* two of one, for the sake of this test */
        restore(&w);
        expect_running(w.target);
        party_is_still(w.source);
        x(vmig_migration_stop(w.target->m, &err));
        x(vmig_migration_cont(w.source->m, &err)); /* what was saved took nothing away */
        expect_running(w.source);
        world_close(&w);
    }
}

static void snapshot_of_a_paused_vm_stays_paused(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct world w;
        char address[100];
        open_kind(&w, &kinds[i], (struct world_plan) { 0 });
        file_of(&w, address, sizeof(address));
        x(vmig_migration_stop(w.source->m, &err));
        x(vmig_migration_snapshot(w.source->m, address, &err));
        expect_paused(w.source);
        restore(&w);
        expect_paused(w.target);
        x(vmig_migration_cont(w.target->m, &err));
        expect_running(w.target);
        x(vmig_migration_stop(w.target->m, &err));
        x(vmig_migration_cont(w.source->m, &err));
        expect_running(w.source);
        world_close(&w);
    }
}

static void snapshot_goes_to_nobody_who_would_run_it(void **state)
{
    (void)state;
    struct world w;
    static const char *const addresses[] = { "tcp:127.0.0.1:1", "unix:/nobody" };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    for (size_t i = 0; i < 2; i++) {
        struct vmig_error refusal = { 0 };
        int rc = vmig_migration_snapshot(w.source->m, addresses[i], &refusal);
        expect_refused(rc, &refusal, -EINVAL, "snapshot-address");
    }
    expect_running(w.source);
    world_close(&w);
}

/* qemu-stream: FULL, "globalstate", instance 0, version 1, u32 length with the NUL, 100 bytes. */
static void file_says_the_run_state_as_qemu_does(void **state)
{
    (void)state;
    struct world w;
    char address[100];
    static const uint8_t wanted[] = "\x0bglobalstate\0\0\0\0\0\0\0\1\0\0\0\7paused\0";
    uint8_t *buf = malloc(8u << 20);
    world_open(&w, &(struct world_plan) { .devices = 1 });
    file_of(&w, address, sizeof(address));
    x(vmig_migration_stop(w.source->m, &err));
    x(vmig_migration_snapshot(w.source->m, address, &err));
    FILE *f = fopen(address + 5, "re");
    size_t length = fread(buf, 1, 8u << 20, f);
    fclose(f);
    const uint8_t *found = memmem(buf, length, wanted, sizeof(wanted) - 1);
    assert_non_null(found);
    assert_int_equal(found[-5], 4);                      /* FULL */
    assert_int_equal(found[12 + 4 + 4 + 4 + 100], 0x7e); /* the footer */
    free(buf);
    world_close(&w);
}

/* The file does not run, so who wrote it may go on; a pipe's reader may run what he read. */
static void vm_that_went_to_a_file_may_be_continued(void **state)
{
    (void)state;
    struct world w;
    char address[100];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    file_of(&w, address, sizeof(address));
    x(vmig_migration_send(w.source->m, address, &err));
    expect_state(w.source, "postmigrate");
    expect_devices(w.source, VMIG_STATE_STOP);
    x(vmig_migration_cont(w.source->m, &err));
    party_goes_on(w.source);
    x(vmig_migration_send(w.source->m, "exec:cat >/dev/null", &err));
    cont_is_refused(w.source, -EPERM, "runs-elsewhere");
    world_close(&w);
}

static void paused_there_and_back_again(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    x(vmig_migration_stop(w.source->m, &err));
    for (int turn = 0; turn < 2; turn++) {
        world_move(&w);
        assert_int_equal(w.source->rc, 0);
        expect_paused(w.target);
        world_turn_round(&w);
    }
    x(vmig_migration_cont(w.source->m, &err));
    assert_int_equal(w.target->starts, 0);
    expect_running(w.source);
    world_close(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(devices_follow_stop_and_cont),
    cmocka_unit_test(stop_and_resume_are_told_in_qemus_order),
    cmocka_unit_test(moves_tell_stop_before_device_and_resume_before_completed),
    cmocka_unit_test(run_state_travels),
    cmocka_unit_test(what_was_sent_is_not_sent_again_nor_continued),
    cmocka_unit_test(library_says_its_own_run_states_itself),
    cmocka_unit_test(stop_in_any_stage_moves_a_paused_vm),
    cmocka_unit_test(stop_once_the_target_was_told_is_refused),
    cmocka_unit_test(cont_in_any_stage_goes_on_here_and_says_migrate_again),
    cmocka_unit_test(stop_and_cont_in_one_move_leave_the_vm_running),
    cmocka_unit_test(orders_that_nobody_could_carry_out_are_refused),
    cmocka_unit_test(failure_leaves_a_paused_vm_paused),
    cmocka_unit_test(failure_after_a_stop_in_the_move_leaves_the_vm_paused),
    cmocka_unit_test(device_that_refuses_a_stop_runs_on),
    cmocka_unit_test(device_that_refuses_to_continue_leaves_the_vm_paused),
    cmocka_unit_test(lost_state_is_an_internal_error_until_the_host_says_otherwise),
    cmocka_unit_test(paused_vm_is_not_sent_to_a_target_that_would_start_it),
    cmocka_unit_test(orders_of_many_threads_come_one_after_the_other),
    cmocka_unit_test(orders_of_many_threads_during_a_move_leave_one_side_running),
    cmocka_unit_test(outsider_stops_and_continues),
    cmocka_unit_test(snapshot_of_a_running_vm_starts_running),
    cmocka_unit_test(snapshot_of_a_paused_vm_stays_paused),
    cmocka_unit_test(snapshot_goes_to_nobody_who_would_run_it),
    cmocka_unit_test(file_says_the_run_state_as_qemu_does),
    cmocka_unit_test(vm_that_went_to_a_file_may_be_continued),
    cmocka_unit_test(paused_there_and_back_again),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
