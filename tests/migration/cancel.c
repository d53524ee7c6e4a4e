/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cancelling at any moment: it has happened when send or receive returns, or the engine says what it
 * waits for. Proved by order and not by time: an operation of a participant is held until the
 * engine has named it, a link until the cancelled side has returned.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/channel/lookup.h"
#include "lib/cleanup.h"
#include "lib/migration/control.h"
#include "tests/migration/relay.h"
#include "tests/migration/world.h"

/* ---- a participant that is held in one of its operations ---- */

static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct party *side; /* where it is held, and in what */
    enum step at;
    const char *name; /* how the engine calls that; NULL: it need not */
    bool held, open, named, late;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void gate_close(struct party *side, enum step at, const char *name)
{
    gate.side = side;
    gate.at = at;
    gate.name = name;
    gate.held = gate.open = gate.named = gate.late = false;
}

static int pass(void *opaque, enum step step)
{
    LOCK_SCOPE(&gate.lock);
    if (gate.side != opaque || gate.at != step)
        return 0;
    gate.held = true;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    return 0;
}

static void gate_open(void)
{
    LOCK_SCOPE(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
}

static void gate_await(const bool *what)
{
    LOCK_SCOPE(&gate.lock);
    while (!*what)
        pthread_cond_wait(&gate.changed, &gate.lock);
}

#define OPERATION(name, step)                                                                      \
    static int slow_##name(void *opaque, struct vmig_error *err)                                   \
    {                                                                                              \
        (void)err;                                                                                 \
        return pass(opaque, step);                                                                 \
    }
OPERATION(prepare, STEP_PREPARE)
OPERATION(setup, STEP_SETUP)
OPERATION(quiesce, STEP_QUIESCE)
OPERATION(stop, STEP_STOP)
OPERATION(resume_p2p, STEP_RESUME_P2P)
OPERATION(resume, STEP_RESUME)
OPERATION(load_setup, STEP_LOAD_SETUP)
OPERATION(load_complete, STEP_LOAD_COMPLETE)
OPERATION(start_p2p, STEP_START_P2P)
OPERATION(start, STEP_START)
OPERATION(load_abort, STEP_LOAD_ABORT)

static int slow_pending(void *opaque, bool exact, struct vmig_pending *ret, struct vmig_error *err)
{
    (void)exact;
    (void)ret;
    (void)err;
    return pass(opaque, STEP_PENDING);
}

static int slow_iterate(void *opaque, struct vmig_writer *writer, uint64_t budget,
                        struct vmig_error *err)
{
    (void)budget;
    pass(opaque, STEP_ITERATE);
    return vmig_writer_put(writer, "i", 1, err);
}

static int slow_complete(void *opaque, struct vmig_writer *writer, struct vmig_error *err)
{
    pass(opaque, STEP_COMPLETE);
    return vmig_writer_put(writer, "c", 1, err);
}

static int slow_load(void *opaque, const void *buf, size_t length, struct vmig_error *err)
{
    (void)buf;
    (void)length;
    (void)err;
    return pass(opaque, STEP_LOAD);
}

static void slow_cleanup(void *opaque, bool moved)
{
    (void)moved;
    pass(opaque, STEP_CLEANUP);
}

static const struct vmig_participant_ops slow_ops = {
    .size = sizeof(slow_ops),
    .prepare = slow_prepare,
    .setup = slow_setup,
    .pending = slow_pending,
    .iterate = slow_iterate,
    .quiesce = slow_quiesce,
    .stop = slow_stop,
    .complete = slow_complete,
    .resume_p2p = slow_resume_p2p,
    .resume = slow_resume,
    .load_setup = slow_load_setup,
    .load = slow_load,
    .load_complete = slow_load_complete,
    .start_p2p = slow_start_p2p,
    .start = slow_start,
    .load_abort = slow_load_abort,
    .cleanup = slow_cleanup,
};

/* On a busy machine whatever a cancel waits for takes long enough to be named; this is the one held. */
static bool names_the_held(const struct party *side, const struct vmig_event *event)
{
    return gate.name && side == gate.side && event->kind == VMIG_EVENT_WAITING &&
           event->status == VMIG_STATUS_CANCELLING &&
           strstr(event->text, "cancelling: waiting for slow") && strstr(event->text, gate.name);
}

/* The engine says that it waits for the one that is held, or that a cancel comes too late. */
static void listen_for_names(struct party *side, const struct vmig_event *event)
{
    LOCK_SCOPE(&gate.lock);
    gate.named |= names_the_held(side, event);
    if (event->kind == VMIG_EVENT_WARNING && strstr(event->text, "too late to cancel"))
        gate.late = true;
    pthread_cond_broadcast(&gate.changed);
}

static void open_slow(struct world *w, const struct world_plan *plan)
{
    world_open(w, plan);
    struct party *sides[2] = { w->source, w->target };
    for (int i = 0; i < 2; i++) {
        x(vmig_migration_add_participant(sides[i]->m, "slow", &slow_ops, sides[i], &err));
        sides[i]->on_event = listen_for_names;
    }
}

/* The side that is cancelled waits for what is held, and says so. */
static void named_while_held(bool at_source, enum step at, const char *name)
{
    struct world w;
    open_slow(&w, &(struct world_plan) { .devices = 1, .dma_rate = 100 });
    struct party *side = at_source ? w.source : w.target;
    gate_close(side, at, name);
    if (at == STEP_PREPARE)
        party_start(w.source, true, "tcp:127.0.0.1:9");
    else
        world_begin(&w);
    gate_await(&gate.held);
    vmig_migration_cancel(side->m);
    gate_await(&gate.named);
    gate_open();
    if (at == STEP_PREPARE)
        party_join(w.source);
    else
        world_join(&w);
    party_failed(side, -ECANCELED, "cancelled", at == STEP_PREPARE ? "touched" : "here");
    world_runs_at(&w, w.source);
    world_close(&w);
}

static const struct {
    bool source;
    enum step at;
    const char *name;
} held_before[] = {
    { true, STEP_PREPARE, "(prepare)" },   { true, STEP_SETUP, "(setup)" },
    { true, STEP_PENDING, "(pending)" },   { true, STEP_ITERATE, "(iterate)" },
    { true, STEP_QUIESCE, "(quiesce)" },   { true, STEP_STOP, "(stop)" },
    { true, STEP_COMPLETE, "(complete)" }, { false, STEP_LOAD_SETUP, "(load-setup)" },
    { false, STEP_LOAD, "(load)" },        { false, STEP_LOAD_COMPLETE, "(load-complete)" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void what_holds_up_a_cancel_is_named_before_it_lets_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(held_before); i++)
        named_while_held(held_before[i].source, held_before[i].at, held_before[i].name);
}

/* The other side's participant is held: the side that is cancelled has nothing to wait for. */
static void what_is_held_at_the_other_side_holds_up_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(held_before); i++) {
        struct world w;
        if (held_before[i].at == STEP_PREPARE)
            continue; /* nobody has met yet */
        open_slow(&w, &(struct world_plan) { .devices = 1, .dma_rate = 100 });
        struct party *held = held_before[i].source ? w.source : w.target;
        struct party *cancelled = held_before[i].source ? w.target : w.source;
        gate_close(held, held_before[i].at, NULL);
        world_begin(&w);
        gate_await(&gate.held);
        vmig_migration_cancel(cancelled->m);
        party_join(cancelled);
        assert_false(gate.open);
        gate_open();
        world_join(&w);
        party_failed(cancelled, -ECANCELED, "cancelled", NULL);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static void cancel_in_the_rounds(struct party *side, enum vmig_stage stage)
{
    if (stage == VMIG_STAGE_ROUNDS)
        vmig_migration_cancel(side->m);
}

static void what_holds_up_the_way_back_is_named_too(void **state)
{
    static const struct {
        bool source;
        enum step at;
        const char *name;
    } rows[] = {
        { true, STEP_RESUME_P2P, "(resume-p2p)" }, { true, STEP_RESUME, "(resume)" },
        { true, STEP_CLEANUP, "(cleanup)" },       { false, STEP_LOAD_ABORT, "(load-abort)" },
        { false, STEP_CLEANUP, "(cleanup)" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct world w;
        open_slow(&w, &(struct world_plan) { .devices = 1, .dma_rate = 100 });
        struct party *side = rows[i].source ? w.source : w.target;
        gate_close(side, rows[i].at, rows[i].name);
        side->on_stage = cancel_in_the_rounds;
        world_begin(&w);
        gate_await(&gate.named);
        gate_open();
        world_join(&w);
        party_failed(side, -ECANCELED, "cancelled", NULL);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

static json_t *ask(struct world *w, struct party *side, const char *what, struct vmig_error *err)
{
    char path[100];
    *err = (struct vmig_error) { 0 };
    snprintf(path, sizeof(path), "%s/%s", w->directory, side == w->source ? "source" : "target");
    return control_call(path, json_pack("{s:s}", "execute", what), err);
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* From the first moment on: the control socket asks the flag, and not what the engine has seen. */
static void control_socket_cancels_and_names_what_is_waited_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(held_before); i++) {
        struct world w;
        struct vmig_error error;
        if (held_before[i].at == STEP_PREPARE)
            continue;
        open_slow(&w, &(struct world_plan) { .devices = 1, .dma_rate = 100, .control = true });
        struct party *side = held_before[i].source ? w.source : w.target;
        gate_close(side, held_before[i].at, held_before[i].name);
        world_begin(&w);
        gate_await(&gate.held);
        json_t *answer = ask(&w, side, "cancel", &error);
        assert_string_equal(text_of(answer, "now"), "cancelling");
        json_decref(answer);
        gate_await(&gate.named);
        answer = ask(&w, side, "status", &error);
        assert_string_equal(text_of(answer, "status"), "cancelling");
        assert_non_null(strstr(text_of(answer, "waiting"), "cancelling: waiting for slow"));
        assert_non_null(strstr(text_of(answer, "waiting"), held_before[i].name));
        json_decref(answer);
        gate_open();
        world_join(&w);
        party_failed(side, -ECANCELED, "cancelled", NULL);
        answer = ask(&w, side, "status", &error);
        assert_string_equal(text_of(answer, "status"), "cancelled");
        assert_string_equal(text_of(answer, "waiting"), "");
        json_decref(answer);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

/* ---- past the point of no return ---- */

/* The target starts, and either side is cancelled: it is told that it is too late. */
static void cancel_past_the_point_of_no_return_is_told_so(void **state)
{
    static const enum step steps[] = { STEP_START_P2P, STEP_START };
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(steps); i++) {
        struct world w;
        struct vmig_error error;
        open_slow(&w, &(struct world_plan) { .devices = 1, .dma_rate = 100, .control = true });
        struct party *side = i % 2 ? w.source : w.target;
        gate_close(w.target, steps[i / 2], NULL);
        world_begin(&w);
        gate_await(&gate.held);
        if (i < COUNT(steps)) {
            assert_null(ask(&w, side, "cancel", &error));
            assert_string_equal(error.reason, "too-late");
            assert_int_equal(error.code, -EALREADY);
        } else {
            vmig_migration_cancel(side->m);
        }
        gate_await(&gate.late);
        gate_open();
        world_join(&w);
        world_moved(&w);
        world_close(&w);
    }
}

/* ---- a link on which nothing passes any more ---- */

struct stall {
    struct world *w;
    struct party *side;
};

static void listen_for_lateness(struct party *side, const struct vmig_event *event)
{
    struct world *w = side->world;
    if (event->kind != VMIG_EVENT_WARNING || !strstr(event->text, "too late to cancel"))
        return;
    LOCK_SCOPE(&w->lock);
    side->late = true;
    pthread_cond_broadcast(&w->changed);
}

/* On a thread of the relay, which holds up everything until this returns. */
static void cancel_and_wait(void *arg)
{
    struct stall *s = arg;
    vmig_migration_cancel(s->side->m);
    LOCK_SCOPE(&s->w->lock);
    while (!s->side->done && !s->side->late)
        pthread_cond_wait(&s->w->changed, &s->w->lock);
}

/* The cancel found nothing that still ran: the target does without another word once it has heard GO, the
 * source when it has heard RUNNING. */
static bool was_over(struct world *w, struct party *side)
{
    bool heard_all = side == w->source ? relay_saw_running(w->relay) : relay_saw_go(w->relay);
    return side->rc == 0 && heard_all;
}

/* False when the link was not used for so long. */
static bool stall_and_cancel(uint64_t after, bool source, const struct world_plan *shape,
                             uint64_t *ret_passed)
{
    struct world w;
    struct world_plan plan = *shape;
    plan.relay = true;
    world_open(&w, &plan);
    struct stall stall = { &w, source ? w.source : w.target };
    stall.side->on_event = listen_for_lateness;
    w.relay =
        relay_new(&(struct relay_plan) { .after = after, .act = cancel_and_wait, .arg = &stall });
    world_move(&w);
    bool acted = relay_acted(w.relay);
    *ret_passed = relay_passed(w.relay);
    assert_false(w.both_ran);
    if (!acted) {
        world_moved(&w);
    } else if (was_over(&w, stall.side)) {
        party_runs(w.target);
    } else if (!stall.side->late) {
        party_failed(stall.side, -ECANCELED, "cancelled", NULL);
        party_runs(w.source);
        party_is_still(w.target);
    }
    world_close(&w);
    return acted;
}

/* Inside, before and after every message at the beginning, where they are small, and all over what
 * follows. */
static void peer_that_neither_hears_nor_speaks_holds_up_no_cancel(void **state)
{
    (void)state;
    struct world_plan shape = { .devices = 1, .channels = 2 };
    for (int source = 0; source < 2; source++) {
        uint64_t all, ignored;
        assert_false(stall_and_cancel(UINT64_MAX, source, &shape, &all));
        assert_true(all > 2500);
        for (unsigned i = 0; i < 36; i++) {
            uint64_t after = i < 20 ? i * i * 6 : 2500 + (all - 2500) * (i - 20) / 16;
            shape.lone_main = i % 3 == 2;
            stall_and_cancel(after, source, &shape, &ignored);
        }
    }
}

/* ---- rounds ---- */

static unsigned cancel_after;

static void cancel_after_rounds(struct party *side, const struct vmig_event *event)
{
    if (event->kind == VMIG_EVENT_ROUND && event->round == cancel_after)
        vmig_migration_cancel(side->m);
}

static void each_round_can_be_cancelled(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 1, .lone_main = i % 2 });
        world_set(&w, "downtime-limit", 0); /* so that it goes round for ever */
        world_set(&w, "max-rounds", 10000);
        struct party *side = i / 2 % 2 ? w.source : w.target;
        side->on_event = cancel_after_rounds;
        cancel_after = i + 1;
        world_move(&w);
        party_failed(side, -ECANCELED, "cancelled", NULL);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

/* ---- long work on memory ---- */

/* Trackers around the real ones: the first one that is read cancels, and the others are counted. */
struct cancelling_tracker {
    struct tracker tracker;
    struct tracker *inner;
};

static struct {
    struct world *w;
    unsigned trackers, reads, reads_wanted;
} cancelling;

static struct tracker *inner(struct tracker *tracker)
{
    return ((struct cancelling_tracker *)tracker)->inner;
}

static int cancelling_start(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    return inner(tracker)->ops->start(inner(tracker), ram, err);
}

static int cancelling_sync(struct tracker *tracker, struct ram *ram, struct vmig_error *err)
{
    if (cancelling.reads++ == cancelling.reads_wanted)
        vmig_migration_cancel(cancelling.w->source->m);
    return inner(tracker)->ops->sync(inner(tracker), ram, err);
}

static void cancelling_stop(struct tracker *tracker)
{
    inner(tracker)->ops->stop(inner(tracker));
}

static void cancelling_free(struct tracker *tracker)
{
    inner(tracker)->ops->free(inner(tracker));
    free(tracker);
}

static const struct tracker_ops cancelling_ops = {
    .name = "cancelling",
    .start = cancelling_start,
    .sync = cancelling_sync,
    .stop = cancelling_stop,
    .free = cancelling_free,
};

static int wrap_cancelling(struct tracker **tracker)
{
    struct cancelling_tracker *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    *t = (struct cancelling_tracker) { .tracker.ops = &cancelling_ops, .inner = *tracker };
    *tracker = &t->tracker;
    cancelling.trackers++;
    return 0;
}

/* The memory's and three devices': whichever is being read, no other is after it. */
static void no_log_is_read_after_a_cancel(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 3 });
        world_set(&w, "downtime-limit", 0); /* so that they are read again */
        memset(&cancelling, 0, sizeof(cancelling));
        cancelling.w = &w;
        cancelling.reads_wanted = i;
        w.source->m->wrap_tracker = wrap_cancelling;
        world_move(&w);
        party_failed(w.source, -ECANCELED, "cancelled", NULL);
        assert_int_equal(cancelling.trackers, 4);
        assert_int_equal(cancelling.reads, i + 1);
        world_runs_at(&w, w.source);
        world_close(&w);
    }
}

