/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One script for QEMU and for our monitor, and what each says compared member by member: a member is
 * there in both, has the same type, and where it is a text or a switch, the same value. Each difference
 * needs a row in qemu-exceptions.c that says why; a row that no difference needs any more fails, too.
 */
#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vfio-migrate.h>

#include "tests/monitor/qemu-exceptions.h"
#include "tests/monitor/talk.h"

#define RAM_BYTES (4u << 20)

/* ---- the script ---- */

static const struct step {
    const char *label;
    const char *send;  /* one request; NULL: none */
    const char *await; /* then an event: "STOP", or "MIGRATION:active"; NULL: none */
} steps[] = {
    { "early", "{\"execute\": \"query-status\"}", NULL },
    { "negotiation",
      "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}, "
      "\"id\": 1}",
      NULL },
    { "negotiation-again", "{\"execute\": \"qmp_capabilities\", \"id\": 2}", NULL },
    { "unknown", "{\"execute\": \"no-such-command\", \"id\": 3}", NULL },
    { "no-json", "{ \"execute\": }", NULL },
    { "no-object", "[]", NULL },
    { "no-command", "{}", NULL },
    { "odd-member", "{\"execute\": \"query-status\", \"foo\": 1}", NULL },
    { "odd-command", "{\"execute\": 5}", NULL },
    { "odd-arguments", "{\"execute\": \"query-status\", \"arguments\": 5}", NULL },
    { "odd-argument", "{\"execute\": \"query-status\", \"arguments\": {\"foo\": 1}}", NULL },
    { "twice", "{\"execute\": \"query-status\", \"execute\": \"stop\"}", NULL },
    { "no-utf8", "{\"execute\": \"query-status\", \"id\": \"\xc3\"}", NULL },
    { "control", "{\"execute\": \"query-\x01", NULL },
    { "any-id", "{\"execute\": \"query-status\", \"id\": {\"a\": [1, 2.5, null, \"\xc3\xa9\"]}}",
      NULL },
    { "oob-unknown", "{\"exec-oob\": \"query-status\", \"id\": 4}", NULL },
    { "version", "{\"execute\": \"query-version\"}", NULL },
    { "commands", "{\"execute\": \"query-commands\"}", NULL },
    { "idle", "{\"execute\": \"query-migrate\", \"id\": 5}", NULL },
    { "idle-cancel", "{\"execute\": \"migrate_cancel\"}", NULL },
    { "idle-continue",
      "{\"execute\": \"migrate-continue\", \"arguments\": "
      "{\"state\": \"pre-switchover\"}}",
      NULL },
    { "continue-unknown",
      "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": "
      "\"foo\"}}",
      NULL },
    { "continue-nothing", "{\"execute\": \"migrate-continue\"}", NULL },
    { "pause", "{\"exec-oob\": \"migrate-pause\", \"id\": 6}", NULL },
    { "incoming", "{\"execute\": \"migrate-incoming\", \"arguments\": {\"uri\": \"tcp:0:0\"}}",
      NULL },
    { "capabilities-before", "{\"execute\": \"query-migrate-capabilities\"}", NULL },
    { "parameters-before", "{\"execute\": \"query-migrate-parameters\"}", NULL },
    { "capability-unknown",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"no-such\", \"state\": true}]}}",
      NULL },
    { "capability-alone",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\"}]}}",
      NULL },
    { "capability-number",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\", \"state\": 1}]}}",
      NULL },
    { "capability-no-list",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": 5}}", NULL },
    { "capability-element",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": [5]}}", NULL },
    { "capabilities-nothing", "{\"execute\": \"migrate-set-capabilities\"}", NULL },
    { "capabilities",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\", \"state\": true}, "
      "{\"capability\": \"pause-before-switchover\", \"state\": true}]}}",
      NULL },
    { "parameter-unknown", "{\"execute\": \"migrate-set-parameters\", \"arguments\": {\"foo\": 1}}",
      NULL },
    { "parameter-large",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": 2000001}}",
      NULL },
    { "parameter-negative",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": -1}}",
      NULL },
    { "parameter-fraction",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": 1.5}}",
      NULL },
    { "parameter-text",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": \"5\"}}",
      NULL },
    { "parameter-huge",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"downtime-limit\": 18446744073709551616}}",
      NULL },
    { "channels-many",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"multifd-channels\": 256}}",
      NULL },
    { "parameters",
      "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
      "{\"max-bandwidth\": 134217728, \"downtime-limit\": 2000000}}",
      NULL },
    { "capabilities-after", "{\"execute\": \"query-migrate-capabilities\"}", NULL },
    { "parameters-after", "{\"execute\": \"query-migrate-parameters\"}", NULL },
    { "migrate-nothing", "{\"execute\": \"migrate\"}", NULL },
    { "migrate-number", "{\"execute\": \"migrate\", \"arguments\": {\"uri\": 5}}", NULL },
    { "migrate-resume",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:true\", "
      "\"resume\": true}}",
      NULL },
    { "stop", "{\"execute\": \"stop\"}", NULL },
    { "stop-again", "{\"execute\": \"stop\"}", NULL },
    { "paused", "{\"execute\": \"query-status\"}", NULL },
    { "cont", "{\"execute\": \"cont\"}", NULL },
    { "running", "{\"execute\": \"query-status\"}", NULL },
    { "migrate", "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}",
      "MIGRATION:pre-switchover" },
    { "waiting", "{\"execute\": \"query-migrate\"}", NULL },
    { "waiting-status", "{\"execute\": \"query-status\"}", NULL },
    { "waiting-capabilities",
      "{\"execute\": \"migrate-set-capabilities\", \"arguments\": {\"capabilities\": "
      "[{\"capability\": \"events\", \"state\": false}]}}",
      NULL },
    { "waiting-migrate",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}", NULL },
    { "waiting-continue",
      "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": "
      "\"active\"}}",
      NULL },
    { "cancel", "{\"execute\": \"migrate_cancel\"}", "MIGRATION:cancelled" },
    { "cancelled", "{\"execute\": \"query-migrate\"}", NULL },
    { "cancelled-status", "{\"execute\": \"query-status\"}", NULL },
    { "migrate-again",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}",
      "MIGRATION:pre-switchover" },
    { "continue",
      "{\"execute\": \"migrate-continue\", \"arguments\": {\"state\": "
      "\"pre-switchover\"}}",
      "MIGRATION:completed" },
    { "completed", "{\"execute\": \"query-migrate\"}", NULL },
    { "completed-status", "{\"execute\": \"query-status\"}", NULL },
    { "postmigrate",
      "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat > /dev/null\"}}", NULL },
    { "cont-after", "{\"execute\": \"cont\"}", NULL },
    { "cont-status", "{\"execute\": \"query-status\"}", NULL },
    { "migrate-fails", "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:exit 1\"}}",
      "MIGRATION:failed" },
    { "failed", "{\"execute\": \"query-migrate\"}", NULL },
    { "failed-status", "{\"execute\": \"query-status\"}", NULL },
    { "quit", "{\"execute\": \"quit\", \"id\": 7}", NULL },
};
#define NUM_STEPS (sizeof(steps) / sizeof(steps[0]))

