/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A walk through the recovery table: in each stage and on each side, each kind of fault; and then
 * devices, workload, status, exit codes and errors are what the row says. Faults of devices are
 * planned in the reference device; the last tests see that no row was left out, and that the
 * manual has the table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lib/error.h"
#include "refdev/model/fault.h"
#include "tests/migration/recovered.h"
#include "tests/migration/relay.h"
#include "tests/migration/witness.h"

/* ---- faults of devices ---- */

#define FAULTS_MAX 3
#define OK VMIG_HEALTH_OK
#define RESET VMIG_HEALTH_RESET
#define LOST VMIG_HEALTH_LOST

struct row {
    const char *faults[FAULTS_MAX]; /* of the last device */
    enum recovery_point point;
    enum vmig_health left;
    bool all_in_the_pause; /* pre-copy off */
    bool alone;            /* one device; otherwise the second of two has the faults */
};

#define ROW_(point_, left_, ...)                                                                   \
    {                                                                                              \
        .point = point_, .left = left_, __VA_ARGS__                                                \
    }
#define ROW(point_, left_, ...) ROW_(point_, left_, .faults = { __VA_ARGS__ })
#define PAUSED(point_, left_, ...)                                                                 \
    ROW_(point_, left_, .all_in_the_pause = true, .faults = { __VA_ARGS__ })
#define ALONE(point_, left_, ...) ROW_(point_, left_, .alone = true, .faults = { __VA_ARGS__ })

static void plan_faults(struct party *side, unsigned device, const struct row *row)
{
    struct refdev_fault faults[FAULTS_MAX];
    unsigned n = 0;
    for (; n < FAULTS_MAX && row->faults[n]; n++)
        if (refdev_fault_parse(row->faults[n], &faults[n]) < 0)
            fail_msg("\"%s\" is no fault", row->faults[n]);
    refdev_server_set_faults(side->devices[device].server, faults, n);
}

/* A device whose state is gone is the worst news of its side; otherwise what failed is the error. */
static const char *reason_of(const struct row *row, enum side at)
{
    bool source = at == SIDE_SOURCE;
    if (row->point == POINT_STARTED)
        return "workload-stopped";
    if (row->point == POINT_CLEANUP || row->point == POINT_PREPARE)
        return NULL;
    return row->left == LOST || (row->left == RESET && source) ? "device-state-lost" : NULL;
}

static struct outcome outcome_of(const struct row *row, enum side at)
{
    return (struct outcome) {
        .point = row->point,
        .at = at,
        .left = row->left,
        .device = row->alone ? 0 : 1,
        .reason = reason_of(row, at),
    };
}

static bool hangs(const struct row *row)
{
    return strncmp(row->faults[0], "hang", 4) == 0;
}

/* For a device that hangs; long enough for the others on a busy machine. */
#define PATIENCE_MS 1200

/* For what ends before there is a link: nobody listens, and the target is not asked. */
static void begin_alone(struct world *w)
{
    party_start(w->source, true, "unix:/nobody");
    w->target->status = VMIG_STATUS_FAILED;
    w->target->rc = error_set(&w->target->err, EIO, 0, NULL, NULL, "nobody came");
}

static void begin_row(struct world *w, const struct row *row, enum side at)
{
    world_open(w, &(struct world_plan) { .devices = row->alone ? 1 : 2,
                                         .patience_ms = hangs(row) ? PATIENCE_MS : 0 });
    if (row->all_in_the_pause)
        world_set(w, "pre-copy", 0);
    plan_faults(at == SIDE_SOURCE ? w->source : w->target, row->alone ? 0 : 1, row);
    if (row->point == POINT_PREPARE)
        begin_alone(w);
    else
        world_begin(w);
}

static void end_row(struct world *w, const struct row *row, enum side at)
{
    struct outcome o = outcome_of(row, at);
    struct party *side = at == SIDE_SOURCE ? w->source : w->target;
    world_join(w);
    print_message("# %s %s at the %s\n", row->faults[0], row->faults[1] ? row->faults[1] : "",
                  side->name);
    if (refdev_server_faults_fired(side->devices[o.device].server) == 0)
        fail_msg("%s never happened", row->faults[0]);
    o.no_device = row->point == POINT_HANDOVER && o.left == OK; /* the error is the target's */
    expect_recovered(w, &o);
    world_close(w);
}

static void walk(const struct row *rows, size_t count, enum side at)
{
    for (size_t i = 0; i < count; i++) {
        struct world w;
        begin_row(&w, &rows[i], at);
        end_row(&w, &rows[i], at);
    }
}

#define WALK(rows, at) walk(rows, sizeof(rows) / sizeof(rows[0]), at)

/* ---- at the source ---- */

