/* SPDX-License-Identifier: BSD-3-Clause */
/* The demo's two kinds, a virtual machine and a workload process: which one it takes, and what is left of it. */
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/process.h"

#define DEMO "demo", "--ram", "32M", "--state-size", "1M", "--downtime-limit", "100s"

static bool has_vm;
static char why_not[300];

/* Whoever the demo leaves behind becomes a child of this process, and its folders are in ours. */
static int begin(void **state)
{
    (void)state;
    folder_make();
    setenv("TMPDIR", folder, 1);
    return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* A sanitizer's own helper, which ends when it finds that its program has. */
static bool is_symbolizer(pid_t pid)
{
    char path[40], name[20] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool read = fgets(name, sizeof(name), file) != NULL;
    fclose(file);
    return read && strncmp(name, "llvm-symbolizer", 15) == 0;
}

static void nothing_is_left(void)
{
    char pattern[100];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/demo-*", folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
    siginfo_t child = { 0 };
    unsigned tries = 500;
    while (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0) {
        if (child.si_pid && !is_symbolizer(child.si_pid))
            fail_msg("process %d was left", (int)child.si_pid);
        if (child.si_pid)
            waitpid(child.si_pid, NULL, 0);
        else if (!tries--)
            fail_msg("a process was left, and runs");
        else
            nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
        child.si_pid = 0;
    }
    assert_int_equal(errno, ECHILD);
}

static int finish(void **state)
{
    (void)state;
    folder_remove();
    return 0;
}

static void requires_vm(void)
{
    if (has_vm)
        return;
    print_message("no virtual machine here: %s\n", why_not);
    skip();
}

static json_t *report_of(struct result r)
{
    json_t *report = json_loads(r.out, 0, NULL);
    if (r.exit_code || !json_is_true(json_object_get(report, "verified")))
        fail_msg("exit code %d\n%s%s", r.exit_code, r.out, r.err);
    return report;
}

static json_int_t whole(json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void a_machine_moves_and_nothing_is_lost(void **state)
{
    (void)state;
    requires_vm();
    json_t *report = report_of(run(DEMO, "--vm", "--json"));
    json_t *v = json_object_get(report, "verification");
    json_t *pause = json_object_get(report, "pause");
    assert_string_equal(json_string_value(json_object_get(report, "moved")), "vm");
    assert_int_equal(json_array_size(json_object_get(report, "devices")), 2);
    assert_true(whole(v, "reports") > 1 && whole(v, "interrupts") > 0 && whole(v, "dma_pages") > 0);
    assert_int_equal(whole(v, "missing_reports") + whole(v, "lost_interrupts") +
                         whole(v, "wrong_pages") + whole(v, "device_wrong_pages"),
                     0);
    assert_non_null(json_object_get(json_object_get(pause, "predicted"), "data_ms"));
    json_decref(report);
    nothing_is_left();
}

static void devices_that_cannot_log_move_with_all_memory(void **state)
{
    (void)state;
    requires_vm();
    struct result r = run("demo", "--ram", "32M", "--downtime-limit", "100s", "--vm", "--devices",
                          "1", "--profile", "virtio");
    expect(r, 0, "--all-dirty");
    expect(r, 0, "nothing was lost");
}

static void devices_without_p2p_are_refused_in_a_machine_too(void **state)
{
    (void)state;
    requires_vm();
    expect(run("demo", "--ram", "32M", "--vm", "--profile", "hisi_acc"), 3, "P2P");
    nothing_is_left();
}

static void a_workload_process_moves_and_nothing_is_lost(void **state)
{
    (void)state;
    json_t *report = report_of(run(DEMO, "--workload", "--json"));
    assert_string_equal(json_string_value(json_object_get(report, "moved")), "workload");
    json_decref(report);
    nothing_is_left();
}

static void it_says_what_moves(void **state)
{
    (void)state;
    char text[400];
    snprintf(text, sizeof(text), "a workload process moves, no virtual machine: %s", why_not);
    expect(run(DEMO), 0, has_vm ? "a virtual machine moves" : text);
    expect(run(DEMO, "--workload"), 0, "no virtual machine: --workload");
    expect(run(DEMO, "--dirty-rate", "1M"), 0, "no virtual machine: --dirty-rate is for workloads");
}

static void what_a_machine_cannot_be_is_a_process(void **state)
{
    (void)state;
    expect(run("demo", "--ram", "33M", "--state-size", "1M", "--devices", "1", "--downtime-limit",
               "100s"),
           0, "a multiple of 2M");
    expect(run("demo", "--vm", "--ram", "33M"), 2, "a multiple of 2M");
    expect(run("demo", "--vm", "--devices", "5"), 2, "at most 4");
}

static void options_of_the_workload_are_refused_with_a_machine(void **state)
{
    (void)state;
    static const char *const options[] = { "--dirty-rate=1M", "--history=none", "--trace=*",
                                           "--fault=source:fail:EIO@read" };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        char text[60];
        snprintf(text, sizeof(text), "%.*s is for a workload process",
                 (int)strcspn(options[i], "="), options[i]);
        expect(run("demo", "--vm", options[i]), 2, text);
    }
    expect(run("demo", "--vm", "--workload"), 2, "one of them");
}

static void a_program_that_is_not_installed_is_named(void **state)
{
    (void)state;
    char command[500], *program = strdup(getenv("VFIO_MIGRATE"));
    snprintf(command, sizeof(command), "cp '%s' '%s'", program, at("alone"));
    assert_int_equal(system(command), 0);
    setenv("VFIO_MIGRATE", at("alone"), 1);
    struct result r = run(DEMO, "--vm");
    setenv("VFIO_MIGRATE", program, 1);
    free(program);
    expect(r, 1, "--vm: vfio-vmm is not installed");
}

/* Reads what @demo prints up to a line with @text. */
static void await_line(struct process *demo, const char *text)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, demo->from) > 0 && !strstr(line, text))
        ;
    assert_false(feof(demo->from));
    free(line);
}

