/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kill -9 of either side, in every stage and inside the hand-over: the survivor goes on by itself,
 * or holds all until the documented command settles it; then it is verified.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <vfio-migrate.h>

#include "tests/e2e/process.h"
#include "tests/migration/relay.h"

static struct process source_device, target_device, source, target;
static struct relay *relay;
static char address[200];

static struct process workload(bool is_source)
{
    char path[200];
    const char *control = at(is_source ? "source.control" : "target.control");
    snprintf(path, sizeof(path), "vfio-user:%s", at(is_source ? "source.device" : "target.device"));
    struct process p =
        is_source ? start("workload", "--source", "--memory", "32M", "--device", path, "--control",
                          control, "--dirty-rate", "4M", "--downtime-limit", "100s")
                  : start("workload", "--memory", "32M", "--device", path, "--control", control,
                          "--dirty-rate", "4M");
    json_t *ready = await(&p, "ready");
    assert_non_null(ready);
    assert_string_equal(json_string_value(json_object_get(ready, "event")), "ready");
    json_decref(ready);
    return p;
}

static void open_world(const struct relay_plan *plan)
{
    char listen[200];
    folder_make();
    source_device = device("source.device", "default");
    target_device = device("target.device", "default");
    source = workload(true);
    target = workload(false);
    snprintf(listen, sizeof(listen), "receive unix:%s", at("link"));
    tell(&target, "%s", listen);
    json_decref(await(&target, "listening"));
    snprintf(address, sizeof(address), "unix:%s", at("link"));
    relay = NULL;
    if (plan) {
        relay = relay_new(plan);
        relay_connect(relay, at("relay"), at("link"));
        snprintf(address, sizeof(address), "unix:%s", at("relay"));
    }
}

static void close_world(void)
{
    if (relay)
        relay = relay_free(relay); /* first: its threads know the processes' ids */
    kill_hard(&source);
    kill_hard(&target);
    kill_hard(&source_device);
    kill_hard(&target_device);
    folder_remove();
}

/* "done", or the exit code that a failure stands for. */
#define DONE 0
static int outcome(struct process *p)
{
    json_t *event = await(p, "done");
    if (!event)
        return -1;
    const char *name = json_string_value(json_object_get(event, "event"));
    int code =
        strcmp(name, "done") == 0 ? DONE : (int)json_integer_value(json_object_get(event, "exit"));
    json_decref(event);
    return code;
}

static void verified(struct process *p)
{
    tell(p, "verify");
    json_t *event = await(p, "verified");
    char *text = json_dumps(event, 0);
    if (!json_is_true(json_object_get(event, "ok")))
        fail_msg("%s", text);
    free(text);
    json_decref(event);
}

static void await_stage(struct process *p, enum vmig_stage stage)
{
    for (;;) {
        json_t *event = await(p, "progress");
        assert_non_null(event);
        if (strcmp(json_string_value(json_object_get(event, "event")), "failed") == 0)
            fail_msg("failed before %s", vmig_stage_name(stage));
        bool there = json_integer_value(json_object_get(event, "stage")) == (int)stage;
        json_decref(event);
        if (there)
            return;
    }
}

/* ---- in the stages before ---- */

static const enum vmig_stage stages[] = { VMIG_STAGE_SETUP, VMIG_STAGE_ROUNDS, VMIG_STAGE_QUIESCE,
                                          VMIG_STAGE_COMPLETE };
#define NUM_STAGES (sizeof(stages) / sizeof(stages[0]))

/* Stages pass quickly: when the event is read the stage may be over. Then the end decides. */
static void source_goes_on_when_the_target_is_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUM_STAGES; i++) {
        open_world(NULL);
        tell(&source, "send %s", address);
        await_stage(&source, stages[i]);
        kill_hard(&target);
        int code = outcome(&source);
        if (code == 1)
            verified(&source);
        else if (code == 4)
            expect(run("resolve", at("source.control"), "run"), 4, "--other-side-gone");
        else
            assert_int_equal(code, DONE); /* the target ran; it died afterwards */
        close_world();
    }
}

static void target_lets_go_when_the_source_is_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < NUM_STAGES; i++) {
        open_world(NULL);
        tell(&source, "send %s", address);
        await_stage(&source, stages[i]);
        kill_hard(&source);
        int code = outcome(&target);
        if (code == DONE) {
            verified(&target);
        } else if (code == 4) {
            expect(run("resolve", at("target.control"), "run", "--other-side-gone"), 0, "running");
            verified(&target);
        } else {
            assert_int_equal(code, 1);
            tell(&target, "quit");
            assert_int_equal(end(&target), 0);
            expect_state("target.device", "RUNNING"); /* reset */
        }
        close_world();
    }
}

/* ---- in the hand-over ---- */

static void kill_process(void *arg)
{
    kill(*(pid_t *)arg, SIGKILL);
}

#define PLACES 24
/* LOADED has about 60 bytes, GO 5, RUNNING about 60, SHUT 8: every sixth, and all around GO. */
static uint64_t place(unsigned i)
{
    return i * 6;
}

static void source_survives_in_the_hand_over(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        open_world(&(struct relay_plan) {
            .from_loaded = true, .after = place(i), .act = kill_process, .arg = &target.pid });
        tell(&source, "send %s", address);
        int code = outcome(&source);
        if (code == 1) {
            assert_false(relay_saw_go(relay));
            verified(&source);
        } else if (code == 4 && !relay_saw_go(relay)) {
            /* it never was told to run, so the operator may say so */
            expect(run("resolve", at("source.control"), "run"), 4, "--other-side-gone");
            expect(run("resolve", at("source.control"), "run", "--other-side-gone"), 0, "running");
            verified(&source);
        } else if (code == 4) {
            expect(run("resolve", at("source.control"), "status"), 0, "unresolved");
            expect(run("resolve", at("source.control"), "discard"), 0, "discarded");
        } else {
            assert_int_equal(code, DONE);
            assert_true(relay_saw_running(relay));
        }
        close_world();
    }
}

static void target_survives_in_the_hand_over(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        open_world(&(struct relay_plan) {
            .from_loaded = true, .after = place(i), .act = kill_process, .arg = &source.pid });
        tell(&source, "send %s", address);
        int code = outcome(&target);
        if (code == 4) {
            assert_false(relay_saw_go(relay));
            expect(run("resolve", at("target.control"), "run"), 4, "--other-side-gone");
            expect(run("resolve", at("target.control"), "run", "--other-side-gone"), 0, "running");
        } else {
            assert_int_equal(code, DONE);
            assert_true(relay_saw_go(relay));
        }
        verified(&target);
        close_world();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_goes_on_when_the_target_is_killed),
        cmocka_unit_test(target_lets_go_when_the_source_is_killed),
        cmocka_unit_test(source_survives_in_the_hand_over),
        cmocka_unit_test(target_survives_in_the_hand_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