static void fault_of_a_source_device_in_prepare_changes_nothing(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_PREPARE, OK, "fail:EIO@command/get-state"),
        ALONE(POINT_PREPARE, OK, "fail:EIO@command/get-state"),
    };
    WALK(rows, SIDE_SOURCE);
}

/* As a kernel does; a server's silence ends with a timeout of the backend's. */
static void device_that_hangs_in_prepare_changes_nothing_else(void **state)
{
    (void)state;
    struct world w;
    struct outcome o = { .point = POINT_PREPARE,
                         .at = SIDE_SOURCE,
                         .left = LOST,
                         .device = 1,
                         .reason = "device-hung",
                         .stage = VMIG_STAGE_PREPARE };
    world_open(&w, &(struct world_plan) { .devices = 2, .patience_ms = 500 });
    witness_side(w.source);
    witness_hang(w.source, 1, WITNESS_GET_STATE, 0);
    begin_alone(&w);
    world_join(&w);
    expect_recovered(&w, &o);
    witness_release(false);
    world_close(&w);
    witness_done();
}

static void fault_of_a_source_device_in_setup_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_SETUP, OK, "fail:EBUSY@arc/PRE_COPY"),
        ROW(POINT_SETUP, OK, "fail:EIO@command/log-start"),
        ROW(POINT_SETUP, RESET, "error@arc/PRE_COPY"),
        ROW(POINT_SETUP, LOST, "error@arc/PRE_COPY", "fail@command/reset"),
        ROW(POINT_SETUP, LOST, "vanish@arc/PRE_COPY"),
    };
    WALK(rows, SIDE_SOURCE);
}

static void fault_of_a_source_device_in_the_rounds_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_ROUNDS, OK, "fail:EIO@read"),
        ROW(POINT_ROUNDS, OK, "fail:EIO@command/log-report#2"),
        ROW(POINT_ROUNDS, RESET, "error@read"),
        ROW(POINT_ROUNDS, RESET, "error@command/info"),
        ROW(POINT_ROUNDS, RESET, "error@command/log-report#2"),
        ROW(POINT_ROUNDS, LOST, "error@read", "fail@command/reset"),
        ROW(POINT_ROUNDS, LOST, "vanish@read"),
        ROW(POINT_ROUNDS, LOST, "vanish@command/log-report#2"),
    };
    WALK(rows, SIDE_SOURCE);
}

static void fault_of_a_source_device_in_quiesce_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* to the P2P state */
        ROW(POINT_QUIESCE, OK, "fail:EBUSY@arc/PRE_COPY_P2P"),
        PAUSED(POINT_QUIESCE, OK, "fail:EBUSY@arc/RUNNING_P2P"),
        ROW(POINT_QUIESCE, RESET, "fail:EBUSY@arc/PRE_COPY_P2P", "fail@arc/RUNNING"),
        ROW(POINT_QUIESCE, RESET, "error@arc/PRE_COPY_P2P"),
        ROW(POINT_QUIESCE, LOST, "error@arc/PRE_COPY_P2P", "fail@command/reset"),
        ROW(POINT_QUIESCE, LOST, "vanish@arc/PRE_COPY_P2P"),
        /* to STOP_COPY */
        ROW(POINT_QUIESCE, OK, "fail:EBUSY@arc/STOP_COPY"),
        ALONE(POINT_QUIESCE, OK, "fail:EBUSY@arc/STOP_COPY"),
        PAUSED(POINT_QUIESCE, OK, "fail:EBUSY@arc/STOP_COPY"),
        PAUSED(POINT_QUIESCE, OK, "fail:EBUSY@arc/STOP"),
        ROW(POINT_QUIESCE, RESET, "fail:EBUSY@arc/STOP_COPY", "fail@arc/RUNNING_P2P"),
        ROW(POINT_QUIESCE, LOST, "fail:EBUSY@arc/STOP_COPY", "fail@arc/RUNNING_P2P",
            "fail@command/reset"),
        ROW(POINT_QUIESCE, RESET, "error@arc/STOP_COPY"),
        ROW(POINT_QUIESCE, LOST, "error@arc/STOP_COPY", "fail@command/reset"),
        ROW(POINT_QUIESCE, LOST, "vanish@arc/STOP_COPY"),
    };
    WALK(rows, SIDE_SOURCE);
}

static void fault_of_a_source_device_in_complete_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        PAUSED(POINT_COMPLETE, OK, "fail:EIO@read"),
        PAUSED(POINT_COMPLETE, RESET, "error@read"),
        PAUSED(POINT_COMPLETE, LOST, "error@read", "fail@command/reset"),
        PAUSED(POINT_COMPLETE, LOST, "vanish@read"),
    };
    WALK(rows, SIDE_SOURCE);
}