/* ---- other waits ---- */

static void cancelled_on_its_way(struct world *w, const char *address)
{
    party_start(w->source, true, address);
    party_await_stage(w->source, VMIG_STAGE_PREPARE);
    vmig_migration_cancel(w->source->m);
    party_join(w->source);
    party_failed(w->source, -ECANCELED, NULL, NULL);
    party_runs(w->source);
}

#define VISITORS 8

/* A listener at @at whose queue is full: the next connect would wait. Returns its socket; @at is where
 * it listens. */
static int full_queue(struct sockaddr *at, socklen_t length, int *fds)
{
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t same = length;
    assert_int_equal(bind(fd, at, length), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, at, &same), 0);
    for (int i = 0; i < VISITORS; i++) {
        fds[i] = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fds[i], at, length);
    }
    return fd;
}

static void empty_queue(int fd, const int *fds)
{
    for (int i = 0; i < VISITORS; i++)
        close(fds[i]);
    close(fd);
}

static void unix_connect_that_is_not_accepted_can_be_cancelled(void **state)
{
    (void)state;
    struct world w;
    int fds[VISITORS];
    char address[120];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/link", w.directory);
    snprintf(address, sizeof(address), "unix:%s", at.sun_path);
    int fd = full_queue((struct sockaddr *)&at, sizeof(at), fds);
    cancelled_on_its_way(&w, address);
    empty_queue(fd, fds);
    world_close(&w);
}

