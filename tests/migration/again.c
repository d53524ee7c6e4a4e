/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one attempt leaves for the next: nothing. After each kind of failure, at the moment when the
 * next attempt prepares, the migration and its participants are, byte for byte, what they were when the
 * first one did; but for what a list here names, so that a member which is added later and not put back
 * is found.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/migration/world.h"

/* ---- what may differ ---- */

struct member {
    const char *name;
    size_t offset, size;
};
#define MEMBER(type, name)                                                                         \
    {                                                                                              \
#name, offsetof(struct type, name), sizeof(((struct type *)NULL)->name)                    \
    }

/* Threads, locks and times are new, also the time before the first stage; settings are no part of an
 * attempt; num_lanes tells how many lanes mean something, and buffers are there to be used again. */
static const struct member of_migration[] = {
    MEMBER(vmig_migration, parameters),    MEMBER(vmig_migration, capabilities),
    MEMBER(vmig_migration, listeners),     MEMBER(vmig_migration, observers),
    MEMBER(vmig_migration, lock),          MEMBER(vmig_migration, changed),
    MEMBER(vmig_migration, own_blockers),  MEMBER(vmig_migration, stage_start_ns),
    MEMBER(vmig_migration, watch),         MEMBER(vmig_migration, statistics.stage_ms[0]),
    MEMBER(vmig_migration, rate.start_ns), MEMBER(vmig_migration, lanes),
    MEMBER(vmig_migration, return_path),   MEMBER(vmig_migration, identity),
    MEMBER(vmig_migration, main_write),    MEMBER(vmig_migration, ram_lock),
    MEMBER(vmig_migration, throttle.lock), MEMBER(vmig_migration, start_ns),
    MEMBER(vmig_migration, run.commander), MEMBER(vmig_migration, runner),
};
static const struct member of_participant[] = {
    MEMBER(participant, worker),          MEMBER(participant, inbox.lock),
    MEMBER(participant, inbox.changed),   MEMBER(participant, inbox.spare),
    MEMBER(participant, inbox.num_spare),
};

static bool is_among(const struct member *members, size_t count, size_t offset)
{
    for (size_t i = 0; i < count; i++)
        if (offset >= members[i].offset && offset - members[i].offset < members[i].size)
            return true;
    return false;
}

/* ---- pictures ---- */

struct picture {
    struct vmig_migration m;
    struct participant participants[8];
    bool taken;
};

static struct {
    struct picture first[2], now[2]; /* source, target */
} * pictures;

static void take(struct party *side, enum vmig_stage stage)
{
    struct picture *p = &pictures->now[side == side->world->target];
    if (stage != VMIG_STAGE_PREPARE)
        return;
    memcpy(&p->m, side->m, sizeof(p->m));
    for (unsigned i = 0; i < side->m->num_participants; i++)
        memcpy(&p->participants[i], side->m->participants[i], sizeof(p->participants[i]));
    p->taken = true;
}

static void compare(const char *after, const char *what, const void *first, const void *now,
                    size_t size, const struct member *members, size_t count)
{
    const unsigned char *a = first, *b = now;
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i] && !is_among(members, count, i))
            fail_msg("after %s: byte %zu of %s was %#x and is %#x", after, i, what, a[i], b[i]);
}

static void looks_like_the_first(const struct world *w, const char *after)
{
    for (unsigned side = 0; side < 2; side++) {
        struct picture *first = &pictures->first[side], *now = &pictures->now[side];
        if (!now->taken)
            continue;
        now->taken = false;
        if (!first->taken) {
            *first = *now;
            first->taken = true;
            continue;
        }
        compare(after, side ? "the target" : "the source", &first->m, &now->m, sizeof(now->m),
                of_migration, sizeof(of_migration) / sizeof(of_migration[0]));
        for (unsigned i = 0; i < now->m.num_participants; i++)
            compare(after, w->parties[side].m->participants[i]->id, &first->participants[i],
                    &now->participants[i], sizeof(now->participants[i]), of_participant,
                    sizeof(of_participant) / sizeof(of_participant[0]));
    }
}

/* ---- failures ---- */

enum refuser { NOBODY, PREPARE, SETUP, ITERATE, QUIESCE, STOP, COMPLETE, LOAD_SETUP, LOAD, CHECK };
static enum refuser refuser;
static bool host_refuses;

static int refuse_at(enum refuser me, struct vmig_error *err)
{
    (void)err;
    return refuser == me ? -EBADMSG : 0;
}

#define OPERATION(name, me)                                                                        \
    static int name(void *opaque, struct vmig_error *err)                                          \
    {                                                                                              \
        (void)opaque;                                                                              \
        return refuse_at(me, err);                                                                 \
    }
OPERATION(on_prepare, PREPARE)
OPERATION(on_setup, SETUP)
OPERATION(on_quiesce, QUIESCE)
OPERATION(on_stop_op, STOP)
OPERATION(on_load_setup, LOAD_SETUP)
OPERATION(on_check, CHECK)

static int send_some(enum refuser me, struct vmig_writer *writer, struct vmig_error *err)
{
    int rc = refuse_at(me, err);
    return rc < 0 ? rc : vmig_writer_put(writer, "some", 4, err);
}

static int on_iterate(void *opaque, struct vmig_writer *writer, uint64_t budget,
                      struct vmig_error *err)
{
    (void)opaque;
    (void)budget;
    return send_some(ITERATE, writer, err);
}