/* What the source's device gives is wrong, and nobody notices before the target's has it. */
static void wrong_data_of_a_source_device_is_refused_by_the_target(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ALONE(POINT_ROUNDS, OK, "corrupt@read"),
        PAUSED(POINT_COMPLETE, OK, "corrupt@read"),
        ALONE(POINT_ROUNDS, OK, "corrupt@byte#9000"),
        PAUSED(POINT_COMPLETE, OK, "corrupt@byte#9000"),
        PAUSED(POINT_COMPLETE, OK, "truncate@read"),
        PAUSED(POINT_COMPLETE, OK, "lie:0@read"),
        PAUSED(POINT_COMPLETE, OK, "lie:100@read"),
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        struct outcome o = { .point = rows[i].point, .at = SIDE_TARGET };
        world_open(&w, &(struct world_plan) { .devices = 1 });
        if (rows[i].all_in_the_pause)
            world_set(&w, "pre-copy", 0);
        plan_faults(w.source, 0, &rows[i]);
        world_move(&w);
        print_message("# %s\n", rows[i].faults[0]);
        assert_true(refdev_server_faults_fired(w.source->devices[0].server) > 0);
        expect_recovered(&w, &o);
        world_close(&w);
    }
}

/* The way back: the target refuses at the end, and then the source's device does not want to. */
static int refuse(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return -EBADMSG;
}

static const struct vmig_participant_ops refuses_at_the_end = {
    .size = sizeof(struct vmig_participant_ops), .load_complete = refuse
};

static void add_participants(struct world *w, const struct vmig_participant_ops *ops)
{
    x(vmig_migration_add_participant(w->source->m, "other", ops, NULL, &err));
    x(vmig_migration_add_participant(w->target->m, "other", ops, NULL, &err));
}

static void begin_way_back(struct world *w, const struct row *row)
{
    world_open(w,
               &(struct world_plan) { .devices = 2, .patience_ms = hangs(row) ? PATIENCE_MS : 0 });
    add_participants(w, &refuses_at_the_end);
    plan_faults(w->source, 1, row);
    world_begin(w);
}

static void fault_on_the_way_back_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* refused once, it waits in STOP and goes with the others */
        ROW(POINT_HANDOVER, OK, "fail:EBUSY@arc/RUNNING_P2P"),
        ROW(POINT_HANDOVER, RESET, "fail:EBUSY@arc/RUNNING_P2P#1+"),
        ROW(POINT_HANDOVER, RESET, "fail:EBUSY@arc/RUNNING"),
        ROW(POINT_HANDOVER, RESET, "error@arc/RUNNING_P2P"),
        ROW(POINT_HANDOVER, LOST, "fail:EBUSY@arc/RUNNING", "fail@command/reset"),
        ROW(POINT_HANDOVER, LOST, "vanish@arc/RUNNING_P2P"),
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        begin_way_back(&w, &rows[i]);
        end_row(&w, &rows[i], SIDE_SOURCE);
    }
}

static void fault_of_a_source_device_in_cleanup_is_a_warning(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_CLEANUP, RESET, "fail:EBUSY@arc/STOP"),
        ROW(POINT_CLEANUP, RESET, "error@arc/STOP"),
        ROW(POINT_CLEANUP, LOST, "fail:EBUSY@arc/STOP", "fail@command/reset"),
        ROW(POINT_CLEANUP, LOST, "vanish@arc/STOP"),
    };
    WALK(rows, SIDE_SOURCE);
}

/* ---- at the target ---- */

static void fault_of_a_target_device_in_setup_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_SETUP, OK, "fail:EBUSY@arc/RESUMING"),
        ROW(POINT_SETUP, RESET, "fail:EBUSY@arc/RESUMING", "fail@arc/RUNNING"),
        ROW(POINT_SETUP, RESET, "error@arc/RESUMING"),
        ROW(POINT_SETUP, LOST, "error@arc/RESUMING", "fail@command/reset#1+"),
        ROW(POINT_SETUP, LOST, "vanish@arc/RESUMING"),
    };
    WALK(rows, SIDE_TARGET);
}

static void fault_of_a_target_device_while_it_loads_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_ROUNDS, OK, "fail:EIO@write"),
        ROW(POINT_ROUNDS, OK, "corrupt@write"),
        ROW(POINT_COMPLETE, OK, "truncate@write"),
        ROW(POINT_ROUNDS, OK, "error@write"),
        ROW(POINT_ROUNDS, LOST, "fail:EIO@write", "fail@command/reset"),
        ROW(POINT_ROUNDS, LOST, "vanish@write"),
        PAUSED(POINT_COMPLETE, OK, "fail:EIO@write"),
        PAUSED(POINT_COMPLETE, OK, "corrupt@write"),
        PAUSED(POINT_COMPLETE, LOST, "vanish@write"),
    };
    WALK(rows, SIDE_TARGET);
}