static void tcp_connect_that_is_not_accepted_can_be_cancelled(void **state)
{
    (void)state;
    struct world w;
    int fds[VISITORS];
    char address[120];
    world_open(&w, &(struct world_plan) { .devices = 1 });
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = full_queue((struct sockaddr *)&at, sizeof(at), fds);
    snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", ntohs(at.sin_port));
    cancelled_on_its_way(&w, address);
    empty_queue(fd, fds);
    world_close(&w);
}

static void bandwidth_limit_holds_up_no_cancel(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1 });
    party_set(w.source, "max-bandwidth", 1); /* the first piece is booked for a month */
    world_begin(&w);
    party_await_stage(w.source, VMIG_STAGE_ROUNDS);
    vmig_migration_cancel(w.source->m);
    world_join(&w);
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    world_runs_at(&w, w.source);
    world_close(&w);
}

static enum vmig_stage cancel_stage;

static void cancel_in_stage(struct party *side, enum vmig_stage stage)
{
    if (stage == cancel_stage)
        vmig_migration_cancel(side->m);
}

/* It reads nothing, or does not end when all was read; and it does not want to be ended either. */
static void command_that_hangs_holds_up_no_cancel(void **state)
{
    static const struct {
        const char *address;
        enum vmig_stage stage;
    } rows[] = {
        { "exec:trap '' TERM; exec sleep 10000 >/dev/null 2>&1", VMIG_STAGE_ROUNDS },
        { "exec:trap '' TERM; cat >/dev/null; exec sleep 10000 >/dev/null 2>&1",
          VMIG_STAGE_HANDOVER },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct world w;
        world_open(&w, &(struct world_plan) { .devices = 1 });
        cancel_stage = rows[i].stage;
        w.source->on_stage = cancel_in_stage;
        party_start(w.source, true, rows[i].address);
        party_join(w.source);
        party_failed(w.source, -ECANCELED, "cancelled", NULL);
        party_runs(w.source);
        world_close(&w);
    }
}