/* What one side said: "reply", and "events", the names in their order. */
struct outcomes {
    json_t *each[NUM_STEPS];
};

static char *event_name(const json_t *line)
{
    const char *name = json_string_value(json_object_get(line, "event"));
    const char *status =
        json_string_value(json_object_get(json_object_get(line, "data"), "status"));
    char *text;
    assert_true(asprintf(&text, "%s%s%s", name, status ? ":" : "", status ? status : "") > 0);
    return text;
}

/* Passes are counted by both, but not in the same rounds. */
static void note_event(json_t *events, const char *name)
{
    size_t count = json_array_size(events);
    const char *last = json_string_value(json_array_get(events, count ? count - 1 : 0));
    if (!last || strcmp(last, name) != 0)
        json_array_append_new(events, json_string(name));
}

static void await_event(struct talk *t, const char *wanted, json_t *events)
{
    size_t i;
    const json_t *seen;
    bool there = false;
    json_array_foreach(events, i, seen) there |= strcmp(json_string_value(seen), wanted) == 0;
    while (!there) {
        json_t *line = talk_line(t);
        if (!line)
            fail_msg("the end, while %s was waited for", wanted);
        char *name = event_name(line);
        note_event(events, name);
        there = strcmp(name, wanted) == 0;
        free(name);
        json_decref(line);
    }
}