static void interrupted_at(const char *kind, const char *line)
{
    struct process demo = start(DEMO, kind);
    await_line(&demo, line);
    kill(demo.pid, SIGINT);
    assert_int_equal(end(&demo), 130);
    nothing_is_left();
}

static void an_interrupted_machine_leaves_nothing(void **state)
{
    (void)state;
    requires_vm();
    interrupted_at("--vm", "starting");
    interrupted_at("--vm", "migrating");
}

static void an_interrupted_process_leaves_nothing(void **state)
{
    (void)state;
    interrupted_at("--workload", "starting");
    interrupted_at("--workload", "migrating");
}

/* Children of @pid called "vfio-vmm". */
static unsigned machines_of(pid_t pid, pid_t ret[8])
{
    char path[100], name[32];
    unsigned count = 0;
    int child;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    FILE *children = fopen(path, "r");
    while (children && count < 8 && fscanf(children, "%d", &child) == 1) {
        snprintf(path, sizeof(path), "/proc/%d/comm", child);
        FILE *comm = fopen(path, "r");
        if (comm && fgets(name, sizeof(name), comm) && strcmp(name, "vfio-vmm\n") == 0)
            ret[count++] = child;
        if (comm)
            fclose(comm);
    }
    if (children)
        fclose(children);
    return count;
}

static void a_machine_that_dies_is_named_and_nothing_is_left(void **state)
{
    (void)state;
    requires_vm();
    pid_t machines[8];
    struct process demo = start(DEMO, "--vm");
    await_line(&demo, "starting");
    while (machines_of(demo.pid, machines) < 2)
        usleep(1000);
    kill(machines[1], SIGKILL);
    assert_int_equal(end(&demo), 1);
    nothing_is_left();
}

static int look_for_vm(void **state)
{
    begin(state);
    struct result r = run("demo", "--vm", "--ram", "32M", "--state-size", "1M", "--devices", "1",
                          "--downtime-limit", "100s", "--json");
    json_t *report = json_loads(r.out, 0, NULL);
    const char *text =
        json_string_value(json_object_get(json_object_get(report, "error"), "message"));
    /* what fails for another reason is to fail in the tests */
    has_vm = !text || (!strstr(text, "KVM") && !strstr(text, "kvm") && !strstr(text, "installed"));
    snprintf(why_not, sizeof(why_not), "%s", has_vm ? "" : text + strlen("--vm: "));
    json_decref(report);
    return finish(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(a_machine_moves_and_nothing_is_lost),
        TEST(devices_that_cannot_log_move_with_all_memory),
        TEST(devices_without_p2p_are_refused_in_a_machine_too),
        TEST(a_workload_process_moves_and_nothing_is_lost),
        TEST(it_says_what_moves),
        TEST(what_a_machine_cannot_be_is_a_process),
        TEST(options_of_the_workload_are_refused_with_a_machine),
        TEST(a_program_that_is_not_installed_is_named),
        TEST(an_interrupted_machine_leaves_nothing),
        TEST(an_interrupted_process_leaves_nothing),
        TEST(a_machine_that_dies_is_named_and_nothing_is_left),
    };
    return cmocka_run_group_tests_name("demo", tests, look_for_vm, NULL);
}
