/* SPDX-License-Identifier: BSD-3-Clause */
/* One script for QEMU and for our monitor, and what they say compared member by member. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/monitor/compare.h"
#include "tests/monitor/ours.h"

static const struct step {
    const char *label;
    const char *send;  /* one request; NULL: none */
    const char *await; /* then an event: "STOP", or "MIGRATION:active"; NULL: none */
    const char *until; /* asked again until the status is this; NULL: once */
} steps[] = {
    { "early", "{\"execute\": \"query-status\"}", NULL, NULL },
    { "negotiation",
      "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}, "
      "\"id\": 1}",
      NULL, NULL },
    { "negotiation-again", "{\"execute\": \"qmp_capabilities\", \"id\": 2}", NULL, NULL },
    { "unknown", "{\"execute\": \"no-such-command\", \"id\": 3}", NULL, NULL },
    { "no-json", "{ \"execute\": }", NULL, NULL },
    { "no-object", "[]", NULL, NULL },
    { "no-command", "{}", NULL, NULL },
    { "odd-member", "{\"execute\": \"query-status\", \"foo\": 1}", NULL, NULL },
    { "odd-command", "{\"execute\": 5}", NULL, NULL },
    { "odd-arguments", "{\"execute\": \"query-status\", \"arguments\": 5}", NULL, NULL },
    { "odd-argument", "{\"execute\": \"query-status\", \"arguments\": {\"foo\": 1}}", NULL, NULL },
    { "twice", "{\"execute\": \"query-status\", \"execute\": \"stop\"}", NULL, NULL },
    { "no-utf8", "{\"execute\": \"query-status\", \"id\": \"\xc3\"}", NULL, NULL },
    { "control", "{\"execute\": \"query-\x01", NULL, NULL },
    { "any-id", "{\"execute\": \"query-status\", \"id\": {\"a\": [1, 2.5, null, \"\xc3\xa9\"]}}",
      NULL, NULL },
    { "oob-unknown", "{\"exec-oob\": \"query-status\", \"id\": 4}", NULL, NULL },
    { "version", "{\"execute\": \"query-version\"}", NULL, NULL },
    { "commands", "{\"execute\": \"query-commands\"}", NULL, NULL },
    { "idle", "{\"execute\": \"query-migrate\", \"id\": 5}", NULL, NULL },
    { "idle-cancel", "{\"execute\": \"migrate_cancel\"}", NULL, NULL },
    { "idle-continue",
      "{\"execute\": \"migrate-continue\", \"arguments\": "
      "{\"state\": \"pre-switchover\"}}",
      NULL, NULL },
    { "continue-unknown",
      "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": "
      "\"foo\"}}",
      NULL, NULL },
    { "continue-nothing", "{\"execute\": \"migrate-continue\"}", NULL, NULL },
    { "pause", "{\"exec-oob\": \"migrate-pause\", \"id\": 6}", NULL, NULL },
    { "incoming", "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": \"tcp:0:0\"}}",
      NULL, NULL },
    { "capabilities-before", "{\"execute\": \"query-migrate-capabilities\"}", NULL, NULL },
    { "parameters-before", "{\"execute\": \"query-migrate-parameters\"}", NULL, NULL },
    { "capability-unknown",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"no-such\", \"state\": true}]}}",
      NULL, NULL },
    { "capability-alone",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\"}]}}",
      NULL, NULL },
    { "capability-number",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\", \"state\": 1}]}}",
      NULL, NULL },
    { "capability-no-list",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": 5}}", NULL,
      NULL },
    { "capability-element",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": [5]}}", NULL,
      NULL },
    { "capabilities-nothing", "{\"execute\": \"migrate-set-capabilities\"}", NULL, NULL },
    { "capabilities",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\", \"state\": true}, "
      "{\"capability\": \"pause-before-switchover\", \"state\": true}]}}",
      NULL, NULL },
    { "parameter-unknown", "{\"execute\": \"migrate-set-parameters\", \"arguments\": {\"foo\": 1}}",
      NULL, NULL },
    { "parameter-large",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": 2000001}}",
      NULL, NULL },
    { "parameter-negative",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": -1}}",
      NULL, NULL },
    { "parameter-fraction",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": 1.5}}",
      NULL, NULL },
    { "parameter-text",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": \"5\"}}",
      NULL, NULL },
    { "parameter-huge",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": 18446744073709551616}}",
      NULL, NULL },
    { "channels-many",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"multifd-channels\": 256}}",
      NULL, NULL },
    { "parameters",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"max-bandwidth\": 134217728, \"downtime-limit\": 2000000}}",
      NULL, NULL },
    { "capabilities-after", "{\"execute\": \"query-migrate-capabilities\"}", NULL, NULL },
    { "parameters-after", "{\"execute\": \"query-migrate-parameters\"}", NULL, NULL },
    { "migrate-nothing", "{\"execute\": \"migrate\"}", NULL, NULL },
    { "migrate-number", "{\"execute\": \"migrate\", \"arguments\": {\"uri\": 5}}", NULL, NULL },
    { "migrate-resume",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:true\", "
      "\"resume\": true}}",
      NULL, NULL },
    { "stop", "{\"execute\": \"stop\"}", NULL, NULL },
    { "stop-again", "{\"execute\": \"stop\"}", NULL, NULL },
    { "paused", "{\"execute\": \"query-status\"}", NULL, NULL },
    { "cont", "{\"execute\": \"cont\"}", NULL, NULL },
    { "running", "{\"execute\": \"query-status\"}", NULL, NULL },
    { "slow",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": {\"max-bandwidth\": 65536, "
      "\"downtime-limit\": 0}}",
      NULL, NULL },
    { "migrate", "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}",
      "MIGRATION:active", NULL },
    { "active", "{\"execute\": \"query-migrate\"}", NULL, NULL },
    { "active-status", "{\"execute\": \"query-status\"}", NULL, NULL },
    { "active-capabilities",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\", \"state\": false}]}}",
      NULL, NULL },
    { "active-migrate",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}", NULL,
      NULL },
    { "cancel", "{\"execute\": \"migrate_cancel\"}", "MIGRATION:cancelled", NULL },
    { "cancelled", "{\"execute\": \"query-migrate\"}", NULL, NULL },
    { "cancelled-status", "{\"execute\": \"query-status\"}", NULL, "running" },
    { "fast",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": {\"max-bandwidth\": 134217728, "
      "\"downtime-limit\": 2000000}}",
      NULL, NULL },
    { "migrate-again",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}",
      "MIGRATION:pre-switchover", NULL },
    { "waiting", "{\"execute\": \"query-migrate\"}", NULL, NULL },
    { "waiting-status", "{\"execute\": \"query-status\"}", NULL, NULL },
    { "waiting-continue",
      "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": "
      "\"active\"}}",
      NULL, NULL },
    { "continue",
      "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": "
      "\"pre-switchover\"}}",
      "MIGRATION:completed", NULL },
    { "completed", "{\"execute\": \"query-migrate\"}", NULL, NULL },
    { "completed-status", "{\"execute\": \"query-status\"}", NULL, "postmigrate" },
    { "postmigrate",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}", NULL,
      NULL },
    { "cont-after", "{\"execute\": \"cont\"}", NULL, NULL },
    { "cont-status", "{\"execute\": \"query-status\"}", NULL, NULL },
    { "migrate-fails", "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:exit 1\"}}",
      "MIGRATION:failed", NULL },
    { "failed", "{\"execute\": \"query-migrate\"}", NULL, NULL },
    { "failed-status", "{\"execute\": \"query-status\"}", NULL, "running" },
    { "quit", "{\"execute\": \"quit\", \"id\": 7}", NULL, NULL },
};
#define NUM_STEPS (sizeof(steps) / sizeof(steps[0]))

