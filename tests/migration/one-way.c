/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams that nobody answers, and what their first bytes say about the machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/stream/qemu.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

static void no_return_path(struct party *side)
{
    struct vmig_capability list[] = { { "return-path", false }, { "switchover-ack", false } };
    x(vmig_migration_set_capabilities(side->m, list, 2, &err));
}

/* ---- over sockets ---- */

static void workload_moves_over_a_socket_that_nobody_answers(void **state)
{
    static const enum world_link links[] = { WORLD_TCP, WORLD_UNIX, WORLD_FD };
    (void)state;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 2, .link = links[i] });
        no_return_path(w.source);
        world_move(&w);
        world_moved(&w);
        assert_false(w.source->m->peer_hello);
        assert_int_equal(w.source->status, VMIG_STATUS_COMPLETED);
        for (unsigned d = 0; d < 2; d++)
            assert_int_equal(party_state(w.source, d), VMIG_STATE_STOP);
        world_close(&w);
    }
}

static void path_of(const struct world *w, const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "%s/%s", w->directory, name);
}

/* Somebody who only listens. */
static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static size_t copy(int from, int to)
{
    char buf[65536];
    size_t total = 0;
    ssize_t n;
    while ((n = read(from, buf, sizeof(buf))) > 0) {
        for (ssize_t done = 0, m; done < n; done += m)
            assert_true((m = write(to, buf + done, (size_t)(n - done))) > 0);
        total += (size_t)n;
    }
    return total;
}

static void what_goes_over_the_socket_is_what_a_file_would_hold(void **state)
{
    (void)state;
    struct world w;
    char link[100], file[100], address[110];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    no_return_path(w.source);
    path_of(&w, "link", link, sizeof(link));
    path_of(&w, "file", file, sizeof(file));
    int listening = listen_at(link), out = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    snprintf(address, sizeof(address), "unix:%s", link);
    party_start(w.source, true, address);
    int in = accept(listening, NULL, NULL);
    assert_true(copy(in, out) > 1u << 20);
    close(in);
    close(out);
    close(listening);
    assert_int_equal(party_join(w.source), 0);
    snprintf(address, sizeof(address), "file:%s", file);
    w.plan.link = WORLD_FILE;
    party_start(w.target, false, address);
    party_join(w.target);
    world_moved(&w);
    world_close(&w);
}

static void what_a_file_holds_is_received_from_a_socket(void **state)
{
    (void)state;
    struct world w;
    char file[100], address[110];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    path_of(&w, "file", file, sizeof(file));
    snprintf(address, sizeof(address), "file:%s", file);
    party_start(w.source, true, address);
    assert_int_equal(party_join(w.source), 0);
    int pair[2], in = open(file, O_RDONLY | O_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(address, sizeof(address), "fd:%d", pair[0]);
    party_start(w.target, false, address);
    copy(in, pair[1]);
    close(pair[1]);
    close(in);
    party_join(w.target);
    close(pair[0]);
    w.plan.link = WORLD_FILE;
    world_moved(&w);
    world_close(&w);
}

static void cancelled_source_goes_on_and_the_target_runs_nothing(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    no_return_path(w.source);
    party_switch(w.source, "pause-before-switchover", true);
    world_begin(&w);
    party_await_status(w.source, VMIG_STATUS_PRE_SWITCHOVER);
    vmig_migration_cancel(w.source->m);
    world_join(&w);
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    assert_true(w.target->rc < 0);
    assert_int_equal(w.target->starts, 0);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static void cancel_when_all_is_there(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_HANDOVER)
        vmig_migration_cancel(side->m);
}

/* Whoever has all bytes runs, so the source must not take it back. */
static void cancel_after_the_last_byte_is_too_late(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    no_return_path(w.source);
    w.source->on_stage = cancel_when_all_is_there;
    world_move(&w);
    world_moved(&w);
    world_close(&w);
}

/* With QEMU's rules a link that breaks at the very end can leave it stopped on both sides; running on
 * both it must never be. */
static void workload_never_runs_twice_wherever_the_link_breaks(void **state)
{
    (void)state;
    uint64_t total = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .relay = true, .still = true });
        no_return_path(w.source);
        w.relay = relay_new(&(struct relay_plan) { .after = i ? total - i * i : UINT64_MAX });
        world_move(&w);
        if (!i)
            total = relay_passed(w.relay);
        assert_false(w.both_ran);
        assert_false(w.source->runs && w.target->runs);
        assert_int_equal(w.target->rc == 0, !relay_acted(w.relay));
        world_close(&w);
    }
}

/* ---- whose stream it is ---- */

static const uint8_t ours[16] = { 0x5b, 0x46, 0xe1, 0xa2, 0x3c, 0x0d, 0x4e, 0x6f,
                                  0x8a, 0x9b, 0x0c, 0x1d, 0x2e, 0x3f, 0x4a, 0x5b };
static const uint8_t other[16] = { 1 };

/* Each side's UUID, or NULL, and whether the source sends it. */
static void move_with_uuids(struct world *w, enum world_link link, bool validate,
                            const uint8_t *source, const uint8_t *target)
{
    world_open(w, &(struct world_plan) { .link = link });
    world_switch(w, "validate-uuid", validate);
    x(vmig_migration_set_uuid(w->source->m, source, &err));
    x(vmig_migration_set_uuid(w->target->m, target, &err));
    world_move(w);
}

