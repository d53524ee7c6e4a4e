/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Outsiders that hear what happens through the control socket. Proved by order: the engine's thread
 * is held in an event until both clients have heard it, and not by the one that does not read.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/migration/control.h"
#include "tests/migration/world.h"

#define LEAD_MS 20
#define HEARD_MAX 2000

struct client {
    struct world *w;
    pthread_t thread;
    char path[100];
    /* under w->lock */
    unsigned count;
    bool begun, over;
    int rc;
    struct vmig_error err;
    struct heard {
        char event[20], detail[20];
    } heard[HEARD_MAX];
};

static const char *text_of(json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

static void note(void *opaque, json_t *line)
{
    struct client *c = opaque;
    const char *event = text_of(line, "event");
    LOCK_SCOPE(&c->w->lock);
    assert_true(c->count < HEARD_MAX);
    struct heard *heard = &c->heard[c->count++];
    snprintf(heard->event, sizeof(heard->event), "%s", event);
    if (strcmp(event, "quiesce-notice") == 0)
        snprintf(heard->detail, sizeof(heard->detail), "%d",
                 (int)json_integer_value(json_object_get(line, "lead_ms")));
    else
        snprintf(heard->detail, sizeof(heard->detail), "%s",
                 text_of(line, strcmp(event, "stage") == 0 ? "stage" : "status"));
    c->begun = true;
    pthread_cond_broadcast(&c->w->changed);
}

static void *listen_main(void *opaque)
{
    struct client *c = opaque;
    int rc = control_listen(c->path, note, c, &c->err);
    LOCK_SCOPE(&c->w->lock);
    c->rc = rc;
    c->over = true;
    pthread_cond_broadcast(&c->w->changed);
    return NULL;
}

static void client_start(struct client *c, struct world *w)
{
    memset(c, 0, sizeof(*c));
    c->w = w;
    snprintf(c->path, sizeof(c->path), "%s/source", w->directory);
    assert_int_equal(pthread_create(&c->thread, NULL, listen_main, c), 0);
    LOCK_SCOPE(&w->lock);
    while (!c->begun && !c->over)
        pthread_cond_wait(&w->changed, &w->lock);
}

/* How often it heard @event with @detail (NULL: any); @ret_at: when first, or NULL. */
static unsigned times(const struct client *c, const char *event, const char *detail,
                      unsigned *ret_at)
{
    unsigned count = 0;
    for (unsigned i = 0; i < c->count; i++) {
        if (strcmp(c->heard[i].event, event) != 0 ||
            (detail && strcmp(c->heard[i].detail, detail) != 0))
            continue;
        if (!count++ && ret_at)
            *ret_at = i;
    }
    return count;
}

static struct client clients[2];

static void await_heard(struct world *w, const char *event, unsigned count)
{
    LOCK_SCOPE(&w->lock);
    for (unsigned i = 0; i < 2; i++)
        while (times(&clients[i], event, NULL, NULL) < count && !clients[i].over)
            pthread_cond_wait(&w->changed, &w->lock);
}

/* ---- a notice ---- */

static int (*world_stop)(void *opaque, struct vmig_error *err);
static bool heard_before_the_stop;

static int stop_when_heard(void *opaque, struct vmig_error *err)
{
    struct party *side = opaque;
    await_heard(side->world, "quiesce-notice", 1);
    heard_before_the_stop = !clients[0].over && !clients[1].over;
    return world_stop(opaque, err);
}

/* Its socket, on which the answer to "events" was not read either. */
static int deaf_client(struct world *w)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    static const char line[] = "{\"execute\":\"events\"}\n";
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/source", w->directory);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
    return fd;
}

static void clients_end(struct world *w)
{
    x(vmig_migration_set_control(w->source->m, NULL, &err)); /* that is when it ends for them */
    for (unsigned i = 0; i < 2; i++)
        pthread_join(clients[i].thread, NULL);
}

static void outsiders_hear_of_the_stop_before_it_comes(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .devices = 1, .control = true });
    for (unsigned i = 0; i < 2; i++)
        client_start(&clients[i], &w);
    world_stop = w.source->m->host.stop;
    w.source->m->host.stop = stop_when_heard;
    party_set(w.source, "quiesce-notice", LEAD_MS);
    world_move(&w);
    world_moved(&w);
    assert_true(heard_before_the_stop);
    clients_end(&w);
    for (unsigned i = 0; i < 2; i++) {
        struct client *c = &clients[i];
        unsigned rounds = 0, notice = 0, quiesce = 0, completed = 0;
        assert_int_equal(c->rc, 0);
        assert_string_equal(c->heard[0].event, "begin");
        assert_int_equal(times(c, "stage", "rounds", &rounds), 1);
        assert_int_equal(times(c, "quiesce-notice", "20", &notice), 1);
        assert_int_equal(times(c, "stage", "quiesce", &quiesce), 1);
        assert_int_equal(times(c, "status", "completed", &completed), 1);
        assert_true(rounds < notice && notice < quiesce && quiesce < completed);
        assert_string_equal(c->heard[c->count - 1].event, "end");
        assert_int_equal(times(c, "progress", NULL, NULL), 0);
    }
    world_close(&w);
}