/* The second change to STOP is that out of RESUMING, where drivers check what they loaded. */
static void fault_of_a_target_device_in_complete_ends_as_the_table_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_COMPLETE, RESET, "fail:EIO@arc/STOP#2"),
        ROW(POINT_COMPLETE, RESET, "error@arc/STOP#2"),
        ROW(POINT_COMPLETE, LOST, "fail:EIO@arc/STOP#2", "fail@command/reset"),
        ROW(POINT_COMPLETE, LOST, "vanish@arc/STOP#2"),
    };
    WALK(rows, SIDE_TARGET);
}

static void fault_of_a_target_device_before_anything_runs_gives_it_all_back(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ALONE(POINT_START, OK, "fail:EBUSY@arc/RUNNING_P2P#2"),
        ALONE(POINT_START, RESET, "error@arc/RUNNING_P2P#2"),
        ALONE(POINT_START, LOST, "fail:EBUSY@arc/RUNNING_P2P#2", "fail@command/reset"),
    };
    WALK(rows, SIDE_TARGET);
}

static void fault_of_a_target_device_once_something_ran_leaves_all_where_it_is(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_STARTED, OK, "fail:EBUSY@arc/RUNNING_P2P#2"),
        ROW(POINT_STARTED, OK, "fail:EBUSY@arc/RUNNING"),
        ALONE(POINT_STARTED, OK, "fail:EBUSY@arc/RUNNING"),
        ROW(POINT_STARTED, RESET, "error@arc/RUNNING"),
        ROW(POINT_STARTED, LOST, "vanish@arc/RUNNING"),
        ALONE(POINT_STARTED, LOST, "vanish@arc/RUNNING_P2P#2"),
    };
    WALK(rows, SIDE_TARGET);
}

/* ---- devices that hang, on either side ---- */

/* A server that does not answer: the backend's timeouts end it, call by call. All at a time, since
 * all wait for the same. */
static void device_that_does_not_answer_is_lost_wherever_it_is(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(POINT_SETUP, LOST, "hang@arc/PRE_COPY"),
        ROW(POINT_SETUP, LOST, "hang@command/log-start"),
        ROW(POINT_ROUNDS, LOST, "hang@read"),
        ROW(POINT_ROUNDS, LOST, "hang@command/info"),
        ROW(POINT_ROUNDS, LOST, "hang@command/log-report#2"),
        ROW(POINT_QUIESCE, LOST, "hang@arc/PRE_COPY_P2P"),
        ROW(POINT_QUIESCE, LOST, "hang@arc/STOP_COPY"),
        PAUSED(POINT_COMPLETE, LOST, "hang@read"),
        ROW(POINT_HANDOVER, LOST, "hang@arc/RUNNING_P2P"),
        ROW(POINT_HANDOVER, LOST, "hang@arc/RUNNING"),
        ROW(POINT_CLEANUP, LOST, "hang@arc/STOP"),
        /* the target's */
        ROW(POINT_SETUP, LOST, "hang@arc/RESUMING"),
        ROW(POINT_ROUNDS, LOST, "hang@write"),
        ROW(POINT_COMPLETE, LOST, "hang@arc/STOP#2"),
        ALONE(POINT_STARTED, LOST, "hang@arc/RUNNING_P2P#2"),
        ROW(POINT_STARTED, LOST, "hang@arc/RUNNING"),
    };
    enum { SOURCES = 11, ROWS = sizeof(rows) / sizeof(rows[0]) };
    static struct world worlds[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].point == POINT_HANDOVER)
            begin_way_back(&worlds[i], &rows[i]);
        else
            begin_row(&worlds[i], &rows[i], i < SOURCES ? SIDE_SOURCE : SIDE_TARGET);
    }
    for (size_t i = 0; i < ROWS; i++)
        end_row(&worlds[i], &rows[i], i < SOURCES ? SIDE_SOURCE : SIDE_TARGET);
}

/* ---- participants of the host ---- */

static struct party *refusing_side;

static int refuse_prepare(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    return error_set(err, EBADMSG, VMIG_STAGE_NONE, NULL, "not-today", "it does not want to");
}

static int refuse_pending(void *opaque, bool exact, struct vmig_pending *ret,
                          struct vmig_error *err)
{
    (void)exact;
    (void)ret;
    return refuse_prepare(opaque, err);
}

static int refuse_iterate(void *opaque, struct vmig_writer *writer, uint64_t budget_bytes,
                          struct vmig_error *err)
{
    (void)writer;
    (void)budget_bytes;
    return refuse_prepare(opaque, err);
}

