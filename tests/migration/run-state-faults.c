/* SPDX-License-Identifier: BSD-3-Clause */
/* What fails beside a stop, a return or a snapshot: never do both sides run, nor a state that is lost,
 * and nothing is left that nobody can settle. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/participant/device.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

static void refused(int rc, int code, const struct vmig_error *why, const char *reason)
{
    assert_int_equal(rc, -code);
    if (reason)
        assert_string_equal(why->reason, reason);
}

static void old_owner_may_not_go_on_when_the_way_back_failed(void **state)
{
    struct world w;
    struct vmig_error why = { 0 };
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    world_move(&w);
    world_moved(&w);
    world_turn_round(&w);
    party_fault(w.target, 0, "fail:EBUSY@arc/RUNNING_P2P");
    world_move(&w);
    assert_int_not_equal(w.source->rc, 0);
    assert_true(w.source->runs);
    refused(vmig_migration_cont(w.target->m, &why), EPERM, &why, "runs-elsewhere");
    assert_false(w.both_ran);
    world_close(&w);
}

/* ---- a stop that fails while the source waits for its target ---- */

static void state_that_a_stop_lost_is_not_sent(void **state)
{
    struct world w;
    struct vmig_error why = { 0 };
    int ends[2];
    char address[40];
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_fault(w.source, 0, "error@arc/STOP");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    snprintf(address, sizeof(address), "fd:%d", ends[0]);
    party_start(w.source, true, address);
    uint8_t first;
    assert_int_equal(recv(ends[1], &first, 1, MSG_PEEK), 1); /* so now it waits for an answer */
    refused(vmig_migration_stop(w.source->m, &why), EIO, &why, "device-state-lost");
    snprintf(address, sizeof(address), "fd:%d", ends[1]);
    party_start(w.target, false, address);
    party_join(w.source);
    close(ends[0]);
    party_join(w.target);
    close(ends[1]);
    assert_int_not_equal(w.source->rc, 0);
    assert_int_equal(w.target->starts, 0);
    assert_int_equal(vmig_migration_run_state(w.source->m), VMIG_RUN_STATE_INTERNAL_ERROR);
    world_close(&w);
}

/* ---- versions and files ---- */

static void stop_in_the_pause_is_refused_for_a_target_that_would_start_the_vm(void **state)
{
    struct world w;
    struct vmig_error why = { 0 };
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    w.target->m->no_run_state = true;
    party_switch(w.source, "pause-before-switchover", true);
    world_begin(&w);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    refused(vmig_migration_stop(w.source->m, &why), EBUSY, &why, "run-state-unknown");
    x(vmig_migration_continue(w.source->m, VMIG_STATUS_PRE_SWITCHOVER, &err));
    world_join(&w);
    world_moved(&w);
    world_close(&w);
}

static void vm_that_a_failed_receive_overwrote_does_not_go_on(void **state)
{
    struct world w;
    struct vmig_error why = { 0 };
    char address[100];
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    snprintf(address, sizeof(address), "file:%s/file", w.directory);
    x(vmig_migration_snapshot(w.source->m, address, &err));
    party_goes_on(w.source);
    x(vmig_migration_stop(w.source->m, &err));
    FILE *f = fopen(address + strlen("file:"), "r+e");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    assert_int_equal(ftruncate(fileno(f), ftell(f) * 49 / 50), 0);
    fclose(f);
    party_start(w.source, false, address);
    party_join(w.source);
    assert_int_not_equal(w.source->rc, 0);
    refused(vmig_migration_cont(w.source->m, &why), ENOTRECOVERABLE, &why, "reset-required");
    world_close(&w);
}

static int (*real_start)(void *opaque, struct vmig_error *err);
static int starts_to_fail;

static int flaky_start(void *opaque, struct vmig_error *err)
{
    return starts_to_fail-- > 0 ? -EIO : real_start(opaque, err);
}

static void workload_that_did_not_start_after_a_snapshot_stays_stopped_as_told(void **state)
{
    struct world w;
    struct vmig_error why = { 0 };
    char address[100];
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    real_start = w.source->m->host.start;
    w.source->m->host.start = flaky_start;
    starts_to_fail = 1;
    snprintf(address, sizeof(address), "file:%s/file", w.directory);
    refused(vmig_migration_snapshot(w.source->m, address, &why), EIO, &why, "workload-stopped");
    assert_false(w.source->runs);
    assert_int_equal(vmig_migration_run_state(w.source->m), VMIG_RUN_STATE_PAUSED);
    world_close(&w);
}

/* ---- a source that hears nothing ---- */

struct one {
    uint32_t a;
};
static const struct vmig_vmstate_field one_fields[] = { VMIG_VMSTATE_UINT32(a, struct one),
                                                        VMIG_VMSTATE_END() };
static const struct vmig_vmstate one_table = {
    .name = "one", .version = 1, .minimum_version = 1, .fields = one_fields
};
#define ONES 80 /* a description longer than what a socket holds */
static struct one ones[2][ONES];

static void add_ones(struct party *side, struct one *all)
{
    for (unsigned i = 0; i < ONES; i++)
        x(vmig_migration_add_vmstate(side->m, "a-device-with-a-rather-long-name", i, &one_table,
                                     &all[i], &err));
}