static json_t *run_step(struct talk *t, const struct step *step)
{
    json_t *lines = json_array(), *events = json_array(), *line;
    size_t i;
    json_t *reply = talk_command(t, step->send, lines);
    json_array_foreach(lines, i, line)
    {
        char *name = event_name(line);
        note_event(events, name);
        free(name);
    }
    json_decref(lines);
    if (step->await)
        await_event(t, step->await, events);
    return json_pack("{s:o, s:o}", "reply", reply, "events", events);
}

static void run_script(struct talk *t, struct outcomes *ret)
{
    for (size_t i = 0; i < NUM_STEPS; i++)
        ret->each[i] = run_step(t, &steps[i]);
}

/* ---- comparing ---- */

static unsigned complaints;

static bool is_excepted(const char *label, const char *path, enum difference what)
{
    for (struct exception *e = exceptions; e->step; e++)
        if (e->what == what && fnmatch(e->step, label, 0) == 0 && fnmatch(e->path, path, 0) == 0) {
            e->used++;
            return true;
        }
    return false;
}

static void differs(const char *label, const char *path, enum difference what, const json_t *theirs,
                    const json_t *ours)
{
    if (is_excepted(label, path, what))
        return;
    char *a = theirs ? json_dumps(theirs, JSON_ENCODE_ANY) : strdup("nothing");
    char *b = ours ? json_dumps(ours, JSON_ENCODE_ANY) : strdup("nothing");
    print_message("# %s: %s: QEMU says %s, we say %s\n", label, path, a, b);
    free(a);
    free(b);
    complaints++;
}

static const char *type_of(const json_t *json)
{
    if (json_is_number(json))
        return "number";
    if (json_is_boolean(json))
        return "switch";
    return json_is_string(json) ? "text" : json_is_object(json) ? "object" : "other";
}

/* An array's elements by their name, where they have one. */
static json_t *by_name(const json_t *array)
{
    json_t *object = json_object(), *element;
    size_t i;
    json_array_foreach(array, i, element)
    {
        const char *name = json_string_value(json_object_get(element, "capability"));
        char number[30];
        if (!name)
            name = json_string_value(json_object_get(element, "name"));
        snprintf(number, sizeof(number), "%zu", i);
        json_object_set(object, name ? name : number, element);
    }
    return object;
}

static void compare(const char *label, const char *path, json_t *theirs, json_t *ours);

static void compare_members(const char *label, const char *path, json_t *theirs, json_t *ours)
{
    const char *name;
    json_t *member;
    char inner[300];
    json_object_foreach(theirs, name, member)
    {
        snprintf(inner, sizeof(inner), "%s.%s", path, name);
        compare(label, inner, member, json_object_get(ours, name));
    }
    json_object_foreach(ours, name, member)
    {
        snprintf(inner, sizeof(inner), "%s.%s", path, name);
        if (!json_object_get(theirs, name))
            compare(label, inner, NULL, member);
    }
}