static int refuse_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    (void)writer;
    return refuse_prepare(opaque, err);
}

static int send_a_byte(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    (void)opaque;
    return vmig_writer_put(writer, "x", 1, err);
}

static int refuse_load(void *opaque, const void *buf, size_t length_bytes, struct vmig_error *err)
{
    (void)buf;
    (void)length_bytes;
    return refuse_prepare(opaque, err);
}

#define OPS(...)                                                                                   \
    {                                                                                              \
        .size = sizeof(struct vmig_participant_ops), __VA_ARGS__                                   \
    }

static int start_gladly(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    (void)err;
    return 0;
}

static void add_beside(struct world *w)
{
    static const struct vmig_participant_ops ops = OPS(.start = start_gladly);
    x(vmig_migration_add_participant(w->source->m, "beside", &ops, NULL, &err));
    x(vmig_migration_add_participant(w->target->m, "beside", &ops, NULL, &err));
}

static void participant_that_refuses_is_as_good_as_a_device(void **state)
{
    (void)state;
    static const struct {
        struct vmig_participant_ops ops;
        enum recovery_point point;
        enum side at;
        enum vmig_health left;
        enum { WITH_DEVICE, ALONE, BESIDE } company; /* BESIDE: another one, which starts gladly */
    } rows[] = {
        { OPS(.prepare = refuse_prepare), POINT_PREPARE, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.setup = refuse_prepare), POINT_SETUP, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.pending = refuse_pending), POINT_ROUNDS, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.iterate = refuse_iterate), POINT_ROUNDS, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.quiesce = refuse_prepare), POINT_QUIESCE, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.stop = refuse_prepare), POINT_QUIESCE, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.complete = refuse_complete), POINT_COMPLETE, SIDE_SOURCE, OK, WITH_DEVICE },
        { OPS(.stop = refuse_prepare, .resume_p2p = refuse_prepare), POINT_QUIESCE, SIDE_SOURCE, OK,
          WITH_DEVICE },
        { OPS(.stop = refuse_prepare, .resume = refuse_prepare), POINT_QUIESCE, SIDE_SOURCE, RESET,
          WITH_DEVICE },
        { OPS(.load_setup = refuse_prepare), POINT_SETUP, SIDE_TARGET, OK, WITH_DEVICE },
        { OPS(.complete = send_a_byte, .load = refuse_load), POINT_COMPLETE, SIDE_TARGET, OK,
          WITH_DEVICE },
        { OPS(.load_complete = refuse_prepare), POINT_COMPLETE, SIDE_TARGET, OK, WITH_DEVICE },
        { OPS(.start_p2p = refuse_prepare), POINT_START, SIDE_TARGET, OK, ALONE },
        { OPS(.start = refuse_prepare), POINT_START, SIDE_TARGET, OK, ALONE },
        { OPS(.start_p2p = refuse_prepare), POINT_STARTED, SIDE_TARGET, OK, WITH_DEVICE },
        { OPS(.start = refuse_prepare), POINT_STARTED, SIDE_TARGET, OK, WITH_DEVICE },
        { OPS(.start = refuse_prepare), POINT_STARTED, SIDE_TARGET, OK, BESIDE },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        bool resumes = rows[i].left == OK;
        struct outcome o = { .point = rows[i].point,
                             .at = rows[i].at,
                             .left = rows[i].left,
                             .no_device = true,
                             .reason = !resumes                         ? "device-state-lost"
                                       : rows[i].point == POINT_STARTED ? "workload-stopped"
                                                                        : "not-today",
                             .text = "it does not want to" };
        world_open(&w, &(struct world_plan) { .devices = rows[i].company == WITH_DEVICE });
        refusing_side = rows[i].at == SIDE_SOURCE ? w.source : w.target;
        add_participants(&w, &rows[i].ops);
        if (rows[i].company == BESIDE)
            add_beside(&w);
        if (rows[i].point == POINT_PREPARE)
            begin_alone(&w);
        else
            world_begin(&w);
        world_join(&w);
        print_message("# row %zu\n", i);
        assert_string_equal(refusing_side->err.device, "other");
        expect_recovered(&w, &o);
        world_close(&w);
    }
}

/* ---- the host's callbacks ---- */

static int refuse_host(void *opaque, struct vmig_error *err)
{
    (void)opaque;
    return error_set(err, EAGAIN, VMIG_STAGE_NONE, NULL, "not-today", "the host cannot");
}

/* Some of it stands already when it fails. */
static int stop_half(void *opaque, struct vmig_error *err)
{
    struct party *side = opaque;
    workload_stop(&side->load);
    return refuse_host(opaque, err);
}