/* ---- one that does not listen ---- */

/* More than a queue and a socket hold. */
#define ROUNDS 400

static void hold_until_heard(struct party *side, const struct vmig_event *event)
{
    if (event->kind != VMIG_EVENT_ROUND)
        return;
    await_heard(side->world, "round", event->round);
    if (event->round == ROUNDS)
        vmig_migration_cancel(side->m);
}

/* The lines it was given before it was dropped. */
static unsigned drain(int fd, bool *ret_end)
{
    static char buf[1 << 20];
    size_t length = 0;
    ssize_t n;
    unsigned lines = 0;
    while ((n = read(fd, buf + length, sizeof(buf) - 1 - length)) > 0)
        length += (size_t)n;
    assert_int_equal(n, 0);
    buf[length] = '\0';
    for (const char *at = buf; (at = strchr(at, '\n')); at++)
        lines++;
    *ret_end = strstr(buf, "\"end\"");
    return lines;
}

static void client_that_does_not_read_is_dropped_and_holds_up_nobody(void **state)
{
    (void)state;
    struct world w;
    bool end;
    world_open(&w, &(struct world_plan) { .devices = 1, .control = true });
    int deaf = deaf_client(&w);
    for (unsigned i = 0; i < 2; i++)
        client_start(&clients[i], &w);
    world_set(&w, "downtime-limit", 0); /* so that it goes round for ever */
    world_set(&w, "max-rounds", 10000);
    w.source->on_event = hold_until_heard;
    world_move(&w);
    party_failed(w.source, -ECANCELED, "cancelled", NULL);
    world_runs_at(&w, w.source);
    /* it was dropped long ago: its end does not wait for the control socket's */
    unsigned lines = drain(deaf, &end);
    assert_false(end);
    assert_in_range(lines, 1, ROUNDS - 1);
    clients_end(&w);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(clients[i].rc, 0);
        assert_true(times(&clients[i], "round", NULL, NULL) >= ROUNDS);
        assert_int_equal(times(&clients[i], "status", "cancelled", NULL), 1);
    }
    close(deaf);
    world_close(&w);
}

/* ---- bounds ---- */

static bool can_join(struct world *w, struct client *c)
{
    client_start(c, w);
    LOCK_SCOPE(&w->lock);
    return c->begun;
}

static void listeners_are_few_and_leave_room_for_a_cancel(void **state)
{
    (void)state;
    struct world w;
    static struct client four[4], fifth;
    struct vmig_error error = { 0 };
    world_open(&w, &(struct world_plan) { .control = true });
    for (unsigned i = 0; i < 4; i++)
        assert_true(can_join(&w, &four[i]));
    assert_false(can_join(&w, &fifth));
    assert_int_equal(fifth.rc, -EBUSY);
    assert_string_equal(fifth.err.reason, "too-many-listeners");
    pthread_join(fifth.thread, NULL);
    json_t *answer = control_call(four[0].path, json_pack("{s:s}", "execute", "status"), &error);
    assert_string_equal(text_of(answer, "side"), "none");
    json_decref(answer);
    x(vmig_migration_set_control(w.source->m, NULL, &err));
    for (unsigned i = 0; i < 4; i++)
        pthread_join(four[i].thread, NULL);
    world_close(&w);
}

/* A place that was left is free: nobody writes to it, so its end is what tells. */
static void client_that_leaves_makes_room(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_plan) { .control = true });
    for (unsigned i = 0; i < 20; i++) {
        char byte;
        int fd = deaf_client(&w);
        assert_int_equal(read(fd, &byte, 1), 1); /* it has joined */
        shutdown(fd, SHUT_RDWR);
        while (read(fd, &byte, 1) > 0)
            ;
        close(fd);
        /* its thread sees that sooner or later */
        for (bool left = false; !left; nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL)) {
            left = true;
            LOCK_SCOPE(&w.source->m->listeners.lock);
            for (unsigned j = 0; j < LISTENERS_MAX; j++)
                left &= !w.source->m->listeners.each[j].used;
        }
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outsiders_hear_of_the_stop_before_it_comes),
        cmocka_unit_test(client_that_does_not_read_is_dropped_and_holds_up_nobody),
        cmocka_unit_test(listeners_are_few_and_leave_room_for_a_cancel),
        cmocka_unit_test(client_that_leaves_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