/* ---- names that nobody resolves ---- */

static int never_answers(const char *host, const char *port, const struct addrinfo *hints,
                         struct addrinfo **ret)
{
    (void)ret;
    (void)hints;
    (void)port;
    (void)host;
    pass(NULL, STEP_COUNT);
    return EAI_AGAIN;
}

static void name_server_that_does_not_answer_holds_up_no_cancel(void **state)
{
    (void)state;
    struct addrinfo *list = NULL;
    int ends[2];
    gate_close(NULL, STEP_COUNT, NULL);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "c", 1), 1);
    assert_int_equal(lookup_address(never_answers, "a.name", "1", 0, ends[0], &list),
                     LOOKUP_CANCELLED);
    gate_open();
    /* and when it does there is an answer */
    assert_int_equal(lookup_address(never_answers, "a.name", "1", 0, -1, &list), EAI_AGAIN);
    assert_int_equal(lookup_address(never_answers, "127.0.0.1", "1", 0, -1, &list), 0);
    freeaddrinfo(list);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_holds_up_a_cancel_is_named_before_it_lets_go),
        cmocka_unit_test(what_is_held_at_the_other_side_holds_up_nothing),
        cmocka_unit_test(what_holds_up_the_way_back_is_named_too),
        cmocka_unit_test(control_socket_cancels_and_names_what_is_waited_for),
        cmocka_unit_test(cancel_past_the_point_of_no_return_is_told_so),
        cmocka_unit_test(peer_that_neither_hears_nor_speaks_holds_up_no_cancel),
        cmocka_unit_test(each_round_can_be_cancelled),
        cmocka_unit_test(no_log_is_read_after_a_cancel),
        cmocka_unit_test(unix_connect_that_is_not_accepted_can_be_cancelled),
        cmocka_unit_test(tcp_connect_that_is_not_accepted_can_be_cancelled),
        cmocka_unit_test(bandwidth_limit_holds_up_no_cancel),
        cmocka_unit_test(command_that_hangs_holds_up_no_cancel),
        cmocka_unit_test(name_server_that_does_not_answer_holds_up_no_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