static void host_that_cannot_stop_goes_on(void **state)
{
    (void)state;
    struct world w;
    struct outcome o = { .point = POINT_QUIESCE,
                         .at = SIDE_SOURCE,
                         .no_device = true,
                         .reason = "not-today",
                         .stage = VMIG_STAGE_QUIESCE };
    world_open(&w, &(struct world_plan) { .devices = 1 });
    w.source->m->host.stop = stop_half;
    world_move(&w);
    expect_recovered(&w, &o);
    world_close(&w);
}

/* Its devices have their state, but nobody drives them. */
static void host_that_cannot_start_again_stands_still(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    add_participants(&w, &refuses_at_the_end);
    w.source->m->host.start = refuse_host;
    world_move(&w);
    party_failed(w.source, -EAGAIN, "workload-stopped", "the host cannot");
    assert_int_equal(cmd_exit_of(&w.source->err), CMD_DEVICE_LOST);
    assert_false(w.source->runs);
    assert_int_equal(party_state(w.source, 0), VMIG_STATE_RUNNING);
    assert_int_equal(vmig_device_health(w.source->devices[0].device), VMIG_HEALTH_OK);
    party_is_still(w.target);
    world_close(&w);
}

static void host_that_cannot_start_at_the_target(void **state)
{
    (void)state;
    for (unsigned devices = 0; devices < 2; devices++) {
        struct world w;
        struct outcome o = { .point = devices ? POINT_STARTED : POINT_START,
                             .at = SIDE_TARGET,
                             .no_device = true,
                             .text = "the host cannot" };
        world_open(&w, &(struct world_plan) { .devices = devices });
        w.target->m->host.start = refuse_host;
        world_move(&w);
        expect_recovered(&w, &o);
        world_close(&w);
    }
}

/* ---- links and cancels ---- */

static const struct {
    enum vmig_stage stage;
    enum recovery_point point;
} stages[] = {
    { VMIG_STAGE_PREPARE, POINT_PREPARE }, { VMIG_STAGE_SETUP, POINT_SETUP },
    { VMIG_STAGE_ROUNDS, POINT_ROUNDS },   { VMIG_STAGE_SWITCHOVER, POINT_SWITCHOVER },
    { VMIG_STAGE_QUIESCE, POINT_QUIESCE }, { VMIG_STAGE_COMPLETE, POINT_COMPLETE },
};

static enum vmig_stage when;

static void cut_then(struct party *side, enum vmig_stage stage)
{
    if (stage == when && side->world->relay)
        relay_cut(side->world->relay);
}

static void link_that_is_cut_leaves_all_with_the_source(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        struct world w;
        struct outcome o = { .point = stages[i].point, .at = SIDE_SOURCE, .no_device = true };
        when = stages[i].stage;
        if (when == VMIG_STAGE_PREPARE || when == VMIG_STAGE_SWITCHOVER)
            continue; /* before there is a link; and where nothing needs to be waited for */
        world_open(&w, &(struct world_plan) { .devices = 2, .relay = true });
        w.relay = relay_new(&(struct relay_plan) { .after = UINT64_MAX });
        w.source->on_stage = cut_then;
        world_move(&w);
        print_message("# in %s\n", vmig_stage_name(when));
        expect_recovered(&w, &o);
        world_close(&w);
    }
}

static void link_that_is_cut_in_the_hand_over_leaves_all_held(void **state)
{
    (void)state;
    struct world w;
    struct outcome o = { .point = POINT_GAVE_UP, .at = SIDE_SOURCE, .no_device = true };
    world_open(&w, &(struct world_plan) { .devices = 2, .relay = true });
    w.relay = relay_new(&(struct relay_plan) { .inside_go = true });
    world_move(&w);
    o.reason = "handover-unresolved";
    expect_recovered(&w, &o);
    world_close(&w);

    o.point = POINT_GO;
    world_open(&w, &(struct world_plan) { .devices = 2, .relay = true });
    w.relay = relay_new(&(struct relay_plan) { .after_go = true });
    world_move(&w);
    expect_recovered(&w, &o);
    world_close(&w);
}

static void cancel_then(struct party *side, enum vmig_stage stage)
{
    if (stage == when)
        vmig_migration_cancel(side->m);
}

static void cancelled_side_ends_as_one_that_failed(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(stages) / sizeof(stages[0]); i++) {
        struct world w;
        bool source = i % 2;
        struct outcome o = { .point = stages[i / 2].point,
                             .at = source ? SIDE_SOURCE : SIDE_TARGET,
                             .no_device = true,
                             .cancelled = true };
        when = stages[i / 2].stage;
        /* stages that this side has not, or where it would listen for ever */
        if (when == VMIG_STAGE_SWITCHOVER || when == VMIG_STAGE_PREPARE ||
            (!source && when == VMIG_STAGE_QUIESCE))
            continue;
        world_open(&w, &(struct world_plan) { .devices = 2 });
        (source ? w.source : w.target)->on_stage = cancel_then;
        world_move(&w);
        print_message("# the %s in %s\n", source ? "source" : "target", vmig_stage_name(when));
        expect_recovered(&w, &o);
        world_close(&w);
    }
}