static bool has_status(const json_t *outcome, const char *wanted)
{
    const json_t *result = json_object_get(json_object_get(outcome, "reply"), "return");
    const char *status = json_string_value(json_object_get(result, "status"));
    return status && strcmp(status, wanted) == 0;
}

#define ASK_AGAIN_MS 20
#define ASK_TIMES 3000

static json_t *run_step(struct talk *t, const struct step *step)
{
    json_t *outcome = outcome_ask(t, step->send, step->await);
    for (unsigned i = 0; step->until && !has_status(outcome, step->until) && i < ASK_TIMES; i++) {
        poll(NULL, 0, ASK_AGAIN_MS);
        json_decref(outcome);
        outcome = outcome_ask(t, step->send, step->await);
    }
    return outcome;
}

/* ---- QEMU ---- */

struct qemu {
    pid_t pid;
    struct talk talk;
};

#define QEMU "qemu-system-x86_64"

static bool is_there(void)
{
    char version[200] = "";
    FILE *p = popen(QEMU " --version 2>/dev/null", "r");
    if (p && !fgets(version, sizeof(version), p))
        version[0] = '\0';
    if (p)
        pclose(p);
    return strstr(version, " 7.2.");
}

static void qemu_start(struct qemu *q, const char *directory)
{
    char path[100], qmp[140];
    snprintf(path, sizeof(path), "%s/qemu", directory);
    snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", path);
    char *argv[] = { QEMU,   "-M",     "microvm", "-m",   "32", "-nodefaults", "-display",
                     "none", "-accel", "tcg",     "-qmp", qmp,  NULL };
    q->pid = fork();
    assert_true(q->pid >= 0);
    if (q->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive the test */
        execvp(QEMU, argv);
        _exit(127);
    }
    talk_open(&q->talk, path, false);
}

static void qemu_end(struct qemu *q, const char *directory)
{
    char path[100];
    int status;
    talk_close(&q->talk);
    kill(q->pid, SIGKILL); /* unless it has ended: it is our child until it is waited for */
    waitpid(q->pid, &status, 0);
    snprintf(path, sizeof(path), "%s/qemu", directory);
    unlink(path);
}

/* ---- the test ---- */

static void our_monitor_says_what_qemu_says(void **state)
{
    char directory[] = "/tmp/vmig-qemu-XXXXXX";
    static struct qemu qemu;
    static struct ours ours;
    (void)state;
    if (!is_there()) {
        print_message("# " QEMU " 7.2 is not installed (scripts/deps test)\n");
        skip();
    }
    assert_non_null(mkdtemp(directory));
    qemu_start(&qemu, directory);
    ours_start(&ours, directory, false);
    for (size_t i = 0; i < NUM_STEPS; i++) {
        ours_before(&ours, steps[i].send);
        compare(steps[i].label, run_step(&qemu.talk, &steps[i]), run_step(&ours.talk, &steps[i]));
    }
    qemu_end(&qemu, directory);
    ours_end(&ours);
    rmdir(directory);
    assert_int_equal(complaints(LIVE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_monitor_says_what_qemu_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