static void same_machine_receives_and_another_refuses(void **state)
{
    static const enum world_link links[] = { WORLD_TCP, WORLD_FILE };
    (void)state;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        struct world w;
        move_with_uuids(&w, links[i], true, ours, ours);
        world_moved(&w);
        assert_string_equal(w.target->warning, "");
        world_close(&w);
        move_with_uuids(&w, links[i], true, other, ours);
        party_failed(w.target, -EINVAL, "uuid-mismatch", "5b46e1a2-3c0d-4e6f-8a9b-0c1d2e3f4a5b");
        assert_non_null(strstr(w.target->err.text, "01000000-0000-0000-0000-000000000000"));
        if (links[i] == WORLD_TCP)
            world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void machine_that_has_no_uuid_only_warns(void **state)
{
    (void)state;
    struct world w;
    move_with_uuids(&w, WORLD_TCP, true, ours, NULL);
    world_moved(&w);
    assert_non_null(strstr(w.target->warning, "5b46e1a2-3c0d-4e6f-8a9b-0c1d2e3f4a5b"));
    world_close(&w);
    move_with_uuids(&w, WORLD_TCP, true, NULL, ours); /* and one that wanted to know */
    world_moved(&w);
    assert_non_null(strstr(w.target->warning, "does not say which machine"));
    world_close(&w);
}

static void uuid_is_not_sent_unless_it_shall_be_validated(void **state)
{
    (void)state;
    struct world w;
    move_with_uuids(&w, WORLD_TCP, false, ours, other);
    world_moved(&w);
    assert_string_equal(w.target->warning, "");
    world_close(&w);
}

/* As QEMU has it: marker, name, version 1, 16 bytes, behind the machine's name. */
static void uuid_stands_where_qemu_puts_it(void **state)
{
    static const uint8_t wanted[] = { 0x05, 18,  'c', 'o', 'n', 'f', 'i', 'g', 'u', 'r', 'a', 't',
                                      'i',  'o', 'n', '/', 'u', 'u', 'i', 'd', 0,   0,   0,   1 };
    (void)state;
    struct world w;
    char path[100];
    uint8_t bytes[256];
    world_open(&w, &(struct world_plan) { .link = WORLD_FILE });
    party_switch(w.source, "validate-uuid", true);
    x(vmig_migration_set_uuid(w.source->m, ours, &err));
    world_move(&w);
    path_of(&w, "file", path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
    close(fd);
    size_t at = 13 + bytes[12]; /* header, 7, the name's length as 32 bits, the name */
    assert_memory_equal(bytes + at, wanted, sizeof(wanted));
    assert_memory_equal(bytes + at + sizeof(wanted), ours, sizeof(ours));
    world_close(&w);
}

static void uuid_cannot_change_while_a_migration_runs(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { 0 });
    party_start(w.target, false, "tcp:127.0.0.1:0");
    party_await_stage(w.target, VMIG_STAGE_PREPARE);
    assert_int_equal(vmig_migration_set_uuid(w.target->m, ours, NULL), -EBUSY);
    vmig_migration_cancel(w.target->m);
    party_join(w.target);
    world_close(&w);
}

/* ---- what the source has on ---- */

static void receive_configuration(struct world *w, struct writer *rest)
{
    char path[100], address[110];
    struct writer head;
    writer_init(&head);
    qemu_write_header(&head);
    qemu_write_configuration(&head, "q35");
    writer_bytes(&head, rest->buf, rest->length);
    qemu_write_eof(&head);
    path_of(w, "file", path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, head.buf, head.length), head.length);
    close(fd);
    writer_done(&head);
    writer_done(rest);
    snprintf(address, sizeof(address), "file:%s", path);
    party_start(w->target, false, address);
    party_join(w->target);
}

static void begin_part(struct writer *w, const char *name)
{
    writer_init(w);
    writer_u8(w, QEMU_SUBSECTION);
    writer_str8(w, name);
    writer_u32(w, 1);
}

static void stream_with_a_capability_that_is_off_here_is_refused(void **state)
{
    static const char *const names[] = { "x-ignore-shared", "mapped-ram" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct writer part;
        world_open(&w, &(struct world_plan) { .still = true });
        begin_part(&part, "configuration/capabilities");
        writer_u32(&part, 1);
        writer_str8(&part, names[i]);
        receive_configuration(&w, &part);
        party_failed(w.target, -EOPNOTSUPP, "capability-conflict", names[i]);
        world_close(&w);
    }
}

static void stream_of_other_pages_is_refused(void **state)
{
    (void)state;
    for (unsigned bits = 12; bits <= 16; bits++) {
        struct world w;
        struct writer part;
        world_open(&w, &(struct world_plan) { .still = true });
        begin_part(&part, "configuration/target-page-bits");
        writer_u32(&part, bits);
        receive_configuration(&w, &part);
        if (bits == 12)
            party_failed(w.target, -EPROTO, "bad-stream", "without any state");
        else
            party_failed(w.target, -EINVAL, "layout-mismatch", "and this side of 4096");
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workload_moves_over_a_socket_that_nobody_answers),
        cmocka_unit_test(what_goes_over_the_socket_is_what_a_file_would_hold),
        cmocka_unit_test(what_a_file_holds_is_received_from_a_socket),
        cmocka_unit_test(cancelled_source_goes_on_and_the_target_runs_nothing),
        cmocka_unit_test(cancel_after_the_last_byte_is_too_late),
        cmocka_unit_test(workload_never_runs_twice_wherever_the_link_breaks),
        cmocka_unit_test(same_machine_receives_and_another_refuses),
        cmocka_unit_test(machine_that_has_no_uuid_only_warns),
        cmocka_unit_test(uuid_is_not_sent_unless_it_shall_be_validated),
        cmocka_unit_test(uuid_stands_where_qemu_puts_it),
        cmocka_unit_test(uuid_cannot_change_while_a_migration_runs),
        cmocka_unit_test(stream_with_a_capability_that_is_off_here_is_refused),
        cmocka_unit_test(stream_of_other_pages_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