static void compare(const char *label, const char *path, json_t *theirs, json_t *ours)
{
    if (!theirs || !ours) {
        differs(label, path, theirs ? ONLY_QEMU : ONLY_OURS, theirs, ours);
    } else if (json_is_array(theirs) && json_is_array(ours)) {
        json_t *a = by_name(theirs), *b = by_name(ours);
        compare_members(label, path, a, b);
        json_decref(a);
        json_decref(b);
    } else if (strcmp(type_of(theirs), type_of(ours)) != 0) {
        differs(label, path, OTHER_TYPE, theirs, ours);
    } else if (json_is_object(theirs)) {
        compare_members(label, path, theirs, ours);
    } else if (!json_is_number(theirs) && !json_equal(theirs, ours)) {
        differs(label, path, OTHER_VALUE, theirs, ours);
    }
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
    extern char **environ;
    char path[100], qmp[140];
    snprintf(path, sizeof(path), "%s/qemu", directory);
    snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", path);
    char *argv[] = { QEMU,   "-M",     "microvm", "-m",   "32", "-nodefaults", "-display",
                     "none", "-accel", "tcg",     "-qmp", qmp,  NULL };
    assert_int_equal(posix_spawnp(&q->pid, QEMU, NULL, NULL, argv, environ), 0);
    talk_open(&q->talk, path, false);
}

static void qemu_end(struct qemu *q)
{
    int status;
    talk_close(&q->talk);
    kill(q->pid, SIGKILL); /* unless it has ended: it is our child until it is waited for */
    waitpid(q->pid, &status, 0);
}

/* ---- ours ---- */

struct ours {
    struct vmig_migration *m;
    struct vmig_monitor *monitor;
    void *memory;
    struct talk talk;
};

static int quit(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return 0;
}

static void ours_start(struct ours *o, const char *directory)
{
    struct vmig_error err = { 0 };
    struct vmig_monitor_host host = { .size = sizeof(host), .quit = quit };
    char path[100], address[110];
    snprintf(path, sizeof(path), "%s/ours", directory);
    snprintf(address, sizeof(address), "unix:%s", path);
    o->memory = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(o->memory, 1, RAM_BYTES / 2);
    struct vmig_ram_block block = {
        .name = "ram", .size_bytes = RAM_BYTES, .vaddr = o->memory, .fd = -1
    };
    o->m = vmig_migration_new(NULL, &err);
    assert_non_null(o->m);
    if (vmig_migration_add_ram(o->m, &block, &err) < 0 ||
        vmig_monitor_new(address, o->m, &host, &o->monitor, &err) < 0)
        fail_msg("%s", err.text);
    talk_open(&o->talk, path, false);
}

static void ours_end(struct ours *o)
{
    talk_close(&o->talk);
    vmig_monitor_free(o->monitor);
    vmig_migration_free(o->m);
    munmap(o->memory, RAM_BYTES);
}

/* ---- the test ---- */

static void our_monitor_says_what_qemu_says(void **state)
{
    char directory[] = "/tmp/vmig-qemu-XXXXXX";
    static struct qemu qemu;
    static struct ours ours;
    struct outcomes theirs, own;
    (void)state;
    if (!is_there()) {
        print_message("# " QEMU " 7.2 is not installed (scripts/deps test)\n");
        skip();
    }
    assert_non_null(mkdtemp(directory));
    qemu_start(&qemu, directory);
    ours_start(&ours, directory);
    run_script(&qemu.talk, &theirs);
    run_script(&ours.talk, &own);
    qemu_end(&qemu);
    ours_end(&ours);
    for (size_t i = 0; i < NUM_STEPS; i++) {
        compare(steps[i].label, "", theirs.each[i], own.each[i]);
        json_decref(theirs.each[i]);
        json_decref(own.each[i]);
    }
    unlink(directory);
    assert_int_equal(complaints, 0);
}

static void every_exception_is_still_needed(void **state)
{
    (void)state;
    unsigned unused = 0;
    if (!is_there())
        skip();
    for (struct exception *e = exceptions; e->step; e++)
        if (!e->used) {
            print_message("# no difference any more: %s %s (%s)\n", e->step, e->path, e->reason);
            unused++;
        }
    assert_int_equal(unused, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_monitor_says_what_qemu_says),
        cmocka_unit_test(every_exception_is_still_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