/* ---- devices found in ERROR ---- */

static void go_wrong(struct party *side, enum vmig_stage stage)
{
    if (stage == when)
        witness_error(side, 1);
}

/* Nobody asked it to do anything; it is found there by whatever is asked next, and only a reset
 * leads out. */
static void device_found_in_error_has_lost_its_state(void **state)
{
    (void)state;
    static const struct {
        enum vmig_stage stage;
        enum recovery_point point;
        enum side at;
        enum vmig_health left;
    } rows[] = {
        { VMIG_STAGE_SETUP, POINT_SETUP, SIDE_SOURCE, RESET },
        { VMIG_STAGE_ROUNDS, POINT_ROUNDS, SIDE_SOURCE, RESET },
        { VMIG_STAGE_QUIESCE, POINT_QUIESCE, SIDE_SOURCE, RESET },
        { VMIG_STAGE_SETUP, POINT_SETUP, SIDE_TARGET, OK },
        { VMIG_STAGE_COMPLETE, POINT_COMPLETE, SIDE_TARGET, OK },
        { VMIG_STAGE_RESUME, POINT_STARTED, SIDE_TARGET, OK },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 2 });
        struct party *side = rows[i].at == SIDE_SOURCE ? w.source : w.target;
        struct outcome o = {
            .point = rows[i].point, .at = rows[i].at, .left = rows[i].left, .device = 1
        };
        when = rows[i].stage;
        witness_side(side);
        side->on_stage = go_wrong;
        world_move(&w);
        print_message("# the %s in %s\n", side->name, vmig_stage_name(when));
        if (rows[i].point != POINT_STARTED)
            expect_recovered(&w, &o);
        else /* it is kept as it is: in ERROR */
            party_failed(side, -EINVAL, "workload-stopped", "only a reset helps");
        world_close(&w);
        witness_done();
    }
}

static void device_in_error_is_refused_before_anything_is_touched(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 2 });
    witness_side(w.source);
    witness_error(w.source, 1);
    begin_alone(&w);
    world_join(&w);
    party_failed(w.source, -EBUSY, "vfio-state", "ERROR");
    assert_int_equal(cmd_exit_of(&w.source->err), CMD_REFUSED);
    assert_int_equal(party_state(w.source, 1), VMIG_STATE_ERROR);
    assert_int_equal(party_state(w.source, 0), VMIG_STATE_RUNNING);
    assert_true(w.source->runs);
    world_close(&w);
    witness_done();
}

/* ---- the table ---- */

static char *read_page(void)
{
    char path[4096];
    const char *data = getenv("TEST_DATA");
    snprintf(path, sizeof(path), "%s/../../man/vfio-migrate.7", data ? data : "tests/data");
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 262144);
    if (!file || fread(text, 1, 262143, file) == 0)
        fail_msg("cannot read %s", path);
    fclose(file);
    return text;
}

static unsigned lines_between(const char *page, const char *from, const char *to)
{
    const char *at = strstr(page, from), *end = at ? strstr(at, to) : NULL;
    unsigned count = 0;
    assert_non_null(end);
    for (; (at = strstr(at, "\n.It ")) && at < end; at++)
        count++;
    return count;
}

static void expect_line(const char *page, const char *line)
{
    if (!strstr(page, line))
        fail_msg("the page has no line \"%s\"", line + 1);
}

static const char *state_text(unsigned state, const char *instead)
{
    return state == VMIG_STATE_ERROR ? instead : vmig_state_name((enum vmig_state)state);
}

static unsigned expect_arc(const char *page, const char *name, unsigned to, unsigned recover)
{
    char line[200];
    if (to == RECOVERY_NO_STATE)
        return 0;
    snprintf(line, sizeof(line), "\n.It %s Ta %s Ta %s Ta %s\n", name, vmig_state_name(to),
             state_text(recover, "reset"), recover == VMIG_STATE_ERROR ? "lost" : "reset");
    expect_line(page, line);
    return 1;
}

static void manual_has_the_way_of_each_step(void **state)
{
    (void)state;
    char *page = read_page();
    const struct recovery_arc *arc;
    unsigned count = 0;
    for (unsigned n = 0; (arc = recovery_arc_at(n)); n++) {
        count += expect_arc(page, arc->name, arc->to, arc->recover);
        if (arc->to != arc->to_alone || arc->recover != arc->recover_alone)
            count += expect_arc(page, arc->name, arc->to_alone, arc->recover_alone);
    }
    assert_int_equal(lines_between(page, ".It Sy step Ta", ".Ss Who ends with what"), count);
    free(page);
}