/* Up to the byte that ends the stream before its description. */
static void pass_until_the_end(int in, int out)
{
    uint8_t b[8];
    bool end = false;
    while (!end) {
        ssize_t n = recv(in, b, sizeof(b), MSG_PEEK);
        assert_true(n > 0);
        end = n == sizeof(b) && b[0] == 0 && b[1] == 6 && b[6] == '{';
        assert_int_equal(read(in, b, 1), 1);
        assert_int_equal(write(out, b, 1), 1);
    }
}

static void link_cut_behind_the_end_lets_one_side_run(void **state)
{
    struct world w;
    int s[2], t[2], small = 1;
    char address[40];
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1, .no_ram = true });
    add_ones(w.source, ones[0]);
    add_ones(w.target, ones[1]);
    party_switch(w.source, "switchover-ack", false);
    party_switch(w.source, "return-path", false);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t), 0);
    setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    snprintf(address, sizeof(address), "fd:%d", t[0]);
    party_start(w.target, false, address);
    snprintf(address, sizeof(address), "fd:%d", s[0]);
    party_start(w.source, true, address);
    pass_until_the_end(s[1], t[1]);
    close(s[0]);
    close(s[1]);
    close(t[1]);
    party_join(w.source);
    party_join(w.target);
    assert_true(w.source->runs != w.target->runs);
    close(t[0]);
    world_close(&w);
}

static void target_that_did_not_start_when_resolved_can_be_told_again(void **state)
{
    struct world w;
    struct vmig_error why = { 0 };
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1, .relay = true });
    w.relay = relay_new(&(struct relay_plan) { .inside_go = true });
    world_move(&w);
    assert_int_equal(w.target->rc, -EUCLEAN);
    party_fault(w.target, 0, "fail:EBUSY@arc/RUNNING_P2P");
    refused(vmig_migration_resolve(w.target->m, VMIG_RESOLVE_RUN, true, &why), EBUSY, &why, NULL);
    assert_false(w.target->runs);
    party_fault(w.target, 0, NULL);
    x(vmig_migration_resolve(w.target->m, VMIG_RESOLVE_RUN, true, &err));
    assert_true(w.target->runs);
    assert_int_equal(vmig_migration_run_state(w.target->m), VMIG_RUN_STATE_RUNNING);
    world_close(&w);
}

/* ---- config spaces of devices that stand still ---- */

#define LINE 0x3c /* interrupt line: a byte that a guest may write */

static unsigned saves;

static int save(void *opaque, struct vmig_pci_state *config, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    saves++;
    config->config[LINE] = 0x5a;
    return 0;
}

static void expect_sent(struct world *w, uint8_t line)
{
    const struct vmig_pci_state *sent =
        participant_device_config(w->source->m->participants[1]->opaque);
    assert_int_equal(w->source->rc, 0);
    assert_non_null(sent);
    assert_int_equal(sent->config[LINE], line);
}

static void stop_asks_the_vmm_what_its_guest_sees(void **state)
{
    static const struct vmig_pci_ops pci = { .size = sizeof(pci), .save = save };
    struct world w;
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    w.source->m->participants[1]->settings.pci = &pci;
    x(vmig_migration_stop(w.source->m, &err));
    assert_true(saves > 0);
    party_fault(w.source, 0, "fail:EIO@command/region-read#1+"); /* as some do when they stand */
    world_move(&w);
    party_fault(w.source, 0, NULL);
    expect_sent(&w, 0x5a);
    world_close(&w);
}

static void write_line(struct party *side, uint8_t line)
{
    x(vmig_device_region_write(side->devices[0].device, VMIG_REGION_CONFIG, LINE, &line, 1, &err));
}

static void config_of_a_device_that_ran_since_is_read_again(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    write_line(w.source, 0x11);
    x(vmig_migration_stop(w.source->m, &err));
    party_switch(w.source, "pause-before-switchover", true);
    world_begin(&w);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    x(vmig_migration_cont(w.source->m, &err));
    world_join(&w);
    party_goes_on(w.source);
    party_switch(w.source, "pause-before-switchover", false);
    write_line(w.source, 0x22);
    party_fault(w.source, 0, "fail:EIO@command/region-read#1+");
    world_move(&w);
    party_fault(w.source, 0, NULL);
    assert_int_not_equal(w.source->rc, 0); /* rather than the old one */
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_owner_may_not_go_on_when_the_way_back_failed),
        cmocka_unit_test(state_that_a_stop_lost_is_not_sent),
        cmocka_unit_test(stop_in_the_pause_is_refused_for_a_target_that_would_start_the_vm),
        cmocka_unit_test(vm_that_a_failed_receive_overwrote_does_not_go_on),
        cmocka_unit_test(workload_that_did_not_start_after_a_snapshot_stays_stopped_as_told),
        cmocka_unit_test(link_cut_behind_the_end_lets_one_side_run),
        cmocka_unit_test(target_that_did_not_start_when_resolved_can_be_told_again),
        cmocka_unit_test(stop_asks_the_vmm_what_its_guest_sees),
        cmocka_unit_test(config_of_a_device_that_ran_since_is_read_again),
    };
    return cmocka_run_group_tests_name("run-state-faults", tests, NULL, NULL);
}