static int on_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    (void)opaque;
    return send_some(COMPLETE, writer, err);
}

static int on_load(void *opaque, const void *buf, size_t length, struct vmig_error *err)
{
    (void)opaque;
    (void)buf;
    (void)length;
    return refuse_at(LOAD, err);
}

static const struct vmig_participant_ops refusing = {
    .size = sizeof(refusing),
    .prepare = on_prepare,
    .setup = on_setup,
    .iterate = on_iterate,
    .quiesce = on_quiesce,
    .stop = on_stop_op,
    .complete = on_complete,
    .load_setup = on_load_setup,
    .load = on_load,
    .load_complete = on_check,
};

static int (*worlds_stop)(void *opaque, struct vmig_error *err);

static int stop_unless_refused(void *opaque, struct vmig_error *err)
{
    int rc = worlds_stop(opaque, err); /* in any case: start() follows */
    return host_refuses ? -EIO : rc;
}

static enum vmig_stage cancel_in;
static bool cancel_target;

static void on_stage(struct party *side, enum vmig_stage stage)
{
    take(side, stage);
    if (stage == cancel_in && (side == side->world->target) == cancel_target)
        vmig_migration_cancel(side->m);
}

/* One kind: what goes wrong. 0 and NULL: not that. */
static const struct kind {
    const char *name;
    enum refuser refuser;
    enum vmig_stage cancel_in;
    bool cancel_target, host_refuses, no_target, never_converges;
    const char *source_fault, *target_fault;
} kinds[] = {
    { .name = "a cancel at the source", .cancel_in = VMIG_STAGE_ROUNDS },
    { .name = "a late cancel at the source", .cancel_in = VMIG_STAGE_COMPLETE },
    { .name = "a cancel at the target", .cancel_in = VMIG_STAGE_ROUNDS, .cancel_target = true },
    { .name = "nobody who listens", .no_target = true },
    { .name = "a pause that is too long", .never_converges = true },
    { .name = "a host that does not stop", .host_refuses = true },
    { .name = "a participant's prepare", .refuser = PREPARE },
    { .name = "a participant's setup", .refuser = SETUP },
    { .name = "a participant's iterate", .refuser = ITERATE },
    { .name = "a participant's quiesce", .refuser = QUIESCE },
    { .name = "a participant's stop", .refuser = STOP },
    { .name = "a participant's complete", .refuser = COMPLETE },
    { .name = "a participant's load-setup", .refuser = LOAD_SETUP },
    { .name = "a participant's load", .refuser = LOAD },
    { .name = "a participant's check", .refuser = CHECK },
    { .name = "a device that refuses PRE_COPY", .source_fault = "fail@arc/PRE_COPY" },
    { .name = "a device whose data cannot be read", .source_fault = "fail@read" },
    { .name = "a device that refuses STOP_COPY", .source_fault = "fail@arc/STOP_COPY" },
    { .name = "a device that refuses its data", .target_fault = "fail@write" },
    { .name = "a device that refuses to load", .target_fault = "fail@arc/STOP#2" },
};

static void arrange(struct world *w, const struct kind *kind)
{
    refuser = kind->refuser;
    host_refuses = kind->host_refuses;
    cancel_in = kind->cancel_in;
    cancel_target = kind->cancel_target;
    party_fault(w->source, 0, kind->source_fault);
    party_fault(w->target, 0, kind->target_fault);
    party_set(w->source, "max-rounds", kind->never_converges ? 1 : 30);
    party_set(w->source, "downtime-limit", kind->never_converges ? 0 : 100000);
}

static void fail_once(struct world *w, const struct kind *kind)
{
    arrange(w, kind);
    if (kind->no_target) {
        party_start(w->source, true, "unix:/nowhere/at/all");
        party_join(w->source);
    } else {
        world_begin(w);
        party_join(w->source);
        if (kind->refuser == PREPARE)
            vmig_migration_cancel(w->target->m); /* it heard of nobody */
        world_join(w);
        assert_true(w->target->rc < 0);
    }
    if (w->source->rc >= 0)
        fail_msg("%s kept nothing from moving", kind->name);
    party_goes_on(w->source);
}

static void each_kind_of_failure_leaves_nothing_for_the_next_attempt(void **state)
{
    (void)state;
    struct world w;
    pictures = calloc(1, sizeof(*pictures));
    world_open(&w, &(struct world_plan) { .devices = 1 });
    worlds_stop = w.source->m->host.stop;
    w.source->m->host.stop = stop_unless_refused;
    for (unsigned i = 0; i < 2; i++) {
        w.parties[i].on_stage = on_stage;
        x(vmig_migration_add_participant(w.parties[i].m, "refusing", &refusing, NULL, &err));
    }
    const char *after = "nothing";
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        fail_once(&w, &kinds[i]);
        looks_like_the_first(&w, after);
        after = kinds[i].name;
    }
    arrange(&w, &(struct kind) { .name = "nothing" });
    world_move(&w);
    looks_like_the_first(&w, after);
    w.parties[0].on_stage = w.parties[1].on_stage = NULL;
    world_moved(&w);
    world_close(&w);
    free(pictures);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_failure_leaves_nothing_for_the_next_attempt),
    };
    return cmocka_run_group_tests_name("again", tests, NULL, NULL);
}