static void describe(unsigned bits, const char *const names[], unsigned count, char *ret,
                     size_t size)
{
    ret[0] = '\0';
    if (bits == (1u << count) - 1)
        snprintf(ret, size, "any");
    else
        for (unsigned i = 0; i < count; i++)
            if (bits & 1u << i)
                snprintf(ret + strlen(ret), size - strlen(ret), "%s%s", ret[0] ? ", " : "",
                         names[i]);
}

static void manual_has_the_table(void **state)
{
    (void)state;
    static const char *const sides[] = { "source", "target" };
    static const char *const lefts[] = { "state", "reset", "lost" };
    char *page = read_page();
    const struct recovery_row *row;
    unsigned n;
    for (n = 0; (row = recovery_row_at(n)); n++) {
        char line[400], until[80], at[40], left[60];
        snprintf(until, sizeof(until), "%s%s%s", recovery_point_name(row->first),
                 row->first == row->last ? "" : " to ",
                 row->first == row->last ? "" : recovery_point_name(row->last));
        describe(row->at >> SIDE_SOURCE, sides, 2, at, sizeof(at));
        describe(row->worst, lefts, 3, left, sizeof(left));
        snprintf(line, sizeof(line), "\n.It %s Ta %s Ta %s Ta %s Ta %s Ta %s Ta %d, %d\n", until,
                 at, left, recovery_end_name(row->source), recovery_end_name(row->target),
                 recovery_workload_name(row->workload), row->source_exit, row->target_exit);
        expect_line(page, line);
    }
    assert_int_equal(lines_between(page, ".It Sy until Ta", ".Bl -tag -width \"started in part\""),
                     n);
    free(page);
}

static void no_two_rows_are_about_the_same(void **state)
{
    (void)state;
    for (unsigned point = 0; point < POINT_COUNT; point++)
        for (unsigned at = SIDE_SOURCE; at <= SIDE_TARGET; at++)
            for (unsigned left = OK; left <= LOST; left++) {
                unsigned found = 0;
                const struct recovery_row *row;
                for (unsigned n = 0; (row = recovery_row_at(n)); n++)
                    found += row->first <= point && point <= row->last && row->at & 1u << at &&
                             row->worst & 1u << left;
                bool can_be =
                    point != POINT_PREPARE || left == OK || (left == LOST && at == SIDE_SOURCE);
                assert_int_equal(found, can_be);
            }
}

static void every_row_was_met(void **state)
{
    (void)state;
    expect_every_row_met();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_rows_are_about_the_same),
        cmocka_unit_test(manual_has_the_way_of_each_step),
        cmocka_unit_test(manual_has_the_table),
        cmocka_unit_test(fault_of_a_source_device_in_prepare_changes_nothing),
        cmocka_unit_test(device_that_hangs_in_prepare_changes_nothing_else),
        cmocka_unit_test(fault_of_a_source_device_in_setup_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_source_device_in_the_rounds_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_source_device_in_quiesce_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_source_device_in_complete_ends_as_the_table_says),
        cmocka_unit_test(wrong_data_of_a_source_device_is_refused_by_the_target),
        cmocka_unit_test(fault_on_the_way_back_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_source_device_in_cleanup_is_a_warning),
        cmocka_unit_test(fault_of_a_target_device_in_setup_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_target_device_while_it_loads_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_target_device_in_complete_ends_as_the_table_says),
        cmocka_unit_test(fault_of_a_target_device_before_anything_runs_gives_it_all_back),
        cmocka_unit_test(fault_of_a_target_device_once_something_ran_leaves_all_where_it_is),
        cmocka_unit_test(device_that_does_not_answer_is_lost_wherever_it_is),
        cmocka_unit_test(participant_that_refuses_is_as_good_as_a_device),
        cmocka_unit_test(host_that_cannot_stop_goes_on),
        cmocka_unit_test(host_that_cannot_start_again_stands_still),
        cmocka_unit_test(host_that_cannot_start_at_the_target),
        cmocka_unit_test(link_that_is_cut_leaves_all_with_the_source),
        cmocka_unit_test(link_that_is_cut_in_the_hand_over_leaves_all_held),
        cmocka_unit_test(cancelled_side_ends_as_one_that_failed),
        cmocka_unit_test(device_found_in_error_has_lost_its_state),
        cmocka_unit_test(device_in_error_is_refused_before_anything_is_touched),
        cmocka_unit_test(every_row_was_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
